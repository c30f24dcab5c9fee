"""Claims: what is stored, what is shown, what raises, and when claims are enforced at all."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlnutils.press import ledger
from dlnutils.press.claims import ClaimError, Claims
from dlnutils.press.notebooks import CLAIMS_TYPE, claims_of, default_parameters
from dlnutils.press.words import round_to_digits, show_bound

pytestmark = pytest.mark.filterwarnings("error")

SECTION = "saddles/example"


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path):
    """No run and no notebook around."""
    monkeypatch.delenv("DLN_RUN", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def claims(monkeypatch):
    """Claims of a default run without parameters, hence enforced."""
    monkeypatch.setenv("DLN_RUN", json.dumps({"profile": "default", "parameters": {}}))
    return Claims("saxe2013", SECTION, {})


def check(claims, measured, low=None, high=None, id="a-claim", **options):
    claims.check(id, **{"figure": "2", "statement": "it holds", "source": "paper"} | options, measured=measured, low=low,
                 high=high)
    return claims.records[-1]


# --- numbers --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("value, digits, rounded", [
    (0.0123456, 3, 0.0123), (-98765.4, 3, -98800.0), (1.0 / 3, 1, 0.3), (0.0, 3, 0.0), (2, 2, 2.0), (9.996, 3, 10.0),
    (1e-300 / 3, 2, 3.3e-301)])
def test_rounding(value, digits, rounded):
    assert round_to_digits(value, digits) == rounded


def test_rounding_hides_the_processor(claims):
    """Two machines that differ in the last bits store the same number."""
    first, second = (check(claims, value, high=1, id=str(value)) for value in (0.1 + 0.2, 0.3))
    assert first["measured"] == second["measured"] == 0.3 and first["shown"] == second["shown"] == "0.3"


def test_record(claims):
    assert check(claims, 0.0123456, 0.01, 0.05, digits=2) == {
        "id": "a-claim", "figure": "2", "statement": "it holds", "measured": 0.012, "shown": "0.012", "bound": [0.01, 0.05],
        "source": "paper", "passed": True}


@pytest.mark.parametrize("measured, low, high, passed", [
    (1.0, 0.5, 2.0, True), (0.4, 0.5, 2.0, False), (2.1, 0.5, 2.0, False), (2.0, None, 2.0, True), (0.5, 0.5, None, True),
    (2.004, None, 2.0, False), (1.996, 2.0, None, False),  # judged as it is, although it is shown as 2
    (-3.0, None, 2.0, True), (1e9, 0.5, None, True)])
def test_bounds(claims, measured, low, high, passed):
    assert check(claims, measured, low, high)["passed"] is passed


@pytest.mark.parametrize("measured", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("low, high", [(None, 1.0), (0.0, None)])
def test_what_is_not_finite_fails_and_is_stored_as_none(claims, measured, low, high):
    record = check(claims, measured, low, high, floor=1e-9)
    assert record["passed"] is False and record["measured"] is None and record["shown"] == f"{measured:.3g}"
    assert json.loads(json.dumps(claims.records, allow_nan=False)) == claims.records


@pytest.mark.parametrize("measured", [3e-17, -4e-15, 0.0])
def test_below_the_floor_is_stored_as_the_floor(claims, measured):
    record = check(claims, measured, high=1e-12, floor=1e-13)
    assert record["measured"] == 1e-13 and record["shown"] == "< 1e-13" and record["passed"] is True


@pytest.mark.parametrize("low, high, passed", [(None, 1e-13, True), (None, 1e-14, False), (0.0, 1e-12, True),
                                               (1e-15, None, False), (-1.0, None, True)])
def test_below_the_floor_only_looser_bounds_hold(claims, low, high, passed):
    """The true value is anything up to the floor."""
    assert check(claims, 2e-14, low, high, floor=1e-13)["passed"] is passed


def test_above_the_floor_nothing_changes(claims):
    record = check(claims, 2.341e-12, high=1e-11, floor=1e-13)
    assert record["measured"] == 2.34e-12 and record["shown"] == "2.34e-12"


@pytest.mark.parametrize("bound, shown", [([None, 0.05], "≤ 0.05"), ([3.0, None], "≥ 3"), ([1.0, 2.5], "1 … 2.5"),
                                          ([-1e-9, 1e-9], "-1e-09 … 1e-09")])
def test_bound_as_people_write_it(bound, shown):
    assert show_bound(bound) == shown


def test_a_bound_means_what_it_says_even_with_one_digit(claims):
    """0.1499 is shown as 0.1 and is not below 0.1; the last bits of a processor do not count where the bound is not near."""
    record = check(claims, 0.1499, high=0.1, digits=1)
    assert record["shown"] == "0.1" and record["passed"] is False


# --- statements of papers, headlines --------------------------------------------------------------------------------

@pytest.mark.parametrize("measured, low, high, passed", [
    (3.0, 1.0, 2.0, True), (0.5, 1.0, 2.0, True), (1.5, 1.0, 2.0, False), (2.0, 1.0, 2.0, False), (2.001, None, 2.0, True),
    (1.9, None, 2.0, False), (0.9, 1.0, None, True), (float("nan"), 1.0, 2.0, False), (float("inf"), None, 2.0, False)])
def test_a_disagreement_passes_outside_what_the_paper_states(claims, measured, low, high, passed):
    record = check(claims, measured, low, high, verdict="disagrees", where="Fig. 2")
    assert record["passed"] is passed and record["verdict"] == "disagrees"


@pytest.mark.parametrize("low, high, passed", [(1e-12, 1.0, True), (None, 1e-12, False), (0.0, 1.0, False)])
def test_a_disagreement_below_the_floor(claims, low, high, passed):
    """The true value is anything from zero to the floor: all of it must lie outside."""
    assert check(claims, 3e-17, low, high, floor=1e-13, verdict="disagrees", where="Fig. 2")["passed"] is passed


def test_a_disagreement_that_comes_back_raises(claims, capsys):
    check(claims, 1.5, 1.0, 2.0, verdict="disagrees", where="Fig. 2")
    with pytest.raises(ClaimError, match=r"a-claim: 1\.5 is in 1 … 2"):
        claims.show()


def test_words_of_a_verdict(claims, capsys):
    check(claims, 1.5, 1.0, 2.0, id="plain", source="theory")
    check(claims, 1.5, 1.0, 2.0, id="agreed", where="Fig. 2")
    check(claims, 3.0, 1.0, 2.0, id="opposed", where="p. 4", verdict="disagrees")
    check(claims, 1.5, 1.0, 2.0, id="old")                 # an older claim of a paper, without its place
    claims.show()
    rows = [line.split()[5] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == ["holds", "agrees", "disagrees", "holds"]


def test_a_headline_keeps_its_words_and_others_store_nothing_new(claims):
    record = check(claims, 1.5, 1.0, 2.0, headline=True, words="It is {shown}.", where="Fig. 2")
    assert record["headline"] is True and record["words"] == "It is {shown}." and record["where"] == "Fig. 2"
    assert not {"headline", "words", "where", "verdict"} & set(check(claims, 1.5, 1.0, id="other", source="seeds"))


@pytest.mark.parametrize("options, message", [
    ({"headline": True, "where": "Fig. 2"}, "headline without words"),
    ({"headline": True, "words": "w"}, "say where it stands"),
    ({"verdict": "disagrees"}, "say where it stands"),
    ({"verdict": "disagrees", "where": "Fig. 2", "source": "theory"}, "only what a paper states"),
    ({"verdict": "perhaps"}, "verdict must be one of agrees, disagrees, got 'perhaps'")])
def test_headlines_and_verdicts_that_mean_nothing_are_refused(claims, options, message):
    with pytest.raises(ValueError, match=message):
        check(claims, 1.5, 1.0, 2.0, **options)
    assert claims.records == []


def test_the_standard_library_suffices():
    """No package at all: as a script, and as it runs in a browser."""
    script = ("from dlnutils.press.claims import Claims\nclaims = Claims('saxe2013', 'saddles/example', {})\n"
              "claims.check('one', figure='2', statement='it holds', measured=0.5, high=1, source='theory')\nclaims.show()")
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True,
                          env={"PYTHONPATH": str(Path(ledger.__file__).parents[2])})
    assert done.returncode == 0 and "it holds" in done.stdout, done.stderr


def test_a_number_of_a_record_has_its_own_profile_and_is_always_enforced(claims, monkeypatch, capsys):
    """Whatever the notebook's parameters are: it reads the number."""
    for enforced in (True, False):
        one = Claims("hajjar2021", "integrable/toy", {})
        monkeypatch.setattr(Claims, "enforced", enforced)
        one.check("a", figure="1", statement="of trials", measured=2.0, high=1.0, source="paper", where="Fig. 1", profile="paper")
        one.check("b", figure="1", statement="of the run", measured=0.5, high=1.0, source="paper", where="Fig. 1")
        assert one.records[0]["passed"] is False and one.records[1]["passed"] is (True if enforced else None)
        with pytest.raises(ClaimError, match="1 of 2 claims failed: a: 2 is not in"):
            one.show()
        assert "of trials (profile: paper)" in capsys.readouterr().out
    payload = {"paper": one.paper, "section": one.section, "profile": "default", "claims": one.records}
    found = claims_of({"cells": [{"outputs": [{"data": {CLAIMS_TYPE: payload}}]}]})
    assert [claim["profile"] for claim in found] == ["paper", "default"] and {c["notebook"] for c in found} == {"integrable/toy"}


def test_the_ledger_lists_exactly_the_public_keys(claims):
    check(claims, 1.5, 1.0, 2.0, id="new", where="Fig. 2", headline=True, words="w")
    check(claims, 1.5, 1.0, 2.0, id="old", source="theory")
    payload = {"paper": "saxe2013", "section": SECTION, "profile": "default", "claims": claims.records}
    found = claims_of({"cells": [{"outputs": [{"data": {CLAIMS_TYPE: payload}}]}]})
    new, old = json.loads(ledger.as_json(found))
    assert list(new) == ["id", "paper", "figure", "where", "statement", "measured", "bound", "source", "headline", "verdict",
                         "notebook", "profile", "passed"] == list(old)
    assert (new["where"], new["headline"], new["verdict"]) == ("Fig. 2", True, "agrees")
    assert (old["where"], old["headline"], old["verdict"]) == (None, False, "agrees")
    table = ledger.as_table(found)
    assert "Saxe Fig. 2" in table and "1 of them test a statement that a paper prints: 1 agree, 0 disagree" in table


# --- refusals -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("options, message", [
    ({}, "neither low nor high"), ({"low": 2.0, "high": 1.0}, r"low = 2\.0 above high = 1\.0"),
    ({"high": 1.0, "source": "folklore"}, "source .* 'folklore'")])
def test_claims_that_mean_nothing_are_refused(claims, options, message):
    with pytest.raises(ValueError, match=message):
        check(claims, 1.0, **options)
    assert claims.records == []


@pytest.mark.parametrize("low, high", [(None, float("inf")), (float("-inf"), None), (float("-inf"), float("inf"))])
def test_infinite_bounds_are_open_ones(claims, low, high):
    with pytest.raises(ValueError, match="a-claim"):
        check(claims, 1.0, low, high)


def test_repeated_id_is_refused(claims):
    check(claims, 1.0, high=2)
    with pytest.raises(ValueError, match="'a-claim' is already"):
        check(claims, 1.0, high=2)
    assert len(claims.records) == 1


# --- showing --------------------------------------------------------------------------------------------------------

def test_failed_claims_raise_together_after_the_table(claims, capsys):
    for id, measured in (("one", 5.0), ("two", 0.5), ("three", float("nan"))):
        check(claims, measured, high=1.0, id=id)           # no failure raises here
    with pytest.raises(ClaimError, match="^2 of 3 claims failed: one: 5 is not in ≤ 1 .*; three: nan is not in ≤ 1"):
        claims.show()
    table = capsys.readouterr().out
    assert SECTION in table and "profile: default" in table and table.count("FAILS") == 2 and table.count("holds") >= 1
    assert issubclass(ClaimError, AssertionError)


def test_claims_that_hold_raise_nothing(claims, capsys):
    check(claims, 0.5, high=1.0)
    claims.show()
    assert "FAILS" not in capsys.readouterr().out


def test_notebook_output_is_for_people_and_programs(claims, monkeypatch):
    import IPython
    import IPython.display
    shown = []
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    monkeypatch.setattr(IPython.display, "display", lambda data, **options: shown.append((data, options)))
    check(claims, 0.5, high=1.0, statement="a < b & c", id="glued")
    check(claims, 5e-17, high=1e-12, floor=1e-13, id="tiny")
    claims.show()
    table = shown[0][0]
    payload = json.loads(json.dumps(table[CLAIMS_TYPE], allow_nan=False))
    assert payload == {"paper": "saxe2013", "section": SECTION, "profile": "default", "claims": claims.records}
    assert "a &lt; b &amp; c" in table["text/html"] and "&lt; 1e-13" in table["text/html"]
    assert "a < b & c" in table["text/plain"]
    # one hidden output a claim, which the role glue:text finds by name
    glued = {options["metadata"]["scrapbook"]["name"]: data for data, options in shown[1:]}
    assert glued == {"glued": {"application/papermill.record/text/plain": "0.5"},
                     "tiny": {"application/papermill.record/text/plain": "< 1e-13"}}


# --- enforcement ----------------------------------------------------------------------------------------------------

def run_as(monkeypatch, profile, **parameters):
    monkeypatch.setenv("DLN_RUN", json.dumps({"profile": profile, "parameters": parameters}))


def notebook_file(source, **metadata):
    cells = [{"cell_type": "markdown", "metadata": {}, "source": ["# Title"]},
             {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": [source]}]
    with open(SECTION.rsplit("/")[-1] + ".ipynb", "w", encoding="utf-8") as file:
        json.dump({"cells": cells, "metadata": metadata}, file)


@pytest.mark.parametrize("scope, profile", [
    ({"n": 10, "rates": [0.1, 0.2], "else": 3}, "paper"), ({"n": 11, "rates": [0.1, 0.2]}, "custom"),
    ({"n": 10, "rates": [0.1]}, "custom"), ({"n": 10}, "custom"), ({}, "custom")])
def test_scope_against_the_run(monkeypatch, scope, profile):
    run_as(monkeypatch, "paper", n=10, rates=[0.1, 0.2])
    claims = Claims("saxe2013", SECTION, scope)
    assert claims.profile == profile and claims.enforced is (profile == "paper")


@pytest.mark.parametrize("scope, profile", [({"n": 10, "seed": 1}, "default"), ({"n": 20, "seed": 1}, "custom")])
def test_scope_against_the_notebook_file(scope, profile):
    notebook_file("n = 10  # a size\nseed = 1")
    assert Claims("saxe2013", SECTION, scope).profile == profile


def test_metadata_wins_over_the_cell():
    """A reader who edits and saves the cell still does not get claims made for other parameters."""
    notebook_file("n = 20", dln={"profile": "large", "parameters": {"n": 10}})
    assert Claims("saxe2013", SECTION, {"n": 20}).profile == "custom"
    assert Claims("saxe2013", SECTION, {"n": 10}).profile == "large"


def test_a_tuple_survives_the_way_through_json():
    """Otherwise claims with such a parameter would silently never be enforced."""
    notebook_file("depths = (3, 5)", dln={"profile": "default", "parameters": {"depths": [3, 5]}})
    assert Claims("saxe2013", SECTION, {"depths": (3, 5)}).enforced


@pytest.mark.parametrize("value", [np.array([3, 5]), [np.array(3), np.arange(2)], np.zeros((2, 2)), np.array([3]), [3], "3, 5"])
def test_an_array_among_the_parameters_is_not_asserted(value):
    notebook_file("depths = [3, 5]", dln={"profile": "default", "parameters": {"depths": [3, 5]}})
    assert Claims("saxe2013", SECTION, {"depths": value}).profile == "custom"
    notebook_file("depths = np.array([3, 5])")             # nor is a cell that computes
    assert Claims("saxe2013", SECTION, {"depths": value}).profile == "custom"


def test_numbers_of_numpy_are_numbers():
    notebook_file("rates = [0.5, 2]\nn = 3\nrange_of = {'sp': [1, 2]}")
    scope = {"rates": [np.float64(0.5), np.int64(2)], "n": np.int32(3), "range_of": {"sp": (1, np.int64(2))}}
    assert Claims("saxe2013", SECTION, scope).enforced


@pytest.mark.parametrize("text", ["", "[]", "{", "\ufeff{}"])
def test_beside_a_notebook_that_cannot_be_read_nothing_is_asserted(text):
    Path("example.ipynb").write_text(text, encoding="utf-8")
    assert not Claims("saxe2013", SECTION, {"n": 3}).enforced


def test_the_run_wins_over_the_notebook_file(monkeypatch):
    notebook_file("n = 20")
    run_as(monkeypatch, "paper", n=10)
    assert Claims("saxe2013", SECTION, {"n": 10}).profile == "paper"


def test_nothing_is_enforced_elsewhere(capsys):
    claims = Claims("saxe2013", SECTION, {"n": 10})
    assert not claims.enforced
    assert check(claims, 5.0, high=1.0)["passed"] is None
    claims.show()
    assert "not asserted" in capsys.readouterr().out


# --- the parameters cell --------------------------------------------------------------------------------------------

def with_parameters(*source):
    return {"cells": [{"cell_type": "markdown", "metadata": {"tags": ["parameters"]}, "source": ["not = code ="]},
                      {"cell_type": "code", "source": ["first = 1"]},
                      {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": list(source)}]}


def test_default_parameters():
    source = ["# sizes\n", "n = 10\n", "rate = -5e-4  # a rate\n", "name = 'saxe'\n", "depths = [2,\n", "          3]\n",
              "fast = True\n", "limit = None"]
    expected = {"n": 10, "rate": -5e-4, "name": "saxe", "depths": [2, 3], "fast": True, "limit": None}
    assert default_parameters(with_parameters(*source)) == expected
    assert list(default_parameters(with_parameters("".join(source)))) == list(expected)
    assert default_parameters(with_parameters()) == {} == default_parameters({"cells": []})


@pytest.mark.parametrize("line", ["m = n + 1", "m = range(3)", "a = b = 1", "a, b = 1, 2", "import os", "print(1)", "m += 1",
                                  "m: int = 1", "x.y = 1", "%matplotlib inline"])
def test_parameters_cell_assigns_literals_only(line):
    with pytest.raises(ValueError, match="parameters.*literals.*line 2") as error:
        default_parameters(with_parameters("n = 1\n", line))
    assert line.split()[0].strip(",") in str(error.value)

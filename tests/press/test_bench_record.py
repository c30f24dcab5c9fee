"""The record of `make bench`: complete, consistent with itself, told truly by the README and explained on the page.

Nothing here measures a time, and no bound is on one: only that what is shown follows from what was stored.
"""

import fnmatch
import json
import re

import pytest
from committed import BOOK

from dlnutils.press import bench as bench_record
from dlnutils.press import words
from dlnutils.press.ext import performance

RECORD = json.loads(bench_record.RECORD.read_text(encoding="utf-8"))
SECONDS = bench_record.seconds_of(RECORD)
PAGE = (BOOK / "book" / "performance.md").read_text(encoding="utf-8")


# --- the record -----------------------------------------------------------------------------------------------------

def test_the_record_says_where_and_when():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", RECORD["date"]) and RECORD["processor"]
    assert {"python", "numpy", "scipy", "matplotlib"} <= set(RECORD["versions"])
    assert re.fullmatch(r"[0-9a-f]{12}", RECORD["package_hash"]) and RECORD["blas_threads"] and RECORD["timer"]


def test_the_record_is_of_a_whole_run():
    assert bench_record.missing_from(RECORD) == []
    assert len(SECONDS) == sum(map(len, RECORD["groups"].values())), "two benchmarks share a name"


def test_groups_hold_medians_and_ratios_to_their_first():
    for group, members in RECORD["groups"].items():
        for entry in members:
            assert set(entry) == {"name", "median_seconds", "rounds", "ratio_to_first"}
            assert entry["median_seconds"] > 0 and entry["rounds"] >= 1
            ratio = entry["median_seconds"] / members[0]["median_seconds"]
            assert entry["ratio_to_first"] == pytest.approx(ratio, rel=0.02), (group, entry["name"])    # both have 3 digits


def test_comparisons_follow_from_the_medians():
    for row in RECORD["comparisons"]:
        slow = row["factor"] * SECONDS[row["slow"]]
        assert row["seconds"] == SECONDS[row["fast"]] and row["seconds_instead"] == bench_record.digits(slow)
        assert row["ratio"] == bench_record.digits(slow / row["seconds"])
        assert row["kind"] in ("replaces", "overhead")
    told = {(row["fast"], row["slow"]) for row in RECORD["comparisons"]}
    assert {(row.fast, row.slow) for row in bench_record.COMPARISONS if not row.optional} <= told


@pytest.mark.parametrize("law", RECORD["growth"], ids=lambda law: law["name"])
def test_fits_follow_from_the_medians(law):
    assert len(law["sizes"]) == len(law["medians"]) >= 4 and law["sizes"] == sorted(set(law["sizes"]))
    assert bench_record.fitted(law["sizes"], law["medians"]) == {"exponent": law["exponent"], "error": law["error"]}
    assert law["expected"] == bench_record.expected_exponent(bench_record.FAMILIES[law["name"]], law["sizes"])
    assert set(law["medians"]) <= set(SECONDS.values())


def test_exponents_by_operations():
    """Powers where the law is one, and close to the leading power where terms of several powers add up."""
    expected = {law["name"]: law["expected"] for law in RECORD["growth"]}
    assert expected["reduced gradient step"] == 0 and expected["explicit gradient step"] == 1
    assert expected["mean-field theory"] == 3                            # each term has T^3
    assert 0.6 < expected["mean-field theory against depth"] < 1         # 14 L + 17
    assert 1 < expected["one network"] < 2                               # T times weights and T^2 times updates
    assert 2.7 < expected["theory on a logarithmic grid"] < 3
    assert 1.7 < expected["perceptron step"] < 2


def test_the_modes_counted_on_the_logarithmic_grid():
    from dlnutils import dmft
    n_modes = len(dmft.power_law(10**12, 1.5, 0.5, n_exact=20).eigenvalues)
    assert bench_record._log_grid_operations.__defaults__[1] == n_modes


# --- the record's maker ---------------------------------------------------------------------------------------------

def bench(name, group, median, **extra):
    return {"group": group, "stats": {"median": median, "rounds": 5}, "extra_info": {"name": name} | extra}


def test_a_record_from_measurements():
    runs = [bench(f"theory_{n}", f"curve {n}", 1e-9 * n**3, family="mean-field theory", size=n) for n in (400, 100, 200)]
    runs += [bench("sixty_products_200", "curve 200", 4.0004e-3)]
    record = bench_record.make_record(runs)
    assert [entry["ratio_to_first"] for entry in record["groups"]["curve 200"]] == [1.0, 0.5]
    (row,) = record["comparisons"]
    assert (row["seconds"], row["seconds_instead"], row["ratio"]) == (0.008, 0.004, 0.5)
    (law,) = record["growth"]
    assert law["sizes"] == [100, 200, 400] and law["exponent"] == law["expected"] == 3 and law["error"] < 1e-9
    missing = bench_record.missing_from(record)
    assert "one_network_1000_wide_200" in missing and "one network" in missing and "theory_200" not in missing
    assert "torch_step" not in missing
    json.dumps(record)


def test_the_readmes_table_is_replaced_in_place(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("before\n\n" + bench_record.HEAD + "| old | old | 1× |\n\nafter\n", encoding="utf-8")
    bench_record.update_readme(RECORD, path)
    assert path.read_text(encoding="utf-8") == "before\n\n" + bench_record.readme_table(RECORD) + "\nafter\n"
    path.write_text("no table\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has no table"):
        bench_record.update_readme(RECORD, path)


# --- what is told ---------------------------------------------------------------------------------------------------

def test_the_readmes_speeds_are_those_of_the_record():
    readme = (BOOK / "README.md").read_text(encoding="utf-8")
    assert bench_record.readme_table(RECORD) in readme, "run: python -m dlnutils.press.bench"


def parts_of_the_page():
    """Anchor and text of each part under a heading of its own."""
    pieces = re.split(r"^\((bench-[\w-]+)\)=$", PAGE, flags=re.M)
    return dict(zip(pieces[1::2], pieces[2::2]))


def prose(text):
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    return " ".join(line for line in text.splitlines() if line and line[0] not in "#:$(")


def test_every_comparison_leads_to_a_reason():
    parts = parts_of_the_page()
    assert {row["anchor"] for row in RECORD["comparisons"]} <= set(parts)
    for anchor, text in parts.items():
        assert len(prose(text).split()) > 40, anchor


def test_every_group_is_shown_once_under_prose():
    patterns = [line for block in re.findall(r"\{dln-performance\} groups\n(.*?)```", PAGE, re.S) for line in block.split("\n")
                if line]
    for group in RECORD["groups"]:
        assert sum(fnmatch.fnmatchcase(group, pattern) for pattern in patterns) == 1, group
    for pattern in patterns:
        assert fnmatch.filter(RECORD["groups"], pattern), pattern


def test_numbers_on_the_page_are_read_from_the_record():
    laws = {law["name"] for law in RECORD["growth"]}
    roles = re.findall(r"\{bench\}`(\w+) ([^`]+)`", PAGE.replace("\n", " "))
    assert roles
    for what, names in roles:
        if what in ("ratio", "seconds"):
            assert set(names.split()) <= set(SECONDS), names
        else:
            assert set(names.split(" / ")) <= laws, names
    prose = re.sub(r"`[^`]*`", "", PAGE.replace("beyond 1×", ""))
    assert not re.search(r"\d(\.\d+)?( ?×|\s?(ms|µs)\b| times (faster|slower))", prose)


# --- the pictures ---------------------------------------------------------------------------------------------------


def test_numbers_in_words():
    assert [words.seconds(x) for x in (12.34, 1.0, 2.368e-3, 4.5e-6)] == ["12.3 s", "1 s", "2.37 ms", "4.5 µs"]
    written = [words.times(x) for x in (3.65e6, 506.3, 63.9, 9.96, 4.21, 0.102)]
    assert written == ["3.6 million ×", "506×", "64×", "10×", "4.2×", "0.10×"]
    told = [words.duration(x) for x in (None, 0.4, 12.3, 200, 5000, 9000, 146000, 450000)]
    assert told == ["not yet measured", "under 1 s", "12 s", "3 min", "83 min", "2.5 h", "41 h", "5.2 days"]
    assert words.exponent({"exponent": -0.289, "error": 0.057}) == "−0.29 ± 0.06"


def test_laws_cross_where_they_cost_the_same():
    first = {"sizes": [100, 200, 400], "medians": [1.0, 8.0, 64.0], "exponent": 3.0}
    second = {"sizes": [100, 200, 400], "medians": [10.0, 20.0, 40.0], "exponent": 1.0}
    assert performance.crossing(first, second) == pytest.approx(320)        # 100 sqrt(10), with two digits


def test_each_comparison_is_one_dot_and_each_size_one_mark():
    figure = performance.draw_ratios(RECORD)
    dots = sum(len(part.get_offsets()) for ax in figure.axes for part in ax.collections)
    assert dots == len(RECORD["comparisons"])
    low, high = figure.axes[0].get_xlim()
    assert all(low < row["ratio"] < high for row in RECORD["comparisons"])
    for panel in {law["panel"] for law in RECORD["growth"]}:
        laws = [law for law in RECORD["growth"] if law["panel"] == panel]
        lines = performance.draw_panel(laws).axes[0].lines
        assert len(laws) <= 5 and len(lines) == 2 * len(laws)
        for law, fit, marks in zip(laws, lines[::2], lines[1::2]):
            assert list(marks.get_ydata()) == law["medians"] and len(fit.get_xdata()) == len(law["sizes"])

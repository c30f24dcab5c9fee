"""The page of findings: every disagreement of the ledger is on it, and numbers come from claims."""

import io
import re

import pytest
from committed import BOOK, NOTEBOOKS
from test_gallery import code, figure_cell, make_project, picture

from dlnutils.press.ext import findings
from dlnutils.press.notebooks import CLAIMS_TYPE

PAGE = (BOOK / "book" / "what-we-found.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"(?m)^:+\{dln-finding\} *(.*)\n:figure: (\S+)\n", PAGE)

# --- the committed page -------------------------------------------------------------------------------------------------


def test_every_disagreement_of_the_ledger_has_an_entry_and_no_other():
    told = [name for names, _ in ENTRIES for name in names.split()]
    assert len(told) == len(set(told)) and PAGE.count("{dln-disagreements}") == 1
    assert set(told) == {claim["id"] for claim in findings.disagreements(NOTEBOOKS)}


def test_no_idea_is_told_twice_and_every_new_one_has_a_number():
    figures = [figure for _, figure in ENTRIES]
    assert len(figures) == len(set(figures)) >= 15
    for entry in re.findall(r"(?ms)^:{5}\{dln-finding\}.*?\n(.*?)\n:{5}$", PAGE):
        assert len(re.findall(r"\{claim\}`", entry)) >= 1, entry
        assert "**" in entry and len(entry.split()) < 75, entry


def test_the_pages_quote_claims_that_exist():
    known = findings.claims_by_id(NOTEBOOKS)
    for page in (BOOK / "book").rglob("*.md"):
        for name in re.findall(r"\{claim\}`([^`]+)`", page.read_text(encoding="utf-8")):
            assert name in known, f"{page.name}: {name}"


# --- a toy --------------------------------------------------------------------------------------------------------------

def claim(name, figure, **more):
    return {"id": name, "figure": figure, "statement": f"about {name}", "measured": 4e-6, "shown": "4e-06", "bound": [0, 1e-7],
            "source": "paper", "where": "Fig. 2", "passed": True, "verdict": "disagrees"} | more


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A builder of one page in a small book with two disagreements; gives the page and the warnings."""
    from bs4 import BeautifulSoup
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace

    claims = [claim("told", "2"), claim("untold", "3", headline=True, words="It is {shown}, for $x$."),
              claim("fine", "2", verdict="agrees", bound=[0, 1])]
    payload = {"paper": "saxe2013", "section": "saddles/one", "profile": "default", "claims": claims}
    shown = code("claims.show()") | {"outputs": [{"output_type": "display_data", "metadata": {}, "data": {
        CLAIMS_TYPE: payload, "text/plain": "claims"}}]}

    def build(text):
        root = tmp_path_factory.mktemp("toy")
        make_project(root, {"saddles/one": [{"cell_type": "markdown", "metadata": {}, "source": "# One"},
                                            code("n = 3", tags=["parameters"]),
                                            figure_cell("fig-a", "2", picture(90, 60, "red")),
                                            figure_cell("fig-b", "3", picture(90, 60, "blue")), shown]})
        (root / "book").mkdir(exist_ok=True)
        (root / "book" / "page.md").write_text(f"# Page\n\n{text}\n")
        (root / "book" / "ledger.md").write_text("# Ledger\n\n```{dln-ledger}\n```\n")
        (root / "toc.md").write_text("# All\n\n```{toctree}\n:glob:\nbook/*\nnotebooks/saddles/*\n```\n")
        warnings = io.StringIO()
        ours = [f"dlnutils.press.ext.{name}" for name in ("ledger", "gallery", "findings")]
        with docutils_namespace():
            app = Sphinx(root, None, root / "html", root / "trees", "html", status=None, warning=warnings, confoverrides={
                "extensions": ["myst_nb", *ours], "root_doc": "toc", "numfig": True, "nb_execution_mode": "off",
                "exclude_patterns": ["html"], "myst_enable_extensions": ["colon_fence", "dollarmath"],
                "suppress_warnings": ["mystnb.unknown_mime_type"]})
            app.build()
        folder = root / "html" / "book"
        html = [BeautifulSoup((folder / f"{name}.html").read_text(), "html.parser") for name in ("page", "ledger")]
        return *html, warnings.getvalue()
    return build


def test_a_disagreement_without_words_of_its_own_is_there_all_the_same(toy):
    page, _, warnings = toy("::::{dln-disagreements}\n:::{dln-finding} told\n:figure: fig-a\n\n**Idea.** In words.\n:::\n::::")
    assert "dln" not in warnings, warnings
    text = " ".join(page.get_text(" ").split())
    assert "3 statements and numbers" in text and "1 hold here, 2 do not" in text
    told, untold = page.select("div.dln-finding")
    assert "In words." in told.get_text() and "about told" in told.get_text() and "Measured 4 × 10⁻⁶" in told.get_text()
    assert "It is 4 × 10⁻⁶, for" in untold.get_text() and "about untold" in untold.get_text()
    assert [part.select_one("p.dln-picture a")["href"].partition("#")[2] for part in (told, untold)] == ["fig-a", "fig-b"]
    assert "about fine" not in text


def test_a_number_leads_to_its_claim(toy):
    page, ledger, warnings = toy("As small as {claim}`fine`.")
    link = page.select_one("a.dln-claim-number")
    assert link.get_text() == "4 × 10⁻⁶" and not warnings
    assert "about fine" in ledger.find(id=link["href"].partition("#")[2]).get_text()


@pytest.mark.parametrize("text, complaint", [
    ("{claim}`nobody`", "no notebook makes the claim 'nobody'"),
    (":::{dln-finding} fine\n:figure: fig-a\n:::", "no claim fine disagrees"),
    (":::{dln-finding}\n:figure: fig-z\n:::", "no figure 'fig-z'")])
def test_mistakes_are_named(toy, text, complaint):
    assert complaint in toy(text)[-1]

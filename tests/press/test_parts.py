"""The parts of a section's page, on a toy book: results on top, settings from data, a folded laboratory, figures by chapter."""

import io

import pytest
from bs4 import BeautifulSoup
from docutils import nodes
from toy_book import code, make_project

from dlnutils.press.ext import parts
from dlnutils.press.ext.pages import glued_in_prose
from dlnutils.press.notebooks import CLAIMS_TYPE


def text(source):
    return {"cell_type": "markdown", "metadata": {}, "source": source}


def claim(id, **options):
    return {"id": id, "figure": "2", "statement": f"statement of {id}", "measured": 1.58e-9, "shown": "1.58e-09",
            "bound": [None, 1e-8], "source": "theory", "passed": True} | options


HEADLINES = [
    claim("good", headline=True, words="Theory and $u_0$ agree within {shown}.", source="paper", where="Fig. 2",
          verdict="agrees"),
    claim("other", headline=True, words="The paper says otherwise.", source="paper", where="p. 5", verdict="disagrees"),
    claim("bad", headline=True, words="It should be small.", passed=False),
    claim("quiet"),
]


def claims_cell(claims, section):
    payload = {"paper": "saxe2013", "section": section, "profile": "default", "claims": claims}
    return code("claims.show()") | {"outputs": [{"output_type": "display_data", "metadata": {}, "data": {
        CLAIMS_TYPE: payload, "text/plain": "claims"}}]}


def picture(name):
    figure = {"name": name, "caption": f"Caption of {name}."}
    png = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
    return code("draw()", mystnb={"image": {"alt": "a dot"}, "figure": figure}, tags=["hide-input"]) | {"outputs": [
        {"output_type": "display_data", "metadata": {}, "data": {"image/png": png, "text/plain": "a figure"}}]}


PARAMETERS = """\
n = 3                # size $n$
rates = [1e-6, 0.5]  # learning rates
names = [["a", 1],   # nested,
         ["b", 2]]   # on two lines
seed = 7"""

SETTINGS = """\
n: {paper: 1000, note: "small here"}
rates: {paper: not stated}
optimizer: {here: gradient descent, paper: $\\tau = 1$}
"""

LABORATORY = "## Laboratory\n\n### Settings\n\n```{dln-settings}\n```\n\n(deep-inside)=\n### Compared\n\nSee {numref}`fig-b`.\n"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Folder of the toy's site, and what Sphinx warned of."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace
    root = tmp_path_factory.mktemp("toy")
    explorer = "# One\n\nOpening.\n\n```{dln-explorer} modes\nCurves.\n```\n"
    make_project(root, {
        "saddles/one": [text(explorer), code(PARAMETERS, tags=["parameters", "hide-input"]), picture("fig-a"),
                        text("## Idea\n\nSee {ref}`the comparison <deep-inside>` and {paper-figure}`saxe2013 3 left`.\n"),
                        text(LABORATORY), picture("fig-b"), claims_cell(HEADLINES, "saddles/one")],
        "saddles/plain": [text("# Plain\n\nNothing special.\n\n## Laboratory work\n\nNot folded."),
                          claims_cell([claim("plain")], "saddles/plain")],
        "mixed/two": [text("# Two"), picture("fig-c")]})
    settings = root / "notebooks" / "settings" / "saddles" / "one.yml"
    settings.parent.mkdir(parents=True)
    settings.write_text(SETTINGS)
    for chapter, pages in (("saddles", "one\nplain"), ("mixed", "two")):
        (root / "notebooks" / chapter / "index.md").write_text(f"# Chapter {chapter}\n\n```{{toctree}}\n{pages}\n```\n")
    (root / "book").mkdir()
    (root / "book" / "ledger.md").write_text("# Ledger\n\n```{dln-ledger}\n```\n")
    (root / "toc.md").write_text("# All\n\n```{toctree}\n:numbered:\nnotebooks/saddles/index\nnotebooks/mixed/index\n```\n\n"
                                 "```{toctree}\nbook/ledger\n```\n")
    warnings = io.StringIO()
    ours = [f"dlnutils.press.ext.{name}" for name in ("pages", "parts", "ledger", "explorers")]
    with docutils_namespace():                             # another toy may follow in this process
        app = Sphinx(root, None, root / "html", root / "trees", "html", status=None, warning=warnings, confoverrides={
            "extensions": ["myst_nb", *ours], "root_doc": "toc", "nb_execution_mode": "off", "numfig": True,
            "exclude_patterns": ["html"], "suppress_warnings": ["mystnb.unknown_mime_type"],
            "myst_enable_extensions": ["dollarmath"]})
        app.build()
    assert app.statuscode == 0
    return root / "html", warnings.getvalue()


@pytest.fixture(scope="module")
def page(toy):
    return BeautifulSoup((toy[0] / "notebooks" / "saddles" / "one.html").read_text(), "html.parser")


def test_the_toy_is_built_without_a_warning_of_ours(toy):
    assert "dln" not in toy[1] and "unknown node" not in toy[1] and "undefined label" not in toy[1], toy[1]


def test_results_stand_before_the_first_subsection_in_words(page):
    box = page.select_one(".dln-results")
    assert box.find_previous("h1") and not box.find_previous("h2") and box.find_previous("figure")
    items = box.select("li")
    assert [item["class"] for item in items] == [["dln-agrees"], ["dln-disagrees"], ["dln-fails"]]
    assert [item.select_one(".dln-verdict").get_text() for item in items] == ["agrees", "disagrees", "FAILS"]
    words = [" ".join(item.get_text(" ").split()) for item in items]
    assert "agree within 1.58 × 10⁻⁹." in words[0] and "Saxe, Fig. 2: ≤ 10⁻⁸" in words[0]
    assert items[0].select_one(".math").get_text() == r"\(u_0\)"
    assert "statement of quiet" not in box.get_text()


def test_a_page_without_headlines_has_no_box(toy):
    page = BeautifulSoup((toy[0] / "notebooks" / "saddles" / "plain.html").read_text(), "html.parser")
    assert not page.select(".dln-results, details.dln-laboratory") and "Not folded." in page.get_text()


def test_glued_numbers_read_as_in_the_box():
    glued = ["4e-06", "< 1e-12", "-0.1", "0.83", "seven", "1e"]
    texts = [nodes.inline(text, text, classes=["pasted-text"]) for text in glued] + [nodes.inline("2e-3", "2e-3")]
    glued_in_prose(None, nodes.paragraph("", "", *texts))
    assert [text.astext() for text in texts] == ["4 × 10⁻⁶", "less than 10⁻¹²", "−0.1", "0.83", "seven", "1e", "2e-3"]


def test_the_laboratory_is_folded_whole(page):
    fold = page.select_one("details.dln-laboratory")
    assert fold["id"] == "laboratory" and not fold.has_attr("open")
    assert fold.summary.h2.get_text().startswith("Laboratory")
    assert fold.summary.select_one(".dln-inside").get_text() == "Settings · Compared"
    assert fold.find(id="deep-inside") and fold.find("figure", id="fig-b") and "claims.show()" in fold.get_text()
    assert [title.name for title in fold.find_all(["h2", "h3"])] == ["h2", "h3", "h3"]
    assert fold.select("details.hide") and not fold.find(id="idea")
    assert page.find("a", href="#deep-inside") and page.find("script", src=lambda source: source and "folds.js" in source)


def test_the_run_is_told_below_the_laboratory(page):
    assert page.select_one(".dln-run").find_previous("details", class_="dln-laboratory")
    assert not page.select_one(".dln-run").find_parent("details")


def test_settings_come_from_the_cell_and_the_data(page):
    rows = [[" ".join(cell.get_text().split()) for cell in row.select("td")]
            for row in page.select("table.dln-settings tbody tr")]
    assert rows == [["n", "size \\(n\\); small here", "3", "1000"],
                    ["rates", "learning rates", "10⁻⁶, 0.5", "not stated"],
                    ["names", "nested, on two lines", "(a, 1), (b, 2)", "–"],
                    ["seed", "", "7", "–"],
                    ["optimizer", "", "gradient descent", "\\(\\tau = 1\\)"]]


def test_settings_that_name_no_parameter_stop_the_build(tmp_path):
    class Environment:
        srcdir, docname = str(tmp_path), "notebooks/saddles/one"
        doc2path = staticmethod(lambda name: tmp_path / f"{name}.ipynb")
        note_dependency = staticmethod(lambda path: None)

    class State:
        document = type("Document", (), {"settings": type("Settings", (), {"env": Environment()})()})()
    make_project(tmp_path, {"saddles/one": [text("# One"), code("n = 3", tags=["parameters"])]})
    (tmp_path / "notebooks" / "settings" / "saddles").mkdir(parents=True)
    (tmp_path / "notebooks" / "settings" / "saddles" / "one.yml").write_text("m: {paper: 3}\n")
    directive = parts.Settings.__new__(parts.Settings)
    directive.state, directive.lineno = State(), 1
    directive.error = lambda message: ValueError(message)
    with pytest.raises(ValueError, match="m in one.yml is no parameter of saddles/one"):
        directive.run()


def test_an_explorer_lives_on_a_notebooks_page(page):
    assert page.select_one("h1").find_next(class_="dln-explorer")["id"] == "dln-explorer-modes"
    assert page.find("script", src=lambda source: source and "modes.js" in source)


def test_figures_are_numbered_by_chapter_and_titles_are_not(toy):
    numbers = {}
    for name in ("saddles/one", "mixed/two"):
        soup = BeautifulSoup((toy[0] / "notebooks" / f"{name}.html").read_text(), "html.parser")
        numbers |= {figure["id"]: figure.select_one(".caption-number").get_text().strip() for figure in soup.select("figure")}
        assert not soup.select(".section-number")
        assert soup.h1.get_text()[:3] in ("One", "Two")
    assert numbers == {"fig-a": "Fig. 1.1", "fig-b": "Fig. 1.2", "fig-c": "Fig. 2.1"}
    front = BeautifulSoup((toy[0] / "toc.html").read_text(), "html.parser")
    assert "Chapter saddles" in [link.get_text() for link in front.select(".toctree-wrapper a")]


def test_a_figure_of_a_paper_has_one_name(page, toy):
    assert "Saxe Fig. 3 left" in page.find(id="idea").get_text() and "Fig. 1.2" in page.get_text()
    ledger = BeautifulSoup((toy[0] / "book" / "ledger.html").read_text(), "html.parser")
    assert ledger.find(id="ledger-saxe2013-2").h3.get_text().startswith("Saxe Fig. 2")


def test_the_ledger_tells_statements_of_papers_from_our_own(toy):
    ledger = BeautifulSoup((toy[0] / "book" / "ledger.html").read_text(), "html.parser")
    tiles = dict(tile.get_text().split(" ", 1)[::-1] for tile in ledger.select(".dln-tile"))
    assert tiles == {"claims": "5", "hold": "4", "fail": "1", "not asserted": "0", "statements of papers tested": "2",
                     "agree": "1", "disagree": "1"}
    row = ledger.find(id="claim-other")
    assert [cell.get_text().strip() for cell in row.select("td")][-2:] == ["paper, p. 5", "disagrees"]
    assert row.select_one("td.dln-disagrees") and ledger.find(id="claim-quiet").select_one("td.dln-holds")


def test_comments_of_parameters_belong_to_their_names():
    notebook = {"cells": [code("# head\na = 1  # one\nb = 2\nc = [3,  # three\n     4]  # four", tags=["parameters"])]}
    assert parts.comments_of(notebook) == {"a": "one", "c": "three four"}


# --- folded cells ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("metadata, source, title", [
    ({"tags": ["parameters", "hide-input"]}, "n = 3", "Parameters"),
    ({"mystnb": {"figure": {"name": "fig-a"}}}, "plt.show()", "How this figure is drawn"),
    ({}, 'claims.check("a", figure="2")', "Claims"), ({}, "import numpy as np", "Set-up"), ({}, "x = 1", "Code")])
def test_a_fold_says_what_it_holds(metadata, source, title):
    assert parts.fold_title(metadata, source) == title


def test_folds_of_the_page_have_titles(page):
    titles = [title.get_text() for title in page.select("details.hide .collapsed")]
    assert titles[0] == "Parameters" and set(titles[1:]) == {"How this figure is drawn"}

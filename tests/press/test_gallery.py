"""The gallery and the provenance page: on the committed notebooks, and built from a toy book whose claims fail."""

import base64
import io
import json
import re
import shutil
from collections import Counter

import pytest
from committed import BOOK, NOTEBOOKS
from toy_book import code, make_project

from dlnutils import store
from dlnutils.press import ledger, notebooks
from dlnutils.press.ext import gallery, provenance
from dlnutils.press.notebooks import CLAIMS_TYPE

# --- the committed notebooks --------------------------------------------------------------------------------------

CARDS = gallery.cards_of(NOTEBOOKS)


def labelled_figures():
    """Every figure with a paper's label, found without the gallery's help."""
    return [(section, cell["metadata"]["mystnb"]["figure"]["name"], cell["metadata"]["dln"]["paper"],
             cell["metadata"]["dln"]["figure"]) for section, notebook in NOTEBOOKS.items() for cell in notebook["cells"]
            if "figure" in cell["metadata"].get("dln", {})]


def test_every_labelled_figure_is_one_card():
    assert Counter((card.section, card.name, card.paper, card.figure) for card in CARDS) == Counter(labelled_figures())
    assert Counter((card.paper, card.figure, card.part) for card in CARDS).most_common(1)[0][1] == 1


def test_what_goes_beyond_a_paper_comes_after_its_figures():
    for paper in gallery.PAPERS:
        beyond = [card.beyond for card in CARDS if card.paper == paper]
        assert beyond == sorted(beyond)
    assert [card.paper for card in CARDS] == sorted((card.paper for card in CARDS), key=list(gallery.PAPERS).index)
    figures = [card.figure for card in CARDS if card.paper == "saxe2013" and not card.beyond]
    assert figures.index("7") < figures.index("8") and figures.index("5 right") < figures.index("6A")


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_labelled_figure_says_in_one_plain_line_what_to_see(card):
    assert 20 < len(card.short) <= 90, "write it as 'short' beside the figure's label in the cell's metadata, under 'dln'"
    assert not re.search(r"[\\$`{}_^]|numref", card.short) and card.short[-1] not in ".:,;"
    assert not card.short[:1].islower() or not card.short[:1].isascii()


def test_no_two_cards_say_the_same():
    lines = Counter(card.short for card in CARDS)
    assert len(lines) == len(CARDS) > 100


@pytest.mark.parametrize("passed, words, css", [
    ([True, True], "2 of 2 claims hold", "dln-holds"), ([True], "1 of 1 claim holds", "dln-holds"),
    ([True, False], "1 FAILS: only 1 of 2 claims hold", "dln-fails"),
    ([False, False, None], "2 FAIL: only 0 of 3 claims hold", "dln-fails"),
    ([True, None], "1 of 2 claims hold, 1 not asserted", "dln-open"), ([], "no claims yet", "dln-open")])
def test_state_in_words(passed, words, css):
    assert gallery.state_of([{"passed": one} for one in passed]) == (words, css)


# --- a toy book, built --------------------------------------------------------------------------------------------

PAGES = {"index": "# Toy\n\n{tally}`holds saxe2013` of {tally}`claims all`; {tally}`figures all`, "
                  "{tally}`pictures all`\n\n```{dln-gallery}\n:figures: fig-b\n:short:\n```\n",
         "gallery": "# Gallery\n\n```{dln-gallery}\n```\n", "ledger": "# Ledger\n\n```{dln-ledger}\n```\n",
         "provenance": "# Provenance\n\n```{dln-provenance} runs\n```\n\n```{dln-provenance} records\n```\n\n"
                       "```{dln-provenance} pins\nmlxtend\n```\n\n```{dln-provenance} cite\n```\n"}


def picture(width, height, colour):
    from PIL import Image
    stream = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(stream, "PNG")
    return {"output_type": "display_data", "metadata": {}, "data": {
        "image/png": base64.b64encode(stream.getvalue()).decode(), "text/plain": "a figure"}}


def figure_cell(name, label, *outputs):
    figure = {"name": name, "caption": rf"Caption of {name}, $\lambda_1$ against $t$. More."}
    label = {"short": f"What to see in {name}", "paper": "saxe2013", "figure": label}
    cell = code("draw()", mystnb={"image": {"alt": f"Alt text of {name}"}, "figure": figure}, dln=label)
    return cell | {"outputs": list(outputs)}


def claims_cell(section, verdicts):
    """The output of ``claims.show()`` with claims of the given (figure, verdict)."""
    claims = [{"id": f"{section[8:]}-{number}", "figure": figure, "statement": f"claim {number}", "measured": 1.0,
               "shown": "1", "bound": [0, 2], "source": "theory", "passed": passed}
              for number, (figure, passed) in enumerate(verdicts)]
    payload = {"paper": "saxe2013", "section": section, "profile": "default", "claims": claims}
    return code("claims.show()") | {"outputs": [{"output_type": "display_data", "metadata": {}, "data": {
        CLAIMS_TYPE: payload, "text/plain": "claims"}}]}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy's pages as parsed text, and the folder of the site."""
    from bs4 import BeautifulSoup
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace
    root = tmp_path_factory.mktemp("toy")
    title = {"cell_type": "markdown", "metadata": {}}
    make_project(root, {
        "saddles/one": [title | {"source": "# One"}, code("n = 3\nseed = 77", tags=["parameters"]),
                        figure_cell("fig-b", "+one", picture(900, 600, "red")),
                        figure_cell("fig-a", "2", picture(900, 450, "blue")),
                        figure_cell("fig-c", "2", picture(300, 300, "green")),
                        claims_cell("saddles/one", [("2", True), ("2", False), ("2", True), ("+one", None)])],
        "saddles/two": [title | {"source": "# Two"}, code("n = 3\nseed = 78", tags=["parameters"]),
                        figure_cell("fig-d", "3 left")],
        "saddles/three": [title | {"source": "# Three"}, code("n = 3", tags=["parameters"])]})
    for section, processor in (("saddles/one", "abacus"), ("saddles/three", "slide rule")):
        notebook = notebooks.read_notebook(notebooks.notebook_path(root, section))
        versions = {"python": "3.11.7", "numpy": "2.4.6", "scipy": "1", "matplotlib": "3"}
        notebook["metadata"]["dln"] = {"profile": "default", "run_time": 12.0, "processor": processor, "versions": versions,
                                       "date": "2026-01-02", "package_hash": "0"}
        notebooks.notebook_path(root, section).write_text(json.dumps(notebook))
    for name, text in PAGES.items():
        path = root / "book" / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (root / "toc.md").write_text("# All\n\n```{toctree}\n:glob:\nbook/*\nnotebooks/saddles/*\n```\n")
    for name in ("constraints.txt", "CITATION.cff"):
        shutil.copy(BOOK / name, root / name)
    warnings = io.StringIO()
    ours = [f"dlnutils.press.ext.{name}" for name in ("pages", "ledger", "gallery", "provenance")]
    with docutils_namespace():                             # another toy may follow in this process
        app = Sphinx(root, None, root / "html", root / "trees", "html", status=None, warning=warnings, confoverrides={
            "extensions": ["myst_nb", *ours], "root_doc": "toc", "nb_execution_mode": "off", "numfig": True,
            "exclude_patterns": ["html"], "suppress_warnings": ["mystnb.unknown_mime_type"]})
        app.build()
    assert app.statuscode == 0 and "dln" not in warnings.getvalue(), warnings.getvalue()
    folder = root / "html" / "book"
    return {name: BeautifulSoup((folder / f"{name}.html").read_text(), "html.parser") for name in PAGES}, root


def card_of(soup, name):
    (item,) = [item for item in soup.select("li.dln-item") if item.find("a", href=re.compile(f"#{name}$"))]
    return item


def test_a_card_tells_that_a_claim_fails(toy):
    pages, _ = toy
    state = card_of(pages["gallery"], "fig-a").select_one(".dln-state")
    assert state.get_text() == "1 FAILS: only 2 of 3 claims hold" and "dln-fails" in state["class"]
    target = pages["ledger"].find(id=state["href"].partition("#")[2])
    assert target.select_one("h1, h2, h3, h4").get_text().startswith("Saxe Fig. 2")
    assert len(target.select("tbody tr")) == 3
    assert "1 not asserted" in card_of(pages["gallery"], "fig-b").get_text()


def test_labels_order_and_lines_of_the_cards(toy):
    items = toy[0]["gallery"].select("li.dln-item")
    assert [item.select_one(".dln-label").get_text() for item in items] == ["Saxe Fig. 2, 1 of 2", "Saxe Fig. 2, 2 of 2",
                                                                            "Saxe Fig. 3 left", "Beyond the paper"]
    assert items[0].select_one(".dln-line").get_text() == "What to see in fig-a"
    assert items[3].find_parent("section").find(["h2", "h3"]).get_text().startswith("Beyond the paper")
    assert items[0].select_one(".dln-section").get_text() == "One"


def test_thumbnails_are_small_lazy_and_described(toy):
    pages, root = toy
    images = pages["gallery"].select("img.dln-thumbnail")
    assert [(image["width"], image["height"]) for image in images] == [("480", "240"), ("300", "300"), ("480", "320")]
    for image in images:
        assert image["loading"] == "lazy" and image["alt"].startswith("Alt text of fig-")
        assert 0 < (root / "html" / "book" / image["src"]).resolve().stat().st_size < 3000


def test_a_notebook_without_outputs_has_a_card(toy):
    item = card_of(toy[0]["gallery"], "fig-d")
    assert not item.find("img") and "once the notebook has been run" in item.get_text()
    assert "no claims yet" in item.get_text()


def test_strip_and_tallies_of_the_front_page(toy):
    text = toy[0]["index"].get_text(" ")
    assert re.search(r"2\s+of\s+4\s*;\s*2\s*,\s*4", text)
    (item,) = toy[0]["index"].select("ul.dln-short li")
    assert item.find("img") and item.get_text(strip=True) == "Beyond the paper" and not item.select(".dln-state")


def test_a_thumbnail_is_made_again_only_when_the_figure_changes(tmp_path):
    class Environment:
        srcdir = tmp_path
    card = next(card for card in CARDS if card.picture)
    gallery.make_thumbnail(Environment, card.name, card.picture, card.alt)
    (first,) = (tmp_path / "_build" / "dln").iterdir()
    first.write_bytes(first.read_bytes())
    stamp = first.stat().st_mtime_ns
    gallery.make_thumbnail(Environment, card.name, card.picture, card.alt)
    assert first.stat().st_mtime_ns == stamp
    other = next(other for other in CARDS if other.picture and other.picture != card.picture)
    gallery.make_thumbnail(Environment, card.name, other.picture, card.alt)
    (second,) = (tmp_path / "_build" / "dln").iterdir()
    assert second != first


def test_provenance_of_the_toy(toy):
    soup = toy[0]["provenance"]
    rows = [[cell.get_text().strip() for cell in row.find_all("td")]
            for row in soup.select("table.dln-provenance tbody tr")]
    assert rows == [["One", "abacus", "77", "12 s", "dln run saddles/one"],
                    ["Two", "not run yet", "not run yet", "not yet measured", "dln run saddles/two"],
                    ["Three", "slide rule", "–", "12 s", "dln run saddles/three"]]
    shared = soup.select_one("ul.dln-shared").get_text(" ")
    assert "2.4.6" in shared and "changed since the run" in shared and "abacus" not in shared
    assert "2 of 3 notebooks ran; shared:" in soup.get_text(" ")
    assert "No long run is committed." in soup.get_text(" ") and "mlxtend 0." in soup.get_text(" ")


def test_facts_of_a_run():
    run = {"profile": "default", "date": "2026-01-02", "processor": "abacus", "versions": {},
           "package_hash": store.package_hash()}
    notebook = {"cells": [], "metadata": {"dln": run}}
    assert provenance.facts_of(notebook)["Package"] == "as now" and provenance.facts_of(notebook)["Seed"] == "–"
    assert provenance.facts_of({"cells": [], "metadata": {}}) == {}


def test_bibtex_of_the_citation_file():
    yaml = pytest.importorskip("yaml")
    cff = yaml.safe_load((BOOK / "CITATION.cff").read_text())
    own, *papers = provenance.bibtex(cff)
    assert own.startswith("@software{dlnutils,") and "{the dlnutils authors}" in own and f"{{{cff['version']}}}" in own
    assert [re.match(r"@misc\{(\w+),", entry)[1] for entry in papers] == [paper for paper in gallery.PAPERS
                                                                          if paper != "synthesis"]
    assert "Saxe, Andrew M. and McClelland, James L. and Ganguli, Surya" in papers[0] and "{1312.6120}" in papers[0]
    assert all(entry.count("{") == entry.count("}") for entry in (own, *papers))


def test_ledger_counts_are_what_the_cards_use():
    grouped = gallery.claims_by_figure(NOTEBOOKS)
    assert sum(map(len, grouped.values())) == len(ledger.collect(BOOK))
    assert all(grouped[card.paper, card.figure] for card in CARDS if card.picture)

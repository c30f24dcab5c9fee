"""Run here, in Chromium: pages that run whole, what a reader may change, and what goes wrong with words."""

import json
import re

import pytest

from dlnutils.press.ext.run_here import FOLDER

CLOSED_FORM = "notebooks/saddles/phase-portrait"
SOLVER = "notebooks/transfer/cost"
LONG = 400_000                                             # milliseconds: two cores that others use, too


@pytest.fixture(scope="session")
def pyodide(site):
    """The site holds Pyodide's files."""
    if not (site / "_static" / "pyodide" / "pyodide.asm.wasm").is_file():
        pytest.skip("the site was built without Pyodide (DLN_PYODIDE names no folder): pages are not run")
    return site / "_static" / "pyodide"


@pytest.fixture
def asked(page, address):
    """Addresses outside the site that the page asked for, and errors."""
    outside = []
    page.on("request", lambda request: None if request.url.startswith((address, "blob:", "data:", "about:"))
            else outside.append(request.url))
    return outside


def click(page, label):
    page.get_by_role("button", name=label, exact=True).click()


def status(page):
    return page.locator(".dln-run-status").inner_text()


def until(page, words):
    said = "words => document.querySelector('.dln-run-status').innerText.includes(words)"
    page.wait_for_function(said, arg=words, timeout=LONG)


def claims(page):
    """Measured value and verdict of every row of the last table of claims."""
    return page.locator("table.dln-claims").last.locator("tbody tr").evaluate_all(
        "rows => rows.map((row) => [row.cells[2].textContent, row.cells[5].textContent])")


def test_nothing_is_loaded_before_the_click(page, address):
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto(f"{address}/{CLOSED_FORM}.html")
    page.wait_for_load_state("networkidle")
    assert not [url for url in seen if "pyodide" in url or "worker.js" in url or url.endswith((".zip", ".json"))]
    assert re.search(r"loads \d+ MB", status(page))


@pytest.mark.parametrize("path", [CLOSED_FORM, SOLVER])
def test_a_page_runs_whole_with_the_claims_of_the_book(page, address, pyodide, asked, site, path):
    page.goto(f"{address}/{path}.html")
    committed = claims(page)
    pictures = page.locator("figure img").evaluate_all("images => images.map((image) => image.src)")
    click(page, "Run this page here")
    until(page, "Done in")
    name = path.removeprefix("notebooks/").replace("/", "--")
    count = len(json.loads((site / "_static" / FOLDER / "pages" / f"{name}.json").read_text())["claims"])
    assert f"{count} of {count} claims measure what the book shows" in status(page)
    assert claims(page) == committed and not page.locator(".dln-run-error").count()
    drawn = page.locator("figure img").evaluate_all("images => images.map((image) => image.src)")
    assert all(new.startswith("data:image/png") for new, old in zip(drawn, pictures)) and len(drawn) == len(pictures)
    assert not asked


def test_what_a_reader_changes(page, address, pyodide, asked):
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    until(page, "Done in")
    first = page.locator("figure img").first.get_attribute("src")
    code = page.get_by_label("Code of cell 1", exact=True)
    code.fill(code.input_value().replace("s = 1.0 ", "s = 1.4 "))
    click(page, "Run all")
    until(page, "shown and not asserted")
    assert page.locator("figure img").first.get_attribute("src") != first
    assert {verdict for _, verdict in claims(page)} == {"not asserted"}
    code.fill("s = = 1")
    click(page, "Run all")
    until(page, "Cell 1 stopped with an error")
    assert "SyntaxError" in page.locator(".dln-run-error").inner_text()
    page.reload()                                          # what was typed is still there
    click(page, "Run this page here")
    until(page, "Cell 1 stopped with an error")
    assert page.get_by_label("Code of cell 1", exact=True).input_value() == "s = = 1"
    click(page, "Reset")
    assert page.locator("textarea").count() == 0 and page.locator("figure img").first.is_visible()
    assert not page.locator("figure img").first.get_attribute("src").startswith("data:")
    assert not asked


def test_stop_stops(page, address, pyodide):
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    page.get_by_label("Code of cell 1", exact=True).fill("while True:\n    pass")
    until(page, "Cell 1 of")
    click(page, "Stop")
    assert "Stopped" in status(page)
    code = page.get_by_label("Code of cell 1", exact=True)
    code.fill("1 + 1")
    code.press("Shift+Enter")
    until(page, "Done in")
    assert page.locator(".dln-run-text").first.inner_text().strip() == "2"


def test_another_digest_is_refused_in_words(page, address, pyodide):
    page.route("**/numpy-*.whl", lambda route: route.fulfill(body=b"not numpy") if route.request.method == "GET"
               else route.continue_())
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    until(page, "it was refused")
    assert "another SHA-256" in status(page) and page.get_by_label("Code of cell 1", exact=True).is_visible()


def test_no_network_is_said_and_nothing_is_lost(page, address):
    page.goto(f"{address}/{CLOSED_FORM}.html")
    page.route("**/pyodide*", lambda route: route.abort())
    page.route("**/pyodide/**", lambda route: route.abort())
    click(page, "Run this page here")
    until(page, "is there a network?")
    page.get_by_label("Code of cell 1", exact=True).fill("s = 2.0")
    click(page, "Run all")
    until(page, "is there a network?")
    assert page.get_by_label("Code of cell 1", exact=True).input_value() == "s = 2.0"


def test_from_a_file_it_says_what_is_needed(page, site):
    page.goto((site / f"{CLOSED_FORM}.html").as_uri())
    click(page, "Run this page here")
    until(page, "python -m http.server")


def test_every_page_with_the_button_has_the_cells_of_its_notebook(page, address, site):
    for path in sorted((site / "_static" / FOLDER / "pages").glob("*.json")):
        page.goto(f"{address}/notebooks/{path.stem.replace('--', '/')}.html")
        assert page.locator("div.cell").count() == len(json.loads(path.read_text())["cells"]), path.stem

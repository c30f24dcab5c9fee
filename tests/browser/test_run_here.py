"""Run here, in Chromium: pages that run whole, what a reader may change, and what goes wrong with words."""

import json
import re

import pytest

from dlnutils.press.ext.run_here import FOLDER

CLOSED_FORM = "notebooks/saddles/phase-portrait"
SOLVER = "notebooks/transfer/cost"
TRAINING = "notebooks/saddles/exact-matrix-flow"           # has an exercise that answers, too
SMALLER = "notebooks/transfer/layers"
LONG = 400_000                                             # milliseconds: two cores that others use, too


@pytest.fixture(scope="session")
def pyodide(site):
    """The site holds Pyodide's files."""
    if not (site / "_static" / "pyodide" / "pyodide.asm.wasm.packed").is_file():
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
    page.locator(".dln-run-bar").get_by_role("button", name=label, exact=True).click()      # an explorer may have a Reset, too


def status(page):
    return page.locator(".dln-run-status").inner_text()


def until(page, words):
    said = "words => document.querySelector('.dln-run-status').innerText.includes(words)"
    page.wait_for_function(said, arg=words, timeout=LONG)


def code(page, number):
    return page.get_by_label(f"Code of cell {number}", exact=True)


def open_cells(page, address, path):
    """The cells as fields, and nothing running."""
    page.goto(f"{address}/{path}.html")
    click(page, "Run this page here")
    click(page, "Stop")
    until(page, "Stopped")
    page.locator("div.cell details").evaluate_all("folds => folds.forEach((fold) => { fold.open = true; })")


def run_cell(page, number, source):
    """Run one cell alone, and wait for its end."""
    code(page, number).fill(source)
    code(page, number).press("Shift+Enter")
    until(page, "Done in")


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


@pytest.mark.parametrize("path", [CLOSED_FORM, SOLVER, TRAINING])
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
    """The run ends with an error in the cell after the first figure, so it is a short one."""
    open_cells(page, address, CLOSED_FORM)
    drawing = 1 + page.locator("div.cell").evaluate_all("cells => cells.findIndex((cell) => cell.querySelector('figure img'))")
    figure = page.locator("figure img").first
    pictures = []
    for value in ("1.0", "1.4"):
        code(page, 1).fill(re.sub(r"^s = \S+", f"s = {value}", code(page, 1).input_value(), flags=re.M))
        code(page, drawing + 1).fill("claims.show()\n1 / 0")
        click(page, "Run all")
        until(page, f"Cell {drawing + 1} stopped with an error")
        assert "ZeroDivisionError" in page.locator(".dln-run-error").inner_text()
        pictures.append(figure.get_attribute("src"))
    assert all(picture.startswith("data:image/png") for picture in pictures) and pictures[0] != pictures[1]
    assert "Profile: custom" in page.locator(".dln-run-output table.dln-claims").inner_text()
    code(page, 1).fill("s = = 1")
    click(page, "Run all")
    until(page, "Cell 1 stopped with an error")
    assert "SyntaxError" in page.locator(".dln-run-error").first.inner_text()
    page.reload()                                          # what was typed is still there
    click(page, "Run this page here")
    until(page, "Cell 1 stopped with an error")
    assert code(page, 1).input_value() == "s = = 1"
    click(page, "Reset")
    assert page.locator("textarea").count() == 0 and figure.is_visible()
    assert not figure.get_attribute("src").startswith("data:")
    assert not asked


def test_an_exercise_answers(page, address, pyodide, site):
    open_cells(page, address, TRAINING)
    name = TRAINING.removeprefix("notebooks/").replace("/", "--")
    (number, check), = json.loads((site / "_static" / FOLDER / "pages" / f"{name}.json").read_text())["checks"].items()
    said = page.locator(".dln-run-check")
    starter = code(page, int(number))

    def answer(text):
        starter.fill(starter.input_value() if text is None else f"{check['answer']} = {text}")
        click(page, "Check my answer")
        until(page, "Done in")
        return said.all_inner_texts()

    assert answer(None) == []                              # nobody has tried
    assert answer("[1, 1, 1]") == ["Not yet."] == answer("[1, 1, 1]")          # the same once more is no second miss
    assert answer("[1, 1]") == ["at_the_end cannot be compared: 3 numbers are asked for, and here are 2."]
    assert answer("[4, 2, 1]") == [f"Not yet. Hint: {check['hint']}"]
    assert answer(str(check["expected"])) == ["Right, within 1 %."]


def test_a_heavy_page_begins_smaller_and_says_so(page, address, pyodide):
    page.goto(f"{address}/{SMALLER}.html")
    assert "these are smaller than in the book" in status(page)
    open_cells(page, address, SMALLER)
    assert re.search(r"^# Smaller, for the browser\..*minutes or so\.\n\w+ = .*# instead of ", code(page, 1).input_value(), re.M)


def test_stop_stops(page, address, pyodide):
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    code(page, 1).fill("while True:\n    pass")
    until(page, "Cell 1 of")
    click(page, "Stop")
    assert "Stopped" in status(page)
    run_cell(page, 1, "1 + 1")
    assert page.locator(".dln-run-text").first.inner_text().strip() == "2"
    run_cell(page, 1, "bytearray(2**31 - 1), bytearray(2**31 - 1)")            # more than a browser has
    assert "MemoryError" in page.locator(".dln-run-error").inner_text()
    run_cell(page, 1, "1 + 2")
    assert page.locator(".dln-run-text").first.inner_text().strip() == "3"


def test_two_tabs_and_a_page_that_is_left(page, address, pyodide):
    other = page.context.new_page()
    for tab, source in ((page, "print(1)\nwhile True:\n    pass"), (other, "print(2)")):
        open_cells(tab, address, CLOSED_FORM)
        code(tab, 1).fill(source)
        code(tab, 1).press("Shift+Enter")
    until(other, "Done in")
    until(page, "Cell 1 of")
    assert other.locator(".dln-run-text").first.inner_text().strip() == "2"
    page.goto(f"{address}/{SOLVER}.html")                  # in the middle of a run
    page.go_back()
    if page.locator("textarea").count() == 0:              # Chromium may have kept the page as it was
        click(page, "Run this page here")
        click(page, "Stop")
    assert code(page, 1).input_value().startswith("print(1)")


def test_a_blocked_worker_is_said(page, address, pyodide):
    page.add_init_script("window.Worker = class { constructor() { throw new Error('not allowed here'); } }")
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    until(page, "could not be started in this browser: not allowed here")
    assert code(page, 1).is_visible() and page.get_by_role("button", name="Run all", exact=True).is_enabled()


def test_another_digest_is_refused_in_words(page, address, pyodide):
    page.route("**/numpy-*.whl", lambda route: route.fulfill(body=b"not numpy") if route.request.method == "GET"
               else route.continue_())
    page.goto(f"{address}/{CLOSED_FORM}.html")
    click(page, "Run this page here")
    until(page, "it was refused")
    assert "another SHA-256" in status(page) and code(page, 1).is_visible()


def test_no_network_is_said_and_nothing_is_lost(page, address):
    page.goto(f"{address}/{CLOSED_FORM}.html")
    page.route("**/pyodide*", lambda route: route.abort())
    page.route("**/pyodide/**", lambda route: route.abort())
    click(page, "Run this page here")
    until(page, "is there a network?")
    code(page, 1).fill("s = 2.0")
    click(page, "Run all")
    until(page, "is there a network?")
    assert code(page, 1).input_value() == "s = 2.0"


def test_from_a_file_it_says_what_is_needed(page, site):
    page.goto((site / f"{CLOSED_FORM}.html").as_uri())
    click(page, "Run this page here")
    until(page, "python -m http.server")


def test_every_page_with_the_button_has_the_cells_of_its_notebook(page, address, site):
    for path in sorted((site / "_static" / FOLDER / "pages").glob("*.json")):
        page.goto(f"{address}/notebooks/{path.stem.replace('--', '/')}.html")
        assert page.locator("div.cell").count() == len(json.loads(path.read_text())["cells"]), path.stem

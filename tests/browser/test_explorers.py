"""The explorers of modes and of the mixed regime: their numbers, their keys and pointers, their links."""

import json
import math
import re

import numpy as np
import pytest
from explored import headline, until_changed

from dlnutils import mixed, phases, saddles

MODES, MIXED, LIVE = (f"book/explorers/{name}.html" for name in ("modes", "mixed-regime", "live"))
DRAWN = "document.querySelectorAll('.dln-plot svg polyline').length >= {}"


@pytest.fixture
def visit(faultless, address):
    """Open a page of the site and wait until its explorer has drawn; see `faultless`."""
    def go(path, base=None, lines=3):
        faultless.goto("about:blank")                           # so that a new fragment alone loads the page again
        faultless.goto(f"{base or address}/{path}")
        faultless.wait_for_function(DRAWN.format(lines))
        return faultless

    return go


def curves(page):
    """What is drawn: the coordinates of every line."""
    return page.eval_on_selector_all(".dln-plot polyline", "lines => lines.map((l) => l.getAttribute('points'))")


def relative(found, expected):
    found, expected = np.array(found, dtype=float), np.array(expected, dtype=float)
    assert np.all(np.isfinite(found))
    return np.abs(found - expected) / np.where(expected == 0, 1.0, np.abs(expected))


# --- numbers --------------------------------------------------------------------------------------------------------

def passages():
    """(u, s, u0, n_weights), from passages hardly begun to passages nearly over; 0 is infinite depth."""
    for n in (1, 2, 3, 4, 5, 10, 0):
        for s in (1e-3, 0.25, 1.0, 5.0, 1e3):
            for start in (1e-15, 1e-12, 1e-6, 1e-3, 0.1, 0.4):
                for end in (start * (1 + 1e-9), start * 1.01, 0.41, 0.5, 0.9, 1 - 1e-9):
                    if end > start:
                        yield end * s, s, start * s, n


def test_times_of_modes_agree_with_the_package(visit):
    grid = list(passages())
    expected = [saddles.deep_mode_time(u, s, u0, n) if n else saddles.deep_mode_time_infinite(u, s, u0)
                for u, s, u0, n in grid]
    found = visit(MODES).evaluate("grid => grid.map(([u, s, u0, n]) => dln.modes.time(u, s, u0, n || Infinity))", grid)
    assert len(grid) > 1000
    assert relative(found, expected).max() < 1e-12


def test_strengths_of_modes_agree_with_the_package(visit):
    grid, expected, allowed = [], [], []
    for n in (1, 2, 3, 5, 10):
        for s in (0.25, 1.0, 5.0, 1e3):
            for u0 in (1e-12 * s, 1e-6 * s, 1e-3 * s, 0.1 * s):
                half = saddles.deep_mode_time(s / 2, s, u0, n)
                t = half * np.array([0, 1e-9, 0.01, 0.5, 0.9, 0.99, 1, 1.01, 1.5, 10, 1e6])
                u = saddles.deep_mode_strength(t, s, u0, n)
                grid += [[value, s, u0, n] for value in t.tolist()]
                expected += u.tolist()
                # A mode that waits long passes within a few last digits of t: rounding t itself moves u by this much.
                rate = n * u**(1 - 2 / n) * np.maximum(s - u, 0)
                allowed += (1e-9 + 60 * np.finfo(float).eps * rate * t).tolist()
    found = visit(MODES).evaluate("grid => grid.map((a) => dln.modes.strength(...a))", grid)
    assert np.all(relative(found, expected) < allowed)
    assert np.median(allowed) < 1.01e-9


def test_strengths_at_infinite_depth_invert_the_time_of_the_package(visit):
    grid = [(x * s, s, u0 * s) for s in (0.25, 1.0, 5.0) for u0 in (1e-5, 1e-3, 0.1) for x in (0.2, 0.5, 0.9, 0.999)]
    times = [[float(saddles.deep_mode_time_infinite(u, s, u0)), s, u0] for u, s, u0 in grid]
    found = visit(MODES).evaluate("grid => grid.map(([t, s, u0]) => dln.modes.strength(t, s, u0, Infinity))", times)
    assert relative(found, [u for u, _, _ in grid]).max() < 1e-9


def test_singular_values_of_the_mixed_regime_agree_with_the_package(visit):
    grid = [[t / math.hypot(y, c), y, c, s0] for t in (0, 1e-12, 1e-3, 0.3, 1, 3, 30, 1e6)
            for y in (0, 1e-3, 1, 90, 1e4) for c in (1e-12, 1e-3, 1, 31.3, 1e4, 1e9) for s0 in (0, 1e-6, 5)]
    expected = [mixed.scalar_self_consistent(*a) for a in grid]
    page = visit(MIXED)
    assert relative(page.evaluate("grid => grid.map((a) => dln.mixed.strength(...a))", grid), expected).max() < 1e-9
    grid = [[x * y, y, c, 0] for x in (1e-6, 0.1, 0.5, 0.9, 1 - 1e-6) for y in (1e-3, 1, 90, 1e4)
            for c in (1e-12, 1e-3, 1, 31.3, 1e4, 1e9)]
    expected = [mixed.time_to_reach(*a) for a in grid]
    assert relative(page.evaluate("grid => grid.map((a) => dln.mixed.time(...a))", grid), expected).max() < 1e-9


def test_test_errors_agree_with_the_package(visit):
    cases, expected = [], []
    for d in (50, 200, 5000):
        s = d / math.sqrt(5) * np.array([1.2, 1.1, 1.0, 0.9, 0.8])
        for c in (1e-6, 1.0, d**0.6, float(d), float(d)**2):
            t = np.array([0, 0.01, 0.3, 1, 3, 100]) / math.hypot(d / math.sqrt(5), c)
            cases += [[value, s.tolist(), d, c] for value in t.tolist()]
            expected += mixed.random_matrix_test_error(t, s, d, c).tolist()
    page = visit(MIXED)
    assert relative(page.evaluate("cases => cases.map((a) => dln.mixed.testError(...a))", cases), expected).max() < 1e-9
    lazy = [[nu, 1.0, 1.0] for nu in (0.0, 0.1, 1.0, 300.0)]
    found = page.evaluate("cases => cases.map((a) => dln.mixed.lazyMinimum(...a))", lazy)
    assert relative(found, [mixed.lazy_minimum_test(*a)[0] for a in lazy]).max() < 1e-12


LEAST = """([signals, d, c, nu]) => Math.min(...dln.geomspace(1e-3, 30, 800).map((u) => {
    const t = u / Math.max(c, d / 2);
    return dln.mixed.testError(t, signals, d, c) + dln.mixed.startError(t, nu, c); }))"""


@pytest.mark.parametrize("d, bound", [(50, 0.05), (100, 0.012)])
def test_least_test_error_agrees_with_trained_networks(visit, d, bound):
    """What the page says of its approximations: the start forgotten at the lazy rate, the noise of large d."""
    page, worst = visit(MIXED), 0.0
    for x, y in [(-2.2, 2.0), (-2.0, 2.4), (-1.9, 2.6), (-2.0, 3.2), (-1.6, 3.2), (-1.2, 2.9), (-0.9, 1.6),
                 (-0.6, 1.5)]:
        run = phases.phase_diagram(d, [x], [y], k=5, seed=3, precision="single")
        signals = run.target_values.tolist()
        found = page.evaluate(LEAST, [signals, d, d**(x + y), d**(2 * x + y)])
        worst = max(worst, abs(found - run.test_error.item()))
    assert worst < bound


# --- keys, pointers, links ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("slider", ["s1", "u0", "depth"])
def test_arrow_keys_move_the_modes(visit, slider):
    page = visit(MODES)
    words, lines = headline(page), curves(page)
    control = page.locator(f"#dln-explorer-modes-{slider}")
    control.focus()
    said = control.get_attribute("aria-valuetext")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    until_changed(page, words)
    assert curves(page) != lines
    assert control.get_attribute("aria-valuetext") != said
    page.wait_for_function(f"location.hash.includes('{slider}=')")
    page.wait_for_function("document.querySelector('.dln-explorer [role=status]').innerText"
                           " === document.querySelector('.dln-headline').innerText")


def test_depth_one_has_no_stages(visit):
    assert "nearly the same time" in headline(visit(f"{MODES}#depth=1"))
    assert "earlier than" in headline(visit(f"{MODES}#depth=2"))


def test_switches_change_the_time_axis(visit):
    page = visit(MODES)
    before = curves(page)[0]
    page.get_by_role("switch", name="logarithmic").check()
    page.wait_for_function("before => document.querySelector('.dln-plot polyline').getAttribute('points') !== before",
                           arg=before)
    page.get_by_role("switch", name="slowest").focus()
    page.keyboard.press("Space")
    page.wait_for_function("document.querySelector('.dln-plot svg').textContent.includes('slowest')")


def test_the_address_restores_a_setting_and_reset_takes_it_back(visit):
    plain = headline(visit(MODES))
    page = visit(f"{MODES}#s1=4.5&depth=7&log=1")
    assert "s = 4.5" in headline(page) and headline(page) != plain
    assert page.locator("#dln-explorer-modes-depth").input_value() == "7"
    assert page.get_by_role("switch", name="logarithmic").is_checked()
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("plain => document.querySelector('.dln-headline').innerText === plain", arg=plain)
    page.wait_for_function("location.hash === ''")


def test_an_address_that_makes_no_sense_is_ignored(visit):
    plain = headline(visit(MODES))
    assert headline(visit(f"{MODES}#s1=abc&depth=&nothing=3&log=maybe")) == plain
    assert visit(f"{MODES}#depth=1000").locator("#dln-explorer-modes-depth").input_value() == "11"


@pytest.mark.parametrize("path", [MODES, MIXED])
def test_every_experiment_sets_what_it_says(visit, path):
    page = visit(path)
    buttons = page.locator("button.dln-try")
    assert buttons.count() >= 8
    for i in range(buttons.count()):
        wanted = dict(pair.split("=") for pair in buttons.nth(i).get_attribute("data-setting").split("&"))
        buttons.nth(i).click()
        prefix = page.locator(".dln-explorer").get_attribute("id")
        for name, value in wanted.items():
            control = page.locator(f"#{prefix}-{name}")
            if control.get_attribute("role") == "switch":
                assert control.is_checked() == (value == "1")
            else:
                shown = control.locator("xpath=..").locator("output").inner_text().replace("−", "-")
                assert float(shown.removeprefix("10") if name == "u0" else shown.replace("∞", "11")) == float(value)
        assert page.evaluate("document.activeElement.className").startswith("dln-explorer")


def test_the_point_of_the_phase_diagram_takes_keys(visit):
    page = visit(MIXED)
    knob, words, lines = page.locator(".dln-handle"), headline(page), curves(page)
    knob.focus()
    at = knob.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowRight")
    until_changed(page, words)
    assert knob.get_attribute("aria-valuetext") != at
    assert curves(page) != lines
    assert page.locator("#dln-explorer-mixed-regime-x").input_value() == "-1.6"
    assert page.locator("#dln-explorer-mixed-regime-y").input_value() == "2.45"
    assert page.evaluate("document.activeElement.className") == "dln-handle"          # redrawing keeps the focus


def test_keys_faster_than_a_frame_all_count(visit):
    page = visit(MIXED)
    words = headline(page)
    page.eval_on_selector(".dln-handle", """knob => ["ArrowUp", "ArrowUp", "ArrowRight"].forEach((key) =>
        knob.dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey: key === "ArrowRight", bubbles: true})))""")
    until_changed(page, words)
    assert page.locator("#dln-explorer-mixed-regime-x").input_value() == "-1.6"
    assert page.locator("#dln-explorer-mixed-regime-y").input_value() == "2.5"


def test_the_point_of_the_phase_diagram_can_be_dragged_and_placed(visit):
    page = visit(MIXED)
    knob = page.locator(".dln-handle")
    box, words = knob.bounding_box(), headline(page)
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*centre)
    page.mouse.down()
    page.mouse.move(centre[0] + 30, centre[1] - 10)
    page.mouse.move(centre[0] + 60, centre[1] - 20)
    until_changed(page, words)                             # while it is dragged, not only when it is let go
    page.mouse.up()
    page.wait_for_function("document.querySelector('.dln-headline').innerText.startsWith('Infinite noise')")
    moved = knob.bounding_box()
    assert abs(moved["x"] - box["x"] - 60) < 5 and abs(moved["y"] - box["y"] + 20) < 5
    page.mouse.click(centre[0] - 40, centre[1] + 30)
    page.wait_for_function("document.querySelector('.dln-headline').innerText.startsWith('Rich')")
    page.mouse.move(centre[0] + 60, centre[1] - 20)        # the button is up: the point stays
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert headline(page).startswith("Rich")


@pytest.mark.parametrize("x, y, region", [(-2.6, 2.0, "Rich"), (-2.2, 2.9, "Mixed"), (-2.2, 3.6, "Lazy"),
                                          (-0.5, 3.0, "Infinite noise"), (-2.0, 0.5, "Too narrow")])
def test_regions_have_their_names(visit, x, y, region):
    page = visit(f"{MIXED}#x={x}&y={y}")
    assert headline(page).startswith(region)
    assert (page.locator(".dln-doubtful").count() > 0) == (region == "Too narrow")


def test_the_drawn_best_moment_is_the_least_of_the_drawn_curve(visit):
    page = visit(f"{MIXED}#x=-2.2&y=2.6&d=200")
    points = [[float(v) for v in pair.split(",")] for pair in curves(page)[-1].split()]
    lowest = max(points, key=lambda point: point[1])       # pixels count downwards
    dot = page.eval_on_selector_all(".dln-plot circle",
                                    "all => all.map((c) => [c.cx, c.cy].map((v) => v.baseVal.value))")[-1]
    assert abs(lowest[0] - dot[0]) < 8 and abs(lowest[1] - dot[1]) < 1.5


# --- pages ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", [MODES, MIXED, LIVE])
def test_it_works_from_the_file_system(visit, site, path):
    page = visit(path, base=site.as_uri())
    before = headline(page)
    page.locator(".dln-explorer input[type=range]").first.focus()
    page.keyboard.press("ArrowRight")
    until_changed(page, before)


@pytest.mark.parametrize("path", [MODES, MIXED, LIVE])
def test_it_fits_a_phone(visit, page, path):
    page.set_viewport_size({"width": 390, "height": 844})
    visit(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plots = page.locator(".dln-plot svg")
    assert all(plots.nth(i).bounding_box()["width"] <= 366 for i in range(plots.count()))
    controls = page.locator(".dln-controls").bounding_box()
    first = page.locator(".dln-stage .dln-plot").first.bounding_box()
    assert controls["y"] + controls["height"] <= first["y"]


def test_scripts_are_loaded_where_they_are_used_and_nowhere_else(site):
    pages = {path.relative_to(site).as_posix(): path.read_text(encoding="utf-8") for path in site.rglob("*.html")
             if "_static" not in path.parts}
    using = {path for path, text in pages.items() if re.search(r"<script[^>]*_static/explorers/", text)}
    assert using >= {MODES, MIXED, LIVE}
    assert using == {path for path, text in pages.items() if 'class="dln-explorer"' in text}
    assert "mixed-regime.js" not in pages[MODES] and "modes.js" not in pages[MIXED] and "live.js" not in pages[MODES]


def test_without_scripts_the_page_says_what_one_would_see(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/{MODES}")
    assert "needs JavaScript" in page.inner_text(".dln-explorer")
    assert len(page.inner_text(".dln-explorer-words")) > 200
    assert not page.locator("button.dln-try").first.is_visible()
    context.close()


def test_plots_say_what_they_show(visit):
    for path in (MODES, MIXED, LIVE):
        labels = visit(path).eval_on_selector_all(".dln-plot svg", "all => all.map(s => s.getAttribute('aria-label'))")
        assert len(labels) >= 2 and all(len(label) > 60 and "NaN" not in label for label in labels), json.dumps(labels)

"""The explorer of transfer: it shows the committed table, and answers to keys, pointers and links."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from explored import headline, until_changed

from dlnutils.press.ext import explorer_table

ROOT = Path(__file__).resolve().parents[2]
PAGE = "book/explorers/transfer.html"


@pytest.fixture(scope="module")
def table():
    """The table that is committed."""
    return explorer_table.read_table(ROOT)


@pytest.fixture
def visit(faultless, address, table):
    """Open the explorer with a setting and wait until it has drawn; see `faultless`."""
    def go(setting="", base=None):
        faultless.goto("about:blank")                           # so that a new fragment alone loads the page again
        faultless.goto(f"{base or address}/{PAGE}#{setting}")
        faultless.wait_for_function("document.querySelectorAll('.dln-plot circle').length >= 18")
        return faultless

    return go


def losses(table, kind):
    """Losses as an array over scaling, richness, depth, data, width and learning rate; nan where training diverged."""
    shape = [len(table[axis]) for axis in table["axes"][:-1]] + [len(table["learning_rate"][0])]
    return np.array(table[f"{kind}_loss"], dtype=float).reshape(shape)


def best(rates, curve):
    """The rule of the explorer, with numpy: a parabola through the first valley, in the logarithms."""
    rises = np.flatnonzero(~(curve[1:] <= curve[:-1]))     # a divergence is a rise
    i = rises[0] if len(rises) else len(curve) - 1
    if i in (0, len(curve) - 1) or np.isnan(curve[i + 1]):
        return rates[i]
    a, b, _ = np.polyfit(np.log(rates[i - 1:i + 2]) - np.log(rates[i]), np.log(curve[i - 1:i + 2]), 2)
    return rates[i] * np.exp(-b / (2 * a))


def settings(table):
    """Every setting of the explorer with its place in the table."""
    axes = [table[axis] for axis in table["axes"][:3]] + [range(len(table["data"])), range(len(table["width"]))]
    for place in itertools.product(*(range(len(axis)) for axis in axes)):
        scaling, gamma, depth, data, width = (axis[i] for axis, i in zip(axes, place))
        yield place, {"scaling": scaling, "gamma": gamma, "depth": depth, "data": data, "width": width}


# --- numbers --------------------------------------------------------------------------------------------------------

def test_the_page_holds_the_committed_table(visit, table):
    assert visit().evaluate("dln.data.transfer") == table


@pytest.mark.parametrize("kind", ["test", "train"])
def test_every_curve_and_its_best_rate(visit, table, kind):
    grid = list(settings(table))
    found = visit().evaluate("""settings => settings.map((setting) => {
        const curve = dln.transfer.curve(dln.data.transfer, setting);
        return {curve, ...dln.transfer.best(dln.transfer.rates(dln.data.transfer, setting.depth), curve)};
    })""", [setting | {"train": kind == "train"} for _, setting in grid])
    expected = losses(table, kind)
    assert len(grid) == expected[..., 0].size
    for (place, _), item in zip(grid, found):
        np.testing.assert_array_equal(np.array(item["curve"], dtype=float), expected[place])
        rates = np.array(table["learning_rate"][place[2]])
        assert item["rate"] == pytest.approx(best(rates, expected[place]), rel=1e-9)


@pytest.mark.parametrize("curve, expected", [
    ([4, 2, 1, 2, 4], 4.0),                                # a symmetric valley
    ([4, 2, 1, None, None], 4.0),                          # nothing to fit: the entry itself
    ([1, 2, 3, 4, 5], 1.0), ([5, 4, 3, 2, 1], 16.0),       # no valley: an end
    ([4, 2, 3, 1, 2], 2 ** (1 + np.log(4 / 3) / np.log(9))),     # the first valley, not the lowest; by hand
])
def test_best_rate_of_plain_curves(visit, curve, expected):
    found = visit().evaluate("curve => dln.transfer.best([1, 2, 4, 8, 16], curve).rate", curve)
    assert found == pytest.approx(expected, rel=1e-9)


def test_a_setting_outside_the_table_is_refused(visit):
    with pytest.raises(Exception, match="not in the table"):
        visit().evaluate("""dln.transfer.curve(dln.data.transfer,
                            {scaling: "NTK", gamma: 3, depth: 2, data: 0, width: 0, train: false})""")


@pytest.mark.parametrize("scaling", ["µP", "NTK"])
def test_the_headline_says_how_far_the_best_rate_moves(visit, table, scaling):
    page = visit("gamma=1&depth=3" + ("&ntk=1" if scaling == "NTK" else ""))
    place = table["scaling"].index(scaling), table["gamma"].index(2), table["n_hidden"].index(3), 1
    rates = np.array(table["learning_rate"][place[2]])
    narrow, wide = (best(rates, losses(table, "test")[place][width]) for width in (0, -1))
    assert headline(page).startswith(f"{scaling}: ")
    assert f"moves up by {np.log2(wide / narrow):.1f} octave" in headline(page)


def test_curves_are_drawn_where_their_numbers_are(visit, table):
    """Heights on the page are linear in the logarithm of the loss: compared through two of the axis's own ticks."""
    page = visit()
    drawn = page.evaluate("""() => {
        const plot = document.querySelector(".dln-plot");
        const box = plot.querySelector("svg").getBoundingClientRect();
        const ticks = [...plot.querySelectorAll("text[text-anchor=end]")].map((text) => text.textContent);
        const grid = [...plot.querySelectorAll(".dln-grid line")]
            .filter((l) => l.getAttribute("y1") === l.getAttribute("y2"));
        const lines = [...plot.querySelectorAll("polyline")].map((l) => l.getAttribute("points"));
        return {ticks, heights: grid.map((l) => Number(l.getAttribute("y1"))), lines};
    }""")
    values = [float(tick.replace("10", "1e", 1).replace("−", "-")) if tick.startswith("10") and len(tick) > 2
              else float(tick) for tick in drawn["ticks"]]
    slope, start = np.polyfit(np.log(values), drawn["heights"], 1)
    # The thick part of the widest network's curve: two lines a width, the thick one first.
    heights = np.array([float(pair.split(",")[1]) for pair in drawn["lines"][-2].split()])
    expected = losses(table, "test")[table["scaling"].index("µP"), table["gamma"].index(4), 1, 1, -1][:len(heights)]
    np.testing.assert_allclose(start + slope * np.log(expected), heights, atol=0.2)


# --- keys, pointers, links ------------------------------------------------------------------------------------------

def lines(page):
    return page.eval_on_selector_all(".dln-plot polyline", "lines => lines.map((l) => l.getAttribute('points'))")


def test_keys_change_the_plot(visit):
    page = visit()
    seen = [headline(page)]
    for name, key in (("gamma", "ArrowLeft"), ("depth", "ArrowRight"), ("ntk", "Space"), ("train", "Space"),
                      ("data", "ArrowUp")):
        before, drawn = headline(page), lines(page)
        page.focus(f"#dln-explorer-transfer-{name}")
        page.keyboard.press(key)
        page.wait_for_function("""before => JSON.stringify([...document.querySelectorAll(".dln-plot polyline")]
            .map((l) => l.getAttribute("points"))) !== JSON.stringify(before)""", arg=drawn)
        seen.append(headline(page))
        assert before == seen[-2]
    assert seen[3] != seen[2] and seen[3].startswith("NTK")
    assert page.get_attribute("#dln-explorer-transfer-gamma", "aria-valuetext") == "2"


def test_the_mouse_changes_the_plot_and_reset_undoes_it(visit):
    page = visit()
    before = headline(page)
    page.click("label[for=dln-explorer-transfer-ntk]")
    until_changed(page, before)
    assert headline(page).startswith("NTK")
    changed = headline(page)
    page.click(".dln-reset")
    until_changed(page, changed)
    assert headline(page) == before


def test_the_address_keeps_and_restores_a_setting(visit):
    page = visit("gamma=0&depth=3&ntk=1&data=2&train=1")
    assert page.input_value("#dln-explorer-transfer-data") == "2"
    assert page.is_checked("#dln-explorer-transfer-train") and page.is_checked("#dln-explorer-transfer-ntk")
    assert page.inner_text("output[for=dln-explorer-transfer-gamma]") == "1"
    drawn = lines(page)
    page.uncheck("#dln-explorer-transfer-ntk")
    page.wait_for_function("!location.hash.includes('ntk') && location.hash.includes('gamma=0')")
    assert lines(page) != drawn


def test_the_buttons_of_things_to_try(visit):
    page = visit()
    buttons = page.locator("button.dln-try")
    assert buttons.count() >= 5
    seen = set()
    for i in range(buttons.count()):
        buttons.nth(i).click()
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")    # drawn
        seen.add(headline(page))
    assert len(seen) >= 5


def test_no_script_is_loaded_on_other_pages(page, address):
    page.goto(f"{address}/book/notation.html")
    assert page.evaluate("window.dln === undefined")


def test_it_works_from_the_file_system(visit, site, table):
    page = visit("ntk=1", base=site.as_uri())
    assert headline(page).startswith("NTK")
    assert page.evaluate("dln.data.transfer.test_loss.length") == len(table["test_loss"])


def test_it_fits_a_phone(visit, page):
    page.set_viewport_size({"width": 390, "height": 844})
    visit()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    select = page.locator("#dln-explorer-transfer-data").bounding_box()
    assert select["x"] >= 0 and select["x"] + select["width"] <= 390

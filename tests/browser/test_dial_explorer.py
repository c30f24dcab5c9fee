"""The explorer of the dial: its numbers and the papers' places against the package, its slider, its words, its pages."""

import numpy as np
import pytest
from explored import headline, until_changed

from dlnutils import dmft, mixed, parameterizations, saddles, tasks

PAGES = ("book/explorers/dial.html", "notebooks/synthesis/one-dial.html")
SLIDER = "#dln-explorer-dial-x"
DRAWN = ".dln-plot polyline", "all => all.map((line) => line.getAttribute('points'))"


@pytest.fixture
def visit(faultless, address):
    """Open the explorer with a setting and wait until it has drawn; see `faultless`."""
    def go(setting="", path=PAGES[0], base=None):
        faultless.goto("about:blank")                           # so that a new fragment alone loads the page again
        faultless.goto(f"{base or address}/{path}#{setting}")
        faultless.wait_for_function("document.querySelectorAll('.dln-plot polyline').length >= 4")
        return faultless

    return go


@pytest.fixture(scope="module")
def model(opened_once, address):
    """A function of a script and its argument, which asks the model of the page for numbers."""
    return opened_once(f"{address}/{PAGES[0]}", "Boolean(window.dln && dln.dial && dln.dial.MARKS)")


# --- numbers --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("c", [1e-8, 1e-3, 0.1, 1.0, 30.0, 100.0])
def test_closed_forms_agree_with_the_package(model, c):
    t = np.linspace(0, 3, 31) * float(mixed.time_to_reach(0.5, 1.0, c))
    expected = {"saxe": saddles.two_layer_mode_strength(t, 1.0, c / 2), "lazy": -np.expm1(-2 * c * t),
                "tu": mixed.scalar_self_consistent(t, 1.0, c)}
    found = model("""([t, c]) => Object.fromEntries(Object.entries(dln.dial.strength).map(
        ([name, u]) => [name, t.map((v) => u(v, c))]))""", [t.tolist(), c])
    for name, u in expected.items():
        np.testing.assert_allclose(found[name], u, rtol=1e-9, atol=1e-20)
    assert model("c => dln.dial.half(c)", c) == pytest.approx(float(mixed.time_to_reach(0.5, 1.0, c)), rel=1e-12)


@pytest.mark.parametrize("gamma0", [0.01, 0.4, 1.0, 8.0, 1000.0])
def test_the_typical_neuron_is_the_mean_field_theory_of_the_package(model, gamma0):
    eta = 0.1 / gamma0 / np.hypot(1, 1 / gamma0)
    theory = dmft.solve_dmft(dmft.isotropic(1), n_steps=60, n_hidden=1, gamma0=gamma0, learning_rate=eta)
    found = model("([gamma0, eta]) => dln.dial.meanField(gamma0, eta, 60)", [gamma0, eta])
    np.testing.assert_allclose(found, theory.excess_loss, atol=1e-12)


@pytest.mark.parametrize("c", [1e-8, 0.05, 3.0, 100.0])
def test_the_network_takes_the_steps_of_the_package(model, c):
    run = model("""c => {
        const network = dln.dial.start(c, 7, 200), {rate, n} = dln.dial.steps(c, 2 * dln.dial.half(c));
        const start = {a: [...network.a], b: [...network.b]};
        return {...start, rate, n, loss: dln.dial.train(network, rate, n)};
    }""", c)
    W1, W2, loss = np.array(run["a"])[:, None], np.array(run["b"])[None], []
    for _ in range(run["n"] + 1):
        loss.append((1 - (W2 @ W1).item())**2)
        W1, W2 = mixed.gd_step(W1, W2, [[1.0]], run["rate"], "simultaneous")
    assert run["rate"] == pytest.approx(0.01 / np.hypot(1, c))
    np.testing.assert_allclose(run["loss"], loss, rtol=1e-7, atol=1e-12)


def test_the_start_is_silent_and_has_the_drawn_size(model):
    """Squared lengths are c times a chi-squared number of 2000 distinct weights over 2000; the map is zero."""
    starts = model("""() => dln.linspace(1, 200, 200).map((draw) => {
        const {a, b} = dln.dial.start(0.3, draw), sum = (f) => a.reduce((total, _, i) => total + f(i), 0);
        return [sum((i) => a[i] * a[i]), sum((i) => b[i] * b[i]), sum((i) => a[i] * b[i])];
    })""")
    squares = np.array(starts)[:, :2] / 0.3
    assert np.abs(np.array(starts)[:, 2]).max() < 1e-12
    assert abs(squares.mean() - 1) < 4 * np.sqrt(2 / 2000 / 400)
    assert squares.std() == pytest.approx(np.sqrt(2 / 2000), rel=0.15)


def test_the_errors_are_the_largest_distances(model):
    for c in (0.001, 0.1, 0.4, 0.92, 10.0):
        t = np.linspace(0, float(mixed.time_to_reach(0.999, 1.0, c)), 801)
        u = mixed.scalar_self_consistent(t, 1.0, c)
        for name, theory in (("saxe", saddles.two_layer_mode_strength(t, 1.0, c / 2)), ("lazy", -np.expm1(-2 * c * t))):
            assert model("([name, c]) => dln.dial.error(name, c)", [name, c]) == pytest.approx(np.abs(theory - u).max(), rel=1e-9)


def test_the_papers_are_where_their_constants_put_them(model):
    marks = model("() => dln.dial.MARKS")
    strengths = tasks.hierarchical_singular_values(5, 0.1, 1000)[0]
    expected = {"saxe": 2e-6 / np.array([np.max(strengths), np.min(strengths)]),
                "tu": 12 / np.array([500 / 5**0.5, 2 * 500**0.5]), "bordelon": 1 / np.array([8, 6, 4, 2, 1, 0.4])}
    for name, widths in (("mup", [100]), ("ntk", [100, 1000, 10_000])):
        abc = parameterizations.parameterization(name, 1)
        expected[name] = []
        for m in widths:                                   # the mean of the layers, equal rates taken care of
            (v1, v2), (r1, r2) = np.array([1 / 785, 1.0]) * abc.scales(m)**2, abc.rates(m)
            expected[name].append(m / 2 * (v1 * (r2 / r1)**0.5 + v2 * (r1 / r2)**0.5))
    assert marks.keys() == expected.keys()
    for name, places in expected.items():
        np.testing.assert_allclose(marks[name], places, rtol=0.02, err_msg=name)


# --- the slider and the words ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("x, word", [(-7, "Rich"), (-2, "Rich"), (-1.1, "Rich"), (-0.4, "Between"), (-0.1, "Between"),
                                     (0, "Lazy"), (2, "Lazy")])
def test_the_words_name_the_theory_that_is_good(visit, x, word):
    page = visit(f"x={x}")
    words = headline(page)
    assert words.startswith(word)
    error = saddles.two_layer_mode_strength(0.0, 1.0, 10**x / 2).item()
    assert ("Saxe's sigmoid is good" in words) == (error <= 0.05)
    assert "NaN" not in words and "–" not in words.replace("Bordelon–Pehlevan", "")


def test_arrow_keys_turn_the_dial(visit):
    page = visit()
    words, lines = headline(page), page.eval_on_selector_all(*DRAWN)
    page.locator(SLIDER).focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    until_changed(page, words)
    assert page.eval_on_selector_all(*DRAWN) != lines
    assert headline(page).startswith("Between")
    assert page.get_attribute(SLIDER, "aria-valuetext") == "0.32, γ0 = 3.2, u0 = 0.16 s"
    page.wait_for_function("location.hash === '#x=-0.5'")
    page.wait_for_function("document.querySelector('.dln-explorer [role=status]').innerText"
                           " === document.querySelector('.dln-headline').innerText")
    page.get_by_role("button", name="Reset").click()
    page.wait_for_function("words => document.querySelector('.dln-headline').innerText === words", arg=words)


def test_every_experiment_sets_the_dial(visit):
    page = visit()
    buttons = page.locator("button.dln-try")
    assert buttons.count() >= 10
    for i in range(buttons.count()):
        buttons.nth(i).click()
        assert f"x={page.input_value(SLIDER)}" == buttons.nth(i).get_attribute("data-setting")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_thumb_stands_over_its_place_on_the_scale(visit, page, theme, width):
    page.emulate_media(color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 900})
    for x in (-8, -3, 2):
        visit(f"x={x}")
        box = page.locator(SLIDER).bounding_box()
        thumb = box["x"] + 8 + (box["width"] - 16) * (x + 8) / 10
        rule = page.locator(".dln-panel-plot svg line[stroke='#D55E00']").bounding_box()
        assert abs(rule["x"] + rule["width"] / 2 - thumb) < 3


# --- pages ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", PAGES)
def test_it_works_from_the_file_system(visit, site, path):
    page = visit(path=path, base=site.as_uri())
    before = headline(page)
    page.locator(SLIDER).focus()
    page.keyboard.press("ArrowRight")
    until_changed(page, before)


@pytest.mark.parametrize("path", PAGES)
def test_it_fits_a_phone(visit, page, path):
    page.set_viewport_size({"width": 390, "height": 844})
    visit(path=path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    svgs = page.locator(".dln-plot svg")
    assert all(svgs.nth(i).bounding_box()["width"] <= 366 for i in range(svgs.count()))
    # No word of the scale leaves its card, and none lies on another.
    boxes = [text.bounding_box() for text in page.locator(".dln-panel-plot svg text").all() if text.text_content()]
    card = page.locator(".dln-panel-plot .dln-plot").bounding_box()
    assert all(box["x"] >= card["x"] - 1 and box["x"] + box["width"] <= card["x"] + card["width"] + 1 for box in boxes)


def test_plots_say_what_they_show(visit):
    for x in (-8, -2, 0, 2):
        labels = visit(f"x={x}").eval_on_selector_all(".dln-plot svg", "all => all.map(s => s.getAttribute('aria-label'))")
        assert len(labels) == 2 and all(len(label) > 100 and "NaN" not in label for label in labels)

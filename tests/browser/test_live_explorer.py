"""The explorer that trains a network: its numbers against the package from the same start, its keys and buttons, its words."""

import numpy as np
import pytest
from explored import headline

from dlnutils import linear_networks, saddles, tasks

PAGE = "book/explorers/live.html"
ID = "#dln-explorer-live"


@pytest.fixture
def visit(faultless, address):
    """Open the explorer with a setting and wait until it has drawn; see `faultless`."""
    def go(setting="", base=None, calm=False):
        faultless.emulate_media(reduced_motion="reduce" if calm else "no-preference")
        faultless.goto("about:blank")                           # so that a new fragment alone loads the page again
        faultless.goto(f"{base or address}/{PAGE}#{setting}")
        faultless.wait_for_function("document.querySelectorAll('.dln-plot polyline').length >= 10")
        return faultless

    return go


@pytest.fixture(scope="module")
def model(opened_once, address):
    """A function of a script and its argument, which asks the model of the page for numbers."""
    return opened_once(f"{address}/{PAGE}", "window.dln && dln.live && dln.live.frames")


def step_of(page):
    """The step that the headline names; 0 before the first."""
    words = headline(page)
    return int(words.split("Step ")[1].split(",")[0]) if words.startswith("Step ") else 0


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def frames(page, n=2):
    page.evaluate("""n => new Promise((done) => {
        const next = () => (n-- ? requestAnimationFrame(next) : done()); next(); })""", n)


# --- numbers --------------------------------------------------------------------------------------------------------

SETTINGS = [{"task": task, "depth": depth, "u0": u0, "tanh": tanh, "random": random, "rate": 0.002 if depth < 5 else 0.001,
             "draw": 3} for task in ("tree", "map") for depth, u0 in ((2, 1e-3), (3, 1e-3), (5, 1e-2))
            for tanh in (False, True) for random in (False, True)]

TRAIN = """([setting, n, every]) => {
    const rows = dln.live.toRows, network = dln.live.start(setting), {U, V, s} = network.task;
    const history = [], see = () => {
        const seen = dln.live.look(network);
        history.push({modes: rows(seen.modes), loss: seen.loss});
    };
    const start = network.weights.map(rows);
    see();
    for (let i = 1; i <= n; i++) { dln.live.step(network); if (i % every === 0) see(); }
    return {start, end: network.weights.map(rows), history, U: rows(U), V: rows(V), s, target: rows(network.target)};
}"""


def tanh_reference(weights, target, rate, n_steps):
    """y = W_L tanh(... tanh(W_1)), at any depth, by hand: final weights and the outputs before every step and at the end."""
    weights, outputs = [W.copy() for W in weights], []
    for step in range(n_steps + 1):
        hidden = [np.tanh(weights[0])]
        for W in weights[1:-1]:
            hidden.append(np.tanh(W @ hidden[-1]))
        outputs.append(weights[-1] @ hidden[-1])
        if step == n_steps:
            return weights, np.array(outputs)
        error = outputs[-1] - target
        for i in range(len(weights) - 1, -1, -1):
            slope = error @ hidden[i - 1].T if i else error
            if i:
                error = (weights[i].T @ error) * (1 - hidden[i - 1]**2)
            weights[i] = weights[i] - rate * slope


def off(found, expected):
    """Largest distance of each matrix in the largest entry of what it should be."""
    found, expected = np.asarray(found), np.asarray(expected)
    return (np.abs(found - expected).max((-1, -2)) / np.abs(expected).max((-1, -2))).max()


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(
    [s["task"], str(s["depth"]), "tanh" if s["tanh"] else "linear", "random" if s["random"] else "modes"]))
def test_training_agrees_with_the_package_from_the_same_weights(model, setting):
    n, every = 1000, 20
    found = model(TRAIN, [setting, n, every])
    U, V, s, target = (np.array(found[name]) for name in ("U", "V", "s", "target"))
    start = [np.array(W) for W in found["start"]]
    assert [W.shape for W in start] == [(16, 8)] + [(16, 16)] * (setting["depth"] - 2) + [(8, 16)]
    np.testing.assert_allclose(target, U * s @ V.T, atol=1e-13)
    if not setting["tanh"]:
        end, maps = linear_networks.gradient_descent(start, target, learning_rate=setting["rate"], n_steps=n)
    else:
        end, maps = tanh_reference(start, target, setting["rate"], n)
        if setting["depth"] == 2:
            package = linear_networks.tanh_descent(*start, target, learning_rate=setting["rate"], n_steps=n)
            np.testing.assert_allclose(package.history, maps, rtol=1e-9, atol=1e-12)
            end, maps = package
    modes = [entry["modes"] for entry in found["history"]]
    assert off(modes, U.T @ maps[::every] @ V) < 1e-9
    assert max(off(mine, theirs) for mine, theirs in zip(found["end"], end)) < 1e-9
    losses = ((maps[::every] - target)**2).sum((1, 2)) / 2
    # A loss that is nearly gone is a difference of numbers of the size of the target.
    np.testing.assert_allclose([entry["loss"] for entry in found["history"]], losses, rtol=1e-9, atol=1e-12 * losses[0])
    assert losses[-1] < 0.5 * losses[0]                    # something was learned: the comparison has seen a passage


@pytest.mark.parametrize("depth, u0", [(2, 1e-5), (2, 1e-1), (3, 1e-3), (4, 1e-2), (5, 1e-2)])
@pytest.mark.parametrize("task", ["tree", "map"])
def test_a_start_on_the_modes_lies_on_the_theory_up_to_the_step(model, task, depth, u0):
    """Half the rate, half the distance: the simulation converges to saddles.deep_mode_strength."""
    distance = []
    for rate in (1e-4, 5e-5):
        end = 1.2 * saddles.deep_mode_time(4.7, 4.8, u0, depth) + 2e-3
        n = int(end / rate)
        every = max(1, n // 50)
        found = model(TRAIN, [{"task": task, "depth": depth, "u0": u0, "tanh": False, "random": False, "rate": rate,
                                          "draw": 1}, n, every])
        s = np.array(found["s"])
        modes = np.array([entry["modes"] for entry in found["history"]])
        theory = saddles.deep_mode_strength(rate * every * np.arange(len(modes))[:, None], s, u0, depth)
        distance.append(np.abs(np.diagonal(modes, axis1=1, axis2=2) - theory).max() / s[0])
        assert np.abs(modes * (1 - np.eye(8))).max() < 1e-9 * s[0]       # the modes never meet
    assert distance[0] < 0.03
    assert distance[1] / distance[0] == pytest.approx(0.5, abs=0.15)


def test_the_tree_is_that_of_the_package(model):
    found = model(TRAIN, [SETTINGS[0], 0, 1])
    s, V, target = (np.array(found[name]) for name in ("s", "V", "target"))
    values, multiplicity = tasks.hierarchical_singular_values(3, 0.1, 64)
    np.testing.assert_allclose(s, np.repeat(values, multiplicity), rtol=1e-12)
    np.testing.assert_allclose(V.T @ V, np.eye(8), atol=1e-14)
    # Items as like each other as in a large draw of the data: 64 features on average.
    n = 200_000
    data = tasks.hierarchical_dataset(3, 0.1, n, rng=5)
    np.testing.assert_allclose(target.T @ target / 64, data.T @ data / n, atol=5 / np.sqrt(n))


def test_the_random_map_is_white_and_its_directions_are_orthonormal(model):
    found = [model(TRAIN, [{**SETTINGS[0], "task": "map", "draw": draw}, 0, 1]) for draw in (1, 2)]
    for item in found:
        for name in ("U", "V"):
            np.testing.assert_allclose(np.array(item[name]).T @ item[name], np.eye(8), atol=1e-14)
        np.testing.assert_allclose(np.linalg.svd(item["target"], compute_uv=False), 1.6 * np.arange(10, 2, -1), rtol=1e-12)
    assert np.abs(np.array(found[0]["U"]) - found[1]["U"]).max() > 0.1


def test_random_weights_have_the_variance_that_is_said(model):
    weights = model("""() => Array.from({length: 40}, (_, draw) => dln.live.start(
        {task: "tree", depth: 5, u0: 0.01, tanh: false, random: true, rate: 0.01, draw}).weights.map(dln.live.toRows))""")
    entries = np.concatenate([np.ravel(W) for draw in weights for W in draw])
    assert len(set(entries)) == len(entries)
    z = entries / np.sqrt(0.02**(2 / 5) / 16)
    n = len(z)
    assert abs(z.mean()) < 4 / np.sqrt(n) and abs(np.mean(z**2) - 1) < 4 * np.sqrt(2 / n)
    assert abs(np.mean(z**4) - 3) < 4 * np.sqrt(96 / n)


def test_alignment_is_the_cosine_in_the_last_hidden_layer(model):
    setting = {**SETTINGS[0], "depth": 3, "tanh": True, "random": True, "task": "map"}
    found = model("""setting => {
        const rows = dln.live.toRows, network = dln.live.start(setting);
        for (let i = 0; i < 200; i++) dln.live.step(network);
        const seen = dln.live.look(network);
        return {W: network.weights.map(rows), U: rows(network.task.U), V: rows(network.task.V), cosines: rows(seen.cosines),
                busiest: seen.busiest};
    }""", setting)
    W1, W2, W3 = (np.array(W) for W in found["W"])
    hidden = np.tanh(W2 @ np.tanh(W1))
    reads, sends = np.array(found["U"]).T @ W3, hidden @ found["V"]
    expected = reads @ sends / np.linalg.norm(reads, axis=1)[:, None] / np.linalg.norm(sends, axis=0)
    np.testing.assert_allclose(found["cosines"], expected, atol=1e-12)
    assert found["busiest"] == pytest.approx(max(np.abs(hidden).max(), np.abs(np.tanh(W1)).max()), rel=1e-12)


def test_modes_align_before_they_grow(model):
    """What the page tells its reader to look at."""
    found = model("""() => {
        const network = dln.live.start({task: "tree", depth: 2, u0: 1e-3, tanh: false, random: true, rate: 0.002, draw: 1});
        for (let i = 0; i < 2000; i++) {
            const seen = dln.live.look(network);
            const aligned = [...Array(8).keys()].every((k) => dln.live.at(seen.cosines, k, k) > 0.9);
            if (aligned) return seen.u.map((u, k) => u / network.task.s[k]);
            dln.live.step(network);
        }
    }""")
    assert max(found[1:]) < 0.1                            # all but the strongest are hardly there yet


def test_items_stand_one_apart_where_the_tree_is_learned(model):
    found = model("""() => {
        const network = dln.live.start({task: "tree", depth: 2, u0: 1e-3, tanh: false, random: true, rate: 0.01, draw: 1});
        for (let i = 0; i < 1500; i++) dln.live.step(network);
        return dln.live.places(dln.live.look(network), network.task);
    }""")
    np.testing.assert_allclose(found, np.arange(8) - 3.5, atol=1e-9)


def test_the_stable_rate_is_that_of_the_package(model):
    grid = [(s, n) for s in (0.5, 1.0, 15.0) for n in (2, 3, 4, 5)]
    found = model("grid => grid.map(([s, n]) => dln.live.stableRate(s, n))", grid)
    np.testing.assert_allclose(found, [2 / saddles.max_hessian_eigenvalue(s, n) for s, n in grid], rtol=1e-12)


def test_dashed_curves_are_drawn_where_the_theory_is(visit):
    """Heights on the page are linear in the strength, through two of the axis's own ticks."""
    page = visit("depth=3")
    drawn = page.evaluate("""() => {
        const plot = document.querySelector(".dln-plot");
        const grid = [...plot.querySelectorAll(".dln-grid line")].map((l) =>
            ["x1", "x2", "y1", "y2"].map((k) => Number(l.getAttribute(k))));
        const ticks = (anchor) => [...plot.querySelectorAll(`svg > g > text[text-anchor=${anchor}]`)].map((t) => t.textContent);
        const line = [...plot.querySelectorAll("polyline[stroke-dasharray]")].at(-1).getAttribute("points");
        return {upright: grid.filter((l) => l[0] === l[1]).map((l) => l[0]),
                level: grid.filter((l) => l[2] === l[3]).map((l) => l[2]), x: ticks("middle"), y: ticks("end"), line};
    }""")
    x, y = (np.array([float(word) for word in drawn[axis] if word.replace(".", "").isdigit()]) for axis in "xy")
    points = np.array([[float(v) for v in pair.split(",")] for pair in drawn["line"].split()])
    t = np.polyval(np.polyfit(drawn["upright"], x, 1), points[:, 0])
    u = np.polyval(np.polyfit(drawn["level"], y, 1), points[:, 1])
    s = tasks.hierarchical_singular_values(3, 0.1, 64)[0][-1]
    np.testing.assert_allclose(u, saddles.deep_mode_strength(np.maximum(t, 0), s, 1e-3, 3), atol=0.08)


# --- buttons and keys -----------------------------------------------------------------------------------------------

def test_nothing_moves_before_one_asks(visit):
    page = visit()
    before = headline(page)
    frames(page, 20)
    assert headline(page) == before and "Press Play" in before
    page.locator("button.dln-try").first.click()
    frames(page, 20)
    assert step_of(page) == 0 and button(page, "Play").is_visible()


def test_buttons_play_pause_step_and_go_back(visit):
    page = visit()
    button(page, "Step").click()
    assert step_of(page) == 1
    button(page, "100 steps").click()
    assert step_of(page) == 101
    button(page, "Play").click()
    page.wait_for_function("Number(document.querySelector('.dln-headline').innerText.match(/Step (\\d+)/)[1]) > 105")
    button(page, "Pause").click()
    paused = step_of(page)
    frames(page, 10)
    assert step_of(page) == paused > 105
    button(page, "Restart").click()
    assert step_of(page) == 0 and "Press Play" in headline(page)


def test_keys_play_pause_and_step_when_the_stage_has_the_focus(visit):
    page = visit()
    stage = page.locator(f"{ID} .dln-stage")
    page.add_style_tag(content="* { scroll-behavior: auto !important }")       # focus would glide to the stage meanwhile
    stage.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert step_of(page) == 102
    top = page.evaluate("scrollY")
    page.keyboard.press("Space")
    page.wait_for_function("Number(document.querySelector('.dln-headline').innerText.match(/Step (\\d+)/)[1]) > 104")
    page.keyboard.press("Space")
    paused = step_of(page)
    frames(page, 10)
    assert step_of(page) == paused
    assert page.evaluate("scrollY") == top                 # the space bar did not scroll
    page.focus(f"{ID}-depth")                              # elsewhere the same keys do what they always do
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelector('.dln-headline').innerText.includes('Press Play')")
    assert page.input_value(f"{ID}-depth") == "3"
    assert "space" in stage.get_attribute("aria-label") and stage.get_attribute("role") == "group"


def test_space_on_a_button_presses_it_once(visit):
    page = visit()
    button(page, "Step").focus()
    page.keyboard.press("Space")
    frames(page, 5)
    assert step_of(page) == 1


def test_a_screen_reader_hears_the_headline_when_training_rests(visit):
    page = visit()
    button(page, "100 steps").click()
    page.wait_for_function("""document.querySelector('.dln-explorer [role=status]').innerText
        === document.querySelector('.dln-headline').innerText""")
    button(page, "Play").click()
    frames(page, 5)
    assert "Step 100," in page.inner_text(".dln-explorer [role=status]")               # not at every frame
    button(page, "Pause").click()
    page.wait_for_function("""document.querySelector('.dln-explorer [role=status]').innerText
        === document.querySelector('.dln-headline').innerText""")


def test_speed_and_heat_map_do_not_restart_the_training(visit):
    page = visit()
    button(page, "100 steps").click()
    title = page.locator(".dln-pair .dln-plot-title").first.inner_text()
    page.select_option(f"{ID}-picture", "cosine")
    page.focus(f"{ID}-speed")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('.dln-pair .dln-plot-title').innerText !== before", arg=title)
    assert step_of(page) == 100
    page.check(f"{ID}-tanh")
    page.wait_for_function("document.querySelector('.dln-headline').innerText.includes('Press Play')")


def test_less_motion_gives_still_pictures_and_steps(visit):
    page = visit("speed=1", calm=True)
    button(page, "Step").click()
    assert step_of(page) == 1
    page.evaluate("""() => { window.pictures = 0; new MutationObserver(() => { window.pictures += 1; })
        .observe(document.querySelector(".dln-headline"), {childList: true}); }""")
    button(page, "Play").click()
    page.wait_for_timeout(2000)
    assert 1 <= page.evaluate("window.pictures") <= 5
    button(page, "Pause").click()


# --- stages, words, pictures ----------------------------------------------------------------------------------------

def run_to_the_end(page, presses=60):
    said = []
    for _ in range(presses):
        button(page, "100 steps").click()
        said.append(headline(page))
        if not said[-1].startswith("Step"):
            break
    return said


def test_the_tree_is_learned_from_coarse_to_fine(visit):
    page = visit("rate=0.0005")
    said = run_to_the_end(page)
    first = [next(i for i, words in enumerate(said) if name in words.split("On the way")[0]) if i < 3 else len(said) - 1
             for i, name in enumerate(["common", "kingdoms", "kinds", "species"])]
    assert first == sorted(first) and len(set(first)) == 4
    assert said[-1].startswith("Learned in") and "away from the theory" in said[-1]


def test_finer_steps_come_nearer_to_the_theory(visit):
    said = [run_to_the_end(visit(f"rate={rate}"))[-1] for rate in (0.01, 0.002, 0.0005)]
    distance = [float(words.split("at most ")[1].split(" %")[0]) for words in said]
    assert distance[0] > 3 * distance[1] > 6 * distance[2]


def test_tanh_is_late_and_says_how_busy_it_is(visit):
    linear, tanh = (run_to_the_end(visit(f"rate=0.0005{setting}")) for setting in ("", "&tanh=1"))
    assert len(tanh) > len(linear) + 1
    assert "Largest hidden activity 0." in tanh[-2] and "activity" not in linear[-2]


def test_a_large_rate_is_said_and_diverges(visit):
    page = visit("rate=0.2")
    assert headline(page).startswith("Too fast. Above the rate 0.067")
    button(page, "100 steps").click()
    assert headline(page).startswith("Diverged at step")
    at = headline(page)
    button(page, "Step").click()
    assert headline(page) == at
    button(page, "Play").click()                           # starts again, and stops by itself
    page.wait_for_function("document.querySelector('.dln-acts button').textContent === 'Play'")
    assert headline(page) == at


def test_just_above_the_stable_rate_the_strongest_mode_finds_no_rest(visit):
    page = visit("rate=0.07")
    said = run_to_the_end(page, 20)
    assert "No rest" in said[-1] and "Above the rate 0.067" in said[-1]


def test_the_heat_map_lights_up_on_the_diagonal(visit):
    page = visit("rate=0.01")
    run_to_the_end(page)
    colours = page.eval_on_selector_all(".dln-pair > div:first-child rect[shape-rendering]", """all => all.map((r) =>
        r.getAttribute("fill").match(/\\d+/g).map(Number))""")
    redness = np.array([red - blue for red, _, blue in colours]).reshape(8, 8)
    assert (np.diag(redness) > 50).all() and np.abs(redness * (1 - np.eye(8))).max() < 5
    assert (np.diff(np.diag(redness)) <= 0).all() or redness[0, 0] > redness[-1, -1]


def test_a_random_map_shows_no_tree(visit):
    page = visit("task=map")
    assert page.locator(".dln-pair > div:visible").count() == 1
    assert visit().locator(".dln-pair > div:visible").count() == 2


def test_the_address_keeps_and_restores_a_setting(visit):
    page = visit("task=map&tanh=1&depth=4&u0=-1.5&random=1&rate=0.01&draw=7&speed=20&picture=cosine")
    assert page.input_value(f"{ID}-task") == "map" and page.input_value(f"{ID}-picture") == "cosine"
    assert page.is_checked(f"{ID}-tanh") and page.is_checked(f"{ID}-random")
    assert page.inner_text(f"output[for={ID[1:]}-rate]") == "0.01" and page.inner_text(f"output[for={ID[1:]}-speed]") == "20"
    button(page, "Reset").click()
    page.wait_for_function("location.hash === ''")
    assert page.input_value(f"{ID}-task") == "tree" and page.input_value(f"{ID}-depth") == "2"


def test_every_experiment_sets_what_it_says_and_learns_something(visit):
    page = visit(calm=True)                                # the page jumps to the explorer at once
    buttons = page.locator("button.dln-try")
    assert buttons.count() >= 12
    for i in range(buttons.count()):
        wanted = dict(pair.split("=") for pair in buttons.nth(i).get_attribute("data-setting").split("&"))
        buttons.nth(i).click()
        for name, value in wanted.items():
            control = page.locator(f"{ID}-{name}")
            if control.get_attribute("role") == "switch":
                assert control.is_checked() == (value == "1")
            elif control.evaluate("node => node.tagName") == "SELECT":
                assert control.input_value() == value
            else:
                shown = page.inner_text(f"output[for={ID[1:]}-{name}]").replace("−", "-")
                shown = {"u0": shown.removeprefix("10"), "rate": shown.replace("5·10-4", "0.0005")}.get(name, shown)
                assert float(shown) == float(value)
        frames(page)
        page.evaluate("document.querySelectorAll('.dln-acts button')[2].click()")
        assert headline(page).startswith(("Step ", "Learned in", "Diverged"))


def test_plots_say_what_they_show(visit):
    for setting in ("", "task=map&random=1&picture=cosine", "rate=0.2"):
        page = visit(setting)
        button(page, "100 steps").click()
        labels = page.eval_on_selector_all(".dln-plot svg", "all => all.filter((s) => s.checkVisibility()).map("
                                           "(s) => s.getAttribute('aria-label'))")
        assert len(labels) >= 3 and all(len(label) > 60 and "NaN" not in label for label in labels), labels


@pytest.mark.parametrize("speed, steps", [(100, 3), (20, 3), (2, 2), (1, 1)])
def test_a_frame_trains_as_asked_but_no_longer_than_its_time(visit, speed, steps):
    """By a clock that moves by a millisecond whenever it is read: three milliseconds of training are three steps."""
    page = visit(f"task=map&depth=5&u0=-2&random=1&tanh=1&rate=0.0005&speed={speed}")
    page.evaluate("performance.now = ((time) => () => time++)(0)")
    button(page, "Play").click()
    page.wait_for_function("dln.live.frames.length >= 5")
    button(page, "Pause").click()
    assert step_of(page) == steps * page.evaluate("dln.live.frames.length")


def test_it_works_from_the_file_system(visit, site):
    page = visit("random=1", base=site.as_uri())
    button(page, "Step").click()
    assert step_of(page) == 1


def test_it_fits_a_phone_and_its_buttons_fit_a_finger(visit, page):
    page.set_viewport_size({"width": 390, "height": 844})
    visit()
    button(page, "100 steps").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    plots = page.locator(".dln-plot svg")
    assert all(plots.nth(i).bounding_box()["width"] <= 366 for i in range(plots.count()))
    assert all(button(page, name).bounding_box()["height"] >= 24 for name in ("Play", "Step", "100 steps", "Restart"))
    controls = page.locator(".dln-controls").bounding_box()
    assert controls["y"] + controls["height"] <= plots.first.bounding_box()["y"]

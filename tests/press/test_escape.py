"""The page on escapes from a saddle: its chain of scalars keeps its laws, and its reduced networks are networks."""

import numpy as np
import pytest
from committed import NOTEBOOKS

from dlnutils import fitting, parameterizations, perceptron

DEPTHS = (2, 3, 4, 5)


@pytest.fixture(scope="module")
def page():
    """The functions of the page: its parameters and the two cells that define, without a figure."""
    scope = {}
    for cell in NOTEBOOKS["synthesis/escaping-the-saddle"]["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and ("parameters" in cell["metadata"].get("tags", []) or "def chain(" in text
                                            or "def draw_network(" in text or "def wait(" in text):
            exec(compile(text.replace("style.use_style()", ""), "page", "exec"), scope)
    return scope


def test_the_chain_keeps_its_laws(page):
    far = np.array([1e6, 1e7, 1e8])
    times = {L: page["chain_time"](L, far) for L in DEPTHS}
    powers = {L: fitting.fit_power_law(far, T).exponent for L, T in times.items()}
    assert abs(powers[2]) < 1e-3 and abs(powers[4] - 0.5) < 1e-3 and abs(powers[5] - 1) < 1e-3
    assert abs(np.polyfit(np.log(far), times[3], 1)[0] - 0.5) < 1e-5
    near = np.array([1e4, 1e5, 1e6])
    offset = near**0.5 - page["chain_time"](4, near)                     # T = sqrt(m) - C
    assert np.ptp(offset) < 0.05 and abs(offset[-1] - 2.0) < 0.01
    slope = np.polyfit(np.log(near), page["chain_time"](5, near) - near / 2, 1)[0]
    assert abs(slope + 0.5) < 0.005                                      # T = m/2 - ln(m)/2 + constant


@pytest.mark.parametrize("first", [1.0, 0.05])
def test_two_quadratures_of_the_chain_agree(page, first):
    for L in DEPTHS:
        for m in (30.0, 1e3, 1e6):
            assert page["wait"](L, m, first) == pytest.approx(page["chain_time"](L, m, first)[0], rel=1e-6)


@pytest.mark.parametrize("n_hidden", DEPTHS)
def test_a_reduced_network_takes_the_steps_of_the_full_one(page, n_hidden, m=12):
    p, M, q = page["draw_network"](n_hidden, m, m, np.random.default_rng(n_hidden))
    net = perceptron.MLP(parameterizations.parameterization("ip", n_hidden), [m**0.5 * p[:, None], *(m * M), m**0.5 * q[None]],
                         [np.zeros(m)], perceptron.linear(), 0.05, np.float64, "squared")
    X, y = np.array([[1.0], [-1.0]]), np.array([1.0, -1.0])              # both signs keep the bias at zero
    state = [p[None], M[None], q[None]]
    for _ in range(40):
        *move, u = page["velocity"](*state)
        assert net.step(X, y) == pytest.approx((1 - u[0])**2, abs=1e-12)
        state = [x + 0.1 * v for x, v in zip(state, move)]


@pytest.mark.parametrize("n_hidden", DEPTHS)
def test_sixteen_directions_are_enough(page, n_hidden, n=6):
    full = [page["draw_network"](n_hidden, 64, 64, rng) for rng in np.random.default_rng(n_hidden).spawn(n)]
    cut = [(p[:16], M[:, :16, :16], q[:16]) for p, M, q in full]
    found = []
    for networks in (full, cut):
        t, u = page["flow"](networks, [64] * n, relative=0.02)
        at = [fitting.first_crossing(np.arange(len(one)), one, page["half"]) for one in u.T]
        found.append([np.interp(i, np.arange(len(one)), one) for i, one in zip(at, t.T)])
    assert np.allclose(found[1], found[0], rtol=3e-3)


def test_small_initial_entries_have_the_law_of_a_full_draw(page, m=40, n=400):
    """The output at the start, over networks: mean zero and the variance of a product of full Gaussian matrices."""
    rngs = np.random.default_rng(3).spawn(n)
    u = np.array([page["velocity"](*(part[None] for part in page["draw_network"](3, m, 16, rng)))[3][0] for rng in rngs])
    assert abs(u.mean()) < 4 * u.std() / n**0.5
    assert u.var() == pytest.approx(1 / m**3, rel=4 * (2 / n)**0.5 * 2)   # two matrices, 1/m each, between vectors: (1/m)^2 / m

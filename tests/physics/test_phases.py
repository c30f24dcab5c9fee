"""Phase diagrams against the same training by textbook gradient descent, and their files and tables."""

import json
import sys

import numpy as np
import pytest

from dlnutils import mixed, phases
from dlnutils.tasks import low_rank_task

pytestmark = pytest.mark.filterwarnings("error")
GRID = {"gamma_sigma2": [-2.2, -1.5, -1.0, -0.3], "gamma_w": [0.2, 1.75, 2.4], "k": 2, "seed": 3, "cache": "off"}


@pytest.fixture(scope="module")
def diagram():
    return phases.phase_diagram(30, with_distance=True, **GRID)


def test_phase_diagram_of_explicit_loops(diagram):
    """Every point again, by textbook gradient descent on the same weights and the stopping rule written out."""
    d, rng_of = 30, np.random.SeedSequence(3)
    A_star, E = low_rank_task(d, 2, rng=3)
    Y, children = A_star + E, rng_of.spawn(12)
    for index, (row, column) in enumerate(np.ndindex(3, 4)):
        x, y = GRID["gamma_sigma2"][column], GRID["gamma_w"][row]
        c = d**(x + y)
        eta = 1 / 50 / (c if x + y > 1 else np.linalg.norm(A_star, 2))
        W = mixed.reduced_init(d, d, max(1, int(d**y)), d**x, np.random.default_rng(children[index]))
        B = W[1] @ W[0]
        train, test, ranks, above, apart = [], [], [], [], 0
        for i in range(750):
            A = W[1] @ W[0]
            train.append(np.sum((A - Y)**2) / d**2)
            test.append(np.sum((A - A_star)**2) / d**2)
            s = np.linalg.svd(A, compute_uv=False)
            ranks.append(np.sum(s**2) / s[0]**2)
            above.append(np.sum(s > c))
            apart = max(apart, np.sum((A - B)**2) / d**2)
            if train[i] < 1e-3 or i > 3 and (test[i - 2] < test[i - 1] < test[i]
                                             or abs(train[i] - train[i - 1]) < 2e-4 and train[0] - train[i] > 1e-2):
                break
            W1 = W[0] - eta * W[1].T @ (A - Y)
            W = W1, W[1] - eta * (A - Y) @ W1.T
            P1, P2 = mixed.roots(B, c)
            B = B - eta * (P2 @ (B - Y) + (B - Y) @ P1)
        best = int(np.argmin(test))
        at = row, column
        assert diagram.stop_step[at] == i and diagram.steps[at] == best and diagram.n_above[at] == above[best]
        assert diagram.test_error[at] == pytest.approx(test[best], rel=1e-10)
        assert diagram.last_test_error[at] == pytest.approx(test[-1], rel=1e-10)
        assert diagram.stable_rank[at] == pytest.approx(ranks[best], rel=1e-9)
        assert diagram.distance[at] == pytest.approx(apart, rel=1e-6)
        assert diagram.target_power == pytest.approx(np.mean(A_star**2)) and diagram.noise_power == pytest.approx(np.mean(E**2))


def test_phase_diagram_regions(diagram):
    assert diagram.test_error.shape == (3, 4) and set(diagram.reason.ravel()) <= set(phases.REASONS)
    assert np.all(diagram.stable_rank[0] < 1 + 1e-9)                          # width 1: rank one
    lazy = diagram.gamma > 1.05
    theory, left = mixed.lazy_minimum_test(diagram.start_power, diagram.target_power, diagram.noise_power)
    np.testing.assert_allclose(diagram.test_error[lazy], theory[lazy], atol=0.05)
    assert diagram.test_error[1, 0] < 0.4 < diagram.test_error[2, 2]
    np.testing.assert_allclose(diagram.threshold, 30**diagram.gamma)


def test_one_neuron_leaves_the_other_directions_of_the_signal():
    """No map of rank one is closer (Eckart and Young), and learning comes within what it costs to estimate one direction."""
    d, k = 60, 3
    signal, _ = low_rank_task(d, k, rng=4)
    missing = np.sum(np.linalg.svd(signal, compute_uv=False)[1:k]**2) / d**2
    point = phases.train_point(-2.0, 0.0, d=d, k=k, target_seed=4, rng=5)
    assert missing < point["test_error"] < missing + 2 * 2 / d


@pytest.mark.parametrize("gamma, least, most", [(0.6, 5, 5), (0.2, 16, 100), (1.2, 0, 0)])
def test_only_mixed_networks_have_the_signals_alone_above_the_threshold(gamma, least, most):
    point = phases.train_point(-2.0, 2.0 + gamma, d=100, k=5, target_seed=2, precision="single", rng=6)
    assert least <= point["n_above"] <= most


def test_phase_diagram_in_single_precision_and_without_distance(diagram):
    """Rounding: n operations in a row err by eps sqrt(n), and a mean over d^2 entries by 2 / d of that.

    The rule of the plateau compares a change with 2e-4. Where that is a matter of rounding, one of the two runs goes on for a
    step, in which its errors change by less.
    """
    single, d = phases.phase_diagram(30, precision="single", **GRID), 30
    operations = 3 * 2 * d * diagram.stop_step             # three products, each a sum over at most 2 d neurons
    rounding = 2 / d * np.finfo(np.float32).eps * np.sqrt(operations)
    alike, error = single.stop_step == diagram.stop_step, np.abs(single.test_error - diagram.test_error)
    assert (error < rounding)[alike].all() and (error < 2e-4).all() and alike.sum() >= 9
    assert np.isnan(single.distance).all() and np.abs(single.steps - diagram.steps).max() <= 1


def test_a_diverged_point_is_infinite_and_flagged():
    """Steps of 1 / 0.3 |A*| are unstable; weights of single precision may be infinite from the start."""
    wild = phases.phase_diagram(20, [-1.5], [1.8], k=2, seed=0, learning_rate_divisor=0.3, with_distance=True, cache="off")
    assert wild.diverged.all() and wild.reason[0, 0] == "diverged" and np.isfinite(wild.test_error).all()
    assert np.isinf(wild.last_test_error).all() and np.isinf(wild.distance).all()
    lost = phases.train_point(30.0, 1.0, d=20, k=2, target_seed=0, precision="single", rng=0)
    assert lost["reason"] == "diverged" and lost["test_error"] == lost["last_test_error"] == np.inf
    assert lost["steps"] == lost["stop_step"] == 0 and np.isnan(lost["stable_rank"])


def test_a_point_of_a_diagram_is_the_point_alone(diagram):
    child = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(5,)))
    point = phases.train_point(-1.5, 1.75, d=30, k=2, target_seed=3, with_distance=True, rng=child)
    assert {name: getattr(diagram, name)[1, 1] for name in point} == point


def test_phase_diagram_is_a_table(diagram):
    pytest.importorskip("pandas")
    table = diagram.to_frame()
    assert len(table) == diagram.test_error.size and not table.isna().any(axis=None)
    for row, column in np.ndindex(diagram.test_error.shape):
        entry = table.iloc[row * 4 + column]
        assert (entry.gamma_sigma2, entry.gamma_w) == (GRID["gamma_sigma2"][column], GRID["gamma_w"][row])
        assert entry.test_error == diagram.test_error[row, column] and entry.reason == diagram.reason[row, column]
        assert entry.threshold == pytest.approx(30**(entry.gamma_sigma2 + entry.gamma_w))


def test_a_table_without_pandas_says_what_to_do(diagram, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="to_frame needs pandas: python -m pip install pandas"):
        diagram.to_frame()


def test_phase_diagram_is_saved_and_loaded(diagram, tmp_path):
    path = tmp_path / "deep" / "diagram.npz"
    diagram.save(path)
    again = phases.PhaseDiagram.load(path)
    assert again.parameters == diagram.parameters and repr(again) == repr(diagram)
    for name in ("gamma_sigma2", "gamma_w", "test_error", "steps", "stable_rank", "n_above", "distance", "last_test_error",
                 "stop_step", "reason", "target_values", "target_power", "noise_power"):
        np.testing.assert_array_equal(getattr(again, name), getattr(diagram, name))
        assert np.asarray(getattr(again, name)).dtype == np.asarray(getattr(diagram, name)).dtype
    with np.load(path, allow_pickle=False) as stored:                          # readable without the package
        assert json.loads(str(stored["parameters"]))["d"] == 30
    np.savez(path, other=1)
    with pytest.raises(ValueError, match="PhaseDiagram.save"):
        phases.PhaseDiagram.load(path)


# --- bad input ------------------------------------------------------------------------------------------------------

POINT = {"d": 10, "k": 2, "target_seed": 0, "rng": 0}
BAD = {                                                    # call, what the message must say
    "point rate": (lambda: phases.train_point(-1.0, 1.0, learning_rate_divisor=0.0, **POINT),
                   "learning_rate_divisor must be greater than 0"),
    "point width": (lambda: phases.train_point(-1.0, -1.0, **POINT), "gamma_w must be at least 0"),
    "point precision": (lambda: phases.train_point(-1.0, 1.0, precision="half", **POINT), "precision .* 'double', 'single'"),
    "grid": (lambda: phases.phase_diagram(10, [[-1.0]], [1.0], seed=0), "gamma_sigma2 must be one-dimensional"),
    "grid empty": (lambda: phases.phase_diagram(10, [-1.0], [], seed=0), "gamma_w must be one-dimensional and not empty"),
    "grid seed": (lambda: phases.phase_diagram(10, [-1.0], [1.0], seed=-1), "seed .* -1"),
    "point seed": (lambda: phases.train_point(-1.0, 1.0, **POINT | {"target_seed": -1}), "target_seed must be .* -1"),
    "point rng": (lambda: phases.train_point(-1.0, 1.0, **POINT | {"rng": "x"}), "rng must be .* 'x'"),
    "point exponents": (lambda: phases.train_point([-1.0, 0.0], 1.0, **POINT), "gamma_sigma2 must be one number"),
    "grid order": (lambda: phases.phase_diagram(10, [-1.0], [1.0], seed=0, order="both"), "order must be one of"),
    "grid steps": (lambda: phases.phase_diagram(10, [-1.0], [1.0], seed=0, max_steps=2.5), "max_steps .* 2.5"),
    "grid width": (lambda: phases.phase_diagram(10, [-1.0], [-1.0], seed=0), "gamma_w must be at least 0, got -1"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

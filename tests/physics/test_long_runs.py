"""Long training on a coarse grid, and gradient flow of finite networks, against every step, exact limits and other solvers."""

import warnings

import numpy as np
import pytest

from dlnutils import dmft, scaling_laws
from dlnutils.dmft import Optimizer, isotropic, power_law, schedule, solve_dmft, solve_flow, solve_long, stability_edge, step_grid

BINS = power_law(300, 1.5, 0.5, n_exact=8, ratio=1.5)
KINDS = {
    "overfitting": (isotropic(1), dict(n_steps=299, n_hidden=2, width=2.0, gamma0=1.0, learning_rate=0.05, n_samples=0.9,
                                       noise=0.3)),
    "rich": (isotropic(1), dict(n_steps=299, n_hidden=3, width=1.0, gamma0=2.0, learning_rate=0.02, n_samples=3.0, noise=0.3)),
    "residual": (isotropic(1), dict(n_steps=219, n_hidden=3, width=1.0, gamma0=1.0, learning_rate=0.02, n_samples=2.0, noise=0.3,
                                    skip=True, branch_scale=0.7, centered=True)),
    "momentum": (isotropic(1), dict(n_steps=219, n_hidden=2, width=[1.0, 0.5], gamma0=1.0, n_samples=2.0, noise=0.3,
                                    optimizer=Optimizer(0.008, momentum=0.8, layer_rates=[1.0, 2.0, 0.5]))),
    "decay": (isotropic(1), dict(n_steps=219, n_hidden=2, width=1.0, gamma0=1.0, n_samples=2.0, noise=0.3,
                                 optimizer=Optimizer(schedule("cosine", 219, 0.04, warm_up=10), weight_decay=0.2))),
    "power law": (BINS, dict(n_steps=219, n_hidden=2, width=64.0, gamma0=1.0, learning_rate=0.03, n_samples=128.0)),
    "population": (BINS, dict(n_steps=219, n_hidden=1, width=64.0, gamma0=1.0, learning_rate=0.03))}


@pytest.mark.parametrize("kind", KINDS)
def test_a_coarse_grid_gives_what_every_step_gives(kind):
    """Within its own estimate of the error, which is below the accuracy asked for; the first steps to round-off."""
    spectrum, call = KINDS[kind]
    every, coarse = solve_dmft(spectrum, **call), solve_long(spectrum, **call)
    assert coarse.converged and coarse.error.max() < 0.001 and len(coarse.steps) < 80
    for name in ("test_loss", "train_loss"):
        apart = np.abs(getattr(coarse, name) / getattr(every, name)[coarse.steps] - 1)
        assert apart.max() < 1.5 * coarse.error.max()
        np.testing.assert_allclose(getattr(coarse, name)[:17], getattr(every, name)[:17], rtol=1e-11)
    parts, whole = coarse.decomposition, every.decomposition
    for cause in parts:
        np.testing.assert_allclose(parts[cause], whole[cause][coarse.steps], rtol=0.005, atol=1e-3)


def test_every_step_as_a_grid_is_the_solution_itself():
    spectrum, call = KINDS["momentum"]
    call = call | {"n_steps": 40}
    every, same = solve_dmft(spectrum, **call), solve_long(spectrum, grid=np.arange(41), **call)
    assert same.error is None and np.array_equal(same.steps, np.arange(41))
    np.testing.assert_allclose(same.test_loss, every.test_loss, rtol=1e-12)
    np.testing.assert_allclose(same.C_h, every.C_h, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(same.M, every.M, rtol=1e-10, atol=1e-13)


def test_errors_fall_with_the_square_of_the_gaps():
    spectrum, call = KINDS["rich"]
    every, errors = solve_dmft(spectrum, **call), []
    for ratio in (0.24, 0.12, 0.06):
        coarse = solve_long(spectrum, grid=step_grid(call["n_steps"], ratio=ratio), **call)
        errors.append(np.abs(coarse.test_loss / every.test_loss[coarse.steps] - 1).max())
    assert errors[0] / errors[1] > 3 and errors[1] / errors[2] > 3


def test_a_hundred_thousand_steps_end_where_least_squares_does():
    """``sigma^2 + sigma^2 D / (P - D)`` for more samples than inputs; ``sigma^2 (1 - D / P)`` on the samples."""
    long = solve_long(isotropic(1), n_steps=10**5, n_hidden=2, width=1.0, gamma0=1.0, learning_rate=0.05, n_samples=1.1,
                      noise=0.5, steps=[10, 1000, 10**5])
    assert long.converged and list(long.steps) == [10, 1000, 10**5]
    assert long.test_loss[-1] == pytest.approx(0.25 + 0.25 / 0.1, rel=1e-4)
    assert long.train_loss[-1] == pytest.approx(0.25 * (1 - 1 / 1.1), rel=1e-4)
    assert list(long.to_frame()["step"]) == [10, 1000, 10**5]
    assert "100001 times, of which 3 are solved" in repr(long)
    with pytest.raises(ValueError, match="one by one"):
        _ = long.kernel


def test_a_rate_that_steps_would_amplify_is_refused():
    """Steps pass the edge and their loss jumps, which the grid would not see; the rate that is named as safe is."""
    call = dict(n_steps=200, n_hidden=2, width=64.0, gamma0=2.0, n_samples=128.0)
    every = solve_dmft(BINS, learning_rate=0.1, **call)
    assert 0.1 * every.kernel.max() * dmft.largest_eigenvalue(BINS, 128.0) > 2 and np.diff(every.train_loss[50:]).max() > 0.005
    with pytest.raises(ValueError, match=r"edge of stability at step \d+.*got 0.1: 0\.\d+ is safe") as error:
        solve_long(BINS, learning_rate=0.1, **call)
    rate = float(str(error.value).split("got 0.1: ")[1].split(" is")[0])
    assert 0.03 < rate < 0.08
    safe = solve_long(BINS, learning_rate=0.98 * rate, **call)
    every = solve_dmft(BINS, learning_rate=0.98 * rate, **call)
    np.testing.assert_allclose(safe.test_loss, every.test_loss[safe.steps], rtol=2e-3)


@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.5, False), (0.9, False), (0.5, True), (0.9, True)])
def test_the_edge_of_stability_by_bisection(momentum, nesterov):
    """A lazy network's error grows beyond the edge and falls below it."""
    edge = stability_edge(isotropic(1), 2, momentum=momentum, nesterov=nesterov)
    grows = [solve_dmft(isotropic(1), n_steps=80, n_hidden=2, gamma0=1e-4, optimizer=Optimizer(
        factor * edge, momentum=momentum, nesterov=nesterov)).test_loss for factor in (0.98, 1.02)]
    assert grows[0][-20:].max() < grows[0][20:40].max() and grows[1][-20:].max() >= grows[1][20:40].max()


def test_the_largest_eigenvalue_of_a_sample():
    assert dmft.largest_eigenvalue(isotropic(100), 50) == pytest.approx((1 + 2**0.5)**2, rel=1e-12)
    assert dmft.largest_eigenvalue(BINS) == BINS.eigenvalues.max()
    spectrum = dmft.Spectrum([1.0, 0.7], [1.0, 1.0], [150, 150])
    rng, tops = np.random.default_rng(0), []
    for _ in range(8):
        X = rng.standard_normal((600, 300)) * np.repeat(spectrum.eigenvalues, 150)**0.5
        tops.append(np.linalg.eigvalsh(X.T @ X / 600)[-1])
    assert dmft.largest_eigenvalue(spectrum, 600) == pytest.approx(np.mean(tops), rel=0.02)
    # The edge for samples is where the theory of a lazy network starts to grow.
    edge = stability_edge(spectrum, 1, n_samples=600)
    ends = [solve_dmft(spectrum, n_steps=150, n_hidden=1, gamma0=1e-4, learning_rate=f * edge, n_samples=600).train_loss
            for f in (0.97, 1.03)]
    assert ends[0][-1] < ends[0][100] and ends[1][-1] > ends[1][100]
    assert stability_edge(dmft.Spectrum([0.0], [1.0]), 1, n_samples=3) == np.inf


# --- gradient flow ----------------------------------------------------------------------------------------------------

def test_flow_at_infinite_width_is_that_of_the_other_solver():
    times = np.geomspace(0.01, 30, 20)
    flow = solve_flow(BINS, times, n_hidden=2, gamma0=2.0, accuracy=0.003)
    other = scaling_laws.solve_log_grid(BINS, times, n_hidden=2, gamma0=2.0, accuracy=0.003)
    assert flow.converged
    np.testing.assert_allclose(flow.test_loss, other.test_loss, rtol=0.006)


@pytest.mark.parametrize("call", [dict(n_hidden=2, n_samples=2.0, noise=0.5), dict(n_hidden=3, skip=True, branch_scale=0.7,
                                                                                  n_samples=2.0, centered=True)])
def test_flow_is_the_limit_of_small_steps(call):
    times = np.array([0.3, 1.0, 3.0])
    flow = solve_flow(isotropic(1), times, width=1.0, gamma0=1.0, **call)
    steps = [solve_dmft(isotropic(1), n_steps=round(3 / eta), width=1.0, gamma0=1.0, learning_rate=eta, **call).test_loss[
        np.round(times / eta).astype(int)] for eta in (0.025, 0.0125)]
    np.testing.assert_allclose(flow.test_loss, 2 * steps[1] - steps[0], rtol=0.003)
    assert flow.error.max() < 0.001 and np.array_equal(flow.times, times)


def test_flow_of_least_squares_has_a_closed_form():
    """A lazy network with one hidden layer at infinite width: ``exp(-2 (L + 1) lambda t)``, without data."""
    times = np.array([0.1, 0.4, 1.0])
    flow = solve_flow(isotropic(1), times, n_hidden=1, gamma0=1e-4, accuracy=1e-4)
    np.testing.assert_allclose(flow.test_loss, np.exp(-4 * times), rtol=3e-4)


# --- bad input ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, words", [
    (dict(steps=[5, 3]), "steps must hold whole numbers of updates that increase"), (dict(steps=[1.5]), "whole numbers"),
    (dict(steps=[200]), "steps must be at most 100"), (dict(grid=[0, 50]), "grid must go from 0 to n_steps = 100, got 0 to 50"),
    (dict(learning_rate=None, optimizer=Optimizer(0.1, clip=1.0)), "solve_dmft takes every step"),
    (dict(accuracy=0.0), "accuracy must be greater than 0"),
    (dict(spectrum=dmft.Spectrum([1.0], [np.eye(2)])), "one output here, got 2")])
def test_bad_arguments_of_long_runs_are_named(change, words):
    call = dict(spectrum=isotropic(1), n_steps=100, n_hidden=1, gamma0=1.0, learning_rate=0.1) | change
    with pytest.raises(ValueError, match=words):
        solve_long(**call)


@pytest.mark.parametrize("times", [[0.0], [2.0, 1.0], np.arange(300.0)])
def test_bad_times_are_named(times):
    with pytest.raises(ValueError, match="times must be one-dimensional, increase and hold at most 200"):
        solve_flow(isotropic(1), times, n_hidden=1, gamma0=1.0)


def test_too_few_iterations_are_told():
    with pytest.warns(RuntimeWarning, match="no convergence at node .* larger max_iterations"):
        bad = solve_long(isotropic(1), grid=step_grid(300), max_iterations=1, **{k: v for k, v in KINDS["rich"][1].items()
                                                                                 if k != "n_steps"}, n_steps=300)
    assert not bad.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve_long(isotropic(1), n_steps=0, n_hidden=1, gamma0=1.0, learning_rate=0.1)

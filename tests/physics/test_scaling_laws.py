"""The log-time solver and the flows against reference numbers, an exact equation, discrete training and finite networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlnutils import scaling_laws
from dlnutils.dmft import Solution, Spectrum, isotropic, lazy_kernel, power_law, solve_dmft
from dlnutils.fitting import fit_power_law
from dlnutils.scaling_laws import aligned_flow, loss_exponent, one_hidden_layer_flow, simulate_flow, solve_log_grid

pytestmark = pytest.mark.filterwarnings("error")
CASES = json.loads((Path(__file__).parent / "bordelon2025_residual_powerlaw_reference.json").read_text())["cases"]
MANY = power_law(10**6, 1.5, 0.5, n_exact=20)
GRID = np.append(0, np.logspace(-2, 4, 200))
EXACT = CASES["B8_exactODE_L1"]


def at(times, grid, values):
    """Values at other times, by interpolation in log-log coordinates; exact at 0."""
    times = np.asarray(times)
    inner = np.exp(np.interp(np.log(times[1:]), np.log(grid[1:]), np.log(values[1:])))
    return np.append(values[0], inner)


# --- reference numbers ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("L", [1, 3])
def test_log_grid_reference(L):
    case = CASES[f"B7_loggrid_L{L}"]
    flow = solve_log_grid(MANY, GRID, n_hidden=L, gamma0=1.0)
    listed = np.array([np.abs(GRID - t).argmin() for t in case["t"]])
    np.testing.assert_allclose(GRID[listed], case["t"], rtol=1e-12)
    # The reference's bins have other edges.
    np.testing.assert_allclose(flow.excess_loss[listed], case["test"], rtol=2e-4)
    np.testing.assert_allclose(flow.C_g[0].diagonal()[listed], case["Cg1_diag"], rtol=2e-4)
    assert flow.converged and flow.iterations.max() <= 10 and flow.residual.max() < 1e-9


def test_log_grid_against_the_exact_flow():
    flow = solve_log_grid(MANY, GRID, n_hidden=1, gamma0=1.0)
    np.testing.assert_allclose(at(EXACT["t"], GRID, flow.excess_loss), EXACT["test"], rtol=5e-4)
    np.testing.assert_allclose(at(EXACT["t"], GRID, flow.C_g[0].diagonal()), EXACT["c"], rtol=5e-4)


def test_one_hidden_layer_reference():
    flow = one_hidden_layer_flow(MANY, EXACT["t"], gamma0=1.0)
    np.testing.assert_allclose(flow.excess_loss, EXACT["test"], rtol=1.5e-4)
    np.testing.assert_allclose(flow.C_g[0].diagonal(), EXACT["c"], rtol=1.5e-4)


# --- times asked for, and times integrated -------------------------------------------------------------------------

@pytest.mark.parametrize("L, slope, last", [(3, 0.673, 1.1595e-5), (4, 0.696, 6.82e-6)])
def test_times_that_leave_out_the_start_do_not_spoil_it(L, slope, last):
    times = np.append(0, np.geomspace(1, 1e6, 121))
    flow = solve_log_grid(power_law(10**14, 1.5, 0.5, n_exact=20, ratio=1.2), times, n_hidden=L, gamma0=1.0)
    assert -fit_power_law(times[1:], flow.excess_loss[1:], low=1, high=10.01).exponent == pytest.approx(slope, abs=1e-3)
    assert flow.converged and flow.error.max() < 0.01 and flow.excess_loss[-1] == pytest.approx(last, rel=0.01)


COARSE = power_law(10**6, 1.5, 0.5, n_exact=8, ratio=1.6)


@pytest.mark.parametrize("L, gamma0", [(1, 1e-3), (2, 3.0), (3, 1.0)])
def test_losses_do_not_depend_on_the_other_times(L, gamma0):
    settings = dict(n_hidden=L, gamma0=gamma0)
    fine = np.append(0, np.logspace(-2.5, 3, 166))
    truth = solve_log_grid(COARSE, fine, **settings, accuracy=None)
    assert truth.converged and truth.error is None
    for times in ([100.0, 1e3], np.append(0, np.logspace(-2, 3, 11)), np.linspace(0, 100, 11)):
        flow = solve_log_grid(COARSE, times, **settings)
        there = np.asarray(times) > 0
        expected = np.exp(np.interp(np.log(flow.times[there]), np.log(fine[1:]), np.log(truth.excess_loss[1:])))
        error = np.abs(flow.excess_loss[there] / expected - 1)
        # The reference and its interpolation are good for 1e-3.
        assert flow.converged and np.all(error < 2 * flow.error[there] + 1e-3) and flow.error.max() <= 0.01
        assert flow.excess_loss.shape == (len(times),) and flow.C_h.shape == (L + 1, len(times), len(times))


def test_a_smaller_error_can_be_asked_for():
    times = np.logspace(-1, 3, 9)
    exact = one_hidden_layer_flow(FEW, times, gamma0=2.0, step=0.02).excess_loss
    for accuracy in (0.05, 5e-4):
        flow = solve_log_grid(FEW, times, n_hidden=1, gamma0=2.0, accuracy=accuracy)
        error = np.abs(flow.excess_loss / exact - 1)
        assert error.max() < accuracy and flow.error.max() <= accuracy and flow.converged
        assert error.max() < 1.5 * flow.error.max() + 1e-5


def test_what_is_kept_at_times_asked_for_does_not_depend_on_the_grid():
    times = np.append(0, np.logspace(-2, 3, 11))
    fine = np.union1d(times, np.logspace(-3, 3, 181))
    here = np.searchsorted(fine, times)
    truth = solve_log_grid(COARSE, fine, n_hidden=2, gamma0=1.0)
    flow = solve_log_grid(COARSE, times, n_hidden=2, gamma0=1.0)
    for name in ("C_h", "C_g"):
        np.testing.assert_allclose(getattr(flow, name), getattr(truth, name)[:, here[:, None], here], rtol=0.02, atol=0.005)
    # Densities of the memory, below the diagonal, from operators with the weights of either quadrature.
    below = np.tril_indices(len(times), -2)
    of_flow = flow.M[below] / scaling_laws._trapezoid(times)[below]
    of_truth = truth.M[here[below[0]], here[below[1]]] / scaling_laws._trapezoid(fine)[here[below[0]], here[below[1]]]
    np.testing.assert_allclose(of_flow, of_truth, rtol=0.03)


def test_very_many_times_are_interpolated(monkeypatch):
    monkeypatch.setattr(scaling_laws, "MOST", 100)
    times = np.linspace(0, 10, 201)
    flow = solve_log_grid(COARSE, times, n_hidden=1, gamma0=1.0)
    some = times[[0, 3, 30, 200]]
    reference = one_hidden_layer_flow(COARSE, some, gamma0=1.0)
    here = np.searchsorted(times, some)
    np.testing.assert_allclose(flow.excess_loss[here], reference.excess_loss, rtol=2e-3)
    np.testing.assert_allclose(flow.C_g[0][here, here], reference.C_g[0].diagonal(), rtol=2e-3)
    assert flow.M is None and flow.converged and flow.iterations.shape == (201,) and flow.C_h.shape == (2, 201, 201)
    np.testing.assert_allclose(flow.mode_loss.sum(0), flow.excess_loss)


def test_an_exponential_end_is_exact_to_a_share_of_the_start():
    spectrum = power_law(20, 1.5, 0.5)
    flow = solve_log_grid(spectrum, [0, 0.1, 1, 10, 1000], n_hidden=1, gamma0=1e-4)
    power = spectrum.eigenvalues * spectrum.target
    expected = [power @ np.exp(-4 * spectrum.eigenvalues * t) for t in flow.times]
    np.testing.assert_allclose(flow.excess_loss, expected, rtol=0.01, atol=1e-12)
    assert flow.converged


def test_an_accuracy_that_cannot_be_met_is_reported(monkeypatch):
    monkeypatch.setattr(scaling_laws, "LARGEST", 150)
    with pytest.warns(RuntimeWarning, match=r"the loss at t = .* estimated relative error of .*, more than accuracy = 1e-07"):
        flow = solve_log_grid(isotropic(1), [0.0, 1.0], n_hidden=1, gamma0=1.0, accuracy=1e-7)
    assert not flow.converged and flow.error.max() > 1e-7 and "NOT CONVERGED" in repr(flow)


@pytest.mark.parametrize("gamma0", [0.1, 10.0])
def test_steps_of_the_exact_flow_do_not_depend_on_the_times_and_leave_a_small_error(gamma0):
    one = one_hidden_layer_flow(FEW, [10.0, 1000.0], gamma0=gamma0).excess_loss
    many = one_hidden_layer_flow(FEW, np.append(0, np.geomspace(1e-3, 1000, 41)), gamma0=gamma0).excess_loss
    fine = one_hidden_layer_flow(FEW, [10.0, 1000.0], gamma0=gamma0, step=0.0125).excess_loss
    np.testing.assert_allclose(one, fine, rtol=1e-3)
    np.testing.assert_allclose(many[-1], fine[-1], rtol=1e-3)


# --- one code path against the other --------------------------------------------------------------------------------

FEW = power_law(10**4, 1.5, 0.5, n_exact=8, ratio=1.6)


@pytest.mark.parametrize("gamma0", [0.01, 1.0, 5.0])
def test_log_grid_tends_to_the_exact_flow_with_the_square_of_the_density(gamma0):
    times = np.logspace(-1, 3, 9)
    exact = one_hidden_layer_flow(FEW, times, gamma0=gamma0, step=0.01).excess_loss
    errors = []
    for n in (50, 100, 200):
        grid = np.union1d(np.append(0, np.logspace(-3, 3, 6 * (n // 6) + 1)), times)
        flow = solve_log_grid(FEW, grid, n_hidden=1, gamma0=gamma0, accuracy=None)
        errors.append(np.abs(flow.excess_loss[np.searchsorted(grid, times)] / exact - 1).max())
    assert errors[2] < 1e-3 and errors[0] / errors[2] > 8


@pytest.mark.parametrize("L", [1, 2, 3])
def test_small_learning_rates_tend_to_the_flow(L):
    spectrum = Spectrum([1.0, 0.3, 0.1], [1.0, 1.0, 2.0])
    final = []
    for eta in (0.02, 0.01, 0.005):
        steps = round(1 / eta)
        final.append(solve_dmft(spectrum, n_steps=steps, n_hidden=L, gamma0=1.5, learning_rate=eta).excess_loss[-1])
    flow = solve_log_grid(spectrum, np.linspace(0, 1, 101), n_hidden=L, gamma0=1.5)
    limit = (8 * final[2] - 6 * final[1] + final[0]) / 3
    assert flow.excess_loss[-1] == pytest.approx(limit, rel=1e-3)


@pytest.mark.parametrize("L", [1, 2, 4])
def test_lazy_flow_is_exponential(L):
    times = np.linspace(0, 1, 120)
    flow = solve_log_grid(isotropic(1), times, n_hidden=L, gamma0=1e-4)
    np.testing.assert_allclose(flow.excess_loss, np.exp(-2 * lazy_kernel(L) * times), rtol=5e-3)
    assert flow.excess_loss[0] == 1.0


def test_one_mode_of_two_balanced_layers():
    """Rich and white: one direction is learned, and w, W_0 along it grow as the exact ODE of two scalars and the bulk."""
    times = np.array([0.0, 0.2, 0.5, 1.0])
    flow = one_hidden_layer_flow(Spectrum([1.0], [1.0]), times, gamma0=2.0, step=0.002)
    beta, c, G, h = 0.0, 1.0, 1.0, 1e-5
    expected, now = [1.0], 0.0
    for time in times[1:]:
        while now < time - h / 2:
            v = 1 - beta
            beta, c, G, now = beta + h * (c + G) * v, c + 8 * h * beta * v, G + 8 * h * beta * v, now + h
        expected.append((1 - beta)**2)
    np.testing.assert_allclose(flow.excess_loss, expected, rtol=2e-3, atol=1e-7)


# --- finite networks ------------------------------------------------------------------------------------------------

def test_the_reduced_flow_is_that_of_the_explicit_weights():
    spectrum, times = power_law(60, 1.5, 0.5), [0.0, 0.5, 2.0, 8.0]
    explicit = simulate_flow(spectrum, times, n_hidden=1, width=40, gamma0=2.0, rng=np.random.default_rng(1), tolerance=1e-8)
    same_draw = np.random.default_rng(1).spawn(1)[0]
    reduced = one_hidden_layer_flow(spectrum, times, gamma0=2.0, width=40, rng=same_draw, step=0.005)
    np.testing.assert_allclose(reduced.mode_loss, explicit.mode_loss, rtol=2e-3, atol=1e-8)


@pytest.mark.parametrize("L", [1, 2, 3])
def test_simulated_flow_follows_the_gradient_of_its_weights(L):
    """Every power of richness and width, from the loss alone: its gradient by differences, times ``gamma0^2 N``."""
    N, gamma0, spectrum = 3, 2.5, Spectrum([1.0, 0.4], [1.0, 2.0])
    child = np.random.default_rng(4).spawn(1)[0]
    truth = np.sqrt(spectrum.target) * child.choice([-1.0, 1.0], 2)
    weights = child.standard_normal(2 * N + (L - 1) * N**2 + N)

    def losses(w):
        product = w[..., :2 * N].reshape(*w.shape[:-1], N, 2)
        for i in range(L - 1):
            start = 2 * N + i * N**2
            product = w[..., start:start + N**2].reshape(*w.shape[:-1], N, N) @ product / N**0.5
        answer = (w[..., None, -N:] @ product)[..., 0, :] / (gamma0 * N)
        return spectrum.eigenvalues * (truth - answer)**2

    def slope(w, h=1e-5):
        up, down = w + h * np.eye(len(w)), w - h * np.eye(len(w))
        return -gamma0**2 * N * (losses(up) - losses(down)).sum(-1) / (4 * h)
    expected, h = [losses(weights)], 0.005
    for _ in range(60):
        k1 = slope(weights)
        k2 = slope(weights + h / 2 * k1)
        k3 = slope(weights + h / 2 * k2)
        weights = weights + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(weights + h * k3))
        expected.append(losses(weights))
    flow = simulate_flow(spectrum, [0.0, 0.1, 0.2, 0.3], n_hidden=L, width=N, gamma0=gamma0, rng=4, tolerance=1e-9)
    np.testing.assert_allclose(flow.mode_loss.T, expected[::20], rtol=1e-4, atol=1e-8)
    assert flow.excess_loss[-1] < 0.9 * flow.excess_loss[0]


def test_wide_networks_tend_to_the_theory():
    spectrum, times = power_law(40, 1.5, 0.5), np.array([0.0, 0.3, 1.0, 3.0])
    theory = one_hidden_layer_flow(spectrum, times, gamma0=2.0).excess_loss
    deviations = []
    for width in (100, 1600):
        runs = [one_hidden_layer_flow(spectrum, times, gamma0=2.0, width=width, rng=np.random.default_rng(seed)).excess_loss
                for seed in range(6)]
        deviations.append(np.abs(np.mean(runs, 0) / theory - 1).max())
    assert deviations[1] < 0.02 < 0.5 * deviations[0] + 0.02 and deviations[1] < deviations[0]


@pytest.mark.parametrize("L", [2, 3])
def test_deep_networks_agree_with_the_theory(L):
    spectrum, times = power_law(30, 1.5, 0.5), np.append(0, np.logspace(-2, 0.3, 60))
    theory = solve_log_grid(spectrum, times, n_hidden=L, gamma0=1.0).excess_loss
    runs = simulate_flow(spectrum, times[[0, 20, 40, 60]], n_hidden=L, width=300, gamma0=1.0, rng=np.random.default_rng(0),
                         n_networks=6).excess_loss
    error = runs.std(0, ddof=1) / 6**0.5
    assert np.all(np.abs(runs.mean(0) - theory[[0, 20, 40, 60]]) < np.maximum(0.04 * theory[[0, 20, 40, 60]], 3 * error))


def test_simulated_flows_do_not_depend_on_their_number():
    spectrum, times = power_law(20, 1.5, 0.5), [0.0, 1.0]
    settings = dict(n_hidden=2, width=15, gamma0=1.0)
    three = simulate_flow(spectrum, times, **settings, rng=np.random.default_rng(5), n_networks=3)
    one = simulate_flow(spectrum, times, **settings, rng=np.random.default_rng(5))
    np.testing.assert_array_equal(three.excess_loss[0], one.excess_loss)
    assert three.excess_loss.shape == (3, 2) and one.mode_loss.shape == (20, 2) and one.converged
    grouped = simulate_flow(Spectrum([1.0, 0.5], [1.0, 2.0], [3.0, 2.0]), times, **settings, rng=np.random.default_rng(5))
    assert grouped.mode_loss.shape == (2, 2)


# --- exponents ------------------------------------------------------------------------------------------------------

def exponent(b, L, gamma0, low=1e3, high=1e5):
    times = np.append(0, np.logspace(-3, 5, 160))
    flow = solve_log_grid(power_law(10**14, 1.5, b, n_exact=20), times, n_hidden=L, gamma0=gamma0)
    assert flow.converged and flow.iterations.max() <= 12
    return -fit_power_law(times[1:], flow.excess_loss[1:], low=low, high=high).exponent


@pytest.mark.parametrize("b", [0.3, 0.5, 0.7])
def test_exponent_of_one_hidden_layer(b):
    assert exponent(b, 1, 3.0) == pytest.approx(2 * b / (1 + b), abs=0.01)
    assert exponent(b, 1, 1e-3) == pytest.approx(b, abs=2e-3)


@pytest.mark.parametrize("L, gamma0", [(2, 10.0), (3, 10.0), (4, 10.0)])
def test_the_exponent_of_rich_networks_depends_on_depth(L, gamma0):
    found = exponent(0.5, L, gamma0)
    assert found == pytest.approx(loss_exponent(0.5, L), abs=0.015) and found > loss_exponent(0.5, 1) + 0.07


@pytest.mark.parametrize("L, gamma0", [(2, 3.0), (3, 3.0), (3, 10.0)])
def test_easy_tasks_have_the_lazy_exponent_at_any_depth(L, gamma0):
    assert exponent(1.5, L, gamma0) == pytest.approx(1.5, abs=3e-3)


def test_predicted_exponents():
    assert loss_exponent(0.5, 3) == pytest.approx(0.8) and loss_exponent(2.0, 3) == 2.0
    b = np.linspace(0.1, 2, 20)
    np.testing.assert_allclose(loss_exponent(b, 1)[b < 1], (2 * b / (1 + b))[b < 1])
    assert loss_exponent(0.5, 10**6) == pytest.approx(1, abs=1e-5)


# --- balanced matrices of rank one ----------------------------------------------------------------------------------

DEEP = power_law(10**18, 1.5, 0.5, n_exact=20, ratio=1.3)
COARSER = power_law(10**10, 1.5, 0.5, n_exact=6, ratio=2.5)


@pytest.mark.parametrize("n, N", [(2, 5), (3, 4), (5, 3)])
def test_aligned_flow_is_that_of_explicit_matrices(n, N):
    """Explicit weights of rank one, of the width N, descend the loss; nothing is assumed about ranks and strengths later on."""
    spectrum, gamma0, sigma = Spectrum([1.0, 0.4, 0.1], [1.0, 2.0, 3.0]), 2.0, 0.8
    lam, truth, rng = spectrum.eigenvalues, np.sqrt(spectrum.target), np.random.default_rng(3)
    units = [x / np.linalg.norm(x) for x in [lam * truth, *rng.standard_normal((n - 1, N)), np.ones(1)]]
    weights = [sigma * np.outer(after, before) for before, after in zip(units, units[1:])]

    def velocity(weights):                                 # f = W_n ... W_1 x / gamma0 and the rate gamma0^2, so N drops out
        up, down = [np.eye(3)], [np.eye(1)]
        for W, V in zip(weights, weights[::-1]):
            up, down = [*up, W @ up[-1]], [*down, down[-1] @ V]
        left = lam * (truth - up[-1][0] / gamma0)
        return [gamma0 * d.T @ (left @ u.T)[None] for u, d in zip(up, down[-2::-1])], (lam * (truth - up[-1][0] / gamma0)**2)

    times, h, mode_loss = np.linspace(0, 2, 5), 0.005, []
    for step in range(401):
        k1, loss = velocity(weights)
        if step % 100 == 0:
            mode_loss.append(loss)
        if step == 400:
            break
        k2 = velocity([W + h / 2 * k for W, k in zip(weights, k1)])[0]
        k3 = velocity([W + h / 2 * k for W, k in zip(weights, k2)])[0]
        k4 = velocity([W + h * k for W, k in zip(weights, k3)])[0]
        weights = [W + h / 6 * (a + 2 * b + 2 * c + d) for W, a, b, c, d in zip(weights, k1, k2, k3, k4)]
    flow = aligned_flow(spectrum, times, n_hidden=n - 1, gamma0=gamma0, strength=sigma, step=0.002)
    np.testing.assert_allclose(flow.mode_loss.T, mode_loss, rtol=1e-4, atol=1e-8)
    strength = np.linalg.norm(weights[0], 2)
    assert flow.C_g[0, -1, -1] == pytest.approx(strength**(2 * n - 2), rel=1e-4) and strength > 1.2


def test_aligned_flow_of_a_single_matrix_is_linear_regression():
    times = np.append(0, np.logspace(-1, 4, 6))
    flow = aligned_flow(FEW, times, n_hidden=0, gamma0=2.0, strength=0.6)
    start = FEW.eigenvalues * np.sqrt(FEW.target)
    left = np.sqrt(FEW.target) - 0.3 * start / np.sqrt(FEW.multiplicity @ start**2)
    expected = [(FEW.multiplicity * FEW.eigenvalues * left**2) @ np.exp(-2 * FEW.eigenvalues * t) for t in times]
    np.testing.assert_allclose(flow.excess_loss, expected, rtol=1e-4)


@pytest.mark.parametrize("gamma0, tolerance", [(10.0, 0.015), (100.0, 1.5e-3)])
def test_a_rich_network_with_one_hidden_layer_is_soon_aligned(gamma0, tolerance):
    times = np.array([1.0, 10.0, 100.0])
    aligned = aligned_flow(COARSER, times, n_hidden=1, gamma0=gamma0)
    random = one_hidden_layer_flow(COARSER, times, gamma0=gamma0)
    np.testing.assert_allclose(aligned.excess_loss, random.excess_loss, rtol=tolerance)
    np.testing.assert_allclose(np.diagonal(aligned.C_g[0]), np.diagonal(random.C_g[0]), rtol=tolerance)


def test_deep_rich_networks_become_aligned():
    """Random weights of strength one are the less in the way the stronger the learned ones, hence the later and the richer."""
    times = np.append(0, np.logspace(-2, 5, 106))
    apart = [1 - solve_log_grid(COARSER, times, n_hidden=3, gamma0=gamma0, accuracy=None).excess_loss[[31, 61, 91]]
             / aligned_flow(COARSER, times[[31, 61, 91]], n_hidden=3, gamma0=gamma0).excess_loss for gamma0 in (3.0, 30.0)]
    assert np.all(np.diff(apart) < 0) and np.all(np.diff(apart, axis=0) < 0) and 0 < apart[1][-1] < 0.015


@pytest.mark.parametrize("b", [0.33, 0.5])
@pytest.mark.parametrize("L", [1, 2, 3, 4])
def test_exponent_of_balanced_matrices(L, b):
    """The slopes of this flow settle within two decades, so that they decide between this exponent and 2 b / (1 + b)."""
    times = np.logspace(2, 5, 4)
    flow = aligned_flow(power_law(10**20, 1.5, b, n_exact=20, ratio=1.3), times, n_hidden=L, gamma0=10.0)
    slopes = -np.diff(np.log10(flow.excess_loss))
    np.testing.assert_allclose(slopes[1:], loss_exponent(b, L), atol=1e-3)
    assert L == 1 or slopes.min() > 2 * b / (1 + b) + 0.07


def test_every_hard_task_is_marginal_for_very_deep_networks():
    slopes = [-np.diff(np.log10(aligned_flow(DEEP, [1e3, 1e4], n_hidden=L, gamma0=10.0).excess_loss)) for L in (20, 100)]
    np.testing.assert_allclose(np.ravel(slopes), [loss_exponent(0.5, L) for L in (20, 100)], atol=2e-3)


def test_steps_of_the_aligned_flow():
    settings = dict(times=[1.0, 1e3], n_hidden=3, gamma0=3.0)
    coarse, half, fine = (aligned_flow(FEW, **settings, step=step).excess_loss for step in (0.04, 0.02, 0.0025))
    assert np.all(np.abs(coarse / fine - 1) < 1e-3) and np.all(np.abs((coarse - fine) / (half - fine)) > 2.8)
    alone = aligned_flow(FEW, [500.0, 1e3], n_hidden=3, gamma0=3.0).excess_loss[-1]
    assert alone == pytest.approx(aligned_flow(FEW, np.logspace(-2, 3, 50), n_hidden=3, gamma0=3.0).excess_loss[-1], rel=1e-3)


def test_a_weak_start_waits_and_then_forgets_it():
    times = [0.0, 1e3, 1e8]
    weak, strong = (aligned_flow(DEEP, times, n_hidden=4, gamma0=1.0, strength=s) for s in (0.02, 1.0))
    assert weak.excess_loss[1] > 0.99 * weak.excess_loss[0] and weak.C_g[0, 0, 0] == pytest.approx(0.02**8)
    np.testing.assert_allclose(weak.excess_loss[2], strong.excess_loss[2], rtol=0.01)


# --- what the solver reports ----------------------------------------------------------------------------------------

def test_a_cap_is_reported():
    with pytest.warns(RuntimeWarning, match="no convergence at t = .* the last of 2 iterations .* losses from there on"):
        flow = solve_log_grid(FEW, GRID[:60], n_hidden=3, gamma0=3.0, max_iterations=2)
    assert not flow.converged and flow.iterations.max() == 2 and flow.residual.max() >= 1e-9
    assert "NOT CONVERGED" in repr(flow)


def test_what_is_not_finite_is_flagged_and_infinite():
    flow = solve_log_grid(isotropic(1), [0.0, 1e3, 1e6], n_hidden=4, gamma0=1e200)
    assert not flow.converged and flow.diverged and np.isinf(flow.excess_loss[-1])
    assert flow.excess_loss[0] == 1.0


def test_zero_need_not_be_listed():
    with_zero = solve_log_grid(FEW, GRID[:80], n_hidden=2, gamma0=1.0)
    without = solve_log_grid(FEW, GRID[1:80], n_hidden=2, gamma0=1.0)
    np.testing.assert_array_equal(without.excess_loss, with_zero.excess_loss[1:])
    np.testing.assert_array_equal(without.C_h, with_zero.C_h[:, 1:, 1:])
    assert without.C_h.shape == (3, 79, 79) and len(without.iterations) == 79
    np.testing.assert_array_equal(without.mode_loss.sum(0), without.excess_loss)


def test_flows_are_saved_and_loaded(tmp_path):
    flow = solve_log_grid(FEW, GRID[:20], n_hidden=2, gamma0=1.0)
    flow.save(tmp_path / "flow.npz")
    back = Solution.load(tmp_path / "flow.npz")
    assert repr(back) == repr(flow) and back.converged
    np.testing.assert_array_equal(back.times, flow.times)
    with pytest.raises(ValueError, match="kernel is an order parameter of discrete steps"):
        _ = back.kernel


RNG = np.random.default_rng(0)
BAD = {
    "spectrum": (lambda: solve_log_grid([1.0], GRID, n_hidden=1, gamma0=1.0), r"spectrum must be a Spectrum, got \[1.0\]"),
    "order": (lambda: solve_log_grid(FEW, [1.0, 0.5], n_hidden=1, gamma0=1.0), "times must be one-dimensional, increase"),
    "one time": (lambda: solve_log_grid(FEW, [1.0], n_hidden=1, gamma0=1.0), "times must .* at least two"),
    "negative time": (lambda: solve_log_grid(FEW, [-1.0, 1.0], n_hidden=1, gamma0=1.0), "times must be at least 0, got -1"),
    "hidden": (lambda: solve_log_grid(FEW, GRID, n_hidden=0, gamma0=1.0), "n_hidden .* 0"),
    "gamma": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=0.0), "gamma0 must be greater than 0"),
    "tolerance": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=1.0, tolerance=0), "tolerance must be greater than 0"),
    "accuracy": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=1.0, accuracy=0), "accuracy must be greater than 0"),
    "one gamma": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=[1.0, 2.0]), "gamma0 must be one number"),
    "seed": (lambda: simulate_flow(FEW, GRID, n_hidden=1, width=2, gamma0=1.0, rng="x"), "rng must be a .* seed, got 'x'"),
    "wide": (lambda: simulate_flow(FEW, GRID, n_hidden=2, width=10**6, gamma0=1.0, rng=0),
             r"width = 1000000 needs .* GB and .* GB are free: it grows with width, n_hidden and modes \(10000\)"),
    "cap": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=1.0, max_iterations=0), "max_iterations .* 0"),
    "memory": (lambda: solve_log_grid(FEW, np.arange(200_000.0), n_hidden=9, gamma0=1.0), "times = 200000 needs .* GB"),
    "rng": (lambda: one_hidden_layer_flow(power_law(5, 1.5, 0.5), GRID, gamma0=1.0, width=5), "width = 5 needs rng"),
    "bins": (lambda: one_hidden_layer_flow(FEW, GRID, gamma0=1.0, width=5, rng=RNG), "multiplicity 1 throughout"),
    "step": (lambda: one_hidden_layer_flow(FEW, GRID, gamma0=1.0, step=0.0), "step must be greater than 0"),
    "no variance": (lambda: one_hidden_layer_flow(Spectrum([1.0, 0.0], [1.0, 1.0]), GRID, gamma0=1.0),
                    "eigenvalues must be greater than 0, got 0.0: leave out"),
    "width": (lambda: simulate_flow(FEW, GRID, n_hidden=1, width=2.5, gamma0=1.0, rng=RNG), "width must be an integer .* 2.5"),
    "parts": (lambda: simulate_flow(Spectrum([1.0], [1.0], [1.5]), [0.0, 1.0], n_hidden=1, width=2, gamma0=1.0, rng=RNG),
              "multiplicity must be an integer .* 1.5"),
    "networks": (lambda: simulate_flow(power_law(5, 1.5, 0.5), [0.0, 1.0], n_hidden=1, width=2, gamma0=1.0, rng=RNG,
                                       n_networks=0), "n_networks .* 0"),
    "strength": (lambda: aligned_flow(FEW, GRID, n_hidden=1, gamma0=1.0, strength=0.0), "strength must be greater than 0"),
    "aligned step": (lambda: aligned_flow(FEW, GRID, n_hidden=1, gamma0=1.0, step=0.0), "step must be greater than 0"),
    "fewer than none": (lambda: aligned_flow(FEW, GRID, n_hidden=-1, gamma0=1.0), "n_hidden must be .* at least 0, got -1"),
    "nothing to learn": (lambda: aligned_flow(Spectrum([1.0], [0.0]), GRID, n_hidden=1, gamma0=1.0), "target must not be zero"),
    "exponent": (lambda: loss_exponent(0.0, 1), "b must be greater than 0"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_accelerated_iteration_of_a_linear_map_ends_after_its_dimension():
    rng = np.random.default_rng(0)
    A, b = 3 * rng.normal(size=(4, 4)), rng.normal(size=4)  # plain iteration would diverge
    accelerate, x = scaling_laws._Anderson(), np.zeros(4)
    for _ in range(6):
        x = accelerate(x, A @ x + b - x)
    np.testing.assert_allclose(x, np.linalg.solve(np.eye(4) - A, b), rtol=1e-8)

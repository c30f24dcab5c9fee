"""The log-time solver and the flows against reference numbers, an exact equation, discrete training and finite networks."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlnutils import scaling_laws
from dlnutils.dmft import Solution, Spectrum, isotropic, lazy_kernel, power_law, solve_dmft
from dlnutils.fitting import fit_power_law
from dlnutils.scaling_laws import loss_exponent, one_hidden_layer_flow, simulate_flow, solve_log_grid

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


# --- one code path against the other --------------------------------------------------------------------------------

FEW = power_law(10**4, 1.5, 0.5, n_exact=8, ratio=1.6)


@pytest.mark.parametrize("gamma0", [0.01, 1.0, 5.0])
def test_log_grid_tends_to_the_exact_flow_with_the_square_of_the_density(gamma0):
    times = np.logspace(-1, 3, 9)
    exact = one_hidden_layer_flow(FEW, times, gamma0=gamma0, step=0.01).excess_loss
    errors = []
    for n in (50, 100, 200):
        grid = np.union1d(np.append(0, np.logspace(-3, 3, 6 * (n // 6) + 1)), times)
        flow = solve_log_grid(FEW, grid, n_hidden=1, gamma0=gamma0)
        errors.append(np.abs(flow.excess_loss[np.searchsorted(grid, times)] / exact - 1).max())
    assert errors[2] < 1e-3 and errors[0] / errors[2] > 8


@pytest.mark.parametrize("L", [1, 2, 3])
def test_small_learning_rates_tend_to_the_flow(L):
    spectrum = Spectrum([1.0, 0.3, 0.1], [1.0, 1.0, 2.0])
    final = []
    for eta in (0.02, 0.01, 0.005):
        steps = round(1 / eta)
        final.append(solve_dmft(spectrum, n_steps=steps + 1, n_hidden=L, gamma0=1.5, learning_rate=eta).excess_loss[-1])
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


# --- what the solver reports ----------------------------------------------------------------------------------------

def test_a_cap_is_reported():
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
        back.kernel


RNG = np.random.default_rng(0)
BAD = {
    "spectrum": (lambda: solve_log_grid([1.0], GRID, n_hidden=1, gamma0=1.0), r"spectrum must be a Spectrum, got \[1.0\]"),
    "order": (lambda: solve_log_grid(FEW, [1.0, 0.5], n_hidden=1, gamma0=1.0), "times must be one-dimensional, increase"),
    "one time": (lambda: solve_log_grid(FEW, [1.0], n_hidden=1, gamma0=1.0), "times must .* at least two"),
    "negative time": (lambda: solve_log_grid(FEW, [-1.0, 1.0], n_hidden=1, gamma0=1.0), "times must be at least 0, got -1"),
    "hidden": (lambda: solve_log_grid(FEW, GRID, n_hidden=0, gamma0=1.0), "n_hidden .* 0"),
    "gamma": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=0.0), "gamma0 must be greater than 0"),
    "tolerance": (lambda: solve_log_grid(FEW, GRID, n_hidden=1, gamma0=1.0, tolerance=0), "tolerance must be greater than 0"),
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

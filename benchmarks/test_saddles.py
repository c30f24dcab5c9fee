"""Speed of the closed forms of the chapter on saddles, and of its exact width reduction, each beside what it replaces."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlnutils import datasets, initial_weights, linear_networks, saddles, tasks

ODE = {"method": "DOP853", "rtol": 1e-9, "atol": 1e-12}


# --- one mode -------------------------------------------------------------------------------------------------------

N_TIMES = (1000, 10_000, 100_000, 1_000_000)


def times(n):
    return np.linspace(0.0, 20.0, n)


def mode_by_ode(n, n_weights):
    """A mode of ``n_weights`` matrices from u0 = 1e-3 towards 1, by an ODE solver."""
    power = 2 - 2 / n_weights
    return solve_ivp(lambda t, u: n_weights * u**power * (1 - u), (0, 20), [1e-3], t_eval=times(n), **ODE)


def mode_group(n):
    return f"one mode, {n} times"


@pytest.mark.parametrize("n", N_TIMES)
def test_two_layer_closed_form(measure, n):
    measure(saddles.two_layer_mode_strength, times(n), 1.0, 1e-3, group=mode_group(n), family="two-layer mode", size=n)


@pytest.mark.parametrize("n", N_TIMES)
def test_two_layer_ode(measure, n):
    measure(mode_by_ode, n, 2, group=mode_group(n), family="two-layer mode by an ODE solver", size=n)


@pytest.mark.parametrize("n", N_TIMES)
def test_deep_closed_form(measure, n):
    measure(saddles.deep_mode_strength, times(n), 1.0, 1e-3, 4, group=mode_group(n), family="deep mode", size=n)


@pytest.mark.parametrize("n", N_TIMES)
def test_deep_ode(measure, n):
    measure(mode_by_ode, n, 4, group=mode_group(n), family="deep mode by an ODE solver", size=n)


# --- a deep network -------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def digits():
    images, labels = datasets.mnist()
    return linear_networks.correlations(images, tasks.one_hot(labels))


DEEP = "20 layers on MNIST at one rate, 50 steps"


def test_reduced_to_its_modes(measure, digits):
    def train():
        linear_networks.decoupled_descent(*digits, n_weights=19, u0=1e-3, learning_rates=[0.5], threshold=0.2, max_steps=50)
    measure(train, group=DEEP)


def test_explicit_width_1000(measure, digits):
    start = initial_weights.decoupled_init(digits[0], [784] + [1000] * 18 + [10], 1e-3, np.random.default_rng(0))

    def train():
        linear_networks.gradient_descent(start, *digits, learning_rate=0.5, n_steps=50, every=50)
    measure(train, group=DEEP, rounds=1)


# --- whole matrices -------------------------------------------------------------------------------------------------

SIZES = (20, 40, 80, 160)


def balanced_start(n):
    """Balanced weights, a correlation whose strengths do not depend on the size, and 50 times."""
    Q = initial_weights.orthogonal_matrix(n, np.random.default_rng(1))
    sigma = np.random.default_rng(2).normal(size=(n, n)) * (20 / n)**0.5 / 4
    return 0.1 * Q, 0.1 * Q.T, sigma, np.linspace(0, 10, 50)


def matrix_group(n):
    return f"whole matrices, {n} x {n} modes, 50 times"


@pytest.mark.parametrize("n", SIZES)
def test_riccati_flow(measure, n):
    measure(saddles.riccati_flow, *balanced_start(n), group=matrix_group(n), family="Riccati flow", size=n)


@pytest.mark.parametrize("n", SIZES)
def test_riccati_ode(measure, n):
    W1, W2, sigma, when = balanced_start(n)

    def slope(t, w):
        A, B = w.reshape(2, n, n)
        G = sigma - B @ A
        return np.concatenate([(B.T @ G).ravel(), (G @ A.T).ravel()])

    def solve():
        solve_ivp(slope, (0, 10), np.concatenate([W1.ravel(), W2.ravel()]), t_eval=when, **ODE)
    measure(solve, group=matrix_group(n), family="Riccati flow by an ODE solver", size=n)

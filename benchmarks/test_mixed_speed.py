"""Speed of the width reduction and of the self-consistent dynamics, each beside what it replaces."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlnutils import mixed, tasks

WIDTH, GAMMA_SIGMA2 = 150_424, -2.0                        # floor(200^2.25)


def target(d, dtype=np.float64):
    A_star, E = tasks.low_rank_task(d, 5, rng=0)
    return (A_star + E).astype(dtype)


def reduced(d, w, sigma2, dtype=np.float64):
    """A network of width w, reduced, and its target."""
    return *mixed.reduced_init(d, d, w, sigma2, np.random.default_rng(1), dtype=dtype), target(d, dtype)


def explicit(d, w, sigma2):
    """The weights of the network as they are."""
    rng = np.random.default_rng(2)
    return sigma2**0.5 * rng.standard_normal((w, d)), sigma2**0.5 * rng.standard_normal((d, w)), target(d)


# --- the gradient step ----------------------------------------------------------------------------------------------

STEP = "gradient step, d = 200, width 150 424"


def test_reduced_to_400_neurons(measure):
    measure(mixed.gd_step, *reduced(200, WIDTH, 200.0**GAMMA_SIGMA2), 1e-4, group=STEP)


def test_explicit_weights(measure):
    measure(mixed.gd_step, *explicit(200, WIDTH, 200.0**GAMMA_SIGMA2), 1e-4, group=STEP)


WIDTHS = (1000, 3000, 10_000, 30_000, 100_000)


@pytest.mark.parametrize("w", WIDTHS)
def test_reduced_d_100(measure, w):
    measure(mixed.gd_step, *reduced(100, w, 3.0 / w), 1e-4, group=f"gradient step, d = 100, width {w}",
            family="reduced gradient step", size=w)


@pytest.mark.parametrize("w", WIDTHS)
def test_explicit_d_100(measure, w):
    measure(mixed.gd_step, *explicit(100, w, 3.0 / w), 1e-4, group=f"gradient step, d = 100, width {w}",
            family="explicit gradient step", size=w)


@pytest.mark.parametrize("d", (50, 100, 200, 400, 800))
def test_reduced_step_d(measure, d):
    measure(mixed.gd_step, *reduced(d, d**2, 3.0 / d**2), 1e-4, group="reduced gradient step at several d",
            family="reduced gradient step against d", size=d)


SINGLE = "gradient step in single precision, d = 200"


def test_its_three_products(measure):
    W1, W2, Y = reduced(200, WIDTH, 200.0**GAMMA_SIGMA2, np.float32)

    def products():
        A = W2 @ W1
        return W2.T @ A, A @ W1.T
    measure(products, group=SINGLE)


def test_gd_step_single(measure):
    measure(mixed.gd_step, *reduced(200, WIDTH, 200.0**GAMMA_SIGMA2, np.float32), 1e-4, group=SINGLE)


# --- the self-consistent step ---------------------------------------------------------------------------------------

SIZES = (125, 250, 500, 1000)


def map_and_gradient(d):
    W1, W2, Y = reduced(d, 10**6, float(d)**-1.85)
    A = W2 @ W1 + 0.3 * Y
    return A, A - Y


@pytest.mark.parametrize("d", SIZES)
def test_one_eigendecomposition(measure, d):
    measure(mixed.self_consistent_rhs, *map_and_gradient(d), 12.0, group=f"self-consistent step, d = {d}",
            family="one eigendecomposition", size=d)


@pytest.mark.parametrize("d", SIZES)
def test_two_singular_value_decompositions(measure, d):
    A, G = map_and_gradient(d)

    def step():
        """Each root from a decomposition of its own, as in the published code."""
        U, s, _ = np.linalg.svd(A @ A.T + 144.0 * np.eye(d))
        left = (U * np.sqrt(s)) @ U.T
        U, s, _ = np.linalg.svd(A.T @ A + 144.0 * np.eye(d))
        return left @ G + G @ ((U * np.sqrt(s)) @ U.T)
    measure(step, group=f"self-consistent step, d = {d}", family="two singular value decompositions", size=d)


# --- the self-consistent flow ---------------------------------------------------------------------------------------

FLOW_SIZES = (15, 30, 60, 120)


def flow_task(d):
    """A start, a target whose strengths do not depend on the size, a threshold, and 50 times until all is learned."""
    A0 = 0.05 * np.random.default_rng(1).standard_normal((d, d)) / d**0.5
    return A0, np.random.default_rng(2).standard_normal((d, d)) / d**0.5, 0.2, np.linspace(0, 10, 50)


@pytest.mark.parametrize("d", FLOW_SIZES)
def test_self_consistent_flow(measure, d):
    measure(mixed.self_consistent_flow, *flow_task(d), group=f"self-consistent flow, d = {d}, 50 times",
            family="self-consistent flow", size=d)


@pytest.mark.parametrize("d", FLOW_SIZES)
def test_self_consistent_ode(measure, d):
    A0, Y, c, times = flow_task(d)

    def slope(t, a):
        A = a.reshape(d, d)
        return mixed.self_consistent_rhs(A, A - Y, c).ravel()

    def solve():
        solve_ivp(slope, (0, 10), A0.ravel(), method="DOP853", rtol=1e-9, atol=1e-12, t_eval=times)
    measure(solve, group=f"self-consistent flow, d = {d}, 50 times", family="self-consistent flow by an ODE solver", size=d)


# --- a whole figure -------------------------------------------------------------------------------------------------

def test_both_paths(measure):
    def figure():
        W1, W2, Y = reduced(500, 1_182_177, 500.0**-1.85)
        A, eta = W2 @ W1, 8e-4
        for _ in range(100):
            W1, W2 = mixed.gd_step(W1, W2, Y, eta)
            A = A + eta * mixed.self_consistent_rhs(A, A - Y, 500.0**0.4)
        return W2 @ W1 - A
    measure(figure, group="figure 1 at the paper's size (d = 500, width 1 182 177), 100 steps", rounds=1)

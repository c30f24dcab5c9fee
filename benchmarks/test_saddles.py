"""Speed of the closed forms and of the exact width reduction, each beside what it replaces."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlnutils import datasets, linear_networks, saddles

TIMES = np.linspace(0.0, 20.0, 100_000)


@pytest.mark.benchmark(group="one mode, 100 000 times")
def test_two_layer_mode_strength(benchmark):
    benchmark(saddles.two_layer_mode_strength, TIMES, 1.0, 1e-3)


@pytest.mark.benchmark(group="one mode, 100 000 times")
def test_deep_mode_strength_4_weights(benchmark):
    benchmark(saddles.deep_mode_strength, TIMES, 1.0, 1e-3, 4)


@pytest.mark.benchmark(group="one mode, 100 000 times")
def test_ode_solver_4_weights(benchmark):
    def solve():
        return solve_ivp(lambda t, u: 4 * u**1.5 * (1 - u), (0, 20), [1e-3], method="DOP853", rtol=1e-9, atol=1e-12,
                         t_eval=TIMES)
    benchmark(solve)


@pytest.fixture(scope="module")
def digits():
    images, labels = datasets.mnist()
    return linear_networks.correlations(images, datasets.one_hot(labels))


WIDE = "20 layers on MNIST at one rate, 50 steps"


@pytest.mark.benchmark(group=WIDE)
def test_reduced_to_its_modes(benchmark, digits):
    sigma31, sigma11 = digits
    benchmark(linear_networks.decoupled_descent, sigma31, sigma11, n_weights=19, u0=1e-3, learning_rates=[0.5],
              threshold=0.2, max_steps=50)


@pytest.mark.benchmark(group=WIDE)
def test_explicit_width_1000(benchmark, digits):
    sigma31, sigma11 = digits
    start = linear_networks.decoupled_init(sigma31, [784] + [1000] * 18 + [10], 1e-3, np.random.default_rng(0))

    def train():
        linear_networks.gradient_descent(start, sigma31, sigma11, learning_rate=0.5, n_steps=50, every=50)
    benchmark.pedantic(train, rounds=1, iterations=1)


MATRIX = "whole matrices, 20 x 20 modes, 50 times"


def balanced_start():
    Q = linear_networks.orthogonal_matrix(20, np.random.default_rng(1))
    sigma = np.random.default_rng(2).normal(size=(20, 20)) / 4
    return 0.1 * Q, 0.1 * Q.T, sigma, np.linspace(0, 10, 50)


@pytest.mark.benchmark(group=MATRIX)
def test_riccati_flow(benchmark):
    W1, W2, sigma, times = balanced_start()
    benchmark(saddles.riccati_flow, W1, W2, sigma, times)


@pytest.mark.benchmark(group=MATRIX)
def test_ode_solver_whole_matrices(benchmark):
    W1, W2, sigma, times = balanced_start()

    def slope(t, w):
        A, B = w.reshape(2, 20, 20)
        return np.concatenate([(B.T @ (sigma - B @ A)).ravel(), ((sigma - B @ A) @ A.T).ravel()])
    benchmark.pedantic(lambda: solve_ivp(slope, (0, 10), np.concatenate([W1.ravel(), W2.ravel()]), method="DOP853",
                                         rtol=1e-9, atol=1e-12, t_eval=times), rounds=5, iterations=1)

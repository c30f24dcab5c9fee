"""Speed of the width reduction and of the self-consistent dynamics, each beside what it replaces."""

import numpy as np
import pytest

from dlnutils import datasets, mixed

WIDTH, GAMMA_SIGMA2 = 150_424, -2.0                        # floor(200^2.25)


def network(d, w, sigma2, dtype=np.float64):
    A_star, E = datasets.low_rank_task(d, 5, np.random.default_rng(0))
    return (*mixed.reduced_init(d, d, w, sigma2, np.random.default_rng(1), dtype=dtype), (A_star + E).astype(dtype))


STEP = "gradient step, d = 200, width 150 424"


@pytest.mark.benchmark(group=STEP)
def test_reduced_to_400_neurons(benchmark):
    W1, W2, Y = network(200, WIDTH, 200.0**GAMMA_SIGMA2)
    benchmark(mixed.gd_step, W1, W2, Y, 1e-4)


@pytest.mark.benchmark(group=STEP)
def test_explicit_weights(benchmark):
    sigma, Y = 200.0**(GAMMA_SIGMA2 / 2), network(200, WIDTH, 1.0)[2]
    rng = np.random.default_rng(2)
    W1, W2 = sigma * rng.standard_normal((WIDTH, 200)), sigma * rng.standard_normal((200, WIDTH))
    benchmark.pedantic(mixed.gd_step, (W1, W2, Y, 1e-4), rounds=5, iterations=1, warmup_rounds=1)


SINGLE = "gradient step in single precision, d = 200"


@pytest.mark.benchmark(group=SINGLE)
def test_its_three_products(benchmark):
    W1, W2, Y = network(200, WIDTH, 200.0**GAMMA_SIGMA2, np.float32)

    def products():
        A = W2 @ W1
        return W2.T @ A, A @ W1.T
    benchmark(products)


@pytest.mark.benchmark(group=SINGLE)
def test_gd_step_single(benchmark):
    W1, W2, Y = network(200, WIDTH, 200.0**GAMMA_SIGMA2, np.float32)
    benchmark(mixed.gd_step, W1, W2, Y, 1e-4)


CLOSED = "self-consistent step, d = 500"


@pytest.mark.benchmark(group=CLOSED)
def test_one_eigendecomposition(benchmark):
    W1, W2, Y = network(500, 10**6, 500.0**-1.85)
    A = W2 @ W1 + 0.3 * Y
    benchmark.pedantic(mixed.self_consistent_rhs, (A, A - Y, 12.0), rounds=9, iterations=1, warmup_rounds=2)


@pytest.mark.benchmark(group=CLOSED)
def test_two_singular_value_decompositions(benchmark):
    W1, W2, Y = network(500, 10**6, 500.0**-1.85)
    A = W2 @ W1 + 0.3 * Y

    def step():
        """Each root from a decomposition of its own, as in the published code."""
        U, s, _ = np.linalg.svd(A @ A.T + 144.0 * np.eye(500))
        left = (U * np.sqrt(s)) @ U.T
        U, s, _ = np.linalg.svd(A.T @ A + 144.0 * np.eye(500))
        return left @ (A - Y) + (A - Y) @ ((U * np.sqrt(s)) @ U.T)
    benchmark.pedantic(step, rounds=9, iterations=1, warmup_rounds=1)


@pytest.mark.benchmark(group="figure 1 at the paper's size (d = 500, width 1 182 177), 100 steps")
def test_both_paths(benchmark):
    def figure():
        W1, W2, Y = network(500, 1_182_177, 500.0**-1.85)
        A, eta = W2 @ W1, 8e-4
        for _ in range(100):
            W1, W2 = mixed.gd_step(W1, W2, Y, eta)
            A = A + eta * mixed.self_consistent_rhs(A, A - Y, 500.0**0.4)
        return W2 @ W1 - A
    benchmark.pedantic(figure, rounds=1, iterations=1)

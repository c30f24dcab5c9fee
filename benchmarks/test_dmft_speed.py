"""Speed of the mean-field solver, beside the products of matrices that its operations amount to, and beside training."""

import numpy as np
import pytest

from dlnutils import dmft

SETTINGS = {"n_hidden": 3, "gamma0": 1.0, "learning_rate": 0.02, "noise": 0.3}


def solve(n_steps):
    return dmft.solve_dmft(dmft.isotropic(1), n_steps=n_steps, width=1.0, n_samples=2.0, **SETTINGS)


SHORT = "learning curve of 200 steps, three hidden layers"


@pytest.mark.benchmark(group=SHORT)
def test_theory(benchmark):
    benchmark.pedantic(solve, (200,), rounds=5, iterations=1, warmup_rounds=1)


@pytest.mark.benchmark(group=SHORT)
def test_one_network_1000_wide(benchmark):
    def train():
        dmft.simulate(dmft.isotropic(1000), n_steps=200, width=1000, n_samples=2000, rng=np.random.default_rng(0), **SETTINGS)
    benchmark.pedantic(train, rounds=1, iterations=1)


LONG = "solver for 800 steps, three hidden layers"


@pytest.mark.benchmark(group=LONG)
def test_sixty_products_of_800_by_800(benchmark):
    A = np.random.default_rng(0).normal(size=(800, 800))

    def products():
        for _ in range(60):
            A @ A
    benchmark.pedantic(products, rounds=3, iterations=1, warmup_rounds=1)


@pytest.mark.benchmark(group=LONG)
def test_theory_800(benchmark):
    benchmark.pedantic(solve, (800,), rounds=3, iterations=1)


@pytest.mark.benchmark(group="learning rates and widths: 45 x 7 x 2 solutions of 30 steps")
def test_sweep(benchmark):
    def sweep():
        for scaling in (0.0, 0.5):
            for nu in (0.5, 1, 2, 4, 8, 16, 32):
                for eta in np.geomspace(0.005, 1, 45):
                    dmft.solve_dmft(dmft.isotropic(1), n_steps=30, n_hidden=2, width=nu, gamma0=4 / nu**scaling,
                                    learning_rate=eta, n_samples=4.0)
    benchmark.pedantic(sweep, rounds=1, iterations=1)

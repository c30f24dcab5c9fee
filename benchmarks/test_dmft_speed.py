"""Speed of the mean-field solvers, beside the products of matrices that their operations amount to, and beside training."""

import numpy as np
import pytest

from dlnutils import dmft, scaling_laws
from dlnutils.dmft import solver

SETTINGS = {"gamma0": 1.0, "learning_rate": 0.02, "noise": 0.3}
STEPS = (100, 200, 400, 800)


def solve(n_times, n_hidden=3, **options):
    return dmft.solve_dmft(dmft.isotropic(1), n_steps=n_times - 1, n_hidden=n_hidden, width=1.0, n_samples=2.0,
                           **SETTINGS | options)


def train(n_times, n_hidden=3, **options):
    """One network of the same ratios."""
    return dmft.simulate(dmft.isotropic(1000), n_steps=n_times - 1, n_hidden=n_hidden, width=1000, n_samples=2000,
                         rng=np.random.default_rng(0), **SETTINGS | options)


# --- plain networks -------------------------------------------------------------------------------------------------

def curve_group(n):
    return f"learning curve of {n} steps, three hidden layers"


@pytest.mark.parametrize("n", STEPS)
def test_theory(measure, n):
    measure(solve, n, group=curve_group(n), family="mean-field theory", size=n, rounds=5 if n == 800 else None)


def test_theory_in_smaller_steps_800(measure):
    """The same number of rows, each more like the one before."""
    measure(lambda: solve(800, learning_rate=0.005), group=curve_group(800), rounds=5)


def test_theory_row_by_row_800(measure, monkeypatch):
    monkeypatch.setattr(solver, "FIRST", 800)
    measure(solve, 800, group=curve_group(800), rounds=3)


def test_theory_with_momentum_400(measure):
    rule = dmft.Optimizer(0.004, momentum=0.8)
    measure(lambda: solve(400, learning_rate=None, optimizer=rule), group=curve_group(400))


@pytest.mark.parametrize("n", (800, 100_000))
def test_theory_on_a_grid(measure, n):
    def long():
        dmft.solve_long(dmft.isotropic(1), n_steps=n - 1, n_hidden=3, width=1.0, n_samples=2.0, **SETTINGS)
    measure(long, group="many steps on a coarse grid, three hidden layers", rounds=3)


@pytest.mark.parametrize("n", STEPS)
def test_sixty_products(measure, n):
    """Twenty products a layer: about as many operations as the solver needs."""
    A, out = np.random.default_rng(0).normal(size=(n, n)), np.empty((n, n))

    def products():
        for _ in range(60):
            np.matmul(A, A, out=out)
    measure(products, group=curve_group(n), family="sixty products of matrices", size=n, rounds=5 if n == 800 else None)


@pytest.mark.parametrize("n", STEPS)
def test_one_network_1000_wide(measure, n):
    measure(train, n, group=curve_group(n), family="one network", size=n, rounds={400: 3, 800: 2}.get(n))


@pytest.mark.parametrize("n_hidden", (1, 2, 4, 8, 16))
def test_theory_of_depth(measure, n_hidden):
    measure(solve, 100, n_hidden, group="learning curve of 100 steps at several depths",
            family="mean-field theory against depth", size=n_hidden)


# --- residual networks ----------------------------------------------------------------------------------------------

SKIPS = "residual network, 200 steps, three hidden layers"


def test_theory_with_skips(measure):
    measure(lambda: solve(200, skip=True, branch_scale=3**-0.5), group=SKIPS)


def test_one_residual_network_1000_wide(measure):
    measure(lambda: train(200, skip=True, branch_scale=3**-0.5), group=SKIPS, rounds=3)


DEEP = "residual network, 200 steps, very deep"


def test_theory_of_infinite_depth(measure):
    def deep():
        dmft.solve_infinite_depth(dmft.isotropic(1), n_steps=199, width=1.0, n_samples=2.0, n_layer_steps=16, **SETTINGS)
    measure(deep, group=DEEP, rounds=2)


def test_one_residual_network_of_16_layers(measure):
    measure(lambda: train(200, 16, skip=True, branch_scale=0.25), group=DEEP, rounds=2)


# --- logarithmic time, and a whole figure ---------------------------------------------------------------------------

@pytest.mark.parametrize("n", (50, 100, 200, 400))
def test_log_grid(measure, n):
    """Six decades of time, two hidden layers, a power law of 10^12 modes in bins."""
    spectrum, times = dmft.power_law(10**12, 1.5, 0.5, n_exact=20), np.logspace(-2, 4, n)
    measure(lambda: scaling_laws.solve_log_grid(spectrum, times, n_hidden=2, gamma0=3.0, accuracy=None),
            group="six decades of time on a logarithmic grid", family="theory on a logarithmic grid", size=n,
            rounds=2 if n == 400 else None)


def test_sweep(measure):
    def sweep():
        for scaling in (0.0, 0.5):
            for nu in (0.5, 1, 2, 4, 8, 16, 32):
                for eta in np.geomspace(0.005, 1, 45):
                    dmft.solve_dmft(dmft.isotropic(1), n_steps=29, n_hidden=2, width=nu, gamma0=4 / nu**scaling,
                                    learning_rate=eta, n_samples=4.0)
    measure(sweep, group="learning rates and widths: 45 x 7 x 2 solutions of 30 steps", rounds=2)


def test_sweep_of_optimizers(measure):
    spectrum = dmft.power_law(300, 1.5, 0.5, n_exact=8, ratio=1.5)

    def sweep():
        for momentum in (0.0, 0.5, 0.9):
            for width in (64, 512, 4096, np.inf):
                for peak in np.geomspace(0.01, 0.3, 25):
                    rule = dmft.Optimizer(dmft.schedule("cosine", 59, peak * (1 - momentum), warm_up=5), momentum=momentum)
                    dmft.solve_dmft(spectrum, n_steps=59, n_hidden=2, width=width, gamma0=2.0, optimizer=rule, batch_size=64,
                                    noise=0.3)
    measure(sweep, group="optimizers, widths and rates: 3 x 4 x 25 solutions of 60 steps, 20 distinct modes", rounds=1)

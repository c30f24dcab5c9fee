"""Batches that come again: the theory of each way to draw them against finite networks."""

import numpy as np
import pytest

from dlnutils.dmft import isotropic, simulate, solve_dmft

SIZE = 200
SETTING = dict(n_steps=24, n_hidden=2, gamma0=1.0, learning_rate=0.1, noise=0.5)


@pytest.mark.parametrize("sampling", ["cycle", "shuffle", "replace"])
def test_theory_against_finite_networks(sampling):
    """Time-averaged deviation of the mean over networks below 2 % or three standard errors, whichever is more."""
    call = SETTING | {"sampling": sampling}
    theory = solve_dmft(isotropic(1), width=1.0, n_samples=2.0, batch_size=0.5, **call)
    networks = simulate(isotropic(SIZE), width=SIZE, n_samples=2 * SIZE, batch_size=SIZE // 2, **call, rng=17, n_networks=24)
    for loss in ("test_loss", "train_loss"):
        runs, exact = getattr(networks, loss), getattr(theory, loss)
        deviation = np.mean(np.abs(runs.mean(0) / exact - 1))
        error = np.mean(runs.std(0, ddof=1) / 24**0.5 / exact)
        assert deviation < max(0.02, 3 * error), (loss, deviation, error)
        assert error < 0.03                                # the comparison is not empty


def test_networks_tell_the_ways_apart():
    """Same weights, data and noise: sampling alone lifts the train loss, less if an epoch uses every sample once."""
    def last(**data):
        theory = solve_dmft(isotropic(1), width=1.0, **SETTING, n_samples=2.0, **data)
        size = {"batch_size": SIZE // 2} if data else {}
        networks = simulate(isotropic(SIZE), width=SIZE, **SETTING, n_samples=2 * SIZE, **data | size, rng=18, n_networks=12)
        return theory.train_loss[-1], networks.train_loss[:, -1]

    curves = [last(**data) for data in ({}, *(dict(batch_size=0.5, sampling=way) for way in ("cycle", "shuffle", "replace")))]
    for (lower, low), (upper, high) in zip(curves, curves[1:]):
        gain, error = np.mean(high - low), np.std(high - low, ddof=1) / 12**0.5
        assert abs(gain - (upper - lower)) < max(0.02 * upper, 3 * error)
        assert gain > 3 * error and upper > lower

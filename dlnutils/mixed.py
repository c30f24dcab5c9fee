"""Two-layer linear networks between lazy and active: exact at any width, and the self-consistent dynamics (Tu et al. 2024).

The network is ``A = W2 @ W1`` with ``W1`` (w, p) and ``W2`` (q, w), entries ``N(0, sigma2)``; the cost is
``|A - Y|^2 / 2`` unless a gradient is given. One number sets the regime, ``c = sigma2 * w``: singular values of ``A``
below it learn lazily, those above it actively. Time ``t`` is learning rate times steps. ``p``, ``q``: inputs, outputs.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ._validation import choice, integer, matrix, real
from .datasets import low_rank_task
from .saddles import riccati_flow
from .sweep import read_arrays, sweep, write_arrays

ORDERS = ("sequential", "simultaneous")


def _square_like(name: str, value, like: np.ndarray) -> np.ndarray:
    """``value`` as an array of the shape of ``like``, or an error that names it; no pass over the entries."""
    value = np.asarray(value)
    if value.shape != like.shape:
        raise ValueError(f"{name} must have shape {like.shape}, got {value.shape}")
    return value


def _finite(**arrays) -> None:
    """Raise for the first array with an entry that is not finite."""
    for name, array in arrays.items():
        real(name, array)


def _warn_if_unstable(eta: float, largest: float) -> None:
    if eta * largest >= 1:
        warnings.warn(f"eta = {eta:g} is unstable: it must stay below 1 / max sqrt(s^2 + c^2) = {1 / largest:.3g}",
                      RuntimeWarning, stacklevel=3)


# --- weights --------------------------------------------------------------------------------------------------------

def reduced_init(p: int, q: int, w: int, sigma2: float, rng: np.random.Generator, *, dtype=np.float64):
    """Gaussian weights of a network of any width, reduced to at most ``p + q`` hidden neurons without any approximation.

    Gradient descent sees the weights only through the Gram matrix of all rows of ``W1.T`` and ``W2``. For Gaussian
    weights this is a Wishart matrix, and Bartlett's triangular factor of it is again a network: one that follows the
    same path, step by step and in law, as the network of width ``w``.

    Parameters
    ----------
    p, q : int
        Inputs and outputs.
    w : int
        Width, as large as you like: it enters only the degrees of freedom of ``p + q`` chi-squared draws.
    sigma2 : float
        Variance of the entries, positive.
    rng : numpy.random.Generator
    dtype : {numpy.float64, numpy.float32}
        Of the result; the draw is always made in double precision.

    Returns
    -------
    W1, W2 : ndarray, shapes (r, p) and (q, r)
        With ``r = min(w, p + q)``. Below a width of ``p + q`` these are the explicit weights.

    Raises
    ------
    ValueError
        Sizes that are not positive integers, ``sigma2`` not positive.

    Notes
    -----
    Cost ``O((p + q)^2)``. Source: Bartlett (1934); the reduction is exact for both orders of the update.

    Examples
    --------
    >>> W1, W2 = reduced_init(3, 2, 10**9, 1e-9, np.random.default_rng(0))
    >>> W1.shape, W2.shape
    ((5, 3), (2, 5))
    """
    p, q, w = integer("p", p), integer("q", q), integer("w", w)
    sigma = float(real("sigma2", sigma2, above=0.0))**0.5
    n = p + q
    if w < n:
        rows = sigma * rng.standard_normal((n, w))
    else:
        rows = np.zeros((n, n))
        rows[np.tril_indices(n, -1)] = rng.standard_normal(n * (n - 1) // 2)
        rows[np.diag_indices(n)] = np.sqrt(rng.chisquare(w - np.arange(n, dtype=float)))
        rows *= sigma
    return np.ascontiguousarray(rows[:p].T, dtype=dtype), np.ascontiguousarray(rows[p:], dtype=dtype)


def gram_of(W1, W2):
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
    >>> A, K1, K2 = gram_of([[1.0, 2.0]], [[3.0]])
    >>> A, K2
    (array([[3., 6.]]), array([[9.]]))
    """
    W1 = matrix("W1", W1)
    W2 = matrix("W2", W2, shape=(None, len(W1)))
    return W2 @ W1, W1.T @ W1, W2 @ W2.T


def factor_gram(A, K1, K2):
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
    # The root of a rounding error would be a weight of 1e-8 in a direction that should have none, and would grow.
    kept = values > (p + q) * np.finfo(float).eps * values[-1]
    rows = vectors * np.sqrt(np.where(kept, values, 0))
    return rows[:p].T.copy(), rows[p:].copy()


def roots(A, c: float):
    """``sqrt(A' A + c^2)`` and ``sqrt(A A' + c^2)``: what `K1` and `K2` are on the self-consistent path.

    Parameters
    ----------
    A : array_like, shape (q, p)
    c : float
        The threshold ``sigma2 * w``, at least 0.

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
    >>> roots([[3.0]], 4.0)
    (array([[5.]]), array([[5.]]))
    """
    A = matrix("A", A)
    c = float(real("c", c, at_least=0.0))
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    more = s**2 / (np.hypot(s, c) + c) if c else s         # sqrt(s^2 + c^2) - c without cancellation
    P1, P2 = (Vt.T * more) @ Vt, (U * more) @ U.T
    P1.flat[::len(P1) + 1] += c
    P2.flat[::len(P2) + 1] += c
    return P1, P2


def consistent_init(A0, c: float):
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
    >>> W1, W2 = consistent_init(np.zeros((2, 2)), 0.25)
    >>> (W1.T @ W1).round(12)
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """
    A0 = matrix("A0", A0)
    return factor_gram(A0, *roots(A0, c))


# --- gradient descent -----------------------------------------------------------------------------------------------

@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def gd_step(W1, W2, Y, eta: float, order: str = "sequential", grad=None):
    """One step of gradient descent on the cost of ``W2 @ W1``.

    Parameters
    ----------
    W1, W2 : ndarray, shapes (w, p) and (q, w)
        Single or double precision, kept.
    Y : array_like, shape (q, p)
        Target of the quadratic cost ``|W2 W1 - Y|^2 / 2``; only its shape counts if ``grad`` is given.
    eta : float
        Learning rate, at least 0. Stable below ``1 / max sqrt(s^2 + c^2)`` over the singular values s of the path.
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
        Shapes that do not fit, entries that are not finite, ``eta`` negative, unknown ``order``.

    Notes
    -----
    Three matrix products. From `reduced_init` the cost does not depend on the width of the network.
    Source: Tu et al. 2024, their published code for the order.

    Examples
    --------
    >>> gd_step(np.ones((1, 1)), np.ones((1, 1)), [[3.0]], 0.1)
    (array([[1.2]]), array([[1.24]]))
    """
    choice("order", order, ORDERS)
    if not eta >= 0 or eta == np.inf:
        raise ValueError(f"eta must be a finite number of at least 0, got {eta!r}")
    W1, W2 = (W if W.dtype.kind == "f" else W.astype(float) for W in map(np.asarray, (W1, W2)))
    if W1.ndim != 2 or W2.ndim != 2 or W2.shape[1] != W1.shape[0]:
        raise ValueError(f"W1 and W2 must have shapes (w, p) and (q, w), got {W1.shape} and {W2.shape}")
    A = W2 @ W1
    Y = _square_like("Y", Y, A)
    G = A - Y.astype(A.dtype, copy=False) if grad is None else _square_like("grad(A)", grad(A), A)
    if not np.isfinite(G.sum()):                           # one cheap pass; then say which argument it was
        _finite(W1=W1, W2=W2, Y=Y)
    return _update(W1, W2, G, A.dtype.type(eta), order)


def _update(W1, W2, G, eta, order):
    new1 = W2.T @ G
    new1 *= -eta                                           # in place: the products leave little time for copies
    new1 += W1
    new2 = G @ (new1 if order == "sequential" else W1).T
    new2 *= -eta
    new2 += W2
    return new1, new2


@np.errstate(over="ignore", invalid="ignore")
def gram_step(A, K1, K2, G, eta: float, order: str = "sequential"):
    """The same step on the Gram matrices: gradient descent closes exactly on ``(A, K1, K2)``.

    Parameters
    ----------
    A, K1, K2 : array_like, shapes (q, p), (p, p) and (q, q)
        From any weights, `gram_of`.
    G : array_like, shape (q, p)
        Gradient of the cost at ``A``.
    eta : float
        Learning rate, at least 0.
    order : {'sequential', 'simultaneous'}

    Returns
    -------
    A, K1, K2 : ndarray

    Raises
    ------
    ValueError
        Shapes that do not fit, entries that are not finite, ``eta`` negative, unknown ``order``.

    Notes
    -----
    For theory, autograd-free costs and checks. For long runs prefer `gd_step` on reduced weights: it cannot lose
    positivity. Rounding errors of ``K1`` grow in proportion to the steps (7e-13 in 20 000 steps); where the smallest
    eigenvalues are tiny, ``w`` much below ``p + q`` or ``c`` much below the singular values, ``A`` loses about four of
    its sixteen digits.

    Examples
    --------
    >>> A, K1, K2 = gram_step([[1.0]], [[1.0]], [[1.0]], [[-2.0]], 0.1)
    >>> A.round(4), K1.round(4)
    (array([[1.488]]), array([[1.44]]))
    """
    choice("order", order, ORDERS)
    A = matrix("A", A)
    q, p = A.shape
    K1, K2 = matrix("K1", K1, shape=(p, p)), matrix("K2", K2, shape=(q, q))
    G = matrix("G", G, shape=(q, p))
    eta = float(real("eta", eta, at_least=0.0))
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


# --- self-consistent dynamics ---------------------------------------------------------------------------------------

def self_consistent_rhs(A, G, c: float) -> np.ndarray:
    """``dA/dt = -(sqrt(A A' + c^2) G + G sqrt(A' A + c^2))``, the dynamics of a wide network closed on its map alone.

    Parameters
    ----------
    A, G : array_like, shape (q, p)
        The map and the gradient of the cost there.
    c : float
        The threshold ``sigma2 * w``, at least 0. With 0 the flow of balanced weights.

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
    >>> self_consistent_rhs([[3.0]], [[-1.0]], 4.0)
    array([[10.]])
    """
    A, G = np.asarray(A, dtype=float), np.asarray(G, dtype=float)
    if A.ndim != 2:
        matrix("A", A)
    _square_like("G", G, A)
    if not np.isfinite(A.sum() + G.sum()):
        _finite(A=A, G=G)
    c = float(real("c", c, at_least=0.0))
    return -_speed(A, G, c)


def _speed(A, G, c):
    if A.shape[0] > A.shape[1]:
        return _speed(A.T, G.T, c).T
    values, U = np.linalg.eigh(A @ A.T)
    if c * c > 1e-10 * values[-1]:
        root = np.sqrt(np.maximum(values, 0) + c * c)[:, None]
        B = U.T @ A
        right = (G @ B.T) / (root.T + c)
        return U @ (root * (U.T @ G)) + c * G + right @ B
    U, s, Vt = np.linalg.svd(A, full_matrices=False)
    more = s**2 / (np.hypot(s, c) + c) if c else s
    return (U * more) @ (U.T @ G) + (G @ Vt.T * more) @ Vt + 2 * c * G


def self_consistent_euler(A0, Y, c: float, eta: float, n_steps: int, grad=None) -> np.ndarray:
    """The self-consistent dynamics in steps of size ``eta``, as the paper draws it beside gradient descent.

    Parameters
    ----------
    A0, Y : array_like, shape (q, p)
        Map at the start, target of the quadratic cost.
    c : float
        The threshold, at least 0.
    eta : float
        Step, at least 0.
    n_steps : int
    grad : callable, optional
        ``A -> gradient of the cost``. By default ``A - Y``.

    Returns
    -------
    ndarray, shape (n_steps + 1, q, p)
        Entry 0 is ``A0``; infinite from the step on at which it diverges.

    Raises
    ------
    ValueError
        Shapes that differ, entries that are not finite, ``c`` or ``eta`` negative.

    Warns
    -----
    RuntimeWarning
        For the quadratic cost, if ``eta`` is at or above ``1 / max sqrt(s^2 + c^2)``; the message states this bound.

    Notes
    -----
    Memory ``8 (n_steps + 1) q p`` bytes. Source: Tu et al. 2024, figure 1.

    Examples
    --------
    >>> self_consistent_euler([[0.0]], [[10.0]], 1.0, 0.01, 2).ravel()
    array([0.        , 0.2       , 0.39988156])
    """
    A0 = matrix("A0", A0)
    Y = matrix("Y", Y, shape=A0.shape)
    c, eta = float(real("c", c, at_least=0.0)), float(real("eta", eta, at_least=0.0))
    n_steps = integer("n_steps", n_steps, at_least=0)
    if grad is None:
        _warn_if_unstable(eta, np.hypot(max(np.linalg.norm(Y, 2), np.linalg.norm(A0, 2)), c))
    path = np.full((n_steps + 1, *A0.shape), np.inf)
    A = path[0] = A0
    with np.errstate(over="ignore", invalid="ignore"):
        for n in range(n_steps):
            G = A - Y if grad is None else _square_like("grad(A)", grad(A), A)
            A = A - eta * _speed(A, G, c)
            if not np.abs(A).max() < 1e100:
                break
            path[n + 1] = A
    return path


def self_consistent_flow(A0, Y, c: float, times) -> np.ndarray:
    """The self-consistent dynamics of the quadratic cost in closed form, at any times and without steps.

    Parameters
    ----------
    A0, Y : array_like, shape (q, p)
        Map at the start, target.
    c : float
        The threshold, at least 0.
    times : array_like
        One-dimensional, at least 0, in any order.

    Returns
    -------
    ndarray, shape (len(times), q, p)

    Raises
    ------
    ValueError
        Shapes that differ, entries that are not finite, ``c`` or a time negative.

    Notes
    -----
    The Gram matrix ``S`` obeys ``dS/dt = F S + S F - S^2 + c^2`` with ``F = [[0, Y'], [Y, 0]]``: a Riccati equation, solved
    in the eigenbasis of ``F`` with decaying exponentials only, so that no time is too long. One eigendecomposition, and
    one solution of ``p + q`` equations a time. Source: derived from Tu et al. 2024; compare `saddles.riccati_flow`.

    Examples
    --------
    >>> self_consistent_flow([[0.0]], [[10.0]], 1.0, [0.0, 0.2, 100.0]).ravel().round(6)
    array([ 0.      ,  7.522376, 10.      ])
    """
    A0 = matrix("A0", A0)
    Y = matrix("Y", Y, shape=A0.shape)
    c, times = float(real("c", c, at_least=0.0)), np.atleast_1d(real("times", times, at_least=0.0))
    if times.ndim != 1:
        raise ValueError(f"times must be one-dimensional, got shape {times.shape}")
    q, p = A0.shape
    if c == 0:                                             # balanced weights; a direction that A0 lacks stays at its saddle
        U, s, Vt = np.linalg.svd(A0, full_matrices=False)
        return riccati_flow(np.sqrt(s)[:, None] * Vt, U * np.sqrt(s), Y, times)[:, p:, :p]
    P1, P2 = roots(A0, c)
    f, Q = np.linalg.eigh(np.block([[np.zeros((p, p)), Y.T], [Y, np.zeros((q, q))]]))
    omega = np.hypot(f, c)
    end = _sum(f, c)                                       # f + omega
    D = Q.T @ np.block([[P1, A0.T], [A0, P2]]) @ Q - np.diag(end)
    top, bottom = Q[:p].T, Q[p:]
    path = np.empty((len(times), q, p))
    for n, t in enumerate(times):
        decay, grown = np.exp(-omega * t), -np.expm1(-2 * omega * t) / (2 * omega)
        inside = np.linalg.solve(np.eye(p + q) + grown[:, None] * D, decay[:, None] * top)
        path[n] = (bottom * end) @ top + (bottom * decay) @ (D @ inside)
    return path


# --- one singular value ---------------------------------------------------------------------------------------------

def _gap(a, b, c):
    """``(b + sqrt(b^2 + c^2)) - (a + sqrt(a^2 + c^2))`` without cancellation."""
    total = np.hypot(a, c) + np.hypot(b, c)
    return (b - a) * (1 + np.divide(a + b, total, out=np.zeros_like(total), where=total > 0))


def _sum(a, c):
    """``a + sqrt(a^2 + c^2)`` without cancellation."""
    size = np.abs(a) + np.hypot(a, c)
    return np.where(a >= 0, size, np.divide(c**2, size, out=np.zeros_like(size), where=size > 0))


def scalar_self_consistent(t, y, c, s0=0.0) -> np.ndarray:
    """Singular value that obeys ``ds/dt = -2 sqrt(s^2 + c^2) (s - y)``: a network with one mode, or an aligned one.

    Parameters
    ----------
    t : array_like
        Time, at least 0.
    y : array_like
        Target.
    c : array_like
        The threshold, at least 0.
    s0 : array_like
        Value at ``t = 0``.

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
    ``P = s + sqrt(s^2 + c^2)`` obeys a Riccati equation. Differences are taken from the nearer of ``s0`` and ``y``, so that
    small steps and late times keep all their digits. Source: derived from Tu et al. 2024.

    Examples
    --------
    >>> scalar_self_consistent([0.0, 0.2, 1e6], 10.0, 1.0).round(6)
    array([ 0.      ,  7.522376, 10.      ])
    """
    t, c = real("t", t, at_least=0.0), real("c", c, at_least=0.0)
    t, y, c, s0 = np.broadcast_arrays(t, real("y", y), c, real("s0", s0))
    sign = np.where((s0 < 0) | ((s0 == 0) & (y < 0)), -1.0, 1.0)       # the equation is odd
    y, s0 = sign * y, sign * s0
    omega, start, end = np.hypot(y, c), _sum(s0, c), _sum(y, c)
    b, decay = _gap(s0, y, c), np.exp(-2 * omega * t)
    grown = np.divide(-np.expm1(-2 * omega * t), 2 * omega, out=t.astype(float), where=omega > 0)
    rest = 1 - grown * b
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = b * grown * (_sum(-y, c) + start) / rest               # P - P(0)
        to_go = decay * b / rest                                       # P(inf) - P
        P = np.where(b > 0, start + moved, end - to_go)
        from_start = s0 + moved * (1 + np.where(c > 0, c**2 / (P * start), 0)) / 2
        from_end = y - to_go * (1 + np.where(c > 0, c**2 / (P * end), 0)) / 2
    s = np.where((np.abs(to_go) < np.abs(moved)) & ((y >= 0) | (c > 0)), from_end, from_start)
    return (sign * np.where(start > 0, s, s0))[()]


def time_to_reach(s, y, c, s0=0.0) -> np.ndarray:
    """Time at which `scalar_self_consistent` passes ``s``.

    Parameters
    ----------
    s : array_like
        Value to reach, strictly between ``s0`` and ``y``.
    y, c, s0 : array_like
        As in `scalar_self_consistent`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``s`` not strictly between ``s0`` and ``y``, or beyond the saddle at 0 that ``c = 0`` never crosses; ``c`` negative.

    Notes
    -----
    For ``c`` much below ``y`` about ``ln(2 y / c) / 2 y`` plus the time of the last stretch, for ``c`` much above
    ``ln(1 / delta) / 2 c`` to a fraction ``delta`` before the end. Source: derived from Tu et al. 2024.

    Examples
    --------
    >>> time_to_reach(9.0, 10.0, [0.01, 1.0, 1000.0]).round(5)
    array([0.48986, 0.25394, 0.00115])
    """
    s, y, c, s0 = np.broadcast_arrays(real("s", s), real("y", y), real("c", c, at_least=0.0), real("s0", s0))
    bad = (s - s0) * (y - s) <= 0
    if bad.any():
        first = tuple(float(x[bad].flat[0] if x.ndim else x) for x in (s, s0, y))
        raise ValueError("s must lie strictly between s0 and y, got s = {:g}, s0 = {:g}, y = {:g}".format(*first))
    stuck = (c == 0) & ((s0 == 0) | (s0 * s <= 0))
    if stuck.any():
        raise ValueError("s is never reached with c = 0 from "
                         f"s0 = {float(s0[stuck].flat[0] if s0.ndim else s0):g}: 0 is a saddle, take c > 0")
    sign = np.where(s0 + s < 0, -1.0, 1.0)
    s, y, s0 = sign * s, sign * y, sign * s0
    omega, other = np.hypot(y, c), _sum(-y, c)
    grown = np.log((_sum(s, c) + other) / (_sum(s0, c) + other)) + np.log(_gap(s0, y, c) / _gap(s, y, c))
    return (grown / (2 * omega))[()]


def aligned_descent(y, c, eta, n_steps: int, order: str = "sequential") -> np.ndarray:
    """Gradient descent from orthogonal weights, one singular value of the target at a time: no matrices.

    With ``A0 = 0`` and orthogonal weights of size ``sqrt(c)`` the network keeps the singular vectors of its target, and
    each singular value learns alone, exactly and for every step.

    Parameters
    ----------
    y : array_like
        Singular values of the target.
    c : array_like
        The threshold, at least 0.
    eta : array_like
        Learning rate, at least 0. Broadcasts with ``y`` and ``c``.
    n_steps : int
    order : {'sequential', 'simultaneous', 'self-consistent'}
        Gradient descent in one of its two orders, or steps of the self-consistent dynamics.

    Returns
    -------
    ndarray, shape (n_steps + 1, ...)
        Singular values of the map; infinite once diverged.

    Raises
    ------
    ValueError
        ``c`` or ``eta`` negative, unknown ``order``.

    Warns
    -----
    RuntimeWarning
        If ``eta`` is at or above ``1 / sqrt(y^2 + c^2)`` for some entry.

    Examples
    --------
    >>> aligned_descent(5.0, 0.5, 0.02, 2)
    array([0.        , 0.1005    , 0.20286932])
    """
    y, c, eta = np.broadcast_arrays(real("y", y), real("c", c, at_least=0.0), real("eta", eta, at_least=0.0))
    n_steps = integer("n_steps", n_steps, at_least=0)
    choice("order", order, (*ORDERS, "self-consistent"))
    speed = eta * np.hypot(y, c)
    if speed.size and speed.max() >= 1:
        worst = np.unravel_index(speed.argmax(), speed.shape)
        _warn_if_unstable(float(eta[worst]), float(np.hypot(y, c)[worst]))
    a, K1, K2 = np.zeros(y.shape), c.astype(float), c.astype(float)
    path = [a]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(n_steps):
            g = a - y
            if order == "self-consistent":
                a = a - 2 * eta * np.hypot(a, c) * g
            elif order == "simultaneous":
                a, K1, K2 = (a - eta * (K1 + K2) * g + eta**2 * g**2 * a,
                             K1 - 2 * eta * a * g + eta**2 * g**2 * K2, K2 - 2 * eta * a * g + eta**2 * g**2 * K1)
            else:
                half, K1 = a - eta * K2 * g, K1 - 2 * eta * a * g + eta**2 * g**2 * K2
                a, K2 = half - eta * g * K1, K2 - 2 * eta * half * g + eta**2 * g**2 * K1
            a = np.where(np.abs(a) < 1e100, a, np.inf)
            path.append(a)
    return np.array(path)


# --- theory of the test error ---------------------------------------------------------------------------------------

def random_matrix_test_error(t, s, d: int, c: float) -> np.ndarray:
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
    >>> random_matrix_test_error([0.0, 1e3], [90.0] * 5, 200, 3.0).round(2)
    array([1.01, 1.  ])
    """
    t, d = real("t", t, at_least=0.0), integer("d", d)
    s = np.atleast_1d(real("s", s))
    c = float(real("c", c, at_least=0.0))
    k = len(s)
    if s.min() <= np.sqrt(d):
        raise ValueError(f"s must be greater than sqrt(d) = {np.sqrt(d):.4g}, got {s.min():g}: the noise hides it")
    if 2 * k >= d:
        raise ValueError(f"s must have fewer than d / 2 = {d / 2:g} entries, got {k}")
    times = t[..., None]
    f = scalar_self_consistent(times, s + d / s, c)
    nodes, weights = np.polynomial.legendre.leggauss(200)
    angle = np.pi / 4 * (1 + nodes)
    bulk = 2 * np.sin(angle) * np.sqrt(d * (d - 2 * k) / (d - k))
    noise = scalar_self_consistent(times, bulk, c)**2 @ (weights * np.cos(angle)**2)
    signal = np.sum(f**2 - 2 * f * s * (1 - d / s**2) + s**2, axis=-1)
    return (signal + (d - k) * noise)[()] / d**2


def lazy_minimum_test(nu, a, e):
    """Smallest test error of lazy learning, and the fraction of the start that is then left.

    Parameters
    ----------
    nu : array_like
        Variance of the entries of the map at the start, ``sigma2^2 w``.
    a, e : array_like
        Mean squares of the entries of the target and of the noise.

    Returns
    -------
    test, left : ndarray
        ``e (nu + a) / (nu + a + e)`` and ``e / (nu + a + e)``; the latter is reached at ``t = ln(1 / left) / 2 c``.

    Raises
    ------
    ValueError
        A negative argument, ``e`` and ``a`` zero.

    Notes
    -----
    Lazy learning is linear: signal, noise and start relax at one rate, so the error is
    ``r^2 (nu + a) + (1 - r)^2 e`` with r falling from 1 to 0. Source: derived from Tu et al. 2024, figure 2.

    Examples
    --------
    >>> lazy_minimum_test([0.0, 1.0], 1.0, 1.0)[0].round(4)
    array([0.5   , 0.6667])
    """
    nu, a, e = real("nu", nu, at_least=0.0), real("a", a, at_least=0.0), real("e", e, at_least=0.0)
    if np.any(nu + a + e == 0):
        raise ValueError("a must be positive where nu and e are 0, got 0: there is nothing to learn")
    return e * (nu + a) / (nu + a + e), e / (nu + a + e)


def active_minimum_test(d: int, k: int, c):
    """Smallest test error of active learning for rank ``k`` under noise, and the time of it, for large ``d``.

    Parameters
    ----------
    d, k : int
        Size and rank of the target, of which every singular value is taken to be ``y = d / sqrt(k)``.
    c : array_like
        The threshold, positive and below ``y``.

    Returns
    -------
    test, time : ndarray

    Raises
    ------
    ValueError
        ``k`` above ``d``, ``c`` not between 0 and ``y / 2``.

    Notes
    -----
    ``test = 2 k / d + 4 (c / y)^2 u^2 + 2 (c / y)^2 u`` at ``t = u / y``, with ``u = ln(y / c) - ln(u / 2) / 4``: the price of
    estimating ``k`` directions, and the noise that leaks in lazily meanwhile. Too large by a fifth once ``c`` exceeds
    ``0.04 y``. Source: derived from Tu et al. 2024, figure 2.

    Examples
    --------
    >>> test, time = active_minimum_test(200, 5, 200**0.2)
    >>> test.round(4), (50 * time * 200 / 5**0.5).round()
    (np.float64(0.1024), np.float64(165.0))
    """
    d = integer("d", d)
    k = integer("k", k)
    if k > d:
        raise ValueError(f"k must be at most d = {d}, got {k}")
    y = d / k**0.5
    c = real("c", c, above=0.0, at_most=y / 2, hint=f"beyond half the signal y = {y:.4g} learning is not active")
    u = np.maximum(np.log(y / c), 0.1)
    for _ in range(60):                                    # contracts by 1 / 4u a turn
        u = np.maximum(np.log(y / c) - np.log(u / 2) / 4, 0.1)
    leak = (c / y)**2
    return (2 * k / d + 4 * leak * u**2 + 2 * leak * u)[()], (u / y)[()]


# --- the phase diagram ----------------------------------------------------------------------------------------------

REASONS = ("loss", "rise", "plateau", "cap", "diverged")


def train_point(gamma_sigma2: float, gamma_w: float, *, d: int, k: int, seed: int, divisor: float = 50.0,
                max_steps: int = 750, order: str = "sequential", distance: bool = False, precision: str = "double",
                rng: np.random.Generator) -> dict:
    """Train one network of the phase diagram until its test error has passed its minimum.

    The weights have variance ``d^gamma_sigma2`` and the network width ``floor(d^gamma_w)``; the target is
    ``datasets.low_rank_task(d, k)`` of ``seed``. The learning rate is ``1 / (divisor c)`` for ``c`` above d, else
    ``1 / (divisor |A*|)`` with the largest singular value of the target.

    Parameters
    ----------
    gamma_sigma2, gamma_w : float
        Exponents.
    d, k : int
        Size and rank of the target.
    seed : int
        Of the target and its noise, the same for all points of a diagram.
    divisor : float
        Positive; 50 in the paper.
    max_steps : int
    order : {'sequential', 'simultaneous'}
    distance : bool
        Also follow the self-consistent dynamics from the same start, with the same steps.
    precision : {'double', 'single'}
        Of the gradient descent; the self-consistent dynamics is always in double precision.
    rng : numpy.random.Generator
        For the weights.

    Returns
    -------
    dict
        ``test_error`` (the least), ``steps`` (to reach it), ``stable_rank`` and ``n_above`` (singular values above ``c``)
        at that step, ``distance`` (largest ``|A - A_sc|^2 / d^2``, nan if not asked for), ``last_test_error``,
        ``stop_step``, ``reason`` ('loss', 'rise', 'plateau', 'cap' or 'diverged').

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Stops where the training error is below 1e-3, where the test error rose twice in a row, or where the training error
    changed by less than 2e-4 after an improvement of more than 0.01. Source: Tu et al. 2024, figure 2 and its code.

    Examples
    --------
    >>> point = train_point(-1.5, 2.0, d=30, k=2, seed=0, rng=np.random.default_rng(1))
    >>> point["reason"], bool(0.1 < point["test_error"] < 0.4)
    ('rise', True)
    """
    gamma_sigma2, gamma_w = float(real("gamma_sigma2", gamma_sigma2)), float(real("gamma_w", gamma_w, at_least=0.0))
    divisor, max_steps = float(real("divisor", divisor, above=0.0)), integer("max_steps", max_steps)
    choice("order", order, ORDERS)
    dtype = {"double": np.float64, "single": np.float32}[choice("precision", precision, ("double", "single"))]
    A_star, E = low_rank_task(d, k, np.random.default_rng(np.random.SeedSequence(seed)))
    sigma2, c = float(d)**gamma_sigma2, float(d)**(gamma_sigma2 + gamma_w)
    eta = 1 / (divisor * (c if gamma_sigma2 + gamma_w > 1 else np.linalg.norm(A_star, 2)))
    W1, W2 = reduced_init(d, d, max(1, int(float(d)**gamma_w)), sigma2, rng, dtype=dtype)
    target, data = A_star.astype(dtype), (A_star + E).astype(dtype)
    Y, B = A_star + E, None                                # B: the self-consistent dynamics
    train, test, best, apart, reason = [], [], None, np.nan, "cap"
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(max_steps):
            A = W2 @ W1
            G = A - data
            train.append(_mean_square(G))
            test.append(_mean_square(A - target))
            if not test[-1] < 1e6 * (1 + test[0]):
                reason = "diverged"
                break
            if best is None or test[-1] < min(test[:-1]):
                best = A
            if distance:
                B = A.astype(float) if B is None else B - eta * _speed(B, B - Y, c)
                apart = np.fmax(apart, _mean_square(A - B))
            if train[-1] < 1e-3:
                reason = "loss"
                break
            if len(test) > 4 and test[-3] < test[-2] < test[-1]:
                reason = "rise"
                break
            if len(test) > 4 and abs(train[-1] - train[-2]) < 2e-4 and train[0] - train[-1] > 1e-2:
                reason = "plateau"
                break
            W1, W2 = _update(W1, W2, G, dtype(eta), order)
    s = np.linalg.svd(best, compute_uv=False).astype(float)
    finite = reason != "diverged"
    return {"test_error": min(test), "steps": int(np.argmin(test)), "stable_rank": float(np.sum(s**2) / s[0]**2),
            "n_above": int(np.sum(s > c)), "distance": float(apart) if finite or not distance else np.inf,
            "last_test_error": test[-1] if finite else np.inf, "stop_step": len(test) - 1, "reason": reason}


def _mean_square(M) -> float:
    M = M.ravel()
    return float(M @ M) / M.size


@dataclass(frozen=True)
class PhaseDiagram:
    """Outcome of training at every point of a grid of exponents; made by `phase_diagram`.

    Arrays have shape (len(gamma_w), len(gamma_sigma2)); what they hold is said at `train_point`.

    Attributes
    ----------
    gamma_sigma2, gamma_w : ndarray
        The axes: the weights have variance ``d^gamma_sigma2``, the network has width ``d^gamma_w``.
    test_error, steps, stable_rank, n_above, distance, last_test_error, stop_step, reason : ndarray
    target_values : ndarray, shape (k,)
        Singular values of the target ``A*``.
    target_power, noise_power : float
        Mean squares of the entries of ``A*`` and of its noise.
    parameters : dict
        ``d, k, seed, divisor, max_steps, order, precision``: what made it.
    """

    gamma_sigma2: np.ndarray
    gamma_w: np.ndarray
    test_error: np.ndarray
    steps: np.ndarray
    stable_rank: np.ndarray
    n_above: np.ndarray
    distance: np.ndarray
    last_test_error: np.ndarray
    stop_step: np.ndarray
    reason: np.ndarray
    target_values: np.ndarray
    target_power: float
    noise_power: float
    parameters: dict

    @property
    def gamma(self) -> np.ndarray:
        """Exponent of the threshold, ``c = d^gamma``, for every point."""
        return self.gamma_sigma2 + self.gamma_w[:, None]

    @property
    def threshold(self) -> np.ndarray:
        """``c = sigma2 w`` for every point."""
        return float(self.parameters["d"])**self.gamma

    @property
    def start_power(self) -> np.ndarray:
        """``nu = sigma2^2 w``, the mean square of the entries of the map at the start, for every point."""
        return float(self.parameters["d"])**(2 * self.gamma_sigma2 + self.gamma_w[:, None])

    @property
    def target_stable_rank(self) -> float:
        """``|A*|_F^2 / |A*|_op^2``."""
        return float(np.sum(self.target_values**2) / self.target_values[0]**2)

    def save(self, path) -> None:
        """Write everything, the parameters too, to an ``.npz`` file without pickles; atomically."""
        write_arrays(Path(path), {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}
                     | {"parameters": json.dumps(self.parameters)})

    @classmethod
    def load(cls, path) -> PhaseDiagram:
        """Read what `save` wrote."""
        stored = read_arrays(Path(path))
        wanted = {f.name for f in fields(cls)}
        if set(stored) != wanted:
            raise ValueError(f"path must be a file that PhaseDiagram.save wrote, got {path} with {sorted(stored)}")
        return cls(**stored | {name: float(stored[name]) for name in ("target_power", "noise_power")}
                   | {"parameters": json.loads(str(stored["parameters"]))})

    def __repr__(self) -> str:
        p = self.parameters
        return (f"PhaseDiagram({len(self.gamma_w)} x {len(self.gamma_sigma2)} points, d={p['d']}, k={p['k']}, "
                f"seed={p['seed']}, test error {self.test_error.min():.3g} to {self.test_error.max():.3g})")


def phase_diagram(d: int, gamma_sigma2, gamma_w, *, seed: int, k: int = 5, divisor: float = 50.0, max_steps: int = 750,
                  order: str = "sequential", distance: bool = False, precision: str = "double",
                  **options) -> PhaseDiagram:
    """Train a network at every point of a grid of exponents: lazy, active, mixed, buried in its own noise.

    Parameters
    ----------
    d : int
        Inputs and outputs.
    gamma_sigma2, gamma_w : array_like
        One-dimensional: exponents of the variance of the weights and of the width.
    seed : int
        Of the target, its noise and all weights; a point's numbers depend on its place in the grid, not on the workers.
    k, divisor, max_steps, order, distance, precision
        As in `train_point`.
    **options
        For `sweep.sweep`: ``jobs``, ``cluster``, ``cache``, ``progress``.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Cost: three products of ``d x 2d x d`` a step at any width, about 100 steps a point; with ``distance`` an eigendecomposition
    of size d a step as well. Source: Tu et al. 2024, figure 2.

    Examples
    --------
    >>> diagram = phase_diagram(20, [-2.0, -1.0], [1.8, 2.4], k=2, seed=0, cache="off")
    >>> diagram.test_error.shape, diagram.reason[0, 0]
    ((2, 2), np.str_('rise'))
    """
    gamma_sigma2, gamma_w = (np.atleast_1d(real(name, value)) for name, value in
                             (("gamma_sigma2", gamma_sigma2), ("gamma_w", gamma_w)))
    for name, value in (("gamma_sigma2", gamma_sigma2), ("gamma_w", gamma_w)):
        if value.ndim != 1 or not len(value):
            raise ValueError(f"{name} must be one-dimensional and not empty, got shape {value.shape}")
    integer("seed", seed, at_least=0)
    A_star, E = low_rank_task(d, k, np.random.default_rng(np.random.SeedSequence(seed)))
    shared = {"d": int(d), "k": int(k), "seed": int(seed), "divisor": float(divisor), "max_steps": int(max_steps),
              "order": order, "precision": precision}
    points = [{"gamma_sigma2": float(x), "gamma_w": float(y), "distance": bool(distance)} | shared
              for y in gamma_w for x in gamma_sigma2]
    outcomes = sweep(train_point, points, seed=seed, **options)
    grid = {name: np.array([point[name] for point in outcomes]).reshape(len(gamma_w), len(gamma_sigma2))
            for name in outcomes[0]}
    return PhaseDiagram(gamma_sigma2, gamma_w, **grid, target_values=np.linalg.svd(A_star, compute_uv=False)[:k],
                        target_power=_mean_square(A_star), noise_power=_mean_square(E), parameters=shared)

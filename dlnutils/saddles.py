r"""Exact solutions of Saxe, McClelland & Ganguli (2013, arXiv:1312.6120), stable at extreme ratios.

Conventions. A deep linear network ``y = W_L ... W_1 x`` has ``n_weights = L`` weight matrices (the paper counts
``N_l = L + 1`` layers of neurons). Gradient flow is ``tau dW/dt = -dE/dW`` with ``E = 1/2 |y - Wx|^2`` summed over
samples, so ``tau = 1 / learning_rate`` and ``t`` counts full-batch steps. ``s`` is a singular value of the
input-output correlation, ``u`` the strength of the network's map along it, ``u0`` its start. Arguments broadcast.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import common_shape, integer, matrix, number, real

__all__ = ["two_layer_mode_strength", "two_layer_learning_time", "two_layer_unbalanced", "deep_mode_time",
           "deep_mode_strength", "deep_mode_time_infinite", "max_hessian_eigenvalue", "random_start_delay", "riccati_flow",
           "noisy_teacher_modes"]

_AT_SADDLE = "u0 = 0 is the saddle itself, which gradient flow never leaves"


def _checked_modes(s: ArrayLike, u0: ArrayLike, tau: ArrayLike) -> tuple[NDArray, NDArray, NDArray]:
    return real("s", s, at_least=0.0), real("u0", u0, above=0.0, hint=_AT_SADDLE), real("tau", tau, above=0.0)


def two_layer_mode_strength(t: ArrayLike, s: ArrayLike, u0: ArrayLike, tau: ArrayLike = 1.0, d: ArrayLike = 1.0) -> NDArray:
    r"""Strength of one mode of a balanced two-layer network after time ``t``.

    Solves ``tau du/dt = 2 u (s - d u)``: a sigmoid from ``u0`` to ``s / d`` at rate ``2 s / tau``.

    Parameters
    ----------
    t, s, u0, tau, d : array_like
        Time (units of ``tau``, >= 0), singular value (>= 0), initial strength (> 0, may exceed ``s / d``), time
        constant (> 0), variance of the input along the mode (> 0). They broadcast.

    Returns
    -------
    ndarray
        Mode strength in the units of ``u0``. For ``s = 0`` the limit ``u0 / (1 + 2 d u0 t / tau)``.

    Raises
    ------
    ValueError
        Negative ``t`` or ``s``; ``u0``, ``tau`` or ``d`` not positive; input that is not finite.

    Notes
    -----
    Cost: one exponential an entry. Only the decaying exponential is formed and nothing is divided by ``u0``, so
    neither long times nor ``u0 = 1e-300`` overflow. Source: Saxe et al. 2013, equation 12; with ``d``, appendix E.

    Examples
    --------
    >>> from dlnutils.saddles import two_layer_mode_strength
    >>> two_layer_mode_strength([0.0, 5.0, 1e6], s=1.0, u0=0.001).round(6)
    array([0.001   , 0.956613, 1.      ])
    """
    s, u0, tau = _checked_modes(s, u0, tau)
    t, d = real("t", t, at_least=0.0), real("d", d, above=0.0)
    common_shape(t=t, s=s, u0=u0, tau=tau, d=d)
    x = 2 * s * t / tau
    # u = u0 / (e^-x + 2 d u0 t / tau (1 - e^-x) / x): two positive terms, and (1 - e^-x) / x is 1 at s = 0.
    mean = np.where(x > 0, -np.expm1(-x) / np.where(x > 0, x, 1), 1)
    return (u0 / (np.exp(-x) + 2 * d * u0 * t / tau * mean))[()]


def _checked_interval(u: ArrayLike, s: ArrayLike, u0: ArrayLike, tau: ArrayLike) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Validate a passage from u0 to u; return broadcast arrays."""
    s, u0, tau = _checked_modes(s, u0, tau)
    u = real("u", u, above=0.0)
    shape = common_shape(u=u, s=s, u0=u0, tau=tau)
    u, s, u0, tau = (np.broadcast_to(array, shape) for array in (u, s, u0, tau))
    for bad, why in (
        ((u == s) | (u0 == s), "u = s or u0 = s: the fixed point is reached only after infinite time"),
        ((u - s) * (u0 - s) < 0, "u and u0 lie on opposite sides of s, which the flow never crosses"),
        ((u - u0) * (s - u0) < 0, "the flow moves from u0 towards s, so it passed u before it started"),
    ):
        if np.any(bad):
            i = np.argmax(bad)
            raise ValueError(f"no finite time leads from u0 = {u0.flat[i]} to u = {u.flat[i]} with s = {s.flat[i]}: {why}")
    return u, s, u0, tau


def _log_ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    """log(numerator / denominator) to full precision when they are close, without overflow when they are not."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        close = np.abs(numerator - denominator) < denominator / 2
        return np.where(close, np.log1p(np.where(close, numerator - denominator, 0) / denominator),
                        np.log(numerator) - np.log(denominator))


def _odds(u: NDArray, s: NDArray, u0: NDArray) -> tuple[NDArray, NDArray]:
    """``y = (u - u0) / (u0 (s - u))`` and ``ln(1 + s y) = ln[u (s - u0) / (u0 (s - u))]``; y > 0 on both sides of s."""
    with np.errstate(over="ignore"):
        y = (u - u0) / (s - u) / u0
        logs = np.log1p(s * y)
    beyond = np.isinf(logs)                                # u0 = 1e-300 and u close to s: add two logarithms instead
    return y, np.where(beyond, _log_ratio(u, u0) + np.log1p(np.where(beyond, (u - u0) / (s - u), 0.0)), logs)


def two_layer_learning_time(u: ArrayLike, s: ArrayLike, u0: ArrayLike, tau: ArrayLike = 1.0) -> NDArray:
    r"""Time a balanced two-layer mode takes from ``u0`` to ``u``; the inverse of :func:`two_layer_mode_strength`.

    Parameters
    ----------
    u, s, u0, tau : array_like
        Target strength (> 0, on the same side of ``s`` as ``u0``), singular value (>= 0), initial strength (> 0),
        time constant (> 0). They broadcast.

    Returns
    -------
    ndarray
        ``tau / (2 s) ln[u (s - u0) / (u0 (s - u))]`` in the units of ``tau``; for ``s = 0`` the limit
        ``tau (1/u - 1/u0) / 2``.

    Raises
    ------
    ValueError
        Where no finite time exists (``u = s``, opposite sides of ``s``, wrong direction) or the input is out of range.

    Notes
    -----
    Cost: two logarithms an entry, exact also for ``u`` close to ``u0`` or ``s``. Source: Saxe et al. 2013, equation 13.

    Examples
    --------
    >>> from dlnutils.saddles import two_layer_learning_time
    >>> float(two_layer_learning_time(0.5, s=1.0, u0=0.001).round(6))
    3.453377
    """
    u, s, u0, tau = _checked_interval(u, s, u0, tau)
    y, logs = _odds(u, s, u0)
    return (tau / 2 * np.where(s > 0, logs / np.where(s > 0, s, 1.0), y))[()]


def two_layer_unbalanced(t: ArrayLike, a0: ArrayLike, b0: ArrayLike, s: ArrayLike,
                         tau: ArrayLike = 1.0) -> tuple[NDArray, NDArray]:
    r"""Both weights of one mode, ``tau da/dt = b (s - ab)``, ``tau db/dt = a (s - ab)``, from any start.

    With ``p = a + b``, ``m = a - b`` the product ``k = p m = a^2 - b^2`` is conserved and ``p^2`` obeys a scalar
    Riccati equation. Written with ``D = sqrt(4 s^2 + k^2)``, ``q = k / (2 s + D)``, ``E = exp(-D t / tau)`` and
    ``G = (1 - E) / (2 s + D)``, its solution is ``p = p0 P / M``, ``m = m0 M / P`` with

    ``P^2 = 1 + m0^2 G + q^2 E``, ``M^2 = E + p0^2 G + q^2``.

    The weights themselves are a positive matrix acting on the start,

    ``2 P M a = a0 [(1 + q)^2 + E (1 - q)^2] + b0 (1 - q^2)(1 - E)``, and ``b`` likewise with ``a0, b0, q -> b0, a0, -q``,

    so nothing overflows, and nothing cancels that does not cancel in the network.

    Parameters
    ----------
    t, a0, b0, s, tau : array_like
        Time (>= 0, units of ``tau``), initial weights (any sign), singular value (>= 0), time constant (> 0).

    Returns
    -------
    (a, b) : tuple of ndarray

    Raises
    ------
    ValueError
        Negative ``t`` or ``s``, ``tau`` not positive, input that is not finite.

    Notes
    -----
    Cost: one exponential an entry. Source: Saxe et al. 2013, appendix A, whose equations 25 and 26 miss factors of 2
    (see the book's page of errata); this form is ours.

    Examples
    --------
    >>> from dlnutils.saddles import two_layer_unbalanced
    >>> a, b = two_layer_unbalanced(1.0, a0=0.1, b0=1.0, s=1.0)
    >>> float(a.round(6)), float(b.round(6))
    (0.655565, 1.191539)
    """
    t, tau = real("t", t, at_least=0.0), real("tau", tau, above=0.0)
    a0, b0, s = real("a0", a0), real("b0", b0), real("s", s, at_least=0.0)
    common_shape(t=t, a0=a0, b0=b0, s=s, tau=tau)
    p0, m0 = a0 + b0, a0 - b0
    k = p0 * m0
    D = np.hypot(2 * s, k)                                 # D = sqrt(4 s^2 + k^2)
    algebraic = D == 0                                     # s = 0 and k = 0: G -> t / (2 tau), q -> 0
    safe = np.where(algebraic, 1.0, 2 * s + D)
    E = np.exp(-D * t / tau)
    rest = -np.expm1(-D * t / tau)                         # 1 - E
    root_G = np.sqrt(np.where(algebraic, t / (2 * tau), rest / safe))
    q = np.where(algebraic, 0.0, k / safe)
    P = np.hypot(np.hypot(1.0, m0 * root_G), q * np.sqrt(E))             # sqrt(1 + m0^2 G + q^2 E)
    M = np.hypot(np.hypot(np.sqrt(E), p0 * root_G), q)                   # sqrt(E + p0^2 G + q^2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # p = p0 P / M, m = m0 M / P. On the saddle's stable manifold p = 0 stays, m may decay to 0, and P / M is infinite.
        p, m = np.where(p0 == 0, 0.0, p0 * (P / M)), m0 * (M / P)
        # 1 - |q| = 2 s (2 s + D + |k|) / ((D + |k|)(2 s + D)): no cancellation; the small weight of an unbalanced pair needs it.
        one_minus_abs_q = np.where(algebraic, 1.0, 2 * s * (2 * s + D + np.abs(k)) / ((D + np.abs(k)) * safe))
        one_plus_q, one_minus_q = np.where(k > 0, 1 + q, one_minus_abs_q), np.where(k > 0, one_minus_abs_q, 1 - q)
        exchange = one_plus_q * one_minus_q * rest         # (1 - q^2)(1 - E), what one weight gives to the other
        a = (a0 * (one_plus_q**2 + E * one_minus_q**2) + b0 * exchange) / (2 * P * M)
        b = (b0 * (one_minus_q**2 + E * one_plus_q**2) + a0 * exchange) / (2 * P * M)
    # The matrix where a0 b0 >= 0 (its terms add up) or |k| > 2 s (p and m cancel); else a = (p + m) / 2, b = (p - m) / 2.
    by_matrix = ~algebraic & ((a0 * b0 >= 0) & (k != 0) | (np.abs(k) > 2 * s))
    return np.where(by_matrix, a, (p + m) / 2)[()], np.where(by_matrix, b, (p - m) / 2)[()]


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def _integral(function: Callable[[NDArray], NDArray], low: NDArray, length: NDArray, n_panels: int) -> NDArray:
    """Composite Gauss-Legendre integral of ``function`` from ``low`` to ``low + length`` (arrays of one shape)."""
    width = length / n_panels
    middle = low[..., None] + width[..., None] * (np.arange(n_panels) + 0.5)
    points = middle[..., None] + (width / 2)[..., None, None] * _NODES
    return (function(points) * _WEIGHTS).sum((-1, -2)) * width / 2


def deep_mode_time(u: ArrayLike, s: ArrayLike, u0: ArrayLike, n_weights: int, tau: ArrayLike = 1.0) -> NDArray:
    r"""Time a balanced mode of a network with ``n_weights`` weight matrices takes from ``u0`` to ``u``.

    Integrates ``tau du/dt = L u^(2 - 2/L) (s - u)``, ``L = n_weights = N_l - 1``. With ``x = u / s`` and
    ``1/(1 - x) = 1 + x + x^2/(1 - x)`` the two singular parts are elementary and the rest is smooth in ``ln x``, so
    the result keeps its digits for every depth, ratio and interval; the usual hypergeometric form loses them
    beyond L of about 10^4.

    Parameters
    ----------
    u, s, u0, tau : array_like
        Target strength, singular value (>= 0), initial strength (> 0), time constant (> 0). They broadcast.
    n_weights : int
        Number of weight matrices, at least 1.

    Returns
    -------
    ndarray
        Time in the units of ``tau``.

    Raises
    ------
    ValueError
        Where no finite time exists, ``n_weights`` is not a positive integer, or the input is out of range.

    Notes
    -----
    Cost: about 120 exponentials an entry. Source: Saxe et al. 2013, equation 17, which the paper leaves as an
    integral; for infinite depth see :func:`deep_mode_time_infinite`.

    Examples
    --------
    >>> from dlnutils.saddles import deep_mode_time
    >>> float(deep_mode_time(0.5, s=1.0, u0=0.001, n_weights=4).round(6))
    15.529152
    """
    n = integer("n_weights", n_weights)
    u, s, u0, tau = _checked_interval(u, s, u0, tau)
    if n == 2:
        return two_layer_learning_time(u, s, u0, tau)
    if n == 1:
        return (tau * np.log1p((u - u0) / (s - u)))[()]
    # L t / tau = s^(q - 1) int x^(q - 1) / (1 - x) dx with q = 2/L - 1, p = q + 1, from x = u0 / s to u / s.
    p = 2 / n
    q = p - 1
    time = np.empty(u.shape)
    below, above, zero = (u < s), (u > s) & (s > 0), s == 0
    if np.any(below):
        # The integral is [x^q / q + x^p / p - ln(1 - x)] - int (1 - x^p) / (1 - x) dx, the last in v = ln x.
        span = _log_ratio(u[below], u0[below])
        start = np.log(u0[below]) - np.log(s[below])
        singular = np.exp(q * start) * np.expm1(q * span) / q + np.exp(p * start) * np.expm1(p * span) / p
        low = np.maximum(start, -40.0)                     # the integrand is below 1e-17 further down
        rest = _integral(lambda v: np.expm1(p * v) / np.expm1(v) * np.exp(v), low,
                                np.where(start >= -40, span, np.maximum(start + span + 40, 0)), 10)
        time[below] = s[below]**(q - 1) * (singular + np.log1p((u - u0)[below] / (s - u)[below]) - rest)
    if np.any(above):                                      # decay from above, x = 1 + e^y: int (1 + e^y)^(q - 1) dy
        y = np.log((u - s)[above] / s[above])
        span = np.log1p((u0 - u)[above] / (u - s)[above])
        time[above] = s[above]**(q - 1) * _integral(lambda v: np.exp((q - 1) * np.logaddexp(0, v)), y, span, 40)
    if np.any(zero):                                       # s = 0: int u^(q - 2) du = [u^(q - 1) / (q - 1)]
        power = 1 - q
        time[zero] = u[zero]**-power * -np.expm1(power * _log_ratio(u[zero], u0[zero])) / power
    return (tau / n * time)[()]


Function = Callable[[NDArray], NDArray]


def _mode_table(s: float, u0: float, n: int, n_nodes: int = 2000, a_unit: int = 8
                ) -> tuple[NDArray, NDArray, Function, Function]:
    """Nodes y and their times for tau = 1, with the functions u(y) and dt/dy; times grow from node to node.

    There are at least ``n_nodes`` of them, and at least ``a_unit`` a unit of y.
    """
    q = 2 / n - 1
    if u0 < s:                                             # u = s / (1 + e^-y), y grows; dt/dy = s^(q-1) / L (1 + e^-y)^-q
        y0, end = np.log(u0 / s) - np.log1p(-u0 / s), 40.0
        def strength(y: NDArray) -> NDArray: return s / (1 + np.exp(-y))
        def slope(y: NDArray) -> NDArray: return (s**(q - 1) / n) * (1 + np.exp(-y))**-q
    else:                                                  # u = s (1 + e^y), y falls; dt/dy = -s^(q-1) / L (1 + e^y)^(q-1)
        y0, end = np.log(u0 / s - 1), -40.0
        def strength(y: NDArray) -> NDArray: return s * (1 + np.exp(y))
        def slope(y: NDArray) -> NDArray: return (-s**(q - 1) / n) * (1 + np.exp(y))**(q - 1)
    # Spacing grows with the distance from the start, where the mode waits longest.
    y = y0 + (end - y0) * np.linspace(0, 1, max(n_nodes, int(a_unit * abs(end - y0))))**2
    return y, np.concatenate([[0.0], np.cumsum(_integral(slope, y[:-1], y[1:] - y[:-1], 1))]), strength, slope


def _strength_by_curve(t: NDArray, s: float, u0: float, n: int) -> NDArray | None:
    """The whole curve once, to round-off, for many times; None where a cell lasts too short beside the whole to be held."""
    from scipy.interpolate import PPoly  # here, so that the module needs numpy alone
    y, times, strength, _ = _mode_table(s, u0, n, 8000, 100)
    h = np.diff(times)
    if h.min() < 1e-9 * times[-1]:
        return None
    # du/dt = f = L u^c (s - u) with c = 2 - 2/L, and d2u/dt2 = f df/du. A quintic that has u, f and f df/du at both ends of a
    # cell of width 0.02 in y is off by (0.02)^6 / 46080 = 1e-15.
    u, c = strength(y), 2 - 2 / n
    f = n * u**c * (s - u)
    g = f * n * u**(c - 1) * (c * (s - u) - u)
    value = (u[1:] - u[:-1] - h * (f[:-1] + h * g[:-1] / 2)) / h**3
    first, second = (f[1:] - f[:-1] - h * g[:-1]) / h**2, np.diff(g) / h
    quintic = ((6 * value - 3 * first + second / 2) / h**2, (-15 * value + 7 * first - second) / h,
               10 * value - 4 * first + second / 2, g[:-1] / 2, f[:-1], u[:-1])
    return PPoly(np.array(quintic), times)(np.minimum(t, times[-1]))


def _strength_by_table(t: NDArray, s: float, u0: float, n: int) -> NDArray:
    if t.size >= 32_000 and (curve := _strength_by_curve(t, s, u0, n)) is not None:
        return curve
    y, times, strength, slope = _mode_table(s, u0, n)
    slopes = slope(y)
    cell = np.clip(np.searchsorted(times, t, side="right") - 1, 0, len(y) - 2)
    y0, step, duration = y[cell], np.diff(y)[cell], np.diff(times)[cell]
    since = t - times[cell]
    # After a wait of 1e17 passages the passage itself is below the resolution of t: a step, of no duration.
    z = np.clip(since / np.where(duration > 0, duration, 1.0), 0.0, 1.0)
    # Cubic in z = since / duration with y = y0, y0 + step and dy/dz = left, right at the ends of the cell.
    left, right = duration / slopes[cell], duration / slopes[cell + 1]
    move = z * (left + z * (3 * step - 2 * left - right + z * (left + right - 2 * step)))
    # Newton: y -= (int dt/dy - since) / (dt/dy), with Lobatto's rule (1, 5, 5, 1) / 12: it squares the error of the cubic.
    final = slope(y0 + move)
    inner = slope(y0 + move * (1 - 5**-0.5) / 2) + slope(y0 + move * (1 + 5**-0.5) / 2)
    move -= ((slopes[cell] + 5 * inner + final) * move / 12 - since) / final
    return strength(np.where(t >= times[-1], y[-1], y0 + move))


def _one_mode_strength(t: NDArray, s: float, u0: float, n: int) -> NDArray:
    power = 2 - 2 / n
    if s == 0:                                             # u = u0 (1 + L c t u0^c)^(-1/c) with c = 2 - 2/L
        return u0 * np.exp(-np.log1p(n * power * t * u0**power) / power)
    return np.full(t.shape, u0) if s == u0 else _strength_by_table(t, s, u0, n)


def deep_mode_strength(t: ArrayLike, s: ArrayLike, u0: ArrayLike, n_weights: int, tau: ArrayLike = 1.0) -> NDArray:
    r"""Strength of a balanced mode of a network with ``n_weights`` weight matrices after time ``t``.

    The inverse of :func:`deep_mode_time`: a table of exact times, cubic interpolation and one Newton step; for very many
    times the whole curve once, as quintics that are exact to round-off.

    Parameters
    ----------
    t, s, u0, tau : array_like
        Time (>= 0), singular value (>= 0), initial strength (> 0), time constant (> 0). They broadcast; the table is
        built once for each distinct ``(s, u0)``, so many times of few modes are cheap.
    n_weights : int
        Number of weight matrices, at least 1 (``N_l - 1`` in the paper).

    Returns
    -------
    ndarray
        Mode strength, relative error below 1e-11 beyond what rounding ``t`` itself causes (for a mode that waits long, a
        last digit of ``t`` is a visible part of its passage).

    Raises
    ------
    ValueError
        Negative ``t`` or ``s``, ``u0`` or ``tau`` not positive, ``n_weights`` not a positive integer.

    Notes
    -----
    Cost: about 1 ms a mode for the table and 0.1 microseconds a time, a tenth of it from 32 000 times on.
    Source: Saxe et al. 2013, equation 17.

    Examples
    --------
    >>> from dlnutils.saddles import deep_mode_strength
    >>> float(deep_mode_strength(15.529151651236974, s=1.0, u0=0.001, n_weights=4).round(9))
    0.5
    """
    n = integer("n_weights", n_weights)
    s, u0, tau = _checked_modes(s, u0, tau)
    t = real("t", t, at_least=0.0)
    common_shape(t=t, s=s, u0=u0, tau=tau)
    if n == 2:
        return two_layer_mode_strength(t, s, u0, tau)
    t = t / tau
    if n == 1:
        return (u0 * np.exp(-t) - s * np.expm1(-t))[()]    # u0 e^-t + s (1 - e^-t)
    modes, which = np.unique(np.add(s, 1j * u0), return_inverse=True)    # the pairs (s, u0), each tabulated once
    t, which = np.broadcast_arrays(t, which)
    if len(modes) == 1:                                    # without copies
        out = np.asarray(_one_mode_strength(t, float(modes[0].real), float(modes[0].imag), n))
    else:
        out = np.empty(t.shape)
        for i, mode in enumerate(modes):
            out[which == i] = _one_mode_strength(t[which == i], float(mode.real), float(mode.imag), n)
    if np.any(begin := t == 0):
        out[begin] = np.broadcast_to(u0, t.shape)[begin]
    return out[()]


def deep_mode_time_infinite(u: ArrayLike, s: ArrayLike, u0: ArrayLike, tau: ArrayLike = 1.0) -> NDArray:
    r"""``N_l t`` for infinitely many layers: the rescaled time a balanced mode takes from ``u0`` to ``u``.

    Divide by the number of layers to get the time. Integrates ``tau du/dt = N_l u^2 (s - u)``.

    Parameters
    ----------
    u, s, u0, tau : array_like
        Target strength, singular value (>= 0), initial strength (> 0), time constant (> 0). They broadcast.

    Returns
    -------
    ndarray
        ``N_l t`` in the units of ``tau``.

    Raises
    ------
    ValueError
        Where no finite time exists or the input is out of range.

    Notes
    -----
    Cost: two logarithms and twelve quotients an entry. Finite depths approach it slowly, once ``n_weights`` is well above
    ``2 ln(1 / u0)``.
    Source: Saxe et al. 2013, equation 18.

    Examples
    --------
    >>> from dlnutils.saddles import deep_mode_time_infinite
    >>> float(deep_mode_time_infinite(0.5, s=1.0, u0=0.001).round(4))
    1004.9068
    """
    u, s, u0, tau = _checked_interval(u, s, u0, tau)
    y, logs = _odds(u, s, u0)
    x = s * y
    # N_l t / tau = ln(1 + x) / s^2 + (u - u0) / (u u0 s) with x = s y. Near s = 0 (from above) the two terms cancel:
    # ln(1 + x) = x - x^2 int_0^1 w / (1 + w x) dw leaves (u0 - u) / (u0 u (u - s)) - y^2 int_0^1 w / (1 + w x) dw.
    small = (u > s) & (x < 0.5)
    w = (1 + _NODES) / 2
    integral = (w / (1 + w * np.where(small, x, 0.0)[..., None]) * _WEIGHTS).sum(-1) / 2
    safe = np.where(small, 1.0, s)
    near = (u0 - u) / u0 / u / np.where(small, u - s, 1.0) - np.where(small, y, 0.0)**2 * integral
    return (tau * np.where(small, near, logs / safe**2 + (u - u0) / u / u0 / safe))[()]


def max_hessian_eigenvalue(s: ArrayLike, n_weights: int, d: ArrayLike = 1.0) -> NDArray:
    r"""Largest curvature a balanced mode meets on its way from 0 to ``s / d``; gradient descent needs a learning rate < 2 / it.

    On the trajectory the Hessian of ``1/2 (s - d a^L)^2 / d`` has its largest eigenvalue at the end point:
    ``L d m^(2 - 2/L)`` with ``m = s / d``.

    Parameters
    ----------
    s, d : array_like
        Singular value (>= 0) and input variance along the mode (> 0). They broadcast.
    n_weights : int
        Number of weight matrices ``L >= 1``.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``s`` negative, ``d`` not positive, ``n_weights`` not a positive integer.

    Notes
    -----
    Cost: one power an entry. The paper's ``O(1 / (N_l s^2))`` for the best rate is the limit of large depth. Source: Saxe
    et al. 2013, appendix D.

    Examples
    --------
    >>> from dlnutils.saddles import max_hessian_eigenvalue
    >>> float(max_hessian_eigenvalue(2.0, n_weights=2))
    4.0
    """
    n = integer("n_weights", n_weights)
    s, d = real("s", s, at_least=0.0), real("d", d, above=0.0)
    common_shape(s=s, d=d)
    return (n * d * (s / d)**(2 - 2 / n))[()]


def random_start_delay(s: ArrayLike, u0: float, width: int, learning_rate: float = 0.0) -> tuple[NDArray, NDArray]:
    r"""Predicted delay of the half-learning time of each mode for small *random* weights, against the balanced theory.

    Entries ``N(0, 2 u0 / width)`` give mode ``i`` (1 = strongest) an effective start ``u0 chi^2_k / width``
    with ``k = width - i + 1``, since every learned mode uses up one hidden direction; a finite step stretches time
    by ``learning_rate s / ln(1 + learning_rate s)``.

    Parameters
    ----------
    s : array_like, shape (n_modes,)
        Singular values in decreasing order, all above ``u0``; at most ``width`` of them.
    u0 : float
        Balanced initial strength compared with.
    width : int
        Hidden width.
    learning_rate : float
        Step size in the units of ``1 / s``; 0 for gradient flow.

    Returns
    -------
    (mean, sd) : tuple of ndarray, shape (n_modes,)
        Mean and standard deviation of ``t_half / t_half_balanced - 1``.

    Raises
    ------
    ValueError
        More modes than hidden units, ``s`` not above ``u0``, a negative rate.

    Notes
    -----
    Cost: a few special functions a mode. No free parameter. Ours (it explains Saxe et al. 2013, figure 3 right).

    Examples
    --------
    >>> from dlnutils.saddles import random_start_delay
    >>> mean, sd = random_start_delay([81.0, 19.0], u0=1e-6, width=32)
    >>> mean.round(4), sd.round(4)
    (array([0.0017, 0.0038]), array([0.0139, 0.0154]))
    """
    from scipy.special import digamma, polygamma

    width, u0 = integer("width", width), number("u0", u0, above=0.0, hint=_AT_SADDLE)
    s, rate = np.atleast_1d(real("s", s, above=u0)), number("learning_rate", learning_rate, at_least=0.0)
    if s.ndim != 1 or s.size > width:
        raise ValueError(f"s must list at most width = {width} modes in one dimension, got shape {s.shape}")
    half_k = (width - np.arange(s.size)) / 2
    logs = np.log(s / u0)
    stretch = rate * s / np.log1p(rate * s) if rate > 0 else 1.0
    # <ln(chi^2_k / width)> = digamma(k/2) - ln(width/2), its variance trigamma(k/2); a start larger by e^x gains x / ln(s/u0).
    return (np.log(width / 2) - digamma(half_k)) / logs + stretch - 1, np.sqrt(polygamma(1, half_k)) / logs


def riccati_flow(W1: ArrayLike, W2: ArrayLike, sigma31: ArrayLike, t: ArrayLike, tau: float = 1.0,
                 lam: float = 0.0) -> NDArray:
    r"""Exact gradient flow of a whole two-layer network from balanced weights, inputs white.

    With ``W2' W2 - W1 W1' = lam I`` conserved, ``P = Q Q'`` for ``Q = [W1', W2]`` stacked obeys
    ``tau dP/dt = F P + P F - P^2`` and ``P(t) = E Q (I + Q' K Q)^-1 Q' E`` with ``E = exp(F t / tau)`` and
    ``K`` the integral of ``E^2``. Long times are chained from shorter ones, which keeps every exponential in range.

    Parameters
    ----------
    W1 : array_like, shape (width, n_inputs)
    W2 : array_like, shape (n_outputs, width)
    sigma31 : array_like, shape (n_outputs, n_inputs)
        Input-output correlation, for inputs with identity covariance.
    t : float or array_like
        Time or times (>= 0, units of ``tau``, any order).
    tau : float
        Time constant.
    lam : float
        Imbalance ``lam`` of the initial weights.

    Returns
    -------
    ndarray, shape t.shape + (n_inputs + n_outputs, n_inputs + n_outputs)
        Blocks ``[[W1' W1, (W2 W1)'], [W2 W1, W2 W2']]``; the network's map is ``P[..., n_inputs:, :n_inputs]``.

    Raises
    ------
    ValueError
        Shapes that do not fit, weights that are not ``lam``-balanced to 1e-8, negative ``t``, ``tau`` not positive.

    Notes
    -----
    Cost: one Cholesky factor of size ``min(width, n_inputs + n_outputs)`` for each requested time and each 5 units of
    ``|F| t / tau``. Source: Fukumizu 1998; Braun et al. 2022 (lam = 0); Domine et al. 2024 (lam-balanced). It goes beyond
    Saxe et al. 2013, whose closed forms need decoupled modes.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.saddles import riccati_flow, two_layer_mode_strength
    >>> W = 0.1 * np.eye(2)
    >>> P = riccati_flow(W, W, np.diag([3.0, 1.0]), t=2.0)
    >>> np.allclose(np.diag(P[2:, :2]), two_layer_mode_strength(2.0, [3.0, 1.0], 0.01))
    True
    """
    from scipy.linalg import solve_triangular

    W1, W2 = matrix("W1", W1), matrix("W2", W2)
    width, n_inputs = W1.shape
    W2 = matrix("W2", W2, shape=(None, width))
    n_outputs = W2.shape[0]
    sigma = matrix("sigma31", sigma31, shape=(n_outputs, n_inputs))
    t, tau, lam = real("t", t, at_least=0.0), number("tau", tau, above=0.0), number("lam", lam)
    imbalance = W2.T @ W2 - W1 @ W1.T - lam * np.eye(width)
    scale = max(np.abs(W1 @ W1.T).max(), np.abs(W2.T @ W2).max(), abs(lam), np.finfo(float).tiny)
    if np.abs(imbalance).max() > 1e-8 * scale:
        raise ValueError(f"W1, W2 must satisfy W2' W2 - W1 W1' = lam I with lam = {lam}, but they miss it by "
                         f"{np.abs(imbalance).max():.2g}: balance them, or integrate the flow with linear_networks")
    Q = np.concatenate([W1.T, W2])
    if width > len(Q):                                     # P = Q Q' is all that matters, so a wide layer can be folded
        Q = np.linalg.qr(Q.T)[1].T
    F = np.block([[-lam / 2 * np.eye(n_inputs), sigma.T], [sigma, lam / 2 * np.eye(n_outputs)]])
    f, basis = np.linalg.eigh(F)
    Q = basis.T @ Q                                        # work where F is diagonal
    times = t.ravel() / tau
    out, now = np.empty((t.size, len(F), len(F))), 0.0
    for i in np.argsort(times, kind="stable"):
        n_parts = max(int(np.ceil(np.abs(f).max() * (times[i] - now) / 5)), int(times[i] > now))
        if n_parts:
            h = (times[i] - now) / n_parts
            with np.errstate(divide="ignore", invalid="ignore"):
                K = np.where(f == 0, h, np.expm1(2 * f * h) / (2 * f))             # K = (e^(2 f h) - 1) / (2 f)
            for _ in range(n_parts):
                # Q -> e^(F h) Q R'^-1 with R R' = I + Q' K Q gives P = E Q (I + Q' K Q)^-1 Q' E. Moving the factor Q
                # instead of P keeps the rank: round-off in P would grow out of the saddle.
                R = np.linalg.cholesky(np.eye(Q.shape[1]) + (Q.T * K) @ Q)
                Q = np.exp(f * h)[:, None] * solve_triangular(R, Q.T, lower=True).T
        now = times[i]
        out[i] = basis @ (Q @ Q.T) @ basis.T
    return out.reshape(t.shape + F.shape)


def noisy_teacher_modes(s: ArrayLike, n_inputs: int, n_outputs: int, noise: float) -> tuple[NDArray, NDArray]:
    r"""Modes that a student sees when the labels of a low-rank teacher carry noise; inputs white.

    The training data enter as ``teacher + noise Z``, with ``Z`` independent ``N(0, 1)`` of shape (n_outputs, n_inputs). In the
    limit of many dimensions a teacher mode stands out if ``s > c = noise (n_inputs n_outputs)^(1/4)``. It is then seen too
    strong, ``s_hat = sqrt((s^2 + noise^2 n_inputs)(s^2 + noise^2 n_outputs)) / s``, and turned: the overlaps of its two
    singular vectors with the teacher's have the product ``(1 - (c/s)^4) s / s_hat``. All other modes are noise and
    fill the bulk of Marchenko and Pastur.

    Parameters
    ----------
    s : array_like, shape (n_teacher,)
        Singular values of the teacher (>= 0) in decreasing order, at most ``min(n_inputs, n_outputs)``.
    n_inputs, n_outputs : int
        Numbers of inputs and outputs.
    noise : float
        Standard deviation of an entry of the noise (>= 0), in the units of ``s``; for orthonormal inputs the label noise.

    Returns
    -------
    (s_hat, overlap) : ndarray of shape (min(n_inputs, n_outputs),), ndarray of shape (n_teacher,)
        Singular values in decreasing order, the bulk at its quantiles; overlaps between 0 (hidden in the bulk) and 1,
        those of ``s_hat[:n_teacher]``.

    Raises
    ------
    ValueError
        More modes than dimensions, ``s`` not decreasing, sizes or noise out of range.

    Notes
    -----
    Left out are terms of relative order ``n_teacher / min(n_inputs, n_outputs)``, and near ``s = c`` the fluctuations. Cost: an
    interpolation. Source: Benaych-Georges & Nadakuditi 2012; for learning, Lampinen & Ganguli 2019.

    Examples
    --------
    >>> from dlnutils.saddles import noisy_teacher_modes
    >>> s_hat, overlap = noisy_teacher_modes([3.0, 2.0], n_inputs=200, n_outputs=100, noise=200**-0.5)
    >>> s_hat[:3].round(3), overlap.round(3)
    (array([3.249, 2.372, 1.66 ]), array([0.918, 0.817]))
    """
    n_inputs, n_outputs = integer("n_inputs", n_inputs), integer("n_outputs", n_outputs)
    s, noise = np.atleast_1d(real("s", s, at_least=0.0)), number("noise", noise, at_least=0.0)
    if s.ndim != 1 or s.size > min(n_inputs, n_outputs) or np.any(np.diff(s) > 0):
        raise ValueError(f"s must list at most min(n_inputs, n_outputs) = {min(n_inputs, n_outputs)} singular values in "
                         f"decreasing order, got {s}")
    c = noise * (n_inputs * n_outputs)**0.25
    seen = s > c
    safe = np.where(seen, s, c if c > 0 else 1.0)
    # s_hat = sqrt((s^2 + noise^2 n_inputs)(s^2 + noise^2 n_outputs)) / s, overlap = (1 - (c/s)^4) s / s_hat.
    spikes = np.hypot(safe, noise * n_inputs**0.5) * (np.hypot(safe, noise * n_outputs**0.5) / safe)
    overlap = np.where(seen, (1 - (c / safe)**4) * safe / spikes, 0.0)
    few, many = min(n_inputs, n_outputs) - seen.sum(), max(n_inputs, n_outputs) - seen.sum()
    # Squared singular values of the noise are noise^2 many (1 + r^2 + 2 r cos(angle)), r = sqrt(few / many), and the share of
    # them below an angle is [(1 + r^2) angle - 2 r sin(angle) - 2 (1 - r^2) arctan((1 - r)/(1 + r) tan(angle/2))] / (2 pi r^2).
    r, angle = np.sqrt(few / max(many, 1)), np.linspace(0.0, np.pi, 8001)
    share = np.linspace(0.0, 1.0, angle.size) if few == 0 else \
        ((1 + r**2) * angle - 2 * r * np.sin(angle)
         - 2 * (1 - r**2) * np.arctan((1 - r) / (1 + r) * np.tan(angle / 2))) / (2 * np.pi * r**2)
    angle = np.interp((np.arange(few) + 0.5) / max(few, 1), share, angle)
    bulk = noise * np.sqrt(many * ((1 - r)**2 + 4 * r * np.cos(angle / 2)**2))
    return np.concatenate([spikes[seen], bulk]), overlap

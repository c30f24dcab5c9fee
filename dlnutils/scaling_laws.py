"""Gradient flow of infinitely wide deep linear networks on data of many scales, over any number of decades in time.

The same mean-field theory as in `dmft` (Bordelon & Pehlevan 2025), for the gradient of the population loss and infinite width:
what is left to learn along a mode is then one function of time. Time is gradient-flow time, ``eta`` times steps of
`dmft.solve_dmft` for small ``eta``. ``T``: times, ``K``: distinct modes, ``L``: hidden layers.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import generator, integer, number, real
from .dmft._rows import _Anderson, _field, _mirror
from .dmft.estimates import check_memory, memory_needed
from .dmft.long_runs import _filled, _trapezoid
from .dmft.solution import Solution
from .dmft.spectrum import Spectrum, check_spectrum

__all__ = ["loss_exponent", "solve_log_grid", "one_hidden_layer_flow", "aligned_flow", "simulate_flow"]

#: A grid has at least so many times a decade, and its first step is at most this share of the fastest time scale.
DENSITY, FIRST_STEP = 8, 0.1
#: So many times asked for are all on the grid; a refined grid has at most LARGEST.
MOST, LARGEST = 500, 600
#: Error of what is left to learn along a mode, as a share of its target and of the tolerance of 1e-9: that of round-off.
ROUND_OFF = 1e-6
#: Errors are relative to the loss, or to this share of the first loss where it has fallen below.
FLOOR = 1e-10


def _arguments(spectrum, times, gamma0) -> tuple[NDArray[np.float64], float]:
    check_spectrum(spectrum)
    if spectrum.n_outputs > 1:
        raise ValueError(f"spectrum must have one output here, got {spectrum.n_outputs}: take one at a time")
    times = real("times", times, at_least=0.0)
    if times.ndim != 1 or len(times) < 2 or np.any(np.diff(times) <= 0):
        raise ValueError(f"times must be one-dimensional, increase and hold at least two, got shape {times.shape}: for "
                         "example numpy.append(0, numpy.logspace(-2, 4, 200))")
    return times, number("gamma0", gamma0, above=0.0)


def loss_exponent(b: ArrayLike, n_hidden: int) -> float | NDArray[np.float64]:
    """Predicted exponent ``chi`` of the loss, ``t^-chi``, of a rich network on a task of source exponent ``b``.

    Parameters
    ----------
    b : array_like
        Source exponent, positive. The lazy exponent is ``b`` itself.
    n_hidden : int
        Hidden layers L, so ``n = L + 1`` weight matrices.

    Returns
    -------
    float, or ndarray for an array of b
        ``n b / (1 + (n - 1) b)`` for hard tasks (``b < 1``), ``b`` for easy ones.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Balanced layers grow as the map does, and the kernel with them. Bordelon & Pehlevan 2025 (equations 21 and 116) state
    ``2 b / (1 + b)`` for every depth, from an ansatz for small richness. For one hidden layer the two are the same. For more,
    theirs is passed on the way: `solve_log_grid`, and `aligned_flow`, which does without the mean-field theory, end at this
    one, for gradient flow at infinite width and late times at fixed richness.

    Examples
    --------
    >>> from dlnutils.scaling_laws import loss_exponent
    >>> loss_exponent(0.5, 1), loss_exponent(0.5, 3), loss_exponent(1.5, 3)
    (0.6666666666666666, 0.8, 1.5)
    """
    b, n = real("b", b, above=0.0), integer("n_hidden", n_hidden) + 1
    chi = np.where(b < 1, n * b / (1 + (n - 1) * b), b)
    return chi if chi.ndim else float(chi)


class _Rows(NamedTuple):
    """A flow on a grid: what is left to learn (K, T), order parameters, and of each row its sweeps and last change."""

    v: NDArray
    C_h: NDArray
    C_g: NDArray
    S_h: NDArray
    S_g: NDArray
    M: NDArray
    iterations: NDArray
    residual: NDArray


def _solve_rows(spectrum, omega, n_hidden, gamma0, tolerance, cap, near: _Rows | None = None) -> _Rows:
    """The flow on the grid of the weights omega, row by row; first guesses are rows of a flow that is near, if there is one."""
    L, T, lam, truth = n_hidden, len(omega), spectrum.eigenvalues, np.sqrt(spectrum.target)
    weight = spectrum.multiplicity * lam
    # Layer l at index l - 1; Q_h carries signals up and Q_g errors down, as in solve_dmft.
    Q_h, Q_g, R_h, R_g, S_h, S_g = (np.zeros((L, T, T)) for _ in range(6))
    C_h, C_g = np.zeros((L + 1, T, T)), np.ones((L + 1, T, T))       # of layers 0 to L, and 1 to L + 1
    Q_g[L - 1], M, v = gamma0 * omega, np.zeros((T, T)), np.zeros((len(lam), T))
    iterations, residual = np.zeros(T, dtype=int), np.full(T, np.inf)

    def update(t):
        """Row t of everything, backwards, through the data and forwards, from row t of Q_h and C_h."""
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        for i in reversed(range(L)):
            if i < L - 1:
                Q_g[i, t, now] = S_g[i + 1, t, now] + gamma0 * C_g[i + 1, t, now] * omega[t, now]
            _field(rows, Q_g[i], C_g[i + 1], Q_h[i], C_h[i], R_g[i], S_g[i], C_g[i])
        M[t, now] = S_g[0, t, now] / gamma0 + C_g[0, t, now] * omega[t, now]
        v[:, t] = (truth - lam * (v[:, past] @ M[t, past])) / (1 + lam * M[t, t])
        _mirror(C_h[0], rows, (weight * lam * v[:, t]) @ v[None, :, now])
        Q_h[0, t, now] = gamma0 * C_h[0, t, now] * omega[t, now]
        for i in range(L):
            _field(rows, Q_h[i], C_h[i], Q_g[i], C_g[i + 1], R_h[i], S_h[i], C_h[i + 1])
            if i < L - 1:
                Q_h[i + 1, t, now] = S_h[i, t, now] + gamma0 * C_h[i + 1, t, now] * omega[t, now]

    with np.errstate(all="ignore"):                        # what does not stay finite is flagged
        for t in range(T):
            now = slice(t + 1)
            if near:
                C_h[:L, t, now] = near.C_h[:L, t, now]
            elif t:                                        # as at the time before, with the weights of now
                C_h[:L, t, :t], C_h[:L, t, t] = C_h[:L, t - 1, :t], C_h[:L, t - 1, t - 1]
            C_h[:L, :t, t] = C_h[:L, t, :t]
            Q_h[:, t, now] = gamma0 * C_h[:L, t, now] * omega[t, now]
            Q_h[1:, t, now] += near.S_h[:-1, t, now] if near else S_h[:-1, max(t - 1, 0), now]
            accelerate, scale = _Anderson(), None
            for iterations[t] in range(1, cap + 1):
                before = np.concatenate([C_h[:L, t, now], Q_h[:, t, now]])
                update(t)
                after = np.concatenate([C_h[:L, t, now], Q_h[:, t, now]])
                if scale is None:                          # all blocks count alike, whatever their units, down to round-off
                    least = ROUND_OFF * (weight * lam * truth / (1 + lam * M[t, t])) @ v[:, now]
                    least = np.repeat([np.linalg.norm(least), gamma0 * np.linalg.norm(least * omega[t, now])], L)[:, None]
                    scale = np.maximum(np.linalg.norm(after, axis=1, keepdims=True), least + 1e-300)
                residual[t] = np.abs((after - before) / scale).max()
                if residual[t] < tolerance or not np.isfinite(residual[t]):
                    break
                guess = scale * accelerate((before / scale).ravel(), ((after - before) / scale).ravel()).reshape(after.shape)
                C_h[:L, t, now], C_h[:L, now, t], Q_h[:, t, now] = guess[:L], guess[:L], guess[L:]
            if not np.isfinite(residual[t]):
                residual[t:], v[:, t:] = np.inf, np.inf
                break
    return _Rows(v, C_h, C_g[:L], S_h, S_g, M, iterations, residual)


def solve_log_grid(spectrum: Spectrum, times: ArrayLike, *, n_hidden: int, gamma0: float, accuracy: float | None = 0.01,
                   tolerance: float = 1e-9, max_iterations: int = 60) -> Solution:
    """Loss and order parameters under gradient flow at infinite width, at times that may span many decades.

    Parameters
    ----------
    spectrum : Spectrum
        The data, with bins for many modes: ``dmft.power_law(10**12, 1.5, 0.5, n_exact=20)``.
    times : array_like, shape (T,)
        Increasing: when the loss is asked for.
    n_hidden : int
        Hidden layers, L.
    gamma0 : float
        Richness, positive.
    accuracy : float or None
        Relative error allowed in the loss, of a loss below 1e-10 of the first in units of that. The grid of integration is made
        for it: see the notes. None integrates on ``times`` (and 0) as they are, without an estimate.
    tolerance : float
        Iterations at a time end when fields and responses change by less than this share. Round-off keeps it from going below
        1e-9 once the loss has fallen by eleven decades.
    max_iterations : int
        Cap of the iterations at each time.

    Returns
    -------
    Solution
        With ``times``, ``error`` (estimated, relative, of the loss), ``iterations`` and ``residual`` (the last change; both the
        largest since the time before) of shape (T,), and ``converged``. Responses are operators on ``times``: a density times
        the weights of the quadrature; None for more than 500 times. ``C_g[0, t, t]`` is the growth of the kernel, ``kernel``
        itself belongs to discrete steps. Where no finite iterate was found, losses are infinite from there on.

    Raises
    ------
    ValueError
        Arguments out of range, times that do not increase, more memory than is free.

    Warns
    -----
    RuntimeWarning
        Tolerance or accuracy were not met, even on a grid of 600 times; the message says where, and what is known there.

    Notes
    -----
    The equations of `dmft.solve_dmft` with sums over past steps replaced by the trapezoidal rule. Its weight of the present
    makes row t depend on itself, through all layers and the data. Plain iteration of the row fails for rich and deep
    networks, and finer grids do not help: the modes that are learned fix the product of the layers, and an iteration overshoots
    it by a factor that depends on depth alone. Anderson's acceleration finds the row in five to ten sweeps at any richness and
    depth we tried.

    The grid holds ``times``, and more where they are further apart than eight to a decade, or than a tenth of the shortest time
    scale at the start. All is solved again on it by another rule, the trapezoidal one in the logarithm of time: both errors are
    of second order with other constants, so that the difference is the estimate of the error. Where it is larger than
    ``accuracy``, or iterations do not end, the longest steps are divided. Twenty times a decade leave an error of some 1e-3.
    More than 500 times are interpolated. Cost ``O(G^2 (L G + K))`` a sweep of all rows of a grid of G.
    Source: derived from Bordelon & Pehlevan 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.dmft import power_law
    >>> from dlnutils.scaling_laws import solve_log_grid
    >>> flow = solve_log_grid(power_law(10**6, 1.5, 0.5, n_exact=20), np.logspace(-2, 4, 60), n_hidden=2, gamma0=3.0)
    >>> flow, flow.converged, bool(np.asarray(flow.error).max() < 0.01)
    (Solution(theory, 60 times up to 10000, 2 hidden layers, infinite width, test loss 0.000216 at the end), True, True)
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    L, cap = integer("n_hidden", n_hidden), integer("max_iterations", max_iterations)
    tolerance = number("tolerance", tolerance, above=0.0)
    accuracy = None if accuracy is None else number("accuracy", accuracy, above=0.0)
    lam, weight = spectrum.eigenvalues, spectrum.multiplicity * spectrum.eigenvalues
    asked = times if times[0] == 0 else np.append(0.0, times)
    # The fastest of the lazy rates and of the rate at which features begin to grow, (L + 1) gamma0 |Lambda w*|.
    fastest = (L + 1) * max(lam.max(), gamma0 * np.sqrt(weight @ (lam * spectrum.target)))
    many, gap, grid = len(asked) > MOST + 1, np.log(10) / DENSITY, asked
    origin = max(FIRST_STEP / max(fastest, 1e-300) / np.expm1(gap), 1e-20 * times[-1])
    wanted = asked[np.unique(np.linspace(0, len(asked) - 1, MOST // 2).astype(int))] if many else asked

    def size(grid):
        return (1 if accuracy is None else 2) * memory_needed(len(grid) - 1, L) + 16 * len(grid) * len(lam)
    check_memory(size(asked), len(asked), "times")
    while True:
        if accuracy is not None:
            grid = _filled(wanted, origin, gap)
            check_memory(size(grid), len(grid), "the number of times on the grid")
        omega = _trapezoid(grid)
        rows = _solve_rows(spectrum, omega, L, gamma0, tolerance, cap)
        loss = weight @ rows.v**2
        error, judged = np.full(len(grid), np.inf), np.searchsorted(grid, wanted)
        if accuracy is None:
            break
        if np.all(rows.residual < tolerance):
            again = _solve_rows(spectrum, _trapezoid(grid, origin), L, gamma0, 0.01 * accuracy, cap, rows)
            error = np.abs(weight @ again.v**2 - loss) / np.maximum(loss, FLOOR * loss[0])
            error[again.residual >= 0.01 * accuracy] = np.inf
        worst = error[judged].max()
        gap = np.diff(np.log1p(grid / origin)).max()       # the error falls with the square of this
        gap /= np.clip(np.sqrt(1.2 * worst / accuracy), 1.2, 4) if np.isfinite(worst) else 2
        if worst <= accuracy or len(_filled(wanted, origin, gap)) > LARGEST:
            break
    if np.any((rows.residual >= tolerance) & np.isfinite(rows.residual)):
        t = int(np.argmax(rows.residual >= tolerance))
        warnings.warn(f"no convergence at t = {grid[t]:.3g}: the last of {rows.iterations[t]} iterations changed the row by "
                      f"{rows.residual[t]:.1e}, tolerance = {tolerance:g}; losses from there on mean nothing: give more times "
                      "before it, or a larger max_iterations", RuntimeWarning, stacklevel=2)
    elif accuracy is not None and np.isfinite(loss).all() and error[judged].max() > accuracy:
        t = judged[error[judged].argmax()]
        warnings.warn(f"the loss at t = {grid[t]:.3g} has an estimated relative error of {error[t]:.1e}, more than accuracy = "
                      f"{accuracy:g}, on {len(grid)} times: ask for times that end earlier, or for less accuracy",
                      RuntimeWarning, stacklevel=2)
    parameters = {"n_hidden": L, "width": np.inf, "gamma0": gamma0, "accuracy": accuracy, "tolerance": tolerance,
                  "max_iterations": cap}
    last = np.searchsorted(grid, times)                    # of the rows that end at or after each time
    span = np.append(0, last[:-1] + 1)
    iterations, residual = (np.maximum.reduceat(x, np.minimum(span, last)) for x in (rows.iterations, rows.residual))
    if not many or accuracy is None:
        square, v = np.ix_(last, last), rows.v[:, last]
        # Densities stay; weights become those of the times asked for.
        share = 1.0
        if len(grid) > len(asked):
            share = np.divide(_trapezoid(asked)[-len(times):, -len(times):], omega[square], where=omega[square] > 0,
                              out=np.zeros_like(omega[square]))
        C_h, C_g = (x[:, *square] for x in (rows.C_h, rows.C_g))
        S_h, S_g, M = (x[..., *square] * share for x in (rows.S_h, rows.S_g, rows.M))
    else:
        v, C_h, C_g = _interpolated(np.log1p(grid / origin), np.log1p(times / origin), rows)
        S_h = S_g = M = None
    mode_loss = weight[:, None] * v**2
    loss = mode_loss.sum(0)
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, C_h, C_g, S_h, S_g, M, times=times, iterations=iterations,
                    residual=residual, error=None if accuracy is None else error[last])


def _interpolated(u, x, rows):
    """What is left to learn and correlations at x between the points u of a grid; infinite after its last finite row."""
    from scipy.interpolate import PchipInterpolator
    n = max(2, int(np.isfinite(rows.residual).sum()))
    inside = x <= u[n - 1]
    v, known = np.full((len(rows.v), len(x)), np.inf), np.ix_(inside, inside)
    v[:, inside] = PchipInterpolator(u[:n], rows.v[:, :n], axis=1)(x[inside])
    both = []
    for C in (rows.C_h, rows.C_g):
        for axis in (1, 2):
            C = PchipInterpolator(u[:n], C[:, :n, :n] if axis == 1 else C, axis=axis)(x[inside])
        both.append(np.zeros((len(C), len(x), len(x))))
        both[-1][:, *known] = C
    return v, *both


def one_hidden_layer_flow(spectrum: Spectrum, times: ArrayLike, *, gamma0: float, width: float = np.inf,
                          rng: np.random.Generator | int | None = None, step: float = 0.05) -> Solution:
    """Gradient flow of a network with one hidden layer, of infinite or finite width, without its weights.

    Parameters
    ----------
    spectrum : Spectrum
        With finite width every mode counts: no multiplicities or bins.
    times : array_like, shape (T,)
        Increasing.
    gamma0 : float
        Richness, positive.
    width : float
        Infinite, or a whole number: then the initial weights are drawn.
    rng : numpy.random.Generator or int, optional
        Needed for finite width alone.
    step : float
        Longest step as a share of the time it starts at; the error falls with its square.

    Returns
    -------
    Solution
        With ``times``; ``C_g[0]`` holds ``|w|^2 / N`` on its diagonal and nothing else, other order parameters are not kept.

    Raises
    ------
    ValueError
        Arguments out of range, a finite width without ``rng`` or with modes that are not single.

    Notes
    -----
    What is left to learn, ``G = W0' W0 / N`` and ``c = |w|^2 / N`` obey closed equations of any width. Exponential midpoint
    rule: over a step ``c + G`` stays as in its middle, and everything else is integrated exactly in its eigenvectors. Cost: two
    eigendecompositions of ``K x K`` a step, ``1 / step`` of them for each factor e in time. Source: population gradient
    flow; the second code path for `solve_log_grid`.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.dmft import power_law
    >>> from dlnutils.scaling_laws import one_hidden_layer_flow
    >>> flow = one_hidden_layer_flow(power_law(10**6, 1.5, 0.5, n_exact=10, ratio=1.5), np.logspace(-1, 2, 4), gamma0=1.0)
    >>> flow.excess_loss.round(3)
    array([1.57 , 0.533, 0.139, 0.033])
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    step = number("step", step, above=0.0)
    K, root = len(spectrum.eigenvalues), np.sqrt(spectrum.eigenvalues)
    truth, weight = np.sqrt(spectrum.target), spectrum.multiplicity * spectrum.eigenvalues
    if np.ndim(width) == 0 and width == np.inf:            # all alike modes as one along the target
        truth, v, G, c = truth * np.sqrt(spectrum.multiplicity), truth * np.sqrt(spectrum.multiplicity), np.eye(K), 1.0
        weight = spectrum.eigenvalues
    else:
        size = integer("width", width)
        if rng is None or np.any(spectrum.multiplicity != 1):
            raise ValueError(f"width = {size} needs rng and a spectrum with multiplicity 1 throughout: a finite network sees "
                             "each mode, not bins")
        rng = generator(rng)
        truth = truth * rng.choice([-1.0, 1.0], K)
        first, last = rng.standard_normal((size, K)), rng.standard_normal(size)
        v, G, c = truth - last @ first / (gamma0 * size), first.T @ first / size, last @ last / size

    def move(h, c_middle, G_middle):
        """Changes of v, c and G over a time h with the kernel as given."""
        kernel = c_middle * np.eye(K) + G_middle
        rates, U = np.linalg.eigh(root[:, None] * kernel * root)
        y, rates = U.T @ (root * v), np.maximum(rates, 0.0)
        signal = root * (U @ (_mean_decay(rates * h) * h * y))                       # integral of h_0
        both = U @ (_mean_decay((rates[:, None] + rates) * h) * h * np.outer(y, y)) @ U.T
        growth = np.outer(signal, truth) - root[:, None] * both / root               # integral of h_0 times the map
        growth = gamma0**2 * (growth + growth.T)
        return -kernel @ signal, np.trace(growth), growth

    growing = real("eigenvalues", spectrum.eigenvalues, above=0.0, hint="leave out modes without variance")
    fastest = 0.1 / ((1 + gamma0) * (c + np.trace(G) / K) * growing.max())
    recorded, kept, now = np.full((K, len(times)), np.inf), np.full(len(times), np.inf), 0.0
    for t, time in enumerate(times):
        while now < time:
            # From 0 steps grow until they are a fixed share of time; the last one ends on the recorded time.
            h = min(max(step * now, step * fastest), time - now)
            _, dc, dG = move(h / 2, c, G)
            dv, dc, dG = move(h, c + dc, G + dG)
            v, c, G, now = v + dv, c + dc, G + dG, now + h if now + h < time else time
        recorded[:, t], kept[t] = v, c
    mode_loss = weight[:, None] * recorded**2
    loss, C_g = mode_loss.sum(0), np.full((1, len(times), len(times)), np.nan)
    C_g[0][np.diag_indices(len(times))] = kept
    parameters = {"n_hidden": 1, "width": float(width), "gamma0": gamma0, "step": step}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, C_g=C_g, times=times)


def aligned_flow(spectrum: Spectrum, times: ArrayLike, *, n_hidden: int, gamma0: float, strength: float = 1.0,
                 step: float = 0.01) -> Solution:
    """Gradient flow of a network whose matrices have rank one, equal strengths and matching directions: no mean-field theory.

    Parameters
    ----------
    spectrum : Spectrum
        Bins will do: modes that are alike are learned as one.
    times : array_like, shape (T,)
        Increasing.
    n_hidden : int
        Hidden layers L, so ``n = L + 1`` matrices; 0 is linear regression.
    gamma0 : float
        Richness, positive.
    strength : float
        Of each matrix at the start, sigma, positive: the map has the size ``sigma^n / gamma0`` and points along ``Lambda w*``,
        the gradient at zero. Random weights are of strength one.
    step : float
        Longest step as a share of the time it starts at, and of the time in which the map grows by a factor e; the error falls
        with its square.

    Returns
    -------
    Solution
        With ``times``; ``C_g[0]`` holds the speed of the first matrix, ``sigma^(2 n - 2)``, on its diagonal and nothing else.

    Raises
    ------
    ValueError
        Arguments out of range, modes without variance.

    Notes
    -----
    With the map ``beta``, its direction ``u = beta / |beta|`` and ``h = Lambda (w* - beta)``::

        dbeta/dt = q [h + (n - 1) u u'h],    q = (gamma0 |beta|)^(2 - 2/n),

    for each of the n matrices moves the map by what the others let through: the first in any direction, the others along u.
    Matrices that start balanced and aligned stay so, and the equation is exact for any width. Networks with random weights come
    close to it once they have learned features, at late times. Over a step the kernel is that of its middle; a rational function
    of second order, which damps fast modes, stands for the exponential. Cost ``O(K)`` a step, ``1 / step`` of them for each
    factor e in time. Source: derived; the check of `loss_exponent` that solves no mean-field equation.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.dmft import power_law
    >>> from dlnutils.fitting import fit_power_law
    >>> from dlnutils.scaling_laws import aligned_flow, loss_exponent
    >>> times = np.logspace(0, 4, 41)
    >>> flow = aligned_flow(power_law(10**14, 1.5, 0.5, n_exact=10, ratio=1.5), times, n_hidden=2, gamma0=10.0)
    >>> fit = fit_power_law(times, flow.excess_loss, low=1e3, high=1e4)
    >>> round(-fit.exponent, 2), loss_exponent(0.5, 2)
    (0.75, 0.75)
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    n = integer("n_hidden", n_hidden, at_least=0) + 1
    strength, step = number("strength", strength, above=0.0), number("step", step, above=0.0)
    lam = real("eigenvalues", spectrum.eigenvalues, above=0.0, hint="leave out modes without variance")
    root, truth = np.sqrt(lam), np.sqrt(spectrum.target * spectrum.multiplicity)    # all alike modes as one along the target
    if not truth.any():
        raise ValueError("target must not be zero throughout: there would be no direction to start in")
    start = lam * truth
    beta = start * (strength**n / gamma0 / np.linalg.norm(start))

    def kernel(beta):
        """Speed q, direction u, and the rate at which the map grows."""
        size = np.linalg.norm(beta)
        q, u = (gamma0 * size)**(2 - 2 / n), beta / size
        return q, u, n * q * abs(u @ (lam * (truth - beta))) / size

    def move(beta, h, q, u):
        """The map after a time h with the kernel as given, q (Lambda + (n - 1) a a') for y = Lambda^(1/2) (w* - beta)."""
        # y becomes R(h times the kernel) y,  R(z) = (1 + sqrt 2) r^2 - sqrt 2 r,  r = 1 / (1 + c z),  c = 1 - 1 / sqrt 2.
        share, a = (1 - 0.5**0.5) * h * q, root * u
        b = a / (1 + share * lam)
        b *= share * (n - 1) / (1 + share * (n - 1) * (a @ b))

        def solve(x):                                      # r x, after Sherman and Morrison: diagonal and one direction
            x = x / (1 + share * lam)
            return x - b * (a @ x)
        once = solve(root * (truth - beta))
        y = (1 + 2**0.5) * solve(once) + once
        return beta + share * (root * y + (n - 1) * (a @ y) * u)

    recorded, speed, now = np.empty((len(lam), len(times))), np.empty(len(times)), 0.0
    q, u, growth = kernel(beta)
    first = 0.1 * step / max(n * q * lam.max(), growth)
    for t, time in enumerate(times):
        while now < time:
            h = min(max(step * now, first), step / growth if growth else np.inf)
            h, now = (h, now + h) if now + h < time else (time - now, time)
            beta = move(beta, h, *kernel(move(beta, h / 2, q, u))[:2])
            q, u, growth = kernel(beta)
        recorded[:, t], speed[t] = root * (truth - beta), q
    mode_loss = recorded**2
    loss, C_g = mode_loss.sum(0), np.full((1, len(times), len(times)), np.nan)
    C_g[0][np.diag_indices(len(times))] = speed
    parameters = {"n_hidden": n - 1, "width": np.inf, "gamma0": gamma0, "strength": strength, "step": step}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, C_g=C_g, times=times)


def _mean_decay(x):
    """Mean of ``exp(-x s)`` over s from 0 to 1."""
    return -np.expm1(-x) / np.where(x > 0, x, 1.0) + (x == 0)


def simulate_flow(spectrum: Spectrum, times: ArrayLike, *, n_hidden: int, width: int, gamma0: float,
                  rng: np.random.Generator | int, n_networks: int | None = None, tolerance: float = 1e-4) -> Solution:
    """Gradient flow of finite networks with all their weights: what `solve_log_grid` describes for large width.

    Parameters
    ----------
    spectrum : Spectrum
        With whole multiplicities; every mode is an input.
    times : array_like, shape (T,)
        Increasing.
    n_hidden, width : int
    gamma0 : float
        Richness, positive.
    rng : numpy.random.Generator or int
        Each network gets a spawned one.
    n_networks : int, optional
        Independent draws; by default a single one, without the axis.
    tolerance : float
        Relative error allowed in a step, of the weights.

    Returns
    -------
    Solution
        Losses of shape (n_networks, T) and mode losses of shape (n_networks, K, T), without ``n_networks`` as of the theory.

    Raises
    ------
    ValueError
        Arguments out of range, sizes that are not whole.

    Notes
    -----
    Runge-Kutta steps of order 5(4) with error control on all weights, whatever the times, which are interpolated. Their length
    is limited by the fastest mode, so the cost grows with the last time. Source: population gradient flow from Gaussian weights.

    Examples
    --------
    >>> from dlnutils.dmft import power_law
    >>> from dlnutils.scaling_laws import simulate_flow
    >>> flow = simulate_flow(power_law(50, 1.5, 0.5), [0.0, 1.0], n_hidden=2, width=40, gamma0=1.0, rng=0, n_networks=2)
    >>> flow.excess_loss.shape, bool((flow.excess_loss[:, 1] < flow.excess_loss[:, 0]).all())
    ((2, 2), True)
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    L, N = integer("n_hidden", n_hidden), integer("width", width)
    tolerance, rng = number("tolerance", tolerance, above=0.0), generator(rng)
    count = np.array([integer("multiplicity", float(m), hint="a simulation has whole inputs") for m in spectrum.multiplicity])
    networks = 1 if n_networks is None else integer("n_networks", n_networks)
    size = int(count.sum())
    check_memory(8 * 10 * (N * size + (L - 1) * N**2), N, "width",
                 f"it grows with width, n_hidden and modes ({size}): lower one of them")
    group = np.repeat(np.arange(len(count)), count)
    lam = spectrum.eigenvalues[group]
    from scipy.integrate import solve_ivp

    def train(child):
        truth = np.sqrt(spectrum.target[group]) * child.choice([-1.0, 1.0], size)
        start = child.standard_normal(N * size + (L - 1) * N**2 + N)

        def split(flat):
            first, hidden, last = np.split(flat, [N * size, N * size + (L - 1) * N**2])
            return first.reshape(N, size), hidden.reshape(L - 1, N, N), last

        def fields_down(first, hidden, last):
            down = [last]
            for W in hidden[::-1]:
                down.append(down[-1] @ W / N**0.5)
            return down[::-1], truth - down[-1] @ first / (gamma0 * N)

        def slope(_, flat):
            first, hidden, last = split(flat)
            down, error = fields_down(first, hidden, last)
            change = np.empty_like(flat)
            d_first, d_hidden, d_last = split(change)
            up = lam * error
            np.outer(gamma0 * down[0], up, out=d_first)
            up = first @ up
            for i, W in enumerate(hidden):
                np.outer(gamma0 / N**0.5 * down[i + 1], up, out=d_hidden[i])
                up = W @ up / N**0.5
            d_last[:] = gamma0 * up
            return change
        with np.errstate(over="ignore", invalid="ignore"):     # a trial step that is too long is taken back
            solved = solve_ivp(slope, (min(0.0, times[0]), times[-1]), start, t_eval=times, rtol=tolerance, atol=tolerance)
        loss = np.array([lam * fields_down(*split(state))[1]**2 for state in solved.y.T]).T
        out = np.full((size, len(times)), np.inf)
        out[:, :loss.shape[1]] = loss
        return np.add.reduceat(out, np.cumsum(count) - count, axis=0)

    mode_loss = np.array([train(child) for child in rng.spawn(networks)])
    mode_loss = mode_loss if n_networks is not None else mode_loss[0]
    loss = mode_loss.sum(-2)
    parameters = {"n_hidden": L, "width": float(N), "gamma0": gamma0, "tolerance": tolerance,
                  "n_networks": networks}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, times=times)

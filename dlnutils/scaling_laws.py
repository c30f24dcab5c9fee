"""Gradient flow of infinitely wide deep linear networks on data of many scales, over any number of decades in time.

The same mean-field theory as in `dmft` (Bordelon & Pehlevan 2025), for the gradient of the population loss and infinite width: what
is left to learn along a mode is then one function of time. Time is gradient-flow time, ``eta`` times steps of `dmft.solve_dmft`
for small ``eta``. ``T``: times, ``K``: distinct modes, ``L``: hidden layers.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

from ._validation import integer, real
from .dmft import Solution, Spectrum, _field, _mirror, check_memory, memory_needed

#: How many earlier iterates the acceleration combines.
HISTORY = 8


def _arguments(spectrum, times, gamma0):
    if not isinstance(spectrum, Spectrum):
        raise ValueError(f"spectrum must be a Spectrum, got {spectrum!r}: see dmft.isotropic and dmft.power_law")
    times = real("times", times, at_least=0.0)
    if times.ndim != 1 or len(times) < 2 or np.any(np.diff(times) <= 0):
        raise ValueError(f"times must be one-dimensional, increase and hold at least two, got shape {times.shape}: for "
                         "example numpy.append(0, numpy.logspace(-2, 4, 200))")
    return times, float(real("gamma0", gamma0, above=0.0))


def loss_exponent(b, n_hidden: int):
    """Predicted exponent ``chi`` of the loss, ``t^-chi``, of a rich network on a task of source exponent ``b``.

    Parameters
    ----------
    b : array_like
        Source exponent, positive. The lazy exponent is ``b`` itself.
    n_hidden : int
        Hidden layers L, so ``n = L + 1`` weight matrices.

    Returns
    -------
    float or ndarray
        ``n b / (1 + (n - 1) b)`` for hard tasks (``b < 1``), ``b`` for easy ones.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Balanced layers grow as the map does, and the kernel with them. For one hidden layer this is ``2 b / (1 + b)`` of
    Bordelon & Pehlevan 2025; for more it is derived here and could not be compared with theirs.

    Examples
    --------
    >>> loss_exponent(0.5, 1), loss_exponent(0.5, 3), loss_exponent(1.5, 3)
    (0.6666666666666666, 0.8, 1.5)
    """
    b, n = real("b", b, above=0.0), integer("n_hidden", n_hidden) + 1
    chi = np.where(b < 1, n * b / (1 + (n - 1) * b), b)
    return chi if chi.ndim else float(chi)


# --- any depth ------------------------------------------------------------------------------------------------------

def _trapezoid(times):
    """Weights W of the trapezoidal rule: ``(W f)_t`` is the integral of f from the first time to t."""
    steps = np.diff(times)
    half = np.tri(len(times), len(steps), k=-1) * steps / 2
    return np.pad(half, ((0, 0), (0, 1))) + np.pad(half, ((0, 0), (1, 0)))


class _Anderson:
    """Anderson's acceleration of ``x = g(x)``: the next iterate from the last few, by least squares."""

    def __init__(self):
        self.points, self.defects = [], []

    def __call__(self, x, defect):
        self.points, self.defects = [*self.points[-HISTORY:], x], [*self.defects[-HISTORY:], defect]
        if len(self.points) == 1:
            return x + defect
        moves, changes = np.diff(self.points, axis=0), np.diff(self.defects, axis=0)
        return x + defect - np.linalg.lstsq(changes.T, defect, rcond=1e-14)[0] @ (moves + changes)


def solve_log_grid(spectrum: Spectrum, times, *, n_hidden: int, gamma0: float, tolerance: float = 1e-9,
                   max_iterations: int = 60) -> Solution:
    """Loss and order parameters under gradient flow at infinite width, on a grid of times that may be logarithmic.

    Parameters
    ----------
    spectrum : Spectrum
        The data, with bins for many modes: ``dmft.power_law(10**12, 1.5, 0.5, n_exact=20)``.
    times : array_like, shape (T,)
        Increasing; 0 is put before them for the computation if it is missing. The grid is the discretisation: 200 points over
        six decades leave an error of some 2e-4, and the error falls with the square of their density. Rich networks with many
        layers need 20 points a decade to converge.
    n_hidden : int
        Hidden layers, L.
    gamma0 : float
        Richness, positive.
    tolerance : float
        Iterations at a time end when fields and responses change by less than this share. Round-off keeps it from going below
        1e-9 once the loss has fallen by eleven decades.
    max_iterations : int
        Cap of the iterations at each time.

    Returns
    -------
    Solution
        With ``times``, ``iterations`` and ``residual`` (the last change) of shape (T,), and ``converged``. Responses are
        operators: a density times the weights of the quadrature. ``C_g[0, t, t]`` is the growth of the kernel,
        ``kernel`` itself belongs to discrete steps. Where no finite iterate was found, losses are infinite from there on.

    Raises
    ------
    ValueError
        Arguments out of range, times that do not increase, more memory than is free.

    Notes
    -----
    The equations of `dmft.solve_dmft` with sums over past steps replaced by the trapezoidal rule. Its weight of the present
    makes row t depend on itself, through all layers and the data. Plain iteration of the row fails for rich and deep
    networks, and finer grids do not help: the modes that are learned fix the product of the layers, and an iteration overshoots
    it by a factor that depends on depth alone. Anderson's acceleration finds the row in five to ten sweeps at any richness and
    depth we tried. Cost ``O(T^2 (L T + K))`` a sweep of all rows. Source: derived from Bordelon & Pehlevan 2025.

    Examples
    --------
    >>> from dlnutils.dmft import power_law
    >>> flow = solve_log_grid(power_law(10**6, 1.5, 0.5, n_exact=20), np.logspace(-2, 4, 60), n_hidden=2, gamma0=3.0)
    >>> flow, flow.converged, bool(flow.iterations.max() < 20)
    (Solution(theory, 60 times up to 10000, 2 hidden layers, infinite width, test loss 0.000217 at the end), True, True)
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    L, cap = integer("n_hidden", n_hidden), integer("max_iterations", max_iterations)
    tolerance = float(real("tolerance", tolerance, above=0.0))
    grid = times if times[0] == 0 else np.concatenate([[0.0], times])
    T, lam, weight = len(grid), spectrum.eigenvalues, spectrum.multiplicity * spectrum.eigenvalues
    check_memory(memory_needed(T, L) + 16 * T * len(lam), T, "times")
    W, truth = _trapezoid(grid), np.sqrt(spectrum.target)
    # Layer l at index l - 1; P carries signals up and Q errors down, as in solve_dmft.
    P, Q, H_h, H_g, S_h, S_g = (np.zeros((L, T, T)) for _ in range(6))
    C_h, C_g = np.zeros((L + 1, T, T)), np.ones((L + 1, T, T))       # of layers 0 to L, and 1 to L + 1
    Q[L - 1], M, v = gamma0 * W, np.zeros((T, T)), np.zeros((len(lam), T))
    iterations, residual = np.zeros(T, dtype=int), np.full(T, np.inf)

    def sweep(t):
        """Row t of everything, backwards, through the data and forwards, from row t of P and C_h."""
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        for i in reversed(range(L)):
            if i < L - 1:
                Q[i, t, now] = S_g[i + 1, t, now] + gamma0 * C_g[i + 1, t, now] * W[t, now]
            _field(rows, Q[i], C_g[i + 1], P[i], C_h[i], H_g[i], S_g[i], C_g[i])
        M[t, now] = S_g[0, t, now] / gamma0 + C_g[0, t, now] * W[t, now]
        v[:, t] = (truth - lam * (v[:, past] @ M[t, past])) / (1 + lam * M[t, t])
        _mirror(C_h[0], rows, (weight * lam * v[:, t]) @ v[None, :, now])
        P[0, t, now] = gamma0 * C_h[0, t, now] * W[t, now]
        for i in range(L):
            _field(rows, P[i], C_h[i], Q[i], C_g[i + 1], H_h[i], S_h[i], C_h[i + 1])
            if i < L - 1:
                P[i + 1, t, now] = S_h[i, t, now] + gamma0 * C_h[i + 1, t, now] * W[t, now]

    with np.errstate(all="ignore"):                        # what does not stay finite is flagged
        for t in range(T):
            now = slice(t + 1)
            # First guess: as at the time before, with the weights of now.
            if t:
                C_h[:L, t, :t], C_h[:L, t, t] = C_h[:L, t - 1, :t], C_h[:L, t - 1, t - 1]
                C_h[:L, :t, t] = C_h[:L, t, :t]
                P[:, t, now] = gamma0 * C_h[:L, t, now] * W[t, now]
                P[1:, t, :t] += S_h[:-1, t - 1, :t]
            accelerate, scale = _Anderson(), None
            for iterations[t] in range(1, cap + 1):
                before = np.concatenate([C_h[:L, t, now], P[:, t, now]])
                sweep(t)
                after = np.concatenate([C_h[:L, t, now], P[:, t, now]])
                if scale is None:                          # all blocks count alike, whatever their units
                    scale = np.maximum(np.linalg.norm(after, axis=1, keepdims=True), 1e-300)
                residual[t] = np.abs((after - before) / scale).max()
                if residual[t] < tolerance or not np.isfinite(residual[t]):
                    break
                guess = scale * accelerate((before / scale).ravel(), ((after - before) / scale).ravel()).reshape(after.shape)
                C_h[:L, t, now], C_h[:L, now, t], P[:, t, now] = guess[:L], guess[:L], guess[L:]
            if not np.isfinite(residual[t]):
                residual[t:], v[:, t:] = np.inf, np.inf
                break
    mode_loss = weight[:, None] * v**2
    shown = slice(T - len(times), None)
    loss, square = mode_loss.sum(0)[shown], (slice(None), shown, shown)
    parameters = {"n_steps": len(times), "n_hidden": L, "width": np.inf, "gamma0": gamma0, "tolerance": tolerance,
                  "max_iterations": cap}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss[:, shown], C_h[square], C_g[:L][square], S_h[square],
                    S_g[square], M[square[1:]], times=times, iterations=iterations[shown], residual=residual[shown])


# --- one hidden layer, exactly --------------------------------------------------------------------------------------

def one_hidden_layer_flow(spectrum: Spectrum, times, *, gamma0: float, width: float = np.inf,
                          rng: np.random.Generator | None = None, step: float = 0.05) -> Solution:
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
    rng : numpy.random.Generator, optional
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
    >>> from dlnutils.dmft import power_law
    >>> flow = one_hidden_layer_flow(power_law(10**6, 1.5, 0.5, n_exact=10, ratio=1.5), np.logspace(-1, 2, 4), gamma0=1.0)
    >>> flow.excess_loss.round(3)
    array([1.57 , 0.533, 0.139, 0.033])
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    step = float(real("step", step, above=0.0))
    K, root = len(spectrum.eigenvalues), np.sqrt(spectrum.eigenvalues)
    truth, weight = np.sqrt(spectrum.target), spectrum.multiplicity * spectrum.eigenvalues
    if width == np.inf:                                    # all alike modes as one along the target
        truth, v, G, c = truth * np.sqrt(spectrum.multiplicity), truth * np.sqrt(spectrum.multiplicity), np.eye(K), 1.0
        weight = spectrum.eigenvalues
    else:
        width = integer("width", width)
        if rng is None or np.any(spectrum.multiplicity != 1):
            raise ValueError(f"width = {width} needs rng and a spectrum with multiplicity 1 throughout: a finite network sees "
                             "each mode, not bins")
        truth = truth * rng.choice([-1.0, 1.0], K)
        first, last = rng.standard_normal((width, K)), rng.standard_normal(width)
        v, G, c = truth - last @ first / (gamma0 * width), first.T @ first / width, last @ last / width

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
    parameters = {"n_steps": len(times), "n_hidden": 1, "width": float(width), "gamma0": gamma0, "step": step}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, C_g=C_g, times=times)


def _mean_decay(x):
    """Mean of ``exp(-x s)`` over s from 0 to 1."""
    return -np.expm1(-x) / np.where(x > 0, x, 1.0) + (x == 0)


# --- finite networks of any depth -----------------------------------------------------------------------------------

def simulate_flow(spectrum: Spectrum, times, *, n_hidden: int, width: int, gamma0: float, rng: np.random.Generator,
                  n_networks: int | None = None, tolerance: float = 1e-4) -> Solution:
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
    rng : numpy.random.Generator
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
    Runge-Kutta steps of order 5(4) with error control on all weights. Their length is limited by the fastest mode, so the cost
    grows with the last time. Source: population gradient flow from Gaussian weights.

    Examples
    --------
    >>> from dlnutils.dmft import power_law
    >>> flow = simulate_flow(power_law(50, 1.5, 0.5), [0.0, 1.0], n_hidden=2, width=40, gamma0=1.0,
    ...                      rng=np.random.default_rng(0), n_networks=2)
    >>> flow.excess_loss.shape, bool((flow.excess_loss[:, 1] < flow.excess_loss[:, 0]).all())
    ((2, 2), True)
    """
    times, gamma0 = _arguments(spectrum, times, gamma0)
    L, N = integer("n_hidden", n_hidden), integer("width", width)
    tolerance = float(real("tolerance", tolerance, above=0.0))
    count = np.array([integer("multiplicity", float(m), hint="a simulation has whole inputs") for m in spectrum.multiplicity])
    networks = 1 if n_networks is None else integer("n_networks", n_networks)
    group = np.repeat(np.arange(len(count)), count)
    lam, size = spectrum.eigenvalues[group], len(group)
    check_memory(8 * 10 * (N * size + (L - 1) * N**2), N * size, "width times modes")

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
    parameters = {"n_steps": len(times), "n_hidden": L, "width": float(N), "gamma0": gamma0, "tolerance": tolerance,
                  "n_networks": networks}
    return Solution(loss, loss, loss, spectrum, parameters, mode_loss, times=times)

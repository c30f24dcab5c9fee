"""Long training: the equations on a coarse grid of steps, or of times of gradient flow, which grows with what has passed."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import integer, number, real
from ._data import _Data
from ._rows import _Anderson
from ._weights import _Weights
from .estimates import check_memory, largest_eigenvalue, memory_needed
from .optimizers import Memory, Optimizer
from .solution import Solution, _arguments
from .solver import _Layers
from .spectrum import Spectrum

__all__ = ["solve_long", "solve_flow", "step_grid"]

#: Nodes one by one at the start of a grid of steps, and the largest gap after them as a share of the steps that have passed.
FIRST, RATIO = 16, 0.12
#: A refined grid has at most so many nodes.
LARGEST = 600
#: A grid for times has at least so many a decade, and its first step is at most this share of the fastest time scale.
DENSITY, FIRST_STEP = 8, 0.1
#: Errors are relative to the loss, or to this share of the first loss where it has fallen below.
FLOOR = 1e-10
#: The largest share of the edge of stability at which a coarse grid is trusted: it damps what steps would amplify.
SAFE = 0.8


def step_grid(n_steps: int, *, ratio: float = RATIO) -> NDArray[np.int64]:
    """Numbers of updates from 0 to ``n_steps``, first one by one, then in gaps of a share of what has passed.

    Parameters
    ----------
    n_steps : int
        Updates, at least 0.
    ratio : float
        Share, positive.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import step_grid
    >>> step_grid(40)
    array([ 0,  1,  2,  3,  4,  5,  6,  7,  8,  9, 10, 11, 12, 13, 14, 15, 16,
           17, 19, 21, 23, 25, 28, 31, 34, 38, 40])
    >>> len(step_grid(10**6))
    117
    """
    n_steps, ratio = integer("n_steps", n_steps, at_least=0), number("ratio", ratio, above=0.0)
    nodes = list(range(min(FIRST, n_steps) + 1))
    while nodes[-1] < n_steps:
        nodes.append(min(nodes[-1] + max(1, int(ratio * nodes[-1])), n_steps))
    return np.array(nodes)


def solve_long(spectrum: Spectrum, *, n_steps: int, n_hidden: int, width: float | ArrayLike = np.inf, gamma0: float,
               learning_rate: float | ArrayLike | None = None, optimizer: Optimizer | None = None, n_samples: float | None = None,
               noise: float = 0.0, skip: bool = False, branch_scale: float | ArrayLike = 1.0,
               initial_scale: float | ArrayLike = 1.0, centered: bool = False, steps: ArrayLike | None = None,
               grid: ArrayLike | None = None, accuracy: float = 0.001, tolerance: float = 1e-9,
               max_iterations: int = 60) -> Solution:
    """What `solve_dmft` gives for very many updates, on a grid of some of them: 10^5 in seconds and megabytes.

    Parameters
    ----------
    spectrum, n_steps, n_hidden, width, gamma0, learning_rate, optimizer, n_samples, noise, skip, branch_scale, initial_scale, \
centered
        As in `solve_dmft`; full batch or population gradient, one output, no clipping, no average.
    steps : array_like of int, optional
        Numbers of updates at which the loss is asked for, at most 200; the grid has them too. By default those of the grid.
    grid : array_like of int, optional
        Solve on these, from 0 to ``n_steps``, as they are and without an estimate of the error; see `step_grid`.
    accuracy : float
        Relative error allowed in the losses; the grid is refined until its estimate is below.
    tolerance : float
        Iterations of a row end when it changes by less than this share.
    max_iterations : int
        Cap of the iterations of a row.

    Returns
    -------
    Solution
        With ``steps``, at which losses and order parameters are recorded, ``iterations``, ``residual`` and, unless ``grid`` was
        given, ``error``. Responses are sums over the steps that a node stands for.

    Raises
    ------
    ValueError
        Arguments out of range; a learning rate that steps would amplify and the grid would not, with the largest safe one.

    Warns
    -----
    RuntimeWarning
        Tolerance or accuracy were not met; the message says where.

    Notes
    -----
    Sums over all past steps become sums over nodes, between which gradients are interpolated linearly: the memory of the
    optimizer is found step by step, exactly, for such gradients. Where nodes are neighbours this is the solution itself; later a
    row depends on itself and is found by Anderson's acceleration in some ten sweeps. The error falls with the square of the gaps
    and is estimated from a grid with half the nodes. Cost: some ten solutions of `solve_dmft` with as many steps as the grid has
    nodes, and ``O(n_steps)`` for the memory.

    What oscillates from step to step is damped on the grid. A rate is refused where the rate times the tangent kernel times the
    largest eigenvalue of the (sample) covariance comes to 0.8 of the edge of stability, `stability_edge`.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, solve_long
    >>> long = solve_long(isotropic(1), n_steps=10**5, n_hidden=1, width=1.0, gamma0=1.0, learning_rate=0.05, n_samples=2.0,
    ...                   noise=0.5, accuracy=0.01)
    >>> round(float(long.test_loss[-1]), 2), long.test_loss.size < 100    # sigma^2 (1 + D / (P - D)) = 0.5
    (0.5, True)
    """
    parameters, rule = _arguments(spectrum, n_steps=n_steps, n_hidden=n_hidden, width=width, gamma0=gamma0,
                                  learning_rate=learning_rate, optimizer=optimizer, n_samples=n_samples, noise=noise, skip=skip,
                                  branch_scale=branch_scale, initial_scale=initial_scale, centered=centered)
    _one_output(spectrum)
    if rule.clip or rule.normalise or rule.average is not None or rule._given is not None:
        raise ValueError("optimizer must not clip, normalise, average or have a memory of its own on a grid of steps: "
                         "solve_dmft takes every step")
    n_steps = parameters["n_steps"]

    def solve(nodes):
        system, used, t = attempt(1.0, nodes)
        if used > SAFE:
            share = 0.9 * SAFE / used
            while (again := attempt(share, nodes)[1]) > SAFE:
                share *= 0.9 * SAFE / again
            rate = rule.learning_rate
            now, safe = (f"{rate:g}", f"{share * rate:.2g}") if isinstance(rate, float) else ("a schedule", f"{share:.2g} of it")
            raise ValueError(f"learning_rate comes to {used:.2g} of the edge of stability at step {nodes[t]}, where a coarse "
                             f"grid hides what steps amplify, got {now}: {safe} is safe; or take every step with solve_dmft")
        return system

    def attempt(share, nodes):
        scaled = rule if share == 1 else replace(rule, learning_rate=share * np.asarray(rule.learning_rate))
        system = _System(spectrum, parameters, scaled, scaled.on_nodes(nodes, parameters["n_hidden"]), tolerance, max_iterations)
        return system, *_share_of_edge(system, scaled, nodes, spectrum, parameters)

    if grid is not None:
        nodes = _increasing("grid", grid, n_steps)
        if nodes[0] != 0 or nodes[-1] != n_steps:
            raise ValueError(f"grid must go from 0 to n_steps = {n_steps}, got {nodes[0]} to {nodes[-1]}: see step_grid")
        _check_size(spectrum, parameters, len(nodes))
        system, error = solve(nodes), None
        wanted = nodes
    else:
        accuracy, ratio = number("accuracy", accuracy, above=0.0), RATIO
        asked = None if steps is None else _increasing("steps", steps, n_steps)
        if asked is not None and len(asked) > 200:
            raise ValueError(f"steps must hold at most 200 numbers of updates, got {len(asked)}: the grid interpolates nothing")
        while True:
            nodes = step_grid(n_steps, ratio=ratio)
            nodes = nodes if asked is None else np.union1d(nodes, asked)
            _check_size(spectrum, parameters, len(nodes))
            system = solve(nodes)
            half = np.union1d(nodes[:FIRST + 1], nodes[len(nodes) - 1::-2])
            error = _error(system, nodes, solve(half) if len(half) < len(nodes) else system, half)
            worst = error.max()
            ratio /= np.clip(np.sqrt(1.2 * worst / accuracy), 1.2, 4) if np.isfinite(worst) else 2
            if worst <= accuracy or len(step_grid(n_steps, ratio=ratio)) > LARGEST or ratio * n_steps < 1:
                break
        wanted = nodes if asked is None else asked
    return system.solution(parameters | {"accuracy": accuracy}, np.searchsorted(nodes, wanted), error, steps=wanted)


def solve_flow(spectrum: Spectrum, times: ArrayLike, *, n_hidden: int, width: float | ArrayLike = np.inf, gamma0: float,
               n_samples: float | None = None, noise: float = 0.0, skip: bool = False, branch_scale: float | ArrayLike = 1.0,
               initial_scale: float | ArrayLike = 1.0, centered: bool = False, accuracy: float = 0.001, tolerance: float = 1e-9,
               max_iterations: int = 60) -> Solution:
    """Loss and order parameters under gradient flow, of networks of finite width trained on finite data.

    Parameters
    ----------
    spectrum, n_hidden, width, gamma0, n_samples, noise, skip, branch_scale, initial_scale, centered
        As in `solve_dmft`; full batch or population gradient, one output.
    times : array_like, shape (T,)
        Increasing, at most 200: when the loss is asked for. Time is the learning rate times steps, for small learning rates.
    accuracy, tolerance, max_iterations
        As in `solve_long`.

    Returns
    -------
    Solution
        With ``times``, ``error``, ``iterations`` and ``residual``; responses are operators on ``times``, as of
        `scaling_laws.solve_log_grid`, which spans more decades at infinite width with the gradient of the population loss.

    Raises
    ------
    ValueError
        Arguments out of range, times that do not increase, more memory than is free.

    Warns
    -----
    RuntimeWarning
        Tolerance or accuracy were not met; the message says where.

    Notes
    -----
    `solve_long` with the trapezoidal rule for the memory, on a grid that holds ``times`` and more between them.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, solve_flow
    >>> flow = solve_flow(isotropic(1), [0.5, 1.0, 2.0], n_hidden=2, width=1.0, gamma0=1.0, n_samples=2.0, noise=0.5)
    >>> flow.test_loss.round(3), flow.converged
    (array([0.78 , 0.602, 0.497]), True)
    """
    parameters, rule = _arguments(spectrum, n_steps=0, n_hidden=n_hidden, width=width, gamma0=gamma0, learning_rate=1.0,
                                  n_samples=n_samples, noise=noise, skip=skip, branch_scale=branch_scale,
                                  initial_scale=initial_scale, centered=centered)
    _one_output(spectrum)
    del parameters["n_steps"], parameters["learning_rate"]
    times = real("times", times, at_least=0.0)
    if times.ndim != 1 or not 0 < len(times) <= 200 or np.any(np.diff(times) <= 0) or times[-1] == 0:
        raise ValueError(f"times must be one-dimensional, increase and hold at most 200, got shape {times.shape}: for example "
                         "numpy.logspace(-2, 4, 100)")
    accuracy = number("accuracy", accuracy, above=0.0)
    L, asked = parameters["n_hidden"], times if times[0] == 0 else np.append(0.0, times)
    weight, largest = spectrum.multiplicity * spectrum.eigenvalues, largest_eigenvalue(spectrum, parameters["n_samples"])
    fastest = (L + 1) * max(largest, gamma0 * np.sqrt(weight @ (spectrum.eigenvalues * spectrum.target)))
    gap = np.log(10) / DENSITY
    origin = max(FIRST_STEP / max(fastest, 1e-300) / np.expm1(gap), 1e-20 * times[-1])

    def solve(grid):
        omega = _trapezoid(grid)
        memory = Memory(np.ones((L + 1, len(grid))), (L + 1) * (omega,), None)
        return _System(spectrum, parameters, rule, memory, tolerance, max_iterations)
    while True:
        grid = _filled(asked, origin, gap)
        _check_size(spectrum, parameters, len(grid))
        system, half = solve(grid), grid[len(grid) - 1::-2][::-1]
        half = half if half[0] == 0 else np.append(0.0, half)
        error = _error(system, grid, solve(half), half)
        worst = error.max()
        gap = np.diff(np.log1p(grid / origin)).max()
        gap /= np.clip(np.sqrt(1.2 * worst / accuracy), 1.2, 4) if np.isfinite(worst) else 2
        if worst <= accuracy or len(_filled(asked, origin, gap)) > LARGEST:
            break
    return system.solution(parameters | {"accuracy": accuracy}, np.searchsorted(grid, times), error, times=times)


# --- rows that depend on themselves -----------------------------------------------------------------------------------

class _System:
    """The equations of `solve_dmft` with memories that may have a diagonal, solved row by row."""

    def __init__(self, spectrum, parameters, rule, memory, tolerance, max_iterations):
        self.tolerance, cap = number("tolerance", tolerance, above=0.0), integer("max_iterations", max_iterations)
        n = memory.start.shape[1]
        sizes = parameters | {"n_steps": n - 1}
        self.weights = _Weights(sizes, rule, memory=memory)
        self.weights.rate = None                           # sums over steps have weights here
        self.data = _Data(spectrum, sizes, self.weights)
        self.layers = _Layers(self.data, self.weights, sizes)
        self.layers.implicit = self.data.implicit = True
        self.iterations, self.residual, self.cap = np.zeros(n, dtype=int), np.full(n, np.inf), cap
        implicit = np.any([np.diagonal(k) != 0 for k in memory.gradients], axis=0)
        with np.errstate(all="ignore"):                    # what does not stay finite is flagged
            for t in range(n):
                if not self._row(t, implicit[t]):
                    break
        self.end = n if np.isfinite(self.residual).all() else int(np.argmax(~np.isfinite(self.residual)))
        self.layers.finish(self.end)

    def _row(self, t, implicit):
        """Sweep over row t until it no longer changes; whether its loss is finite."""
        rows, layers = slice(t, t + 1), self.layers
        if not implicit:
            self.iterations[t] = 1
            self.residual[t] = 0.0 if layers.sweep(rows) else np.inf
            return np.isfinite(self.residual[t])
        unknown = [(layers.Q_h, False), (layers.C_a, True)]
        unknown += [(layers.A_h, False), (layers.C_h, True)] if layers.skip else []
        unknown += [(self.data.C_delta[None], True)] if self.data.source == "samples" else []
        for matrix, symmetric in unknown:                  # first guess: the row before, the unit on the diagonal in its place
            guess = np.append(matrix[:, t - 1, :t], matrix[:, t - 1, t - 1:t], axis=1)
            if not symmetric:
                guess[:, t - 1] = matrix[:, t - 1, t - 2]
            self._put(matrix, symmetric, t, guess)
        accelerate, scale = _Anderson(), None
        for sweeps in range(1, self.cap + 1):
            self.iterations[t] = sweeps
            before = [matrix[:, t, :t + 1].copy() for matrix, _ in unknown]
            try:
                if not layers.sweep(rows):
                    return False
            except np.linalg.LinAlgError:
                return False
            after = [matrix[:, t, :t + 1].copy() for matrix, _ in unknown]
            if scale is None:
                scale = [np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in after]
            old, new = (np.concatenate([(x / size).ravel() for x, size in zip(values, scale)]) for values in (before, after))
            self.residual[t] = np.abs(new - old).max()
            if self.residual[t] < self.tolerance or not np.isfinite(self.residual[t]):
                return np.isfinite(self.residual[t])
            guess, start = accelerate(old, new - old), 0
            for (matrix, symmetric), x, size in zip(unknown, after, scale):
                self._put(matrix, symmetric, t, guess[start:start + x.size].reshape(x.shape) * size)
                start += x.size
        return True

    @staticmethod
    def _put(matrix, symmetric, t, row):
        matrix[:, t, :t + 1] = row
        if symmetric:
            matrix[:, :t + 1, t] = row

    def solution(self, parameters, kept, error, **when) -> Solution:
        """What was solved at some of the nodes; with a warning if something was not met."""
        bad = (self.residual >= self.tolerance) & np.isfinite(self.residual)
        where = next(iter(when.values()))
        if bad.any():
            t = int(np.argmax(bad))
            warnings.warn(f"no convergence at node {t} of {len(bad)}: the last of {self.iterations[t]} iterations changed the "
                          f"row by {self.residual[t]:.1e}, tolerance = {self.tolerance:g}; losses from there on mean nothing: "
                          "give a larger max_iterations, or more nodes", RuntimeWarning, stacklevel=3)
        elif error is not None and np.isfinite(error[kept]).all() and error[kept].max() > parameters["accuracy"]:
            t = int(np.argmax(error[kept]))
            warnings.warn(f"the loss at {where[t]:g} has an estimated relative error of {error[kept][t]:.1e}, more than accuracy "
                          f"= {parameters['accuracy']:g}, on {len(error)} nodes: ask for less accuracy",
                          RuntimeWarning, stacklevel=3)
        data, layers, square = self.data, self.layers, np.ix_(kept, kept)
        parts = [part[kept] for part in data.parts()]
        losses = [data.train[kept], data.test[kept], data.test[kept] - data.noise2]
        C_h, C_g, S_h, S_g = (x[:, square[0], square[1]] for x in (layers.C_h, layers.C_g, layers.S_h, layers.S_g))
        parameters = parameters | {"tolerance": self.tolerance}
        train, test, excess = losses
        return Solution(train, test, excess, data.spectrum, parameters, data.mode_loss[:, kept], C_h, C_g, S_h, S_g,
                        data.M[square], data.R_delta[square], iterations=self.iterations[kept], residual=self.residual[kept],
                        error=None if error is None else error[kept], bias_loss=parts[0], width_loss=parts[1],
                        data_loss=parts[2], **when)


def _error(fine, nodes, coarse, half) -> NDArray[np.float64]:
    """Relative error of the losses at nodes: a third of the difference to those on half the nodes, and its last value between."""
    at = np.searchsorted(nodes, half)
    worst = np.zeros(len(half))
    for name in ("test", "train"):
        one, other = getattr(fine.data, name)[at], getattr(coarse.data, name)
        with np.errstate(invalid="ignore"):
            share = np.abs(other - one) / 3 / np.maximum(one, FLOOR * one[0])
        worst = np.maximum(worst, np.where(np.isinf(one) & np.isinf(other), 0.0, share))
    worst = np.where(np.isnan(worst), np.inf, worst)
    return worst[np.minimum(np.searchsorted(at, np.arange(len(nodes))), len(at) - 1)]


def _share_of_edge(system, rule, nodes, spectrum, parameters) -> tuple[float, int]:
    """``eta K(t) lambda`` as a share of the edge of the rule: where it is first too large on the coarse part, else largest."""
    weights, C_g, n = system.weights, system.layers.C_g, system.end
    C_g = np.array([np.diagonal(C)[:n] for C in C_g] + [np.ones(n)])
    share = np.broadcast_to(1.0 if rule.layer_rates is None else rule.layer_rates, len(C_g))
    # M(t + 1, t) = eta K: q_l = (skip + beta^2 d^2) q_(l+1) + beta^2 rate C_g of every matrix, from the last to the first
    q, drawn = share[-1] * np.ones(n), [1.0 if d is None else d[:n]**2 for d in weights.start]
    for i in range(parameters["n_hidden"] - 1, 0, -1):
        q = (parameters["skip"] + weights.down[i] * drawn[i]) * q + weights.down[i] * share[i] * C_g[i]
    kernel = weights.share * (drawn[0] * q + share[0] * C_g[0])
    eta = np.broadcast_to(rule.learning_rate, max(int(nodes[-1]), 1))
    largest = np.maximum.reduceat(eta, np.minimum(nodes[:-1], len(eta) - 1)) if len(nodes) > 1 else eta[:1]
    largest = np.append(largest, largest[-1])[:n]
    edge = 2 * (1 + rule.momentum) / (1 + 2 * rule.momentum * rule.nesterov)
    used = largest * kernel * largest_eigenvalue(spectrum, parameters["n_samples"]) / edge
    coarse = np.diff(nodes, append=nodes[-1])[:n] > 1
    used = np.where(coarse, used, 0.0)
    t = int(np.argmax(used > SAFE)) if used.max() > SAFE else int(np.argmax(used))
    return float(used[t]), t


def _one_output(spectrum):
    if spectrum.n_outputs > 1:
        raise ValueError(f"spectrum must have one output here, got {spectrum.n_outputs}: solve for one at a time")


def _increasing(name: str, value: Any, n_steps: int) -> NDArray[np.int64]:
    """Numbers of updates, checked."""
    steps = real(name, value, at_least=0.0, at_most=n_steps)
    if steps.ndim != 1 or not len(steps) or np.any(steps != np.round(steps)) or np.any(np.diff(steps) <= 0):
        raise ValueError(f"{name} must hold whole numbers of updates that increase, got {value!r}")
    return steps.astype(np.int64)


def _check_size(spectrum, parameters, n):
    needed = 2 * memory_needed(n - 1, parameters["n_hidden"], len(spectrum.eigenvalues), parameters["skip"])
    check_memory(needed, n, "the grid's size", "ask for less accuracy, or put the modes of the spectrum into bins")


def _trapezoid(grid, origin=np.inf):
    """Weights of the trapezoidal rule in ``log(origin + t)``: ``(omega f)_t`` is the integral of f from the first time to t.

    By default in t itself.
    """
    if origin == np.inf:
        steps, speed = np.diff(grid), np.ones(len(grid))
    else:
        steps, speed = np.diff(np.log1p(grid / origin)), grid + origin                 # dt = (origin + t) du
    half = np.tri(len(grid), len(steps), k=-1) * steps / 2
    return (np.pad(half, ((0, 0), (0, 1))) + np.pad(half, ((0, 0), (1, 0)))) * speed


def _filled(times, origin, gap):
    """A grid that holds all times, and more of them where ``log(origin + t)`` grows by more than gap from one to the next."""
    u = np.log1p(times / origin)
    counts = np.ceil(np.diff(u) / gap - 1e-9).astype(int)
    inside = [origin * np.expm1(np.linspace(a, b, n, endpoint=False)[1:]) for a, b, n in zip(u, u[1:], counts)]
    return np.concatenate([np.append(t, more) for t, more in zip(times, inside)] + [times[-1:]])

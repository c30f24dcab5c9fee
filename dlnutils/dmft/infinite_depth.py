"""Residual networks of infinite depth."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from .._validation import integer
from ._data import _Data
from ._rows import _field, _mirror
from ._weights import _Weights
from .estimates import check_memory, memory_needed
from .optimizers import Optimizer
from .solution import Solution, _arguments
from .spectrum import Spectrum

__all__ = ["solve_infinite_depth"]


def solve_infinite_depth(spectrum: Spectrum, *, n_steps: int, width: float = np.inf, gamma0: float,
                         learning_rate: float | ArrayLike | None = None, optimizer: Optimizer | None = None,
                         n_samples: float | None = None, batch_size: float | ArrayLike | None = None, sampling: str | None = None,
                         noise: float = 0.0, branch_scale: float = 1.0, initial_scale: float | ArrayLike = 1.0,
                         centered: bool = False, n_layer_steps: int = 16) -> Solution:
    """The limit of residual networks with ever more hidden layers and branches of scale ``branch_scale / sqrt(L)``.

    Parameters
    ----------
    spectrum, n_steps, width, gamma0, learning_rate, optimizer, n_samples, batch_size, sampling, noise, centered
        As in `solve_dmft`, with one width and one output. What an optimizer lists for each layer has three entries: for the first
        weights, for all between hidden layers, and for the last. It keeps no average here, and does not clip.
    branch_scale : float
        ``beta_0``: here without the ``1 / sqrt(L)``.
    initial_scale : float or array_like, shape (3,)
        Standard deviation of the weights at the start: the first, all between hidden layers, the last.
    n_layer_steps : int
        Steps of Heun's method from the first layer to the last; the error falls with its square: 2e-4 in the losses for 16 of
        them in the example below. To estimate it, solve with half as many: a third of the difference is the error that is left.
        Late ``C_h`` are small remainders of large terms; they need 32 or more.

    Returns
    -------
    Solution
        As of `solve_dmft`, with ``n_hidden`` infinite; layers are the ``n_layer_steps + 1`` points of layer time from 0 to 1.

    Raises
    ------
    ValueError
        Arguments out of range, more memory than is free.

    Notes
    -----
    Depth becomes a time ``tau = l / L`` in which the eliminated fields obey two pairs of Riccati and Lyapunov equations, one
    down and one up. Row t of each depends on rows before t of the others alone, so that a row is carried down through all of
    tau, through the data and up again, once: there is nothing to iterate. Cost ``O(n_layer_steps T^3)``. Source: the
    infinite-depth limit of Bordelon & Pehlevan 2025; see the page on the derivation.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, solve_infinite_depth
    >>> deep = solve_infinite_depth(isotropic(1), n_steps=19, width=1.0, gamma0=1.0, learning_rate=0.03, n_samples=2.0,
    ...                             n_layer_steps=8)
    >>> deep
    Solution(theory, 20 times, infinitely many hidden layers, residual, width=1, n_samples=2, test loss 0.361 at the end)
    """
    n = integer("n_layer_steps", n_layer_steps)
    if spectrum_outputs := getattr(spectrum, "n_outputs", 1) - 1:
        raise ValueError(f"spectrum must have one output at infinite depth, got {spectrum_outputs + 1}: solve for one at a time")
    if np.ndim(width) or np.ndim(branch_scale):
        raise ValueError(f"width and branch_scale must be one number at infinite depth, got {width} and {branch_scale}")
    parameters, optimizer = _arguments(
        spectrum, n_steps=n_steps, n_hidden=2, width=width, gamma0=gamma0, learning_rate=learning_rate, optimizer=optimizer,
        n_samples=n_samples, batch_size=batch_size, sampling=sampling, noise=noise, skip=True, branch_scale=branch_scale,
        initial_scale=initial_scale, centered=centered)
    parameters |= {"n_hidden": np.inf, "n_layer_steps": n}
    T, step, beta2 = parameters["n_steps"] + 1, 1 / n, parameters["branch_scale"]**2
    check_memory(memory_needed(n_steps, n + 1, len(spectrum.eigenvalues)) + 24 * (n + 1) * T**2, n_steps)
    if optimizer.clip or optimizer.normalise or optimizer.average is not None:
        raise ValueError("optimizer must not clip, normalise or average at infinite depth: see solve_dmft with many layers")
    weights = _Weights(parameters, optimizer, n_matrices=3)
    data, pull = _Data(spectrum, parameters, weights), weights.pull
    # As in solve_dmft, at n + 1 points of layer time; A_h and A_g are now densities.
    Q_h, Q_g, C_a, C_b, R_h, R_g, S_h, S_g, C_h, C_g, A_h, A_g = (np.zeros((n + 1, T, T)) for _ in range(12))
    C_h0 = np.zeros((T, T))
    Q_g[n], C_b[n] = pull[2], 1.0 if weights.start[2] is None else np.outer(weights.start[2], weights.start[2])

    def slope_down(t, i):
        """Close the equations at point i for row t; how the rows of Q_g and C_b change towards the input."""
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        # -dQ_g = Q_g A_h Q_g + A_g,  -dC_b = Q_g A_h C_b + its transpose + beta0^2 (Q_g C_h Q_g' + C_g)
        row = _field(rows, Q_g[i], C_b[i], Q_h[i], C_a[i], R_g[i], S_g[i], C_g[i])
        A_g[i, t, past] = beta2 * (weights.drawn(1, rows, S_g[i, rows, past])[0] + pull[1][t, past] * row[0, past])
        row, around = weights.drawn(1, rows, row)[0], weights.drawn(1, past, C_h[i, past, past])
        through = Q_g[i, t, past] @ A_h[i, past, past]
        return (through @ Q_g[i, past, past] + A_g[i, t, past],
                through @ C_b[i, past, now] + Q_g[i, now, past] @ (A_h[i, past, past] @ C_b[i, t, past])
                + beta2 * (Q_g[i, now, past] @ (around @ Q_g[i, t, past]) + row))

    def slope_up(t, i):
        """The same for the rows of Q_h and C_a, towards the output."""
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        # dQ_h = Q_h A_g Q_h + A_h,  dC_a = Q_h A_g C_a + its transpose + beta0^2 (Q_h C_g Q_h' + C_h)
        row = _field(rows, Q_h[i], C_a[i], Q_g[i], C_b[i], R_h[i], S_h[i], C_h[i])
        A_h[i, t, now] = beta2 * weights.drawn(1, rows, S_h[i, rows, now])[0]
        A_h[i, t, past] += beta2 * (pull[1][t, past] * row[0, past])
        row, around = weights.drawn(1, rows, row)[0], weights.drawn(1, now, C_g[i, now, now])
        through = Q_h[i, t, now] @ A_g[i, now, past]
        slope = A_h[i, t, now].copy()
        slope[past] += through @ Q_h[i, past, past]
        return (slope, through @ C_a[i, past, now] + Q_h[i, now, now] @ (A_g[i, now, past] @ C_a[i, t, past])
                + beta2 * (Q_h[i, now, now] @ (around @ Q_h[i, t, now]) + row))

    def carry(t, slope, Q, C, columns, points):
        """Row t of Q and C of one direction through all of layer time, by Heun's method, corrected twice."""
        now, first = slice(t + 1), slope(t, points[0])
        for i, j in zip(points, points[1:]):
            q, c = Q[i, t, columns], C[i, t, now]
            Q[j, t, columns] = q + step * first[0]
            _mirror(C[j], slice(t, t + 1), (c + step * first[1])[None])
            for _ in range(2):                             # a second correction costs half as much again and gains four times
                second = slope(t, j)
                Q[j, t, columns] = q + step / 2 * (first[0] + second[0])
                _mirror(C[j], slice(t, t + 1), (c + step / 2 * (first[1] + second[1]))[None])
            first = slope(t, j)

    for t in range(T):
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        carry(t, slope_down, Q_g, C_b, past, range(n, -1, -1))
        if not data.errors(rows, S_g[0], C_g[0]):
            break
        Q_h[0, rows, now] = data.signal(rows, C_h0)
        _mirror(C_a[0], rows, weights.drawn(0, rows, C_h0[rows, now]))
        carry(t, slope_up, Q_h, C_a, now, range(n + 1))
    bias, width_part, of_data = data.parts()
    return Solution(data.train, data.test, data.test - data.noise2, spectrum, parameters, data.mode_loss,
                    np.concatenate([C_h0[None], C_h]), C_g, S_h, S_g, data.M, data.R_delta, bias_loss=bias, width_loss=width_part,
                    data_loss=of_data, rates=np.diagonal(weights.gradients[0], -1).copy())

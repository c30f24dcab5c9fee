"""Dynamical mean-field theory of deep linear networks in training (Bordelon & Pehlevan 2025), solved causally in one pass.

The network is ``f(x) = w' [W_{L-1} ... W_1] W_0 x / (gamma_0 N)`` with Gaussian weights of variance one, ``L`` hidden layers of
width ``N``, branches ``beta W / sqrt(N)`` and, if asked for, skip connections. Inputs have independent components of variance
``lambda_k``, the target is ``sum_k w*_k x_k`` plus noise, the learning rate is ``eta gamma_0^2 N``. All sizes are large and their
ratios matter; every number here is deterministic. ``T``: recorded times, one more than updates; ``K``: distinct modes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._data import _Data
from ._rows import _answer, _correlate, _mirror, _resolvent, _sandwich, _times_lower
from ._weights import _Weights
from .averages import averaged_losses
from .estimates import check_memory, memory_needed
from .optimizers import Optimizer
from .solution import Solution, _arguments
from .spectrum import Spectrum

__all__ = ["solve_dmft"]

#: Rows from FIRST on are solved WINDOW at a time, each to a share TOLERANCE of the largest entries.
FIRST, WINDOW, TOLERANCE = 224, 24, 1e-12


def solve_dmft(spectrum: Spectrum, *, n_steps: int, n_hidden: int, width: float | ArrayLike = np.inf, gamma0: float,
               learning_rate: float | ArrayLike | None = None, optimizer: Optimizer | None = None,
               n_samples: float | None = None, batch_size: float | ArrayLike | None = None, sampling: str | None = None,
               noise: float = 0.0, skip: bool = False, branch_scale: float | ArrayLike = 1.0,
               initial_scale: float | ArrayLike = 1.0, centered: bool = False, batch_fourth_moment: bool = False) -> Solution:
    """Loss and order parameters of a wide network in training, at every step, from the mean-field equations.

    Parameters
    ----------
    spectrum : Spectrum
        The data: `isotropic`, `power_law` or your own, `Spectrum.from_data`. Time and memory grow with the number of distinct
        modes: 784 of them take a hundred times as long as a few. `Spectrum.binned` puts similar ones together.
    n_steps : int
        Updates, 0 or more. Losses have ``T = n_steps + 1`` entries; entry 0 is before any update.
    n_hidden : int
        Hidden layers, L (so ``L + 1`` weight matrices).
    width : float or array_like, shape (L,)
        Neurons in a hidden layer, any positive number; infinite by default. Or of each hidden layer; the raw learning rate and
        ``gamma0`` then belong to the last.
    gamma0 : float
        Richness, positive. Small is lazy. A fixed value at all widths is the mean-field (µP) scaling; ``gamma / sqrt(width)``
        is the NTK scaling.
    learning_rate : float or array_like, shape (n_steps,)
        ``eta``, positive; the raw rate is ``eta gamma0^2 width``. Or one an update, such as a `schedule`.
    optimizer : Optimizer, optional
        Momentum, decay, rates of layers, averages and more, instead of a learning rate.
    n_samples : float, optional
        Full batch of so many samples.
    batch_size : float, optional
        Fresh batch of so many samples at every step. With neither, the gradient of the population loss.
    sampling : 'cycle', 'shuffle' or 'replace', optional
        Batches of ``batch_size`` of the ``n_samples``: the same ones in turn (``batch_size`` may list their sizes), cut anew
        every epoch, or drawn at every step.
    noise : float
        Standard deviation of the label noise.
    skip : bool
        Residual connections, ``h_{l+1} = h_l + beta W h_l / sqrt(N)``.
    branch_scale : float or array_like, shape (L - 1,)
        ``beta``, with any ``1 / sqrt(L)`` already inside; or of each matrix between hidden layers.
    initial_scale : float or array_like, shape (L + 1,)
        Standard deviation of the weights at the start, of all matrices or each.
    centered : bool
        Subtract the map of the start from the network, ``f(x) - f_0(x)``.
    batch_fourth_moment : bool
        Add ``(lambda_k v_k)^2 / batch_size`` to the noise of fresh batches along each mode. It vanishes in the limit of large
        sizes, but not where a few modes carry the loss; count modes one by one then (multiplicities are real numbers of modes).

    Returns
    -------
    Solution
        Of several outputs (``spectrum.target`` of Gram matrices) losses are sums, and rows of order parameters are pairs of a
        time and an output, the output fastest. If the Gram matrices of all modes share their eigenvectors, outputs along these
        do not interact: they are solved one by one, and ``outputs`` holds their solutions instead of order parameters.

    Raises
    ------
    ValueError
        Arguments out of range, both ``learning_rate`` and ``optimizer``, both ``n_samples`` and ``batch_size`` without
        ``sampling``, skips between unequal widths, more memory than is free (see `memory_needed`).

    Notes
    -----
    With the fields eliminated below and above each layer, row t of every matrix follows from rows before t, backwards through
    the layers, through the data, and forwards. Cost ``O((L + K) T^3)``, for C outputs that interact ``C^3`` times as much. Of one
    output, without repeated batches or clipping, from row 224 on a window of 24 rows is extrapolated and
    swept over, because products of two matrices take less time a row than those of a vector and a matrix. After a sweep the
    window moves on by the rows that have settled, to 1e-12 of the largest entries: the more, the smaller the learning rate
    times the kernel. Where these are two or fewer, or a guess fails, rows are solved one by one for a while. Above the edge of
    stability losses are infinite from the step at which the train loss exceeds 1000 times its start. Close to it finite networks
    may stay far below the theory, the more so the fewer modes carry the target: compare with `simulate` there. Source: derived
    from Bordelon & Pehlevan 2025; see the page on the derivation.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, solve_dmft
    >>> solution = solve_dmft(isotropic(1), n_steps=29, n_hidden=2, width=1.0, gamma0=1.0, learning_rate=0.05, n_samples=2.0)
    >>> solution
    Solution(theory, 30 times, 2 hidden layers, width=1, n_samples=2, test loss 0.175 at the end)
    """
    parameters, optimizer = _arguments(
        spectrum, n_steps=n_steps, n_hidden=n_hidden, width=width, gamma0=gamma0, learning_rate=learning_rate,
        optimizer=optimizer, n_samples=n_samples, batch_size=batch_size, sampling=sampling, noise=noise, skip=skip,
        branch_scale=branch_scale, initial_scale=initial_scale, centered=centered, batch_fourth_moment=batch_fourth_moment)
    apart = None if optimizer.clip or optimizer.normalise else _independent(spectrum)
    if apart is None:
        return _solve(spectrum, parameters, optimizer)
    solved = {}
    for target in apart:                                   # outputs of equal power have equal losses
        if target.tobytes() not in solved:
            one = Spectrum(spectrum.eigenvalues, target, spectrum.multiplicity)
            solved[target.tobytes()] = _solve(one, parameters, optimizer)
    return _together(spectrum, parameters, tuple(solved[target.tobytes()] for target in apart))


def _solve(spectrum, parameters, optimizer) -> Solution:
    """One system of equations: of one output, or of several that interact."""
    T, C = parameters["n_steps"] + 1, spectrum.n_outputs
    check_memory(memory_needed(parameters["n_steps"], parameters["n_hidden"], len(spectrum.eigenvalues), parameters["skip"],
                               n_outputs=C), parameters["n_steps"])
    memory = optimizer.memory(parameters["n_steps"], parameters["n_hidden"])
    weights = _Weights(parameters, optimizer, C, memory=memory)
    layers = _Layers(_Data(spectrum, parameters, weights), weights, parameters)
    end = _solve_rows(T, layers.sweep, layers.unknown, layers.clear, C, layers.alone)
    layers.finish(end * C)
    return layers.solution(averaged_losses(layers, memory, end) if memory.average else {})


def _independent(spectrum: Spectrum) -> NDArray[np.float64] | None:
    """Powers (C, K) along the eigenvectors that the Gram matrices of all modes share; None of one output or if they do not."""
    gram = spectrum.target
    if gram.ndim == 1:
        return None
    mixed = np.tensordot(np.cos(np.arange(len(gram))) + 2, gram / max(np.abs(gram).max(), 1e-300), 1)
    turn = np.linalg.eigh(mixed)[1]
    turned = turn.T @ gram @ turn
    powers = np.diagonal(turned, axis1=1, axis2=2)
    apart = turned - powers[:, :, None] * np.eye(len(turn))
    return np.maximum(powers.T, 0.0) if np.abs(apart).max() <= 1e-12 * np.abs(gram).max() else None


def _together(spectrum, parameters, outputs) -> Solution:
    """The losses of several outputs that do not interact."""
    names = ("train_loss", "test_loss", "excess_loss", "mode_loss", "average_train_loss", "average_test_loss", "bias_loss",
             "width_loss", "data_loss")
    sums: dict[str, Any] = {name: None if getattr(outputs[0], name) is None else
                            np.sum([getattr(output, name) for output in outputs], axis=0)
            for name in names}
    return Solution(**sums, spectrum=spectrum, parameters=parameters, outputs=outputs, rates=outputs[0].rates)


# --- one sweep over the layers --------------------------------------------------------------------------------------

class _Sum:
    """Sums of the rows of a matrix before each of some rows; those of final rows are kept."""

    def __init__(self, matrix):
        self.matrix, self.total, self.end = matrix, np.zeros(len(matrix)), 0

    def before(self, rows):
        self.total += self.matrix[self.end:rows.start].sum(0)
        self.end, block = rows.start, self.matrix[rows, :rows.stop]
        return self.total[:rows.stop] + np.cumsum(block, axis=0) - block


class _Layers:
    """All matrices of the hidden layers, layer l at index l - 1, and their rows. Names as on the page on the derivation."""

    def __init__(self, data, weights, parameters):
        self.C, L, self.skip = weights.n_outputs, parameters["n_hidden"], parameters["skip"]
        n = (parameters["n_steps"] + 1) * self.C
        self.data, self.weights = data, weights
        # h = a + Q_h g from below, g = b + Q_g h from above, a and b independent; so h = R_h a + S_h b and g = R_g b + S_g a.
        self.state = np.zeros((15 if self.skip else 9, L, n, n))
        self.Q_h, self.Q_g, self.C_a, self.C_b, self.R_h, self.R_g, self.S_h, self.S_g, self.C_g = self.state[:9]
        self.C_h = np.zeros((L + 1, n, n))                 # entry 0: the inputs, so layer l at index l
        # What one matrix contributes to Q_h and Q_g; without skips it is all there is.
        self.A_h, self.A_g = (self.state[9], self.state[10]) if self.skip else (self.Q_h, self.Q_g)
        # E_h = (1 - Q_h A_g)^-1 and E_g = (1 - Q_g A_h)^-1; C_ar of a + beta Q_h r and C_bu of b + beta Q_g u.
        self.E_h, self.E_g, self.C_ar, self.C_bu = self.state[11:] if self.skip else 4 * (np.empty((0, n, n)),)
        # The last weights at the start, of each output; what is left of them drives g, R_g times this.
        d = weights.start[-1]
        self.drawn = np.kron(np.ones(n // self.C) if d is None else d[::self.C], np.eye(self.C)).T
        self.top = np.zeros((n, self.C))
        self.output()
        self.sum_S, self.sum_R = _Sum(self.S_h[-1]), _Sum(self.R_h[-1])
        # What a sweep takes from its own rows, if there are several; and whether it is symmetric.
        self.unknown = [(self.R_h, False), (self.S_h, False), (data.R_delta, False), (self.C_a, True), (data.C_delta, True)]
        self.unknown += [(self.A_h, False), (self.C_h, True)] if self.skip else []
        self.implicit = False                              # whether memories have a diagonal: see `long_runs`
        #: Whether every row is solved by itself: windows are for one output, smooth rules and noise without a memory of its own.
        self.alone = self.C > 1 or weights.changes or data.again is not None or data.fourth is not None

    def output(self):
        """The last weights: ``Q_g = gamma0 k``, ``C_b = d d'`` in the last layer."""
        self.Q_g[-1], self.C_b[-1] = self.weights.pull[-1], self.drawn @ self.drawn.T

    def clear(self, rows):
        """Forget some rows, and the columns with them."""
        for matrix in (self.state, self.C_h, *self.data.matrices):
            matrix[..., rows, :], matrix[..., rows] = 0.0, 0.0
        self.output()

    def finish(self, end):
        """The last correlation, for which no row waits, of all rows before ``end``."""
        if not self.weights.changes:
            _correlate(slice(0, end), self.R_h[-1], self.C_a[-1], self.S_h[-1], self.C_b[-1], self.C_h[-1])

    def sweep(self, rows) -> bool:
        """These rows of everything from all rows before, and of several rows from `unknown`; False if the loss diverges."""
        self.down(rows)
        if not self.data.errors(rows, self.S_g[0], self.C_g[0]):
            return False
        self.up(rows)
        if self.weights.changes:
            _correlate(rows, self.R_h[-1], self.C_a[-1], self.S_h[-1], self.C_b[-1], self.C_h[-1])
            self.weights.cut(rows.start // self.C, self.C_g, self.C_h)
            self.Q_g[-1][:, rows] = self.weights.pull[-1][:, rows]
        return True

    def solution(self, averages) -> Solution:
        """Everything that was solved."""
        data, C = self.data, self.C
        bias, width, of_data = data.parts()
        return Solution(data.train, data.test, data.test - C * data.noise2, data.spectrum, data.parameters, data.mode_loss,
                        self.C_h, self.C_g, self.S_h, self.S_g, data.M, data.R_delta, bias_loss=bias, width_loss=width,
                        data_loss=of_data, rates=np.diagonal(self.weights.gradients[0], -C)[::C].copy(), **averages)

    def down(self, rows):
        """Backwards through the layers: the fields that carry errors down."""
        Q_h, Q_g, C_a, C_b, R_h, R_g = self.Q_h, self.Q_g, self.C_a, self.C_b, self.R_h, self.R_g
        S_h, S_g, C_g, C_h, A_h, A_g = self.S_h, self.S_g, self.C_g, self.C_h, self.A_h, self.A_g
        weights, now, t = self.weights, slice(rows.stop), np.arange(rows.start, rows.stop)
        for i in reversed(range(len(Q_g))):
            last = i == len(Q_g) - 1
            if last and weights.rate is not None:                # Q_g = eta gamma0 Theta: products are sums of earlier rows
                R_g[i, rows, now] = weights.rate * self.sum_S.before(rows)
                S_g[i, rows, now] = weights.rate * self.sum_R.before(rows)
                R_g[i, t, t] += 1.0
            else:
                _answer(rows, Q_g[i], Q_h[i], R_h[i], S_h[i], R_g[i], S_g[i], self.implicit)
            if last:                                       # C_b = d d', of each output by itself
                self.top[rows] = R_g[i, rows, now].sum(1, keepdims=True) if weights.rate is not None else \
                    R_g[i, rows, now] @ self.drawn[now]
                block = self.top[rows] @ self.top[now].T + _sandwich(S_g[i], C_a[i], rows)
                _mirror(C_g[i], rows, block)
            else:
                block = _correlate(rows, R_g[i], C_b[i], S_g[i], C_a[i], C_g[i])
            if i == 0:
                return
            # Matrix i, between this layer and the one below: A_g = beta^2 (d d' o S_g + gamma0 k o C_g)
            A_g[i - 1, rows, now] = weights.down[i] * (weights.drawn(i, rows, S_g[i, rows, now])
                                                       + weights.pull[i][rows, now] * block)
            below = weights.down[i] * weights.drawn(i, rows, block)
            if self.skip:
                _resolvent(self.E_g[i], rows, _times_lower(Q_g[i, rows, now], A_h[i, now, now]))
                Q_g[i - 1, rows, now] = _times_lower(self.E_g[i, rows, now], Q_g[i, now, now]) + A_g[i - 1, rows, now]
                inside = weights.drawn(i, now, C_h[i, now, now])
                _mirror(self.C_bu[i], rows, C_b[i, rows, now] + weights.up[i] * _sandwich(Q_g[i], inside, rows))
                below = below + _sandwich(self.E_g[i], self.C_bu[i], rows)
            _mirror(C_b[i - 1], rows, below)

    def up(self, rows):
        """Forwards: the fields that carry the signal up. Nothing waits for the correlation of the last."""
        Q_h, Q_g, C_a, C_b, R_h, R_g = self.Q_h, self.Q_g, self.C_a, self.C_b, self.R_h, self.R_g
        S_h, S_g, C_h, C_g, A_h, A_g = self.S_h, self.S_g, self.C_h, self.C_g, self.A_h, self.A_g
        weights, now = self.weights, slice(rows.stop)
        Q_h[0, rows, now] = self.data.signal(rows, C_h[0])
        _mirror(C_a[0], rows, weights.drawn(0, rows, C_h[0, rows, now]))
        for i in range(len(Q_h)):
            _answer(rows, Q_h[i], Q_g[i], R_g[i], S_g[i], R_h[i], S_h[i], self.implicit)
            if i == len(Q_h) - 1:
                return
            block = _correlate(rows, R_h[i], C_a[i], S_h[i], C_b[i], C_h[i + 1])
            j = i + 1                                      # of the matrix between this layer and the one above
            A_h[j, rows, now] = weights.up[j] * (weights.drawn(j, rows, S_h[i, rows, now])
                                                 + weights.pull[j][rows, now] * block)
            above = weights.up[j] * weights.drawn(j, rows, block)
            if self.skip:
                _resolvent(self.E_h[i], rows, _times_lower(Q_h[i, rows, now], A_g[i, now, now]))
                Q_h[j, rows, now] = _times_lower(self.E_h[i, rows, now], Q_h[i, now, now]) + A_h[j, rows, now]
                inside = weights.drawn(j, now, C_g[j, now, now])
                _mirror(self.C_ar[i], rows, C_a[i, rows, now] + weights.up[j] * _sandwich(Q_h[i], inside, rows))
                above = above + _sandwich(self.E_h[i], self.C_ar[i], rows)
            _mirror(C_a[j], rows, above)


# --- rows one by one, or in windows ---------------------------------------------------------------------------------

def _solve_rows(T: int, sweep: Callable[[slice], bool], unknown: list[tuple[np.ndarray, bool]],
                clear: Callable[[slice], None], n_outputs: int = 1, each_alone: bool = False) -> int:
    """Sweep over the rows of T times in order; how many there are before the loss diverges, so T if it does not.

    ``sweep(rows)`` fills rows from all before and says whether the loss is finite. Of several rows at once it takes their own
    entries of ``unknown`` (matrix, symmetric or not) as they stand; ``clear(rows)`` forgets a window that was guessed badly.
    """
    t, alone, guessed, slow = 0, T if each_alone else FIRST, 0, 0          # rows before `alone` are solved one at a time
    while t < T:
        if t < alone:
            if not sweep(slice(t * n_outputs, (t + 1) * n_outputs)):
                break
            t += 1
            continue
        with np.errstate(all="ignore"):
            if guessed < min(t + WINDOW - 2, T):
                new = slice(max(guessed, t), min(t + WINDOW, T))
                # Rows before t are final; of the window that was swept, the first three quarters serve as well to guess from.
                _extrapolate(unknown, new, min(t + 3 * WINDOW // 4, new.start))
                guessed = new.stop
            change = _change(sweep, unknown, slice(t, guessed))
            # At the edge of stability nothing can be guessed; with large steps sweeps settle too few rows to be worth it.
            if not np.max(change) < 0.01 or slow > 5:
                alone, slow = t + 4 * WINDOW, 0
                clear(slice(t, guessed))
                continue
        # The first row follows from final ones alone, so that one sweep always makes it final.
        settled = max(1, int(np.argmax(np.append(change, 1.0) > TOLERANCE)))
        slow = 0 if settled > 2 else slow + 1
        t += settled
    return t


def _change(sweep, unknown, rows) -> np.ndarray:
    """Sweep over several rows; by what share of the largest entries ``unknown`` moves in each of them, infinite on divergence."""
    now, moved = slice(rows.stop), [matrix[..., rows, :rows.stop].copy() for matrix, _ in unknown]
    try:
        finite = sweep(rows)
    except np.linalg.LinAlgError:                          # a bad guess may have no resolvent
        finite = False
    if not finite:
        return np.full(rows.stop - rows.start, np.inf)
    shares = []
    for (matrix, _), change in zip(unknown, moved):
        change -= matrix[..., rows, now]
        change[..., rows] *= np.tri(rows.stop - rows.start)                # what a row takes from later ones is theirs
        share = np.abs(change, out=change).max(-1) / np.abs(matrix[..., :rows.start:WINDOW, :]).max()      # of some rows
        shares.append(share if share.ndim == 1 else share.max(0))
    return np.max(shares, axis=0)


def _extrapolate(matrices, rows, known):
    """Guess rows from those before `known`: by polynomials along the columns of early times, along the diagonals of late ones."""
    t, nodes = np.arange(rows.start, rows.stop), known - 1 - max(3, known // 50) * np.arange(8)
    # Lagrange: x(t) = sum_j x(t_j) prod_{m != j} (t - t_m) / (t_j - t_m)
    others = ~np.eye(8, dtype=bool)
    weights = np.prod((t[:, None, None] - nodes) / np.where(others, nodes[:, None] - nodes, 1), axis=2, where=others)
    for matrix, symmetric in matrices:
        matrix[..., rows, :known] = weights @ matrix[..., nodes, :known]
        # Responses soon depend on the lag alone. Correlations remember the start for longer.
        lags = np.arange(rows.stop - int((0.65 if symmetric else 0.45) * nodes[-1]))
        matrix[..., t[:, None], t[:, None] - lags] = weights @ matrix[..., nodes[:, None], nodes[:, None] - lags]
        if symmetric:
            inside = np.tril(matrix[..., rows, rows])
            matrix[..., rows, rows] = inside + np.swapaxes(np.tril(inside, -1), -1, -2)
            matrix[..., :rows.start, rows] = np.swapaxes(matrix[..., rows, :rows.start], -1, -2)

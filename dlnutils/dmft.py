"""Dynamical mean-field theory of deep linear networks in training (Bordelon & Pehlevan 2025), solved causally in one pass.

The network is ``f(x) = w' [W_{L-1} ... W_1] W_0 x / (gamma_0 N)`` with Gaussian weights of variance one, ``L`` hidden layers of
width ``N``, branches ``beta W / sqrt(N)`` and, if asked for, skip connections. Inputs have independent components of variance
``lambda_k``, the target is ``sum_k w*_k x_k`` plus noise, the learning rate is ``eta gamma_0^2 N``. All sizes are large and their
ratios matter; every number here is deterministic. ``T``: recorded times, ``K``: distinct modes.
"""

from __future__ import annotations

import json
import numbers
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from scipy.interpolate import BarycentricInterpolator

from ._validation import free_memory, integer, real
from .sweep import read_arrays, write_arrays

#: Training has diverged when the train loss exceeds its start by this factor; from there on losses are infinite.
CEILING = 1000.0


# --- the data -------------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Spectrum:
    """Variances of the inputs and the target along them.

    Parameters
    ----------
    eigenvalues : array_like, shape (K,)
        Variance of the inputs along a mode, at least 0.
    target : array_like, shape (K,)
        Squared coefficient of the target along a mode (of each mode, where several are alike).
    multiplicity : array_like, shape (K,), optional
        How many modes are alike; 1 by default.

    Raises
    ------
    ValueError
        Shapes that differ, negative entries, a multiplicity below 0 or no mode.

    Examples
    --------
    >>> Spectrum([1.0, 0.1], [1.0, 1.0])
    Spectrum(2 modes, target power 1.1)
    """

    eigenvalues: np.ndarray
    target: np.ndarray
    multiplicity: np.ndarray = None

    def __post_init__(self):
        eigenvalues = np.atleast_1d(real("eigenvalues", self.eigenvalues, at_least=0.0))
        target = np.atleast_1d(real("target", self.target, at_least=0.0))
        count = np.ones_like(eigenvalues) if self.multiplicity is None else self.multiplicity
        count = np.atleast_1d(real("multiplicity", count, above=0.0))
        for name, value in (("eigenvalues", eigenvalues), ("target", target), ("multiplicity", count)):
            if value.shape != eigenvalues.shape or value.ndim != 1 or not len(value):
                raise ValueError(f"{name} must be one-dimensional, as long as eigenvalues and not empty, got shape {value.shape}")
            object.__setattr__(self, name, value)

    @property
    def power(self) -> float:
        """Loss of a network that answers 0, without noise."""
        return float(np.sum(self.multiplicity * self.target * self.eigenvalues))

    @property
    def n_inputs(self) -> float:
        """Dimension of the inputs."""
        return float(np.sum(self.multiplicity))

    def __repr__(self) -> str:
        return f"Spectrum({self.n_inputs:g} modes, target power {self.power:.3g})"


def isotropic(input_dim: float) -> Spectrum:
    """White inputs of the given dimension, and a target of mean square 1.

    Only the ratios of ``input_dim`` to width and samples matter.

    Raises
    ------
    ValueError
        ``input_dim`` not positive.

    Examples
    --------
    >>> isotropic(400)
    Spectrum(400 modes, target power 1)
    """
    input_dim = float(real("input_dim", input_dim, above=0.0))
    return Spectrum([1.0], [1.0 / input_dim], [input_dim])


def power_law(n_modes: int, a: float, b: float, n_exact: int | None = None, ratio: float = 1.1) -> Spectrum:
    """Inputs with variances ``k^-a`` and a target whose power along mode ``k`` is ``k^(-a b - 1)``.

    Parameters
    ----------
    n_modes : int
        Any number with bins, such as ``10**14``; without, what fits into memory.
    a : float
        Capacity exponent, above 1 for a finite total variance; positive.
    b : float
        Source exponent of the task, positive; larger is easier.
    n_exact : int, optional
        Modes kept one by one; those beyond go into bins. By default every mode is kept.
    ratio : float
        Of the edges of a bin, above 1.

    Raises
    ------
    ValueError
        Exponents not positive, ``ratio`` not above 1.

    Notes
    -----
    A bin keeps the number of its modes, the power of the target in it and the mean variance with the target's weights. At
    infinite width that is all that matters; at finite width the random initial function sees it too, and easy tasks need finer
    bins (``n_exact=40, ratio=1.05``).
    Source: Bordelon & Pehlevan 2025, power-law data.

    Examples
    --------
    >>> power_law(1000, 1.5, 0.5)
    Spectrum(1000 modes, target power 1.95)
    >>> len(power_law(1_000_000, 1.5, 0.5, n_exact=20).eigenvalues) < 150
    True
    """
    n_modes = integer("n_modes", n_modes)
    a, b = float(real("a", a, above=0.0)), float(real("b", b, above=0.0))
    ratio = float(real("ratio", ratio, above=1.0))
    n_exact = n_modes if n_exact is None else min(integer("n_exact", n_exact), n_modes)
    edges, start = list(range(1, n_exact + 1)), n_exact + 1
    while start <= n_modes:
        edges.append(start)
        start = max(start + 1, int(np.ceil(start * ratio)))    # a Python integer: 64 bits end at 10^19
    edges.append(n_modes + 1)
    power = _sum_of_powers(a - a * b - 1, edges)
    count = np.array([float(y - x) for x, y in zip(edges, edges[1:])])
    return Spectrum(_sum_of_powers(-a * b - 1, edges) / power, power / count, count)


def _sum_of_powers(exponent, edges):
    """Sums of ``k^exponent`` from each edge up to the next; by the midpoint rule, exact to round-off, for k above a million."""
    exact = sum(edge <= 1_000_001 for edge in edges)
    k = np.arange(1, edges[exact - 1], dtype=float)
    low = np.add.reduceat(k**exponent, np.array(edges[:exact - 1]) - 1) if exact > 1 else []
    x = np.array([float(edge) for edge in edges[exact - 1:]]) - 0.5
    high = np.diff(np.log(x) if exponent == -1 else x**(exponent + 1) / (exponent + 1))
    return np.concatenate([low, high])


# --- the solution ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Solution:
    """Losses and order parameters over time; made by the solvers and simulators of `dmft` and `scaling_laws`.

    Attributes
    ----------
    train_loss, test_loss, excess_loss : ndarray, shape (T,), or (n_networks, T) for several simulated networks
        Mean squared errors; ``test_loss`` has the noise floor, ``excess_loss`` has not. Infinite once diverged.
    mode_loss : ndarray, shape (K, T)
        Contribution of each (group of) modes to the excess loss.
    C_h : ndarray, shape (L + 1, T, T)
        Correlations over time of the forward fields; entry 0 belongs to the inputs.
    C_g : ndarray, shape (L, T, T)
        Correlations of the backward fields of hidden layers 1 to L.
    S_h, S_g : ndarray, shape (L, T, T)
        Responses of the forward field to a change of the backward one, and the other way round.
    M : ndarray, shape (T, T)
        Memory kernel: the map at t is the random initial one plus ``sum_s M(t, s) h_0(s)``.
    R_delta : ndarray, shape (T, T)
        Response of the errors on the training set.
    spectrum : Spectrum
    parameters : dict
        The arguments of the call.
    times : ndarray, shape (T,)
        Of gradient flow; None for discrete steps.
    iterations : ndarray of int, shape (T,)
        Of a solver that iterates, at each time; None of the others.
    residual : ndarray, shape (T,)
        Relative change in the last iteration.
    """

    train_loss: np.ndarray
    test_loss: np.ndarray
    excess_loss: np.ndarray
    spectrum: Spectrum
    parameters: dict
    mode_loss: np.ndarray | None = None
    C_h: np.ndarray | None = field(default=None, repr=False)
    C_g: np.ndarray | None = field(default=None, repr=False)
    S_h: np.ndarray | None = field(default=None, repr=False)
    S_g: np.ndarray | None = field(default=None, repr=False)
    M: np.ndarray | None = field(default=None, repr=False)
    R_delta: np.ndarray | None = field(default=None, repr=False)
    times: np.ndarray | None = field(default=None, repr=False)
    iterations: np.ndarray | None = field(default=None, repr=False)
    residual: np.ndarray | None = field(default=None, repr=False)

    @property
    def kernel(self) -> np.ndarray:
        """Mean tangent kernel at each update, ``M(t + 1, t) / learning_rate``, shape (T - 1,): how fast the map moves."""
        if self.M is None or self.times is not None:
            raise ValueError("kernel is an order parameter of discrete steps, and a simulation or a flow keeps none: ask the "
                             "solution of solve_dmft")
        return np.diagonal(self.M, -1) / self.parameters["learning_rate"]

    @property
    def diverged(self) -> bool:
        """Whether the train loss exceeded 1000 times its start (in any network)."""
        return not bool(np.isfinite(self.train_loss).all())

    @property
    def converged(self) -> bool:
        """Whether a solver that iterates met its tolerance at every time; true of solvers that do not iterate."""
        return self.residual is None or bool((self.residual < self.parameters["tolerance"]).all())

    def save(self, path) -> None:
        """Write everything to an ``.npz`` file without pickles; atomically."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("spectrum", "parameters")}
        spectrum = {f"spectrum_{f.name}": getattr(self.spectrum, f.name) for f in fields(Spectrum)}
        write_arrays(Path(path), {name: array for name, array in arrays.items() if array is not None} | spectrum
                     | {"parameters": json.dumps(self.parameters)})

    @classmethod
    def load(cls, path) -> Solution:
        """Read what `save` wrote."""
        stored = read_arrays(Path(path))
        if not {"train_loss", "parameters", "spectrum_eigenvalues"} <= set(stored):
            raise ValueError(f"path must be a file that Solution.save wrote, got {path} with {sorted(stored)}")
        spectrum = Spectrum(*(stored.pop(f"spectrum_{f.name}") for f in fields(Spectrum)))
        parameters = json.loads(str(stored.pop("parameters")))
        return cls(**stored, spectrum=spectrum, parameters=parameters)

    def __repr__(self) -> str:
        p, kind = self.parameters, "simulation" if self.M is None else "theory"
        end = "diverged" if self.diverged else f"test loss {np.mean(self.test_loss[..., -1]):.3g} at the end"
        if self.times is not None:
            width = "infinite width" if p["width"] == np.inf else f"width={p['width']:g}"
            return (f"Solution({'simulation' if p['width'] < np.inf else 'theory'}, {p['n_steps']} times up to "
                    f"{self.times[-1]:g}, {p['n_hidden']} hidden layers, {width}, {end}"
                    f"{'' if self.converged else ', NOT CONVERGED'})")
        data = (f"n_samples={p['n_samples']:g}" if p["n_samples"] else
                f"batch_size={p['batch_size']:g}" if p["batch_size"] else "population gradient")
        layers = "infinitely many" if p["n_hidden"] == np.inf else p["n_hidden"]
        return (f"Solution({kind}, {p['n_steps']} times, {layers} hidden layers{', residual' * p['skip']}, "
                f"width={p['width']:g}, {data}, {end})")


def _arguments(spectrum, n_steps, n_hidden, width, gamma0, learning_rate, n_samples, batch_size, noise, skip,
               branch_scale) -> dict:
    if not isinstance(spectrum, Spectrum):
        raise ValueError(f"spectrum must be a Spectrum, got {spectrum!r}: see dmft.isotropic and dmft.power_law")
    if n_samples is not None and batch_size is not None:
        raise ValueError(f"n_samples and batch_size exclude each other, got {n_samples} and {batch_size}: give n_samples for "
                         "a full batch, batch_size for fresh data at every step, neither for the population gradient")

    def count(name, value):
        return None if value is None else float(real(name, value, above=0.0))
    infinite = isinstance(width, numbers.Real) and width == np.inf
    return {"n_steps": integer("n_steps", n_steps), "n_hidden": integer("n_hidden", n_hidden),
            "width": np.inf if infinite else float(real("width", width, above=0.0)),
            "gamma0": float(real("gamma0", gamma0, above=0.0)),
            "learning_rate": float(real("learning_rate", learning_rate, above=0.0)),
            "n_samples": count("n_samples", n_samples), "batch_size": count("batch_size", batch_size),
            "noise": float(real("noise", noise, at_least=0.0)), "skip": bool(skip),
            "branch_scale": float(real("branch_scale", branch_scale, at_least=0.0))}


def memory_needed(n_steps: int, n_hidden: int, n_modes: int = 1, skip: bool = False) -> int:
    """Bytes that `solve_dmft` takes: ``T x T`` matrices, 10 a hidden layer (16 with skips), 4 a distinct mode and 10 more.

    Examples
    --------
    >>> memory_needed(200, 3) / 1e6
    14.08
    """
    return 8 * n_steps**2 * (n_hidden * (16 if skip else 10) + 4 * n_modes + 10)


def check_memory(needed: int, size: int, name: str = "n_steps") -> None:
    """Refuse what needs more bytes than are free."""
    free = free_memory()
    if needed > free:
        raise ValueError(f"{name} = {size} needs {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are free: lower it, or put "
                         "the modes of the spectrum into bins")


# --- the causal solver ----------------------------------------------------------------------------------------------
# Matrices over two times are filled row by row, or several rows at once: ``rows`` is their slice, all before it is final.

#: Rows from FIRST on are solved WINDOW at a time, each to a share TOLERANCE of the largest entries.
FIRST, WINDOW, TOLERANCE = 224, 24, 1e-12


def _mirror(C, rows, block):
    """Rows of a symmetric matrix up to the end of their block, and with them the columns."""
    C[..., rows, :rows.stop] = block
    C[..., :rows.stop, rows] = block.swapaxes(-1, -2)


def _panels(n):
    """Cuts of a triangular matrix, so that products leave out most of its zeros."""
    edges = range(0, n, -(-n // 3))
    return zip(edges, [*edges[1:], n])


def _times_lower(Y, Z, out=None):
    """``Y Z`` for a causal, that is lower triangular, Z."""
    n = Z.shape[-1]
    if n <= 128:
        return np.matmul(Y, Z, out=out)
    if out is None:
        out = np.empty(np.broadcast_shapes(Y.shape[:-2], Z.shape[:-2]) + Y.shape[-2:])
    for k, end in _panels(n):
        np.matmul(Y[..., k:], Z[..., k:, k:end], out=out[..., k:end])
    return out


def _resolvent(H, rows, X):
    """Rows of ``H = 1 + X H`` for a causal X whose rows are given."""
    past, inside = slice(rows.start), X[..., rows]
    size = rows.stop - rows.start
    inside = 1 / (1 - inside) if size == 1 else np.tril(np.linalg.inv(np.eye(size) - inside))
    np.matmul(inside, _times_lower(X[..., past], H[..., past, past]), out=H[..., rows, past])
    H[..., rows, rows] = inside


def _sandwich(H, C, rows):
    """Rows of ``H C H'`` for a causal H and a symmetric C."""
    n = rows.stop
    half = H[..., rows, :n] @ C[..., :n, :n]
    if n <= 128:
        return half @ H[..., :n, :n].swapaxes(-1, -2)
    block = np.empty_like(half)
    for k, end in _panels(n):
        np.matmul(half[..., :end], H[..., k:end, :end].swapaxes(-1, -2), out=block[..., k:end])
    return block


def _correlate(rows, H, C_a, S, C_b, C):
    """Rows of the correlation C of a field ``H a + S b``, a and b independent; returns them."""
    block = _sandwich(H, C_a, rows)
    block += _sandwich(S, C_b, rows)
    _mirror(C, rows, block)
    return block


def _field(rows, P, C_a, Q, C_b, H, S, C):
    """Rows of all of the field ``h = a + P (b + Q h) = H a + S b`` in one layer; returns those of its correlation."""
    now = slice(rows.stop)
    _resolvent(H, rows, _times_lower(P[rows, now], Q[now, now]))
    _times_lower(H[rows, now], P[now, now], out=S[rows, now])
    return _correlate(rows, H, C_a, S, C_b, C)


class _Sum:
    """Sums of the rows of a matrix before each of some rows; those of final rows are kept."""

    def __init__(self, X):
        self.X, self.total, self.end = X, np.zeros(len(X)), 0

    def before(self, rows):
        self.total += self.X[self.end:rows.start].sum(0)
        self.end, block = rows.start, self.X[rows, :rows.stop]
        return self.total[:rows.stop] + np.cumsum(block, axis=0) - block


def _extrapolate(matrices, rows, known):
    """Guess rows from those before `known`: by polynomials along the columns of early times, along the diagonals of late ones."""
    t, nodes = np.arange(rows.start, rows.stop), known - 1 - max(3, known // 50) * np.arange(8)
    weights = BarycentricInterpolator(nodes, np.eye(8))(t)
    for X, symmetric in matrices:
        X[..., rows, :known] = weights @ X[..., nodes, :known]
        # Responses soon depend on the lag alone. Correlations remember the start for longer.
        lags = np.arange(rows.stop - int((0.65 if symmetric else 0.45) * nodes[-1]))
        X[..., t[:, None], t[:, None] - lags] = weights @ X[..., nodes[:, None], nodes[:, None] - lags]
        if symmetric:
            inside = np.tril(X[..., rows, rows])
            X[..., rows, rows] = inside + np.swapaxes(np.tril(inside, -1), -1, -2)
            X[..., :rows.start, rows] = np.swapaxes(X[..., rows, :rows.start], -1, -2)


class _Data:
    """What happens between the lowest hidden layer and the data, row by row: the error along each mode, and the signal."""

    def __init__(self, spectrum, parameters):
        T, K = parameters["n_steps"], len(spectrum.eigenvalues)
        self.spectrum, self.parameters = spectrum, parameters
        self.lam, self.target, self.count = (x[:, None, None] for x in (spectrum.eigenvalues, spectrum.target,
                                                                  spectrum.multiplicity))
        self.H, self.E, self.F = (np.zeros((K, T, T)) for _ in range(3))   # resolvents of error and signal, its response
        self.H1, self.F1 = np.zeros((K, T)), np.zeros((K, T))              # the same applied to a constant
        self.forces = np.zeros((K, T, T))                  # correlation of what drives the error: start, and noise of the data
        self.M, self.R, self.C_delta, self.V, self.start = (np.zeros((T, T)) for _ in range(5))
        self.matrices = self.H, self.E, self.F, self.forces, self.M, self.R, self.C_delta, self.V, self.start
        self.causal, self.one = np.tri(T, k=-1), np.eye(T)
        self.test, self.train, self.mode_loss = np.full(T, np.inf), np.full(T, np.inf), np.full((K, T), np.inf)

    def errors(self, rows, S_g, C_g) -> bool:
        """Rows of everything up to the losses; False if they diverge."""
        p, now = self.parameters, slice(rows.stop)
        lam, count, M, R, H = self.lam, self.count, self.M, self.R, self.H
        samples, batch, noise2 = p["n_samples"], p["batch_size"], p["noise"]**2
        M[rows, now] = S_g[rows, now] / p["gamma0"] + p["learning_rate"] * self.causal[rows, now] * C_g[rows, now]
        start = C_g[rows, now] / (p["width"] * p["gamma0"]**2)                         # the random initial function
        driven = 0.0
        _resolvent(H, rows, -lam * _times_lower(M[rows, now], R[now, now]))
        if samples:
            driven = _sandwich(M, self.C_delta, rows) / samples
            R[rows, now] = self.one[rows, now] - (count * (self.one[rows, now] - H[:, rows, now])).sum(0) / samples
        else:
            if batch:
                driven = (M[rows, now] * np.diagonal(self.C_delta)[now]) @ M[now, now].T / batch
            R[rows, rows] = np.eye(rows.stop - rows.start)
        _mirror(self.start, rows, start)
        _mirror(self.forces, rows, start + lam * driven)
        self.H1[:, rows] = H[:, rows, now].sum(2)
        C_v = (self.target * self.H1[:, rows, None] * self.H1[:, None, now]
               + _sandwich(H, self.forces, rows))
        _mirror(self.V, rows, (count * lam * C_v).sum(0) + noise2)
        t = np.arange(rows.start, rows.stop)
        self.mode_loss[:, rows] = (count * lam)[..., 0] * np.maximum(C_v[:, t - rows.start, t], 0)
        if samples:
            _mirror(self.C_delta, rows, _sandwich(R, self.V, rows))
        else:
            self.C_delta[t, t] = self.V[t, t]
        # Round-off may fall below zero.
        self.test[rows], self.train[rows] = np.maximum(self.V[t, t], noise2), np.maximum(self.C_delta[t, t], 0.0)
        if (self.train[rows] <= CEILING * self.train[0]).all():
            return True
        self.test[rows.start:], self.train[rows.start:], self.mode_loss[:, rows.start:] = np.inf, np.inf, np.inf
        return False

    def signal(self, rows, C_h0) -> np.ndarray:
        """Rows of the correlation of the input fields, into ``C_h0``; returns those of the first layer's own response."""
        p, now = self.parameters, slice(rows.stop)
        lam, count, E, F = self.lam, self.count, self.E, self.F
        F[:, rows, now] = lam * _times_lower(self.R[rows, now], self.H[:, now, now])
        E[:, rows, now] = self.one[rows, now] - _times_lower(F[:, rows, now], self.M[now, now])
        self.F1[:, rows] = F[:, rows, now].sum(2)
        block = (count * (self.target * self.F1[:, rows, None] * self.F1[:, None, now]
                          + _sandwich(F, self.start, rows))).sum(0)
        if p["n_samples"]:
            block += (count * lam * _sandwich(E, self.C_delta, rows)).sum(0) / p["n_samples"]
        elif p["batch_size"]:
            seen = (E[:, rows, now] * np.diagonal(self.C_delta)[now]) @ np.swapaxes(E[:, now, now], 1, 2)
            block += (count * lam * seen).sum(0) / p["batch_size"]
        _mirror(C_h0, rows, block)
        # The response to the error of the same moment is its diagonal.
        return (p["learning_rate"] * p["gamma0"] * self.causal[rows, now] * block
                - (count * F[:, rows, now]).sum(0) / (p["width"] * p["gamma0"]))

    def solution(self, C_h, C_g, S_h, S_g) -> Solution:
        excess = self.test - self.parameters["noise"]**2
        return Solution(self.train, self.test, excess, self.spectrum, self.parameters, self.mode_loss, C_h, C_g, S_h, S_g,
                        self.M, self.R)


def solve_dmft(spectrum: Spectrum, *, n_steps: int, n_hidden: int, width: float = np.inf, gamma0: float,
               learning_rate: float, n_samples: float | None = None, batch_size: float | None = None, noise: float = 0.0,
               skip: bool = False, branch_scale: float = 1.0) -> Solution:
    """Loss and order parameters of a wide network in training, at every step, from the mean-field equations.

    Parameters
    ----------
    spectrum : Spectrum
        The data: `isotropic`, `power_law` or your own.
    n_steps : int
        Recorded times T; entry 0 is before any update.
    n_hidden : int
        Hidden layers, L (so ``L + 1`` weight matrices).
    width : float
        Neurons in a hidden layer, any positive number; infinite by default.
    gamma0 : float
        Richness, positive. Small is lazy. A fixed value at all widths is the mean-field (µP) scaling; ``gamma / sqrt(width)``
        is the NTK scaling.
    learning_rate : float
        ``eta``, positive; the raw rate is ``eta gamma0^2 width``.
    n_samples : float, optional
        Full batch of so many samples.
    batch_size : float, optional
        Fresh batch of so many samples at every step. With neither, the gradient of the population loss.
    noise : float
        Standard deviation of the label noise.
    skip : bool
        Residual connections, ``h_{l+1} = h_l + beta W h_l / sqrt(N)``.
    branch_scale : float
        ``beta``, with any ``1 / sqrt(L)`` already inside.

    Returns
    -------
    Solution

    Raises
    ------
    ValueError
        Arguments out of range, both ``n_samples`` and ``batch_size``, more memory than is free (see `memory_needed`).

    Notes
    -----
    With the fields eliminated below and above each layer, row t of every matrix follows from rows before t, backwards through
    the layers, through the data, and forwards. Cost ``O((L + K) T^3)``. From row 224 on, a window of 24 rows is extrapolated and
    swept over, because products of two matrices take less time a row than those of a vector and a matrix. After a sweep the
    window moves on by the rows that have settled, to 1e-12 of the largest entries: the more, the smaller the learning rate
    times the kernel. Where these are two or fewer, or a guess fails, rows are solved one by one for a while. Above the edge of
    stability losses are infinite from the step at which the train loss exceeds 1000 times its start. Source: derived from
    Bordelon & Pehlevan 2025; see the page on the derivation.

    Examples
    --------
    >>> solution = solve_dmft(isotropic(1), n_steps=30, n_hidden=2, width=1.0, gamma0=1.0, learning_rate=0.05, n_samples=2.0)
    >>> solution
    Solution(theory, 30 times, 2 hidden layers, width=1, n_samples=2, test loss 0.175 at the end)
    """
    parameters = _arguments(spectrum, n_steps, n_hidden, width, gamma0, learning_rate, n_samples, batch_size, noise, skip,
                            branch_scale)
    T, L, skip = parameters["n_steps"], parameters["n_hidden"], parameters["skip"]
    rate, beta2 = parameters["learning_rate"] * parameters["gamma0"], parameters["branch_scale"]**2
    check_memory(memory_needed(T, L, len(spectrum.eigenvalues), skip), T)
    data = _Data(spectrum, parameters)

    # Layer l at index l - 1. h = a + P g from below, g = b + Q h from above, a and b independent.
    state = np.zeros((15 if skip else 9, L, T, T))
    P, Q, C_a, C_b, H_h, H_g, S_h, S_g, C_g = state[:9]
    C_h = np.zeros((L + 1, T, T))                          # entry 0: the inputs, so layer l at index l
    # What one layer alone contributes to P and Q; reflections between layers.
    A, B, J, N, D, G = state[9:] if skip else (P, Q, None, None, None, None)
    Q[L - 1], C_b[L - 1], top = rate * data.causal, 1.0, np.zeros(T)
    sum_S, sum_H = _Sum(S_h[L - 1]), _Sum(H_h[L - 1])

    def sweep(rows) -> bool:
        """These rows of everything from all rows before, and of several rows from `unknown`; False if the loss diverges."""
        now, strict, t = slice(rows.stop), data.causal[rows, :rows.stop], np.arange(rows.start, rows.stop)
        # Backwards through the layers: the fields that carry errors down. At the top, Q and C_b are those of the output.
        for i in reversed(range(L)):
            if i == L - 1:
                H_g[i, rows, now] = rate * sum_S.before(rows)
                H_g[i, t, t] += 1.0
                S_g[i, rows, now] = rate * sum_H.before(rows)
                top[rows] = H_g[i, rows, now].sum(1)
                block = np.outer(top[rows], top[now]) + _sandwich(S_g[i], C_a[i], rows)
                _mirror(C_g[i], rows, block)
            else:
                _times_lower(Q[i, rows, now], S_h[i, now, now], out=H_g[i, rows, now])
                H_g[i, t, t] += 1.0
                _times_lower(Q[i, rows, now], H_h[i, now, now], out=S_g[i, rows, now])
                block = _correlate(rows, H_g[i], C_b[i], S_g[i], C_a[i], C_g[i])
            if i == 0:
                continue
            B[i - 1, rows, now] = beta2 * (S_g[i, rows, now] + rate * strict * block)
            below = beta2 * block
            if skip:
                _resolvent(J[i], rows, _times_lower(Q[i, rows, now], A[i, now, now]))
                Q[i - 1, rows, now] = _times_lower(J[i, rows, now], Q[i, now, now]) + B[i - 1, rows, now]
                _mirror(D[i], rows, C_b[i, rows, now] + beta2 * _sandwich(Q[i], C_h[i], rows))
                below = below + _sandwich(J[i], D[i], rows)
            _mirror(C_b[i - 1], rows, below)
        if not data.errors(rows, S_g[0], C_g[0]):
            return False
        # Forwards: the fields that carry the signal up. Nothing waits for the correlation of the last.
        P[0, rows, now] = data.signal(rows, C_h[0])
        _mirror(C_a[0], rows, C_h[0, rows, now])
        for i in range(L):
            _times_lower(P[i, rows, now], S_g[i, now, now], out=H_h[i, rows, now])
            H_h[i, t, t] += 1.0
            _times_lower(P[i, rows, now], H_g[i, now, now], out=S_h[i, rows, now])
            if i == L - 1:
                return True
            block = _correlate(rows, H_h[i], C_a[i], S_h[i], C_b[i], C_h[i + 1])
            A[i + 1, rows, now] = beta2 * (S_h[i, rows, now] + rate * strict * block)
            above = beta2 * block
            if skip:
                _resolvent(N[i], rows, _times_lower(P[i, rows, now], B[i, now, now]))
                P[i + 1, rows, now] = _times_lower(N[i, rows, now], P[i, now, now]) + A[i + 1, rows, now]
                _mirror(G[i], rows, C_a[i, rows, now] + beta2 * _sandwich(P[i], C_g[i + 1], rows))
                above = above + _sandwich(N[i], G[i], rows)
            _mirror(C_a[i + 1], rows, above)

    # What a sweep takes from its own rows, if there are several; and whether it is symmetric.
    unknown = [(H_h, False), (S_h, False), (data.R, False), (C_a, True), (data.C_delta, True)]
    unknown += [(A, False), (C_h, True)] if skip else []

    def sweep_window(rows) -> np.ndarray:
        """Sweep over several rows; by what share of the largest entries `unknown` has moved in each of them."""
        now, moved = slice(rows.stop), [X[..., rows, :rows.stop].copy() for X, _ in unknown]
        if not sweep(rows):
            raise np.linalg.LinAlgError
        shares = []
        for (X, _), change in zip(unknown, moved):
            change -= X[..., rows, now]
            change[..., rows] *= np.tri(rows.stop - rows.start)                # what a row takes from later ones is theirs
            share = np.abs(change, out=change).max(-1) / np.abs(X[..., :rows.start:WINDOW, :]).max()           # of some rows
            shares.append(share if share.ndim == 1 else share.max(0))
        return np.max(shares, axis=0)

    t, alone, guessed, slow = 0, FIRST, 0, 0               # rows before `alone` are solved one at a time
    while t < T:
        if t < alone:
            if not sweep(slice(t, t + 1)):
                break
            t += 1
            continue
        with np.errstate(all="ignore"):
            if guessed < min(t + WINDOW - 2, T):
                new = slice(max(guessed, t), min(t + WINDOW, T))
                _extrapolate(unknown, new, min(t + 3 * WINDOW // 4, new.start))      # rows need not be final for that
                guessed = new.stop
            try:
                change = sweep_window(slice(t, guessed))
            except np.linalg.LinAlgError:
                change = np.inf
            # At the edge of stability nothing can be guessed; with large steps sweeps settle too few rows to be worth it.
            if not np.max(change) < 0.01 or slow > 5:
                alone, slow = t + 4 * WINDOW, 0
                for X in (state, C_h, *data.matrices):
                    X[..., t:guessed, :], X[..., t:guessed] = 0.0, 0.0
                Q[L - 1], C_b[L - 1] = rate * data.causal, 1.0
                continue
        # The first row follows from final ones alone, so that one sweep always makes it final.
        settled = max(1, np.argmax(np.append(change, 1.0) > TOLERANCE))
        slow = 0 if settled > 2 else slow + 1
        t += settled
    _correlate(slice(0, t), H_h[-1], C_a[-1], S_h[-1], C_b[-1], C_h[L])
    return data.solution(C_h, C_g, S_h, S_g)


def solve_infinite_depth(spectrum: Spectrum, *, n_steps: int, width: float = np.inf, gamma0: float, learning_rate: float,
                         n_samples: float | None = None, batch_size: float | None = None, noise: float = 0.0,
                         branch_scale: float = 1.0, n_layer_steps: int = 16) -> Solution:
    """The limit of residual networks with ever more hidden layers and branches of scale ``branch_scale / sqrt(L)``.

    Parameters
    ----------
    spectrum, n_steps, width, gamma0, learning_rate, n_samples, batch_size, noise
        As in `solve_dmft`.
    branch_scale : float
        ``beta_0``: here without the ``1 / sqrt(L)``.
    n_layer_steps : int
        Steps of Heun's method from the first layer to the last; the error falls with its square: 2e-4 in the losses for 16 of
        them in the example below. Late ``C_h`` are small remainders of large terms; they need 32 or more.

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
    >>> deep = solve_infinite_depth(isotropic(1), n_steps=20, width=1.0, gamma0=1.0, learning_rate=0.03, n_samples=2.0,
    ...                             n_layer_steps=8)
    >>> deep
    Solution(theory, 20 times, infinitely many hidden layers, residual, width=1, n_samples=2, test loss 0.361 at the end)
    """
    n = integer("n_layer_steps", n_layer_steps)
    parameters = _arguments(spectrum, n_steps, 1, width, gamma0, learning_rate, n_samples, batch_size, noise, True,
                            branch_scale) | {"n_hidden": np.inf, "n_layer_steps": n}
    T, step = parameters["n_steps"], 1 / n
    rate, beta2 = parameters["learning_rate"] * parameters["gamma0"], parameters["branch_scale"]**2
    check_memory(memory_needed(T, n + 1, len(spectrum.eigenvalues)) + 24 * (n + 1) * T**2, T)
    data = _Data(spectrum, parameters)
    # As in solve_dmft, at n + 1 points of layer time; A and B are now densities.
    P, Q, C_a, C_b, H_h, H_g, S_h, S_g, C_h, C_g, A, B = (np.zeros((n + 1, T, T)) for _ in range(12))
    C_h0 = np.zeros((T, T))
    Q[n] = rate * np.tri(T, k=-1)
    C_b[n] = 1.0

    def slope_down(t, i):
        """Close the equations at point i for row t; how the rows of Q and C_b change towards the input."""
        past, now = slice(t), slice(t + 1)
        row = _field(slice(t, t + 1), Q[i], C_b[i], P[i], C_a[i], H_g[i], S_g[i], C_g[i])[0]
        B[i, t, past] = beta2 * (S_g[i, t, past] + rate * row[past])
        through = Q[i, t, past] @ A[i, past, past]
        return (through @ Q[i, past, past] + B[i, t, past],
                through @ C_b[i, past, now] + Q[i, now, past] @ (A[i, past, past] @ C_b[i, t, past])
                + beta2 * (Q[i, now, past] @ (C_h[i, past, past] @ Q[i, t, past]) + row))

    def slope_up(t, i):
        """The same for the rows of P and C_a, towards the output."""
        past, now = slice(t), slice(t + 1)
        row = _field(slice(t, t + 1), P[i], C_a[i], Q[i], C_b[i], H_h[i], S_h[i], C_h[i])[0]
        A[i, t, now] = beta2 * S_h[i, t, now]
        A[i, t, past] += beta2 * rate * row[past]
        through = P[i, t, now] @ B[i, now, past]
        response = A[i, t, now].copy()
        response[past] += through @ P[i, past, past]
        return (response, through @ C_a[i, past, now] + P[i, now, now] @ (B[i, now, past] @ C_a[i, t, past])
                + beta2 * (P[i, now, now] @ (C_g[i, now, now] @ P[i, t, now]) + row))

    def carry(t, slope, X, C, columns, points):
        """Row t of a response X and a correlation C through all of layer time, by Heun's method, corrected twice."""
        now, first = slice(t + 1), slope(t, points[0])
        for i, j in zip(points, points[1:]):
            x, c = X[i, t, columns], C[i, t, now]
            X[j, t, columns] = x + step * first[0]
            _mirror(C[j], slice(t, t + 1), (c + step * first[1])[None])
            for _ in range(2):                             # a second correction costs half as much again and gains four times
                second = slope(t, j)
                X[j, t, columns] = x + step / 2 * (first[0] + second[0])
                _mirror(C[j], slice(t, t + 1), (c + step / 2 * (first[1] + second[1]))[None])
            first = slope(t, j)

    for t in range(T):
        past, now, rows = slice(t), slice(t + 1), slice(t, t + 1)
        carry(t, slope_down, Q, C_b, past, range(n, -1, -1))
        if not data.errors(rows, S_g[0], C_g[0]):
            break
        P[0, rows, now] = data.signal(rows, C_h0)
        _mirror(C_a[0], rows, C_h0[rows, now])
        carry(t, slope_up, P, C_a, now, range(n + 1))
    return data.solution(np.concatenate([C_h0[None], C_h]), C_g, S_h, S_g)


# --- the finite network ---------------------------------------------------------------------------------------------

def simulate(spectrum: Spectrum, *, n_steps: int, n_hidden: int, width: int, gamma0: float, learning_rate: float,
             n_samples: int | None = None, batch_size: int | None = None, noise: float = 0.0, skip: bool = False,
             branch_scale: float = 1.0, rng: np.random.Generator, n_networks: int | None = None) -> Solution:
    """Train finite networks, exactly: what `solve_dmft` describes for large sizes.

    Parameters
    ----------
    spectrum : Spectrum
        With whole multiplicities (no bins are needed for the theory to hold, but the network has one input a mode).
    n_steps, n_hidden, gamma0, learning_rate, noise, skip, branch_scale
        As in `solve_dmft`.
    width, n_samples, batch_size : int
        As in `solve_dmft`, but whole numbers.
    rng : numpy.random.Generator
        Each network gets a spawned one, so that a longer list of networks begins like a shorter one.
    n_networks : int, optional
        Independent draws of weights, target, data and noise; by default a single one.

    Returns
    -------
    Solution
        Losses of shape (n_networks, T), mode losses of shape (n_networks, K, T), without ``n_networks`` as of the theory; no
        order parameters. A network whose train loss exceeds 1000 times its start is infinite from there on.

    Raises
    ------
    ValueError
        Arguments out of range, sizes that are not whole.

    Notes
    -----
    Every update of a weight matrix has rank one, so the matrices stay as they were drawn and the updates are kept as two thin
    matrices: ``2 L - 1`` products of a matrix and a vector each way, and as many thin ones, a step. Targets have random signs.
    Source: gradient descent on half the mean squared error, learning rate ``eta gamma0^2 width``.

    Examples
    --------
    >>> network = simulate(isotropic(50), n_steps=10, n_hidden=2, width=50, gamma0=1.0, learning_rate=0.05, n_samples=100,
    ...                    rng=np.random.default_rng(0), n_networks=2)
    >>> network.test_loss.shape, bool(network.test_loss[0, -1] < network.test_loss[0, 0])
    ((2, 10), True)
    """
    parameters = _arguments(spectrum, n_steps, n_hidden, width, gamma0, learning_rate, n_samples, batch_size, noise, skip,
                            branch_scale)
    for name in ("width", "n_samples", "batch_size"):
        if parameters[name] is not None:
            integer(name, parameters[name])
    for value in spectrum.multiplicity:
        integer("multiplicity", float(value), hint="a simulation has whole inputs")
    networks = 1 if n_networks is None else integer("n_networks", n_networks)
    runs = [_train(spectrum, parameters, child) for child in rng.spawn(networks)]
    train, mode_loss = (np.array(out) if n_networks is not None else out[0] for out in zip(*runs))
    excess = mode_loss.sum(-2)
    return Solution(train, excess + parameters["noise"]**2, excess, spectrum, parameters | {"n_networks": networks}, mode_loss)


class _Matrix:
    """A weight matrix as it was drawn, and the rank-one updates it has received."""

    def __init__(self, start, scale, update, n_steps):
        self.start, self.scale, self.update, self.count = start, scale, update, 0
        self.left, self.right = np.empty((n_steps, len(start))), np.empty((n_steps, start.shape[1]))

    def forward(self, h):
        left, right = self.left[:self.count], self.right[:self.count]
        return self.scale * (self.start @ h) + self.update * ((right @ h) @ left)

    def backward(self, g):
        left, right = self.left[:self.count], self.right[:self.count]
        return self.scale * (g @ self.start) + self.update * ((left @ g) @ right)

    def learn(self, g, h):
        self.left[self.count], self.right[self.count] = g, h
        self.count += 1


@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def _train(spectrum, p, rng):
    """Train loss (T,) and mode losses (K, T) of one network."""
    T, L, gamma0, eta = p["n_steps"], p["n_hidden"], p["gamma0"], p["learning_rate"]
    width, beta, through = int(p["width"]), p["branch_scale"], float(p["skip"])
    count = spectrum.multiplicity.astype(int)
    group = np.repeat(np.arange(len(count)), count)
    lam, size = spectrum.eigenvalues[group], len(group)
    truth = np.sqrt(spectrum.target[group]) * rng.choice([-1.0, 1.0], size)
    first = _Matrix(rng.standard_normal((width, size)), 1.0, eta * gamma0, T)
    hidden = [_Matrix(rng.standard_normal((width, width)), beta / width**0.5, beta**2 * eta * gamma0 / width, T)
              for _ in range(L - 1)]
    last = rng.standard_normal(width)

    def draw(n):
        X = rng.standard_normal((n, size)) * np.sqrt(lam)
        return X, p["noise"] * rng.standard_normal(n)
    samples = int(p["n_samples"] or p["batch_size"] or 0)
    if p["n_samples"]:
        X, disturbance = draw(samples)
    train, mode_loss = np.full(T, np.inf), np.full((len(count), T), np.inf)
    for t in range(T):
        g = [last]
        for W in reversed(hidden):
            g.append(through * g[-1] + W.backward(g[-1]))
        error = truth - first.backward(g[-1]) / (gamma0 * width)
        loss = np.bincount(group, lam * error**2, len(count))
        if samples:
            if p["batch_size"]:
                X, disturbance = draw(samples)
            residual = X @ error + disturbance
            now, h = residual @ residual / samples, residual @ X / samples
        else:
            now, h = loss.sum() + p["noise"]**2, lam * error
        if not now <= CEILING * (train[0] if t else now):
            break
        train[t], mode_loss[:, t] = now, loss
        # All gradients are taken at the same weights: go up first, then learn.
        fields = [h, first.forward(h)]
        for W in hidden:
            fields.append(through * fields[-1] + W.forward(fields[-1]))
        for W, error_above, signal in zip([first, *hidden], reversed(g), fields):
            W.learn(error_above, signal)
        last = last + eta * gamma0 * fields[-1]
    return train, mode_loss


# --- the lazy limit -------------------------------------------------------------------------------------------------

def lazy_kernel(n_hidden: int, *, skip: bool = False, branch_scale: float = 1.0) -> float:
    """Kernel ``K`` of the lazy limit: with white inputs the population error falls by ``1 - eta K`` a step.

    Parameters
    ----------
    n_hidden, skip, branch_scale
        As in `solve_dmft`.

    Returns
    -------
    float
        ``L + 1`` for a plain network with ``branch_scale`` 1; ``(1 + beta^2)^(L-1) (2 + (L-1) beta^2 / (1 + beta^2))`` with
        skips, which tends to ``(2 + beta0^2) exp(beta0^2)`` for ``beta = beta0 / sqrt(L)`` in deep networks.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> lazy_kernel(3), round(lazy_kernel(10_000, skip=True, branch_scale=0.01) / (3 * np.e), 3)
    (4.0, 1.0)
    """
    n = integer("n_hidden", n_hidden) - 1
    beta2 = float(real("branch_scale", branch_scale, at_least=0.0))**2
    gain = beta2 + bool(skip)
    return gain**n * 2 + (n * beta2 * gain**(n - 1) if n else 0.0)


def stability_edge(spectrum: Spectrum, n_hidden: int, *, n_samples: float | None = None, skip: bool = False,
                   branch_scale: float = 1.0) -> float:
    """Largest stable ``learning_rate`` of the lazy limit at infinite width.

    Parameters
    ----------
    spectrum : Spectrum
        With ``n_samples`` one group of alike modes only.
    n_hidden, skip, branch_scale
        As in `solve_dmft`.
    n_samples : float, optional
        Full batch; by default the population gradient.

    Returns
    -------
    float
        ``2 / (K lambda)``, with the largest variance, or for a full batch with the largest eigenvalue of the sample
        covariance, ``lambda (1 + sqrt(D / n_samples))^2``.

    Raises
    ------
    ValueError
        Arguments out of range, ``n_samples`` with modes that differ.

    Examples
    --------
    >>> stability_edge(isotropic(100), 1), round(stability_edge(isotropic(100), 1, n_samples=200), 4)
    (1.0, 0.3431)
    """
    largest = float(spectrum.eigenvalues.max())
    if n_samples is not None:
        if len(spectrum.eigenvalues) > 1:
            raise ValueError(f"n_samples needs a spectrum of alike modes, got {len(spectrum.eigenvalues)} groups: the edge of "
                             "their sample covariance has no closed form here")
        largest *= (1 + np.sqrt(spectrum.n_inputs / float(real("n_samples", n_samples, above=0.0))))**2
    return float(2 / (lazy_kernel(n_hidden, skip=skip, branch_scale=branch_scale) * largest))


# --- what it costs --------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Cost:
    """Multiplications and additions, and bytes in memory, to leading order."""

    operations: float
    bytes: float


def theory_cost(n_steps: int, n_hidden: int, *, n_modes: int = 1, skip: bool = False) -> Cost:
    """What `solve_dmft` costs for full-batch training: a function of steps, layers and distinct modes only.

    Parameters
    ----------
    n_steps, n_hidden, skip
        As in `solve_dmft`.
    n_modes : int
        Distinct modes of the spectrum.

    Returns
    -------
    Cost
        ``operations = 2/3 T^3 (12 L + 9 K + 9)``, with skips 14 (L - 1) more in the bracket: so many products of a matrix and
        a vector of up to T entries a step. Beyond 224 steps, where several are solved together, each of them is
        computed some four times, in larger products and less time.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Source: Bordelon & Pehlevan 2025, table 1, for this solver; a test counts the products.

    Examples
    --------
    >>> f"{theory_cost(100, 3).operations:.3g}"
    '3.6e+07'
    """
    T, L, K = integer("n_steps", n_steps), integer("n_hidden", n_hidden), integer("n_modes", n_modes)
    products = 12 * L + (14 * (L - 1) if skip else 0) + 9 * K + 9
    return Cost(2 / 3 * T**3 * products, memory_needed(T, L, K, skip))


def simulation_cost(n_steps: int, n_hidden: int, *, width: int, n_inputs: int, n_samples: int,
                    n_networks: int = 1) -> Cost:
    """What `simulate` costs for full-batch training: a function of all sizes.

    Parameters
    ----------
    n_steps, n_hidden, width, n_samples, n_networks
        As in `simulate`.
    n_inputs : int
        Dimension of the inputs.

    Returns
    -------
    Cost
        ``operations = 4 T (N D + (L - 1) N^2 + P D)`` for the products with the weights and the data, each way, and
        ``2 T^2 (N + D + 2 (L - 1) N)`` for the updates; times the networks. The bytes are those of one network at a time.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> f"{simulation_cost(100, 3, width=1000, n_inputs=1000, n_samples=2000).operations:.3g}"
    '2.12e+09'
    """
    T, L, N, D, P, n = (integer(name, value) for name, value in (
        ("n_steps", n_steps), ("n_hidden", n_hidden), ("width", width), ("n_inputs", n_inputs), ("n_samples", n_samples),
        ("n_networks", n_networks)))
    weights, updates = N * D + (L - 1) * N**2, N + D + 2 * (L - 1) * N
    return Cost(n * (4 * T * (weights + P * D) + 2 * T**2 * updates), 8 * (weights + P * D + T * updates))

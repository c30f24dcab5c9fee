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
    A bin keeps the number of its modes, the power of the target in it and the mean variance with the target's weights.
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
        start = max(start + 1, int(np.ceil(start * ratio)))
    edges = np.array([*edges, n_modes + 1])
    k = np.arange(1, n_modes + 1, dtype=float)
    weight = k**(a - a * b - 1)
    starts = edges[:-1] - 1
    count, power = np.diff(edges).astype(float), np.add.reduceat(weight, starts)
    return Spectrum(np.add.reduceat(weight * k**-a, starts) / power, power / count, count)


# --- the solution ---------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Solution:
    """Losses and order parameters over time; made by `solve_dmft` and `simulate`.

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

    @property
    def kernel(self) -> np.ndarray:
        """Mean tangent kernel at each update, ``M(t + 1, t) / learning_rate``, shape (T - 1,): how fast the map moves."""
        if self.M is None:
            raise ValueError("kernel is an order parameter, and a simulation keeps none: ask the solution of solve_dmft")
        return np.diagonal(self.M, -1) / self.parameters["learning_rate"]

    @property
    def diverged(self) -> bool:
        """Whether the train loss exceeded 1000 times its start (in any network)."""
        return not bool(np.isfinite(self.train_loss).all())

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
        data = (f"n_samples={p['n_samples']:g}" if p["n_samples"] else
                f"batch_size={p['batch_size']:g}" if p["batch_size"] else "population gradient")
        end = "diverged" if self.diverged else f"test loss {np.mean(self.test_loss[..., -1]):.3g} at the end"
        return (f"Solution({kind}, {p['n_steps']} times, {p['n_hidden']} hidden layers{', residual' * p['skip']}, "
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
    """Bytes that `solve_dmft` takes: ``T x T`` matrices, 10 a hidden layer (16 with skips), 4 a distinct mode.

    Examples
    --------
    >>> memory_needed(200, 3) / 1e6
    11.52
    """
    return 8 * n_steps**2 * (n_hidden * (16 if skip else 10) + 4 * n_modes + 2)


def _check_memory(needed: int, n_steps: int) -> None:
    free = free_memory()
    if needed > free:
        raise ValueError(f"n_steps = {n_steps} needs {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are free: lower it, or put "
                         "the modes of the spectrum into bins")


# --- the causal solver ----------------------------------------------------------------------------------------------

def _mirror(C, t, row):
    """Row t of a symmetric matrix, and with it column t."""
    C[..., t, :t + 1] = row
    C[..., :t + 1, t] = row


def _resolvent_row(H, t, coupling):
    """Row t of ``H = 1 + X H`` for a strictly causal X with row ``coupling``."""
    H[..., t, :t] = (coupling[..., None, :] @ H[..., :t, :t])[..., 0, :]
    H[..., t, t] = 1.0


def _sandwich_row(H, C, t):
    """Row t of ``H C H'`` up to the diagonal, for symmetric C."""
    now = slice(t + 1)
    return (H[..., now, now] @ (C[..., now, now] @ H[..., t, now, None]))[..., 0]


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
    No iteration: with the fields eliminated below and above each layer, row t of every matrix follows from rows before t,
    backwards through the layers, through the data, and forwards. Cost ``O((L + K) T^3)``. Above the edge of stability losses
    are infinite from the step at which the train loss exceeds 1000 times its start. Source: derived from Bordelon &
    Pehlevan 2025; see the page on the derivation.

    Examples
    --------
    >>> solution = solve_dmft(isotropic(1), n_steps=30, n_hidden=2, width=1.0, gamma0=1.0, learning_rate=0.05, n_samples=2.0)
    >>> solution
    Solution(theory, 30 times, 2 hidden layers, width=1, n_samples=2, test loss 0.175 at the end)
    """
    parameters = _arguments(spectrum, n_steps, n_hidden, width, gamma0, learning_rate, n_samples, batch_size, noise, skip,
                            branch_scale)
    T, L, skip = parameters["n_steps"], parameters["n_hidden"], parameters["skip"]
    gamma0, eta, noise2 = parameters["gamma0"], parameters["learning_rate"], parameters["noise"]**2
    beta2, inverse_width = parameters["branch_scale"]**2, 1 / parameters["width"]
    samples, batch = parameters["n_samples"], parameters["batch_size"]
    K, rate = len(spectrum.eigenvalues), eta * gamma0
    _check_memory(memory_needed(T, L, K, skip), T)

    def square(*shape):
        return np.zeros((*shape, T, T))
    # Layer l at index l - 1. h = a + P g from below, g = b + Q h from above, a and b independent.
    P, Q, C_a, C_b, H_h, H_g, S_h, S_g, C_g = (square(L) for _ in range(9))
    C_h = square(L + 1)                                    # entry 0: the inputs, so layer l at index l
    A, B = (square(L), square(L)) if skip else (P, Q)      # what one layer alone contributes to P and Q
    J, N, D, G = (square(L) for _ in range(4)) if skip else (None,) * 4   # reflections between layers
    lam, target, count = (x[:, None] for x in (spectrum.eigenvalues, spectrum.target, spectrum.multiplicity))
    H, E, F = square(K), square(K), square(K)              # modes: resolvents of the error and the signal, its response
    H1, F1 = np.zeros((K, T)), np.zeros((K, T))            # the same applied to a constant
    M, R, C_delta, V, start, driven = (square() for _ in range(6))
    test, train, mode_loss = np.full(T, np.inf), np.full(T, np.inf), np.full((K, T), np.inf)
    Q[L - 1] = rate * np.tri(T, k=-1)
    C_b[L - 1] = 1.0

    for t in range(T):
        past, now = slice(t), slice(t + 1)
        # Backwards through the layers: row t of the fields that carry errors down.
        for i in reversed(range(L)):
            _resolvent_row(H_g[i], t, Q[i, t, past] @ P[i, past, past])
            S_g[i, t, past] = H_g[i, t, now] @ Q[i, now, past]
            row = _sandwich_row(H_g[i], C_b[i], t)
            row += S_g[i, now, past] @ (C_a[i, past, past] @ S_g[i, t, past])
            _mirror(C_g[i], t, row)
            if i == 0:
                continue
            B[i - 1, t, past] = beta2 * (S_g[i, t, past] + rate * row[past])
            below = beta2 * row
            if skip:
                _resolvent_row(J[i], t, Q[i, t, past] @ A[i, past, past])
                Q[i - 1, t, past] = J[i, t, now] @ Q[i, now, past] + B[i - 1, t, past]
                _mirror(D[i], t, C_b[i, t, now] + beta2 * (Q[i, now, past] @ (C_h[i, past, past] @ Q[i, t, past])))
                below = below + _sandwich_row(J[i], D[i], t)
            _mirror(C_b[i - 1], t, below)

        # The data: what is left to learn along each mode, the losses, and the signal that goes up.
        M[t, past] = S_g[0, t, past] / gamma0 + eta * C_g[0, t, past]
        _mirror(start, t, C_g[0, t, now] * inverse_width / gamma0**2)      # the random initial function
        _resolvent_row(H, t, -lam * (M[t, past] @ R[past, past]))
        if samples:
            _mirror(driven, t, M[now, past] @ (C_delta[past, past] @ M[t, past]) / samples)
            _resolvent_row(R, t, -((count * lam * H[:, t, now]).sum(0) @ M[now, past]) / samples)
        else:
            if batch:
                _mirror(driven, t, M[now, past] @ (np.diagonal(C_delta)[past] * M[t, past]) / batch)
            R[t, t] = 1.0
        H1[:, t] = H[:, t, now].sum(1)
        C_v = target * H1[:, t, None] * H1[:, now] + _sandwich_row(H, start + lam[..., None] * driven, t)
        mode_loss[:, t] = (count * lam)[:, 0] * np.maximum(C_v[:, t], 0)
        _mirror(V, t, (count * lam * C_v).sum(0) + noise2)
        if samples:
            _mirror(C_delta, t, _sandwich_row(R, V, t))
        else:
            C_delta[t, t] = V[t, t]
        test[t], train[t] = max(V[t, t], noise2), max(C_delta[t, t], 0.0)      # round-off may fall below zero
        if not train[t] <= CEILING * train[0]:
            test[t:], train[t:], mode_loss[:, t:] = np.inf, np.inf, np.inf
            break
        _resolvent_row(E, t, -lam * (R[t, now] @ M[now, past]))
        F[:, t, now] = lam * (E[:, t, now] @ R[now, now])
        F1[:, t] = F[:, t, now].sum(1)
        row = (count * (target * F1[:, t, None] * F1[:, now] + _sandwich_row(F, start, t))).sum(0)
        if samples:
            row += (count * lam * _sandwich_row(E, C_delta, t)).sum(0) / samples
        elif batch:
            row += (count * lam * ((E[:, now, now] * np.diagonal(C_delta)[now]) @ E[:, t, now, None])[..., 0]).sum(0) / batch
        _mirror(C_h[0], t, row)

        # Forwards: row t of the fields that carry the signal up. The response to the error of the same moment is its diagonal.
        P[0, t, now] = -inverse_width / gamma0 * (count * F[:, t, now]).sum(0)
        P[0, t, past] += rate * row[past]
        C_a[0, t, now], C_a[0, now, t] = row, row
        for i in range(L):
            _resolvent_row(H_h[i], t, P[i, t, now] @ Q[i, now, past])
            S_h[i, t, now] = H_h[i, t, now] @ P[i, now, now]
            row = _sandwich_row(H_h[i], C_a[i], t) + _sandwich_row(S_h[i], C_b[i], t)
            _mirror(C_h[i + 1], t, row)
            if i == L - 1:
                continue
            A[i + 1, t, now] = beta2 * S_h[i, t, now]
            A[i + 1, t, past] += beta2 * rate * row[past]
            above = beta2 * row
            if skip:
                _resolvent_row(N[i], t, P[i, t, now] @ B[i, now, past])
                P[i + 1, t, now] = N[i, t, now] @ P[i, now, now] + A[i + 1, t, now]
                _mirror(G[i], t, C_a[i, t, now] + beta2 * (P[i, now, now] @ (C_g[i + 1, now, now] @ P[i, t, now])))
                above = above + _sandwich_row(N[i], G[i], t)
            _mirror(C_a[i + 1], t, above)
    return Solution(train, test, test - noise2, spectrum, parameters, mode_loss, C_h, C_g, S_h, S_g, M, R)


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
        ``operations = 2/3 T^3 (14 L + 9 K + 8)``, with skips 14 (L - 1) more in the bracket: so many products of a matrix and
        a vector of up to T entries a step.

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
    '3.93e+07'
    """
    T, L, K = integer("n_steps", n_steps), integer("n_hidden", n_hidden), integer("n_modes", n_modes)
    products = 14 * L + (14 * (L - 1) if skip else 0) + 9 * K + 8
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

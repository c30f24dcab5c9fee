"""The finite network itself, trained exactly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .._validation import generator, integer
from .estimates import check_memory, simulation_cost
from .optimizers import Optimizer
from .solution import CEILING, Solution, _arguments
from .spectrum import Spectrum

__all__ = ["simulate"]

#: Gradients of plain descent that are kept apart before they are added to the matrix: one product of matrices for all of them.
FOLD = 32


def simulate(spectrum: Spectrum, *, n_steps: int, n_hidden: int, width: ArrayLike, gamma0: float,
             learning_rate: ArrayLike | None = None, optimizer: Optimizer | None = None, n_samples: int | None = None,
             batch_size: ArrayLike | None = None, sampling: str | None = None, noise: float = 0.0, skip: bool = False,
             branch_scale: ArrayLike = 1.0, initial_scale: ArrayLike = 1.0, centered: bool = False,
             rng: np.random.Generator | int, n_networks: int | None = None) -> Solution:
    """Train finite networks, exactly: what `solve_dmft` describes for large sizes.

    Parameters
    ----------
    spectrum : Spectrum
        With whole multiplicities (no bins are needed for the theory to hold, but the network has one input a mode).
    n_steps, n_hidden, gamma0, learning_rate, optimizer, sampling, noise, skip, branch_scale, initial_scale, centered
        As in `solve_dmft`.
    width, n_samples, batch_size : int
        As in `solve_dmft`, but whole numbers (or lists of them).
    rng : numpy.random.Generator or int
        A generator or a seed. Each network gets a spawned one, so that a longer list of networks begins like a shorter one.
    n_networks : int, optional
        Independent draws of weights, target, data and noise; by default a single one.

    Returns
    -------
    Solution
        Losses of shape (n_networks, n_steps + 1), mode losses of shape (n_networks, K, n_steps + 1), without ``n_networks`` as
        of the theory; no order parameters. A network whose train loss exceeds 1000 times its start is infinite from there on.

    Raises
    ------
    ValueError
        Arguments out of range, sizes that are not whole, more memory than is free (see `simulation_cost`).

    Notes
    -----
    An update of a weight matrix has rank C, one an output, and so has every gradient of the past that an optimizer remembers.
    The matrices stay as they were drawn and the gradients are kept as two thin matrices: ``2 L - 1`` products of a matrix and C
    vectors each way, and as many thin ones, a step. Plain descent adds 32 gradients at a time to the matrices. The coefficients
    of a single target have random signs. Those of several are random and have the Gram matrix of the spectrum, exactly where a
    mode is as often there as the matrix has rank, on average elsewhere. Source: gradient descent on half the mean squared
    error, summed over outputs, at the learning rate ``eta gamma0^2 width``, the width of the last layer.

    Examples
    --------
    >>> from dlnutils.dmft import Optimizer, isotropic, simulate
    >>> network = simulate(isotropic(50), n_steps=9, n_hidden=2, width=50, gamma0=1.0, learning_rate=0.05, n_samples=100,
    ...                    rng=0, n_networks=2)
    >>> network.test_loss.shape, bool(network.test_loss[0, -1] < network.test_loss[0, 0])
    ((2, 10), True)

    Momentum, a bottleneck and four batches of 25 samples, one after the other:

    >>> simulate(isotropic(50), n_steps=9, n_hidden=2, width=[50, 20], gamma0=1.0, optimizer=Optimizer(0.02, momentum=0.8),
    ...          n_samples=100, batch_size=25, sampling="cycle", rng=0).test_loss.shape
    (10,)
    """
    parameters, rule = _arguments(
        spectrum, n_steps=n_steps, n_hidden=n_hidden, width=width, gamma0=gamma0, learning_rate=learning_rate,
        optimizer=optimizer, n_samples=n_samples, batch_size=batch_size, sampling=sampling, noise=noise, skip=skip,
        branch_scale=branch_scale, initial_scale=initial_scale, centered=centered)
    for name in ("width", "n_samples", "batch_size"):
        if parameters[name] is not None:
            for value in np.ravel(parameters[name]).tolist():
                integer(name, value)
    for value in spectrum.multiplicity:
        integer("multiplicity", float(value), hint="a simulation has whole inputs")
    networks = 1 if n_networks is None else integer("n_networks", n_networks)
    sizes, steps, samples = parameters["width"], parameters["n_steps"], parameters["n_samples"] or parameters["batch_size"]
    check_memory(int(simulation_cost(steps, parameters["n_hidden"], width=sizes, n_inputs=int(spectrum.n_inputs),
                                     n_samples=int(samples or 1), n_outputs=spectrum.n_outputs).bytes),
                 int(np.max(sizes)), "width",
                 f"it grows with width, n_hidden, modes ({spectrum.n_inputs:g}), samples and n_steps: lower one of them")
    runs = [_train(spectrum, parameters, rule, _draw(spectrum, parameters, child)) for child in generator(rng).spawn(networks)]
    train, mode_loss = (np.moveaxis(np.array(out), 1, 0) for out in zip(*runs))        # of the weights, and of their average
    if n_networks is None:
        train, mode_loss = train[:, 0], mode_loss[:, 0]
    excess = mode_loss.sum(-2)
    test = excess + spectrum.n_outputs * parameters["noise"]**2
    averaged = {"average_train_loss": train[1], "average_test_loss": test[1]} if len(train) > 1 else {}
    return Solution(train[0], test[0], excess[0], spectrum, parameters | {"n_networks": networks}, mode_loss[0], **averaged)


# --- what is drawn --------------------------------------------------------------------------------------------------

class _Draws(NamedTuple):
    """All that is random in one network."""

    truth: np.ndarray                                      # (C, D): coefficients of the targets
    weights: list[np.ndarray]                              # of variance 1: (N_1, D), (N_2, N_1), ..., (C, N_L)
    data: Iterator[tuple[np.ndarray, np.ndarray, Any]]     # one a step: inputs (P, D), label noise (C, P), who is in the batch


def _draw(spectrum: Spectrum, p: dict[str, Any], rng: np.random.Generator) -> _Draws:
    """The draws of one network, in this order; data as they are asked for."""
    group = _groups(spectrum)
    if spectrum.target.ndim == 1:
        truth = (np.sqrt(spectrum.target[group]) * rng.choice([-1.0, 1.0], len(group)))[None]
    else:
        truth = np.concatenate([_coefficients(gram, int(m), rng) for gram, m in zip(spectrum.target, spectrum.multiplicity)]).T
    sizes = [len(group), *_widths(p), len(truth)]
    weights = [rng.standard_normal((above, below)) for below, above in zip(sizes, sizes[1:])]
    return _Draws(truth, weights, _data(p, spectrum.eigenvalues[group], len(truth), rng))


def _coefficients(gram, count, rng):
    """(count, C) coefficients of several targets along alike modes, whose mean outer product is their Gram matrix."""
    power, axes = np.linalg.eigh(gram)
    root = axes[:, power > 1e-12 * power[-1]] * np.sqrt(power[power > 1e-12 * power[-1]])
    rank = root.shape[1]
    if count < rank:                                       # on average; its trace exactly
        return rng.choice([-1.0, 1.0], (count, rank)) @ root.T
    Q, R = np.linalg.qr(rng.standard_normal((count, rank)))
    return np.sqrt(count) * (Q * np.sign(np.diagonal(R))) @ root.T


def _data(p: dict[str, Any], lam, n_outputs, rng):
    """Inputs (P, D), label noise (C, P) and the batch of every step; none for the gradient of the population."""
    def draw(n):
        X = rng.standard_normal((n, len(lam))) * np.sqrt(lam)
        return X, p["noise"] * rng.standard_normal((n_outputs, n))
    batch, everybody = p["batch_size"], slice(None)
    if p["n_samples"] is None:
        while True:
            yield *draw(int(batch or 0)), everybody
    P = int(p["n_samples"])
    X, disturbance = draw(P)
    sizes = batch if isinstance(batch, list) else [] if batch is None else round(P / batch) * [batch]
    ends = np.cumsum(sizes[:-1]).astype(int)
    while True:
        if p["sampling"] is None:
            yield X, disturbance, everybody
        elif p["sampling"] == "replace":
            yield X, disturbance, rng.choice(P, int(sizes[0]), replace=False)
        else:
            for chosen in np.split(rng.permutation(P) if p["sampling"] == "shuffle" else np.arange(P), ends):
                yield X, disturbance, chosen


def _groups(spectrum):
    """The distinct mode of every input."""
    return np.repeat(np.arange(len(spectrum.multiplicity)), spectrum.multiplicity.astype(int))


def _widths(p) -> list[int]:
    return [int(n) for n in np.broadcast_to(p["width"], p["n_hidden"])]


# --- training -------------------------------------------------------------------------------------------------------

class _Matrix:
    """A weight matrix ``W(t) = d(t) W(0) + sum_s k(t, s) G(s)``: as it was drawn, and the gradients since, of rank C.

    ``memory`` has pairs (d, k), of the weights and perhaps of their average; None is descent at a rate that is in ``update``.
    Then nothing but the sum is asked for, and FOLD gradients at a time are added to the matrix itself.
    """

    def __init__(self, start, scale, update, memory, rank, n_steps):
        self.start, self.scale, self.update, self.memory, self.rank, self.count = start, scale, update, memory, rank, 0
        rows = (n_steps if memory is not None else min(n_steps, FOLD)) * rank
        self.left, self.right = (np.empty((rows, size)) for size in start.shape)

    def forward(self, h, which=0):
        return self._apply(h, self.start.T, self.right, self.left, which)

    def backward(self, g, which=0):
        return self._apply(g, self.start, self.left, self.right, which)

    def _apply(self, x, start, near, far, which):
        n = self.count * self.rank
        drawn, past = self.scale * (x @ start), x @ near[:n].T
        if self.memory is not None:
            d, k = self.memory[which]
            drawn, past = d[self.count] * drawn, np.repeat(k[self.count, :self.count], self.rank) * past
        return drawn + self.update * (past @ far[:n])

    def learn(self, g, h):
        rows = slice(self.count * self.rank, (self.count + 1) * self.rank)
        self.left[rows], self.right[rows] = g, h
        self.count += 1
        if self.memory is None and self.count == FOLD:     # scale W + update sum_s g h'
            if self.scale:
                self.start += (self.update / self.scale) * (self.left.T @ self.right)
            self.count = 0


def _matrices(p, rule, weights):
    """The weight matrices, and the norm of a gradient ``G`` over that of its fields ``g h'``, for each."""
    n_steps, L, gamma0 = p["n_steps"], p["n_hidden"], p["gamma0"]
    if rule.plain:
        eta, memories = rule.learning_rate, (L + 1) * [None]
    else:
        memory = rule.memory(n_steps, L)
        pairs = [memory[:2]] + ([] if memory.average is None else [memory.average])
        eta, memories = 1.0, [[(d[layer], k[layer]) for d, k in pairs] for layer in range(L + 1)]
    scales = [1.0, *np.broadcast_to(p["branch_scale"], L - 1).tolist(), 1.0]
    fan_in = [1, *_widths(p)[:-1], 1]                      # the read-out has its own factor
    sigma = np.broadcast_to(p["initial_scale"], L + 1).tolist()
    return ([_Matrix(W if s == 1 else s * W, beta / n**0.5, beta**2 * eta * gamma0 / n, memory, len(weights[-1]), n_steps)
             for W, s, beta, n, memory in zip(weights, sigma, scales, fan_in, memories)],
            [gamma0 * beta / n**0.5 for beta, n in zip(scales, fan_in)])


def _factors(rule, gradients, units, width):
    """What clipping multiplies the gradient of each layer with: norms are in units of the root of the width."""
    # |sum_c g_c h_c'|^2 = sum_cc' (g_c . g_c') (h_c . h_c'), which round-off may turn below zero.
    squares = np.array([unit**2 * max(np.sum((g @ g.T) * (h @ h.T)), 0.0) / width for unit, (g, h) in zip(units, gradients)])
    if rule.normalise:
        return 1 / np.sqrt(np.where(squares > 0, squares, 1.0))
    norm = np.sqrt(squares.sum())
    return np.full(len(squares), rule.clip / norm if norm > rule.clip else 1.0)


@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def _train(spectrum, p, rule, draws):
    """Train loss (1, T) and mode losses (1, K, T) of one network, T = n_steps + 1; a second entry is of averaged weights."""
    n_steps, gamma0, noise = p["n_steps"], p["gamma0"], p["noise"]
    group, modes, width, outputs = _groups(spectrum), len(spectrum.multiplicity), _widths(p)[-1], np.eye(len(draws.truth))
    lam = spectrum.eigenvalues[group]
    matrices, units = _matrices(p, rule, draws.weights)
    first, *hidden, last = matrices
    copies = 1 if last.memory is None else len(last.memory)
    train, mode_loss = np.full((copies, n_steps + 1), np.inf), np.full((copies, modes, n_steps + 1), np.inf)
    origin = 0.0                                           # the map at the start, of centered networks

    def back(which):
        """Backward fields from the last layer to the first, and the map."""
        g = [last.backward(outputs, which)]
        for W in reversed(hidden):
            g.append(W.backward(g[-1], which) + g[-1] if p["skip"] else W.backward(g[-1], which))
        return g, first.backward(g[-1], which) / (gamma0 * width)

    for t, (X, disturbance, chosen) in zip(range(n_steps + 1), draws.data):
        for which in reversed(range(copies)):              # the weights themselves come last, and go on
            g, image = back(which)
            if t == 0 and p["centered"]:
                origin = image
            error = draws.truth - (image - origin)
            loss = np.bincount(group, lam * np.sum(error**2, axis=0), modes)
            residual = error @ X.T + disturbance
            now = np.vdot(residual, residual) / len(X) if len(X) else loss.sum() + len(outputs) * noise**2
            train[which, t], mode_loss[which, :, t] = now, loss
        if not now <= CEILING * train[0, 0]:
            train[:, t], mode_loss[:, :, t] = np.inf, np.inf
            break
        if t == n_steps:
            break
        batch = residual[:, chosen]
        # All gradients are taken at the same weights: go up first, then learn.
        fields = [batch @ X[chosen] / batch.shape[1] if len(X) else lam * error]
        fields.append(first.forward(fields[0]))
        for W in hidden:
            fields.append(W.forward(fields[-1]) + fields[-1] if p["skip"] else W.forward(fields[-1]))
        gradients = list(zip([*reversed(g), outputs], fields))
        if rule.clip is not None or rule.normalise:
            gradients = [(c * g, h) for c, (g, h) in zip(_factors(rule, gradients, units, width), gradients)]
        for W, (g, h) in zip(matrices if last.memory else matrices[:-1], gradients):
            W.learn(g, h)
        if last.memory is None:                            # the updates of the read-out are vectors: their sum will do
            last.start = last.start + last.update * fields[-1]
    return train, mode_loss

r"""Deep linear networks as they train: gradient descent and flow from correlations, and what to read off them.

A network is the list ``[W_1, ..., W_L]`` with ``W_l`` of shape (fan_out, fan_in); a leading batch axis on every
matrix trains many networks at once. Training needs only the correlations ``Sigma31 = sum y x'`` and
``Sigma11 = sum x x'`` (or their means): ``dW_l/dt = (W_L..W_{l+1})' [Sigma31 - W_L..W_1 Sigma11] (W_{l-1}..W_1)'``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._validation import choice, common_shape, entries, function, integer, matrix, number, precision, real

__all__ = ["correlations", "composite", "gradients", "Descent", "gradient_descent", "mode_strengths", "tanh_descent", "DepthRun",
           "timed_descent", "decoupled_descent"]

#: One matrix a layer, input layer first.
Weights = list[NDArray]


def correlations(X: ArrayLike, Y: ArrayLike, average: bool = True) -> tuple[NDArray, NDArray]:
    """Input-output and input correlations of a data set.

    Parameters
    ----------
    X : array_like, shape (n_samples, n_inputs)
    Y : array_like, shape (n_samples, n_outputs)
    average : bool
        Divide by the number of samples. The paper sums, so its learning rates are ``n_samples`` times smaller.

    Returns
    -------
    (sigma31, sigma11) : ndarray of shape (n_outputs, n_inputs), ndarray of shape (n_inputs, n_inputs)

    Raises
    ------
    ValueError
        Different numbers of samples, none at all, or input that is not finite.

    Notes
    -----
    Cost: one product of the data with itself. Source: Saxe et al. 2013, section 1.

    Examples
    --------
    >>> from dlnutils.linear_networks import correlations
    >>> sigma31, sigma11 = correlations([[1.0, 0.0], [0.0, 2.0]], [[3.0], [1.0]], average=False)
    >>> sigma31, sigma11
    (array([[3., 2.]]), array([[1., 0.],
           [0., 4.]]))
    """
    X, Y = matrix("X", X), matrix("Y", Y)
    if len(X) != len(Y) or not len(X):
        raise ValueError(f"X and Y must have one row a sample each, got {len(X)} and {len(Y)} rows")
    n = len(X) if average else 1
    return Y.T @ X / n, X.T @ X / n


def _checked_chain(weights: Sequence[ArrayLike], stack: bool = True) -> Weights:
    """Validate matrices that must follow each other; return them as arrays with the same leading axes."""
    chain = [matrix(f"weights[{i}]", W, stack=stack)
             for i, W in enumerate(entries("weights", weights, "at least one matrix"))]
    for i, (lower, upper) in enumerate(zip(chain, chain[1:])):
        if upper.shape[-1] != lower.shape[-2]:
            raise ValueError(f"weights[{i + 1}] must have {lower.shape[-2]} columns to follow weights[{i}] of shape "
                             f"{lower.shape}, got shape {upper.shape}")
    lead = common_shape(**{f"the leading axes of weights[{i}]": np.empty(W.shape[:-2]) for i, W in enumerate(chain)})
    return [W if W.shape[:-2] == lead else np.broadcast_to(W, lead + W.shape[-2:]) for W in chain]


def _checked_task(chain: Weights, sigma31: ArrayLike, sigma11: ArrayLike | None) -> tuple[NDArray, NDArray | None]:
    """Validate correlations that must fit the weights."""
    n_outputs, n_inputs = chain[-1].shape[-2], chain[0].shape[-1]
    target = matrix("sigma31", sigma31)
    if target.shape != (n_outputs, n_inputs):
        raise ValueError(f"sigma31 must have shape {n_outputs, n_inputs} to fit the weights, got {target.shape}")
    return target, None if sigma11 is None else matrix("sigma11", sigma11, shape=(n_inputs, n_inputs), symmetric=True)


def _composite(weights: Weights) -> NDArray:
    return reduce(lambda product, W: W @ product, weights)


def composite(weights: Sequence[ArrayLike]) -> NDArray:
    """The network's map ``W_L ... W_1``.

    Parameters
    ----------
    weights : sequence of array_like, shapes (..., fan_out, fan_in)
        Input layer first.

    Returns
    -------
    ndarray, shape (..., n_outputs, n_inputs)

    Raises
    ------
    ValueError
        No matrices, or matrices that do not follow each other.

    Notes
    -----
    Cost: ``L - 1`` products, from the input up.

    Examples
    --------
    >>> from dlnutils.linear_networks import composite
    >>> composite([[[2.0, 0.0]], [[3.0], [4.0]]])
    array([[6., 0.],
           [8., 0.]])
    """
    return _composite(_checked_chain(weights))


def _upper_products(weights: Weights) -> tuple[list[NDArray | None], NDArray]:
    """``W_L .. W_{l+1}`` for ``l = L`` (None: nothing above) down to 1, and the whole map ``W_L .. W_1``."""
    above: list = [None]
    for W in reversed(weights[1:]):
        above.append(W if above[-1] is None else above[-1] @ W)
    return above, weights[0] if above[-1] is None else above[-1] @ weights[0]


def _chain_rule(weights: Weights, above: list[NDArray | None], error: NDArray) -> Iterator[NDArray]:
    """``(W_L .. W_{l+1})' error (W_{l-1} .. W_1)'`` for ``l = 1 .. L``, where ``error`` is the gradient by the map."""
    for W, upper in zip(weights, reversed(above)):
        slope = error if upper is None else np.swapaxes(upper, -1, -2) @ error
        error = error @ np.swapaxes(W, -1, -2)             # seen from the next layer's input; before W may change
        yield slope


def _gradients(weights: Weights, sigma31: NDArray, sigma11: NDArray | None) -> Weights:
    above, total = _upper_products(weights)
    return list(_chain_rule(weights, above, (total if sigma11 is None else total @ sigma11) - sigma31))


def gradients(weights: Sequence[ArrayLike], sigma31: ArrayLike, sigma11: ArrayLike | None = None) -> Weights:
    """Gradients of ``1/2 |Y - W_L..W_1 X|^2`` with respect to every matrix, from correlations alone.

    Gradient descent subtracts them: ``W_l - learning_rate * gradient_l``.

    Parameters
    ----------
    weights : sequence of array_like, shapes (..., fan_out, fan_in)
        Input layer first.
    sigma31 : array_like, shape (n_outputs, n_inputs)
    sigma11 : array_like, shape (n_inputs, n_inputs), optional
        Identity if omitted (whitened or one-hot inputs).

    Returns
    -------
    list of ndarray
        ``(W_L..W_{l+1})' [W_L..W_1 sigma11 - sigma31] (W_{l-1}..W_1)'``, in the shapes of ``weights``.

    Raises
    ------
    ValueError
        Shapes that do not fit, ``sigma11`` not symmetric, input that is not finite.

    Notes
    -----
    Cost: two chains of products with n_outputs rows each, from the output down and from the error down; no product of two
    hidden layers' matrices is ever formed. Source: Saxe et al. 2013, equation 5.

    Examples
    --------
    >>> from dlnutils.linear_networks import gradients
    >>> gradients([[[0.5]], [[2.0]]], [[3.0]])             # 1/2 (3 - b a)^2 at a = 0.5, b = 2
    [array([[-4.]]), array([[-1.]])]
    """
    chain = _checked_chain(weights)
    return _gradients(chain, *_checked_task(chain, sigma31, sigma11))


def _beyond(weights: Weights) -> NDArray:
    """Whether a network's map may be as large as 1e100 or is infinite: one answer for each network of a batch."""
    with np.errstate(over="ignore", invalid="ignore"):
        return ~(reduce(mul, (np.abs(W).max((-1, -2), initial=0.0) for W in weights)) < 1e100)


class Descent(NamedTuple):
    """The end of a training and what was recorded on the way.

    Attributes
    ----------
    weights : list of ndarray, shapes (..., fan_out, fan_in)
        Final weights; inf throughout a network that diverged.
    history : ndarray, shape (n_records, ...)
        The record, entry 0 before any update; inf from the divergence of a network on.
    diverged : ndarray of bool, shape of the batch
    """

    weights: Weights
    history: NDArray

    @property
    def diverged(self) -> NDArray:
        return _beyond(self.weights)


def _descent(weights: Weights, update: Callable[[Weights], Weights], record: Callable[[Weights], ArrayLike], n_steps: int,
             every: int = 1) -> Descent:
    """Update so many times; a network that grows beyond all bounds is reset whenever it is looked at, its record is inf."""
    history = [np.asarray(record(weights))]
    gone = np.zeros(weights[0].shape[:-2], bool)
    seen = weights
    for step in range(1, n_steps + 1):
        with np.errstate(over="ignore", invalid="ignore"):
            weights = update(weights)
        if step % every and step < n_steps:
            continue
        out = _beyond(weights)
        if out.any():
            gone = gone | out
            weights = [np.where(out[..., None, None], old, new) for old, new in zip(seen, weights)]
        seen = weights
        if step % every == 0:
            entry = np.asarray(record(weights))
            if gone.any():                                 # a record without the axes of the batch belongs to all networks
                own = entry.shape[:gone.ndim] == gone.shape
                mask = gone.reshape(gone.shape + (1,) * (entry.ndim - gone.ndim)) if own else np.array(True)
                entry = np.where(mask, np.inf, entry)
            history.append(entry)
    return Descent([np.where(gone[..., None, None], np.inf, W) for W in weights] if gone.any() else weights,
                   np.stack(history))


def gradient_descent(weights: Sequence[ArrayLike], sigma31: ArrayLike, sigma11: ArrayLike | None = None, *, learning_rate: float,
                     n_steps: int, method: str = "euler", record: Callable[[Weights], ArrayLike] | None = None,
                     every: int = 1) -> Descent:
    """Train a linear network and record a quantity along the way.

    Parameters
    ----------
    weights : sequence of array_like, shapes (..., fan_out, fan_in)
        Initial weights, input layer first; not changed. Leading axes train a batch of networks.
    sigma31 : array_like, shape (n_outputs, n_inputs)
    sigma11 : array_like, shape (n_inputs, n_inputs), optional
        Identity if omitted.
    learning_rate : float
        Step in the units of ``1 / sigma31`` (sums or means over samples alike).
    n_steps : int
        Number of updates.
    method : {'euler', 'rk4'}
        Gradient descent as practised, or gradient flow to fourth order with the same step.
    record : callable, optional
        ``weights -> array``; default the network's map.
    every : int
        Record every so many updates, the start included.

    Returns
    -------
    Descent
        The pair ``(weights, history)`` with ``history`` of shape (n_steps // every + 1, ...), and ``.diverged``. The largest
        stable rate is ``2 / saddles.max_hessian_eigenvalue``; beyond it a network's records become inf.

    Raises
    ------
    ValueError
        Shapes that do not fit, ``sigma11`` not symmetric, unknown method, rate not positive.

    Notes
    -----
    Euler breaks the conserved ``W_{l+1}' W_{l+1} - W_l W_l'`` at the order of the step, RK4 at its fourth power. Cost an
    update: that of :func:`gradients`, four times with RK4. Source: Saxe et al. 2013, equation 5.

    Examples
    --------
    >>> from dlnutils.linear_networks import gradient_descent
    >>> from dlnutils.saddles import two_layer_mode_strength
    >>> W = [[[0.1]], [[0.1]]]
    >>> _, u = gradient_descent(W, [[1.0]], learning_rate=0.01, n_steps=500, method="rk4")
    >>> bool(abs(u[-1, 0, 0] - two_layer_mode_strength(5.0, 1.0, 0.01)) < 1e-8)
    True
    >>> bool(gradient_descent(W, [[1.0]], learning_rate=10.0, n_steps=20).diverged)
    True
    """
    choice("method", method, ("euler", "rk4"))
    rate = number("learning_rate", learning_rate, above=0.0)
    n_steps, every = integer("n_steps", n_steps, at_least=0), integer("every", every)
    start = _checked_chain(weights)
    task = _checked_task(start, sigma31, sigma11)

    def slope(W): return _gradients(W, *task)
    def move(W, k, h): return [w - h * g for w, g in zip(W, k)]

    def update(W):
        k1 = slope(W)
        if method == "rk4":
            k2 = slope(move(W, k1, rate / 2))
            k3 = slope(move(W, k2, rate / 2))
            k4 = slope(move(W, k3, rate))
            k1 = [(a + 2 * b + 2 * c + d) / 6 for a, b, c, d in zip(k1, k2, k3, k4)]
        return move(W, k1, rate)

    return _descent(start, update, _composite if record is None else function("record", record, "it is given the weights"),
                    n_steps, every)


def mode_strengths(W: ArrayLike, U: ArrayLike, V: ArrayLike) -> NDArray:
    """Diagonal of ``U' W V``: the strength of a map along given modes.

    Parameters
    ----------
    W : array_like, shape (..., n_outputs, n_inputs)
    U : array_like, shape (n_outputs, n_modes)
    V : array_like, shape (n_inputs, n_modes)

    Returns
    -------
    ndarray, shape (..., n_modes)

    Raises
    ------
    ValueError
        Shapes that do not fit, input that is not finite.

    Notes
    -----
    Cost: one product of ``W`` with the modes. Source: Saxe et al. 2013, section 1.

    Examples
    --------
    >>> from dlnutils.linear_networks import mode_strengths
    >>> mode_strengths([[3.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]])
    array([3., 1.])
    """
    W = matrix("W", W, stack=True)
    U = matrix("U", U, shape=(W.shape[-2], None))
    V = matrix("V", V, shape=(W.shape[-1], U.shape[1]))
    return np.einsum("...oi,om,im->...m", W, U, V, optimize=True)


def tanh_descent(W1: ArrayLike, W2: ArrayLike, targets: ArrayLike, *, learning_rate: float, n_steps: int,
                 record: Callable[[NDArray], ArrayLike] | None = None) -> Descent:
    """Gradient descent for ``y = W_2 tanh(W_1 x)`` with one-hot inputs, so column ``i`` of ``W_1`` is pattern ``i``.

    Parameters
    ----------
    W1 : array_like, shape (..., width, n_patterns)
    W2 : array_like, shape (..., n_outputs, width)
    targets : array_like, shape (n_outputs, n_patterns)
    learning_rate : float
        On the squared error summed over patterns.
    n_steps : int
        Number of updates.
    record : callable, optional
        Applied to the outputs ``(..., n_outputs, n_patterns)``; default the outputs themselves.

    Returns
    -------
    Descent
        The pair ``(weights, history)`` with ``history`` of shape (n_steps + 1, ...), inf where training diverged.

    Raises
    ------
    ValueError
        Shapes that do not fit or a rate that is not positive.

    Notes
    -----
    Cost an update: three products of the size of the weights with the patterns. Source: Saxe et al. 2013, figure 3 (green
    curves); linear output, as the paper's targets of +-1 ask for.

    Examples
    --------
    >>> from dlnutils.linear_networks import tanh_descent
    >>> tanh_descent([[0.5]], [[0.5]], [[1.0]], learning_rate=0.1, n_steps=200).history[-1].round(3)
    array([[1.]])
    """
    W1 = matrix("W1", W1, stack=True)
    W2 = matrix("W2", W2, shape=(None, W1.shape[-2]), stack=True)
    start = _checked_chain([W1, W2])
    targets = matrix("targets", targets, shape=(W2.shape[-2], W1.shape[-1]))
    rate, n_steps = number("learning_rate", learning_rate, above=0.0), integer("n_steps", n_steps, at_least=0)
    watch = function("record", record, "it is given the outputs") if record is not None else lambda outputs: outputs

    def update(weights):
        W1, W2 = weights
        hidden = np.tanh(W1)
        error = W2 @ hidden - targets
        back = (np.swapaxes(W2, -1, -2) @ error) * (1 - hidden**2)
        return [W1 - rate * back, W2 - rate * error @ np.swapaxes(hidden, -1, -2)]

    return _descent(start, update, lambda weights: watch(weights[1] @ np.tanh(weights[0])), n_steps)


@dataclass(frozen=True)
class DepthRun:
    """Learning times of one depth at several learning rates (see :func:`decoupled_descent`).

    Attributes
    ----------
    n_weights : int
    learning_rates : ndarray, shape (n_rates,)
    learning_times : ndarray, shape (n_rates,)
        Updates until the loss first was below the threshold (and stayed there for ``hold`` updates); inf where training
        diverged or was not yet there when the run ended.
    best_learning_rate, best_time : float
        The fastest.
    loss : ndarray, shape (n_steps + 1, n_rates)
        Half squared error a sample; inf from divergence on.
    diverged : ndarray of bool, shape (n_rates,)
    """

    n_weights: int
    learning_rates: NDArray
    learning_times: NDArray
    loss: NDArray

    @property
    def best_time(self) -> float:
        return float(self.learning_times.min())

    @property
    def best_learning_rate(self) -> float:
        return float(self.learning_rates[np.argmin(self.learning_times)])

    @property
    def diverged(self) -> NDArray:
        return np.isinf(self.loss[-1])


@np.errstate(over="ignore", invalid="ignore")              # divergence is a result
def timed_descent(weights: Sequence[ArrayLike], sigma31: ArrayLike, sigma11: ArrayLike, *, learning_rates: ArrayLike,
                  threshold: float, target_square: float = 1.0, hold: int = 0, max_steps: int = 2000, stop_at_first: bool = True,
                  dtype: DTypeLike = np.float64) -> DepthRun:
    """Updates that gradient descent needs from given weights to a given loss, at several learning rates at once.

    Turning the inputs into the eigenbasis of ``sigma11`` makes the product with it elementwise, and every chain has
    ``n_outputs`` rows, so no product of two hidden layers' matrices is ever formed.

    Parameters
    ----------
    weights : sequence of array_like, shapes (fan_out, fan_in)
        Initial weights, input layer first; not changed.
    sigma31 : array_like, shape (n_outputs, n_inputs)
        Mean over samples.
    sigma11 : array_like, shape (n_inputs, n_inputs)
        Mean over samples.
    learning_rates : array_like, shape (n_rates,)
    threshold : float
        Half squared error a sample that counts as learned.
    target_square : float
        Mean squared length of a target (1 for one-hot labels).
    hold : int
        Updates for which the loss must stay below the threshold; 0 is the first crossing.
    max_steps : int
        Largest number of updates.
    stop_at_first : bool
        Stop as soon as one rate has arrived; the others keep ``inf``.
    dtype : dtype
        ``np.float32`` halves the time of wide networks.

    Returns
    -------
    DepthRun

    Raises
    ------
    ValueError
        Shapes that do not fit, no learning rate or one that is not positive, a threshold not below the initial loss.

    Notes
    -----
    Cost a step: about ``6 n_outputs`` times the number of weights, for each rate. Source: Saxe et al. 2013, figures 4 to 6.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.linear_networks import timed_descent
    >>> run = timed_descent([0.1 * np.eye(2)], np.eye(2), np.eye(2), learning_rates=[0.5], threshold=0.1,
    ...                     target_square=2.0)
    >>> run.best_time
    2.0
    """
    chain = _checked_chain(weights, stack=False)
    target, _ = _checked_task(chain, sigma31, None)
    inputs = matrix("sigma11", sigma11, shape=(target.shape[1],) * 2, symmetric=True)
    rates = np.atleast_1d(real("learning_rates", learning_rates, above=0.0))
    if rates.ndim != 1 or not rates.size:
        raise ValueError(f"learning_rates must list at least one rate, got shape {rates.shape}")
    max_steps, hold = integer("max_steps", max_steps, at_least=0), integer("hold", hold, at_least=0)
    dtype, square, threshold = (precision("dtype", dtype), number("target_square", target_square, at_least=0.0),
                                number("threshold", threshold))
    variance, basis = np.linalg.eigh(inputs)
    target, variance = (target @ basis).astype(dtype), variance.astype(dtype)
    chain = [np.repeat(W[None], rates.size, axis=0).astype(dtype) for W in [chain[0] @ basis, *chain[1:]]]
    step_size = rates[:, None, None].astype(dtype)
    losses, diverged, ceiling = [], np.zeros(rates.size, bool), np.inf
    arrived, since = np.full(rates.size, np.inf), np.zeros(rates.size, int)
    for step in range(max_steps + 1):
        above, total = _upper_products(chain)
        smoothed = total * variance
        loss = square / 2 + (total * (smoothed / 2 - target)).sum((1, 2), dtype=float)
        if step == 0:
            ceiling = 1e3 * (max(square, abs(loss[0])) or np.inf)     # above it, training has diverged
        diverged |= ~(loss < ceiling)
        loss[diverged] = np.inf
        losses.append(loss)
        if step == 0 and not loss[0] > threshold:
            raise ValueError(f"threshold must lie below the initial loss {loss[0]:.3g}, got {threshold:g}")
        inside = loss <= threshold
        since = np.where(inside, np.where(since == 0, step, since), 0)
        done = inside & (step - since >= hold) & np.isinf(arrived)
        arrived[done] = since[done]
        if np.any(np.isfinite(arrived)) if stop_at_first else np.all(np.isfinite(arrived) | diverged):
            break
        error = smoothed - target
        error[diverged] = 0.0                              # a diverged member stands still and disturbs no other
        for W, slope in zip(chain, _chain_rule(chain, above, error)):
            W -= step_size * slope
    return DepthRun(len(chain), rates, arrived, np.stack(losses))


def decoupled_descent(sigma31: ArrayLike, sigma11: ArrayLike, *, n_weights: int, u0: float, learning_rates: ArrayLike,
                      threshold: float, target_square: float = 1.0, hold: int = 0, max_steps: int = 2000,
                      stop_at_first: bool = True) -> DepthRun:
    r"""Time a network of any width needs to learn from the decoupled start, at several learning rates at once.

    From :func:`.initial_weights.decoupled_init` only ``min(n_inputs, n_outputs)`` directions of each hidden layer ever
    receive a gradient, so a network of that width follows the same path exactly, however wide the original. Turning the
    outputs by ``U`` makes the starting weights multiples of the identity; :func:`timed_descent` does the rest.

    Parameters
    ----------
    sigma31 : array_like, shape (n_outputs, n_inputs)
        Mean over samples.
    sigma11 : array_like, shape (n_inputs, n_inputs)
        Mean over samples.
    n_weights : int
        Number of weight matrices, at least 2.
    u0 : float
        Initial strength of every mode.
    learning_rates : array_like, shape (n_rates,)
    threshold : float
        Half squared error a sample that counts as learned.
    target_square : float
        Mean squared length of a target (1 for one-hot labels).
    hold : int
        Updates for which the loss must stay below the threshold; 0 is the first crossing.
    max_steps : int
        Largest number of updates.
    stop_at_first : bool
        Stop as soon as one rate has arrived; the others keep ``inf``.

    Returns
    -------
    DepthRun

    Raises
    ------
    ValueError
        Shapes that do not fit, ``n_weights`` below 2, a threshold not below the initial loss, rates not positive.

    Notes
    -----
    Cost a step: three products of size (n_outputs, n_outputs, n_inputs) and ``4 n_weights`` of size (n_outputs, n_outputs,
    n_outputs) a rate, where the network of the paper, 1000 wide, needs ``6 n_weights`` of size (1000, 1000, n_outputs).
    Source: Saxe et al. 2013, figure 4.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.linear_networks import decoupled_descent
    >>> run = decoupled_descent(np.diag([1.0, 0.8]), np.eye(2), n_weights=3, u0=0.01, learning_rates=[0.1, 0.2],
    ...                         threshold=0.1, target_square=1.7)
    >>> run.best_learning_rate, run.best_time
    (0.2, 25.0)
    """
    target = matrix("sigma31", sigma31)
    n_outputs, n_inputs = target.shape
    if n_outputs > n_inputs:
        raise ValueError(f"sigma31 must have at most as many rows as columns, got shape {target.shape}")
    n = integer("n_weights", n_weights, at_least=2)
    a = number("u0", u0, above=0.0)**(1 / n)
    _, s, Vt = np.linalg.svd(target, full_matrices=False)
    start = [a * Vt] + [a * np.eye(n_outputs)] * (n - 1)       # outputs turned by U'
    return timed_descent(start, s[:, None] * Vt, sigma11, learning_rates=learning_rates, threshold=threshold,
                         target_square=target_square, hold=hold, max_steps=max_steps, stop_at_first=stop_at_first)

"""Optimizers that are linear in weights and gradients, by what they remember."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import axes, choice, flag, integer, number, real

__all__ = ["Optimizer", "schedule"]

#: What `schedule` multiplies the peak with, between the end of the warm-up (0) and the end of training (1).
SHAPES: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "constant": np.ones_like, "linear": lambda x: 1 - x, "cosine": lambda x: (1 + np.cos(np.pi * x)) / 2}

POSSIBLE = ("an Optimizer has linear rules: schedules, momentum, Nesterov, dampening, weight decay, rates and clipping of "
            "layers, averages. Adam and the sign of a gradient act on every weight for itself: fields are no longer Gaussian")


def schedule(kind: str, n_steps: int, peak: float, *, warm_up: int = 0) -> NDArray[np.float64]:
    """Learning rates of all updates: a linear warm-up, and then a constant rate or one that falls to zero.

    Parameters
    ----------
    kind : 'constant', 'linear' or 'cosine'
        How the rate goes from ``peak`` to zero after the last update, or not.
    n_steps : int
        Updates, at least 1.
    peak : float
        Largest rate, positive.
    warm_up : int
        Updates before the first one at the peak, below ``n_steps``; their rates grow in equal steps.

    Returns
    -------
    ndarray, shape (n_steps,)

    Raises
    ------
    ValueError
        Another kind, arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import schedule
    >>> schedule("linear", 6, 0.3, warm_up=2).round(3)
    array([0.1  , 0.2  , 0.3  , 0.225, 0.15 , 0.075])
    """
    shape, n_steps = SHAPES[choice("kind", kind, SHAPES)], integer("n_steps", n_steps)
    peak, warm_up = number("peak", peak, above=0.0), integer("warm_up", warm_up, at_least=0)
    if warm_up >= n_steps:
        raise ValueError(f"warm_up must be below n_steps = {n_steps}, got {warm_up}: it would never end")
    t = np.arange(n_steps)
    return peak * np.where(t < warm_up, (t + 1) / (warm_up + 1), shape(np.maximum(t - warm_up, 0) / (n_steps - warm_up)))


class Memory(NamedTuple):
    """What weights are made of: ``W_l(t) = start[l, t] W_l(0) + sum_s gradients[l][t, s] G_l(s)``, G the descent direction."""

    start: NDArray[np.float64]
    gradients: tuple[NDArray[np.float64], ...]
    average: tuple[NDArray[np.float64], tuple[NDArray[np.float64], ...]] | None


@dataclass(frozen=True)
class Optimizer:
    """A rule of learning that is linear in weights and past gradients: what `solve_dmft` and `simulate` take for ``optimizer``.

    Parameters
    ----------
    learning_rate : float or array_like, shape (n_steps,)
        ``eta``, constant or one an update (see `schedule`); the raw rate is ``eta gamma0^2 width``.
    momentum : float
        ``mu`` in [0, 1), of PyTorch's SGD: ``v = mu v + gradient``.
    nesterov : bool
        Move by ``gradient + mu v`` instead of ``v``.
    dampening : float
        In [0, 1]: from the second update on, gradients enter ``v`` with ``1 - dampening``.
    weight_decay : float or array_like, shape (L + 1,)
        Decoupled, as of AdamW: an update first multiplies the weights by ``1 - eta_t weight_decay``. For layers one by one, from
        the input to the read-out. This factor must not hang on the width, or the best decay does.
    l2 : float or array_like, shape (L + 1,)
        Decay in the gradient, as of PyTorch's SGD, in units of ``1 / (gamma0^2 width)``.
    layer_rates : array_like, shape (L + 1,), optional
        Factors on the learning rate of each weight matrix; 0 freezes it.
    average : float, optional
        ``e`` in [0, 1): also measure the loss of ``W_avg(t) = e W_avg(t - 1) + (1 - e) W(t)``, an average over some
        ``1 / (1 - e)`` updates, which does not act back on training.
    clip : float, optional
        Largest norm of the gradients of all layers together, in units of ``1 / (gamma0^2 sqrt(width))``; what is longer is cut.
    normalise : bool
        Divide the gradient of each layer by its norm, in the same units.

    Raises
    ------
    ValueError
        Arguments out of range; Nesterov without momentum or with dampening, ``clip`` with ``normalise``.

    Notes
    -----
    Source: the memory of an optimizer on the page on the derivation, derived from Bordelon & Pehlevan 2025. Norms of gradients
    do not fluctuate in the limit of large sizes, so that ``clip`` and ``normalise`` change numbers alone.

    Examples
    --------
    >>> from dlnutils.dmft import Optimizer, isotropic, schedule, solve_dmft
    >>> rule = Optimizer(schedule("cosine", 40, 0.02, warm_up=4), momentum=0.9)
    >>> solve_dmft(isotropic(1), n_steps=40, n_hidden=2, width=1.0, gamma0=1.0, optimizer=rule, n_samples=2.0)
    Solution(theory, 41 times, 2 hidden layers, width=1, n_samples=2, test loss 0.107 at the end)
    """

    learning_rate: float | ArrayLike
    momentum: float = 0.0
    nesterov: bool = False
    dampening: float = 0.0
    weight_decay: float | ArrayLike = 0.0
    l2: float | ArrayLike = 0.0
    layer_rates: ArrayLike | None = None
    average: float | None = None
    clip: float | None = None
    normalise: bool = False
    _given: Memory | None = field(default=None, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        def keep(name, value):
            object.__setattr__(self, name, value)

        def several(name, at_least):
            values = real(name, getattr(self, name), at_least=at_least)
            if values.ndim > 1 or values.ndim and not values.size:
                raise ValueError(f"{name} must be a number or a list of numbers, got shape {values.shape}")
            keep(name, float(values) if values.ndim == 0 else tuple(map(float, values)))
        if self._given is not None:                        # a rule of one's own has no rate
            return
        if isinstance(self.learning_rate, str):
            raise ValueError(f"learning_rate must be a number or one an update, got {self.learning_rate!r}: {POSSIBLE}")
        several("learning_rate", 0.0)
        if not np.any(np.asarray(self.learning_rate) > 0):
            raise ValueError(f"learning_rate must be greater than 0, got {self.learning_rate}: nothing would be learned")
        for name in ("weight_decay", "l2") + (("layer_rates",) if self.layer_rates is not None else ()):
            several(name, 0.0)
        momentum = number("momentum", self.momentum, at_least=0.0)
        if momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {momentum:g}: the velocity would never forget")
        keep("momentum", momentum)
        keep("dampening", number("dampening", self.dampening, at_least=0.0, at_most=1.0))
        for name in ("nesterov", "normalise"):
            keep(name, flag(name, getattr(self, name)))
        if self.nesterov and (self.momentum == 0 or self.dampening):
            raise ValueError(f"nesterov needs momentum and no dampening, got momentum {self.momentum:g} and dampening "
                             f"{self.dampening:g}: give a momentum such as 0.9")
        if self.average is not None:
            average = number("average", self.average, at_least=0.0)
            if average >= 1:
                raise ValueError(f"average must be below 1, got {average:g}: the average would never move")
            keep("average", average)
        if self.clip is not None:
            keep("clip", number("clip", self.clip, above=0.0))
            if self.normalise:
                raise ValueError(f"clip and normalise exclude each other, got clip = {self.clip:g}: leave one of them out")

    @classmethod
    def from_memory(cls, start: ArrayLike, gradients: ArrayLike,
                    average: tuple[ArrayLike, ArrayLike] | None = None) -> Optimizer:
        """A linear rule of your own, by what its weights are made of.

        Parameters
        ----------
        start : array_like, shape (T,) or (L + 1, T)
            ``d``, with ``W(t) = d(t) W(0) + sum_s k(t, s) G(s)`` for the weights at which gradients are taken; T = n_steps + 1
            and ``d(0) = 1``.
        gradients : array_like, shape (T, T) or (L + 1, T, T)
            ``k``, zero for ``s >= t``; learning rates are in it.
        average : pair of array_like, optional
            ``d`` and ``k`` of other weights whose loss is measured as well, such as an average.

        Raises
        ------
        ValueError
            Shapes that do not match, a memory that is not strictly lower triangular.

        Examples
        --------
        Schedule-free descent takes gradients at ``y = (1 - b) z + b x``, moves z by them, and keeps x, the mean of all z:

        >>> import numpy as np
        >>> from dlnutils.dmft import Optimizer
        >>> T, b, y = 4, 0.9, []
        >>> z = x = np.eye(T + 1)[0]                       # what each is made of: of the start, and of T gradients
        >>> for t in range(T):
        ...     y.append((1 - b) * z + b * x)
        ...     z = z + 0.5 * np.eye(T + 1)[t + 1]
        ...     x = x + (z - x) / (t + 2)
        >>> rule = Optimizer.from_memory(np.ones(T), np.array(y)[:, 1:])
        >>> rule.memory(T - 1, 1).gradients[0][3]
        array([0.3875, 0.275 , 0.1625, 0.    ])
        """
        def checked(d, k, name):
            d, k = real(f"start{name}", d), real(f"gradients{name}", k)
            if d.ndim not in (1, 2) or k.ndim not in (2, 3) or k.shape[-2:] != 2 * d.shape[-1:] or not d.size:
                raise ValueError(f"gradients{name} must have shape (T, T) or (L + 1, T, T) for start of shape (T,) or "
                                 f"(L + 1, T), got {k.shape} and {d.shape}")
            if np.any(np.triu(k)):
                raise ValueError(f"gradients{name} must be strictly lower triangular, got weights that hang on their own or a "
                                 "later gradient: k[t, s] is zero for s >= t")
            return d, k
        if average is not None and not (isinstance(average, (tuple, list)) and len(average) == 2):
            raise ValueError(f"average must be a pair (start, gradients), got {average!r}")
        d, k = checked(start, gradients, "")
        means = None if average is None else checked(*average, " of average")
        return cls(float("nan"), _given=Memory(d, (k,), None if means is None else (means[0], (means[1],))))

    @property
    def plain(self) -> bool:
        """Whether this is gradient descent at a constant rate, the same for all layers."""
        return self._given is None and isinstance(self.learning_rate, float) and self == Optimizer(self.learning_rate)

    def memory(self, n_steps: int, n_hidden: int) -> Memory:
        """What the weights are made of after each update.

        Parameters
        ----------
        n_steps, n_hidden : int
            Updates, and hidden layers L.

        Returns
        -------
        Memory
            ``start`` (L + 1, T), ``gradients`` (L + 1 arrays of shape (T, T), the same one for layers that learn alike) and
            ``average``, such a pair or None, with T = n_steps + 1. Clipping is not in it: it hangs on the training itself.

        Raises
        ------
        ValueError
            Schedules or lists of layers of the wrong length.

        Examples
        --------
        >>> from dlnutils.dmft import Optimizer
        >>> Optimizer(0.5, momentum=0.5).memory(3, 1).gradients[0]
        array([[0.   , 0.   , 0.   , 0.   ],
               [0.5  , 0.   , 0.   , 0.   ],
               [0.75 , 0.5  , 0.   , 0.   ],
               [0.875, 0.75 , 0.5  , 0.   ]])
        """
        n_steps, n_hidden = integer("n_steps", n_steps, at_least=0), integer("n_hidden", n_hidden)
        if self._given is not None:
            return self._fitted(n_steps, n_hidden)
        return self.on_nodes(np.arange(n_steps + 1), n_hidden)

    def check(self, n_steps: int, n_hidden: int) -> list[tuple[float, float, float]]:
        """Factor on the rate, decay and L2 of each matrix, or an error for lists of a wrong length."""
        if self._given is not None:
            self._fitted(n_steps, n_hidden)
            return []
        if np.ndim(self.learning_rate) and np.size(self.learning_rate) != n_steps:
            raise ValueError(f"learning_rate must have one entry for each of the {n_steps} updates, got "
                             f"{np.size(self.learning_rate)}: schedule('cosine', {n_steps}, peak) makes them")
        return list(zip(*(_by_layer(name, 1.0 if value is None else value, n_hidden + 1) for name, value in (
            ("layer_rates", self.layer_rates), ("weight_decay", self.weight_decay), ("l2", self.l2)))))

    def on_nodes(self, nodes: NDArray[np.integer], n_hidden: int) -> Memory:
        """The memory at some numbers of updates, from 0 on, of gradients that are linear in time between these nodes."""
        kinds = self.check(int(nodes[-1]), n_hidden)
        eta = np.broadcast_to(np.asarray(self.learning_rate), int(nodes[-1]))
        done = {kind: self._one(eta * kind[0], kind[1], kind[2], nodes) for kind in dict.fromkeys(kinds)}

        def part(i):
            return np.array([done[kind][i] for kind in kinds]), tuple(done[kind][i + 1] for kind in kinds)
        return Memory(*part(0), None if self.average is None else part(2))

    def _one(self, eta, decay, l2, nodes):
        """The rule itself for one matrix, on coefficients of the start and of the gradients at nodes; and of the average."""
        mu, mean, n = self.momentum, self.average, len(nodes)
        w = np.zeros(1 + n)
        w[0] = 1.0
        v, average, kept, means = 0.0 * w, w, np.zeros((n, 1 + n)), np.zeros((n, 1 + n))
        kept[0] = means[0] = w
        if mu == decay == l2 == 0 and mean is None:        # sums of rates, of which a node takes its share
            kept[:, 0], place = 1.0, np.repeat(np.arange(n - 1), np.diff(nodes))
            share = (np.arange(len(eta)) - nodes[place]) / np.diff(nodes)[place]
            moved = np.zeros((n, n))                       # a row for each gap
            moved[np.arange(n - 1) + 1, np.arange(n - 1)] = np.bincount(place, eta * (1 - share), n - 1)
            moved[np.arange(n - 1) + 1, np.arange(n - 1) + 1] = np.bincount(place, eta * share, n - 1)
            kept[:, 1:] = np.cumsum(moved, axis=0)
            return kept[:, 0], np.ascontiguousarray(kept[:, 1:]), kept[:, 0], kept[:, 1:]
        for node, (begin, end) in enumerate(zip(nodes, nodes[1:])):
            for t in range(begin, end):
                gradient, share = l2 * w, (t - begin) / (end - begin)
                gradient[1 + node] -= 1 - share
                gradient[2 + node] -= share
                v = gradient if t == 0 or mu == 0 else mu * v + (1 - self.dampening) * gradient
                w = (1 - eta[t] * decay) * w - eta[t] * (gradient + mu * v if self.nesterov else v)
                if mean is not None:
                    average = mean * average + (1 - mean) * w
            kept[node + 1], means[node + 1] = w, average
        return kept[:, 0], np.ascontiguousarray(kept[:, 1:]), means[:, 0], np.ascontiguousarray(means[:, 1:])

    def _fitted(self, n_steps, n_hidden) -> Memory:
        """A given memory, for so many updates and layers."""
        assert self._given is not None

        def fit(d, k):
            k = k[0]
            for name, array, per_layer in (("start", d, d.ndim == 2), ("gradients", k, k.ndim == 3)):
                if array.shape[-1] != n_steps + 1:
                    raise ValueError(f"n_steps must be {array.shape[-1] - 1}, the updates of the optimizer's memory, "
                                     f"got {n_steps}")
                if per_layer and len(array) != n_hidden + 1:
                    raise ValueError(f"{name} must have one entry for each of the {n_hidden + 1} weight matrices, "
                                     f"got {len(array)}")
            return (np.array(np.broadcast_to(d, (n_hidden + 1, n_steps + 1))),
                    tuple(k) if k.ndim == 3 else (n_hidden + 1) * (k,))
        average = self._given.average
        return Memory(*fit(*self._given[:2]), None if average is None else fit(*average))

    def _parameters(self) -> dict[str, Any] | None:
        """What tells this rule from plain descent, as a table that JSON can hold; None of plain descent."""
        if self._given is not None:
            d, (k,), average = self._given
            return {"start": d.tolist(), "gradients": k.tolist()} | (
                {} if average is None else {"average": [average[0].tolist(), average[1][0].tolist()]})
        if self == Optimizer(self.learning_rate):
            return None
        plain = Optimizer(1.0)
        return {name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in plain.__dict__
                if name not in ("learning_rate", "_given") and getattr(self, name) != getattr(plain, name)}


def _by_layer(name: str, value: Any, n_weights: int) -> tuple[float, ...]:
    """One number for each weight matrix."""
    values = np.atleast_1d(value)
    if np.ndim(value) and len(values) != n_weights:
        raise ValueError(f"{name} must be one number or one for each of the {n_weights} weight matrices, got {len(values)}")
    return tuple(np.broadcast_to(values, n_weights).tolist())


def optimizer_of(learning_rate: float | ArrayLike | None, optimizer: Optimizer | None) -> Optimizer:
    """The one rule that is meant by two arguments of which one is given."""
    if (learning_rate is None) == (optimizer is None):
        raise ValueError(f"give exactly one of learning_rate and optimizer, got {learning_rate} and {optimizer}: an Optimizer "
                         "holds its learning rate")
    if optimizer is None:
        assert learning_rate is not None
        if not isinstance(learning_rate, str) and axes("learning_rate", learning_rate) == 0:
            return Optimizer(number("learning_rate", learning_rate, above=0.0))
        return Optimizer(learning_rate)
    if not isinstance(optimizer, Optimizer):
        raise ValueError(f"optimizer must be an Optimizer, got {optimizer!r}: {POSSIBLE}")
    return optimizer

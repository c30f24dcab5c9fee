"""How weights and learning rates scale with width: abc-parameterizations. `perceptron` holds the network that obeys them.

``L`` hidden layers of width ``m``, ``L + 1`` weight matrices; layers are counted from 1 and stored from 0. Everything is
kept in the gauge ``a = 0``: the matrices are those that act, and their learning rates carry all powers of the width.
Source: Hajjar, Chizat & Giraud 2021.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validation import choice, integer, number, real

__all__ = ["ABC", "MODELS", "initial_exponents", "parameterization"]


@dataclass(frozen=True)
class ABC:
    """Exponents of a parameterization; a tuple holds one number for each of the ``n_hidden + 1`` weight matrices.

    Attributes
    ----------
    name : str
    n_hidden : int
        L.
    a, b, c : tuple of float
        The layer multiplies by ``m^-a w``, ``w`` starts at ``m^-b`` times its draw and learns with ``eta m^-c``.
    c_first : tuple of float or None
        ``c`` of the first step, where it differs.
    c_bias, c_bias_first : tuple of float or None
        Of biases in all layers, which are added unscaled. Without them the first layer alone has a bias, which scales and
        learns like its weights.
    mean : float
        Of the draws of the matrices from the second on.
    hybrid : {None, 'hp', 'hpz'}
        What happens to the initial middle matrices after the first step: kept at ``m^(-1/2)`` of themselves, or removed.
    """

    name: str
    n_hidden: int
    a: tuple[float, ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    c_first: tuple[float, ...] | None = None
    c_bias: tuple[float, ...] | None = None
    c_bias_first: tuple[float, ...] | None = None
    mean: float = 0.0
    hybrid: str | None = None

    def __post_init__(self):
        layers = integer("n_hidden", self.n_hidden) + 1
        for field in ("a", "b", "c", "c_first", "c_bias", "c_bias_first"):
            value = getattr(self, field)
            if value is not None:
                exponents = np.atleast_1d(real(field, value))
                if exponents.shape != (layers,):
                    raise ValueError(f"{field} must hold {layers} exponents, one a weight matrix, got {exponents.size}")
                object.__setattr__(self, field, tuple(map(float, exponents)))
        object.__setattr__(self, "mean", number("mean", self.mean))
        if self.hybrid is not None and choice("hybrid", self.hybrid, ("hp", "hpz")) and self.n_hidden < 2:
            raise ValueError(f"n_hidden must be at least 2 for a hybrid, got {self.n_hidden}: there is no middle matrix")

    def scales(self, width: int) -> NDArray[np.float64]:
        """Factors ``m^-(a + b)`` of the initial matrices, shape (L + 1,)."""
        return float(integer("width", width))**-(np.array(self.a) + self.b)

    def rates(self, width: int, first: bool = False) -> NDArray[np.float64]:
        """Factors ``m^-(c + 2 a)`` of the learning rates, at the first step or later, shape (L + 1,)."""
        c = self.c_first if first and self.c_first else self.c
        return float(integer("width", width))**-(np.array(c) + 2 * np.array(self.a))

    def bias_rates(self, width: int, first: bool = False) -> NDArray[np.float64]:
        """The same of the biases: one of the first layer, or all ``L + 1``."""
        if self.c_bias is None:
            return self.rates(width, first)[:1]
        return float(integer("width", width))**-np.array(self.c_bias_first if first and self.c_bias_first else self.c_bias)


#: Names of the parameterizations, and what they are.
MODELS = {
    "sp": "standard: one learning rate for all layers",
    "ntk": "neural tangent kernel: lazy at infinite width",
    "mup": "maximal update",
    "ip": "integrable (mean field): every layer an average over neurons",
    "ipllr": "integrable with large learning rates at the first step",
    "ip_bias": "integrable, with unscaled biases in all layers",
    "ip_non_centered": "integrable, with draws of mean 1",
    "hp": "maximal update, its initial middle matrices scaled down after the first step",
    "hpz": "maximal update, its initial middle matrices removed after the first step",
}


def initial_exponents(n_hidden: int, p: float = 1) -> dict[str, NDArray[np.float64]]:
    """How an integrable network scales with width before training: each quantity is of order ``m`` to minus the exponent.

    Parameters
    ----------
    n_hidden : int
        L.
    p : float
        Degree of homogeneity of the activation, at least 1; 1 also for smooth ones with ``phi(0) = 0`` and a slope there.

    Returns
    -------
    dict
        ``fields``, shape (L + 1,): the layers' fields and the output. ``backward``, shape (L,): derivatives of the loss by
        the fields. ``gradients``, shape (L + 1,): by the entries of the raw weights ``w``, and with the sign changed the
        exponents ``c`` of the large learning rates.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Source: Hajjar, Chizat & Giraud 2021; derived again here, layer by layer.

    Examples
    --------
    >>> from dlnutils.parameterizations import initial_exponents
    >>> initial_exponents(3)["fields"], initial_exponents(3, p=2)["gradients"]
    (array([0. , 0.5, 1. , 1.5]), array([4. , 4.5, 4.5, 4. ]))
    """
    L, p = integer("n_hidden", n_hidden), number("p", p, at_least=1.0)
    powers = p**np.arange(L)                               # 1, p, ..., p^(L-1)
    fields = np.append(0.0, np.cumsum(powers)) / 2
    backward = 0.5 + np.cumsum(powers[::-1])[::-1] / 2
    total = powers.sum()
    gradients = np.full(L + 1, (2 + total) / 2)
    gradients[[0, -1]] = (1 + total) / 2
    return {"fields": fields, "backward": backward, "gradients": gradients}


def parameterization(name: str, n_hidden: int, p: float = 1) -> ABC:
    """Exponents of a named parameterization.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    n_hidden : int
        Hidden layers L.
    p : float
        Degree of homogeneity of the activation; it sets the large first rates of ``'ipllr'``.

    Returns
    -------
    ABC

    Raises
    ------
    ValueError
        Unknown name, ``n_hidden`` not a positive integer, ``p`` below 1, a hybrid with one hidden layer.

    Notes
    -----
    Source: Hajjar, Chizat & Giraud 2021, with the exponents of the large first rates for biases as derived here.

    Examples
    --------
    >>> from dlnutils.parameterizations import parameterization
    >>> parameterization("ipllr", 4).c_first
    (-2.5, -3.0, -3.0, -3.0, -2.5)
    >>> parameterization("mup", 4).rates(100)
    array([1.e+02, 1.e+00, 1.e+00, 1.e+00, 1.e-02])
    """
    choice("name", name, tuple(MODELS))
    L = integer("n_hidden", n_hidden)

    def layers(first: float, middle: float, last: float) -> tuple[float, ...]:
        return (first, *(middle,) * (L - 1), last)
    large = -initial_exponents(L, p)["gradients"]
    zero, mean_field = layers(0, 0, 0), layers(-1, -2, -1)
    integrable: dict[str, Any] = {"a": layers(0, 1, 1), "b": zero, "c": mean_field}
    level = np.arange(1, L + 1)
    table: dict[str, dict[str, Any]] = {
        "sp": {"a": zero, "b": layers(0, 0.5, 0.5), "c": zero},
        "ntk": {"a": layers(0, 0.5, 0.5), "b": zero, "c": zero},
        "mup": {"a": layers(-0.5, 0, 0.5), "b": layers(0.5, 0.5, 0.5), "c": zero},
        "ip": integrable,
        "ipllr": integrable | {"c_first": tuple(large)},
        "ip_bias": integrable | {
            "c_first": (-(L + 1) / 2, *(-(L - level[1:] + 4) / 2), -1), "c_bias": (*(-1,) * L, 0),
            "c_bias_first": (*(-(L - level + 2) / 2), 0)},
        "ip_non_centered": integrable | {"mean": 1.0},
    }
    table |= {hybrid: table["mup"] | {"hybrid": hybrid} for hybrid in ("hp", "hpz")}
    return ABC(name, L, **table[name])

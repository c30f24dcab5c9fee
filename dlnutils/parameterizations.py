"""How weights and learning rates scale with width: abc-parameterizations, and the multilayer perceptron they are tried on.

``L`` hidden layers of width ``m``, ``L + 1`` weight matrices; layers are counted from 1 and stored from 0. Everything is
kept in the gauge ``a = 0``: the matrices are those that act, and their learning rates carry all powers of the width.
Source: Hajjar, Chizat & Giraud 2021.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
from scipy.special import erf

from ._validation import choice, integer, real

__all__ = ["ABC", "MODELS", "parameterization", "initial_exponents", "Activation", "ACTIVATIONS", "linear", "rectified_power",
           "draw", "MLP", "build", "calibrate", "train", "escape_time", "accuracy", "ranks", "sample_initial_output",
           "coordinate_check"]


# --- the table of exponents -----------------------------------------------------------------------------------------

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
    a: tuple
    b: tuple
    c: tuple
    c_first: tuple | None = None
    c_bias: tuple | None = None
    c_bias_first: tuple | None = None
    mean: float = 0.0
    hybrid: str | None = None

    def __post_init__(self):
        layers = integer("n_hidden", self.n_hidden) + 1
        for field in ("a", "b", "c", "c_first", "c_bias", "c_bias_first"):
            value = getattr(self, field)
            if value is not None:
                value = tuple(float(x) for x in np.atleast_1d(real(field, value)))
                if len(value) != layers:
                    raise ValueError(f"{field} must hold {layers} exponents, one a weight matrix, got {len(value)}")
                object.__setattr__(self, field, value)
        if self.hybrid and self.n_hidden < 2:
            raise ValueError(f"n_hidden must be at least 2 for a hybrid, got {self.n_hidden}: there is no middle matrix")

    def scales(self, width: int) -> np.ndarray:
        """Factors ``m^-(a + b)`` of the initial matrices, shape (L + 1,)."""
        return float(width)**-(np.array(self.a) + self.b)

    def rates(self, width: int, first: bool = False) -> np.ndarray:
        """Factors ``m^-(c + 2 a)`` of the learning rates, at the first step or later, shape (L + 1,)."""
        c = self.c_first if first and self.c_first else self.c
        return float(width)**-(np.array(c) + 2 * np.array(self.a))

    def bias_rates(self, width: int, first: bool = False) -> np.ndarray:
        """The same of the biases: one of the first layer, or all ``L + 1``."""
        if self.c_bias is None:
            return self.rates(width, first)[:1]
        return float(width)**-np.array(self.c_bias_first if first and self.c_bias_first else self.c_bias)


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


def initial_exponents(n_hidden: int, p: float = 1) -> dict[str, np.ndarray]:
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
    >>> initial_exponents(3)["fields"], initial_exponents(3, p=2)["gradients"]
    (array([0. , 0.5, 1. , 1.5]), array([4. , 4.5, 4.5, 4. ]))
    """
    L, p = integer("n_hidden", n_hidden), float(real("p", p, at_least=1.0))
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
    >>> parameterization("ipllr", 4).c_first
    (-2.5, -3.0, -3.0, -3.0, -2.5)
    >>> parameterization("mup", 4).rates(100)
    array([1.e+02, 1.e+00, 1.e+00, 1.e+00, 1.e-02])
    """
    choice("name", name, tuple(MODELS))
    L = integer("n_hidden", n_hidden)

    def layers(first, middle, last):
        return (first, *(middle,) * (L - 1), last)
    large = -initial_exponents(L, p)["gradients"]
    zero, mean_field = layers(0, 0, 0), layers(-1, -2, -1)
    integrable = {"a": layers(0, 1, 1), "b": zero, "c": mean_field}
    level = np.arange(1, L + 1)
    table = {
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


# --- activations ----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Activation:
    """An activation function and what training needs of it.

    Attributes
    ----------
    name : str
    variance : float
        Of the width-free draws, so that the linearised network keeps norms.
    apply : callable
        ``apply(h, out) -> kept``: writes ``phi(h)``; what it returns is handed to ``multiply``.
    multiply : callable
        ``multiply(D, h, x, kept)``: multiplies ``D`` in place by ``phi'(h)``.
    """

    name: str
    variance: float
    apply: callable
    multiply: callable

    def __call__(self, h):
        """``phi(h)``."""
        out = np.empty_like(np.asarray(h, dtype=float))
        self.apply(np.asarray(h, dtype=float), out)
        return out


def _gelu(h, out):
    below = erf(h * h.dtype.type(0.5**0.5))
    below += 1
    below *= 0.5                                           # probability that a normal number is below h
    np.multiply(h, below, out=out)
    return below


def _gelu_slope(D, h, x, below):
    density = h * h
    density *= -0.5
    np.copyto(density, -np.inf, where=density < -40)       # tails, whose products would be denormal numbers: 10 times slower
    np.exp(density, out=density)
    density *= h.dtype.type((2 * np.pi)**-0.5)
    density *= h
    density += below
    D *= density


def _elu(h, out):
    np.expm1(np.minimum(h, 0), out=out)
    np.copyto(out, h, where=h > 0)


def rectified_power(p: int) -> Activation:
    """``max(h, 0)^p``, positively homogeneous of degree ``p``; ``p = 1`` is ReLU.

    Examples
    --------
    >>> rectified_power(2)([-1.0, 3.0])
    array([0., 9.])
    """
    p = integer("p", p)

    def apply(h, out):
        np.maximum(h, 0, out=out)
        if p > 1:
            np.power(out, p, out=out)

    def multiply(D, h, x, kept):
        D *= h > 0
        if p > 1:
            D *= p * np.maximum(h, 0)**(p - 1)
    return Activation("relu" if p == 1 else f"relu^{p}", 2.0 if p == 1 else 1.0, apply, multiply)


#: ReLU, GeLU (exact), ELU and tanh.
ACTIVATIONS = {
    "relu": rectified_power(1),
    "gelu": Activation("gelu", 4.0, _gelu, _gelu_slope),
    "elu": Activation("elu", 1.0, _elu, lambda D, h, x, kept: np.multiply(D, np.where(h > 0, 1, x + 1), out=D)),
    "tanh": Activation("tanh", 1.0, lambda h, out: np.tanh(h, out=out),
                       lambda D, h, x, kept: np.multiply(D, 1 - x * x, out=D)),
}


def linear(slope: float = 1.0) -> Activation:
    """``slope h``: what a smooth activation does to small fields.

    Examples
    --------
    >>> linear(0.5)([2.0, -4.0])
    array([ 1., -2.])
    """
    slope = float(real("slope", slope))
    return Activation(f"linear({slope:g})", 1.0, lambda h, out: np.multiply(h, slope, out=out),
                      lambda D, h, x, kept: np.multiply(D, slope, out=D))


def _activation(value) -> Activation:
    if isinstance(value, Activation):
        return value
    choice("activation", value, tuple(ACTIVATIONS))
    return ACTIVATIONS[value]


# --- the network ----------------------------------------------------------------------------------------------------

def draw(n_hidden: int, width: int, n_inputs: int, n_outputs: int, activation, rng: np.random.Generator, *, mean: float = 0.0,
         all_biases: bool = False):
    """Width-free draws of all weights and biases, to be shared by the models that are compared.

    Parameters
    ----------
    n_hidden, width, n_inputs, n_outputs : int
    activation : str or Activation
        Sets the variances.
    rng : numpy.random.Generator
    mean : float
        Of the matrices from the second on.
    all_biases : bool
        Biases in all layers rather than the first alone.

    Returns
    -------
    U, V : list of ndarray
        Matrices of shape (fan out, fan in), and biases.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> U, V = draw(2, 5, 3, 2, "relu", np.random.default_rng(0))
    >>> [u.shape for u in U], [v.shape for v in V]
    ([(5, 3), (5, 5), (2, 5)], [(5,)])
    """
    L, m, d, K = (integer(name, value) for name, value in (
        ("n_hidden", n_hidden), ("width", width), ("n_inputs", n_inputs), ("n_outputs", n_outputs)))
    variance, mean = _activation(activation).variance, float(real("mean", mean))
    U = [rng.standard_normal((m, d)) * (variance / (d + 1))**0.5]
    U += [mean + rng.standard_normal((m, m)) * variance**0.5 for _ in range(L - 1)]
    U.append(mean + rng.standard_normal((K, m)))
    V = [rng.standard_normal(m) * variance**0.5 for _ in range(L if all_biases else 1)]
    return U, V + [rng.standard_normal(K)] * all_biases


class MLP:
    """A multilayer perceptron in an abc-parameterization, trained by stochastic gradient descent.

    Parameters
    ----------
    abc : ABC
    U, V : list of ndarray
        Width-free draws of the ``L + 1`` matrices and of the biases (`draw`); they are not changed.
    activation : str, Activation, or list of L of them
        Of all hidden layers, or of each.
    learning_rate : float or sequence of float
        Base rate ``eta``. One a layer: of the first step (see `calibrate`); later steps use the first of them everywhere.
    dtype : numpy dtype
        Of weights and computation: float32 for training, float64 for exponents.
    loss : {'cross_entropy', 'squared'}
        Mean over the batch of the softmax cross-entropy for integer labels, or of ``(f - y)^2`` for targets of the outputs'
        shape.

    Attributes
    ----------
    W, B : list of ndarray
        Effective matrices, ``m^-a w``, and biases.
    n_steps : int
        Steps taken.
    activations : list of Activation
        One a hidden layer; may be exchanged between steps.
    diverged_at : int or None
        The step at which the loss was not finite. From then on `step` changes nothing and returns the same.

    Raises
    ------
    ValueError
        Arguments out of range, shapes that do not fit.

    Notes
    -----
    With the gauge ``a = 0`` there are no scalar factors in a step: it costs three matrix products a layer, two in the
    first. Source: Hajjar, Chizat & Giraud 2021.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> net = MLP(parameterization("mup", 2), *draw(2, 32, 4, 3, "relu", rng), "relu", 0.1)
    >>> X, y = rng.standard_normal((20, 4)), rng.integers(3, size=20)
    >>> losses = [net.step(X, y) for _ in range(30)]
    >>> bool(losses[-1] < losses[0]), net.forward(X).shape
    (True, (20, 3))
    """

    def __init__(self, abc: ABC, U, V, activation, learning_rate, dtype=np.float32, loss: str = "cross_entropy"):
        if not isinstance(abc, ABC):
            raise ValueError(f"abc must be an ABC, got {abc!r}: see parameterization('mup', n_hidden)")
        self.abc, self.dtype, L = abc, np.dtype(dtype), abc.n_hidden
        each = list(activation) if isinstance(activation, (list, tuple)) else [activation] * L
        if len(each) != L:
            raise ValueError(f"activation must be one or {L}, one a hidden layer, got {len(each)}")
        self.activations = [_activation(which) for which in each]
        self.loss = choice("loss", loss, ("cross_entropy", "squared"))
        U, V = [real("U", u) for u in U], [real("V", v) for v in V]
        if len(U) != L + 1 or any(u.ndim != 2 for u in U):
            raise ValueError(f"U must hold {L + 1} matrices for {L} hidden layers, got {len(U)}: see draw")
        self.width, self.n_inputs, self.n_outputs = U[0].shape[0], U[0].shape[1], U[-1].shape[0]
        wanted = [(self.width, self.n_inputs)] + [(self.width, self.width)] * (L - 1) + [(self.n_outputs, self.width)]
        if [u.shape for u in U] != wanted:
            raise ValueError(f"U must have shapes {wanted}, got {[u.shape for u in U]}")
        n_biases = 1 if abc.c_bias is None else L + 1
        wanted = [(self.width,)] * L + [(self.n_outputs,)]
        if [v.shape for v in V[:n_biases]] != wanted[:n_biases]:
            raise ValueError(f"V must begin with biases of shapes {wanted[:n_biases]}, got {[v.shape for v in V]}")
        rates = np.atleast_1d(real("learning_rate", learning_rate, above=0.0))
        if rates.ndim != 1 or len(rates) not in (1, L + 1):
            raise ValueError(f"learning_rate must be one number or {L + 1}, one a weight matrix, got shape {rates.shape}")
        self.learning_rate, self.first_rates = float(rates[0]), np.broadcast_to(rates, L + 1)
        scales = abc.scales(self.width)
        self._start = [scale * u for scale, u in zip(scales, U)]
        self.W = [w.astype(self.dtype) for w in self._start]
        bias_scale = scales[0] if abc.c_bias is None else 1.0
        self.B = [(bias_scale * v).astype(self.dtype) for v in V[:n_biases]]
        self.n_steps, self.diverged_at, self._buffers = 0, None, None
        if abc.hybrid is None:
            self._start = None

    def _rates(self, first):
        """Learning rates of matrices and biases, as Python floats: they can be 10^10."""
        base = self.first_rates if first else np.full(self.abc.n_hidden + 1, self.learning_rate)
        weights = base * self.abc.rates(self.width, first)
        factors = self.abc.bias_rates(self.width, first)
        return [float(r) for r in weights], [float(r) for r in base[:len(factors)] * factors]

    def _check_inputs(self, X):
        X = np.asarray(X)
        if X.ndim != 2 or X.shape[1] != self.n_inputs:
            raise ValueError(f"X must have shape (samples, {self.n_inputs}), got {X.shape}")
        X = X.astype(self.dtype, copy=False)
        if not np.isfinite(X).all():
            raise ValueError("X must be finite, got nan or inf: drop those samples")
        return X

    def _check_targets(self, y, n):
        y = np.asarray(y)
        if len(y) != n:
            raise ValueError(f"y must hold one target a sample, {n}, got {len(y)}")
        if self.loss == "squared":
            return real("y", y).reshape(n, -1).astype(self.dtype)
        if y.ndim != 1 or y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= self.n_outputs:
            raise ValueError(f"y must hold integer labels from 0 to {self.n_outputs - 1}, got {y.dtype} from {y.min()} to "
                             f"{y.max()}")
        return y

    def _propagate(self, X, H, Xs):
        """Fields of all layers into H and activations into Xs; what the activation keeps."""
        kept = []
        for i, W in enumerate(self.W):
            np.matmul(X, W.T, out=H[i])
            if i < len(self.B):
                H[i] += self.B[i]
            if i < self.abc.n_hidden:
                kept.append(self.activations[i].apply(H[i], Xs[i]))
                X = Xs[i]
        return kept

    def _room(self, n):
        """Arrays for a batch, kept from step to step."""
        if self._buffers is None or len(self._buffers[0][0]) != n:
            def arrays(*sizes):
                return [np.empty((n, size), self.dtype) for size in sizes]
            hidden = [self.width] * self.abc.n_hidden
            self._buffers = (arrays(*hidden, self.n_outputs), arrays(*hidden), arrays(self.width, self.width),
                             [np.empty_like(W) for W in self.W])
        return self._buffers

    def fields(self, X) -> list[np.ndarray]:
        """Fields ``h`` of every layer, the last being the outputs: ``L + 1`` arrays of shape (samples, neurons)."""
        X = self._check_inputs(X)
        H = [np.empty((len(X), len(W)), self.dtype) for W in self.W]
        with np.errstate(over="ignore", invalid="ignore"):     # of a diverged network
            self._propagate(X, H, [np.empty_like(h) for h in H[:-1]])
        return H

    def forward(self, X) -> np.ndarray:
        """Outputs, shape (samples, outputs)."""
        return self.fields(X)[-1]

    def _output_error(self, f, y):
        """Mean loss of outputs ``f``, and its derivative by them, in place of ``f``."""
        n = len(f)
        if self.loss == "squared":
            f -= y
            value = float(np.mean(np.sum(np.square(f, dtype=float), axis=1)))
            f *= 2 / n
            return value
        f -= f.max(axis=1, keepdims=True)
        right = f[np.arange(n), y].astype(float)
        np.exp(f, out=f)
        total = f.sum(axis=1, keepdims=True)
        value = float(np.mean(np.log(total[:, 0].astype(float)) - right))
        f /= total
        f[np.arange(n), y] -= 1
        f /= n
        return value

    def _backward(self, X, y, use):
        """Forwards and backwards; calls ``use(layer, D, x)`` for each layer from the last, and returns the loss."""
        H, Xs, spare, _ = self._room(len(X))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kept = self._propagate(X, H, Xs)
            D = H[-1]
            value = self._output_error(D, y)
            if not np.isfinite(value):
                return value
            for i in reversed(range(self.abc.n_hidden + 1)):
                below = X if i == 0 else Xs[i - 1]
                if i:                                      # before the matrix changes
                    down = np.matmul(D, self.W[i], out=spare[i % 2])
                    self.activations[i - 1].multiply(down, H[i - 1], below, kept[i - 1])
                use(i, D, below)
                D = down
        return value

    def gradients(self, X, y):
        """Loss, and its derivatives by the effective matrices and biases.

        Returns
        -------
        loss : float
        dW, dB : list of ndarray
            In the shapes of ``W`` and ``B``.
        """
        X = self._check_inputs(X)
        y, dW, dB = self._check_targets(y, len(X)), [None] * len(self.W), [None] * len(self.B)

        def use(i, D, below):
            dW[i] = D.T @ below
            if i < len(self.B):
                dB[i] = D.sum(0)
        return self._backward(X, y, use), dW, dB

    def step(self, X, y) -> float:
        """One step of gradient descent on a batch; returns the loss before it."""
        X = self._check_inputs(X)
        y = self._check_targets(y, len(X))
        if self.diverged_at is not None:
            return np.inf
        rates, bias_rates = self._rates(self.n_steps == 0)
        room = self._room(len(X))[3]

        def use(i, D, below):
            D *= self.dtype.type(rates[i])                 # into the smaller of the two
            np.matmul(D.T, below, out=room[i])
            self.W[i] -= room[i]
            if i < len(self.B):
                self.B[i] -= D.sum(0) * self.dtype.type(bias_rates[i] / rates[i])
        value = self._backward(X, y, use)
        if not np.isfinite(value):
            self.diverged_at = self.n_steps
            return np.inf
        self.n_steps += 1
        if self.abc.hybrid and self.n_steps == 1:
            away = 1.0 if self.abc.hybrid == "hpz" else 1 - self.width**-0.5
            for i in range(1, self.abc.n_hidden):
                self.W[i] -= (away * self._start[i]).astype(self.dtype)
            self._start = None
        return value

    def copy(self) -> MLP:
        """An independent copy, weights and all."""
        return copy.deepcopy(self)


def build(name: str, n_hidden: int, width: int, data, activation, learning_rate, rng: np.random.Generator,
          dtype=np.float32, loss: str = "cross_entropy") -> MLP:
    """A network of a named parameterization, drawn for a data set.

    Parameters
    ----------
    name : str
        One of `MODELS`.
    n_hidden, width : int
    data : tuple of (n_inputs, n_outputs)
    activation, learning_rate, dtype, loss
        As in `MLP`.
    rng : numpy.random.Generator
        The same seed gives the same width-free draws for all models without biases or means.

    Returns
    -------
    MLP

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> build("ip", 3, 16, (4, 2), "tanh", 0.1, np.random.default_rng(0)).width
    16
    """
    abc = parameterization(name, n_hidden)
    U, V = draw(n_hidden, width, *data, activation, rng, mean=abc.mean, all_biases=abc.c_bias is not None)
    return MLP(abc, U, V, activation, learning_rate, dtype, loss)


def calibrate(net: MLP, X0, y0, X1, *, target: float = 1.0, output_target: float = 0.1,
              cap: float = 500.0) -> tuple[float, ...]:
    """Base learning rates of the first step that move each layer's fields by a fixed amount.

    Parameters
    ----------
    net : MLP
        At initialization; it is left as it is.
    X0, y0
        The batch of the first step.
    X1
        The batch on which the moves are measured.
    target, output_target : float
        Mean absolute change of a hidden field, and of the outputs.
    cap : float
        Largest rate.

    Returns
    -------
    tuple of float, length L + 1
        For the ``learning_rate`` of a network with the same draws. The first layer keeps its rate.

    Raises
    ------
    ValueError
        A network that has been trained, a first step that changes nothing, ``cap`` or targets not positive.

    Notes
    -----
    Layer by layer, with the layers below already moved by uncapped rates. Source: Hajjar, Chizat & Giraud 2021, as their
    public code does it.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> net = build("ipllr", 3, 64, (10, 3), "relu", 0.1, rng)
    >>> X, y = rng.standard_normal((40, 10)), rng.integers(3, size=40)
    >>> rates = calibrate(net, X, y, X)
    >>> rates[0], len(rates)
    (0.1, 4)
    """
    if net.n_steps:
        raise ValueError(f"net must be at initialization, got one after {net.n_steps} steps: calibrate a fresh one")
    cap, target, output_target = (float(real(name, value, above=0.0)) for name, value in (
        ("cap", cap), ("target", target), ("output_target", output_target)))
    _, dW, dB = net.gradients(X0, y0)
    factors, bias_factors = net.abc.rates(net.width, True), net.abc.bias_rates(net.width, True)
    x, rates = net._check_inputs(X1).astype(float), [net.learning_rate]
    for i, (W, gradient) in enumerate(zip(net.W, dW)):
        h, move = x @ W.T.astype(float), -factors[i] * (x @ gradient.T.astype(float))
        if i < len(net.B):
            h += net.B[i]
            move = move - bias_factors[i] * dB[i]
        if i == 0:
            scale = net.learning_rate
        else:
            size = np.abs(move).mean()
            if not size > 0 or not np.isfinite(size):
                raise ValueError(f"net must move in its first step, got a change of {size} in layer {i + 1}: the gradient is "
                                 "below what the dtype resolves; use float64 or a smaller width")
            scale = (output_target if i == net.abc.n_hidden else target) / size
            rates.append(min(scale, cap))
        if i < net.abc.n_hidden:
            x = net.activations[i](h + scale * move)
    return tuple(float(rate) for rate in rates)


def train(net: MLP, X, y, *, batch_size: int, n_steps: int, rng: np.random.Generator, callback=None) -> np.ndarray:
    """Train on batches drawn without replacement, reshuffled for every epoch; the last incomplete batch is left out.

    Parameters
    ----------
    net : MLP
    X, y
        The training set.
    batch_size, n_steps : int
    rng : numpy.random.Generator
    callback : callable, optional
        ``callback(t, net)`` after step ``t``, counted from 1.

    Returns
    -------
    ndarray, shape (n_steps,)
        Loss on each batch before the step; infinite from the step at which it was not finite (``net.diverged_at``).

    Raises
    ------
    ValueError
        A batch larger than the data, arguments out of range.
    """
    n, batch_size, n_steps = len(X), integer("batch_size", batch_size), integer("n_steps", n_steps)
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the number of samples, {n}, got {batch_size}")
    X, y = net._check_inputs(X), np.asarray(y)
    losses, order = np.full(n_steps, np.inf), np.empty(0, dtype=int)
    for t in range(n_steps):
        if len(order) < batch_size:
            order = rng.permutation(n)
        batch, order = order[:batch_size], order[batch_size:]
        losses[t] = net.step(X[batch], y[batch])
        if net.diverged_at is not None:
            break
        if callback is not None:
            callback(t + 1, net)
    return losses


def escape_time(losses, level: float, *, window: int = 10) -> float:
    """Steps until the running mean of the loss over ``window`` steps falls below ``level``; infinite if it never does.

    Parameters
    ----------
    losses : array_like, shape (n_steps,)
    level : float
    window : int

    Raises
    ------
    ValueError
        Fewer losses than the window, arguments out of range.

    Examples
    --------
    >>> escape_time([2.0] * 20 + [1.0] * 20, 1.5)
    26.0
    """
    window, level = integer("window", window), float(real("level", level))
    losses = np.asarray(losses, dtype=float)
    if losses.ndim != 1 or len(losses) < window:
        raise ValueError(f"losses must be one-dimensional and hold at least window = {window}, got shape {losses.shape}")
    below = np.convolve(losses, np.full(window, 1 / window), mode="valid") < level
    return float(below.argmax() + window) if below.any() else float("inf")


def accuracy(net: MLP, X, y) -> float:
    """Share of samples whose largest output is the right one; nan once the outputs are not finite."""
    f = net.forward(X)
    return float(np.mean(f.argmax(1) == y)) if np.isfinite(f).all() else float("nan")


# --- diagnostics ----------------------------------------------------------------------------------------------------

def ranks(matrix) -> tuple[int, float, float]:
    """Numerical rank, trace ratio and stable rank of a matrix.

    Parameters
    ----------
    matrix : array_like, shape (n, k)

    Returns
    -------
    numerical_rank : int
        Singular values above ``s_1 max(n, k)`` times the resolution of float32.
    trace_ratio : float
        ``(sum s^2)^2 / sum s^4``: how many directions share the energy.
    stable_rank : float
        ``sum s^2 / s_1^2``.

    Raises
    ------
    ValueError
        Not a matrix of finite numbers, or all zero.

    Notes
    -----
    Singular values are divided by the largest first, so that tiny matrices have the ranks of large ones. Source: Hajjar,
    Chizat & Giraud 2021.

    Examples
    --------
    >>> ranks(1e-30 * np.diag([1.0, 1.0, 1e-9]))
    (2, 2.0, 2.0)
    """
    matrix = real("matrix", matrix)
    if matrix.ndim != 2:
        raise ValueError(f"matrix must have two axes, got shape {matrix.shape}")
    s = np.linalg.svd(matrix / (np.abs(matrix).max() or 1.0), compute_uv=False)
    if not s.size or s[0] == 0:
        raise ValueError("matrix must not be zero: its ranks are not defined")
    s = s / s[0]
    square = np.sum(s**2)
    return int(np.sum(s > max(matrix.shape) * np.finfo(np.float32).eps)), float(square**2 / np.sum(s**4)), float(square)


def sample_initial_output(abc: ABC, width: int, activation, rng: np.random.Generator, *, n_inputs: int, n_samples: int = 400,
                          bias: bool = False) -> np.ndarray:
    """Outputs of freshly drawn networks on one input of norm 1, without drawing their matrices.

    Parameters
    ----------
    abc : ABC
        With centred draws and no biases above the first layer.
    width : int
        Any: the cost grows with ``width``, not its square.
    activation : str or Activation
    rng : numpy.random.Generator
    n_inputs : int
        d, which sets the variance ``1 / (d + 1)`` of the first layer.
    n_samples : int
        Networks.
    bias : bool
        With the first layer's bias.

    Returns
    -------
    ndarray, shape (n_samples,)

    Raises
    ------
    ValueError
        Arguments out of range, a parameterization with means or biases.

    Notes
    -----
    Given the activations below, the fields of a layer are independent normal numbers of variance ``|x|^2`` times that of the
    entries: exact, at the cost of a vector a layer.

    Examples
    --------
    >>> f = sample_initial_output(parameterization("ip", 5), 1000, "relu", np.random.default_rng(0), n_inputs=28)
    >>> f.shape
    (400,)
    """
    if abc.mean or abc.c_bias is not None:
        raise ValueError(f"abc must have centred draws and no biases above the first layer, got {abc.name!r}")
    activation, width = _activation(activation), integer("width", width)
    n_inputs, n_samples = integer("n_inputs", n_inputs), integer("n_samples", n_samples)
    scales = abc.scales(width)
    h = scales[0] * rng.standard_normal((n_samples, width)) * (activation.variance / (n_inputs + 1))**0.5
    if bias:
        h += scales[0] * rng.standard_normal((n_samples, width)) * activation.variance**0.5
    for i in range(1, abc.n_hidden + 1):
        norm = np.linalg.norm(activation(h), axis=1, keepdims=True)
        last = i == abc.n_hidden
        spread = scales[i] * (1.0 if last else activation.variance**0.5)
        h = spread * norm * rng.standard_normal((n_samples, 1 if last else width))
    return h[:, 0]


def coordinate_check(start: MLP, end: MLP, X) -> np.ndarray:
    """Mean absolute change of every layer's fields between two states of a network.

    Parameters
    ----------
    start, end : MLP
        Before and after training.
    X : array_like, shape (samples, n_inputs)

    Returns
    -------
    ndarray, shape (L + 1,)
        Hidden fields and outputs. Fitted against the width, a slope of 0 means that features are learned at every width.

    Examples
    --------
    >>> net = build("mup", 2, 16, (4, 2), "relu", 0.1, np.random.default_rng(0))
    >>> coordinate_check(net, net.copy(), np.eye(4))
    array([0., 0., 0.])
    """
    return np.array([np.abs(b - a).mean(dtype=float) for a, b in zip(start.fields(X), end.fields(X))])

"""A perceptron that obeys a table of exponents (see `parameterizations`): training, calibration, ranks, coordinate checks."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from ._validation import _numbers, choice, entries, floats, function, generator, integer, labels, number, precision, real
from .parameterizations import ABC, parameterization

__all__ = ["Activation", "rectified_power", "ACTIVATIONS", "linear", "draw", "MLP", "build", "calibrate", "train",
           "escape_time", "accuracy", "ranks", "sample_initial_output", "Network", "coordinate_check", "own_change"]


Floats = NDArray[np.floating]


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
    apply: Callable[[Floats, Floats], Any]
    multiply: Callable[[Floats, Floats, Floats, Any], Any]

    def __call__(self, h: ArrayLike) -> NDArray[np.float64]:
        """``phi(h)``."""
        fields = real("h", h)
        out = np.empty_like(fields)
        self.apply(fields, out)
        return out


def _gelu(h, out):
    from scipy.special import erf
    below = erf(h * h.dtype.type(0.5**0.5))
    below += 1
    below *= 0.5                                           # Phi(h), the probability that a normal number is below h
    np.multiply(h, below, out=out)
    return below


def _gelu_slope(D, h, x, below):
    # phi'(h) = Phi(h) + h exp(-h^2 / 2) / sqrt(2 pi)
    density = h * h
    density *= -0.5
    np.copyto(density, -np.inf, where=density < -40)       # tails, whose products would be denormal numbers: 10 times slower
    np.exp(density, out=density)
    density *= h.dtype.type((2 * np.pi)**-0.5)
    density *= h
    density += below
    D *= density


def _elu(h, out):
    np.expm1(np.minimum(h, 0), out=out)                    # one of the two terms is zero: faster than a choice
    out += np.maximum(h, 0)


def rectified_power(p: int) -> Activation:
    """``max(h, 0)^p``, positively homogeneous of degree ``p``; ``p = 1`` is ReLU.

    Raises
    ------
    ValueError
        ``p`` not a positive integer.

    Examples
    --------
    >>> from dlnutils.perceptron import rectified_power
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


#: ReLU, GeLU (exact), ELU and tanh. The variance is ``1 / phi'(0)^2`` for smooth ones, and 2 for ReLU.
ACTIVATIONS: dict[str, Activation] = {
    "relu": rectified_power(1),
    "gelu": Activation("gelu", 4.0, _gelu, _gelu_slope),
    "elu": Activation("elu", 1.0, _elu, lambda D, h, x, kept: np.multiply(D, np.minimum(x, 0) + 1, out=D)),
    "tanh": Activation("tanh", 1.0, lambda h, out: np.tanh(h, out=out),
                       lambda D, h, x, kept: np.multiply(D, 1 - x * x, out=D)),
}


def linear(slope: float = 1.0) -> Activation:
    """``slope h``: what a smooth activation does to small fields.

    Raises
    ------
    ValueError
        ``slope`` not a finite number.

    Examples
    --------
    >>> from dlnutils.perceptron import linear
    >>> linear(0.5)([2.0, -4.0])
    array([ 1., -2.])
    """
    slope = number("slope", slope)
    return Activation(f"linear({slope:g})", 1.0, lambda h, out: np.multiply(h, slope, out=out),
                      lambda D, h, x, kept: np.multiply(D, slope, out=D))


def _activation(value: str | Activation) -> Activation:
    return value if isinstance(value, Activation) else ACTIVATIONS[choice("activation", value, tuple(ACTIVATIONS))]


def draw(n_hidden: int, width: int, n_inputs: int, n_outputs: int, activation: str | Activation, *, mean: float = 0.0,
         all_biases: bool = False, first_bias: str = "full",
         rng: np.random.Generator | int) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Width-free draws of all weights and biases, to be shared by the models that are compared.

    Parameters
    ----------
    n_hidden, width, n_inputs, n_outputs : int
    activation : str or Activation
        Sets the variance ``v``.
    mean : float
        Of the matrices from the second on.
    all_biases : bool
        Biases in all layers rather than the first alone.
    first_bias : {'full', 'divided'}
        Variance of the first layer's bias: ``v``, as the public code of Hajjar et al. draws it, or ``v / (n_inputs + 1)`` like
        the weights beside it, as their text says. Their figures are those of the code.
    rng : numpy.random.Generator or int
        Generator or seed.

    Returns
    -------
    U, V : list of ndarray
        Matrices of shape (fan out, fan in), and biases. Their variances: ``v / (n_inputs + 1)`` in the first matrix, ``v`` in
        the middle ones, 1 in the last; ``v`` for biases, 1 for those of the outputs.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.perceptron import draw
    >>> U, V = draw(2, 5, 3, 2, "relu", rng=0)
    >>> [u.shape for u in U], [v.shape for v in V]
    ([(5, 3), (5, 5), (2, 5)], [(5,)])
    """
    L, m, d, K = (integer(name, value) for name, value in (
        ("n_hidden", n_hidden), ("width", width), ("n_inputs", n_inputs), ("n_outputs", n_outputs)))
    variance, mean, rng = _activation(activation).variance, number("mean", mean), generator(rng)
    choice("first_bias", first_bias, ("full", "divided"))
    U = [rng.standard_normal((m, d)) * (variance / (d + 1))**0.5]
    U += [mean + rng.standard_normal((m, m)) * variance**0.5 for _ in range(L - 1)]
    U.append(mean + rng.standard_normal((K, m)))
    V = [rng.standard_normal(m) * variance**0.5 for _ in range(L if all_biases else 1)]
    if first_bias == "divided":
        V[0] /= (d + 1)**0.5
    return U, V + [rng.standard_normal(K)] * all_biases


class MLP:
    """A multilayer perceptron in an abc-parameterization, trained by stochastic gradient descent.

    Parameters
    ----------
    abc : ABC
    U, V : list of ndarray
        Width-free draws of the ``L + 1`` matrices and of the biases (`draw`); they are not changed.
    activation : str, Activation, or sequence of L of them
        Of all hidden layers, or of each.
    learning_rate : float or sequence of float
        Base rate ``eta``. One a layer: of the first step (see `calibrate`); later steps use the first of them everywhere.
    dtype : {numpy.float32, numpy.float64}
        Of weights and computation: float32 for training, float64 for exponents.
    loss : {'cross_entropy', 'squared'}
        Mean over the batch of the softmax cross-entropy for integer labels of shape (samples,), or of ``|f - y|^2`` for targets
        of shape (samples, outputs); (samples,) will do for one output.

    Attributes
    ----------
    W, B : list of ndarray
        Effective matrices, ``m^-a w``, and biases.
    n_steps : int
        Steps taken.
    activations : list of Activation
        One a hidden layer; may be exchanged between steps.
    last_output : float
        Mean absolute output on the batch of the last step, before it; nan before the first.
    diverged : bool
    diverged_at : int or None
        The step at which the loss was not finite. From then on `step` changes nothing and returns infinity.

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
    >>> import numpy as np
    >>> from dlnutils.parameterizations import parameterization
    >>> from dlnutils.perceptron import MLP, draw
    >>> rng = np.random.default_rng(0)
    >>> U, V = draw(2, 32, 4, 3, "relu", rng=rng)
    >>> net = MLP(parameterization("mup", 2), U, V, "relu", 0.1)
    >>> X, y = rng.standard_normal((20, 4)), rng.integers(3, size=20)
    >>> losses = [net.step(X, y) for _ in range(30)]
    >>> bool(losses[-1] < losses[0]), net.forward(X).shape
    (True, (20, 3))
    """

    def __init__(self, abc: ABC, U: Sequence[ArrayLike], V: Sequence[ArrayLike],
                 activation: str | Activation | Sequence[str | Activation], learning_rate: ArrayLike,
                 dtype: DTypeLike = np.float32, loss: str = "cross_entropy"):
        _check_abc(abc)
        self.abc, self.dtype, L = abc, precision("dtype", dtype), abc.n_hidden
        each: list[Any] = list(activation) if isinstance(activation, (list, tuple)) else [activation] * L
        if len(each) != L:
            raise ValueError(f"activation must be one or {L}, one a hidden layer, got {len(each)}")
        self.activations = [_activation(which) for which in each]
        self.loss = choice("loss", loss, ("cross_entropy", "squared"))
        matrices, biases = _arrays("U", U), _arrays("V", V)
        if len(matrices) != L + 1 or any(u.ndim != 2 for u in matrices):
            raise ValueError(f"U must hold {L + 1} matrices for {L} hidden layers, got {len(matrices)}: see draw")
        self.width, self.n_inputs, self.n_outputs = *matrices[0].shape, len(matrices[-1])
        wanted = [(self.width, self.n_inputs)] + [(self.width, self.width)] * (L - 1) + [(self.n_outputs, self.width)]
        if [u.shape for u in matrices] != wanted:
            raise ValueError(f"U must have shapes {wanted}, got {[u.shape for u in matrices]}")
        n_biases = 1 if abc.c_bias is None else L + 1
        wanted = ([(self.width,)] * L + [(self.n_outputs,)])[:n_biases]
        if [v.shape for v in biases[:n_biases]] != wanted:
            raise ValueError(f"V must begin with biases of shapes {wanted}, got {[v.shape for v in biases]}")
        rates = np.atleast_1d(real("learning_rate", learning_rate, above=0.0))
        if rates.ndim != 1 or len(rates) not in (1, L + 1):
            raise ValueError(f"learning_rate must be one number or {L + 1}, one a weight matrix, got shape {rates.shape}")
        self.learning_rate, self.first_rates = float(rates[0]), np.broadcast_to(rates, L + 1)
        scales = abc.scales(self.width)
        start = [scale * u for scale, u in zip(scales, matrices)]
        self.W: list[Floats] = [np.array(w, self.dtype, order="C") for w in start]
        bias_scale = scales[0] if abc.c_bias is None else 1.0
        self.B: list[Floats] = [(bias_scale * v).astype(self.dtype) for v in biases[:n_biases]]
        self.n_steps, self.last_output = 0, np.nan
        self.diverged_at: int | None = None
        self._buffers: tuple[list[Floats], ...] | None = None
        self._start = start if abc.hybrid else []          # what a hybrid takes away after the first step

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite."""
        return self.diverged_at is not None

    def _rates(self, first: bool) -> tuple[list[float], list[float]]:
        """Learning rates of matrices and biases, as Python floats: they can be 10^10."""
        base = self.first_rates if first else np.full(self.abc.n_hidden + 1, self.learning_rate)
        weights = base * self.abc.rates(self.width, first)
        factors = self.abc.bias_rates(self.width, first)
        return [float(r) for r in weights], [float(r) for r in base[:len(factors)] * factors]

    def _check_inputs(self, X: ArrayLike, name: str = "X") -> Floats:
        inputs = floats(name, X)
        if inputs.ndim != 2 or inputs.shape[1] != self.n_inputs or not len(inputs):
            raise ValueError(f"{name} must have shape (samples, {self.n_inputs}), got {inputs.shape}")
        with np.errstate(over="ignore"):
            inputs = inputs.astype(self.dtype, copy=False)
        if not np.isfinite(inputs).all():
            raise ValueError(f"{name} must be finite in {self.dtype}, got nan or inf: drop those samples")
        return inputs

    def _check_labels(self, y: ArrayLike, n: int, name: str = "y") -> NDArray[np.integer]:
        found = labels(name, y, self.n_outputs)
        if len(found) != n:
            raise ValueError(f"{name} must hold one target a sample, {n}, got {len(found)}")
        return found

    def _check_targets(self, y: ArrayLike, n: int, name: str = "y") -> NDArray[Any]:
        if self.loss == "cross_entropy":
            return self._check_labels(y, n, name)
        targets = real(name, y)
        if targets.ndim == 1 and self.n_outputs == 1:
            targets = targets[:, None]
        if targets.shape != (n, self.n_outputs):
            raise ValueError(f"{name} must hold one row of targets a sample, shape ({n}, {self.n_outputs}), got {targets.shape}")
        return targets.astype(self.dtype)

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
            self._buffers = (arrays(*hidden, self.n_outputs), arrays(*hidden), arrays(self.width, self.width))
        return self._buffers

    def fields(self, X: ArrayLike) -> list[Floats]:
        """Fields ``h`` of every layer, the last being the outputs: ``L + 1`` arrays of shape (samples, neurons)."""
        inputs = self._check_inputs(X)
        H = [np.empty((len(inputs), len(W)), self.dtype) for W in self.W]
        with np.errstate(over="ignore", invalid="ignore"):     # of a diverged network
            self._propagate(inputs, H, [np.empty_like(h) for h in H[:-1]])
        return H

    def forward(self, X: ArrayLike) -> Floats:
        """Outputs, shape (samples, outputs); the fields of 2048 samples at a time are in memory."""
        inputs = self._check_inputs(X)
        return np.concatenate([self.fields(inputs[i:i + 2048])[-1] for i in range(0, len(inputs), 2048)])

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
        """Forwards and backwards; calls ``use(layer, D, x)`` for each layer from the last. Loss, and mean size of the outputs."""
        H, Xs, spare = self._room(len(X))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            kept = self._propagate(X, H, Xs)
            D = H[-1]
            size = float(np.abs(D).mean(dtype=float))
            value = self._output_error(D, y)
            if not np.isfinite(value):
                return value, size
            for i in reversed(range(self.abc.n_hidden + 1)):
                below = X if i == 0 else Xs[i - 1]
                down = D
                if i:                                      # dL/dh[i-1] = (D W[i]) phi'(h[i-1]), by W[i] before `use` changes it
                    down = np.matmul(D, self.W[i], out=spare[i % 2])
                    self.activations[i - 1].multiply(down, H[i - 1], below, kept[i - 1])
                use(i, D, below)
                D = down
        return value, size

    def gradients(self, X: ArrayLike, y: ArrayLike) -> tuple[float, list[Floats], list[Floats]]:
        """Loss, and its gradients: the derivatives by the effective matrices and biases, nan where the loss is not finite.

        Returns
        -------
        loss : float
        dW, dB : list of ndarray
            In the shapes of ``W`` and ``B``.
        """
        inputs = self._check_inputs(X)
        targets = self._check_targets(y, len(inputs))
        dW, dB = ([np.full_like(p, np.nan) for p in parameters] for parameters in (self.W, self.B))

        def use(i, D, below):
            np.matmul(D.T, below, out=dW[i])
            if i < len(self.B):
                D.sum(0, out=dB[i])
        return self._backward(inputs, targets, use)[0], dW, dB

    def step(self, X: ArrayLike, y: ArrayLike) -> float:
        """One step of gradient descent on a batch; returns the loss before it, infinite from divergence on."""
        inputs = self._check_inputs(X)
        targets = self._check_targets(y, len(inputs))
        if self.diverged:
            return np.inf
        rates, bias_rates = self._rates(self.n_steps == 0)
        from scipy.linalg.blas import dgemm, sgemm  # pyright: ignore[reportAttributeAccessIssue]

        product = sgemm if self.dtype == np.float32 else dgemm

        def use(i, D, below):
            D *= self.dtype.type(rates[i])                 # W -= (rate D)' x: D has a row a sample, D' x a row a neuron
            # In place, and transposed, W' -= x' (rate D), since BLAS goes down columns: no pass over the update alone.
            self.W[i] = product(-1.0, below.T, D.T, 1.0, self.W[i].T, trans_b=True, overwrite_c=True).T
            if i < len(self.B):
                self.B[i] -= D.sum(0) * self.dtype.type(bias_rates[i] / rates[i])
        value, self.last_output = self._backward(inputs, targets, use)
        if not np.isfinite(value):
            self.diverged_at = self.n_steps
            return np.inf
        self.n_steps += 1
        if self.abc.hybrid and self.n_steps == 1:
            away = 1.0 if self.abc.hybrid == "hpz" else 1 - self.width**-0.5
            for i in range(1, self.abc.n_hidden):
                self.W[i] -= (away * self._start[i]).astype(self.dtype)
            self._start = []
        return value

    def copy(self) -> MLP:
        """An independent copy, weights and all."""
        return copy.deepcopy(self)


def _check_abc(abc: object) -> None:
    if not isinstance(abc, ABC):
        raise ValueError(f"abc must be an ABC, got {abc!r}: see parameterization('mup', n_hidden)")


def _check_network(name: str, net: object) -> None:
    if not isinstance(net, MLP):
        raise ValueError(f"{name} must be an MLP, got {net!r}: see build")


def _arrays(name: str, value: Sequence[ArrayLike]) -> list[NDArray[np.float64]]:
    return [real(name, array) for array in entries(name, value, "arrays, one a layer, as draw makes them")]


def build(name: str, n_hidden: int, width: int, n_inputs: int, n_outputs: int, activation: str | Activation,
          learning_rate: ArrayLike, *, dtype: DTypeLike = np.float32, loss: str = "cross_entropy", first_bias: str = "full",
          rng: np.random.Generator | int) -> MLP:
    """A network of a named parameterization, freshly drawn.

    Parameters
    ----------
    name : str
        One of `parameterizations.MODELS`.
    n_hidden, width, n_inputs, n_outputs : int
    activation, learning_rate, dtype, loss
        As in `MLP`, one activation for all layers.
    first_bias : {'full', 'divided'}
        As in `draw`.
    rng : numpy.random.Generator or int
        Generator or seed. The same seed gives the same width-free draws for all models without biases or means.

    Returns
    -------
    MLP

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.perceptron import build
    >>> build("ip", 3, 16, 4, 2, "tanh", 0.1, rng=0).width
    16
    """
    abc = parameterization(name, n_hidden)
    U, V = draw(n_hidden, width, n_inputs, n_outputs, activation, mean=abc.mean, all_biases=abc.c_bias is not None,
                first_bias=first_bias, rng=rng)
    return MLP(abc, U, V, activation, learning_rate, dtype, loss)


def calibrate(net: MLP, X0: ArrayLike, y0: ArrayLike, X1: ArrayLike, *, target: float = 1.0, output_target: float = 0.1,
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
    >>> import numpy as np
    >>> from dlnutils.perceptron import build, calibrate
    >>> rng = np.random.default_rng(0)
    >>> net = build("ipllr", 3, 64, 10, 3, "relu", 0.1, rng=rng)
    >>> X, y = rng.standard_normal((40, 10)), rng.integers(3, size=40)
    >>> rates = calibrate(net, X, y, X)
    >>> rates[0], len(rates)
    (0.1, 4)
    """
    _check_network("net", net)
    if net.n_steps:
        raise ValueError(f"net must be at initialization, got one after {net.n_steps} steps: calibrate a fresh one")
    cap, target, output_target = (number(name, value, above=0.0) for name, value in (
        ("cap", cap), ("target", target), ("output_target", output_target)))
    X0 = net._check_inputs(X0, "X0")
    _, dW, dB = net.gradients(X0, net._check_targets(y0, len(X0), "y0"))
    factors, bias_factors = net.abc.rates(net.width, True), net.abc.bias_rates(net.width, True)
    x: Floats = net._check_inputs(X1, "X1").astype(float)
    rates = [net.learning_rate]
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


def train(net: MLP, X: ArrayLike, y: ArrayLike, *, batch_size: int, n_steps: int,
          callback: Callable[[int, MLP], object] | None = None, rng: np.random.Generator | int) -> NDArray[np.float64]:
    """Train on batches drawn without replacement, reshuffled for every epoch; the last incomplete batch is left out.

    Parameters
    ----------
    net : MLP
    X : array_like, shape (samples, n_inputs)
    y : array_like, shape (samples,), or (samples, n_outputs) for the squared loss
        The training set.
    batch_size : int
    n_steps : int
        Updates.
    callback : callable, optional
        ``callback(t, net)`` after step ``t``, counted from 1.
    rng : numpy.random.Generator or int
        Generator or seed.

    Returns
    -------
    ndarray, shape (n_steps,)
        Loss on each batch before the step; infinite from the step at which it was not finite (``net.diverged``).

    Raises
    ------
    ValueError
        Inputs and targets that do not fit each other or the network, a batch larger than the data, arguments out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.perceptron import build, train
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> net = build("mup", 2, 32, 5, 2, "relu", 0.1, rng=1)
    >>> losses = train(net, X, np.where(X[:, 0] > 0, 1, 0), batch_size=20, n_steps=60, rng=2)
    >>> losses.shape, bool(losses[-10:].mean() < losses[:10].mean())
    ((60,), True)
    """
    _check_network("net", net)
    batch_size, n_steps, rng = integer("batch_size", batch_size), integer("n_steps", n_steps), generator(rng)
    inputs = net._check_inputs(X)
    targets, n = net._check_targets(y, len(inputs)), len(inputs)
    if callback is not None:
        function("callback", callback, "callback(t, net) is called after every step")
    if batch_size > n:
        raise ValueError(f"batch_size must be at most the number of samples, {n}, got {batch_size}")
    losses, order = np.full(n_steps, np.inf), np.empty(0, dtype=int)
    for t in range(n_steps):
        if len(order) < batch_size:
            order = rng.permutation(n)
        batch, order = order[:batch_size], order[batch_size:]
        losses[t] = net.step(inputs[batch], targets[batch])
        if net.diverged:
            break
        if callback is not None:
            callback(t + 1, net)
    return losses


def escape_time(losses: ArrayLike, level: float, *, window: int = 10) -> float:
    """Steps until the running mean of the loss over ``window`` steps falls to ``level``; infinite if it never does.

    Between two steps the mean is taken as linear: a whole number of steps would change by one with the last digit of a loss.

    Parameters
    ----------
    losses : array_like, shape (n_steps,)
        Of `train`; may be infinite.
    level : float
    window : int

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Fewer losses than the window, arguments out of range.

    Examples
    --------
    >>> from dlnutils.perceptron import escape_time
    >>> round(escape_time([2.0] * 20 + [1.0] * 20, 1.45), 9)
    25.5
    """
    window, level = integer("window", window), number("level", level)
    values = _numbers("losses", losses)
    if values.ndim != 1 or len(values) < window:
        raise ValueError(f"losses must be one-dimensional and hold at least window = {window}, got shape {values.shape}")
    if np.isnan(values).any():
        raise ValueError("losses must be numbers, infinite ones from divergence on, got nan")
    mean = np.convolve(values, np.full(window, 1 / window), mode="valid")        # entry i: after window + i steps
    if not (mean < level).any():
        return float("inf")
    i = int((mean < level).argmax())
    # t = window + i - (level - mean_i) / (mean_{i-1} - mean_i)
    back = (level - mean[i]) / (mean[i - 1] - mean[i]) if i else 0.0
    return float(window + i - back)


def accuracy(net: MLP, X: ArrayLike, y: ArrayLike, *, by: str = "outputs") -> float:
    """Share of samples whose largest output is the right one; nan once the outputs are not finite.

    Parameters
    ----------
    net : MLP
    X : array_like, shape (samples, n_inputs)
    y : array_like of int, shape (samples,)
        Labels, whatever the loss.
    by : {'outputs', 'probabilities'}
        The largest of the outputs, or of their softmax in the network's precision. The first of equals counts: where outputs
        differ by less than float32 resolves beside 1, all probabilities are equal and every sample gets label 0.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        Inputs and labels that do not fit each other or the network.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.perceptron import accuracy, build
    >>> net = build("mup", 1, 8, 4, 3, "relu", 0.1, rng=0)
    >>> accuracy(net, np.eye(4), net.forward(np.eye(4)).argmax(1))
    1.0
    """
    _check_network("net", net)
    choice("by", by, ("outputs", "probabilities"))
    f = net.forward(X)
    wanted, finite = net._check_labels(y, len(f)), bool(np.isfinite(f).all())
    if by == "probabilities" and finite:
        f = np.exp(f - f.max(axis=1, keepdims=True))
        f /= f.sum(axis=1, keepdims=True)
    return float(np.mean(f.argmax(1) == wanted)) if finite else float("nan")


def ranks(matrix: ArrayLike, *, n_images: int | None = None, threshold: float | None = None) -> tuple[int, float, float]:
    """Numerical rank, trace ratio and stable rank of a matrix.

    Parameters
    ----------
    matrix : array_like, shape (n, k)
        Fields of n images, say, or an update.
    n_images : int, optional
        In the place of n in the threshold, where fewer images are at hand than it is meant for.
    threshold : float, optional
        Another threshold, as a share of the largest singular value ``s_1``.

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
        Not a matrix of finite numbers, or all zero; both ``n_images`` and ``threshold``, or one that is not positive.

    Notes
    -----
    Singular values are divided by the largest first, so that tiny matrices have the ranks of large ones. The threshold depends
    on how many images are shown. Source: Hajjar, Chizat & Giraud 2021, who show 5000 to networks 1024 wide: they print a
    threshold of ``1e-4 s_1``, and the ranks that they draw are those of this one, ``6e-4 s_1``.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.perceptron import ranks
    >>> ranks(1e-30 * np.diag([1.0, 1.0, 1e-9]))
    (2, 2.0, 2.0)
    """
    M = real("matrix", matrix)
    if M.ndim != 2 or not M.size:
        raise ValueError(f"matrix must have two axes and not be empty, got shape {M.shape}")
    if not M.any():
        raise ValueError("matrix must not be zero: its ranks are not defined")
    if threshold is None:
        n = len(M) if n_images is None else integer("n_images", n_images)
        threshold = max(n, M.shape[1]) * float(np.finfo(np.float32).eps)
    elif n_images is not None:
        raise ValueError(f"threshold and n_images must not both be given, got {threshold!r} and {n_images!r}: n_images sets one")
    threshold = number("threshold", threshold, above=0.0)
    s = np.linalg.svd(M / np.abs(M).max(), compute_uv=False)
    s = s / s[0]
    square = np.sum(s**2)
    return int(np.sum(s > threshold)), float(square**2 / np.sum(s**4)), float(square)


def sample_initial_output(abc: ABC, width: int, activation: str | Activation, *, n_inputs: int, n_networks: int = 400,
                          with_bias: bool = False, rng: np.random.Generator | int) -> NDArray[np.float64]:
    """Outputs of freshly drawn networks on one input of norm 1, without drawing their matrices.

    Parameters
    ----------
    abc : ABC
        With centred draws and no biases above the first layer.
    width : int
        Any: the cost grows with ``width``, not its square.
    activation : str or Activation
        Sets the variance ``v``.
    n_inputs : int
        Sets the variance ``v / (n_inputs + 1)`` of the first matrix.
    n_networks : int
    with_bias : bool
        With the first layer's bias, of variance ``v``.
    rng : numpy.random.Generator or int
        Generator or seed.

    Returns
    -------
    ndarray, shape (n_networks,)

    Raises
    ------
    ValueError
        Arguments out of range, a parameterization with means or biases.

    Notes
    -----
    Given the activations below, the fields of a layer are independent normal numbers of variance ``|x|^2`` times that of the
    entries: exact, at the cost of a vector a layer. Memory ``24 n_networks width`` bytes.

    Examples
    --------
    >>> from dlnutils.parameterizations import parameterization
    >>> from dlnutils.perceptron import sample_initial_output
    >>> f = sample_initial_output(parameterization("ip", 5), 1000, "relu", n_inputs=28, rng=0)
    >>> f.shape
    (400,)
    """
    _check_abc(abc)
    if abc.mean or abc.c_bias is not None:
        raise ValueError(f"abc must have centred draws and no biases above the first layer, got {abc.name!r}")
    activation, width, rng = _activation(activation), integer("width", width), generator(rng)
    n_inputs, n_networks = integer("n_inputs", n_inputs), integer("n_networks", n_networks)
    scales = abc.scales(width)
    h = scales[0] * rng.standard_normal((n_networks, width)) * (activation.variance / (n_inputs + 1))**0.5
    if with_bias:
        h += scales[0] * rng.standard_normal((n_networks, width)) * activation.variance**0.5
    for i in range(1, abc.n_hidden + 1):
        norm = np.linalg.norm(activation(h), axis=1, keepdims=True)
        last = i == abc.n_hidden
        spread = scales[i] * (1.0 if last else activation.variance**0.5)
        h = spread * norm * rng.standard_normal((n_networks, 1 if last else width))
    return h[:, 0]


class Network(Protocol):
    """What the checks need of a network, in whatever library it is written: a wrapper with three methods.

    The fields of a layer are what its matrix makes of its inputs, before the activation function. Names are the same in weights
    and fields, and in the order from the first layer to the outputs.

    Examples
    --------
    >>> import copy
    >>> from dlnutils.perceptron import Network, own_change
    >>> class Linear:                                      # one layer, f = W x, and the loss |f - y|^2 / 2
    ...     def __init__(self, W):
    ...         self.W = W
    ...     def weights(self):
    ...         return {"W": self.W}
    ...     def fields(self, X, weights):
    ...         return {"W": X @ weights["W"].T}
    ...     def step(self, X, y):
    ...         error = X @ self.W.T - y
    ...         self.W = self.W - 0.5 * error.T @ X / len(X)
    ...         return float(0.5 * np.mean(error**2))
    >>> start: Network = Linear(np.zeros((1, 2)))
    >>> end = copy.deepcopy(start)
    >>> loss = end.step(np.eye(2), np.ones((2, 1)))
    >>> own_change(start, end, np.eye(2))
    array([0.25])
    """

    def weights(self) -> Mapping[str, Any]:
        """Matrices of weights by layer."""
        ...

    def fields(self, X: Any, weights: Mapping[str, Any], /) -> Mapping[str, Any]:
        """Fields by layer, samples on the first axis, of the network with these weights in place of its own."""
        ...

    def step(self, X: Any, y: Any, /) -> float:
        """One update on a batch; the loss before it."""
        ...


class _Layers:
    """An `MLP` as a `Network`: layers are called by their number."""

    def __init__(self, net: MLP):
        self.net, self.step = net, net.step

    def weights(self) -> dict[str, Floats]:
        return {str(i): W for i, W in enumerate(self.net.W, 1)}

    def fields(self, X, weights, /) -> dict[str, Floats]:
        other = copy.copy(self.net)                        # the biases and all else are shared
        other.W = list(weights.values())
        return {str(i): h for i, h in enumerate(other.fields(X), 1)}


#: The methods of a `Network` as they are called.
_CALLS = {"weights": "weights()", "fields": "fields(X, weights)", "step": "step(X, y)"}


def _network(name: str, net: Any) -> Network:
    if isinstance(net, MLP):
        return _Layers(net)
    of_instances = not isinstance(net, type)               # a class has its methods, and no weights
    lacking = [call for method, call in _CALLS.items() if not (of_instances and callable(getattr(net, method, None)))]
    if lacking:
        raise ValueError(f"{name} must be an MLP or a wrapper with {', '.join(_CALLS.values())}, got {net!r}, which lacks "
                         f"{', '.join(lacking)}: see perceptron.Network")
    return net


def _by_layer(name: str, found: Any, names: Sequence[str] | None = None, n: int | None = None) -> dict[str, Floats]:
    """Copies of the arrays that a wrapper returned, in the order of ``names``."""
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"{name} must return a dict of arrays by layer, got {found!r}")
    lacking = [layer for layer in names or () if layer not in found]
    if lacking:
        raise ValueError(f"{name} must return all layers that weights() names, {list(names or ())}, got {list(found)}: it lacks "
                         + ", ".join(map(repr, lacking)))
    arrays = {}
    for layer in names or found:
        try:
            arrays[layer] = np.asarray(found[layer]).copy()        # weights may be a view of what the next step changes
        except (TypeError, ValueError, RuntimeError):      # the last of a tensor whose gradient is asked for
            arrays[layer] = np.array(None)
        if arrays[layer].dtype.kind not in "fiub":
            raise ValueError(f"{name} must return arrays of numbers, got {type(found[layer]).__name__} in {layer!r}: turn it "
                             "into a numpy array, for example with tensor.detach().numpy()")
        if n is not None and (not arrays[layer].ndim or len(arrays[layer]) != n):
            raise ValueError(f"{name} must return one row a sample, {n}, got shape {arrays[layer].shape} in {layer!r}")
    return arrays


def _states(start: Any, end: Any, X: Any) -> tuple[Network, Network, dict[str, Floats], dict[str, Floats]]:
    """Two states of a network, checked against each other, and their weights."""
    first, last = _network("start", start), _network("end", end)
    before = _by_layer("start.weights()", first.weights())
    after = _by_layer("end.weights()", last.weights(), list(before))
    shapes = [[W.shape for W in weights.values()] for weights in (before, after)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"end must have the shapes of start, {shapes[0]}, got {shapes[1]}")
    if not isinstance(start, MLP):
        real("X", X)                                       # an MLP looks at its inputs itself
    return first, last, before, after


def _fields(name: str, net: Network, X: Any, weights: dict[str, Floats]) -> dict[str, Floats]:
    return _by_layer(f"{name}.fields(X, weights)", net.fields(X, weights), list(weights), len(X))


def coordinate_check(start: MLP | Network, end: MLP | Network, X: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute change of every layer's fields between two states of a network.

    Parameters
    ----------
    start, end : MLP or Network
        Before and after training.
    X : array_like, shape (samples, n_inputs)

    Returns
    -------
    ndarray, shape (L + 1,)
        Hidden fields and outputs. Fitted against the width, a slope of 0 means that features are learned at every width.

    Raises
    ------
    ValueError
        Networks of different shapes, inputs that do not fit, a wrapper that lacks something.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.perceptron import build, coordinate_check
    >>> net = build("mup", 2, 16, 4, 2, "relu", 0.1, rng=0)
    >>> coordinate_check(net, net.copy(), np.eye(4))
    array([0., 0., 0.])
    """
    first, last, before, after = _states(start, end, X)
    h, moved = _fields("start", first, X, before), _fields("end", last, X, after)
    return np.array([np.abs(moved[layer] - h[layer]).mean(dtype=float) for layer in h])


def own_change(start: MLP | Network, end: MLP | Network, X: ArrayLike) -> NDArray[np.float64]:
    """Mean absolute change of every layer's fields by its own new weights, all other layers being as they were.

    Parameters
    ----------
    start, end : MLP or Network
        Before and after training, in double precision: small steps are differences of fields.
    X : array_like, shape (samples, n_inputs)

    Returns
    -------
    ndarray, shape (L + 1,)
        Hidden fields and outputs: ``mean |(W_end - W_start) x|``, where ``x`` are the layer's inputs before training. The part
        of `coordinate_check` that hangs on this layer's learning rate; biases do not count.

    Raises
    ------
    ValueError
        Networks of different shapes, inputs that do not fit, a wrapper that lacks something.

    Notes
    -----
    One pass a layer, in which this layer alone has its new weights, so nothing need be known of what lies between layers.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.perceptron import build, coordinate_check, own_change
    >>> start = build("mup", 2, 16, 4, 2, "relu", 0.1, dtype=float, rng=0)
    >>> end = start.copy()
    >>> loss = end.step(np.eye(4), [0, 1, 0, 1])
    >>> bool(own_change(start, end, np.eye(4))[1] < coordinate_check(start, end, np.eye(4))[1])
    True
    """
    first, _, before, after = _states(start, end, X)
    h = _fields("start", first, X, before)
    own = np.array([np.abs(_fields("start", first, X, before | {layer: after[layer]})[layer] - h[layer]).mean(dtype=float)
                    for layer in h])
    if not own.any() and any((before[layer] != after[layer]).any() for layer in h):
        raise ValueError("start.fields(X, weights) must use the weights that it is given, got the same fields with those of end")
    return own

"""Checks of arguments, so that every public function refuses bad input in the same words."""

from __future__ import annotations

import importlib.util
import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

#: Kinds of arrays that are no real numbers, and what to do about them.
REFUSED = {"c": "take its real part", "U": "turn text into numbers first", "S": "turn text into numbers first",
           "M": "turn dates into numbers first", "m": "turn time differences into numbers first"}


def _first(array: np.ndarray, bad: np.ndarray) -> object:
    """The first offending entry, for the message."""
    return array[bad].flat[0] if array.ndim else array[()]


def _numbers(name: str, value: object) -> np.ndarray:
    """``value`` as a float64 array, whatever container of real numbers it is."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must not be masked, got a masked array: leave the masked entries out, or fill them")
    try:
        array = np.asarray(value)
        mend = REFUSED.get(array.dtype.kind, "")
        if array.dtype.kind == "O":
            mend = next((REFUSED["U"] if isinstance(entry, (str, bytes)) else "leave None out"
                         for entry in array.flat if entry is None or isinstance(entry, (str, bytes))), "")
        if not mend:
            return array.astype(float)
    except (TypeError, ValueError):
        mend = ""
    raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}" + (f": {mend}" if mend else ""))


def real(name: str, value: ArrayLike, *, above: float | None = None, at_least: float | None = None,
         at_most: float | None = None, hint: str = "") -> NDArray[np.float64]:
    """Return ``value`` as a float64 array, or raise a ``ValueError`` that names it.

    ``above`` is an open lower bound, ``at_least`` and ``at_most`` are closed ones; ``hint`` is the mend.
    """
    array = _numbers(name, value)
    rules = [(~np.isfinite(array), "be finite")]
    if above is not None:
        rules.append((array <= above, f"be greater than {above:g}"))
    if at_least is not None:
        rules.append((array < at_least, f"be at least {at_least:g}"))
    if at_most is not None:
        rules.append((array > at_most, f"be at most {at_most:g}"))
    for bad, rule in rules:
        if np.any(bad):
            raise ValueError(f"{name} must {rule}, got {_first(array, bad)}" + (f": {hint}" if hint else ""))
    return array


def axes(name: str, value: object) -> int:
    """How many axes an array of real numbers has, infinite ones too; 0 of one number."""
    return _numbers(name, value).ndim


def flag(name: str, value: object) -> bool:
    """Return ``value`` as a bool, or raise a ``ValueError`` that names it."""
    if isinstance(value, np.ndarray) or value not in (False, True):
        raise ValueError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def floats(name: str, value: ArrayLike) -> NDArray[np.floating]:
    """An array of floats as it is, in its own precision and without a pass over it; anything else through `real`."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not isinstance(value, np.ma.MaskedArray):
        return np.asarray(value)
    return real(name, value)


def number(name: str, value: ArrayLike, *, above: float | None = None, at_least: float | None = None,
           at_most: float | None = None, hint: str = "") -> float:
    """Return ``value`` as a float, or raise a ``ValueError`` that names it: one number, not several."""
    array = _numbers(name, value)
    if array.ndim or isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name} must be one number, got {value!r}" + (f": {hint}" if hint else ""))
    return float(real(name, array, above=above, at_least=at_least, at_most=at_most, hint=hint))


def common_shape(**arrays: NDArray) -> tuple[int, ...]:
    """The shape that arrays broadcast to, or a ``ValueError`` that names them all."""
    try:
        return np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        raise ValueError(f"{', '.join(arrays)} must have shapes that broadcast, got "
                         + ", ".join(str(array.shape) for array in arrays.values())) from None


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Return a generator as it is, or one made from a seed."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError):
        raise ValueError(f"rng must be a numpy.random.Generator or a seed, got {rng!r}: for example "
                         "numpy.random.default_rng(0)") from None


def _whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and float(value).is_integer())


def integer(name: str, value: Any, *, at_least: int = 1, hint: str = "") -> int:
    """Return ``value`` as an int, or raise a ``ValueError`` that names it."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not _whole(value) or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}"
                         + (f": {hint}" if hint else ""))
    return int(value)


def choice(name: str, value: str, options: Iterable[str]) -> str:
    """Return ``value`` if it is one of ``options``, or raise a ``ValueError`` that lists them."""
    if not isinstance(value, str) or value not in list(options):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def entries(name: str, value: Iterable, what: str) -> list:
    """Return the entries of a list, or raise a ``ValueError`` that names it and says ``what`` it must list."""
    if not np.iterable(value) or isinstance(value, (str, bytes)) or not len(listed := list(value)):
        raise ValueError(f"{name} must list {what}, got {value!r}")
    return listed


def function(name: str, value: object, hint: str) -> Callable[..., Any]:
    """Return ``value`` if it can be called, or raise a ``TypeError`` that names it."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r}: {hint}")
    return value


def matrix(name: str, value: ArrayLike, *, shape: Sequence[int | None] = (None, None), stack: bool = False,
           symmetric: bool = False) -> NDArray[np.float64]:
    """Return ``value`` as a finite float matrix, or with ``stack`` a stack of them; None in ``shape`` means any.

    ``symmetric`` refuses what differs from its transpose by more than rounding in single precision.
    """
    array = real(name, value)
    wrong = array.ndim < 2 if stack else array.ndim != 2
    if not wrong:
        wrong = any(want is not None and have != want for have, want in zip(array.shape[-2:], shape))
    if wrong:
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must be a matrix of shape {wanted}, got shape {array.shape}")
    if symmetric:
        flipped = np.swapaxes(array, -1, -2)
        apart = np.abs(array - flipped) > 1e-6 * np.abs(array).max(initial=0.0)
        if np.any(apart):
            raise ValueError(f"{name} must be symmetric, got {array[apart][0]:g} opposite {flipped[apart][0]:g}: "
                             f"take ({name} + {name}.T) / 2 if that is meant")
    return array


def need(extra: str, *packages: str) -> None:
    """Raise a ``ModuleNotFoundError`` that says what is missing and which extra brings it, before it is imported."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(f"this needs {' and '.join(missing)}: pip install 'dlnutils[{extra}]'", name=missing[0])


def precision(name: str, dtype: DTypeLike) -> np.dtype:
    """Return ``dtype`` if it is float32 or float64, or raise a ``ValueError`` that names it."""
    try:
        if dtype is not None and np.dtype(dtype) in (np.float32, np.float64):
            return np.dtype(dtype)
    except TypeError:
        pass
    raise ValueError(f"{name} must be numpy.float32 or numpy.float64, got {dtype!r}")


def labels(name: str, value: ArrayLike, n_classes: int) -> NDArray[np.integer]:
    """Return ``value`` as a vector of integers from 0 to ``n_classes - 1``, or raise a ``ValueError`` that names it."""
    rule = f"{name} must hold integer labels from 0 to {n_classes - 1}"
    try:
        array = np.asarray(value)
    except ValueError:
        raise ValueError(f"{rule}, got {value!r}: lists of one length") from None
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{rule}, got a masked array: leave the masked samples out")
    if array.ndim != 1:
        what = f"shape {array.shape}: pass a vector, for example {name}.ravel()" if array.ndim else repr(value)
        raise ValueError(f"{rule}, one a sample, got {what}")
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"{rule}, got {array.dtype}, the first {array[:1].tolist()[0]!r}: number the classes, for example with "
                         f"numpy.unique({name}, return_inverse=True)[1], or use {name}.astype(int)")
    if array.size and (array.min() < 0 or array.max() >= n_classes):
        raise ValueError(f"{rule}, got {array.dtype} from {array.min()} to {array.max()}")
    return array

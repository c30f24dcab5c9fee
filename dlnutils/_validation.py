"""Checks of arguments, so that every public function refuses bad input in the same words; and of the memory that is free."""

from __future__ import annotations

import numbers
import os

import numpy as np


def _first(array: np.ndarray, bad: np.ndarray) -> object:
    """The first offending entry, for the message."""
    return array[bad].flat[0] if array.ndim else array[()]


def real(name: str, value, *, above: float | None = None, at_least: float | None = None,
         at_most: float | None = None, hint: str = "") -> np.ndarray:
    """Return ``value`` as a float64 array, or raise a ``ValueError`` that names it.

    ``above`` is an open lower bound, ``at_least`` and ``at_most`` are closed ones; ``hint`` is the mend.
    """
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a number or an array of numbers, got {value!r}") from None
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


def integer(name: str, value, *, at_least: int = 1, hint: str = "") -> int:
    """Return ``value`` as an int, or raise a ``ValueError`` that names it."""
    whole = isinstance(value, numbers.Integral) or (isinstance(value, numbers.Real) and float(value).is_integer())
    if isinstance(value, bool) or not whole or value < at_least:
        raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}"
                         + (f": {hint}" if hint else ""))
    return int(value)


def choice(name: str, value, options) -> str:
    """Return ``value`` if it is one of ``options``, or raise a ``ValueError`` that lists them."""
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value


def matrix(name: str, value, *, shape: tuple = (None, None), stack: bool = False) -> np.ndarray:
    """Return ``value`` as a finite float matrix, or with ``stack`` a stack of them; None in ``shape`` means any."""
    array = real(name, value)
    wrong = array.ndim < 2 if stack else array.ndim != 2
    if not wrong:
        wrong = any(want is not None and have != want for have, want in zip(array.shape[-2:], shape))
    if wrong:
        wanted = " x ".join("any" if want is None else str(want) for want in shape)
        raise ValueError(f"{name} must be a matrix of shape {wanted}, got shape {array.shape}")
    return array


def free_memory() -> float:
    """Bytes of memory that a process may still take; infinite where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:     # counts what the system would give back
            return 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        try:
            return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
        except (OSError, ValueError, AttributeError):
            return float("inf")

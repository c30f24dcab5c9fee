"""Power laws: exponents with their errors, in a stated window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import _numbers, integer, number, real

__all__ = ["PowerLaw", "fit_power_law", "richardson", "first_crossing"]


@dataclass(frozen=True)
class PowerLaw:
    """``y = prefactor x^exponent``, fitted on ``window``; call it to evaluate it.

    Attributes
    ----------
    exponent, exponent_error : float
        Slope in log-log coordinates and its standard error (nan for two points).
    prefactor : float
    window : tuple of float
        Smallest and largest ``x`` used.
    n_points : int
    drift : float
        Slope on the upper half of the window, in ``log x``, minus that on the lower half.
    """

    exponent: float
    exponent_error: float
    prefactor: float
    window: tuple[float, float]
    n_points: int
    drift: float = np.nan

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """Evaluate the law at ``x``, positive."""
        return self.prefactor * real("x", x, above=0.0)**self.exponent


def fit_power_law(x: ArrayLike, y: ArrayLike, *, low: float = 0.0, high: float = np.inf) -> PowerLaw:
    """Least-squares power law through ``(x, y)`` with ``low <= x <= high``, in log-log coordinates.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positive numbers.
    low, high : float
        The window in ``x``.

    Returns
    -------
    PowerLaw

    Raises
    ------
    ValueError
        Masked arrays, shapes that differ, numbers not positive inside the window, or fewer than two points there.

    Examples
    --------
    >>> from dlnutils.fitting import fit_power_law
    >>> law = fit_power_law([1.0, 2.0, 4.0, 8.0], [3.0, 12.0, 48.0, 192.0])
    >>> round(law.exponent, 6), round(law.prefactor, 6)
    (2.0, 3.0)
    """
    x, y = _numbers("x", x), _numbers("y", y)              # what is not finite may stand outside the window
    low, high = _bound("low", low), _bound("high", high)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x and y must be one-dimensional and equally long, got shapes {x.shape} and {y.shape}")
    inside = ~((x < low) | (x > high))
    log_x = np.log(real("x", x[inside], above=0.0, hint="a power law needs positive numbers; narrow the window"))
    log_y = np.log(real("y", y[inside], above=0.0, hint="a power law needs positive numbers; narrow the window"))
    if log_x.size < 2 or np.ptp(log_x) == 0:
        raise ValueError(f"window low = {low:g}, high = {high:g} holds {log_x.size} points of x, but a slope needs two "
                         "different ones: widen it")

    def slope_of(u, v):
        u = u - u.mean()
        return u @ v / (u @ u) if len(u) > 1 else np.nan

    late = log_x > (log_x.min() + log_x.max()) / 2
    drift = slope_of(log_x[late], log_y[late]) - slope_of(log_x[~late], log_y[~late])
    centred, slope = log_x - log_x.mean(), slope_of(log_x, log_y)
    offset = log_y.mean() - slope * log_x.mean()
    freedom = log_x.size - 2
    residual = log_y - offset - slope * log_x
    error = np.sqrt(residual @ residual / freedom / (centred @ centred)) if freedom else np.nan
    return PowerLaw(float(slope), float(error), float(np.exp(offset)), (float(x[inside].min()), float(x[inside].max())),
                    int(log_x.size), float(drift))


def _bound(name: str, value: ArrayLike) -> float:
    """An end of a window: one number, infinite perhaps."""
    bound = _numbers(name, value)
    if bound.ndim or np.isnan(bound):
        raise ValueError(f"{name} must be one number, or infinite, got {value!r}")
    return float(bound)


def richardson(values: ArrayLike, *, ratio: float = 2.0, first_order: int = 1) -> NDArray[np.float64]:
    """Limit of results at sizes ``n, ratio n, ratio^2 n, ...`` whose error is a series in ``1 / n``.

    Parameters
    ----------
    values : array_like, shape (n_sizes, ...)
        From the smallest size to the largest.
    ratio : float
        Of neighbouring sizes, above 1.
    first_order : int
        Power of ``1 / n`` the error begins with.

    Returns
    -------
    ndarray, shape (...)
        With ``n_sizes - 1`` orders of the error removed.

    Raises
    ------
    ValueError
        Nothing to extrapolate, arguments out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from dlnutils.fitting import richardson
    >>> n = np.array([1.0, 2.0, 4.0])
    >>> float(richardson(3 + 5 / n - 7 / n**2))
    3.0
    """
    values, ratio = real("values", values), number("ratio", ratio, above=1.0)
    order = integer("first_order", first_order)
    if values.ndim == 0 or not len(values):
        raise ValueError(f"values must hold a result for each size along its first axis, got shape {values.shape}")
    while len(values) > 1:
        values = (ratio**order * values[1:] - values[:-1]) / (ratio**order - 1)
        order += 1
    return values[0]


def first_crossing(times: ArrayLike, values: ArrayLike, level: ArrayLike) -> NDArray[np.float64]:
    """First time a curve rises to ``level``, interpolated linearly between samples.

    Parameters
    ----------
    times : array_like, shape (n_times,)
        Increasing.
    values : array_like, shape (..., n_times)
        Curves, one along the last axis; infinite or nan where there is nothing.
    level : array_like
        Level of each curve; broadcasts with ``values[..., 0]``.

    Returns
    -------
    ndarray
        One time a curve: the first sample's time for curves that start at or above the level, nan for curves that
        never reach it.

    Raises
    ------
    ValueError
        Masked arrays, ``times`` that do not match the last axis of ``values`` or do not increase, levels that do not match.

    Examples
    --------
    >>> from dlnutils.fitting import first_crossing
    >>> first_crossing([0.0, 1.0, 2.0], [[0.0, 0.5, 1.0], [0.0, 0.1, 0.2]], 0.75)
    array([1.5, nan])
    """
    times, values, level = real("times", times), _numbers("values", values), _numbers("level", level)
    if times.ndim != 1 or values.ndim == 0 or values.shape[-1] != times.size or np.any(np.diff(times) <= 0):
        raise ValueError(f"times must increase and match the last axis of values, got shapes {times.shape} and "
                         f"{values.shape}")
    try:
        level = np.broadcast_to(level, values.shape[:-1])
    except ValueError:
        raise ValueError(f"level must broadcast to the curves, of shape {values.shape[:-1]}, got shape {level.shape}") from None
    reached = values >= level[..., None]
    after = np.argmax(reached, axis=-1)
    before = np.maximum(after - 1, 0)

    def pick(index):
        return np.take_along_axis(values, index[..., None], -1)[..., 0]

    rise = pick(after) - pick(before)
    share = np.where(rise > 0, (level - pick(before)) / np.where(rise > 0, rise, 1.0), 0.0)
    crossing = times[before] + share * (times[after] - times[before])
    crossing = np.where(after == 0, times[0], crossing)
    return np.where(reached.any(-1), crossing, np.nan)[()]

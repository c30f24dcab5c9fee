"""One look for every figure: theory dashed, dark and on top; simulation solid and lighter with a band."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb

__all__ = ["WIDTH", "COLORS", "REGIMES", "MODELS", "ACTIVATIONS", "THEORY", "SIMULATION", "use_style", "ink", "sequential",
           "band", "label_curve", "slope_triangle", "panel_letters"]

WIDTH = 7.0                                                # inches: one column of the book

#: The palette of Okabe and Ito, readable with any colour vision.
COLORS = {
    "blue": "#0072B2", "orange": "#E69F00", "green": "#009E73", "vermilion": "#D55E00", "sky": "#56B4E9",
    "purple": "#CC79A7", "yellow": "#F0E442", "black": "#000000",
}

#: One colour for one thing, in every figure of the book.
REGIMES = {"lazy": COLORS["blue"], "mixed": COLORS["green"], "rich": COLORS["orange"]}
MODELS = {
    "sp": COLORS["orange"], "ntk": COLORS["vermilion"], "mup": COLORS["blue"], "ip": COLORS["black"], "ipllr": COLORS["green"],
    "hp": COLORS["sky"], "hpz": COLORS["purple"], "ip_bias": "#8C510A", "ip_non_centered": "#999933",
}
ACTIVATIONS = {"linear": COLORS["blue"], "tanh": COLORS["green"], "relu": COLORS["vermilion"], "elu": COLORS["purple"],
               "gelu": COLORS["orange"]}

#: Line styles of the two ways to a curve; pass as keywords and override at will.
THEORY = {"color": "0.1", "linestyle": (0, (4, 2)), "linewidth": 1.3, "zorder": 4}
SIMULATION = {"linewidth": 2.4, "alpha": 0.8, "zorder": 2, "solid_capstyle": "round"}


def use_style() -> None:
    """Set matplotlib's defaults for this session to the look of the book, the file ``book.mplstyle``; the backend stays."""
    mpl.rc_file(Path(__file__).with_name("book.mplstyle"))


def ink(color, contrast: float = 4.5) -> tuple[float, float, float]:
    """A colour for text: the same hue, darkened as far as reading on white asks for.

    Parameters
    ----------
    color : color
        Any that matplotlib knows.
    contrast : float
        Between the text and white, (1 + 0.05) / (Y + 0.05) with the luminance Y of the text.

    Examples
    --------
    >>> ink("#0072B2")[2] > 0.69, max(ink("#E69F00")) < 0.7             # blue is dark enough, orange is not
    (True, True)
    """
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055)**2.4)
    linear = linear * min(1.0, (1.05 / contrast - 0.05) / max(linear @ (0.2126, 0.7152, 0.0722), 1e-9))
    red, green, blue = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear**(1 / 2.4) - 0.055)
    return float(red), float(green), float(blue)


def sequential(n: int, *, cmap: str = "viridis_r", low: float = 0.12, high: float = 0.95) -> list:
    """``n`` colours for an ordered quantity, light (small) to dark (large).

    Examples
    --------
    >>> len(sequential(5))
    5
    """
    return [tuple(float(c) for c in color) for color in mpl.colormaps[cmap](np.linspace(low, high, n))]


def band(ax, x, mean, spread, *, color, **line):
    """Draw a mean with a band of plus and minus one spread; return the line.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, mean, spread : array_like, shape (n,)
    color : color
    **line
        Passed to ``ax.plot`` over the defaults of ``SIMULATION``.
    """
    mean, spread = np.asarray(mean), np.asarray(spread)
    ax.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.22, linewidth=0, zorder=1)
    return ax.plot(x, mean, **(SIMULATION | {"color": color} | line))[0]


def label_curve(ax, x, y, text, *, at: float = 1.0, offset=(4, 0), **kwargs):
    """Write ``text`` beside a curve at the fraction ``at`` of its points, in place of a legend, dark enough to be read (`ink`).

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    x, y : array_like, shape (n,)
    text : str
    at : float
        0 at the curve's first point, 1 at its last.
    offset : tuple of float
        In points.
    """
    index = int(round(at * (len(x) - 1)))
    style = {"fontsize": 8, "va": "center", "ha": "left", "annotation_clip": False} | kwargs
    if "color" in kwargs:
        style["color"] = ink(kwargs["color"])
    return ax.annotate(text, (np.asarray(x)[index], np.asarray(y)[index]), xytext=offset, textcoords="offset points",
                       **style)


def slope_triangle(ax, x, y, slope, *, decades: float = 0.5, label: str | None = None, color: str = "0.35"):
    """Draw a triangle of the given log-log slope with its corner at ``(x, y)`` and write the slope beside it."""
    x1, y1 = x * 10**decades, y * 10**(decades * slope)
    ax.plot([x, x1, x1, x], [y, y, y1, y], color=color, linewidth=0.9, zorder=3)
    ax.annotate(f"{slope:g}" if label is None else label, (x1, np.sqrt(y * y1)), xytext=(3, 0),
                textcoords="offset points", fontsize=8, va="center", color=color)


def panel_letters(axes, letters: str = "abcdefghij") -> None:
    """Letter the panels of a figure in bold at their upper left."""
    for ax, letter in zip(np.ravel(axes), letters):
        ax.annotate(letter, (0, 1), xycoords="axes fraction", xytext=(-4, 6), textcoords="offset points",
                    fontsize=10, fontweight="bold", ha="right", va="bottom")

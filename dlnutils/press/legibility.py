"""Whether a figure's words can be read as the book shows it: how small they are, and how well they stand out.

The background of a word is what the figure has there without its words, so that a label on a map is judged on the map.
"""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba
from numpy.typing import ArrayLike, NDArray

__all__ = ["COLUMN", "contrast", "legibility"]

#: Width of the page's column in pixels: a wider figure is shown smaller.
COLUMN = 896


def contrast(one: ArrayLike, other: ArrayLike) -> float:
    """Ratio of the luminances of two colours (red, green, blue from 0 to 1), from 1 to 21; accessible text has 4.5 and more.

    Source: Web Content Accessibility Guidelines 2.1, relative luminance and contrast ratio.

    Examples
    --------
    >>> contrast((0, 0, 0), (1, 1, 1))
    21.0
    """
    def luminance(colour: ArrayLike) -> float:
        c = np.asarray(colour, dtype=float)[:3]
        return float(np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055)**2.4) @ [0.2126, 0.7152, 0.0722])

    low, high = sorted((luminance(one), luminance(other)))
    return round((high + 0.05) / (low + 0.05), 6)


def legibility(figure) -> dict[str, tuple[float, str]]:
    """The smallest words of a figure in points, as shown, and the words that stand out least.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        As it was shown; it stays as it was.

    Returns
    -------
    dict
        ``points`` and ``contrast``, each with the words it was found at; empty where there are no words.
    """
    from matplotlib.text import Text
    hidden = _not_drawn(figure)
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip() and text not in hidden]
    if not seen:
        return {}
    shrink = min(1.0, COLUMN / (figure.get_figwidth() * figure.dpi))
    picture, height = _without(figure, seen), figure.canvas.get_width_height()[1]
    found = []
    for text in seen:
        box = text.get_window_extent()
        rows, columns = (slice(max(int(low), 0), max(int(high), 0) + 1)
                         for low, high in ((height - box.y1, height - box.y0), (box.x0, box.x1)))
        behind = picture[rows, columns].reshape(-1, 3)
        stroke = [effect._gc["foreground"] for effect in text.get_path_effects() if "foreground" in getattr(effect, "_gc", {})]
        ground = to_rgb(stroke[0]) if stroke else np.median(behind, axis=0) if len(behind) else np.ones(3)
        if (patch := text.get_bbox_patch()) is not None and not stroke:           # a card behind the words
            *card, opaque = to_rgba(patch.get_facecolor(), patch.get_alpha())
            ground = opaque * np.array(card) + (1 - opaque) * np.array(ground)
        *colour, alpha = to_rgba(text.get_color(), text.get_alpha())
        mixed = alpha * np.array(colour) + (1 - alpha) * np.array(ground)
        found.append((text.get_fontsize() * shrink, contrast(mixed, ground), " ".join(text.get_text().split())))
    small, faint = (min(found, key=lambda one: one[place]) for place in (0, 1))
    return {"points": (round(float(small[0]), 2), small[2]), "contrast": (round(faint[1], 2), faint[2])}


def _not_drawn(figure) -> set:
    """Texts that a figure has and does not draw: of axes that are off, and of ticks outside the view."""
    from matplotlib.text import Text
    out: set = set()
    for ax in figure.findobj(Axes):
        if not ax.get_visible():
            out.update(ax.findobj(Text))
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            slack = 1e-9 * (high - low)
            out.update(text for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()] for text in tick.findobj(Text)
                       if not low - slack <= tick.get_loc() <= high + slack)
            if not (ax.axison and axis.get_visible()):
                out.update(axis.findobj(Text))
    return out


def _without(figure, texts) -> NDArray[np.float64]:
    """The figure's pixels without these texts, from 0 to 1."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    canvas, layout = figure.canvas, figure.get_layout_engine()
    for text in texts:
        text.set_visible(False)
    try:
        with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False}):
            figure.set_layout_engine(None)                 # it was laid out with its words
            blank = FigureCanvasAgg(figure)
            blank.draw()
        return np.asarray(blank.buffer_rgba())[..., :3] / 255
    finally:
        for text in texts:
            text.set_visible(True)
        figure.set_layout_engine(layout)
        figure.set_canvas(canvas)

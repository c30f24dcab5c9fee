"""The numbers that a figure draws, as rows of a table; and how a kernel is watched for the figures that it shows."""

from __future__ import annotations

import csv
import itertools
import numbers
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

__all__ = ["COLUMNS", "artists", "write_rows", "after_showing", "watch", "watching"]

COLUMNS = ("figure", "panel", "kind", "label", "x", "y", "value", "value2")

#: Significant digits of a number in a table: a hundred times finer than any picture.
DIGITS = 7


def artists(figure) -> Iterator[tuple]:
    """Rows (panel, kind, label, x, y, value, value2) of everything drawn in a figure."""
    import numpy as np
    for panel, ax in enumerate(figure.axes):
        for line in ax.lines:
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                yield panel, "line", line.get_label(), x, y, "", ""
        for artist in ax.collections:
            kind = type(artist).__name__
            if kind == "Quiver":
                for (x, y), u, v in zip(artist.XY, np.ravel(artist.U), np.ravel(artist.V), strict=True):
                    yield panel, "quiver", "", x, y, u, v
            elif kind == "QuadMesh":
                corners, values = artist.get_coordinates(), np.atleast_2d(artist.get_array())
                smooth = corners.shape[:-1] == values.shape                # Gouraud shading has its values at the corners
                places = corners if smooth else (corners[:-1, :-1] + corners[1:, 1:]) / 2
                for (x, y), value in zip(places.reshape(-1, 2), np.ravel(values), strict=True):
                    yield panel, "mesh", "", x, y, value, ""
            elif kind == "PathCollection" and len(artist.get_offsets()):
                for x, y in artist.get_offsets():
                    yield panel, "points", artist.get_label(), x, y, "", ""
            else:                                          # bands, contours, sets of lines
                for number, path in enumerate(artist.get_paths()):
                    for x, y in path.vertices:
                        yield panel, kind, artist.get_label(), x, y, number, ""
        for image in ax.images:
            values = np.ma.getdata(image.get_array())
            if values.ndim == 2:
                left, right, bottom, top = image.get_extent()
                rows, columns = values.shape
                for i, j in np.ndindex(rows, columns):
                    yield (panel, "image", "", left + (j + 0.5) * (right - left) / columns,
                           top + (i + 0.5) * (bottom - top) / rows, values[i, j], "")
        for patch in ax.patches:
            if type(patch).__name__ == "Rectangle":
                yield panel, "bar", patch.get_label(), patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
            elif type(patch).__name__ == "StepPatch":                      # a histogram's outline: one bar a bin
                values, edges, base = patch.get_data()
                base = np.broadcast_to(0.0 if base is None else base, np.shape(values))
                for left, width, bottom, height in zip(edges[:-1], np.diff(edges), base, values - base, strict=True):
                    yield panel, "bar", patch.get_label(), left, bottom, width, height


def _short(entry: object) -> object:
    """A number with `DIGITS` significant digits; anything else as it is."""
    return format(float(entry), f".{DIGITS}g") if isinstance(entry, numbers.Real) and not isinstance(
        entry, numbers.Integral) else entry


def write_rows(stream: IO[str], number: int, figure) -> None:
    """Write the rows of a figure, the ``number``-th of its cell, without a head."""
    csv.writer(stream, lineterminator="\n").writerows([number, *map(_short, row)] for row in artists(figure))


def after_showing(shell, action: Callable[[object], None]) -> None:
    """From now on, call ``action`` with every figure of matplotlib that ``shell`` (IPython's) has just shown."""
    formatter = shell.display_formatter
    show = type(formatter).format.__get__(formatter)       # its own, also where figures are watched already

    def show_and_act(thing, *arguments, **options):
        shown = show(thing, *arguments, **options)
        drawing = sys.modules.get("matplotlib.figure")     # what was not imported has drawn nothing
        if drawing and isinstance(thing, drawing.Figure):
            action(thing)
        return shown

    formatter.format = show_and_act


def watch(shell, path: str | Path) -> None:
    """From now on, write the rows of every figure of matplotlib that ``shell`` (IPython's) shows to a CSV file."""
    count = itertools.count(1)

    def append(figure) -> None:
        with open(path, "a", encoding="utf-8", newline="") as stream:
            write_rows(stream, next(count), figure)

    after_showing(shell, append)


def watching(path: str | Path) -> str:
    """A line of code that makes the kernel `watch` what it shows, without a name of its own."""
    return f"__import__('dlnutils.press.figure_rows', fromlist=['watch']).watch(get_ipython(), {str(path)!r})"

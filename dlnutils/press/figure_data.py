"""The numbers behind a figure, read from what its cell draws."""

from __future__ import annotations

import csv
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .notebooks import UsageError, figure_cells, notebook_path, read_notebook, sections, write_notebook
from .run import finish_worker, kernel_environment, plan, start_worker

__all__ = ["figures", "artists", "watch", "figure_data"]

COLUMNS = ("figure", "panel", "kind", "label", "x", "y", "value", "value2")


def figures(root: Path) -> dict[str, tuple[str, str]]:
    """Every figure's name, and its label as ``paper:label``, with the section that draws it and its name.

    Sections whose notebook cannot be read are left out.
    """
    found = {}
    for section in sections(root):
        try:
            notebook = read_notebook(notebook_path(root, section))
        except UsageError:
            continue
        for name, cell in figure_cells(notebook):
            found[name] = (section, name)
            label = cell["metadata"].get("dln", {})
            if label:
                found.setdefault(f"{label['paper']}:{label['figure']}", (section, name))
    return found


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


def watch(shell, path: str | Path) -> None:
    """From now on, write the rows of every figure of matplotlib that ``shell`` (IPython's) shows to a CSV file."""
    from matplotlib.figure import Figure
    formatter, count = shell.display_formatter, itertools.count(1)
    show = type(formatter).format.__get__(formatter)       # its own, also where a figure is watched already

    def write_and_show(thing, *arguments, **options):
        if isinstance(thing, Figure):
            number = next(count)
            with open(path, "a", encoding="utf-8", newline="") as stream:
                csv.writer(stream, lineterminator="\n").writerows([number, *row] for row in artists(thing))
        return show(thing, *arguments, **options)

    formatter.format = write_and_show


def watching(path: str | Path) -> str:
    """A line of code that makes the kernel `watch` what it shows, without a name of its own."""
    return f"__import__('dlnutils.press.figure_data', fromlist=['watch']).watch(get_ipython(), {str(path)!r})"


def figure_data(root: Path, figure: str, stream: IO[str], overrides: dict | None = None) -> int:
    """Write what a figure shows as CSV: run its notebook up to the cell that draws it and read the picture's artists.

    The notebook runs in a kernel, as `run.run` runs it, and takes nothing from earlier sweeps.

    Parameters
    ----------
    figure : str
        Its name (``fig-…``) or ``paper:label``.
    stream : text file
    overrides : dict, optional
        Other parameters for the notebook.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        Unknown figure or parameter; a notebook that cannot be read.
    RuntimeError
        A cell failed, or left no picture: names the notebook and the cell.
    """
    known = figures(root)
    if figure not in known:
        for section in sections(root):
            read_notebook(notebook_path(root, section))    # perhaps it is in one that cannot be read: says so
        raise UsageError(f"no figure {figure!r}: choose from {', '.join(known)}")
    section, name = known[figure]
    (job,) = plan(root, [section], overrides=overrides)
    notebook = read_notebook(job.source)
    last = next(index for index, cell in enumerate(notebook["cells"]) if cell is dict(figure_cells(notebook))[name])
    with tempfile.TemporaryDirectory(prefix="dln-", ignore_cleanup_errors=True) as folder:
        rows, source, target = (Path(folder) / file for file in ("rows.csv", "source.ipynb", "target.ipynb"))
        watcher = {"cell_type": "code", "id": "watch", "metadata": {}, "source": watching(rows), "execution_count": None,
                   "outputs": []}
        write_notebook(source, notebook | {"cells": [*notebook["cells"][:last], watcher, notebook["cells"][last]]})
        n_before = sum(cell["cell_type"] == "code" for cell in notebook["cells"][:last]) + bool(job.overrides)
        environment = kernel_environment(folder) | {"DLN_CACHE": "off", "DLN_RUN": json.dumps(
            {"profile": job.profile, "parameters": job.parameters})}
        report = finish_worker(start_worker(environment), {
            "source": str(source), "target": str(target), "cwd": str(job.source.parent), "overrides": job.overrides,
            "metadata": {}})
        if not report and not rows.is_file():
            report = {"error": f"it shows nothing that matplotlib draws in {name}", "cell": n_before + 1}
        if report:
            cell = report.get("cell")
            where = f", cell {min(cell, n_before + 1)}" if cell else ""
            raise RuntimeError(f"{section}{where}: {report['error']}")
        with open(rows, encoding="utf-8", newline="") as file:
            found = list(csv.reader(file))
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *found])
    return len(found)

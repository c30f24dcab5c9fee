"""The numbers behind a figure, read from what its cell draws."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path
from typing import IO

from .figure_rows import COLUMNS, watching
from .notebooks import UsageError, figure_cells, notebook_path, read_notebook, sections, write_notebook
from .run import finish_worker, kernel_environment, plan, start_worker

__all__ = ["figures", "figure_data"]


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

"""Make finished runs the committed ones: notebooks of the default profile, records of the others."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path

from .notebooks import FRONT_FIGURE, UsageError, as_committed, picture_of, read_notebook, write_notebook
from .run import plan

__all__ = ["as_record", "accept"]


def as_record(notebook: dict, section: str, profile: str) -> dict:
    """A committed notebook as a page under ``records/<profile>/``: labels get a suffix, links lead from the new place.

    Code cells and outputs stay as they are, so that a test can compare the code with the notebook's own.
    """
    prose = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    labels = {cell["metadata"]["mystnb"]["figure"]["name"] for cell in notebook["cells"]
              if "figure" in cell["metadata"].get("mystnb", {})}
    labels |= set(re.findall(r"^:label: (\S+)$", prose, re.M)) | set(re.findall(r"^\(([\w-]+)\)=$", prose, re.M))
    own = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, sorted(labels))) + r")(?![\w-])") if labels else None
    here, there = f"notebooks/{section}", f"records/{profile}/{section}"

    def moved(match):
        path, hash_, fragment = match["path"].partition("#")
        if not path or ":" in path or path.startswith("/"):
            return match[0]
        target = os.path.normpath(os.path.join(os.path.dirname(here), path))
        return match["before"] + os.path.relpath(target, os.path.dirname(there)) + hash_ + fragment + match["after"]

    def rewrite(text):
        text = own.sub(lambda match: f"{match[0]}-{profile}", text) if own else text
        text = re.sub(r"(?P<before>\]\()(?P<path>[^)\s]+)(?P<after>\))", moved, text)
        text = re.sub(r"(?P<before>\{doc\}`(?:[^`<]*<)?)(?P<path>[^`>]+)(?P<after>>?`)", moved, text)
        return text.replace("{run-time}`" + section + "`", "{run-time}`" + f"{section}@{profile}`")

    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell)
        if cell["cell_type"] == "markdown":
            cell["source"] = rewrite("".join(cell["source"])).splitlines(keepends=True)
        elif own and "mystnb" in cell["metadata"]:
            cell["metadata"] = json.loads(own.sub(lambda match: f"{match[0]}-{profile}", json.dumps(cell["metadata"])))
        cells.append(cell)
    title = "".join(cells[0]["source"])
    first, _, rest = title.partition("\n")
    cells[0]["source"] = [f"{first}: {profile} size\n", rest]
    return notebook | {"cells": cells}


def accept(root: Path, names: Iterable[str] = (), *, profile: str = "default") -> list[Path]:
    """Make finished runs the committed ones: the notebooks themselves, or ``records/<profile>/`` for other profiles.

    Prose is the notebook's own as it is now, outputs are the run's.

    Raises
    ------
    UsageError
        A section whose last run is missing or older than its code, parameters, package or pins.
    """
    written = []
    jobs = plan(root, names, profile=profile)
    stale = [job.section for job in jobs if not job.up_to_date]
    if stale:
        raise UsageError(f"no up-to-date run of {', '.join(stale)}: first 'dln run {' '.join(stale)}"
                         + (f" --profile {profile}'" if profile != "default" else "'"))
    for job in jobs:
        target = job.source if profile == "default" else root / "records" / profile / f"{job.section}.ipynb"
        committed = as_committed(read_notebook(job.target), read_notebook(job.source))
        write_notebook(target, committed if profile == "default" else as_record(committed, job.section, profile))
        written.append(target)
        front = picture_of(committed, FRONT_FIGURE)
        if front and profile == "default":
            written.append(root / "records" / "front-figure.png")
            written[-1].parent.mkdir(exist_ok=True)
            written[-1].write_bytes(front)
    return written

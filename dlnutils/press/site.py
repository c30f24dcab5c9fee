"""Lay the executed notebooks into the book and build the site."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .notebooks import as_committed, computation, notebook_path, read_notebook, read_run, sections

__all__ = ["stage_book", "build"]


def stage_book(root: Path, profile: str = "default") -> Path:
    """Copy what the site is made of to ``_build/stage/<profile>`` and lay the executed notebooks over it.

    Files that did not change keep their time stamps, so that the site's build redoes only what it must. Prose is that of the
    notebooks as they are now. A notebook whose code has changed since its run keeps its committed outputs.
    """
    target = root / "_build" / "stage" / profile
    wanted: dict[Path, bytes] = {}
    for name in ("_config.yml", "_toc.yml", "book", "notebooks", "records"):
        source = root / name
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                wanted[path.relative_to(root)] = path.read_bytes()
    for section in sections(root):
        executed = read_run(root, section, profile)
        if executed:
            source = read_notebook(notebook_path(root, section))
            if computation(executed) == computation(source):
                text = json.dumps(as_committed(executed, source), indent=1, ensure_ascii=False)
                wanted[Path("notebooks") / f"{section}.ipynb"] = (text + "\n").encode()
    for path in sorted(target.rglob("*"), reverse=True):
        inside = path.relative_to(target)
        if path.is_file() and inside not in wanted and inside.parts[0] != "_build":
            path.unlink()
    for inside, content in wanted.items():
        path = target / inside
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target


def build(root: Path, *, profile: str = "default", committed: bool = False, strict: bool = True,
          output: Path | None = None) -> Path:
    """Build the site with Jupyter Book; return its front page.

    Parameters
    ----------
    profile : str
        Whose executed notebooks to show; sections without one show the committed outputs.
    committed : bool
        Show committed outputs only (``make html``).
    strict : bool
        Warnings are errors.
    output : Path, optional
        The site goes to ``output/_build/html``; default the book's folder, or one a profile for others.
    """
    source = root if committed else stage_book(root, profile)
    output = output or (root if profile == "default" else root / "_build" / "sites" / profile)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source),
               "--path-output", str(output), "-q"] + (["-W", "-n", "--keep-going"] if strict else [])
    front, unfinished = output / "_build" / "html" / "index.html", output / "_build" / ".unfinished"
    # A build that was stopped leaves half an index behind, which the next one would trust, and Sphinx does not notice that
    # a style, a script or an extension has changed: in both cases everything is made anew.
    ours = [path for folder in (source / "book" / "_static", Path(__file__).parent) for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts]
    if unfinished.exists() or front.exists() and any(path.stat().st_mtime > front.stat().st_mtime for path in ours):
        for left in ("html", ".doctrees"):
            shutil.rmtree(output / "_build" / left, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    process = subprocess.run(command, cwd=source)
    if process.returncode:
        raise RuntimeError(f"the site was not built: jupyter-book ended with code {process.returncode}; its messages "
                           "stand above")
    unfinished.unlink()
    os.utime(front)                                        # an incremental build may leave it as it was
    return front

"""Pieces that several directives put together: links, sentences, tables, and the notebooks they are made from."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from ..notebooks import notebook_path, read_notebook, sections

PAPERS = {
    "saxe2013": "Saxe, McClelland & Ganguli (2013)", "tu2024": "Tu, Aranguri & Jacot (2024)",
    "hajjar2021": "Hajjar, Chizat & Giraud (2021)", "bordelon2025": "Bordelon & Pehlevan (2025)",
    "synthesis": "Synthesis: across the papers",
}


def read(env, section: str) -> dict | None:
    """The notebook of a section (``section@profile`` for a record) as parsed JSON, or None where there is none.

    The page that asks is rebuilt when it changes. All who ask share one copy: it is not to be changed.
    """
    section, _, profile = section.partition("@")
    root = Path(env.srcdir)
    path = root / "records" / profile / f"{section}.ipynb" if profile else notebook_path(root, section)
    if not path.is_file() or not path.stat().st_size:
        return None
    env.note_dependency(str(path))
    return _read(path, path.stat().st_mtime_ns)


@cache
def _read(path: Path, changed: int) -> dict:
    """A notebook as it was at the time ``changed``: a build asks for each some eighty times."""
    return read_notebook(path)


def link_to_page(section: str) -> nodes.Node:
    """A link to a section's page that carries the page's title."""
    return addnodes.pending_xref("", nodes.inline(section, section), refdomain="std", reftype="doc",
                                 refexplicit=False, reftarget=f"/notebooks/{section}", refwarn=True)


def link_to_figure(name: str) -> nodes.Node:
    """A link to a numbered figure that carries its number."""
    return addnodes.pending_xref("", nodes.inline(name, name), refdomain="std", reftype="numref", refexplicit=False,
                                 reftarget=name, refwarn=True)


def sentence(*parts, classes=()) -> nodes.paragraph:
    """A paragraph of strings and nodes."""
    out = nodes.paragraph(classes=list(classes))
    out += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return out


def table(head, rows, widths, classes=()) -> nodes.table:
    """A table whose cells are ``content`` or ``(content, class)``; a row may end with a dictionary of its attributes."""
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]

    def row(cells, **attributes):
        out = nodes.row("", **attributes)
        for cell in cells:
            content, css = cell if isinstance(cell, tuple) else (cell, None)
            out += nodes.entry("", sentence(content), classes=[css] if css else [])
        return out

    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(r[:-1], **r[-1]) if isinstance(r[-1], dict) else row(r) for r in rows))
    return nodes.table("", group, classes=list(classes), support_smartquotes=False)    # statements word for word


def titled_section(document, title: str, anchor: str) -> nodes.section:
    """An empty section with a title, which links reach under ``anchor``."""
    part = nodes.section("", nodes.title(title, title), ids=[anchor])
    document.note_explicit_target(part)
    return part


def made_folder(env) -> Path:
    """Where files that are made while Sphinx reads the pages lie, for Sphinx to find under ``/_build/dln``."""
    folder = Path(env.srcdir) / "_build" / "dln"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def keep_file(env, name: str, content: bytes) -> str:
    """Write a file into `made_folder`, unless it is there and the same; return its address."""
    path = made_folder(env) / name
    if not path.is_file() or path.read_bytes() != content:
        path.write_bytes(content)
    return f"/_build/dln/{name}"


def ledger_anchor(key: str) -> str:
    """Of a part of the ledger page: a paper, or a paper and a label. What goes beyond a paper may repeat one of its labels."""
    return nodes.make_id(f"ledger-{key}".replace("+", "beyond-"))


def book_notebooks(env) -> dict[str, dict]:
    """Every section's notebook; one that is missing or empty has no cells."""
    return {section: read(env, section) or {"cells": [], "metadata": {}}
            for section in sections(Path(env.srcdir))}


def root_file(env, name: str) -> Path:
    """A file beside the book: in the source folder, or above it where the book is staged in ``_build``."""
    folder = Path(env.srcdir)
    for path in (parent / name for parent in (folder, *folder.parents)):
        if path.is_file():
            env.note_dependency(str(path))
            return path
    raise FileNotFoundError(f"no {name} beside the book")

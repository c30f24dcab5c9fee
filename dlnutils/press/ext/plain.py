"""A notebook for readers who take it away: plain Markdown, and a first cell that says how to run it.

The book's notebooks are written in MyST: roles and directives that Sphinx understands and Jupyter shows raw. Here every one of
them becomes what a reader sees on the page: numbers, names of figures, headings, quotations, a table of settings.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from ..notebooks import is_injected, run_metadata
from ..words import in_prose, paper_figure

__all__ = ["Site", "plain_notebook", "plain_text"]


class Site(NamedTuple):
    """What the words of a page refer to elsewhere in the book."""

    figure_number: Callable[[str], str]                    # of a figure's name: 'Fig. 1.4', or ''
    title: Callable[[str], str]                            # of a page, by its path without suffix
    label: Callable[[str], tuple[str, str]]                # of a target: the page it stands on, and its title
    address: str = ""                                      # of the site's root, or '' while it has none


#: The kind of the hidden outputs that the role glue:text finds.
GLUED = "application/papermill.record/text/plain"

FENCE = re.compile(r"^(?P<marks>`{3,}|:{3,})\{(?P<name>[\w-]+)\}[ ]*(?P<title>[^\n]*)\n(?P<body>.*?)^(?P=marks)[ ]*$",
                   re.M | re.S)
ROLE = re.compile(r"\{([\w:-]+)\}`([^`]*)`")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:)([^)#\s]*)(#[^)\s]*)?\)")
LEVELS = {"dln-warm-up": "warm-up", "dln-core": "standard", "dln-project": "project"}


def plain_notebook(notebook: dict, section: str, site: Site, *, settings: str = "", install: str = "") -> dict:
    """A copy of a committed notebook without roles and directives, with its outputs.

    Parameters
    ----------
    notebook : dict
        Parsed JSON.
    section : str
        ``chapter/section``.
    site : Site
        Numbers and titles of what it refers to.
    settings : str
        The table of settings, as Markdown.
    install : str
        How to get the package, as Markdown.
    """
    shown = {output["metadata"]["scrapbook"]["name"]: output["data"][GLUED].strip("'")
             for cell in notebook["cells"] for output in cell.get("outputs", ()) if GLUED in output.get("data", {})}
    cells: list[dict[str, Any]] = []
    for cell in notebook["cells"]:
        if is_injected(cell):
            continue
        source = "".join(cell["source"])
        metadata = {name: value for name, value in cell["metadata"].items() if name in ("tags",)}
        if cell["cell_type"] == "code":
            if "hide-input" in metadata.get("tags", ()):
                metadata["jupyter"] = {"source_hidden": True}
            outputs = [output for output in cell["outputs"]
                       if list(output.get("data", ())) != [GLUED]]
            new = {"execution_count": cell["execution_count"], "outputs": outputs}
        else:
            source = plain_text(source, section, site, shown=shown, settings=settings)
            if not source:
                continue
            new = {}
        cells.append({"cell_type": cell["cell_type"], "id": f"cell-{len(cells) + 1:02d}", "metadata": metadata,
                      "source": source.splitlines(keepends=True)} | new)
    start = (f"*From the book “Deep linear networks: four papers reproduced”.* {install}").strip()
    cells.insert(0, {"cell_type": "markdown", "id": "cell-00", "metadata": {}, "source": [start]})
    run = run_metadata(notebook)
    kept = {name: run[name] for name in ("profile", "parameters") if name in run}        # what its claims are asserted with
    return {"cells": cells, "metadata": notebook["metadata"] | {"dln": kept}, "nbformat": 4, "nbformat_minor": 5}


def plain_text(text: str, section: str, site: Site, *, shown: dict[str, str], settings: str = "") -> str:
    """Markdown that every reader of notebooks understands."""
    text = FENCE.sub(lambda match: _fence(match, site, section, settings), text)
    text = re.sub(r"^\(([\w-]+)\)=\n", "", text, flags=re.M)
    text = ROLE.sub(lambda match: _role(match[1], match[2], site, shown), text)
    return LINK.sub(lambda match: _link(match, section, site), text).strip()


def _fence(match: re.Match, site: Site, section: str, settings: str) -> str:
    name, title, body = match["name"], match["title"].strip(), match["body"]
    lines = body.splitlines()
    options = {}
    while lines and re.match(r":[\w-]+:", lines[0]):
        key, _, value = lines.pop(0)[1:].partition(":")
        options[key] = value.strip()
    body = "\n".join(lines).strip()
    if name in ("exercise", "exercise-start"):
        level = next((LEVELS[one] for one in options.get("class", "").split() if one in LEVELS), "")
        return f"### Exercise: {title}{f' ({level})' if level else ''}\n\n{body}"
    if name == "solution-start":
        return "#### Solution"
    if name in ("solution-end", "exercise-end"):
        return "---"
    if name == "dln-settings":
        return settings
    if name == "dln-explorer":
        there = f"{site.address}/notebooks/{section}.html" if site.address else ""
        where = f"[the page]({there})" if there else "the page"
        return f"*On {where} stands an explorer here:* {' '.join(body.split())}"
    if name in ("admonition", "note", "tip", "important", "warning"):
        words = f"**{title or name.capitalize()}.** {body}"
        return "\n".join(f"> {line}".rstrip() for line in words.splitlines())
    if name == "math":
        return f"$$\n{body}\n$$"
    return body


def _role(name: str, content: str, site: Site, shown: dict[str, str]) -> str:
    words, _, target = content.rstrip(">").rpartition("<") if content.endswith(">") else ("", "", content)
    words, target = words.strip(), target.strip()
    if name.startswith("glue:"):
        known, _, form = content.partition(":")
        value = shown.get(known, f"[missing: {known}]")
        return format(float(value), form) if form else in_prose(value)
    if name == "numref":
        number = site.figure_number(target)
        return words.replace("%s", number.removeprefix("Fig. ")) if words else number or "the figure"
    if name == "paper-figure":
        return paper_figure(*content.split(" ", 1))
    if name in ("doc", "ref"):
        page, title = (target, site.title(target)) if name == "doc" else site.label(target)
        words = words or title
        return f"[{words}]({site.address}/{page.strip('/')}.html)" if site.address and page else words
    if name == "run-time":
        return "some time"
    return words or content


def _link(match: re.Match, section: str, site: Site) -> str:
    words, path, fragment = match[1], match[2], match[3] or ""
    if not site.address:
        return words
    page = posixpath.normpath(posixpath.join("notebooks", section.rpartition("/")[0], path)) if path else f"notebooks/{section}"
    return f"[{words}]({site.address}/{posixpath.splitext(page)[0]}.html{fragment})"

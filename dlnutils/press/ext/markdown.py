"""Reading the notebooks' Markdown: exercises, openings, headings, and pieces of it as nodes."""

from __future__ import annotations

import re
from functools import cache
from itertools import takewhile
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList
from markdown_it import MarkdownIt
from mdit_py_plugins.colon_fence import colon_fence_plugin
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from ..notebooks import sections
from .pieces import sentence

LEVELS = {"dln-warm-up": "warm-up", "dln-core": "standard", "dln-project": "project"}
KINDS = {"dln-pen": "pen", "dln-computer": "computer", "dln-both": "pen and computer"}
MARKDOWN = MarkdownIt("commonmark").use(colon_fence_plugin)             # both kinds of fences, as MyST reads them

# A sentence ends at . ? or ! before a blank and a new beginning; formulas, code and roles are skipped whole.
SENTENCE = re.compile(r"(?:\$[^$]*\$|\{[\w:-]+\}`[^`]*`|`[^`]*`|[^.?!$`]|[.?!](?!\s+[A-Z*$`(\[]|\s*$))+[.?!]?")


def text_of(cell: dict) -> str:
    return "".join(cell["source"])


@cache
def parsed(text: str) -> list:
    """The tokens of a Markdown text, which many pages ask for."""
    return MARKDOWN.parse(text)


def chapters(root: Path) -> dict[str, list[str]]:
    """The sections of each chapter, in the order of the table of contents."""
    found = {}
    for section in sections(root):
        found.setdefault(section.split("/")[0], []).append(section)
    return found


def exercises_in(notebook: dict) -> list[dict]:
    """Every exercise of a notebook: label, title, text, and its levels and kinds (one of each when all is well)."""
    found = []
    for cell in notebook["cells"]:
        for token in parsed(text_of(cell)) if cell["cell_type"] == "markdown" else ():
            directive, _, title = token.info.partition("}")
            if directive not in ("{exercise", "{exercise-start"):
                continue
            lines = token.content.splitlines()
            head = list(takewhile(lambda line: line.startswith(":"), lines))
            options = {name: value.strip() for _, name, value in (line.split(":", 2) for line in head)}
            classes = options.get("class", "").split()
            found.append({"label": options.get("label"), "title": title.strip(), "text": "\n".join(lines[len(head):]).strip(),
                          "levels": [LEVELS[name] for name in classes if name in LEVELS],
                          "kinds": [KINDS[name] for name in classes if name in KINDS]})
    return found


def sentences(text: str, number: int, most: int = 330) -> str:
    """The first sentences of a paragraph or list, one at least; links to other pages become their words."""
    paragraph = re.sub(r"^(?:\d+\.|-)\s+", "", text.strip().split("\n\n")[0])
    plain = re.sub(r"(?<!!)\[([^\]]+)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
    first, *others = [part.strip() for part in SENTENCE.findall(plain)[:number]] or [""]
    for part in others:
        if len(first) + len(part) > most:
            break
        first += f" {part}"
    return first


def title_and_opening(text: str) -> tuple[str, str]:
    """The title of a page and its first paragraph; a chapter's page begins with a figure, which is none."""
    tokens = parsed(text)
    inline = {kind: next((tokens[i + 1].content for i, token in enumerate(tokens) if token.type == kind), "")
              for kind in ("heading_open", "paragraph_open")}
    return inline["heading_open"], inline["paragraph_open"]


def headed_figures(notebook: dict) -> dict[str, tuple[str, str]]:
    """For every named figure: the heading it stands under, of the first three levels, and its caption."""
    heading, found = "", {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            tokens = parsed(text_of(cell))
            heading = ([heading] + [tokens[i + 1].content for i, token in enumerate(tokens)
                                    if token.type == "heading_open" and token.tag in ("h1", "h2", "h3")])[-1]
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            found[figure["name"]] = (heading, figure["caption"])
    return found


class FromMarkdown(SphinxDirective):
    """A directive that turns pieces of a notebook's Markdown into nodes."""

    def blocks(self, text: str) -> list:
        holder = nodes.Element()
        self.state.nested_parse(StringList(text.splitlines(), source=self.env.docname), self.content_offset, holder)
        return holder.children

    def words(self, text: str) -> list:
        """The inline nodes of one line of text."""
        found = self.blocks(text)
        return found[0].children if found else []

    def titled(self, title: str, ids: str, classes=()) -> nodes.section:
        part = nodes.section("", nodes.title(title, "", *self.words(title)), ids=[ids], classes=list(classes))
        self.state.document.note_explicit_target(part)
        return part

    def exercise_item(self, exercise: dict, most: int = 240) -> nodes.list_item:
        """Its linked title, its badges and how it begins."""
        link = addnodes.pending_xref("", nodes.inline("", "", *self.words(exercise["title"])), refdomain="std",
                                     reftype="ref", refexplicit=True, reftarget=exercise["label"], refwarn=True)
        first = sentence(link, " ", *badges(exercise["levels"] + exercise["kinds"]))
        return nodes.list_item("", first, sentence(*self.words(sentences(exercise["text"], 3, most))))


def badges(words) -> list:
    return [part for word in words for part in
            (nodes.inline(word, word, classes=["dln-badge", f"dln-{word.replace(' ', '-')}"]), nodes.Text(" "))]

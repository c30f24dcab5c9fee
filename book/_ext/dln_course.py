"""Exercises and slides, gathered from the notebooks, and a book without its solutions.

An exercise carries its level and what it needs as two classes beside its label, for example
``:class: dln-core dln-both``. The index, the slides and the badge on the page read them from there.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, solution_node

import dln_book
from dlnutils import ledger
from dlnutils.claims import show_bound

LEVELS = {"dln-warm-up": "warm-up", "dln-core": "core", "dln-project": "project"}
KINDS = {"dln-pen": "pen", "dln-computer": "computer", "dln-both": "pen and computer"}
CLAIMS_ON_A_SLIDE = 5

EXERCISE = re.compile(r"^(?P<fence>`{3,}|:{3,})\{exercise(?:-start)?\} *(?P<title>[^\n]*)\n"
                      r"(?P<options>(?::[\w-]+:[^\n]*\n)+)(?P<text>.*?)^(?P=fence) *$", re.M | re.S)
# A sentence ends at . ? or ! before a blank and a new beginning; formulas, code and roles are skipped whole.
SENTENCE = re.compile(r"(?:\$[^$]*\$|\{[\w:-]+\}`[^`]*`|`[^`]*`|[^.?!$`]|[.?!](?!\s+[A-Z*$`(\[]|\s*$))+[.?!]?")


# --- reading the notebooks ---

def text_of(cell: dict) -> str:
    return "".join(cell["source"])


def chapters(root: Path) -> dict[str, list[str]]:
    """The sections of each chapter, in the order of the table of contents."""
    found = {}
    for section in ledger.sections(root):
        found.setdefault(section.split("/")[0], []).append(section)
    return found


def exercises_in(notebook: dict) -> list[dict]:
    """Every exercise of a notebook: label, title, text, and its levels and kinds (one of each when all is well)."""
    found = []
    for cell in notebook["cells"]:
        for match in EXERCISE.finditer(text_of(cell)) if cell["cell_type"] == "markdown" else ():
            options = dict(re.findall(r"^:([\w-]+): *(.*?) *$", match["options"], re.M))
            classes = options.get("class", "").split()
            found.append({"label": options.get("label"), "title": match["title"], "text": match["text"].strip(),
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
    title, _, rest = text.lstrip().partition("\n")
    rest = re.sub(r"(?ms)^(`{3,}|:{3,})\{.*?^\1\s*$", "", rest)
    return title.lstrip("# ").strip(), rest.strip().split("\n\n")[0]


def headed_figures(notebook: dict) -> dict[str, tuple[str, str]]:
    """For every named figure: the heading it stands under, and its caption."""
    heading, found = title_and_opening(text_of(notebook["cells"][0]))[0], {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            heading = ([heading] + re.findall(r"^#{2,3} +(.+)$", text_of(cell), re.M))[-1]
        figure = cell["metadata"].get("mystnb", {}).get("figure")
        if figure:
            found[figure["name"]] = (heading, figure["caption"])
    return found


# --- pieces of a page ---

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

    def exercise_item(self, exercise: dict, most: int = 160) -> nodes.list_item:
        """Its linked title, its badges and how it begins."""
        link = addnodes.pending_xref("", nodes.inline("", "", *self.words(exercise["title"])), refdomain="std",
                                     reftype="ref", refexplicit=True, reftarget=exercise["label"], refwarn=True)
        first = dln_book.sentence(link, " ", *badges(exercise["levels"] + exercise["kinds"]))
        return nodes.list_item("", first, dln_book.sentence(*self.words(sentences(exercise["text"], 3, most))))


def badges(words) -> list:
    return [part for word in words for part in
            (nodes.inline(word, word, classes=["dln-badge", f"dln-{word.replace(' ', '-')}"]), nodes.Text(" "))]


class Exercises(FromMarkdown):
    """``dln-exercises``: every exercise of the book, by chapter and section."""

    def run(self):
        root = Path(self.env.srcdir)
        rows, parts, total = [], [], Counter()
        for chapter, its_sections in chapters(root).items():
            title, _ = title_and_opening((root / "notebooks" / chapter / "index.md").read_text(encoding="utf-8"))
            part, count = self.titled(title, f"exercises-{chapter}"), Counter()
            for section in its_sections:
                found = exercises_in(dln_book.read(self.env, section) or {"cells": []})
                if not found:
                    continue
                count.update(word for exercise in found for word in ["all"] + exercise["levels"])
                part += dln_book.sentence(dln_book.link_to_page(section), classes=["dln-where"])
                part += nodes.bullet_list("", *map(self.exercise_item, found), classes=["dln-exercises"])
            if count:
                link = nodes.reference("", title.partition(":")[0], internal=True, refuri=f"#exercises-{chapter}")
                rows.append((link, *(str(count[word]) for word in ["all", *LEVELS.values()])))
                parts.append(part)
                total += count
        rows.append((nodes.strong("", "all chapters"),
                     *(str(total[word]) for word in ["all", *LEVELS.values()])))
        head = ("Chapter", "Exercises", *(word.capitalize() for word in LEVELS.values()))
        return [dln_book.table(head, rows, (40, 15, 15, 15, 15), ["dln-counts"]), *parts]


class Slides(FromMarkdown):
    """``dln-slides:: chapter``: a deck made from a chapter's figures, captions, claims and exercises.

    The content (YAML) chooses: ``figures``, each with a hint for the speaker, ``claims`` and ``exercises``. Words,
    pictures and numbers come from the notebooks.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        chapter, chosen = self.arguments[0], yaml.safe_load("\n".join(self.content))
        root = Path(self.env.srcdir)
        its_sections = chapters(root).get(chapter, [])
        if not its_sections:
            raise self.error(f"dln-slides: no chapter {chapter!r}")
        self.notebooks = {section: dln_book.read(self.env, section) or {"cells": []} for section in its_sections}
        index = root / "notebooks" / chapter / "index.md"
        self.env.note_dependency(str(index))
        self.deck, hints, plan = [], dict(chosen["figures"]), []
        title, opening = title_and_opening(index.read_text(encoding="utf-8"))
        self.slide(title, self.blocks(sentences(opening, 2)), "title")
        for section, notebook in self.notebooks.items():
            figures = headed_figures(notebook)
            shown = [name for name in figures if name in hints]
            if shown:
                plan.append(section)
                self.section_slides(section, [(name, *figures[name], hints.pop(name)) for name in shown])
        if hints:
            raise self.error(f"dln-slides: no figure {', '.join(hints)} in {chapter}")
        self.deck.insert(1, self.plan_slide(plan))
        self.claims_slides(chosen["claims"])
        self.exercises_slide(chosen["exercises"])
        for number, slide in enumerate(self.deck, 1):
            slide["ids"] = [f"slide-{number}"]
            self.state.document.note_explicit_target(slide)
        return self.deck

    def slide(self, title, content, kind, section=None, hint=None) -> nodes.section:
        part = nodes.section("", nodes.title(title, "", *self.words(title)),
                             classes=["dln-slide", f"dln-slide-{kind}"])
        if section:
            part.insert(1, dln_book.sentence(dln_book.link_to_page(section), classes=["dln-kicker"]))
        part += content
        if hint:
            words = dln_book.sentence(nodes.strong("", "For the speaker: "), *self.words(hint))
            part += nodes.container("", words, classes=["dln-hint"])
        self.deck.append(part)
        return part

    def section_slides(self, section, figures) -> None:
        """A slide for each figure; the section's opening on a slide of its own when there are several."""
        title, opening = title_and_opening(text_of(self.notebooks[section]["cells"][0]))
        if len(figures) > 1:
            self.slide(title, self.blocks(sentences(opening, 3)), "opening")
        for name, heading, caption, hint in figures:
            figure = self.blocks(f"~~~{{dln-figure}} {section} {name}\n{caption}\n~~~")
            if len(figures) > 1:
                self.slide(heading, figure, "figure", section, hint)
            else:
                lead = nodes.container("", *self.blocks(sentences(opening, 2, 170)), classes=["dln-lead-line"])
                self.slide(title, [lead, *figure], "figure", hint=hint)

    def plan_slide(self, sections) -> nodes.section:
        items = [nodes.list_item("", dln_book.sentence(dln_book.link_to_page(section))) for section in sections]
        self.slide("The plan", [nodes.enumerated_list("", *items, enumtype="arabic", prefix="", suffix=".")], "plan")
        return self.deck.pop()

    def claims_slides(self, ids) -> None:
        known = {claim["id"]: claim for notebook in self.notebooks.values() for claim in ledger.claims_of(notebook)}
        missing = [name for name in ids if name not in known]
        if missing and known:
            raise self.error(f"dln-slides: no claim {', '.join(missing)} in {self.arguments[0]}")
        rows = [(known[name]["statement"], (known[name]["shown"], "dln-number"),
                 (show_bound(known[name]["bound"]), "dln-number")) for name in ids if name in known]
        for start in range(0, len(rows), CLAIMS_ON_A_SLIDE):
            part = dln_book.table(("Claim", "Measured", "Bound"), rows[start:start + CLAIMS_ON_A_SLIDE], (60, 20, 20),
                                  ["dln-claims"])
            self.slide("What was measured" + ("" if start == 0 else ", continued"), [part], "claims")

    def exercises_slide(self, labels) -> None:
        known = {exercise["label"]: exercise for notebook in self.notebooks.values()
                 for exercise in exercises_in(notebook)}
        missing = [label for label in labels if label not in known]
        if missing:
            raise self.error(f"dln-slides: no exercise {', '.join(missing)} in {self.arguments[0]}")
        items = [self.exercise_item(known[label], 190) for label in labels]
        self.slide("Now you", [nodes.bullet_list("", *items, classes=["dln-exercises"])], "exercises",
                   hint="Solutions are folded under each exercise on its page.")


# --- the pages of the notebooks ---

def show_badges(app, doctree) -> None:
    """Say under an exercise's title how hard it is and what it needs."""
    for kind in (exercise_node, exercise_enumerable_node):
        for exercise in doctree.findall(kind):
            words = [table[name] for table in (LEVELS, KINDS) for name in exercise["classes"] if name in table]
            content = next(iter(exercise.findall(nodes.section)), None)
            if words and content is not None:
                content.insert(0, dln_book.sentence(*badges(words), classes=["dln-badges"]))


def hide_solutions(app, doctree) -> None:
    """With DLN_SOLUTIONS=off: a book for an exam.

    The option ``hide_solutions`` of sphinx-exercise leaves the cells of a solution on the page.
    """
    if app.config.dln_solutions == "off":
        for solution in list(doctree.findall(solution_node)):
            solution.parent.remove(solution)


def without_solutions(notebook: dict) -> dict:
    """A notebook with the cells from ``solution-start`` to ``solution-end`` left out."""
    kept, inside = [], False
    for cell in notebook["cells"]:
        text = text_of(cell) if cell["cell_type"] == "markdown" else ""
        inside = inside or "{solution-start}" in text
        if not inside:
            kept.append(cell)
        inside = inside and "{solution-end}" not in text
    return {**notebook, "cells": kept}


def strip_downloads(app, error) -> None:
    """Take the solutions out of the notebooks that the site offers for download, too."""
    if error is None and app.config.dln_solutions == "off" and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.ipynb"):
            notebook = without_solutions(json.loads(path.read_text(encoding="utf-8")))
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load_slides(app, pagename, templatename, context, doctree) -> None:
    """Style and script of the slides, on their pages only."""
    if doctree is not None and any("dln-slide" in part["classes"] for part in doctree.findall(nodes.section)):
        app.add_css_file("slides.css", priority=900)       # after print.css: a slide fills a landscape sheet
        app.add_js_file("slides.js", loading_method="defer")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_config_value("dln_solutions", os.environ.get("DLN_SOLUTIONS", "on"), "env")
    app.add_css_file("course.css")
    app.add_directive("dln-exercises", Exercises)
    app.add_directive("dln-slides", Slides)
    app.connect("doctree-read", show_badges)
    app.connect("doctree-read", hide_solutions)
    app.connect("html-page-context", load_slides)
    app.connect("build-finished", strip_downloads)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

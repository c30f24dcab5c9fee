"""The list of exercises, handouts with room to write, and three editions of the book.

An exercise carries its level and what it needs as two classes beside its label, for example
``:class: dln-core dln-both``. The index, the slides and the badge on the page read them from there.

``DLN_SOLUTIONS`` names the edition: ``on``, exercises with their solutions; ``off``, for an exam, without them; ``instructor``,
with them and with the answers to the handouts, which no other edition holds.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import yaml
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.errors import ConfigError
from sphinx_exercise.nodes import exercise_enumerable_node, exercise_node, solution_node

from .markdown import KINDS, LEVELS, FromMarkdown, badges, chapters, exercises_in, text_of, title_and_opening
from .pieces import link_to_page, read, sentence, table

EDITIONS = ("on", "off", "instructor")


class Exercises(FromMarkdown):
    """``dln-exercises``: every exercise of the book, by chapter and section."""

    def run(self):
        root = Path(self.env.srcdir)
        rows, parts, total = [], [], Counter()
        for chapter, its_sections in chapters(root).items():
            title, _ = title_and_opening((root / "notebooks" / chapter / "index.md").read_text(encoding="utf-8"))
            part, count = self.titled(title, f"exercises-{chapter}"), Counter()
            for section in its_sections:
                found = exercises_in(read(self.env, section) or {"cells": []})
                if not found:
                    continue
                count.update(word for exercise in found for word in ["all"] + exercise["levels"])
                part += sentence(link_to_page(section), classes=["dln-where"])
                part += nodes.bullet_list("", *map(self.exercise_item, found), classes=["dln-exercises"])
            if count:
                link = nodes.reference("", title.partition(":")[0], internal=True, refuri=f"#exercises-{chapter}")
                rows.append((link, *(str(count[word]) for word in ["all", *LEVELS.values()])))
                parts.append(part)
                total += count
        rows.append((nodes.strong("", "all chapters"),
                     *(str(total[word]) for word in ["all", *LEVELS.values()])))
        head = ("Chapter", "Exercises", *(word.capitalize() for word in LEVELS.values()))
        return [table(head, rows, (40, 15, 15, 15, 15), ["dln-counts"]), *parts]


class Answer(FromMarkdown):
    """``dln-answer:: handout key``: lines to write on; in the instructor's edition the answer of ``book/course/answers.yml``.

    That file is no page, so that nothing of it is copied into a site. ``lines`` is how many lines there are to write on.
    """

    required_arguments = 2
    option_spec = {"lines": directives.nonnegative_int}

    def run(self):
        handout, key = self.arguments
        path = Path(self.env.srcdir) / "book" / "course" / "answers.yml"
        self.env.note_dependency(str(path))
        answer = yaml.safe_load(path.read_text(encoding="utf-8")).get(handout, {}).get(key)
        if answer is None:
            raise self.error(f"dln-answer: no answer {key!r} for {handout!r} in {path.name}; write one there")
        if self.env.config.dln_solutions == "instructor":
            words = nodes.strong("", "Answer: ")
            blocks = self.blocks(answer)
            blocks[0].insert(0, words)
            return [nodes.container("", *blocks, classes=["dln-answer"])]
        lines = "<span></span>" * self.options.get("lines", 3)
        return [nodes.raw("", f'<div class="dln-write" aria-hidden="true">{lines}</div>', format="html")]


def load_handout(app, pagename, templatename, context, doctree) -> None:
    """Style of the handouts, on their pages only."""
    if "/handout-" in pagename:
        app.add_css_file("handout.css", priority=900)      # after print.css


def show_badges(app, doctree) -> None:
    """Say under an exercise's title how hard it is and what it needs."""
    for kind in (exercise_node, exercise_enumerable_node):
        for exercise in doctree.findall(kind):
            words = [table[name] for table in (LEVELS, KINDS) for name in exercise["classes"] if name in table]
            content = next(iter(exercise.findall(nodes.section)), None)
            if words and content is not None:
                content.insert(0, sentence(*badges(words), classes=["dln-badges"]))


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


def offered(app, notebook: dict) -> dict:
    """A notebook as the site gives it away, to download or to run: without its solutions where the book has none."""
    return without_solutions(notebook) if app.config.dln_solutions == "off" else notebook


def strip_downloads(app, error) -> None:
    """Take the solutions out of the notebooks that the site offers for download, too."""
    if error is None and app.config.dln_solutions == "off" and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.ipynb"):
            notebook = without_solutions(json.loads(path.read_text(encoding="utf-8")))
            path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def check_edition(app, config) -> None:
    """A misspelt edition would give the answers away."""
    if config.dln_solutions not in EDITIONS:
        raise ConfigError(f"DLN_SOLUTIONS is {config.dln_solutions!r}; use one of {', '.join(EDITIONS)}")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_config_value("dln_solutions", os.environ.get("DLN_SOLUTIONS", "on"), "env")
    app.add_css_file("course.css")
    app.add_directive("dln-exercises", Exercises)
    app.add_directive("dln-answer", Answer)
    app.connect("config-inited", check_edition)
    app.connect("html-page-context", load_handout)
    app.connect("doctree-read", show_badges)
    app.connect("doctree-read", hide_solutions)
    app.connect("build-finished", strip_downloads)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

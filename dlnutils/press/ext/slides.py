"""Decks of slides made from a chapter's figures, captions, claims and exercises."""

from __future__ import annotations

from pathlib import Path

import yaml
from docutils import nodes

from ..notebooks import claims_of
from ..words import show_bound
from .markdown import FromMarkdown, chapters, exercises_in, headed_figures, sentences, text_of, title_and_opening
from .pieces import link_to_page, read, sentence, table

CLAIMS_ON_A_SLIDE = 5


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
        self.notebooks = {section: read(self.env, section) or {"cells": []} for section in its_sections}
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
            part.insert(1, sentence(link_to_page(section), classes=["dln-kicker"]))
        part += content
        if hint:
            words = sentence(nodes.strong("", "For the speaker: "), *self.words(hint))
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
        items = [nodes.list_item("", sentence(link_to_page(section))) for section in sections]
        self.slide("The plan", [nodes.enumerated_list("", *items, enumtype="arabic", prefix="", suffix=".")], "plan")
        return self.deck.pop()

    def claims_slides(self, ids) -> None:
        known = {claim["id"]: claim for notebook in self.notebooks.values() for claim in claims_of(notebook)}
        missing = [name for name in ids if name not in known]
        if missing and known:
            raise self.error(f"dln-slides: no claim {', '.join(missing)} in {self.arguments[0]}")
        rows = [(known[name]["statement"], (known[name]["shown"], "dln-number"),
                 (show_bound(known[name]["bound"]), "dln-number")) for name in ids if name in known]
        for start in range(0, len(rows), CLAIMS_ON_A_SLIDE):
            part = table(("Claim", "Measured", "Bound"), rows[start:start + CLAIMS_ON_A_SLIDE], (60, 20, 20),
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


def load_slides(app, pagename, templatename, context, doctree) -> None:
    """Style and script of the slides, on their pages only."""
    if doctree is not None and any("dln-slide" in part["classes"] for part in doctree.findall(nodes.section)):
        app.add_css_file("slides.css", priority=900)       # after print.css: a slide fills a landscape sheet
        app.add_js_file("slides.js", loading_method="defer")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-slides", Slides)
    app.connect("html-page-context", load_slides)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

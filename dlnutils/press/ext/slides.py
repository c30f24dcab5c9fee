"""Decks of slides made from the notebooks' figures, captions, results and exercises."""

from __future__ import annotations

from pathlib import Path

import yaml
from docutils import nodes

from ..notebooks import claims_of
from .markdown import FromMarkdown, chapters, exercises_in, headed_figures, sentences, text_of, title_and_opening
from .parts import results_list
from .pieces import link_to_page, read, sentence

RESULTS_ON_A_SLIDE = 4


class Slides(FromMarkdown):
    """``dln-slides:: chapter``: a deck made from the notebooks' figures, captions, results and exercises.

    The content (YAML) chooses, from any chapter, and shows in its order: ``figures``, each with a hint ``say``; with ``ask``, a
    slide with this question comes first, and ``expect`` is what many will answer. Then ``results``, ids of headline claims, and
    ``exercises``, their labels. Words, pictures and numbers come from the notebooks.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        chapter, chosen = self.arguments[0], yaml.safe_load("\n".join(self.content))
        root = Path(self.env.srcdir)
        by_chapter = chapters(root)
        if chapter not in by_chapter:
            raise self.error(f"dln-slides: no chapter {chapter!r}")
        self.notebooks = {section: read(self.env, section) or {"cells": []} for part in by_chapter.values() for section in part}
        index = root / "notebooks" / chapter / "index.md"
        self.env.note_dependency(str(index))
        self.deck = []
        title, opening = title_and_opening(index.read_text(encoding="utf-8"))
        self.slide(title, self.blocks(sentences(opening, 2)), "title", hint=chosen.get("say"))
        plan = self.figure_slides(chosen["figures"])
        self.deck.insert(1, self.plan_slide(plan))
        self.results_slides(chosen["results"])
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

    def figure_slides(self, chosen) -> list[str]:
        """For each figure its question, if it has one, and a slide with the picture; returns the pages, each once."""
        known = {name: (section, *found) for section, notebook in self.notebooks.items()
                 for name, found in headed_figures(notebook).items()}
        missing = [name for name in chosen if name not in known]
        if missing:
            raise self.error(f"dln-slides: no figure {', '.join(missing)} in the book")
        pages = []
        for name, words in chosen.items():
            section, heading, caption = known[name]
            title, opening = title_and_opening(text_of(self.notebooks[section]["cells"][0]))
            pages += [section] if section not in pages else []
            if "ask" in words:
                expected = f"Many will say: {words['expect']}" if "expect" in words else None
                # Without a link to the page, whose title may be the answer.
                self.slide("Your prediction", self.blocks(words["ask"]), "ask", hint=expected)
            content = self.blocks(f"~~~{{dln-figure}} {section} {name}\n{caption}\n~~~")
            if heading == title and "ask" not in words:
                content.insert(0, nodes.container("", *self.blocks(sentences(opening, 2, 170)), classes=["dln-lead-line"]))
            self.slide(heading, content, "figure", section if heading != title else None, words.get("say"))
        return pages

    def plan_slide(self, sections) -> nodes.section:
        items = [nodes.list_item("", sentence(link_to_page(section))) for section in sections]
        self.slide("The plan", [nodes.enumerated_list("", *items, enumtype="arabic", prefix="", suffix=".")], "plan")
        return self.deck.pop()

    def results_slides(self, ids) -> None:
        known = {claim["id"]: claim for notebook in self.notebooks.values() for claim in claims_of(notebook)
                 if claim["headline"]}
        missing = [name for name in ids if name not in known]
        if missing and known:
            raise self.error(f"dln-slides: no headline claim {', '.join(missing)} in the book")
        found = [known[name] for name in ids if name in known]
        for start in range(0, len(found), RESULTS_ON_A_SLIDE):
            box = nodes.container("", results_list(found[start:start + RESULTS_ON_A_SLIDE]), classes=["dln-results"])
            self.slide("What was measured" + ("" if start == 0 else ", continued"), [box], "results")

    def exercises_slide(self, labels) -> None:
        known = {exercise["label"]: exercise for notebook in self.notebooks.values()
                 for exercise in exercises_in(notebook)}
        missing = [label for label in labels if label not in known]
        if missing:
            raise self.error(f"dln-slides: no exercise {', '.join(missing)} in the book")
        items = [self.exercise_item(known[label], 190) for label in labels]
        self.slide("Now you", [nodes.bullet_list("", *items, classes=["dln-exercises"])], "exercises",
                   hint="Each link leads to the exercise on its page.")


def load_slides(app, pagename, templatename, context, doctree) -> None:
    """Style and scripts of the slides, on their pages only."""
    if doctree is not None and any("dln-slide" in part["classes"] for part in doctree.findall(nodes.section)):
        app.add_css_file("slides.css", priority=900)       # after print.css: a slide fills a landscape sheet
        app.add_js_file("slides.js", loading_method="defer")
        app.add_js_file("speaker.js", loading_method="defer")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-slides", Slides)
    app.connect("html-page-context", load_slides)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

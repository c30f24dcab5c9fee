"""The course: exercises that say what they ask for, plans that fill their time, names that exist, three editions."""

import json
import re
import shutil

import pytest
import yaml
from bs4 import BeautifulSoup
from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils.press import site
from dlnutils.press.ext import course, markdown

CHAPTERS = ["saddles", "mixed", "integrable", "transfer", "synthesis"]

CONFIG = """\
title: toy
only_build_toc_files: true
execute: {execute_notebooks: "off"}
parse: {myst_enable_extensions: [colon_fence, dollarmath, amsmath]}
sphinx:
  extra_extensions: [sphinx_exercise, dlnutils.press.ext.pages, dlnutils.press.ext.parts, dlnutils.press.ext.figure,
                     dlnutils.press.ext.ledger, dlnutils.press.ext.explorers, dlnutils.press.ext.course,
                     dlnutils.press.ext.slides]
  config: {html_static_path: [book/_static], suppress_warnings: [myst.xref_missing, mystnb.unknown_mime_type]}
"""
TOC = """\
format: jb-book
root: book/index
chapters:
- file: notebooks/saddles/index
- file: notebooks/saddles/phase-portrait
- file: book/exercises
- file: book/slides
- file: book/course/handout-toy
- file: book/ledger
"""
SLIDES = """\
# Slides

```{dln-slides} saddles
say: Take bets.
figures:
  fig-saddles-imbalance: {ask: "Which start waits longest?", expect: the larger one., say: Ask what is conserved.}
  fig-saddles-phase-portrait: {say: Follow one.}
results: [saxe2013-2-branches]
exercises: [ex-saddles-sigmoid]
```
"""
HANDOUT = """\
# Handout

1. How long?

   ```{dln-answer} toy wait
   :lines: 4
   ```
"""
ANSWERS = "toy:\n  wait: Seventeen *and* a half.\n"
COURSE = {path.stem: path.read_text(encoding="utf-8") for path in sorted((BOOK / "book" / "course").glob("*.md"))}
PLANS = re.findall(r"^\| minutes \|.*\n\|[-|]+\n((?:\|.*\n)+)", COURSE["index"], re.M)


@pytest.fixture(scope="module")
def small_book(tmp_path_factory):
    """The folder of a book of one real notebook, built with warnings as errors."""
    root = tmp_path_factory.mktemp("small")
    pages = {"_config.yml": CONFIG, "_toc.yml": TOC, "book/index.md": "# Toy\n",
             "book/ledger.md": "# Ledger\n", "book/slides.md": SLIDES, "book/course/handout-toy.md": HANDOUT,
             "book/course/answers.yml": ANSWERS,
             "book/exercises.md": "# All exercises\n\n```{dln-exercises}\n```\n",
             "notebooks/saddles/index.md": "# Saddles in little\n\n```{note}\nNot the opening.\n\nNor this.\n```\n\n"
                                           "First sentence. Second one.\n"}
    for name, text in pages.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    shutil.copytree(BOOK / "book" / "_static", root / "book" / "_static", ignore=shutil.ignore_patterns("mathjax"))
    shutil.copy(BOOK / "notebooks" / "saddles" / "phase-portrait.ipynb", root / "notebooks" / "saddles")
    site.build(root, committed=True)
    return root


@pytest.fixture
def copied_book(small_book, tmp_path):
    """The same folder, for a test that changes it."""
    return shutil.copytree(small_book, tmp_path / "copy", ignore=shutil.ignore_patterns("_build"))


def parsed(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("section", SECTIONS)
def test_every_exercise_has_one_level_one_kind_and_a_solution(section):
    cells = [cell for cell in NOTEBOOKS[section]["cells"] if cell["cell_type"] == "markdown"]
    text = "\n".join(map(markdown.text_of, cells))
    found = markdown.exercises_in(NOTEBOOKS[section])
    assert bool(found) == (section != "synthesis/beyond-one-machine")
    assert len(found) == len(re.findall(r"\{exercise(?:-start)?\}", text))
    solved = re.findall(r"\{solution(?:-start)?\} (\S+)", text)
    for exercise in found:
        assert len(exercise["levels"]) == 1 and len(exercise["kinds"]) == 1, exercise["label"]
        assert solved.count(exercise["label"]) == 1, exercise["label"]


def test_every_level_occurs_in_every_chapter():
    for chapter in CHAPTERS:
        levels = {level for section in SECTIONS if section.startswith(chapter)
                  for exercise in markdown.exercises_in(NOTEBOOKS[section]) for level in exercise["levels"]}
        assert levels == set(markdown.LEVELS.values()), chapter


def test_exercises_are_those_that_a_page_shows():
    text = ("````{exercise} A *first* one\n:label: ex-a\n:class: dln-core dln-pen\n\nSay why.\n\n```python\n1\n```\n````\n\n"
            ":::{exercise-start}\n:label: ex-b\n:::\n\n~~~\n```{exercise} Shown as code\n:label: ex-c\n```\n~~~\n")
    first, second = markdown.exercises_in({"cells": [{"cell_type": "markdown", "source": text}]})
    assert (first["label"], first["title"], first["levels"], first["kinds"]) == ("ex-a", "A *first* one", ["standard"], ["pen"])
    assert first["text"] == "Say why.\n\n```python\n1\n```" and (second["label"], second["text"]) == ("ex-b", "")


def test_sentences_end_where_a_reader_would_end_them():
    text = "Let $x = 0.5$. It is *small*. See {numref}`fig. a`. [Two](a.ipynb) words? Yes."
    assert markdown.sentences(text, 1) == "Let $x = 0.5$."
    assert markdown.sentences(text, 3) == "Let $x = 0.5$. It is *small*. See {numref}`fig. a`."
    assert markdown.sentences(text, 4).endswith(" Two words?")
    assert markdown.sentences(text, 4, most=20) == "Let $x = 0.5$."
    assert markdown.sentences("1. Derive (2), e.g. by hand. Then stop.", 1) == "Derive (2), e.g. by hand."


def test_openings_and_captions_can_stand_on_a_slide():
    """Nothing that only works on the notebook's own page."""
    for section, notebook in NOTEBOOKS.items():
        _, opening = markdown.title_and_opening(markdown.text_of(notebook["cells"][0]))
        assert "{glue" not in opening, section
        for name, (heading, caption) in markdown.headed_figures(notebook).items():
            assert heading and "{glue" not in caption, name


def test_the_classes_fill_their_90_minutes():
    assert len(PLANS) == 5
    for plan in PLANS:
        assert sum(int(row.split("|")[1]) for row in plan.splitlines()) == 90, plan


def test_every_class_asks_corrects_and_has_exercises_of_each_grade():
    classes = re.split(r"^\(course-\w+\)=\n## Class", COURSE["index"], flags=re.M)[1:]
    levels = {exercise["label"]: exercise["levels"] for notebook in NOTEBOOKS.values()
              for exercise in markdown.exercises_in(notebook)}
    for text in classes:
        assert "**Bring:**" in text and len(re.findall(r"\?", text)) > 4
        assert len(re.search(r"\| some believe \|.*\n\|[-|]+\n((?:\|.*\n)+)", text)[1].splitlines()) == 3
        said = re.search(r"\*\*Exercises\.\*\*(.*?)(?:\n\n|\Z)", text, re.S)[1]
        parts = re.split(r"Warm-ups?\b|Standard:|Project:", said)[1:]
        for level, part in zip(["warm-up", "standard", "project"], parts, strict=True):
            named = re.findall(r"<(ex-[\w-]+)>", part)
            assert all(levels[label] == [level] for label in named), (level, named)
            assert named or "handout" in part


def figures_of(text: str) -> list[str]:
    return re.findall(r"fig-[\w-]+", text)


@pytest.mark.parametrize("page", COURSE)
def test_figures_exercises_claims_and_pages_of_the_course_exist(page):
    known = {name for notebook in NOTEBOOKS.values() for name in markdown.headed_figures(notebook)}
    assert not set(figures_of(COURSE[page])) - known
    labels = {exercise["label"] for notebook in NOTEBOOKS.values() for exercise in markdown.exercises_in(notebook)}
    assert not set(re.findall(r"\bex-[a-z][\w-]+", COURSE[page])) - labels
    for target in re.findall(r"\{doc\}`(?:[^`<]*<)?([^`>]+)>?`", COURSE[page]):
        path = BOOK / target.lstrip("/") if target.startswith("/") else BOOK / "book" / "course" / target
        assert path.with_suffix(".md").is_file() or path.with_suffix(".ipynb").is_file(), target
    anchors = {name for text in COURSE.values() for name in re.findall(r"^\((course-[\w-]+)\)=", text, re.M)}
    assert set(re.findall(r"<(course-[\w-]+)>", COURSE[page])) <= anchors


@pytest.mark.parametrize("chapter, plan", list(zip(CHAPTERS, PLANS, strict=True)))
def test_what_a_class_shows_is_on_its_slides(chapter, plan):
    assert not set(figures_of(plan)) - set(figures_of(COURSE[f"slides-{chapter}"]))


def test_every_answer_belongs_to_a_handout_and_has_its_place():
    answers = yaml.safe_load((BOOK / "book" / "course" / "answers.yml").read_text(encoding="utf-8"))
    assert list(answers) == CHAPTERS
    for chapter, its_answers in answers.items():
        places = re.findall(r"\{dln-answer\} (\S+) (\S+)", COURSE[f"handout-{chapter}"])
        assert places == [(chapter, key) for key in its_answers] and len(places) == 6
        for answer in its_answers.values():
            assert answer[:40] not in "".join(COURSE.values())


def test_the_index_lists_the_exercises_and_its_links_arrive(small_book):
    html = small_book / "_build" / "html"
    index = parsed(html / "book" / "exercises.html")
    notebook = parsed(html / "notebooks" / "saddles" / "phase-portrait.html")
    exercises = markdown.exercises_in(NOTEBOOKS["saddles/phase-portrait"])
    items = index.select("ul.dln-exercises > li")
    assert len(items) == len(exercises)
    for item, exercise in zip(items, exercises, strict=True):
        assert item.a.get_text(" ", strip=True) == exercise["title"]
        assert item.a["href"] == f"../notebooks/saddles/phase-portrait.html#{exercise['label']}"
        assert notebook.find(id=exercise["label"])
        assert [badge.get_text() for badge in item.select(".dln-badge")] == exercise["levels"] + exercise["kinds"]
        assert notebook.find(id=exercise["label"]).select_one(".dln-badges").get_text(" ", strip=True)


def test_a_deck_is_made_from_the_notebook(small_book):
    slides = parsed(small_book / "_build" / "html" / "book" / "slides.html").select("section.dln-slide")
    titles = [slide.h2.get_text().rstrip("#") for slide in slides]
    assert titles == ["Saddles in little", "The plan", "Your prediction", "The same start, unbalanced",
                      "The phase portrait of one mode", "What was measured", "Now you"]
    assert "First sentence. Second one." in slides[0].get_text() and "Take bets." in slides[0].select_one(".dln-hint").get_text()
    assert "Which start waits longest?" in slides[2].get_text()
    assert "Many will say: the larger one." in slides[2].select_one(".dln-hint").get_text()
    assert slides[3].select_one("figure img") and "imbalance" in slides[3].figcaption.get_text()
    assert "Ask what is conserved." in slides[3].select_one(".dln-hint").get_text()
    assert slides[4].select_one(".dln-lead-line")                  # nothing was asked, so the page's opening leads in
    assert "One sign decides" in slides[5].select_one(".dln-results li").get_text()
    assert slides[6].li.a["href"] == "../notebooks/saddles/phase-portrait.html#ex-saddles-sigmoid"


def test_a_deck_with_an_unknown_name_stops_the_build(copied_book, capfd):
    changes = [("fig-saddles-imbalance", "fig-nowhere"), ("[ex-saddles-sigmoid]", "[ex-nowhere]"),
               ("saxe2013-2-branches", "no-claim"), ("{dln-slides} saddles\n", "{dln-slides} nowhere\n")]
    for number, (known, unknown) in enumerate(changes):
        (copied_book / "book" / f"wrong{number}.md").write_text(SLIDES.replace(known, unknown), encoding="utf-8")
        with (copied_book / "_toc.yml").open("a") as toc:
            toc.write(f"- file: book/wrong{number}\n")
    with pytest.raises(RuntimeError):
        site.build(copied_book, committed=True)
    said = capfd.readouterr().err
    for words in ("no figure fig-nowhere", "no exercise ex-nowhere", "no headline claim no-claim", "no chapter 'nowhere'"):
        assert words in said


def test_the_book_without_solutions_has_none_and_gets_them_back(small_book, copied_book, monkeypatch):
    def solution_cells(html):
        page = parsed(html / "notebooks" / "saddles" / "phase-portrait.html")
        notebook = json.loads((html / "_sources" / "notebooks" / "saddles" / "phase-portrait.ipynb").read_text("utf-8"))
        kept = "".join(markdown.text_of(cell) for cell in notebook["cells"])
        return len(page.select(".solution")), kept.count("{solution-start}"), len(notebook["cells"])

    def build(solutions):
        monkeypatch.setenv("DLN_SOLUTIONS", solutions)
        return site.build(copied_book, committed=True).parent

    every = NOTEBOOKS["saddles/phase-portrait"]["cells"]
    number = len(markdown.exercises_in(NOTEBOOKS["saddles/phase-portrait"]))
    assert solution_cells(small_book / "_build" / "html") == (number, number, len(every))
    html = build("off")
    pages, cells, left = solution_cells(html)
    assert (pages, cells) == (0, 0)
    solutions = zip([i for i, cell in enumerate(every) if "{solution-start}" in markdown.text_of(cell)],
                    [i for i, cell in enumerate(every) if "{solution-end}" in markdown.text_of(cell)], strict=True)
    hidden = [cell for start, end in solutions for cell in every[start:end + 1]]
    assert left == len(every) - len(hidden)
    page = parsed(html / "notebooks" / "saddles" / "phase-portrait.html")
    assert len(page.select(".exercise")) == number
    code = next(cell for cell in hidden if cell["cell_type"] == "code")
    first = markdown.text_of(code).splitlines()[0]
    assert first not in page.get_text() and first in parsed(
        small_book / "_build" / "html" / "notebooks" / "saddles" / "phase-portrait.html").get_text()
    assert solution_cells(build("on")) == (number, number, len(every))


def test_no_solution_leaks_from_a_download_or_a_page_that_runs(copied_book, monkeypatch):
    config = copied_book / "_config.yml"
    config.write_text(config.read_text(encoding="utf-8").replace(
        "dlnutils.press.ext.slides]",
        "dlnutils.press.ext.slides,\n    dlnutils.press.ext.run_here, dlnutils.press.ext.downloads]"), encoding="utf-8")
    monkeypatch.setenv("DLN_SOLUTIONS", "off")
    html = site.build(copied_book, committed=True).parent
    assert not holding(html, "Seventeen")
    offered = course.without_solutions(NOTEBOOKS["saddles/phase-portrait"])["cells"]
    code = [markdown.text_of(cell) for cell in offered if cell["cell_type"] == "code"]
    every = [markdown.text_of(cell) for cell in NOTEBOOKS["saddles/phase-portrait"]["cells"] if cell["cell_type"] == "code"]
    assert len(code) < len(every)
    runs = json.loads((html / "_static" / "run-here" / "pages" / "saddles--phase-portrait.json").read_text(encoding="utf-8"))
    page = parsed(html / "notebooks" / "saddles" / "phase-portrait.html")
    assert runs["cells"] == code and len(page.select("div.cell")) == len(code)
    taken = html / "_sources" / "notebooks" / "saddles" / "phase-portrait.ipynb"
    given = json.loads(taken.read_text(encoding="utf-8"))["cells"]
    assert [markdown.text_of(cell) for cell in given if cell["cell_type"] == "code"] == code
    assert not any("Solution" in markdown.text_of(cell) for cell in given if cell["cell_type"] == "markdown")


def holding(folder, words):
    """The files of a site that hold these words, whatever they are."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*")
                  if path.is_file() and words.encode() in path.read_bytes())


def test_answers_to_handouts_are_in_the_instructors_edition_alone(small_book, copied_book, monkeypatch):
    ours = small_book / "_build" / "html"
    page = parsed(ours / "book" / "course" / "handout-toy.html")
    assert len(page.select(".dln-write span")) == 4 and not page.select(".dln-answer")
    assert holding(ours, "Seventeen") == [] and not list(ours.rglob("answers*"))
    assert "handout.css" in str(page.head) and "handout.css" not in str(parsed(ours / "book" / "slides.html").head)
    monkeypatch.setenv("DLN_SOLUTIONS", "instructor")
    html = site.build(copied_book, committed=True).parent
    page = parsed(html / "book" / "course" / "handout-toy.html")
    assert page.select_one(".dln-answer").get_text().split() == "Answer: Seventeen and a half.".split()
    assert not page.select(".dln-write")
    number = len(markdown.exercises_in(NOTEBOOKS["saddles/phase-portrait"]))
    assert len(parsed(html / "notebooks" / "saddles" / "phase-portrait.html").select(".solution")) == number


@pytest.mark.parametrize("page, edition, words", [
    ("wait", "of", "DLN_SOLUTIONS is 'of'; use one of on, off, instructor"),
    ("nothing", "on", "no answer 'nothing' for 'toy' in answers.yml")])
def test_a_misspelt_edition_or_answer_stops_the_build(copied_book, monkeypatch, capfd, page, edition, words):
    monkeypatch.setenv("DLN_SOLUTIONS", edition)
    path = copied_book / "book" / "course" / "handout-toy.md"
    path.write_text(HANDOUT.replace("toy wait", f"toy {page}"), encoding="utf-8")
    with pytest.raises(RuntimeError):
        site.build(copied_book, committed=True)
    said = capfd.readouterr()
    assert words in said.err + said.out

"""What became of the statements that the four papers print: counted from the ledger, for the front page.

``book/untested.yml`` lists what could not be tested, with reasons.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ..notebooks import claims_of
from ..words import printed
from .pieces import PAPERS, book_notebooks, ledger_anchor, table

UNTESTED = "book/untested.yml"


class Verdicts(NamedTuple):
    """How many printed statements were tested, how many of them hold here, how many do not, and how many wait."""

    tested: int
    agree: int
    disagree: int
    untested: int


def short_name(paper: str) -> str:
    """A paper's name for a narrow column.

    Examples
    --------
    >>> short_name("saxe2013"), short_name("bordelon2025")
    ('Saxe et al. 2013', 'Bordelon & Pehlevan 2025')
    """
    authors, _, year = PAPERS[paper].rstrip(")").partition(" (")
    return f"{authors.split(',')[0]} et al. {year}" if "," in authors else f"{authors} {year}"


def verdicts_of(notebooks: dict[str, dict], untested: list[dict]) -> dict[str, Verdicts]:
    """Counts for each of the papers, and for ``'all'`` of them.

    A statement that fails counts as tested, and neither agrees nor disagrees; one that is not asserted does not count.
    """
    out = {}
    for paper in (paper for paper in PAPERS if paper != "synthesis"):
        count = printed(claim for notebook in notebooks.values() for claim in claims_of(notebook) if claim["paper"] == paper)
        out[paper] = Verdicts(count.total() - count["not asserted"], count["agrees"], count["disagrees"],
                              sum(one["paper"] == paper for one in untested))
    return out | {"all": Verdicts(*map(sum, zip(*out.values())))}


def read_untested(env) -> list[dict]:
    """What could not be tested: entries with ``paper``, ``what`` and ``why``; the page is rebuilt when the list changes.

    Raises
    ------
    ValueError
        An entry with other keys, or of a paper that the book does not have.
    """
    path = Path(env.srcdir) / UNTESTED
    env.note_dependency(str(path))
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else []
    for entry in entries:
        if set(entry) != {"paper", "what", "why"} or entry["paper"] not in PAPERS:
            raise ValueError(f"{UNTESTED} must have entries of a paper ({', '.join(PAPERS)}), what and why, got {entry}")
    return entries


class Table(SphinxDirective):
    """``dln-verdicts``: a row a paper; with ``untested``, the list of what could not be tested."""

    optional_arguments = 1

    def run(self):
        untested = read_untested(self.env)
        if self.arguments == ["untested"]:
            text = [f"- {PAPERS[one['paper']]}: {one['what']}; {' '.join(one['why'].split())}." for one in untested]
            holder = nodes.container()
            self.state.nested_parse(StringList(text, source=UNTESTED), self.content_offset, holder)
            return holder.children
        rows = []
        for paper, count in verdicts_of(book_notebooks(self.env), untested).items():
            address = self.env.app.builder.get_relative_uri(self.env.docname, "book/ledger")
            name = "All four" if paper == "all" else nodes.reference(
                "", short_name(paper), internal=True, refuri=f"{address}#{ledger_anchor(paper)}")
            rows.append((name, *((str(number) if number else "–", "dln-number") for number in count)))
        return [table(("Statements of", "tested", "agree", "disagree", "untested"), rows, (40, 15, 15, 15, 15),
                      ["dln-verdicts"])]


class Count(SphinxRole):
    """``verdicts``: a number such as ``disagree all`` or ``tested saxe2013``."""

    def run(self):
        what, _, paper = self.text.partition(" ")
        count = verdicts_of(book_notebooks(self.env), read_untested(self.env)).get(paper)
        if count is None or what not in Verdicts._fields:
            message = self.inliner.reporter.error(f"verdicts: cannot count {self.text!r}; say one of "
                                                  f"{', '.join(Verdicts._fields)} and a paper or all", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(str(getattr(count, what)))], []


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-verdicts", Table)
    app.add_role("verdicts", Count())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

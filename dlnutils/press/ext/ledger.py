"""What the book shows about its own notebooks: the ledger of claims, counts and run times.

Everything is read from the notebooks of the source tree while Sphinx reads the pages, so every way of building the
book has it and no number is copied by hand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ..notebooks import claims_of, figure_cells, run_metadata, sections
from ..words import FIRST_AUTHORS, bound_from, duration, paper_figure, printed, show_bound, verdict_of
from .pieces import PAPERS, ledger_anchor, link_to_figure, link_to_page, read, sentence, table, titled_section


class Ledger(SphinxDirective):
    """``dln-ledger``: every claim of every notebook, grouped by paper and figure, with counts on top."""

    def run(self):
        notebooks = {section: read(self.env, section) for section in sections(Path(self.env.srcdir))}
        claims = {section: claims_of(nb) if nb else [] for section, nb in notebooks.items()}
        out = self.summary(notebooks, claims)
        grouped: dict[str, dict[str, list]] = defaultdict(lambda: defaultdict(list))
        for section in notebooks:
            for claim in claims[section]:
                grouped[claim["paper"]][claim["figure"]].append((section, claim))
        for paper in sorted(grouped, key=lambda p: list(PAPERS).index(p) if p in PAPERS else len(PAPERS)):
            out.append(self.titled(PAPERS.get(paper, paper), paper))
            for figure, found in grouped[paper].items():
                part = self.titled(paper_figure(paper, figure), f"{paper} {figure}")
                for section in dict.fromkeys(section for section, _ in found):
                    mine = [claim for where, claim in found if where == section]
                    part += [self.where(section, figure, notebooks[section], mine), self.claims_table(mine)]
                out[-1] += part
        return out

    def summary(self, notebooks, claims) -> list:
        every = [claim for found in claims.values() for claim in found]
        if not every:
            return [sentence("No notebook has been run yet, so there is no claim to show. Run ",
                             nodes.literal("", "dln run"), ", then ", nodes.literal("", "dln accept"), ".",
                             classes=["dln-missing"])]
        passed, source = Counter(claim["passed"] for claim in every), Counter(claim["source"] for claim in every)
        verdicts = printed(every)
        rows_of_tiles = []
        for numbers in (((len(every), "claims"), (passed[True], "hold"), (passed[False], "fail"), (passed[None], "not asserted")),
                        ((verdicts.total(), "statements of papers tested"), (verdicts["agrees"], "agree"),
                         (verdicts["disagrees"], "disagree"))):
            tiles = (sentence(nodes.strong("", str(number)), f" {words}", classes=["dln-tile"]) for number, words in numbers)
            rows_of_tiles.append(nodes.container("", *tiles, classes=["dln-tiles"]))
        paper, theory, seeds = (source[name] for name in ("paper", "theory", "seeds"))
        bounds = sentence(f"Where the bounds come from: {paper} from a paper, {theory} from theory, {seeds} from a "
                          "spread over seeds, or a stated margin where nothing is random. A claim that disagrees with its paper "
                          "holds while the number stays outside what the paper states. Continuous integration runs every "
                          "notebook again and fails when a claim does.")
        rows = []
        for section, notebook in notebooks.items():
            run = run_metadata(notebook) if notebook else {}
            mine = claims[section]
            rows.append((link_to_page(section), str(len(mine)) if mine else "no outputs yet",
                         str(sum(claim["passed"] is True for claim in mine)) if mine else "–", run.get("profile", "–"),
                         duration(run.get("run_time"))))
        return [*rows_of_tiles, bounds, table(("Notebook", "Claims", "Hold", "Profile", "Run time"), rows, (40, 15, 10, 15, 20),
                                     ["dln-runs"])]

    def titled(self, title: str, key: str) -> nodes.section:
        return titled_section(self.state.document, title, ledger_anchor(key))

    @staticmethod
    def where(section, figure, notebook, claims) -> nodes.paragraph:
        """One line: our figure, its page, the profile and the run time."""
        drawn = [name for name, cell in figure_cells(notebook) if cell["metadata"].get("dln", {}).get("figure") == figure]
        parts = [part for name in drawn for part in (link_to_figure(name), ", ")][:-1] + [" in "] * bool(drawn)
        run = run_metadata(notebook)
        return sentence(*parts, link_to_page(section), f" · profile {claims[0]['profile']} · run time "
                        f"{duration(run.get('run_time'))}", classes=["dln-where"])

    @staticmethod
    def claims_table(claims) -> nodes.table:
        rows = [(claim["statement"], (claim["shown"], "dln-number"), (show_bound(claim["bound"]), "dln-number"),
                 bound_from(claim), verdict_of(claim), {"ids": [nodes.make_id(f"claim-{claim['id']}")]})
                for claim in claims]
        return table(("Claim", "Measured", "Bound", "Bound from", "Verdict"), rows, (46, 14, 16, 12, 12), ["dln-claims"])


class RunTimes(SphinxDirective):
    """``dln-run-times``: a row a chapter, with its pages, their time as it was measured, and the longest of them."""

    def run(self):
        times: dict[str, dict[str, float]] = defaultdict(dict)
        for section in sections(Path(self.env.srcdir)):
            notebook = read(self.env, section)
            times[section.split("/")[0]][section] = (run_metadata(notebook).get("run_time") or 0) if notebook else 0
        rows = []
        for chapter, found in times.items():
            longest = max(found, key=lambda section: found[section])
            rows.append((chapter.capitalize(), (str(len(found)), "dln-number"), (duration(sum(found.values())), "dln-number"),
                         link_to_page(longest), (duration(found[longest]), "dln-number")))
        total = sum(sum(found.values()) for found in times.values())
        rows.append(("All", (str(sum(map(len, times.values()))), "dln-number"), (duration(total), "dln-number"), "", ""))
        return [table(("Chapter", "Pages", "Time", "Longest page", "Its time"), rows, (18, 10, 14, 44, 14), ["dln-performance"])]


class RunTime(SphinxRole):
    """``run-time`` of a section, as its notebook's metadata has it."""

    def run(self):
        notebook = read(self.env, self.text)
        return [nodes.Text(duration(run_metadata(notebook).get("run_time") if notebook else None))], []


class ClaimCount(SphinxRole):
    """``claim-count`` of a section, or of the whole book with the word ``all``."""

    def run(self):
        chosen = sections(Path(self.env.srcdir)) if self.text == "all" else [self.text]
        notebooks = [read(self.env, section) for section in chosen]
        return [nodes.Text(str(sum(len(claims_of(nb)) for nb in notebooks if nb)))], []


class PaperFigure(SphinxRole):
    """``paper-figure`` of a paper's key and a label, such as ``saxe2013 3 left``: the figure's name in this book."""

    def run(self):
        paper, _, figure = self.text.partition(" ")
        if paper not in FIRST_AUTHORS or not figure:
            message = self.inliner.reporter.error(f"paper-figure: {self.text!r} is not one of {', '.join(FIRST_AUTHORS)} and a "
                                                  "label", line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(paper_figure(paper, figure))], []


def setup(app):
    """Register everything; nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-ledger", Ledger)
    app.add_role("paper-figure", PaperFigure())
    app.add_directive("dln-run-times", RunTimes)
    app.add_role("run-time", RunTime())
    app.add_role("claim-count", ClaimCount())
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

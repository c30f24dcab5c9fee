"""What the book shows about its own notebooks: the ledger of claims, borrowed figures, run times and run lines.

Everything is read from the notebooks of the source tree while Sphinx reads the pages, so every way of building the
book has it and no number is copied by hand.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dlnutils import ledger, runner
from dlnutils.claims import show_bound
from dlnutils.runner import package_hash

PAPERS = {
    "saxe2013": "Saxe, McClelland & Ganguli (2013)", "tu2024": "Tu, Aranguri & Jacot (2024)",
    "hajjar2021": "Hajjar, Chizat & Giraud (2021)", "bordelon2025": "Bordelon & Pehlevan (2025)",
    "synthesis": "Synthesis: across the papers",
}
VERDICTS = {True: ("holds", "dln-holds"), False: ("FAILS", "dln-fails"), None: ("not asserted", "dln-open")}
NOT_YET = "not yet measured"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: '12 s', '4 min', '2.5 h'."""
    if seconds is None:
        return NOT_YET
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def read(env, section: str) -> dict | None:
    """The notebook of a section (``section@profile`` for a record) as parsed JSON, or None where there is none.

    The page that asks is rebuilt when it changes.
    """
    section, _, profile = section.partition("@")
    root = Path(env.srcdir)
    path = root / "records" / profile / f"{section}.ipynb" if profile else ledger.notebook_path(root, section)
    if not path.is_file() or not path.stat().st_size:
        return None
    env.note_dependency(str(path))
    return ledger.read_notebook(path)


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


def figure_cells(notebook: dict):
    """The cells that draw a named figure, with that name."""
    for cell in notebook["cells"]:
        name = cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
        if name:
            yield name, cell


def ledger_anchor(key: str) -> str:
    """Of a part of the ledger page: a paper, or a paper and a label. What goes beyond a paper may repeat one of its labels."""
    return nodes.make_id(f"ledger-{key}".replace("+", "beyond-"))


class Figure(SphinxDirective):
    """``dln-figure:: chapter/section name``: a notebook's figure, taken from its outputs; the content is the caption.

    The name ``front`` stands for the front figure of the book.
    """

    required_arguments = 2
    has_content = True
    option_spec = {"alt": directives.unchanged_required, "width": directives.length_or_percentage_or_unitless,
                   "link": directives.unchanged_required}

    def run(self):
        section, name = self.arguments
        name = runner.FRONT_FIGURE if name == "front" else name
        notebook = read(self.env, section) or {"cells": []}
        content = runner.picture_of(notebook, name)
        if content is None:
            return [sentence("The figure ", nodes.literal(name, name), " appears here once its notebook has been run: ",
                             nodes.literal("", f"dln run {section}"), ".", classes=["dln-missing"])]
        cell = dict(figure_cells(notebook))[name]
        folder = Path(self.env.srcdir) / "_build" / "dln"
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)
        alt = self.options.get("alt") or cell["metadata"]["mystnb"].get("image", {}).get("alt", name)
        image = nodes.image(uri=f"/_build/dln/{name}.png", alt=alt)
        if "width" in self.options:
            image["width"] = self.options["width"]
        page, _, anchor = self.options.get("link", f"notebooks/{section}#{nodes.make_id(name)}").partition("#")
        address = self.env.app.builder.get_relative_uri(self.env.docname, page) + (f"#{anchor}" if anchor else "")
        link = nodes.reference("", "", image, internal=True, refuri=address)
        out = nodes.figure("", link, classes=["dln-figure"])
        if self.content:
            holder = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, holder)
            out += nodes.legend("", *holder.children)      # not a caption: a borrowed figure takes no number
        return [out]


class Ledger(SphinxDirective):
    """``dln-ledger``: every claim of every notebook, grouped by paper and figure, with counts on top."""

    def run(self):
        sections = ledger.sections(Path(self.env.srcdir))
        notebooks = {section: read(self.env, section) for section in sections}
        claims = {section: ledger.claims_of(nb) if nb else [] for section, nb in notebooks.items()}
        out = self.summary(notebooks, claims)
        grouped = defaultdict(lambda: defaultdict(list))
        for section in sections:
            for claim in claims[section]:
                grouped[claim["paper"]][claim["figure"]].append((section, claim))
        for paper in sorted(grouped, key=lambda p: list(PAPERS).index(p) if p in PAPERS else len(PAPERS)):
            out.append(self.titled(PAPERS.get(paper, paper), paper))
            for figure, found in grouped[paper].items():
                part = self.titled(self.figure_title(figure), f"{paper} {figure}")
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
        tiles = nodes.container(classes=["dln-tiles"])
        for number, words in ((len(every), "claims"), (passed[True], "hold"), (passed[False], "fail"),
                              (passed[None], "not asserted")):
            tiles += sentence(nodes.strong("", str(number)), f" {words}", classes=["dln-tile"])
        bounds = sentence(f"Where the bounds come from: {source['paper']} from a paper, {source['derived']} derived, "
                          f"{source['measured']} measured (a spread over seeds, or a stated margin where nothing is "
                          "random). Continuous integration runs every notebook again "
                          "and fails when a claim does.")
        rows = []
        for section, notebook in notebooks.items():
            run = ledger.run_metadata(notebook) if notebook else {}
            mine = claims[section]
            rows.append((link_to_page(section), str(len(mine)) if mine else "no outputs yet",
                         str(sum(claim["passed"] is True for claim in mine)) if mine else "–", run.get("profile", "–"),
                         duration(run.get("run_time"))))
        return [tiles, bounds, table(("Notebook", "Claims", "Hold", "Profile", "Run time"), rows, (40, 15, 10, 15, 20),
                                     ["dln-runs"])]

    @staticmethod
    def figure_title(figure: str) -> str:
        if figure.startswith("+"):
            return "Beyond the paper: " + figure[1:].replace("-", " ")
        return f"Figure {figure}" if figure[0].isdigit() else figure[0].upper() + figure[1:]

    def titled(self, title: str, key: str) -> nodes.section:
        part = nodes.section("", nodes.title(title, title), ids=[ledger_anchor(key)])
        self.state.document.note_explicit_target(part)
        return part

    @staticmethod
    def where(section, figure, notebook, claims) -> nodes.paragraph:
        """One line: our figure, its page, the profile and the run time."""
        drawn = [name for name, cell in figure_cells(notebook) if cell["metadata"].get("dln", {}).get("figure") == figure]
        parts = [part for name in drawn for part in (link_to_figure(name), ", ")][:-1] + [" in "] * bool(drawn)
        run = ledger.run_metadata(notebook)
        return sentence(*parts, link_to_page(section), f" · profile {claims[0]['profile']} · run time "
                        f"{duration(run.get('run_time'))}", classes=["dln-where"])

    @staticmethod
    def claims_table(claims) -> nodes.table:
        rows = [(claim["statement"], (claim["shown"], "dln-number"), (show_bound(claim["bound"]), "dln-number"),
                 claim["source"], VERDICTS[claim["passed"]], {"ids": [nodes.make_id(f"claim-{claim['id']}")]})
                for claim in claims]
        return table(("Claim", "Measured", "Bound", "Bound from", "Verdict"), rows, (46, 14, 16, 12, 12), ["dln-claims"])


class RunTime(SphinxRole):
    """``run-time`` of a section, as its notebook's metadata has it."""

    def run(self):
        notebook = read(self.env, self.text)
        return [nodes.Text(duration(ledger.run_metadata(notebook).get("run_time") if notebook else None))], []


class ClaimCount(SphinxRole):
    """``claim-count`` of a section, or of the whole book with the word ``all``."""

    def run(self):
        sections = ledger.sections(Path(self.env.srcdir)) if self.text == "all" else [self.text]
        notebooks = [read(self.env, section) for section in sections]
        return [nodes.Text(str(sum(len(ledger.claims_of(nb)) for nb in notebooks if nb)))], []


def add_run_line(app, doctree) -> None:
    """End a notebook's page with the run its outputs come from."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    run = ledger.run_metadata(ledger.read_notebook(source))
    book_ledger = addnodes.pending_xref("", nodes.inline("", "ledger of claims"), refdomain="std", reftype="doc",
                                        refexplicit=True, reftarget="/book/ledger", refwarn=False)
    if run:
        versions = {name.lower(): version for name, version in run.get("versions", {}).items()}
        words = (f"Run on {run.get('date', 'an unknown date')} with profile {run.get('profile', '?')} in "
                 f"{duration(run.get('run_time'))} on {run.get('processor', 'an unknown processor')}, Python "
                 f"{versions.get('python', '?')}, NumPy {versions.get('numpy', '?')}. ")
    else:
        words = "The committed outputs of this notebook carry no record of their run yet. "
    body = next(iter(doctree.findall(nodes.section)), doctree)
    if app.env.docname.startswith("records/"):
        section = app.env.docname.split("/", 2)[2]
        changed = " The package has changed since." if run.get("package_hash") != package_hash() else ""
        note = nodes.note("", sentence(
            f"A record of {run.get('date')}, profile {run.get('profile')}: not recomputed in CI.{changed} The section "
            "itself, with the default sizes, is ", link_to_page(section), "."))
        body.insert(1, note)
    body += sentence(words, "All claims: ", book_ledger, ".", classes=["dln-run"])


def finish_page(app, pagename, templatename, context, doctree) -> None:
    """Load MathJax only where there is something for it to set, and name the sidebar's arrows."""
    if doctree is not None and 'class="math' not in context.get("body", ""):
        context["script_files"] = [script for script in context["script_files"] if "mathjax" not in
                                   f"{getattr(script, 'filename', script)} {getattr(script, 'attributes', '')}".lower()]
    if "generate_toctree_html" in context:
        context["generate_toctree_html"] = with_labels(context["generate_toctree_html"])


def with_labels(toctree):
    """The theme's function for the sidebar, with a name for the arrows that unfold a chapter."""
    def labelled(*args, **kwargs):
        soup = toctree(*args, **kwargs)
        for arrow in soup.find_all("summary") if hasattr(soup, "find_all") else ():
            arrow["aria-label"] = "Show or hide the sections of this chapter"
        return soup
    return labelled


def drop_thebe(app, *_) -> None:
    """Unhook sphinx-thebe, which Jupyter Book loads in any case: its scripts need the network and throw on every page."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
    app.registry.css_files = [css for css in app.registry.css_files if "thebe" not in css[0]]


def setup(app):
    """Register everything; nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-figure", Figure)
    app.add_directive("dln-ledger", Ledger)
    app.add_role("run-time", RunTime())
    app.add_role("claim-count", ClaimCount())
    app.connect("config-inited", drop_thebe)
    app.connect("doctree-read", add_run_line)
    app.connect("html-page-context", finish_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""What is done to every page: numbers as a sentence has them, the run at its end, and scripts only where they are needed."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

from ...store import package_hash
from ..notebooks import read_notebook, run_metadata
from ..words import duration, in_prose
from .pieces import link_to_page, sentence


def glued_in_prose(app, doctree) -> None:
    """A glued number in machine notation reads as in the box of results: 4e-06 is 4 × 10⁻⁶."""
    for node in doctree.findall(nodes.inline):
        if "pasted-text" in node["classes"] and re.fullmatch(r"(< )?-?[\d.]+(e[-+]\d+)?", node.astext()):
            node[:] = [nodes.Text(in_prose(node.astext()))]


def add_run_line(app, doctree) -> None:
    """End a notebook's page with the run its outputs come from."""
    source = Path(app.env.doc2path(app.env.docname))
    if source.suffix != ".ipynb":
        return
    run = run_metadata(read_notebook(source))
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


def drop_section_numbers(app, env) -> None:
    """Chapters are numbered for the sake of their figures alone: no title shows its number, on a page or in the sidebar.

    The environment on disk keeps the numbers, so that the next build knows what has changed.
    """
    env.toc_secnumbers = {}
    for node in [*env.titles.values(), *(part for toc in env.tocs.values() for part in toc.findall(nodes.reference))]:
        node.attributes.pop("secnumber", None)


def drop_thebe(app, *_) -> None:
    """Unhook sphinx-thebe, which Jupyter Book loads in any case: its scripts need the network and throw on every page."""
    for listeners in app.events.listeners.values():
        for listener in list(listeners):
            if listener.handler.__module__ == "sphinx_thebe":
                app.disconnect(listener.id)
    app.registry.css_files = [css for css in app.registry.css_files if "thebe" not in css[0]]


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.connect("config-inited", drop_thebe)
    app.connect("doctree-read", glued_in_prose)
    app.connect("doctree-read", add_run_line)
    app.connect("env-check-consistency", drop_section_numbers)
    app.connect("html-page-context", finish_page, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

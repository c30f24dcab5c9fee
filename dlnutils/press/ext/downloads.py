"""Notebooks that readers take away: in the site, plain ones stand in the place of the book's own sources."""

from __future__ import annotations

import json
from pathlib import Path

from sphinx.util.nodes import clean_astext

from ... import __version__
from ..notebooks import read_notebook
from .course import offered
from .parts import SETTINGS_HEAD, settings_of
from .plain import Site, plain_notebook


def site_of(app) -> Site:
    """What other pages are called and how figures are numbered, once everything is read."""
    env = app.env
    standard = env.get_domain("std")
    address = (app.config.html_baseurl or "").rstrip("/")

    def figure_number(name: str) -> str:
        docname, anchor = standard.anonlabels.get(name, standard.labels.get(name, ("", "", ""))[:2])[:2]
        number = env.toc_fignumbers.get(docname, {}).get("figure", {}).get(anchor)
        return f"Fig. {'.'.join(map(str, number))}" if number else ""

    def title(page: str) -> str:
        found = env.titles.get(page.strip("/"))
        return clean_astext(found) if found is not None else page.rpartition("/")[2].replace("-", " ")

    def label(name: str) -> tuple[str, str]:
        docname, _, words = standard.labels.get(name.lower(), ("", "", name))
        return docname, words

    return Site(figure_number, title, label, address)


def settings_table(root: Path, section: str, notebook: dict) -> str:
    """The table of settings as Markdown: what `parts.Settings` shows on the page."""
    rows, _ = settings_of(notebook, root / "notebooks" / "settings" / f"{section}.yml")
    cells = [SETTINGS_HEAD, ("---",) * len(SETTINGS_HEAD)]
    cells += [(f"`{name}`" if is_parameter else name, *texts) for name, is_parameter, *texts in rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells)


def write_downloads(app, error) -> None:
    """Put plain notebooks over the copies that Sphinx made."""
    sources = Path(app.outdir) / "_sources"
    if error or app.builder.format != "html" or not sources.is_dir():
        return
    site, root = site_of(app), Path(app.srcdir)
    repository = (app.config.html_theme_options or {}).get("repository_url")
    install = (f"To run it, install `dlnutils` {__version__} with `pip install \".[book]\"` in a clone of the repository"
               + (f" ({repository})" if repository else "")
               + "; then it runs in any folder.")
    for docname in sorted(app.env.found_docs):
        path = Path(app.env.doc2path(docname))
        if path.suffix != ".ipynb":
            continue
        section = docname.split("/", 1 if docname.startswith("notebooks/") else 2)[-1]
        notebook = offered(app, read_notebook(path))
        plain = plain_notebook(notebook, section, site, settings=settings_table(root, section, notebook), install=install)
        target = sources / f"{docname}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.connect("build-finished", write_downloads)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""What search engines, reference managers and previews read: descriptions, citations, a map of the site, a root page with words.

What needs a public address takes it from ``html.baseurl`` or ``repository`` in ``_config.yml`` and is left out while it is empty.
"""

from __future__ import annotations

import html
import re
import shutil
from pathlib import Path

from docutils import nodes

from .address import BINDER, PICTURE, SITE_PICTURE, addresses

#: Characters of a description that search engines show.
LONGEST = 200


def description(doctree) -> str:
    """The first sentences of a page, as many as fit; formulas and notes are left out."""
    first = next((part for part in doctree.findall(nodes.paragraph)
                  if isinstance(part.parent, (nodes.section, nodes.document, nodes.container)) and part.astext().strip()), None)
    text = " ".join(first.astext().split()) if first is not None else ""
    said = ""
    for sentence in re.findall(r".*?[.?!](?=\s|$)|.+$", text):
        if said and len(said) + len(sentence) > LONGEST:
            break
        said += sentence
    return said if len(said) <= 1.5 * LONGEST else f"{said[:LONGEST].rsplit(' ', 1)[0]} …"


def tags(app, pagename: str, title: str, words: str) -> str:
    """The tags of a page's head."""
    released = re.search(r'date-released: "([\d-]+)"', citation(app))
    whole = title if pagename == app.config.root_doc else f"{title}. {app.config.html_title}"
    named = {"description": words, "citation_title": whole, "citation_author": app.config.author,
             "citation_publication_date": released[1].replace("-", "/") if released else ""}
    shown = {"og:title": title, "og:description": words, "og:type": "article", "og:site_name": app.config.html_title}
    base = (app.config.html_baseurl or "").rstrip("/")
    if base:
        named["citation_public_url"] = shown["og:url"] = f"{base}/{pagename}.html"
        shown["og:image"] = f"{base}/{SITE_PICTURE}"
    return "\n".join([f'<meta name="{name}" content="{html.escape(text)}" />' for name, text in named.items() if text]
                     + [f'<meta property="{name}" content="{html.escape(text)}" />' for name, text in shown.items() if text])


def citation(app) -> str:
    """The text of CITATION.cff, beside the book or above the folder it is staged in."""
    folder = Path(app.srcdir)
    return next(((parent / "CITATION.cff").read_text(encoding="utf-8") for parent in (folder, *folder.parents)
                 if (parent / "CITATION.cff").is_file()), "")


def offer_repository(app, config) -> None:
    """With an address of the repository every page has buttons to it and, where Binder knows its host, to a server."""
    folder, options = Path(app.srcdir), config.html_theme_options
    if not (folder / "_config.yml").is_file():
        return
    at = addresses(folder)                                 # Jupyter Book drops its own where we set options of the theme
    if at.repository:
        options |= {"repository_url": at.repository, "repository_branch": at.branch, "path_to_docs": "",
                    "use_repository_button": True, "use_issues_button": True}
        if not re.search("github|gitlab|bitbucket", at.repository):
            options["repository_provider"] = "github"      # whose addresses most other hosts follow
    if at.binder:
        options["launch_buttons"] = {"notebook_interface": "jupyterlab", "binderhub_url": BINDER}


def add_tags(app, pagename, templatename, context, doctree) -> None:
    """Describe every page that has a text."""
    if doctree is None:
        return
    title = re.sub(r"<[^>]+>", "", html.unescape(context.get("title", "")))
    words = description(doctree)
    context["metatags"] = (context.get("metatags") or "") + "\n" + tags(app, pagename, title, words)


def write_root(app, error) -> None:
    """The page at the root of the site says what the book is and leads on; with an address there is a map of the site."""
    if error or app.builder.format != "html":
        return
    out, root = Path(app.outdir), app.config.root_doc
    if not (out / f"{root}.html").is_file():
        return
    words = description(app.env.get_doctree(root))
    title = app.config.html_title
    base = (app.config.html_baseurl or "").rstrip("/")
    canonical = f'<link rel="canonical" href="{base}/{root}.html" />\n' if base else ""
    page = (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8" />\n<title>{html.escape(title)}</title>\n'
            f'{tags(app, root, title, words)}\n{canonical}'
            f'<meta http-equiv="refresh" content="0; url={root}.html" />\n</head>\n<body>\n<h1>{html.escape(title)}</h1>\n'
            f'<p>{html.escape(words)}</p>\n<p><a href="{root}.html">Open the book</a></p>\n</body>\n</html>\n')
    front = out / "index.html"
    if root != "index" and (not front.is_file() or front.read_text(encoding="utf-8") != page):
        front.write_text(page, encoding="utf-8")
    if base:
        picture = Path(app.srcdir) / PICTURE
        if picture.is_file():                              # of previews, and of the README on an index
            (out / SITE_PICTURE).parent.mkdir(exist_ok=True)
            shutil.copy2(picture, out / SITE_PICTURE)
        places = sorted(f"<url><loc>{html.escape(f'{base}/{name}.html')}</loc></url>" for name in app.env.found_docs)
        (out / "sitemap.xml").write_text('<?xml version="1.0" encoding="UTF-8"?>\n<urlset xmlns='
                                         '"http://www.sitemaps.org/schemas/sitemap/0.9">\n' + "\n".join(places) + "\n</urlset>\n",
                                         encoding="utf-8")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.connect("config-inited", offer_repository)
    app.connect("html-page-context", add_tags)
    app.connect("build-finished", write_root)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

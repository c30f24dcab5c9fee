"""The whole site as one PDF: its pages adapted for paper, printed by Chromium a chapter at a time, and bound together.

The pages are those of the built site, so that the book has one look and no second way to be built. They come in the
order of ``_toc.yml``; links between them become links inside the PDF, and headings its outline. A chapter at a time,
because a browser that lays out the whole book at once takes more than four gigabytes.
"""

from __future__ import annotations

import html
import io
import mimetypes
import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

from .. import __version__
from .notebooks import UsageError
from .pdf_binding import ELSEWHERE, ORIGIN, bind

__all__ = ["Entry", "Part", "contents", "title_and_author", "find_chromium", "slug", "join", "print_book"]

#: Pages for a screen, or for looking something up there, or that repeat what others show. A handout is printed by itself.
LEFT_OUT = re.compile(r"book/(course/(slides|handout|exercises)|gallery|explorers/|ledger|api|architecture)|records/")

#: Parts of a page that stay on the site: folded code, solutions, and the laboratory's tables. Paper is for reading; who
#: computes has the notebook.
FOLDED = 'details.hide, .solution, .dln-laboratory section[id^="all-claims"], .dln-laboratory section[id^="settings"]'
ON_SCREEN_ONLY = "Here the site has an interactive page. It computes in your browser and cannot be printed."


@dataclass(frozen=True)
class Entry:
    """A line of ``_toc.yml``: a part's caption (``page`` is None) or a page, with its depth (parts are at 0)."""

    depth: int
    page: str | None
    caption: str = ""


@dataclass
class Part:
    """What is printed in one go: a chapter with its sections. ``outline`` holds (depth, anchor, words) of its headings."""

    bodies: list = field(default_factory=list)
    outline: list = field(default_factory=list)
    document: str = ""


def contents(toc: Path) -> list[Entry]:
    """The pages of the book in order, the front page first, without those that are left out in print."""
    import yaml

    def walk(node, depth):
        for child in node.get("parts", ()):
            yield Entry(0, None, child.get("caption", ""))
            yield from walk(child, 1)
        for child in (*node.get("chapters", ()), *node.get("sections", ())):
            page = child["file"].removesuffix(".md").removesuffix(".ipynb")
            if not LEFT_OUT.match(page):
                yield Entry(depth, page)
                yield from walk(child, depth + 1)

    tree = yaml.safe_load(toc.read_text(encoding="utf-8"))
    return [Entry(0, tree["root"]), *walk(tree, 1)]


def title_and_author(root: Path) -> dict[str, str]:
    """Title and author of the book, from its ``_config.yml``."""
    import yaml
    config = yaml.safe_load((root / "_config.yml").read_text(encoding="utf-8"))
    return {name: str(config.get(name, "")) for name in ("title", "author")}


def find_chromium() -> str:
    """The path of Chromium or Chrome.

    Raises
    ------
    UsageError
        None is installed.
    """
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise UsageError("no chromium was found, which prints the pages; install it (on Debian: apt install chromium)")
    return path


def slug(page: str, anchor: str = "") -> str:
    """An anchor of the book: a page's own anchors carry its name, so that none is there twice."""
    return re.sub(r"[^\w-]+", "-", page) + (f"--{anchor}" if anchor else "")


def join(site: Path, entries: list[Entry], *, title: str) -> list[Part]:
    """The pages of a built site as the parts of one book, each an HTML document of its own.

    Raises
    ------
    UsageError
        A page was not built.
    RuntimeError
        A link inside the book leads nowhere.
    """
    from bs4 import BeautifulSoup

    articles, code, sheets, scripts = {}, [], {}, {}
    for entry in entries:
        if entry.page is None:
            continue
        path = site / f"{entry.page}.html"
        if not path.is_file():
            raise UsageError(f"{path} is missing: build the whole site first (dln build)")
        before, text = re.split(r"(?=<article)", path.read_text(encoding="utf-8"), maxsplit=1)
        text = text[:text.rindex("</article>")]
        # Coloured code is most of a page and needs no change: it waits outside while the rest is parsed.
        text = re.sub(r"(?s)<pre>.*?</pre>", lambda match: code.append(match[0]) or f"<pre>{len(code) - 1}</pre>", text)
        articles[entry.page] = BeautifulSoup(text, "html.parser").find("article")
        head = BeautifulSoup(before[:before.index("</head>")], "html.parser")
        for sheet in head.find_all("link", rel="stylesheet", href=True):
            sheets[_address(entry.page, str(sheet["href"]))] = sheet.get("media", "all")
        for script in head.find_all("script"):             # MathJax with its settings, and nothing else
            source = str(script.get("src", ""))
            if "mathjax" in source.lower():
                scripts[f'<script defer src="{_address(entry.page, source)}"></script>'] = None
            elif "window.MathJax" in script.text:
                scripts[f"<script>{script.text}</script>"] = None

    parts, divider, folded = [], None, set()
    for number, entry in enumerate(entries):
        if entry.page is None:
            anchor = slug(f"part-{number}")
            heading = f"<h1>{html.escape(entry.caption)}</h1>"
            divider = BeautifulSoup(f'<div class="dln-divider" id="{anchor}">{heading}</div>', "html.parser")
            parts.append(Part([divider], [(0, anchor, entry.caption)]))
            continue
        if entry.depth <= 1 and divider is None:
            parts.append(Part())
        divider = None                                     # a part's first chapter comes with it
        article = articles[entry.page]
        if number == 0 and article.find("h1"):             # the title page says the title
            article.find("h1").string = "Overview"
        parts[-1].outline += _adapt(article, entry.page, entry.depth, articles, folded)
        running = _text(article.find("h1")) if article.find("h1") else entry.page
        article.name, article.attrs = "div", {"class": "dln-page", "id": slug(entry.page), "data-running": running}
        parts[-1].bodies.append(article)
    _connect(parts, folded)
    head = "".join([f'<link rel="stylesheet" media="{media}" href="{sheet}">' for sheet, media in sheets.items()]
                   + [*scripts])
    for part in parts:
        titles = _running_titles(part)
        body = "".join(map(str, part.bodies))
        body = re.sub(r"<pre>(\d+)</pre>", lambda match: code[int(match[1])], body)
        part.document = _document(title, head + titles, f'<article class="bd-article">{body}</article>')
    return [Part(outline=[(0, "contents", "Contents")], document=head), *parts]


def _text(element) -> str:
    """The words of a heading, formulas in TeX without their fences."""
    return re.sub(r"\\\((.*?)\\\)", r"\1", " ".join(element.text.split()))


def _address(page: str, link: str) -> str:
    """An address relative to a page, as one from the root of the site."""
    path = link.split("?")[0].split("#")[0]
    return "/" + os.path.normpath(os.path.join(os.path.dirname(page), path)).replace(os.sep, "/")


def _adapt(article, page: str, depth: int, pages: dict, folded: set[str]) -> list[tuple]:
    """Make a page's article fit the book: anchors, links, headings; what needs a screen goes. Return its headings.

    Anchors that went with what is folded are added to ``folded``.
    """
    for element in article.select("a.headerlink, script, noscript, .dln-screen-only"):
        element.decompose()
    for element in article.select(".dln-explorer, iframe, canvas, video"):
        element.name, element.attrs = "p", {"class": "dln-print-note"}
        element.string = ON_SCREEN_ONLY
    for element in article.select(FOLDED):
        if not element.decomposed:
            folded.update(slug(page, inner["id"]) for inner in [element, *element.find_all(id=True)] if inner.get("id"))
            element.decompose()
    for cell in article.select("div.cell"):          # what set-up or claims left nothing behind
        if not cell.text.strip() and not cell.find(["img", "pre", "table"]):
            cell.decompose()
    for button in article.find_all("button"):
        button.unwrap()
    for details in article.find_all("details"):
        details["open"] = ""
    for element in article.find_all(id=True):
        if not element.find_parent("svg") and element.name != "svg":
            element["id"] = slug(page, element["id"])
    outline = []
    for number, heading in enumerate(article.find_all(re.compile("^h[1-6]$"))):
        level = int(heading.name[1])
        holder = heading.parent if heading.parent.name == "section" and heading.parent.get("id") else heading
        anchor = holder.attrs.setdefault("id", slug(page, f"heading-{number}"))
        outline.append((depth + level - 1, slug(page) if level == 1 else anchor, _text(heading)))
    for element in article.find_all(src=True):
        if not urlparse(element["src"]).scheme:
            element["src"] = _address(page, element["src"])
        element.attrs.pop("loading", None)                 # a lazy picture below the first screen would stay empty
    for link in article.find_all("a", href=True):
        address, fragment = urldefrag(link["href"])
        if urlparse(address).scheme or address.startswith("//"):
            continue
        target = _address(page, address).removeprefix("/").removesuffix(".html") if address else page
        if target in pages:
            link["href"] = "#" + slug(target, unquote(fragment))
        else:                                              # a file, or a page that is left out in print
            link.name = "span"
            del link["href"]
    return outline or [(depth, slug(page), page)]


def _connect(parts: list[Part], folded: set[str]) -> None:
    """Mark links from one part into another, and let every part say where the anchors are that the PDF needs.

    A link to what is left out becomes words.
    """
    from bs4 import BeautifulSoup

    home = {element["id"]: part for part in parts for body in part.bodies
            for element in [*([body] if body.get("id") else ()), *body.find_all(id=True)]}
    needed = {id(part): [anchor for _, anchor, _ in part.outline] for part in parts}
    for part in parts:
        for link in [link for body in part.bodies for link in body.select('a[href^="#"]')]:
            anchor = link["href"][1:]
            if anchor in folded:
                link.name = "span"
                del link["href"]
                continue
            if anchor not in home:
                raise RuntimeError(f"a link leads nowhere: {anchor} ({link.text.strip()})")
            if home[anchor] is not part:
                link["href"] = ELSEWHERE + anchor
                needed[id(home[anchor])].append(anchor)
    for part in parts:                                     # Chromium keeps the place of an anchor only if a link names it
        links = "".join(f'<a href="#{html.escape(anchor)}"></a>' for anchor in dict.fromkeys(needed[id(part)]))
        part.bodies.insert(0, BeautifulSoup(f"<nav hidden>{links}</nav>", "html.parser"))


def _running_titles(part: Part) -> str:
    """A title at the head of every sheet: each page of the site is a named page with a margin of its own."""
    rules = []
    for number, body in enumerate(body for body in part.bodies if body.get("data-running")):
        body["style"] = f"page: p{number}"
        words = body["data-running"].replace("\\", "\\\\").replace('"', '\\"').replace("<", "\\3c ")
        rules.append(f'@page p{number} {{ @top-right {{ content: "{words}"; color: #57606a; font: 8.5pt sans-serif }} }}')
    return f"<style>{' '.join(rules)}</style>"


def _document(title: str, head: str, body: str) -> str:
    return (f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
            f"<title>{html.escape(title)}</title>{head}</head><body class=\"dln-printed\">"
            f'<main class="bd-main"><div class="bd-content"><div class="bd-article-container">{body}</div></div></main>'
            "</body></html>")


def _front_matter(head: str, parts: list[Part], numbers: dict, *, title: str, author: str, logo: bool) -> str:
    """The title page and the table of contents; ``numbers`` holds the page number of every anchor, once known."""
    lines = []
    for depth, anchor, words in [line for part in parts[1:] for line in part.outline]:
        if "--" not in anchor:                             # pages and parts, not the headings inside a page
            kind = "dln-part" if depth == 0 else f"dln-at-{depth}"
            lines.append(f'<li class="{kind}"><a href="{ELSEWHERE}{anchor}" data-page="{numbers.get(anchor, "")}">'
                         f"{html.escape(words)}<i></i></a></li>")
    picture = '<img class="dln-logo" src="/_static/logo.svg" alt="">' if logo else ""
    body = (f'<div class="dln-title">{picture}<p class="dln-book-title">{html.escape(title)}</p>'
            f"<p>{html.escape(author)}</p><p>Version {__version__}</p>"
            '<p class="dln-legal">Printed from the book\'s site, where every notebook can be downloaded and run. '
            "Text and figures: CC BY 4.0. Code: BSD-3-Clause.</p></div>"
            '<nav hidden><a href="#contents"></a></nav>'
            f'<div class="dln-contents"><h1 id="contents">Contents</h1><ol>{"".join(lines)}</ol></div>')
    return _document(title, head + "<style>@page :first { @bottom-center { content: none } }</style>", body)


#: Waits for formulas, pictures and fonts; returns what went wrong. A formula is read aloud in its TeX.
TYPESET = """async () => {
  if (window.MathJax && MathJax.startup) {
    await MathJax.startup.promise;
    for (const formula of MathJax.startup.document.math) {
      const tagged = document.createElement("span");             // glyphs drawn by a style sheet alone get no tag
      tagged.textContent = ".";
      tagged.style.cssText = "color: transparent; font-size: 1px; position: absolute";
      formula.typesetRoot.append(tagged);
      formula.typesetRoot.setAttribute("role", "img");
      formula.typesetRoot.setAttribute("aria-label", formula.math.trim());
    }
  }
  await document.fonts.ready;
  const wrong = [];
  for (const error of document.querySelectorAll("mjx-merror"))
    wrong.push("TeX: " + (error.dataset.mjxError || error.textContent));
  for (const image of document.images) {
    await image.decode().catch(() => {});
    if (!image.naturalWidth) wrong.push("picture: " + image.getAttribute("src"));
  }
  return wrong;
}"""


def print_book(site: Path, toc: Path, output: Path, *, title: str, author: str = "", echo=lambda line: None) -> int:
    """Print a built site to one PDF with an outline, internal links and page numbers.

    Parameters
    ----------
    site : Path
        Folder of the built site.
    toc : Path
        The ``_toc.yml`` it was built from.
    output : Path
        The PDF.
    title, author : str
        For the title page.
    echo : callable, optional
        Gets one line for each part that is printed.

    Returns
    -------
    int
        Number of pages.

    Raises
    ------
    UsageError
        There is no Chromium, or a page is missing.
    RuntimeError
        A formula could not be typeset, a picture is missing, or a link leads nowhere.
    """
    from playwright.sync_api import sync_playwright

    chromium, site = find_chromium(), Path(site).resolve()
    parts = join(site, contents(toc), title=title)
    head, logo = parts[0].document, (site / "_static" / "logo.svg").is_file()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            def front(numbers):
                return _print(browser, site, _front_matter(head, parts, numbers, title=title, author=author, logo=logo), 0)

            sheets, where = [front({})], {}
            for number, part in enumerate(parts[1:], 1):
                chapter = next(words for _, anchor, words in part.outline if not anchor.startswith("part-"))
                echo(f"printing {number} of {len(parts) - 1}: {chapter}")
                start = sum(len(reader.pages) for reader in sheets)
                sheets.append(_print(browser, site, part.document, start))
            start = 0
            for reader in sheets:
                for name, place in reader.named_destinations.items():
                    inside = reader.get_destination_page_number(place)
                    if inside is not None:
                        where[name.lstrip("/")] = (start + inside, place.left, place.top)
                start += len(reader.pages)
            sheets[0] = front({name: place[0] + 1 for name, place in where.items()})
        finally:
            browser.close()
    return bind(sheets, [line for part in parts for line in part.outline], where, output, title=title, author=author)


def _print(browser, site: Path, document: str, start: int):
    """Print one document, its first page numbered ``start + 1``; return the PDF's reader."""
    from pypdf import PdfReader

    missing = []

    def answer(route):
        address = urlparse(route.request.url)
        path = site / unquote(address.path).lstrip("/")
        if f"{address.scheme}://{address.netloc}" != ORIGIN or not (address.path == "/" or path.is_file()):
            missing.append(route.request.url.removeprefix(ORIGIN))
            return route.abort()
        if address.path == "/":
            return route.fulfill(body=numbered, content_type="text/html; charset=utf-8")
        return route.fulfill(body=path.read_bytes(),
                             content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    numbered = document.replace("</head>", f"<style>html {{ counter-reset: page {start} }}</style></head>", 1)
    page = browser.new_page(color_scheme="light")
    try:
        page.set_default_timeout(600_000)
        page.route("**/*", answer)
        page.goto(ORIGIN + "/", wait_until="load")
        wrong = missing + page.evaluate(TYPESET)
        if wrong:
            raise RuntimeError("the book was not printed: " + "; ".join(dict.fromkeys(wrong)))
        return PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)))
    finally:
        page.close()

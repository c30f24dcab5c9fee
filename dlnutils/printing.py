"""The whole site as one PDF: its pages joined into one document, typeset and printed by Chromium.

The pages are those of the built site, so that the book has one look and no second way to be built. They are joined in
the order of ``_toc.yml``; links between them become links inside the document, and headings its outline.
"""

from __future__ import annotations

import html
import mimetypes
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlparse

from . import __version__
from .runner import UsageError

__all__ = ["Entry", "contents", "named", "join", "find_chromium", "print_book"]

#: The address that the document pretends to live at: the browser's requests to it are answered from the site's folder.
ORIGIN = "http://book.invalid"
#: Pages that make no sense on paper: slides show what the sections show.
LEFT_OUT = re.compile(r"book/course/slides")
ON_SCREEN_ONLY = "Here the site has an interactive page. It computes in your browser and cannot be printed."


@dataclass(frozen=True)
class Entry:
    """A line of ``_toc.yml``: a part's caption (``page`` is None) or a page, with its depth (parts are at 0)."""

    depth: int
    page: str | None
    caption: str = ""


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
    return [Entry(1, tree["root"]), *walk(tree, 1)]


def named(root: Path) -> dict:
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


# --- one document out of many pages -------------------------------------------------------------------------------

def slug(page: str, anchor: str = "") -> str:
    """An anchor of the document: a page's own anchors carry its name, so that none is there twice."""
    return re.sub(r"[^\w-]+", "-", page) + (f"--{anchor}" if anchor else "")


def join(site: Path, entries: list[Entry], *, title: str, author: str = "") -> str:
    """The pages of a built site as one HTML document with a title page and a table of contents."""
    from bs4 import BeautifulSoup

    articles, code, sheets, scripts = {}, [], {}, {}
    for entry in entries:
        if entry.page is None:
            continue
        path = site / f"{entry.page}.html"
        if not path.is_file():
            raise UsageError(f"{path} is missing: build the whole site first (dln build)")
        before, text = re.split(r"(?=<article)", path.read_text(encoding="utf-8"), maxsplit=1)
        text = text[:text.index("</article>")]
        # Coloured code is most of a page and needs no change: it waits outside while the rest is parsed.
        text = re.sub(r"(?s)<pre>.*?</pre>", lambda match: code.append(match[0]) or f"<pre>{len(code) - 1}</pre>", text)
        articles[entry.page] = BeautifulSoup(text, "html.parser").find("article")
        page_head = BeautifulSoup(before[:before.index("</head>")], "html.parser")
        for sheet in page_head.find_all("link", rel="stylesheet", href=True):
            sheets[_address(entry.page, sheet["href"])] = sheet.get("media", "all")
        for script in page_head.find_all("script"):        # MathJax with its settings, and nothing else
            if "mathjax" in script.get("src", "").lower():
                scripts[f'<script defer src="{_address(entry.page, script["src"])}"></script>'] = None
            elif "window.MathJax" in script.text:
                scripts[f"<script>{script.text}</script>"] = None
    head = [f'<link rel="stylesheet" media="{media}" href="{sheet}">' for sheet, media in sheets.items()] + [*scripts]
    lines, bodies, running = [], [], []
    for number, entry in enumerate(entries):
        if entry.page is None:
            anchor = slug(f"part-{number}")
            lines.append(_line(entry, anchor, entry.caption))
            bodies.append(f'<div class="dln-divider"><h1 class="dln-as-part" id="{anchor}">{html.escape(entry.caption)}'
                          "</h1></div>")
            continue
        article = articles[entry.page]
        heading = article.find("h1")
        words = "Overview" if number == 0 else _text(heading) if heading else entry.page
        if heading and number == 0:                        # the title page says the title
            heading.clear()
            heading.append(words)
        _adapt(article, entry, articles)
        lines.append(_line(entry, slug(entry.page), words))
        # A running title at the head of every printed page: each page of the site is a named page with its own margins.
        # CSS strings know no \u escapes, and the title may hold quotes.
        quoted = words.replace("\\", "\\\\").replace('"', '\\"')
        running.append(f'@page p{number} {{ @top-right {{ content: "{quoted}"; color: #57606a; font: 8.5pt sans-serif }} }}')
        bodies.append(f'<div class="dln-page" id="{slug(entry.page)}" style="page: p{number}">'
                      f"{article.decode_contents()}</div>")
    contents_list = f'<div class="dln-contents"><h1 class="dln-as-1">Contents</h1><ol>{"".join(lines)}</ol></div>'
    logo = '<img class="dln-logo" src="/_static/logo.svg" alt="">' if (site / "_static" / "logo.svg").is_file() else ""
    cover = (f'<div class="dln-title">{logo}<p class="dln-book-title">{html.escape(title)}</p>'
             f"<p>{html.escape(author)}</p><p>Version {__version__}</p>"
             '<p class="dln-legal">Printed from the book\'s site, where every notebook can be downloaded and run. '
             "Text and figures: CC BY 4.0. Code: BSD-3-Clause.</p></div>")
    style = f"<style>@page :first {{ @bottom-center {{ content: none }} }} {''.join(running)}</style>"
    body = re.sub(r"<pre>(\d+)</pre>", lambda match: code[int(match[1])], "".join(bodies))
    return (f'<!DOCTYPE html><html lang="en" data-theme="light" data-mode="light"><head><meta charset="utf-8">'
            f"<title>{html.escape(title)}</title>{''.join(head)}{style}</head>"
            f'<body class="dln-printed"><main class="bd-main bd-content"><div class="bd-article-container">'
            f'{cover}{contents_list}<article class="bd-article">{body}</article></div></main></body></html>')


def _text(element) -> str:
    """The words of a heading without the sign that links to it."""
    return " ".join("".join(string for string in element.strings
                            if "headerlink" not in string.parent.get("class", ())).split())


def _line(entry: Entry, anchor: str, words: str) -> str:
    """A line of the table of contents; the page numbers come once the document has been printed."""
    words = re.sub(r"\\\((.*?)\\\)", r"\1", words)
    return (f'<li class="{"dln-part" if entry.page is None else f"dln-at-{entry.depth}"}"><a href="#{anchor}">'
            f"{html.escape(words)}<i></i></a></li>")


def _address(page: str, link: str) -> str:
    """An address relative to a page, as one from the root of the site."""
    path = link.split("?")[0].split("#")[0]
    return "/" + os.path.normpath(os.path.join(os.path.dirname(page), path)).replace(os.sep, "/")


def _adapt(article, entry: Entry, pages: dict) -> None:
    """Make a page's article a part of the document: anchors, links, heading levels; what needs a screen goes."""
    for element in article.select("a.headerlink, script, noscript, .dln-screen-only"):
        element.decompose()
    for element in article.select(".dln-explorer, iframe, canvas, video"):
        element.name, element.attrs = "p", {"class": "dln-on-screen-only"}
        element.string = ON_SCREEN_ONLY
    for button in article.find_all("button"):
        button.unwrap()
    for details in article.find_all("details"):
        details["open"] = ""
    for heading in article.find_all(re.compile("^h[1-6]$")):
        level = int(heading.name[1])
        heading["class"] = [*heading.get("class", ()), f"dln-as-{level}"]
        heading.name = f"h{min(level + entry.depth, 6)}"
    for element in article.find_all(id=True):
        if not element.find_parent("svg") and element.name != "svg":
            element["id"] = slug(entry.page, element["id"])
    for element in article.find_all(src=True):
        if not urlparse(element["src"]).scheme:
            element["src"] = _address(entry.page, element["src"])
        if element.name == "img":
            element.attrs.pop("loading", None)             # a lazy picture below the first screen would stay empty
    for link in article.find_all("a", href=True):
        address, fragment = urldefrag(link["href"])
        if urlparse(address).scheme or address.startswith("//"):
            continue
        target = _address(entry.page, address).removeprefix("/").removesuffix(".html") if address else entry.page
        if target in pages:
            link["href"] = "#" + slug(target, unquote(fragment))
        else:                                              # a file, or a page that is left out in print
            link.name = "span"
            del link["href"]


# --- printing -----------------------------------------------------------------------------------------------------

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
        Gets one line at each step.

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
    from pypdf import PdfReader

    chromium = find_chromium()
    site = Path(site).resolve()
    document = join(site, contents(toc), title=title, author=author)
    missing = []

    def answer(route):
        address = urlparse(route.request.url)
        if f"{address.scheme}://{address.netloc}" != ORIGIN:
            missing.append(route.request.url)              # nothing comes from outside
            return route.abort()
        if address.path == "/":
            return route.fulfill(body=document, content_type="text/html; charset=utf-8")
        path = site / unquote(address.path).lstrip("/")
        if not path.is_file():
            missing.append(address.path)
            return route.abort()
        return route.fulfill(body=path.read_bytes(),
                             content_type=mimetypes.guess_type(path.name)[0] or "application/octet-stream")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        try:
            page = browser.new_page(color_scheme="light")
            page.set_default_timeout(600_000)
            page.route("**/*", answer)
            echo("typesetting")
            page.goto(ORIGIN + "/", wait_until="load")
            wrong = page.evaluate(TYPESET)
            if missing or wrong:
                raise RuntimeError("the book was not printed: " + "; ".join([*map(str, missing), *wrong]))
            partial = output.with_name(output.name + ".part")
            output.parent.mkdir(parents=True, exist_ok=True)
            options = dict(path=partial, prefer_css_page_size=True, print_background=True)
            echo("laying out, for the page numbers of the table of contents")
            page.pdf(**options)
            page.evaluate(FILL_IN, _page_numbers(PdfReader(partial)))
            echo("printing")
            page.pdf(**options, outline=True, tagged=True)
        finally:
            browser.close()
    count = len(PdfReader(partial).pages)
    partial.replace(output)
    return count


#: Waits for formulas, pictures and fonts; returns what went wrong.
TYPESET = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  await document.fonts.ready;
  const wrong = [];
  for (const error of document.querySelectorAll("mjx-merror"))
    wrong.push("TeX: " + (error.dataset.mjxError || error.textContent));
  for (const image of document.images) {
    await image.decode().catch(() => {});
    if (!image.naturalWidth) wrong.push("picture: " + image.getAttribute("src"));
  }
  for (const link of document.querySelectorAll('a[href^="#"]'))
    if (!document.getElementById(link.getAttribute("href").slice(1)))
      wrong.push("link: " + link.getAttribute("href") + " " + link.textContent);
  return wrong;
}"""

#: Writes page numbers into the table of contents; the numbers stand at the end of lines, so nothing moves.
FILL_IN = """(numbers) => {
  for (const link of document.querySelectorAll(".dln-contents a"))
    link.dataset.page = numbers[link.getAttribute("href").slice(1)] || "";
}"""


def _page_numbers(reader) -> dict[str, int]:
    """Printed page number of every anchor of the document that something links to."""
    return {name.lstrip("/"): reader.get_destination_page_number(destination) + 1
            for name, destination in reader.named_destinations.items()}

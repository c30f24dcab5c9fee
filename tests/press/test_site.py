"""The rendered site: it builds without a warning, everything it links to is there, and nothing comes from outside."""

import functools
import gzip
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urldefrag, urlparse

import pytest
from bs4 import BeautifulSoup
from committed import BOOK, NOTEBOOKS, SECTIONS
from sphinx.search.en import SearchEnglish

from dlnutils import __version__
from dlnutils.press import ledger
from dlnutils.press.ext import speed

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def pages(site):
    """Every page of the book with its parsed text (the theme's search and index pages included)."""
    found = {path: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
             for path in sorted(site.rglob("*.html")) if "_static" not in path.parts}
    assert len(found) > len(SECTIONS) + 20
    return found


def local(page, address):
    """The file an address on a page points to, and its fragment; None for the outside and for scripts."""
    address, fragment = urldefrag(address)
    if urlparse(address).scheme or address.startswith("//"):
        return None, fragment
    return (page.parent / unquote(address.split("?")[0])).resolve() if address else page, fragment


def test_no_markup_is_left_on_a_page(pages):
    raw = []
    for path, soup in pages.items():
        markup = re.compile(r"\{(dln-[a-z]+|doc|ref|numref|glue:text|run-time|tally|claim)\}")
        words = [text for text in soup.find_all(string=markup)
                 if not text.find_parent(["pre", "script", "style"])]
        raw += [(path.name, str(text)[:60]) for text in words]
    assert not raw


def test_every_section_is_a_page(site):
    assert len(SECTIONS) >= 32
    for section in SECTIONS:
        assert (site / "notebooks" / f"{section}.html").is_file()


def test_internal_links_images_and_downloads_exist(pages):
    carriers = {"a": "href", "img": "src", "link": "href", "script": "src", "iframe": "src"}
    names = {page: {element["id"] for element in soup.find_all(id=True)} for page, soup in pages.items()}
    there = functools.cache(Path.is_file)
    broken, followed = [], 0
    for page, soup in pages.items():
        addresses = {element.get(carriers[element.name]) for element in soup.find_all(list(carriers))} - {None}
        for address in addresses:
            if address.startswith(("javascript:", "mailto:", "data:")):
                continue
            target, fragment = local(page, address)
            if target is None:
                continue
            if not target.suffix and target.is_dir():
                target = target / "index.html"
            followed += bool(fragment) and target in names
            if not there(target) or fragment and unquote(fragment) not in names.get(target, {unquote(fragment)}):
                broken.append((page.name, address))
    assert not broken and followed > 1000


def test_nothing_is_loaded_from_outside(pages):
    loaded = []
    for page, soup in pages.items():
        for tag, attribute in [("img", "src"), ("script", "src"), ("iframe", "src"), ("link", "href"), ("source", "src")]:
            for element in soup.find_all(tag, **{attribute: True}):
                outside = urlparse(element[attribute]).netloc
                if outside and not (tag == "link" and "canonical" in element.get("rel", [])):
                    loaded.append((page.name, element[attribute]))
    assert not loaded


def test_style_sheets_load_nothing_from_outside(site):
    sheets = list(site.rglob("*.css"))
    assert len(sheets) > 10
    for sheet in sheets:
        text = sheet.read_text(encoding="utf-8", errors="replace")
        assert "url(http" not in text and "url(//" not in text and "@import url(\"http" not in text, sheet.name


def test_every_picture_has_alt_text(pages):
    poor = [(page.name, image.get("src")) for page, soup in pages.items() for image in soup.find_all("img")
            if len(image.get("alt") or "") < 10 and "logo" not in " ".join(image.get("class") or [])]
    assert not poor


def test_every_page_can_be_downloaded_and_printed(site, pages):
    """Notebooks and records in plain Markdown, pages of text as they are, and the theme's button to print."""
    names = re.findall(r"(?:root|file): *(\S+)", (BOOK / "_toc.yml").read_text(encoding="utf-8"))
    assert len(names) > len(SECTIONS)
    for name in names:
        page = site / f"{name}.html"
        sources = [local(page, link["href"])[0] for link in pages[page].select("a.btn-download-source-button")]
        written = next(path for path in (BOOK / f"{name}.ipynb", BOOK / f"{name}.md") if path.is_file())
        assert [source.name for source in sources] == [written.name], name
        if written.suffix == ".md":
            assert sources[0].read_bytes() == written.read_bytes(), name
        else:
            plain = json.loads(sources[0].read_text(encoding="utf-8"))
            text = "\n\n".join("".join(cell["source"]) for cell in plain["cells"] if cell["cell_type"] == "markdown")
            assert not re.findall(r"\{[\w:-]+\}`|^[`:]{3,}\{|\[missing", text, re.M) and __version__ in text[:300], name
        assert pages[page].select_one("button.btn-download-pdf-button"), name


def test_no_repository_buttons_while_there_is_no_public_address(pages):
    for soup in pages.values():
        assert not soup.select(".dropdown-source-buttons, .btn-source-repository-button, .dropdown-launch-buttons")


def test_the_ledger_lists_every_claim(site):
    page = BeautifulSoup((site / "book" / "ledger.html").read_text(encoding="utf-8"), "html.parser").get_text(" ")
    squeezed = " ".join(page.split())
    missing = [claim["id"] for claim in ledger.collect(BOOK) if " ".join(claim["statement"].split()) not in squeezed]
    assert not missing


def weight(page, soup):
    """Compressed bytes of a page and all it loads: lazy pictures, and every web font in the format browsers choose."""
    def loaded(folder, text):
        for address in re.findall(r"url\(['\"]?([^)'\"]+)", text):
            path = (folder / unquote(address.split("?")[0].split("#")[0])).resolve()
            if path.suffix not in (".ttf", ".woff", ".eot") and path.is_file():
                yield path
    files = {page}
    for tag, attribute in [("img", "src"), ("script", "src"), ("link", "href")]:
        for element in soup.find_all(tag, **{attribute: True}):
            if tag != "link" or {"stylesheet", "icon", "preload"} & set(element.get("rel", [])):
                target, _ = local(page, element[attribute])
                if target and target.is_file():
                    files.add(target)
    files |= {found for sheet in files if sheet.suffix == ".css" for found in loaded(sheet.parent, sheet.read_text())}
    text = {".html", ".css", ".js", ".svg"}
    return sum(len(gzip.compress(path.read_bytes())) if path.suffix in text else path.stat().st_size for path in files)


@pytest.mark.parametrize("name", ["index", "gallery"])
def test_front_page_and_gallery_are_light_and_load_no_mathematics(site, pages, name):
    page = site / "book" / f"{name}.html"
    assert 200e3 < weight(page, pages[page]) < 3e6
    assert not pages[page].select(".math") and not pages[page].find("script", src=re.compile("mathjax", re.I))


def test_the_gallery_shows_every_labelled_figure_once_with_its_claims(site, pages):
    page = site / "book" / "gallery.html"
    claims = ledger.collect(BOOK)
    expected, shown = {}, {}
    for section, notebook in NOTEBOOKS.items():
        for cell in notebook["cells"]:
            label = cell["metadata"].get("dln", {})
            if "figure" in label:
                mine = [claim["passed"] for claim in claims if (claim["paper"], claim["figure"]) ==
                        (label["paper"], label["figure"])]
                key = f"{section}.html#{cell['metadata']['mystnb']['figure']['name']}"
                expected[key] = f"{mine.count(True)} of {len(mine)} claim"
    for item in pages[page].select("li.dln-item"):
        key = item.select_one(".dln-picture a")["href"].partition("/notebooks/")[2]
        assert key not in shown
        shown[key] = item.select_one(".dln-state").get_text()
        picture = item.find("img")
        assert (page.parent / picture["src"]).resolve().stat().st_size < 40_000 and int(picture["width"]) <= 480
    assert shown.keys() == expected.keys()
    assert not {key: (shown[key], expected[key]) for key in shown if expected[key] not in shown[key]}


def test_the_provenance_page_has_a_row_for_every_run(site, pages):
    soup = pages[site / "book" / "provenance.html"]
    commands = [code.get_text() for code in soup.select("table.dln-provenance td code")]
    records = [path.relative_to(BOOK / "records").with_suffix("").as_posix().partition("/") for path in
               (BOOK / "records").rglob("*.ipynb")]
    assert sorted(commands) == sorted([f"dln run {section}" for section in SECTIONS] + [
        f"dln run {section} --profile {profile}" for profile, _, section in records])


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: mathematics is not checked in a browser")
def test_mathematics_is_typeset_without_errors(site, tmp_path):
    """From the file system, with no network: TeX errors are only red text on the page, never a build warning.

    One page a chapter, the one with the most formulas; `make browser-test` opens them all, over http.
    """
    fullest = {}
    for page in [*site.glob("book/*.html"), *site.glob("notebooks/*/*.html")]:
        count = page.read_text(encoding="utf-8").count('class="math')
        if count > fullest.get(page.parent, (0, None))[0]:
            fullest[page.parent] = (count, page)
    assert len(fullest) >= 5
    for _, page in fullest.values():
        dump = subprocess.run(
            [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
             "--no-first-run", "--disable-component-update", "--disable-sync", "--allow-file-access-from-files",
             f"--user-data-dir={tmp_path / page.stem}", "--virtual-time-budget=20000", "--dump-dom", page.as_uri()],
            capture_output=True, text=True, timeout=120, env=os.environ | {"HOME": str(tmp_path)}).stdout
        assert "<mjx-container" in dump, f"{page.name}: mathematics was not typeset"
        errors = re.findall(r"<mjx-merror.{0,300}|data-mjx-error=.{0,100}", dump)
        assert not errors, f"{page.name}: {errors}"


def test_a_page_with_numbered_figures_is_unpickled_once():
    asked = []
    environment = SimpleNamespace(config="the book's", get_doctree=lambda name: asked.append(name) or object())
    once = speed.Once(environment)
    assert once.get_doctree("a") is once.get_doctree("a") is not once.get_doctree("b") and asked == ["a", "b"]
    assert once.config == "the book's"


def test_a_word_of_the_search_is_stemmed_once():
    search, asked = speed.Search({}), []
    assert search.stem("Networks") == "network" == SearchEnglish({}).stem("Networks")
    search.stemmer = SimpleNamespace(stemWord=lambda word: asked.append(word) or word)
    assert search.stem("Networks") == "network" and search.stem("deep") == search.stem("deep") == "deep" and asked == ["deep"]

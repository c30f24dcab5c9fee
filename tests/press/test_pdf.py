"""The book as one PDF: what is joined and how, and what the command says when something is missing."""

import importlib.util
import io
import shutil

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from committed import BOOK
from toy_book import make_project, toy_cells

from dlnutils.press import cli, notebooks, pdf, pdf_binding

TOC = """\
format: jb-book
root: book/index
parts:
  - caption: Chapters
    chapters:
      - file: notebooks/one/index
        sections:
          - file: notebooks/one/first
  - caption: Teach
    chapters:
      - file: book/course/modes
      - file: book/course/slides-one
      - file: records/one/first
"""
PAGES = {
    "book/index": '<h1>Toys<a class="headerlink" href="#toys">#</a></h1><p>See <a href="../notebooks/one/first.html#why">'
                  'why</a> and <a href="course/slides-one.html">slides</a> and <a href="https://a.example/">that</a>.</p>',
    "notebooks/one/index": '<h1>One</h1><img alt="" src="../../_images/dot.svg" loading="lazy">',
    "notebooks/one/first": '<section id="top"><h1>First</h1><button>Try</button><pre>x = "&lt;b&gt;"</pre>'
                           '<h2 id="why">Why</h2><details class="dln-laboratory"><summary>Laboratory</summary>42</details>'
                           '<details class="hide" id="code"><pre>y = 1</pre></details><a href="#code">the code</a>'
                           '<a href="#why">up</a><a href="../../book/index.html">home</a></section>',
    "book/course/modes": '<h1>Modes</h1><div class="dln-explorer"><noscript>needs a script</noscript></div>',
}
DOT = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4" cx="4" cy="4"/></svg>'


@pytest.fixture
def site(tmp_path):
    """A built site in little, with the _toc.yml beside it."""
    for name, body in PAGES.items():
        page = tmp_path / "html" / f"{name}.html"
        page.parent.mkdir(parents=True, exist_ok=True)
        up = "../" * name.count("/")
        page.write_text(f'<html><head><link rel="stylesheet" href="{up}_static/a.css?v=1"></head><body><nav>Menu</nav>'
                        f'<article class="bd-article">{body}</article></body></html>', encoding="utf-8")
    (tmp_path / "html" / "_static").mkdir()
    shutil.copy(BOOK / "book" / "_static" / "print.css", tmp_path / "html" / "_static" / "a.css")
    (tmp_path / "html" / "_images").mkdir()
    (tmp_path / "html" / "_images" / "dot.svg").write_text(DOT, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(TOC, encoding="utf-8")
    return tmp_path / "html"


def joined(site):
    """The documents that would be printed, without the title page, as one."""
    parts = pdf.join(site, pdf.contents(site.parent / "_toc.yml"), title="Toy book")
    return BeautifulSoup("".join(part.document for part in parts[1:]), "html.parser")


def test_pages_come_in_the_order_of_the_contents_without_slides(site):
    entries = pdf.contents(site.parent / "_toc.yml")
    assert [(entry.depth, entry.page) for entry in entries] == [
        (0, "book/index"), (0, None), (1, "notebooks/one/index"), (2, "notebooks/one/first"), (0, None),
        (1, "book/course/modes")]


def test_links_between_pages_stay_inside_and_lead_somewhere(site):
    soup = joined(site)
    links = {link.text: link["href"] for link in soup.select("article a[href]")}
    elsewhere = pdf.ELSEWHERE
    assert links.pop("") and links == {"why": elsewhere + "notebooks-one-first--why", "up": "#notebooks-one-first--why",
                                       "home": elsewhere + "book-index", "that": "https://a.example/"}
    for link in soup.select("a[href]"):
        if not link["href"].startswith("https"):
            assert soup.find(id=link["href"].partition("#")[2])
    ids = [element["id"] for element in soup.find_all(id=True)]
    assert len(ids) == len(set(ids))


def test_the_outline_follows_the_depth_of_pages_and_headings(site):
    parts = pdf.join(site, pdf.contents(site.parent / "_toc.yml"), title="Toy book")
    assert [[(depth, words) for depth, _, words in part.outline] for part in parts] == [
        [(0, "Contents")], [(0, "Overview")], [(0, "Chapters"), (1, "One"), (2, "First"), (3, "Why")],
        [(0, "Teach"), (1, "Modes")]]


def test_what_needs_a_screen_goes_and_what_was_folded_opens(site):
    soup = joined(site)
    assert not soup.select("button, nav:not([hidden]), noscript, .headerlink") and "Menu" not in soup.text
    assert soup.find("details")["class"] == ["dln-laboratory"] and soup.find("details").has_attr("open")
    assert soup.find("span", string="the code") and "y = 1" not in soup.text   # folded code stays on the site
    assert not soup.find("img").has_attr("loading")
    assert pdf.ON_SCREEN_ONLY in soup.text
    assert str(soup.find("pre")) == '<pre>x = "&lt;b&gt;"</pre>'
    assert soup.find("img")["src"] == "/_images/dot.svg"
    assert {sheet["href"] for sheet in soup.find_all("link", rel="stylesheet")} == {"/_static/a.css"}


def test_every_page_has_a_running_title(site):
    soup = joined(site)
    for page, words in (("book-index", "Overview"), ("notebooks-one-first", "First")):
        name = soup.find(id=page)["style"].removeprefix("page: ")
        assert f'@page {name} {{ @top-right {{ content: "{words}"' in str(soup.find(id=page).find_previous("style"))


def test_a_page_that_was_not_built_is_named(site):
    (site / "notebooks" / "one" / "first.html").unlink()
    with pytest.raises(notebooks.UsageError, match="first.html is missing: build the whole site"):
        joined(site)


# --- the command --------------------------------------------------------------------------------------------------

@pytest.fixture
def print_toy(tmp_path, monkeypatch):
    """Call ``dln pdf`` inside a toy book."""
    monkeypatch.chdir(make_project(tmp_path / "book", {"saddles/a": toy_cells("saddles/a")}))
    return lambda *arguments: CliRunner().invoke(cli.main, ["pdf", *arguments], prog_name="dln")


def test_a_missing_extra_is_named_with_its_mend(print_toy, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pypdf" else found(name))
    result = print_toy()
    assert result.exit_code == 1 and "pypdf" in result.output and ".[pdf]" in result.output


def test_a_missing_browser_is_named(print_toy, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: True if name in ("playwright", "pypdf") else found(name))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = print_toy()
    assert result.exit_code == 2 and "no chromium was found" in result.output and "Traceback" not in result.output


def test_an_unknown_profile_is_refused(print_toy):
    pytest.importorskip("playwright", reason="the extra [pdf] is not installed")
    pytest.importorskip("pypdf", reason="the extra [pdf] is not installed")
    result = print_toy("--profile", "huge")
    assert result.exit_code == 2 and "default" in result.output


# --- the print ----------------------------------------------------------------------------------------------------

@pytest.fixture
def ready(site):
    """A little site where it can be printed."""
    pytest.importorskip("playwright", reason="the extra [pdf] is not installed: nothing is printed")
    pytest.importorskip("pypdf", reason="the extra [pdf] is not installed: nothing is printed")
    try:
        pdf.find_chromium()
    except notebooks.UsageError:
        pytest.skip("no chromium on this machine: nothing is printed")
    return site


def print_it(site):
    output = site.parent / "toy.pdf"
    pdf.print_book(site, site.parent / "_toc.yml", output, title="Toy book", author="the toy authors")
    import pypdf
    return pypdf.PdfReader(output)


def flat(outline, depth=0):
    """The entries of an outline with their depths."""
    for item in outline:
        yield from flat(item, depth + 1) if isinstance(item, list) else [(depth, item)]


def test_the_pdf_has_an_outline_and_page_numbers(ready):
    reader = print_it(ready)
    outline = list(flat(reader.outline))
    assert [(depth, item.title) for depth, item in outline] == [
        (0, "Contents"), (0, "Overview"), (0, "Chapters"), (1, "One"), (2, "First"), (3, "Why"), (0, "Teach"),
        (1, "Modes")]
    for _, item in outline:
        assert item.title in reader.pages[reader.get_destination_page_number(item)].extract_text()
    contents = " ".join(reader.pages[1].extract_text().split())
    for _, item in outline:
        if item.title not in ("Contents", "Why"):
            assert f"{item.title} {reader.get_destination_page_number(item) + 1}" in contents
    assert "Toy book" in reader.pages[0].extract_text() and "the toy authors" in reader.pages[0].extract_text()


def test_the_links_of_the_pdf_lead_to_the_right_page(ready):
    reader = print_it(ready)
    pages = [page.extract_text() for page in reader.pages]
    overview = next(number for number, text in enumerate(pages) if "See why" in text)
    first = next(number for number, text in enumerate(pages) if "Laboratory" in text)

    def targets(number):
        found = []
        for note in reader.pages[number]["/Annots"]:
            link = note.get_object()
            if "/A" in link:
                found.append(link["/A"]["/URI"])
            else:
                place = link["/Dest"]
                place = reader.named_destinations[place]["/Page"] if isinstance(place, str) else place[0]
                found.append(reader.get_page_number(place.get_object()))
        return found

    assert targets(overview) == [first, "https://a.example/"]
    assert targets(first) == [first, overview]


def tags(tree):
    """All tags below one, itself included, in reading order."""
    tree = tree.get_object()
    for tag in tree if isinstance(tree, list) else [tree]:
        tag = tag if isinstance(tag, int) else tag.get_object()
        if isinstance(tag, dict) and "/S" in tag:
            yield tag
            yield from tags(tag["/K"]) if "/K" in tag else ()


def test_the_tags_of_all_parts_are_one_tree(ready):
    reader = print_it(ready)
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"] and root["/Lang"] == "en"
    found = list(tags(root["/StructTreeRoot"]["/K"]))
    assert found[0]["/S"] == "/Document" and len(found[0]["/K"]) == 4          # the title page and three parts
    assert {"/H1", "/H2", "/P", "/Link"} <= {tag["/S"] for tag in found}
    entries = root["/StructTreeRoot"]["/ParentTree"]["/Nums"]
    numbers = list(map(int, entries[::2]))
    assert numbers == sorted(set(numbers))
    numbered = [page for page in reader.pages if "/StructParents" in page]
    assert len(numbered) >= 4                  # what such a page's number stands for are tags on that page
    for page in numbered:
        place = numbers.index(page["/StructParents"])
        on = [tag.get_object().get("/Pg") for tag in entries[2 * place + 1].get_object() if not isinstance(tag, int)]
        assert on and all(one is None or one.get_object() == page for one in on if hasattr(one, "get_object"))


def test_a_part_without_tags_is_refused():
    pypdf = pytest.importorskip("pypdf", reason="the extra [pdf] is not installed")
    writer, bare = pypdf.PdfWriter(), io.BytesIO()
    writer.add_blank_page(100, 100)
    writer.write(bare)
    with pytest.raises(ValueError, match="print it with tagged=True"):
        pdf_binding.Tags(pypdf.PdfWriter()).append(pypdf.PdfReader(bare), 0)


def test_a_missing_picture_stops_the_print(ready):
    (ready / "_images" / "dot.svg").unlink()
    with pytest.raises(RuntimeError, match="dot.svg"):
        print_it(ready)
    assert not (ready.parent / "toy.pdf").exists()


def test_the_sheets_are_numbered_through(ready):
    """Chapters are printed one by one; the numbers at the foot, drawn by the browser, must go on."""
    entries = pdf.contents(ready.parent / "_toc.yml")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=pdf.find_chromium(), args=["--no-sandbox"])
        part = pdf.join(ready, entries, title="Toy book")[2]
        feet = [pdf._print(browser, ready, part.document, start).pages[0].extract_text().split() for start in (0, 6)]
        browser.close()
    assert ("1" in feet[0]) and ("7" in feet[1]) and "7" not in feet[0]


def test_a_link_to_nowhere_stops_the_print(site):
    page = site / "book" / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("first.html#why", "first.html#lost"), encoding="utf-8")
    with pytest.raises(RuntimeError, match="notebooks-one-first--lost"):
        joined(site)

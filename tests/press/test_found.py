"""What search engines and previews read."""

from types import SimpleNamespace

import pytest
from bs4 import BeautifulSoup
from docutils import nodes

from dlnutils.press.ext.found import LONGEST, add_tags, description, offer_repository, write_root


def page(*paragraphs):
    section = nodes.section("", nodes.title("", "Title"), *(nodes.paragraph("", text) for text in paragraphs))
    document = nodes.document(None, None)
    document += section
    return document


def book(tmp_path, address=""):
    (tmp_path / "CITATION.cff").write_text('date-released: "2026-11-29"\n')
    config = SimpleNamespace(root_doc="book/index", html_title="A book & more", author="its authors", html_baseurl=address)
    env = SimpleNamespace(get_doctree=lambda name: page("What it is."), found_docs={"book/index", "book/one"})
    return SimpleNamespace(config=config, env=env, srcdir=tmp_path, outdir=tmp_path, builder=SimpleNamespace(format="html"))


def test_a_description_ends_with_a_sentence():
    assert description(page("One. Two is long.", "Three.")) == "One. Two is long."
    long = "A short one. " + "word " * 60 + "end."
    assert description(page(long)) == "A short one."
    assert description(page("word " * 90)).endswith(" …") and len(description(page("word " * 90))) < LONGEST + 3
    assert description(page()) == ""


def test_tags_of_a_page(tmp_path):
    context = {"title": "Depth <em>here</em>"}
    add_tags(book(tmp_path), "book/one", "", context, page("What is <seen>."))
    tags = BeautifulSoup(context["metatags"], "html.parser")("meta")
    found = {tag.get("name") or tag["property"]: tag["content"] for tag in tags}
    assert found == {"description": "What is <seen>.", "citation_title": "Depth here. A book & more",
                     "citation_author": "its authors", "citation_publication_date": "2026/11/29",
                     "og:title": "Depth here", "og:description": "What is <seen>.",
                     "og:type": "article", "og:site_name": "A book & more"}
    add_tags(book(tmp_path, "https://example.org/"), "book/one", "", context, page("x."))
    assert 'content="https://example.org/book/one.html"' in context["metatags"]


def test_the_root_page_has_words_and_leads_on(tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "index.html").touch()
    write_root(book(tmp_path), None)
    root = BeautifulSoup((tmp_path / "index.html").read_text(), "html.parser")
    assert root.title.text == "A book & more" and root.a["href"] == "book/index.html" and "What it is." in root.body.text
    assert not (tmp_path / "sitemap.xml").exists() and not root.find("link")
    write_root(book(tmp_path, "https://example.org"), None)
    assert "<loc>https://example.org/book/one.html</loc>" in (tmp_path / "sitemap.xml").read_text()
    assert 'rel="canonical" href="https://example.org/book/index.html"' in (tmp_path / "index.html").read_text()


@pytest.mark.parametrize("address, added", [
    ("", set()),
    ("https://github.com/them/it", {"launch_buttons"}),
    ("https://example.org/them/it", {"repository_provider"}),
])
def test_buttons_lead_to_a_repository_that_is_there(tmp_path, address, added):
    app, config = SimpleNamespace(srcdir=tmp_path), SimpleNamespace(html_theme_options={})
    offer_repository(app, config)                          # no book there
    (tmp_path / "_config.yml").write_text(f'repository: {{url: "{address}", branch: work}}\nhtml:\n  baseurl: ""\n')
    offer_repository(app, config)
    found = config.html_theme_options
    always = {"repository_url", "repository_branch", "path_to_docs", "use_repository_button", "use_issues_button"}
    assert set(found) == (always | added if address else set())
    assert not address or (found["repository_url"], found["repository_branch"]) == (address, "work")

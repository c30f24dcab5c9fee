"""What a reader does with the site: search it, and print a page of it."""

import io
import unicodedata

import pytest

#: A phrase, and a page that the search must show for it.
PHRASES = {"greedy pretraining": "notebooks/saddles/pretraining.html", "learning-rate transfer": "learning-rate-transfer.html",
           "claim ledger": "book/ledger.html", "deep_mode_strength": "book/api.html"}


@pytest.mark.parametrize("phrase", PHRASES)
def test_search_finds_a_phrase(page, address, phrase):
    page.goto(f"{address}/book/how-to.html")
    page.keyboard.press("Control+k")
    page.locator("dialog input[name=q], .search-button__wrapper.show input[name=q]").first.fill(phrase)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    page.locator("#search-results ul.search li a").first.wait_for()
    page.locator(f'#search-results a[href*="{PHRASES[phrase]}"]').first.wait_for()


def test_search_says_when_there_is_nothing(page, address):
    page.goto(f"{address}/search.html?q=zzzxqwy")
    page.locator("#search-results p", has_text="did not match").wait_for()


@pytest.mark.parametrize("name", ["book/index", "book/ledger", "notebooks/saddles/depth", "notebooks/transfer/index"])
def test_a_page_prints_well_even_in_dark_mode(browser, address, name):
    """Light colours, no sidebar, no button, solutions open, A4; and dark again afterwards."""
    pypdf = pytest.importorskip("pypdf", reason="pypdf is missing: make browser-test installs it")
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = context.new_page()
    page.goto(f"{address}/{name}.html")
    page.evaluate("window.MathJax ? MathJax.startup.promise.then(() => 0) : 0")
    title = page.locator("article h1").first.evaluate("heading => heading.firstChild.textContent")
    printed = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True)))
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert [round(float(side)) for side in printed.pages[0].mediabox[2:]] == [595, 842]
    text = unicodedata.normalize("NFKC", " ".join(" ".join(sheet.extract_text() for sheet in printed.pages).split()))
    assert unicodedata.normalize("NFKC", " ".join(title.split()))[:30] in text
    assert "Search this book" not in text and "Print to PDF" not in text

    page.emulate_media(media="print")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    look = page.evaluate("""() => {
      const shown = selector => [...document.querySelectorAll(selector)].some(element => element.checkVisibility());
      return {ground: getComputedStyle(document.body).backgroundColor,
              text: getComputedStyle(document.querySelector("article p")).color,
              furniture: shown(".bd-sidebar, .bd-header, .bd-header-article, .prev-next-footer, .copybtn, .headerlink"),
              hidden: [...document.querySelectorAll("article .solution p")].some(element => !element.checkVisibility())}
    }""")
    assert look["ground"] == "rgb(255, 255, 255)" and not look["furniture"] and not look["hidden"]
    assert max(int(part) for part in look["text"][4:-1].split(",")) < 100
    context.close()

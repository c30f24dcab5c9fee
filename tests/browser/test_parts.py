"""The parts of a section's page in a browser: results one sees, a laboratory that a link opens, paper that shows it all."""

import pytest

PAGE = "notebooks/saddles/phase-portrait.html"


def is_open(page):
    return page.locator("details.dln-laboratory").evaluate("fold => fold.open")


def test_results_are_seen_and_the_laboratory_is_not(page, address):
    page.goto(f"{address}/{PAGE}")
    assert 1 <= page.locator(".dln-results li:visible").count() <= 3
    verdict = page.locator(".dln-results .dln-verdict").first
    assert verdict.evaluate("word => getComputedStyle(word, '::before').content").strip('" ') == "✓"
    assert not is_open(page) and not page.locator("table.dln-settings").is_visible()
    page.locator("details.dln-laboratory > summary").click()
    assert is_open(page) and page.locator("table.dln-settings").is_visible()


@pytest.mark.parametrize("fragment", ["laboratory", "settings", "all-claims"])
def test_a_fragment_opens_the_laboratory(page, address, fragment):
    page.goto(f"{address}/{PAGE}#{fragment}")
    page.wait_for_function("document.querySelector('details.dln-laboratory').open")
    assert page.locator("table.dln-settings").is_visible()


def test_a_link_on_the_page_opens_it_again_and_again(page, address):
    page.goto(f"{address}/{PAGE}")
    for _ in range(2):
        page.locator(".bd-sidebar-secondary a[href='#settings']").click()
        page.wait_for_function("document.querySelector('details.dln-laboratory').open")
        page.locator("#settings").scroll_into_view_if_needed()
        page.locator("details.dln-laboratory > summary").evaluate("summary => summary.click()")
        assert not is_open(page)


def test_a_fragment_elsewhere_leaves_it_folded(page, address):
    page.goto(f"{address}/{PAGE}#exercises")
    page.wait_for_load_state("load")
    assert not is_open(page)


def test_paper_shows_the_laboratory_and_screen_folds_it_again(page, address):
    page.goto(f"{address}/{PAGE}")
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert is_open(page)
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert not is_open(page)


def test_figures_of_the_paper_and_of_the_book_do_not_collide(page, address):
    page.goto(f"{address}/{PAGE}")
    assert page.locator("figcaption .caption-number").all_inner_texts()[0].strip() == "Fig. 1.1"
    assert page.locator(".section-number").count() == 0
    page.goto(f"{address}/book/ledger.html")
    assert page.locator("h3", has_text="Saxe Fig. 3 left").count() == 1

"""The course in the browser: slides by keyboard, finger and printer; the speaker view; handouts on two sides of paper."""

import io
import re
import unicodedata

import pytest
from bs4 import BeautifulSoup

CHAPTERS = ["saddles", "mixed", "integrable", "transfer", "synthesis"]
PAGES = ["index", "exercises", "instructor", *[f"{kind}-{chapter}" for kind in ("slides", "handout") for chapter in CHAPTERS]]
SHOWN = "() => [...document.querySelectorAll('.dln-slide')].flatMap((s, i) => s.getClientRects().length ? [i] : [])"


@pytest.fixture
def open_page(page, address):
    """Opens a page of the course; fails the test if the page complains or asks for something outside."""
    complaints = []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: request.url.startswith((address, "data:")) or complaints.append(request.url))

    def open(name, width=1280, height=720):
        page.set_viewport_size({"width": width, "height": height})
        page.goto(f"{address}/book/course/{name}.html", wait_until="load")
        page.evaluate("() => window.MathJax?.startup?.promise.then(() => null)")
        return page
    yield open
    assert not complaints


@pytest.mark.parametrize("name", PAGES)
def test_the_page_fits_a_phone(open_page, name):
    page = open_page(name, 390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_deck_shows_one_slide_at_a_time_and_none_is_overcrowded(open_page, chapter):
    page = open_page(f"slides-{chapter}")
    number = page.locator(".dln-slide").count()
    assert 10 <= number <= 20
    assert page.evaluate(SHOWN) == list(range(number))
    page.keyboard.press("p")
    for slide in range(number):
        assert page.evaluate(SHOWN) == [slide]
        assert page.locator(".dln-deck-count").inner_text() == f"{slide + 1} / {number}"
        room = page.evaluate("""() => { const slide = document.querySelector('.dln-now');
            const picture = slide.querySelector('figure img');
            return [slide.scrollHeight - slide.clientHeight, slide.scrollWidth - slide.clientWidth,
                    picture ? picture.getBoundingClientRect().height : null]; }""")
        assert room[0] <= 1 and room[1] <= 1, f"slide {slide + 1} does not fit"
        assert room[2] is None or room[2] > 250, f"slide {slide + 1} has no room for its figure"
        page.keyboard.press("ArrowRight")
    assert page.evaluate(SHOWN) == [number - 1]                    # the last slide stays


def test_the_keys(open_page):
    page = open_page("slides-saddles")
    last = page.locator(".dln-slide").count() - 1
    page.keyboard.press("ArrowRight")                              # does nothing while the page is a page
    assert len(page.evaluate(SHOWN)) == last + 1
    page.keyboard.press("f")
    for key, slide in [("Space", 1), ("ArrowDown", 2), ("PageDown", 3), ("Shift+Space", 2), ("ArrowLeft", 1),
                       ("ArrowUp", 0), ("PageUp", 0), ("End", last), ("Home", 0)]:
        page.keyboard.press(key)
        assert page.evaluate(SHOWN) == [slide], key
    assert page.evaluate("document.activeElement.id") == "slide-1"
    page.keyboard.press("Control+ArrowRight")                      # the browser's own keys are left alone
    assert page.evaluate(SHOWN) == [0]


def test_hints_are_for_the_speaker(open_page):
    page = open_page("slides-saddles")
    hint = page.locator(".dln-slide-figure .dln-hint").first
    assert hint.is_visible()
    page.keyboard.press("p")
    for _ in range(3):                                             # the opening, the plan, a question, its figure
        page.keyboard.press("ArrowRight")
    assert not hint.is_visible()
    page.keyboard.press("n")
    assert hint.is_visible() and page.get_by_role("button", name="hints").get_attribute("aria-pressed") == "true"
    page.keyboard.press("n")
    assert not hint.is_visible()


def test_the_speaker_view_shows_hint_next_slide_and_clock_and_turns_the_slides(open_page):
    page = open_page("slides-saddles")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    view = opened.value
    assert page.evaluate(SHOWN) == [0]                             # the slides are shown, one at a time
    titles = [title.rstrip("#").strip() for title in page.locator(".dln-slide > h2").all_text_contents()]
    number = len(titles)

    def shows(slide):
        view.wait_for_function("words => document.querySelector('.dln-speaker-count').textContent === words",
                               arg=f"{slide + 1} / {number}")
        assert view.locator(".dln-speaker-title").inner_text() == titles[slide]
        assert page.evaluate(SHOWN) == [slide]
        after = view.locator(".dln-speaker-next .dln-slide > h2").all_text_contents()
        assert [title.strip() for title in after] == titles[slide + 1:slide + 2]

    shows(0)
    assert "For the speaker" in view.locator(".dln-speaker-now").inner_text()
    assert re.fullmatch(r"\d\d:\d\d", view.locator(".dln-speaker-time").inner_text())
    assert re.fullmatch(r"\d+:\d\d", view.locator(".dln-speaker-spent").inner_text())
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    shows(2)
    question = page.locator(".dln-slide-ask").first.locator("p").last
    assert view.locator(".dln-speaker-now .dln-slide-ask").count() == 1 and question.count() == 1
    view.keyboard.press("ArrowRight")                              # the next figure is seen before the class sees it
    shows(3)
    view.get_by_role("button", name="Previous slide").click()
    shows(2)
    assert view.evaluate("document.querySelector('.dln-speaker-next img').naturalWidth") > 100
    assert view.evaluate("[...document.querySelectorAll('[id]')].filter(e => e.id.startsWith('slide-')).length") == 0
    view.keyboard.press("End")
    shows(number - 1)
    assert "last slide" in view.locator(".dln-speaker-next").inner_text()
    with view.expect_event("close"):
        view.evaluate("setTimeout(() => document.dispatchEvent(new KeyboardEvent('keydown', {key: 's'})), 10)")
    assert page.evaluate(SHOWN) == [number - 1]                    # the talk goes on without it


def test_the_speaker_view_opens_from_a_folder_without_a_server(browser, site):
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto((site / "book" / "course" / "slides-saddles.html").absolute().as_uri(), wait_until="load")
    with page.expect_popup() as opened:
        page.keyboard.press("s")
    view = opened.value
    page.keyboard.press("ArrowRight")
    view.wait_for_function("document.querySelector('.dln-speaker-count').textContent.startsWith('2 / ')")
    assert view.evaluate("getComputedStyle(document.body).display") == "grid"        # its style has arrived
    context.close()


def test_a_blocked_window_is_said(open_page):
    page = open_page("slides-saddles")
    page.evaluate("window.open = () => null")
    page.keyboard.press("p")
    page.keyboard.press("s")
    assert "blocked" in page.locator(".dln-deck-count").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator(".dln-deck-count").inner_text().startswith("2 / ")


def test_escape_returns_to_the_page_at_the_slide(open_page):
    page = open_page("slides-mixed")
    page.get_by_role("button", name="Present the slides").click()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    page.wait_for_function("!document.documentElement.classList.contains('dln-presenting')")
    assert len(page.evaluate(SHOWN)) == page.locator(".dln-slide").count()
    assert page.locator(".bd-sidebar-primary").is_visible()
    page.wait_for_function(                                        # the window leaves full screen in its own time
        "(top => 0 <= top && top < 300)(document.querySelector('#slide-5').getBoundingClientRect().top)", timeout=10_000)
    page.keyboard.press("p")                                       # begins again with the slide that was left
    assert page.evaluate(SHOWN) == [4]


def test_the_slide_that_was_left_stays_in_view_until_the_reader_moves_the_page(open_page):
    page = open_page("slides-mixed")
    page.keyboard.press("p")
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    in_view = "(top => 0 <= top && top < 300)(document.querySelector('#slide-5').getBoundingClientRect().top)"
    for width in [700, 1100]:                                      # as when full screen ends late: all lines break anew
        page.set_viewport_size({"width": width, "height": 720})
        page.wait_for_function(in_view, timeout=10_000)
    page.evaluate("document.addEventListener('wheel', () => { window.wheeled = true; })")
    page.mouse.wheel(0, -100)
    page.wait_for_function("window.wheeled")                       # the page has seen it before it is scrolled to its top
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_function("document.querySelector('#slide-1').getBoundingClientRect().top > 0")
    page.keyboard.press("p")                                       # and then begins where the reader is
    assert page.evaluate(SHOWN) == [0]


def test_buttons_and_nothing_else_can_be_reached_while_presenting(open_page):
    page = open_page("slides-transfer")
    page.keyboard.press("p")
    page.get_by_role("button", name="Next slide").click()
    assert page.evaluate(SHOWN) == [1]
    for _ in range(30):
        page.keyboard.press("Tab")
        assert page.evaluate("""() => document.activeElement === document.body
            || !!document.activeElement.closest('.dln-now, .dln-deck-bar')""")
    page.get_by_role("button", name="Leave the slides").click()
    page.wait_for_function("!document.documentElement.classList.contains('dln-presenting')")


def test_a_slide_on_a_phone_has_its_caption_below_the_figure(open_page):
    page = open_page("slides-saddles", 390, 844)
    page.keyboard.press("p")
    for _ in range(page.locator(".dln-slide").count() - 1):
        page.keyboard.press("ArrowRight")
        below = page.evaluate("""() => { const now = document.querySelector('.dln-now');
            const [picture, words] = [now.querySelector('figure img'), now.querySelector('figcaption')];
            return picture ? words.getBoundingClientRect().top - picture.getBoundingClientRect().bottom : 0; }""")
        assert below >= 0
        assert page.evaluate("document.querySelector('.dln-now').scrollWidth") <= 390


def test_a_finger_turns_the_slides(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True)
    page = context.new_page()
    page.goto(f"{address}/book/course/slides-saddles.html")
    page.get_by_role("button", name="Present the slides").tap()
    swipe = """([from, to]) => {
        const at = (x) => [new Touch({identifier: 1, target: document.body, clientX: x, clientY: 300})];
        document.dispatchEvent(new TouchEvent('touchstart', {changedTouches: at(from)}));
        document.dispatchEvent(new TouchEvent('touchend', {changedTouches: at(to)})); }"""
    page.evaluate(swipe, [300, 100])
    assert page.evaluate(SHOWN) == [1]
    page.evaluate(swipe, [100, 120])                               # a tap that slipped
    assert page.evaluate(SHOWN) == [1]
    page.evaluate(swipe, [100, 300])
    assert page.evaluate(SHOWN) == [0]
    context.close()


def letters(text):
    """The letters alone, and apart: some fonts join f and i."""
    return re.sub(r"\W", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_print_gives_one_slide_to_a_sheet(open_page, chapter):
    pypdf = pytest.importorskip("pypdf")
    page = open_page(f"slides-{chapter}")
    sheets = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True))).pages
    titles = page.locator(".dln-slide > h2").all_inner_texts()
    assert len(sheets) == len(titles)
    assert sheets[0].mediabox.width > sheets[0].mediabox.height
    for sheet, title in zip(sheets, titles, strict=True):
        words = letters(sheet.extract_text())
        assert letters(title.rstrip("#"))[:12] in words
        assert "Forthespeaker" not in words and "Present" not in words


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_handout_fills_two_sides_of_a4(open_page, chapter):
    pypdf = pytest.importorskip("pypdf")
    page = open_page(f"handout-{chapter}")
    sides = pypdf.PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True, print_background=True))).pages
    assert len(sides) == 2
    assert [round(float(part) / 72 * 25.4) for part in (sides[0].mediabox.width, sides[0].mediabox.height)] == [210, 297]
    first, second = (letters(side.extract_text()) for side in sides)
    assert letters("Predict first") in first and letters("Warm-ups for pen") in second and letters("Read on") in second
    assert letters("Print this page") not in first and "Answer" not in first + second
    assert page.locator(".dln-write").count() == 6 and page.locator(".dln-write span").count() >= 18
    assert page.evaluate("document.querySelector('figure img').naturalWidth") > 100


def test_without_script_the_slides_are_a_page(browser, address):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{address}/book/course/slides-integrable.html")
    slides = page.locator(".dln-slide")
    assert slides.count() >= 10 and all(slides.nth(i).is_visible() for i in range(slides.count()))
    assert page.locator(".dln-deck-start, .dln-deck-bar").count() == 0
    context.close()


def test_script_and_style_of_the_slides_are_on_their_pages_only(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        for script in ("slides.js", "speaker.js"):
            assert (script in text) is page.name.startswith("slides-"), page.name


def test_every_exercise_of_the_book_is_in_the_index(site):
    index = BeautifulSoup((site / "book" / "course" / "exercises.html").read_text(encoding="utf-8"), "html.parser")
    listed = [link["href"] for link in index.select("ul.dln-exercises > li > p:first-child > a")]
    there = []
    for path in sorted((site / "notebooks").rglob("*.html")):
        page = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        here = f"../../{path.relative_to(site).as_posix()}"
        there += [f"{here}#{exercise['id']}" for exercise in page.select("div.exercise")]
    assert sorted(listed) == sorted(there) and len(there) > 50

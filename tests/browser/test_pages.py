"""Every page of the book as a reader's browser sees it: light and dark, at a desk and on a phone.

A page is opened once and then looked at in turn. With two workers use --dist worksteal, which keeps neighbours together.
"""

import re
from dataclasses import dataclass, field
from urllib.parse import urlparse

import pytest
from committed import BOOK

PAGES = [*re.findall(r"(?:root|file): *(\S+)", (BOOK / "_toc.yml").read_text(encoding="utf-8")), "search"]
SIZES = {"desk": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 844}}

#: Contrast below which small text is hard to read (WCAG 2, level AA).
CONTRAST = 4.5


@dataclass
class Opened:
    """A page in the browser, and what happened while it was loaded."""

    name: str
    page: object
    complaints: list = field(default_factory=list)
    outside: list = field(default_factory=list)

    def show(self, mode, size):
        """Turn to light or dark at a desk's or a phone's size."""
        if self.page.viewport_size != SIZES[size]:
            self.page.set_viewport_size(SIZES[size])
            self.page.wait_for_timeout(700)                # the theme makes scrolling boxes focusable a moment later
        self.page.evaluate("mode => Object.assign(document.documentElement.dataset, {mode, theme: mode})", mode)


@pytest.fixture(scope="module", params=PAGES)
def opened(request, browser, address):
    context = browser.new_context(viewport=SIZES["desk"], color_scheme="light", reduced_motion="reduce")
    page = context.new_page()
    out = Opened(request.param, page)

    def answered(response):
        if response.status >= 400:
            out.complaints.append(f"{response.status} {response.url}")

    page.on("console", lambda message: message.type == "error" and out.complaints.append(message.text))
    page.on("pageerror", lambda error: out.complaints.append(str(error)))
    page.on("requestfailed", lambda request: out.complaints.append(f"failed: {request.url}"))
    page.on("response", answered)
    page.on("request", lambda request: urlparse(request.url).scheme in ("http", "https", "ws", "wss")
            and not request.url.startswith(address) and out.outside.append(request.url))
    page.goto(f"{address}/{request.param}.html", wait_until="load")
    # Pictures far down the page are loaded too, and colours change at once.
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; animation: none !important }")
    page.evaluate("""async () => {
      if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
      for (const image of document.images) { image.loading = "eager"; await image.decode().catch(() => {}); }
    }""")
    yield out
    context.close()


def test_it_loads_without_an_error(opened):
    assert not opened.complaints


def test_nothing_comes_from_outside(opened):
    assert not opened.outside


def test_mathematics_is_typeset(opened):
    raw, errors = opened.page.evaluate("""() => [
      [...document.querySelectorAll(".math")].filter(math => !math.querySelector("mjx-container")).length,
      [...document.querySelectorAll("mjx-merror, [data-mjx-error]")].map(e => e.dataset.mjxError || e.textContent)]""")
    assert raw == 0 and not errors


def test_every_picture_is_there(opened):
    missing = opened.page.evaluate("[...document.images].filter(image => !image.naturalWidth).map(image => image.src)")
    assert not missing


def test_it_fits_a_phone(opened):
    opened.show("light", "phone")
    wide = opened.page.evaluate("""() => document.documentElement.scrollWidth <= innerWidth ? [] :
      [document.documentElement.scrollWidth, ...[...document.querySelectorAll("body *")]
        .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
        .slice(-5).map(element => element.outerHTML.slice(0, 200))]""")
    assert not wide


def test_equations_fit_a_phone(opened):
    """With their numbers, and shrunk if need be. Those of the derivation are too long; a record keeps its day's equations."""
    opened.show("light", "phone")
    wide = opened.page.evaluate("""async () => {
      const folded = [...document.querySelectorAll("details:not([open])")];
      folded.forEach((part) => { part.open = true; });     // an equation is fitted when it is seen
      for (let n = 0; n < 4; n++) await new Promise(requestAnimationFrame);
      const wide = [...document.querySelectorAll("div.math mjx-container")].filter((formula) =>
        formula.scrollWidth > formula.clientWidth + 1).map((formula) => formula.textContent.slice(0, 60));
      folded.forEach((part) => { part.open = false; });
      return wide; }""")
    assert not wide or opened.name in ("book/derivation-dmft", "records/paper/integrable/ranks"), wide


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_captions_are_legible(opened, mode):
    """Every text on the page's own ground, by the contrast formula of WCAG 2; formulas and code included."""
    opened.show(mode, "desk")
    pale = opened.page.evaluate(LOW_CONTRAST, CONTRAST)
    assert not pale


@pytest.mark.parametrize("size, mode", [("phone", "light"), ("desk", "light"), ("desk", "dark")])
def test_axe_finds_nothing_serious(opened, size, mode):
    sync_playwright = pytest.importorskip("axe_playwright_python.sync_playwright",
                                          reason="axe-playwright-python is missing: make browser-test installs it")
    opened.show(mode, size)
    # Its own rule of contrast takes a minute on a long page, and the test above has judged every text by the same formula.
    contrast = opened.page.evaluate(SIMPLIFY) < 1000
    if mode == "light":
        options = {"rules": {"color-contrast": {"enabled": contrast}}}
    else:                                                  # the same page in other colours, at any size: the rules about colour
        options = {"runOnly": {"type": "rule", "values": ["link-in-text-block"] + ["color-contrast"] * contrast}}
    options["resultTypes"] = ["violations"]
    found = sync_playwright.Axe().run(opened.page, context={"exclude": [["mjx-container"]]}, options=options)
    serious = [f"{violation['id']} ({violation['impact']}): {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
               for violation in found.response["violations"] if violation["impact"] in ("serious", "critical")
               for node in violation["nodes"][:5]]
    assert not serious, "\n".join(serious)


def test_the_measure_of_contrast_can_fail(page):
    page.set_content("""<main style="background: #fff"><p style="color: #999">pale</p><p style="color: #555">fine</p>
      <div style="background: rgb(0 0 0 / 0.5)"><p style="color: #000">on grey</p><p style="color: #444">pale too</p></div>
      <p style="color: #eee; display: none">hidden</p></main>""")
    found = page.evaluate(LOW_CONTRAST, CONTRAST)
    assert [line.split(": ")[1] for line in found] == ["pale", "pale too"]


#: Formulas and coloured code become one box each: their thousands of inner elements say nothing to axe. Returns how
#: many elements are left.
SIMPLIFY = """() => {
  for (const formula of document.querySelectorAll("mjx-container")) {
    const {width, height} = formula.getBoundingClientRect();
    if (formula.childElementCount)
      Object.assign(formula.style, {display: "inline-block", width: width + "px", height: height + "px"});
    formula.replaceChildren();
  }
  for (const code of document.querySelectorAll("div.highlight pre")) code.textContent = code.textContent;
  return document.querySelectorAll("body *").length;
}"""

#: Texts whose colour is too close to the colour behind them. Text over a picture or a gradient is not judged.
LOW_CONTRAST = """limit => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true}), known = {};
  const colour = name => known[name] ??= (canvas.clearRect(0, 0, 1, 1), canvas.fillStyle = name,
    canvas.fillRect(0, 0, 1, 1), [...canvas.getImageData(0, 0, 1, 1).data].map(value => value / 255));
  const over = (top, ground) => [0, 1, 2].map(i => top[i] * top[3] + ground[i] * (1 - top[3])).concat(1);
  const ground = element => {
    if (!element) return [1, 1, 1, 1];
    const style = getComputedStyle(element), own = colour(style.backgroundColor);
    if (style.backgroundImage !== "none") return null;
    if (own[3] === 1) return own;
    const below = ground(element.parentElement);
    return below && over(own, below);
  };
  const light = rgb => rgb.slice(0, 3).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const pale = new Set(), seen = new Set();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(element)) continue;
    seen.add(element);
    if (element.closest("svg, canvas, script, style, noscript, [disabled], .headerlink, mjx-assistive-mml")) continue;
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) continue;
    const behind = ground(element);
    if (!behind) continue;
    const [a, b] = [light(over(colour(getComputedStyle(element).color), behind)), light(behind)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < limit)
      pale.add(`${contrast.toFixed(2)} ${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 40)}`);
  }
  return [...pale].slice(0, 10);
}"""

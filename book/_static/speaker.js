// The speaker's window: the hint of this slide, the next slide, a clock. It is built by the window of the slides and shares
// its page, so it needs no server: it works from a memory stick.
(() => {
  "use strict";
  let view = null;          // the window
  let deck = null;          // what slides.js lets others see and do
  let began = 0;            // when the talk began, in ms

  function dress(page) {
    const base = page.createElement("base");
    base.href = document.baseURI;
    page.head.append(base);
    for (const sheet of document.styleSheets) {       // rules of formulas stand in no file
      if (sheet.media.mediaText === "print") continue;
      const made = page.createElement(sheet.href ? "link" : "style");
      if (sheet.href) Object.assign(made, { rel: "stylesheet", href: sheet.href });
      else made.textContent = [...sheet.cssRules].map((rule) => rule.cssText).join("\n");
      page.head.append(made);
    }
    page.title = `Speaker view: ${document.title}`;
    page.documentElement.lang = document.documentElement.lang;
    page.documentElement.dataset.theme = document.documentElement.dataset.theme;
    page.documentElement.classList.add("dln-speaker");
  }

  function part(page, tag, name, text = "") {
    const made = page.createElement(tag);
    made.className = name;
    made.textContent = text;
    return made;
  }

  function build(page) {
    dress(page);
    page.body.className = "bd-article bd-content";
    const top = part(page, "div", "dln-speaker-top");
    const restart = part(page, "button", "dln-speaker-restart", "Start the clock anew");
    restart.type = "button";
    restart.addEventListener("click", () => { began = Date.now(); tick(); });
    const back = part(page, "button", "dln-speaker-back", "←");
    const on = part(page, "button", "dln-speaker-on", "→");
    for (const [turn, words, step] of [[back, "Previous slide", -1], [on, "Next slide", 1]]) {
      turn.type = "button";
      turn.setAttribute("aria-label", words);
      turn.addEventListener("click", () => deck.show(deck.now() + step));
    }
    top.append(back, part(page, "span", "dln-speaker-count"), on, part(page, "span", "dln-speaker-title"),
               part(page, "span", "dln-speaker-spent"), part(page, "span", "dln-speaker-time"), restart);
    const now = part(page, "section", "dln-speaker-now");
    const next = part(page, "section", "dln-speaker-next");
    page.body.append(top, now, next);
    page.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, PageDown: 1, ArrowLeft: -1, ArrowUp: -1, PageUp: -1 }[event.key];
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (step) deck.show(deck.now() + step);
      else if (event.key === " " && !event.target.closest("button")) deck.show(deck.now() + (event.shiftKey ? -1 : 1));
      else if (event.key === "Home") deck.show(0);
      else if (event.key === "End") deck.show(deck.slides.length - 1);
      else if (event.key === "s" || event.key === "S") view.close();
      else return;
      event.preventDefault();
    });
  }

  // A copy of a slide without what only the page needs.
  function copy(slide) {
    const made = view.document.importNode(slide, true);
    made.classList.remove("dln-now", "dln-away");
    made.querySelectorAll(".dln-hint, .headerlink").forEach((left) => left.remove());
    made.querySelectorAll("[id]").forEach((named) => named.removeAttribute("id"));
    made.removeAttribute("id");
    return made;
  }

  const find = (name) => view.document.querySelector(`.dln-speaker-${name}`);
  const titleOf = (slide) => slide.querySelector("h2").firstChild.textContent.trim();

  function draw() {
    if (!view || view.closed) return;
    const [number, slide, next] = [deck.now(), deck.slides[deck.now()], deck.slides[deck.now() + 1]];
    find("count").textContent = `${number + 1} / ${deck.slides.length}`;
    find("title").textContent = titleOf(slide);
    const hint = slide.querySelector(".dln-hint");
    const asked = slide.matches(".dln-slide-ask") ? [copy(slide)] : [];
    const words = hint ? view.document.importNode(hint, true) : part(view.document, "p", "dln-speaker-none", "No hint here.");
    find("now").replaceChildren(...asked, words);
    find("next").replaceChildren(part(view.document, "p", "dln-speaker-label", next ? "Next" : "This was the last slide."),
                                 ...(next ? [copy(next)] : []));
    tick();
  }

  const two = (number) => String(number).padStart(2, "0");

  function tick() {
    if (!view || view.closed) return;
    const [clock, spent] = [new Date(), Math.floor((Date.now() - began) / 1000)];
    find("time").textContent = `${two(clock.getHours())}:${two(clock.getMinutes())}`;
    find("spent").textContent = `${Math.floor(spent / 60)}:${two(spent % 60)}`;
  }

  // Open the window, or bring it to the front; false where the browser does not let us.
  window.dlnSpeaker = (of) => {
    if (!view || view.closed) {
      view = window.open("", "", "width=1000,height=700");
      if (!view) return false;
      deck = of;
      began = Date.now();
      build(view.document);
      view.setInterval(tick, 1000);
      document.addEventListener("dln-slide", draw);
      window.addEventListener("pagehide", () => view.close());
      draw();
    }
    view.focus();
    return true;
  };
})();

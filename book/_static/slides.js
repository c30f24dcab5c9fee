// Shows the slides of a page one at a time. Without it the page is a plain page of cards.
(() => {
  "use strict";
  const slides = [...document.querySelectorAll("section.dln-slide")];
  if (!slides.length) return;
  const root = document.documentElement;
  let now = 0;
  let returned = false;     // the slides were left and the reader has not moved the page since
  let away = [];            // what is hidden while presenting: everything that is not on the way to the slides

  const element = (tag, attributes = {}, text = "") => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const button = (text, label, action) => {
    const made = element("button", { type: "button", "aria-label": label }, text);
    made.addEventListener("click", action);
    return made;
  };

  // --- buttons ---
  const start = element("div", { class: "dln-deck-start" });
  const present = button("Present", "Present the slides one at a time", () => open());
  start.append(present, element("span", {}, "or press P. Then: arrow keys or space, Home, End; N for hints; S for the speaker view; Escape to leave."));
  slides[0].before(start);

  const bar = element("div", { class: "dln-deck-bar", role: "toolbar", "aria-label": "Slides" });
  const count = element("span", { class: "dln-deck-count", role: "status" });
  const progress = element("div", { class: "dln-deck-progress" });
  const hints = button("Hints", "Show the hints for the speaker", () => toggleHints());
  hints.setAttribute("aria-pressed", "false");
  const speaker = button("Speaker", "Open the speaker view in a window of its own", () => openSpeaker());
  speaker.classList.add("dln-deck-speaker");
  bar.append(progress, button("←", "Previous slide", () => show(now - 1)), count,
             button("→", "Next slide", () => show(now + 1)), hints, speaker, button("Leave", "Leave the slides", () => close()));
  document.body.append(bar);

  slides.forEach((slide, number) => {
    slide.setAttribute("tabindex", "-1");     // so that a screen reader begins to read at the new slide
    slide.setAttribute("aria-label", `Slide ${number + 1} of ${slides.length}`);
  });

  // --- what they do ---
  const presenting = () => root.classList.contains("dln-presenting");

  function show(number) {
    slides[now].classList.remove("dln-now");
    now = Math.max(0, Math.min(slides.length - 1, number));
    slides[now].classList.add("dln-now");
    slides[now].scrollTop = 0;
    slides[now].focus({ preventScroll: true });
    count.textContent = `${now + 1} / ${slides.length}`;
    progress.style.width = `${100 * (now + 1) / slides.length}%`;
    tell();
  }

  function open(whole = true) {
    // Begin where the reader is: with the slide that was left, or, once the reader has moved the page, with the first
    // that reaches below the top third of the window.
    const here = returned ? now : slides.findIndex((slide) => slide.getBoundingClientRect().bottom > window.innerHeight / 3);
    for (let inner = slides[0]; inner !== document.body; inner = inner.parentElement)
      for (const other of inner.parentElement.children)
        if (other !== inner && other !== bar && !slides.includes(other)) away.push(other);
    away.forEach((other) => other.classList.add("dln-away"));
    root.classList.add("dln-presenting");
    returned = false;
    show(here < 0 ? 0 : here);
    // Refused in some windows: the slide then fills the window. Granted late, when the reader has left: undone.
    if (whole) fill();
  }

  function fill() {
    root.requestFullscreen?.().then(() => { if (!presenting()) document.exitFullscreen(); }).catch(() => {});
  }

  function close() {
    root.classList.remove("dln-presenting");
    away.forEach((other) => other.classList.remove("dln-away"));
    away = [];
    slides[now].classList.remove("dln-now");
    if (document.fullscreenElement) document.exitFullscreen().catch(() => {});
    present.focus({ preventScroll: true });
    returned = true;
    backToSlide();
    tell();
  }

  // The window leaves full screen in its own time, and its lines then break anew: the slide stays in view until the
  // reader moves the page.
  function backToSlide() {
    if (returned) slides[now].scrollIntoView();
  }
  window.addEventListener("resize", backToSlide);
  for (const moved of ["wheel", "pointerdown", "touchstart"])
    document.addEventListener(moved, () => { returned = false; }, { passive: true });

  // --- for the window of the speaker, made by speaker.js: it is told of every slide, and may turn them ---
  function tell() {
    document.dispatchEvent(new Event("dln-slide"));
  }
  const deck = { slides, presenting, show, now: () => now };

  // A browser that opens a window leaves full screen. The slides then stay, in a window that F makes full again.
  let opened = false;
  function openSpeaker() {
    opened = Boolean(document.fullscreenElement);
    if (!window.dlnSpeaker?.(deck)) count.textContent = "Pop-ups are blocked";
    else if (!presenting()) open(false);
  }

  function toggleHints() {
    hints.setAttribute("aria-pressed", String(root.classList.toggle("dln-hints")));
  }

  // --- keys, fingers, and the browser's own way out of full screen ---
  const keys = {
    ArrowRight: () => show(now + 1), ArrowDown: () => show(now + 1), PageDown: () => show(now + 1),
    ArrowLeft: () => show(now - 1), ArrowUp: () => show(now - 1), PageUp: () => show(now - 1),
    Home: () => show(0), End: () => show(slides.length - 1), Escape: close,
    n: toggleHints, N: toggleHints, s: () => openSpeaker(), S: () => openSpeaker(), f: fill, F: fill,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
    if (!presenting()) {
      if (["p", "P", "f", "F"].includes(event.key)) { event.preventDefault(); open(); }
      else if (["s", "S"].includes(event.key)) { event.preventDefault(); openSpeaker(); }
      else if (event.key !== "Enter") returned = false;
      return;
    }
    const onButton = event.target.closest("button, a");
    const action = event.key === " " && !onButton ? () => show(now + (event.shiftKey ? -1 : 1)) : keys[event.key];
    if (action) { event.preventDefault(); action(); }
  });

  let touched = null;
  document.addEventListener("touchstart", (event) => { touched = event.changedTouches[0]; }, { passive: true });
  document.addEventListener("touchend", (event) => {
    if (!presenting() || !touched) return;
    const across = event.changedTouches[0].clientX - touched.clientX;
    const down = event.changedTouches[0].clientY - touched.clientY;
    if (Math.abs(across) > 50 && Math.abs(across) > 2 * Math.abs(down)) show(now + (across < 0 ? 1 : -1));
  }, { passive: true });

  document.addEventListener("fullscreenchange", () => {
    if (!document.fullscreenElement && presenting() && !opened) close();
    else backToSlide();
    opened = false;
  });
})();

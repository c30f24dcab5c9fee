/* Run here: the cells of a page become editable and run in a worker with Pyodide. Nothing is fetched before the first click. */
(() => {
  "use strict";
  const place = document.querySelector(".dln-run-here");
  if (!place) return;
  const settings = JSON.parse(place.dataset.settings);
  const here = new URL(".", document.currentScript.src);
  const keep = `dln-run-here ${location.pathname}`;

  const element = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    Object.entries(attributes).forEach(([name, value]) => made.setAttribute(name, value));
    made.append(...children);
    return made;
  };
  const button = (label, act) => {
    const made = element("button", {type: "button"}, label);
    made.addEventListener("click", act);
    return made;
  };

  // --- what the reader sees ---------------------------------------------------------------------------------------

  const status = element("p", {class: "dln-run-status", role: "status"});
  const open = button(settings.label, () => begin());
  const again = button("Run all", () => runAll());
  const stop = button("Stop", () => halt("Stopped. What was loaded stays in the browser's cache; your text stays in the cells."));
  const reset = button("Reset", () => restore());
  [again, stop, reset].forEach((made) => { made.hidden = true; });
  const bar = element("div", {class: "dln-run-bar"}, open, again, stop, reset, status);
  place.replaceChildren(bar);
  status.textContent = settings.words;

  const tell = (words, bad = false) => {
    status.textContent = words;
    status.classList.toggle("dln-run-bad", bad);
  };

  // --- cells --------------------------------------------------------------------------------------------------------

  let page = null;                                         // what the book knows of this page's notebook
  let cells = [];
  let worker = null;
  let busy = false;

  /* The code of every cell becomes a field; its outputs stay until there are new ones. */
  const makeEditable = () => {
    const boxes = [...document.querySelectorAll("div.cell")];
    if (boxes.length !== page.cells.length) throw new Error("This page and its notebook do not match: reload the page.");
    const kept = JSON.parse(sessionStorage.getItem(keep) || "{}");
    cells = boxes.map((box, i) => {
      const input = box.querySelector(".cell_input");
      const code = element("textarea", {class: "dln-run-code", spellcheck: "false", autocapitalize: "off", autocomplete: "off",
        wrap: "off", "aria-label": `Code of cell ${i + 1}`});
      const cell = {box, input, code, number: i + 1, source: page.cells[i], outputs: null, first: true};
      code.value = kept[i + 1] === undefined ? cell.source : kept[i + 1];
      code.addEventListener("input", () => { fit(code); remember(); });
      code.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey || event.shiftKey)) {
          event.preventDefault();
          if (event.shiftKey) send([cell], false); else runAll();
        }
      });
      input.hidden = true;
      input.after(code);
      if (page.checks[i + 1]) {
        cell.check = element("p", {class: "dln-run-bar"}, button("Check my answer", () => send([cell], false)));
        code.after(cell.check);
      }
      fit(code);
      return cell;
    });
    cells[0].box.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  };
  const fit = (code) => { code.rows = Math.max(1, code.value.split("\n").length); };
  const remember = () => {
    const typed = {};
    cells.forEach(({number, code, source}) => { if (code.value !== source) typed[number] = code.value; });
    try { sessionStorage.setItem(keep, JSON.stringify(typed)); } catch { /* no room: the text is in the page all the same */ }
  };

  /* An exercise's answer against the solution's; what went wrong twice gets a hint. */
  const answer = (cell, verdict) => {
    const {answer: asked, within, hint} = page.checks[cell.number];
    if (verdict === "wrong" && cell.missed !== cell.code.value) {
      cell.missed = cell.code.value;
      cell.misses = (cell.misses || 0) + 1;
    }
    const words = verdict === "right" ? `Right, within ${100 * within} %.`
      : verdict !== "wrong" ? `${asked} cannot be compared: ${verdict}.`
        : cell.misses < 2 ? "Not yet." : `Not yet. Hint: ${hint}`;
    cell.outputs.append(element("p", {class: `dln-run-check${verdict === "right" ? " dln-run-right" : ""}`, role: "status"}, words));
  };

  /* The first thing that a cell shows replaces what the book shows there; a figure keeps its caption. */
  const show = (cell, kind, text) => {
    if (kind === "check" && !text) return;
    if (cell.first) {
      cell.first = false;
      clear(cell);
      const committed = cell.box.querySelector(":scope > .cell_output");
      cell.picture = committed && committed.querySelector("figure img");
      if (committed && !cell.picture) committed.hidden = true;
      cell.outputs = element("div", {class: "dln-run-output cell_output"});
      (committed || cell.box.lastElementChild).after(cell.outputs);
    }
    if (kind === "picture") {
      const source = `data:image/png;base64,${text}`;
      if (cell.picture) {
        cell.picture.dataset.committed ??= cell.picture.getAttribute("src");
        cell.picture.src = source;
        cell.picture = null;
      } else cell.outputs.append(element("img", {src: source, alt: `Drawn by cell ${cell.number}`}));
    } else if (kind === "html") {
      cell.outputs.append(element("div", {class: "output text_html"}));
      cell.outputs.lastElementChild.innerHTML = text;
    } else if (kind === "claims") judge(JSON.parse(text));
    else if (kind === "check") answer(cell, text);
    else {
      const last = cell.outputs.lastElementChild;
      const lines = last && last.tagName === "PRE" && !last.classList.contains("dln-run-error") && kind === "text" ? last
        : cell.outputs.appendChild(element("pre", {class: kind === "error" ? "dln-run-error" : "dln-run-text"}));
      lines.append(text);
    }
  };
  const clear = (cell) => {
    if (cell.outputs) cell.outputs.remove();
    cell.outputs = null;
  };

  let verdict = "";
  const judge = ({profile, claims}) => {
    const same = claims.filter((claim) => page.claims[claim.id] === claim.shown).length;
    verdict = profile === "custom" ? "The parameters are yours, so the claims are shown and not asserted."
      : `${same} of ${claims.length} claims measure what the book shows${same < claims.length ? "; the others differ in the last digits" : ""}.`;
  };

  // --- the worker ---------------------------------------------------------------------------------------------------

  const begin = async () => {
    if (location.protocol === "file:") {
      tell("A page that was opened as a file may not start Python. In the folder of the site type: python -m http.server, "
        + "and open http://localhost:8000.", true);
      return;
    }
    open.disabled = true;
    try {
      if (!page) {
        tell("Loading the cells of this page …");
        page = await (await get(settings.page)).json();
      }
      if (!cells.length) makeEditable();
      open.hidden = true;
      place.classList.add("dln-run-active");
      [again, reset].forEach((made) => { made.hidden = false; });
      runAll();
    } catch (error) {
      tell(String(error.message || error), true);
    }
    open.disabled = false;
  };
  const get = async (name) => {
    const answer = await fetch(new URL(name, here)).catch(() => null);
    if (!answer || !answer.ok) throw new Error(`${name} could not be fetched: is there a network? Nothing is lost; try again.`);
    return answer;
  };

  let launches = 0;
  const launch = async () => {
    const mine = ++launches;
    const [wheel, pins] = await Promise.all([get(settings.wheel).then((a) => a.arrayBuffer()), get("pyodide.json").then((a) => a.json())]);
    if (mine !== launches) return;                         // stopped meanwhile
    const blocked = (why) => halt(`Python could not be started in this browser: ${why || "its worker was blocked"}. Your text stays.`, true);
    try { worker = new Worker(new URL("worker.js", here)); } catch (error) { blocked(error.message); return; }
    worker.onmessage = ({data}) => heard(data);
    worker.onerror = (event) => blocked(event.message);
    worker.postMessage({start: {...pins, base: new URL(settings.base, here).href, packages: page.packages, wheel,
      parameters: page.parameters, checks: page.checks}}, [wheel]);
  };
  const megabytes = (bytes) => `${Math.round(bytes / 1e5) / 10} MB`;

  let waiting = null;
  const heard = (news) => {
    if (news.loading) tell(`Loading Python: ${megabytes(news.loading)} of ${megabytes(news.of)} …`);
    if (news.also) tell(`This page also needs ${news.also}: loading it, then it begins anew …`);
    if (news.ready && waiting) post(...waiting);
    if (news.again) runAll();
    if (news.begin) {
      const cell = cells[news.begin - 1];
      cell.first = true;
      cell.box.classList.add("dln-run-now");
      tell(`Cell ${news.begin} of ${cells.length} runs …`);
    }
    if (news.kind) show(cells[news.cell - 1], news.kind, news.text);
    if (news.end) {
      const cell = cells[news.end - 1];
      cell.box.classList.remove("dln-run-now");
      if (cell.first) clear(cell);
      if (news.error) {
        show(cell, "error", news.error);
        cell.box.querySelectorAll("details").forEach((fold) => { fold.open = true; });
        verdict = `Cell ${news.end} stopped with an error; it stands below the cell.`;
        cell.outputs.scrollIntoView({block: "center"});
      }
    }
    if (news.done) {
      work(false);
      tell(`Done in ${Math.round((performance.now() - began) / 100) / 10} s. ${verdict}`, Boolean(document.querySelector(".dln-run-error")));
    }
    if (news.failed) halt(news.failed, true);
  };
  const work = (yes) => {
    busy = yes;
    stop.hidden = !yes;
    again.disabled = yes;
    cells.forEach(({check}) => { if (check) check.firstChild.disabled = yes; });
  };

  let began = 0;
  const post = (batch, fresh) => {
    waiting = null;
    worker.postMessage({run: batch.map(({number, code}) => ({number, source: code.value})), fresh});
  };
  const send = async (batch, fresh) => {
    if (busy && fresh !== "again") return;
    work(true);
    verdict = "";
    began = performance.now();
    tell(batch.length > 1 ? "The cells run …" : `Cell ${batch[0].number} runs …`);      // before the worker answers: "Done" is past
    if (worker) { post(batch, fresh); return; }
    waiting = [batch, fresh];
    try { await launch(); } catch (error) { halt(String(error.message || error), true); }
  };
  const runAll = () => send(cells, busy ? "again" : true);

  const halt = (words, bad = false) => {
    if (worker) worker.terminate();
    worker = waiting = null;
    launches += 1;
    document.querySelectorAll(".dln-run-now").forEach((box) => box.classList.remove("dln-run-now"));
    work(false);
    tell(words, bad);
  };
  const restore = () => {
    halt(settings.words);
    sessionStorage.removeItem(keep);
    cells.forEach((cell) => {
      clear(cell);
      cell.code.remove();
      if (cell.check) cell.check.remove();
      cell.input.hidden = false;
      cell.box.querySelectorAll(":scope > .cell_output").forEach((output) => { output.hidden = false; });
      cell.box.querySelectorAll("img[data-committed]").forEach((picture) => {
        picture.src = picture.dataset.committed;
        delete picture.dataset.committed;
      });
    });
    cells = [];
    [again, reset, stop].forEach((made) => { made.hidden = true; });
    open.hidden = false;
    place.classList.remove("dln-run-active");
    open.focus();
  };
})();

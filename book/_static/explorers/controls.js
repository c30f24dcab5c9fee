// The settings of an explorer: sliders, switches and choices, kept in the address (#name=value&...) so that a setting
// can be shared as a link; a reset button; a headline, which a screen reader hears once the reader's hand rests.
//
//   dln.explorer("modes", {
//     controls: [{type: "slider", name: "s1", label: "*s*_{1}", min: 0, max: 5, step: 0.05, value: 3},
//                {type: "slider", name: "d", label: "size *d*", values: [50, 100, 200], value: 100},
//                {type: "switch", name: "log", label: "logarithmic time", value: false},
//                {type: "select", name: "depth", label: "depth", options: [["2", "two"], ["4", "four"]], value: "2"},
//                {type: "group", label: "Axes", controls: [...]}],
//     setup(ui) { plot = dln.plot(ui.stage); },               // once; ui.set(name, value) changes a setting
//     update(values, ui) { plot.draw(...); ui.headline("..."); },          // after every change
//   });
window.dln = window.dln || {};

(() => {
  "use strict";

  const element = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    Object.entries(attributes).forEach(([key, value]) => { if (value !== undefined) node.setAttribute(key, value); });
    node.append(...children);
    return node;
  };
  dln.element = element;

  /** Build one control; returns {node, read, show}: its element, its value as set by hand, and how to display a value. */
  const BUILD = {
    slider(control, id, changed) {
      // With a list of values the slider itself counts places in the list.
      const list = control.values;
      const {min, max, step} = list ? {min: 0, max: list.length - 1, step: 1} : control;
      const nearest = (value) => (list
        ? list.reduce((best, v) => (Math.abs(v - value) < Math.abs(best - value) ? v : best))
        : Number((min + step * Math.round((Math.min(Math.max(value, min), max) - min) / step)).toPrecision(12)));
      const format = control.format || ((v) => dln.number(v));
      const input = element("input", {type: "range", id, min, max, step});
      const output = element("output", {for: id});
      const label = element("label", {for: id});
      dln.write(label, control.label);
      input.addEventListener("input", () => changed(list ? list[Number(input.value)] : Number(input.value)));
      return {
        node: element("div", {class: "dln-control"}, element("div", {class: "dln-control-head"}, label, output), input),
        show(value) {
          input.value = list ? list.indexOf(value) : value;
          dln.write(output, format(value));
          input.setAttribute("aria-valuetext", (control.speak || ((v) => dln.plain(format(v))))(value));
        },
        // Only what the slider could show itself.
        accept: (text) => (text !== "" && Number.isFinite(Number(text)) ? nearest(Number(text)) : undefined),
        store: String,
      };
    },

    switch(control, id, changed) {
      const input = element("input", {type: "checkbox", id, role: "switch"});
      const label = element("label", {for: id});
      dln.write(label, control.label);
      input.addEventListener("change", () => changed(input.checked));
      return {
        node: element("div", {class: "dln-control dln-control-switch"}, input, label),
        show(value) { input.checked = value; },
        accept: (text) => (text === "1" || text === "0" ? text === "1" : undefined),
        store: (value) => (value ? "1" : "0"),
      };
    },

    select(control, id, changed) {
      const input = element("select", {id}, ...control.options.map(([value, words]) =>
        element("option", {value}, dln.plain(words))));
      const label = element("label", {for: id});
      dln.write(label, control.label);
      input.addEventListener("change", () => changed(input.value));
      return {
        node: element("div", {class: "dln-control dln-control-select"}, label, input),
        show(value) { input.value = value; },
        accept: (text) => (control.options.some(([value]) => value === text) ? text : undefined),
        store: String,
      };
    },
  };

  const start = (name, {controls, setup, update}) => {
    const root = document.getElementById(`dln-explorer-${name}`);
    const defaults = {};
    const values = {};
    const parts = {};

    const build = (list) => list.map((control) => {
      if (control.type === "group") {
        const legend = element("legend");
        dln.write(legend, control.label);
        return element("fieldset", {}, legend, ...build(control.controls));
      }
      const part = BUILD[control.type](control, `${root.id}-${control.name}`, (value) => ui.set(control.name, value));
      parts[control.name] = part;
      defaults[control.name] = values[control.name] = control.value;
      return part.node;
    });

    const headline = element("p", {class: "dln-headline"});
    const spoken = element("p", {class: "dln-unseen", role: "status"});
    const reset = element("button", {type: "button", class: "dln-reset"}, "Reset");
    const stage = element("div", {class: "dln-stage"});

    let drawing = 0;
    let resting = 0;
    const refresh = () => {
      Object.entries(parts).forEach(([key, part]) => part.show(values[key]));
      cancelAnimationFrame(drawing);
      drawing = requestAnimationFrame(() => update(values, ui));
      clearTimeout(resting);
      resting = setTimeout(() => { remember(); spoken.textContent = headline.textContent; }, 300);
    };
    // Only what differs from the defaults; browsers limit how often the address may change, hence the wait above.
    const remember = () => {
      const setting = Object.keys(values).filter((key) => values[key] !== defaults[key])
        .map((key) => `${key}=${encodeURIComponent(parts[key].store(values[key]))}`).join("&");
      const address = location.pathname + location.search + (setting ? `#${setting}` : "");
      if ((location.hash || "").slice(1) !== setting && (setting || location.hash.includes("="))) {
        history.replaceState(null, "", address);
      }
    };
    const apply = (setting) => {
      Object.assign(values, defaults);
      setting.split("&").forEach((pair) => {
        const [key, text = ""] = pair.split("=");
        if (!parts[key]) return;
        const value = parts[key].accept(decodeURIComponent(text));
        if (value !== undefined) values[key] = value;
      });
      refresh();
    };

    const ui = {
      root, stage, values, panel: null,
      /** Change one setting, as if by hand. */
      set(key, value) { values[key] = value; refresh(); },
      /** Change several at once; what the controls cannot show is moved to the nearest they can. */
      setAll(changes) {
        Object.entries(changes).forEach(([key, value]) => {
          const accepted = parts[key].accept(parts[key].store(value));
          if (accepted !== undefined) values[key] = accepted;
        });
        refresh();
      },
      /** The sentence above the plots: the number that matters. */
      headline(marked) { dln.write(headline, marked); },
      /** Let a screen reader hear the headline, where it changed without a setting. */
      say() { spoken.textContent = headline.textContent; },
    };

    const panel = element("div", {class: "dln-controls", role: "group", "aria-label": "Settings"}, ...build(controls), reset);
    ui.panel = panel;
    reset.addEventListener("click", () => apply(""));
    stage.append(headline);
    root.append(element("div", {class: "dln-explorer-inner"}, panel, stage), spoken);
    root.classList.add("dln-explorer-ready");
    if (setup) setup(ui);

    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    document.querySelectorAll("button.dln-try").forEach((button) => button.addEventListener("click", () => {
      apply(button.dataset.setting);
      root.scrollIntoView({behavior: calm.matches ? "auto" : "smooth", block: "start"});
      root.focus({preventScroll: true});                   // the next Tab reaches the settings
    }));
    addEventListener("hashchange", () => { if (location.hash.includes("=")) apply(location.hash.slice(1)); });
    apply(location.hash.includes("=") ? location.hash.slice(1) : "");
  };

  /** Build the explorer `name` at its place on the page, once the page is there. */
  dln.explorer = (name, definition) => {
    if (document.readyState === "loading") addEventListener("DOMContentLoaded", () => start(name, definition));
    else start(name, definition);
  };
})();

// The explorer of the dial: one slider, five loss curves, and the places of four papers on the slider's scale.
(() => {
  "use strict";

  const {MARKS} = dln.dial;
  const ENDS = [-8, 2];                                    // powers of ten of c/s
  const GOOD = 0.05;                                       // a theory is good within 5 % of the target
  const WINDOW = 2.2;                                      // half-learning times that are shown
  const [ORANGE, BLUE] = [dln.colors.orange, dln.colors.blue];
  const INK = {[ORANGE]: "#8a5f00", [BLUE]: BLUE};         // the same hues, dark enough to read
  const percent = (error) => `${dln.number(100 * Math.max(error, 0.001), 2)} %`;
  let scale;
  let losses;

  /** The dial at which the error of a theory passes 5 %, by bisection between 0.01 and 10. */
  const edge = (theory) => {
    let [low, high] = [-2, 1];
    const above = dln.dial.error(theory, 0.01) > GOOD;     // lazy learning is good on the right
    for (let i = 0; i < 40; i++) {
      const middle = (low + high) / 2;
      if ((dln.dial.error(theory, 10 ** middle) > GOOD) === above) low = middle; else high = middle;
    }
    return 10 ** low;
  };
  const EDGES = {saxe: edge("saxe"), lazy: edge("lazy")};

  const at = (curve, i) => curve[Math.min(Math.round(i), curve.length - 1)];

  /** What is drawn how. */
  const key = () => {
    const line = dln.element("p", {class: "dln-key"});
    [["width:1.5em;height:0.5em;background:#c4c8cd", "network trained here"],
     ["width:1.5em;border-top:2px dashed currentcolor;vertical-align:middle", "Tu"],
     ["width:0.6em;height:0.6em;border:2px solid currentcolor;border-radius:50%", "Bordelon and Pehlevan"],
     [`width:1.5em;height:0.25em;background:${ORANGE};vertical-align:middle`, "Saxe"],
     [`width:1.5em;height:0.25em;background:${BLUE};vertical-align:middle`, "lazy"]].forEach(([style, words], i) => line.append(
      i ? " " : "", dln.element("span", {class: "dln-key-item"}, dln.element("i", {class: "dln-sign", style}), words)));
    return line;
  };

  /** The scale under the slider: where each simple theory is good, and where the papers are. */
  const places = (c) => {
    const band = (left, right, color) => ({x: [left, right, right, left], y: [0, 0, 6, 6], color, opacity: 0.13});
    const row = (name, y, color) => MARKS[name].map((at) => ({x: at, y, color, radius: 4.5}));
    const words = (x, y, text, anchor, dx) => ({x, y, text, anchor, dx, dy: 4});
    return {
      x: {range: ENDS.map((v) => 10 ** v), log: true, label: ""},
      y: {range: [0, 6], ticks: [], label: ""},
      left: 14, right: 14,
      areas: [band(10 ** ENDS[0], EDGES.saxe, ORANGE), band(EDGES.lazy, 10 ** ENDS[1], BLUE)],
      rules: [{x: c, color: dln.colors.vermilion, width: 2, dashed: false}],
      points: [...row("saxe", 4, ORANGE), ...row("tu", 3, dln.colors.green), ...row("bordelon", 2, dln.colors.purple),
               ...row("mup", 1, dln.colors.ink), ...row("ntk", 1, dln.colors.vermilion)],
      texts: [{x: 10 ** ENDS[0], y: 5.3, text: "rich: Saxe is good", anchor: "start", dx: 8, dy: 2, color: INK[ORANGE]},
              {x: 10 ** ENDS[1], y: 5.3, text: "lazy", anchor: "end", dx: -8, dy: 2, color: INK[BLUE]},
              words(MARKS.saxe[1], 4, "Saxe Fig. 3, two modes", "start", 10),
              words(MARKS.tu[0], 3, "Tu Fig. 1, signal and noise", "end", -10),
              words(MARKS.bordelon[0], 2, "Bordelon, *γ*_{0} = 8 to 0.4", "end", -10),
              words(MARKS.mup[0], 1, "Hajjar, µP; then NTK", "end", -10)],
      alt: "The scale of the slider from 10⁻⁸ to 100. Saxe's sigmoid is good on the left, up to 0.1, lazy learning on the right, from "
        + "0.9. Saxe Fig. 3 lies near 10⁻⁷, Tu Fig. 1 at 0.05 and 0.3, the richness of Bordelon and Pehlevan between 0.1 and 2.5, "
        + `µP at 0.5, NTK at 5, 16 and 50 for widths of 100, 1000 and 10 000. The dial is at ${dln.plain(dln.number(c, 2))}.`,
    };
  };

  /** Which theory is good, in words. */
  const sentence = (c) => {
    const [saxe, lazy] = [dln.dial.error("saxe", c), dln.dial.error("lazy", c)];
    const both = "Tu and Bordelon–Pehlevan lie on the network, here as everywhere.";
    if (saxe <= GOOD) {
      return `**Rich: Saxe's sigmoid is good**, within ${percent(saxe)} of the target; lazy learning is wrong by ${percent(lazy)}. `
        + `${both}`;
    }
    if (lazy <= GOOD) {
      return `**Lazy: the exponential is good**, within ${percent(lazy)} of the target; Saxe's sigmoid ${
        c > 2 ? `starts at ${dln.number(c / 2, 2)} *s*` : `is wrong by ${percent(saxe)}`}. ${both}`;
    }
    return `**Between: no simple theory is good.** Saxe's sigmoid is wrong by ${percent(saxe)} of the target, lazy learning by ${
      percent(lazy)}. ${both}`;
  };

  dln.explorer("dial", {
    controls: [
      {type: "slider", name: "x", label: "the dial *c*/*s*", min: ENDS[0], max: ENDS[1], step: 0.1, value: -2,
       format: (v) => `${dln.number(10 ** v, 2)}, *γ*_{0} = ${dln.number(10 ** -v, 2)}, *u*_{0} = ${dln.number(10 ** v / 2, 2)} *s*`},
    ],

    setup(ui) {
      ui.root.querySelector(".dln-explorer-inner").classList.add("dln-one-slider");
      const holder = dln.element("div", {class: "dln-panel-plot"});
      ui.panel.insertBefore(holder, ui.panel.lastElementChild);
      scale = dln.plot(holder, {height: 176});
      ui.stage.append(key());
      losses = dln.plot(ui.stage, {height: 300});
    },

    update({x}, ui) {
      const c = 10 ** x;
      scale.draw(places(c));

      const half = dln.dial.half(c);
      const {rate, n} = dln.dial.steps(c, WINDOW * half);
      const trained = dln.dial.train(dln.dial.start(c), rate, n);
      const field = dln.dial.meanField(1 / c, rate * c, n);
      const steps = trained.map((_, i) => i * rate / half);
      const fine = dln.linspace(0, WINDOW, 401);
      const loss = (theory) => fine.map((t) => (1 - dln.dial.strength[theory](t * half, c)) ** 2);
      const shown = dln.linspace(0.06, WINDOW - 0.04, 16).map((t) => Math.round(t * half / rate));
      losses.draw({
        x: {range: [0, WINDOW], label: "time / half-learning time"},
        y: {range: [0, 1.08], label: "loss (*s* − *u*)^{2}, in units of *s*^{2}"},
        lines: [{x: steps, y: trained, color: "#c4c8cd", width: 9},
                {x: fine, y: loss("saxe"), color: ORANGE, width: 3, opacity: 0.9},
                {x: fine, y: loss("lazy"), color: BLUE, width: 3, opacity: 0.9},
                {x: fine, y: loss("tu"), theory: true}],
        points: shown.map((i) => ({x: steps[i], y: field[i], color: dln.colors.ink, radius: 3.4, hollow: true})),
        texts: c > 2 ? [{x: WINDOW, y: 1, text: "Saxe: above the frame", anchor: "end", dx: -6, color: INK[ORANGE]}] : [],
        alt: `Loss over time at c/s = ${dln.plain(dln.number(c, 2))}. Of its first value, the trained network has ${
          dln.number(at(trained, half / 2 / rate), 2)} after half of the half-learning time, ${dln.number(at(trained, half / rate), 2)
        } after all of it. At that moment Saxe's sigmoid has ${dln.plain(dln.number((1 - dln.dial.strength.saxe(half, c)) ** 2, 2))
        }, lazy learning ${dln.number((1 - dln.dial.strength.lazy(half, c)) ** 2, 2)}.`,
      });
      ui.headline(sentence(c));
    },
  });
})();

// The explorer of the mixed regime: a point on the phase diagram gives singular values and test error over time.
(() => {
  "use strict";

  const {mixed} = dln;
  const RANK = 5;
  // Five signals spread as in a typical draw, scaled so that the mean square of an entry of the signal is one.
  const SHAPE = [1.2, 1.1, 1, 0.9, 0.8];
  const SCALE = Math.sqrt(RANK / SHAPE.reduce((sum, v) => sum + v * v, 0));
  const X = [-3, 0];                                       // exponent of the variance
  const Y = [0, 4];                                        // exponent of the width
  const STEP = 0.1;                                        // of the colours in the diagram
  const RED = "#e3001b";                                   // of the border; vermilion is too close to the orange one
  // One colour for a regime, as in the figures of the book.
  const REGIMES = {rich: dln.colors.orange, mixed: dln.colors.green, lazy: dln.colors.blue};
  const exponent = (v) => dln.number(Number(v.toFixed(2)));
  let diagram;
  let values;
  let error;
  let place;

  const signalsOf = (d) => SHAPE.map((v) => v * SCALE * d / Math.sqrt(RANK));

  /** Where a point lies; the lines are those of large d. */
  const regionOf = (x, y) => {
    if (y < 1) return "narrow";
    if (2 * x + y > 0) return "noise";
    if (x + y > 1) return "lazy";
    return x + y > 0.5 ? "mixed" : "rich";
  };
  const REGIONS = {narrow: "Too narrow for the theory", noise: "Infinite noise", lazy: "Lazy", mixed: "Mixed", rich: "Rich"};

  /** The least test error on the whole diagram, as coloured cells. It needs one curve for each threshold d^gamma. */
  const cellsOf = (d) => {
    const signals = signalsOf(d);
    const noise = mixed.bulk(d, RANK, 24);                 // enough for a colour
    const curves = new Map();
    const curve = (gamma) => {
      const key = gamma.toFixed(3);
      if (!curves.has(key)) {
        const c = d ** gamma;
        const end = mixed.time(0.9 * Math.sqrt(d), Math.sqrt(d), c) * 1.5;     // a larger start only leads to 1
        curves.set(key, dln.geomspace(end / 1000, end, 45).map((t) =>
          ({left: mixed.startError(t, 1, c), test: mixed.testError(t, signals, d, c, noise)})));
      }
      return curves.get(key);
    };
    const cells = [];
    for (let i = 0; i * STEP < X[1] - X[0] - 1e-9; i++) {
      for (let j = Math.round((1 - Y[0]) / STEP); j * STEP < Y[1] - Y[0] - 1e-9; j++) {
        const [x, y] = [X[0] + (i + 0.5) * STEP, Y[0] + (j + 0.5) * STEP];
        const nu = d ** (2 * x + y);
        const least = curve(x + y).reduce((m, at) => Math.min(m, at.test + nu * at.left), 1 + nu);
        cells.push({x: [x - STEP / 2, x + STEP / 2], y: [y - STEP / 2, y + STEP / 2], color: dln.viridis(least / 1.05)});
      }
    }
    return cells;
  };
  let known = {d: 0, cells: []};

  /** Everything about one setting: threshold, start, curves over time, the best moment. */
  const compute = ({d, x, y, log}) => {
    const c = d ** (x + y);
    const nu = d ** (2 * x + y);
    const signals = signalsOf(d);
    const noise = mixed.bulk(d, RANK, 64);
    const edge = noise[noise.length - 1].value;
    // Until most of the noise is learned, and the start forgotten.
    const end = Math.max(1.15 * mixed.time(0.9 * Math.sqrt(d), Math.sqrt(d), c), 1.6 * Math.log1p(nu) / (2 * c));
    const times = log ? dln.geomspace(end / 2000, end * 1.3, 260) : dln.linspace(0, end, 260);
    const test = times.map((t) => mixed.testError(t, signals, d, c, noise) + mixed.startError(t, nu, c));
    // The best moment on a grid that does not depend on the axis.
    let best = {t: 0, test: 1 + nu};
    dln.geomspace(end / 300, end * 1.3, 350).forEach((t) => {
      const now = mixed.testError(t, signals, d, c, noise) + mixed.startError(t, nu, c);
      if (now < best.test) best = {t, test: now};
    });
    const seen = signals.map((s) => s + d / s);            // noise lifts a signal a little
    return {c, nu, seen, edge, times, test, best, noise,
            above: seen.filter((s) => mixed.strength(best.t, s, c) > c).length,
            noiseAbove: mixed.strength(best.t, edge, c) > c};
  };

  dln.explorer("mixed-regime", {
    controls: [
      {type: "group", label: "Task and network", controls: [
        {type: "slider", name: "d", label: "size *d*", values: [50, 100, 200, 500, 1000, 2000, 5000], value: 500},
        {type: "slider", name: "x", label: "variance *γ*_{σ²}", min: X[0], max: X[1], step: 0.05, value: -1.85, format: exponent},
        {type: "slider", name: "y", label: "width *γ*_{w}", min: Y[0], max: Y[1], step: 0.05, value: 2.4, format: exponent},
        {type: "switch", name: "log", label: "logarithmic time", value: false}]},
    ],

    setup(ui) {
      const holder = dln.element("div", {class: "dln-panel-plot"});
      ui.panel.insertBefore(holder, ui.panel.lastElementChild);
      diagram = dln.plot(holder, {height: 300});
      dln.colorbar(holder, {label: "least test error", low: "0", high: "1"});
      place = diagram.handle({label: "The network on the phase diagram: arrow keys move it", step: [0.05, 0.05],
                              onMove: (x, y) => ui.setAll({x, y})});
      values = dln.plot(ui.stage, {height: 270});
      error = dln.plot(ui.stage, {height: 250});
    },

    update(setting, ui) {
      const {d, x, y} = setting;
      if (known.d !== d) known = {d, cells: cellsOf(d)};
      const now = compute(setting);
      const region = regionOf(x, y);
      const c = `*c* = ${dln.number(now.c)}`;
      const outside = region === "narrow";

      const line = (xs, ys, color, dashed) => ({x: xs, y: ys, color, width: 2, dashed});
      const word = (at, text, rotate) => ({x: at[0], y: at[1], text, rotate, bright: true});
      const narrow = Math.log(RANK) / Math.log(d);
      diagram.draw({
        x: {range: X, label: "variance exponent *γ*_{σ²}", ticks: [-3, -2, -1, 0]},
        y: {range: Y, label: "width exponent *γ*_{w}", ticks: [0, 1, 2, 3, 4]},
        grid: false, cells: known.cells,
        areas: [{x: [X[0], X[1], X[1], X[0]], y: [0, 0, 1, 1], color: "#e4e6e9"}],
        lines: [line([-3, 0], [4, 1], "#000"), line([-3, -0.5], [3.5, 1], "#fff", true),
                line([-2, -0.5], [4, 1], RED), line([-3, 0], [narrow, narrow], dln.colors.orange)],
        texts: [word([-2.35, 1.75], "rich"), word([-2.5, 3.22], "mixed", 38), word([-1.78, 3.2], "lazy"),
                word([-0.62, 2.6], "infinite noise"), {x: -1.5, y: 0.68, text: "outside the theory", halo: false},
                {x: -1.5, y: narrow, text: "fewer neurons than signals", dy: narrow < 0.26 ? -5 : 14, halo: false}],
        alt: `Phase diagram. The network is at variance exponent ${x} and width exponent ${y}: ${REGIONS[region]}.`,
      });
      place(x, y, `variance exponent ${exponent(x)}, width exponent ${exponent(y)}: ${REGIONS[region]}`);

      const time = {range: [now.times[0], now.times[now.times.length - 1]], log: setting.log,
                    label: "time *t*, learning rate times steps"};
      const top = Math.max(...now.seen);
      const low = Math.max(Math.min(Math.sqrt(d) / 20, now.c / 3), top * 1e-5);
      const rise = (goal) => now.times.map((t) => mixed.strength(t, goal, now.c));
      const edge = rise(now.edge);
      const color = REGIMES[region] || dln.colors.ink;
      values.draw({
        x: time, right: 52,
        y: {range: [low, Math.max(top * 1.6, Math.min(now.c * 2, top * 1e3))], log: true, label: "singular value of the map"},
        areas: [{x: [...now.times, ...[...now.times].reverse()], y: [...edge, ...edge.map(() => low / 10)],
                 color: dln.colors.grey, opacity: 0.28}],
        lines: [{x: now.times, y: edge, color: dln.colors.grey, width: 1.6, label: "noise"},
                ...now.seen.map((s, i) => ({x: now.times, y: rise(s), color, width: 1.8,
                                            label: i === 2 ? "signal" : undefined}))],
        rules: [{y: now.c, label: `threshold ${c}`, anchor: "end",
                 below: now.edge > now.c && now.edge < 3 * now.c}, {x: now.best.t, color: dln.colors.grey, width: 1}],
        alt: `Singular values over time: five of the signal end between ${dln.plain(dln.number(Math.min(...now.seen)))} and ${
          dln.plain(dln.number(top))}, the noise ends below ${dln.plain(dln.number(now.edge))}; threshold ${dln.plain(c)}.`,
      });
      const highest = Math.max(1.15, Math.min(1.1 * (1 + now.nu), 2.4));
      error.draw({
        x: time, right: 52,
        y: {range: [0, highest], label: "test error"},
        lines: [{x: now.times, y: now.test, color: dln.colors.vermilion}],
        rules: [{x: now.best.t, color: dln.colors.grey, width: 1, label: "best moment",
                 anchor: now.best.t > 0.6 * time.range[1] ? "end" : "start"}],
        points: [{x: now.best.t, y: now.best.test, color: dln.colors.vermilion, radius: 5.5}],
        alt: `Test error over time: it starts at ${dln.plain(dln.number(1 + now.nu))}, is least, ${
          dln.plain(dln.number(now.best.test))}, at time ${dln.plain(dln.number(now.best.t))}.`,
      });
      values.box.classList.toggle("dln-doubtful", outside);
      error.box.classList.toggle("dln-doubtful", outside);
      ui.headline(sentence(region, now, d));
    },
  });

  const sentence = (region, now, d) => {
    const best = `The best test error is ${dln.number(now.best.test, 2)}, at *t* = ${dln.number(now.best.t, 2)}`;
    const c = `the threshold *c* = ${dln.number(now.c)}`;
    if (region === "narrow") {
      return "**Too narrow for the theory.** With *w* < *d* the closed forms do not describe the network; do not trust the curves.";
    }
    const signals = now.above === RANK ? `all ${RANK} signals are` : now.above === 0 ? "no signal is"
      : now.above === 1 ? "1 signal is" : `${now.above} of ${RANK} signals are`;
    const noise = now.above === 0 && !now.noiseAbove ? "" : now.noiseAbove ? ", and so is some noise"
      : ", and all noise is below it";
    const start = now.nu >= 0.05 ? ` The network's own start adds ${dln.number(now.nu, 2)} to the error at first.` : "";
    return `**${REGIONS[region]}.** ${best}; ${signals} then above ${c}${noise}.${start}`;
  };
})();

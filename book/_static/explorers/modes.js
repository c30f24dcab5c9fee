// The explorer of modes: three singular values, a start and a depth give learning curves and times to learn.
(() => {
  "use strict";

  const MODES = ["s1", "s2", "s3"];
  const INFINITE = 11;                                     // last step of the depth's slider
  const weights = (step) => (step === INFINITE ? Infinity : step);
  const power = (v) => `10^{${dln.number(v)}}`;
  const times = (ratio) => `${dln.number(ratio, ratio < 10 ? 2 : 3)} times`;
  let curves;
  let learning;

  const slider = (name, index, value) => ({type: "slider", name, label: `*s*_{${index}}`, min: 0.25, max: 5, step: 0.05, value});

  dln.explorer("modes", {
    controls: [
      {type: "group", label: "Singular values of the task",
       controls: [slider("s1", 1, 3), slider("s2", 2, 2), slider("s3", 3, 1)]},
      {type: "group", label: "Network", controls: [
        {type: "slider", name: "u0", label: "initial strength *u*_{0}", min: -12, max: -1, step: 0.25, value: -3, format: power,
         speak: (v) => `ten to the power ${v}`},
        {type: "slider", name: "depth", label: "weight matrices *L*", min: 1, max: INFINITE, step: 1, value: 2,
         format: (v) => (v === INFINITE ? "∞" : String(v)), speak: (v) => (v === INFINITE ? "infinitely many" : String(v))}]},
      {type: "group", label: "Time axis", controls: [
        {type: "switch", name: "log", label: "logarithmic", value: false},
        {type: "switch", name: "slowest", label: "in units of the slowest mode", value: false}]},
    ],

    setup(ui) {
      curves = dln.plot(ui.stage, {height: 290});
      learning = dln.plot(ui.stage, {height: 250});
    },

    update(values, ui) {
      const depth = weights(values.depth);
      const u0 = 10 ** values.u0;
      const infinite = depth === Infinity;
      // Weak first, so that the order of the curves is the order of the colours.
      const modes = MODES.map((name, i) => ({name: `*s*_{${i + 1}}`, s: values[name]})).sort((a, b) => a.s - b.s);
      modes.forEach((mode, i) => {
        mode.color = dln.sequential(3)[i];
        mode.half = dln.modes.halfTime(mode.s, u0, depth);
      });
      const slowest = Math.max(...modes.map((mode) => mode.half));
      const fastest = Math.min(...modes.map((mode) => mode.half));
      const unit = values.slowest ? slowest : 1;
      const most = modes[2].s;

      const end = Math.max(...modes.map((mode) => dln.modes.time(0.95 * mode.s, mode.s, u0, depth)));
      const range = values.log ? [fastest / 30, end * 4] : [0, end * 1.12];
      const t = values.log ? dln.geomspace(range[0], range[1], 400) : dln.linspace(range[0], range[1], 400);
      const symbol = infinite ? "*N*_{l} *t*" : "*t*";
      const label = values.slowest ? `time ${symbol}, in half-learning times of the slowest mode`
        : `time ${symbol}, in units of *τ*`;
      curves.draw({
        x: {range: range.map((v) => v / unit), log: values.log, label},
        y: {range: [0, most * 1.06], label: "strength *u* of the mode"},
        rules: modes.map((mode) => ({x: mode.half / unit, color: mode.color, width: 1})),
        lines: modes.map((mode) => ({
          // A few more points around the passage, which may be steep.
          ...withPassage(t, mode, u0, depth, unit), color: mode.color, label: `${mode.name} = ${dln.number(mode.s)}`})),
        points: modes.map((mode) => ({x: mode.half / unit, y: mode.s / 2, color: mode.color})),
        alt: `Learning curves. ${modes.map((mode) => `The mode with s = ${dln.plain(dln.number(mode.s))} starts at `
          + `${dln.plain(power(values.u0))} and has learned half at time ${dln.plain(dln.number(mode.half / unit))}`).join(". ")}.`,
      });

      const s = dln.geomspace(0.25, 5, 80);
      const all = s.map((v) => dln.modes.halfTime(v, u0, depth) / unit);
      const [low, high] = [Math.min(...all), Math.max(...all)];
      learning.draw({
        x: {range: [0.23, 5.4], log: true, label: "singular value *s*"},
        y: {range: [low / 1.6, high * 1.6], log: true, label: values.slowest ? "half-learning time" : `half-learning time ${symbol}`},
        lines: [{x: s, y: all, theory: true}],
        points: modes.map((mode) => ({x: mode.s, y: mode.half / unit, color: mode.color, radius: 6})),
        texts: numbers(modes, unit),
        alt: `Time to learn half of a mode against its singular value, both axes logarithmic: it falls from ${
          dln.plain(dln.number(all[0]))} at 0.25 to ${dln.plain(dln.number(all[all.length - 1]))} at 5.`,
      });

      ui.headline(sentence(modes, u0, depth));
    },
  });

  /** The times beside their dots: above the curve, below it for a close neighbour, once for equal modes. */
  const numbers = (modes, unit) => {
    const places = [{dx: 6, dy: -10, anchor: "start"}, {dx: -6, dy: 17, anchor: "end"}, {dx: 12, dy: 5, anchor: "start"}];
    let crowd = 0;
    return modes.flatMap((mode, i) => {
      if (i && mode.s === modes[i - 1].s) return [];
      crowd = i && mode.s < 1.35 * modes[i - 1].s ? crowd + 1 : 0;
      const place = mode.s > 3.2 && crowd !== 1 ? {dx: 8, dy: -11, anchor: "end"} : places[crowd];     // there the plot ends
      return [{x: mode.s, y: mode.half / unit, text: dln.number(mode.half / unit), ...place}];
    });
  };

  const withPassage = (t, mode, u0, depth, unit) => {
    const near = dln.linspace(0.02, 0.98, 49).filter((x) => x * mode.s > u0).map((x) => dln.modes.time(x * mode.s, mode.s, u0, depth));
    const all = [...t, ...near].sort((a, b) => a - b);
    return {x: all.map((v) => v / unit), y: all.map((v) => dln.modes.strength(v, mode.s, u0, depth))};
  };

  /** The headline: how far apart the strongest and the weakest mode are learned. */
  const sentence = (modes, u0, depth) => {
    const [weak, strong] = [modes[0], modes[2]];
    const name = (mode) => `the mode with *s* = ${dln.number(mode.s)}`;
    if (weak.s === strong.s) return "All three modes have the same singular value, so they are learned together.";
    const ratio = weak.half / strong.half;
    const moment = dln.modes.strength(strong.half, weak.s, u0, depth) / weak.s;
    const then = `At that moment the weaker one has learned ${moment < 1e-3 ? "less than 0.1" : dln.number(100 * moment, 2)} % of itself.`;
    if (ratio < 1.02) {
      return `With ${depth === 1 ? "a single matrix" : "this start"} all modes are half learned at nearly the same time: `
        + `${name(strong)} and ${name(weak)} differ by a factor ${dln.number(ratio, 4)}.`;
    }
    return `T${name(strong).slice(1)} is learned ${times(ratio)} earlier than ${name(weak)}. ${then}`;
  };
})();

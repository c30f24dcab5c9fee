// The explorer that trains a network in the page: strengths of its modes over the theory, loss, map, and the tree it learns.
(() => {
  "use strict";

  const live = dln.live;
  const RECORDS = 180;                                     // points of a curve; beyond, every other is dropped
  const BUDGET = 3;                                        // milliseconds of training in one frame
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const times = [...Array(live.SIZE).keys()];
  const power = (v) => `10^{${dln.number(v)}}`;
  const percent = (v) => `${Math.round(100 * v)} %`;
  const rounded = (v, digits) => dln.plain(dln.number(Number(v.toFixed(digits))));
  const plots = {};
  let training = null;                                     // network, records and theory of one run
  let playing = false;
  let buttons;
  let resting = 0;

  // --- one run -------------------------------------------------------------------------------------------------------

  const keyOf = ({speed, picture, ...rest}) => JSON.stringify(rest);      // what a new run is needed for

  const begin = (values) => {
    const {task, depth, u0, rate, tanh, random, draw} = values;
    const network = live.start({task, depth, u0: 10 ** u0, rate, tanh, random, draw});
    const {s} = network.task;
    const end = 1.15 * Math.max(...s.map((v) => dln.modes.time(0.98 * v, v, network.u0, depth)));
    training = {key: keyOf(values), network, random, records: [], every: 1, first: end, done: false, stopped: false,
                limit: live.stableRate(s[0], depth), colors: dln.sequential(network.task.levels.length).reverse()};
    extend(end);
    record();
  };

  /** The theory up to a time, with a few more points in every passage, which may be steep. */
  const extend = (end) => {
    const {task: {s, level}, u0, depth} = training.network;
    training.end = end;
    training.theory = s.map((v, k) => {
      if (k && level[k] === level[k - 1]) return null;     // the same curve again
      const passage = dln.linspace(0.03, 0.97, 33).filter((x) => x * v > u0).map((x) => dln.modes.time(x * v, v, u0, depth));
      const x = [...dln.linspace(0, end, 90), ...passage].sort((a, b) => a - b);
      return {x, y: x.map((t) => dln.modes.strength(t, v, u0, depth))};
    });
  };

  const record = () => {
    const {network, records} = training;
    const seen = live.look(network);
    records.push({t: network.steps * network.rate, u: seen.u, loss: seen.loss / network.firstLoss,
                  places: network.task.items && live.places(seen, network.task)});
    if (records.length > RECORDS) {
      training.records = records.filter((_, i) => i % 2 === 0);
      training.every *= 2;
    }
    return seen;
  };

  /** Train so many steps, or fewer where time is short. */
  const advance = (steps, budget) => {
    const {network} = training;
    const began = performance.now();
    for (let i = 0; i < steps && !over() && (i === 0 || performance.now() - began < budget); i++) {
      live.step(network);
      if (network.steps % training.every === 0) {
        const {u} = record();
        training.done = u.every((v, k) => Math.abs(v - network.task.s[k]) < 0.01 * network.task.s[k]);
      }
      const t = network.steps * network.rate;
      if (t > 10 * training.first) training.stopped = true;
      if (t > training.end) extend(1.4 * training.end);
    }
  };
  const over = () => training.network.diverged || training.done || training.stopped;

  // --- buttons and keys ----------------------------------------------------------------------------------------------

  const play = (on, ui) => {
    if (on && over()) begin(ui.values);
    if (on && !playing) requestAnimationFrame((now) => frame(now, ui));
    playing = on;
    buttons.play.textContent = on ? "Pause" : "Play";
    if (!on) settle(ui);
  };

  /** A screen reader hears the headline once the training rests. */
  const settle = (ui) => {
    clearTimeout(resting);
    resting = setTimeout(() => { if (!playing) ui.say(); }, 300);
  };

  let shown = -Infinity;
  live.frames = [];                                        // milliseconds that the last frames took
  const frame = (now, ui) => {
    if (!playing) return;
    requestAnimationFrame((next) => frame(next, ui));
    if (calm.matches && now - shown < 700) return;         // a few still pictures in place of a motion
    shown = now;
    const began = performance.now();
    if (calm.matches) advance(40 * ui.values.speed, 10 * BUDGET); else advance(ui.values.speed, BUDGET);
    show(ui);
    live.frames = [...live.frames.slice(-199), performance.now() - began];
    if (over()) play(false, ui);
  };

  const steps = (n, ui) => {
    if (playing) play(false, ui);
    advance(n, Infinity);
    show(ui);
    settle(ui);
  };

  const restart = (ui) => { begin(ui.values); show(ui); settle(ui); };

  const bar = (ui) => {
    const button = (words, act) => {
      const node = dln.element("button", {type: "button", class: "dln-act"}, words);
      node.addEventListener("click", act);
      return node;
    };
    buttons = {play: button("Play", () => play(!playing, ui)), step: button("Step", () => steps(1, ui)),
               many: button("100 steps", () => steps(100, ui)), restart: button("Restart", () => restart(ui))};
    ui.stage.prepend(dln.element("div", {class: "dln-acts"}, ...Object.values(buttons)));
    Object.entries({tabindex: "0", role: "group",
                    "aria-label": "Training: space plays and pauses, the right arrow key makes a step"}).forEach(([key, value]) => ui.stage.setAttribute(key, value));
    ui.stage.addEventListener("keydown", (event) => {
      if (event.target !== ui.stage || event.altKey || event.ctrlKey || event.metaKey) return;
      if (event.key === " " && !event.repeat) play(!playing, ui);
      else if (event.key === "ArrowRight") steps(event.shiftKey ? 100 : 1, ui);
      if (event.key === " " || event.key === "ArrowRight") event.preventDefault();
    });
  };

  // --- pictures ------------------------------------------------------------------------------------------------------

  const framed = (parent, height) => {
    const box = dln.element("div");
    const title = dln.element("p", {class: "dln-plot-title"});
    box.append(title);
    parent.append(box);
    return {...dln.plot(box, {height}), box, title};
  };

  dln.explorer("live", {
    controls: [
      {type: "select", name: "task", label: "Task", value: "tree",
       options: [["tree", "family tree of eight items"], ["map", "random map, white inputs"]]},
      {type: "group", label: "Network", controls: [
        {type: "switch", name: "tanh", label: "tanh hidden units", value: false},
        {type: "slider", name: "depth", label: "weight matrices *L*", min: 2, max: 5, step: 1, value: 2},
        {type: "switch", name: "random", label: "random start (off: on the modes)", value: false},
        {type: "slider", name: "u0", label: "initial strength *u*_{0}", min: -5, max: 0, step: 0.5, value: -3, format: power,
         speak: (v) => `ten to the power ${v}`},
        {type: "slider", name: "draw", label: "random draw", min: 1, max: 12, step: 1, value: 1}]},
      {type: "group", label: "Training", controls: [
        {type: "slider", name: "rate", label: "learning rate *η*", value: 0.002,
         values: [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.07, 0.1, 0.2]},
        {type: "slider", name: "speed", label: "steps a frame", values: [1, 2, 5, 10, 20, 50, 100], value: 1}]},
      {type: "select", name: "picture", label: "Heat map", value: "map",
       options: [["map", "map between modes"], ["cosine", "alignment of modes"]]},
    ],

    setup(ui) {
      bar(ui);
      plots.strengths = dln.plot(ui.stage, {height: 260});
      plots.loss = dln.plot(ui.stage, {height: 122});
      const pair = dln.element("div", {class: "dln-pair"});
      ui.stage.append(pair);
      plots.heat = framed(pair, 270);
      plots.bar = dln.element("div");
      plots.heat.box.append(plots.bar);
      plots.tree = framed(pair, 270);
      plots.tree.title.textContent = "The tree, read out of the answers";
    },

    update(values, ui) {
      if (!training || training.key !== keyOf(values)) begin(values);
      const {picture} = values;
      plots.heat.title.textContent = picture === "map" ? "The map in the basis of the modes" : "Alignment in the last hidden layer";
      const most = picture === "map" ? dln.number(training.network.task.s[0], 3) : "1";
      plots.bar.replaceChildren();
      dln.colorbar(plots.bar, {label: picture === "map" ? "strength" : "cosine", low: `−${most}`, high: most,
                               shade: (v) => dln.signed(2 * v - 1)});
      show(ui);
    },
  });

  const show = (ui) => {
    const {network, records, theory, end, colors} = training;
    const {task, steps: n} = network;
    const seen = live.look(network);
    const now = {t: n * network.rate, u: seen.u, loss: seen.loss / network.firstLoss,
                 places: task.items && live.places(seen, task)};
    const all = [...records, now];
    const t = all.map((r) => r.t);
    const axis = {range: [0, end], label: "time *t*, learning rate times steps"};
    // Above 1 where the rate is too large.
    const top = Math.max(...all.flatMap((r) => r.u).filter(Number.isFinite)) / task.s[0];
    const said = task.levels.map((name, i) => `${name} ${percent(shareOf(now.u, i))}`).join(", ");
    plots.strengths.draw({
      x: {...axis, label: "time *t*"}, left: 52, right: 68,
      y: {range: [0, Math.max(1.08, Math.min(1.05 * top, 1.6)) * task.s[0]], label: "strength *u*"},
      lines: [...times.map((k) => ({x: t, y: all.map((r) => r.u[k]), color: colors[task.level[k]], width: 2.6})),
              ...times.filter((k) => theory[k]).map((k) => ({...theory[k], theory: true, label: task.levels[task.level[k]]}))],
      points: times.map((k) => ({x: now.t, y: now.u[k], color: colors[task.level[k]], radius: 3.5})),
      alt: `Strengths of the modes at time ${dln.plain(dln.number(now.t))}, as shares of their targets: ${said}. `
        + "Dashed: the theory.",
    });
    const curve = dln.linspace(0, end, 120);
    training.lossCurve = training.lossCurve && training.lossCurve.end === end ? training.lossCurve : {end, x: curve,
      y: curve.map((v) => task.s.reduce((sum, s) => sum + (s - dln.modes.strength(v, s, network.u0, network.depth)) ** 2, 0)
        / 2 / network.firstLoss)};
    plots.loss.draw({
      x: axis, left: 52, right: 68, y: {range: [0, 1.08], ticks: [0, 0.5, 1], label: "loss"},
      lines: [{x: t, y: all.map((r) => r.loss), color: dln.colors.vermilion}, {...training.lossCurve, theory: true}],
      alt: `Loss over time, as a share of the first one: now ${dln.plain(dln.number(now.loss, 2))}. Dashed: the theory.`,
    });
    heat(ui.values.picture, seen, task);
    plots.tree.box.hidden = !task.items;
    if (task.items) tree(t, all, now, axis);
    ui.headline(sentence(now, seen));
  };

  const heat = (picture, seen, task) => {
    const matrix = picture === "map" ? seen.modes : seen.cosines;
    const scale = picture === "map" ? task.s[0] : 1;
    const shade = (v) => (Number.isFinite(v) ? dln.signed(v / scale) : "#e4e6e9");
    const ticks = times.map((k) => k + 1);
    const strongest = Math.max(0, ...times.flatMap((i) => times.map((j) => (i === j ? 0 : Math.abs(live.at(matrix, i, j))))));
    plots.heat.draw({
      x: {range: [0.5, 8.5], ticks, label: picture === "map" ? "mode of the input" : "mode that is sent"},
      y: {range: [8.5, 0.5], ticks, label: picture === "map" ? "mode of the answer" : "mode that is read"},
      grid: false,
      cells: times.flatMap((i) => times.map((j) => (
        {x: [j + 0.5, j + 1.5], y: [i + 1.5, i + 0.5], color: shade(live.at(matrix, i, j))}))),
      alt: `${picture === "map" ? "Map between modes" : "Cosines between modes"}. On the diagonal: ${
        times.map((k) => rounded(live.at(matrix, k, k), 2)).join(", ")}; elsewhere at most ${rounded(strongest, 2)}.`,
    });
  };

  const tree = (t, all, now, axis) => {
    const {task: {items}} = training.network;
    plots.tree.draw({
      x: {...axis, label: "time *t*"}, right: 48, y: {range: [4.1, -4.1], ticks: [0], format: () => "", label: "place"}, grid: false,
      lines: items.map((_, i) => ({x: t, y: all.map((r) => r.places[i]), width: 2,
                                   color: i < 4 ? dln.colors.green : dln.colors.blue})),
      texts: [...items.map((name, i) => ({x: axis.range[1], y: i - 3.5, text: name, anchor: "start", dx: 6, dy: 4})),
              {x: 0, y: -3, text: "plants", anchor: "start", dx: 8}, {x: 0, y: 3, text: "animals", anchor: "start", dx: 8, dy: 8}],
      alt: `Eight items on a line, read out of the answers: ${items.map((name, i) => `${name} ${
        rounded(now.places[i], 1)}`).join(", ")}. Where the tree is learned they stand one apart.`,
    });
  };

  // --- words ---------------------------------------------------------------------------------------------------------

  /** How much of a level of the task is learned: the mean share of its modes. */
  const shareOf = (u, i) => {
    const {level, s} = training.network.task;
    const mine = times.filter((k) => level[k] === i);
    return mine.reduce((sum, k) => sum + u[k] / s[k], 0) / mine.length;
  };

  const sentence = (now, seen) => {
    const {network, limit, random, records} = training;
    const {task, tanh, rate, depth, u0, steps: n} = network;
    const high = rate > limit;
    const bound = `Above the rate ${dln.number(limit, 2)} ${tanh ? "a linear network's" : "the"} strongest mode cannot come to rest.`;
    const moment = `Step ${n}, *t* = ${dln.number(now.t, 3)}. `;
    if (network.diverged) return `**Diverged** at step ${n}. ${bound}`;
    if (n === 0) {
      const half = (k) => dln.number(dln.modes.halfTime(task.s[k], u0, depth), 2);
      return `${high ? `**Too fast.** ${bound} ` : ""}Press *Play*. The theory expects half of ${
        task.items ? "the *common* part (what all items share)" : "mode 1"} at *t* = ${half(0)} and half of ${
        task.items ? "the *species*" : "mode 8"} at ${half(7)}.`;
    }
    if (training.done) {
      const miss = Math.max(...records.map((r) => Math.max(...times.map((k) =>
        Math.abs(r.u[k] - dln.modes.strength(r.t, task.s[k], u0, depth)))))) / task.s[0];
      return `**Learned** in ${n} steps: every mode is within 1 % of its target. On the way it was at most ${
        dln.number(100 * miss, 2)} % of *s*_{1} away from the theory.`;
    }
    if (training.stopped) return `${moment}**No rest:** the loss is still ${percent(now.loss)} of the first. ${high ? bound : ""}`;
    const shares = task.levels.map((name, i) => ({name, share: shareOf(now.u, i)}));
    const known = shares.filter(({share}) => Math.abs(share - 1) < 0.05).map(({name}) => name);
    const moving = shares.filter(({share}) => share >= 0.05 && Math.abs(share - 1) >= 0.05)
      .map(({name, share}) => `${name} ${percent(share)}`);
    const learned = known.length > 3 && !task.items ? `${known.length} of 8 modes` : known.join(", ") || "nothing yet";
    const aligned = times.reduce((sum, k) => sum + live.at(seen.cosines, k, k), 0) / live.SIZE;
    return `${moment}Learned: ${learned}.${moving.length ? ` On the way: ${moving.join(", ")}.` : ""}${
      random ? ` Alignment ${dln.number(aligned, 2)}.` : ""}${tanh ? ` Largest hidden activity ${dln.number(seen.busiest, 2)}.` : ""}${
      high ? ` **Too fast.** ${bound}` : ""}`;
  };
})();

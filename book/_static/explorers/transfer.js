// The explorer of transfer: loss against learning rate for several widths, and the best rate against width, from a table.
(() => {
  "use strict";

  const table = dln.data.transfer;
  const model = dln.transfer;
  const last = table.width.length - 1;
  const fractions = {0.25: "1/4", 0.5: "1/2", infinite: "∞"};
  const shown = (value) => fractions[value] || dln.number(value);
  const widthWords = (value) => (value === "infinite" ? "infinite width" : `*ν* = ${shown(value)}`);
  const dataWords = ({n_samples, batch_size}) => (n_samples ? `${n_samples}, the same at every step`
    : `${batch_size}, fresh at every step`);
  const colors = dln.sequential(table.width.length);
  let curves;
  let optima;

  /** Every width's losses and best rate at one scaling. */
  const family = (values, scaling) => {
    const rates = model.rates(table, values.depth);
    return table.width.map((name, width) => {
      const losses = model.curve(table, {scaling, gamma: 2 ** values.gamma, depth: values.depth, data: Number(values.data),
                                         width, train: values.train});
      return {name, color: colors[width], losses, ...model.best(rates, losses)};
    });
  };

  const key = () => {
    const list = dln.element("p", {class: "dln-key"}, "Width ");
    list.append(dln.element("i", {}, "ν"), ", neurons per input:");
    table.width.forEach((value, i) => {
      const swatch = dln.element("span", {class: "dln-swatch", "aria-hidden": "true"});
      swatch.style.background = colors[i];
      list.append(dln.element("span", {class: "dln-key-item"}, swatch, shown(value)));
    });
    return list;
  };

  const title = (words) => {
    const node = dln.element("p", {class: "dln-plot-title"});
    dln.write(node, words);
    return node;
  };

  dln.explorer("transfer", {
    controls: [
      {type: "switch", name: "ntk", label: "NTK scaling (off: µP)", value: false},
      {type: "slider", name: "gamma", label: "richness *γ*", min: Math.log2(table.gamma[0]),
       max: Math.log2(table.gamma[table.gamma.length - 1]), step: 1, value: 2, format: (v) => shown(2 ** v)},
      {type: "slider", name: "depth", label: "hidden layers *L*", min: table.n_hidden[0],
       max: table.n_hidden[table.n_hidden.length - 1], step: 1, value: 2},
      {type: "select", name: "data", label: "samples per input", value: "1",
       options: table.data.map((kind, i) => [String(i), dataWords(kind)])},
      {type: "switch", name: "train", label: "train loss (off: test loss)", value: false},
    ],

    setup(ui) {
      ui.stage.append(key());
      curves = dln.plot(ui.stage, {height: 330});
      ui.stage.append(title("Best learning rate against width"));
      optima = dln.plot(ui.stage, {height: 210});
    },

    update(values, ui) {
      const both = {"µP": family(values, "µP"), NTK: family(values, "NTK")};
      const [here, other] = values.ntk ? ["NTK", "µP"] : ["µP", "NTK"];
      const lines = both[here];
      const rates = model.rates(table, values.depth);
      const loss = values.train ? "train loss" : "test loss";

      // Axes that serve both scalings, so that the switch moves the curves alone.
      const all = [...both["µP"], ...both.NTK];
      const range = [Math.min(...all.map((line) => line.losses[line.index])) / 2, Math.max(...all.map((line) => line.losses[0])) * 2];
      const rateRange = [rates[0] * 0.93, rates[rates.length - 1] * 1.07];
      curves.draw({
        x: {range: rateRange, log: true, label: "learning rate *η*"},
        y: {range, log: true, label: `${loss} after ${table.n_updates} steps`},
        lines: lines.flatMap(({losses, color, index}) => [
          {x: rates.slice(0, index + 1), y: losses.slice(0, index + 1), color},
          // Beyond the valley: thin, and out of the plot where training diverged.
          {x: rates.slice(index), y: losses.slice(index).map((v) => (v === null ? 1e300 : v)), color, width: 1, opacity: 0.65}]),
        points: lines.map(({rate, losses, color}) => ({x: rate, y: model.lossAt(rates, losses, rate), color, radius: 5.5})),
        alt: `${loss} after ${table.n_updates} steps against learning rate in ${here}, one curve for each width. The lowest `
          + `points lie at ${lines.map(({rate, name}) => `${dln.number(rate, 2)} for ${dln.plain(widthWords(name))}`).join(", ")}.`,
      });

      const places = table.width.map((_, i) => i);
      const row = (name) => both[name].map(({rate}) => rate);
      const optimal = [...row("µP"), ...row("NTK")];
      const style = (name) => (name === here ? {color: dln.colors.ink, width: 1.6} : {color: dln.colors.grey, width: 1.3, dashed: true});
      optima.draw({
        x: {range: [-0.3, last + 0.3], ticks: places, format: (i) => shown(table.width[i]), label: "width *ν*, neurons per input"},
        y: {range: [Math.min(...optimal) / 1.4, Math.max(...optimal) * 1.4], log: true, label: "best rate *η*^{⋆}"},
        lines: [other, here].map((name) => ({x: places, y: row(name), label: `\u2002${name}`, ...style(name)})),
        points: [...row(other).map((rate, i) => ({x: i, y: rate, color: dln.colors.grey, hollow: true, radius: 3})),
                 ...lines.map(({rate, color}, i) => ({x: i, y: rate, color, radius: 6}))],
        alt: `Best learning rate against width, ${here} and, dashed, ${other}: ${table.width.map((name, i) =>
          `${dln.plain(widthWords(name))}, ${dln.number(row(here)[i], 2)} and ${dln.number(row(other)[i], 2)}`).join("; ")}.`,
      });
      ui.headline(sentence(here, lines));
    },
  });

  /** How far the best rate moves, in words. The table resolves about a fifth of an octave. */
  const sentence = (name, lines) => {
    const moves = (from) => {
      const shift = model.octaves(lines[from].rate, lines[last].rate);
      const size = Math.abs(shift).toFixed(1);
      if (Math.abs(shift) < 0.2) return "stays where it is, within the resolution of the table";
      return `moves ${shift > 0 ? "up" : "down"} by ${size} octave${size === "1.0" ? "" : "s"}, a factor ${
        dln.number(2 ** Math.abs(shift), 2)}`;
    };
    const one = table.width.indexOf(1);
    return `${name}: from *ν* = ${shown(table.width[0])} to ${widthWords(table.width[last])} the best learning rate ${moves(0)}. `
      + `From *ν* = 1 on it ${moves(one)}.`;
  };
})();

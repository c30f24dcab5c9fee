// A small plot in SVG for the explorers: axes, lines, points, areas, cells of a heat map, labels at the curves.
// No library. Everything hangs on one global object, dln, because pages opened from the file system cannot load modules.
//
//   const plot = dln.plot(parent, {height: 280});
//   plot.draw({x: {range: [0, 5], label: "time *t*"}, y: {range: [1e-3, 1], log: true, label: "*u*"},
//              lines: [{x: [...], y: [...], color: dln.colors.blue, label: "*s* = 3"}], alt: "what is seen, in words"});
//
// Text may hold *italics*, **bold**, ^{superscripts} and _{subscripts}.
window.dln = window.dln || {};

(() => {
  "use strict";

  // The palette of Okabe and Ito, as in dlnutils.plotting.
  dln.colors = {blue: "#0072B2", orange: "#E69F00", green: "#009E73", vermilion: "#D55E00", sky: "#56B4E9",
                purple: "#CC79A7", yellow: "#F0E442", black: "#000000", ink: "#1a1a1a", grey: "#5a6068"};

  // Viridis at 17 even steps; between them colours are interpolated.
  const VIRIDIS = ["440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c", "1fa088",
                   "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725"];

  // Blue, white, red for quantities with a sign.
  const SIGNED = ["2166ac", "67a9cf", "f7f7f7", "ef8a62", "b2182b"];

  const ramp = (stops) => (fraction) => {
    const at = Math.min(Math.max(fraction, 0), 1) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const mix = [0, 2, 4].map((i) => {
      const [a, b] = [low, low + 1].map((k) => parseInt(stops[k].slice(i, i + 2), 16));
      return Math.round(a + (b - a) * (at - low));
    });
    return `rgb(${mix.join(",")})`;
  };

  /** Colour of viridis at a fraction from 0 (dark) to 1 (light). */
  dln.viridis = ramp(VIRIDIS);

  /** Colour of a value from -1 (blue) over 0 (white) to 1 (red). */
  dln.signed = (value) => ramp(SIGNED)((value + 1) / 2);

  /** n colours for an ordered quantity, light (small) to dark (large), as dlnutils.plotting.sequential. */
  dln.sequential = (n, low = 0.12, high = 0.95) =>
    Array.from({length: n}, (_, i) => dln.viridis(1 - (low + (high - low) * (n > 1 ? i / (n - 1) : 0))));

  /** n numbers from a to b, evenly spaced. */
  dln.linspace = (a, b, n) => Array.from({length: n}, (_, i) => a + (b - a) * i / (n - 1));

  /** n numbers from a to b, evenly spaced in their logarithm. */
  dln.geomspace = (a, b, n) => dln.linspace(Math.log(a), Math.log(b), n).map(Math.exp);

  // --- text ---------------------------------------------------------------------------------------------------------

  const SUPERSCRIPTS = {"-": "⁻", "−": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹"};

  /** Marked-up text as pieces {text, style}; style is "", "i", "b", "sup" or "sub". */
  const pieces = (marked) => {
    const found = [];
    String(marked).split(/(\*\*[^*]+\*\*|\*[^*]+\*|\^\{[^}]*\}|_\{[^}]*\})/).forEach((part) => {
      if (!part) return;
      if (part.startsWith("**") && part.length > 4) found.push({text: part.slice(2, -2), style: "b"});
      else if (part[0] === "*" && part.length > 2) found.push({text: part.slice(1, -1), style: "i"});
      else if (part.startsWith("^{")) found.push({text: part.slice(2, -1), style: "sup"});
      else if (part.startsWith("_{")) found.push({text: part.slice(2, -1), style: "sub"});
      else found.push({text: part, style: ""});
    });
    return found;
  };

  /** Marked-up text without its marks, for screen readers and for measuring. */
  dln.plain = (marked) => pieces(marked).map(({text, style}) =>
    style === "sup" ? [...text].map((c) => SUPERSCRIPTS[c] || c).join("") : text).join("");

  /** Replace the content of an HTML element by marked-up text. */
  dln.write = (element, marked) => {
    element.replaceChildren(...pieces(marked).map(({text, style}) => {
      if (!style) return document.createTextNode(text);
      const node = document.createElement(style);
      node.textContent = text;
      return node;
    }));
  };

  /** A number in at most `digits` significant digits; very large and small ones as a power of ten. */
  dln.number = (value, digits = 3) => {
    if (value === Infinity) return "∞";
    if (!Number.isFinite(value)) return "–";
    if (value === 0) return "0";
    let exponent = Math.floor(Math.log10(Math.abs(value)));
    const rounded = Number(value.toPrecision(digits));
    if (exponent >= -3 && exponent < 5) {
      return String(rounded).replace("-", "−");
    }
    exponent = Number(value.toExponential(digits - 1).split("e")[1]);
    const mantissa = String(Number((value / 10 ** exponent).toPrecision(digits))).replace("-", "−");
    const power = `10^{${String(exponent).replace("-", "−")}}`;
    return mantissa === "1" ? power : `${mantissa}·${power}`;
  };

  // --- scales -------------------------------------------------------------------------------------------------------

  const linearTicks = (low, high, wanted) => {
    const rough = (high - low) / wanted;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
    const ticks = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(Number((k * step).toPrecision(12)));
    return ticks;
  };

  const logTicks = (low, high, wanted) => {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    const every = Math.max(1, Math.ceil((last - first + 1) / wanted));
    const ticks = [];
    for (let k = first; k <= last; k++) if (((k % every) + every) % every === 0) ticks.push(10 ** k);
    if (Math.log10(high / low) < 2.2) {                    // too few decades: add 2 and 5
      for (let k = first - 1; k <= last; k++) [2, 5].forEach((m) => {
        if (m * 10 ** k >= low && m * 10 ** k <= high) ticks.push(m * 10 ** k);
      });
    }
    return ticks.sort((a, b) => a - b);
  };

  /** An axis: the map from values to pixels and back, ticks, and their labels. */
  const scaleOf = (axis, from, to) => {
    const [low, high] = axis.range;
    const f = axis.log ? Math.log10 : (v) => v;
    const [a, b] = [f(low), f(high)];
    const wanted = axis.ticks || Math.max(3, Math.round(Math.abs(to - from) / (to < from ? 42 : axis.log ? 55 : 70)));
    const ticks = Array.isArray(axis.ticks) ? axis.ticks : (axis.log ? logTicks : linearTicks)(low, high, wanted);
    const plainPowers = axis.log && low >= 1e-3 && high <= 1e4;
    const name = axis.format || ((v) => {
      if (!axis.log || plainPowers || Math.abs(Math.log10(v) - Math.round(Math.log10(v))) > 1e-6) return dln.number(v);
      const k = Math.round(Math.log10(v));
      return k === 0 ? "1" : k === 1 ? "10" : `10^{${String(k).replace("-", "−")}}`;
    });
    const scale = (v) => {
      const at = axis.log && !(v > 0) ? -Infinity : f(v);
      return Math.min(Math.max(from + (at - a) / (b - a) * (to - from), -1e4), 1e4);    // far outside is far enough
    };
    return {scale, ticks, name, invert: (p) => {
      const at = a + (p - from) / (to - from) * (b - a);
      return axis.log ? 10 ** at : at;
    }};
  };

  // --- SVG ----------------------------------------------------------------------------------------------------------

  const svg = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    Object.entries(attributes).forEach(([key, value]) => { if (value !== undefined) node.setAttribute(key, value); });
    node.append(...children);
    return node;
  };

  /** Make the children of an element equal to `wanted` and leave those alone that are: cheap where little has changed. */
  const patch = (parent, wanted) => {
    const present = [...parent.childNodes];
    present.slice(wanted.length).forEach((node) => node.remove());
    wanted.forEach((node, i) => {
      const old = present[i];
      if (!old) parent.append(node);
      else if (old.nodeName !== node.nodeName) old.replaceWith(node);
      else if (node.nodeType === Node.TEXT_NODE) {
        if (old.data !== node.data) old.data = node.data;
      } else {
        for (const {name, value} of node.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
        if (old.attributes.length > node.attributes.length) {
          [...old.attributes].forEach(({name}) => { if (!node.hasAttribute(name)) old.removeAttribute(name); });
        }
        if (old.firstChild || node.firstChild) patch(old, [...node.childNodes]);
      }
    });
  };

  /** Marked-up text as an SVG element; raised and lowered pieces are shifted and shifted back. */
  const svgText = (marked, attributes) => {
    const node = svg("text", attributes);
    let lowered = 0;
    pieces(marked).forEach(({text, style}) => {
      const shift = style === "sup" ? -4 : style === "sub" ? 3 : 0;
      const piece = svg("tspan", {dy: shift - lowered || undefined});
      if (shift) piece.setAttribute("font-size", "9");
      if (style === "i") piece.setAttribute("font-style", "italic");
      if (style === "b") piece.setAttribute("font-weight", "bold");
      lowered = shift;
      piece.textContent = text;
      node.append(piece);
    });
    return node;
  };

  const widthOf = (marked) => pieces(marked).reduce((sum, {text, style}) =>
    sum + text.length * (style === "sup" || style === "sub" ? 5.4 : 6.6), 0);

  /** Move sorted positions apart until neighbours are at least `gap` from each other, within [low, high]. */
  const spread = (wanted, gap, low, high) => {
    const order = wanted.map((_, i) => i).sort((i, j) => wanted[i] - wanted[j]);
    const at = order.map((i) => Math.min(Math.max(wanted[i], low), high));
    for (let i = 1; i < at.length; i++) at[i] = Math.max(at[i], at[i - 1] + gap);
    if (at.length && at[at.length - 1] > high) {
      at[at.length - 1] = high;
      for (let i = at.length - 2; i >= 0; i--) at[i] = Math.min(at[i], at[i + 1] - gap);
    }
    const out = [];
    order.forEach((i, k) => { out[i] = at[k]; });
    return out;
  };

  /** A bar that explains the colours of viridis: dark at the left, light at the right, or the other way round; or of a `shade`. */
  dln.colorbar = (parent, {label, low, high, reversed = false, shade = dln.viridis}) => {
    const bar = document.createElement("div");
    bar.className = "dln-colorbar";
    const shades = dln.linspace(0, 1, 9).map((v) => shade(reversed ? 1 - v : v)).join(",");
    [["span", label], ["span", low], ["i", ""], ["span", high]].forEach(([tag, text]) => {
      const part = document.createElement(tag);
      dln.write(part, text);
      if (tag === "i") part.style.background = `linear-gradient(to right, ${shades})`;
      bar.append(part);
    });
    parent.append(bar);
  };

  let counter = 0;

  /**
   * A plot inside `parent`. Options: height in pixels.
   *
   * draw(spec) takes x and y = {range, label, log, ticks, format} and any of
   *   cells: [{x: [left, right], y: [bottom, top], color}]
   *   areas: [{x, y, color, opacity}]                       a filled polygon
   *   lines: [{x, y, color, width, dashed, theory, opacity, label}]    the label stands at the right end;
   *                                                        theory: dashed, dark and on top
   *   rules: [{x or y, color, dashed, label, anchor, below}]       a line across the whole plot, its label above or below it
   *   points: [{x, y, color, radius, hollow, cross}]
   *   texts: [{x, y, text, anchor, color, dx, dy, halo, bright, rotate}]     bright: white on a dark edge, for dark cells
   *   left, right: the least room there, so that plots above each other line up
   *   alt: what is seen, in words (read by screen readers).
   */
  dln.plot = (parent, {height = 280} = {}) => {
    const box = document.createElement("div");
    box.className = "dln-plot";
    const drawing = svg("svg", {role: "img", focusable: "false"});
    box.append(drawing);
    parent.append(box);
    const clip = `dln-clip-${counter += 1}`;
    let spec = null;
    let axes = null;
    let onLayout = null;
    let width = 0;

    /** Asking for a width makes the browser lay out the page, so it is asked once and whenever the box changes. */
    const measure = () => Math.max(240, Math.floor(box.clientWidth - 2 * parseFloat(getComputedStyle(box).paddingLeft || 0)));

    const render = () => {
      const lines = spec.lines || [];
      const labelled = lines.filter((line) => line.label);
      const right = Math.max(14, spec.right || 0, ...labelled.map((line) => widthOf(line.label) + 12));
      let y = scaleOf(spec.y, height - 44, 12);
      const left = Math.max(26 + Math.max(...y.ticks.map((v) => widthOf(y.name(v)))) + 4, spec.left || 0);
      const area = {left, right: width - right, top: 12, bottom: height - 44};
      const x = scaleOf(spec.x, area.left, area.right);
      axes = {x, y, area};

      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      drawing.setAttribute("width", width);
      drawing.setAttribute("height", height);
      drawing.setAttribute("aria-label", dln.plain(spec.alt || ""));
      const inside = svg("g", {"clip-path": `url(#${clip})`});
      const outside = svg("g");
      const polygon = (xs, ys) => xs.map((v, i) => `${x.scale(v).toFixed(2)},${y.scale(ys[i]).toFixed(2)}`).join(" ");

      (spec.cells || []).forEach((cell) => {
        const [x0, x1, y0, y1] = [x.scale(cell.x[0]), x.scale(cell.x[1]), y.scale(cell.y[0]), y.scale(cell.y[1])];
        // A little overlap, or hairlines of the background show between neighbours.
        inside.append(svg("rect", {x: Math.min(x0, x1), y: Math.min(y0, y1), width: Math.abs(x1 - x0) + 0.6,
                                   height: Math.abs(y1 - y0) + 0.6, fill: cell.color, "shape-rendering": "crispEdges"}));
      });
      (spec.areas || []).forEach((part) => inside.append(
        svg("polygon", {points: polygon(part.x, part.y), fill: part.color, "fill-opacity": part.opacity || 1})));

      const grid = svg("g", {class: "dln-grid"});
      x.ticks.forEach((v) => {
        const at = x.scale(v);
        if (spec.grid !== false) grid.append(svg("line", {x1: at, x2: at, y1: area.top, y2: area.bottom}));
        outside.append(svgText(x.name(v), {x: at, y: area.bottom + 17, "text-anchor": "middle"}));
      });
      y.ticks.forEach((v) => {
        const at = y.scale(v);
        if (spec.grid !== false) grid.append(svg("line", {x1: area.left, x2: area.right, y1: at, y2: at}));
        outside.append(svgText(y.name(v), {x: area.left - 6, y: at + 4, "text-anchor": "end"}));
      });
      outside.append(
        svg("path", {class: "dln-axis", d: `M${area.left},${area.top}V${area.bottom}H${area.right}`}),
        svgText(spec.x.label || "", {x: (area.left + area.right) / 2, y: height - 7, "text-anchor": "middle",
                                     class: "dln-axis-label"}),
        svgText(spec.y.label || "", {x: 0, y: 0, "text-anchor": "middle", class: "dln-axis-label",
                                     transform: `translate(13,${(area.top + area.bottom) / 2}) rotate(-90)`}));

      (spec.rules || []).forEach((rule) => {
        const at = rule.x !== undefined ? x.scale(rule.x) : y.scale(rule.y);
        const ends = rule.x !== undefined ? {x1: at, x2: at, y1: area.top, y2: area.bottom}
          : {x1: area.left, x2: area.right, y1: at, y2: at};
        inside.append(svg("line", {...ends, stroke: rule.color || dln.colors.ink, "stroke-width": rule.width || 1.2,
                                   "stroke-dasharray": rule.dashed === false ? undefined : "5 3"}));
        if (rule.label && at > -1 && at < Math.max(width, height) && (rule.x !== undefined || (at > area.top && at < area.bottom))) {
          const end = rule.anchor === "end";
          outside.append(svgText(rule.label, rule.x !== undefined
            ? {x: at + (end ? -5 : 5), y: area.top + 11, "text-anchor": end ? "end" : "start", class: "dln-halo"}
            : {x: end ? area.right - 4 : area.left + 6, y: rule.below || at - 5 < area.top + 10 ? at + 14 : at - 5,
               "text-anchor": end ? "end" : "start", class: "dln-halo"}));
        }
      });
      [...lines].sort((a, b) => Boolean(a.theory) - Boolean(b.theory)).forEach((line) => inside.append(svg("polyline", {
        points: polygon(line.x, line.y), fill: "none", stroke: line.theory ? dln.colors.ink : line.color,
        "stroke-width": line.width || (line.theory ? 1.5 : 2.4), "stroke-linejoin": "round",
        "stroke-opacity": line.opacity, "stroke-dasharray": line.dashed || line.theory ? "5 3" : undefined})));
      (spec.points || []).forEach((point) => {
        const [cx, cy] = [x.scale(point.x), y.scale(point.y)];
        const r = point.radius || 4.5;
        if (cx < area.left - 1 || cx > area.right + 1 || cy < area.top - 1 || cy > area.bottom + 1) return;
        outside.append(point.cross
          ? svg("path", {d: `M${cx - r},${cy - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`, fill: "none",
                         stroke: point.color, "stroke-width": 2})
          : svg("circle", {cx, cy, r, fill: point.hollow ? "#fff" : point.color, stroke: point.hollow ? point.color : "#fff",
                           "stroke-width": point.hollow ? 2 : 1.2}));
      });
      const last = labelled.map((line) => {                // where a line leaves the plot, or ends
        let i = line.x.length - 1;
        while (i > 0 && x.scale(line.x[i]) > area.right + 0.5) i -= 1;
        return {at: x.scale(line.x[i]), y: y.scale(line.y[i])};
      });
      const heights = spread(last.map((end) => end.y), 14, area.top + 4, area.bottom - 2);
      labelled.forEach((line, i) => outside.append(
        svgText(line.label, {x: Math.min(last[i].at, area.right) + 6, y: heights[i] + 4, class: "dln-halo"})));
      (spec.texts || []).forEach((item) => {
        const at = [x.scale(item.x) + (item.dx || 0), y.scale(item.y) + (item.dy || 0)];
        outside.append(svgText(item.text, {
          x: at[0], y: at[1], "text-anchor": item.anchor || "middle", style: item.color ? `fill:${item.color}` : undefined,
          class: item.bright ? "dln-bright" : item.halo === false ? undefined : "dln-halo",
          transform: item.rotate ? `rotate(${item.rotate} ${at[0]} ${at[1]})` : undefined}));
      });

      patch(drawing, [
        svg("defs", {}, svg("clipPath", {id: clip}, svg("rect", {x: area.left, y: area.top - 2,
          width: area.right - area.left, height: area.bottom - area.top + 3}))), grid, inside, outside]);
      if (onLayout) onLayout();
    };

    // The text has a constant size, so a new width needs a new drawing.
    new ResizeObserver(() => {
      if (!spec || !box.clientWidth || measure() === width) return;
      width = measure();
      render();
    }).observe(box);

    /**
     * A point that can be moved: by dragging it, by clicking into the plot, and by the arrow keys.
     * `label` names it, step = [in x, in y] is what an arrow key moves, onMove(x, y) receives the new place.
     * Returns place(x, y, words), to be called with every drawing.
     */
    const handle = ({label, step, onMove}) => {
      const knob = document.createElement("div");
      knob.className = "dln-handle";
      Object.entries({role: "slider", tabindex: "0", "aria-label": label}).forEach(([k, v]) => knob.setAttribute(k, v));
      box.append(knob);
      let here = [0, 0];
      const within = (v, [low, high]) => Math.min(Math.max(v, low), high);
      // `here` follows at once: a second key may come before the frame that draws the first.
      const move = (x, y) => {
        here = [within(x, spec.x.range), within(y, spec.y.range)];
        onMove(...here);
      };
      const fromPointer = (event) => {
        const frame = drawing.getBoundingClientRect();
        move(axes.x.invert(event.clientX - frame.left), axes.y.invert(event.clientY - frame.top));
      };
      const inPlot = (event) => {
        const frame = drawing.getBoundingClientRect();
        const [px, py] = [event.clientX - frame.left, event.clientY - frame.top];
        const {area} = axes;
        return px >= area.left && px <= area.right && py >= area.top && py <= area.bottom;
      };
      box.addEventListener("pointerdown", (event) => {
        if (event.button !== 0 || (event.target !== knob && !inPlot(event))) return;
        // A finger on the plot may be about to scroll the page: only the knob itself is dragged by touch.
        if (event.pointerType === "touch" && event.target !== knob) return;
        event.preventDefault();
        knob.focus({preventScroll: true});
        box.setPointerCapture(event.pointerId);
        if (event.target !== knob) fromPointer(event);
      });
      box.addEventListener("pointermove", (event) => {
        if (box.hasPointerCapture(event.pointerId)) fromPointer(event);
      });
      box.addEventListener("click", (event) => {
        if (event.target !== knob && inPlot(event)) fromPointer(event);
      });
      knob.addEventListener("keydown", (event) => {
        const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1]};
        if (!moves[event.key]) return;
        event.preventDefault();
        const size = event.shiftKey ? 5 : 1;
        move(here[0] + moves[event.key][0] * step[0] * size, here[1] + moves[event.key][1] * step[1] * size);
      });
      const settle = () => {
        knob.style.left = `${axes.x.scale(here[0]) + drawing.offsetLeftInBox()}px`;
        knob.style.top = `${axes.y.scale(here[1]) + drawing.offsetTopInBox()}px`;
      };
      drawing.offsetLeftInBox = () => drawing.getBoundingClientRect().left - box.getBoundingClientRect().left - box.clientLeft;
      drawing.offsetTopInBox = () => drawing.getBoundingClientRect().top - box.getBoundingClientRect().top - box.clientTop;
      onLayout = settle;
      box.classList.add("dln-plot-movable");
      return (x, y, words) => {
        here = [x, y];
        knob.setAttribute("aria-valuenow", String(x));
        knob.setAttribute("aria-valuemin", String(spec.x.range[0]));
        knob.setAttribute("aria-valuemax", String(spec.x.range[1]));
        knob.setAttribute("aria-valuetext", dln.plain(words));
        settle();
      };
    };

    return {box, handle, draw: (next) => { spec = next; width = width || measure(); render(); }};
  };
})();

// Learning of one mode of a balanced deep linear network under gradient flow, tau = 1: the closed forms of
// dlnutils.saddles in plain JavaScript. Pure functions, no page. Singular value s > u > 0, initial strength 0 < u0 < s.
//
//   du/dt = L u^(2 - 2/L) (s - u),   L = nWeights weight matrices (1, 2, 3, ...).
//
// nWeights = Infinity stands for the limit of many layers, in which N_l t is finite: every time is then N_l t.
window.dln = window.dln || {};

dln.modes = (() => {
  "use strict";

  /** log(u / (s - u)): the coordinate in which both ends of the sigmoid keep their digits. */
  const logit = (u, s) => Math.log(u / (s - u));

  /** Integral of z / (1 - z^n) from z0 to z, by the n-th roots of unity; gap = 1 - z, gap0 = 1 - z0, difference = z - z0. */
  const rootsIntegral = (z, z0, gap, gap0, difference, n) => {
    let sum = -Math.log1p(-difference / gap0) / n;
    if (difference > gap0 / 2) sum = -Math.log(gap / gap0) / n;
    for (let k = 1; 2 * k <= n; k++) {
      const angle = 2 * Math.PI * k / n;
      if (2 * k === n) {                                   // the root -1
        sum -= Math.log1p(difference / (1 + z0)) / n;
        continue;
      }
      const [a, b] = [Math.cos(angle), Math.sin(angle)];
      // log of |z - root|^2 and the angle under which the step from z0 to z is seen from the root.
      const start = (z0 - a) ** 2 + b ** 2;
      const logs = Math.log1p(difference * (z + z0 - 2 * a) / start);
      const turn = Math.atan2(difference * b, start + difference * (z0 - a));
      sum -= (Math.cos(2 * angle) * logs - 2 * Math.sin(2 * angle) * turn) / n;
    }
    return sum;
  };

  /** log of the sigmoid and of one minus it. */
  const logSigmoid = (y) => Math.min(y, 0) - Math.log1p(Math.exp(-Math.abs(y)));

  /** The passage from u0: logits y0 and y, rise = y - y0, span = log(u / u0). */
  const passage = (y0, y, rise, span, s, u0, nWeights) => {
    if (nWeights === 1) return logSigmoid(-y0) - logSigmoid(-y);
    if (nWeights === 2) return rise / (2 * s);
    if (nWeights === Infinity) return rise / s ** 2 - Math.expm1(-span) / (u0 * s);
    const n = nWeights;
    const [gap, gap0] = [y, y0].map((v) => -Math.expm1(logSigmoid(v) / n));          // 1 - z, z = (u/s)^(1/n)
    const [z, z0] = [Math.exp(logSigmoid(y) / n), (u0 / s) ** (1 / n)];
    const wait = -Math.expm1((2 - n) * span / n) / ((n - 2) * (u0 / s) ** (1 - 2 / n));
    return s ** (2 / n - 2) * (wait + rootsIntegral(z, z0, gap, gap0, z0 * Math.expm1(span / n), n));
  };

  const timeOfLogit = (y, s, u0, nWeights) => {
    const y0 = logit(u0, s);
    return passage(y0, y, y - y0, logSigmoid(y) - logSigmoid(y0), s, u0, nWeights);
  };

  /** Time a mode takes from u0 to u < s; for infinite depth N_l t. Keeps its digits for u close to u0, too. */
  const time = (u, s, u0, nWeights) => {
    const step = u - u0;
    if (nWeights === 1) return Math.log1p(step / (s - u));
    const span = step < u0 ? Math.log1p(step / u0) : Math.log(u / u0);
    return passage(logit(u0, s), logit(u, s), Math.log1p(s * step / (s - u) / u0), span, s, u0, nWeights);
  };

  /** dt/dy at the logit y. */
  const slope = (y, s, nWeights) => {
    if (nWeights === Infinity) return (1 + Math.exp(-y)) / s ** 2;
    const q = 2 / nWeights - 1;
    return s ** (q - 1) / nWeights * (1 + Math.exp(-y)) ** -q;
  };

  const ofLogit = (y, s) => s / (1 + Math.exp(-y));

  /** Strength of a mode after time t (for infinite depth: after N_l t). */
  const strength = (t, s, u0, nWeights) => {
    if (t === 0) return u0;
    if (nWeights === 1) return u0 * Math.exp(-t) - s * Math.expm1(-t);
    if (nWeights === 2) {
      const decay = Math.exp(-2 * s * t);
      return u0 / (decay + u0 / s * -Math.expm1(-2 * s * t));
    }
    // Otherwise invert the time, which grows with y and bends down: Newton's steps within a bracket.
    const y0 = logit(u0, s);
    let low = y0;
    let high = y0 + t / slope(Infinity, s, nWeights);      // never slower than at the very end
    // Start where a mode that does not yet feel its end would be.
    const q = nWeights === Infinity ? -1 : 2 / nWeights - 1;
    const rate = nWeights === Infinity ? 1 : nWeights;
    const left = u0 ** q + q * rate * s * t;
    let y = Math.min(high, left > 0 ? Math.log(left) / q - Math.log(s) : 0);
    if (!(y > low)) y = low + 1e-3;
    for (let i = 0; i < 200; i++) {
      const miss = timeOfLogit(y, s, u0, nWeights) - t;
      if (miss > 0) high = Math.min(high, y); else low = Math.max(low, y);
      let next = y - miss / slope(y, s, nWeights);
      if (!(next >= low && next <= high)) next = (low + high) / 2;
      const move = Math.abs(next - y);
      y = next;
      if (move <= 1e-13 * Math.max(1, Math.abs(y))) break;
      if (y > 40) return s;                                // within 1e-17 of the end
    }
    return ofLogit(y, s);
  };

  /** Time to half strength, u = s/2: what the explorer calls learned. */
  const halfTime = (s, u0, nWeights) => timeOfLogit(0, s, u0, nWeights);

  return {time, strength, halfTime};
})();

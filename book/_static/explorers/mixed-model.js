// A wide two-layer linear network that learns a low-rank signal under noise: the closed forms of dlnutils.mixed in plain
// JavaScript. Pure functions, no page. c = variance x width is the threshold between lazy and rich learning.
//
//   ds/dt = 2 sqrt(s^2 + c^2) (y - s)          one singular value s of the map on its way to y of the target
window.dln = window.dln || {};

dln.mixed = (() => {
  "use strict";

  const size = (a, c) => Math.sqrt(a * a + c * c);

  /** a + sqrt(a^2 + c^2) without cancellation. */
  const sum = (a, c) => (a >= 0 ? a + size(a, c) : c * c / (size(a, c) - a));

  /** The difference of two such sums, of b and of a, without cancellation. */
  const gap = (a, b, c) => {
    const total = size(a, c) + size(b, c);
    return (b - a) * (1 + (total > 0 ? (a + b) / total : 0));
  };

  /** Singular value at time t, for y >= 0, c >= 0 and a start s0 >= 0: dlnutils.mixed.scalar_self_consistent. */
  const strength = (t, y, c, s0 = 0) => {
    const omega = size(y, c);
    const [start, end] = [sum(s0, c), sum(y, c)];
    if (!(start > 0)) return s0;                           // c = 0: a saddle that is never left
    const b = gap(s0, y, c);
    const decay = Math.exp(-2 * omega * t);
    const grown = omega > 0 ? -Math.expm1(-2 * omega * t) / (2 * omega) : t;
    const rest = 1 - grown * b;
    const moved = b * grown * (sum(-y, c) + start) / rest;             // P(t) - P(0), with P = s + sqrt(s^2 + c^2)
    const toGo = decay * b / rest;                                     // P(infinity) - P(t)
    const P = b > 0 ? start + moved : end - toGo;
    // From the nearer end, so that small steps and late times keep their digits.
    return Math.abs(toGo) < Math.abs(moved)
      ? y - toGo * (1 + (c > 0 ? c * c / (P * end) : 0)) / 2
      : s0 + moved * (1 + (c > 0 ? c * c / (P * start) : 0)) / 2;
  };

  /** Time at which it passes s, strictly between s0 and y: dlnutils.mixed.time_to_reach. */
  const time = (s, y, c, s0 = 0) => {
    const other = sum(-y, c);
    const grown = Math.log((sum(s, c) + other) / (sum(s0, c) + other)) + Math.log(gap(s0, y, c) / gap(s, y, c));
    return grown / (2 * size(y, c));
  };

  /** Nodes and weights of Gauss and Legendre on [-1, 1]: Newton's method on the recursion of the polynomials. */
  const legendre = (n) => {
    const nodes = [];
    const weights = [];
    for (let i = 0; i < n; i++) {
      let x = Math.cos(Math.PI * (n - i - 0.25) / (n + 0.5));
      let slope = 0;
      for (let turn = 0; turn < 8; turn++) {
        let [before, now] = [1, x];
        for (let k = 2; k <= n; k++) [before, now] = [now, ((2 * k - 1) * x * now - (k - 1) * before) / k];
        slope = n * (x * now - before) / (x * x - 1);
        x -= now / slope;
      }
      nodes.push(x);
      weights.push(2 / ((1 - x * x) * slope * slope));
    }
    return {nodes, weights};
  };

  /** Singular values of the noise: a quarter circle that ends near 2 sqrt(d), as values and their weights (sum d - k). */
  const bulk = (d, k, count = 200) => {
    const {nodes, weights} = legendre(count);
    const edge = Math.sqrt(d * (d - 2 * k) / (d - k));
    return nodes.map((node, i) => {
      const angle = Math.PI / 4 * (1 + node);
      return {value: 2 * Math.sin(angle) * edge, weight: (d - k) * weights[i] * Math.cos(angle) ** 2};
    });
  };

  /** Mean square error |A - A*|^2 / d^2 at time t from A = 0, for signals s: dlnutils.mixed.random_matrix_test_error. */
  const testError = (t, signals, d, c, noise = bulk(d, signals.length)) => {
    let total = 0;
    signals.forEach((s) => {
      const f = strength(t, s + d / s, c);
      total += f * f - 2 * f * s * (1 - d / (s * s)) + s * s;
    });
    noise.forEach(({value, weight}) => { total += weight * strength(t, value, c) ** 2; });
    return total / (d * d);
  };

  /** What is left at time t of the network's own random start, of variance nu an entry: exact where learning is lazy. */
  const startError = (t, nu, c) => nu * Math.exp(-4 * c * t);

  /** The least test error of lazy learning: dlnutils.mixed.lazy_minimum_test. */
  const lazyMinimum = (nu, a, e) => e * (nu + a) / (nu + a + e);

  return {strength, time, bulk, testError, startError, lazyMinimum};
})();

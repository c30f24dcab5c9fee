// A small network that is trained in the page: tasks, starts, and gradient descent, as dlnutils.linear_networks has them.
// Pure functions, no page. Inputs are the eight unit vectors, so W_1 itself holds what the first layer makes of the items:
//
//   answers = W_L f(W_{L-1} ... f(W_1)),   f = identity or tanh,   loss = 1/2 |answers - target|^2,   target = U S V'.
window.dln = window.dln || {};

dln.live = (() => {
  "use strict";

  const SIZE = 8;                                          // items, outputs and modes
  const WIDTH = 16;                                        // neurons of every hidden layer
  const FEATURES = 64;                                     // of an item in the tree, summed
  const FLIP = 0.1;                                        // chance that a child in the tree flips a feature
  const ITEMS = ["oak", "birch", "poppy", "tulip", "owl", "wren", "trout", "eel"];
  const LEVELS = ["common", "kingdoms", "kinds", "species"];

  // --- matrices: rows, columns and the entries row by row ------------------------------------------------------------

  const matrix = (rows, columns, entry) => {
    const data = new Float64Array(rows * columns);
    if (entry) for (let i = 0; i < data.length; i++) data[i] = entry(Math.floor(i / columns), i % columns);
    return {rows, columns, data};
  };
  const at = (A, i, j) => A.data[i * A.columns + j];
  const transposed = (A) => {
    const B = matrix(A.columns, A.rows);
    for (let i = 0; i < A.rows; i++) for (let j = 0; j < A.columns; j++) B.data[j * A.rows + i] = A.data[i * A.columns + j];
    return B;
  };
  const toRows = (A) => Array.from({length: A.rows}, (_, i) => [...A.data.subarray(i * A.columns, (i + 1) * A.columns)]);

  const product = (A, B) => {
    const C = matrix(A.rows, B.columns);
    const [n, a, b, c] = [B.columns, A.data, B.data, C.data];
    for (let i = 0; i < A.rows; i++) {
      for (let k = 0; k < A.columns; k++) {
        const factor = a[i * A.columns + k];
        for (let j = 0; j < n; j++) c[i * n + j] += factor * b[k * n + j];
      }
    }
    return C;
  };

  // --- chance --------------------------------------------------------------------------------------------------------

  /** Normal numbers from a seed: a counter that is stirred (mulberry32), then the polar form of Box and Muller. */
  const normals = (seed) => {
    let state = seed >>> 0;
    const uniform = () => {
      state = (state + 0x6D2B79F5) >>> 0;
      let z = Math.imul(state ^ (state >>> 15), state | 1);
      z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
      return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 4294967296;
    };
    return () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  };

  /** Random orthonormal columns: Gram and Schmidt, twice, on normal numbers. */
  const frame = (rows, columns, normal) => {
    const Q = matrix(rows, columns, normal);
    for (let j = 0; j < columns; j++) {
      for (let turn = 0; turn < 2; turn++) {
        for (let k = 0; k < j; k++) {
          let overlap = 0;
          for (let i = 0; i < rows; i++) overlap += at(Q, i, j) * at(Q, i, k);
          for (let i = 0; i < rows; i++) Q.data[i * columns + j] -= overlap * at(Q, i, k);
        }
      }
      let square = 0;
      for (let i = 0; i < rows; i++) square += at(Q, i, j) ** 2;
      for (let i = 0; i < rows; i++) Q.data[i * columns + j] /= Math.sqrt(square);
    }
    return Q;
  };

  // --- tasks ---------------------------------------------------------------------------------------------------------

  /**
   * The family tree of dlnutils.tasks.hierarchical_dataset with three branchings, in the mean over all draws of its features:
   * the modes are the splits of the tree. The outputs are turned so that each carries one mode. Level of a mode: 0 is the root.
   */
  const tree = () => {
    const alike = (1 - 2 * FLIP) ** 2;                     // parent and child
    const splits = [[0, 0, 0], [1, 0, 4], [2, 0, 2], [2, 4, 2], [3, 0, 1], [3, 2, 1], [3, 4, 1], [3, 6, 1]];
    const below = (height) => (height ? below(height - 1) + 2 ** (height - 1) * alike ** height : 1);
    const square = (level) => (level ? below(3 - level) - 2 ** (3 - level) * alike ** (4 - level) : below(3));
    const s = splits.map(([level]) => Math.sqrt(FEATURES * square(level)));
    const V = matrix(SIZE, SIZE, (i, k) => {
      const [level, first, half] = splits[k];
      if (!level) return 1 / Math.sqrt(SIZE);
      return i < first || i >= first + 2 * half ? 0 : (i < first + half ? -1 : 1) / Math.sqrt(2 * half);
    });
    const U = matrix(SIZE, SIZE, (i, j) => Number(i === j));
    return {U, s, V, level: splits.map(([level]) => level), levels: LEVELS, items: ITEMS};
  };

  /** A map between random directions, its singular values evenly spaced. */
  const map = (normal) => {
    const s = Array.from({length: SIZE}, (_, k) => 1.6 * (10 - k));
    return {U: frame(SIZE, SIZE, normal), s, V: frame(SIZE, SIZE, normal), level: s.map((_, k) => k),
            levels: s.map((_, k) => `mode ${k + 1}`), items: null};
  };

  // --- the network ---------------------------------------------------------------------------------------------------

  /**
   * A network before its first step. On the modes: every mode has a hidden direction of its own in every layer and the
   * strength u0 = a^L, as dlnutils.initial_weights.decoupled_init. Random: normal entries of variance (2 u0)^(2/L) / width.
   */
  const start = ({task, depth, u0, tanh, random, rate, draw}) => {
    const normal = normals(draw);
    const {U, s, V, ...names} = task === "tree" ? tree() : map(normal);
    const sizes = [SIZE, ...Array(depth - 1).fill(WIDTH), SIZE];
    const frames = random ? [] : [V, ...sizes.slice(1, -1).map((n) => frame(n, SIZE, normal)), U];
    const deviation = (2 * u0) ** (1 / depth) / Math.sqrt(WIDTH);
    const weights = sizes.slice(1).map((rows, l) => {
      if (random) return matrix(rows, sizes[l], () => deviation * normal());
      const W = product(frames[l + 1], transposed(frames[l]));
      W.data.forEach((v, i) => { W.data[i] = v * u0 ** (1 / depth); });
      return W;
    });
    const target = product(U, matrix(SIZE, SIZE, (i, j) => s[i] * at(V, j, i)));
    const network = {task: {U, s, V, ...names}, depth, u0, tanh, rate, weights, target, steps: 0, diverged: false};
    network.firstLoss = look(network).loss;
    return network;
  };

  /** What each layer sends on to the next for every item, input layer first; the last are the answers. */
  const forward = ({weights, tanh}) => {
    const sent = [];
    weights.forEach((W, l) => {
      const next = l ? product(W, sent[l - 1]) : {...W, data: W.data.slice()};
      if (tanh && l < weights.length - 1) next.data.forEach((v, i) => { next.data[i] = Math.tanh(v); });
      sent.push(next);
    });
    return sent;
  };

  /** One step of gradient descent. A network that has diverged stands still. */
  const step = (network) => {
    if (network.diverged) return;
    const {weights, target, tanh, rate} = network;
    const sent = forward(network);
    let error = {...target, data: sent[weights.length - 1].data.map((v, i) => v - target.data[i])};
    for (let l = weights.length - 1; l >= 0; l--) {
      const slope = l ? product(error, transposed(sent[l - 1])) : error;
      if (l) {
        error = product(transposed(weights[l]), error);    // before these weights change
        if (tanh) sent[l - 1].data.forEach((h, i) => { error.data[i] *= 1 - h * h; });
      }
      slope.data.forEach((g, i) => { weights[l].data[i] -= rate * g; });
    }
    network.steps += 1;
    // A loss far above the first never comes back.
    if (!weights.every((W) => W.data.every((v) => Math.abs(v) < 1e4))) network.diverged = true;
  };

  /**
   * What there is to see: the map in the basis of the modes (its diagonal: their strengths), the loss, the cosines between
   * what the last layer reads for one mode and what the last hidden layer sends for another, the largest hidden activity.
   */
  const look = (network) => {
    const {weights, target, task: {U, V}} = network;
    const sent = forward(network);
    const [hidden, answers] = sent.slice(-2);
    const reads = product(transposed(U), weights[weights.length - 1]);
    const sends = product(hidden, V);
    const modes = product(reads, sends);
    const lengths = (A) => Array.from({length: SIZE}, (_, i) =>
      Math.sqrt(A.data.subarray(i * A.columns, (i + 1) * A.columns).reduce((sum, v) => sum + v * v, 0)));
    const [read, written] = [lengths(reads), lengths(transposed(sends))];
    const cosines = matrix(SIZE, SIZE, (i, j) => at(modes, i, j) / (read[i] * written[j]));
    return {modes, cosines, u: Array.from({length: SIZE}, (_, i) => at(modes, i, i)),
            loss: answers.data.reduce((sum, v, i) => sum + (v - target.data[i]) ** 2, 0) / 2,
            busiest: sent.slice(0, -1).reduce((most, H) => H.data.reduce((m, v) => Math.max(m, Math.abs(v)), most), 0)};
  };

  /** Where the items stand on a line on which the learned tree spaces them evenly: a linear reading of the answers. */
  const places = ({modes}, {s, V}) => Array.from({length: SIZE}, (_, item) => {
    let sum = 0;
    for (let k = 0; k < SIZE; k++) {
      let wanted = 0;                                      // share of mode k in the evenly spaced places
      let found = 0;                                       // what the network answers along mode k for this item
      for (let j = 0; j < SIZE; j++) {
        wanted += at(V, j, k) * (j - (SIZE - 1) / 2);
        found += at(modes, k, j) * at(V, item, j);
      }
      sum += wanted / s[k] * found;
    }
    return sum;
  });

  /** Largest learning rate at which the strongest balanced mode comes to rest: 2 / saddles.max_hessian_eigenvalue. */
  const stableRate = (s, depth) => 2 / (depth * s ** (2 - 2 / depth));

  return {start, step, look, places, stableRate, toRows, at, normals, SIZE};
})();

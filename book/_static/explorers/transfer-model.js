// The table behind the explorer of transfer: looking up a curve, and finding its best learning rate. No document, no solver.
// `dln explorer` computes the table; its tests find best rates by the same rule.
window.dln = window.dln || {};

dln.transfer = {
  /**
   * Losses over learning rate, null where training diverged, for
   * setting = {scaling: "µP" or "NTK", gamma, depth, data: index, width: index, train: boolean}.
   */
  curve(table, {scaling, gamma, depth, data, width, train}) {
    const at = [table.scaling.indexOf(scaling), table.gamma.indexOf(gamma), table.n_hidden.indexOf(depth), data, width];
    const sizes = [table.scaling, table.gamma, table.n_hidden, table.data, table.width].map((axis) => axis.length);
    if (at.some((i, axis) => !(i >= 0 && i < sizes[axis]))) throw new RangeError(`not in the table: ${at}`);
    const row = at.reduce((sum, i, axis) => sum * sizes[axis] + i, 0);     // the last axis runs fastest
    const n = table.learning_rate[0].length;
    return (train ? table.train_loss : table.test_loss).slice(row * n, (row + 1) * n);
  },

  /** Learning rates of the table's curves at a depth. */
  rates(table, depth) { return table.learning_rate[table.n_hidden.indexOf(depth)]; },

  /** Index of the entry after which the loss rises, or training diverges, for the first time. */
  valley(losses) {
    const rise = losses.findIndex((loss, i) => i + 1 < losses.length && (losses[i + 1] === null || losses[i + 1] > loss));
    return rise < 0 ? losses.length - 1 : rise;
  },

  /** The best learning rate: the vertex of a parabola through the valley and its neighbours, in logarithms. */
  best(rates, losses) {
    const i = this.valley(losses);
    if (i === 0 || i === losses.length - 1 || losses[i + 1] === null) return {rate: rates[i], index: i};
    const [left, middle, right] = [i - 1, i, i + 1].map((k) => Math.log(losses[k]));
    const step = (left - right) / 2 / (left - 2 * middle + right);         // rates are evenly spaced in their logarithm
    return {rate: rates[i] * (rates[i + 1] / rates[i]) ** step, index: i};
  },

  /** Loss on the line that joins the entries, straight in the logarithms: where to put a mark at a rate between two. */
  lossAt(rates, losses, rate) {
    const i = Math.max(rates.findIndex((next) => next >= rate), 1);
    const part = Math.log(rate / rates[i - 1]) / Math.log(rates[i] / rates[i - 1]);
    return losses[i - 1] ** (1 - part) * losses[i] ** part;
  },

  /** By how many octaves (factors of 2) a rate lies above another. */
  octaves(from, to) { return Math.log2(to / from); },
};

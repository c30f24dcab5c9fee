// One dial, c/s, and five ways to the loss of one direction: dlnutils.saddles, mixed and dmft in plain JavaScript, and a
// network that is trained here. Pure functions, no page. The target is s = 1, so c is the dial; the learned strength is u.
//
//   u = sum_i a_i b_i,   da_i/dt = b_i (1 - u),   db_i/dt = a_i (1 - u),   c = sum_i a_i^2 = sum_i b_i^2 at the start
window.dln = window.dln || {};

dln.dial = (() => {
  "use strict";

  const NEURONS = 4000;                                    // of the network that is trained
  const STEP = 0.01;                                       // learning rate, times sqrt(1 + c^2)

  /** Time at which one half is learned in small steps. */
  const half = (c) => dln.mixed.time(0.5, 1, c);

  // --- three theories in closed form: strength at time t ---------------------------------------------------------------

  const strength = {
    saxe: (t, c) => dln.modes.strength(t, 1, c / 2, 2),    // a sigmoid from u0 = c/2
    lazy: (t, c) => -Math.expm1(-2 * c * t),               // weights that do not move
    tu: (t, c) => dln.mixed.strength(t, 1, c),
  };

  /** Largest distance of a theory from Tu's equation, until 99.9 % are learned: wide networks in small steps follow it. */
  const error = (theory, c) => Math.max(...dln.linspace(0, dln.mixed.time(0.999, 1, c), 801).map((t) =>
    Math.abs(strength[theory](t, c) - strength.tu(t, c))));

  // --- mean-field theory at infinite width -----------------------------------------------------------------------------

  /**
   * Loss before each of n steps and after the last, of the network v . W x / (gamma0 N) with the learning rate eta gamma0^2 N.
   * A typical neuron has two standard normal weights, v and W. In the field of the error that all neurons share, v + W grows and
   * v - W shrinks by the same factors in every neuron, so the mean of v W over neurons is (grown^2 - shrunk^2) / 2.
   */
  const meanField = (gamma0, eta, n) => {
    let [grown, shrunk] = [1, 1];
    return Array.from({length: n + 1}, () => {
      const missing = 1 - (grown * grown - shrunk * shrunk) / (2 * gamma0);
      grown *= 1 + eta * gamma0 * missing;
      shrunk *= 1 - eta * gamma0 * missing;
      return missing * missing;
    });
  };

  // --- a network --------------------------------------------------------------------------------------------------------

  /** Normal weights of variance c / neurons. Every neuron has a twin with the opposite output weight, so the map starts at 0. */
  const start = (c, draw = 1, neurons = NEURONS) => {
    const normal = dln.live.normals(draw);
    const deviation = Math.sqrt(c / neurons);
    const [a, b] = [new Float64Array(neurons), new Float64Array(neurons)];
    for (let i = 0; i < neurons; i += 2) {
      a[i] = a[i + 1] = deviation * normal();
      b[i] = deviation * normal();
      b[i + 1] = -b[i];
    }
    return {a, b};
  };

  /** n steps of gradient descent, both layers at once; the loss before each of them and after the last. */
  const train = ({a, b}, rate, n) => Array.from({length: n + 1}, () => {
    let u = 0;
    for (let i = 0; i < a.length; i++) u += a[i] * b[i];
    const push = rate * (1 - u);
    for (let i = 0; i < a.length; i++) {
      const old = a[i];
      a[i] += push * b[i];
      b[i] += push * old;
    }
    return (1 - u) ** 2;
  });

  /** The rate of the network's steps and how many of them fill a time. */
  const steps = (c, time) => {
    const rate = STEP / Math.sqrt(1 + c * c);
    return {rate, n: Math.ceil(time / rate)};
  };

  // --- where the papers are ----------------------------------------------------------------------------------------------

  // Each from its own constants; tests/browser/test_dial_explorer.py computes them again with the package.
  const MARKS = {
    saxe: [2.47e-8, 1.05e-7],                                // Fig. 3, u0 = 1e-6: 2 u0 / s of the strongest and the weakest mode
    tu: [0.0537, 0.268],                                   // Fig. 1, c = 12 at d = 500: over the signal and the strongest noise
    bordelon: [8, 6, 4, 2, 1, 0.4].map((gamma0) => 1 / gamma0),      // Fig. 4a and Fig. 7: c/s = 1 / gamma0
    mup: [0.501],                                          // at every width
    ntk: [5.01, 15.8, 50.1],                               // 784 inputs; 100, 1000 and 10 000 hidden neurons
  };

  return {half, strength, error, meanField, start, train, steps, MARKS, NEURONS};
})();

"""The table of exponents and the perceptron against reference numbers, a literal abc network, differences and laws of width."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlnutils.fitting import fit_power_law
from dlnutils.parameterizations import (ABC, ACTIVATIONS, MLP, MODELS, accuracy, build, calibrate, coordinate_check, draw,
                                        escape_time, initial_exponents, linear, parameterization, ranks, rectified_power,
                                        sample_initial_output, train)

pytestmark = pytest.mark.filterwarnings("error")
REFERENCE = json.loads((Path(__file__).parent / "hajjar2021_reference.json").read_text())
X, Y = np.array(REFERENCE["x"]), np.array(REFERENCE["y"])


def reference_net(key, dtype=np.float64):
    name, activation = key.split("/")
    return MLP(parameterization({"ipllr_bias": "ip_bias"}.get(name, name), REFERENCE["L"]), REFERENCE["U"], REFERENCE["V"],
               activation, REFERENCE["eta0"], dtype=dtype)


def assert_lists_close(found, wanted, **tolerance):
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted):
        np.testing.assert_allclose(a, b, **tolerance)


# --- reference numbers ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("key", REFERENCE["cases"])
def test_reference(key):
    case, net = REFERENCE["cases"][key], reference_net(key)
    np.testing.assert_allclose(net.forward(X), case["logits0"], rtol=1e-9, atol=1e-15)
    loss, dW, dB = net.gradients(X, Y)
    assert loss == pytest.approx(case["loss0"], rel=1e-12)
    assert_lists_close(dW, case["grad_W"], rtol=1e-9, atol=1e-15)
    wanted = case["grad_b"]
    assert_lists_close(dB, wanted if np.ndim(wanted[0]) else [wanted], rtol=1e-9, atol=1e-15)
    losses = [net.step(X, Y) for _ in range(3)]
    np.testing.assert_allclose(losses, case["losses"], rtol=1e-9)
    assert_lists_close(net.W, case["W_after3"], rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(net.forward(X), case["logits_after3"], rtol=1e-9, atol=1e-15)
    single = reference_net(key, np.float32)
    np.testing.assert_allclose([single.step(X, Y) for _ in range(3)], case["losses"], rtol=2e-5)


def test_the_reference_covers_what_it_should():
    names = {key.split("/")[0] for key in REFERENCE["cases"]}
    assert {"ip", "ipllr", "mup", "hp", "hpz", "ntk", "sp", "ipllr_bias"} <= names and len(REFERENCE["cases"]) >= 20


def test_calibration_reference_and_that_it_changes_nothing():
    case, net = REFERENCE["calibration_ipllr_relu"], reference_net("ipllr/relu")
    before = net.copy()
    rates = calibrate(net, X[:3], Y[:3], X[3:])
    np.testing.assert_allclose(rates, case["base_lrs"], rtol=1e-9)
    assert_lists_close(net.W + net.B, before.W + before.B, rtol=0)
    assert net.n_steps == 0 and net.step(X, Y) == before.step(X, Y)
    assert calibrate(before.copy() if before.n_steps == 0 else reference_net("ipllr/relu"), X[:3], Y[:3], X[3:],
                     cap=15)[1:] == (pytest.approx(case["base_lrs"][1]), 15.0, pytest.approx(case["base_lrs"][3]))


# --- the same training, written out ---------------------------------------------------------------------------------

def literal_network(abc, U, V, activation, eta, X, Y, n_steps):
    """The definition with its scaled forward pass, raw weights and rates ``eta m^-c``; outputs after the steps."""
    m, L = len(U[0]), abc.n_hidden
    w, beta = [m**-b * u for b, u in zip(abc.b, U)], m**-abc.b[0] * V[0]
    multiplier = [m**-a for a in abc.a]

    def forward(X):
        h, x = [], [X]
        for i in range(L + 1):
            z = x[-1] @ w[i].T
            h.append(multiplier[i] * (z + beta if i == 0 else z))
            x.append(activation(h[-1]))
        return h, x
    for t in range(n_steps):
        h, x = forward(X)
        D = np.exp(h[-1]) / np.exp(h[-1]).sum(1, keepdims=True)
        D = (D - np.eye(D.shape[1])[Y]) / len(X)
        c = abc.c_first if t == 0 and abc.c_first else abc.c
        steps = []
        for i in reversed(range(L + 1)):
            steps.append((i, multiplier[i] * D.T @ x[i], multiplier[i] * D.sum(0)))
            if i:
                D = multiplier[i] * (D @ w[i])
                activation.multiply(D, h[i - 1], x[i], activation.apply(h[i - 1], np.empty_like(D)))
        for i, dw, db in steps:
            w[i] = w[i] - eta * m**-c[i] * dw
            if i == 0:
                beta = beta - eta * m**-c[0] * db
    return forward(X)[0][-1]


@pytest.mark.parametrize("activation", ["relu", "gelu", "elu", "tanh"])
@pytest.mark.parametrize("name", ["sp", "ntk", "mup", "ip", "ipllr"])
def test_the_gauge_changes_nothing(name, activation):
    abc, rng = parameterization(name, 3), np.random.default_rng(1)
    U, V = draw(3, 7, 5, 3, activation, rng)
    X, Y = rng.standard_normal((6, 5)), rng.integers(3, size=6)
    net = MLP(abc, U, V, activation, 0.1, dtype=np.float64)
    for _ in range(3):
        net.step(X, Y)
    wanted = literal_network(abc, U, V, ACTIVATIONS[activation], 0.1, X, Y, 3)
    np.testing.assert_allclose(net.forward(X), wanted, atol=1e-14 * np.abs(wanted).max())


@pytest.mark.parametrize("theta", [-0.5, 0.5, 1.0])
def test_shifted_exponents_are_the_same_network(theta):
    abc = parameterization("ntk", 2)
    shifted = ABC("shifted", 2, np.array(abc.a) + theta, np.array(abc.b) - theta, np.array(abc.c) - 2 * theta)
    U, V = draw(2, 6, 4, 3, "tanh", np.random.default_rng(0))
    nets = [MLP(which, U, V, "tanh", 0.3, dtype=np.float64) for which in (abc, shifted)]
    data = np.random.default_rng(1).standard_normal((5, 4)), np.array([0, 1, 2, 0, 1])
    losses = [[net.step(*data) for _ in range(4)] for net in nets]
    np.testing.assert_allclose(*losses, rtol=1e-14)


@pytest.mark.parametrize("loss", ["cross_entropy", "squared"])
@pytest.mark.parametrize("activation", [*ACTIVATIONS, rectified_power(2)], ids=[*ACTIVATIONS, "relu^2"])
@pytest.mark.parametrize("name", ["ip", "ip_bias", "mup", "ntk"])
def test_gradients_are_central_differences(name, activation, loss):
    rng = np.random.default_rng(3)
    abc = parameterization(name, 3)
    U, V = draw(3, 8, 5, 3, activation, rng, all_biases=abc.c_bias is not None)
    net = MLP(abc, U, V, activation, 0.1, dtype=np.float64, loss=loss)
    X = rng.standard_normal((6, 5))
    y = rng.integers(3, size=6) if loss == "cross_entropy" else rng.standard_normal((6, 3))
    _, dW, dB = net.gradients(X, y)
    for parameters, gradients in ((net.W, dW), (net.B, dB)):
        for p, g in zip(parameters, gradients):
            step = 1e-5 * np.abs(p).mean()
            numeric = np.empty_like(p)
            for index in np.ndindex(p.shape):
                kept = p[index]
                sides = []
                for sign in (1, -1):
                    p[index] = kept + sign * step
                    sides.append(net.gradients(X, y)[0])
                p[index] = kept
                numeric[index] = (sides[0] - sides[1]) / (2 * step)
            assert np.abs(numeric - g).max() < 1e-6 * max(np.abs(g).max(), np.abs(dW[-1]).max() * 1e-2)


def test_a_step_is_the_gradient_times_its_rate():
    net = build("ipllr", 3, 20, (6, 4), "elu", [0.1, 2.0, 3.0, 0.5], np.random.default_rng(0), dtype=np.float64)
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((9, 6)), rng.integers(4, size=9)
    for first, base in ((True, np.array([0.1, 2.0, 3.0, 0.5])), (False, np.full(4, 0.1))):
        before = net.copy()
        _, dW, dB = net.gradients(X, y)
        net.step(X, y)
        rates = base * net.abc.rates(20, first)
        assert_lists_close(net.W, [W - r * g for W, r, g in zip(before.W, rates, dW)], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(net.B[0], before.B[0] - rates[0] * dB[0], rtol=1e-12)


# --- hybrids --------------------------------------------------------------------------------------------------------

def test_large_first_steps_are_a_hybrid_of_the_maximal_update():
    """Where both start from outputs of zero, the two trainings agree to round-off at any finite width."""
    rng = np.random.default_rng(0)
    U, V = draw(3, 64, 10, 4, "relu", rng)
    X, y = rng.standard_normal((16, 10)), rng.integers(4, size=16)
    silent = [*U[:-1], np.zeros_like(U[-1])]
    nets = {name: MLP(parameterization(name, 3), silent, V, "relu", 0.5, dtype=np.float64) for name in ("ipllr", "hp", "mup")}
    for net in nets.values():
        for _ in range(5):
            net.step(X, y)
    f = {name: net.forward(X) for name, net in nets.items()}
    scale = np.abs(f["hp"]).max()
    assert np.abs(f["ipllr"] - f["hp"]).max() < 1e-12 * scale and np.abs(f["mup"] - f["hp"]).max() > 0.01 * scale


def test_hybrids_lose_their_initial_middle_matrices_after_one_step():
    rng = np.random.default_rng(0)
    U, V = draw(3, 9, 4, 3, "relu", rng)
    data = rng.standard_normal((5, 4)), np.array([0, 1, 2, 0, 1])
    nets = {name: MLP(parameterization(name, 3), U, V, "relu", 0.2, dtype=np.float64) for name in ("mup", "hp", "hpz")}
    start = nets["mup"].copy()
    for net in nets.values():
        net.step(*data)
    for i, W in enumerate(nets["mup"].W):
        gone = start.W[i] * (0 < i < 3)
        np.testing.assert_allclose(nets["hpz"].W[i], W - gone, atol=1e-15)
        np.testing.assert_allclose(nets["hp"].W[i], W - (1 - 1 / 3) * gone, atol=1e-15)


# --- laws of width --------------------------------------------------------------------------------------------------

WIDTHS = [128, 256, 512]


def slopes(quantity, n_seeds=3):
    """Exponents of width of every entry of ``quantity(width, seed)``."""
    values = np.array([np.mean([quantity(m, seed) for seed in range(n_seeds)], axis=0) for m in WIDTHS])
    return np.array([fit_power_law(WIDTHS, column).exponent for column in values.T])


def batch(seed, d=50, K=10, n=64):
    rng = np.random.default_rng([7, seed])
    return rng.standard_normal((n, d)), rng.integers(K, size=n)


# GeLU with its variance of 4 is not yet linear at these widths.
@pytest.mark.parametrize("activation, tolerance", [("relu", 0.12), ("gelu", 0.25), ("tanh", 0.12)])
def test_integrable_networks_shrink_with_width_as_predicted(activation, tolerance):
    def sizes(m, seed):
        X, y = batch(seed)
        net = build("ip", 4, m, (50, 10), activation, 0.1, np.random.default_rng(seed), dtype=np.float64)
        _, dW, _ = net.gradients(X, y)
        raw = [np.abs(g).mean() * m**-a for g, a in zip(dW, net.abc.a)]
        return np.concatenate([[np.abs(h).mean() for h in net.fields(X)], raw])
    law = initial_exponents(4)
    np.testing.assert_allclose(slopes(sizes), -np.concatenate([law["fields"], law["gradients"]]), atol=tolerance)


def test_homogeneous_activations_of_degree_two():
    def sizes(m, seed):
        X, y = batch(seed)
        U, V = draw(3, m, 50, 10, rectified_power(2), np.random.default_rng(seed))
        net = MLP(parameterization("ip", 3), U, V, rectified_power(2), 0.1, dtype=np.float64)
        return np.concatenate([[np.abs(h).mean() for h in net.fields(X)],
                               [np.abs(g).mean() * m**-a for g, a in zip(net.gradients(X, y)[1], net.abc.a)]])
    law = initial_exponents(3, p=2)
    np.testing.assert_allclose(slopes(sizes), -np.concatenate([law["fields"], law["gradients"]]), atol=0.3)


def test_exponents_of_the_table():
    law = initial_exponents(5)
    np.testing.assert_allclose(law["fields"], [0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_allclose(law["backward"], [3, 2.5, 2, 1.5, 1])
    np.testing.assert_allclose(law["gradients"], [3, 3.5, 3.5, 3.5, 3.5, 3])
    np.testing.assert_allclose(parameterization("ipllr", 3, p=2).c_first, [-4, -4.5, -4.5, -4])
    for L in (1, 2, 5):
        m, abc = 10, parameterization("ipllr", L)
        np.testing.assert_allclose(abc.rates(m, True), [m**((L + 1) / 2), *[m**((L - 2) / 2)] * (L - 1), m**((L - 3) / 2)])
        for name in ("ip", "ipllr", "mup"):
            np.testing.assert_allclose(parameterization(name, L).rates(m), [m, *[1] * (L - 1), 1 / m])
    bias = parameterization("ip_bias", 4)
    np.testing.assert_allclose(bias.rates(10, True), 10**np.array([2.5, 1, 0.5, 0, -1]))
    np.testing.assert_allclose(bias.bias_rates(10, True), 10**np.array([2.5, 2, 1.5, 1, 0]))
    np.testing.assert_allclose(bias.bias_rates(10), [10, 10, 10, 10, 1])
    assert parameterization("ip_non_centered", 2).mean == 1.0 and set(MODELS) >= {"sp", "hp"}


@pytest.mark.parametrize("name, exponent", [("ip", -2.5), ("mup", -0.5), ("ntk", 0.0)])
def test_outputs_sampled_without_matrices(name, exponent):
    widths, abc = [64, 256, 1024, 4096], parameterization(name, 5)
    rng = np.random.default_rng(0)
    sizes = [np.abs(sample_initial_output(abc, m, "relu", rng, n_inputs=28)).mean() for m in widths]
    assert fit_power_law(widths, sizes).exponent == pytest.approx(exponent, abs=0.08)


def test_sampled_outputs_are_those_of_networks():
    rng, abc = np.random.default_rng(0), parameterization("ip", 3)
    x = np.ones((1, 8)) / 8**0.5
    full = [MLP(abc, *draw(3, 20, 8, 1, "relu", rng), "relu", 1.0, dtype=np.float64, loss="squared").forward(x)[0, 0]
            for _ in range(3000)]
    cheap = sample_initial_output(abc, 20, "relu", rng, n_inputs=8, n_samples=3000, bias=True)
    assert np.mean(np.square(cheap)) == pytest.approx(np.mean(np.square(full)), rel=0.25)
    without = sample_initial_output(abc, 400, "relu", rng, n_inputs=8, n_samples=20_000)
    assert np.mean(np.square(without)) * 9 * 400**3 == pytest.approx(1, rel=0.1)


def test_calibrated_first_steps_move_every_layer():
    X, y = batch(0, n=128)
    net = build("ipllr", 4, 256, (50, 10), "relu", 0.01, np.random.default_rng(0))
    rates = calibrate(net, X, y, X)
    U, V = draw(4, 256, 50, 10, "relu", np.random.default_rng(0))
    start = MLP(parameterization("ipllr", 4), U, V, "relu", rates)
    moved = start.copy()
    moved.step(X, y)
    change = coordinate_check(start, moved, X)
    np.testing.assert_allclose(change[1:4], 1, rtol=0.15)
    assert 0.1 < change[4] < 0.5 and moved                 # the layers below have moved as well.learning_rate == 0.01


def test_maximal_updates_learn_features_at_every_width():
    def change(name, rate):
        def at(m, seed):
            X, y = batch(seed)
            start = build(name, 3, m, (50, 10), "relu", rate, np.random.default_rng(seed))
            end = start.copy()
            for _ in range(3):
                end.step(X, y)
            return coordinate_check(start, end, X)
        return slopes(at)
    assert np.abs(change("mup", 0.01)).max() < 0.25
    assert change("ntk", 0.05)[:3].max() < -0.15 and change("ip", 0.05).max() < -0.3


# --- training -------------------------------------------------------------------------------------------------------

def test_a_diverged_run_is_flagged_with_its_step():
    net = build("sp", 3, 64, (20, 3), "relu", 50.0, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((60, 20)), rng.integers(3, size=60)
    losses = train(net, X, y, batch_size=20, n_steps=30, rng=rng)
    assert net.diverged_at is not None and np.isinf(losses[net.diverged_at:]).all()
    assert np.isfinite(losses[:net.diverged_at]).all() and net.n_steps == net.diverged_at
    kept = [W.copy() for W in net.W]
    assert net.step(X, y) == np.inf
    assert_lists_close(net.W, kept, rtol=0)
    assert np.isnan(accuracy(net, X, y)) or 0 <= accuracy(net, X, y) <= 1


def test_batches_visit_every_sample_once_an_epoch():
    class Watched(MLP):
        def step(self, X, y):
            seen.extend(y.tolist())
            return 0.0
    seen, X = [], np.eye(10)
    net = Watched(parameterization("mup", 1), *draw(1, 3, 10, 10, "relu", np.random.default_rng(0)), "relu", 0.1)
    train(net, X, np.arange(10), batch_size=3, n_steps=6, rng=np.random.default_rng(0))
    assert len(set(seen[:9])) == 9 and len(set(seen[9:])) == 9


def test_callbacks_see_every_step_and_copies_are_independent():
    rng = np.random.default_rng(0)
    net, steps = build("mup", 2, 16, (5, 3), "elu", 0.1, rng), []
    start = net.copy()
    losses = train(net, rng.standard_normal((30, 5)), rng.integers(3, size=30), batch_size=10, n_steps=4, rng=rng,
                   callback=lambda t, now: steps.append((t, now.n_steps)))
    assert steps == [(1, 1), (2, 2), (3, 3), (4, 4)] and len(losses) == 4
    assert start.n_steps == 0 and np.abs(start.W[0] - net.W[0]).max() > 0


def test_squared_loss_of_one_output():
    rng = np.random.default_rng(0)
    net = build("mup", 2, 64, (1, 1), "relu", 0.1, rng, dtype=np.float64, loss="squared")
    x, y = np.linspace(-1, 1, 10)[:, None], rng.uniform(-1, 1, 10)
    f = net.forward(x)[:, 0]
    assert net.step(x, y) == pytest.approx(np.mean((f - y)**2))


def test_float32_training_follows_float64():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((40, 12)), rng.integers(3, size=40)
    losses = {}
    for dtype in (np.float32, np.float64):
        net = build("mup", 3, 48, (12, 3), "gelu", 0.02, np.random.default_rng(5), dtype=dtype)
        losses[dtype] = [net.step(X, y) for _ in range(10)]
        assert net.forward(X).dtype == dtype
    np.testing.assert_allclose(losses[np.float32], losses[np.float64], rtol=1e-4)


def test_activations_at_known_points():
    h = np.array([-2.0, -0.5, 0.0, 0.5, 2.0])
    np.testing.assert_allclose(ACTIVATIONS["relu"](h), [0, 0, 0, 0.5, 2])
    np.testing.assert_allclose(ACTIVATIONS["elu"](h), [np.exp(-2) - 1, np.exp(-0.5) - 1, 0, 0.5, 2])
    np.testing.assert_allclose(ACTIVATIONS["tanh"](h), np.tanh(h))
    np.testing.assert_allclose(ACTIVATIONS["gelu"](h), [-0.04550026, -0.15426877, 0, 0.34573123, 1.95449974], rtol=1e-6)
    np.testing.assert_allclose(rectified_power(3)(h), [0, 0, 0, 0.125, 8])


def test_layers_may_have_different_activations():
    rng = np.random.default_rng(0)
    U, V = draw(3, 8, 5, 3, "tanh", rng)
    net = MLP(parameterization("mup", 3), U, V, ["tanh", linear(0.5), "relu"], 0.1, dtype=np.float64)
    X = rng.standard_normal((4, 5))
    h = X @ net.W[0].T + net.B[0]
    h = np.tanh(h) @ net.W[1].T
    np.testing.assert_allclose(net.forward(X), np.maximum(0.5 * h @ net.W[2].T, 0) @ net.W[3].T, rtol=1e-12)
    net.activations = [linear()] * 3
    np.testing.assert_allclose(net.forward(X), (X @ net.W[0].T + net.B[0]) @ net.W[1].T @ net.W[2].T @ net.W[3].T, rtol=1e-11)


def test_escape_times():
    losses = np.concatenate([np.full(30, 2.3), np.linspace(2.3, 0.3, 21)])
    assert escape_time(losses, 1.9, window=1) == 36 and escape_time(losses, 0.1) == np.inf
    assert escape_time(losses, 3.0) == 10 and escape_time(np.append(losses, np.inf), 1.9, window=1) == 36


# --- ranks ----------------------------------------------------------------------------------------------------------

def test_ranks_of_known_matrices():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    assert ranks(Q)[0] == 20 and ranks(Q)[1:] == (pytest.approx(20), pytest.approx(20))
    one = np.outer(rng.standard_normal(30), rng.standard_normal(8)) * 1e-200
    assert ranks(one) == (1, pytest.approx(1), pytest.approx(1))
    number, trace, stable = ranks(np.diag([2.0, 1.0, 1.0]))
    assert (number, trace, stable) == (3, pytest.approx(36 / 18), pytest.approx(1.5))


# --- bad input ------------------------------------------------------------------------------------------------------

U, V = draw(2, 6, 4, 3, "relu", np.random.default_rng(0))
MUP = parameterization("mup", 2)
NET = MLP(MUP, U, V, "relu", 0.1)
RNG = np.random.default_rng(0)
GOOD_X, GOOD_Y = np.zeros((5, 4)), np.zeros(5, dtype=int)


def trained():
    net = MLP(MUP, U, V, "relu", 0.1)
    net.step(RNG.standard_normal((5, 4)), GOOD_Y)
    return net


BAD = {
    "model": (lambda: parameterization("mupp", 2), "name must be one of 'sp'.* got 'mupp'"),
    "hidden": (lambda: parameterization("mup", 0), "n_hidden .* 0"),
    "hidden part": (lambda: parameterization("mup", 1.5), "n_hidden .* 1.5"),
    "degree": (lambda: parameterization("ipllr", 2, p=0.5), "p must be at least 1"),
    "hybrid": (lambda: parameterization("hpz", 1), "n_hidden must be at least 2 for a hybrid, got 1"),
    "exponents": (lambda: ABC("mine", 2, (0, 0), (0, 0, 0), (0, 0, 0)), "a must hold 3 exponents, .* got 2"),
    "abc": (lambda: MLP("mup", U, V, "relu", 0.1), "abc must be an ABC, got 'mup'"),
    "activation": (lambda: MLP(MUP, U, V, "selu", 0.1), "activation must be one of 'relu'.* got 'selu'"),
    "matrices": (lambda: MLP(MUP, U[:2], V, "relu", 0.1), "U must hold 3 matrices"),
    "shapes": (lambda: MLP(MUP, [U[0], U[1][:, :4], U[2]], V, "relu", 0.1), r"U must have shapes \[\(6, 4\)"),
    "biases": (lambda: MLP(parameterization("ip_bias", 2), U, V, "relu", 0.1), "V must begin with biases"),
    "nan weights": (lambda: MLP(MUP, [U[0], U[1] * np.nan, U[2]], V, "relu", 0.1), "U must be finite, got nan"),
    "activations": (lambda: MLP(MUP, U, V, ["relu"], 0.1), "activation must be one or 2, one a hidden layer, got 1"),
    "window": (lambda: escape_time([1.0], 0.5), "losses must be one-dimensional and hold at least window = 10"),
    "rate": (lambda: MLP(MUP, U, V, "relu", 0.0), "learning_rate must be greater than 0"),
    "rate inf": (lambda: MLP(MUP, U, V, "relu", np.inf), "learning_rate must be finite"),
    "rates": (lambda: MLP(MUP, U, V, "relu", [0.1, 0.2]), "learning_rate must be one number or 3"),
    "loss": (lambda: MLP(MUP, U, V, "relu", 0.1, loss="hinge"), "loss must be one of 'cross_entropy', 'squared'"),
    "inputs": (lambda: NET.step(np.zeros((5, 3)), GOOD_Y), r"X must have shape \(samples, 4\), got \(5, 3\)"),
    "inputs flat": (lambda: NET.forward(np.zeros(4)), r"X must have shape \(samples, 4\)"),
    "inputs nan": (lambda: NET.step(GOOD_X * np.nan, GOOD_Y), "X must be finite"),
    "labels": (lambda: NET.step(GOOD_X, np.full(5, 3)), "y must hold integer labels from 0 to 2, got int64 from 3 to 3"),
    "labels float": (lambda: NET.step(GOOD_X, np.zeros(5)), "y must hold integer labels .* float64"),
    "lengths": (lambda: NET.step(GOOD_X, GOOD_Y[:3]), "y must hold one target a sample, 5, got 3"),
    "draw width": (lambda: draw(2, 0, 4, 3, "relu", RNG), "width .* 0"),
    "draw inputs": (lambda: draw(2, 6, 4.5, 3, "relu", RNG), "n_inputs .* 4.5"),
    "draw outputs": (lambda: draw(2, 6, 4, -1, "relu", RNG), "n_outputs .* -1"),
    "batch": (lambda: train(NET, GOOD_X, GOOD_Y, batch_size=6, n_steps=1, rng=RNG), "batch_size must be at most .* 5, got 6"),
    "batch 0": (lambda: train(NET, GOOD_X, GOOD_Y, batch_size=0, n_steps=1, rng=RNG), "batch_size .* 0"),
    "cap": (lambda: calibrate(NET, GOOD_X, GOOD_Y, GOOD_X, cap=0), "cap must be greater than 0"),
    "calibrate late": (lambda: calibrate(trained(), GOOD_X, GOOD_Y, GOOD_X), "net must be at initialization, got one after 1"),
    "no move": (lambda: calibrate(MLP(MUP, [u * 0 for u in U], [v * 0 for v in V], "relu", 0.1), GOOD_X, GOOD_Y, GOOD_X),
                "net must move in its first step"),
    "rank zero": (lambda: ranks(np.zeros((3, 3))), "matrix must not be zero"),
    "rank vector": (lambda: ranks(np.ones(3)), "matrix must have two axes"),
    "sampled bias": (lambda: sample_initial_output(parameterization("ip_bias", 2), 5, "relu", RNG, n_inputs=3),
                     "abc must have centred"),
    "degree 0": (lambda: rectified_power(0), "p .* 0"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

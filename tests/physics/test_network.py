"""`simulate` against networks of real matrices, whose gradients go through optimizers as PyTorch writes them."""

import json

import numpy as np
import pytest

from dlnutils import dmft
from dlnutils.dmft import Optimizer, Spectrum, isotropic, network, schedule, simulate
from dlnutils.dmft.solution import _arguments

STEPS = 12
TWO = Spectrum([1.0, 0.3], [0.1, 0.2], [6, 4])
PAIR = Spectrum([1.0, 0.4, 0.2], [[[0.3, 0.1], [0.1, 0.2]], [[0.2, -0.1], [-0.1, 0.4]], [[0.5, 0.5], [0.5, 0.5]]], [5, 3, 1])


# --- the oracle: weights, buffers, one step after the other ------------------------------------------------------------

def sgd(weights, gradients, buffers, t, rates, rule, decays):
    """One step of PyTorch's SGD with decoupled decay in front of it; ``decays`` are (raw L2, decoupled share)."""
    for i, (gradient, (l2, share)) in enumerate(zip(gradients, decays)):
        step = gradient + l2 * weights[i]
        if rule.momentum:
            buffers[i] = step if t == 0 else rule.momentum * buffers[i] + (1 - rule.dampening) * step
            step = step + rule.momentum * buffers[i] if rule.nesterov else buffers[i]
        weights[i] = (1 - share) * weights[i] - rates[i] * step


def explicit(spectrum, rule, p, draws):
    """Losses (train, test, average train, average test) of a network that is trained as a program would do it."""
    L, gamma0, widths = p["n_hidden"], p["gamma0"], np.broadcast_to(p["width"], p["n_hidden"]).astype(int)
    beta, N = np.broadcast_to(p["branch_scale"], L - 1), int(widths[-1])
    sigma = np.broadcast_to(p["initial_scale"], L + 1)
    lam = np.repeat(spectrum.eigenvalues, spectrum.multiplicity.astype(int))
    weights = [s * W for s, W in zip(sigma, draws.weights)]

    def forward(weights, X):
        h = [X @ weights[0].T]
        for l in range(L - 1):                             # noqa: E741
            h.append((h[-1] if p["skip"] else 0) + beta[l] / widths[l]**0.5 * h[-1] @ weights[l + 1].T)
        return h, h[-1] @ weights[L].T / (gamma0 * N)
    start, everything = [W.copy() for W in weights], np.eye(len(lam))

    def predict(weights, X):
        return forward(weights, X)[1] - p["centered"] * forward(start, X)[1]

    def losses(weights, X, Y):
        missing = draws.truth.T - predict(weights, everything)
        test = np.sum(lam[:, None] * missing**2) + len(draws.truth) * p["noise"]**2
        return (np.sum((predict(weights, X) - Y)**2) / len(X) if len(X) else test), test

    def gradients(X, Y):
        """Of half the mean squared error; of the population by its second moments, root-variance inputs standing for it."""
        count = len(X) or 1
        X, Y = (X, Y) if len(X) else (np.diag(np.sqrt(lam)), np.sqrt(lam)[:, None] * draws.truth.T)
        h, _ = forward(weights, X)
        back = (predict(weights, X) - Y) / count
        found = [back.T @ h[-1] / (gamma0 * N)]
        g = back @ weights[L] / (gamma0 * N)
        for l in reversed(range(L - 1)):                   # noqa: E741
            a = beta[l] / widths[l]**0.5
            found.append(a * g.T @ h[l])
            g = (g if p["skip"] else 0) + a * g @ weights[l + 1]
        return [g.T @ X, *reversed(found)]

    unit, buffers, average, curves = 1 / (gamma0**2 * N**0.5), (L + 1) * [None], [W.copy() for W in weights], []
    eta = np.broadcast_to(rule.learning_rate, STEPS)
    factor, l2, decay = (np.broadcast_to(1.0 if x is None else x, L + 1) for x in (rule.layer_rates, rule.l2, rule.weight_decay))
    for t, (X, noise, chosen) in zip(range(STEPS + 1), draws.data):
        Y = X @ draws.truth.T + noise.T
        curves.append([*losses(weights, X, Y), *losses(average, X, Y)])
        if t == STEPS:
            return np.array(curves).T
        found = gradients(X[chosen], Y[chosen])
        norms = [np.linalg.norm(G) for G in found]
        if rule.clip is not None:
            found = [G * min(1, rule.clip * unit / np.linalg.norm(norms)) for G in found]
        if rule.normalise:
            found = [G * unit / norm for G, norm in zip(found, norms)]
        sgd(weights, found, buffers, t, eta[t] * factor * gamma0**2 * N, rule,
            list(zip(l2 / (gamma0**2 * N), eta[t] * factor * decay)))
        if rule.average is not None:
            average = [rule.average * old + (1 - rule.average) * new for old, new in zip(average, weights)]


SMALL = dict(n_hidden=2, width=8, gamma0=0.9, noise=0.2)
FULL, ONLINE = SMALL | dict(n_samples=12), SMALL | dict(batch_size=7)
COSINE = schedule("cosine", STEPS, 0.06, warm_up=3)
SETTINGS = {                                               # spectrum, optimizer, other arguments
    "plain": (TWO, Optimizer(0.05), FULL),
    "schedule": (TWO, Optimizer(COSINE), FULL),
    "one layer, momentum": (TWO, Optimizer(0.05, momentum=0.8), FULL | dict(n_hidden=1)),
    "dampening": (TWO, Optimizer(0.1, momentum=0.8, dampening=0.5), FULL),
    "nesterov online": (TWO, Optimizer(COSINE, momentum=0.8, nesterov=True), ONLINE | dict(n_hidden=3)),
    "decoupled decay": (TWO, Optimizer(COSINE, momentum=0.7, weight_decay=[0.5, 0.2, 1.0]), FULL),
    "decay in the gradient": (TWO, Optimizer(0.04, momentum=0.7, l2=[0.5, 0.2, 1.0]), SMALL),
    "rates": (TWO, Optimizer(0.04, momentum=0.7, layer_rates=[2.0, 0.0, 0.5], l2=0.3, weight_decay=0.2), FULL),
    "average": (TWO, Optimizer(0.05, momentum=0.7, average=0.8), FULL),
    "average online": (TWO, Optimizer(COSINE, average=0.6, weight_decay=0.3), ONLINE | dict(centered=True)),
    "clipped": (TWO, Optimizer(0.1, momentum=0.5, clip=0.6), FULL),
    "clipped, unequal": (TWO, Optimizer(0.1, clip=0.5, l2=0.2), SMALL | dict(n_hidden=3, width=[9, 4, 7])),
    "normalised": (TWO, Optimizer(0.03, momentum=0.5, normalise=True, average=0.5), FULL | dict(width=[9, 5])),
    "unequal widths": (TWO, Optimizer(0.05), FULL | dict(n_hidden=3, width=[5, 9, 6], branch_scale=[1.3, 0.7])),
    "initial scales": (TWO, Optimizer(0.05), FULL | dict(initial_scale=[0.5, 1.5, 0.7])),
    "start at zero": (TWO, Optimizer(0.05, momentum=0.5), FULL | dict(initial_scale=[1.0, 1.0, 0.0])),
    "skips": (TWO, Optimizer(0.04, momentum=0.8, weight_decay=0.4, average=0.7),
              FULL | dict(n_hidden=4, skip=True, branch_scale=[0.6, 0.4, 0.8], initial_scale=1.1)),
    "centered": (TWO, Optimizer(0.05), FULL | dict(centered=True)),
    "two outputs": (PAIR, Optimizer(0.05), FULL),
    "two outputs, population": (PAIR, Optimizer(0.05, momentum=0.5), SMALL | dict(width=[7, 5], centered=True)),
    "two outputs, online": (PAIR, Optimizer(0.05, momentum=0.5, clip=0.4, average=0.5), ONLINE | dict(n_hidden=3, skip=True)),
    "cycle": (TWO, Optimizer(0.05), FULL | dict(batch_size=4, sampling="cycle")),
    "groups": (TWO, Optimizer(0.05, momentum=0.5), SMALL | dict(batch_size=[3, 5, 4], sampling="cycle")),
    "shuffle": (TWO, Optimizer(0.05), FULL | dict(batch_size=3, sampling="shuffle")),
    "replace": (TWO, Optimizer(0.05), FULL | dict(batch_size=5, sampling="replace")),
    "everything": (PAIR, Optimizer(COSINE, momentum=0.6, nesterov=True, weight_decay=[0.3, 0.2, 0.1, 0.0], l2=0.1, clip=0.7,
                                   layer_rates=[1.5, 1.0, 0.5, 2.0], average=0.7),
                   SMALL | dict(n_hidden=3, width=[6, 9, 5], n_samples=12, batch_size=4, sampling="shuffle", centered=True,
                                branch_scale=[0.8, 1.2], initial_scale=[1.2, 0.9, 1.0, 0.5])),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_simulation_is_what_a_program_would_do(name):
    """With the same draws: curves of weights and of their average agree to round-off."""
    spectrum, rule, settings = SETTINGS[name]
    run = simulate(spectrum, n_steps=STEPS, optimizer=rule, **settings, rng=5)
    p, _ = _arguments(spectrum, n_steps=STEPS, optimizer=rule, **settings)
    draws = network._draw(spectrum, p, np.random.default_rng(5).spawn(1)[0])
    train, test, average_train, average_test = explicit(spectrum, rule, p, draws)
    np.testing.assert_allclose(run.train_loss, train, rtol=1e-9)
    np.testing.assert_allclose(run.test_loss, test, rtol=1e-9)
    assert abs(train[-1] / train[0] - 1) > 0.01            # something happens
    if rule.average is None:
        assert run.average_train_loss is None and run.average_test_loss is None
    else:
        np.testing.assert_allclose(run.average_train_loss, average_train, rtol=1e-9)
        np.testing.assert_allclose(run.average_test_loss, average_test, rtol=1e-9)
        assert not np.allclose(average_test, test)


def test_plain_descent_by_its_memory_is_plain_descent():
    """The short way of a constant rate against the general one."""
    k = 0.05 * np.tril(np.ones((STEPS + 1, STEPS + 1)), -1)
    short, memory, constant = (simulate(PAIR, n_steps=STEPS, **FULL, rng=1, **rule) for rule in (
        dict(learning_rate=0.05), dict(optimizer=Optimizer.from_memory(np.ones(STEPS + 1), k)),
        dict(learning_rate=STEPS * [0.05])))
    np.testing.assert_allclose(memory.train_loss, short.train_loss, rtol=1e-12)
    np.testing.assert_allclose(constant.train_loss, short.train_loss, rtol=1e-12)


def test_average_of_the_weights_themselves_changes_nothing():
    run = simulate(TWO, n_steps=STEPS, **FULL, optimizer=Optimizer(0.05, momentum=0.5, average=0.0), rng=0, n_networks=2)
    np.testing.assert_allclose(run.average_train_loss, run.train_loss, rtol=1e-13)
    np.testing.assert_allclose(run.average_test_loss, run.test_loss, rtol=1e-13)
    assert run.average_test_loss.shape == (2, STEPS + 1)


def test_schedule_free_descent_follows_its_own_recurrence():
    """Gradients at ``y = (1 - b) z + b x``, x the mean of all z: by memory, and step by step for one layer of weights."""
    b, eta, T = 0.9, 0.1, STEPS + 1
    z, x, y, kept = np.eye(1, T + 1)[0], np.eye(1, T + 1)[0], [], []
    for t in range(T):
        y.append((1 - b) * z + b * x)
        kept.append(x)
        z = z + eta * np.eye(T + 1)[t + 1]
        x = x + (z - x) / (t + 2)
    y, kept = np.array(y), np.array(kept)
    rule = Optimizer.from_memory(y[:, 0], y[:, 1:], (kept[:, 0], kept[:, 1:]))
    settings = dict(n_hidden=1, width=6, gamma0=1.0)
    run = simulate(TWO, n_steps=STEPS, **settings, optimizer=rule, rng=0)
    p, _ = _arguments(TWO, n_steps=STEPS, **settings, optimizer=rule)
    draws = network._draw(TWO, p, np.random.default_rng(0).spawn(1)[0])
    lam = np.repeat(TWO.eigenvalues, TWO.multiplicity.astype(int))
    Z, X, losses = draws.weights, draws.weights, []
    for t in range(T):
        U, w = ((1 - b) * one + b * other for one, other in zip(Z, X))
        error = draws.truth - w @ U / 6
        losses.append([lam @ error[0]**2, lam @ (draws.truth - X[1] @ X[0] / 6)[0]**2])
        step = [w.T @ (lam * error), (lam * error) @ U.T]
        Z = [one + eta * G for one, G in zip(Z, step)]
        X = [mean + (one - mean) / (t + 2) for mean, one in zip(X, Z)]
    np.testing.assert_allclose(np.transpose([run.test_loss, run.average_test_loss]), losses, rtol=1e-10)


# --- what is drawn ----------------------------------------------------------------------------------------------------

def drawn(spectrum, seed=0, **settings):
    p, _ = _arguments(spectrum, n_steps=1, learning_rate=0.1, **SMALL | settings)
    return network._draw(spectrum, p, np.random.default_rng(seed))


def gram_of(truth, spectrum):
    """Mean outer products of the coefficients of alike modes."""
    ends = np.cumsum(spectrum.multiplicity.astype(int))
    return np.array([part @ part.T / part.shape[1] for part in np.split(truth, ends[:-1], axis=1)])


def test_targets_have_the_gram_matrices_of_the_spectrum():
    one, pair = drawn(TWO), drawn(PAIR)
    np.testing.assert_allclose(one.truth[0]**2, np.repeat([0.1, 0.2], [6, 4]), rtol=1e-15)
    np.testing.assert_allclose(gram_of(pair.truth, PAIR), PAIR.target, atol=1e-14)     # the last mode is one, of rank one
    few = Spectrum([1.0], [PAIR.target[0]], [1])           # one mode of rank two: on average, and its trace
    truths = [drawn(few, seed).truth for seed in range(400)]
    np.testing.assert_allclose([np.sum(truth**2) for truth in truths], 0.5, rtol=1e-12)
    np.testing.assert_allclose(np.mean([gram_of(truth, few) for truth in truths], axis=0), few.target, atol=0.06)
    signs = [drawn(Spectrum([1.0], [PAIR.target[2]], [1]), seed).truth[0, 0] for seed in range(20)]
    assert set(np.sign(signs)) == {-1.0, 1.0}
    assert not drawn(Spectrum([1.0], [np.zeros((2, 2))], [3])).truth.any()


def test_batches_are_what_their_name_says():
    def batches(n, **settings):
        return [np.arange(12)[chosen] for _, (_, _, chosen) in zip(range(n), drawn(TWO, **settings).data)]
    cycle = batches(7, n_samples=12, batch_size=4, sampling="cycle")
    np.testing.assert_array_equal(cycle[:3], np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(cycle[3:6], cycle[:3])
    assert [len(batch) for batch in batches(5, batch_size=[3, 5, 4], sampling="cycle")] == [3, 5, 4, 3, 5]
    shuffled = batches(6, n_samples=12, batch_size=4, sampling="shuffle")
    for epoch in (shuffled[:3], shuffled[3:]):
        np.testing.assert_array_equal(np.sort(np.concatenate(epoch)), np.arange(12))
    assert not np.array_equal(shuffled[:3], shuffled[3:])
    replaced = batches(6, n_samples=12, batch_size=5, sampling="replace")
    assert all(len(set(batch)) == 5 for batch in replaced) and len(set(np.concatenate(replaced[:3]))) < 12
    everybody = batches(2, n_samples=12)
    assert all(len(batch) == 12 for batch in everybody)


def test_one_batch_of_all_samples_is_the_full_batch():
    full = simulate(TWO, n_steps=STEPS, learning_rate=0.05, **FULL, rng=3)
    one = simulate(TWO, n_steps=STEPS, learning_rate=0.05, **FULL, batch_size=12, sampling="cycle", rng=3)
    np.testing.assert_array_equal(full.train_loss, one.train_loss)


def test_centered_networks_start_at_the_target():
    run = simulate(PAIR, n_steps=3, learning_rate=0.05, **SMALL, centered=True, rng=0, n_networks=3)
    np.testing.assert_allclose(run.test_loss[:, 0], PAIR.power + 2 * 0.2**2, rtol=1e-13)


def test_many_networks_and_files(tmp_path):
    """Shapes, tables, files, words; a network that diverges takes its average with it."""
    rule, settings = Optimizer([0.1, 0.05], average=0.5), dict(n_hidden=2, width=[6, 4], gamma0=1.0, batch_size=[5, 3],
                                                               sampling="cycle")
    run = simulate(PAIR, n_steps=2, optimizer=rule, **settings, rng=0, n_networks=3)
    assert run.test_loss.shape == run.average_test_loss.shape == (3, 3) and run.mode_loss.shape == (3, 3, 3)
    assert run.average_train_loss.shape == (3, 3) and "width=[6, 4], n_samples=8, batch_size=[5, 3], cycle" in repr(run)
    few = simulate(PAIR, n_steps=2, optimizer=rule, **settings, rng=0, n_networks=2)
    np.testing.assert_array_equal(few.average_test_loss, run.average_test_loss[:2])
    run.save(tmp_path / "run.npz")
    again = dmft.Solution.load(tmp_path / "run.npz")
    assert repr(again) == repr(run) and again.parameters == run.parameters == json.loads(json.dumps(run.parameters))
    np.testing.assert_array_equal(again.average_test_loss, run.average_test_loss)
    np.testing.assert_array_equal(again.spectrum.target, PAIR.target)
    wild = simulate(TWO, n_steps=30, optimizer=Optimizer(5.0, average=0.5), **FULL, rng=0)
    assert wild.diverged and np.isfinite(wild.average_test_loss[0])
    for loss in (wild.test_loss, wild.average_train_loss, wild.average_test_loss):
        np.testing.assert_array_equal(np.isinf(loss), np.isinf(wild.train_loss))
    assert wild.train_loss[np.isfinite(wild.train_loss)].max() <= 1000 * wild.train_loss[0]
    pytest.importorskip("pandas")
    table = run.to_frame()
    assert table.columns.to_list()[-2:] == ["average_train_loss", "average_test_loss"]
    np.testing.assert_array_equal(table["average_test_loss"], run.average_test_loss.ravel())


GOOD = dict(n_steps=2, n_hidden=2, width=4, gamma0=1.0, learning_rate=0.1, rng=0)
BAD = {                                                    # change of the arguments, what the message must say
    "width part": ({"width": [4, 2.5]}, "width must be an integer of at least 1, got 2.5"),
    "widths": ({"width": [4, 4, 4]}, "width must be one number or one for each of the 2 hidden layers, got shape .3,.$"),
    "infinite widths": ({"width": [np.inf, np.inf]}, "width must be an integer of at least 1, got inf"),
    "an infinite width": ({"width": [4, np.inf]}, "width must be finite, got inf"),
    "skips": ({"width": [4, 5], "skip": True}, r"width must be the same .* got \[4.0, 5.0\]: a skip adds neighbours"),
    "batches": ({"n_samples": 5, "batch_size": 2, "sampling": "shuffle"}, "batch_size must divide n_samples = 5 .* got 2"),
    "cycles": ({"n_samples": 5, "batch_size": 2, "sampling": "cycle"}, "batch_size must divide n_samples = 5 .* got 2"),
    "batch part": ({"n_samples": 5, "batch_size": 2.5, "sampling": "cycle"}, "batch_size must be an integer .* got 2.5"),
    "group part": ({"batch_size": [1.5, 1.5], "sampling": "cycle"}, "must be an integer .* got 1.5"),
    "sum": ({"n_samples": 5, "batch_size": [2, 2], "sampling": "cycle"}, r"batch_size must list groups .* = 5, got \[2, 2\]"),
    "table": ({"batch_size": [[2, 2]], "sampling": "cycle"}, r"batch_size must list groups .* got \[\[2, 2\]\]"),
    "groups": ({"batch_size": [2, 2]}, r"batch_size must be one number for fresh data, got \[2, 2\]"),
    "shuffled groups": ({"batch_size": [2, 2], "sampling": "shuffle"}, r"batch_size must be one number for sampling = 'shuffle'"),
    "more": ({"n_samples": 5, "batch_size": 6, "sampling": "replace"}, "batch_size must be at most n_samples = 5, got 6"),
    "no batch": ({"n_samples": 5, "sampling": "replace"}, "sampling = 'replace' needs n_samples and batch_size, got 5 and None"),
    "other": ({"n_samples": 5, "batch_size": 1, "sampling": "random"}, "sampling must be one of 'cycle', .* got 'random'"),
    "no sampling": ({"n_samples": 5, "batch_size": 1}, "n_samples and batch_size exclude each other without sampling"),
    "branches": ({"branch_scale": [1.0, 1.0]}, r"branch_scale must be one number or one for each of the 1 branches .* \(2,\)"),
    "scales": ({"initial_scale": [1.0, 1.0]}, r"initial_scale must be one number or one for each of the 3 weight .* \(2,\)"),
    "negative": ({"initial_scale": [1.0, -1.0, 1.0]}, "initial_scale must be at least 0, got -1"),
    "centered": ({"centered": "yes"}, "centered must be True or False, got 'yes'"),
    "both": ({"optimizer": Optimizer(0.1)}, "exactly one of learning_rate and optimizer, got 0.1 and Optimizer"),
    "neither": ({"learning_rate": None}, "exactly one of learning_rate and optimizer, got None and None"),
    "adam": ({"learning_rate": None, "optimizer": "adam"}, "optimizer must be an Optimizer, got 'adam': an Optimizer has linear"),
    "adam's rate": ({"learning_rate": "adam"}, "learning_rate must be a number .* got 'adam': an Optimizer has linear"),
    "schedule": ({"learning_rate": [0.1, 0.1, 0.1]}, "learning_rate must have one entry for each of the 2 updates, got 3"),
    "rates": ({"learning_rate": None, "optimizer": Optimizer(0.1, layer_rates=[1.0, 1.0])},
              "layer_rates must be one number or one for each of the 3 weight matrices, got 2"),
    "memory": ({"learning_rate": None, "optimizer": Optimizer.from_memory(np.ones(4), np.zeros((4, 4)))},
               "n_steps must be 3, the updates of the optimizer's memory, got 2"),
    "fourth moment": ({"batch_fourth_moment": True}, "batch_fourth_moment"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(change, message):
    with pytest.raises(TypeError if "batch_fourth_moment" in change else ValueError, match=message):
        simulate(isotropic(5), **GOOD | change)


def test_several_outputs_and_widths_count_in_the_cost():
    equal, listed = (dmft.simulation_cost(9, 2, width=width, n_inputs=5, n_samples=6) for width in (4, [4, 4]))
    assert equal == listed
    pair = dmft.simulation_cost(9, 2, width=[4, 3], n_inputs=5, n_samples=6, n_outputs=2)
    assert pair.operations == 4 * 10 * 2 * (20 + 12 + 30) + 2 * 100 * 4 * (9 + 7) and pair.bytes == 8 * (20 + 12 + 30 + 20 * 16)
    with pytest.raises(ValueError, match="width must be one number or one for each of the 2 hidden layers, got shape"):
        dmft.simulation_cost(9, 2, width=[4], n_inputs=5, n_samples=6)


@pytest.mark.parametrize("changes", [{}, {"n_samples": 7, "noise": 0.2}, {"skip": True, "branch_scale": [0.0, 0.4], "width": 6},
                                     {"batch_size": 4, "centered": True}])
def test_gradients_added_to_the_matrices_are_gradients_kept_apart(changes, monkeypatch):
    def run():
        return simulate(isotropic(5), **{"n_steps": 20, "n_hidden": 3, "width": [6, 4, 5], "gamma0": 1.0, "learning_rate": 0.05,
                                         "rng": 3} | changes)
    apart = run()
    monkeypatch.setattr(network, "FOLD", 3)
    folded = run()
    np.testing.assert_allclose(folded.test_loss, apart.test_loss, rtol=1e-11)
    np.testing.assert_allclose(folded.train_loss, apart.train_loss, rtol=1e-11)

"""Optimizers, centring, widths, outputs and repeated batches in the mean-field theory: reference curves, limits, ablations."""

import json
from pathlib import Path

import numpy as np
import pytest

from dlnutils import dmft
from dlnutils.dmft import Optimizer, Spectrum, isotropic, solve_dmft, solve_infinite_depth
from dlnutils.dmft._data import _Data

HERE = Path(__file__).parent
EXTENSIONS = {name: case for name, case in json.loads((HERE / "dmft_extensions_reference.json").read_text()).items()
              if name != "about"}
FIGURES = json.loads((HERE / "bordelon2025_figures_reference.json").read_text())
RULE = {"mu": "momentum", "nesterov": "nesterov", "decay": "weight_decay", "l2": "l2", "rates": "layer_rates", "ema": "average"}
OTHER = {"L": "n_hidden", "gamma0": "gamma0", "noise": "noise", "beta": "branch_scale", "skip": "skip", "centered": "centered",
         "stds": "initial_scale", "samples": "n_samples", "nu": "width", "nus": "width"}
WHITE = dict(n_steps=12, n_hidden=2, width=1.0, gamma0=1.0, noise=0.3)


def arguments(case):
    """The call of a reference case; its T counts records."""
    given = dict(case["arguments"])
    n_steps, rate = given.pop("T") - 1, given.pop("eta")
    spectrum = Spectrum(given.pop("lam", [1.0]), given.pop("w", [1.0]), given.pop("mult", [1.0]))
    rule = {RULE[name]: given.pop(name) for name in RULE if name in given}
    call = {OTHER[name]: given.pop(name) for name in OTHER if name in given}
    if "cycle" in given:
        call |= {"batch_size": given.pop("cycle"), "sampling": "cycle"}
    if "random_batch" in given:
        epoch, share = given.pop("random_batch")
        call |= {"batch_size": share * call["n_samples"], "sampling": "shuffle" if epoch > 1 else "replace"}
    assert not given
    return call | {"spectrum": spectrum, "n_steps": n_steps,
                   "optimizer": Optimizer(rate[:n_steps] if isinstance(rate, list) else rate, **rule)}


def curves(solution):
    return np.concatenate([solution.test_loss, solution.train_loss])


def distance(a, b):
    return np.linalg.norm(curves(a) - curves(b)) / np.linalg.norm(curves(b))


@pytest.mark.parametrize("name", EXTENSIONS)
def test_reference_curves(name):
    case = EXTENSIONS[name]
    solution = solve_dmft(**arguments(case))
    np.testing.assert_allclose(solution.test_loss, case["test"], rtol=1e-9)
    np.testing.assert_allclose(solution.train_loss, case["train"], rtol=1e-9)
    np.testing.assert_allclose(solution.mode_loss[:, -1], case["mode_loss_end"], rtol=1e-9)
    if "eval_test" in case:
        np.testing.assert_allclose(solution.average_test_loss, case["eval_test"], rtol=1e-9)
        np.testing.assert_allclose(solution.average_train_loss, case["eval_train"], rtol=1e-9)


@pytest.mark.parametrize("case", FIGURES["cases"], ids=lambda case: case["kind"] + str(case["arguments"]["L"]))
def test_centring_and_causes_of_the_loss(case):
    given, kind = case["arguments"], case["spectrum"]
    spectrum = isotropic(kind[1]) if kind[0] == "isotropic" else dmft.power_law(*kind[1:])
    solution = solve_dmft(spectrum, n_steps=given["T"] - 1, n_hidden=given["L"], width=given["N"], gamma0=given["g0"],
                          learning_rate=given["eta"], n_samples=given.get("P"), batch_size=given.get("B"),
                          noise=given.get("sigma", 0.0), centered=given.get("centred", False))
    np.testing.assert_allclose(solution.test_loss, case["test_loss"], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(solution.train_loss, case["train_loss"], rtol=1e-9, atol=1e-13)
    parts = solution.decomposition
    np.testing.assert_allclose(sum(parts.values()), solution.test_loss, rtol=1e-13, atol=1e-15)
    for cause in set(parts) & set(case):
        np.testing.assert_allclose(parts[cause], case[cause], rtol=1e-9, atol=1e-13)


# --- limits ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("data", [{}, {"n_samples": 2.0}, {"batch_size": 0.5}])
@pytest.mark.parametrize("other", [dict(optimizer=Optimizer(0.05, momentum=0.0, weight_decay=0.0)),
                                   dict(learning_rate=np.full(12, 0.05)),
                                   dict(optimizer=Optimizer(0.05, layer_rates=[1.0, 1.0, 1.0])),
                                   dict(learning_rate=0.05, width=[1.0, 1.0]), dict(learning_rate=0.05, branch_scale=[1.0]),
                                   dict(learning_rate=0.05, initial_scale=[1.0, 1.0, 1.0]),
                                   dict(optimizer=Optimizer.from_memory(np.ones(13), 0.05 * np.tri(13, k=-1)))])
def test_what_changes_nothing_changes_nothing(data, other):
    plain = solve_dmft(isotropic(1), learning_rate=0.05, **WHITE, **data)
    np.testing.assert_allclose(curves(solve_dmft(isotropic(1), **WHITE | data | other)), curves(plain), rtol=1e-13)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("data", [{}, {"n_samples": 2.0}, {"batch_size": 0.5},
                                  {"n_samples": 2.0, "batch_size": 0.5, "sampling": "shuffle"},
                                  {"batch_size": [0.5, 1.0], "sampling": "cycle"}])
@pytest.mark.parametrize("centered", [False, True])
def test_an_average_with_the_memory_of_training_is_training(skip, data, centered):
    rule = Optimizer(0.03, momentum=0.5, weight_decay=0.4)
    memory = rule.memory(12, 2)
    own = Optimizer.from_memory(memory.start, np.array(memory.gradients), (memory.start, np.array(memory.gradients)))
    solution = solve_dmft(isotropic(1), optimizer=own, skip=skip, centered=centered, **WHITE, **data)
    np.testing.assert_allclose(solution.average_test_loss, solution.test_loss, rtol=1e-12)
    np.testing.assert_allclose(solution.average_train_loss, solution.train_loss, rtol=1e-12)
    short = solve_dmft(isotropic(1), optimizer=Optimizer(0.03, average=0.0), skip=skip, centered=centered, **WHITE, **data)
    np.testing.assert_allclose(short.average_train_loss, short.train_loss, rtol=1e-12)


def test_decay_in_the_gradient_or_beside_it_is_one_without_momentum():
    rules = [Optimizer(0.05, weight_decay=0.7), Optimizer(0.05, l2=0.7)]
    one, other = (solve_dmft(isotropic(1), optimizer=rule, n_samples=2.0, **WHITE) for rule in rules)
    np.testing.assert_allclose(curves(one), curves(other), rtol=1e-13)
    apart = [solve_dmft(isotropic(1), optimizer=Optimizer(0.05, momentum=0.8, **{kind: 0.7}), n_samples=2.0, **WHITE)
             for kind in ("weight_decay", "l2")]
    assert distance(*apart) > 0.01


@pytest.mark.parametrize("n_hidden, gamma0, decay", [(1, 1.0, 0.3), (2, 1.5, 0.3)])
def test_fixed_point_of_weight_decay(n_hidden, gamma0, decay):
    """``lam (gamma0 b)^(2/(L+1)) = gamma0^2 b (1 - b)``: balanced layers of rank one, pulled back by their decay."""
    low, high = 0.5, 1.0
    for _ in range(200):
        b = (low + high) / 2
        low, high = (b, high) if gamma0**2 * b * (1 - b) > decay * (gamma0 * b)**(2 / (n_hidden + 1)) else (low, b)
    solution = solve_dmft(isotropic(1), n_steps=400, n_hidden=n_hidden, gamma0=gamma0,
                          optimizer=Optimizer(0.15 / gamma0, weight_decay=decay))
    assert solution.test_loss[-1] == pytest.approx((1 - b)**2, rel=2e-5)


def test_momentum_at_small_rates_is_descent_at_a_larger_one():
    """With ``eta (1 - mu)`` the distance falls with the rate, and half of it is left at half the rate."""
    distances = []
    for n in (50, 100, 200):
        eta = 1.2 / n
        plain = solve_dmft(isotropic(1), **WHITE | {"n_steps": n}, learning_rate=eta, n_samples=2.0)
        heavy = solve_dmft(isotropic(1), **WHITE | {"n_steps": n}, optimizer=Optimizer(eta * 0.5, momentum=0.5), n_samples=2.0)
        distances.append(distance(heavy, plain))
    ratios = np.divide(distances[1:], distances[:-1])
    assert distances[-1] < 0.05 and np.all(ratios < 0.6)
    assert 2 * ratios[1] - ratios[0] == pytest.approx(0.5, abs=0.02)       # ratios approach a half with the rate itself


def test_a_start_of_another_size_is_a_multiplier_with_another_rate():
    """Weights of deviation 1.3 are weights of deviation 1 behind a factor of 1.3, at a rate divided by 1.3 squared."""
    scaled = solve_dmft(isotropic(1), learning_rate=0.05, initial_scale=[1.0, 1.3, 1.0], n_samples=2.0, **WHITE)
    factor = solve_dmft(isotropic(1), optimizer=Optimizer(0.05, layer_rates=[1.0, 1 / 1.69, 1.0]), branch_scale=1.3,
                        n_samples=2.0, **WHITE)
    np.testing.assert_allclose(curves(scaled), curves(factor), rtol=1e-13)


def test_a_read_out_of_zero_starts_from_zero():
    solution = solve_dmft(isotropic(1), learning_rate=0.05, initial_scale=[1.0, 1.0, 0.0], **WHITE)
    assert solution.excess_loss[0] == pytest.approx(1.0, abs=1e-14) and solution.excess_loss[-1] < 0.9


def test_centred_networks_start_at_the_power_of_the_target_and_have_a_lazy_limit():
    ends = []
    for gamma0 in (0.1, 0.01, 0.001):
        solution = solve_dmft(isotropic(1), n_steps=19, n_hidden=2, width=0.5, gamma0=gamma0, learning_rate=0.05, n_samples=2.0,
                              centered=True)
        assert solution.test_loss[0] == pytest.approx(1.0, abs=1e-13)
        ends.append(solution.test_loss[-1])
    assert (ends[1] - ends[0]) / (ends[2] - ends[1]) == pytest.approx(100, rel=0.02)       # even in gamma0
    call = WHITE | {"width": np.inf, "n_samples": 2.0, "learning_rate": 0.05}
    wide = [solve_dmft(isotropic(1), centered=centered, **call) for centered in (False, True)]
    np.testing.assert_allclose(curves(wide[0]), curves(wide[1]), rtol=1e-13)


@pytest.mark.parametrize("n_hidden", [1, 2, 3])
def test_first_centred_step_at_any_width(n_hidden):
    """``(1 - (L + 1) eta)^2 + eta^2 L (L + 1)(2 L + 1) / (6 width)``, without an expansion."""
    eta, width, L = 0.07, 0.4, n_hidden
    solution = solve_dmft(isotropic(1), n_steps=1, n_hidden=L, width=width, gamma0=2.5, learning_rate=eta, centered=True)
    squares = L * (L + 1) * (2 * L + 1) / 6
    assert solution.test_loss[1] == pytest.approx((1 - (L + 1) * eta)**2 + eta**2 * squares / width, rel=1e-13)


def test_batches_that_come_again_have_their_limits():
    call = dict(learning_rate=0.05, **WHITE)
    full = solve_dmft(isotropic(1), n_samples=2.0, **call)
    for sampling in ("cycle", "shuffle", "replace"):       # the whole set at every step
        again = solve_dmft(isotropic(1), n_samples=2.0, batch_size=2.0, sampling=sampling, **call)
        np.testing.assert_allclose(curves(again), curves(full), rtol=1e-13)
    fresh = solve_dmft(isotropic(1), batch_size=0.5, **call)
    for sampling in ("cycle", "shuffle"):                  # each sample once: as many batches as losses
        once = solve_dmft(isotropic(1), n_samples=6.5, batch_size=0.5, sampling=sampling, **call)
        np.testing.assert_allclose(once.test_loss, fresh.test_loss, rtol=1e-13)
    gaps = [distance(solve_dmft(isotropic(1), n_samples=0.5 * n, batch_size=0.5, sampling="replace", **call), fresh)
            for n in (100, 1000)]
    assert gaps[1] < 0.15 * gaps[0] < 0.01
    in_turn = solve_dmft(isotropic(1), batch_size=[0.5, 0.5, 1.0], sampling="cycle", **call)
    assert in_turn.parameters["n_samples"] == 2.0


@pytest.mark.parametrize("data", [{}, {"n_samples": 2.0}, {"batch_size": 0.5},
                                  {"n_samples": 2.0, "batch_size": 0.5, "sampling": "shuffle"}])
def test_outputs_along_shared_eigenvectors_do_not_interact(data):
    """The system of all outputs gives the sum of those solved one by one."""
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    gram = [turn @ np.diag(powers) @ turn.T for powers in ([2.0, 0.5], [0.3, 1.0])]
    call = dict(learning_rate=0.03, width=1.0, n_hidden=2, n_steps=10, gamma0=1.5, noise=0.3) | data
    apart = solve_dmft(Spectrum([1.0, 0.4], gram, [0.4, 0.6]), **call)
    assert len(apart.outputs) == 2 and apart.M is None
    whole = dmft.solver._solve(Spectrum([1.0, 0.4], gram, [0.4, 0.6]), *dmft.solution._arguments(isotropic(1), **call))
    np.testing.assert_allclose(curves(apart), curves(whole), rtol=1e-12)
    np.testing.assert_allclose(apart.mode_loss, whole.mode_loss, rtol=1e-12)
    np.testing.assert_allclose(sum(apart.decomposition.values()), apart.test_loss, rtol=1e-12)
    single = [solve_dmft(Spectrum([1.0, 0.4], [p, q], [0.4, 0.6]), **call) for p, q in ((2.0, 0.3), (0.5, 1.0))]
    np.testing.assert_allclose(apart.test_loss, sum(s.test_loss for s in single), rtol=1e-13)
    assert solve_dmft(Spectrum([1.0], [[[1.0]]]), **call).outputs is None


def test_solutions_of_every_kind_are_kept_in_files(tmp_path):
    gram = [[[2.0, 0.0], [0.0, 0.6]]]
    rule = Optimizer(0.05, momentum=0.5, average=0.5)
    for number, call in enumerate((dict(spectrum=Spectrum([1.0], gram), optimizer=rule),
                                   dict(spectrum=isotropic(1), optimizer=rule, width=[1.0, 2.0]),
                                   dict(spectrum=isotropic(1), learning_rate=0.1, batch_size=[1.0, 2.0], sampling="cycle"))):
        solution = solve_dmft(**WHITE | call)
        solution.save(tmp_path / f"{number}.npz")
        again = dmft.Solution.load(tmp_path / f"{number}.npz")
        assert again.parameters == solution.parameters and repr(again) == repr(solution)
        kept, read = solution._arrays(), again._arrays()
        assert kept.keys() == read.keys() and all(np.array_equal(kept[name], read[name]) for name in kept)
        assert len(again.outputs or ()) == len(solution.outputs or ())


def test_outputs_that_interact_are_solved_together():
    gram = [[[2.0, 1.0], [1.0, 0.6]], [[1.0, -0.8], [-0.8, 2.0]]]
    solution = solve_dmft(Spectrum([1.0, 0.4], gram, [0.4, 0.6]), learning_rate=0.05, **WHITE)
    assert solution.outputs is None and solution.M.shape == (26, 26) and solution.kernel.shape == (12,)
    turned = np.array([[0.6, -0.8], [0.8, 0.6]]) @ np.array(gram) @ np.array([[0.6, 0.8], [-0.8, 0.6]])
    same = solve_dmft(Spectrum([1.0, 0.4], turned, [0.4, 0.6]), learning_rate=0.05, **WHITE)
    np.testing.assert_allclose(curves(solution), curves(same), rtol=1e-12)


def test_clipping_beyond_every_norm_and_normalising_by_hand():
    call = dict(n_samples=2.0, **WHITE)
    plain = solve_dmft(isotropic(1), learning_rate=0.05, **call)
    loose = solve_dmft(isotropic(1), optimizer=Optimizer(0.05, clip=1e6), **call)
    np.testing.assert_allclose(curves(loose), curves(plain), rtol=1e-13)
    np.testing.assert_allclose(loose.C_h, plain.C_h, rtol=1e-12, atol=1e-13)
    # |G|^2 = gamma0^2 (C_g1 C_h0 + C_g2 C_h1 + C_h2) at every time: a schedule that divides by it is normalised descent.
    tight = solve_dmft(isotropic(1), optimizer=Optimizer(0.05, clip=1e-3), **call)
    norms = np.sqrt(sum(np.diagonal(g) * np.diagonal(h) for g, h in zip([*tight.C_g, np.ones((13, 13))], tight.C_h)))
    by_hand = solve_dmft(isotropic(1), learning_rate=0.05 * 1e-3 / norms[:-1], **call)
    np.testing.assert_allclose(curves(tight), curves(by_hand), rtol=1e-12)
    np.testing.assert_allclose(tight.rates, 0.05 * 1e-3 / norms[:-1], rtol=1e-12)
    alone = solve_dmft(isotropic(1), optimizer=Optimizer(0.05, normalise=True, layer_rates=[0.0, 0.0, 1.0]), **call)
    assert np.all(np.isnan(alone.kernel)) and alone.excess_loss[-1] < alone.excess_loss[0]


def test_momentum_and_schedules_in_windows_of_rows(monkeypatch):
    """Long solutions are solved many rows at a time, and are the same as row by row."""
    rule = Optimizer(dmft.schedule("cosine", 300, 0.02, warm_up=20), momentum=0.7, weight_decay=0.1)
    call = dict(n_steps=300, n_hidden=2, width=0.5, gamma0=1.0, optimizer=rule, n_samples=2.0, noise=0.3, centered=True)
    blocks = solve_dmft(isotropic(1), **call)
    monkeypatch.setattr(dmft.solver, "FIRST", 1000)
    np.testing.assert_allclose(curves(blocks), curves(solve_dmft(isotropic(1), **call)), rtol=1e-9)


@pytest.mark.parametrize("rule", [dict(learning_rate=0.03), dict(optimizer=Optimizer(0.02, momentum=0.5, weight_decay=0.3,
                                                                                    layer_rates=[1.0, 2.0, 0.5]))])
@pytest.mark.parametrize("centered", [False, True])
def test_infinite_depth_is_the_limit_of_many_layers(rule, centered):
    call = dict(n_steps=10, width=1.0, gamma0=1.0, n_samples=2.0, noise=0.2, centered=centered)
    limit = solve_infinite_depth(isotropic(1), **call, **rule, initial_scale=[1.0, 0.8, 1.2], branch_scale=1.0)

    def deep(n):
        other = dict(rule)
        if "optimizer" in rule:
            other = {"optimizer": Optimizer(0.02, momentum=0.5, weight_decay=0.3, layer_rates=[1.0, *[2.0] * (n - 1), 0.5])}
        return solve_dmft(isotropic(1), n_hidden=n, skip=True, branch_scale=n**-0.5, initial_scale=[1.0, *[0.8] * (n - 1), 1.2],
                          **call, **other)
    first, second = (distance(deep(n), limit) for n in (16, 32))
    assert second < 0.6 * first < 0.03


# --- finite networks --------------------------------------------------------------------------------------------------

MIXED = [[[2.0, 1.0], [1.0, 0.6]], [[1.0, -0.8], [-0.8, 2.0]]]
NETWORKS = {
    "momentum": dict(optimizer=Optimizer(0.01, momentum=0.8), n_samples=2),
    "nesterov and rates": dict(optimizer=Optimizer(0.01, momentum=0.5, nesterov=True, layer_rates=[2.0, 1.0, 0.5]), n_samples=2),
    "decay and average": dict(optimizer=Optimizer(0.04, weight_decay=0.5, average=0.7), n_samples=2),
    "schedule online": dict(learning_rate=dmft.schedule("cosine", 15, 0.08, warm_up=4), batch_size=1),
    "clipped": dict(optimizer=Optimizer(0.1, clip=1.0), n_samples=2),
    "normalised": dict(optimizer=Optimizer(0.05, normalise=True, momentum=0.5), n_samples=2),
    "centred": dict(learning_rate=0.05, centered=True, gamma0=0.3, width=0.5, n_samples=2),
    "bottleneck": dict(learning_rate=0.03, n_hidden=3, width=[1, 0.25, 1.5], n_samples=2),
    "scales": dict(learning_rate=0.03, initial_scale=[0.5, 1.5, 0.7], n_samples=2),
    "outputs": dict(learning_rate=0.03, spectrum=Spectrum([1.0, 0.4], MIXED, [0.4, 0.6]), gamma0=1.5, n_samples=2),
    "residual": dict(optimizer=Optimizer(0.005, momentum=0.8, weight_decay=1.0), n_hidden=4, skip=True, branch_scale=0.7,
                     n_samples=2)}


@pytest.mark.parametrize("name", NETWORKS)
def test_theory_and_finite_networks(name):
    """The mean of networks is within 2 % or three standard errors, on average over time."""
    call, size, n = dict(spectrum=isotropic(1), n_steps=15, n_hidden=2, width=1, gamma0=1.0, noise=0.3) | NETWORKS[name], 200, 24
    theory = solve_dmft(**call)
    whole = call["spectrum"].multiplicity * size           # the same ratios, with whole numbers
    widths = (np.array(call["width"]) * size).astype(int).tolist()
    call |= {"spectrum": Spectrum(call["spectrum"].eigenvalues, call["spectrum"].target / size, whole), "width": widths}
    call |= {key: call[key] * size for key in ("n_samples", "batch_size") if key in call}
    networks = dmft.simulate(**call, rng=1, n_networks=n)
    for kind in ("test_loss", "train_loss", "average_test_loss", "average_train_loss"):
        if (exact := getattr(theory, kind)) is not None:
            runs = getattr(networks, kind)
            apart, error = runs.mean(0) / exact - 1, runs.std(0, ddof=1) / exact / n**0.5
            assert np.mean(np.abs(apart)) < max(0.02, 3 * np.mean(error)), kind


def test_small_batches_on_few_modes_have_one_more_noise():
    """Without the fourth moment of the inputs the first steps are a fifth too low."""
    call = dict(n_steps=2, n_hidden=2, gamma0=1.0, learning_rate=0.2, batch_size=4, width=512)
    spectrum = dmft.power_law(100, 1.5, 1.5)
    networks = dmft.simulate(spectrum, rng=0, n_networks=400, **call).test_loss[:, 1:]
    mean, error = networks.mean(0), networks.std(0, ddof=1) / 20
    without, whole = (solve_dmft(spectrum, batch_fourth_moment=on, **call).test_loss[1:] for on in (False, True))
    assert np.all(np.abs(whole - mean) < 3 * error) and np.all(without < mean - 4 * error) and np.all(without < 0.85 * whole)


# --- what must not be left out --------------------------------------------------------------------------------------

def without(monkeypatch, what):
    """Leave one term out of the equations."""
    if what == "response of the start":                    # of centring
        kept = _Data.signal

        def signal(self, rows, C_h0):
            self.parameters = self.parameters | {"centered": False}
            result = kept(self, rows, C_h0)
            self.parameters = self.parameters | {"centered": True}
            return result
        monkeypatch.setattr(_Data, "signal", signal)
    if what == "noise of random batches":
        monkeypatch.setattr(dmft._data._Batches, "__init__", silent(dmft._data._Batches.__init__, 0.0))
    if what == "noise between times of an epoch":
        monkeypatch.setattr(dmft._data._Batches, "__init__", silent(dmft._data._Batches.__init__, None))
    if what == "widths on the way down":
        kept = dmft.solver._Weights.__init__

        def equal(self, *arguments, **named):
            kept(self, *arguments, **named)
            self.down = self.up
        monkeypatch.setattr(dmft.solver._Weights, "__init__", equal)
    if what in ("start of the first weights", "start of the last weights"):
        kept, layer = dmft.solver._Weights.__init__, 0 if "first" in what else -1

        def whole(self, *arguments, **named):
            kept(self, *arguments, **named)
            self.start[layer] = None
        monkeypatch.setattr(dmft.solver._Weights, "__init__", whole)


def silent(kept, odds):
    def made(self, T, C, samples, batch, sampling):
        kept(self, T, C, samples, batch, sampling)
        self.odds = 0 * self.odds if odds is not None else self.odds * np.eye(len(self.odds))
    return made


@pytest.mark.parametrize("what, name", [
    ("response of the start", "centered"), ("noise of random batches", "reshuffle_small_momentum_decay"),
    ("noise between times of an epoch", "reshuffle_small_momentum_decay"), ("widths on the way down", "widths_bottleneck"),
    ("start of the first weights", "decay_momentum_residual"), ("start of the last weights", "decay_momentum_residual")])
def test_each_term_counts(monkeypatch, what, name):
    call = arguments(EXTENSIONS[name])
    whole = solve_dmft(**call)
    without(monkeypatch, what)
    assert distance(solve_dmft(**call), whole) > 0.01


# --- bad input ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("change, words", [
    (dict(optimizer="adam", learning_rate=None), "optimizer must be an Optimizer, got 'adam'.*linear rules.*Adam"),
    (dict(optimizer=Optimizer(0.1)), "exactly one of learning_rate and optimizer"),
    (dict(learning_rate=None), "exactly one of learning_rate and optimizer"),
    (dict(learning_rate=[0.1, 0.1]), "one entry for each of the 12 updates, got 2"),
    (dict(optimizer=Optimizer(0.1, layer_rates=[1.0, 2.0]), learning_rate=None), "layer_rates.*3 weight matrices, got 2"),
    (dict(width=[1.0, 2.0], skip=True), "same in all layers"),
    (dict(width=[1.0]), "2 hidden layers, got shape"), (dict(width=[1.0, np.inf]), "large numbers of these ratios"),
    (dict(branch_scale=[1.0, 1.0]), "branch_scale.*1 branches"), (dict(initial_scale=[1.0]), "initial_scale.*3 weight"),
    (dict(n_samples=2.0, batch_size=0.6, sampling="shuffle"), "epoch of 3.33333 batches has no end; 0.666667 would do"),
    (dict(n_samples=2.0, batch_size=4.0, sampling="replace"), "at most n_samples = 2"),
    (dict(n_samples=2.0, sampling="cycle"), "needs n_samples and batch_size"),
    (dict(n_samples=2.0, batch_size=1.0, sampling="often"), "sampling must be one of"),
    (dict(batch_size=[1.0, 1.0], sampling="shuffle"), "one number for sampling"),
    (dict(n_samples=3.0, batch_size=[1.0, 1.0], sampling="cycle"), "add up to n_samples"),
    (dict(batch_size=[1.0, 1.0]), "sampling='cycle' takes several"),
    (dict(n_samples=2.0, batch_fourth_moment=True), "give a batch_size"), (dict(centered=1.5), "centered must be True or False")])
def test_bad_arguments_are_named(change, words):
    with pytest.raises(ValueError, match=words):
        solve_dmft(isotropic(1), **WHITE | {"learning_rate": 0.05} | change)

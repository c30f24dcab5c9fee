"""What optimizers remember, against closed forms and against the rules themselves on numbers."""

import json

import numpy as np
import pytest

from dlnutils.dmft import Optimizer, schedule

T = 13                                                     # recorded times, of twelve updates
ETA = schedule("cosine", T - 1, 0.3, warm_up=3)
MU, DECAY = 0.7, 0.4


def sums(term):
    """``k(t, s)``, the sum of ``term(u, s, t)`` over updates ``s <= u < t``."""
    return np.array([[sum(term(u, s, t) for u in range(s, t)) for s in range(T)] for t in range(T)])


def kept(u, t):
    """What decoupled decay leaves of an update u at time t."""
    return np.prod(1 - ETA[u + 1:t] * DECAY)


CLOSED = {                                                 # the optimizer, its k, its d
    "descent": (Optimizer(ETA), sums(lambda u, s, t: ETA[u] * (u == s)), np.ones(T)),
    "heavy ball": (Optimizer(ETA, momentum=MU), sums(lambda u, s, t: ETA[u] * MU**(u - s)), np.ones(T)),
    "Nesterov": (Optimizer(ETA, momentum=MU, nesterov=True), sums(lambda u, s, t: ETA[u] * (MU**(u - s + 1) + (u == s))),
                 np.ones(T)),
    "decoupled decay": (Optimizer(ETA, momentum=MU, weight_decay=DECAY), sums(lambda u, s, t: ETA[u] * MU**(u - s) * kept(u, t)),
                        np.array([np.prod(1 - ETA[:t] * DECAY) for t in range(T)])),
    "decay without momentum": (Optimizer(ETA, weight_decay=DECAY), sums(lambda u, s, t: ETA[u] * (u == s) * kept(u, t)),
                               np.array([np.prod(1 - ETA[:t] * DECAY) for t in range(T)])),
    # The first gradient enters the velocity whole: PyTorch's rule.
    "dampening": (Optimizer(ETA, momentum=MU, dampening=0.3),
                  sums(lambda u, s, t: ETA[u] * MU**(u - s) * (0.7 if s else 1.0)), np.ones(T)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_memory_is_the_closed_form(name):
    rule, k, d = CLOSED[name]
    memory = rule.memory(T - 1, 2)
    assert memory.start.shape == (3, T) and len(memory.gradients) == 3 and memory.average is None
    np.testing.assert_allclose(memory.start, 3 * [d], rtol=1e-13)
    np.testing.assert_allclose(memory.gradients, 3 * [k], rtol=1e-13, atol=1e-15)


def test_decay_is_decoupled_or_not():
    """The same without momentum, and with it another rule."""
    def pair(**momentum):
        return (Optimizer(ETA, **{name: DECAY}, **momentum).memory(T - 1, 1) for name in ("weight_decay", "l2"))
    for one, other in (pair(), pair(momentum=0.0)):
        np.testing.assert_allclose(one.start, other.start, rtol=1e-14)
        np.testing.assert_allclose(one.gradients, other.gradients, rtol=1e-14)
    one, other = pair(momentum=MU)
    assert abs(one.start[0, -1] - other.start[0, -1]) > 0.1


RULES = {
    "all": Optimizer(ETA, momentum=MU, nesterov=True, weight_decay=[0.4, 0.0], l2=[0.1, 0.3], layer_rates=[1.0, 2.5],
                     average=0.8),
    "dampened": Optimizer(0.1, momentum=MU, dampening=1.0, weight_decay=0.2, l2=0.3, average=0.0),
    "frozen": Optimizer(0.1, momentum=MU, layer_rates=[0.0, 1.0], weight_decay=0.2, average=0.5),
}


@pytest.mark.parametrize("name", RULES)
def test_memory_carries_out_the_rule(name):
    """On numbers: the recurrence of weights, velocity and average, with gradients drawn at random."""
    rule, rng = RULES[name], np.random.default_rng(0)
    G, W = rng.standard_normal((2, T - 1)), rng.standard_normal(2)
    memory = rule.memory(T - 1, 1)
    start, rates, decays, l2s = W, *(np.broadcast_to(1.0 if x is None else x, 2)
                                     for x in (rule.layer_rates, rule.weight_decay, rule.l2))
    average, buffer = W, 0.0
    for t, eta in enumerate([*np.broadcast_to(rule.learning_rate, T - 1), None]):
        for found, (d, k) in ((W, memory[:2]), (average, memory.average)):
            made = [d[i, t] * start[i] + k[i][t, :-1] @ G[i] for i in range(2)]
            np.testing.assert_allclose(found, made, rtol=1e-12, atol=1e-14)
        if eta is None:
            break
        gradient = l2s * W - G[:, t]
        buffer = gradient if t == 0 else rule.momentum * buffer + (1 - rule.dampening) * gradient
        step = gradient + rule.momentum * buffer if rule.nesterov else buffer
        W = (1 - eta * rates * decays) * W - eta * rates * step
        average = rule.average * average + (1 - rule.average) * W
    assert not any(np.triu(k).any() for k in (*memory.gradients, *memory.average[1]))


def test_average_of_nothing_is_the_weights():
    memory = Optimizer(ETA, momentum=MU, weight_decay=DECAY, average=0.0).memory(T - 1, 1)
    np.testing.assert_array_equal(memory.average[0], memory.start)
    np.testing.assert_array_equal(memory.average[1], memory.gradients)


def test_layers_that_learn_alike_share_an_array():
    one = Optimizer(ETA, momentum=MU).memory(T - 1, 3).gradients
    assert len(one) == 4 and all(k is one[0] for k in one)
    a, b, c, d = Optimizer(ETA, layer_rates=[1.0, 2.0, 1.0, 2.0]).memory(T - 1, 3).gradients
    assert a is c and b is d and a is not b
    np.testing.assert_allclose(b, 2 * a, rtol=1e-15)
    k = np.tril(np.ones((T, T)), -1)
    given = Optimizer.from_memory(np.ones(T), k).memory(T - 1, 3).gradients
    assert all(k is given[0] for k in given)


def test_schedules_have_their_ends():
    np.testing.assert_array_equal(schedule("constant", 5, 0.2), 5 * [0.2])
    np.testing.assert_allclose(schedule("linear", 4, 0.4), [0.4, 0.3, 0.2, 0.1], rtol=1e-15)
    for kind in ("linear", "cosine"):
        rates = schedule(kind, 100, 0.5, warm_up=9)
        np.testing.assert_allclose(rates[:10], 0.05 * np.arange(1, 11), rtol=1e-14)
        assert rates.argmax() == 9 and np.all(np.diff(rates[9:]) < 0) and 0 < rates[-1] < 0.01
    np.testing.assert_allclose(schedule("cosine", 11, 1.0, warm_up=1)[[1, 6]], [1.0, 0.5], rtol=1e-15)
    np.testing.assert_allclose(schedule("constant", 4, 0.3, warm_up=2), [0.1, 0.2, 0.3, 0.3], rtol=1e-15)
    np.testing.assert_array_equal(schedule("cosine", 1, 0.3), [0.3])


def test_memory_makes_an_optimizer_again():
    """For all layers alike, and for each; with its average, and through JSON."""
    rule = Optimizer(ETA, momentum=MU, weight_decay=[0.4, 0.0, 0.2], layer_rates=[1.0, 2.0, 0.5], average=0.8)
    memory = rule.memory(T - 1, 2)
    again = Optimizer.from_memory(memory.start, memory.gradients, memory.average)
    stored = json.loads(json.dumps(again._parameters()))
    read = Optimizer.from_memory(stored["start"], stored["gradients"], stored["average"])
    for copy in (again.memory(T - 1, 2), read.memory(T - 1, 2)):
        for one, other in zip((*memory[:2], *memory.average), (*copy[:2], *copy.average)):
            np.testing.assert_array_equal(one, other)
    d, (k, *_), _ = Optimizer(ETA, momentum=MU).memory(T - 1, 2)
    np.testing.assert_array_equal(Optimizer.from_memory(d[0], k).memory(T - 1, 5).gradients, 6 * [k])
    assert Optimizer.from_memory(d[0], k).memory(T - 1, 5).average is None


def test_plain_descent_is_known():
    for rule in (Optimizer(0.1), Optimizer(np.float32(0.5)), Optimizer(0.1, momentum=0, weight_decay=0)):
        assert rule.plain and rule._parameters() is None
    for rule in (Optimizer(ETA), Optimizer(0.1, momentum=0.5), Optimizer(0.1, layer_rates=[1.0, 1.0]), Optimizer(0.1, clip=1.0),
                 Optimizer(0.1, average=0.0), Optimizer.from_memory(np.ones(2), np.zeros((2, 2)))):
        assert not rule.plain
    assert Optimizer(ETA)._parameters() is None            # a schedule is in learning_rate
    assert Optimizer(0.1, momentum=0.5, l2=[0.0, 1.0])._parameters() == {"momentum": 0.5, "l2": [0.0, 1.0]}


LOWER = np.tril(np.ones((3, 3)), -1)
BAD = {                                                    # a call, what the message must say
    "adam's rate": (lambda: Optimizer("adam"),
                    "learning_rate must be a number or one an update, got 'adam': an Optimizer has linear"),
    "no rate": (lambda: Optimizer(0.0), "learning_rate must be greater than 0, got 0.0: nothing would be learned"),
    "rates": (lambda: Optimizer([0.1, -0.1]), "learning_rate must be at least 0, got -0.1"),
    "no rates": (lambda: Optimizer([]), r"learning_rate must be a number or a list of numbers, got shape \(0,\)"),
    "table": (lambda: Optimizer(np.ones((2, 2))), r"learning_rate must be a number or a list of numbers, got shape \(2, 2\)"),
    "momentum": (lambda: Optimizer(0.1, momentum=1.0), "momentum must be below 1, got 1: the velocity would never forget"),
    "negative momentum": (lambda: Optimizer(0.1, momentum=-0.1), "momentum must be at least 0, got -0.1"),
    "dampening": (lambda: Optimizer(0.1, momentum=0.5, dampening=1.5), "dampening must be at most 1, got 1.5"),
    "nesterov": (lambda: Optimizer(0.1, nesterov=True),
                 "nesterov needs momentum and no dampening, got momentum 0 and dampening 0"),
    "dampened": (lambda: Optimizer(0.1, momentum=0.5, nesterov=True, dampening=0.5),
                 "nesterov needs momentum and no dampening, got"),
    "nesterov word": (lambda: Optimizer(0.1, nesterov="yes"), "nesterov must be True or False, got 'yes'"),
    "two flags": (lambda: Optimizer(0.1, normalise=np.array([True, False])), "normalise must be True or False, got array"),
    "decay": (lambda: Optimizer(0.1, weight_decay=-0.1), "weight_decay must be at least 0, got -0.1"),
    "one decay": (lambda: Optimizer(0.1, weight_decay=[0.1, -0.1]), "weight_decay must be at least 0, got -0.1"),
    "l2": (lambda: Optimizer(0.1, l2=-1), "l2 must be at least 0, got -1"),
    "layer rate": (lambda: Optimizer(0.1, layer_rates=[1.0, -1.0]), "layer_rates must be at least 0, got -1"),
    "average": (lambda: Optimizer(0.1, average=1.0), "average must be below 1, got 1: the average would never move"),
    "negative average": (lambda: Optimizer(0.1, average=-0.1), "average must be at least 0, got -0.1"),
    "clip": (lambda: Optimizer(0.1, clip=0.0), "clip must be greater than 0, got 0"),
    "both": (lambda: Optimizer(0.1, clip=1.0, normalise=True), "clip and normalise exclude each other, got clip = 1: leave"),
    "schedule length": (lambda: Optimizer(ETA).memory(T, 1),
                        f"learning_rate must have one entry for each of the {T} updates, got 12"),
    "rates length": (lambda: Optimizer(0.1, layer_rates=[1.0, 1.0]).memory(3, 2),
                     "layer_rates must be .* each of the 3 weight .* got 2"),
    "decay length": (lambda: Optimizer(0.1, weight_decay=[1.0]).memory(3, 2),
                     "weight_decay must be .* each of the 3 weight .* got 1"),
    "l2 length": (lambda: Optimizer(0.1, l2=4 * [1.0]).memory(3, 2), "l2 must be .* each of the 3 weight matrices, got 4"),
    "steps": (lambda: Optimizer(0.1).memory(-1, 2), "n_steps must be an integer of at least 0, got -1"),
    "hidden": (lambda: Optimizer(0.1).memory(3, 0), "n_hidden must be an integer of at least 1, got 0"),
    "diagonal": (lambda: Optimizer.from_memory(np.ones(3), LOWER + np.eye(3)),
                 "gradients must be strictly lower triangular, got"),
    "above": (lambda: Optimizer.from_memory(np.ones(3), np.ones((3, 3))), "gradients must be strictly lower triangular, got"),
    "average above": (lambda: Optimizer.from_memory(np.ones(3), LOWER, (np.ones(3), LOWER.T)),
                      "gradients of average must be strictly lower triangular, got"),
    "memory's shape": (lambda: Optimizer.from_memory(np.ones(2), LOWER),
                       r"gradients must have shape \(T, T\) .* got \(3, 3\) and \(2,\)"),
    "average's shape": (lambda: Optimizer.from_memory(np.ones(3), LOWER, (np.ones(2), LOWER)),
                        r"gradients of average must have shape"),
    "no pair": (lambda: Optimizer.from_memory(np.ones(3), LOWER, LOWER),
                r"average must be a pair \(start, gradients\), got array"),
    "memory's layers": (lambda: Optimizer.from_memory(np.ones(3), [LOWER, LOWER]).memory(2, 2),
                        "gradients must .* 3 weight .* got 2"),
    "start's layers": (lambda: Optimizer.from_memory(np.ones((2, 3)), LOWER).memory(2, 2),
                       "start must .* 3 weight matrices, got 2"),
    "memory's steps": (lambda: Optimizer.from_memory(np.ones(3), LOWER).memory(3, 2),
                       "n_steps must be 2, the updates of .* got 3"),
    "kind": (lambda: schedule("step", 5, 0.1), "kind must be one of 'constant', 'linear', 'cosine', got 'step'"),
    "warm-up": (lambda: schedule("linear", 5, 0.1, warm_up=5), "warm_up must be below n_steps = 5, got 5: it would never end"),
    "negative warm-up": (lambda: schedule("linear", 5, 0.1, warm_up=-1), "warm_up must be an integer of at least 0, got -1"),
    "peak": (lambda: schedule("linear", 5, 0.0), "peak must be greater than 0, got 0"),
    "no step": (lambda: schedule("linear", 0, 0.1), "n_steps must be an integer of at least 1, got 0"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

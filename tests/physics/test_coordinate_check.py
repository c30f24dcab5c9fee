"""The checks of a network that somebody else wrote: a wrapper has three methods, and what it lacks is named."""

import copy
import re

import numpy as np
import pytest

from dlnutils.perceptron import build, coordinate_check, own_change

RNG = np.random.default_rng(0)
X, Y, PROBE = RNG.standard_normal((20, 6)), RNG.integers(3, size=20), RNG.standard_normal((9, 6))


class Fake:
    """A network written without ours: ReLU layers by name, cross-entropy, one rate a layer; only the first has a bias."""

    def __init__(self, net):
        self.W = {f"layer{i}": W.copy() for i, W in enumerate(net.W)}
        self.bias = net.B[0].copy()
        rates, (self.bias_rate, *_) = net._rates(True)
        self.rates = dict(zip(self.W, rates))

    def weights(self):
        return self.W

    def fields(self, X, weights):
        x, found = X, {}
        for name, W in weights.items():
            found[name] = np.einsum("ni,oi->no", x, W) + (self.bias if name == "layer0" else 0)
            x = found[name] * (found[name] > 0)
        return found

    def step(self, X, y):
        h = self.fields(X, self.W)
        *_, f = h.values()
        p = np.exp(f) / np.exp(f).sum(1, keepdims=True)
        loss = -np.log(p[np.arange(len(y)), y]).mean()
        delta, names = (p - np.eye(f.shape[1])[y]) / len(y), list(self.W)
        for name, below in zip(names[::-1], [*names[-2::-1], None]):
            x = X if below is None else np.maximum(h[below], 0)
            down = None if below is None else (delta @ self.W[name]) * (h[below] > 0)
            self.W[name] -= self.rates[name] * delta.T @ x
            if below is None:
                self.bias -= self.bias_rate * delta.sum(0)
            delta = down
        return loss


def states(net, n_steps):
    end = copy.deepcopy(net)
    return net, end, [end.step(X, Y) for _ in range(n_steps)]


@pytest.mark.parametrize("name", ["mup", "sp"])
def test_a_wrapper_has_the_numbers_of_our_own_network(name):
    net = build(name, 3, 24, 6, 3, "relu", 0.3, dtype=np.float64, rng=1)
    start, end, losses = states(net, 3)
    first, last, others = states(Fake(net), 3)
    np.testing.assert_allclose(others, losses, rtol=1e-12)
    np.testing.assert_allclose(coordinate_check(first, last, PROBE), coordinate_check(start, end, PROBE), rtol=1e-9)
    np.testing.assert_allclose(own_change(first, last, PROBE), own_change(start, end, PROBE), rtol=1e-9)


def test_own_change_is_that_of_the_layers_own_weights():
    start, end, _ = states(build("mup", 3, 24, 6, 3, "relu", 0.3, dtype=np.float64, rng=1), 1)
    h = start.fields(PROBE)
    inputs = [PROBE, *(np.maximum(field, 0) for field in h[:-1])]
    by_hand = [np.abs(x @ (after - before).T).mean() for x, before, after in zip(inputs, start.W, end.W)]
    np.testing.assert_allclose(own_change(start, end, PROBE), by_hand, rtol=1e-10)
    frozen = start.copy()
    frozen.W[1] = end.W[1]                                 # only the second layer has moved: it is all of its own change
    own, total = own_change(start, frozen, PROBE), coordinate_check(start, frozen, PROBE)
    assert own[0] == own[2] == own[3] == total[0] == 0 and own[1] == total[1] > 0 and total[2] > 0


def test_layers_may_be_listed_in_any_order():
    net = Fake(build("mup", 2, 8, 6, 3, "relu", 0.3, dtype=np.float64, rng=1))
    start, end, _ = states(net, 1)
    wanted = own_change(start, end, PROBE)
    start.fields = lambda X, weights: dict(reversed(Fake.fields(start, X, weights).items()))
    assert own_change(start, end, PROBE).tolist() == wanted.tolist() and own_change(start, start, PROBE).tolist() == [0, 0, 0]


class Tensor:
    def __array__(self, *args, **options):
        raise RuntimeError("Can't call numpy() on a tensor that requires grad")


def broken(**methods):
    net = Fake(build("mup", 1, 4, 6, 3, "relu", 0.3, dtype=np.float64, rng=1))
    for name, method in methods.items():
        setattr(net, name, method)
    return net


GOOD = broken()
OTHER = broken(W={name: 2 * W for name, W in GOOD.W.items()})
BAD = {
    "no step": (lambda: broken(step=None), "which lacks step(X, y): see perceptron.Network"),
    "nothing": (lambda: object(), "which lacks weights(), fields(X, weights), step(X, y)"),
    "a class": (lambda: Fake, "which lacks weights()"),
    "no dict": (lambda: broken(weights=lambda: [1, 2]), "start.weights() must return a dict of arrays by layer, got [1, 2]"),
    "no layers": (lambda: broken(weights=dict), "start.weights() must return a dict of arrays"),
    "a layer": (lambda: broken(fields=lambda X, weights: {"layer0": np.ones((9, 4))}), "it lacks 'layer1'"),
    "a tensor": (lambda: broken(fields=lambda X, weights: dict.fromkeys(weights, Tensor())),
                 "got Tensor in 'layer0': turn it into a numpy array, for example with tensor.detach().numpy()"),
    "text": (lambda: broken(weights=lambda: {"layer0": "x", "layer1": "y"}), "must return arrays of numbers, got str"),
    "rows": (lambda: broken(fields=lambda X, weights: dict.fromkeys(weights, np.ones(4))),
             "must return one row a sample, 9, got shape (4,) in 'layer0'"),
    "deaf": (lambda: broken(fields=lambda X, weights: GOOD.fields(X, GOOD.W)), "must use the weights that it is given"),
}


@pytest.mark.parametrize("start, said", BAD.values(), ids=BAD)
def test_what_a_wrapper_lacks_is_named(start, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        own_change(start(), OTHER, PROBE)


def test_states_of_different_networks_are_refused():
    narrow = Fake(build("mup", 1, 3, 6, 3, "relu", 0.3, dtype=np.float64, rng=1))
    deeper = Fake(build("mup", 2, 4, 6, 3, "relu", 0.3, dtype=np.float64, rng=1))
    with pytest.raises(ValueError, match="end must have the shapes of start"):
        coordinate_check(GOOD, narrow, PROBE)
    with pytest.raises(ValueError, match=re.escape("end.weights() must return all layers that weights() names")):
        coordinate_check(deeper, GOOD, PROBE)
    with pytest.raises(ValueError, match="X must be finite"):
        coordinate_check(GOOD, OTHER, [[np.nan] * 6])

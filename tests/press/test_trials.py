"""The record of trials: its order, what survives a stop, and what pages read of it."""

import json
import os

import numpy as np
import pytest
from committed import BOOK

from dlnutils import _trials, sweep
from dlnutils.parameterizations import MODELS
from dlnutils.perceptron import MLP, accuracy
from dlnutils.press import trials


def test_the_plan_has_one_of_everything_before_the_second():
    plan = list(trials.plan(5))
    assert len(plan) == len(set(plan)) == 5 * 36 and all(name.endswith("/1") for name in plan[:36])
    assert plan[0] == "mnist/ip/relu/1" and plan[35] == "cifar10/ip_non_centered/tanh/1" and plan[36] == "mnist/ip/relu/2"
    assert all(name.split("/")[1] in MODELS for name in plan) and set(trials.plan(2, "mnist")) < set(plan)
    one = trials.point("mnist", "ipllr", "elu", 3)
    assert one["n_steps"] == 600 and one["n_rank_images"] == 5000 and one["seed"] == [2110, 2, 3]
    assert trials.point("cifar10", "mup", "elu", 3)["n_steps"] == 1200 and trials.point("mnist", "ip", "elu", 3)["n_steps"] == 60


def toy(data, model, activation, seed, n_steps, n_hidden, width, batch_size, learning_rate, n_rank_images, every):
    if os.environ.get("TOY_FAILS") == activation:
        raise RuntimeError("no more")
    return {"loss": np.linspace(2.3, 1 / 3, n_steps)[::every], "accuracy": 0.123456789, "predicted": np.arange(3),
            "last_loss": np.inf, "output": np.arange(n_steps)[::every] * 1.0}


def test_a_record_grows_trial_by_trial_and_goes_on_after_a_stop(tmp_path, monkeypatch):
    path, said = tmp_path / "deep" / "trials.json", []

    def go(**options):
        return list(trials.run(1, data="cifar10", path=path, echo=said.append, cache=tmp_path / "cache", compute=toy, **options))
    monkeypatch.setenv("TOY_FAILS", "elu")
    with pytest.raises(RuntimeError, match="toy failed at point 0, .*'activation': 'elu'.*: no more"):
        go()
    first = path.read_text()
    assert [one["id"] for one in json.loads(first)["trials"]] == ["cifar10/ipllr/relu/1", "cifar10/ipllr/gelu/1"]
    monkeypatch.delenv("TOY_FAILS")
    assert len(go()) == 14 and go() == [] and len(said) == 16
    assert all(line.rstrip(",") in path.read_text() for line in first.splitlines()[2:4])   # what was there stays as it was
    assert not list(path.parent.glob("*.part"))
    found = trials.Trials(json.loads(path.read_text()))
    assert [one["id"] for one in found.entries] == list(trials.plan(1, "cifar10"))
    one = found.of("cifar10", "mup", "tanh")[0]
    assert one["accuracy"] == 0.12346 and one["loss"][-1] == round(one["loss"][-1], 7) and one["predicted"] == [0, 1, 2]
    assert one["last_loss"] is None and one["modules"] and one["date"] and one["seed"] == [2110, 3, 1]
    steps, rows = found.curve("cifar10", "mup", "tanh")
    assert rows.shape == (1, 240) and steps[1] == 5 and len(steps) == 240
    assert np.isnan(found.values("cifar10", "mup", "tanh", "last_loss")).all()
    assert len(found.missing(1)) == 20 and found.curve("mnist", "mup", "tanh")[1].size == 0 and found.dates()[0] == one["date"]


def test_a_finished_trial_that_was_not_recorded_is_not_computed_again(tmp_path, monkeypatch):
    list(trials.run(1, data="cifar10", path=tmp_path / "a.json", echo=len, cache=tmp_path / "cache", compute=toy))
    monkeypatch.setenv("TOY_FAILS", "elu")                                                 # would fail if it ran
    list(trials.run(1, data="cifar10", path=tmp_path / "b.json", echo=len, cache=tmp_path / "cache", compute=toy))
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()


# --- a trial --------------------------------------------------------------------------------------------------------

@pytest.fixture
def small_images(monkeypatch):
    """Ten classes of noise of 12 pixels, as `_trials._images` has them."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 12)).astype(np.float32), rng.integers(10, size=400)
    monkeypatch.setattr(_trials, "_images", lambda data: (X, y, X[:100], y[:100]))
    return X, y


def small(model, **changed):
    options = {"n_steps": 30, "n_hidden": 3, "width": 24, "batch_size": 50, "learning_rate": 0.05, "n_rank_images": 60} | changed
    return _trials.trial("mnist", model, "elu", [1, 2, 3], every=5, **options)


@pytest.mark.parametrize("model", ["ip", "ipllr", "mup", "ip_bias", "ip_non_centered"])
def test_a_trial_keeps_what_the_paper_draws(small_images, model):
    found = small(model)
    assert found["loss"].shape == found["output"].shape == (6,) and len(found["rank_h"]) == len(found["rank_x"]) == 3
    assert found["predicted"].sum() == 100 and found["diverged_at"] == -1 and len(found["base_rates"]) == 4
    assert found["first_loss"][5] == found["loss"][1] and np.isfinite(found["last_loss"])
    assert (found["base_rates"][1:] != 0.05).all() == (model == "ipllr") and found["base_rates"][0] == 0.05
    again = small(model)
    assert all(np.array_equal(found[name], again[name]) for name in found)
    assert "rank_h" not in small(model, n_rank_images=0)


def test_models_of_one_seed_share_draws_and_images(small_images):
    first = {model: small(model, n_steps=3) for model in ("ip", "mup")}
    assert first["ip"]["output"][0] < first["mup"]["output"][0]
    assert small("mup", n_steps=3)["first_loss"][0] != pytest.approx(np.log(10), abs=1e-6)


def test_accuracies_of_a_trial_are_those_of_its_network(small_images, monkeypatch):
    nets = []

    class Kept(MLP):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            nets.append(self)
    monkeypatch.setattr(_trials, "MLP", Kept)
    found, (X, y) = small("mup"), small_images
    assert found["accuracy_by_outputs"] == accuracy(nets[-1], X[:100], y[:100])
    assert found["predicted"].tolist() == np.bincount(nets[-1].forward(X[:100]).argmax(1), minlength=10).tolist()
    assert found["accuracy"] == accuracy(nets[-1], X[:100], y[:100], by="probabilities")


def test_a_trial_is_keyed_by_the_modules_it_imports():
    used = sweep._made_of(_trials.trial)
    assert used == sweep.modules_hash("dlnutils._trials") != sweep.package_hash()
    assert sweep._made_of(toy) == sweep.package_hash()


# --- what is committed ----------------------------------------------------------------------------------------------

def test_the_committed_record_is_of_the_plan():
    path = BOOK / "records" / "integrable" / "trials.json"
    record = trials._read(path)                            # empty before the first has finished
    plan = trials.plan(max([5, *(one["trial"] for one in record["trials"])]))
    assert record["settings"] == trials.SETTINGS and len({one["id"] for one in record["trials"]}) == len(record["trials"])
    for one in record["trials"]:
        wanted = plan[one["id"]]
        assert all(one[name] == wanted[name] for name in ("seed", "n_steps", "n_rank_images", "data", "model", "activation"))
        assert len(one["loss"]) == len(one["output"]) == wanted["n_steps"] // 5 and sum(one["predicted"]) == 10_000
    assert not path.exists() or path.stat().st_size < 2**20


def test_what_the_paper_prints_can_be_read():
    paper = trials.published()
    assert "25(196)" in paper.record["source"] and "/work" not in json.dumps(paper.record)
    curve = paper.curve("1b", "elu")
    assert len({len(array) for array in curve.values()}) == 1 and curve["mean"][1] == pytest.approx(0.511, abs=1e-3)
    assert curve["low"][1] < curve["mean"][1] < curve["high"][1] and len(paper.curve("4d", "tanh")["steps"]) == 13
    for panel in ("1a", "1b", "2a", "2b", *(f"{number}{letter}" for number in "45" for letter in "abcd")):
        for activation in trials.ACTIVATIONS:
            assert np.isfinite(paper.curve(panel, activation)["mean"]).all()
    assert paper.ranks("3a", "relu").tolist() == [600, 147, 9.3, 2.4, 1, 1] and paper.ranks("3b", "tanh", "x")[-1] == 1022
    assert paper.accuracy("mnist", "mup", "gelu") == 0.975 and np.isnan(paper.accuracy("mnist", "ip_bias", "relu"))
    five = paper.trials("cifar10", "ipllr", "elu")
    assert len(five) == 5 and five.mean() == pytest.approx(paper.accuracy("cifar10", "ipllr", "elu"), abs=6e-4)
    assert paper.trials("mnist", "mup", "gelu").size == 0

"""The table behind the explorer of transfer: its entries are what the solver says today."""

from pathlib import Path

import numpy as np
import pytest

from dlnutils import dmft, runner

BOOK = Path(__file__).resolve().parent.parent
TABLE = "application/vnd.dln.table+json"


@pytest.fixture(scope="module")
def table():
    notebook = runner.read_notebook(runner.notebook_path(BOOK, "transfer/explorer-data"))
    found = [output["data"][TABLE] for cell in notebook["cells"] for output in cell.get("outputs", ())
             if TABLE in output.get("data", {})]
    if not found:
        pytest.skip("the notebook transfer/explorer-data has no outputs yet: 'dln run' and 'dln accept' it")
    return found[0]


def losses(table, kind):
    """Losses as an array, the learning rate last; infinite where training diverged."""
    shape = [len(table[axis]) for axis in table["axes"][:-1]] + [len(table["learning_rate"][0])]
    return np.array([np.inf if value is None else value for value in table[f"{kind}_loss"]]).reshape(shape)


def solve(table, entry):
    """The solver's answer for an entry, without the shortcuts of the notebook."""
    scaling, gamma, n_hidden, data, width = (table[axis][i] for axis, i in zip(table["axes"][:-1], entry))
    # Infinite width in NTK: so wide that richness times width is all that is left.
    width = {"µP": np.inf, "NTK": 1e12}[scaling] if width == "infinite" else width
    return dmft.solve_dmft(
        dmft.isotropic(1), n_steps=table["n_updates"] + 1, n_hidden=n_hidden, width=width, **data,
        gamma0=gamma if scaling == "µP" else gamma / np.sqrt(width),
        learning_rate=table["learning_rate"][entry[2]][entry[-1]])


@pytest.mark.parametrize("seed", range(30))
def test_entries_are_the_solvers(table, seed):
    test, train = losses(table, "test"), losses(table, "train")
    entry = tuple(np.random.default_rng(seed).integers(test.shape))
    solution = solve(table, entry)
    for kept, fresh in ((test, solution.test_loss[-1]), (train, solution.train_loss[-1])):
        if np.isfinite(kept[entry]):
            assert fresh == pytest.approx(kept[entry], rel=6e-4)       # half a unit of four digits is at most 5e-4
        else:
            assert np.isinf(fresh)


@pytest.mark.parametrize("depth", range(3))
def test_infinitely_wide_ntk_networks_are_lazy(table, depth):
    """The notebook takes them from one lazy solution: here richness vanishes and the random start stays."""
    for data in range(3):
        entry = (table["scaling"].index("NTK"), 1, depth, data, len(table["width"]) - 1, 6)
        assert solve(table, entry).test_loss[-1] == pytest.approx(losses(table, "test")[entry], rel=6e-4)


def test_every_axis_has_its_length(table):
    assert losses(table, "test").shape == losses(table, "train").shape == (2, 4, 3, 3, 6, 15)
    assert len(table["learning_rate"]) == len(table["n_hidden"])


def test_both_scalings_are_one_network_where_width_is_the_inputs(table):
    one = table["width"].index(1)
    for kind in ("test", "train"):
        mup, ntk = losses(table, kind)[..., one, :]
        assert (mup == ntk).all() and np.isfinite(mup[..., :8]).all()

"""The table behind the explorer of transfer: it is what the solver says today, and says what the explorer's page says it does."""

import itertools
import json

import numpy as np
import pytest
from committed import BOOK

from dlnutils import dmft
from dlnutils.press.ext import explorer_table
from dlnutils.press.ext.explorer_table import DATA, DEPTHS, N_STEPS, OCTAVES, RICHNESS, SCALINGS, WIDTHS

STEP = OCTAVES[1] - OCTAVES[0]
RICH, SHOWN = RICHNESS.index(4), (DEPTHS.index(2), DATA.index({"n_samples": 4}))
ONE = WIDTHS.index(1)


@pytest.fixture(scope="module")
def table():
    return explorer_table.read_table(BOOK)


@pytest.fixture(scope="module")
def test(table):
    return explorer_table.losses_of(table, "test")


def valley(curve):
    """Index of the entry after which the loss rises, or training diverges, for the first time."""
    return int(np.argmax(np.append(~(curve[1:] <= curve[:-1]) | np.isinf(curve[1:]), True)))


def best_octave(curve):
    """Base-2 logarithm of the rate times the kernel at the bottom of the valley, by a parabola: the rule of the explorer."""
    i = valley(curve)
    if i in (0, len(curve) - 1) or not np.isfinite(curve[i + 1]):
        return OCTAVES[i]
    left, middle, right = np.log(curve[i - 1:i + 2])
    return OCTAVES[i] + STEP / 2 * (left - right) / (left - 2 * middle + right)


@pytest.fixture(scope="module")
def best(test):
    """Over scaling, richness, depth, data and width."""
    return np.apply_along_axis(best_octave, -1, test)


def solve(entry):
    """The solver's answer for an entry, without the shortcuts of the table."""
    scaling, gamma, n_hidden, data, width, octave = (
        axis[i] for axis, i in zip((SCALINGS, RICHNESS, DEPTHS, DATA, WIDTHS, OCTAVES), entry))
    if scaling == "NTK" and width == np.inf:
        width = 1e12                                       # so wide that richness times width is all that is left
    return dmft.solve_dmft(
        dmft.isotropic(1), n_steps=N_STEPS, n_hidden=n_hidden, width=width, learning_rate=2**octave / (n_hidden + 1), **data,
        gamma0=gamma if scaling == "µP" else gamma / np.sqrt(width))


# --- the file -------------------------------------------------------------------------------------------------------

def test_the_file_says_where_it_comes_from_and_has_the_axes_of_the_module(table):
    assert table["made_by"] == "dln explorer" and table["dlnutils"].count(".") == 2
    assert [table[name] for name in ("scaling", "gamma", "n_hidden", "data", "n_updates")] == [
        SCALINGS, RICHNESS, DEPTHS, DATA, N_STEPS]
    assert table["width"] == [*WIDTHS[:-1], "infinite"]
    for n_hidden, rates in zip(DEPTHS, table["learning_rate"], strict=True):
        np.testing.assert_allclose(rates, 2.0**np.array(OCTAVES) / (n_hidden + 1), rtol=1e-11)


def test_every_axis_has_its_length(table):
    shape = tuple(map(len, (SCALINGS, RICHNESS, DEPTHS, DATA, WIDTHS, OCTAVES)))
    assert shape == (2, 4, 3, 3, 6, 15) and len(table["axes"]) == 6
    assert all(len(table[f"{kind}_loss"]) == np.prod(shape) for kind in ("test", "train"))
    assert explorer_table.losses_of(table, "test").shape == shape


def test_text_and_table_are_the_same(table):
    text = (BOOK / explorer_table.PATH).read_text(encoding="utf-8")
    assert explorer_table.as_text(table) == text and json.loads(text) == table
    assert max(map(len, text.splitlines())) < 1000


# --- the numbers ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(30))
def test_entries_are_the_solvers(table, seed):
    """Drawn over all axes; to four digits, of which half a unit is at most 5e-4."""
    test, train = (explorer_table.losses_of(table, kind) for kind in ("test", "train"))
    entry = tuple(np.random.default_rng(seed).integers(test.shape))
    solution = solve(entry)
    for kept, fresh in ((test, solution.test_loss[-1]), (train, solution.train_loss[-1])):
        if np.isfinite(kept[entry]):
            assert fresh == pytest.approx(kept[entry], rel=6e-4)
        else:
            assert np.isinf(fresh)


@pytest.mark.parametrize("depth", range(3))
def test_infinitely_wide_ntk_networks_are_lazy(test, depth):
    """The table takes them from one lazy solution: here richness vanishes and the random start stays."""
    for data in range(3):
        entry = (SCALINGS.index("NTK"), 1, depth, data, len(WIDTHS) - 1, 6)
        assert solve(entry).test_loss[-1] == pytest.approx(test[entry], rel=6e-4)


def test_the_command_writes_what_is_committed(test):
    """A few entries as the command computes them."""
    for entry in ((0, 0, 0, 0, 0, 3), (1, 3, 2, 1, 5, 8), (0, 2, 1, 2, 3, 5), (1, 1, 0, 0, 2, 14)):
        axes = (SCALINGS, RICHNESS, DEPTHS, range(3), WIDTHS, OCTAVES)
        fresh = explorer_table.losses(*(axis[i] for axis, i in zip(axes, entry)))
        assert fresh[0] == test[entry] == np.inf or fresh[0] == pytest.approx(test[entry], rel=6e-4)


def test_both_scalings_are_one_network_where_width_is_the_inputs(table):
    for kind in ("test", "train"):
        mup, ntk = explorer_table.losses_of(table, kind)[..., ONE, :]
        assert (mup == ntk).all() and np.isfinite(mup[..., :8]).all()


@pytest.mark.parametrize("entry", [(0, 1, 0, 0, 1, 6), (0, 2, 1, 1, 2, 4), (1, 3, 1, 1, 2, 6), (0, 1, 2, 2, 2, 5)])
def test_finite_networks_agree(test, entry):
    """Left of the valley, a hundred inputs: within three standard errors or 2 %."""
    scaling, gamma, n_hidden, data, width, octave = (
        axis[i] for axis, i in zip((SCALINGS, RICHNESS, DEPTHS, DATA, WIDTHS, OCTAVES), entry))
    networks = dmft.simulate(
        dmft.isotropic(100), n_steps=N_STEPS, n_hidden=n_hidden, width=round(width * 100), rng=2039, n_networks=20,
        gamma0=gamma if scaling == "µP" else gamma / np.sqrt(width), learning_rate=2**octave / (n_hidden + 1),
        **{name: 100 * count for name, count in data.items()})
    last = networks.test_loss[:, -1]
    assert abs(last.mean() - test[entry]) < max(3 * last.std(ddof=1) / 20**0.5, 0.02 * test[entry])


# --- what the page says of them -------------------------------------------------------------------------------------

def test_valleys_are_inside_the_rates(test):
    bottoms = np.apply_along_axis(valley, -1, test)
    assert bottoms.min() >= 2 and len(OCTAVES) - 1 - bottoms.max() >= 2


@pytest.mark.parametrize("curve", [(0, 1, 1, 1, 1), (0, 3, 1, 2, 4), (1, 1, 1, 2, 4), (1, 3, 1, 1, 1)])
def test_a_best_rate_is_known_to_a_fifth_of_an_octave(test, best, curve):
    setting = [axis[i] for axis, i in zip((SCALINGS, RICHNESS, DEPTHS, range(3), WIDTHS), curve)]
    fine = OCTAVES[valley(test[curve])] + STEP * np.linspace(-1, 1, 21)
    found = fine[np.argmin([explorer_table.losses(*setting, octave)[0] for octave in fine])]
    assert abs(best[curve] - found) < 0.2


def test_the_best_rate_of_rich_networks_stays_in_mup_and_moves_in_ntk(best):
    mup, ntk = best
    assert np.ptp(mup[RICH][SHOWN]) < 0.4                  # octaves, over all widths
    assert ntk[RICH][SHOWN][-1] - ntk[RICH][SHOWN][0] > 2.5
    assert np.ptp(mup[RICH, ..., ONE:], axis=-1).max() < 0.5 and np.ptp(ntk[RICH, ..., ONE:], axis=-1).min() > 0.8


def test_the_target_must_outweigh_the_start(best):
    """From a quarter as many neurons as inputs to infinite width, over the depths: rich networks transfer, lazy ones do not."""
    shift = best[0, :, :, SHOWN[1], -1] - best[0, :, :, SHOWN[1], 0]
    assert np.abs(shift[RICH]).max() < 0.35 and shift[0].min() > 0.7
    assert (np.diff(shift[:RICH + 1].mean(1)) < 0).all()
    assert np.ptp(best[0, 1][SHOWN][ONE:]) < 0.55 < 1.2 < np.ptp(best[0, 1][SHOWN])


def test_wider_is_better_in_mup(test, best):
    """At rates up to half the best, whatever the richness, depth or data."""
    for place in itertools.product(*map(range, test.shape[1:4])):
        for width in range(len(WIDTHS) - 1):
            below = np.array(OCTAVES) <= best[0][place][width] - 1
            narrow, wide = test[0][place][width:width + 2]
            assert (wide[below] <= narrow[below]).all()

"""Words in figures: their size as shown, and their contrast with what lies behind them."""

import matplotlib as mpl
import numpy as np
import pytest

from dlnutils.press.legibility import COLUMN, contrast, legibility

mpl.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


@pytest.fixture
def axes():
    fig, ax = plt.subplots(figsize=(5, 4), dpi=110)
    ax.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    yield ax
    plt.close(fig)


def test_contrast_is_that_of_the_guidelines():
    assert contrast((1, 1, 1), (0, 0, 0)) == 21 and contrast((0.3, 0.3, 0.3), (0.3, 0.3, 0.3)) == 1
    np.testing.assert_allclose(contrast(np.array([0x76] * 3) / 255, (1, 1, 1)), 4.54, atol=0.01)   # the classic border case


def test_the_smallest_and_the_faintest_words_are_named(axes):
    axes.text(0.2, 0.2, "small", fontsize=6)
    axes.text(0.2, 0.8, "faint", fontsize=10, color="0.7")
    axes.text(0.6, 0.5, "fine", fontsize=9, color="0.1")
    found = legibility(axes.figure)
    assert found["points"] == (6, "small") and found["contrast"][1] == "faint"
    assert found["contrast"][0] == pytest.approx(contrast((0.7,) * 3, (1, 1, 1)), abs=0.02)


def test_a_wide_figure_is_shown_smaller(axes):
    axes.figure.set_size_inches(2 * COLUMN / 110, 4)
    axes.text(0.2, 0.2, "words", fontsize=10)
    assert legibility(axes.figure)["points"][0] == pytest.approx(5)


def test_words_on_a_map_are_judged_on_the_map(axes):
    axes.axvspan(0, 0.5, color="0.05")
    axes.text(0.25, 0.5, "white", color="w", ha="center")
    assert legibility(axes.figure)["contrast"][0] > 15
    axes.text(0.75, 0.5, "lost", color="w", ha="center")
    assert legibility(axes.figure)["contrast"] == (1.0, "lost")


def test_a_card_is_the_background_of_its_words(axes):
    axes.axvspan(0, 1, color="0.05")
    axes.text(0.5, 0.5, "on a card", color="k", bbox={"facecolor": "w", "alpha": 1.0})
    assert legibility(axes.figure)["contrast"][0] == 21


def test_an_outline_is_the_background_of_its_words(axes):
    from matplotlib.patheffects import withStroke
    axes.text(0.5, 0.5, "ringed", color="w", path_effects=[withStroke(linewidth=3, foreground="k")])
    assert legibility(axes.figure)["contrast"][0] == 21


def test_hidden_words_do_not_count_and_the_figure_stays_as_it_was(axes):
    hidden = axes.text(0.5, 0.5, "hidden", fontsize=3, visible=False)
    shown = axes.text(0.5, 0.5, "shown")
    axes.set_xlabel("label of axes that are off", fontsize=4)
    axes.set_axis_off()
    canvas = axes.figure.canvas
    assert legibility(axes.figure)["points"][1] == "shown"
    assert shown.get_visible() and not hidden.get_visible() and axes.figure.canvas is canvas


def test_a_figure_without_words_has_nothing_to_read(axes):
    axes.set_axis_off()
    assert legibility(axes.figure) == {}

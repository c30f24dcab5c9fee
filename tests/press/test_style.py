"""The style and its helpers draw what they promise."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from dlnutils.press import style

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture
def ax():
    with plt.rc_context():
        style.use_style()
        figure, ax = plt.subplots()
        yield ax
        plt.close(figure)


def test_use_style_is_idempotent_and_complete():
    with plt.rc_context():
        style.use_style()
        once = dict(plt.rcParams)
        plt.rcParams["font.size"] = 30                     # whatever an earlier cell did
        plt.rcParams["lines.linestyle"] = ":"
        style.use_style()
        assert dict(plt.rcParams) == once
        assert plt.rcParams["figure.figsize"][0] == style.WIDTH == 7 and plt.rcParams["figure.dpi"] == 110
        assert matplotlib.get_backend().lower() == "agg"   # the backend is the session's business
        cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
        assert set(cycle) <= set(style.COLORS.values()) and len(set(cycle)) == len(cycle)


def lightness(color):
    """Relative luminance (linear sRGB weights)."""
    rgb = np.array(to_rgba(color)[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055)**2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


@pytest.mark.parametrize("color", ["white", "yellow", "0.7", "#E69F00", "#56B4E9", *style.sequential(3)])
def test_ink_of_a_light_colour_is_its_hue_and_can_be_read_on_white(color):
    ink = np.array(style.ink(color))
    assert 1.05 / (lightness(ink) + 0.05) == pytest.approx(4.5) or tuple(ink) == pytest.approx(to_rgba(color)[:3])
    assert 1.05 / (lightness(ink) + 0.05) > 4.49
    assert np.argsort(ink, kind="stable").tolist() == np.argsort(to_rgba(color)[:3], kind="stable").tolist()


def test_ink_leaves_dark_colours_alone():
    for color in ("black", "#0072B2", "0.1", "darkred"):
        assert style.ink(color) == pytest.approx(to_rgba(color)[:3])


def test_one_colour_for_one_thing():
    from dlnutils import parameterizations
    assert list(style.REGIMES) == ["lazy", "mixed", "rich"]
    for table in (style.REGIMES, style.MODELS, style.ACTIVATIONS):
        assert len(set(table.values())) == len(table)
    for name in style.MODELS:
        parameterizations.parameterization(name, 3)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_sequential_runs_from_light_to_dark(n):
    colors = style.sequential(n)
    assert len(colors) == n == len(set(colors)) and all(len(color) == 4 for color in colors)
    assert np.all(np.diff([lightness(color) for color in colors]) < 0)


def test_theory_is_dark_dashed_and_on_top_of_simulation():
    assert style.THEORY["zorder"] > style.SIMULATION["zorder"]
    assert style.THEORY["linewidth"] < style.SIMULATION["linewidth"]
    assert lightness(style.THEORY["color"]) < 0.05 and style.THEORY["linestyle"] != "-"


def test_band(ax):
    x, mean, spread = np.arange(4.0), np.array([1.0, 2.0, 4.0, 8.0]), np.array([0.5, 0.5, 1.0, 2.0])
    line = style.band(ax, x, list(mean), list(spread), color="C1", label="simulation", linewidth=1)
    assert ax.lines[:] == [line] and line.get_label() == "simulation" and line.get_linewidth() == 1
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([x, mean]))
    (area,) = ax.collections
    corners = area.get_paths()[0].vertices
    for i in range(4):
        heights = corners[corners[:, 0] == x[i], 1]
        assert heights.min() == mean[i] - spread[i] and heights.max() == mean[i] + spread[i]
    assert to_rgba(line.get_color())[:3] == tuple(area.get_facecolor()[0, :3])
    assert area.get_zorder() < line.get_zorder() < style.THEORY["zorder"]


@pytest.mark.parametrize("at, point", [(1.0, (4.0, 16.0)), (0.0, (0.0, 0.0)), (0.5, (2.0, 4.0))])
def test_label_curve(ax, at, point):
    x = [0.0, 1.0, 2.0, 3.0, 4.0]
    label = style.label_curve(ax, x, [v**2 for v in x], "L = 3", at=at, color="yellow")
    assert label.get_text() == "L = 3" and label.xy == point and label.get_color() == style.ink("yellow")
    assert label in ax.texts


@pytest.mark.parametrize("slope, label, text", [(-2.0, None, "-2"), (0.5, "1/2", "1/2")])
def test_slope_triangle(ax, slope, label, text):
    style.slope_triangle(ax, 10.0, 3.0, slope, decades=1.0, label=label)
    (line,) = ax.lines
    corners = line.get_xydata()
    np.testing.assert_array_equal(corners[0], corners[-1])                 # closed
    np.testing.assert_array_equal(corners[0], [10.0, 3.0])
    (x0, y0), (x1, _), (_, y1) = corners[:3]
    assert np.log(y1 / y0) / np.log(x1 / x0) == pytest.approx(slope) and x1 == pytest.approx(100)
    assert [annotation.get_text() for annotation in ax.texts] == [text]


def test_panel_letters():
    with plt.rc_context():
        figure, axes = plt.subplots(2, 2)
        style.panel_letters(axes)
        assert [ax.texts[0].get_text() for ax in axes.ravel()] == list("abcd")
        assert all(ax.texts[0].get_fontweight() == "bold" for ax in axes.ravel())
        plt.close(figure)


def test_figure_renders(ax):
    """Everything together, through the layout engine of the style."""
    x = np.geomspace(1, 100, 9)
    style.band(ax, x, x**-1, 0.1 * x**-1, color=style.COLORS["blue"])
    ax.plot(x, x**-1, **style.THEORY)
    ax.set(xscale="log", yscale="log", xlabel="width $N$", ylabel="loss")
    style.slope_triangle(ax, 3.0, 0.5, -1.0)
    style.label_curve(ax, x, x**-1, "theory")
    style.panel_letters(ax)
    ax.figure.canvas.draw()
    assert np.asarray(ax.figure.canvas.buffer_rgba()).shape == (352, 770, 4)       # 7 x 3.2 in at 110 dpi

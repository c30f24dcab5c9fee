"""The rows of a picture: meshes and stairs give their values where they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlnutils.press.figure_rows import artists


@pytest.mark.parametrize("shading, places", [("gouraud", [0.0, 1.0, 3.0]), ("nearest", [0.0, 1.25, 3.0])])
def test_a_mesh_has_its_values_where_they_are_drawn(shading, places):
    """At the corners with Gouraud shading, else at the centres of cells whose edges lie half way."""
    values = np.arange(6.0).reshape(2, 3)
    figure, ax = plt.subplots()
    ax.pcolormesh([0.0, 1.0, 3.0], [0.0, 2.0], values, shading=shading)
    rows = [row for row in artists(figure) if row[1] == "mesh"]
    plt.close(figure)
    assert [row[5] for row in rows] == list(range(6))
    assert [float(row[3]) for row in rows] == places * 2


@pytest.mark.parametrize("fill", [True, False])
def test_stairs_give_one_bar_a_bin(fill):
    figure, ax = plt.subplots()
    ax.stairs([2.0, 5.0], [0.0, 1.0, 3.0], baseline=1.0, fill=fill, label="counted")
    rows = [tuple(map(str, row)) for row in artists(figure)]
    plt.close(figure)
    assert rows == [("0", "bar", "counted", "0.0", "1.0", "1.0", "1.0"), ("0", "bar", "counted", "1.0", "1.0", "2.0", "4.0")]

"""The table of symbols on the page on the derivation and the names in the code are one alphabet."""

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from dlnutils import dmft

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "derivation-dmft.md").read_text(encoding="utf-8")
PACKAGE = ROOT / "dlnutils" / "dmft"
#: A letter, perhaps with an index: what a matrix over two times is called. In `_rows` they stand for any matrix.
MATRIX = re.compile(r"[A-Z](_[a-z0-9]+)?|m_[a-z0-9]")
#: Letters that are no order parameter: distinct modes, numbers of outputs, Q and C of either direction, carried through layer
#: time, and within one function a row of R_delta.
OTHER = {"K", "Q", "C", "B", "R"}


def table():
    """(symbol, name in the code, meaning, equation) of every row."""
    rows = re.findall(r"^\| (\$.+?\$) \| `(\w+)` \| (.+?) \| (.*?) ?\|$", PAGE, re.M)
    assert len(rows) > 30
    return rows


def names(path):
    """Every name in a module: variables, attributes, arguments and keywords."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        for field in ("id", "attr", "arg"):
            if isinstance(name := getattr(node, field, None), str):
                yield name


def test_every_symbol_of_the_table_is_a_name_in_the_code():
    known = {name for path in PACKAGE.glob("*.py") for name in names(path)}
    assert {name for _, name, *_ in table()} <= known


def test_every_matrix_in_the_code_is_in_the_table():
    listed = {name for _, name, *_ in table()}
    for module in ("solver", "_data", "infinite_depth", "solution"):
        found = {name for name in names(PACKAGE / f"{module}.py") if MATRIX.fullmatch(name)}
        assert found - OTHER <= listed, module


def test_no_letter_means_two_things():
    symbols, code = [symbol for symbol, *_ in table()], [name for _, name, *_ in table()]
    assert len(set(symbols)) == len(symbols) and len(set(code)) == len(code)


def test_the_page_uses_the_letters_of_its_table():
    before = PAGE[:PAGE.index("## Symbols")]
    assert [symbol for symbol, *_ in table() if symbol.strip("$") not in before] == []


@pytest.mark.parametrize("nu, gamma0", [(0.5, 1.0), (3.0, 2.0)])
def test_the_worked_example_is_the_solver(nu, gamma0):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    names: dict = {}
    exec(code, names)                                      # what a reader would copy
    solution = dmft.solve_dmft(dmft.isotropic(1), n_steps=20, n_hidden=1, width=nu, gamma0=gamma0, learning_rate=0.1)
    np.testing.assert_allclose(names["test_loss"](nu, gamma0, 0.1, 20), solution.test_loss, rtol=1e-10)
    assert len(code.splitlines()) < 24


def test_without_the_equal_time_response_the_worked_example_is_wrong():
    """The numbers that the page names."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    losses = []
    for text in (code, code.replace("Q_h[:t, :t] = -R_v /", "Q_h[:t, :t] = -(R_v - one) /")):
        names: dict = {}
        exec(text, names)
        losses.append(names["test_loss"](0.5, 1.0, 0.1, 16))
    right, wrong = losses
    assert right[0] == wrong[0] == pytest.approx(3.0)
    assert (round(wrong[1], 2), round(right[1], 2)) == (1.98, 1.5)
    assert wrong[8] / right[8] == pytest.approx(0.36, abs=0.005) and wrong[16] > 100

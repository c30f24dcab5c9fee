"""The table behind the explorer of transfer: losses after a short training, for scalings, richness, depth, data and width.

``dln explorer`` computes it with `dmft.solve_dmft` and writes it to ``book/explorers/transfer-table.json``, which is committed
and which the page looks numbers up in. Inputs are white, and labels have no noise.
"""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import __version__, dmft
from ..words import round_to_digits

__all__ = ["PATH", "SCALINGS", "RICHNESS", "DEPTHS", "DATA", "WIDTHS", "OCTAVES", "N_STEPS", "losses", "make_table", "as_text",
           "read_table", "losses_of"]

#: Where the table lies, from the root of the book.
PATH = Path("book", "explorers", "transfer-table.json")

SCALINGS = ["µP", "NTK"]                                   # gamma0 is gamma at all widths, or gamma / sqrt(width)
RICHNESS = [0.5, 1, 2, 4]                                  # gamma
DEPTHS = [1, 2, 3]                                         # hidden layers
#: In units of the inputs; a batch is fresh at every step.
DATA: list[dict[str, Any]] = [{"n_samples": 2}, {"n_samples": 4}, {"batch_size": 1}]
WIDTHS = [0.25, 1, 4, 16, 64, np.inf]                      # neurons over inputs
OCTAVES = (-4.825 + 0.375 * np.arange(15)).tolist()        # log2 of the learning rate times the lazy kernel, L + 1
N_STEPS = 20


@cache
def _solve(gamma0: float, n_hidden: int, data: int, width: float, octave: float) -> tuple[float, float]:
    solution = dmft.solve_dmft(dmft.isotropic(1), n_steps=N_STEPS, n_hidden=n_hidden, width=width, gamma0=gamma0,
                               learning_rate=2**octave / dmft.lazy_kernel(n_hidden), **DATA[data])
    return float(solution.test_loss[-1]), float(solution.train_loss[-1])


def losses(scaling: str, gamma: float, n_hidden: int, data: int, width: float, octave: float) -> tuple[float, float]:
    """Test and train loss after the last step, infinite where training diverged; ``data`` counts entries of `DATA`.

    A network knows its scaling through ``gamma0`` alone, so many entries of NTK are entries of µP. One that is infinitely wide is
    lazy: its error is a linear function of that of the start, whose mean square is ``1 + 1 / gamma^2``, target and random map.

    Examples
    --------
    >>> from dlnutils.press.ext.explorer_table import losses
    >>> losses("NTK", 2, 1, 1, 1, -2.2) == losses("µP", 2, 1, 1, 1, -2.2)
    True
    """
    if scaling == "NTK" and width == np.inf:
        test, train = _solve(1e-6, n_hidden, data, width, octave)
        return (1 + gamma**-2) * test, (1 + gamma**-2) * train
    return _solve(gamma if scaling == "µP" else gamma / width**0.5, n_hidden, data, width, octave)


def make_table() -> dict:
    """The whole table; half a minute.

    Returns
    -------
    dict
        What JSON can hold: where it comes from, the axes in their order, and ``test_loss`` and ``train_loss`` as flat lists of
        four digits, the last axis running fastest, ``None`` where training diverged.
    """
    entries = itertools.product(SCALINGS, RICHNESS, DEPTHS, range(len(DATA)), WIDTHS, OCTAVES)
    test, train = zip(*(losses(*entry) for entry in entries))

    def listed(values):
        return [round_to_digits(value, 4) if np.isfinite(value) else None for value in values]

    return {"made_by": "dln explorer", "dlnutils": __version__, "inputs": "white", "noise": 0,
            "axes": ["scaling", "gamma", "n_hidden", "data", "width", "learning_rate"],
            "scaling": SCALINGS, "gamma": RICHNESS, "n_hidden": DEPTHS, "data": DATA,
            "width": [width if np.isfinite(width) else "infinite" for width in WIDTHS], "n_updates": N_STEPS,
            "learning_rate": [[round_to_digits(2**octave / dmft.lazy_kernel(n_hidden), 12) for octave in OCTAVES]
                              for n_hidden in DEPTHS],
            "test_loss": listed(test), "train_loss": listed(train)}


def as_text(table: dict) -> str:
    """JSON with a line for each curve, so that a change can be read."""
    short = {name: value for name, value in table.items() if not name.endswith("_loss")}
    lines = [f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in short.items()]
    n = len(table["learning_rate"][0])
    for name in ("test_loss", "train_loss"):
        curves = [json.dumps(table[name][i:i + n])[1:-1] for i in range(0, len(table[name]), n)]
        lines.append(f"{json.dumps(name)}: [\n" + ",\n".join(curves) + "]")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def read_table(root: Path) -> dict:
    """The committed table of the book at ``root``."""
    return json.loads((root / PATH).read_text(encoding="utf-8"))


def losses_of(table: dict, kind: str) -> NDArray[np.float64]:
    """The losses of a table, ``kind`` test or train, as an array over its axes; infinite where training diverged."""
    shape = [len(table[axis]) for axis in table["axes"][:-1]] + [len(table["learning_rate"][0])]
    return np.array([np.inf if value is None else value for value in table[f"{kind}_loss"]]).reshape(shape)

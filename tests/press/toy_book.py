"""A toy book for the tests of the runner and of the checks: small notebooks in the shape of real ones."""

import json
from pathlib import Path

SETUP = """\
import matplotlib.pyplot as plt
import numpy as np
from dlnutils.press import style
from dlnutils.press.claims import Claims
style.use_style()
claims = Claims("saxe2013", "{section}", globals())"""

PICTURE = """\
plt.plot(np.arange(n), np.arange(n)**2, label="squares")
plt.show()"""

CHECK = """\
claims.check("{section}-size", figure="2", statement="n stays small", measured=n, high=5, source="theory")
print("text", n)
n / 4"""


def code(source, **metadata):
    return {"cell_type": "code", "metadata": metadata, "source": source, "execution_count": None, "outputs": []}


def toy_cells(section, extra=()):
    """A notebook of the book in little: parameters, a figure, a claim, the table; ``extra`` cells come before it."""
    figure = {"mystnb": {"image": {"alt": "squares"}, "figure": {"name": f"fig-{section.replace('/', '-')}",
                                                                 "caption": "Squares."}},
              "dln": {"paper": "saxe2013", "figure": "2"}}
    return [{"cell_type": "markdown", "metadata": {}, "source": "# Toy"}, code("n = 3", tags=["parameters"]),
            code(SETUP.format(section=section)), code(PICTURE, **figure), code(CHECK.format(section=section)),
            *map(code, extra), code("claims.show()")]


def write_notebook(path: Path, cells):
    cells = [{"id": f"cell-{number:02d}"} | cell for number, cell in enumerate(cells, 1)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    content = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def make_project(root: Path, notebooks: dict):
    """A folder that the runner takes for the book; ``notebooks`` maps sections to their cells."""
    toc = ["format: jb-book", "root: book/index", "chapters:"] + [f"- file: notebooks/{name}" for name in notebooks]
    root.mkdir(parents=True, exist_ok=True)
    (root / "_toc.yml").write_text("\n".join(toc) + "\n")
    (root / "notebooks").mkdir(exist_ok=True)
    for section, cells in notebooks.items():
        write_notebook(root / "notebooks" / f"{section}.ipynb", cells)
    return root

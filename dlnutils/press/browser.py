"""Cells of a page in a reader's browser: run one, and hand what it shows to the page. The standard library suffices.

The worker of the page (``worker.js``) calls `prepare` once, `run_cell` for every cell, and `judge` after an exercise's cell that
has a check, in Pyodide. There is no Jupyter in it, so this module brings the little of it that the book's notebooks use:
`display`, the value of a cell's last line, and pictures of the figures that a cell draws.
"""

from __future__ import annotations

import ast
import base64
import io
import json
import linecache
import logging
import os
import sys
import traceback
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["prepare", "run_cell", "judge"]

#: The same number of dots as in the committed figures.
DPI = 110


def prepare(send: Callable[[str, str], Any], parameters: str) -> None:
    """Make `display` hand over what it shows; figures follow at the end of their cell.

    Parameters
    ----------
    send : callable
        Gets a kind ('text', 'html', 'picture', 'claims') and a text; pictures as PNG in base64, claims as JSON.
    parameters : str
        The notebook's own parameters as JSON: with others, claims are shown and not asserted.
    """
    os.environ |= {"DLN_RUN": json.dumps({"profile": "default", "parameters": json.loads(parameters)}), "DLN_CACHE": "off"}
    os.environ["MPLBACKEND"] = "agg"
    os.cpu_count = lambda: 1                               # there are no processes here
    _one_process()
    warnings.filterwarnings("ignore", message="FigureCanvasAgg is non-interactive")
    logging.getLogger("matplotlib").setLevel(logging.ERROR)            # it would tell of its fonts

    def display(*things: Any, raw: bool = False, metadata: dict | None = None, **_: Any) -> None:
        for thing in things:
            _hand_over(thing if raw else _bundle(thing), send)

    shell, module = types.ModuleType("IPython"), types.ModuleType("IPython.display")
    # `claims` asks whether it is None; matplotlib, which would hook itself in, whether it is true.
    shell.get_ipython = tuple                              # pyright: ignore[reportAttributeAccessIssue]
    shell.version_info = (9, 0)                            # pyright: ignore[reportAttributeAccessIssue]
    shell.display = module                                 # pyright: ignore[reportAttributeAccessIssue]
    module.display = display                               # pyright: ignore[reportAttributeAccessIssue]
    module.HTML = _Html                                    # pyright: ignore[reportAttributeAccessIssue]
    sys.modules |= {"IPython": shell, "IPython.display": module}
    sys.displayhook = lambda value: None if value is None else display(value)


def _one_process() -> None:
    """Sweeps that ask for more processes take their points in turn, and say so."""
    from .. import sweep

    def in_turn(tasks: Sequence, jobs: int) -> Iterator:
        print(f"A browser has one process: {len(tasks)} points one after the other, not {jobs} at a time.")
        return map(sweep._attempt, tasks)
    sweep._in_processes = in_turn


class _Html:
    """Text that is HTML, as `IPython.display.HTML`."""

    def __init__(self, data: str):
        self.data = data

    def _repr_html_(self) -> str:
        return self.data


def _bundle(thing: Any) -> dict:
    html = getattr(thing, "_repr_html_", lambda: None)()
    return {"text/html": html} if html else {"text/plain": repr(thing)}


def _hand_over(bundle: dict, send: Callable[[str, str], Any]) -> None:
    for kind in bundle:
        if kind.endswith("claims+json"):
            send("claims", json.dumps(bundle[kind]))
    if "text/html" in bundle:
        send("html", bundle["text/html"])
    elif "text/plain" in bundle:
        send("text", bundle["text/plain"] + "\n")


def _show_figures(send: Callable[[str, str], Any]) -> None:
    """Hand over every open figure, and close it."""
    if "matplotlib.pyplot" not in sys.modules:
        return
    plt = sys.modules["matplotlib.pyplot"]
    for number in plt.get_fignums():
        picture = io.BytesIO()
        plt.figure(number).savefig(picture, format="png", dpi=DPI)
        send("picture", base64.b64encode(picture.getvalue()).decode())
        plt.close(number)


def run_cell(source: str, number: int, scope: dict, send: Callable[[str, str], Any]) -> str:
    """Run one cell; what it prints, shows and draws is handed to ``send``.

    Parameters
    ----------
    source : str
        Python.
    number : int
        Of the cell on its page: messages name it.
    scope : dict
        The names of the page; the cell adds its own.
    send : callable
        As in `prepare`.

    Returns
    -------
    str
        Empty, or what went wrong, without the lines that are ours.
    """
    name = f"<cell {number}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    out, err = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = _Stream(send)                # pyright: ignore[reportAttributeAccessIssue]
    try:
        body = ast.parse(source, name).body
        last = body[-1] if body and not source.rstrip().endswith(";") else None
        shown = last.value if isinstance(last, ast.Expr) else None
        exec(compile(ast.Module(body[:-1] if shown else body, []), name, "exec"), scope)
        if shown is not None:
            sys.displayhook(eval(compile(ast.Expression(shown), name, "eval"), scope))
        _show_figures(send)
    except BaseException as error:                         # also what means to end the program: the worker stays
        return _told(error, name)
    finally:
        sys.stdout, sys.stderr = out, err
    return ""


def _told(error: BaseException, name: str) -> str:
    """An error as Python tells it, of the lines in the reader's cells and in the package."""
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list([
        frame for frame in told.stack
        if frame.filename.startswith("<cell") or "dlnutils" in frame.filename and frame.filename != __file__])
    return "".join(told.format(chain=False))


class _Stream(io.TextIOBase):
    """What is printed, line by line."""

    def __init__(self, send: Callable[[str, str], Any]):
        self.send = send

    def write(self, text: str) -> int:
        if text:
            self.send("text", text)
        return len(text)


def judge(answer: str, expected: Sequence[float], within: float, scope: dict) -> str:
    """Compare a reader's answer to an exercise with the solution's numbers.

    Parameters
    ----------
    answer : str
        An expression with the reader's names: a number, or several of them.
    expected : sequence of float
        What the solution printed.
    within : float
        How far each may be off, relative to the largest of ``expected``.
    scope : dict
        The names of the page.

    Returns
    -------
    str
        'right', 'wrong', or why it cannot be told; empty as long as there is no answer.

    Examples
    --------
    >>> from dlnutils.press.browser import judge
    >>> judge("wait", [4.605], 0.01, {"wait": None}), judge("wait", [4.605], 0.01, {"wait": 4.6})
    ('', 'right')
    """
    names = {node.id for node in ast.walk(ast.parse(answer)) if isinstance(node, ast.Name)}
    if any(name in scope and scope[name] is None for name in names):
        return ""
    try:
        found = _numbers(eval(answer, scope))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if not found:
        return ""
    if len(found) != len(expected):
        return f"{len(expected)} numbers are asked for, and here are {len(found)}"
    margin = within * max(map(abs, expected))
    return "right" if all(abs(a - b) <= margin for a, b in zip(found, expected)) else "wrong"


def _numbers(thing: Any) -> list[float]:
    """The numbers in a number, a list or an array; none if one is missing."""
    if isinstance(thing, dict):
        thing = list(thing.values())
    if thing is None or isinstance(thing, str):
        return []
    if hasattr(thing, "__iter__"):
        parts = [_numbers(part) for part in thing]
        return [number for part in parts for number in part] if all(parts) else []
    return [float(thing)]

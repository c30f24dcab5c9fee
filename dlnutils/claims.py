r"""Quantitative claims: a number measured in a notebook, the bound it must respect, and where the bound comes from.

A notebook opens one :class:`Claims`, checks claims beside its figures and shows the table in its last cell. The
table is one output that people read (HTML) and programs read (JSON); only after it is shown do failed claims raise,
together. Claims are enforced where the parameters are those of a profile and merely shown elsewhere, so that a reader
may turn every knob.
"""

from __future__ import annotations

import ast
import html
import json
import math
import os
from pathlib import Path

__all__ = ["Claims", "ClaimError", "MIME_TYPE", "SOURCES", "round_to_digits", "default_parameters"]

MIME_TYPE = "application/vnd.dlnutils.claims+json"
SOURCES = ("paper", "derived", "measured")


class ClaimError(AssertionError):
    """At least one claim of a notebook lies outside its bound."""


def round_to_digits(value: float, digits: int = 3) -> float:
    """Round to ``digits`` significant digits.

    Examples
    --------
    >>> round_to_digits(0.0123456)
    0.0123
    """
    value = float(value)
    return float(f"{value:.{digits - 1}e}") if math.isfinite(value) else value


def default_parameters(notebook: dict) -> dict:
    """The names and values assigned in a notebook's cell tagged ``parameters`` (literals only), in order.

    Parameters
    ----------
    notebook : dict
        A notebook as parsed JSON.

    Raises
    ------
    ValueError
        The cell holds anything but assignments of literals.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell.get("metadata", {}).get("tags", ()):
            values = {}
            try:
                body = ast.parse("".join(cell["source"])).body
            except SyntaxError as error:
                raise ValueError("the cell tagged 'parameters' may only assign literals (numbers, strings, lists), "
                                 f"but line {error.lineno} is: {(error.text or '').strip()}") from None
            for statement in body:
                try:
                    (target,) = statement.targets
                    values[target.id] = ast.literal_eval(statement.value)
                except (AttributeError, ValueError):
                    raise ValueError("the cell tagged 'parameters' may only assign literals (numbers, strings, lists), "
                                     f"but line {statement.lineno} is: {ast.unparse(statement)}") from None
            return values
    return {}


def _profile_of(section: str, scope: dict) -> str:
    """The profile whose parameters ``scope`` holds: the one being run, else the notebook's own defaults, else 'custom'.

    The runner says what it runs in the variable DLN_RUN. Anywhere else (Jupyter, nbval) the notebook lies in the
    working directory, and the parameters it was accepted with are in its metadata, which editing a cell leaves alone.
    """
    if "DLN_RUN" in os.environ:
        run = json.loads(os.environ["DLN_RUN"])
        profile, parameters = run["profile"], run["parameters"]
    else:
        path = Path(section.rsplit("/", 1)[-1] + ".ipynb")
        if not path.exists():
            return "custom"
        notebook = json.loads(path.read_text(encoding="utf-8"))
        accepted = notebook["metadata"].get("dln", {})
        profile = accepted.get("profile", "default")
        parameters = accepted.get("parameters") or default_parameters(notebook)
    scope = {name: list(value) if isinstance(value, tuple) else value for name, value in scope.items()}
    parameters = {name: list(value) if isinstance(value, tuple) else value for name, value in parameters.items()}
    return profile if all(scope.get(name) == value for name, value in parameters.items()) else "custom"


class Claims:
    """The claims of one notebook.

    Parameters
    ----------
    paper : str
        Key of the paper: ``saxe2013``, ``tu2024``, ``hajjar2021``, ``bordelon2025`` or ``synthesis``.
    section : str
        The notebook, as ``chapter/section``.
    scope : dict
        The notebook's ``globals()`` right after its parameters cell; decides whether claims are enforced.

    Examples
    --------
    >>> claims = Claims("saxe2013", "saddles/example", {})
    >>> claims.check("example-1", figure="2", statement="the product stays put", measured=0.0123456,
    ...              high=0.05, source="derived")
    >>> claims.records[0]["measured"], claims.records[0]["passed"] is None
    (0.0123, True)
    """

    def __init__(self, paper: str, section: str, scope: dict):
        self.paper, self.section, self.profile = paper, section, _profile_of(section, scope)
        self.records: list[dict] = []

    @property
    def enforced(self) -> bool:
        """Whether the parameters are a profile's own."""
        return self.profile != "custom"

    def check(self, id: str, *, figure: str, statement: str, measured: float, low: float | None = None,
              high: float | None = None, source: str, digits: int = 3, floor: float | None = None) -> None:
        """State that ``measured`` lies between ``low`` and ``high``; nothing is raised before :meth:`show`.

        Parameters
        ----------
        id : str
            Unique in the book; prose can cite the measured value with the role ``glue:text`` and this name.
        figure : str
            The paper's figure, such as ``3 left``; what goes beyond a paper is ``+section``.
        statement : str
            What is claimed, one line of plain text.
        measured : float
            The number; rounded to ``digits`` significant digits before it is judged and stored.
        low, high : float, optional
            The bound; one of the two may be left open, but not both, for then nothing could fail.
        source : {'paper', 'derived', 'measured'}
            Where the bound comes from.
        floor : float, optional
            Round-off: a smaller absolute value is stored as ``floor`` and shown as ``< floor``.

        Raises
        ------
        ValueError
            A repeated id, an unknown source, an empty or impossible bound.
        """
        if any(record["id"] == id for record in self.records):
            raise ValueError(f"id {id!r} is already a claim of this notebook: give each claim its own")
        if source not in SOURCES:
            raise ValueError(f"source must be one of {', '.join(SOURCES)}, got {source!r}")
        low, high = (None if bound is None or math.isinf(bound) else bound for bound in (low, high))
        if low is None and high is None:
            raise ValueError(f"claim {id!r} has neither low nor high, so it could not fail: give it a bound")
        if low is not None and high is not None and low > high:
            raise ValueError(f"claim {id!r} has low = {low} above high = {high}")
        measured = float(measured)
        below = floor is not None and abs(measured) < floor
        value = float(floor) if below else round_to_digits(measured, digits)
        inside = math.isfinite(value) and (low is None or value >= low) and (high is None or value <= high)
        if below:                                          # a true value under the floor respects any bound above it
            inside = (low is None or low <= 0) and (high is None or high >= floor)
        self.records.append({
            "id": id, "figure": figure, "statement": statement, "measured": value if math.isfinite(value) else None,
            "shown": f"< {floor:.0e}" if below else f"{value:.{digits}g}",
            "bound": [None if low is None else float(low), None if high is None else float(high)], "source": source,
            "passed": bool(inside) if self.enforced else None,
        })

    def show(self) -> None:
        """Show the table with its machine-readable twin, then raise for all failed claims together.

        Raises
        ------
        ClaimError
            Claims are enforced and at least one lies outside its bound.
        """
        payload = {"paper": self.paper, "section": self.section, "profile": self.profile, "claims": self.records}
        bundle = {"text/html": self._html(), "text/plain": self._text(), MIME_TYPE: payload}
        try:
            from IPython import get_ipython
            from IPython.display import display
        except ImportError:                                # a plain script
            def get_ipython(): return None
        if get_ipython() is None:
            print(bundle["text/plain"])
        else:
            display(bundle, raw=True)
            for record in self.records:                    # hidden outputs that the role glue:text finds
                display({"application/papermill.record/text/plain": record["shown"]}, raw=True,
                        metadata={"scrapbook": {"name": record["id"], "mime_prefix": "application/papermill.record/"}})
        failed = [record for record in self.records if record["passed"] is False]
        if failed:
            raise ClaimError(f"{len(failed)} of {len(self.records)} claims failed: " + "; ".join(
                f"{r['id']}: {r['shown']} is not in {show_bound(r['bound'])} ({r['statement']})" for r in failed))

    def _rows(self):
        verdict = {True: "holds", False: "FAILS", None: "not asserted"}
        return [(r["figure"], r["statement"], r["shown"], show_bound(r["bound"]), r["source"], verdict[r["passed"]])
                for r in self.records]

    def _html(self) -> str:
        head = ("Figure", "Claim", "Measured", "Bound", "Bound from", f"Profile: {self.profile}")
        mark = {True: "dln-holds", False: "dln-fails", None: "dln-open"}
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
                + f'<td class="{mark[record["passed"]]}">{row[-1]}</td>' for row, record in zip(self._rows(), self.records)]
        return ('<table class="dln-claims"><thead><tr>' + "".join(f"<th>{html.escape(h)}</th>" for h in head)
                + "</tr></thead><tbody>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</tbody></table>")

    def _text(self) -> str:
        lines = [f"{figure:>10}  {shown:>10}  {bound:<20} {verdict:<13} {statement}"
                 for figure, statement, shown, bound, _, verdict in self._rows()]
        return "\n".join([f"Claims of {self.section} (profile: {self.profile})", *lines])


def show_bound(bound: list) -> str:
    """A bound as people write it.

    Examples
    --------
    >>> show_bound([None, 0.05]), show_bound([1.0, 2.0]), show_bound([3.0, None])
    ('≤ 0.05', '1 … 2', '≥ 3')
    """
    low, high = bound
    if low is None:
        return f"≤ {high:g}"
    return f"≥ {low:g}" if high is None else f"{low:g} … {high:g}"

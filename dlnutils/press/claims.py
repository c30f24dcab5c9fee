r"""Quantitative claims: a number measured in a notebook, the bound it must respect, and where the bound comes from.

A notebook opens one :class:`Claims`, checks claims beside its figures and shows the table in its last cell. The
table is one output that people read (HTML) and programs read (JSON); only after it is shown do failed claims raise,
together. Claims are enforced where the parameters are those of a profile and merely shown elsewhere, so that a reader
may turn every knob. The standard library suffices: outside a notebook the table is printed.
"""

from __future__ import annotations

import html
import json
import math
import os
from pathlib import Path

from .notebooks import CLAIMS_TYPE, default_parameters
from .words import bound_from, round_to_digits, show_bound, verdict_of

__all__ = ["SOURCES", "VERDICTS", "ClaimError", "Claims"]

#: Where a bound comes from.
SOURCES = ("paper", "theory", "seeds")

#: Whether what a paper states holds here.
VERDICTS = ("agrees", "disagrees")


class ClaimError(AssertionError):
    """At least one claim of a notebook lies outside its bound."""


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
        try:
            notebook = json.loads(path.read_text(encoding="utf-8"))
            accepted = notebook["metadata"].get("dln", {})
            profile = accepted.get("profile", "default")
            parameters = accepted.get("parameters") or default_parameters(notebook)
        except (OSError, ValueError, KeyError, TypeError):          # not there, or not a notebook with plain parameters
            return "custom"
    return profile if all(_equal(scope.get(name), value) for name, value in parameters.items()) else "custom"


def _equal(found: object, expected: object) -> bool:
    """Whether a parameter has the value that a notebook or a profile gives it; tuples count as lists, arrays as other values."""
    if isinstance(expected, (list, tuple)):
        return (isinstance(found, (list, tuple)) and len(found) == len(expected)
                and all(map(_equal, found, expected)))
    if isinstance(expected, dict):
        return (isinstance(found, dict) and found.keys() == expected.keys()
                and all(_equal(found[name], value) for name, value in expected.items()))
    same = found == expected
    return same is True or getattr(same, "shape", None) == () and bool(same)       # a number of numpy's compares as one


def _holds(values: tuple, low: float | None, high: float | None, verdict: str) -> bool:
    """Whether all values from the least to the largest lie inside the bound; outside it where the paper is disagreed with."""
    least, largest = values
    if not (math.isfinite(least) and math.isfinite(largest)):
        return False
    if verdict == "disagrees":
        return low is not None and largest < low or high is not None and least > high
    return (low is None or least >= low) and (high is None or largest <= high)


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
    ...              high=0.05, source="theory")
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
              high: float | None = None, source: str, digits: int = 3, floor: float | None = None,
              where: str | None = None, verdict: str = "agrees", headline: bool = False, words: str | None = None,
              profile: str | None = None) -> None:
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
            The number; judged as it is, stored and shown rounded to ``digits`` significant digits.
        low, high : float, optional
            The bound; one of the two may be left open, but not both, for then nothing could fail.
        source : {'paper', 'theory', 'seeds'}
            Where the bound comes from.
        floor : float, optional
            Round-off: a smaller absolute value is stored as ``floor`` and shown as ``< floor``.
        where : str, optional
            The place in the paper that states it, such as ``Fig. 2``, ``eq. 12`` or ``p. 5``.
        verdict : {'agrees', 'disagrees'}
            With ``'disagrees'`` the bound is what the paper states, and the claim passes while the number lies outside it.
        headline : bool
            Stands in the box at the top of the page.
        words : str, optional
            The sentence of a headline; ``{shown}`` becomes the measured number, ``$...$`` is mathematics.
        profile : str, optional
            Of a number that the notebook reads from a committed record, the profile whose sizes it was measured at. It does not
            depend on the notebook's parameters, so the claim is always enforced.

        Raises
        ------
        ValueError
            A repeated id, an unknown source or verdict, an empty or impossible bound, a headline without words, a headline of
            a paper or a disagreement without the place in the paper.
        """
        if any(record["id"] == id for record in self.records):
            raise ValueError(f"id {id!r} is already a claim of this notebook: give each claim its own")
        for name, value, known in (("source", source, SOURCES), ("verdict", verdict, VERDICTS)):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {value!r}")
        low, high = (None if bound is None or math.isinf(bound) else float(bound) for bound in (low, high))
        if low is None and high is None:
            raise ValueError(f"claim {id!r} has neither low nor high, so it could not fail: give it a bound")
        if low is not None and high is not None and low > high:
            raise ValueError(f"claim {id!r} has low = {low} above high = {high}")
        if headline and not words:
            raise ValueError(f"claim {id!r} is a headline without words: say in one sentence what was found")
        if not where and (verdict == "disagrees" or headline and source == "paper"):
            raise ValueError(f"claim {id!r} is about a statement of the paper: say where it stands, such as where='Fig. 2'")
        if verdict == "disagrees" and source != "paper":
            raise ValueError(f"claim {id!r} disagrees with source {source!r}: only what a paper states can be disagreed with")
        measured = float(measured)
        value = round_to_digits(measured, digits)
        shown, range_ = f"{value:.{digits}g}", (measured, measured)
        if floor is not None and abs(measured) < floor:    # anything up to the floor
            value, shown, range_ = float(floor), f"< {floor:.0e}", (0.0, float(floor))
        passed = _holds(range_, low, high, verdict)
        record = {
            "id": id, "figure": figure, "statement": statement, "measured": value if math.isfinite(value) else None,
            "shown": shown, "bound": [low, high], "source": source,
            "passed": passed if self.enforced or profile else None,
        }
        if profile:
            record["profile"] = profile
        if where:
            record |= {"where": where, "verdict": verdict}
        if headline:
            record |= {"headline": True, "words": words}
        self.records.append(record)

    def show(self) -> None:
        """Show the table with its machine-readable twin, then raise for all failed claims together.

        Raises
        ------
        ClaimError
            Claims are enforced and at least one lies outside its bound.
        """
        payload = {"paper": self.paper, "section": self.section, "profile": self.profile, "claims": self.records}
        bundle = {"text/html": self._html(), "text/plain": self._text(), CLAIMS_TYPE: payload}
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
                f"{r['id']}: {r['shown']} is {'' if r.get('verdict') == 'disagrees' else 'not '}in {show_bound(r['bound'])} "
                f"({r['statement']})" for r in failed))

    def _rows(self):
        return [(r["figure"], r["statement"] + (f" (profile: {r['profile']})" if "profile" in r else ""), r["shown"],
                 show_bound(r["bound"]), bound_from(r), verdict_of(r)[0]) for r in self.records]

    def _html(self) -> str:
        head = ("Figure", "Claim", "Measured", "Bound", "Bound from", f"Profile: {self.profile}")
        rows = ["".join(f"<td>{html.escape(cell)}</td>" for cell in row[:-1])
                + f'<td class="{verdict_of(record)[1]}">{row[-1]}</td>' for row, record in zip(self._rows(), self.records)]
        return ('<table class="dln-claims"><thead><tr>' + "".join(f"<th>{html.escape(h)}</th>" for h in head)
                + "</tr></thead><tbody>" + "".join(f"<tr>{row}</tr>" for row in rows) + "</tbody></table>")

    def _text(self) -> str:
        lines = [f"{figure:>10}  {shown:>10}  {bound:<20} {verdict:<13} {statement}"
                 for figure, statement, shown, bound, _, verdict in self._rows()]
        return "\n".join([f"Claims of {self.section} (profile: {self.profile})", *lines])

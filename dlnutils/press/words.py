"""Numbers as people say them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable

__all__ = ["round_to_digits", "show_bound", "verdict_of", "printed", "bound_from", "paper_figure", "in_prose", "duration",
           "seconds", "times", "exponent"]


def round_to_digits(value: float, digits: int = 3) -> float:
    """Round to ``digits`` significant digits.

    Examples
    --------
    >>> round_to_digits(0.0123456)
    0.0123
    """
    value = float(value)
    return float(f"{value:.{digits - 1}e}") if math.isfinite(value) else value


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


def verdict_of(claim: dict) -> tuple[str, str]:
    """What became of a claim, and the class that colours it.

    A statement that stands in a paper agrees or disagrees; any other claim holds.

    Examples
    --------
    >>> verdict_of({"passed": True})[0], verdict_of({"passed": True, "where": "Fig. 2", "verdict": "disagrees"})[0]
    ('holds', 'disagrees')
    """
    if claim["passed"] is None:
        return "not asserted", "dln-open"
    if not claim["passed"]:
        return "FAILS", "dln-fails"
    if not claim.get("where"):
        return "holds", "dln-holds"
    return claim["verdict"], f"dln-{claim['verdict']}"


def printed(claims: Iterable[dict]) -> Counter:
    """What became of the statements that a paper prints, by verdict: of the claims whose bound is the paper's own.

    Examples
    --------
    >>> printed([{"passed": True, "source": "paper", "where": "Fig. 2", "verdict": "agrees"},
    ...          {"passed": True, "source": "theory"}])
    Counter({'agrees': 1})
    """
    return Counter(verdict_of(claim)[0] for claim in claims if claim["source"] == "paper")


def bound_from(claim: dict) -> str:
    """Where a bound comes from: 'theory', or 'paper, Fig. 2'."""
    return f"{claim['source']}, {claim['where']}" if claim.get("where") else claim["source"]


#: How a paper is called beside the name of its figure.
FIRST_AUTHORS = {"saxe2013": "Saxe", "tu2024": "Tu", "hajjar2021": "Hajjar", "bordelon2025": "Bordelon"}


def paper_figure(paper: str, figure: str) -> str:
    """A paper's figure, table or result by one name in the whole book; it never looks like a figure of the book.

    Examples
    --------
    >>> paper_figure("saxe2013", "3 left"), paper_figure("hajjar2021", "table 3"), paper_figure("tu2024", "+three-regimes")
    ('Saxe Fig. 3 left', 'Hajjar table 3', 'Beyond Tu: three regimes')
    """
    beyond, label = figure.startswith("+"), figure.removeprefix("+").replace("-", " ")
    if paper not in FIRST_AUTHORS:
        return f"{paper.capitalize()}: {label}"
    if beyond:
        return f"Beyond {FIRST_AUTHORS[paper]}: {label}"
    return f"{FIRST_AUTHORS[paper]} {'Fig. ' * figure[:1].isdigit()}{figure}"


def in_prose(shown: str) -> str:
    """A number in machine notation as a sentence has it.

    Examples
    --------
    >>> in_prose("1.58e-09"), in_prose("< 1e-12"), in_prose("0.0734"), in_prose("-2.5e+03")
    ('1.58 × 10⁻⁹', 'less than 10⁻¹²', '0.0734', '−2.5 × 10³')
    """
    number = shown.removeprefix("< ")
    mantissa, e, power = number.partition("e")
    if e:
        raised = f"10{int(power)}".translate(str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")).replace("¹⁰", "10", 1)
        number = raised if mantissa == "1" else f"{mantissa} × {raised}"
    return ("less than " if shown.startswith("< ") else "") + number.replace("-", "−")


NOT_YET = "not yet measured"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: '12 s', '4 min', '2.5 h', '41 h', '5.2 days'."""
    if seconds is None:
        return NOT_YET
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 1 else "under 1 s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.2g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.2g} days"


def seconds(value: float) -> str:
    """A time with three digits and a fitting unit: '2.37 ms'."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if value >= scale:
            return f"{float(f'{value / scale:.3g}'):g} {unit}"
    return f"{float(f'{value * 1e6:.3g}'):g} µs"


def times(ratio: float) -> str:
    """A ratio with two digits, or three above 100: '507×', '4.2×', '0.79×', '3.6 million ×'."""
    if ratio >= 1e6:
        return f"{ratio / 1e6:.2g} million ×"
    return f"{ratio:.0f}×" if ratio >= 9.95 else f"{ratio:#.2g}×"


def exponent(law: dict) -> str:
    """A fitted exponent with its standard error: '2.91 ± 0.04'."""
    error = "" if law["error"] is None else f" ± {law['error']:.2f}"
    return f"{law['exponent']:.2f}{error}".replace("-", "−")

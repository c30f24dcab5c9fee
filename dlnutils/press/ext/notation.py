"""The alphabet of the book: which letter means what where, as a table, and the letters that a page uses.

``book/notation.yml`` lists every letter. Its part ``letters`` is the table of the page *Notation*; ``own`` has what a letter
means on one page alone, in an exercise or a derivation, where no other page needs it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from ..notebooks import figure_cells
from .parts import with_formulas
from .pieces import table

PATH = Path("book", "notation.yml")

GREEK = ("alpha beta gamma delta epsilon varepsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega "
         "Gamma Delta Theta Lambda Sigma Phi Psi Omega ell").split()         # pi is a number
ACCENTS = "hat tilde bar overline mathcal mathbf mathbb".split()
FORMULA = re.compile(r"(?s)\$\$(.*?)\$\$|\\begin\{(?:gather|align)\*\}(.*?)\\end\{(?:gather|align)\*\}|(?<![\\$])\$([^$]+?)\$")
#: What is no letter of its own: words, lengths, environments, transposes, differentials, powers of e, order of magnitude.
NO_LETTER = re.compile(r"\\(?:text|mathrm|operatorname|label|tag|begin|end)\*?\{[^}]*\}(?:\{[rlc|]+\})?|\\\\\[\d+\w+\]|\\rm\b"
                       r"|\\mathsf\s*\{?T\}?|\^\{?T\}?(?![a-z])|(?<![a-zA-Z\\])(?:e(?=\^)|O(?=\()"
                       r"|d(?=[a-zA-Z]|\\(?:dot|hat|tau|mu|theta|rho|beta|lambda)\b))")
TOKEN = re.compile(r"\\[a-zA-Z]+|[A-Za-z]|[_{}]|.", re.S)


def formulas_of(notebook: dict) -> list[str]:
    """The formulas of a page's words and captions."""
    words = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown"]
    words += [cell["metadata"]["mystnb"]["figure"].get("caption", "") for _, cell in figure_cells(notebook)]
    text = re.sub(r"`[^`\n$]*`", "", re.sub(r"(?ms)^```(?:python|console)$.*?^```$", "", "\n\n".join(words)))
    return [next(part for part in match.groups() if part is not None) for match in FORMULA.finditer(text)]


def letters_of(formula: str) -> set[str]:
    r"""The letters of a formula, each with its accent and its subscript: ``hat beta``, ``gamma_0``.

    What stands inside a subscript only tells letters apart; exponents are formulas like others.

    Examples
    --------
    >>> sorted(letters_of(r"\hat\beta = \gamma_0^{-1} W_{l+1}^{\mathsf T} e^{-\eta t}"))
    ['W_l+1', 'eta', 'gamma_0', 'hat beta', 't']
    """
    tokens = [token for token in TOKEN.findall(NO_LETTER.sub(" ", formula)) if token.strip()]
    found, accent, place = set(), "", 0
    while place < len(tokens):
        token = tokens[place].removeprefix("\\")
        place += 1
        if tokens[place - 1].startswith("\\") and token in ACCENTS:
            accent = "bar" if token == "overline" else token
        elif token == "_":
            place = _after_group(tokens, place)
        elif (len(token) == 1 and token.isalpha()) or token in GREEK and tokens[place - 1].startswith("\\"):
            start = place
            while start < len(tokens) and tokens[start] == "}":
                start += 1
            below = ""
            if start < len(tokens) and tokens[start] == "_":
                end = _after_group(tokens, start + 1)
                below = "".join(tokens[start + 1:end]).strip("{}").replace("\\", "")
            found.add(f"{accent} {token}".strip() + f"_{below}" * bool(below))
            accent = ""
        elif token != "{":
            accent = ""
    return found


def _after_group(tokens: list[str], place: int) -> int:
    """Where the token or the group in braces that begins at ``place`` is over."""
    depth = 0
    while place < len(tokens):
        depth += {"{": 1, "}": -1}.get(tokens[place], 0)
        place += 1
        if depth <= 0:
            break
    return place


def read_alphabet(root: Path) -> dict[str, Any]:
    """The file as it is: ``letters``, a list of ``letter, meaning, where``, and ``own``, page to letter to meaning."""
    return yaml.safe_load((root / PATH).read_text(encoding="utf-8"))


def meanings(alphabet: dict[str, Any], page: str, letter: str) -> list[str]:
    """What a letter means on a page, by the most special entry: with its subscript before without, page before chapter.

    Two meanings are two things under one name; none is a letter that nobody has explained.
    """
    chapter = page.partition("/")[0]
    for name in dict.fromkeys((letter, letter.partition("_")[0])):
        own = alphabet["own"].get(page, {}).get(name)
        rows = [row for row in alphabet["letters"] if name in row["letter"].split(", ")]
        for found in ([own] if own else [], [row["meaning"] for row in rows if page in row["where"]],
                      [row["meaning"] for row in rows if chapter in row["where"] or "book" in row["where"]]):
            if found:
                return found
    return []


def written(letter: str) -> str:
    """A letter as a formula: ``hat beta_0`` is ``\\hat\\beta_{0}``."""
    if ", " in letter:
        return ", ".join(map(written, letter.split(", ")))
    name, _, below = letter.partition("_")
    *accent, base = name.split()
    base, below = (f"\\{part}" if part in GREEK else part for part in (base, below))
    base = f"\\{accent[0]}{{{base}}}" if accent else base
    return f"${base}_{{{below}}}$" if below else f"${base}$"


def in_order(letter: str) -> tuple:
    """Latin before Greek, capitals before small ones, a letter before its accents and subscripts."""
    name, _, below = letter.partition(", ")[0].partition("_")
    base = name.split()[-1]
    place = (1, GREEK.index(base)) if base in GREEK else (0, base.lower(), base.islower())
    return *place, " " in name, name, below


def short_link(page: str) -> nodes.Node:
    """A link to a page under the name of its file, which is shorter than its title."""
    words = page.rpartition("/")[2].replace("-", " ")
    return addnodes.pending_xref("", nodes.inline("", words), refdomain="std", reftype="doc", refexplicit=True,
                                 reftarget=f"/notebooks/{page}", refwarn=True)


class Notation(SphinxDirective):
    """``dln-notation``: the table of letters."""

    def run(self):
        self.env.note_dependency(str(Path(self.env.srcdir) / PATH))
        rows, last = [], ""
        for row in sorted(read_alphabet(Path(self.env.srcdir))["letters"], key=lambda row: in_order(row["letter"])):
            letter = with_formulas(written(row["letter"])) if row["letter"] != last else []
            places = [short_link(where) if "/" in where else nodes.Text(where) for where in row["where"]]
            where = [part for place in places for part in (place, nodes.Text(", "))][:-1]
            rows.append((nodes.inline("", "", *letter), nodes.inline("", "", *with_formulas(row["meaning"])),
                         nodes.inline("", "", *where)))
            last = row["letter"]
        return [table(("Letter", "Meaning", "Where"), rows, (12, 52, 36), ["dln-notation"])]


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-notation", Notation)
    app.add_css_file("dln-notation.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

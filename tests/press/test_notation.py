"""One alphabet: every letter of a page's formulas has one meaning there."""

import pytest
from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils.press.ext import notation

ALPHABET = notation.read_alphabet(BOOK)
LETTERS = {page: {letter for formula in notation.formulas_of(notebook) for letter in notation.letters_of(formula)}
           for page, notebook in NOTEBOOKS.items()}
TRANSLATES = "synthesis"                                   # its pages set the papers' letters beside each other, and may use any
HELP = "in book/notation.yml: a row of `letters` for the book, a chapter or a page; a line of `own` for one page alone"


@pytest.mark.parametrize("page", SECTIONS)
def test_every_letter_of_a_page_means_one_thing(page):
    assert len(LETTERS[page]) > 5
    found = {letter: notation.meanings(ALPHABET, page, letter) for letter in sorted(LETTERS[page])}
    assert not [letter for letter, means in found.items() if not means], f"say what they mean {HELP}"
    assert not {letter: means for letter, means in found.items() if len(means) > 1}, "two things under one name: rename one"


def test_every_row_names_where_its_letter_is_used():
    for row in ALPHABET["letters"]:
        for where in row["where"]:
            if where.startswith(TRANSLATES):
                continue
            pages = [page for page in SECTIONS if where in ("book", page, page.partition("/")[0])]
            used = {name for page in pages for letter in LETTERS[page] for name in (letter, letter.partition("_")[0])}
            assert used.issuperset(row["letter"].split(", ")), (row, where)


def test_what_a_page_explains_for_itself_is_on_it():
    for page, own in ALPHABET["own"].items():
        assert page in SECTIONS
        if page.startswith(TRANSLATES):
            continue
        stale = [name for name in own if not any(name in (letter, letter.partition("_")[0]) for letter in LETTERS[page])]
        assert not stale, f"{page}: no longer used, {stale}"


@pytest.mark.parametrize("formula, letters", [
    (r"\hat\beta_{l+1} = \tfrac1N W^{0\mathsf T}g", {"hat beta_l+1", "N", "W", "g"}),
    (r"\frac{d\tau}{dt} = K\,d\,e^{-\eta t}", {"tau", "t", "K", "d", "eta"}),
    (r"(\lambda_k w_k^2)^{1/a} \approx O(1/N), \quad \text{as } \pi", {"lambda_k", "w_k", "a", "N"}),
    (r"\begin{array}{r|l} x &= \mathcal{L} \\[3pt] y \tag{1}\end{array}", {"x", "mathcal L", "y"}),
    (r"W^T W \propto \operatorname{tr} P, \; d \times D", {"W", "P", "d", "D"})])
def test_letters_of_a_formula(formula, letters):
    assert notation.letters_of(formula) == letters


def test_two_meanings_and_none_are_found():
    rows = [{"letter": "c", "meaning": "one", "where": ["mixed"]}, {"letter": "c", "meaning": "two", "where": ["mixed"]},
            {"letter": "c", "meaning": "three", "where": ["mixed/a"]}, {"letter": "c_0", "meaning": "four", "where": ["book"]}]
    alphabet = {"letters": rows, "own": {"mixed/b": {"c": "five"}}}
    assert notation.meanings(alphabet, "mixed/z", "c") == ["one", "two"] and notation.meanings(alphabet, "mixed/z", "b") == []
    assert [notation.meanings(alphabet, *use) for use in (("mixed/a", "c_1"), ("mixed/b", "c"), ("mixed/a", "c_0"))] == \
        [["three"], ["five"], ["four"]]
    assert notation.written("hat beta_l+1") == r"$\hat{\beta}_{l+1}$" and notation.written("i, R_Delta") == r"$i$, $R_{\Delta}$"
    ordered = sorted(["beta", "hat beta", "b, z", "B", "c", "beta_0"], key=notation.in_order)
    assert ordered == ["B", "b, z", "c", "beta", "beta_0", "hat beta"]

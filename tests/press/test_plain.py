"""Notebooks to take away: nothing in them that only Sphinx understands, and they run outside the book."""

import json
import re
import subprocess
import sys

import pytest
from committed import NOTEBOOKS, SECTIONS

from dlnutils.press.ext.plain import Site, plain_notebook, plain_text

SITE = Site(lambda name: "Fig. 1.4", lambda page: "A page", lambda label: ("book/how-to", "How to"), "https://example.org")
RAW = re.compile(r"\{[\w:-]+\}`|^[`:]{3,}\{|^\([\w-]+\)=$|\]\((?!https?:)", re.M)


def text_of(notebook):
    return "\n\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("section", SECTIONS)
def test_nothing_raw_is_left(section):
    plain = plain_notebook(NOTEBOOKS[section], section, SITE, settings="| a |\n|---|", install="Install it.")
    text = text_of(plain)
    assert not RAW.findall(text) and "Install it." in text[:200] and "[missing" not in text
    code = [cell for cell in NOTEBOOKS[section]["cells"] if cell["cell_type"] == "code"]
    assert [cell["source"] for cell in plain["cells"] if cell["cell_type"] == "code"] == [cell["source"] for cell in code]
    assert text.count("### Exercise:") == text_of(NOTEBOOKS[section]).count("{exercise")


@pytest.mark.parametrize("before, after", [
    ("It is {glue:text}`a-claim`.", "It is 2 × 10⁻³."),
    ("{numref}`fig-one` and {numref}`panel %s <fig-one>`", "Fig. 1.4 and panel 1.4"),
    ("{paper-figure}`saxe2013 3 left`", "Saxe Fig. 3 left"),
    ("{doc}`/book/errata`, {doc}`there </book/errata>`, {ref}`how-label`",
     "[A page](https://example.org/book/errata.html), [there](https://example.org/book/errata.html), "
     "[How to](https://example.org/book/how-to.html)"),
    ("[depth](depth.ipynb#one) and [mixed](../mixed/index.md)",
     "[depth](https://example.org/notebooks/saddles/depth.html#one) and [mixed](https://example.org/notebooks/mixed/index.html)"),
    ("```{admonition} Predict, then run\n:class: dln-predict\n\nWhat?\n```", "> **Predict, then run.** What?"),
    ("```{exercise} The sigmoid\n:label: ex-a\n:class: dln-warm-up dln-pen\n\nSolve $a$.\n```",
     "### Exercise: The sigmoid (warm-up)\n\nSolve $a$."),
    ("```{solution-start} ex-a\n:class: dropdown\n```", "#### Solution"),
    ("(here)=\n## Title", "## Title"),
])
def test_words(before, after):
    assert plain_text(before, "saddles/x", SITE, shown={"a-claim": "2e-03"}) == after


def test_without_an_address_a_link_is_its_words():
    assert plain_text("[depth](depth.ipynb)", "saddles/x", SITE._replace(address=""), shown={}) == "depth"


def test_a_plain_notebook_runs_outside_the_book_and_asserts_its_claims(tmp_path):
    section = "saddles/phase-portrait"
    path = tmp_path / "phase-portrait.ipynb"
    path.write_text(json.dumps(plain_notebook(NOTEBOOKS[section], section, SITE)), encoding="utf-8")
    code = ("import nbclient, nbformat; notebook = nbformat.read('phase-portrait.ipynb', 4); "
            "nbclient.NotebookClient(notebook, timeout=300).execute(); print(notebook['cells'][-1]['outputs'][0]['data']"
            "['application/vnd.dlnutils.claims+json']['profile'])")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split()[-1] == "default", done.stderr[-2000:]

"""The front page's counts of statements that papers print: made from claims, and equal to the ledger's."""

import json
from types import SimpleNamespace

import pytest
import yaml
from click.testing import CliRunner
from committed import BOOK

from dlnutils.press import cli, notebooks
from dlnutils.press.ext import verdicts
from dlnutils.press.notebooks import CLAIMS_TYPE


def notebook(*claims):
    """A notebook in which these (paper, source, where, verdict, passed) are claimed."""
    fields = ("paper", "source", "where", "verdict", "passed")
    entries = [dict(zip(fields, claim)) | {"id": str(number), "figure": "2", "statement": "", "measured": 1.0, "shown": "1",
                                           "bound": [0, 2]} for number, claim in enumerate(claims)]
    outputs = [{"output_type": "display_data", "metadata": {}, "data": {CLAIMS_TYPE: {
        "paper": paper, "section": "s", "profile": "default", "claims": [entry for entry in entries if entry["paper"] == paper]}}}
        for paper in dict.fromkeys(entry["paper"] for entry in entries)]
    return {"cells": [{"cell_type": "code", "metadata": {}, "source": "", "outputs": outputs}], "metadata": {}}


def test_only_statements_of_papers_count_and_each_once():
    saxe = "saxe2013"
    book = {"saddles/one": notebook((saxe, "paper", "Fig. 2", "agrees", True), (saxe, "paper", "Fig. 3", "disagrees", True),
                                    (saxe, "theory", None, "agrees", True), ("tu2024", "paper", "Fig. 1", "agrees", True)),
            "synthesis/two": notebook(("synthesis", "seeds", None, "agrees", True), (saxe, "paper", "Fig. 4", "agrees", None))}
    count = verdicts.verdicts_of(book, [{"paper": "tu2024"}, {"paper": "tu2024"}])
    assert count["saxe2013"] == (2, 1, 1, 0) and count["tu2024"] == (1, 1, 0, 2) and count["bordelon2025"] == (0, 0, 0, 0)
    assert count["all"] == (3, 2, 1, 2) and "synthesis" not in count


def test_a_statement_that_fails_is_tested_and_neither_agrees_nor_disagrees():
    assert verdicts.verdicts_of({"a": notebook(("tu2024", "paper", "Fig. 1", "agrees", False))}, [])["tu2024"] == (1, 0, 0, 0)


def test_the_front_page_counts_what_the_ledger_lists(monkeypatch):
    monkeypatch.chdir(BOOK)
    listed = json.loads(CliRunner().invoke(cli.main, ["ledger", "--format", "json"], prog_name="dln").output)
    printed = [claim["verdict"] for claim in listed if claim["source"] == "paper"]
    book = {section: notebooks.read_notebook(notebooks.notebook_path(BOOK, section)) for section in notebooks.sections(BOOK)}
    count = verdicts.verdicts_of(book, [])["all"]
    assert (count.tested, count.disagree) == (len(printed), printed.count("disagrees"))
    assert count.agree == count.tested - count.disagree


def environment(folder):
    return SimpleNamespace(srcdir=str(folder), note_dependency=lambda path: None)


@pytest.mark.parametrize("entry", [{"paper": "tu2024", "what": "Fig. 9"}, {"paper": "nobody", "what": "Fig. 9", "why": "lost"},
                                   {"paper": "tu2024", "what": "Fig. 9", "why": "lost", "who": "we"}])
def test_an_untested_statement_has_a_paper_and_a_reason(tmp_path, entry):
    (tmp_path / "book").mkdir()
    (tmp_path / verdicts.UNTESTED).write_text(yaml.safe_dump([entry]), encoding="utf-8")
    with pytest.raises(ValueError, match="must have entries of a paper"):
        verdicts.read_untested(environment(tmp_path))


def test_the_book_lists_what_it_could_not_test_and_a_book_without_the_list_has_none(tmp_path):
    assert all(entry["why"].strip() for entry in verdicts.read_untested(environment(BOOK)))
    assert verdicts.read_untested(environment(tmp_path)) == []

"""The runner: what it keeps, what it refuses, and that bad luck loses nothing."""

import base64
import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from toy_book import code, make_project, toy_cells, write_notebook

from dlnutils.press import accept, ledger, notebooks, run, site
from dlnutils.press.cli import main


def quiet(line):
    """Swallow progress lines."""


def states(results):
    return {result.section: result.state for result in results}


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path / "book", {"saddles/a": toy_cells("saddles/a"), "mixed/b": toy_cells("mixed/b")})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A book with one finished run, shared by tests that only read it or copy it."""
    root = make_project(tmp_path_factory.mktemp("done"), {"saddles/a": toy_cells("saddles/a")})
    assert states(run.run(run.plan(root), echo=quiet)) == {"saddles/a": "done"}
    return root


def cli(root, *arguments):
    here = os.getcwd()
    os.chdir(root)
    try:
        return CliRunner().invoke(main, list(arguments), prog_name="dln")
    finally:
        os.chdir(here)


# --- names are checked first --------------------------------------------------------------------------------------

@pytest.mark.parametrize("arguments, named", [
    (["run", "saddles/zzz"], "saddles/a"),
    (["run", "--profile", "huge"], "default"),
    (["run", "saddles/a", "-p", "m", "4"], "choose from n"),
    (["accept", "zzz"], "saddles/a"),
    (["build", "--profile", "huge"], "default"),
    (["ledger", "--profile", "huge"], "default"),
    (["data-of", "fig-none"], "fig-saddles-a"),
])
def test_unknown_names_end_with_2_and_one_line_of_choices(project, arguments, named):
    result = cli(project, *arguments)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1 and named in result.stderr


def test_outside_the_book(tmp_path):
    result = cli(tmp_path, "ledger")
    assert result.exit_code == 2 and "cd into the clone" in result.stderr


def test_a_chapter_stands_for_its_sections_and_order_is_the_tocs(project):
    assert notebooks.sections(project) == ["saddles/a", "mixed/b"]
    assert run.choose(project, ["mixed"]) == ["mixed/b"]
    assert run.choose(project, ["notebooks/saddles/a.ipynb"]) == ["saddles/a"]


def test_profiles_change_parameters(project):
    folder = project / "notebooks" / "profiles" / "paper" / "saddles"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text("n: 5  # cost: nothing\n")
    (job,) = run.plan(project, ["saddles/a"], profile="paper")
    assert job.parameters == {"n": 5} and job.target.parts[-3:] == ("paper", "saddles", "a.ipynb")
    with pytest.raises(notebooks.UsageError, match="does not cover mixed/b"):
        run.plan(project, ["mixed/b"], profile="paper")


@pytest.mark.parametrize("text, value", [("20", 20), ("1e-3", 1e-3), ("[1, 2]", [1, 2]), ("true", True),
                                         ("full", "full"), ("'x y'", "x y")])
def test_values_from_the_command_line(text, value):
    assert run.parse_value(text) == value


# --- running ------------------------------------------------------------------------------------------------------

def test_unchanged_notebooks_are_kept_and_changed_ones_run_again(finished, monkeypatch):
    assert states(run.run(run.plan(finished), echo=quiet)) == {"saddles/a": "kept"}
    (before,) = run.plan(finished)
    monkeypatch.setattr(run, "package_hash", lambda: "another")
    assert not run.plan(finished)[0].up_to_date
    monkeypatch.undo()
    (finished / "constraints.txt").write_text("numpy==0\n")
    assert not run.plan(finished)[0].up_to_date
    (finished / "constraints.txt").unlink()
    assert before.up_to_date
    assert run.plan(finished, overrides={"n": 4})[0].key != before.key


def test_a_page_that_reads_the_trials_is_as_old_as_their_record(tmp_path):
    reading = ["from dlnutils.press import style, trials\nn_trials = 5"]
    other = toy_cells("saddles/a", ["n_trials = 5"])
    root = make_project(tmp_path, {"saddles/a": other, "mixed/b": toy_cells("mixed/b", reading)})
    before = run.plan(root)
    (root / "records" / "integrable").mkdir(parents=True)
    (root / "records" / "integrable" / "trials.json").write_text("{}")
    assert [old.key == new.key for old, new in zip(before, run.plan(root))] == [True, False]


def test_other_parameters_are_not_asserted(project):
    result = cli(project, "run", "saddles/a", "-p", "n", "9")    # the claim asks for n <= 5
    assert result.exit_code == 0, result.output
    (claim,) = ledger.collect(project, executed=True, profile="custom")
    assert claim["passed"] is None and claim["measured"] == 9 and claim["profile"] == "custom"
    folder = project / "notebooks" / "profiles" / "browser" / "saddles"          # sizes for a browser suit no claim
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text("n: 8\n")
    result = cli(project, "run", "--profile", "browser", "saddles/a")
    assert result.exit_code == 0, result.output
    (claim,) = ledger.collect(project, executed=True, profile="browser")
    assert claim["passed"] is None and claim["measured"] == 8
    result = cli(project, "run", "saddles/a", "-p", "n", "3")    # a default given by hand is the default's value
    assert result.exit_code == 0, result.output


def test_a_failing_notebook_is_named_kept_aside_and_does_not_stop_the_others(tmp_path):
    cells = toy_cells("saddles/bad")
    cells.insert(4, code("1 / 0"))
    root = make_project(tmp_path / "book", {"saddles/bad": cells, "saddles/good": toy_cells("saddles/good")})
    result = cli(root, "run", "--jobs", "1")
    assert result.exit_code == 1
    assert "saddles/bad  cell 4  ZeroDivisionError: division by zero" in result.stderr
    aside = root / "_build" / "executed" / "default" / "saddles" / "bad.failed.ipynb"
    assert "ZeroDivisionError" in aside.read_text()
    assert (aside.parent / "good.ipynb").exists() and not (aside.parent / "bad.ipynb").exists()
    assert not list(aside.parent.glob(".*"))


def test_a_failing_claim_fails_the_run(tmp_path):
    extra = ['claims.check("x", figure="2", statement="impossible", measured=1, high=0, source="theory")']
    root = make_project(tmp_path / "book", {"saddles/bad": toy_cells("saddles/bad", extra)})
    result = cli(root, "run")
    assert result.exit_code == 1 and "1 of 2 claims failed: x: 1 is not in" in result.stderr


def test_a_killed_kernel_is_a_failure_of_its_notebook_only(tmp_path):
    root = make_project(tmp_path / "book", {
        "saddles/killed": toy_cells("saddles/killed", ["import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]),
        "saddles/good": toy_cells("saddles/good")})
    results = run.run(run.plan(root), echo=quiet)
    assert states(results) == {"saddles/killed": "failed", "saddles/good": "done"}
    assert "kernel died" in results[0].error


def test_interrupted_runs_lose_nothing_and_resume(tmp_path):
    wait = ["import pathlib, time\nwhile not pathlib.Path('go').exists(): time.sleep(0.1)"]
    root = make_project(tmp_path / "book", {"saddles/quick": toy_cells("saddles/quick"),
                                            "saddles/slow": toy_cells("saddles/slow", wait)})
    done = notebooks.executed_path(root, "saddles/quick", "default")
    # A shell that starts the tests in the background has them ignore Ctrl-C, and they would hand that on.
    process = subprocess.Popen([sys.executable, "-m", "dlnutils", "run", "--jobs", "2"], cwd=root, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    while not done.exists():
        time.sleep(0.1)
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()                                     # a run that does not stop fails this test and no other
    assert process.returncode == 130, (out, err)
    assert "interrupted: 1 of 2 notebooks are finished" in err and "Traceback" not in err
    (root / "notebooks" / "saddles" / "go").touch()
    assert states(run.run(run.plan(root), echo=quiet)) == {"saddles/quick": "kept", "saddles/slow": "done"}
    assert not list(done.parent.glob(".*"))                # the killed run's partial file is gone too


def test_a_full_disk_says_so_and_leaves_no_half_result(finished, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(run, "write_notebook", full)
    (job,) = run.plan(finished)
    report = run._execute({"source": str(job.source), "target": str(tmp_path / "a.ipynb"), "overrides": {},
                              "metadata": {}})
    assert "No space left" in report["error"] and "what is finished is kept" in report["error"]
    assert not list(tmp_path.iterdir())


# --- accepting ----------------------------------------------------------------------------------------------------

def test_accept_refuses_what_is_missing_or_stale(project):
    with pytest.raises(notebooks.UsageError, match="dln run saddles/a"):
        accept.accept(project, ["saddles/a"])


def test_accept_keeps_outputs_and_one_block_of_metadata(finished):
    (path,) = accept.accept(finished)
    notebook = json.loads(path.read_text())
    assert set(notebook["metadata"]) == {"dln", "kernelspec", "language_info"}
    assert set(notebook["metadata"]["dln"]) == {"profile", "parameters", "run_time", "processor", "versions", "date",
                                                "package_hash", "words"}
    assert [cell["id"] for cell in notebook["cells"]] == [f"cell-{i:02d}" for i in range(1, 7)]
    assert "papermill" not in json.dumps(notebook["cells"][0]["metadata"])
    assert all(set(cell["metadata"]) <= {"tags", "mystnb", "dln"} for cell in notebook["cells"])
    assert str(finished) not in path.read_text()
    assert run.plan(finished)[0].up_to_date             # accepting changes nothing that a run depends on
    assert [claim["passed"] for claim in ledger.collect(finished)] == [True]


def test_a_record_has_labels_and_links_of_its_own():
    def cell(text, **metadata):
        return {"cell_type": "markdown", "metadata": metadata, "source": [text]}
    figure = {"cell_type": "code", "metadata": {"mystnb": {"figure": {"name": "fig-a-b", "caption": "see"}}},
              "source": ["plt.show()"], "outputs": []}
    text = ("{numref}`fig-a-b` but not fig-a-b-c; [x](depth.ipynb#there), [n](../../book/notation.md), [w](https://a.b), "
            "{run-time}`saddles/a`\n```{exercise} E\n:label: ex-a\n```\n{ref}`ex-a`")
    record = accept.as_record({"cells": [cell("# T\nmore"), figure, cell(text)]}, "saddles/a", "paper")
    assert "".join(record["cells"][0]["source"]) == "# T: paper size\nmore"
    assert record["cells"][1]["metadata"]["mystnb"]["figure"]["name"] == "fig-a-b-paper"
    assert record["cells"][1]["source"] == ["plt.show()"]
    moved = "".join(record["cells"][2]["source"])
    assert "{numref}`fig-a-b-paper` but not fig-a-b-c;" in moved and "{run-time}`saddles/a@paper`" in moved
    assert "(../../../notebooks/saddles/depth.ipynb#there)" in moved and "(../../../book/notation.md)" in moved
    assert "(https://a.b)" in moved and ":label: ex-a-paper" in moved and "{ref}`ex-a-paper`" in moved


def test_staging_overlays_runs_and_keeps_time_stamps(finished):
    (finished / "_config.yml").write_text("title: toy\n")
    target = site.stage_book(finished)
    page = target / "notebooks" / "saddles" / "a.ipynb"
    assert any(cell.get("outputs") for cell in json.loads(page.read_text())["cells"])
    before = page.stat().st_mtime_ns
    (target / "gone.md").write_text("left over")
    site.stage_book(finished)
    assert page.stat().st_mtime_ns == before and not (target / "gone.md").exists()


# --- ledger and data ----------------------------------------------------------------------------------------------

def test_ledger_lists_the_agreed_keys(finished):
    result = cli(finished, "ledger", "--format", "json", "--executed")
    (claim,) = json.loads(result.stdout)
    assert claim == {"id": "saddles/a-size", "paper": "saxe2013", "figure": "2", "where": None,
                     "statement": "n stays small", "measured": 3.0, "bound": [None, 5.0], "source": "theory",
                     "headline": False, "verdict": "agrees", "notebook": "saddles/a", "profile": "default", "passed": True}
    assert "1 claims: 1 hold" in cli(finished, "ledger", "--executed").stdout


@pytest.mark.parametrize("figure", ["fig-saddles-a", "saxe2013:2"])
def test_data_of_a_figure_is_what_it_draws(finished, figure):
    result = subprocess.run([sys.executable, "-m", "dlnutils", "data-of", figure, "-p", "n", "4"], cwd=finished,
                            capture_output=True, text=True)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(0, 0), (1, 1), (2, 4), (3, 9)]
    assert {row["label"] for row in rows} == {"squares"}


def test_parameters_must_be_literals(tmp_path):
    path = write_notebook(tmp_path / "x.ipynb", [code("n = 2 ** 3", tags=["parameters"])])
    with pytest.raises(ValueError, match="only assign literals"):
        run.default_parameters(json.loads(path.read_text()))


def test_data_without_network_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DLN_DATA_DIR", str(tmp_path / "none"))
    import pooch
    import requests

    def refuse(*args, **kwargs):
        raise requests.exceptions.ConnectionError("no route")
    monkeypatch.setattr(pooch, "retrieve", refuse)
    result = cli(tmp_path, "data")
    assert result.exit_code == 1 and "--from FOLDER" in result.stderr


def test_doctor_reports(project):
    result = cli(project, "doctor")
    assert result.exit_code == 0 and "MNIST, embedded: 5000 images" in result.stdout


def test_pictures_are_compressed_without_changing_a_pixel():
    import matplotlib.pyplot as plt
    from PIL import Image
    figure, ax = plt.subplots()
    ax.plot(range(10))
    for opaque in (True, False):
        raw = io.BytesIO()
        figure.savefig(raw, transparent=not opaque)
        encoded = base64.b64encode(raw.getvalue()).decode()
        output = {"output_type": "display_data", "data": {"text/plain": "x", "image/png": encoded}}
        small = notebooks.compress_picture(output)
        assert small["data"]["text/plain"] == "x" and len(small["data"]["image/png"]) < len(output["data"]["image/png"])
        before, after = (Image.open(io.BytesIO(base64.b64decode(out["data"]["image/png"]))) for out in (output, small))
        assert after.mode == ("RGB" if opaque else "RGBA") and before.convert(after.mode).tobytes() == after.tobytes()
    plt.close(figure)
    assert notebooks.compress_picture({"output_type": "stream", "text": "x"}) == {"output_type": "stream", "text": "x"}


def test_what_a_stopped_build_left_is_not_built_upon(tmp_path, monkeypatch):
    html, style = tmp_path / "_build" / "html", tmp_path / "book" / "_static" / "ours.css"
    style.parent.mkdir(parents=True)
    style.write_text("a {}")
    found, ends = [], [0, -9, 0, 0, 0]                     # the second is killed

    def jupyter_book(command, cwd):
        found.append(sorted(path.name for path in html.glob("*")))
        (html / f"page{len(found)}").parent.mkdir(parents=True, exist_ok=True)
        (html / f"page{len(found)}").touch()
        (html / "index.html").touch()
        return SimpleNamespace(returncode=ends[len(found) - 1])

    monkeypatch.setattr(run.subprocess, "run", jupyter_book)
    site.build(tmp_path, committed=True)
    with pytest.raises(RuntimeError, match="-9"):
        site.build(tmp_path, committed=True)
    site.build(tmp_path, committed=True)                 # anew
    site.build(tmp_path, committed=True)                 # upon the last
    os.utime(style, (time.time() + 60,) * 2)
    site.build(tmp_path, committed=True)                 # anew: a style has changed
    assert found == [[], ["index.html", "page1"], [], ["index.html", "page3"], []]

"""What may befall a run from outside: the user's settings, notebooks that end themselves, killed processes, older results."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from committed import BOOK
from toy_book import code, make_project, toy_cells

from dlnutils.press import accept, ledger, machine, notebooks, run, site
from dlnutils.press.figure_data import figure_data, figures
from dlnutils.press.notebooks import UsageError

#: Cells that a kernel runs and plain Python does not, and a function that only a kernel can show the source of.
KERNEL_CELLS = ["%matplotlib inline\n!echo from a shell", "import asyncio\nawait asyncio.sleep(0)",
                "def tripled(x):\n    return 3 * x", "from dlnutils.sweep import sweep\n"
                "values = sweep(tripled, [{'x': x} for x in range(n)])"]
DRAWN = "%matplotlib inline\nplt.plot(values, label='tripled')\nplt.show()"


def named(figure):
    return {"mystnb": {"figure": {"name": figure, "caption": "Odd."}}}


def quiet(line):
    """Swallow progress lines."""


def wait_for(condition):
    for _ in range(6000):                                  # ten minutes, for safety
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError("nothing happened")


def dln(root, *arguments, **environment):
    return subprocess.run([sys.executable, "-m", "dlnutils", *arguments], cwd=root, capture_output=True, encoding="utf-8",
                          env=os.environ | environment)


def picture(root, section, profile="default"):
    notebook = notebooks.read_notebook(notebooks.executed_path(root, section, profile))
    return notebooks.picture_of(notebook, f"fig-{section.replace('/', '-')}")


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book that was run among hostile settings, and how each notebook went."""
    odd = toy_cells("saddles/odd")[:3]
    root = make_project(tmp_path_factory.mktemp("mishaps") / "book", {
        "saddles/a": toy_cells("saddles/a"),
        "saddles/quits": toy_cells("saddles/quits", ["import sys\nsys.exit(0)"]),
        "saddles/agg": [*odd, code("import matplotlib\nmatplotlib.use('agg')"),
                        code("plt.plot([1])\nplt.show()", **named("fig-agg"))],
        "saddles/bytes": toy_cells("saddles/bytes", ["import os\nfor stream in (1, 2): os.write(stream, bytes([255, 254, 10]))"]),
        "mixed/kernel": [*toy_cells("mixed/kernel")[:3], *map(code, KERNEL_CELLS), code(DRAWN, **named("fig-kernel")),
                         code("1 / 0")]})
    settings = root / "settings"
    (settings / "profile_default").mkdir(parents=True)
    (settings / "profile_default" / "ipython_config.py").write_text(
        "c = get_config()\nc.InlineBackend.figure_formats = {'svg'}\nc.InlineBackend.print_figure_kwargs = {'dpi': 30}\n")
    (settings / "start.py").write_text("import matplotlib.pyplot as plt\nplt.switch_backend('agg')\n")
    (settings / "matplotlibrc").write_text("figure.dpi: 20\nsavefig.format: svg\nbackend: agg\n")
    hostile = {"MPLBACKEND": "QtAgg", "IPYTHONDIR": str(settings), "PYTHONSTARTUP": str(settings / "start.py"),
               "MATPLOTLIBRC": str(settings / "matplotlibrc")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in hostile.items():
            patch.setenv(name, value)
        results = {result.section: result for result in run.run(run.plan(root, ["saddles"]), echo=quiet)}
    return root, results


# --- settings and notebooks ---------------------------------------------------------------------------------------

def test_the_users_settings_change_no_picture(book):
    root, results = book
    assert results["saddles/a"].state == "done", results
    hostile = picture(root, "saddles/a")
    (job,) = run.plan(root, ["saddles/a"])
    run.run([job], force=True, echo=quiet)
    assert hostile == picture(root, "saddles/a") and hostile.startswith(b"\x89PNG")


def test_a_notebook_that_ends_itself_has_failed(book):
    result = book[1]["saddles/quits"]
    assert (result.state, result.cell) == ("failed", 5) and "SystemExit: 0: the cells after it were not run" in result.error


def test_a_figure_without_a_picture_has_failed(book):
    result = book[1]["saddles/agg"]
    assert (result.state, result.cell) == ("failed", 4) and "it left no picture of fig-agg" in result.error


def test_bytes_that_are_no_text_do_no_harm(book):
    assert book[1]["saddles/bytes"].state == "done"


def test_a_kernel_of_a_user_without_a_home_gets_one(tmp_path, monkeypatch):
    pwd = pytest.importorskip("pwd", reason="only where users are in a file")
    monkeypatch.delenv("HOME", raising=False)

    def nobody(uid):
        raise KeyError(uid)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    assert run.kernel_environment(tmp_path)["HOME"] == str(tmp_path)
    monkeypatch.setenv("HOME", "/there")
    assert run.kernel_environment(tmp_path)["HOME"] == "/there"


def test_two_processors_of_one_name_are_told_apart(tmp_path):
    def named(text):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        return machine.processor(path)
    assert named("model name\t: Maker X\nflags\t\t: sse4_2 avx2 avx512f\nvmx flags\t: avx2\n") == "Maker X, AVX-512"
    assert named("model name\t: Maker X\nflags\t\t: sse4_2 avx2\n") == "Maker X, AVX2"
    assert named("model name\t: Maker X\n") == "Maker X"
    nameless = machine.platform.processor() or machine.platform.machine()
    assert named("Features\t: asimd\n") == nameless == machine.processor(tmp_path / "none")


def test_cores_are_those_that_this_process_may_use(tmp_path, monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(6)))
    else:
        monkeypatch.setattr(os, "cpu_count", lambda: 6)
    for number, (group, files, expected) in enumerate([
            ("", {}, 6), ("0::/", {"cpu.max": "max 100000"}, 6), ("0::/", {"cpu.max": "150000 100000"}, 2),
            ("4:cpu,cpuacct:/x", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 1),
            ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 6)]):
        root = tmp_path / str(number)
        for name, text in {"proc/self/cgroup": group, **{f"sys/fs/cgroup/{name}": text for name, text in files.items()}}.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        assert machine.cores(root) == expected


# --- killed runs --------------------------------------------------------------------------------------------------

def test_the_workers_of_a_killed_run_end_and_leave_nothing(tmp_path):
    root = make_project(tmp_path / "book", {"saddles/slow": [code("import os, pathlib, time"), code(
        "pathlib.Path('kernel').write_text(f'{os.getpid()} {os.getppid()} ')"), code("time.sleep(3600)")]})
    told = root / "notebooks" / "saddles" / "kernel"
    process = subprocess.Popen([sys.executable, "-m", "dlnutils", "run"], cwd=root, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    wait_for(lambda: told.exists() and told.read_text().endswith(" "))
    process.send_signal(signal.SIGKILL)
    process.wait()
    kernel, worker = map(int, told.read_text().split())
    wait_for(lambda: ended(worker) and ended(kernel))
    assert not list((root / "_build" / "executed").rglob(".*"))


def ended(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] == "Z"
    except ProcessLookupError:
        return True
    except OSError:
        return False


def test_leftovers_of_any_section_go_when_a_run_starts(book):
    root, _ = book
    folder = notebooks.executed_path(root, "saddles/a", "default").parent
    other = subprocess.Popen([sys.executable, "-c", ""])
    other.wait()
    gone = [folder / f".a.{other.pid}.partial.ipynb", folder / f".quits.{other.pid}.partial.ipynb",
            folder / f".a.ipynb.{other.pid}.tmp"]
    stay = [folder / f".a.{os.getpid()}.partial.ipynb", folder / ".hidden"]
    for path in [*gone, *stay]:
        path.touch()
    (result,) = run.run(run.plan(root, ["saddles/a"]), echo=quiet)
    assert result.state == "kept" and not any(path.exists() for path in gone) and all(path.exists() for path in stay)
    for path in stay:
        path.unlink()


# --- what a result hangs on ---------------------------------------------------------------------------------------

def change(path, edit):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    edit(notebook)
    path.write_text(json.dumps(notebook), encoding="utf-8")


def test_prose_reruns_nothing_and_what_is_shown_carries_it(book, monkeypatch):
    root, _ = book
    path, before = notebooks.notebook_path(root, "saddles/a"), run.plan(root, ["saddles/a"])[0]
    committed = path.read_bytes()

    def reword(notebook):
        notebook["cells"][0]["source"] = ["# Other words\n", "![pasted](attachment:image.png)"]
        notebook["cells"][0]["attachments"] = {"image.png": {"image/png": "aGVsbG8="}}
        notebook["cells"].insert(1, {"cell_type": "markdown", "id": "new", "metadata": {}, "source": "A new paragraph."})
        notebook["cells"][4]["metadata"]["mystnb"]["figure"]["caption"] = "Other squares."
        notebook["cells"][4]["metadata"]["tags"] = ["hide-input"]
    try:
        change(path, reword)
        (job,) = run.plan(root, ["saddles/a"])
        assert job.key == before.key and job.up_to_date
        (root / "_config.yml").write_text("title: toy\n")
        shown = [notebooks.read_notebook(site.stage_book(root) / "notebooks" / "saddles" / "a.ipynb")]
        accept.accept(root, ["saddles/a"])
        shown.append(notebooks.read_notebook(path))
        for notebook in shown:
            first, second, *_, figure = notebook["cells"][:5]
            assert first["source"] == ["# Other words\n", "![pasted](attachment:image.png)"]
            assert first["attachments"] == {"image.png": {"image/png": "aGVsbG8="}}
            assert second["source"] == ["A new paragraph."]
            assert figure["metadata"]["mystnb"]["figure"]["caption"] == "Other squares." and figure["outputs"]
            assert notebooks.claims_of(notebook)
        (job,) = run.plan(root, ["saddles/a"])
        assert job.up_to_date
        for edit in (lambda nb: nb["cells"][4].update(source="plt.plot([n])\nplt.show()"),
                     lambda nb: nb["cells"][2].update(metadata={})):
            changed = path.read_bytes()
            change(path, edit)
            assert notebooks.computation(notebooks.read_notebook(path)) != notebooks.computation(shown[1])
            shown_now = notebooks.read_notebook(site.stage_book(root) / "notebooks" / "saddles" / "a.ipynb")
            assert notebooks.computation(shown_now) == notebooks.computation(notebooks.read_notebook(path))
            path.write_bytes(changed)
    finally:
        path.write_bytes(committed)


def test_a_record_keeps_pasted_pictures():
    attachments = {"image.png": {"image/png": "aGVsbG8="}}
    cell = {"cell_type": "markdown", "metadata": {}, "source": "# T\n![](attachment:image.png)", "attachments": attachments}
    record = accept.as_record({"cells": [cell]}, "saddles/a", "paper")
    assert record["cells"][0]["attachments"] == attachments


def test_results_of_an_older_layout_are_neither_shown_nor_kept(book):
    root, _ = book
    path = notebooks.executed_path(root, "saddles/a", "default")
    result = path.read_bytes()
    try:
        for edit in (lambda nb: nb["metadata"]["dln"].pop("layout"), lambda nb: nb["metadata"].pop("dln"),
                     lambda nb: nb.update(cells=nb["cells"][:2]) or nb["metadata"]["dln"].update(layout=1)):
            change(path, edit)
            assert not run.plan(root, ["saddles/a"])[0].up_to_date
            assert not [claim for claim in ledger.collect(root, executed=True) if claim["notebook"] == "saddles/a"]
            page = site.stage_book(root) / "notebooks" / "saddles" / "a.ipynb"
            assert page.read_bytes() == notebooks.notebook_path(root, "saddles/a").read_bytes()
            path.write_bytes(result)
        assert run.plan(root, ["saddles/a"])[0].up_to_date
    finally:
        path.write_bytes(result)


@pytest.mark.parametrize("profile", notebooks.profiles(BOOK))
def test_the_profiles_of_the_book_fit_its_notebooks(profile):
    assert run.plan(BOOK, profile=profile)


# --- notebooks and profiles that cannot be read -------------------------------------------------------------------

CELL = '{"cell_type": "code", "id": "a", "metadata": %s, "source": %s, "outputs": [], "execution_count": null}'
NOTEBOOK = '{"cells": [%s], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
UNREADABLE = {"byte-order mark": "\ufeff" + NOTEBOOK % (CELL % ("{}", '""')), "empty": "", "a list": "[]",
              "merge conflict": "<<<<<<< HEAD\n" + NOTEBOOK % "", "tags": NOTEBOOK % (CELL % ('{"tags": null}', '""')),
              "source": NOTEBOOK % (CELL % ("{}", "null")), "an old format": '{"worksheets": [], "metadata": {}, "nbformat": 3}',
              "a stray": NOTEBOOK % '{"cell_type": "heading"}', "another code": b"\xff\xfe{".decode("latin-1")}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_notebook_is_named_and_the_others_go_on(tmp_path, content):
    root = make_project(tmp_path / "book", {"saddles/a": toy_cells("saddles/a"), "saddles/bad": []})
    path = notebooks.notebook_path(root, "saddles/bad")
    path.write_bytes(content.encode("latin-1") if content.startswith("\xff") else content.encode())
    with pytest.raises(UsageError, match="bad.ipynb cannot be read as a notebook: "):
        run.plan(root, ["saddles/bad"])
    (job,) = run.plan(root, ["saddles/a"])
    assert set(figures(root)) == {"fig-saddles-a", "saxe2013:2"} and not job.up_to_date
    with pytest.raises(UsageError, match="bad.ipynb cannot be read"):
        figure_data(root, "fig-perhaps-there", io.StringIO())


def test_a_cell_of_parameters_that_computes_is_named(tmp_path):
    root = make_project(tmp_path / "book", {"saddles/a": [code("n = 2 ** 3", tags=["parameters"])]})
    with pytest.raises(UsageError, match="a.ipynb: the cell tagged 'parameters' may only assign literals"):
        run.plan(root)


PARAMETERS = """\
n = 3
rate = 0.5
name = "embedded"
exact = True
sizes = [1, 2]
rates = [0.5, 1]
window = [[-1.0, 2], [0, 1]]
kinds = ["relu", "tanh"]
octaves = {"sp": [-4, -1]}
limit = None
none = []
"""


@pytest.fixture(scope="module")
def choices(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("choices"), {"saddles/a": [code(PARAMETERS, tags=["parameters"])]})


def write_profile(root, text):
    path = root / "notebooks" / "profiles" / "paper" / "saddles" / "a.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("text, expected", [
    ("rate: 1e-3", {"rate": 1e-3}), ("rate: 2", {"rate": 2}), ("rate: 1.5e3", {"rate": 1500.0}), ("n: 1e3", {"n": 1000}),
    ("n: 010", {"n": 10}), ("n: 10_000", {"n": 10000}), ("name: no", {"name": "no"}), ("name: 1:30", {"name": "1:30"}),
    ("sizes: [1e1, 3]", {"sizes": [10, 3]}), ("rates: [1, 2e-3]", {"rates": [1, 0.002]}), ("octaves: {sp: [-1, 0]}",
    {"octaves": {"sp": [-1, 0]}}), ("window: [[0, 1], [2.5, 3]]", {"window": [[0, 1], [2.5, 3]]}), ("limit: 3", {"limit": 3}),
    ("exact: false", {"exact": False}), ("none: [a, 1]", {"none": ["a", 1]}), ("# nothing", {}), ("", {})])
def test_profiles_are_read_as_people_write_them(choices, text, expected):
    write_profile(choices, text)
    (job,) = run.plan(choices, profile="paper")
    assert job.overrides == expected and {name: type(value) for name, value in expected.items()} == {
        name: type(value) for name, value in job.overrides.items()}


@pytest.mark.parametrize("text, words", [
    ("n: 2.5", "n of saddles/a in profile 'paper' must be a whole number such as 3, got 2.5"),
    ("rate: fast", "finite number .* 'fast'"),
    ("rate: .nan", "finite number"), ("rate: .inf", "finite number"), ("n: true", "whole number"), ("name: 3", "must be text"),
    ("exact: 1", "must be true or false"), ("exact: 'no'", "must be true or false"), ("sizes: 3", "must be a list such as"),
    ("sizes: [1, x]", "whole number"), ("kinds: [relu, 3]", "must be text"), ("window: [1, 2]", "must be a list"),
    ("octaves: {mup: [1]}", "must be a mapping"), ("m: 3", "no parameter 'm'"), ("[1, 2]", "a.yml must hold lines"),
    ("just text", "a.yml must hold lines"), ("1: 2", "a.yml must hold lines"), ("n: [1", "a.yml cannot be read as YAML"),
    ("n: 1\n\tm: 2", "a.yml cannot be read as YAML"), ("n: !!python/object:os.system 1", "a.yml cannot be read as YAML")])
def test_profiles_that_do_not_fit_are_named(choices, text, words):
    write_profile(choices, text)
    with pytest.raises(UsageError, match=words):
        run.plan(choices, profile="paper")


@pytest.mark.parametrize("name, text, expected", [("n", "1e3", 1000), ("rate", "2", 2), ("name", "full", "full"),
                                                  ("exact", "false", False), ("sizes", "(4, 5)", [4, 5]),
                                                  ("kinds", "['elu']", ["elu"])])
def test_values_from_the_command_line_fit_the_default(choices, name, text, expected):
    (job,) = run.plan(choices, overrides={name: run.parse_value(text)})
    assert job.overrides == {name: expected} and type(job.overrides[name]) is type(expected)


@pytest.mark.parametrize("name, text", [("n", "{1, 2}"), ("n", "b'3'"), ("n", "nan"), ("n", "inf"), ("n", "many"), ("n", "2.5"),
                                        ("n", "1e999"), ("rate", "nan"), ("rate", "1j"), ("rate", "fast"), ("name", "3"),
                                        ("sizes", "{1, 2}"),
                                        ("limit", "{1}"), ("limit", "b'x'"), ("n", "{[]: 1}"), ("n", "(" * 1000)])
def test_values_of_another_kind_are_named(choices, name, text):
    with pytest.raises(UsageError, match=f"^{name} of saddles/a must be "):
        run.plan(choices, overrides={name: run.parse_value(text)})


# --- the numbers behind a figure ----------------------------------------------------------------------------------

def test_data_of_a_figure_that_only_a_kernel_can_draw(book, tmp_path):
    root, _ = book
    cache = {"DLN_CACHE": str(tmp_path / "cache")}
    target = tmp_path / "new" / "folder" / "odd.csv"
    result = dln(root, "data-of", "fig-agg", "-p", "n", "1e0", "-o", str(target), **cache)
    assert result.returncode == 1 and not target.exists()
    assert "saddles/agg, cell 5: it left no picture of fig-agg" in result.stderr
    path = notebooks.notebook_path(root, "mixed/kernel")
    result = dln(root, "data-of", "fig-kernel", "-p", "n", "4", "-o", str(target), **cache)
    assert (result.returncode, result.stdout) == (0, f"4 rows in {target}\n"), result.stderr
    rows = list(csv.DictReader(target.open()))
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(0, 0), (1, 3), (2, 6), (3, 9)]
    assert rows[0] | {"x": "", "y": ""} == {"figure": "1", "panel": "0", "kind": "line", "label": "tripled", "x": "", "y": "",
                                            "value": "", "value2": ""}
    change(path, lambda nb: nb["cells"][5].update(source="def tripled(x):\n    return 300 * x"))
    result = dln(root, "data-of", "fig-kernel", **cache)
    assert [float(row["y"]) for row in csv.DictReader(io.StringIO(result.stdout))] == [0, 300, 600]
    assert not (tmp_path / "cache").exists()               # neither read nor written
    change(path, lambda nb: nb["cells"][4].update(source="1 / 0"))
    result = dln(root, "data-of", "fig-kernel")
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines() == ["Error: mixed/kernel, cell 4: ZeroDivisionError: division by zero"]


def test_data_of_a_figure_of_the_book_whose_notebook_sweeps_over_a_function_of_its_own():
    """Every other figure is read in the same way when the notebooks are tested."""
    small = {"d": 20, "n_columns": 3, "rows": [0.7, 2.0], "n_seeds": 2}
    table = io.StringIO()
    assert figure_data(BOOK, "fig-synthesis-which", table, small) == len(table.getvalue().splitlines()) - 1 > 0


# --- words --------------------------------------------------------------------------------------------------------

def test_a_terminal_with_few_characters_gets_plain_ones(book):
    root, _ = book
    for encoding in ("cp1252", "latin-1"):
        table = dln(root, "ledger", "--executed", PYTHONIOENCODING=encoding)
        assert table.returncode == 0 and "<= 5" in table.stdout, table.stderr
        claims = json.loads(dln(root, "ledger", "--executed", "--format", "json", PYTHONIOENCODING=encoding).stdout)
        assert claims == json.loads(dln(root, "ledger", "--executed", "--format", "json", PYTHONIOENCODING="utf-8").stdout)


def test_outside_the_book_that_is_said_before_what_is_missing(tmp_path):
    start = "import sys; sys.modules['yaml'] = None; from dlnutils.press import main; main()"
    result = subprocess.run([sys.executable, "-c", start, "ledger"], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 2 and "is not inside the book" in result.stderr and "yaml" not in result.stderr

"""Run here, without a browser: cells and what they show, which pages have the button, digests that are right."""

import gzip
import hashlib
import json
import os
import re
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils.press.browser import judge
from dlnutils.press.ext.course import without_solutions
from dlnutils.press.ext.run_here import (
    PATIENCE,
    checks_of,
    code_of,
    download,
    imported,
    lay_pyodide,
    obstacle,
    package_archive,
    packed,
    page_data,
    pins,
    read_pins,
    served,
    smaller_lines,
)
from dlnutils.press.notebooks import default_parameters, profile_parameters

PYODIDE = os.environ.get("DLN_PYODIDE")
SAID = """
import json, sys
from dlnutils.press.browser import prepare, run_cell
said, scope = [], {"__name__": "__main__"}
send = lambda kind, text: said.append([kind, text])
prepare(send, json.dumps({"n": 2}))
for number, source in enumerate(json.loads(sys.argv[1]), 1):
    said.append(["end", run_cell(source, number, scope, send)])
sys.__stdout__.write(json.dumps(said))
"""


def shown(*cells):
    """What cells hand over, run in a process of their own, where there is no IPython."""
    done = subprocess.run([sys.executable, "-c", SAID, json.dumps(cells)], capture_output=True, text=True, cwd="/",
                          env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_cells_print_and_end_with_a_value():
    assert shown("a = 3\nprint(a)\na + 1", "a;", "None") == [
        ["text", "3"], ["text", "\n"], ["text", "4\n"], ["end", ""], ["end", ""], ["end", ""]]


def test_a_figure_is_handed_over_as_a_picture():
    found = shown("import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()", "plt.get_fignums()")
    kinds = [kind for kind, _ in found]
    assert kinds == ["picture", "end", "text", "end"] and found[0][1].startswith("iVBOR") and found[2][1] == "[]\n"


@pytest.mark.parametrize("source, last", [
    ("1 +", "SyntaxError: invalid syntax"),
    ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError: division by zero"),
    ("raise SystemExit(3)", "SystemExit: 3"),
])
def test_an_error_names_the_cell_and_none_of_our_lines(source, last):
    (_, told), = shown(source)
    assert told.splitlines()[-1] == last and "browser.py" not in told
    assert '"<cell 1>"' in told


def test_claims_are_asserted_with_the_notebooks_parameters_and_no_others():
    lines = """
from dlnutils.press.claims import Claims
claims = Claims("saxe2013", "saddles/toy", globals())
claims.check("toy", figure="2", statement="small", measured=3.0, high=1.0, source="theory")
claims.show()"""
    right, other = shown("n = 2" + lines), shown("n = 3" + lines)
    for found, profile, passed in ((right, "default", False), (other, "custom", None)):
        payload = json.loads(dict(found)["claims"])
        assert payload["profile"] == profile and payload["claims"][0]["passed"] is passed and "dln-claims" in dict(found)["html"]
    assert "1 of 1 claims failed" in right[-1][1] and other[-1][1] == ""


def test_imports_decide_which_pages_run():
    def notebook(code, seconds=1.0):
        return {"cells": [{"cell_type": "code", "source": code, "metadata": {}, "outputs": []}],
                "metadata": {"dln": {"run_time": seconds}}}
    assert imported(["import numpy as np\nfrom dlnutils import saddles, dmft", "from dlnutils.press.claims import Claims"]) == {
        "numpy", "dlnutils.saddles", "dlnutils.dmft", "dlnutils.press.claims.Claims"}
    assert obstacle(notebook("import numpy, json\nfrom scipy import linalg"), None) == ""
    assert "images" in obstacle(notebook("from dlnutils import datasets"), {"n": 1})
    assert "images" in obstacle(notebook("from dlnutils.datasets import mnist"), {"n": 1})
    assert "records" in obstacle(notebook("from dlnutils.press import style, trials"), {"n": 1})
    assert "sklearn" in obstacle(notebook("import sklearn"), None)
    heavy = notebook("import numpy", PATIENCE + 1)
    assert "too heavy" in obstacle(heavy, None) and obstacle(heavy, {"n": 1}) == ""


def test_smaller_sizes_stand_in_the_parameters_cell_beside_the_books_own():
    section = "saddles/phase-portrait"
    cells, data = code_of(NOTEBOOKS[section]), page_data(NOTEBOOKS[section], {"n_random": 10.0})
    assert sum(a != b for a, b in zip(cells, data["cells"])) == 1
    book = default_parameters(NOTEBOOKS[section])["n_random"]
    (added,) = [line for cell in data["cells"] for line in cell.splitlines() if "# instead of" in line]
    assert added.split("#")[0].strip() == "n_random = 10" and added.endswith(f"# instead of {book}")
    assert data["packages"] == ["numpy", "matplotlib"] and data["parameters"]["n_random"] != 10 and data["claims"]


SMALLER = {section: profile_parameters(BOOK, section, "browser") for section in SECTIONS}


def test_enough_pages_run():
    running = [section for section in SECTIONS if not obstacle(NOTEBOOKS[section], SMALLER[section])]
    assert len(running) >= 24 and "saddles/phase-portrait" in running


@pytest.mark.parametrize("section", [section for section in SECTIONS if SMALLER[section]])
def test_a_profile_for_browsers_is_smaller_and_says_what_it_costs(section):
    notebook, smaller = NOTEBOOKS[section], SMALLER[section]
    assert not obstacle(notebook, smaller)
    scope = {}
    exec(smaller_lines(notebook, smaller), scope)
    defaults = default_parameters(notebook)
    assert all(scope[name] != defaults[name] for name in smaller)
    first = (BOOK / "notebooks" / "profiles" / "browser" / f"{section}.yml").read_text(encoding="utf-8").splitlines()[0]
    assert re.fullmatch(r"# .*Cost: \d+ s .*", first)
    counts = [name for name in smaller if name.startswith("n_") and isinstance(defaults[name], int)]
    assert all(scope[name] < defaults[name] for name in counts)


# --- exercises that answer ---------------------------------------------------------------------------------------------

def asking(section):
    """The starter cells of a page that have a check."""
    return [cell for cell in NOTEBOOKS[section]["cells"] if "check" in cell["metadata"].get("dln", {})]


CHECKED = [section for section in SECTIONS if asking(section)]


@pytest.mark.parametrize("section", CHECKED)
def test_every_check_finds_its_solutions_numbers(section):
    checks, cells = checks_of(NOTEBOOKS[section]), code_of(NOTEBOOKS[section])
    assert len(checks) == len(asking(section))
    for number, check in checks.items():
        assert "not solved yet" in cells[number - 1] and check["expected"] and 0 < check["within"] <= 0.05
        assert not set("$\\{") & set(check["hint"])        # it is shown as plain text


def test_exercises_answer_on_six_pages():
    assert len(CHECKED) >= 6


def test_without_solutions_there_is_nothing_to_compare_with():
    notebook = NOTEBOOKS[CHECKED[0]]
    assert page_data(notebook, None)["checks"] and page_data(without_solutions(notebook), None)["checks"] == {}


def test_the_numbers_are_those_of_the_solution_that_follows():
    def cell(kind, source, check=None, printed=""):
        return {"cell_type": kind, "source": source, "metadata": {"dln": {"check": check}} if check else {},
                "outputs": [{"name": "stdout", "text": [printed]}] if printed else []}
    check = {"answer": "a", "solution": r"x (\S+)", "within": 0.01, "hint": "h"}
    cells = [cell("code", "print(0)", printed="x 7"), cell("code", "a = None", check), cell("markdown", "{solution-start}"),
             cell("code", "print(1)", printed="y 1"), cell("code", "print(2)", printed="x 2.5e-1\nx -3."),
             cell("markdown", "{solution-end}"), cell("code", "b = None", check), cell("markdown", "{solution-end}"),
             cell("code", "print(3)", printed="x 9")]
    assert checks_of({"cells": cells}) == {2: {"answer": "a", "within": 0.01, "hint": "h", "expected": [0.25, -3.0]}}


@pytest.mark.parametrize("answer, scope, verdict", [
    ("a", {"a": None}, ""), ("a", {"a": 2.01}, "right"), ("a", {"a": 2.03}, "wrong"), ("f(1)", {"f": None}, ""),
    ("f(1)", {"f": lambda x: None}, ""), ("f(1)", {"f": lambda x: 2 * x}, "right"), ("a", {"a": "two"}, ""), ("a", {"a": []}, ""),
    ("a", {}, "NameError: name 'a' is not defined"), ("a", {"a": [1, 2]}, "1 numbers are asked for, and here are 2"),
    ("a", {"a": {"x": 2.0}}, "right"), ("a", {"a": np.array([2.0])}, "right"), ("a", {"a": np.nan}, "wrong"),
])
def test_an_answer_is_right_or_not_yet(answer, scope, verdict):
    assert judge(answer, [2.0], 0.01, scope) == verdict


def test_pages_ask_for_nothing_that_the_browsers_matplotlib_lacks():
    """Pyodide's is 3.8, where an axis has no minorticks_off; axes have it."""
    code = {section: "\n".join("".join(cell["source"]) for cell in notebook["cells"]) for section, notebook in NOTEBOOKS.items()}
    assert not [section for section, text in code.items() if re.search(r"axis\.minorticks_off", text)]


def test_sweeps_take_their_points_in_turn():
    told = shown("from dlnutils.sweep import sweep\nfrom dlnutils.saddles import max_hessian_eigenvalue\n"
                 "[float(x) for x in sweep(max_hessian_eigenvalue, [{'s': 1.0, 'n_weights': n} for n in (2, 3)], jobs=2, "
                 "progress=False)]")
    words = "".join(text for kind, text in told if kind == "text")
    assert "A browser has one process: 2 points" in words and "[2.0, 3.0]" in words and told[-1] == ["end", ""]


def test_the_archive_holds_the_package_and_is_the_same_twice():
    first = package_archive()
    names = zipfile.ZipFile(BytesIO(first)).namelist()
    assert first == package_archive() and {"dlnutils/saddles.py", "dlnutils/press/book.mplstyle"} <= set(names)
    assert not [name for name in names if "/ext/" in name or "__pycache__" in name]


def test_digests_are_of_one_version_and_whole():
    pinned = read_pins(BOOK)
    packages = pinned["lock"]["packages"]
    assert all(pinned["files"][entry["file_name"]]["sha256"] == entry["sha256"] for entry in packages.values())
    assert all(needed in packages for entry in packages.values() for needed in entry["depends"])
    version = pinned["lock"]["info"]["version"]
    assert f"/v{version}/" in (BOOK / "_config.yml").read_text(encoding="utf-8")
    assert download(pinned, ["numpy"]) < download(pinned, ["numpy", "scipy"]) < sum(f["bytes"] for f in pinned["files"].values())
    assert not {"fonttools", "pytz"} & set(packages)


@pytest.mark.skipif(not PYODIDE, reason="DLN_PYODIDE names no folder of Pyodide's files: their digests are not compared")
def test_the_folder_is_what_is_pinned(tmp_path):
    assert pins(Path(PYODIDE)) == read_pins(BOOK)


def test_what_is_sent_compressed_has_the_digest_of_that(tmp_path):
    content = b"wasm" * 1000
    (tmp_path / "pyodide.asm.wasm").write_bytes(content)
    pinned = {"files": {"pyodide.asm.wasm": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": 4000}}, "lock": {}}
    lay_pyodide(tmp_path, pinned, tmp_path / "site")
    sent, = (tmp_path / "site").iterdir()
    pin = served(pinned, tmp_path)["files"]["pyodide.asm.wasm"]
    assert gzip.decompress(sent.read_bytes()) == content and sent.name == "pyodide.asm.wasm.packed"
    assert pin["packed"] == {"sha256": hashlib.sha256(sent.read_bytes()).hexdigest(), "bytes": sent.stat().st_size}
    assert "packed" not in pinned["files"]["pyodide.asm.wasm"] and packed(tmp_path / "site") == {}


@pytest.mark.skipif(not PYODIDE, reason="DLN_PYODIDE names no folder of Pyodide's files: their weight is not measured")
def test_a_page_of_closed_forms_loads_less_than_twenty_megabytes():
    pinned = served(read_pins(BOOK), Path(PYODIDE))
    assert download(pinned, ["numpy"]) < 10e6 and download(pinned, ["numpy", "matplotlib"]) < 18e6


def test_a_file_that_is_another_is_refused(tmp_path):
    pinned = {"files": {"a.js": {"sha256": "0" * 64, "bytes": 3}}, "lock": {"info": {"version": "0.27.7"}}}
    with pytest.raises(FileNotFoundError, match="lacks a.js: give the folder of Pyodide 0.27.7"):
        lay_pyodide(tmp_path, pinned, tmp_path / "site")
    (tmp_path / "a.js").write_text("abc")
    with pytest.raises(ValueError, match="another SHA-256"):
        lay_pyodide(tmp_path, pinned, tmp_path / "site")

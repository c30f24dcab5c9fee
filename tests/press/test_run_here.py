"""Run here, without a browser: cells and what they show, which pages have the button, digests that are right."""

import json
import os
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils.press.ext.run_here import (
    PATIENCE,
    code_of,
    download,
    imported,
    lay_pyodide,
    obstacle,
    package_archive,
    page_data,
    pins,
    read_pins,
)

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


def test_smaller_sizes_stand_in_the_parameters_cell():
    section = "saddles/phase-portrait"
    cells, data = code_of(NOTEBOOKS[section]), page_data(NOTEBOOKS[section], {"n_random": 10})
    assert sum(a != b for a, b in zip(cells, data["cells"])) == 1
    assert any(cell.endswith("n_random = 10") for cell in data["cells"])
    assert data["packages"] == ["numpy", "matplotlib"] and data["parameters"]["n_random"] != 10 and data["claims"]


def test_enough_pages_run():
    running = [section for section in SECTIONS if not obstacle(NOTEBOOKS[section], None)]
    assert len(running) >= 8 and "saddles/phase-portrait" in running


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


@pytest.mark.skipif(not PYODIDE, reason="DLN_PYODIDE names no folder of Pyodide's files: their digests are not compared")
def test_the_folder_is_what_is_pinned(tmp_path):
    assert pins(Path(PYODIDE)) == read_pins(BOOK)


def test_a_file_that_is_another_is_refused(tmp_path):
    pinned = {"files": {"a.js": {"sha256": "0" * 64, "bytes": 3}}, "lock": {"info": {"version": "0.27.7"}}}
    with pytest.raises(FileNotFoundError, match="lacks a.js: give the folder of Pyodide 0.27.7"):
        lay_pyodide(tmp_path, pinned, tmp_path / "site")
    (tmp_path / "a.js").write_text("abc")
    with pytest.raises(ValueError, match="another SHA-256"):
        lay_pyodide(tmp_path, pinned, tmp_path / "site")

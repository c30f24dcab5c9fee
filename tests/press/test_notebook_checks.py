"""A falsified notebook must fail: text, result, claim value, picture, missing outputs, exemptions."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from committed import BOOK
from PIL import Image
from toy_book import make_project, toy_cells

from dlnutils.press import accept, run
from dlnutils.press.notebooks import CLAIMS_TYPE


def cell_with(notebook, text):
    return next(cell for cell in notebook["cells"] if text in "".join(cell["source"]))


def falsify_text(notebook):
    output = cell_with(notebook, 'print("text"')["outputs"][0]
    output["text"] = ["text 4\n"]


def falsify_result(notebook):
    outputs = cell_with(notebook, 'print("text"')["outputs"]
    result = next(output for output in outputs if output["output_type"] == "execute_result")
    result["data"]["text/plain"] = ["0.76"]


def falsify_claim(notebook):
    data = cell_with(notebook, "claims.show()")["outputs"][0]["data"]
    data[CLAIMS_TYPE]["claims"][0]["measured"] = 2.0


def falsify_verdict(notebook):
    data = cell_with(notebook, "claims.show()")["outputs"][0]["data"]
    data[CLAIMS_TYPE]["claims"][0]["passed"] = None


def draw_line(notebook, *, vertical):
    data = cell_with(notebook, "plt.plot")["outputs"][0]["data"]
    pixels = np.array(Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB"))
    (pixels.transpose(1, 0, 2) if vertical else pixels)[100:102] = (255, 0, 0)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def falsify_picture(notebook):
    draw_line(notebook, vertical=False)


def falsify_picture_vertically(notebook):
    draw_line(notebook, vertical=True)


def resize_picture(notebook):
    data = cell_with(notebook, "plt.plot")["outputs"][0]["data"]
    picture, buffer = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))), io.BytesIO()
    picture.resize((picture.width - 2, picture.height)).save(buffer, "png")
    data["image/png"] = base64.b64encode(buffer.getvalue()).decode()


def remove_picture(notebook):
    cell_with(notebook, "plt.plot")["outputs"] = []


def strip_outputs(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None


def strip_one_cell(notebook):
    cell = cell_with(notebook, "claims.show()")
    cell["outputs"], cell["execution_count"] = [], None


def exempt_by_tag(notebook):
    cell_with(notebook, 'print("text"')["metadata"]["tags"] = ["nbval-ignore-output"]
    falsify_text(notebook)


def exempt_by_comment(notebook):
    cell = cell_with(notebook, 'print("text"')
    cell["source"] = ["# NBVAL_IGNORE_OUTPUT\n", *cell["source"]]
    falsify_text(notebook)


def call_it_chaotic(notebook):
    """Said of a figure, but on the processor that made it nothing may differ."""
    cell_with(notebook, "plt.plot")["metadata"].setdefault("dln", {})["chaotic"] = "rounding"
    falsify_picture(notebook)


def move_elsewhere(notebook):
    """Another processor alone excuses nothing."""
    notebook["metadata"]["dln"]["processor"] = "another one"
    falsify_picture(notebook)


def chaotic_elsewhere(notebook):
    """The one case in which a picture may differ a little: chaotic training, made on another processor."""
    call_it_chaotic(notebook)
    notebook["metadata"]["dln"]["processor"] = "another one"


def break_a_claim(notebook):
    """The code is changed so that the claim fails; the outputs are those of before."""
    cell = cell_with(notebook, "claims.check")
    cell["source"] = "".join(cell["source"]).replace("high=5", "high=2")


FALSIFICATIONS = [falsify_text, falsify_result, falsify_claim, falsify_verdict, falsify_picture,
                  falsify_picture_vertically, resize_picture, remove_picture, strip_outputs, strip_one_cell,
                  exempt_by_tag, exempt_by_comment, call_it_chaotic, move_elsewhere, break_a_claim]

@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """Failed tests of one nbval run over the true notebook and all falsified copies, by copy."""
    root = make_project(tmp_path_factory.mktemp("toy"), {"saddles/toy": toy_cells("saddles/toy")})
    (result,) = run.run(run.plan(root), n_jobs=1, echo=lambda line: None)
    assert result.state == "done", result
    (path,) = accept.accept(root)
    true = path.read_text(encoding="utf-8")
    cases = root / "cases"
    for change in [None, chaotic_elsewhere, *FALSIFICATIONS]:
        notebook = json.loads(true)
        if change is not None:
            change(notebook)
        folder = cases / (change.__name__ if change else "untouched")
        folder.mkdir(parents=True)
        (folder / "toy.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    shutil.copy(BOOK / "notebooks" / "conftest.py", cases)
    profile = root / "settings" / "profile_default"        # of somebody who likes other pictures
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("c = get_config()\nc.InlineBackend.figure_formats = {'svg'}\n")
    hostile = {"MPLBACKEND": "Agg", "IPYTHONDIR": str(profile.parent)}
    report = root / "report.xml"
    subprocess.run([sys.executable, "-m", "pytest", "-q", "--nbval", "--nbval-current-env", "-p", "no:xdist",
                    "-p", "no:cacheprovider", "--rootdir", str(cases), f"--junitxml={report}", str(cases)],
                   capture_output=True, cwd=cases, env=os.environ | hostile | {"DLN_ROUNDING": ""})
    failed = {}
    for test in ElementTree.parse(report).iter("testcase"):
        name = test.get("classname").removesuffix(".toy.ipynb").split(".")[-1]
        failed.setdefault(name, []).extend(child.get("message") + (child.text or "") for child in test
                                           if child.tag in ("failure", "error"))
    return failed


def test_a_true_notebook_passes(verdicts):
    assert verdicts["untouched"] == []


def test_chaotic_figures_may_differ_a_little_on_another_processor(verdicts):
    assert verdicts["chaotic_elsewhere"] == []


@pytest.mark.parametrize("change", FALSIFICATIONS, ids=lambda change: change.__name__)
def test_a_falsified_notebook_fails(verdicts, change):
    assert verdicts[change.__name__], f"{change.__name__} went unnoticed"


def test_the_message_says_what_is_wrong(verdicts):
    assert "pixels" in "".join(verdicts["falsify_picture"])
    assert "never been executed" in "".join(verdicts["strip_outputs"])
    assert "exempt" in "".join(verdicts["exempt_by_tag"])



"""Links in the captions of figures, in Chromium: on a site built after a run of one page they download three files."""

import io
import json
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from dlnutils.press import accept, run
from dlnutils.press import site as press_site

TOY = """\
import matplotlib.pyplot as plt
from dlnutils.press import style
style.use_style()
plt.plot([0, 1, 2], [0, 1, 4], label="squares")
plt.show()"""


def make_book(root):
    """A book of one page with one figure."""
    look = {"image": {"alt": "a parabola through three points"}, "figure": {"name": "fig-toy", "caption": "Squares."}}
    cells = [{"id": "one", "cell_type": "markdown", "metadata": {}, "source": "# Toy"},
             {"id": "two", "cell_type": "code", "metadata": {"mystnb": look}, "source": TOY, "execution_count": None,
              "outputs": []}]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    files = {"_toc.yml": "format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/saddles/a\n",
             "_config.yml": 'title: toy\nauthor: us\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\n'
                            "sphinx: {extra_extensions: [dlnutils.press.ext.figure_links]}\n",
             "book/index.md": "# Toy book\n\nWords.\n",
             "notebooks/saddles/a.ipynb": json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5})}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def toy(tmp_path_factory, serve):
    """Where a site is served that was built after a run."""
    root = make_book(tmp_path_factory.mktemp("toy"))
    assert [result.state for result in run.run(run.plan(root), echo=lambda line: None)] == ["done"]
    accept.accept(root)
    folder = press_site.build(root, committed=True, strict=False).parent
    with serve(folder) as where:
        yield f"{where}/notebooks/saddles/a.html"


def download(page, kind):
    with page.expect_download() as waiting:
        page.get_by_role("link", name=f"{kind}, Fig. 1").click()
    return waiting.value.suggested_filename, waiting.value.path().read_bytes()


def test_the_three_links_of_a_caption_download(page, toy):
    page.goto(toy)
    name, content = download(page, "PNG")
    picture = Image.open(io.BytesIO(content))
    assert name == "fig-toy.png" and picture.width > 1200 and round(picture.info["dpi"][0]) == 200
    name, content = download(page, "SVG")
    assert name == "fig-toy.svg" and ElementTree.fromstring(content).tag.endswith("svg")
    name, content = download(page, "CSV")
    assert name == "fig-toy.csv"
    assert content.decode().splitlines() == ["figure,panel,kind,label,x,y,value,value2", *(
        f"1,0,line,squares,{x},{x * x},," for x in range(3))]



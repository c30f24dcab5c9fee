"""What a run leaves of its figures: three files each, of the same execution, all or none; and which of them the site offers."""

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
import zipfile
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image
from toy_book import PICTURE, make_project, toy_cells

from dlnutils.press import figure_files, notebooks, run, site
from dlnutils.press.accept import accept
from dlnutils.press.ext import figure_links, light
from dlnutils.press.figure_files import KINDS, files_of, kept, save, small_drawing, small_picture

NAME = "fig-saddles-a"


def quiet(line):
    """Swallow progress lines."""


def states(results):
    return [result.state for result in results]


def page_of(root, section="saddles/a"):
    return notebooks.read_notebook(notebooks.notebook_path(root, section))


def rows_of(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def picture_of_page(notebook, name=NAME):
    return Image.open(io.BytesIO(notebooks.picture_of(notebook, name)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A book whose run is accepted; its page says what a hook could disturb."""
    nosy = ["import sys\nloud, ax = plt.subplots()\n"
            "tell = lambda x, _: [print('tick', file=to) for to in (sys.stdout, sys.stderr)]\n"
            "ax.xaxis.set_major_formatter(lambda x, _: str(tell(x, _)))\nplt.show()",
            "np.random.seed(1)\nprint(sorted(globals()), plt.get_fignums(), np.random.rand(), loud.dpi, ax.get_position())\nloud"]
    root = make_project(tmp_path_factory.mktemp("done"), {"saddles/a": toy_cells("saddles/a", nosy)})
    assert states(run.run(run.plan(root), echo=quiet)) == ["done"]
    accept(root)
    return root


def stem_of(root):
    return files_of(root, "saddles/a", "default", page_of(root))[NAME]


# --- what is saved --------------------------------------------------------------------------------------------------

def test_a_run_leaves_three_files_beside_the_notebook(finished):
    folder = finished / "_build" / "executed" / "default" / "saddles" / "a"
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{NAME}.{kind}" for kind in KINDS] + ["figures.json"])
    assert stem_of(finished) == folder / NAME


def test_the_picture_has_200_dots_an_inch_and_looks_as_on_the_page(finished):
    page = picture_of_page(page_of(finished)).convert("RGB")
    picture = Image.open(stem_of(finished).with_suffix(".png"))
    assert np.allclose(picture.info["dpi"], 200, atol=0.1)
    inches = np.array(page.size) / 110                     # of the book's style, and cut to what is drawn
    assert np.abs(np.array(picture.size) - 200 * inches).max() <= 3
    again = picture.convert("RGB").resize(page.size, Image.Resampling.BOX)
    assert np.abs(np.asarray(again, float) - np.asarray(page, float)).mean() < 3


def test_the_numbers_redraw_the_curve(finished):
    rows = rows_of(stem_of(finished).with_suffix(".csv"))
    assert [(float(row["x"]), float(row["y"])) for row in rows] == [(0, 0), (1, 1), (2, 4)]
    assert {(row["figure"], row["kind"], row["label"]) for row in rows} == {("1", "line", "squares")}


def test_the_drawing_is_whole_and_needs_no_font(finished):
    drawing = ElementTree.parse(stem_of(finished).with_suffix(".svg")).getroot()
    tags = [element.tag.rpartition("}")[2] for element in drawing.iter()]
    assert tags.count("path") > 10 and "text" not in tags and "metadata" not in tags
    width = float(drawing.get("width").removesuffix("pt")) / 72
    assert abs(width - Image.open(stem_of(finished).with_suffix(".png")).width / 200) < 0.02


def all_outputs(path):
    """Of every code cell: what it said, whole (in which pieces it comes is left to chance), and what it showed, in order."""
    found = []
    for cell in notebooks.read_notebook(path)["cells"]:
        if cell["cell_type"] == "code":
            said = {name: "".join("".join(output["text"]) for output in cell["outputs"] if output.get("name") == name)
                    for name in ("stdout", "stderr")}
            found.append((said, [output for output in cell["outputs"] if output["output_type"] != "stream"]))
    return found


def test_saving_leaves_no_trace_in_the_notebook(finished, tmp_path):
    """Outputs are those of an execution without it: words, names, random numbers, pictures, figures shown again."""
    (job,) = run.plan(finished)
    environment = run.kernel_environment(tmp_path) | {"DLN_RUN": json.dumps({"profile": "default", "parameters": {"n": 3}})}
    assert not run.finish_worker(run.start_worker(environment), {
        "source": str(job.source), "target": str(tmp_path / "a.ipynb"), "overrides": {}, "metadata": {}})
    with_files, without = map(all_outputs, (job.target, tmp_path / "a.ipynb"))
    assert any("tick" in said["stderr"] for said, _ in with_files) and "'sys'" in json.dumps(with_files)
    for one, other in zip(with_files, without, strict=True):
        assert one == other


def test_a_figure_is_as_it_was(tmp_path):
    figure, ax = plt.subplots(layout="constrained")
    ax.plot([1, 2], [3, 4])
    ax.scatter(np.arange(figure_files.MANY + 1), np.arange(figure_files.MANY + 1), s=1)
    ax.fill_between([0, 1], [0, 1])
    figure.canvas.draw()
    before = np.asarray(figure.canvas.buffer_rgba()).copy()
    engine, place = figure.get_layout_engine(), ax.get_position().bounds
    save(figure, tmp_path / "one")
    assert figure.get_layout_engine() is engine and ax.get_position().bounds == place and not ax.collections[0].get_rasterized()
    figure.canvas.draw()
    assert np.array_equal(before, np.asarray(figure.canvas.buffer_rgba()))
    drawing = (tmp_path / "one.svg").read_text()
    assert drawing.count("<image") == 1 and drawing.count("<use") < 300                    # the points; lines stay lines
    plt.close(figure)


def test_numbers_have_seven_digits_and_names_stay(tmp_path):
    figure, ax = plt.subplots()
    x = np.array([1 / 3, 2e-9 / 3, 123456789.0])
    ax.plot(x, [7, 8, 9], label="1.23456789")
    save(figure, tmp_path / "one", number=2)
    plt.close(figure)
    rows = list(csv.reader((tmp_path / "one.csv").open()))
    assert {row[3] for row in rows} == {"1.23456789"} and {row[0] for row in rows} == {"2"}
    assert np.allclose([float(row[4]) for row in rows], x, rtol=1e-6, atol=0) and rows[0][4] == "0.3333333"


def test_smaller_files_show_the_same(tmp_path):
    figure, ax = plt.subplots()
    for power in range(8):
        ax.plot(np.linspace(0, 1, 200)**power, label=f"$x^{power}$")
    ax.legend()
    save(figure, tmp_path / "one")
    plt.close(figure)
    content = (tmp_path / "one.png").read_bytes()
    small = small_picture(content)
    old, new = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), float) for one in (content, small))
    assert len(small) < 0.6 * len(content) and old.shape == new.shape and np.abs(old - new).mean() < 0.5
    text = (tmp_path / "one.svg").read_text()
    paths = [[[float(number) for number in figure_files.NUMBER.findall(path.get("d"))] for path in
              ElementTree.fromstring(one).iter("{http://www.w3.org/2000/svg}path") if path.get("d")]
             for one in (text, small_drawing(text))]
    assert len(paths[0]) == len(paths[1]) and len(small_drawing(text)) < 0.8 * len(text)


def test_wide_shades_keep_their_colours():
    shades = np.zeros((300, 400, 3), np.uint8)
    shades[..., 0], shades[..., 1] = np.linspace(0, 255, 400), np.linspace(0, 255, 300)[:, None]
    content = io.BytesIO()
    Image.fromarray(shades).save(content, "PNG", dpi=(200, 200))
    kept_as_it_is = Image.open(io.BytesIO(small_picture(content.getvalue())))
    assert np.array_equal(np.asarray(kept_as_it_is.convert("RGB")), shades) and round(kept_as_it_is.info["dpi"][0]) == 200


def test_several_figures_of_a_cell_have_files_each(tmp_path):
    cells = toy_cells("saddles/a")
    cells[3] = cells[3] | {"source": PICTURE + "\nplt.plot([5, 6])\nplt.show()"}
    root = make_project(tmp_path, {"saddles/a": cells})
    assert states(run.run(run.plan(root), echo=quiet)) == ["done"]
    (job,) = run.plan(root)
    assert kept(root, "saddles/a", "default", job.key) == [NAME, f"{NAME}-2"]
    folder = job.target.with_suffix("")
    assert [row["figure"] for row in rows_of(folder / f"{NAME}.csv")] == ["1"] * 3 + ["2"] * 2         # as dln data-of
    assert [row["y"] for row in rows_of(folder / f"{NAME}-2.csv")] == ["5", "6"]


# --- all or none, and only of the run that is shown ---------------------------------------------------------------

def test_a_run_without_its_files_is_made_again(finished):
    assert states(run.run(run.plan(finished), echo=quiet)) == ["kept"]
    (job,) = run.plan(finished)
    figures = job.target.with_suffix("") / "figures.json"
    content = figures.read_text()
    figures.write_text(content.replace(job.key, "another"))
    assert job.up_to_date and not job.complete and not files_of(finished, "saddles/a", "default", page_of(finished))
    figures.write_text(content)
    assert job.complete


def test_what_is_stale_or_half_is_not_offered(finished):
    page = page_of(finished)
    assert list(files_of(finished, "saddles/a", "default", page)) == [NAME]
    prose = json.loads(json.dumps(page))
    prose["cells"][0]["source"] = ["# Another title"]
    assert files_of(finished, "saddles/a", "default", prose)
    edited = json.loads(json.dumps(page))
    edited["cells"][3]["source"] = ["plt.plot(np.arange(n))\n", "plt.show()"]
    assert not files_of(finished, "saddles/a", "default", edited)
    other = json.loads(json.dumps(page))
    other["metadata"]["dln"]["parameters"] = {"n": 4}
    assert not files_of(finished, "saddles/a", "default", other)
    assert not files_of(finished, "saddles/a", "paper", page)
    drawing = stem_of(finished).with_suffix(".svg")
    content = drawing.read_bytes()
    drawing.unlink()
    assert not files_of(finished, "saddles/a", "default", page)
    drawing.write_bytes(content)


@pytest.mark.parametrize("broken", ["keep", "write_notebook"])
def test_an_interrupted_run_leaves_no_half_files(tmp_path, monkeypatch, broken):
    """Stopped among the files, or between them and the notebook: what lies there is the old run's or is not offered."""
    root = make_project(tmp_path, {"saddles/a": toy_cells("saddles/a")})
    (job,) = run.plan(root)
    saved = tmp_path / "saved"
    saved.mkdir()
    figure, ax = plt.subplots()
    save(figure, saved / "3-1")
    plt.close(figure)
    (saved / "shown.jsonl").write_text(json.dumps({"cell": 3, "number": 1, "seconds": 1.0}) + "\n")

    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(*((figure_files, "small_drawing", stop) if broken == "keep" else (run, "write_notebook", stop)))
    with pytest.raises(KeyboardInterrupt):
        run._execute({"source": str(job.source), "target": str(job.target), "overrides": {}, "metadata": {"key": job.key},
                      "figures": str(saved)})
    assert not list(job.target.parent.glob(".*")) and not job.target.exists() and not job.up_to_date
    assert not files_of(root, "saddles/a", "default", page_of(root))
    monkeypatch.undo()
    assert states(run.run([job], echo=quiet)) == ["done"] and kept(root, "saddles/a", "default", job.key) == [NAME]


def test_leftovers_of_killed_runs_are_removed(tmp_path):
    folder = tmp_path / ".a.999999999.tmp"
    (folder / "inside").mkdir(parents=True)
    run._remove_leftovers(tmp_path)
    assert not folder.exists()


# --- on the page ----------------------------------------------------------------------------------------------------

def site_in(root):
    """A little site of the toy book, as Sphinx makes it with our extension."""
    (root / "_config.yml").write_text(
        'title: toy\nauthor: us\nonly_build_toc_files: true\nexecute: {execute_notebooks: "off"}\nsphinx:\n'
        "  extra_extensions: [dlnutils.press.ext.figure_links]\n"
        "  config: {suppress_warnings: [mystnb.unknown_mime_type]}\n")
    (root / "book").mkdir(exist_ok=True)
    (root / "book" / "index.md").write_text("# Toy book\n\nWords.\n")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/index\nchapters:\n- file: notebooks/saddles/a\n")
    return root


def links(root):
    page = root / "_build" / "html" / "notebooks" / "saddles" / "a.html"
    soup = BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
    return [(link.get_text(), (page.parent / link["href"]).resolve(), link) for link in soup.select("figcaption .dln-files a")]


def test_captions_offer_what_the_last_run_left_and_nothing_else(finished, tmp_path):
    import shutil
    root = tmp_path / "book"
    shutil.copytree(finished, root)
    site_in(root)
    site.build(root, committed=True, strict=False)
    offered = links(root)
    assert [words for words, _, _ in offered] == ["PNG", "SVG", "CSV"]
    for words, path, link in offered:
        assert path.is_file() and path.name == link["download"] == f"{NAME}.{words.lower()}"
        assert link["aria-label"].startswith(words) and link["title"].endswith("KB")
    assert offered[0][2].find_parent(class_="dln-screen-only") and offered[0][2].find_parent("figcaption")
    folder = root / "_build" / "executed" / "default" / "saddles" / "a"
    list_of_files = (folder / "figures.json").read_text()
    (folder / "figures.json").write_text("{}")             # gone: nothing is offered, and no file stays behind
    site.build(root, committed=True, strict=False)
    assert not links(root) and not list((root / "_build" / "html" / "_figures").glob("*"))
    (folder / "figures.json").write_text(list_of_files)    # there again, of an unchanged page
    site.build(root, committed=False, strict=False)
    assert [path.is_file() for _, path, _ in links(root)] == [True] * 3


def test_large_tables_are_archives(tmp_path):
    stem = tmp_path / "run" / NAME
    stem.parent.mkdir()
    table = "".join(f"1,0,line,squares,{n},{n * n},,\n" for n in range(6000))
    for kind, content in (("png", "p"), ("svg", "s"), ("csv", table)):
        stem.with_suffix(f".{kind}").write_text(content)
    figure_links.lay_out(tmp_path / "site", {NAME: stem})
    laid = tmp_path / "site" / "_figures"
    assert sorted(path.name for path in laid.iterdir()) == [f"{NAME}.csv.zip", f"{NAME}.png", f"{NAME}.svg"]
    with zipfile.ZipFile(laid / f"{NAME}.csv.zip") as archive:
        assert archive.namelist() == [f"{NAME}.csv"] and archive.read(f"{NAME}.csv").decode() == table
    figure_links.lay_out(tmp_path / "site", {})
    assert not list(laid.iterdir())


def test_a_record_offers_the_run_of_its_own_profile(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(figure_links, "files_of", lambda *arguments: asked.append(arguments[:3]) or {"fig-x": tmp_path / "fig-x"})
    monkeypatch.setattr(figure_links, "read_notebook", lambda path: {})
    page, staged = SimpleNamespace(suffix=".ipynb"), tmp_path / "_build" / "stage" / "large"
    assert list(figure_links.offers(staged, "records/paper/saddles/a", page)) == ["fig-x-paper"]
    assert list(figure_links.offers(staged, "notebooks/saddles/a", page)) == ["fig-x"]
    assert list(figure_links.offers(tmp_path, "notebooks/saddles/a", page)) == ["fig-x"]
    assert not figure_links.offers(tmp_path, "book/index", SimpleNamespace(suffix=".md"))
    assert asked == [(tmp_path, "saddles/a", "paper"), (tmp_path, "saddles/a", "large"), (tmp_path, "saddles/a", "default")]


def test_a_site_is_made_light_and_shows_the_same(finished, tmp_path):
    """Pictures of pages and of notebooks have a table of colours; a second time nothing changes."""
    page = page_of(finished)
    content = notebooks.picture_of(page, NAME)
    for folder in ("_images", "_sources/notebooks", "_static/scripts"):
        (tmp_path / "site" / folder).mkdir(parents=True)
    (tmp_path / "site" / "_images" / "a.png").write_bytes(content)
    (tmp_path / "site" / "_static" / "scripts" / "a.js.map").touch()
    notebooks.write_notebook(tmp_path / "site" / "_sources" / "notebooks" / "a.ipynb", page)
    for _ in range(2):
        light.lighten(tmp_path / "site", tmp_path / "cache")
        lighter = (tmp_path / "site" / "_images" / "a.png").read_bytes()
        taken = notebooks.read_notebook(tmp_path / "site" / "_sources" / "notebooks" / "a.ipynb")
        assert len(lighter) < 0.7 * len(content) and notebooks.picture_of(taken, NAME) == lighter
        old, new = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), float) for one in (content, lighter))
        assert old.shape == new.shape and np.abs(old - new).mean() < 0.5
    assert not list((tmp_path / "site" / "_static").rglob("*.map"))
    assert [cell["source"] for cell in taken["cells"]] == [cell["source"] for cell in page["cells"]]

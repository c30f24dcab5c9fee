"""What a run leaves of its figures, for readers to take away: a picture, a drawing, and the numbers.

The kernel of a run saves every figure right after it was shown, so that nothing is executed twice and the notebook's own outputs
are what they are. At the end the files are put beside the executed notebook, in a folder of its name, all or none.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .figure_rows import COLUMNS, after_showing, write_rows
from .notebooks import computation, executed_path, figure_cells, read_run, run_metadata

__all__ = ["KINDS", "DPI", "save", "save_shown", "saving", "hardest_words", "keep", "kept", "files_of", "small_picture",
           "small_drawing"]

#: Suffixes of the files of a figure.
KINDS = ("png", "svg", "csv")

#: Of the picture; and of what is so rich in points that the drawing holds a picture of it.
DPI = 200

#: Markers or cells of a mesh above which an artist is a picture inside the drawing; an area may have so many times ten corners.
MANY = 1500

#: Mean difference of a channel, of 255, above which a picture keeps all its colours: of curves it is 0.1.
TOLERANCE = 0.4

LIST, LOG = "figures.json", "shown.jsonl"
NUMBER = re.compile(r"-?\d*\.\d+(?:e[-+]?\d+)?")


# --- in the kernel --------------------------------------------------------------------------------------------------

def saving(folder: str | Path) -> str:
    """A line of code that makes the kernel save what it shows (`save_shown`), without a name of its own."""
    return f"__import__('dlnutils.press.figure_files', fromlist=['save_shown']).save_shown(get_ipython(), {str(folder)!r})"


def save_shown(shell, folder: str | Path) -> None:
    """From now on, save every figure that ``shell`` (IPython's) shows as ``<cell>-<number>``; a list says what it took."""
    from .legibility import legibility  # a run's own process has no need of matplotlib, which takes a second to load
    count: dict[int, itertools.count] = {}
    Path(folder).mkdir(parents=True, exist_ok=True)

    def save_one(figure) -> None:
        start = time.process_time()
        cell = len(shell.history_manager.input_hist_parsed) - 1        # the number in front of the cell, from 1
        number = next(count.setdefault(cell, itertools.count(1)))
        entry: dict = {"cell": cell, "number": number}
        try:
            heard = io.StringIO()                          # what drawing says, it said when the figure was shown
            with contextlib.redirect_stdout(heard), contextlib.redirect_stderr(heard):
                save(figure, Path(folder) / f"{cell}-{number}", number)
                entry["words"] = legibility(figure)
        except Exception as error:                         # a figure that cannot be saved was shown all the same
            entry["problem"] = f"{type(error).__name__}: {error}"
        with contextlib.suppress(OSError), open(Path(folder) / LOG, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry | {"seconds": time.process_time() - start}) + "\n")

    after_showing(shell, save_one)


def save(figure, stem: Path, number: int = 1) -> None:
    """Write a figure to ``stem`` with the suffixes `KINDS`; it stays as it was.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    stem : path
        Without a suffix.
    number : int
        Which figure of its cell it is; stands in the table.
    """
    import matplotlib as mpl
    layout = figure.get_layout_engine()
    rich = list(_rich(figure))
    with mpl.rc_context({"figure.autolayout": False, "figure.constrained_layout.use": False, "svg.fonttype": "path",
                         "svg.hashsalt": "dlnutils"}):
        try:
            figure.set_layout_engine(None)                 # laid out when it was shown, and cut as it was then
            box = figure.get_tightbbox().padded(mpl.rcParams["savefig.pad_inches"])
            figure.savefig(f"{stem}.png", dpi=DPI, bbox_inches=box)
            for artist in rich:
                artist.set_rasterized(True)
            figure.savefig(f"{stem}.svg", dpi=DPI, bbox_inches=box, metadata={"Date": None})
        finally:
            for artist in rich:
                artist.set_rasterized(False)
            figure.set_layout_engine(layout)
    with open(f"{stem}.csv", "w", encoding="utf-8", newline="") as stream:
        write_rows(stream, number, figure)


def _rich(figure) -> Iterator:
    """The artists with more than `MANY` things to draw one by one; lines without markers stay lines."""
    for ax in figure.axes:
        for artist in ax.collections:
            kind, array = type(artist).__name__, artist.get_array()
            if kind == "LineCollection" or not getattr(artist, "filled", True):            # lines of contours
                continue
            n = array.size if kind == "QuadMesh" and array is not None else (
                len(artist.get_offsets()) if kind == "PathCollection" else sum(len(path) for path in artist.get_paths()) / 10)
            if n > MANY and not artist.get_rasterized():
                yield artist
        for line in ax.lines:
            if line.get_marker() not in ("", " ", "None", "none", None) and len(line.get_xdata()) > MANY:
                yield line


# --- beside the executed notebook -----------------------------------------------------------------------------------

def small_picture(content: bytes) -> bytes:
    """A PNG with the 256 colours that suit it best, and its resolution: a third as large, and the eye sees no difference.

    Where they would not do, in wide shades, all colours stay.
    """
    from PIL import Image, ImageChops, ImageStat  # comes with matplotlib
    picture, small = Image.open(io.BytesIO(content)), io.BytesIO()
    more = {"dpi": picture.info["dpi"]} if "dpi" in picture.info else {}
    if picture.mode == "RGB" or picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")
        fewer = picture.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        off = ImageStat.Stat(ImageChops.difference(picture, fewer.convert("RGB"))).mean
        picture = fewer if max(off) < TOLERANCE else picture
    picture.save(small, "PNG", optimize=True, **more)
    return min(small.getvalue(), content, key=len)


def small_drawing(text: str) -> str:
    """An SVG without indents and notes, and with coordinates to a hundredth of a point.

    Examples
    --------
    >>> small_drawing('<g> <!-- 10 --> <path d="M 51.561901 7.2 L 9 -0.001 "/> </g>')
    '<g><path d="M51.56 7.2L9 0"/></g>'
    """
    def short(match: re.Match) -> str:
        number = f"{float(match[0]):.2f}".rstrip("0").rstrip(".")
        return "0" if number in ("-0", "") else number

    def path(match: re.Match) -> str:
        return ' d="' + re.sub(r"\s*([A-Za-z])\s*", r"\1", NUMBER.sub(short, match[1])).strip() + '"'

    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.S)
    text = re.sub(r">\s+<", "><", text)
    text = re.sub(r'(?<= [xy]=")[^"]*|(?<=translate\()[^)]*', lambda match: NUMBER.sub(short, match[0]), text)
    return re.sub(r' d="([^"]*)"', path, text)


def _shown(saved: Path) -> list[dict]:
    """What `save_shown` noted of each figure."""
    log = saved / LOG
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()] if log.is_file() else []


def hardest_words(saved: Path) -> dict[str, list]:
    """Of all figures of a run the words that are shown smallest, and those that stand out least; see `legibility`."""
    found = [entry.get("words") for entry in _shown(saved)]
    return {what: min(words[what] for words in found if words) for what in ("points", "contrast") if any(found)}


def keep(saved: Path, notebook: dict, target: Path, key: str) -> float:
    """Put the files of a notebook's named figures into the folder ``target``, all or none.

    A cell's first figure has the cell's name, the next ``name-2``, and so on; the table of the first holds the rows of all.

    Parameters
    ----------
    saved : Path
        Where `save_shown` wrote.
    notebook : dict
        As it was executed.
    key : str
        Of the run; `kept` asks for it.

    Returns
    -------
    float
        Seconds of the kernel's processor that saving took.
    """
    shown = _shown(saved)
    target.mkdir(parents=True)
    names = []
    for name, cell in figure_cells(notebook):
        done = [entry for entry in shown if entry["cell"] == cell.get("execution_count") and "problem" not in entry]
        rows = []
        for entry in done:
            stem, own = saved / f"{entry['cell']}-{entry['number']}", name if entry is done[0] else f"{name}-{entry['number']}"
            rows.append(stem.with_suffix(".csv").read_text(encoding="utf-8"))
            (target / f"{own}.png").write_bytes(small_picture(stem.with_suffix(".png").read_bytes()))
            (target / f"{own}.svg").write_text(small_drawing(stem.with_suffix(".svg").read_text(encoding="utf-8")),
                                               encoding="utf-8")
            (target / f"{own}.csv").write_text(",".join(COLUMNS) + "\n" + rows[-1], encoding="utf-8")
            names.append(own)
        if len(done) > 1:
            (target / f"{name}.csv").write_text(",".join(COLUMNS) + "\n" + "".join(rows), encoding="utf-8")
    problems = [entry["problem"] for entry in shown if "problem" in entry]
    (target / LIST).write_text(json.dumps({"key": key, "figures": names, "problems": problems}, indent=1) + "\n",
                               encoding="utf-8")
    return sum(entry["seconds"] for entry in shown)


def folder_of(root: Path, section: str, profile: str) -> Path:
    """Where the files of a section's figures lie."""
    return executed_path(root, section, profile).with_suffix("")


def kept(root: Path, section: str, profile: str, key: str | None) -> list[str] | None:
    """The figures of which the run with this key left files; None where it left none, or they are of another run."""
    try:
        found = json.loads((folder_of(root, section, profile) / LIST).read_text(encoding="utf-8"))
        return found["figures"] if found["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def files_of(root: Path, section: str, profile: str, page: dict) -> dict[str, Path]:
    """The figures of a page that can be offered, each with its file's path without suffix.

    Parameters
    ----------
    page : dict
        The notebook that is shown. Its code and the parameters of its outputs must be those of the last run.
    """
    run = read_run(root, section, profile)
    if run is None or computation(run) != computation(page):
        return {}
    made, shown = run_metadata(run), run_metadata(page)
    if made.get("parameters") != shown.get("parameters"):
        return {}
    folder = folder_of(root, section, profile)
    return {name: folder / name for name in kept(root, section, profile, made.get("key")) or ()
            if all((folder / f"{name}.{kind}").is_file() for kind in KINDS)}


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)

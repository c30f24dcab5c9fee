"""Run here: a button on the pages whose notebooks a browser can run, and the files that its script asks for.

Python for browsers is Pyodide. With a folder of its files (``dln build --pyodide``, or the variable DLN_PYODIDE) they are laid
into the site; otherwise readers fetch them from the address ``dln_pyodide`` in ``_config.yml``. What they must be is committed:
``book/_static/run-here/pyodide.json`` holds the digest of every file, and Pyodide's own list of packages, cut to ours.
"""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import html
import io
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

from docutils import nodes

from ..notebooks import alike, claims_of, default_parameters, is_injected, profile_parameters, read_notebook, run_metadata
from .course import offered

FOLDER = "run-here"
PACKAGE = Path(__file__).resolve().parents[2]

#: Packages that pages may load, and what starts Pyodide.
PACKAGES = ("numpy", "scipy", "matplotlib", "joblib")
SCRIPTS = ("pyodide.asm.js", "pyodide.js")
CORE = (*SCRIPTS, "pyodide.asm.wasm", "python_stdlib.zip")

#: What matplotlib asks for and no page uses: fonts inside PDF, and time zones.
UNUSED = {"fonttools", "pytz"}

#: Files that a site sends compressed; all others are archives already.
PACKED = ("pyodide.asm.js", "pyodide.asm.wasm")

#: A browser takes about so many times as long as the processor alone (2 to 18, by what is computed).
SLOWER = 10

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")

#: Seconds on a processor above which it would try its reader's patience.
PATIENCE = 25.0


def pins(folder: Path) -> dict:
    """What a folder of Pyodide's files holds: digests and sizes, and its list of packages cut to `PACKAGES` and what they need.

    ``pyodide.json`` is this, written as JSON.
    """
    lock = json.loads((folder / "pyodide-lock.json").read_text(encoding="utf-8"))
    wanted, todo = {}, list(PACKAGES)
    while todo:
        name = todo.pop()
        if name not in wanted:
            entry = lock["packages"][name]
            wanted[name] = entry | {"depends": [needed for needed in entry["depends"] if needed not in UNUSED]}
            todo += wanted[name]["depends"]
    files = {}
    for name in sorted([*CORE, *(entry["file_name"] for entry in wanted.values())]):
        content = (folder / name).read_bytes()
        files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    wrong = [entry["file_name"] for entry in wanted.values() if files[entry["file_name"]]["sha256"] != entry["sha256"]]
    if wrong:
        raise ValueError(f"{', '.join(wrong)} in {folder} is not what pyodide-lock.json says: fetch the folder again")
    return {"files": files, "scripts": list(SCRIPTS),
            "lock": {"info": lock["info"], "packages": {name: wanted[name] for name in sorted(wanted)}}}


def read_pins(root: Path) -> dict:
    """The committed digests."""
    return json.loads((root / "book" / "_static" / FOLDER / "pyodide.json").read_text(encoding="utf-8"))


def download(pinned: dict, packages: list[str]) -> int:
    """Bytes that a page with these packages loads the first time."""
    names, todo = set(CORE), list(packages)
    while todo:
        entry = pinned["lock"]["packages"][todo.pop()]
        if entry["file_name"] not in names:
            names.add(entry["file_name"])
            todo += entry["depends"]
    return sum(pinned["files"][name].get("packed", pinned["files"][name])["bytes"] for name in names)


@functools.cache
def packed(folder: Path) -> dict[str, bytes]:
    """The compressed form of the files in `PACKED`."""
    return {name: gzip.compress((folder / name).read_bytes(), mtime=0) for name in PACKED if (folder / name).is_file()}


def served(pinned: dict, folder: Path) -> dict:
    """The pins of a site with files of its own: what travels compressed has the digest and the size of that, too."""
    files = dict(pinned["files"])
    for name, content in packed(folder).items():
        files[name] = files[name] | {"packed": {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
    return pinned | {"files": files}


# --- what a page is -------------------------------------------------------------------------------------------------

def code_of(notebook: dict) -> list[str]:
    """The source of every code cell."""
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code" and not is_injected(cell)]


def imported(cells: list[str]) -> set[str]:
    """What cells import, by its whole name."""
    found = set()
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def obstacle(notebook: dict, smaller: dict | None) -> str:
    """Why a page cannot run in a browser, in words; empty where it can."""
    modules = imported(code_of(notebook))
    if any(f"{name}.".startswith("dlnutils.datasets.") for name in modules):
        return "this page reads images that are not sent to one."
    if any(f"{name}.".startswith("dlnutils.press.trials.") for name in modules):
        return "this page lays out the records of long runs, which are not sent to one."
    tops = {name.split(".")[0] for name in modules}
    other = sorted(tops - {"dlnutils", *PACKAGES} - set(sys.stdlib_module_names))
    if other:
        return f"this page needs {' and '.join(other)}, which is not made for browsers."
    seconds = run_metadata(notebook).get("run_time") or 0
    if seconds > PATIENCE and smaller is None:
        return f"this page is too heavy for one, {seconds:.0f} s on a processor and several times that there."
    return ""


def checks_of(notebook: dict) -> dict[int, dict]:
    """What an exercise's answer is compared with, by the number of its starter cell.

    The starter cell names the answer in its metadata ``dln.check``; the numbers are those that its solution printed. A notebook
    without solutions has no checks: a number that has two or three digits cannot be hidden.
    """
    found, number, waiting = {}, 0, None
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] != "code" or is_injected(cell):
            waiting = None if "{solution-end}" in text else waiting
            continue
        number += 1
        if waiting:
            printed = "".join("".join(output.get("text", "")) for output in cell.get("outputs", ()))
            expected = [float(each) for part in re.findall(waiting[1]["solution"], printed) for each in NUMBER.findall(part)]
            if expected:
                start, check = waiting
                found[start] = {name: check[name] for name in ("answer", "within", "hint")} | {"expected": expected}
                waiting = None
        check = cell["metadata"].get("dln", {}).get("check")
        waiting = (number, check) if check else waiting
    return found


def smaller_lines(notebook: dict, smaller: dict) -> str:
    """What is put below the parameters: the sizes for a browser, and beside each the book's own."""
    defaults = default_parameters(notebook)
    minutes = (run_metadata(notebook).get("run_time") or 0) * SLOWER / 60
    lines = [f"# Smaller, for the browser. Without these lines the page takes {minutes:.0f} minutes or so."]
    for name, value in smaller.items():
        lines.append(f"{f'{name} = {alike(defaults[name], value)!r}':32s} # instead of {defaults[name]!r}")
    return "\n".join(lines)


def page_data(notebook: dict, smaller: dict | None) -> dict:
    """What the script needs of a page: the cells, the parameters of its claims, packages, claims, and checks of exercises."""
    cells = code_of(notebook)
    tops = {name.split(".")[0] for name in imported(cells)}
    packages = [name for name in PACKAGES if name in {"numpy", *tops}]
    if smaller:
        place = next(i for i, cell in enumerate(c for c in notebook["cells"] if c["cell_type"] == "code" and not is_injected(c))
                     if "parameters" in cell["metadata"].get("tags", ()))
        cells[place] += "\n\n" + smaller_lines(notebook, smaller)
    return {"cells": cells, "packages": packages, "parameters": run_metadata(notebook).get("parameters") or
            default_parameters(notebook), "claims": {claim["id"]: claim["shown"] for claim in claims_of(notebook)},
            "checks": checks_of(notebook)}


# --- the site -------------------------------------------------------------------------------------------------------

def add_button(app, doctree) -> None:
    """After the first paragraph of a notebook's page: the button, or why there is none."""
    docname = app.env.docname
    source = Path(app.env.doc2path(docname))
    if source.suffix != ".ipynb" or not docname.startswith("notebooks/") or app.builder.format != "html":
        return
    section, notebook = docname.removeprefix("notebooks/"), offered(app, read_notebook(source))
    smaller = profile_parameters(Path(app.srcdir), section, "browser")
    why = obstacle(notebook, smaller)
    body = next(iter(doctree.findall(nodes.section)), doctree)
    first = next((child for child in body.children if isinstance(child, nodes.paragraph)), None)
    if first is None:
        return
    if why:
        place = nodes.paragraph("", nodes.Text(f"Not in a browser: {why} On your machine: "),
                                nodes.literal("", f"dln run {section}"), nodes.Text("."),
                                classes=["dln-run-not", "dln-screen-only"])
    else:
        data = page_data(notebook, smaller)
        folder, pinned = app.config.dln_pyodide_folder, read_pins(Path(app.srcdir))
        size = download(served(pinned, Path(folder)) if folder else pinned, data["packages"]) / 1e6
        where = "this site" if folder else "Pyodide's server"
        minutes = (run_metadata(notebook).get("run_time") or 0) * SLOWER / 60
        takes = "" if minutes < 1.5 or smaller else f" The page then takes {minutes:.0f} minutes or so, figure by figure."
        words = f"Python starts in your browser; the first time it loads {size:.0f} MB from {where}.{takes}"
        if smaller:
            words += (f" For a run of a minute or two these are smaller than in the book: {', '.join(smaller)}. So the claims "
                      "are shown and not asserted. The cell of parameters has both sizes.")
        settings = {"page": f"pages/{section.replace('/', '--')}.json", "wheel": "dlnutils.zip", "label": "Run this page here",
                    "words": words, "base": "../pyodide/" if folder else app.config.dln_pyodide}
        keep = app.env.__dict__.setdefault("dln_run_here", {})
        keep[docname] = data
        attribute = html.escape(json.dumps(settings))
        place = nodes.raw("", f'<div class="dln-run-here dln-screen-only" data-settings="{attribute}"></div>', format="html")
    body.insert(body.index(first) + 1, place)


def load_script(app, pagename, templatename, context, doctree) -> None:
    """Give the script to the pages that have the button."""
    if pagename in getattr(app.env, "dln_run_here", {}):
        app.add_css_file(f"{FOLDER}/run-here.css")
        app.add_js_file(f"{FOLDER}/run-here.js", loading_method="defer")


def write_files(app, error) -> None:
    """Beside the script: every page's cells, the package as an archive, and Pyodide where its folder was given."""
    if error or app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static" / FOLDER
    (target / "pages").mkdir(parents=True, exist_ok=True)
    for docname, data in getattr(app.env, "dln_run_here", {}).items():
        path = target / "pages" / f"{docname.removeprefix('notebooks/').replace('/', '--')}.json"
        path.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    (target / "dlnutils.zip").write_bytes(package_archive())
    if app.config.dln_pyodide_folder:
        folder, pinned = Path(app.config.dln_pyodide_folder), read_pins(Path(app.srcdir))
        lay_pyodide(folder, pinned, Path(app.outdir) / "_static" / "pyodide")
        (target / "pyodide.json").write_text(json.dumps(served(pinned, folder)), encoding="utf-8")


def package_archive(package: Path = PACKAGE) -> bytes:
    """The package as the archive that the browser unpacks; the same bytes for the same files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(package.rglob("*")):
            if path.suffix in (".py", ".mplstyle") and "ext" not in path.relative_to(package).parts:
                archive.writestr(zipfile.ZipInfo(f"dlnutils/{path.relative_to(package).as_posix()}"), path.read_bytes(),
                                 zipfile.ZIP_DEFLATED)
    return content.getvalue()


def lay_pyodide(folder: Path, pinned: dict, target: Path) -> None:
    """Copy the files that the book knows, each with its digest; some of them compressed."""
    target.mkdir(parents=True, exist_ok=True)
    for name, pin in pinned["files"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{folder} lacks {name}: give the folder of Pyodide {pinned['lock']['info']['version']}")
        if (target / name).is_file() and (target / name).stat().st_size == pin["bytes"]:
            continue
        if hashlib.sha256(path.read_bytes()).hexdigest() != pin["sha256"]:
            raise ValueError(f"{path} has another SHA-256 than the one the book knows: fetch Pyodide "
                             f"{pinned['lock']['info']['version']} again")
        if name in packed(folder):
            (target / f"{name}.packed").write_bytes(packed(folder)[name])
        else:
            shutil.copyfile(path, target / name)


def forget(app, env, docname) -> None:
    getattr(env, "dln_run_here", {}).pop(docname, None)


def merge(app, env, docnames, other) -> None:
    env.__dict__.setdefault("dln_run_here", {}).update(
        {name: data for name, data in getattr(other, "dln_run_here", {}).items() if name in docnames})


def setup(app):
    """What a page needs is kept in the environment, so pages that did not change keep theirs."""
    app.add_config_value("dln_pyodide", "", "env")
    app.add_config_value("dln_pyodide_folder", os.environ.get("DLN_PYODIDE", ""), "env")
    app.connect("doctree-read", add_button)
    app.connect("html-page-context", load_script)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("build-finished", write_files)
    return {"version": "1", "env_version": 1, "parallel_read_safe": True, "parallel_write_safe": True}

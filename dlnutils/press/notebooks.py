"""Notebooks as parsed JSON: what there is, what is in one, and how an executed one is cleaned before it is committed."""

from __future__ import annotations

import ast
import base64
import io
import json
import math
import numbers
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CLAIMS_TYPE", "FRONT_FIGURE", "LAYOUT", "default_parameters", "alike", "claims_of", "run_metadata",
           "UsageError", "find_root", "sections", "notebook_path", "executed_path", "read_notebook", "read_run",
           "write_notebook", "profiles", "profile_parameters", "computation", "is_injected", "as_committed", "compress_picture",
           "picture_of", "figure_cells"]

#: The output for programs: the claims of a notebook.
CLAIMS_TYPE = "application/vnd.dlnutils.claims+json"
#: Of the results in ``_build/executed``: one of another layout is not read, but made anew.
LAYOUT = 2


def default_parameters(notebook: dict) -> dict:
    """The names and values assigned in a notebook's cell tagged ``parameters`` (literals only), in order.

    Parameters
    ----------
    notebook : dict
        A notebook as parsed JSON.

    Raises
    ------
    ValueError
        The cell holds anything but assignments of literals.
    """
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in _tags(cell):
            rule, values = "the cell tagged 'parameters' may only assign literals (numbers, strings, lists), but line", {}
            try:
                body = ast.parse("".join(cell["source"])).body
            except SyntaxError as error:
                raise ValueError(f"{rule} {error.lineno} is: {(error.text or '').strip()}") from None
            for statement in body:
                try:
                    if not isinstance(statement, ast.Assign):
                        raise ValueError
                    (target,) = statement.targets
                    if not isinstance(target, ast.Name):
                        raise ValueError
                    values[target.id] = ast.literal_eval(statement.value)
                except (ValueError, TypeError):
                    raise ValueError(f"{rule} {statement.lineno} is: {ast.unparse(statement)}") from None
            return values
    return {}


def alike(default: object, value: Any) -> object:
    """A parameter's new value as the kind of its default: 1000.0 for a whole number becomes 1000.

    Raises
    ------
    ValueError
        It is of another kind, or a number that is not finite.

    Examples
    --------
    >>> from dlnutils.press.notebooks import alike
    >>> alike(5, 1e3), alike(0.5, 2), alike([1, 2], [3.0])
    (1000, 2, [3])
    """
    if isinstance(default, (list, tuple)):
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"must be a list such as {default!r}, got {value!r}")
        kinds: dict[type, Any] = {type(entry): entry for entry in default}
        if list in kinds:                                  # the rows of a table are all of one kind
            kinds[list] = [entry for row in default if isinstance(row, list) for entry in row]
        if float in kinds:
            kinds.pop(int, None)
        return [_alike_any(list(kinds.values()), entry) for entry in value]
    if isinstance(default, dict):
        if not isinstance(value, dict) or not value.keys() <= default.keys():
            raise ValueError(f"must be a mapping such as {default!r}, got {value!r}")
        return {name: alike(default[name], entry) for name, entry in value.items()}
    if isinstance(default, (bool, str)) and type(value) is not type(default):
        raise ValueError(f"must be {'text' if isinstance(default, str) else 'true or false'} such as {default!r}, got {value!r}")
    if isinstance(default, (int, float)) and not isinstance(default, bool):
        if isinstance(value, numbers.Integral) and not isinstance(value, bool):
            return int(value)
        whole, real = isinstance(default, int), isinstance(value, numbers.Real) and not isinstance(value, bool)
        number = float(value) if real else math.nan
        if not real or whole and not number.is_integer() or not math.isfinite(number) and math.isfinite(default):
            raise ValueError(f"must be a {'whole' if whole else 'finite'} number such as {default!r}, got {value!r}")
        return int(number) if whole else number
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError(f"must be a number, text or a list, got {value!r}") from None
    return value


def _alike_any(defaults: list, value: object) -> object:
    """`alike` to the first of several defaults that it is like; any plain value if there is none."""
    for default in defaults[:-1]:
        try:
            return alike(default, value)
        except ValueError:
            continue
    return alike(defaults[-1] if defaults else None, value)


def claims_of(notebook: dict) -> list[dict]:
    """The claims in a notebook's outputs, in order; empty if it was never executed.

    Parameters
    ----------
    notebook : dict
        Parsed JSON.

    Returns
    -------
    list of dict
        ``PUBLIC_KEYS`` and ``shown``, the measured value as the notebook shows it; headlines have ``words``.
    """
    found = []
    plain: dict = {"where": None, "headline": False, "verdict": "agrees"}        # not stored where it says nothing
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            payload = output.get("data", {}).get(CLAIMS_TYPE)
            if payload:
                shared = {"paper": payload["paper"], "notebook": payload["section"], "profile": payload["profile"]}
                found += [plain | shared | claim for claim in payload["claims"]]       # a record's claim has its own profile
    return found


def run_metadata(notebook: dict) -> dict:
    """How a committed notebook was run: profile, parameters, run_time (seconds), processor, versions, date, hash."""
    return notebook["metadata"].get("dln", {})


def _tags(cell: dict) -> list[str]:
    return cell.get("metadata", {}).get("tags") or []


def is_injected(cell: dict) -> bool:
    """Whether a run put this cell in, to set parameters."""
    return "injected-parameters" in _tags(cell)


def computation(notebook: dict) -> list:
    """What a notebook computes, without its prose and outputs: the code cells, and which of them holds the parameters."""
    return [["".join(cell["source"]), "parameters" in _tags(cell)] for cell in notebook["cells"]
            if cell["cell_type"] == "code" and not is_injected(cell)]


#: The figure that the README shows; accepting its notebook copies the picture to ``records/``.
FRONT_FIGURE = "fig-saddles-mode-strengths"


class UsageError(ValueError):
    """The command line names something that does not exist; the message lists what does."""


def _yaml(path: Path) -> Any:
    """A YAML file in the core schema of YAML 1.2, where 1e-3 is a number, and no and 1:30 are text.

    Raises
    ------
    UsageError
        It cannot be read: names the file.
    """
    import yaml

    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)              # the fast one, where it is

    class Loader(base):
        yaml_implicit_resolvers = {}

    for name, pattern, first in (
            ("bool", "true|True|TRUE|false|False|FALSE", "tTfF"), ("null", "~|null|Null|NULL|", ["~", "n", "N", ""]),
            ("int", r"[-+]?[0-9][0-9_]*", "-+0123456789"),
            ("float", r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
             "-+.0123456789")):
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"(?:{pattern})$"), list(first))
    Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader)         # a safe loader all the same
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as YAML: {' '.join(str(error).split())}") from None


def find_root(start: Path | None = None) -> Path:
    """The book's folder: the nearest one upwards with ``_toc.yml`` and ``notebooks/``."""
    start = Path(start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise UsageError(f"{start} is not inside the book (no _toc.yml with a notebooks folder here or above): cd into the "
                     "clone first")


def sections(root: Path) -> list[str]:
    """The notebooks of the book in the order of ``_toc.yml``, as ``chapter/section``."""
    def files(node):
        if isinstance(node, list):
            return [name for item in node for name in files(item)]
        if isinstance(node, dict):
            own = [node[key] for key in ("root", "file") if key in node]
            return own + [name for key in ("parts", "chapters", "sections") for name in files(node.get(key))]
        return []

    listed = files(_yaml(root / "_toc.yml"))
    names = [name.removeprefix("notebooks/").removesuffix(".ipynb") for name in listed if name.startswith("notebooks/")]
    return [name for name in names if notebook_path(root, name).is_file()]


def notebook_path(root: Path, section: str) -> Path:
    """The committed notebook of a section."""
    return Path(root) / "notebooks" / f"{section}.ipynb"


def executed_path(root: Path, section: str, profile: str) -> Path:
    """Where a run of a section ends up."""
    return Path(root) / "_build" / "executed" / profile / f"{section}.ipynb"


def read_notebook(path: Path) -> dict:
    """A notebook as parsed JSON.

    Raises
    ------
    UsageError
        It is none: names the file and what is wrong with it.
    """
    try:
        notebook = json.loads(Path(path).read_text(encoding="utf-8"))
        _check_notebook(notebook)
    except ValueError as error:                            # also of JSON and of UTF-8
        raise UsageError(f"{path} cannot be read as a notebook: {error}") from None
    return notebook


def _check_notebook(notebook: object) -> None:
    """Raise a ``ValueError`` that says what a notebook lacks, as far as the book relies on it."""
    if not isinstance(notebook, dict) or notebook.get("nbformat") != 4 or not isinstance(notebook.get("cells"), list):
        raise ValueError("it holds no cells in nbformat 4")
    if not isinstance(notebook.get("metadata"), dict):
        raise ValueError("its metadata must be a mapping")
    for number, cell in enumerate(notebook["cells"], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
            raise ValueError(f"cell {number} is no cell of code, Markdown or raw text")
        source, metadata = cell.get("source"), cell.get("metadata")
        if not (isinstance(source, str) or isinstance(source, list) and all(isinstance(line, str) for line in source)):
            raise ValueError(f"the source of cell {number} must be text, got {source!r}")
        if not isinstance(metadata, dict):
            raise ValueError(f"the metadata of cell {number} must be a mapping, got {metadata!r}")
        tags = metadata.get("tags", [])
        if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
            raise ValueError(f"the tags of cell {number} must be a list of texts, got {tags!r}")


def read_run(root: Path, section: str, profile: str) -> dict | None:
    """The executed notebook of a section; None where there is none, or one of an older layout, or a damaged one."""
    try:
        notebook = read_notebook(executed_path(root, section, profile))
    except (OSError, UsageError):
        return None
    return notebook if run_metadata(notebook).get("layout") == LAYOUT else None


def profiles(root: Path) -> list[str]:
    """Names of the profiles, ``default`` first."""
    folder = root / "notebooks" / "profiles"
    return ["default"] + sorted(path.name for path in folder.glob("*") if path.is_dir())


def profile_parameters(root: Path, section: str, profile: str) -> dict | None:
    """What a profile changes in a section's parameters; None where the profile does not cover the section."""
    if profile == "default":
        return {}
    path = root / "notebooks" / "profiles" / profile / f"{section}.yml"
    if not path.is_file():
        return None
    changes = _yaml(path)
    if changes is not None and not (isinstance(changes, dict) and all(isinstance(name, str) for name in changes)):
        raise UsageError(f"{path} must hold lines 'parameter: value', got {changes!r}")
    return changes or {}


def write_notebook(path: Path, content: dict) -> None:
    """Write a notebook atomically: a temporary file beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def as_committed(executed: dict, source: dict) -> dict:
    """An executed notebook as it is committed: no timings or paths, numbered cells, one metadata block ``dln``.

    Prose, its pictures and what is said of cells come from ``source`` as it is now, outputs from the run. The code of both
    must be the same.
    """
    ran = [cell for cell in executed["cells"] if cell["cell_type"] == "code"]
    cells = []

    def add(cell: dict, metadata: dict, **more: Any) -> None:
        lines = "".join(cell["source"]).splitlines(keepends=True)
        cells.append({"cell_type": cell["cell_type"], "id": f"cell-{len(cells) + 1:02d}", "metadata": metadata, "source": lines}
                     | more)

    def add_outputs(cell: dict, metadata: dict) -> None:
        outputs = [compress_picture(output) for output in cell["outputs"]]
        add(cell, metadata, execution_count=cell["execution_count"], outputs=outputs)

    for cell in source["cells"]:
        if cell["cell_type"] == "code":
            add_outputs(ran.pop(0), cell["metadata"])
            while ran and is_injected(ran[0]):             # right after the parameters that it changes
                add_outputs(ran.pop(0), {"tags": ["injected-parameters"]})
        else:
            add(cell, cell["metadata"], **{name: cell[name] for name in ("attachments",) if name in cell})
    block = {name: value for name, value in executed["metadata"]["dln"].items() if name not in ("key", "layout")}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"dln": block, "kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


def compress_picture(output: dict) -> dict:
    """An output whose picture is compressed as well as PNG allows: the same pixels, an eighth smaller."""
    encoded = output.get("data", {}).get("image/png")
    if not encoded:
        return output
    from PIL import Image  # comes with matplotlib
    picture, small = Image.open(io.BytesIO(base64.b64decode(encoded))), io.BytesIO()
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() == (255, 255):
        picture = picture.convert("RGB")                   # an opaque picture needs no opacity
    picture.save(small, "PNG", optimize=True)
    return output | {"data": output["data"] | {"image/png": base64.b64encode(small.getvalue()).decode()}}


def picture_of(notebook: dict, figure: str) -> bytes | None:
    """The PNG that the cell drawing ``figure`` left in a notebook's outputs, if there is one."""
    for cell in notebook["cells"]:
        if cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name") == figure:
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    return None


def figure_cells(notebook: dict) -> Iterator[tuple[str, dict]]:
    """The cells that draw a named figure, with that name."""
    for cell in notebook["cells"]:
        name = cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name")
        if name:
            yield name, cell

"""Arrays on disk without pickles, the user's folder, the package's hash, and the memory that is free."""

from __future__ import annotations

import ast
import functools
import hashlib
import io
import json
import os
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["control_groups", "free_memory", "syntax_hash", "package_hash", "modules_hash", "storable", "write_arrays",
           "read_arrays", "user_path", "user_folder"]


# --- memory ---------------------------------------------------------------------------------------------------------

def control_groups(controller: str, root: Path = Path("/")) -> Iterator[Path]:
    """Folders of the control groups that this process is in, from its own up to the outermost: none outside Linux.

    Parameters
    ----------
    controller : str
        'memory' or 'cpu'.
    root : Path
        Where the system's files are; a container sees its own group as the outermost one.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / (controllers and controller)      # version 2 has no controllers, and no folder for each
        own = top / inside.lstrip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(top) and folder.is_dir())


def _limited_memory(folder: Path) -> float:
    """Bytes that a control group of either version may still take; infinite where it has no limit."""
    for limit, used, reclaimable in (("memory.max", "memory.current", "inactive_file"),
                                     ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")):
        try:
            most, taken = (float((folder / name).read_text().replace("max", "inf")) for name in (limit, used))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            return max(most - taken + float(stat.get(reclaimable, 0)), 0.0)
        except (OSError, ValueError):
            continue
    return float("inf")


def free_memory(root: Path = Path("/")) -> float:
    """Bytes of memory that a process may still take, in a container too; infinite where the system does not say."""
    try:
        with open(root / "proc/meminfo", encoding="ascii") as lines:     # counts what the system would give back
            free = 1024.0 * next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        try:
            free = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES"))
        except (OSError, ValueError, AttributeError):
            free = float("inf")
    return min([free, *map(_limited_memory, control_groups("memory", root))])


# --- what a result was computed with --------------------------------------------------------------------------------

def _syntax(node: object) -> object:
    """A syntax tree as nested lists, without positions, docstrings and empty fields: alike for all versions of Python."""
    if isinstance(node, list):
        return [_syntax(part) for part in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = dict(ast.iter_fields(node))
    if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) \
            and ast.get_docstring(node, clean=False) is not None:
        parts["body"] = parts["body"][1:]
    return [type(node).__name__, *([name, _syntax(part)] for name, part in parts.items() if part not in (None, []))]


def syntax_hash(paths: Iterable[Path]) -> str:
    """Twelve hexadecimal digits of the SHA-256 of Python files as far as they compute: comments and docstrings do not count."""
    digest = hashlib.sha256()
    for path in paths:
        text = path.read_text(encoding="utf-8")
        digest.update(json.dumps([path.stem, _syntax(ast.parse(text)) if path.suffix == ".py" else text]).encode())
    return digest.hexdigest()[:12]


@functools.cache
def package_hash() -> str:
    """The `syntax_hash` of all that a notebook's numbers and pictures depend on: the physics, the claims, the style."""
    here = Path(__file__).parent
    physics = [path for path in [*here.glob("*.py"), *here.glob("dmft/*.py")] if path.stem not in ("__init__", "__main__")]
    shown = [here / "press" / name for name in ("claims.py", "style.py", "words.py", "book.mplstyle")]
    return syntax_hash(sorted(path for path in physics + shown if path.is_file()))


def _imported(path: Path, house: Path) -> set[Path]:
    """Files of the package that a file of it imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            parts = [(house.parent, name.name.split(".")) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = house.parent if not node.level else path.parents[node.level - 1]
            above = node.module.split(".") if node.module else []
            parts = [(base, above + [name.name]) for name in node.names]
        else:
            continue
        for base, names in parts:
            for i in range(1, len(names) + 1):             # a package runs its __init__ when what is inside is imported
                place = base.joinpath(*names[:i])
                found |= {file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()}
    return {file for file in found if house in file.parents}


@functools.cache
def modules_hash(module: str) -> str:
    """The `syntax_hash` of one module of the package and of all that it imports from the package, and these in their turn.

    What is changed elsewhere in the package does not age what this module computes. As of the first call: a process computes
    with the modules that it has loaded.

    Parameters
    ----------
    module : str
        With its package, such as ``dlnutils.perceptron``.

    Raises
    ------
    ValueError
        No module of this package.
    """
    house = Path(__file__).parent
    inside = house.joinpath(*module.split(".")[1:])
    first = next((file for file in (inside.with_suffix(".py"), inside / "__init__.py") if file.is_file()), None)
    if module.split(".")[0] != __name__.split(".")[0] or first is None or inside == house:
        raise ValueError(f"module must be one of the package, such as 'dlnutils.perceptron', got {module!r}")
    found, left = {first}, [first]
    while left:
        new = _imported(left.pop(), house) - found
        found |= new
        left += new
    return syntax_hash(sorted(found - {house / "__init__.py"}))


# --- arrays on disk -------------------------------------------------------------------------------------------------

def storable(arrays: Mapping[str, Any]) -> dict[str, NDArray]:
    """The arrays as `write_arrays` keeps them.

    Raises
    ------
    ValueError
        A name that is no text or cannot be written; a value that is no number, string or array of them; a masked array.
    """
    kept = {}
    for name, value in arrays.items():
        if not isinstance(name, str) or zipfile.ZipInfo(name).filename != name or not name.isprintable():
            raise ValueError(f"the names of arrays must be plain text, got {name!r}")
        if isinstance(value, np.ma.MaskedArray):
            raise ValueError(f"{name or 'the result'} must not be masked, since masks are not saved: fill it, or save its mask "
                             "beside it")
        try:
            array = np.asarray(value)
        except ValueError:                                 # lists of different lengths
            array = np.array(None)
        if array.dtype.hasobject:
            raise ValueError(f"{name or 'the result'} must hold numbers or strings to be saved, got {type(value).__name__}")
        kept[name] = array
    return kept


def _digest(members: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{len(name.encode())} {len(members[name])} {name}".encode() + members[name])
    return b"sha256:" + digest.hexdigest().encode()


def write_arrays(path: str | Path, arrays: Mapping[str, ArrayLike]) -> None:
    """Write numbers, strings and arrays to an ``.npz`` file without pickles: whole or not at all.

    The file is one that ``numpy.load`` reads; the digest of its contents is the archive's comment. Names may be any plain
    text, also those of parameters of ``numpy.savez``.

    Raises
    ------
    ValueError
        As `storable`.
    """
    path, members = user_path("path", path), {}
    for name, array in storable(arrays).items():
        with io.BytesIO() as member:
            np.lib.format.write_array(member, array, allow_pickle=False)
            members[f"{name}.npy"] = member.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
            archive.comment = _digest(members)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_arrays(path: str | Path, *, sealed: bool = False) -> dict[str, NDArray]:
    """What `write_arrays` wrote.

    Parameters
    ----------
    path : path
    sealed : bool
        Refuse a file without a digest too, as older versions wrote them.

    Raises
    ------
    ValueError
        The file is damaged, or not of this kind, or holds objects that only a pickle could bring back.
    """
    content = user_path("path", path).read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
            if archive.comment or sealed:
                if archive.comment != _digest(members):
                    raise ValueError("its contents are not those that were written")
        return {name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(member), allow_pickle=False)
                for name, member in members.items()}
    except Exception as error:                             # damage comes as nearly any of them
        why = "it holds objects" if "allow_pickle" in str(error) else error
        raise ValueError(f"{path} is damaged, or no file of arrays of this package ({why}): compute it again") from error


# --- folders --------------------------------------------------------------------------------------------------------

def user_path(name: str, value: str | os.PathLike) -> Path:
    """A path that a user gave, with ``~`` for the home folder.

    Raises
    ------
    ValueError
        It is no path, or this user has no home: names the argument.
    """
    try:
        return Path(value).expanduser()
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"{name} must be the path of a file or folder, got {value!r}"
                         + (": there is no such home folder, give the whole path" if isinstance(error, RuntimeError) else "")
                         ) from None


def user_folder() -> Path:
    """The project's folder in the user's cache; in the system's folder for temporary files for a user without a home."""
    if sys.platform == "win32":
        place, inside = os.environ.get("LOCALAPPDATA") or "~/AppData/Local", "dlnutils/dlnutils/Cache"
    elif sys.platform == "darwin":
        place, inside = "~/Library/Caches", "dlnutils"
    else:
        place, inside = os.environ.get("XDG_CACHE_HOME") or "~/.cache", "dlnutils"
    try:
        return Path(place).expanduser() / inside
    except RuntimeError:                                   # neither HOME nor an entry among the system's users
        return Path(tempfile.gettempdir()) / f"dlnutils-{os.getuid() if hasattr(os, 'getuid') else 'user'}"

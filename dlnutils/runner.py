"""Execute notebooks, keep the results, lay them into the book.

A section is a notebook such as ``saddles/depth``, listed in ``_toc.yml``. A run executes it with papermill in a process
of its own into ``_build/executed/<profile>/``; a result whose key (notebook, parameters, package, pins) is unchanged
is kept. Nothing is ever half written: a run works on a partial file and renames it at the end.
"""

from __future__ import annotations

import ast
import base64
import csv
import datetime
import errno
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from .claims import default_parameters, round_to_digits
from .sweep import package_hash

__all__ = ["UsageError", "Job", "Result", "find_root", "sections", "notebook_path", "read_notebook", "profiles",
           "profile_parameters", "package_hash", "plan", "run", "accept", "as_record", "picture_of", "stage", "build",
           "figure_data", "figures"]

#: One BLAS thread a process: two change the last digits, and notebooks already run in parallel.
WORKER_ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "DLN_JOBS": "1",
                      "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


#: The figure that the README shows; accepting its notebook copies the picture to ``records/``.
FRONT_FIGURE = "fig-saddles-mode-strengths"


class UsageError(ValueError):
    """The command line names something that does not exist; the message lists what does."""


# --- what there is ------------------------------------------------------------------------------------------------

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
    import yaml

    def files(node):
        if isinstance(node, list):
            return [name for item in node for name in files(item)]
        if isinstance(node, dict):
            own = [node[key] for key in ("root", "file") if key in node]
            return own + [name for key in ("parts", "chapters", "sections") for name in files(node.get(key))]
        return []

    listed = files(yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8")))
    names = [name.removeprefix("notebooks/").removesuffix(".ipynb") for name in listed if name.startswith("notebooks/")]
    return [name for name in names if notebook_path(root, name).is_file()]


def notebook_path(root: Path, section: str) -> Path:
    """The committed notebook of a section."""
    return Path(root) / "notebooks" / f"{section}.ipynb"


def executed_path(root: Path, section: str, profile: str) -> Path:
    """Where a run of a section ends up."""
    return Path(root) / "_build" / "executed" / profile / f"{section}.ipynb"


def read_notebook(path: Path) -> dict:
    """A notebook as parsed JSON."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


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
    import yaml
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def versions() -> dict:
    """Versions that can change a number or a picture."""
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name)
                                                    for name in ("numpy", "scipy", "matplotlib")}


def processor() -> str:
    """The processor's name as its maker writes it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


# --- planning -----------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Job:
    """One notebook to execute: ``overrides`` are injected, ``parameters`` is the full set they lead to."""

    section: str
    profile: str
    overrides: dict
    parameters: dict
    source: Path
    target: Path
    key: str

    @property
    def up_to_date(self) -> bool:
        """Whether the result is there and was made from the same notebook, parameters, package and pins."""
        try:
            return read_notebook(self.target)["metadata"]["dln"]["key"] == self.key
        except (OSError, ValueError, KeyError):
            return False


@dataclass(frozen=True)
class Result:
    """How a job went: ``state`` is done, kept, failed or interrupted."""

    section: str
    state: str
    seconds: float
    cell: int | None = None
    error: str = ""


def _key(notebook: dict, parameters: dict, root: Path) -> str:
    pins = root / "constraints.txt"
    cells = [[cell["cell_type"], "".join(cell["source"]), cell.get("metadata", {}).get("tags", [])]
             for cell in notebook["cells"]]
    parts = [cells, sorted(parameters.items()), package_hash(), versions(), pins.read_text() if pins.exists() else ""]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def choose(root: Path, names) -> list[str]:
    """The sections that ``names`` mean (a chapter stands for all of its sections); all of them if none is named."""
    known = sections(root)
    chosen = []
    for name in names:
        name = name.removeprefix("notebooks/").removesuffix(".ipynb").strip("/")
        matching = [section for section in known if section == name or section.startswith(name + "/")]
        if not matching:
            raise UsageError(f"no notebook {name!r}: choose from {', '.join(known)}")
        chosen += [section for section in matching if section not in chosen]
    return chosen or known


def plan(root: Path, names=(), *, profile: str = "default", overrides: dict | None = None) -> list[Job]:
    """The jobs for the named sections, after checking every name.

    Raises
    ------
    UsageError
        Unknown section, profile or parameter (papermill would only warn of the last).
    """
    if profile not in profiles(root):
        raise UsageError(f"no profile {profile!r}: choose from {', '.join(profiles(root))}")
    chosen = choose(root, names)
    covered = [section for section in chosen if profile_parameters(root, section, profile) is not None]
    if not covered:
        having = [s for s in sections(root) if profile_parameters(root, s, profile) is not None]
        raise UsageError(f"profile {profile!r} does not cover {', '.join(chosen)}: it covers {', '.join(having)}")
    jobs = []
    for section in covered:
        source = notebook_path(root, section)
        notebook = read_notebook(source)
        defaults = default_parameters(notebook)
        changes = {**profile_parameters(root, section, profile), **(overrides or {})}
        unknown = [name for name in changes if name not in defaults]
        if unknown:
            raise UsageError(f"{section} has no parameter {', '.join(map(repr, unknown))}: choose from "
                             f"{', '.join(defaults)}")
        parameters = {**defaults, **changes}
        shown = "custom" if overrides else profile
        jobs.append(Job(section, shown, changes, parameters, source, executed_path(root, section, shown),
                        _key(notebook, parameters, root)))
    return jobs


# --- executing ----------------------------------------------------------------------------------------------------

def _write_json(path: Path, content: dict) -> None:
    """Write a notebook atomically: a temporary file beside it, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _execute(job: dict) -> dict:
    """Run one notebook in this process; return its failure, if any. The worker of :func:`run`."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target = Path(job["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.stem}.{os.getpid()}.partial.ipynb")
    failed = target.with_name(f"{target.stem}.failed.ipynb")
    start = time.perf_counter()
    try:
        papermill.execute_notebook(job["source"], str(partial), parameters=job["overrides"], kernel_name="python3",
                                   cwd=str(Path(job["source"]).parent), progress_bar=False, log_output=False)
        notebook = read_notebook(partial)
        notebook["metadata"]["dln"] = job["metadata"] | {"run_time": round_to_digits(_run_time(start), 2)}
        _write_json(target, notebook)
        failed.unlink(missing_ok=True)
        return {}
    except PapermillExecutionError as error:
        partial.replace(failed)
        return {"cell": error.exec_count, "error": f"{error.ename}: {error.evalue}", "kept": str(failed)}
    except OSError as error:
        full = " (free some and run the same command again: what is finished is kept)"
        return {"error": f"{type(error).__name__}: {error}" + (full if error.errno == errno.ENOSPC else "")}
    except Exception as error:                             # above all nbclient's DeadKernelError
        if partial.exists():
            partial.replace(failed)
        dead = type(error).__name__ == "DeadKernelError"
        hint = "the kernel died, most often for want of memory: run it again, or with smaller parameters"
        return {"error": hint if dead else f"{type(error).__name__}: {error}"}
    finally:
        partial.unlink(missing_ok=True)


def _run_time(start: float) -> float:
    """Seconds since ``start``, as an idle core would show them: the kernel's processor time, where the system tells."""
    wall = time.perf_counter() - start
    try:
        import resource                                    # not on Windows
    except ImportError:
        return wall
    kernel = resource.getrusage(resource.RUSAGE_CHILDREN)  # ended and waited for
    return min(wall, kernel.ru_utime + kernel.ru_stime) or wall


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _remove_leftovers(target: Path) -> None:
    """Partial files of runs that were killed."""
    for path in target.parent.glob(f".{target.stem}.*.partial.ipynb"):
        pid = path.name.split(".")[-3]
        if pid.isdigit() and not _alive(int(pid)):
            path.unlink(missing_ok=True)


class _Pool:
    """Worker processes that can all be stopped."""

    def __init__(self):
        self.processes: set[subprocess.Popen] = set()
        self.lock, self.stopped = threading.Lock(), False

    def execute(self, job: Job) -> Result:
        start = time.perf_counter()
        metadata = {"profile": job.profile, "parameters": job.parameters, "processor": processor(),
                    "versions": versions(), "date": datetime.date.today().isoformat(), "package_hash": package_hash(),
                    "key": job.key}
        order = {"source": str(job.source), "target": str(job.target), "overrides": job.overrides, "metadata": metadata}
        declared = {"profile": job.profile, "parameters": job.parameters}
        with self.lock:
            if self.stopped:
                return Result(job.section, "interrupted", 0.0)
            _remove_leftovers(job.target)
            # A default run is what the tests compare with: nothing in it may come from an earlier sweep.
            kept = {"DLN_CACHE": "off"} if job.profile == "default" else {}
            process = subprocess.Popen(
                [sys.executable, "-m", "dlnutils.runner"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, start_new_session=True,
                env=os.environ | WORKER_ENVIRONMENT | kept | {"DLN_RUN": json.dumps(declared)})
            self.processes.add(process)
        out, err = process.communicate(json.dumps(order))
        self.processes.discard(process)
        seconds = time.perf_counter() - start
        if self.stopped and process.returncode != 0:
            return Result(job.section, "done" if job.up_to_date else "interrupted", seconds)
        if process.returncode != 0:
            last = (err.strip().splitlines() or ["no message"])[-1]
            what = f"its process ended with code {process.returncode}: {last}"
            return Result(job.section, "failed", seconds, error=what)
        report = json.loads(out.strip().splitlines()[-1])
        if report:
            return Result(job.section, "failed", seconds, report.get("cell"), report["error"])
        return Result(job.section, "done", seconds)

    def stop(self) -> None:
        with self.lock:
            self.stopped = True
            for process in self.processes:
                try:
                    os.killpg(process.pid, signal.SIGTERM)    # the kernel notices that its parent is gone
                except ProcessLookupError:
                    pass


def run(jobs: list[Job], *, n_jobs: int | None = None, force: bool = False, echo=print) -> list[Result]:
    """Execute jobs in parallel, one line each; keep what is up to date.

    Parameters
    ----------
    jobs : list of Job
    n_jobs : int, optional
        Notebooks at a time; default one a core.
    force : bool
        Also execute what is up to date.
    echo : callable
        Receives finished lines.

    Returns
    -------
    list of Result
        In the order of ``jobs``. A failed notebook does not stop the others; after Ctrl-C the unfinished ones are
        ``interrupted`` and the same call goes on with them.
    """
    width = max((len(job.section) for job in jobs), default=0)
    live = sys.stdout.isatty()
    results, pending, started = {}, {}, {}
    pool = _Pool()

    def report(result: Result) -> None:
        results[result.section] = result
        if live:
            print("\r\033[K", end="")
        echo(f"{result.section:<{width}}  {result.seconds:6.1f} s  {result.state}")

    def start(job: Job) -> Result:
        started[job.section] = time.perf_counter()
        return pool.execute(job)

    executor = ThreadPoolExecutor(max_workers=n_jobs or os.cpu_count() or 1)
    try:
        for job in jobs:
            if not force and job.up_to_date:
                report(Result(job.section, "kept", 0.0))
            else:
                pending[executor.submit(start, job)] = job.section
        while pending:
            finished, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                report(future.result())
                del pending[future]
            if live and pending:
                now = time.perf_counter()
                running = [f"{name} {now - started[name]:.0f} s" for name in pending.values() if name in started]
                line = "running: " + ", ".join(running)
                print("\r\033[K" + line[:shutil.get_terminal_size().columns - 1], end="", flush=True)
    except KeyboardInterrupt:
        pool.stop()
        executor.shutdown(wait=True, cancel_futures=True)
        for future, section in pending.items():
            report(Result(section, "interrupted", 0.0) if future.cancelled() else future.result())
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
    return [results[job.section] for job in jobs]


# --- accepting ----------------------------------------------------------------------------------------------------

def clean(executed: dict, source: dict) -> dict:
    """An executed notebook as it is committed: no timings or paths, numbered cells, one metadata block ``dln``."""
    authored = iter(source["cells"])
    cells = []
    for number, cell in enumerate(executed["cells"], 1):
        injected = "injected-parameters" in cell.get("metadata", {}).get("tags", ())
        metadata = {"tags": ["injected-parameters"]} if injected else dict(next(authored).get("metadata", {}))
        kept = {"cell_type": cell["cell_type"], "id": f"cell-{number:02d}", "metadata": metadata,
                "source": cell["source"]}
        if cell["cell_type"] == "code":
            kept |= {"execution_count": cell["execution_count"], "outputs": [lighter(out) for out in cell["outputs"]]}
        cells.append(kept)
    block = {name: value for name, value in executed["metadata"]["dln"].items() if name != "key"}
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"dln": block, "kernelspec": kernel, "language_info": {"name": "python"}},
            "nbformat": 4, "nbformat_minor": 5}


def lighter(output: dict) -> dict:
    """An output whose picture is compressed as well as PNG allows: the same pixels, an eighth smaller."""
    encoded = output.get("data", {}).get("image/png")
    if not encoded:
        return output
    from PIL import Image                                  # comes with matplotlib
    picture, small = Image.open(io.BytesIO(base64.b64decode(encoded))), io.BytesIO()
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        picture = picture.convert("RGB")                   # an opaque picture needs no opacity
    picture.save(small, "PNG", optimize=True)
    return output | {"data": output["data"] | {"image/png": base64.b64encode(small.getvalue()).decode()}}


def as_record(notebook: dict, section: str, profile: str) -> dict:
    """A cleaned notebook as a page under ``records/<profile>/``: labels get a suffix, links lead from the new place.

    Code cells and outputs stay as they are, so that a test can compare the code with the notebook's own.
    """
    prose = "\n".join("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "markdown")
    labels = {cell["metadata"]["mystnb"]["figure"]["name"] for cell in notebook["cells"]
              if "figure" in cell["metadata"].get("mystnb", {})}
    labels |= set(re.findall(r"^:label: (\S+)$", prose, re.M)) | set(re.findall(r"^\(([\w-]+)\)=$", prose, re.M))
    own = re.compile(r"(?<![\w-])(" + "|".join(map(re.escape, sorted(labels))) + r")(?![\w-])") if labels else None
    here, there = f"notebooks/{section}", f"records/{profile}/{section}"

    def moved(match):
        path, hash_, fragment = match["path"].partition("#")
        if not path or ":" in path or path.startswith("/"):
            return match[0]
        target = os.path.normpath(os.path.join(os.path.dirname(here), path))
        return match["before"] + os.path.relpath(target, os.path.dirname(there)) + hash_ + fragment + match["after"]

    def rewrite(text):
        text = own.sub(lambda match: f"{match[0]}-{profile}", text) if own else text
        text = re.sub(r"(?P<before>\]\()(?P<path>[^)\s]+)(?P<after>\))", moved, text)
        text = re.sub(r"(?P<before>\{doc\}`(?:[^`<]*<)?)(?P<path>[^`>]+)(?P<after>>?`)", moved, text)
        return text.replace("{run-time}`" + section + "`", "{run-time}`" + f"{section}@{profile}`")

    cells = []
    for cell in notebook["cells"]:
        cell = dict(cell)
        if cell["cell_type"] == "markdown":
            cell["source"] = rewrite("".join(cell["source"])).splitlines(keepends=True)
        elif own and "mystnb" in cell["metadata"]:
            cell["metadata"] = json.loads(own.sub(lambda match: f"{match[0]}-{profile}", json.dumps(cell["metadata"])))
        cells.append(cell)
    title = "".join(cells[0]["source"])
    first, _, rest = title.partition("\n")
    cells[0]["source"] = [f"{first}: {profile} size\n", rest]
    return notebook | {"cells": cells}


def picture_of(notebook: dict, figure: str) -> bytes | None:
    """The PNG that the cell drawing ``figure`` left in a notebook's outputs, if there is one."""
    for cell in notebook["cells"]:
        if cell.get("metadata", {}).get("mystnb", {}).get("figure", {}).get("name") == figure:
            for output in cell.get("outputs", ()):
                if "image/png" in output.get("data", {}):
                    return base64.b64decode(output["data"]["image/png"])
    return None


def accept(root: Path, names=(), *, profile: str = "default") -> list[Path]:
    """Make finished runs the committed ones: the notebooks themselves, or ``records/<profile>/`` for other profiles.

    Raises
    ------
    UsageError
        A section whose last run is missing or older than its notebook, parameters, package or pins.
    """
    written = []
    jobs = plan(root, names, profile=profile)
    stale = [job.section for job in jobs if not job.up_to_date]
    if stale:
        raise UsageError(f"no up-to-date run of {', '.join(stale)}: first 'dln run {' '.join(stale)}"
                         + (f" --profile {profile}'" if profile != "default" else "'"))
    for job in jobs:
        target = job.source if profile == "default" else root / "records" / profile / f"{job.section}.ipynb"
        cleaned = clean(read_notebook(job.target), read_notebook(job.source))
        _write_json(target, cleaned if profile == "default" else as_record(cleaned, job.section, profile))
        written.append(target)
        front = picture_of(cleaned, FRONT_FIGURE)
        if front and profile == "default":
            written.append(root / "records" / "front-figure.png")
            written[-1].parent.mkdir(exist_ok=True)
            written[-1].write_bytes(front)
    return written


# --- building -----------------------------------------------------------------------------------------------------

def stage(root: Path, profile: str = "default") -> Path:
    """Copy what the site is made of to ``_build/stage/<profile>`` and lay the executed notebooks over it.

    Files that did not change keep their time stamps, so that the site's build redoes only what it must.
    """
    target = root / "_build" / "stage" / profile
    wanted: dict[Path, bytes] = {}
    for name in ("_config.yml", "_toc.yml", "book", "notebooks", "records"):
        source = root / name
        for path in [source] if source.is_file() else sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and ".ipynb_checkpoints" not in path.parts:
                wanted[path.relative_to(root)] = path.read_bytes()
    for section in sections(root):
        executed = executed_path(root, section, profile)
        if executed.is_file():
            source = read_notebook(notebook_path(root, section))
            text = json.dumps(clean(read_notebook(executed), source), indent=1, ensure_ascii=False)
            wanted[Path("notebooks") / f"{section}.ipynb"] = (text + "\n").encode()
    for path in sorted(target.rglob("*"), reverse=True):
        inside = path.relative_to(target)
        if path.is_file() and inside not in wanted and inside.parts[0] != "_build":
            path.unlink()
    for inside, content in wanted.items():
        path = target / inside
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return target


def build(root: Path, *, profile: str = "default", committed: bool = False, strict: bool = True,
          output: Path | None = None) -> Path:
    """Build the site with Jupyter Book; return its front page.

    Parameters
    ----------
    profile : str
        Whose executed notebooks to show; sections without one show the committed outputs.
    committed : bool
        Show committed outputs only (``make html``).
    strict : bool
        Warnings are errors.
    output : Path, optional
        The site goes to ``output/_build/html``; default the book's folder, or one a profile for others.
    """
    source = root if committed else stage(root, profile)
    output = output or (root if profile == "default" else root / "_build" / "sites" / profile)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(source),
               "--path-output", str(output), "-q"] + (["-W", "-n", "--keep-going"] if strict else [])
    front, unfinished = output / "_build" / "html" / "index.html", output / "_build" / ".unfinished"
    # A build that was stopped leaves half an index behind, which the next one would trust, and Sphinx does not notice that
    # a style, a script or an extension has changed: in both cases everything is made anew.
    ours = [path for name in ("_static", "_ext") for path in (source / "book" / name).rglob("*") if path.is_file()]
    if unfinished.exists() or front.exists() and any(path.stat().st_mtime > front.stat().st_mtime for path in ours
                                                     if "__pycache__" not in path.parts):
        for left in ("html", ".doctrees"):
            shutil.rmtree(output / "_build" / left, ignore_errors=True)
    unfinished.parent.mkdir(parents=True, exist_ok=True)
    unfinished.touch()
    process = subprocess.run(command, cwd=source)
    if process.returncode:
        raise RuntimeError(f"the site was not built: jupyter-book ended with code {process.returncode}; its messages "
                           "stand above")
    unfinished.unlink()
    os.utime(front)                                        # an incremental build may leave it as it was
    return front


# --- the numbers behind a figure ----------------------------------------------------------------------------------

def figures(root: Path) -> dict[str, tuple[str, int]]:
    """Every figure's name, and its label as ``paper:label``, with the section and the cell that draw it."""
    found = {}
    for section in sections(root):
        for index, cell in enumerate(read_notebook(notebook_path(root, section))["cells"]):
            metadata = cell.get("metadata", {})
            name = metadata.get("mystnb", {}).get("figure", {}).get("name")
            if name:
                found[name] = (section, index)
                label = metadata.get("dln", {})
                if label:
                    found.setdefault(f"{label['paper']}:{label['figure']}", (section, index))
    return found


def _artists(figure):
    """Rows (panel, kind, label, x, y, value, value2) of everything drawn in a figure."""
    import numpy as np
    for panel, ax in enumerate(figure.axes):
        for line in ax.lines:
            for x, y in zip(line.get_xdata(), line.get_ydata()):
                yield panel, "line", line.get_label(), x, y, "", ""
        for artist in ax.collections:
            kind = type(artist).__name__
            if kind == "Quiver":
                for (x, y), u, v in zip(artist.XY, np.ravel(artist.U), np.ravel(artist.V)):
                    yield panel, "quiver", "", x, y, u, v
            elif kind == "QuadMesh":
                corners, values = artist.get_coordinates(), np.atleast_2d(artist.get_array())
                centres = (corners[:-1, :-1] + corners[1:, 1:]) / 2
                for (x, y), value in zip(centres.reshape(-1, 2), np.ravel(values)):
                    yield panel, "mesh", "", x, y, value, ""
            elif kind == "PathCollection" and len(artist.get_offsets()):
                for x, y in artist.get_offsets():
                    yield panel, "points", artist.get_label(), x, y, "", ""
            else:                                          # bands, contours, sets of lines
                for number, path in enumerate(artist.get_paths()):
                    for x, y in path.vertices:
                        yield panel, kind, artist.get_label(), x, y, number, ""
        for image in ax.images:
            values = np.ma.getdata(image.get_array())
            if values.ndim == 2:
                left, right, bottom, top = image.get_extent()
                rows, columns = values.shape
                for i, j in np.ndindex(rows, columns):
                    yield (panel, "image", "", left + (j + 0.5) * (right - left) / columns,
                           top + (i + 0.5) * (bottom - top) / rows, values[i, j], "")
        for patch in ax.patches:
            if type(patch).__name__ == "Rectangle":
                yield panel, "bar", patch.get_label(), patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()


def figure_data(root: Path, figure: str, stream, overrides: dict | None = None) -> int:
    """Write what a figure shows as CSV: run its notebook up to the cell that draws it and read the picture's artists.

    Parameters
    ----------
    figure : str
        Its name (``fig-…``) or ``paper:label``.
    stream : text file
    overrides : dict, optional
        Other parameters for the notebook.

    Returns
    -------
    int
        Number of rows.

    Raises
    ------
    UsageError
        Unknown figure or parameter.
    """
    known = figures(root)
    if figure not in known:
        raise UsageError(f"no figure {figure!r}: choose from {', '.join(known)}")
    section, index = known[figure]
    (job,) = plan(root, [section], overrides=overrides)
    os.environ.update(WORKER_ENVIRONMENT)
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    plt.show = lambda *args, **kwargs: None
    scope, here = {"__name__": "__main__"}, Path.cwd()
    os.chdir(job.source.parent)
    try:
        for number, cell in enumerate(read_notebook(job.source)["cells"][:index + 1]):
            if cell["cell_type"] == "code":
                plt.close("all")
                exec(compile("".join(cell["source"]), f"{section}, cell {number}", "exec"), scope)
                if "parameters" in cell["metadata"].get("tags", ()):
                    scope.update(job.overrides)
    finally:
        os.chdir(here)
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["figure", "panel", "kind", "label", "x", "y", "value", "value2"])
    rows = [[number, *row] for number in plt.get_fignums() for row in _artists(plt.figure(number))]
    writer.writerows(rows)
    return len(rows)


def parse_value(text: str):
    """A parameter from the command line: a Python literal where it is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


if __name__ == "__main__":
    print(json.dumps(_execute(json.load(sys.stdin))))

"""Execute notebooks and keep the results.

A section is a notebook such as ``saddles/depth``, listed in ``_toc.yml``. A run executes it with papermill in a process
of its own into ``_build/executed/<profile>/``; a result whose key is unchanged is kept. The key is of the notebook's code,
its parameters, the package as far as it computes, the pins, and the record of trials where it is read: prose may change.
Nothing is ever half written: a run works on a partial file and renames it at the end. What the user's settings say of IPython
and matplotlib does not matter. The same execution saves every figure for readers to take away (`figure_files`).
"""

from __future__ import annotations

import ast
import datetime
import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store import package_hash
from ..sweep import end_with
from .figure_files import hardest_words, keep, kept, remove, saving
from .machine import cores, processor, versions
from .notebooks import (
    LAYOUT,
    UsageError,
    alike,
    computation,
    default_parameters,
    executed_path,
    notebook_path,
    profile_parameters,
    profiles,
    read_notebook,
    read_run,
    sections,
    write_notebook,
)
from .words import round_to_digits

__all__ = ["Job", "Result", "kernel_environment", "choose", "plan", "run", "parse_value"]

#: One BLAS thread a process: two change the last digits, and notebooks already run in parallel. Pictures go into the notebook.
KERNEL_SETTINGS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "DLN_JOBS": "1",
                   "JUPYTER_PREFER_ENV_PATH": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
                   "MPLBACKEND": "module://matplotlib_inline.backend_inline"}


def kernel_environment(folder: str | Path) -> dict[str, str]:
    """The environment of a kernel in which a notebook comes out alike for everybody.

    The user's profile of IPython, start-up file, and settings of matplotlib do not count.

    Parameters
    ----------
    folder : path
        An empty one for what IPython and Jupyter write; home of a user who has none.
    """
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONSTARTUP", "MATPLOTLIBRC")}
    environment |= KERNEL_SETTINGS | {"IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        environment["MATPLOTLIBRC"] = str(Path(matplotlib.origin).parent / "mpl-data" / "matplotlibrc")
    try:
        Path.home()
    except RuntimeError:                                   # neither HOME nor an entry among the system's users
        environment["HOME"] = str(folder)
    return environment


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
        """Whether the result is there and was made from the same code, parameters, package and pins."""
        found = read_run(self.root, self.section, self.profile)
        return found is not None and found["metadata"]["dln"].get("key") == self.key

    @property
    def complete(self) -> bool:
        """Whether there is nothing left to do. Of long runs the result is enough, also when the figures' files are missing."""
        return self.up_to_date and (self.profile != "default" or
                                    kept(self.root, self.section, self.profile, self.key) is not None)

    @property
    def root(self) -> Path:
        """The book's folder."""
        return self.source.parents[self.section.count("/") + 1]


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
    parts = [LAYOUT, computation(notebook), sorted(parameters.items()), package_hash(), versions(),
             pins.read_text(encoding="utf-8") if pins.exists() else ""]
    if any(re.search(r"^from dlnutils\.press import .*\btrials\b", code, re.MULTILINE) for code, _ in computation(notebook)):
        parts += [path.read_text(encoding="utf-8") for path in sorted(root.glob("records/integrable/*.json"))]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()


def choose(root: Path, names: Iterable[str]) -> list[str]:
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


def plan(root: Path, names: Iterable[str] = (), *, profile: str = "default", overrides: dict | None = None) -> list[Job]:
    """The jobs for the named sections, after checking every name.

    Raises
    ------
    UsageError
        Unknown section, profile or parameter (papermill would only warn of the last); a value of another kind than the
        parameter's default; a notebook or a profile that cannot be read.
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
        try:
            defaults = default_parameters(notebook)
        except ValueError as error:
            raise UsageError(f"{source}: {error}") from None
        changes = {**(profile_parameters(root, section, profile) or {}), **(overrides or {})}
        for name, value in changes.items():
            if name not in defaults:
                raise UsageError(f"{section} has no parameter {name!r}: choose from {', '.join(defaults)}")
            try:
                changes[name] = alike(defaults[name], value)
            except ValueError as error:
                by = "" if overrides and name in overrides else f" in profile {profile!r}"
                raise UsageError(f"{name} of {section}{by} {error}") from None
        parameters = {**defaults, **changes}
        shown = "custom" if overrides else profile
        jobs.append(Job(section, shown, changes, parameters, source, executed_path(root, section, shown),
                        _key(notebook, parameters, root)))
    return jobs


def _last_time(job: Job) -> float:
    """Seconds that the section took when its outputs were committed; infinite for one that never ran."""
    return read_notebook(job.source)["metadata"].get("dln", {}).get("run_time", float("inf"))


def _partial(target: Path, pid: int | str) -> Path:
    """The file that a run works on; hidden, and known by its process."""
    return target.with_name(f".{target.stem}.{pid}.partial.ipynb")


def _partial_folder(target: Path, pid: int | str) -> Path:
    """Where a run puts the files of figures, before it renames the folder."""
    return target.with_name(f".{target.stem}.{pid}.tmp")


def _execute(order: dict) -> dict:
    """Run one notebook in this process; return its failure, if any. The worker of :func:`run`."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    source, target = Path(order["source"]), Path(order["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    partial, failed = _partial(target, os.getpid()), target.with_name(f"{target.stem}.failed.ipynb")
    files, saving_time = _partial_folder(target, os.getpid()), 0.0
    start = time.perf_counter()
    try:
        papermill.execute_notebook(str(source), str(partial), parameters=order["overrides"], kernel_name="python3",
                                   cwd=order.get("cwd", str(source.parent)), progress_bar=False, log_output=False)
        notebook = read_notebook(partial)
        if report := _shortcoming(notebook):
            partial.replace(failed)
            return report
        seconds = _run_time(start)
        words: dict = {}
        if "figures" in order:
            words = hardest_words(Path(order["figures"]))
            saving_time = keep(Path(order["figures"]), notebook, files, order["metadata"]["key"])
            remove(target.with_suffix(""))                 # the old run's: from here on, files and notebook are of two runs,
            files.rename(target.with_suffix(""))           # and no key is the same, until the next line is done
        notebook["metadata"]["dln"] = order["metadata"] | {"run_time": round_to_digits(max(seconds - saving_time, 0.01), 2)}
        if words:
            notebook["metadata"]["dln"]["words"] = words
        write_notebook(target, notebook)
        failed.unlink(missing_ok=True)
        return {}
    except PapermillExecutionError as error:
        partial.replace(failed)
        return {"cell": error.exec_count, "error": f"{error.ename}: {error.evalue}"}
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
        remove(partial)
        remove(files)


def _shortcoming(notebook: dict) -> dict:
    """What papermill lets through: a notebook that ended itself, a cell that was not run, a figure without a picture."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code" or not "".join(cell["source"]).strip():
            continue
        for output in cell["outputs"]:
            if output["output_type"] == "error":
                return {"cell": cell["execution_count"], "error": f"{output['ename']}: {output['evalue']}".rstrip(": ")
                        + ": the cells after it were not run"}
        if cell["execution_count"] is None:
            return {"error": "the notebook ended before its last cell"}
        figure = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
        if figure and not any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            return {"cell": cell["execution_count"], "error": f"it left no picture of {figure}: draw it with matplotlib, end "
                    "the cell with plt.show(), and set no backend"}
    return {}


def _run_time(start: float) -> float:
    """Seconds since ``start``, as an idle core would show them: the kernel's processor time, where the system tells."""
    wall = time.perf_counter() - start
    try:
        import resource  # not on Windows
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


def _remove_leftovers(folder: Path) -> None:
    """Partial files and folders of runs that were killed, of any section."""
    for path in sorted(folder.rglob(".*")):
        pid = path.name.removesuffix(".partial.ipynb").removesuffix(".tmp").rsplit(".", 1)[-1]
        if path.name.endswith((".partial.ipynb", ".tmp")) and pid.isdigit() and not _alive(int(pid)):
            remove(path)


def start_worker(environment: dict[str, str]) -> subprocess.Popen:
    """A process that executes the notebook it is told of by `finish_worker`."""
    return subprocess.Popen([sys.executable, "-m", "dlnutils.press.run"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, encoding="utf-8", errors="replace", start_new_session=True, env=environment)


def finish_worker(process: subprocess.Popen, order: dict[str, Any]) -> dict:
    """Give a worker its ``order`` and wait: what went wrong as ``cell`` and ``error``, empty if nothing did."""
    out, err = process.communicate(json.dumps(order | {"parent": os.getpid()}))
    try:
        return json.loads(out)
    except ValueError:
        last = (err.strip().splitlines() or ["no message"])[-1]
        return {"error": f"its process ended with code {process.returncode}: {last}"}


class _Pool:
    """Worker processes that can all be stopped."""

    def __init__(self) -> None:
        self.processes: set[subprocess.Popen] = set()
        self.lock, self.stopped = threading.Lock(), False

    def execute(self, job: Job) -> Result:
        start = time.perf_counter()
        metadata = {"profile": job.profile, "parameters": job.parameters, "processor": processor(),
                    "versions": versions(), "date": datetime.date.today().isoformat(), "package_hash": package_hash(),
                    "key": job.key, "layout": LAYOUT}
        order = {"source": str(job.source), "target": str(job.target), "overrides": job.overrides, "metadata": metadata}
        shown = "custom" if job.profile == "browser" else job.profile                # its sizes are too small for the claims
        more = {"DLN_RUN": json.dumps({"profile": shown, "parameters": job.parameters})}
        if job.profile == "default":                       # the tests compare with it: no point may come from an earlier sweep
            more["DLN_CACHE"] = "off"
        with tempfile.TemporaryDirectory(prefix="dln-", ignore_cleanup_errors=True) as folder:
            start_up, figures = Path(folder) / "profile_default" / "startup", Path(folder) / "figures"
            start_up.mkdir(parents=True)                   # of IPython, which the kernel is told to look for in this folder
            (start_up / "00-figures.py").write_text(saving(figures) + "\n", encoding="utf-8")
            with self.lock:
                if self.stopped:
                    return Result(job.section, "interrupted", 0.0)
                process = start_worker(kernel_environment(folder) | more)
                self.processes.add(process)
            report = finish_worker(process, order | {"figures": str(figures)})
        self.processes.discard(process)
        seconds = time.perf_counter() - start
        if self.stopped and process.returncode != 0:
            return Result(job.section, "done" if job.up_to_date else "interrupted", seconds)
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


def run(jobs: list[Job], *, n_jobs: int | None = None, force: bool = False,
        echo: Callable[[str], object] = print) -> list[Result]:
    """Execute jobs in parallel, one line each; keep what is up to date.

    Parameters
    ----------
    jobs : list of Job
    n_jobs : int, optional
        Notebooks at a time; default one for each core that this process may use.
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
    for root in {job.root for job in jobs}:
        _remove_leftovers(root / "_build" / "executed")
    pool = _Pool()

    def report(result: Result) -> None:
        results[result.section] = result
        if live:
            print("\r\033[K", end="")
        echo(f"{result.section:<{width}}  {result.seconds:6.1f} s  {result.state}")

    def start(job: Job) -> Result:
        started[job.section] = time.perf_counter()
        return pool.execute(job)

    executor = ThreadPoolExecutor(max_workers=n_jobs or cores())
    try:
        for job in sorted(jobs, key=_last_time, reverse=True):       # the longest first, so that all cores end together
            if not force and job.complete:
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


def parse_value(text: str) -> object:
    """A parameter from the command line: a Python literal where it is one, else the text itself."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return {"true": True, "false": False, "none": None}.get(text.lower(), text)


if __name__ == "__main__":
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")    # what the kernel writes to standard output must not reach it
    os.dup2(2, 1)
    task = json.load(sys.stdin)
    end_with(task["parent"], lambda: [remove(made(Path(task["target"]), os.getpid())) for made in (_partial, _partial_folder)])
    json.dump(_execute(task), reply)
    reply.close()

"""Run a function over many points, in processes or on a cluster: finished points stay on disk, and numbers are the same."""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import os
import pickle
import platform
import textwrap
import threading
import time
import types
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._validation import integer
from .store import modules_hash, package_hash, read_arrays, storable, user_folder, user_path, write_arrays

__all__ = ["cache_folder", "end_with", "sweep"]

#: What a worker is sent: function, place, point, seed. What comes back: the place, and arrays or the error in their stead.
Task = tuple[Callable, int, dict, int | None]
Outcome = tuple[int, "dict[str, NDArray] | BaseException"]

#: One BLAS thread a process: the cores are busy with other points.
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS",
                                     "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMBA_NUM_THREADS")}


def cache_folder(cache: str | os.PathLike | None = None) -> Path | None:
    """Where finished points are kept: ``cache``, else ``DLN_CACHE``, else the user's cache; None if either says 'off'."""
    name, where = ("cache", cache) if cache else ("DLN_CACHE", os.environ.get("DLN_CACHE"))
    if where == "off":
        return None
    return user_path(name, where) if where else user_folder() / "sweeps"


def _plain(value: object) -> object:
    """A value as JSON can hold it, with its kind where JSON would forget that; arrays by their bytes."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(_plain, value)]
    if isinstance(value, dict):
        return {"dict": [[_plain(name), _plain(entry)] for name, entry in value.items()]}
    if isinstance(value, (np.ndarray, np.generic)) and not isinstance(value, np.ma.MaskedArray) and not value.dtype.hasobject:
        content = np.ascontiguousarray(value).tobytes()
        return {type(value).__name__: [str(value.dtype), value.shape, hashlib.sha256(content).hexdigest()]}
    mend = ": give its values and its mask as two arrays" if isinstance(value, np.ma.MaskedArray) else ""
    raise TypeError(f"{type(value).__name__} {value!r}{mend}")


def _check_function(function: Callable) -> str:
    """The function's source and the values that it carries; refuses what has no source of its own or hides parameters."""
    name = getattr(function, "__qualname__", repr(function))
    if isinstance(function, types.MethodType):
        raise ValueError(f"function must carry no object, got the method {name}: what its object holds is not part of a "
                         "result's name; write a function that makes the object from what it gets in points")
    if "<lambda>" in name or getattr(function, "__closure__", None):
        raise ValueError(f"function must be a named function that carries no outer variables, got {name}: define it with "
                         "def at the top level and pass what it needs in points")
    try:
        if not isinstance(function, types.FunctionType):
            raise TypeError(name)
        source = textwrap.dedent(inspect.getsource(function.__code__))     # its own, where it wraps another
    except (TypeError, OSError):
        raise ValueError(f"function must be written in Python with its source at hand, got {name}: wrap it in a "
                         "function of yours") from None
    parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.default is not parameter.empty}
    carried = {f"the default of {argument} in {name}": value for argument, value in defaults.items()}
    carried |= {f"the attribute {name}.{attribute}": value for attribute, value in vars(function).items()
                if attribute != "__wrapped__"}
    for what, value in carried.items():
        try:
            carried[what] = _plain(value)
        except TypeError as error:
            raise ValueError(f"{what} must be a number, a string, a list or an array, got {error}: it is part of a result's "
                             "name; pass it in points, or by a name") from None
    return json.dumps([source, carried])


def _made_of(function: Callable) -> str:
    """What a function computes with: the modules that its own imports; the whole package where it is none of the package's."""
    return modules_hash(function.__module__) if function.__module__.startswith(f"{__package__}.") else package_hash()


def _key(source: str, point: dict, seed: int | None, index: int, made_of: str | None = None) -> str:
    try:
        parameters = json.dumps([[name, _plain(point[name])] for name in sorted(point)])
    except TypeError as error:
        raise ValueError(f"points must hold numbers, strings, lists or arrays, got {error}: they name the result on "
                         "disk") from None
    parts = [made_of or package_hash(), source, parameters, repr((seed, index)), np.__version__, platform.python_version()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _fetch(path: Path | None) -> dict[str, NDArray] | None:
    """A finished point, or None; a file that is damaged, or without the digest of its contents, counts as not finished."""
    try:
        return read_arrays(path, sealed=True) if path else None
    except (OSError, ValueError):
        return None


def _packed(result: Any) -> dict[str, NDArray]:
    """A result as arrays by name; a single one has the empty name."""
    if isinstance(result, dict) and "" in result:
        raise ValueError("the names of arrays must not be empty")
    return storable(result if isinstance(result, dict) else {"": result})


def _unpacked(arrays: dict[str, NDArray]) -> Any:
    """Zero-dimensional arrays back to scalars, single results out of their dictionary."""
    out = {name: array[()] for name, array in arrays.items()}
    return out[""] if set(out) == {""} else out


def _run(function: Callable, index: int, point: dict, seed: int | None) -> Outcome:
    """One point, with a generator that depends on its place alone; the result in the form in which it would be stored."""
    if seed is not None:
        point = point | {"rng": np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))}
    return index, _packed(function(**point))


def _attempt(task: Task) -> Outcome:
    """A result or the error that took its place: errors travel home, so that the other points are kept."""
    try:
        return _run(*task)
    except (Exception, SystemExit) as error:               # whatever the function raises
        try:
            pickle.loads(pickle.dumps(error))              # one that does not travel would take its process with it
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        return task[1], error


def end_with(parent: int, last: Callable[[], object] | None = None) -> None:
    """Watch the process that started this one: when it is gone, do a ``last`` thing and end, whatever is running."""
    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        try:
            if last:
                last()
        finally:
            os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def _in_processes(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """Outcomes as they come. Each worker has one point at a time, so that we know which one it died of."""
    try:
        from joblib.externals.loky import process_executor
    except ImportError:
        raise ImportError("jobs above 1 need joblib: pip install joblib") from None
    from concurrent.futures import FIRST_COMPLETED, wait
    from concurrent.futures.process import BrokenProcessPool

    def worker() -> process_executor.ProcessPoolExecutor:
        return process_executor.ProcessPoolExecutor(1, env=ONE_THREAD, initializer=end_with, initargs=(os.getpid(),))

    left, busy = iter(tasks), {}

    def give(one) -> None:
        task = next(left, None)
        if task is None:
            one.shutdown(wait=False)
        else:
            busy[one.submit(_attempt, task)] = one, task[1]

    try:
        for _ in range(min(jobs, len(tasks))):
            give(worker())
        while busy:
            for future in wait(busy, return_when=FIRST_COMPLETED).done:
                one, index = busy.pop(future)
                try:
                    outcome = future.result()
                except BrokenProcessPool as error:
                    one.shutdown(wait=False, kill_workers=True)
                    one, outcome = worker(), (index, RuntimeError(f"its process died ({str(error).splitlines()[0]}); does "
                                                                  "it have the memory?"))
                except Exception as error:                 # it could not even be sent
                    outcome = index, error
                give(one)
                yield outcome
    finally:
        for one, _ in busy.values():
            one.shutdown(wait=False, kill_workers=True)


class _OtherRecipe(Exception):
    """A worker would compute with another package, function, numpy or Python than the session that keeps the results."""


def _recipe(function: Callable) -> dict[str, str]:
    """What a result depends on besides its point, as this process has it."""
    recipe = {"package": _made_of(function), "numpy": np.__version__, "python": platform.python_version()}
    if function.__module__ != "__main__":                  # what a notebook or a script defines travels with the point
        source = textwrap.dedent(inspect.getsource(function))
        recipe[f"source of {function.__name__}"] = hashlib.sha256(source.encode()).hexdigest()[:12]
    return recipe


def _attempt_alike(task: Task, expected: dict[str, str]) -> Outcome:
    """As `_attempt`, on a worker that has the session's versions; another one would spoil what is kept on disk."""
    found = _recipe(task[0])
    if other := [f"{name} {found.get(name)} instead of {value}" for name, value in expected.items()
                 if found.get(name) != value]:
        return task[1], _OtherRecipe(", ".join(other))
    return _attempt(task)


def _on_cluster(tasks: Sequence[Task], address: str, kept: str) -> Iterator[Outcome]:
    """Outcomes as they come. A point whose worker dies is run again by another; ``kept`` says where finished points are."""
    try:
        from distributed import CancelledError, Client, KilledWorker, as_completed
    except ImportError:
        raise ImportError("cluster needs the extra 'cluster': pip install 'dlnutils[cluster]'") from None
    try:
        client = Client(address)
    except OSError as error:
        raise RuntimeError(f"no Dask scheduler answers at {address}: start one with 'dask scheduler', its workers with "
                           f"'dask worker {address} --nthreads 1'") from error
    logger = logging.getLogger("distributed.client")
    level = logger.level
    logger.setLevel(logging.CRITICAL)                      # a lost scheduler is reported below, once and in words
    try:
        with client:
            futures = client.map(_attempt_alike, tasks, expected=_recipe(tasks[0][0]), pure=False)
            index_of, left = {future.key: task[1] for future, task in zip(futures, tasks, strict=True)}, len(futures)
            for future in as_completed(futures):
                try:
                    index, outcome = future.result()
                except (CancelledError, OSError) as error:
                    raise RuntimeError(f"the scheduler at {address} went away with {left} points to do; {kept}. Start it "
                                       "and its workers again and repeat the call: it computes what is missing") from error
                except KilledWorker as error:
                    index, outcome = index_of[future.key], RuntimeError(
                        f"{error.allowed_failures + 1} workers died while they ran it; do they have the memory?")
                except Exception as error:                 # the worker could not even load the function
                    index, outcome = index_of[future.key], error
                if isinstance(outcome, _OtherRecipe):
                    raise RuntimeError(f"a worker differs from this session: {outcome}; {kept}. Give all the same "
                                       "environment and repeat the call") from outcome
                future.release()
                left -= 1
                yield index, outcome
    finally:
        logger.setLevel(level)


class _NoBar:
    """In place of a progress bar."""

    def update(self) -> None: ...
    def close(self) -> None: ...


def _bar(total: int, done: int, name: str, progress: bool):
    """A progress bar where one is wanted, there is a terminal, and tqdm is installed."""
    if not progress:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, initial=done, desc=name, disable=None)


def sweep(function: Callable, points: Iterable[dict], *, seed: int | None = None, jobs: int | None = None,
          cluster: str | None = None, cache: str | os.PathLike | None = None, progress: bool = True) -> list:
    """Call ``function(**point)`` for every point; finished points survive a crash and are not computed twice.

    Parameters
    ----------
    function : callable
        A named function at the top level of a module or a notebook, no method. Returns a number, a string, an array, or
        a dictionary of these. Its defaults are part of a result's name on disk, global variables that it reads are not:
        pass parameters.
    points : sequence of dict
        Keyword arguments: numbers, strings, lists, arrays without masks.
    seed : int, optional
        If given, each call gets ``rng``, a generator that depends on the seed and the point's place alone. The numbers
        are the same for any number of workers.
    jobs : int, optional
        Processes on this machine, each with one BLAS thread. By default ``DLN_JOBS``, else 1.
    cluster : str, optional
        Address of a Dask scheduler, 'tcp://host:port', instead of processes; needs the extra ``cluster``. Give each
        worker one thread, and ``OPENBLAS_NUM_THREADS=1``. A point whose worker dies is run by another worker. Files
        are written here: the workers need no common disk.
    cache : path or 'off', optional
        Folder for finished points. By default ``DLN_CACHE``, else the user's cache; 'off' keeps nothing.
    progress : bool
        Show a progress bar where there is a terminal.

    Returns
    -------
    list
        The results in the order of ``points``; numbers and strings as numpy scalars.

    Raises
    ------
    ValueError
        A lambda, a closure, a method, a default or a point that is not made of plain values.
    RuntimeError
        The function failed or called ``sys.exit``, or its process died (on a cluster, four workers): names the point.
        All other points are finished, and kept, first. At once: no scheduler answers, it went away, or a worker has
        another package, function, numpy or Python than this session. Repeat the call to go on.

    Notes
    -----
    A result's name hashes the package (for a function of the package, only the modules that its own imports), the function's
    source and defaults, the point, seed and place, and the versions of numpy and Python; its file holds a digest of its
    contents, and a damaged one is computed again. If the disk is full the sweep goes on without keeping results, with a
    warning.

    Examples
    --------
    >>> from dlnutils.saddles import max_hessian_eigenvalue
    >>> from dlnutils.sweep import sweep
    >>> sweep(max_hessian_eigenvalue, [{"s": 1.0, "n_weights": n} for n in (2, 3)], cache="off")
    [np.float64(2.0), np.float64(3.0)]
    """
    source, points = _check_function(function), list(points)
    for point in points:
        if not isinstance(point, dict):
            raise ValueError(f"points must be dictionaries of keyword arguments, got {point!r}")
    if seed is not None:
        seed = integer("seed", seed, at_least=0)
    if jobs is None:
        asked = os.environ.get("DLN_JOBS") or "1"
        jobs = integer("DLN_JOBS", int(asked) if asked.isdecimal() else asked)
    jobs = integer("jobs", jobs)
    folder = cache_folder(cache)
    made_of = _made_of(function)
    keys = [_key(source, point, seed, index, made_of) for index, point in enumerate(points)]
    paths = [folder / function.__name__ / f"{key}.npz" if folder else None for key in keys]
    found = [_fetch(path) for path in paths]
    tasks = [(function, index, point, seed) for index, point in enumerate(points) if found[index] is None]
    kept = f"finished points are kept in {folder}" if folder else "finished points are not kept, the cache is off"
    if cluster:
        outcomes = _on_cluster(tasks, cluster, kept) if tasks else ()
    else:
        outcomes = _in_processes(tasks, jobs) if jobs > 1 and len(tasks) > 1 else map(_attempt, tasks)
    failure = None
    bar = _bar(len(points), len(points) - len(tasks), function.__name__, progress)
    try:
        for index, outcome in outcomes:
            bar.update()
            if isinstance(outcome, BaseException):
                failure = failure or (index, outcome)
                continue
            found[index] = outcome
            path = paths[index]
            if path:
                try:
                    write_arrays(path, outcome)
                except OSError as error:
                    warnings.warn(f"finished points are not kept from here on: {error}", RuntimeWarning, stacklevel=2)
                    paths = [None] * len(points)
    finally:
        bar.close()
    if failure:
        index, error = failure
        raise RuntimeError(f"{function.__name__} failed at point {index}, {points[index]}: {type(error).__name__}: {error}"
                           + (f" ({kept})" if folder else "")) from error
    return [_unpacked(arrays) for arrays in found if arrays is not None]

"""Run a function over many points, in processes or on a cluster: finished points stay on disk, and numbers are the same."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import logging
import os
import platform
import textwrap
import warnings
import zipfile
from pathlib import Path

import numpy as np

from ._validation import integer


@functools.cache
def package_hash() -> str:
    """Twelve hexadecimal digits of the SHA-256 of the package's source, as far as a notebook's numbers can depend on it."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in {"__main__", "cli", "ledger", "printing"}:     # the command: no notebook imports it
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


# --- arrays on disk -------------------------------------------------------------------------------------------------

def write_arrays(path: Path, arrays: dict) -> None:
    """Write numbers, strings and arrays to an ``.npz`` file without pickles: whole or not at all."""
    path = Path(path)
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise ValueError(f"{name} must hold numbers or strings to be saved, got {array.dtype}")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            np.savez_compressed(file, **arrays)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def read_arrays(path: Path) -> dict:
    """What `write_arrays` wrote."""
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


# --- the cache ------------------------------------------------------------------------------------------------------

def user_folder() -> Path:
    """The project's folder in the user's cache."""
    with warnings.catch_warnings():                        # in a notebook it asks for a progress bar that we do not use
        warnings.simplefilter("ignore")
        import pooch
    return Path(pooch.os_cache("dlnutils"))


def cache_folder(cache=None) -> Path | None:
    """Where finished points are kept: ``cache``, else ``DLN_CACHE``, else the user's cache; None if either says 'off'."""
    where = cache or os.environ.get("DLN_CACHE")
    if where == "off":
        return None
    if where:
        return Path(where)
    return user_folder() / "sweeps"


def _plain(value):
    """Arguments as JSON can hold them, arrays by their bytes."""
    if isinstance(value, np.ndarray):
        return [str(value.dtype), value.shape, hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


def _check_function(function) -> str:
    """The function's source; refuses what has no source of its own or hides parameters."""
    name = getattr(function, "__qualname__", repr(function))
    if "<lambda>" in name or getattr(function, "__closure__", None):
        raise ValueError(f"function must be a named function that carries no outer variables, got {name}: define it with "
                         "def at the top level and pass what it needs in points")
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (TypeError, OSError):
        raise ValueError(f"function must be written in Python with its source at hand, got {name}: wrap it in a "
                         "function of yours") from None


def _key(source, point, seed, index) -> str:
    try:
        parameters = json.dumps(point, sort_keys=True, default=_plain)
    except TypeError as error:
        raise ValueError(f"points must hold numbers, strings, lists or arrays, got {error}: they name the result on "
                         "disk") from None
    parts = [package_hash(), source, parameters, repr((seed, index)), np.__version__, platform.python_version()]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _fetch(path: Path | None):
    """A finished point, or None; a damaged file counts as not finished."""
    if path is None or not path.is_file():
        return None
    try:
        return _unpacked(read_arrays(path))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return None


def _packed(result) -> dict:
    return result if isinstance(result, dict) else {"__result__": result}


def _unpacked(arrays: dict):
    """Zero-dimensional arrays back to scalars, single results out of their dictionary."""
    out = {name: array[()] for name, array in arrays.items()}
    return out["__result__"] if set(out) == {"__result__"} else out


# --- running --------------------------------------------------------------------------------------------------------

def _run(function, index, point, seed):
    """One point, with a generator that depends on its place alone; the result in the form in which it would be stored."""
    if seed is not None:
        point = point | {"rng": np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))}
    arrays = {name: np.asarray(value) for name, value in _packed(function(**point)).items()}
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"the result {name!r} is not a number, a string or an array of them")
    return index, arrays


def _attempt(task):
    """A result or the error that took its place: errors travel home, so that the other points are kept."""
    try:
        return _run(*task)
    except Exception as error:                             # whatever the function raises
        return task[1], error


def _in_processes(tasks, jobs):
    from joblib import Parallel, delayed, parallel_config
    with parallel_config(backend="loky", inner_max_num_threads=1):
        yield from Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(_attempt)(task) for task in tasks)


class _OtherRecipe(Exception):
    """A worker would compute with another package, function, numpy or Python than the session that keeps the results."""


def _recipe(function) -> dict:
    """What a result depends on besides its point, as this process has it."""
    recipe = {"package": package_hash(), "numpy": np.__version__, "python": platform.python_version()}
    if function.__module__ != "__main__":                  # what a notebook or a script defines travels with the point
        source = textwrap.dedent(inspect.getsource(function))
        recipe[f"source of {function.__name__}"] = hashlib.sha256(source.encode()).hexdigest()[:12]
    return recipe


def _attempt_alike(task, expected):
    """As `_attempt`, on a worker that has the session's versions; another one would spoil what is kept on disk."""
    found = _recipe(task[0])
    if other := [f"{name} {found.get(name)} instead of {value}" for name, value in expected.items()
                 if found.get(name) != value]:
        return task[1], _OtherRecipe(", ".join(other))
    return _attempt(task)


def _on_cluster(tasks, address, kept):
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
            index_of, left = {future.key: task[1] for future, task in zip(futures, tasks)}, len(futures)
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


def sweep(function, points, *, seed: int | None = None, jobs: int | None = None, cluster: str | None = None,
          cache=None, progress: bool = True) -> list:
    """Call ``function(**point)`` for every point; finished points survive a crash and are not computed twice.

    Parameters
    ----------
    function : callable
        A named function at the top level of a module or a notebook. Returns a number, a string, an array, or a
        dictionary of these. Global variables that it reads are not part of a result's name on disk: pass parameters.
    points : sequence of dict
        Keyword arguments: numbers, strings, lists, arrays.
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
        A lambda, a closure, a point that is not a dictionary of plain values.
    RuntimeError
        The function failed, or a point cost four workers their lives: names the point. All other points are finished,
        and kept, first. At once: no scheduler answers, it went away, or a worker has another package, function, numpy
        or Python than this session. Repeat the call to go on.

    Notes
    -----
    A result's name hashes the package, the function's source, the point, seed and place, and the versions of numpy and
    Python. If the disk is full the sweep goes on without keeping results, with a warning.

    Examples
    --------
    >>> from dlnutils.saddles import max_hessian_eigenvalue
    >>> sweep(max_hessian_eigenvalue, [{"s": 1.0, "n_weights": n} for n in (2, 3)], cache="off")
    [np.float64(2.0), np.float64(3.0)]
    """
    from tqdm import tqdm
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
    keys = [_key(source, point, seed, index) for index, point in enumerate(points)]
    paths = [folder and folder / function.__name__ / f"{key}.npz" for key in keys]
    results = [_fetch(path) for path in paths]
    tasks = [(function, index, point, seed) for index, point in enumerate(points) if results[index] is None]
    kept = f"finished points are kept in {folder}" if folder else "finished points are not kept, the cache is off"
    if cluster:
        outcomes = _on_cluster(tasks, cluster, kept) if tasks else ()
    else:
        outcomes = _in_processes(tasks, jobs) if jobs > 1 and len(tasks) > 1 else map(_attempt, tasks)
    failure = None
    with tqdm(total=len(points), initial=len(points) - len(tasks), desc=function.__name__,
              disable=None if progress else True) as bar:
        for index, outcome in outcomes:
            bar.update()
            if isinstance(outcome, Exception):
                failure = failure or (index, outcome)
                continue
            results[index] = _unpacked(outcome)
            if paths[index]:
                try:
                    write_arrays(paths[index], outcome)
                except OSError as error:
                    warnings.warn(f"finished points are not kept from here on: {error}", RuntimeWarning, stacklevel=2)
                    paths = [None] * len(points)
    if failure:
        index, error = failure
        raise RuntimeError(f"{function.__name__} failed at point {index}, {points[index]}: {type(error).__name__}: {error}"
                           + (f" ({kept})" if folder else "")) from error
    return results

"""A sweep on a Dask cluster: workers die, the scheduler dies, a worker is not like the others; no point is lost."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from dlnutils import sweep as sweep_module
from dlnutils.sweep import sweep

distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
pytestmark = pytest.mark.filterwarnings("error")


def wait_for(condition, seconds=120):
    for _ in range(20 * seconds):
        if condition():
            return
        time.sleep(0.05)
    raise TimeoutError("nothing happened")


def diary_of(folder):
    """The points that were started, each as often as it was."""
    path = Path(folder) / "diary"
    return sorted(map(int, path.read_text().split())) if path.exists() else []


def note(folder, x):
    with open(Path(folder) / "diary", "a") as file:
        file.write(f"{x}\n")


def doomed(x, folder, victim, rng):
    """A point; the victim kills its process the first time, once another point is on disk."""
    note(folder, x)
    if x == victim and diary_of(folder).count(x) == 1:
        wait_for(lambda: list(Path(folder).rglob("*.npz")))
        os.kill(os.getpid(), signal.SIGKILL)
    return rng.standard_normal(3)


def endless(x, folder, rng):
    """A point; from the fourth on it takes ten minutes, as long as there is no file 'go'."""
    note(folder, x)
    wait_for(lambda: x < 3 or (Path(folder) / "go").exists(), seconds=600)
    return rng.standard_normal()


def deadly(x):
    """One point kills every worker that takes it."""
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return float(x)


def plain(x):
    return float(x)


@pytest.fixture(autouse=True)
def quiet(monkeypatch, tmp_path):
    """The workers import this file, and BLAS has one thread in them."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("DLN_CACHE", "off")
    monkeypatch.chdir(tmp_path)


@contextmanager
def local_cluster(n_workers=2):
    with distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, processes=True, host="127.0.0.1",
                                  dashboard_address=None, silence_logs=50) as cluster:
        yield cluster.scheduler_address


def test_the_points_of_a_killed_worker_are_computed_again(tmp_path):
    points = [{"x": x, "folder": str(tmp_path), "victim": 5} for x in range(12)]
    alone = [np.random.default_rng(child).standard_normal(3) for child in np.random.SeedSequence(1).spawn(12)]
    with local_cluster() as address:
        together = sweep(doomed, points, seed=1, cluster=address, cache=tmp_path / "kept")
    np.testing.assert_array_equal(together, alone)
    started = diary_of(tmp_path)
    assert started.count(5) == 2 and set(started) == set(range(12))
    assert len(list((tmp_path / "kept").rglob("*.npz"))) == 12


def test_a_point_that_kills_every_worker_is_named_and_the_others_are_kept(tmp_path):
    import dask
    # One point at a time: what waits on a worker that dies is counted as dead with it.
    with dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.worker-saturation": 1.0}), \
            local_cluster(1) as address:
        with pytest.raises(RuntimeError, match=r"deadly failed at point 2, \{'x': 2\}: .*1 workers died .* memory\?"):
            sweep(deadly, [{"x": x} for x in range(8)], cluster=address, cache=tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 7


@contextmanager
def processes(folder):
    """A scheduler and a worker as processes of their own: (address, scheduler)."""
    run = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    dask, where = [sys.executable, "-m", "dask"], folder / "scheduler.json"
    scheduler = subprocess.Popen([*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
                                  "--scheduler-file", str(where)], **run)
    worker = subprocess.Popen([*dask, "worker", "--scheduler-file", str(where), "--nthreads", "1", "--no-nanny",
                               "--no-dashboard", "--death-timeout", "60"], **run)
    try:
        wait_for(lambda: where.exists() and re.search(r'"address": "(tcp[^"]+)"', where.read_text()))
        yield re.search(r'"address": "(tcp[^"]+)"', where.read_text())[1], scheduler
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()


def test_a_lost_scheduler_is_reported_and_the_call_resumes(tmp_path):
    points, kept = [{"x": x, "folder": str(tmp_path)} for x in range(6)], tmp_path / "kept"
    with processes(tmp_path) as (address, scheduler):
        def strike():
            wait_for(lambda: len(list(kept.rglob("*.npz"))) == 3 and diary_of(tmp_path)[-1] == 3)
            scheduler.kill()
        thread = threading.Thread(target=strike)
        thread.start()
        with pytest.raises(RuntimeError, match="scheduler at .* went away with 3 points to do; finished points are kept "
                                               "in .*kept. Start it and its workers again and repeat the call"):
            sweep(endless, points, seed=5, cluster=address, cache=kept)
        thread.join()
    (tmp_path / "go").touch()
    resumed = sweep(endless, points, seed=5, cache=kept)
    assert resumed == [np.random.default_rng(child).standard_normal() for child in np.random.SeedSequence(5).spawn(6)]
    assert diary_of(tmp_path) == [0, 1, 2, 3, 3, 4, 5]
    assert sweep(endless, points, seed=5, cache=kept, cluster="tcp://127.0.0.1:1") == resumed      # nothing to compute


def test_a_scheduler_that_is_not_there_is_named():
    import dask
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(RuntimeError, match="no Dask scheduler answers at tcp://127.0.0.1:1: start one with"):
            sweep(plain, [{"x": 1}], cluster="tcp://127.0.0.1:1")


@pytest.mark.parametrize("what", ["package", "numpy", "python", "source of plain"])
def test_a_worker_with_other_versions_computes_nothing(what):
    expected = sweep_module._recipe(plain) | {what: "other"}
    index, error = sweep_module._attempt_alike((plain, 3, {"x": 1}, None), expected)
    assert index == 3 and isinstance(error, sweep_module._OtherRecipe) and f"{what} " in str(error)
    assert str(error).endswith("instead of other")


def test_a_worker_with_other_versions_stops_the_sweep(tmp_path, monkeypatch):
    with local_cluster(1) as address:
        monkeypatch.setattr(sweep_module, "package_hash", lambda: "newer")
        with pytest.raises(RuntimeError, match="a worker differs from this session: package [0-9a-f]+ instead of newer"):
            sweep(plain, [{"x": 1}, {"x": 2}], cluster=address, cache=tmp_path)
    assert not list(tmp_path.rglob("*.npz"))

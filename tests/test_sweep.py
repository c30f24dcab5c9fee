"""Sweeps: the same numbers everywhere, nothing lost, nothing taken from a stale cache."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from dlnutils import sweep as sweep_module
from dlnutils.sweep import cache_folder, read_arrays, sweep, write_arrays

pytestmark = pytest.mark.filterwarnings("error")
LOG = "DLN_TEST_LOG"


def noisy(x, rng):
    """A point that leaves a trace of having run."""
    if LOG in os.environ:
        with open(os.environ[LOG], "a") as log:
            log.write(f"{x}\n")
    return {"draw": rng.standard_normal(3), "double": 2 * x, "name": f"x{x}"}


def picky(x):
    if x == 2:
        raise ArithmeticError("two is too many")
    return float(x)


def total(values, scale=1.0):
    return scale * np.sum(values)


def unfit(x):
    return [object()]


POINTS = [{"x": x} for x in range(6)]


def same(a, b):
    for one, two in zip(a, b, strict=True):
        assert set(one) == set(two)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
            assert type(one[name]) is type(two[name])


@pytest.fixture
def log(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.touch()
    monkeypatch.setenv(LOG, str(path))
    return lambda: sorted(map(int, path.read_text().split()))


def test_results_come_in_order_and_do_not_depend_on_the_workers():
    alone = sweep(noisy, POINTS, seed=1, cache="off")
    assert [r["double"] for r in alone] == [0, 2, 4, 6, 8, 10] and alone[3]["name"] == "x3"
    same(alone, sweep(noisy, POINTS, seed=1, jobs=2, cache="off"))
    same(alone[:2], sweep(noisy, POINTS[:2], seed=1, cache="off"))             # a longer grid keeps its beginning
    other = sweep(noisy, POINTS, seed=2, cache="off")
    assert not np.array_equal(alone[0]["draw"], other[0]["draw"])
    assert not np.array_equal(alone[0]["draw"], alone[1]["draw"])
    children = np.random.SeedSequence(1).spawn(6)
    np.testing.assert_array_equal(alone[4]["draw"], np.random.default_rng(children[4]).standard_normal(3))


def test_cached_results_are_those_of_a_fresh_run(tmp_path, log):
    fresh = sweep(noisy, POINTS, seed=1, cache=tmp_path)
    assert log() == list(range(6))
    same(fresh, sweep(noisy, POINTS, seed=1, cache=tmp_path))
    same(fresh, sweep(noisy, POINTS, seed=1, cache=tmp_path, jobs=2))
    assert log() == list(range(6))                                             # nothing ran twice
    sweep(noisy, POINTS, seed=2, cache=tmp_path)
    assert len(log()) == 12
    assert not list(tmp_path.rglob("*.part"))


def test_scalars_arrays_and_array_arguments(tmp_path):
    points = [{"values": np.arange(3.0)}, {"values": np.arange(3.0) + 1}, {"values": [1, 2], "scale": np.float64(2)}]
    for _ in range(2):
        assert sweep(total, points, cache=tmp_path) == [3.0, 6.0, 6.0]
    assert len(list((tmp_path / "total").glob("*.npz"))) == 3


def test_the_key_knows_source_package_and_versions(tmp_path, monkeypatch):
    def keys():
        return sweep_module._key(source, {"x": 1}, 0, 0)
    source = "def f(x): return x"
    first = keys()
    assert first == keys() and first != sweep_module._key(source + " ", {"x": 1}, 0, 0)
    assert len({first, sweep_module._key(source, {"x": 2}, 0, 0), sweep_module._key(source, {"x": 1}, 1, 0),
                sweep_module._key(source, {"x": 1}, 0, 1), sweep_module._key(source, {"x": 1}, None, 0)}) == 5
    for name, value in (("package_hash", lambda: "other"), ("np", type("Numpy", (), {"__version__": "0"}))):
        with monkeypatch.context() as patch:
            if name == "np":
                patch.setattr(sweep_module.np, "__version__", "0")
            else:
                patch.setattr(sweep_module, name, value)
            assert keys() != first
    with monkeypatch.context() as patch:
        patch.setattr(sweep_module.platform, "python_version", lambda: "2.7")
        assert keys() != first


def test_damaged_files_are_computed_again(tmp_path, log):
    fresh = sweep(noisy, POINTS, seed=1, cache=tmp_path)
    files = sorted(tmp_path.rglob("*.npz"))
    files[0].write_bytes(b"")
    files[1].write_bytes(files[1].read_bytes()[:50])
    files[2].write_text("not an archive")
    same(fresh, sweep(noisy, POINTS, seed=1, cache=tmp_path))
    assert len(log()) == 9
    same(fresh, sweep(noisy, POINTS, seed=1, cache=tmp_path))
    assert len(log()) == 9


def test_no_pickles_are_read_or_written(tmp_path):
    with pytest.raises(ValueError, match="x must hold numbers or strings"):
        write_arrays(tmp_path / "a.npz", {"x": object()})
    np.savez(tmp_path / "b.npz", x=np.array([{}], dtype=object))
    with pytest.raises(ValueError):
        read_arrays(tmp_path / "b.npz")


def test_a_failing_point_is_named_and_the_others_are_kept(tmp_path):
    for jobs in (1, 2):
        with pytest.raises(RuntimeError, match=r"picky failed at point 2, \{'x': 2\}: ArithmeticError: two is too many"):
            sweep(picky, POINTS, jobs=jobs, cache=tmp_path)
        assert len(list(tmp_path.rglob("*.npz"))) == 5


def test_a_full_disk_warns_once_and_goes_on(tmp_path, monkeypatch):
    def full(path, arrays):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr(sweep_module, "write_arrays", full)
    with pytest.warns(RuntimeWarning, match="No space left") as caught:
        results = sweep(noisy, POINTS, seed=1, cache=tmp_path)
    assert len(caught) == 1 and [r["double"] for r in results] == [0, 2, 4, 6, 8, 10]


def test_a_killed_sweep_resumes(tmp_path):
    """Killed without warning in the middle: what was finished is there, and only the rest runs."""
    (tmp_path / "slow.py").write_text(textwrap.dedent("""
        import time
        from dlnutils.sweep import sweep

        def slow(x, rng):
            with open("ran", "a") as log:
                log.write(f"{x} ")
            time.sleep(0 if x < 3 else DELAY)
            return rng.standard_normal()

        if __name__ == "__main__":
            print([float(y) for y in sweep(slow, [{"x": x} for x in range(6)], seed=5, cache="kept")])
    """))
    source = (tmp_path / "slow.py").read_text()
    (tmp_path / "slow.py").write_text("import os\nDELAY = float(os.environ['DELAY'])\n" + source)
    start = {"args": [sys.executable, "slow.py"], "cwd": tmp_path, "text": True}
    with subprocess.Popen(env=os.environ | {"DELAY": "600"}, **start) as process:
        for _ in range(600):
            if len(list(tmp_path.glob("kept/slow/*.npz"))) == 3:
                break
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob("kept/slow/*.npz"))) == 3
    again = subprocess.run(env=os.environ | {"DELAY": "0"}, capture_output=True, check=True, **start)
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2", "3", "3", "4", "5"]
    numbers = [np.random.default_rng(child).standard_normal() for child in np.random.SeedSequence(5).spawn(6)]
    assert eval(again.stdout) == numbers


def test_where_results_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DLN_CACHE", "off")
    assert cache_folder() is None and cache_folder(tmp_path) == tmp_path and cache_folder("off") is None
    monkeypatch.setenv("DLN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path and cache_folder("off") is None
    monkeypatch.delenv("DLN_CACHE")
    assert cache_folder().name == "sweeps"


def test_jobs_of_the_environment(monkeypatch):
    monkeypatch.setenv("DLN_JOBS", "2")
    asked = []
    monkeypatch.setattr(sweep_module, "_in_processes", lambda tasks, jobs: asked.append(jobs) or map(sweep_module._attempt, tasks))
    sweep(picky, POINTS[:2], cache="off")
    assert asked == [2]
    monkeypatch.setenv("DLN_JOBS", "two")
    with pytest.raises(ValueError, match="DLN_JOBS must be an integer of at least 1, got 'two'"):
        sweep(picky, POINTS[:2], cache="off")


def test_two_dask_workers_give_the_serial_numbers(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs the extra 'cluster'")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))               # the workers import this file
    serial = sweep(noisy, POINTS, seed=1, cache="off")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1",
                                  dashboard_address=None) as cluster:
        same(serial, sweep(noisy, POINTS, seed=1, cluster=cluster.scheduler_address, cache=tmp_path))
        with pytest.raises(RuntimeError, match="point 2"):
            sweep(picky, POINTS, cluster=cluster.scheduler_address, cache="off")
    same(serial, sweep(noisy, POINTS, seed=1, cache=tmp_path))


def test_without_dask_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ImportError, match=r"pip install 'dlnutils\[cluster\]'"):
        sweep(picky, POINTS, cluster="tcp://127.0.0.1:1", cache="off")


BAD = {
    "lambda": (lambda: sweep(lambda x: x, POINTS), "function must be a named function .* got .*lambda"),
    "closure": (lambda: sweep(closure(), POINTS), "function must be a named function .* got .*inner"),
    "builtin": (lambda: sweep(len, POINTS), "function must be written in Python .* got len"),
    "points": (lambda: sweep(picky, [1, 2]), "points must be dictionaries of keyword arguments, got 1"),
    "values": (lambda: sweep(picky, [{"x": object()}]), "points must hold numbers, strings, lists or arrays, got object"),
    "seed": (lambda: sweep(picky, POINTS, seed=-1), "seed .* -1"),
    "jobs": (lambda: sweep(picky, POINTS, jobs=0), "jobs .* 0"),
}


def closure():
    y = 1

    def inner(x):
        return x + y
    return inner


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_results_must_be_storable():
    with pytest.raises(RuntimeError, match="is not a number, a string or an array"):
        sweep(unfit, POINTS[:1], cache="off")


def test_the_package_hash_covers_what_numbers_depend_on_and_not_the_command(tmp_path, monkeypatch):
    for name in ("sweep", "dmft", "cli", "printing"):
        (tmp_path / f"{name}.py").write_text("1")
    monkeypatch.setattr(sweep_module, "__file__", str(tmp_path / "sweep.py"))
    before = sweep_module.package_hash.__wrapped__()          # not what was kept from the true one
    (tmp_path / "cli.py").write_text("2")
    (tmp_path / "printing.py").write_text("2")
    assert sweep_module.package_hash.__wrapped__() == before
    (tmp_path / "dmft.py").write_text("2")
    assert sweep_module.package_hash.__wrapped__() != before

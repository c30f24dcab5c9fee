"""How the house is built: one arrow from the press to the physics, and modules that import only what stands lower."""

import ast
import re

import pytest
from committed import BOOK

from dlnutils import MODULES
from dlnutils.press.ext.architecture import columns, modules, name_of, rooms, wing

HOUSE = BOOK / "dlnutils"
#: From the bottom up; a module may import what stands before it.
FLOORS = ["_validation", "store", "fitting", "tasks", "sweep", "datasets", "linear_networks", "initial_weights", "saddles",
          "random_products", "mixed", "phases", "parameterizations", "perceptron", "_trials",
          "dmft.spectrum", "dmft.optimizers", "dmft.solution", "dmft.estimates", "dmft._rows", "dmft._weights", "dmft._batches",
          "dmft._data",
          "dmft.averages", "dmft.solver", "dmft.infinite_depth", "dmft.long_runs", "dmft.network", "dmft", "scaling_laws",
          "press.words", "press.machine", "press.examples", "press.notebooks", "press.style", "press.legibility",
          "press.claims", "press.figure_rows", "press.figure_files", "press.run", "press.accept", "press.figure_data",
          "press.ledger", "press.site", "press.pdf_binding", "press.pdf",
          "press.bench", "press.trials", "press.ext.explorer_table", "press.cli",
          "press.ext.pieces", "press.ext.figure", "press.ext.pages", "press.ext.parts", "press.ext.ledger", "press.ext.markdown",
          "press.ext.performance", "press.ext.provenance", "press.ext.verdicts", "press.ext.gallery", "press.ext.findings",
          "press.ext.notation", "press.ext.slides",
          "press.ext.course", "press.ext.explorers", "press.ext.architecture", "press.browser", "press.ext.plain",
          "press.ext.run_here", "press.ext.downloads", "press.ext.figure_links", "press.ext.light", "press.ext.address",
          "press.ext.found", "press.ext.speed"]


FOUND = modules(HOUSE)


def test_every_module_has_its_floor():
    assert set(FOUND) - {"", "__main__", "press", "press.ext"} == set(FLOORS)


@pytest.mark.parametrize("name", FLOORS)
def test_a_module_imports_only_what_stands_lower(name):
    above = set(FLOORS[FLOORS.index(name):])
    assert not FOUND[name].imports & above


def test_physics_never_imports_the_press():
    for name in FOUND:
        if not name.startswith("press") and name != "__main__":
            assert not [used for used in FOUND[name].imports if used.startswith("press")], name


def test_modules_say_what_is_public():
    for path in HOUSE.rglob("*.py"):
        name = name_of(path)
        if name.startswith(("press.ext", "press.cli")) or name.rpartition(".")[2].startswith("_") or name in ("", "press"):
            continue
        assert "__all__" in {target.id for node in ast.parse(path.read_text()).body if isinstance(node, ast.Assign)
                             for target in node.targets if isinstance(target, ast.Name)}, name


# --- the page -------------------------------------------------------------------------------------------------------

def house(folder, **files):
    """A package of small files; a double underscore in a name is a folder."""
    for name, text in files.items():
        path = folder / "toy" / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "toy" / "__init__.py").write_text("")
    return modules(folder / "toy")


def test_imports_are_read_from_the_code(tmp_path):
    found = house(tmp_path, a='"""One.\n\nMore."""', b="from . import a",
                  dmft__c="def f():\n    from ..b import x\n    import numpy",
                  d="import toy.a\nfrom toy.b import y", e="from .dmft import c\nfrom .a import z")
    assert {name: sorted(module.imports) for name, module in found.items() if name} == {
        "a": [], "b": ["a"], "d": ["a", "b"], "dmft.c": ["b"], "e": ["a", "dmft.c"]}
    assert found["a"].line == "One."
    graph = rooms(found)                                   # what comes through another has no line
    assert graph == {"a": set(), "b": {"a"}, "d": {"b"}, "dmft": {"b"}, "e": {"dmft"}}
    assert [sorted(column) for column in columns(graph)] == [[("a",)], [("b",)], [("d",), ("dmft",)], [("e",)]]


def test_the_drawing_shows_every_module_and_every_arrow_leads_to_the_left():
    graph = rooms(FOUND)
    for press in (False, True):
        part = wing(graph, press=press)
        placed = columns(part)
        column = {item[0]: number for number, items in enumerate(placed) for item in items if len(item) == 1}
        assert set(column) == set(part) and len(part) > 12
        assert all(column[used] < column[name] for name in part for used in part[name])
        assert all(len(items) <= 9 for items in placed)                                      # a phone shows no more in its width


def test_modules_say_in_one_line_what_they_are_for():
    for name, module in FOUND.items():
        assert 15 < len(module.line) < 200, name


def test_the_page_names_only_what_exists():
    text = (BOOK / "book" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:dlnutils|tests|book|benchmarks|records|notebooks)/[^`<]*|\w+\.(?:md|yml|toml))`", text)
    assert len(named) > 20 and not [name for name in named if not (BOOK / name).exists()]
    api = (BOOK / "book" / "api.md").read_text(encoding="utf-8")
    assert all(f"dlnutils.{name}" in api for name in MODULES if name != "press")

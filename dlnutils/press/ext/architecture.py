"""The page *architecture*: what each module is for and what it imports, drawn and tabulated from the code itself."""

from __future__ import annotations

import ast
import html
import re
from collections.abc import Mapping, Set
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from .pieces import table

PACKAGE = Path(__file__).resolve().parents[2]

#: Size of a drawing in its own units, of a box and of the place that a passing arrow takes.
WIDTH, BOX, PASSAGE, GAP, BASE = 400, 26, 10, 10, 20


class Module(NamedTuple):
    """A module of the package."""

    line: str                           # the first sentence of its docstring
    imports: frozenset[str]             # modules of the package that it imports, also inside its functions


def name_of(path: Path, package: Path = PACKAGE) -> str:
    """``dmft/solver.py`` is ``dmft.solver``, ``dmft/__init__.py`` is ``dmft``, and the package itself is ''."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules(package: Path = PACKAGE) -> dict[str, Module]:
    """All modules of a package by their name, read and not imported."""
    files = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    found = {}
    for name, path in files.items():
        inside = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
        tree, imports = ast.parse(path.read_text(encoding="utf-8")), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imports |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith(f"{package.name}.")}
            if not isinstance(node, ast.ImportFrom):
                continue
            base = (node.module or "").split(".") if node.module else []
            if node.level:
                base = inside[:len(inside) - node.level + 1] + base
            elif base[:1] == [package.name]:
                base = base[1:]
            else:
                continue
            inner = {".".join([*base, alias.name]) for alias in node.names}
            imports |= {used if used in files else ".".join(base) for used in inner}
        sentence = re.match(r".*?\.(?=\s|$)|", " ".join((ast.get_docstring(tree) or "").split()))
        found[name] = Module(sentence[0].replace("``", "") if sentence else "", frozenset(imports - {"", name}))
    return found


def room_of(name: str) -> str:
    """What is drawn as one box: a file, or a folder of files that serve one purpose."""
    return next((room for room in ("dmft", "press.ext") if name == room or name.startswith(f"{room}.")), name)


def short(name: str) -> str:
    """A module's name as it is shown in its own wing."""
    return name.removeprefix("press.")


def rooms(found: dict[str, Module]) -> dict[str, set[str]]:
    """What every room imports of the others; what a room imports through another one is left out."""
    graph: dict[str, set[str]] = {}
    for name, module in found.items():
        if name not in ("", "__main__", "press"):
            graph.setdefault(room_of(name), set()).update({room_of(used) for used in module.imports} - {room_of(name)})
    return {room: used - set().union(*(reach(graph, other) for other in used)) for room, used in graph.items()}


def reach(graph: Mapping[str, Set[str]], name: str) -> set[str]:
    """What a module imports, and what that imports, and so on."""
    out, ahead = set(), [name]
    while ahead:
        fresh = graph[ahead.pop()] - out
        out |= fresh
        ahead += fresh
    return out


def columns(graph: dict[str, set[str]]) -> list[list[tuple[str, ...]]]:
    """Rooms in columns, each right of all that it imports. An arrow past a column is a pair ``(from, to)`` in it."""
    column: dict[str, int] = {}

    def place(room):
        if room not in column:
            column[room] = 1 + max((place(used) for used in graph[room]), default=-1)
        return column[room]

    for room in graph:
        place(room)
    for room in sorted(graph, key=place, reverse=True):     # as far right as those allow that import it
        column[room] = min((column[user] - 1 for user in graph if room in graph[user]), default=column[room])
    out: list[list[tuple[str, ...]]] = [[] for _ in range(max(column.values()) + 1)]
    for room in sorted(graph):
        out[column[room]].append((room,))
        for used in sorted(graph[room]):
            for between in range(column[used] + 1, column[room]):
                out[between].append((used, room))
    for sweep in range(8):                                  # a place at the mean of its neighbours' places crosses few arrows
        for here in range(len(out)) if sweep % 2 else reversed(range(len(out))):
            other = here - 1 if sweep % 2 else here + 1
            if not 0 <= other < len(out):
                continue
            place_of = {item: (index + 0.5) / len(out[other]) for index, item in enumerate(out[other])}

            def mean(item, place_of=place_of):
                places = [place for neighbour, place in place_of.items() if joined(graph, item, neighbour)]
                return sum(places) / len(places) if places else 0.5
            out[here].sort(key=mean)
    return out


def joined(graph: dict[str, set[str]], one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Whether an arrow leads from one place to the other, in neighbouring columns."""
    if len(one) == len(other) == 1:
        return other[0] in graph[one[0]] or one[0] in graph[other[0]]
    if len(one) == len(other):
        return one == other
    passing, box = (one, other) if len(one) == 2 else (other, one)
    return box[0] in passing


def draw(graph: dict[str, set[str]], found: dict[str, Module], *, base: str, title: str) -> str:
    """One wing of the house as SVG: what a box is joined to on its left, it imports."""
    placed = columns(graph)
    width = (WIDTH - BASE - 2) / (len(placed) + (len(placed) - 1) * 0.2 + 0.15)
    heights = [sum(BOX if len(item) == 1 else PASSAGE for item in items) + GAP * (len(items) - 1) for items in placed]
    height = max(heights) + 4
    middle: list[dict[tuple[str, ...], float]] = []
    for items, own in zip(placed, heights):
        y, places = (height - own) / 2, {}
        for item in items:
            size = BOX if len(item) == 1 else PASSAGE
            places[item], y = y + size / 2, y + size + GAP
        middle.append(places)
    left = [BASE + width * (0.15 + 1.2 * column) for column in range(len(placed))]
    lines, boxes = [], []
    for column, places in enumerate(middle):
        for item, y in places.items():
            if len(item) == 2:
                lines.append(f"M{left[column]:.1f} {y:.1f}h{width:.1f}")
            else:
                name, line = item[0], found[item[0]].line
                both = name.startswith("press") and any(not used.startswith("press") for part in found if room_of(part) == name
                                                        for used in found[part].imports)
                kind = "dln-room dln-both" if both else "dln-room"
                boxes.append(f'<g class="{kind}"><title>{html.escape(name)}: {html.escape(line)}</title>'
                             f'<rect x="{left[column]:.1f}" y="{y - BOX / 2:.1f}" width="{width:.1f}" height="{BOX}" rx="4"/>'
                             f'<text x="{left[column] + width / 2:.1f}" y="{y + 4:.1f}">{html.escape(short(name))}</text></g>')
            if column:
                for before, y0 in middle[column - 1].items():
                    if joined(graph, item, before):
                        x0, x1 = left[column - 1] + width, left[column]
                        bend = (x1 - x0) / 2
                        lines.append(f"M{x0:.1f} {y0:.1f}C{x0 + bend:.1f} {y0:.1f} {x1 - bend:.1f} {y:.1f} {x1:.1f} {y:.1f}")
    return (f'<svg class="dln-wing" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{html.escape(title)}">'
            f'<g class="dln-base"><rect x="1" y="1" width="{BASE}" height="{height - 2:.0f}" rx="4"/>'
            f'<text transform="rotate(-90)" x="{-height / 2:.1f}" y="{BASE / 2 + 5}">{html.escape(base)}</text></g>'
            f'<path class="dln-arrows" d="{"".join(lines)}"/>{"".join(boxes)}</svg>')


def wing(graph: dict[str, set[str]], *, press: bool) -> dict[str, set[str]]:
    """The part of the graph that is the press, or the physics without the checks of arguments that all of it imports."""
    own = {room for room in graph if room.startswith("press") is press and room != "_validation"}
    return {room: graph[room] & own for room in graph if room in own}


class Architecture(SphinxDirective):
    """``dln-architecture:: drawing``, or ``dln-architecture:: physics | press`` for a table of modules."""

    required_arguments = 1

    def run(self):
        found = modules()
        for path in PACKAGE.rglob("*.py"):
            self.env.note_dependency(str(path))
        parts = {"drawing": self.drawing, "physics": self.physics, "press": self.press}
        if self.arguments[0] not in parts:
            raise self.error(f"dln-architecture: no part {self.arguments[0]!r}; choose from {', '.join(parts)}")
        return parts[self.arguments[0]](found)

    def drawing(self, found):
        graph = rooms(found)
        wings = [(False, "physics", "_validation", "The modules of the physics in columns"),
                 (True, "press", "physics", "The modules of the press in columns, right of the physics")]
        how = "a line leads from a module to the one on its left that it imports. The tables below say the same in words."
        figures = "".join(f"<figure><figcaption>The {name}</figcaption>"
                          + draw(wing(graph, press=press), found, base=base, title=f"{title}; {how}") + "</figure>"
                          for press, name, base, title in wings)
        return [nodes.raw("", f'<div class="dln-house">{figures}</div>', format="html")]

    def physics(self, found):
        return self.table_of(found, [name for name in found if name and name.partition(".")[0] not in ("press", "__main__")])

    def press(self, found):
        return self.table_of(found, [name for name in found if name.startswith("press.") and name != "press.ext"])

    def table_of(self, found, names):
        graph = {name: module.imports for name, module in found.items()}
        above = {name: len(reach(graph, name)) for name in names}
        rows = [(nodes.literal("", short(name)), found[name].line.rstrip("."),
                 ", ".join(sorted(map(short, found[name].imports))) or "–")
                for name in sorted(names, key=lambda name: (above[name], name))]
        return [table(("Module", "What it does", "Imports"), rows, (20, 50, 30), ["dln-architecture"])]


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-architecture", Architecture)
    app.add_css_file("dln-architecture.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

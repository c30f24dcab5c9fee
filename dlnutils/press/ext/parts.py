"""The parts of a section's page: the results on top, the table of settings, and the laboratory, which is folded.

No directive can span the cells of a notebook, so results and laboratory are put into the page once it has been read.
"""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import yaml
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ..notebooks import claims_of, default_parameters, read_notebook, run_metadata
from ..words import FIRST_AUTHORS, bound_from, in_prose, show_bound, verdict_of
from .pieces import sentence, table

# --- results --------------------------------------------------------------------------------------------------------

def results_box(claims: list[dict]) -> nodes.container | None:
    """The headline claims in words, each with its verdict and its bound; None where a page has none."""
    headlines = [claim for claim in claims if claim["headline"]]
    if not headlines:
        return None
    return nodes.container("", sentence("Results", classes=["dln-results-title"]), results_list(headlines),
                           classes=["dln-results"])


def results_list(claims: list[dict]) -> nodes.bullet_list:
    """Headline claims, one an item."""
    items = nodes.bullet_list()
    for claim in claims:
        verdict, css = verdict_of(claim)
        items += nodes.list_item("", sentence(nodes.inline("", verdict, classes=["dln-verdict"]), " ", *with_formulas(
            in_words(claim))), sentence(note_of(claim), classes=["dln-where"]), classes=[css])
    return items


def in_words(claim: dict) -> str:
    """The sentence of a headline with its number."""
    return claim["words"].replace("{shown}", in_prose(claim["shown"]))


def note_of(claim: dict) -> str:
    """The number of a claim, where its bound comes from, and the bound."""
    author = FIRST_AUTHORS.get(claim["paper"], "paper")
    return (f"Measured {in_prose(claim['shown'])}; {bound_from(claim).replace('paper, ', author + ', ', 1)}: "
            f"{bound_in_prose(claim['bound'])}")


def bound_in_prose(bound: list) -> str:
    """A bound with powers of ten as people write them."""
    return " ".join(map(in_prose, show_bound(bound).split()))


def with_formulas(text: str) -> list[nodes.Node]:
    """A line of text whose ``$...$`` are formulas."""
    return [nodes.math(part, part) if number % 2 else nodes.Text(part)
            for number, part in enumerate(re.split(r"\$([^$]*)\$", text)) if part]


def add_results(app, doctree) -> None:
    """Put the box before the page's first subsection."""
    source = Path(app.env.doc2path(app.env.docname))
    box = results_box(claims_of(read_notebook(source))) if source.suffix == ".ipynb" else None
    body = next(iter(doctree.findall(nodes.section)), None)
    if box is not None and body is not None:
        first = next((part for part in body.children if isinstance(part, nodes.section)), None)
        body.insert(len(body) if first is None else body.index(first), box)


# --- settings -------------------------------------------------------------------------------------------------------

def comments_of(notebook: dict) -> dict[str, str]:
    """What the comment beside each assignment of the parameters cell says."""
    found = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and "parameters" in cell["metadata"].get("tags", ()):
            name = None
            for token in tokenize.generate_tokens(io.StringIO("".join(cell["source"])).readline):
                if token.type == tokenize.NAME and token.start[1] == 0:
                    name = token.string
                elif token.type == tokenize.COMMENT and name:
                    found[name] = f"{found.get(name, '')} {token.string.lstrip('# ')}".strip()
    return found


SETTINGS_HEAD = ("Setting", "What it is", "Here", "Paper")


class Settings(SphinxDirective):
    """``dln-settings``: every parameter of this page's notebook, its value here and in the paper.

    What the paper used is data: ``notebooks/settings/<chapter>/<section>.yml`` maps a parameter to ``{paper: value, note:
    words}``. Settings that are no parameter stand there too, with ``{here: value, ...}``. Without ``paper`` the setting is ours.
    """

    def run(self):
        source = Path(self.env.doc2path(self.env.docname))
        if source.suffix != ".ipynb":
            raise self.error("dln-settings: only a notebook's page has settings")
        notebook = read_notebook(source)
        section = "/".join(source.with_suffix("").parts[-2:])
        path = Path(self.env.srcdir) / "notebooks" / "settings" / f"{section}.yml"
        self.env.note_dependency(str(path))
        rows, unknown = settings_of(notebook, path)
        if unknown:
            raise self.error(f"dln-settings: {', '.join(unknown)} in {path.name} is no parameter of {section}: say what it is "
                             "here, such as {here: 3, paper: 5}")
        shown = [((nodes.literal if is_parameter else nodes.inline)(name, name),
                  *(nodes.inline("", "", *with_formulas(text)) for text in texts)) for name, is_parameter, *texts in rows]
        return [table(SETTINGS_HEAD, shown, (18, 42, 20, 20), ["dln-settings"])]


def settings_of(notebook: dict, path: Path) -> tuple[list[tuple[str, bool, str, str, str]], list[str]]:
    """Name, whether it is a parameter, what it is, value here and in the paper, of every setting; and names that are none."""
    given = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    comments = comments_of(notebook)
    parameters = default_parameters(notebook) | run_metadata(notebook).get("parameters", {})
    others = {name: entry for name, entry in given.items() if name not in parameters}
    rows = []
    for name, here in [*parameters.items(), *((name, entry["here"]) for name, entry in others.items() if "here" in entry)]:
        entry = given.get(name, {})
        words = "; ".join(part for part in (comments.get(name, ""), str(entry.get("note", ""))) if part)
        rows.append((name, name in parameters, words, written(here), written(entry["paper"]) if "paper" in entry else "–"))
    return rows, [name for name, entry in others.items() if "here" not in entry]


def written(value) -> str:
    """A parameter's value as the table shows it."""
    if isinstance(value, (list, tuple)):
        inner = [f"({written(one)})" if isinstance(one, (list, tuple)) else written(one) for one in value]
        return ", ".join(inner)
    return in_prose(f"{value:g}") if isinstance(value, float) else str(value)


# --- laboratory -----------------------------------------------------------------------------------------------------

class laboratory(nodes.section):                                       # noqa: N801, a node like docutils' own
    """A section that is folded; its title unfolds it."""


class laboratory_title(nodes.title):                                   # noqa: N801
    """The title of a folded section."""


def fold_laboratory(app, doctree, docname) -> None:
    """Fold the section called Laboratory of a page that is about to be written."""
    if app.builder.format != "html":
        return
    for section in list(doctree.findall(nodes.section)):
        if section[0].astext() == "Laboratory":
            title = laboratory_title("", "", *section[0].children, **section[0].attributes)
            section.parent.replace(section, laboratory("", title, *section.children[1:], **section.attributes))


def visit_laboratory(self, node) -> None:
    self.section_level += 1
    self.body.append(self.starttag(node, "details", CLASS="dln-laboratory"))


def depart_laboratory(self, node) -> None:
    self.section_level -= 1
    self.body.append("</details>\n")


def visit_laboratory_title(self, node) -> None:
    self.body.append("<summary>")
    self.visit_title(node)


def depart_laboratory_title(self, node) -> None:
    self.depart_title(node)
    inside = [part[0].astext() for part in node.parent.children if isinstance(part, nodes.section)]
    self.body.append(f'<span class="dln-inside">{self.encode(" · ".join(inside))}</span></summary>\n')


# --- folded cells ---------------------------------------------------------------------------------------------------

def fold_title(metadata: dict, code: str) -> str:
    """What a folded cell holds, in words for its fold."""
    if "parameters" in metadata.get("tags", ()):
        return "Parameters"
    if "figure" in metadata.get("mystnb", {}):
        return "How this figure is drawn"
    if "claims.check(" in code or "claims.show(" in code:
        return "Claims"
    return "Set-up" if "import " in code else "Code"


def name_folds(app, doctree) -> None:
    """Title the folds of a page's code cells: three that say 'Show code' in a row tell a reader nothing."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and "prompt_show" in cell:
            cell["prompt_show"] = cell["prompt_hide"] = fold_title(cell.get("cell_metadata", {}), cell.astext())


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_node(laboratory, html=(visit_laboratory, depart_laboratory))
    app.add_node(laboratory_title, html=(visit_laboratory_title, depart_laboratory_title))
    app.add_directive("dln-settings", Settings)
    app.connect("doctree-read", add_results)
    app.connect("doctree-read", name_folds)
    app.connect("doctree-resolved", fold_laboratory)
    app.add_js_file("folds.js", loading_method="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

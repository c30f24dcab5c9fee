"""The gallery of figures, the numbers of the front page and the provenance page.

Thumbnails, captions and the state of the claims come from the notebooks while Sphinx reads the pages. Nothing is drawn
twice and no number is copied by hand.
"""

from __future__ import annotations

import hashlib
import html
import io
import posixpath
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from dlnutils import ledger, runner
from dlnutils.claims import default_parameters
from dlnutils.runner import package_hash

from dln_book import PAPERS, Ledger, duration, figure_cells, ledger_anchor, link_to_page, read, sentence, table

THUMBNAIL_WIDTH = 480              # pixels; a card is about 280 wide, so that the picture stays sharp on fine screens


# --- what a card says ---------------------------------------------------------------------------------------------

class Card(NamedTuple):
    """One figure of one notebook."""

    section: str
    name: str
    paper: str
    figure: str             # the label, such as '3 left' or '+depth'
    part: tuple             # (2, 4): the second of four pictures with this label
    caption: str
    alt: str
    picture: bytes | None   # None where the notebook has no outputs

    @property
    def beyond(self) -> bool:
        return self.figure.startswith("+")

    @property
    def label(self) -> str:
        label = "Beyond the paper" if self.beyond else Ledger.figure_title(self.figure)
        number, total = self.part
        return f"{label}, {number} of {total}" if total > 1 else label


def cards_of(notebooks: dict[str, dict]) -> list[Card]:
    """Every labelled figure: papers in the book's order, a paper's figures by number, what goes beyond it last."""
    found = []
    for section, notebook in notebooks.items():
        for name, cell in figure_cells(notebook):
            label, look = cell["metadata"].get("dln"), cell["metadata"]["mystnb"]
            if label:
                caption, alt = look["figure"].get("caption", ""), look.get("image", {}).get("alt", name)
                found.append(Card(section, name, label["paper"], label["figure"], (1, 1), caption, alt,
                                  runner.picture_of(notebook, name)))
    total, seen = Counter((card.paper, card.figure) for card in found), Counter()
    for index, card in enumerate(found):
        seen[card.paper, card.figure] += 1
        found[index] = card._replace(part=(seen[card.paper, card.figure], total[card.paper, card.figure]))

    def order(card):
        number = re.match(r"E?(\d+)", card.figure)                    # '3 left' and 'E4' have one, 'table 1' has none
        return list(PAPERS).index(card.paper), card.beyond, int(number[1]) if number else 99
    return sorted(found, key=order)


def state_of(claims: list[dict]) -> tuple[str, str]:
    """The claims of a figure in words, with the class that colours them."""
    count = Counter(claim["passed"] for claim in claims)
    if not claims:
        return "no claims yet", "dln-open"
    words = f"{count[True]} of {len(claims)} claim{'s' * (len(claims) != 1)} hold{'s' * (len(claims) == 1)}"
    if count[False]:
        return f"{count[False]} FAIL{'S' * (count[False] == 1)}: only {words}", "dln-fails"
    if count[None]:
        return f"{words}, {count[None]} not asserted", "dln-open"
    return words, "dln-holds"


# --- captions without mathematics ---------------------------------------------------------------------------------

#: TeX of the captions as plain characters; what is not here keeps its name.
SYMBOLS = {"alpha": "α", "beta": "β", "gamma": "γ", "eta": "η", "lambda": "λ", "mu": "µ", "nu": "ν", "omega": "ω",
           "sigma": "σ", "tau": "τ", "Sigma": "Σ", "sqrt": "√", "infty": "∞", "to": "→", "ge": "≥", "le": "≤",
           "cdot": "·", "times": "×", "approx": "≈", "star": "*", "log": "log ", "cos": "cos", "text": "", "mathsf": ""}


def one_line(caption: str) -> str:
    """What a caption is about: its first sentence without marks in parentheses, cross-references and 'Left:'."""
    formulas = re.findall(r"\$[^$]*\$", caption)
    for number, formula in enumerate(formulas):                       # one character each, so that no rule looks inside
        caption = caption.replace(formula, chr(0xE000 + number), 1)
    text = re.sub(r",?( and)? equation \(\d+\)", "", caption)
    text = re.sub(r"\s*\([^()]*\)", "", text.replace("(a) ", "")).replace("`", "").strip()
    text = re.split(r"[,;.] [^,;.]*\{numref\}", text)[0]
    text = re.sub(r", (light to dark|theory dashed)[^,;.]*", "", text)
    sentences = [re.sub(r"^Left: ", "", part) for part in re.split(r"(?<=[.?!])\s+", text)]
    line = shorter(sentences[0])
    if len(line) < 18 and len(sentences) > 1 and len(shorter(sentences[1])) > 10:        # 'The data.' says too little
        line += (". " if line[-1:] != "?" else " ") + shorter(sentences[1])
    for number, formula in enumerate(formulas):
        line = line.replace(chr(0xE000 + number), formula)
    return line


def shorter(text: str) -> str:
    """A sentence up to its first semicolon, or a colon far in, with a capital and no full stop."""
    text = text.split("; ")[0]
    head = re.split(r": (?=[a-z])", text)[0]
    text = (head if len(head) > 34 else text).rstrip(".:,")
    return text[:1].upper() + text[1:] if text[:1].isascii() else text


def plain(text: str) -> list[nodes.Node]:
    """A line with simple formulas as text, italics, subscripts and superscripts: no page needs MathJax for it."""
    out = []
    for index, piece in enumerate(re.split(r"\$([^$]*)\$", text)):
        if index % 2 == 0:
            out += [nodes.Text(piece)] if piece else []
            continue
        piece = re.sub(r"\\([a-zA-Z]+)( (?=[A-Za-z]))?", lambda match: SYMBOLS.get(match[1], match[1]), piece)
        piece = re.sub(r"\\[,!;]", " ", piece).strip().replace("-", "−").replace(" ", "\u00a0")
        for part in re.findall(r"[_^](?:\{[^{}]*\}|.)|[A-Za-z]+|[^_^A-Za-z]+", piece):
            bare = re.sub(r"^[_^]|[{}]", "", part)
            if part[0] in "_^":
                out.append((nodes.subscript if part[0] == "_" else nodes.superscript)("", bare))
            else:
                out.append(nodes.emphasis("", bare) if len(bare) == 1 and bare.isalpha() else nodes.Text(bare))
    return out


# --- thumbnails ---------------------------------------------------------------------------------------------------

class thumbnail(nodes.image):                                          # noqa: N801, a node like docutils' own
    """An image with its size in pixels, fetched only when the reader comes near it."""


def visit_thumbnail(self, node) -> None:
    """Write the image: the size keeps the cards from jumping while the pictures arrive."""
    address = posixpath.join(self.builder.imgpath, self.builder.images[node["uri"]])
    self.body.append(f'<img class="dln-thumbnail" src="{address}" alt="{html.escape(node["alt"])}" '
                     f'width="{node["size"][0]}" height="{node["size"][1]}" loading="lazy" decoding="async"/>')


def make_thumbnail(env, card: Card) -> thumbnail:
    """The figure on white, scaled down; made again only when the figure's content changes."""
    from PIL import Image                                              # comes with matplotlib
    folder = Path(env.srcdir) / "_build" / "dln"
    folder.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(card.picture + str(THUMBNAIL_WIDTH).encode()).hexdigest()[:10]
    path = folder / f"thumb-{card.name}-{digest}.webp"
    if not path.is_file():
        with Image.open(io.BytesIO(card.picture)) as picture:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            width = min(THUMBNAIL_WIDTH, white.width)
            height = round(white.height * width / white.width)
            small = white.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
        for old in folder.glob(f"thumb-{card.name}-??????????.webp"):
            old.unlink()
        small.save(path, "WEBP", quality=85, method=6)
    with Image.open(path) as picture:
        size = picture.size
    return thumbnail(uri=f"/_build/dln/{path.name}", alt=card.alt, size=size)


# --- the gallery --------------------------------------------------------------------------------------------------

def book_notebooks(env) -> dict[str, dict]:
    """Every section's notebook; one that is missing or empty has no cells."""
    return {section: read(env, section) or {"cells": [], "metadata": {}}
            for section in ledger.sections(Path(env.srcdir))}


def claims_by_figure(notebooks) -> dict[tuple, list]:
    """All claims under (paper, figure)."""
    grouped = defaultdict(list)
    for notebook in notebooks.values():
        for claim in ledger.claims_of(notebook):
            grouped[claim["paper"], claim["figure"]].append(claim)
    return grouped


class Gallery(SphinxDirective):
    """``dln-gallery:: [paper]``: every labelled figure as a card, all papers or one.

    ``:figures:`` chooses by name, in that order; ``:short:`` shows pictures and labels only.
    """

    optional_arguments = 1
    option_spec = {"figures": directives.unchanged_required, "short": directives.flag}

    def run(self):
        notebooks = book_notebooks(self.env)
        self.claims = claims_by_figure(notebooks)
        self.short = "short" in self.options
        cards = cards_of(notebooks)
        if "figures" in self.options:
            known = {card.name: card for card in cards}
            names = self.options["figures"].split()
            unknown = [name for name in names if name not in known]
            if unknown:
                raise self.error(f"dln-gallery: no figure {', '.join(unknown)} with a label in any notebook")
            return [self.list_of([known[name] for name in names])]
        if self.arguments:
            if self.arguments[0] not in PAPERS:
                raise self.error(f"dln-gallery: no paper {self.arguments[0]!r}; choose from {', '.join(PAPERS)}")
            return self.groups([card for card in cards if card.paper == self.arguments[0]])
        papers = [paper for paper in PAPERS if any(card.paper == paper for card in cards)]
        out = [self.jump(papers, cards)]
        for paper in papers:
            part = self.titled(PAPERS[paper], paper)
            part += self.groups([card for card in cards if card.paper == paper])
            out.append(part)
        return out

    def titled(self, title: str, key: str) -> nodes.section:
        part = nodes.section("", nodes.title(title, title), ids=[nodes.make_id(f"gallery-{key}")])
        self.state.document.note_explicit_target(part)
        return part

    def jump(self, papers, cards) -> nodes.bullet_list:
        """Links to the papers with the number of their pictures."""
        links = nodes.bullet_list(classes=["dln-jump"])
        for paper in papers:
            beyond = sum(card.beyond for card in cards if card.paper == paper)
            pictures = sum(card.paper == paper for card in cards) - beyond
            link = nodes.reference("", PAPERS[paper], internal=True, refuri="#" + nodes.make_id(f"gallery-{paper}"))
            counted = f" {pictures} of the chapter" if paper == "synthesis" else f" {pictures} of the paper"
            links += nodes.list_item("", sentence(link, counted + f", {beyond} beyond" * bool(beyond)))
        return links

    def groups(self, cards) -> list[nodes.Node]:
        """The paper's own figures, then what goes beyond them."""
        own, beyond = [card for card in cards if not card.beyond], [card for card in cards if card.beyond]
        out = [self.list_of(own)] if own else []
        if beyond and self.short:
            out.append(self.list_of(beyond))
        elif beyond:
            part = self.titled("Beyond the paper", f"{beyond[0].paper}-beyond")
            part += self.list_of(beyond, "dln-beyond")
            out.append(part)
        return out

    def list_of(self, cards, *classes) -> nodes.bullet_list:
        items = [nodes.list_item("", *self.card(card), classes=["dln-item"]) for card in cards]
        return nodes.bullet_list("", *items, classes=["dln-gallery", *classes] + ["dln-short"] * self.short)

    def address(self, page: str, anchor: str) -> str:
        return f"{self.env.app.builder.get_relative_uri(self.env.docname, page)}#{nodes.make_id(anchor)}"

    def card(self, card: Card) -> list[nodes.Node]:
        picture = make_thumbnail(self.env, card) if card.picture else nodes.inline(
            "", "appears once the notebook has been run", classes=["dln-thumbnail", "dln-missing"])
        link = nodes.reference("", "", picture, nodes.inline("", card.label, classes=["dln-label"]), internal=True,
                               refuri=self.address(f"notebooks/{card.section}", card.name))
        out = [sentence(link, classes=["dln-picture"])]
        if self.short:
            return out
        words, css = state_of(self.claims[card.paper, card.figure])
        claims = nodes.inline("", words, classes=["dln-state", css])
        if self.claims[card.paper, card.figure]:
            claims = nodes.reference("", words, classes=["dln-state", css], internal=True,
                                     refuri=self.address("book/ledger", ledger_anchor(f"{card.paper} {card.figure}")))
        return out + [sentence(*plain(one_line(card.caption)), classes=["dln-line"]),
                      sentence(link_to_page(card.section), classes=["dln-section"]),
                      sentence(claims, classes=["dln-claims-of"])]


class Tally(SphinxRole):
    """``tally``: a number of the book, such as ``holds saxe2013``, ``figures all`` or ``run-time all``."""

    def run(self):
        what, _, which = self.text.partition(" ")
        notebooks = book_notebooks(self.env)
        cards = [card for card in cards_of(notebooks) if which in ("all", card.paper)]
        claims = [claim for (paper, _), group in claims_by_figure(notebooks).items() for claim in group
                  if which in ("all", paper)]
        seconds = sum(ledger.run_metadata(notebook).get("run_time") or 0 for notebook in notebooks.values())
        numbers = {"claims": len(claims), "holds": sum(claim["passed"] is True for claim in claims),
                   "figures": len({card.figure for card in cards if not card.beyond}), "pictures": len(cards),
                   "notebooks": len(notebooks), "run-time": duration(seconds)}
        if what not in numbers or which not in ("all", *PAPERS):
            message = self.inliner.reporter.error(
                f"tally: cannot count {self.text!r}; say one of {', '.join(numbers)} and one of all, {', '.join(PAPERS)}",
                line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(str(numbers[what]))], []


# --- provenance ---------------------------------------------------------------------------------------------------

def seed_of(notebook: dict) -> str:
    """The seed of a run, else of the notebook's parameters cell; a dash where there is none."""
    parameters = default_parameters(notebook) | ledger.run_metadata(notebook).get("parameters", {})
    return str(parameters.get("seed", "–"))


def facts_of(notebook: dict) -> dict[str, str]:
    """How a notebook's outputs came about, one fact a column."""
    run = ledger.run_metadata(notebook)
    if not run:
        return {}
    names = {"python": "Python", "numpy": "NumPy", "scipy": "SciPy", "matplotlib": "Matplotlib"}
    package = "as now" if run.get("package_hash") == package_hash() else "changed since the run"
    return {"Profile": run.get("profile", "–"), "Date": run.get("date", "–"), "Processor": run.get("processor", "–"),
            **{name: run.get("versions", {}).get(key, "–") for key, name in names.items()},
            "Package": package, "Seed": seed_of(notebook)}


def root_file(env, name: str) -> Path:
    """A file beside the book: in the source folder, or above it where the book is staged in ``_build``."""
    folder = Path(env.srcdir)
    for path in (parent / name for parent in (folder, *folder.parents)):
        if path.is_file():
            env.note_dependency(str(path))
            return path
    raise FileNotFoundError(f"no {name} beside the book")


class Provenance(SphinxDirective):
    """``dln-provenance:: runs | records | pins | cite``: where the numbers come from.

    ``runs`` and ``records`` say once what is the same for all notebooks and tabulate the rest; ``pins`` lists the
    pinned versions of the packages named in the content; ``cite`` makes BibTeX of ``CITATION.cff``.
    """

    required_arguments = 1
    has_content = True

    def run(self):
        parts = {"runs": self.runs, "records": self.records, "pins": self.pins, "cite": self.cite}
        if self.arguments[0] not in parts:
            raise self.error(f"dln-provenance: no part {self.arguments[0]!r}; choose from {', '.join(parts)}")
        return parts[self.arguments[0]]()

    def runs(self):
        return self.table_of({section: (link_to_page(section), notebook, f"dln run {section}") for section, notebook
                              in book_notebooks(self.env).items()}, "notebooks")

    def records(self):
        folder, found = Path(self.env.srcdir) / "records", {}
        for path in sorted(folder.rglob("*.ipynb")):
            profile, _, section = path.relative_to(folder).with_suffix("").as_posix().partition("/")
            if "@" not in section and section in ledger.sections(Path(self.env.srcdir)):
                found[f"{section}@{profile}"] = (link_to_page(f"../records/{profile}/{section}"),
                                                 read(self.env, f"{section}@{profile}"),
                                                 f"dln run {section} --profile {profile}")
        if not found:
            return [sentence("No long run is committed.")]
        return self.table_of(found, "long runs")

    def table_of(self, found: dict, what: str) -> list[nodes.Node]:
        """What all runs share in a list, then one row a run with what is its own."""
        facts = {key: facts_of(notebook) if notebook else {} for key, (_, notebook, _) in found.items()}
        run = [fact for fact in facts.values() if fact]
        columns = list(run[0]) if run else []
        shared = [name for name in columns if name != "Seed" and len({fact[name] for fact in run}) == 1]
        out = []
        if shared:
            same = nodes.bullet_list(classes=["dln-shared"])
            same += [nodes.list_item("", sentence(nodes.strong("", name), f" {run[0][name]}")) for name in shared]
            words = f"The same for all {len(run)} {what}:"
            if len(run) < len(found):
                words = f"{len(run)} of {len(found)} {what} ran; shared:"
            out = [sentence(words, classes=["dln-where"]), same]
        own = [name for name in columns if name not in shared]
        rows = [(page, *(facts[key].get(name, "not run yet") for name in own),
                 (duration(ledger.run_metadata(notebook).get("run_time") if notebook else None), "dln-number"),
                 nodes.literal("", command), {"ids": [nodes.make_id(f"run-{key}")]})
                for key, (page, notebook, command) in found.items()]
        widths = (28, *[12] * len(own), 10, 34)
        return out + [table(("Page", *own, "Run time", "Run it again"), rows, widths, ["dln-provenance"])]

    def pins(self):
        text = root_file(self.env, "constraints.txt").read_text(encoding="utf-8")
        version = dict(re.findall(r"^([\w.-]+)==(\S+)", text, re.M))
        names = " ".join(self.content).split()
        return [sentence("Pinned: ", ", ".join(f"{name} {version[name]}" for name in names if name in version), ".")]

    def cite(self):
        import yaml
        cff = yaml.safe_load(root_file(self.env, "CITATION.cff").read_text(encoding="utf-8"))
        own, *papers = bibtex(cff)
        return [nodes.literal_block(entry, entry, language="bibtex") for entry in (own, "\n\n".join(papers))]


def bibtex(cff: dict) -> list[str]:
    """BibTeX of a parsed ``CITATION.cff``: the work itself, then its references."""
    def name_of(person):
        return f"{{{person['name']}}}" if "name" in person else f"{person['family-names']}, {person['given-names']}"

    def entry(kind, key, item, **fields):
        fields = {"title": f"{{{item['title']}}}", "author": " and ".join(map(name_of, item["authors"]))} | fields
        return f"@{kind}{{{key},\n" + "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items()) + "}"

    out = [entry("software", "dlnutils", cff, year=str(cff["date-released"])[:4], version=cff["version"])]
    for item in cff.get("references", ()):
        key = f"{item['authors'][0]['family-names'].lower()}{item['year']}"
        number = item["url"].rpartition("/")[2]
        out.append(entry("misc", key, item, year=item["year"], eprint=number, archivePrefix="arXiv", url=item["url"]))
    return out


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_node(thumbnail, html=(visit_thumbnail, lambda self, node: None))
    app.add_directive("dln-gallery", Gallery)
    app.add_directive("dln-provenance", Provenance)
    app.add_role("tally", Tally())
    app.add_css_file("dln-gallery.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""The gallery of figures and the numbers of the front page.

Thumbnails, lines and the state of the claims come from the notebooks while Sphinx reads the pages. Nothing is drawn
twice and no number is copied by hand.
"""

from __future__ import annotations

import hashlib
import html
import io
import posixpath
import re
from collections import Counter, defaultdict
from typing import NamedTuple

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ..notebooks import claims_of, figure_cells, picture_of, run_metadata
from ..words import duration, paper_figure
from .pieces import PAPERS, book_notebooks, ledger_anchor, link_to_page, made_folder, sentence, titled_section

THUMBNAIL_SIZE = (480, 400)        # pixels; a card is about 280 wide and less high: pictures stay sharp on fine screens


class Card(NamedTuple):
    """One figure of one notebook."""

    section: str
    name: str
    paper: str
    figure: str             # the label, such as '3 left' or '+depth'
    part: tuple             # (2, 4): the second of four pictures with this label
    short: str              # what to see, in one plain line
    alt: str
    picture: bytes | None   # None where the notebook has no outputs

    @property
    def beyond(self) -> bool:
        return self.figure.startswith("+")

    @property
    def label(self) -> str:
        label = "Beyond the paper" if self.beyond else paper_figure(self.paper, self.figure)
        number, total = self.part
        return f"{label}, {number} of {total}" if total > 1 else label


def cards_of(notebooks: dict[str, dict]) -> list[Card]:
    """Every labelled figure: papers in the book's order, a paper's figures by number, what goes beyond it last."""
    found = []
    for section, notebook in notebooks.items():
        for name, cell in figure_cells(notebook):
            label, look = cell["metadata"].get("dln"), cell["metadata"]["mystnb"]
            if label:
                found.append(Card(section, name, label["paper"], label["figure"], (1, 1), label.get("short", ""),
                                  look.get("image", {}).get("alt", name), picture_of(notebook, name)))
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


class thumbnail(nodes.image):                                          # noqa: N801, a node like docutils' own
    """An image with its size in pixels, fetched only when the reader comes near it."""


def visit_thumbnail(self, node) -> None:
    """Write the image: the size keeps the cards from jumping while the pictures arrive."""
    address = posixpath.join(self.builder.imgpath, self.builder.images[node["uri"]])
    self.body.append(f'<img class="dln-thumbnail" src="{address}" alt="{html.escape(node["alt"])}" '
                     f'width="{node["size"][0]}" height="{node["size"][1]}" loading="lazy" decoding="async"/>')


def make_thumbnail(env, name: str, content: bytes, alt: str) -> thumbnail:
    """The figure on white, scaled down; made again only when the figure's content changes."""
    from PIL import Image  # comes with matplotlib
    folder = made_folder(env)
    digest = hashlib.sha256(content + str(THUMBNAIL_SIZE).encode()).hexdigest()[:10]
    path = folder / f"thumb-{name}-{digest}.webp"
    if not path.is_file():
        with Image.open(io.BytesIO(content)) as picture:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture)
            small = white.convert("RGB")
            small.thumbnail(THUMBNAIL_SIZE, Image.Resampling.LANCZOS)
        for old in folder.glob(f"thumb-{name}-??????????.webp"):
            old.unlink()
        small.save(path, "WEBP", quality=85, method=6)
    with Image.open(path) as picture:
        size = picture.size
    return thumbnail(uri=f"/_build/dln/{path.name}", alt=alt, size=size)


def claims_by_figure(notebooks) -> dict[tuple, list]:
    """All claims under (paper, figure)."""
    grouped = defaultdict(list)
    for notebook in notebooks.values():
        for claim in claims_of(notebook):
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
        out: list[nodes.Node] = [self.jump(papers, cards)]
        for paper in papers:
            part = self.titled(PAPERS[paper], paper)
            part += self.groups([card for card in cards if card.paper == paper])
            out.append(part)
        return out

    def titled(self, title: str, key: str) -> nodes.section:
        return titled_section(self.state.document, title, nodes.make_id(f"gallery-{key}"))

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
        out: list[nodes.Node] = [self.list_of(own)] if own else []
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
        picture = make_thumbnail(self.env, card.name, card.picture, card.alt) if card.picture else nodes.inline(
            "", "appears once the notebook has been run", classes=["dln-thumbnail", "dln-missing"])
        link = nodes.reference("", "", picture, nodes.inline("", card.label, classes=["dln-label"]), internal=True,
                               refuri=self.address(f"notebooks/{card.section}", card.name))
        out: list[nodes.Node] = [sentence(link, classes=["dln-picture"])]
        if self.short:
            return out
        words, css = state_of(self.claims[card.paper, card.figure])
        claims = nodes.inline("", words, classes=["dln-state", css])
        if self.claims[card.paper, card.figure]:
            claims = nodes.reference("", words, classes=["dln-state", css], internal=True,
                                     refuri=self.address("book/ledger", ledger_anchor(f"{card.paper} {card.figure}")))
        return out + [sentence(card.short, classes=["dln-line"]),
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
        seconds = sum(run_metadata(notebook).get("run_time") or 0 for notebook in notebooks.values())
        numbers = {"claims": len(claims), "holds": sum(claim["passed"] is True for claim in claims),
                   "figures": len({card.figure for card in cards if not card.beyond}), "pictures": len(cards),
                   "notebooks": len(notebooks), "run-time": duration(seconds)}
        if what not in numbers or which not in ("all", *PAPERS):
            message = self.inliner.reporter.error(
                f"tally: cannot count {self.text!r}; say one of {', '.join(numbers)} and one of all, {', '.join(PAPERS)}",
                line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        return [nodes.Text(str(numbers[what]))], []


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_node(thumbnail, html=(visit_thumbnail, lambda self, node: None))
    app.add_directive("dln-gallery", Gallery)
    app.add_role("tally", Tally())
    app.add_css_file("dln-gallery.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

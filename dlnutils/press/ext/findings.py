"""What the book found, one idea an entry: a picture, a sentence with a number, a link; and every disagreement with a paper.

Which statements do not hold is read from the ledger. The page says in its own words what it has words for; for any other
disagreement the words of its claim stand, so that none is missing.
"""

from __future__ import annotations

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective, SphinxRole

from ..notebooks import claims_of
from ..words import in_prose, verdict_of
from .gallery import Card, cards_of, make_thumbnail
from .parts import in_words, note_of, with_formulas
from .pieces import book_notebooks, link_to_page, sentence
from .verdicts import verdicts_of


def claims_by_id(notebooks: dict[str, dict]) -> dict[str, dict]:
    """Every claim of the book under its id."""
    return {claim["id"]: claim for notebook in notebooks.values() for claim in claims_of(notebook)}


def disagreements(notebooks: dict[str, dict]) -> list[dict]:
    """The claims that test a statement of a paper and find that it does not hold, in the book's order."""
    return [claim for claim in claims_by_id(notebooks).values() if verdict_of(claim)[0] == "disagrees"]


def card_for(claims: list[dict], cards: list[Card]) -> Card | None:
    """The picture beside claims of one page: that of their label, else the first of the page."""
    own = [card for card in cards if card.section == claims[0]["notebook"]]
    return next((card for card in own if card.figure == claims[0]["figure"]), own[0] if own else None)


class ClaimNumber(SphinxRole):
    """``claim`` of an id: the number as a sentence has it, on any page; it leads to its row in the ledger."""

    def run(self):
        claim = claims_by_id(book_notebooks(self.env)).get(self.text)
        if claim is None:
            message = self.inliner.reporter.error(f"claim: no notebook makes the claim {self.text!r}; `dln ledger` lists all",
                                                  line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        number = in_prose(claim["shown"])
        address = self.env.app.builder.get_relative_uri(self.env.docname, "book/ledger")
        return [nodes.reference("", number, internal=True, classes=["dln-claim-number"],
                                refuri=f"{address}#{nodes.make_id('claim-' + self.text)}")], []


class Finding(SphinxDirective):
    """``dln-finding:: [ids of claims that disagree]``: the content beside the picture that ``:figure:`` names."""

    optional_arguments = 1
    final_argument_whitespace = True
    has_content = True
    option_spec = {"figure": directives.unchanged_required}

    def run(self):
        notebooks = book_notebooks(self.env)
        known, names = claims_by_id(notebooks), (self.arguments[0].split() if self.arguments else [])
        wrong = [name for name in names if name not in known or verdict_of(known[name])[0] != "disagrees"]
        if wrong:
            raise self.error(f"dln-finding: no claim {', '.join(wrong)} disagrees with its paper: mend the id, or move the entry")
        cards = {card.name: card for card in cards_of(notebooks)}
        if self.options.get("figure") not in cards:
            raise self.error(f"dln-finding: no figure {self.options.get('figure')!r} with a label in any notebook")
        holder = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, holder)
        return [entry(self.env, cards[self.options["figure"]], holder.children, [known[name] for name in names])]


class Disagreements(SphinxDirective):
    """``dln-disagreements``: how many statements hold, the entries of the content, and what they leave out of the ledger."""

    has_content = True

    def run(self):
        notebooks = book_notebooks(self.env)
        holder = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, holder)
        told = {name for part in holder.findall(nodes.container) for name in part.get("claims", ())}
        pages: dict[tuple, list] = {}
        for claim in disagreements(notebooks):
            if claim["id"] not in told:
                pages.setdefault((claim["notebook"], claim["figure"]), []).append(claim)
        rest = []
        for claims in pages.values():
            words = [sentence(*with_formulas(in_words(claim))) for claim in claims if claim.get("words")]
            rest.append(entry(self.env, card_for(claims, cards_of(notebooks)), words, claims))
        printed = verdicts_of(notebooks, [])["all"]
        verdict = f"{printed.agree} hold here, {printed.disagree} do{'es' * (printed.disagree == 1)} not."
        counted = sentence(f"{printed.tested} statements and numbers that the papers print are tested in this book. ",
                           nodes.strong("", verdict))
        return [counted, *holder.children, *rest]


def entry(env, card: Card | None, words: list, claims: list[dict]) -> nodes.container:
    """One idea: the picture, which leads to the figure; the words; claims that disagree; the page."""
    text = nodes.container("", *words, classes=["dln-finding-words"])
    if claims:
        items = nodes.bullet_list(classes=["dln-finding-claims"])
        for claim in claims:
            note = nodes.inline("", note_of(claim) + ".", classes=["dln-where"])
            verdict = nodes.inline("", "disagrees", classes=["dln-verdict"])
            items += nodes.list_item("", sentence(verdict, f" {claim['statement']}. ", note))
        text += items
    out = nodes.container("", classes=["dln-finding"], claims=[claim["id"] for claim in claims])
    if card is not None:
        text += sentence(card._replace(part=(1, 1)).label, " · ", link_to_page(card.section), classes=["dln-where"])
        if card.picture:
            address = env.app.builder.get_relative_uri(env.docname, f"notebooks/{card.section}")
            out += sentence(nodes.reference("", "", make_thumbnail(env, card.name, card.picture, card.alt), internal=True,
                                            refuri=f"{address}#{nodes.make_id(card.name)}"), classes=["dln-picture"])
    elif claims:
        text += sentence(link_to_page(claims[0]["notebook"]), classes=["dln-where"])
    out += text
    return out


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-finding", Finding)
    app.add_directive("dln-disagreements", Disagreements)
    app.add_role("claim", ClaimNumber())
    app.add_css_file("dln-findings.css")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

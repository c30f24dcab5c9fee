"""A notebook's figure on another page."""

from __future__ import annotations

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util.docutils import SphinxDirective

from ..notebooks import FRONT_FIGURE, figure_cells, picture_of
from .pieces import keep_file, read, sentence


class Figure(SphinxDirective):
    """``dln-figure:: chapter/section name``: a notebook's figure, taken from its outputs; the content is the caption.

    The name ``front`` stands for the front figure of the book.
    """

    required_arguments = 2
    has_content = True
    option_spec = {"alt": directives.unchanged_required, "width": directives.length_or_percentage_or_unitless,
                   "link": directives.unchanged_required}

    def run(self):
        section, name = self.arguments
        name = FRONT_FIGURE if name == "front" else name
        notebook = read(self.env, section) or {"cells": []}
        content = picture_of(notebook, name)
        if content is None:
            return [sentence("The figure ", nodes.literal(name, name), " appears here once its notebook has been run: ",
                             nodes.literal("", f"dln run {section}"), ".", classes=["dln-missing"])]
        cell = dict(figure_cells(notebook))[name]
        alt = self.options.get("alt") or cell["metadata"]["mystnb"].get("image", {}).get("alt", name)
        image = nodes.image(uri=keep_file(self.env, f"{name}.png", content), alt=alt)
        if "width" in self.options:
            image["width"] = self.options["width"]
        page, _, anchor = self.options.get("link", f"notebooks/{section}#{nodes.make_id(name)}").partition("#")
        address = self.env.app.builder.get_relative_uri(self.env.docname, page) + (f"#{anchor}" if anchor else "")
        link = nodes.reference("", "", image, internal=True, refuri=address)
        out = nodes.figure("", link, classes=["dln-figure"])
        if self.content:
            holder = nodes.Element()
            self.state.nested_parse(self.content, self.content_offset, holder)
            out += nodes.legend("", *holder.children)      # not a caption: a borrowed figure takes no number
        return [out]


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_directive("dln-figure", Figure)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Interactive pages: the directive ``dln-explorer`` and what a page that has one loads.

An explorer is plain JavaScript from ``book/_static/explorers``. Its scripts are ordinary ones, neither modules nor
fetched, so that a page works from the file system as well. Numbers that a script cannot compute by itself come from a
committed file: a function in ``DATA`` reads them while the book is built, and the page loads them as a script.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole

from . import explorer_table
from .pieces import keep_file, made_folder, sentence

# Scripts of each explorer, after the common ones and in this order.
SCRIPTS = {
    "modes": ["modes-model.js", "modes.js"],
    "live": ["modes-model.js", "live-model.js", "live.js"],
    "mixed-regime": ["mixed-model.js", "mixed-regime.js"],
    "transfer": ["transfer-model.js", "transfer.js"],
    "dial": ["modes-model.js", "mixed-model.js", "live-model.js", "dial-model.js", "dial.js"],
}
COMMON = ["plot.js", "controls.js"]

# name -> function of the Sphinx environment that returns what JSON can hold; scripts find it as dln.data["name"].
# The function must call env.note_dependency for every file it reads; it returns None where the file is missing, and the page
# then says what makes it.
DATA = {"transfer": lambda env: transfer_table(env)}
COMMANDS = {"transfer": "dln explorer"}


def transfer_table(env) -> dict | None:
    """The table of the explorer of transfer; its page is rebuilt when it changes."""
    path = Path(env.srcdir) / explorer_table.PATH
    env.note_dependency(str(path))
    return explorer_table.read_table(Path(env.srcdir)) if path.is_file() else None


class explorer(nodes.General, nodes.Element):
    """The place on a page where an explorer is built by its script."""


class Explorer(SphinxDirective):
    """``dln-explorer:: name``: an explorer; the content says in words what it shows, for those who cannot see it."""

    required_arguments = 1
    has_content = True
    option_spec = {"label": str}

    def run(self):
        name = self.arguments[0]
        if name not in SCRIPTS:
            raise self.error(f"no explorer {name!r}: one of {', '.join(sorted(SCRIPTS))}")
        if not self.content:
            raise self.error(f"say in words what the explorer {name!r} shows: the directive needs content")
        if name in DATA and not write_data(self.env, name):
            return [sentence("The explorer appears here once its numbers have been computed: ",
                             nodes.literal("", COMMANDS[name]), ".", classes=["dln-missing"])]
        words = nodes.container(classes=["dln-explorer-words"], ids=[f"dln-explorer-{name}-words"])
        self.state.nested_parse(self.content, self.content_offset, words)
        return [explorer("", name=name, label=self.options.get("label", f"Explorer: {name.replace('-', ' ')}")), words]


class Try(SphinxRole):
    """``dln-try:`words <name=value&name=value>```: a button that sets the explorer of its page; the rest is reset."""

    def run(self):
        words, _, setting = self.text.rstrip(">").rpartition("<")
        button = (f'<button type="button" class="dln-try" data-setting="{escape(setting.strip())}">'
                  f'{escape(words.strip())}</button>')
        return [nodes.raw("", button, format="html")], []


def write_data(env, name: str) -> bool:
    """Write the numbers of an explorer as a script, since a page from the file system may not fetch a file.

    False where there are none yet.
    """
    numbers = DATA[name](env)
    if numbers is None:
        return False
    text = (f"window.dln = window.dln || {{}};\ndln.data = dln.data || {{}};\n"
            f"dln.data[{json.dumps(name)}] = {json.dumps(numbers, allow_nan=False, separators=(',', ':'))};\n")
    keep_file(env, f"{name}-data.js", text.encode())
    return True


def visit_explorer(self, node):
    name, label = node["name"], escape(node["label"])
    self.body.append(
        f'<div class="dln-explorer" id="dln-explorer-{name}" role="region" tabindex="-1" aria-label="{label}" '
        f'aria-describedby="dln-explorer-{name}-words">\n<noscript><p>This explorer computes its curves in your browser'
        " and needs JavaScript. The words below say what it shows, and the notebooks linked on this page hold the same "
        "curves as figures.</p></noscript>\n")


def depart_explorer(self, node):
    self.body.append("</div>\n")


def skip(self, node):
    raise nodes.SkipNode


def load_scripts(app, pagename, templatename, context, doctree) -> None:
    """Give the scripts to the pages that have an explorer, and to no other."""
    names = [node["name"] for node in doctree.findall(explorer)] if doctree is not None else []
    if not names:
        return
    app.add_css_file("explorers/explorers.css")
    for script in COMMON:
        app.add_js_file(f"explorers/{script}")
    for name in names:
        if name in DATA:
            source, target = f"{name}-data.js", Path(app.outdir) / "_static" / "explorers" / f"{name}-data.js"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((made_folder(app.env) / source).read_bytes())
            app.add_js_file(f"explorers/{source}")
        for script in SCRIPTS[name]:
            app.add_js_file(f"explorers/{script}", loading_method="defer")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.add_node(explorer, html=(visit_explorer, depart_explorer), latex=(skip, None), text=(skip, None))
    app.add_directive("dln-explorer", Explorer)
    app.add_role("dln-try", Try())
    app.connect("html-page-context", load_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

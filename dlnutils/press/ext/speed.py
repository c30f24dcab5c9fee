"""The same site in less time.

Sphinx unpickles the whole page of a figure for each reference to its number, and stems a word once a page: here both are done
once. And it writes pages in parallel only where it reads them in parallel, too, which one of Jupyter Book's extensions does
not allow: here it writes in parallel.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from sphinx.domains.std import StandardDomain
from sphinx.search.en import SearchEnglish

from ..machine import cores


class Once:
    """Sphinx's environment, for those who only look at its pages: each is unpickled once."""

    def __init__(self, env):
        self.env, self.pages = env, {}

    def __getattr__(self, name):
        return getattr(self.env, name)

    def get_doctree(self, docname):
        """A page as it was read."""
        if docname not in self.pages:
            self.pages[docname] = self.env.get_doctree(docname)
        return self.pages[docname]


class Domain(StandardDomain):
    """Sphinx's own domain of labels and figures. Numbers are looked up after all pages were read, so pages can be kept."""

    def __init__(self, env):
        super().__init__(env)
        self.once: Any = Once(env)

    def _resolve_numref_xref(self, env, *rest):
        return super()._resolve_numref_xref(self.once, *rest)


class Search(SearchEnglish):
    """Sphinx's own index of English words; a stem is found once."""

    def init(self, options):
        super().init(options)
        self.stem = cache(self.stem)


def write_in_parallel(app, env) -> None:
    """When all pages were read: from here on use all cores."""
    app.parallel = cores()


def setup(app):
    """What is kept is each process's own, so reading and writing may run in parallel."""
    app.add_domain(Domain, override=True)
    app.add_search_language(Search)
    app.connect("env-updated", write_in_parallel)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

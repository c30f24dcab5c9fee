"""Where the book can be found: the one reader of the public addresses in ``_config.yml``, and the files that repeat them.

``python -m dlnutils.press.ext.address`` writes the addresses into the files that are read where nothing is built:
``CITATION.cff``, ``.zenodo.json`` and the badges of ``README.md``. While an address is empty, its lines are left out.
``setup.py`` runs this file on its own, so it uses the standard library alone.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

__all__ = ["Addresses", "addresses", "with_addresses", "index_readme"]

#: The lines of ``_config.yml``, by what they hold.
LINES = {"site": r'^ +baseurl: *"([^"]*)"', "repository": r'^repository: *\{url: *"([^"]*)"',
         "branch": r"^repository:.*branch: *([\w./-]+)"}
BINDER = "https://mybinder.org"
#: The picture of the README, in the repository and in the site.
PICTURE, SITE_PICTURE = "records/front-figure.png", "_static/front-figure.png"


class Addresses(NamedTuple):
    """Public addresses without a slash at their end, empty while there are none."""

    site: str = ""
    repository: str = ""
    branch: str = "main"

    @property
    def binder(self) -> str:
        """Where the notebooks run on a server; empty for a repository that is neither on GitHub nor on GitLab."""
        parts = urlsplit(self.repository)
        kind = {"github.com": "gh", "gitlab.com": "gl"}.get(parts.netloc)
        return f"{BINDER}/v2/{kind}/{parts.path.strip('/')}/{self.branch}?urlpath=lab/tree/notebooks" if kind else ""

    @property
    def picture(self) -> str:
        """Where the README's picture is: in the site, or in the repository."""
        if self.site:
            return f"{self.site}/{SITE_PICTURE}"
        return f"{self.repository}/raw/{self.branch}/{PICTURE}" if self.repository else ""


def addresses(root: Path) -> Addresses:
    """The public addresses in ``_config.yml``.

    Raises
    ------
    ValueError
        A line is missing, or an address is not one.
    """
    text, found = (Path(root) / "_config.yml").read_text(encoding="utf-8"), {}
    for name, pattern in LINES.items():
        line = re.search(pattern, text, re.M)
        if not line:
            raise ValueError(f"_config.yml must have a line for the {name}, got none: see html.baseurl and repository in it")
        found[name] = line[1].rstrip("/")
    for name in ("site", "repository"):
        parts = urlsplit(found[name])
        if found[name] and not (parts.scheme in ("http", "https") and "." in parts.netloc and not parts.query):
            raise ValueError(f"_config.yml must hold the {name} as https://…, got {found[name]!r}")
    return Addresses(**found)


def _readme(text: str, at: Addresses) -> str:
    """The README with its badges: one line below the title."""
    badges = [f"[Read the book]({at.site})"] if at.site else []
    if at.binder:
        badges.append(f"[![Run it on Binder]({BINDER}/badge_logo.svg)]({at.binder})")
    if urlsplit(at.repository).netloc == "github.com":
        checks = f"{at.repository}/actions/workflows/ci.yml"
        badges.append(f"[![Its checks]({checks}/badge.svg)]({checks})")
    below = " · ".join(badges) + "\n\n" if badges else ""
    return re.sub(r"\A(# .*\n\n)(?:\[.*\n\n)?", lambda title: title[1] + below, text)


def _citation(text: str, at: Addresses) -> str:
    """The entry with ``url`` and ``repository-code``, above its references."""
    text = re.sub(r"^(?:url|repository-code): .*\n", "", text, flags=re.M)
    lines = (f'url: "{at.site}"\n' if at.site else "") + (f'repository-code: "{at.repository}"\n' if at.repository else "")
    return re.sub(r"^references:", lines + "references:", text, flags=re.M)


def _zenodo(text: str, at: Addresses) -> str:
    """The deposit with what it is documented by and made from, above the papers."""
    ours = [{"identifier": place, "relation": relation, "scheme": "url"} for place, relation in
            ((at.site, "isDocumentedBy"), (at.repository, "isDerivedFrom")) if place]
    papers = [entry for entry in json.loads(text)["related_identifiers"] if entry["scheme"] != "url"]
    rows = ",\n".join(f"    {json.dumps(entry, ensure_ascii=False)}" for entry in ours + papers)
    return re.sub(r'(?s)("related_identifiers": \[\n).*?(\n  \])', lambda part: part[1] + rows + part[2], text)


def with_addresses(root: Path, at: Addresses | None = None) -> dict[str, str]:
    """The files that repeat the addresses, as they must read; default those of ``_config.yml``."""
    at = addresses(root) if at is None else at
    writers = {"README.md": _readme, "CITATION.cff": _citation, ".zenodo.json": _zenodo}
    return {name: write((Path(root) / name).read_text(encoding="utf-8"), at) for name, write in writers.items()}


def index_readme(root: Path) -> str:
    """The README as a package index shows it: the picture by its address, or left out with its caption."""
    at, readme = addresses(root), (Path(root) / "README.md").read_text(encoding="utf-8")
    picture = rf"!\[([^]]*)\]\({re.escape(PICTURE)}\)"
    if at.picture:
        return re.sub(picture, lambda found: f"![{found[1]}]({at.picture})", readme)
    return re.sub(picture + r"\n+\*[^*]*\*\n+", "", readme)


if __name__ == "__main__":
    here = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for file, content in with_addresses(here).items():
        if (here / file).read_text(encoding="utf-8") != content:
            (here / file).write_text(content, encoding="utf-8")
            print(f"{here / file}: addresses written")

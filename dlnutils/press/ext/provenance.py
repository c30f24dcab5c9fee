"""Where the numbers come from: runs, records, pins, and how to cite."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

from ...store import package_hash
from ..notebooks import default_parameters, run_metadata, sections
from ..words import duration
from .pieces import book_notebooks, link_to_page, read, root_file, sentence, table


def seed_of(notebook: dict) -> str:
    """The seed of a run, else of the notebook's parameters cell; a dash where there is none."""
    parameters = default_parameters(notebook) | run_metadata(notebook).get("parameters", {})
    return str(parameters.get("seed", "–"))


def facts_of(notebook: dict) -> dict[str, str]:
    """How a notebook's outputs came about, one fact a column."""
    run = run_metadata(notebook)
    if not run:
        return {}
    names = {"python": "Python", "numpy": "NumPy", "scipy": "SciPy", "matplotlib": "Matplotlib"}
    package = "as now" if run.get("package_hash") == package_hash() else "changed since the run"
    return {"Profile": run.get("profile", "–"), "Date": run.get("date", "–"), "Processor": run.get("processor", "–"),
            **{name: run.get("versions", {}).get(key, "–") for key, name in names.items()},
            "Package": package, "Seed": seed_of(notebook)}


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
            if "@" not in section and section in sections(Path(self.env.srcdir)):
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
                 (duration(run_metadata(notebook).get("run_time") if notebook else None), "dln-number"),
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
    app.add_directive("dln-provenance", Provenance)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""Three small links in the caption of a figure: its picture, its drawing and its numbers, where the last run left them."""

from __future__ import annotations

import html
import shutil
import zipfile
from pathlib import Path

from docutils import nodes

from ..figure_files import KINDS, files_of
from ..notebooks import UsageError, read_notebook

#: The site's folder with the files.
FOLDER = "_figures"

#: Bytes above which a table is offered in an archive, which every system opens and which is a fifth as large.
LARGE = 50_000


class files(nodes.General, nodes.Inline, nodes.Element):               # noqa: N801, a node like docutils' own
    """Where a figure can be had: ``figure`` is its name in the site, ``called`` its number."""


def visit_files(self, node) -> None:
    """Write the links; a link's name says of which figure it is, in which form, and how large."""
    builder = self.builder
    links = []
    for kind in KINDS:
        path = next(path for path in places(Path(builder.outdir), node["figure"], kind) if path.is_file())
        address = "../" * builder.current_docname.count("/") + f"{FOLDER}/{path.name}"
        size = words_of_size(path.stat().st_size)
        words = f"{kind.upper()} (zip)" if path.suffix == ".zip" else kind.upper()
        links.append(f'<a href="{html.escape(address)}" download="{path.name}" title="{size}" '
                     f'aria-label="{words}, {html.escape(node["called"])}, {size}">{words}</a>')
    self.body.append(f' <span class="dln-files dln-screen-only">{" · ".join(links)}</span>')


def places(outdir: Path, name: str, kind: str) -> list[Path]:
    """Where the file of a figure may lie in the site."""
    place = outdir / FOLDER / f"{name}.{kind}"
    return [place, place.with_name(f"{place.name}.zip")] if kind == "csv" else [place]


def words_of_size(n: int) -> str:
    """Bytes in words.

    Examples
    --------
    >>> words_of_size(140), words_of_size(84_321), words_of_size(2_404_845)
    ('1 KB', '84 KB', '2.4 MB')
    """
    return f"{max(n // 1000, 1)} KB" if n < 1e6 else f"{n / 1e6:.1f} MB"


def offers(srcdir: Path, docname: str, page: Path) -> dict[str, Path]:
    """The figures of a page for which there are files, under the names they have on this page.

    A section shows the run of the site's profile, a record that of its own; names of figures in a record end with its profile.
    """
    staged = srcdir.parent.name == "stage" and srcdir.parent.parent.name == "_build"
    root, profile = (srcdir.parents[2], srcdir.name) if staged else (srcdir, "default")
    place, _, section = docname.partition("/")
    if place == "records":
        profile, _, section = section.partition("/")
    if page.suffix != ".ipynb" or place not in ("notebooks", "records"):
        return {}
    try:
        found = files_of(root, section, profile, read_notebook(page))
    except (OSError, UsageError):
        return {}
    return {f"{name}-{profile}" if place == "records" else name: path for name, path in found.items()}


def lay_out(outdir: Path, wanted: dict[str, Path]) -> None:
    """Make the site's folder hold these figures and no others; what is there already stays."""
    folder, expected = outdir / FOLDER, set()
    for name, path in wanted.items():
        for kind in KINDS:
            source = path.with_name(f"{path.name}.{kind}")
            large = kind == "csv" and source.stat().st_size > LARGE
            target = places(outdir, name, kind)[-1 if large else 0]
            expected.add(target.name)
            if target.is_file() and target.stat().st_mtime >= source.stat().st_mtime:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            if large:
                with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
                    archive.write(source, f"{name}.csv")
            else:
                shutil.copyfile(source, target)
    for path in folder.glob("*"):
        if path.name not in expected:
            path.unlink()


def find_files(app, env, added, changed, removed) -> list[str]:
    """Lay the files into the site; pages whose links are no longer right are read anew."""
    if app.builder.format != "html":
        return []
    before = getattr(env, "dln_figure_files", {})
    found = {docname: offers(Path(app.srcdir), docname, Path(env.doc2path(docname))) for docname in sorted(env.found_docs)}
    lay_out(Path(app.outdir), {name: path for page in found.values() for name, path in page.items()})
    env.dln_figure_files = {docname: {name: [(path.with_name(f"{path.name}.{kind}")).stat().st_mtime for kind in KINDS]
                                      for name, path in page.items()} for docname, page in found.items() if page}
    return [docname for docname in sorted(env.found_docs)
            if before.get(docname) != env.dln_figure_files.get(docname) and docname in env.all_docs]


def add_links(app, doctree, docname) -> None:
    """End a caption with what can be had."""
    if app.builder.format != "html":
        return
    known = {nodes.make_id(name): name for name in getattr(app.env, "dln_figure_files", {}).get(docname, ())}
    numbers = app.env.toc_fignumbers.get(docname, {}).get("figure", {})
    for figure in doctree.findall(nodes.figure):
        anchor = next((anchor for anchor in figure["ids"] if anchor in known), None)
        caption = next(iter(figure.findall(nodes.caption)), None)
        if anchor and caption is not None:
            number = numbers.get(anchor)
            called = f"Fig. {'.'.join(map(str, number))}" if number else "this figure"
            caption += files(figure=known[anchor], called=called)


def setup(app):
    """What pages offer is found before any is read, so reading and writing may run in parallel."""
    app.add_node(files, html=(visit_files, lambda self, node: None))
    app.connect("env-get-outdated", find_files)
    app.connect("doctree-resolved", add_links)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

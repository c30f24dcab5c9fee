"""The command ``dln``: run notebooks, accept their outputs, build the site, read the ledger, fetch data."""

from __future__ import annotations

import codecs
import errno
import importlib.util
import io
import json
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

import click

from .. import __version__, datasets, store
from . import accept as accepting
from . import figure_data, ledger, machine, notebooks, site
from . import pdf as printing
from . import run as running
from . import trials as paper_trials
from .ext import explorer_table

#: What a terminal that knows few characters shows instead.
PLAIN = {"≤": "<=", "≥": ">=", "…": "..", "×": "x", "−": "-", "–": "-", "—": "-", "µ": "u", "μ": "u", "·": "*", "→": "->"}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(character, "?") for character in error.object[error.start:error.end]), error.end


class Dln(click.Group):
    """Turns a ``UsageError`` of the package into one line and exit code 2, one of a file into exit code 1."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except notebooks.UsageError as error:
            click.echo(f"dln: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.errno == errno.EPIPE or not error.filename:
                raise
            click.echo(f"dln: {error}", err=True)
            ctx.exit(1)


def _need(extra: str, *modules: str) -> None:
    """Leave with a one-line mend when what an extra brings is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        click.echo(f"dln: this needs {', '.join(missing)}: pip install -c constraints.txt -e '.[{extra}]'", err=True)
        raise SystemExit(1)


def _root() -> Path:
    root = notebooks.find_root()
    _need("book", "yaml")
    return root


@click.group(cls=Dln, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dln")
def main() -> None:
    """Deep linear networks: run the notebooks, check their claims, build the book."""
    codecs.register_error("dln", _plainly)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="dln")


@main.command("run")
@click.argument("section", nargs=-1)
@click.option("--profile", default="default", show_default=True, help="A set of parameters in notebooks/profiles.")
@click.option("-p", "parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Another value for a parameter.")
@click.option("--jobs", type=click.IntRange(min=1), help="Notebooks at a time. [default: one a core]")
@click.option("--force", is_flag=True, help="Also run what is up to date.")
def run(section, profile, parameter, jobs, force) -> None:
    """Execute notebooks (all of them, a chapter, or SECTIONs such as saddles/depth) into _build/executed."""
    root = _root()
    _need("book", "papermill", "ipykernel")
    overrides = {name: running.parse_value(value) for name, value in parameter}
    planned = running.plan(root, section, profile=profile, overrides=overrides)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = running.run(planned, n_jobs=jobs, force=force, echo=click.echo)
    failed = [result for result in results if result.state == "failed"]
    left = [result for result in results if result.state == "interrupted"]
    if failed:
        click.echo("\nfailed:", err=True)
        for result in failed:
            where = f"cell {result.cell}" if result.cell else "-"
            click.echo(f"  {result.section}  {where}  {result.error}", err=True)
        click.echo("what they got to is kept beside the results as SECTION.failed.ipynb", err=True)
    if left:
        click.echo(f"interrupted: {len(results) - len(left)} of {len(results)} notebooks are finished; the same "
                   "command goes on from here", err=True)
        raise SystemExit(130)
    if overrides and not failed:
        click.echo("other parameters than the profile's: claims are shown, not asserted")
        for job in planned:
            click.echo(f"  {job.target.relative_to(root)}")
    raise SystemExit(1 if failed else 0)


@main.command()
@click.argument("section", nargs=-1)
@click.option("--profile", default="default", show_default=True, help="Others are recorded under records/.")
def accept(section, profile) -> None:
    """Make finished runs the committed notebooks (default profile) or records (other profiles)."""
    root = _root()
    for path in accepting.accept(root, section, profile=profile):
        click.echo(path.relative_to(root))


@main.command()
@click.option("--profile", default="default", show_default=True, help="Whose executed notebooks to show.")
@click.option("--committed", is_flag=True, help="Show the committed outputs only.")
@click.option("--lenient", is_flag=True, help="Do not treat warnings as errors.")
@click.option("--pyodide", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Folder with Pyodide's files, laid into the site: pages run without another server.")
def build(profile, committed, lenient, pyodide) -> None:
    """Build the site into _build/html."""
    if pyodide:
        os.environ["DLN_PYODIDE"] = str(pyodide.resolve())
    root = _root()
    _need("book", "jupyter_book")
    if profile not in notebooks.profiles(root):
        raise notebooks.UsageError(f"no profile {profile!r}: choose from {', '.join(notebooks.profiles(root))}")
    try:
        page = site.build(root, profile=profile, committed=committed, strict=not lenient)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"open {page}")


@main.command()
@click.option("--profile", help="Whose executed notebooks to show. [default: the committed outputs]")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Another file for the PDF.")
def pdf(profile, output) -> None:
    """Build the site and print it to one PDF, _build/deep-linear-networks.pdf."""
    root = _root()
    _need("book", "jupyter_book")
    _need("pdf", "playwright", "pypdf")
    if profile and profile not in notebooks.profiles(root):
        raise notebooks.UsageError(f"no profile {profile!r}: choose from {', '.join(notebooks.profiles(root))}")
    printing.find_chromium()                               # say at once what is missing
    name = "deep-linear-networks" + (f"-{profile}" if profile else "")
    output = output or root / "_build" / f"{name}.pdf"
    try:
        page = site.build(root, profile=profile or "default", committed=profile is None)
        count = printing.print_book(page.parent, root / "_toc.yml", output, echo=click.echo, **printing.title_and_author(root))
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"open {output} ({count} pages, {output.stat().st_size / 2**20:.0f} MiB)")


@main.command("ledger")
@click.option("--format", "form", type=click.Choice(["table", "json", "codecheck"]), default="table", show_default=True)
@click.option("--executed", is_flag=True, help="Read the last run instead of the committed notebooks.")
@click.option("--profile", default="default", show_default=True)
def ledger_command(form, executed, profile) -> None:
    """List every claim: what was measured, its bound, and whether it holds."""
    root = _root()
    known = [*notebooks.profiles(root), "custom"]
    if profile not in known:
        raise notebooks.UsageError(f"no profile {profile!r}: choose from {', '.join(known)}")
    claims = ledger.collect(root, executed=executed, profile=profile)
    if form == "table":
        click.echo(ledger.as_table(claims))
    elif form == "codecheck":
        click.echo(ledger.as_codecheck(claims, printing.title_and_author(root)["title"]))
    elif (sys.stdout.encoding or "").lower().replace("-", "") == "utf8":
        click.echo(ledger.as_json(claims))
    else:                                                  # the same in letters that every encoding has
        click.echo(json.dumps(json.loads(ledger.as_json(claims)), indent=1))
    raise SystemExit(1 if any(claim["passed"] is False for claim in claims) else 0)


@main.command()
@click.option("--from", "folder", type=click.Path(path_type=Path), help="A folder with the four IDX files, gzipped or not.")
def data(folder) -> None:
    """Fetch full MNIST (or take it from a folder) and verify it."""
    try:
        files = datasets.fetch_mnist() if folder is None else datasets.copy_mnist(folder)
    except (OSError, ValueError, ImportError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{len(files)} files of MNIST verified in {datasets.data_folder()}")


@main.command()
@click.option("--trials", "n_trials", type=click.IntRange(min=1), default=5, show_default=True, help="Of every network.")
@click.option("--data", type=click.Choice(list(paper_trials.N_STEPS)), help="Only this set of images.")
@click.option("--list", "listing", is_flag=True, help="Say what is there and what is missing.")
def trials(n_trials, data, listing) -> None:
    """Train networks at the size of Hajjar et al. into records/integrable/trials.json: hours, and may be interrupted."""
    wanted = paper_trials.plan(n_trials, data)
    found = {one["id"]: one for one in paper_trials.trials().entries}
    if listing:
        now = store.modules_hash("dlnutils._trials")
        for name in wanted:
            old = name in found and found[name]["modules"] != now
            state = f"{found[name]['date']}  accuracy {found[name]['accuracy']}" if name in found else "missing"
            click.echo(f"{name:34} {state}{'  (the modules have changed since)' if old else ''}")
        return
    try:
        for _ in paper_trials.run(n_trials, data=data, echo=click.echo):
            pass
    except RuntimeError as error:                          # sweep's: it names the point and what was raised
        raise click.ClickException(str(error)) from None
    click.echo(f"{len(wanted)} trials are in {paper_trials.FOLDER / 'trials.json'}")


@main.command("data-of")
@click.argument("figure")
@click.option("-p", "parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Another value for a parameter.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of standard output.")
def data_of(figure, parameter, output) -> None:
    """Write the numbers behind FIGURE (its name, or paper:label) as CSV, by redrawing it."""
    root = _root()
    _need("book", "papermill", "ipykernel")
    overrides = {name: running.parse_value(value) for name, value in parameter}
    table = io.StringIO(newline="")
    try:
        rows = figure_data.figure_data(root, figure, table, overrides)
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    if output is None:
        click.echo(table.getvalue(), nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(table.getvalue(), encoding="utf-8", newline="")
        click.echo(f"{rows} rows in {output}")


@main.command()
def explorer() -> None:
    """Compute the table behind the explorer of transfer anew and write it into the book."""
    path = notebooks.find_root() / explorer_table.PATH
    path.write_text(explorer_table.as_text(explorer_table.make_table()), encoding="utf-8")
    click.echo(path.relative_to(notebooks.find_root()))


@main.command()
def doctor() -> None:
    """Say what this machine offers: versions, cores, threads, memory, data."""
    click.echo(f"dlnutils {__version__}, package {store.package_hash()}")
    click.echo(", ".join(f"{name} {version}" for name, version in machine.versions().items()))
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    click.echo(f"{machine.cores()} cores, {machine.processor()}, {platform.system()}; BLAS threads: {threads} (dln run sets 1)")
    memory = f"{store.free_memory() / 2**30:.1f} GiB of memory free, " if store.free_memory() < float("inf") else ""
    click.echo(f"{memory}{shutil.disk_usage('.').free / 2**30:.0f} GiB of disk")
    extras = {"book": ("jupyter_book", "papermill", "ipykernel"), "test": ("pytest", "nbval", "xdist"),
              "cluster": ("distributed",), "bench": ("pytest_benchmark",), "pdf": ("playwright", "pypdf"),
              "browser": ("playwright", "axe_playwright_python")}
    for extra, modules in extras.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        click.echo(f"extra [{extra}]: " + (f"lacks {', '.join(missing)}: pip install -c constraints.txt -e '.[{extra}]'"
                                          if missing else "installed"))
    try:
        click.echo(f"MNIST, embedded: {len(datasets.mnist()[0])} images")
    except ImportError as error:
        click.echo(f"MNIST, embedded: {error}")
    try:
        datasets.fetch_mnist(download=False)
        click.echo(f"MNIST, full: verified in {datasets.data_folder()}")
    except FileNotFoundError:
        click.echo(f"MNIST, full: not in {datasets.data_folder()} (only the paper profile needs it: dln data)")
    except ValueError as error:
        click.echo(f"MNIST, full: {error}")
    folder = os.environ.get("DLN_PYODIDE")
    found = folder and (Path(folder) / "pyodide-lock.json").is_file()
    click.echo(f"Pyodide, for pages that run in a browser: {folder if found else 'no folder in DLN_PYODIDE'}"
               + ("" if found else "; readers load it from the address in _config.yml"))


if __name__ == "__main__":
    main()

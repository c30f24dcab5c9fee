"""The command ``dln``: run notebooks, accept their outputs, build the site, read the ledger, fetch data."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import signal
import sys
from pathlib import Path

import click

from . import __version__, datasets, ledger, printing, runner
from ._validation import free_memory


class Dln(click.Group):
    """Turns a ``UsageError`` of the package into one line and exit code 2."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except runner.UsageError as error:
            click.echo(f"dln: {error}", err=True)
            ctx.exit(2)


def _need(extra: str, *modules: str) -> None:
    """Leave with a one-line mend when what an extra brings is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        click.echo(f"dln: this needs {', '.join(missing)}: pip install -c constraints.txt -e '.[{extra}]'", err=True)
        raise SystemExit(1)


def _root() -> Path:
    _need("book", "yaml")
    return runner.find_root()


@click.group(cls=Dln, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dln")
def main() -> None:
    """Deep linear networks: run the notebooks, check their claims, build the book."""


@main.command()
@click.argument("section", nargs=-1)
@click.option("--profile", default="default", show_default=True, help="A set of parameters in notebooks/profiles.")
@click.option("-p", "parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Another value for a parameter.")
@click.option("--jobs", type=click.IntRange(min=1), help="Notebooks at a time. [default: one a core]")
@click.option("--force", is_flag=True, help="Also run what is up to date.")
def run(section, profile, parameter, jobs, force) -> None:
    """Execute notebooks (all of them, a chapter, or SECTIONs such as saddles/depth) into _build/executed."""
    root = _root()
    _need("book", "papermill", "ipykernel")
    overrides = {name: runner.parse_value(value) for name, value in parameter}
    planned = runner.plan(root, section, profile=profile, overrides=overrides)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    results = runner.run(planned, n_jobs=jobs, force=force, echo=click.echo)
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
    for path in runner.accept(root, section, profile=profile):
        click.echo(path.relative_to(root))


@main.command()
@click.option("--profile", default="default", show_default=True, help="Whose executed notebooks to show.")
@click.option("--committed", is_flag=True, help="Show the committed outputs only.")
@click.option("--lenient", is_flag=True, help="Do not treat warnings as errors.")
def build(profile, committed, lenient) -> None:
    """Build the site into _build/html."""
    root = _root()
    _need("book", "jupyter_book")
    if profile not in runner.profiles(root):
        raise runner.UsageError(f"no profile {profile!r}: choose from {', '.join(runner.profiles(root))}")
    try:
        page = runner.build(root, profile=profile, committed=committed, strict=not lenient)
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
    if profile and profile not in runner.profiles(root):
        raise runner.UsageError(f"no profile {profile!r}: choose from {', '.join(runner.profiles(root))}")
    printing.find_chromium()                               # say at once what is missing
    name = "deep-linear-networks" + (f"-{profile}" if profile else "")
    output = output or root / "_build" / f"{name}.pdf"
    try:
        page = runner.build(root, profile=profile or "default", committed=profile is None)
        count = printing.print_book(page.parent, root / "_toc.yml", output, echo=click.echo, **printing.named(root))
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"open {output} ({count} pages, {output.stat().st_size / 2**20:.0f} MiB)")


@main.command("ledger")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--executed", is_flag=True, help="Read the last run instead of the committed notebooks.")
@click.option("--profile", default="default", show_default=True)
def ledger_command(form, executed, profile) -> None:
    """List every claim: what was measured, its bound, and whether it holds."""
    root = _root()
    known = [*runner.profiles(root), "custom"]
    if profile not in known:
        raise runner.UsageError(f"no profile {profile!r}: choose from {', '.join(known)}")
    claims = ledger.collect(root, executed=executed, profile=profile)
    click.echo(ledger.as_json(claims) if form == "json" else ledger.as_table(claims))
    raise SystemExit(1 if any(claim["passed"] is False for claim in claims) else 0)


@main.command()
@click.option("--from", "folder", type=click.Path(path_type=Path), help="A folder with the four IDX files, gzipped or not.")
def data(folder) -> None:
    """Fetch full MNIST (or take it from a folder) and verify it."""
    target = datasets.data_folder()
    try:
        if folder is None:
            files = datasets.fetch_mnist()
        else:
            files = datasets.fetch_mnist(folder, download=False)
            target.mkdir(parents=True, exist_ok=True)
            for path in files.values():
                if path.parent.resolve() != target.resolve():
                    shutil.copy2(path, target)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"{len(files)} files of MNIST verified in {target}")


@main.command("data-of")
@click.argument("figure")
@click.option("-p", "parameter", nargs=2, multiple=True, metavar="NAME VALUE", help="Another value for a parameter.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of standard output.")
def data_of(figure, parameter, output) -> None:
    """Write the numbers behind FIGURE (its name, or paper:label) as CSV, by redrawing it."""
    root = _root()
    overrides = {name: runner.parse_value(value) for name, value in parameter}
    if output is None:
        stdout, sys.stdout = sys.stdout, sys.stderr        # what the notebook prints must not end up in the table
        try:
            runner.figure_data(root, figure, stdout, overrides)
        finally:
            sys.stdout = stdout
    else:
        with output.open("w", encoding="utf-8", newline="") as stream:
            rows = runner.figure_data(root, figure, stream, overrides)
        click.echo(f"{rows} rows in {output}")


@main.command()
def doctor() -> None:
    """Say what this machine offers: versions, cores, threads, memory, data."""
    click.echo(f"dlnutils {__version__}, package {runner.package_hash()}")
    click.echo(", ".join(f"{name} {version}" for name, version in runner.versions().items()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    click.echo(f"{cores} cores, {runner.processor()}, {platform.system()}; BLAS threads: {threads} (dln run sets 1)")
    memory = f"{free_memory() / 2**30:.1f} GiB of memory free, " if free_memory() < float("inf") else ""
    click.echo(f"{memory}{shutil.disk_usage('.').free / 2**30:.0f} GiB of disk")
    extras = {"book": ("jupyter_book", "papermill", "ipykernel"), "test": ("pytest", "nbval", "xdist"),
              "cluster": ("distributed",), "bench": ("pytest_benchmark",), "pdf": ("playwright", "pypdf"),
              "browser": ("playwright", "axe_playwright_python")}
    for extra, modules in extras.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        click.echo(f"extra [{extra}]: " + (f"lacks {', '.join(missing)}: pip install -c constraints.txt -e '.[{extra}]'"
                                          if missing else "installed"))
    images, _ = datasets.mnist()
    click.echo(f"MNIST, embedded: {len(images)} images")
    try:
        datasets.fetch_mnist(download=False)
        click.echo(f"MNIST, full: verified in {datasets.data_folder()}")
    except FileNotFoundError:
        click.echo(f"MNIST, full: not in {datasets.data_folder()} (only the paper profile needs it: dln data)")
    except ValueError as error:
        click.echo(f"MNIST, full: {error}")


if __name__ == "__main__":
    main()

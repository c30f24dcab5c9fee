"""What is said to the outside agrees, and a small book built with the configuration of the real one has addresses, or none."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib

import pytest
import yaml
from bs4 import BeautifulSoup
from committed import BOOK
from test_address import write_addresses
from toy_book import make_project, toy_cells

from dlnutils import __version__
from dlnutils.press.ext import address

SITE, REPOSITORY = "https://example.org/book", "https://github.com/them/it"
CITATION = yaml.safe_load((BOOK / "CITATION.cff").read_text(encoding="utf-8"))
ZENODO = json.loads((BOOK / ".zenodo.json").read_text(encoding="utf-8"))


def test_citation_and_deposit_are_complete_and_agree():
    names = [author["name"] for author in CITATION["authors"]]
    assert names == [creator["name"] for creator in ZENODO["creators"]] and all(names)
    for ours, theirs in [("title", "title"), ("abstract", "description"), ("license", "license"), ("type", "upload_type"),
                         ("keywords", "keywords"), ("version", "version"), ("date-released", "publication_date")]:
        assert str(CITATION[ours]) == str(ZENODO[theirs]) and CITATION[ours], ours
    assert CITATION["cff-version"] == "1.2.0" and CITATION["message"] and str(CITATION["version"]) == __version__
    papers = [entry["identifier"].removeprefix("arXiv:") for entry in ZENODO["related_identifiers"] if entry["scheme"] == "arxiv"]
    assert papers == [paper["url"].removeprefix("https://arxiv.org/abs/") for paper in CITATION["references"]]
    assert all(paper["authors"] and paper["title"] and paper["year"] for paper in CITATION["references"])


def test_files_repeat_the_addresses_of_the_configuration():
    stale = [name for name, text in address.with_addresses(BOOK).items() if (BOOK / name).read_text(encoding="utf-8") != text]
    assert not stale, "python -m dlnutils.press.ext.address"


def read(name):
    return (BOOK / name).read_text(encoding="utf-8")


def test_every_machine_has_one_python_and_runs_the_same_commands():
    """The image, the editor's container, the server and the workflows: what each calls is there, and CI is one script."""
    versions = {name: re.findall(r"(?:python:|python=|python-version: \")(3\.\d+)", read(name)) for name in
                ("Dockerfile", "environment.yml", "binder/environment.yml", ".github/workflows/ci.yml",
                 ".github/workflows/pages.yml")}
    assert len({version for found in versions.values() for version in found}) == 1 and all(versions.values()), versions
    image, script = read("Dockerfile"), read(".ci/run")
    assert 'CMD [".ci/run"]' in image and "RUN make env" in image
    assert set(re.search(r"no-install-recommends (.*) \\", image)[1].split()) == {"make", "git", "chromium"}
    assert all(f"command -v {name}" in script for name in ("chromium", "google-chrome"))
    editor = json.loads(read(".devcontainer/devcontainer.json"))
    assert (BOOK / ".devcontainer" / editor["build"]["dockerfile"]).resolve() == BOOK / "Dockerfile"
    pages = yaml.safe_load(read(".github/workflows/pages.yml"))["jobs"]["publish"]["steps"]
    assert [step["run"].split()[:2] for step in pages if "run" in step] == [["make", "html"]]
    assert [step["with"]["path"] for step in pages if "upload" in step.get("uses", "")] == ["_build/html"]
    targets = set(re.findall(r"^([\w-]+):", read("Makefile"), re.M))
    called = {target for text in (image, script, editor["postCreateCommand"], read(".github/workflows/pages.yml"))
              for target in re.findall(r"(?:^|[\s;])make ([a-z-]+)", re.sub("(?m)#.*|echo .*|.*apt-get .*", "", text))}
    assert {"env", "lint", "dist", "test", "browser-test", "pdf", "html"} == called <= targets
    assert all(os.access(BOOK / name, os.X_OK) for name in (".ci/run", "binder/postBuild"))


def test_every_environment_is_pinned_and_asks_for_extras_that_exist():
    extras = set(tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"])
    for name in ("environment.yml", "binder/postBuild", "Makefile"):
        wanted = re.findall(r"-e \"?\.\[([\w,]+)\]", read(name))
        assert wanted and {extra for group in wanted for extra in group.split(",")} <= extras, name
        assert read(name).count("-c constraints.txt") == len(wanted), name


def built(folder, site="", repository=""):
    """The site of a page and a notebook, with the configuration, styles and citation of the book."""
    make_project(folder, {"saddles/toy": toy_cells("saddles/toy")})
    shutil.copytree(BOOK / "book" / "_static", folder / "book" / "_static", ignore=shutil.ignore_patterns("mathjax"))
    (folder / "book" / "index.md").write_text("# A small book\n\nWhat it is about.\n")
    (folder / "records").mkdir()
    for name in ("_config.yml", "CITATION.cff", address.PICTURE):
        shutil.copy2(BOOK / name, folder / name)
    write_addresses(folder, site, repository)
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", ".", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "_build" / "html"


def heads(site):
    """What the pages say of themselves, by page: names and addresses of links, tags and buttons that lead outside."""
    found = {}
    for path in sorted(site.rglob("*.html")):
        if "_static" in path.parts:
            continue
        soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        tags = {tag.get("name") or tag.get("property"): tag.get("content") for tag in soup("meta")}
        canonical = soup.find("link", rel="canonical")
        buttons = [link["href"] for link in soup.select("header a[href^=http], .dropdown-menu a[href^=http]")]
        found[path.relative_to(site).as_posix()] = tags, canonical and canonical["href"], buttons
    return found


PAGES = ["book/index", "notebooks/saddles/toy"]


def test_a_site_without_an_address_names_none(tmp_path):
    site = built(tmp_path)
    found = heads(site)
    for page in PAGES:
        tags, canonical, buttons = found[f"{page}.html"]
        assert tags["description"] and tags["citation_title"] and tags["og:title"] and not canonical and not buttons
        assert not {"og:url", "og:image", "citation_public_url"} & set(tags)
    assert not (site / "sitemap.xml").exists() and not (site / address.SITE_PICTURE).exists()
    plain = (site / "_sources" / "notebooks" / "saddles" / "toy.ipynb").read_text()
    assert "clone of the repository;" in plain and "example.org" not in plain


@pytest.mark.filterwarnings("ignore")
def test_a_site_with_addresses_leads_to_itself_to_its_source_and_to_a_server(tmp_path):
    site = built(tmp_path, SITE + "/", REPOSITORY)
    found = heads(site)
    for page in PAGES:
        tags, canonical, buttons = found[f"{page}.html"]
        assert tags["og:url"] == tags["citation_public_url"] == canonical == f"{SITE}/{page}.html"
        assert tags["og:image"] == f"{SITE}/{address.SITE_PICTURE}" and REPOSITORY in buttons
        assert any(button.startswith(f"{REPOSITORY}/issues") for button in buttons)
    server = [button for button in found["notebooks/saddles/toy.html"][2] if "mybinder.org" in button]
    assert server == ["https://mybinder.org/v2/gh/them/it/main?urlpath=lab/tree/notebooks/saddles/toy.ipynb"]
    listed = re.findall("<loc>(.*?)</loc>", (site / "sitemap.xml").read_text())
    assert listed == [f"{SITE}/{page}.html" for page in PAGES]
    assert (site / address.SITE_PICTURE).read_bytes() == (BOOK / address.PICTURE).read_bytes()
    assert REPOSITORY in (site / "_sources" / "notebooks" / "saddles" / "toy.ipynb").read_text()
    assert found["index.html"][1] == f"{SITE}/book/index.html"

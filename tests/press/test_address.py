"""The public addresses: read in one place, repeated where nothing is built, left out while they are empty."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dlnutils.press.ext import address
from dlnutils.press.ext.address import Addresses, addresses, index_readme, with_addresses

FILES = {
    "_config.yml": 'title: "T"\nrepository: {url: "", branch: main}\nhtml:\n  baseurl: ""\n  favicon: x.svg\n',
    "README.md": "# A book\n\nWhat it is.\n\n![A figure](records/front-figure.png)\n\n*Its caption.*\n\n## More\n",
    "CITATION.cff": "title: T\nversion: 1\nreferences:\n  - type: article\n    url: \"https://arxiv.org/abs/1\"\n",
    ".zenodo.json": '{\n  "title": "T",\n  "related_identifiers": [\n'
                    '    {"identifier": "arXiv:1", "relation": "references", "scheme": "arxiv"}\n  ]\n}\n',
}
BOTH = {"site": "https://example.org/book", "repository": "https://github.com/them/it"}


def write_addresses(folder, site="", repository=""):
    """Put addresses into the configuration of a copy of the book."""
    config = folder / "_config.yml"
    text = re.sub(r'baseurl: "[^"]*"', f'baseurl: "{site}"', config.read_text(encoding="utf-8"))
    config.write_text(re.sub(r'repository: \{url: "[^"]*"', f'repository: {{url: "{repository}"', text), encoding="utf-8")


@pytest.fixture
def book(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_addresses_are_read_without_their_last_slash(book):
    assert addresses(book) == Addresses("", "", "main") and addresses(book).binder == addresses(book).picture == ""
    write_addresses(book, site="https://example.org/book/", repository="https://github.com/them/it/")
    found = addresses(book)
    assert found == Addresses(**BOTH) and found.binder == "https://mybinder.org/v2/gh/them/it/main?urlpath=lab/tree/notebooks"
    assert Addresses(repository="https://codeberg.org/a/b").binder == ""


@pytest.mark.parametrize("old, new, said", [
    ('baseurl: ""', 'baseurl: "example.org"', "must hold the site as https://…, got 'example.org'"),
    ('url: ""', 'url: "git@github.com:them/it"', "must hold the repository as https"),
    ('  baseurl: ""\n', "", "must have a line for the site"),
])
def test_a_bad_line_is_named(book, old, new, said):
    config = book / "_config.yml"
    config.write_text(config.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=re.escape(said)):
        addresses(book)


def test_files_get_the_addresses_and_lose_them_again(book):
    assert with_addresses(book) == {name: FILES[name] for name in ("README.md", "CITATION.cff", ".zenodo.json")}
    write_addresses(book, **BOTH)
    for _ in range(2):                                     # once is as good as twice
        subprocess.run([sys.executable, address.__file__, str(book)], check=True, capture_output=True)
    readme, citation, zenodo = ((book / name).read_text(encoding="utf-8") for name in
                                ("README.md", "CITATION.cff", ".zenodo.json"))
    assert readme.startswith("# A book\n\n[Read the book](https://example.org/book) · [![Run it on Binder](")
    assert "[![Its checks](https://github.com/them/it/actions/workflows/ci.yml/badge.svg)](" in readme
    assert readme.endswith(FILES["README.md"].partition("\n\n")[2])
    assert 'url: "https://example.org/book"\nrepository-code: "https://github.com/them/it"\nreferences:' in citation
    assert "abs/1" in citation and citation.count("url:") == 2
    related = json.loads(zenodo)["related_identifiers"]
    assert [entry["identifier"] for entry in related] == [*BOTH.values(), "arXiv:1"]
    write_addresses(book)
    subprocess.run([sys.executable, address.__file__], cwd=book, check=True, capture_output=True)
    assert all((book / name).read_text(encoding="utf-8") == text for name, text in FILES.items())


@pytest.mark.parametrize("which, picture", [
    (["site", "repository"], "https://example.org/book/_static/front-figure.png"),
    (["repository"], "https://github.com/them/it/raw/main/records/front-figure.png"),
])
def test_an_index_shows_the_picture_from_its_address(book, which, picture):
    assert index_readme(book) == "# A book\n\nWhat it is.\n\n## More\n"
    write_addresses(book, **{name: BOTH[name] for name in which})
    assert f"![A figure]({picture})\n\n*Its caption.*" in index_readme(book)


def test_nothing_but_the_standard_library_is_needed():
    done = subprocess.run([sys.executable, "-S", "-I", "-c", f"import runpy; runpy.run_path({str(Path(address.__file__))!r})"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

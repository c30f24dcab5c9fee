"""What pyproject.toml cannot say: the README as a package index shows it.

Its picture lies in the repository, which an index does not see. With an address of the repository's files in ``[project.urls]``,
as ``Files``, the picture is shown from there; without one it is left out, caption and all.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
readme = (HERE / "README.md").read_text(encoding="utf-8")
picture = r"!\[([^]]*)\]\((?!\w+:)([^)]*)\)"
if files := project["urls"].get("Files"):
    readme = re.sub(picture, rf"![\1]({files.rstrip('/')}/\2)", readme)
else:
    readme = re.sub(picture + r"\n+\*[^*]*\*\n+", "", readme)

setup(long_description=readme, long_description_content_type="text/markdown")

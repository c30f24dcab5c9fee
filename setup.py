"""What pyproject.toml cannot say, because it hangs on the public addresses in _config.yml: links, and the README's picture."""

import runpy
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
address = runpy.run_path(str(HERE / "dlnutils" / "press" / "ext" / "address.py"))
at = address["addresses"](HERE)
papers = ("1312.6120", "2405.17580", "2110.15596", "2502.02531")
urls = {"Homepage": at.site, "Source": at.repository}
urls |= {f"Paper-{i}": f"https://arxiv.org/abs/{paper}" for i, paper in enumerate(papers, 1)}

setup(long_description=address["index_readme"](HERE), long_description_content_type="text/markdown",
      project_urls={name: url for name, url in urls.items() if url})

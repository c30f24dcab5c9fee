"""The examples of the docstrings as files, so that a type checker reads them as it reads anybody's code.

``python -m dlnutils.press.examples FOLDER`` writes a file a module; ``make lint`` does so and checks them.
"""

from __future__ import annotations

import ast
import doctest
import shutil
import sys
import textwrap
from pathlib import Path

__all__ = ["examples_of", "write_examples"]

HEAD = '''# pyright: reportUnusedExpression=false, reportWildcardImportFromLibrary=false
import numpy as np
from dlnutils{module} import *
'''


def examples_of(source: str) -> dict[str, str]:
    """The code of the doctests in a module's source, by the function, class or method that they document."""
    found, parser = {}, doctest.DocTestParser()

    def visit(node, name):
        text = ast.get_docstring(node) or ""
        if code := "".join(example.source for example in parser.get_examples(text)):
            found[name or "module"] = code
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.ClassDef)):
                visit(part, f"{name}_{part.name}" if name else part.name)

    visit(ast.parse(source), "")
    return found


def write_examples(folder: Path) -> int:
    """Write the examples of every module of the package into a folder, which is made anew; return how many there are."""
    package, count = Path(__file__).resolve().parents[1], 0
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for path in sorted(package.rglob("*.py")):
        parts = [part for part in path.relative_to(package).with_suffix("").parts if part != "__init__"]
        if found := examples_of(path.read_text(encoding="utf-8")):
            body = "".join(f"\n\ndef example_{name}() -> None:\n{textwrap.indent(code, '    ')}" for name, code in found.items())
            module = "".join(f".{part}" for part in parts)
            (folder / f"{'_'.join(parts) or 'package'}.py").write_text(HEAD.format(module=module) + body, encoding="utf-8")
            count += len(found)
    return count


if __name__ == "__main__":
    target = Path(sys.argv[1])
    print(f"{write_examples(target)} examples in {target}")

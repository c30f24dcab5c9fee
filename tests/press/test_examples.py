"""The docstrings' examples reach the type checker: all of them, each as code of its own."""

import ast

from dlnutils.press.examples import examples_of, write_examples

MODULE = '''"""A module.

>>> x = 1
"""

class A:
    """A class without an example."""

    def f(self):
        """A method.

        >>> for i in range(2):
        ...     print(i)
        0
        1
        >>> A().f()
        """
'''


def test_examples_are_found_with_their_owner():
    assert examples_of(MODULE) == {"module": "x = 1\n", "A_f": "for i in range(2):\n    print(i)\nA().f()\n"}


def test_every_module_with_examples_has_a_file(tmp_path):
    assert write_examples(tmp_path / "out") > 80
    (tmp_path / "out" / "old.py").touch()
    write_examples(tmp_path / "out")
    written = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    text = written["dmft_spectrum"]
    assert "old" not in written and "from dlnutils.dmft.spectrum import *" in text
    assert "\ndef example_Spectrum() -> None:\n" in text and "\n    Spectrum([1.0, 0.1], [1.0, 1.0])\n" in text
    assert all(ast.parse(text) for text in written.values())

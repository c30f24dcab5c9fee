"""The book as it is committed."""

from pathlib import Path

from dlnutils.press import notebooks

BOOK = Path(__file__).resolve().parents[1]
SECTIONS = notebooks.sections(BOOK)
NOTEBOOKS = {section: notebooks.read_notebook(notebooks.notebook_path(BOOK, section)) for section in SECTIONS}

"""The press: what makes the book of the notebooks. Nothing of the physics imports it."""

import sys


def main() -> None:
    """The command ``dln``; where the physics is installed alone, it says what is missing."""
    try:
        from .cli import main as command
    except ModuleNotFoundError as error:
        from .notebooks import UsageError, find_root
        try:
            find_root()
        except UsageError as outside:
            print(f"dln: {outside}", file=sys.stderr)
        sys.exit(f"dln: this needs {error.name}: pip install 'dlnutils[book]'")
    command(prog_name="dln")

"""``python -m dlnutils`` is the command ``dln``."""

from .cli import main

main(prog_name="dln")

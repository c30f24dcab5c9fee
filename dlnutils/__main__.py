"""``python -m dlnutils`` is the command ``dln``."""

from .press import main

main()

"""What readers load is light: pictures in the 256 colours that suit each best, in pages and notebooks; no maps of scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..figure_files import small_picture
from ..machine import cores
from .pieces import made_folder

#: The byte of a PNG that says how it holds colours, and its value where there is a table of them.
KIND_OF_COLOUR, TABLE = 25, 3


def lighten(outdir: Path, cache: Path) -> None:
    """Make a site's pictures small, in pages and in the notebooks that it offers, and drop what only developers of themes load.

    Parameters
    ----------
    outdir : Path
        The site.
    cache : Path
        Keeps what was made small, for the next build.
    """
    cache.mkdir(parents=True, exist_ok=True)

    def small(content: bytes) -> bytes:
        if content[KIND_OF_COLOUR] == TABLE:
            return content
        kept = cache / f"{hashlib.sha256(content).hexdigest()[:32]}.png"
        if not kept.is_file():
            partial = kept.with_suffix(f".{threading.get_ident()}.tmp")          # of two that are equal, each has its own
            partial.write_bytes(small_picture(content))
            partial.replace(kept)
        return kept.read_bytes()

    def lighter(path: Path) -> None:
        content = path.read_bytes()
        if len(small(content)) < len(content):
            path.write_bytes(small(content))

    with ThreadPoolExecutor(cores()) as pool:              # pictures take their time outside of Python
        list(pool.map(lighter, sorted(outdir.glob("_images/*.png"))))
    for path in outdir.glob("_sources/**/*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for output in (output for cell in notebook["cells"] for output in cell.get("outputs", ())):
            encoded = output.get("data", {}).get("image/png")
            if encoded:
                output["data"]["image/png"] = base64.b64encode(small(base64.b64decode("".join(encoded)))).decode()
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in outdir.glob("_static/**/*.map"):
        path.unlink()


def finish(app, error) -> None:
    """At the end of a build, when everything lies where it belongs."""
    if not error and app.builder.format == "html":
        lighten(Path(app.outdir), made_folder(app.env) / "light")


def setup(app):
    """Nothing is kept between pages, so reading and writing may run in parallel."""
    app.connect("build-finished", finish, priority=900)    # after the notebooks that readers take away were written
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""The ledger: every claim of the book, read from the notebooks' outputs."""

from __future__ import annotations

import json
from pathlib import Path

from .claims import MIME_TYPE, show_bound
from .runner import executed_path, notebook_path, read_notebook, sections

__all__ = ["claims_of", "collect", "run_metadata", "as_table", "as_json", "notebook_path", "read_notebook", "sections",
           "PUBLIC_KEYS"]

#: What ``dln ledger --format json`` lists of each claim.
PUBLIC_KEYS = ("id", "paper", "figure", "statement", "measured", "bound", "source", "notebook", "profile", "passed")


def claims_of(notebook: dict) -> list[dict]:
    """The claims in a notebook's outputs, in order; empty if it was never executed.

    Parameters
    ----------
    notebook : dict
        Parsed JSON.

    Returns
    -------
    list of dict
        ``PUBLIC_KEYS`` and ``shown``, the measured value as the notebook shows it.
    """
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            payload = output.get("data", {}).get(MIME_TYPE)
            if payload:
                shared = {"paper": payload["paper"], "notebook": payload["section"], "profile": payload["profile"]}
                found += [claim | shared for claim in payload["claims"]]
    return found


def run_metadata(notebook: dict) -> dict:
    """How a committed notebook was run: profile, parameters, run_time (seconds), processor, versions, date, hash."""
    return notebook["metadata"].get("dln", {})


def collect(root: Path, *, executed: bool = False, profile: str = "default") -> list[dict]:
    """All claims of the book, from the committed notebooks or from the last run.

    Parameters
    ----------
    root : Path
        The book's folder.
    executed : bool
        Read ``_build/executed/<profile>`` instead; sections not run yet are left out.
    profile : str
        Which run, or which ``records/<profile>`` for committed notebooks of another profile.
    """
    found = []
    for section in sections(root):
        if executed:
            path = executed_path(root, section, profile)
        elif profile == "default":
            path = notebook_path(root, section)
        else:
            path = Path(root) / "records" / profile / f"{section}.ipynb"
        if path.is_file():
            found += claims_of(read_notebook(path))
    return found


def as_json(claims: list[dict]) -> str:
    """The claims as a JSON list of ``PUBLIC_KEYS``."""
    return json.dumps([{key: claim[key] for key in PUBLIC_KEYS} for claim in claims], indent=1, ensure_ascii=False)


def as_table(claims: list[dict]) -> str:
    """The claims as text, grouped by paper and figure."""
    verdict = {True: "holds", False: "FAILS", None: "not asserted"}
    groups: dict[tuple, list] = {}
    for claim in sorted(claims, key=lambda claim: claim["paper"]):
        groups.setdefault((claim["paper"], claim["figure"]), []).append(claim)
    lines = []
    for (paper, figure), members in groups.items():
        where = ", ".join(dict.fromkeys(claim["notebook"] for claim in members))
        lines.append(f"\n{paper}, figure {figure}  ({where}; profile: {members[0]['profile']})")
        lines += [f"  {verdict[claim['passed']]:<12}  {claim['shown']:>10}  {show_bound(claim['bound']):<22} "
                  f"{claim['statement']}" for claim in members]
    states = [claim["passed"] for claim in claims]
    lines.append(f"\n{len(states)} claims: {states.count(True)} hold, {states.count(False)} fail, "
                 f"{states.count(None)} not asserted")
    return "\n".join(lines).lstrip("\n")

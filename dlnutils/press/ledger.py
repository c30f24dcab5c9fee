"""The ledger: every claim of the book, read from the notebooks' outputs."""

from __future__ import annotations

import json
from pathlib import Path

from .notebooks import claims_of, notebook_path, read_notebook, read_run, sections
from .words import paper_figure, printed, show_bound, verdict_of

__all__ = ["PUBLIC_KEYS", "collect", "as_json", "as_table", "as_codecheck"]

#: What ``dln ledger --format json`` lists of each claim.
PUBLIC_KEYS = ("id", "paper", "figure", "where", "statement", "measured", "bound", "source", "headline", "verdict", "notebook",
               "profile", "passed")


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
            run = read_run(root, section, profile)
            found += claims_of(run) if run else []
            continue
        if profile == "default":
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
    groups: dict[tuple, list] = {}
    for claim in sorted(claims, key=lambda claim: claim["paper"]):
        groups.setdefault((claim["paper"], claim["figure"]), []).append(claim)
    lines = []
    for (paper, figure), members in groups.items():
        where = ", ".join(dict.fromkeys(claim["notebook"] for claim in members))
        lines.append(f"\n{paper_figure(paper, figure)}  ({where}; profile: {members[0]['profile']})")
        lines += [f"  {verdict_of(claim)[0]:<12}  {claim['shown']:>10}  {show_bound(claim['bound']):<22} "
                  f"{claim['statement']}" for claim in members]
    states = [claim["passed"] for claim in claims]
    verdicts = printed(claims)
    lines.append(f"\n{len(states)} claims: {states.count(True)} hold, {states.count(False)} fail, "
                 f"{states.count(None)} not asserted; {verdicts.total()} of them test a statement that a paper prints: "
                 f"{verdicts['agrees']} agree, {verdicts['disagrees']} disagree")
    return "\n".join(lines).lstrip("\n")


def as_codecheck(claims: list[dict], title: str) -> str:
    """Which committed file shows which figure of a paper, in the form of CODECHECK (``codecheck.yml``)."""
    shown: dict[str, list[str]] = {}
    for claim in claims:
        figure = paper_figure(claim["paper"], claim["figure"])
        if not claim["figure"].startswith("+") and figure not in shown.setdefault(claim["notebook"], []):
            shown[claim["notebook"]].append(figure)
    lines = ["# Made by: dln ledger --format codecheck > codecheck.yml", "version: https://codecheck.org.uk/spec/config/1.0/",
             "paper:", f"  title: {json.dumps(title)}", "  authors:", "    - name: the dlnutils authors", "manifest:"]
    for notebook, figures in shown.items():
        if figures:
            lines += [f"  - file: notebooks/{notebook}.ipynb",
                      f"    comment: {json.dumps('; '.join(figures), ensure_ascii=False)}"]
    return "\n".join(lines)

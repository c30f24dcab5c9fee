"""The costed plan of the page *beyond one machine*: counted operations over measured rates.

Operations, memory and sharing are claims of the notebook ``synthesis/beyond-one-machine``; rates are medians of the bench
record. So the plan follows whatever machine last measured, and no hour on the page is typed by hand.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from dlnutils import dmft, ledger

from dln_book import read, sentence, table
from dln_performance import medians_of, read_record

SECTION = "synthesis/beyond-one-machine"
POINTS = 10_000                     # 100 x 100, and as many solutions
SIZE = 1000                         # d of the grid
LAYERS = 3
WORKERS = (2, 16, 100)
#: Python, NumPy, SciPy, the package and Dask in a worker, rounded up.
BASE_BYTES = 0.4e9
#: What a disk gives to a file at least.
BLOCK = 4096
#: The numbers of the notebook that the plan needs.
CLAIMS = ("steps", "memory", "busy", "blocks", "longest")


class Job(NamedTuple):
    """A column of the plan."""

    title: str
    operations: float               # of a point
    seconds: float                  # of a point, on one core of the bench record's processor
    bytes: float                    # of a point, while it is computed
    blocks: int                     # of a point's file
    longest: float                  # longest point over mean point


def gradient_rate(medians: dict[str, float]) -> tuple[float, int]:
    """Operations a second of the reduced gradient step at the largest d of the record, and that d."""
    d = max((int(match[1]) for name in medians if (match := re.fullmatch(r"reduced_step_d_(\d+)", name))), default=SIZE)
    return 12 * d**3 / medians[f"reduced_step_d_{d}"], d


def jobs_of(record: dict, numbers: dict[str, float]) -> list[Job]:
    """The three columns."""
    medians = medians_of(record)
    rate, _ = gradient_rate(medians)
    operations = 12 * SIZE**3 * numbers["steps"]
    jobs = [Job(f"phase diagram, 100 × 100 points, d = {SIZE}", operations, operations / rate,
                numbers["memory"] * 8 * SIZE**2, int(numbers["blocks"]), numbers["longest"])]
    for n_steps in (200, 800):
        cost = dmft.theory_cost(n_steps, LAYERS)
        jobs.append(Job(f"10 000 mean-field solutions, T = {n_steps}, L = {LAYERS}", cost.operations,
                        medians[f"theory_{n_steps}"], cost.bytes,
                        math.ceil((2 * 8 * n_steps + 1000) / BLOCK), 1.0))      # two curves of T numbers, and names
    return jobs


def two(value: float) -> str:
    """Two digits, as people write them."""
    return f"{float(f'{value:.2g}'):g}"


def duration(seconds: float) -> str:
    """'0.24 s', '39 s', '12 min', '4.1 h', '5.2 days'."""
    for unit, scale, up_to in (("s", 1, 100), ("min", 60, 6000), ("h", 3600, 48 * 3600), ("days", 86400, math.inf)):
        if seconds < up_to:
            return f"{two(seconds / scale)} {unit}"


def size(number_of_bytes: float) -> str:
    """'12 MB', '0.54 GB'."""
    return f"{two(number_of_bytes / 1e9)} GB" if number_of_bytes >= 1e8 else f"{two(number_of_bytes / 1e6)} MB"


def power_of_ten(value: float) -> str:
    """'1.4·10¹²'."""
    exponent = math.floor(math.log10(value))
    return f"{value / 10**exponent:.1f}·10" + str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))


def bundle(job: Job) -> int:
    """Points in a task, so that a task lasts about a second: handing one out takes milliseconds."""
    return max(1, round(1 / job.seconds))


def rows_of(jobs: list[Job], busy: float) -> list[tuple]:
    """The lines of the table; the share of time at work is the counted one for 100 workers, and nearly one for fewer."""
    def wall(job, n):
        return duration(POINTS * job.seconds / n / (busy if n == 100 and job.longest > 1 else 1.0))
    lines = [
        ("operations a point", lambda job: power_of_ten(job.operations)),
        ("time a point, one core", lambda job: duration(job.seconds)),
        ("work", lambda job: f"{two(POINTS * job.seconds / 3600)} core-hours"),
        *((f"time on {n} workers", lambda job, n=n: wall(job, n)) for n in WORKERS),
        ("longest point", lambda job: duration(job.seconds * job.longest)),
        ("memory a worker", lambda job: f"{size(job.bytes)} for the point, {size(job.bytes + BASE_BYTES)} in all"),
        ("points a task", lambda job: str(bundle(job))),
        ("on disk, one file a point", lambda job: f"{size(POINTS * job.blocks * BLOCK)} in {POINTS:,} files".replace(",", " ")),
    ]
    return [(name, *(value(job) for job in jobs)) for name, value in lines]


class Plan(SphinxDirective):
    """``dln-plan``: cores, hours, memory and files of three large runs."""

    def run(self):
        claims = ledger.claims_of(read(self.env, SECTION) or {"cells": []})
        numbers = {name: claim["measured"] for claim in claims for name in CLAIMS
                   if claim["id"] == f"synthesis-cluster-{name}"}
        if set(numbers) != set(CLAIMS):
            return [sentence("The plan appears here once its notebook has been run: ", nodes.literal("", f"dln run {SECTION}"),
                             ".", classes=["dln-missing"])]
        record = read_record(self.env)
        try:
            jobs = jobs_of(record, numbers)
        except KeyError as error:
            logging.getLogger(__name__).warning("dln-plan: records/bench.json has no benchmark %s", error,
                                                location=self.get_location())
            return []
        rate, d = gradient_rate(medians_of(record))
        return [table(("", *(job.title for job in jobs)), rows_of(jobs, numbers["busy"]), (28, 24, 24, 24), ["dln-plan"]),
                sentence(f"Rates measured on {record['date']} on one core of this processor: {record['processor']}. Gradient "
                         f"step: {two(rate / 1e9)} billion operations a second, at d = {d} with 64-bit numbers. Solver: "
                         f"{two(jobs[1].operations / jobs[1].seconds / 1e9)} at T = 200 and "
                         f"{two(jobs[2].operations / jobs[2].seconds / 1e9)} at T = 800. Mean steps of a point of the "
                         f"diagram: {numbers['steps']:g}. Memory in all: with {size(BASE_BYTES)} for Python and its "
                         "packages.", classes=["dln-where"])]


def setup(app):
    """Register the directive."""
    app.add_directive("dln-plan", Plan)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}

"""What the record of a benchmark run says: medians, comparisons in plain words, growth with size, the README's table.

``records/bench.json`` is made here from pytest-benchmark's output, and the book's performance page and the README are made
from that file alone. Run this module to write the README's table anew: ``python -m dlnutils.press.bench``.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import dmft, fitting, store
from . import machine
from .words import times

__all__ = ["Comparison", "count", "Family", "perceptron_shapes", "perceptron_operations", "digits", "expected_exponent",
           "fitted", "torch_version", "make_record", "seconds_of", "missing_from", "readme_table", "update_readme"]

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "records" / "bench.json"


class Comparison(NamedTuple):
    """One row of the table: ``fast`` does the work of ``slow``; both are names of benchmarks."""

    what: str
    instead_of: str
    fast: str
    slow: str
    line: str                   # rows of one line are drawn together, from small sizes to large ones
    anchor: str                 # the part of the performance page that says why
    kind: str = "replaces"      # or 'overhead': beside bare products of matrices, which run at the peak of the processor
    readme: bool = False
    optional: bool = False      # needs something that may not be installed
    factor: float = 1.0         # of the slow one's time, where it is extrapolated to a size that nobody waits for


def count(n: int) -> str:
    """A number with its thousands apart: '10 000'."""
    return f"{n:,}".replace(",", " ") if n >= 10_000 else str(n)


ODE, PERCEPTRON_STEP = "an ODE solver, tolerance 1e-9", "training step of a perceptron of six layers, 1024 wide, batch 512"
COMPARISONS = [
    *(Comparison(f"gradient step of a two-layer network {count(n)} wide, d = 100: exact reduction to 200 neurons",
                 "explicit weights", f"reduced_d_100_{n}", f"explicit_d_100_{n}",
                 "gradient step, d = 100, width 1000 to 100 000", "bench-gradient-step") for n in (1000, 10_000, 100_000)),
    Comparison("gradient step of a two-layer network 150 424 wide, d = 200: exact reduction to 400 neurons",
               "explicit weights", "reduced_to_400_neurons", "explicit_weights",
               "gradient step, d = 200, width 150 424", "bench-gradient-step", readme=True),
    Comparison("20 layers, 1000 wide, on MNIST, 50 steps: exact reduction to the ten modes", "explicit weights",
               "reduced_to_its_modes", "explicit_width_1000", "20 layers, 1000 wide, on MNIST", "bench-deep-network",
               readme=True),
    *(Comparison(f"learning curve of {n} steps, three hidden layers: mean-field theory",
                 "training one network 1000 wide", f"theory_{n}", f"one_network_1000_wide_{n}",
                 "learning curve of 100 to 800 steps", "bench-solver", readme=n == 200) for n in (100, 200, 400, 800)),
    Comparison("mean-field theory of 800 steps: windows of 24 rows", "one row at a time", "theory_800", "theory_row_by_row_800",
               "mean-field theory of 800 steps, row by row", "bench-solver"),
    Comparison("mean-field theory of 400 steps with momentum", "plain gradient descent", "theory_with_momentum_400", "theory_400",
               "mean-field theory of 400 steps with momentum", "bench-solver", "overhead"),
    Comparison("mean-field theory of 800 steps: a coarse grid, error below 0.001", "every step", "theory_on_a_grid_800",
               "theory_800", "mean-field theory of 800 and 100 000 steps, on a grid", "bench-long"),
    Comparison("mean-field theory of 100 000 steps: a coarse grid, error below 0.001",
               "every step, extrapolated from 800 by the third power", "theory_on_a_grid_100000", "theory_800",
               "mean-field theory of 800 and 100 000 steps, on a grid", "bench-long", factor=125.0**3),
    Comparison("learning curve of 200 steps, three hidden layers with skip connections: mean-field theory",
               "training one network 1000 wide", "theory_with_skips", "one_residual_network_1000_wide",
               "learning curve with skip connections", "bench-residual"),
    Comparison("learning curve of 200 steps, infinitely deep residual network: mean-field theory",
               "training one network of 16 layers, 1000 wide", "theory_of_infinite_depth",
               "one_residual_network_of_16_layers", "learning curve at infinite depth", "bench-residual"),
    *(Comparison(f"one mode of two matrices at {count(n)} times: closed form", ODE, f"two_layer_closed_form_{n}",
                 f"two_layer_ode_{n}", "one mode of two matrices at 1000 to 1 000 000 times", "bench-modes")
      for n in (1000, 100_000, 1_000_000)),
    *(Comparison(f"one mode of four matrices at {count(n)} times: closed form", ODE, f"deep_closed_form_{n}",
                 f"deep_ode_{n}", "one mode of four matrices at 1000 to 1 000 000 times", "bench-modes",
                 readme=n == 1000) for n in (1000, 100_000, 1_000_000)),
    *(Comparison(f"flow of whole {n} × {n} matrices at 50 times: closed form", ODE, f"riccati_flow_{n}", f"riccati_ode_{n}",
                 "flow of whole matrices, n = 20 to 160", "bench-riccati", readme=n == 20) for n in (20, 40, 80, 160)),
    *(Comparison(f"self-consistent flow at 50 times, d = {d}: closed form", ODE, f"self_consistent_flow_{d}",
                 f"self_consistent_ode_{d}", "self-consistent flow, d = 15 to 120", "bench-self-consistent-flow",
                 readme=d == 60) for d in (15, 30, 60, 120)),
    *(Comparison(f"self-consistent step, d = {d}: one eigendecomposition", "two singular value decompositions",
                 f"one_eigendecomposition_{d}", f"two_singular_value_decompositions_{d}",
                 "self-consistent step, d = 125 to 1000", "bench-roots", readme=d == 500) for d in (125, 250, 500, 1000)),
    Comparison(PERCEPTRON_STEP, "the same step in torch", "perceptron_step_1024", "torch_step",
               "perceptron step beside torch", "bench-perceptron", optional=True),
    *(Comparison(f"mean-field theory of {n} steps, three hidden layers", f"60 products of {n} × {n} matrices",
                 f"theory_{n}", f"sixty_products_{n}", "mean-field theory of 100 to 800 steps", "bench-solver", "overhead")
      for n in (100, 200, 400, 800)),
    Comparison("mean-field theory of 800 steps, each a quarter as long", "60 products of 800 × 800 matrices",
               "theory_in_smaller_steps_800", "sixty_products_800", "mean-field theory, smaller steps", "bench-solver",
               "overhead"),
    Comparison("gradient step in single precision, d = 200", "its three products", "gd_step_single", "its_three_products",
               "gradient step", "bench-gradient-step", "overhead"),
    Comparison(PERCEPTRON_STEP, "its multiplications, as products of square matrices", "perceptron_step_1024",
               "products_of_a_step", "perceptron step", "bench-perceptron", "overhead"),
]


class Family(NamedTuple):
    """A computation at several sizes, and what its number of operations says about its growth."""

    words: str
    panel: str                                  # families of a panel are drawn together
    against: str                                # the size, in words
    operations: float | Callable                # exponent, or operations (up to a factor) as a function of the size


def _log_grid_operations(n, n_hidden=2, n_modes=276):
    """Products of a matrix and a vector in one sweep of all rows, and the sums over modes."""
    return 2 / 3 * n**3 * 14 * n_hidden + 3 * n_modes * n**2


PERCEPTRON = {"n_hidden": 6, "batch": 512, "inputs": 784, "classes": 10}


def perceptron_shapes(width):
    """Fan-outs and fan-ins of all matrices."""
    return [(width, PERCEPTRON["inputs"])] + [(width, width)] * (PERCEPTRON["n_hidden"] - 1) + [(PERCEPTRON["classes"], width)]


def perceptron_operations(width):
    """Forwards, backwards and gradients: three products a layer, two for the first, which passes nothing down."""
    return sum(2 * PERCEPTRON["batch"] * a * b * (3 if i else 2) for i, (a, b) in enumerate(perceptron_shapes(width)))


def _network_operations(n_times):
    return dmft.simulation_cost(n_times - 1, 3, width=1000, n_inputs=1000, n_samples=2000).operations


WIDTHS = ("width", "width")
STEPS, FLOWS, CURVES = ("steps", "inputs and outputs d"), ("flows", "size of the map d"), ("curves", "steps of training T")
TIMES, LAYERS = ("times", "times asked for"), ("layers", "hidden layers L")
FAMILIES = {
    "explicit gradient step": Family("explicit step", *WIDTHS, 1),
    "reduced gradient step": Family("reduced step", *WIDTHS, 0),
    "perceptron step": Family("perceptron step", *WIDTHS, perceptron_operations),
    "reduced gradient step against d": Family("reduced step", *STEPS, 3),
    "one eigendecomposition": Family("one eigendecomposition", *STEPS, 3),
    "two singular value decompositions": Family("two decompositions", *STEPS, 3),
    "Riccati flow": Family("Riccati, closed form", *FLOWS, 3),
    "Riccati flow by an ODE solver": Family("Riccati, ODE solver", *FLOWS, 3),
    "self-consistent flow": Family("self-consistent, closed form", *FLOWS, 3),
    "self-consistent flow by an ODE solver": Family("self-consistent, ODE solver", *FLOWS, 3),
    "mean-field theory": Family("theory", *CURVES, lambda n: dmft.theory_cost(n - 1, 3).operations),
    "sixty products of matrices": Family("60 products", *CURVES, 3),
    "one network": Family("one network", *CURVES, _network_operations),
    "theory on a logarithmic grid": Family("theory, logarithmic grid", *CURVES, _log_grid_operations),
    "mean-field theory against depth": Family("theory", *LAYERS, lambda n: dmft.theory_cost(99, n).operations),
    "two-layer mode": Family("two layers, closed form", *TIMES, 1),
    "two-layer mode by an ODE solver": Family("two layers, ODE solver", *TIMES, 1),
    "deep mode": Family("deep, closed form", *TIMES, 1),
    "deep mode by an ODE solver": Family("deep, ODE solver", *TIMES, 1),
}


def digits(value: float, n: int = 3) -> float:
    """A number with ``n`` significant digits."""
    return float(f"{value:.{n}g}")


def expected_exponent(family: Family, sizes) -> float:
    """The exponent that operations alone would give at these sizes."""
    if not callable(family.operations):
        return float(family.operations)
    return round(fitting.fit_power_law(sizes, [family.operations(int(size)) for size in sizes]).exponent, 3)


def fitted(sizes, medians) -> dict:
    """Exponent and standard error of the power law through measured times; error None for two sizes."""
    law = fitting.fit_power_law(sizes, medians)
    error = None if np.isnan(law.exponent_error) else round(law.exponent_error, 3)
    return {"exponent": round(law.exponent, 3), "error": error}


def torch_version() -> dict[str, str]:
    """Of torch, which is no part of the environment and is measured where it happens to be installed."""
    try:
        return {"torch": importlib.metadata.version("torch")}
    except importlib.metadata.PackageNotFoundError:
        return {}


def make_record(benchmarks: list[dict]) -> dict:
    """The record of a run from pytest-benchmark's list: groups, comparisons, growth; every ratio within this one run."""
    groups, families = {}, {}
    for bench in benchmarks:
        groups.setdefault(bench["group"], []).append(bench)
    record = {"date": datetime.date.today().isoformat(), "processor": machine.processor(),
              "versions": machine.versions() | torch_version(),
              "blas_threads": os.environ.get("OPENBLAS_NUM_THREADS", "default"), "timer": "processor time",
              "package_hash": store.package_hash(), "groups": {}}
    for group, members in groups.items():
        base = members[0]["stats"]["median"]
        record["groups"][group] = [
            {"name": bench["extra_info"]["name"], "median_seconds": digits(bench["stats"]["median"]),
             "rounds": bench["stats"]["rounds"], "ratio_to_first": digits(bench["stats"]["median"] / base)}
            for bench in members]
    seconds = seconds_of(record)
    record["comparisons"] = [
        {key: value for key, value in row._asdict().items() if key != "optional"}
        | {"seconds": seconds[row.fast], "seconds_instead": digits(row.factor * seconds[row.slow]),
           "ratio": digits(row.factor * seconds[row.slow] / seconds[row.fast])}
        for row in COMPARISONS if row.fast in seconds and row.slow in seconds]
    for bench in benchmarks:
        if "family" in bench["extra_info"]:
            points = families.setdefault(bench["extra_info"]["family"], [])
            points.append((bench["extra_info"]["size"], digits(bench["stats"]["median"])))
    record["growth"] = []
    for name, family in FAMILIES.items():
        if len(families.get(name, ())) > 1:
            sizes, medians = zip(*sorted(families[name]))
            record["growth"].append(
                {"name": name, "words": family.words, "panel": family.panel, "against": family.against, "sizes": list(sizes),
                 "medians": list(medians)} | fitted(sizes, medians) | {"expected": expected_exponent(family, sizes)})
    return record


def seconds_of(record: dict) -> dict[str, float]:
    """Median seconds by name of the benchmark."""
    return {entry["name"]: entry["median_seconds"] for group in record["groups"].values() for entry in group}


def missing_from(record: dict) -> list[str]:
    """Comparisons and families that a whole run has and this one lacks."""
    seconds, grown = seconds_of(record), {law["name"] for law in record["growth"]}
    names = {name for row in COMPARISONS if not row.optional for name in (row.fast, row.slow)}
    return sorted(names - set(seconds)) + sorted(set(FAMILIES) - grown)


HEAD = "| | instead of | faster by |\n|---|---|---|\n"


def readme_table(record: dict) -> str:
    """The README's table of ratios, in Markdown, the largest first."""
    rows = sorted((row for row in record["comparisons"] if row["readme"]), key=lambda row: -row["ratio"])
    return HEAD + "".join(f"| {row['what']} | {row['instead_of']} | {times(row['ratio'])} |\n" for row in rows)


def update_readme(record: dict, path: Path = ROOT / "README.md") -> None:
    """Replace the table in the README: it begins with its head and ends at the next empty line."""
    text = path.read_text(encoding="utf-8")
    before, found, after = text.partition(HEAD)
    if not found:
        raise ValueError(f"{path.name} has no table that begins with {HEAD.splitlines()[0]!r}: put one where the ratios go")
    path.write_text(before + readme_table(record) + after[after.index("\n\n") + 1:], encoding="utf-8")


if __name__ == "__main__":
    update_readme(json.loads(RECORD.read_text(encoding="utf-8")))
    print(readme_table(json.loads(RECORD.read_text(encoding="utf-8"))))

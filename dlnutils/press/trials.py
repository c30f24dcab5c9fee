"""The record of trials at the size of Hajjar et al., one entry a trial, kept as it finishes; and what the paper prints.

``records/integrable/trials.json`` is made here, by ``dln trials``, from full MNIST and grey CIFAR-10, which cannot be shipped.
``records/integrable/published.json`` holds the curves and tables of the paper, read off its figures. Pages read both.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import store
from .._trials import trial
from ..sweep import sweep

__all__ = ["FOLDER", "SETTINGS", "ACTIVATIONS", "point", "plan", "run", "Trials", "Published", "trials", "published"]

#: Where the two records are.
FOLDER = Path(__file__).resolve().parents[2] / "records" / "integrable"

#: Table 2 of the paper, and what is kept. ``every``: curves keep one step of so many.
SETTINGS = {"n_hidden": 6, "width": 1024, "batch_size": 512, "learning_rate": 0.01, "every": 5}

#: Base of all seeds. A trial's own is [SEED, place of its activation, number of the trial]: models share draws and images.
SEED = 2110

N_STEPS = {"mnist": 600, "cifar10": 1200}
ACTIVATIONS = ("relu", "gelu", "elu", "tanh")

#: What a round computes, the most wanted first. Networks that do not move need 60 steps of the 600.
ROUND = (*(("mnist", model) for model in ("ip", "ipllr", "mup", "ip_bias", "ip_non_centered")),
         *(("cifar10", model) for model in ("ipllr", "mup", "ip_bias", "ip_non_centered")))
STILL_STEPS, RANK_IMAGES = 60, 5000

#: Digits of what is kept; losses have seven, for a loss that stays within 1e-6 of log 10.
DIGITS = {"loss": 7, "first_loss": 7, "last_loss": 7}


def point(data: str, model: str, activation: str, number: int) -> dict[str, Any]:
    """Arguments of one trial, the ``number``-th from 1 on."""
    return {"data": data, "model": model, "activation": activation, "seed": [SEED, ACTIVATIONS.index(activation), number],
            "n_steps": STILL_STEPS if model == "ip" else N_STEPS[data],
            "n_rank_images": RANK_IMAGES if data == "mnist" and model in ("ipllr", "mup") else 0, **SETTINGS}


def _name(data: str, model: str, activation: str, number: int) -> str:
    return f"{data}/{model}/{activation}/{number}"


def plan(n_trials: int = 5, data: str | None = None) -> dict[str, dict[str, Any]]:
    """All trials by their names: one of everything first, then the second of everything, and so on."""
    return {_name(*which, activation, number): point(*which, activation, number)
            for number in range(1, n_trials + 1) for which in ROUND if data in (None, which[0]) for activation in ACTIVATIONS}


def _rounded(value: Any, digits: int) -> Any:
    """Numbers for JSON, with so many digits; None for what is not finite."""
    if isinstance(value, (list, tuple)):
        return [_rounded(entry, digits) for entry in value]
    if isinstance(value, int):
        return value
    return float(f"{value:.{digits - 1}e}") if np.isfinite(value) else None


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"settings": SETTINGS, "trials": []}


def _append(path: Path, entry: dict[str, Any]) -> None:
    """One more entry, one a line, in the order of the plan; the file is replaced whole, so that a kill leaves the old one."""
    record = _read(path)
    order = list(plan(1 + max([entry["trial"], *(one["trial"] for one in record["trials"])])))
    entries = {one["id"]: one for one in [*record["trials"], entry]}
    lines = [json.dumps(entries[name]) for name in sorted(entries, key=order.index)]
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_text('{"settings": ' + json.dumps(SETTINGS) + ',\n "trials": [\n' + ",\n".join(lines) + "\n]}\n",
                        encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def run(n_trials: int = 5, *, data: str | None = None, path: Path | None = None, echo: Callable[[str], object] = print,
        cache: str | Path | None = None, compute: Callable[..., dict[str, Any]] = trial) -> Iterator[str]:
    """Compute the trials that the record lacks, append each as it finishes, and yield its name.

    A trial that is in the record stays, whatever has changed since: its entry says which modules it was computed with. One that
    was finished but not recorded is taken from the cache of `sweep`.

    Parameters
    ----------
    n_trials : int
        Of everything.
    data : {'mnist', 'cifar10'}, optional
        Only these.
    path : path, optional
        Another record.
    echo : callable
        Gets a line a trial.
    cache, compute
        Of `sweep`, and what is computed: for tests.
    """
    path = path or FOLDER / "trials.json"
    for name, arguments in plan(n_trials, data).items():
        if name in {one["id"] for one in _read(path)["trials"]}:
            continue
        start = time.process_time()
        result = sweep(compute, [arguments], cache=cache, jobs=1, progress=False)[0]
        seconds = time.process_time() - start
        which = dict(zip(("data", "model", "activation", "trial"), [*name.split("/")[:3], int(name.split("/")[3])]))
        kept = {key: _rounded(np.asarray(value).tolist(), DIGITS.get(key, 5)) for key, value in sorted(result.items())}
        _append(path, {"id": name} | which | {"date": datetime.date.today().isoformat()}
                | {key: arguments[key] for key in ("seed", "n_steps", "n_rank_images")}
                | {"modules": store.modules_hash(trial.__module__), "numpy": np.__version__} | kept)
        echo(f"{datetime.datetime.now():%Y-%m-%d %H:%M} {name}: loss {kept['last_loss']}, accuracy {kept['accuracy']}, "
             f"{seconds:.0f} s")
        yield name


# --- for pages ------------------------------------------------------------------------------------------------------

class Trials:
    """The finished trials; where one is missing, arrays have fewer rows.

    Parameters
    ----------
    record : dict
        The contents of ``trials.json``.
    """

    def __init__(self, record: dict[str, Any]):
        self.settings: dict[str, Any] = record["settings"]
        self.entries: list[dict[str, Any]] = record["trials"]

    def of(self, data: str, model: str, activation: str) -> list[dict[str, Any]]:
        """Entries of the trials of one kind, by number."""
        return sorted((one for one in self.entries if one["id"].startswith(f"{data}/{model}/{activation}/")),
                      key=lambda one: one["trial"])

    def values(self, data: str, model: str, activation: str, what: str) -> NDArray[np.float64]:
        """One number, or one row, a trial: ``'accuracy'``, ``'last_loss'``, ``'rank_h'``, ... (see `_trials.trial`)."""
        return np.array([one[what] for one in self.of(data, model, activation)], dtype=float)

    def curve(self, data: str, model: str, activation: str, what: str = "loss") -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Steps, and a row a trial of ``'loss'`` or ``'output'``, the mean absolute output; nan after a divergence."""
        rows = self.values(data, model, activation, what)
        return self.settings["every"] * np.arange(rows.shape[-1] if rows.size else 0), rows

    def dates(self) -> tuple[str, str]:
        """First and last day of the record."""
        days = sorted(one["date"] for one in self.entries)
        return days[0], days[-1]

    def missing(self, n_trials: int = 5) -> list[str]:
        """Names of the trials of the plan that are not there yet."""
        return [name for name in plan(n_trials) if name not in {one["id"] for one in self.entries}]


class Published:
    """What the paper prints, and what was read off its figures.

    Parameters
    ----------
    record : dict
        The contents of ``published.json``.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record

    def curve(self, panel: str, activation: str) -> dict[str, NDArray[np.float64]]:
        """A curve of a panel such as ``'1b'`` or ``'4c'``: arrays ``steps``, ``mean``, ``low``, ``high``.

        ``low`` and ``high`` bound the shade, the 95 % interval of the mean of five trials; nan where another curve hides it.
        Steps at which the curve itself is hidden are left out: `record` has guesses, ``inferred``.
        """
        found = self.record["curves"][panel][activation]
        return {name: np.array(found[name], dtype=float) for name in ("steps", "mean", "low", "high")}

    def ranks(self, panel: str, activation: str, of: str = "h") -> NDArray[np.float64]:
        """Ranks of layers 1 to 6 in panel ``'3a'`` (IP-LLR) or ``'3b'`` (µP): of fields ``'h'`` or activations ``'x'``."""
        return np.array(self.record["ranks"][panel][of][activation], dtype=float)

    def accuracy(self, data: str, model: str, activation: str) -> float:
        """Mean test accuracy of tables 3 to 6; nan where no table has it."""
        return float(self.record["accuracy"][data].get(model, {}).get(activation, np.nan))

    def trials(self, data: str, model: str, activation: str) -> NDArray[np.float64]:
        """Accuracies of the five trials behind a table, where the authors' public notebook shows them; else empty."""
        return np.array(self.record["public_trials"]["accuracy"].get(data, {}).get(model, {}).get(activation, []), dtype=float)


@functools.cache
def trials() -> Trials:
    """The record of trials."""
    return Trials(_read(FOLDER / "trials.json"))


@functools.cache
def published() -> Published:
    """The paper's curves and tables."""
    return Published(_read(FOLDER / "published.json"))

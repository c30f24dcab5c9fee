"""What the solvers and simulators return, and the arguments that they share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validation import axes, choice, flag, integer, number, real
from ..store import read_arrays, write_arrays
from .optimizers import Optimizer, optimizer_of
from .spectrum import Spectrum, check_spectrum

if TYPE_CHECKING:
    import pandas

__all__ = ["Solution"]

#: Training has diverged when the train loss exceeds its start by this factor; from there on losses are infinite.
CEILING = 1000.0

#: Of the files that `Solution.save` writes. In version 1 ``n_steps`` counted records, of which there is one more than updates.
VERSION = 2


@dataclass(frozen=True)
class Solution:
    """Losses and order parameters over time; made by the solvers and simulators of `dmft` and `scaling_laws`.

    Attributes
    ----------
    train_loss, test_loss, excess_loss : ndarray, shape (T,), or (n_networks, T) for several simulated networks; T = n_steps + 1
        Mean squared errors; ``test_loss`` has the noise floor, ``excess_loss`` has not. Infinite once diverged.
    mode_loss : ndarray, shape (K, T)
        Contribution of each (group of) modes to the excess loss.
    C_h : ndarray, shape (L + 1, T, T)
        Correlations over time of the forward fields; entry 0 belongs to the inputs.
    C_g : ndarray, shape (L, T, T)
        Correlations of the backward fields of hidden layers 1 to L.
    S_h, S_g : ndarray, shape (L, T, T)
        Responses of the forward field to a change of the backward one, and the other way round.
    M : ndarray, shape (T, T)
        Memory kernel: the map at t is the random initial one plus ``sum_s M(t, s) h_0(s)``.
    R_delta : ndarray, shape (T, T)
        Response of the errors on the training set.
    spectrum : Spectrum
    parameters : dict
        The arguments of the call.
    times : ndarray, shape (T,)
        Of gradient flow; None for discrete steps.
    iterations : ndarray of int, shape (T,)
        Of a solver that iterates, at each time; None of the others.
    residual : ndarray, shape (T,)
        Relative change in the last iteration.
    error : ndarray, shape (T,)
        Estimated relative error of the loss, of a solver that chooses its own grid of times; None of the others.
    average_train_loss, average_test_loss : ndarray, shape of the losses
        Of averaged weights, if the optimizer keeps an average.
    bias_loss, width_loss, data_loss : ndarray, shape (T,)
        What the theory's excess loss is made of: see `decomposition`.
    rates : ndarray, shape (n_steps,)
        Of the theory: by how much each gradient moves the first weights at once, ``k(t + 1, t)``.
    steps : ndarray of int, shape (T,)
        Updates so far at each record, of `solve_long`; None where every update has one.
    outputs : tuple of Solution
        Of outputs that do not interact; None of one output or of outputs that do.
    """

    train_loss: np.ndarray
    test_loss: np.ndarray
    excess_loss: np.ndarray
    spectrum: Spectrum
    parameters: dict[str, Any]
    mode_loss: np.ndarray | None = None
    C_h: np.ndarray | None = field(default=None, repr=False)
    C_g: np.ndarray | None = field(default=None, repr=False)
    S_h: np.ndarray | None = field(default=None, repr=False)
    S_g: np.ndarray | None = field(default=None, repr=False)
    M: np.ndarray | None = field(default=None, repr=False)
    R_delta: np.ndarray | None = field(default=None, repr=False)
    times: np.ndarray | None = field(default=None, repr=False)
    iterations: np.ndarray | None = field(default=None, repr=False)
    residual: np.ndarray | None = field(default=None, repr=False)
    error: np.ndarray | None = field(default=None, repr=False)
    average_train_loss: np.ndarray | None = field(default=None, repr=False)
    average_test_loss: np.ndarray | None = field(default=None, repr=False)
    bias_loss: np.ndarray | None = field(default=None, repr=False)
    width_loss: np.ndarray | None = field(default=None, repr=False)
    data_loss: np.ndarray | None = field(default=None, repr=False)
    rates: np.ndarray | None = field(default=None, repr=False)
    steps: np.ndarray | None = field(default=None, repr=False)
    outputs: tuple[Solution, ...] | None = field(default=None, repr=False)

    @property
    def kernel(self) -> np.ndarray:
        """Mean tangent kernel at each update, ``M(t + 1, t) / k(t + 1, t)``, one entry an update: how fast the map moves.

        NaN where the learning rate is zero; of several outputs that interact their mean.
        """
        if self.M is None or self.rates is None:
            raise ValueError("kernel is an order parameter of discrete steps one by one, which a simulation, a flow or a sum "
                             "over outputs does not keep: ask the solution of solve_dmft, or one of its outputs")
        C = self.spectrum.n_outputs
        moved = np.diagonal(self.M, -C).reshape(-1, C).mean(1)
        return np.divide(moved, self.rates, where=self.rates != 0, out=np.full(len(moved), np.nan))

    @property
    def decomposition(self) -> dict[str, np.ndarray]:
        """The test loss of the theory by its causes, ``bias + width + data + noise``.

        ``bias`` is the error of the mean of many networks, each with weights and data of its own; ``width`` and ``data`` are the
        variances that the random weights and the training data feed in, as one network hands them on. Source: Bordelon & Pehlevan
        2025, equation (13).

        Examples
        --------
        >>> from dlnutils.dmft import isotropic, solve_dmft
        >>> solution = solve_dmft(isotropic(1), n_steps=20, n_hidden=2, width=0.5, gamma0=1.0, learning_rate=0.05, n_samples=1.0)
        >>> {cause: round(float(part[-1]), 3) for cause, part in solution.decomposition.items()}
        {'bias': 0.231, 'width': 0.275, 'data': 0.22, 'noise': 0.0}
        """
        if self.bias_loss is None or self.width_loss is None or self.data_loss is None:
            raise ValueError("decomposition belongs to the theory, and a simulation knows no causes: ask solve_dmft")
        floor = np.full(len(self.test_loss), self.spectrum.n_outputs * self.parameters["noise"]**2)
        return {"bias": self.bias_loss, "width": self.width_loss, "data": self.data_loss, "noise": floor}

    @property
    def diverged(self) -> bool:
        """Whether the train loss exceeded 1000 times its start (in any network)."""
        return not bool(np.isfinite(self.train_loss).all())

    @property
    def converged(self) -> bool:
        """Whether a solver that iterates met its tolerance and its accuracy at every time; true of those that do not iterate."""
        settled = self.residual is None or bool((self.residual < self.parameters["tolerance"]).all())
        return settled and (self.error is None or bool((self.error <= self.parameters["accuracy"]).all()))

    def to_frame(self) -> pandas.DataFrame:
        """The losses as a table: a row for each time, and for each network if there are several.

        Returns
        -------
        pandas.DataFrame
            Columns ``network`` (if several), ``step`` (updates so far) or ``time`` (of a flow), ``train_loss``, ``test_loss``
            and ``excess_loss``; ``average_train_loss`` and ``average_test_loss`` where weights were averaged.

        Raises
        ------
        ModuleNotFoundError
            Without pandas.

        Examples
        --------
        >>> from dlnutils.dmft import isotropic, solve_dmft
        >>> solve_dmft(isotropic(1), n_steps=2, n_hidden=1, gamma0=1.0, learning_rate=0.1).to_frame().columns.to_list()
        ['step', 'train_loss', 'test_loss', 'excess_loss']
        """
        try:
            import pandas
        except ModuleNotFoundError:
            raise ModuleNotFoundError("to_frame needs pandas: python -m pip install pandas") from None
        names = ("train_loss", "test_loss", "excess_loss", "average_train_loss", "average_test_loss")
        losses = {name: loss for name in names if (loss := getattr(self, name)) is not None}
        shape = np.shape(self.test_loss)
        when = self.times if self.times is not None else np.arange(shape[-1]) if self.steps is None else self.steps
        networks = {} if len(shape) == 1 else {"network": np.repeat(np.arange(shape[0]), shape[1])}
        return pandas.DataFrame(networks | {"step" if self.times is None else "time": np.tile(when, int(np.prod(shape[:-1])))}
                                | {name: np.ravel(loss) for name, loss in losses.items()})

    def save(self, path: str | PathLike) -> None:
        """Write everything to an ``.npz`` file without pickles; atomically."""
        write_arrays(Path(path), self._arrays() | {"parameters": json.dumps(self.parameters), "version": VERSION})

    def _arrays(self) -> dict[str, np.ndarray]:
        """All arrays by name, those of each output behind its number."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("spectrum", "parameters", "outputs")}
        arrays |= {f"spectrum_{f.name}": getattr(self.spectrum, f.name) for f in fields(Spectrum)}
        for number_of, output in enumerate(self.outputs or ()):
            arrays |= {f"{number_of}_{name}": array for name, array in output._arrays().items()}
        return {name: array for name, array in arrays.items() if array is not None}

    @classmethod
    def load(cls, path: str | PathLike) -> Solution:
        """Read what `save` wrote, by earlier versions too.

        Raises
        ------
        ValueError
            Another file, a damaged one, or one of a later version.
        OSError
            No file that can be read.
        """
        wanted = f"path must be a file that Solution.save wrote, got {path}"
        try:
            stored = read_arrays(Path(path))
            strange = not {"train_loss", "parameters", "spectrum_eigenvalues"} <= set(stored)
            version = int(stored.pop("version", 1))
        except OSError:
            raise
        except Exception:                                  # whatever the file holds instead
            raise ValueError(f"{wanted}, which is no such file or damaged: give another, or solve again and save") from None
        if strange:
            raise ValueError(f"{wanted} with {sorted(stored)}: give another, or solve again and save")
        if version > VERSION:
            raise ValueError(f"{wanted} in version {version}, and this package reads {VERSION} at most: update it")
        try:
            parameters = json.loads(str(stored.pop("parameters")))
            if version == 1 and "times" in stored:
                del parameters["n_steps"]                  # counted the times of a flow
            elif version == 1:                             # counted records, not updates
                parameters["n_steps"] = stored["test_loss"].shape[-1] - 1
            outputs = []
            while any(name.startswith(f"{len(outputs)}_") for name in stored):
                start = f"{len(outputs)}_"
                outputs.append(cls._made({name.removeprefix(start): stored.pop(name) for name in list(stored)
                                          if name.startswith(start)}, parameters))
            return cls._made(stored, parameters, tuple(outputs) or None)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ValueError(f"{wanted} with other contents: give another, or solve again and save") from None

    @classmethod
    def _made(cls, stored: dict[str, np.ndarray], parameters: dict[str, Any],
              outputs: tuple[Solution, ...] | None = None) -> Solution:
        """A solution from its arrays."""
        spectrum = Spectrum(*(stored.pop(f"spectrum_{name}") for name in ("eigenvalues", "target", "multiplicity")),
                            binning_error=float(stored.pop("spectrum_binning_error", np.zeros(()))))
        known = {f.name for f in fields(cls)}
        if not stored.keys() <= known:
            raise ValueError(f"arrays must be {sorted(known)}, got {sorted(stored)}")
        arrays: dict[str, Any] = dict(stored)
        return cls(**arrays, spectrum=spectrum, parameters=parameters, outputs=outputs)

    def __repr__(self) -> str:
        p, kind = self.parameters, "simulation" if "n_networks" in self.parameters else "theory"
        end = "diverged" if self.diverged else f"test loss {np.mean(self.test_loss[..., -1]):.3g} at the end"
        layers = "infinitely many" if p["n_hidden"] == np.inf else p["n_hidden"]
        shape = f"{layers} hidden layer{'s' * (layers != 1)}{', residual' * p.get('skip', False)}"
        outputs = f", {self.spectrum.n_outputs} outputs" * (self.spectrum.n_outputs > 1)
        width = "infinite width" if p["width"] == np.inf else f"width={_short(p['width'])}"
        if self.times is not None:
            when = f"{len(self.times)} times up to {self.times[-1]:g}"
        else:
            when = f"{p['n_steps'] + 1} times" + (f", of which {len(self.steps)} are solved" if self.steps is not None else "")
        samples, batch = p.get("n_samples"), p.get("batch_size")
        data = ", population gradient" if self.times is None and not samples and not batch else ""
        data += f", n_samples={samples:g}" if samples else ""
        data += f", batch_size={_short(batch)}" if batch else ""
        data += f", {p['sampling']}" if p.get("sampling") else ""
        return f"Solution({kind}, {when}, {shape}, {width}{data}{outputs}, {end}{'' if self.converged else ', NOT CONVERGED'})"


def _short(value: Any) -> str:
    """A number, or a list of them."""
    return f"{value:g}" if np.ndim(value) == 0 else "[" + ", ".join(f"{entry:g}" for entry in value) + "]"


def _arguments(spectrum: Any, *, n_steps: Any, n_hidden: Any, width: Any, gamma0: Any, learning_rate: Any = None,
               optimizer: Any = None, n_samples: Any = None, batch_size: Any = None, sampling: Any = None, noise: Any = 0.0,
               skip: Any = False, branch_scale: Any = 1.0, initial_scale: Any = 1.0, centered: Any = False,
               batch_fourth_moment: Any = False) -> tuple[dict[str, Any], Optimizer]:
    """The arguments that solvers and simulations share, checked, by name; and the optimizer that they mean."""
    check_spectrum(spectrum)
    skip, fourth = flag("skip", skip), flag("batch_fourth_moment", batch_fourth_moment)
    layers, rule = integer("n_hidden", n_hidden), optimizer_of(learning_rate, optimizer)
    widths = _widths(width, layers)
    if skip and isinstance(widths, list) and len(set(widths)) > 1:
        raise ValueError(f"width must be the same in all layers of a network with skips, got {widths}: a skip adds neighbours")
    samples, batch = _data_sizes(n_samples, batch_size, sampling)
    if fourth and (batch is None or sampling is not None):
        raise ValueError("batch_fourth_moment is about fresh batches, got none: give a batch_size, and no n_samples")
    n_steps = integer("n_steps", n_steps, at_least=0)
    rule.check(n_steps, layers)
    return {"n_steps": n_steps, "n_hidden": layers, "width": widths, "gamma0": number("gamma0", gamma0, above=0.0),
            "learning_rate": list(rule.learning_rate) if isinstance(rule.learning_rate, tuple) else
            None if rule._given is not None else rule.learning_rate,
            "optimizer": rule._parameters(), "n_samples": samples, "batch_size": batch, "sampling": sampling,
            "noise": number("noise", noise, at_least=0.0), "skip": skip,
            "branch_scale": _scales("branch_scale", branch_scale, layers - 1, "branches between hidden layers"),
            "initial_scale": _scales("initial_scale", initial_scale, layers + 1, "weight matrices"),
            "centered": flag("centered", centered), "batch_fourth_moment": fourth}, rule


def _widths(width: Any, n_hidden: int) -> float | list[float]:
    """One width, or one a hidden layer: all of them finite or none."""
    if axes("width", width) == 0:
        return np.inf if np.isscalar(width) and width == np.inf else number("width", width, above=0.0)
    widths = list(width)
    if axes("width", width) > 1 or len(widths) != n_hidden:
        raise ValueError(f"width must be one number or one for each of the {n_hidden} hidden layers, got shape {np.shape(width)}")
    if all(value == np.inf for value in widths):
        return np.inf
    hint = "for infinite widths of given ratios, give large numbers of these ratios, such as [1e15, 2e15]"
    return [number("width", value, above=0.0, hint=hint) for value in widths]


def _scales(name: str, value: Any, n: int, what: str) -> float | list[float]:
    """One scale, or one for each of n."""
    if axes(name, value) == 0:
        return number(name, value, at_least=0.0)
    scales = real(name, value, at_least=0.0)
    if scales.shape != (n,):
        raise ValueError(f"{name} must be one number or one for each of the {n} {what}, got shape {scales.shape}")
    return scales.tolist()


def _data_sizes(n_samples: Any, batch_size: Any, sampling: Any) -> tuple[float | None, float | list[float] | None]:
    """Samples and batch size, which say with ``sampling`` where a gradient comes from."""
    def count(name, value):
        return None if value is None else number(name, value, above=0.0)
    groups = batch_size is not None and axes("batch_size", batch_size) > 0
    if sampling is None:
        if n_samples is not None and batch_size is not None:
            raise ValueError(f"n_samples and batch_size exclude each other without sampling, got {n_samples} and {batch_size}: "
                             "give n_samples for a full batch, batch_size for fresh data at every step, neither for the "
                             "population gradient, or both and sampling = 'cycle', 'shuffle' or 'replace' for batches that come "
                             "again")
        if groups:
            raise ValueError(f"batch_size must be one number for fresh data, got {batch_size!r}: sampling='cycle' takes several")
        return count("n_samples", n_samples), count("batch_size", batch_size)
    choice("sampling", sampling, ("cycle", "shuffle", "replace"))
    if batch_size is None or n_samples is None and not groups:
        raise ValueError(f"sampling = {sampling!r} needs n_samples and batch_size, got {n_samples} and {batch_size}")
    if groups:
        if sampling != "cycle":
            raise ValueError(f"batch_size must be one number for sampling = {sampling!r}, got {batch_size!r}")
        sizes = real("batch_size", batch_size, above=0.0)
        if sizes.ndim > 1 or not sizes.size or \
                n_samples is not None and not np.isclose(sizes.sum(), number("n_samples", n_samples), rtol=1e-9):
            raise ValueError(f"batch_size must list groups that add up to n_samples = {n_samples}, got {batch_size!r}")
        return float(sizes.sum()), sizes.tolist()
    assert n_samples is not None
    samples, batch = number("n_samples", n_samples, above=0.0), number("batch_size", batch_size, above=0.0)
    epoch = samples / batch
    if epoch < 1 - 1e-9:
        raise ValueError(f"batch_size must be at most n_samples = {samples:g}, got {batch:g}")
    if sampling != "replace" and abs(epoch - round(epoch)) > 1e-9 * epoch:
        raise ValueError(f"batch_size must divide n_samples = {samples:g} for sampling = {sampling!r}, got {batch:g}: an epoch "
                         f"of {epoch:g} batches has no end; {samples / round(epoch):g} would do")
    return samples, batch

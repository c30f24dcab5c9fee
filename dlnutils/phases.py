"""Phase diagrams of the mixed regime: one network a point, trained until its test error has passed its minimum (Tu, Aranguri &
Jacot 2024)."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import choice, generator, integer, number, real
from .mixed import ORDERS, descend, reduced_init, self_consistent_descent
from .store import read_arrays, write_arrays
from .sweep import sweep
from .tasks import low_rank_task

__all__ = ["train_point", "PhaseDiagram", "phase_diagram"]

if TYPE_CHECKING:
    import pandas

#: Why a training stopped; said at `train_point`.
REASONS = ("loss", "rise", "plateau", "cap", "diverged")


def _mean_square(M: NDArray[np.floating]) -> float:
    entries = M.ravel()
    return float(entries @ entries) / entries.size


def _settings(learning_rate_divisor, max_steps, order, precision) -> dict[str, Any]:
    """What all points of a diagram share, checked."""
    return {"learning_rate_divisor": number("learning_rate_divisor", learning_rate_divisor, above=0.0),
            "max_steps": integer("max_steps", max_steps), "order": choice("order", order, ORDERS),
            "precision": choice("precision", precision, ("double", "single"))}


def train_point(gamma_sigma2: float, gamma_w: float, *, d: int, k: int, target_seed: int, learning_rate_divisor: float = 50.0,
                max_steps: int = 750, order: str = "sequential", with_distance: bool = False, precision: str = "double",
                rng: np.random.Generator | int) -> dict[str, Any]:
    """Train one network of the phase diagram until its test error has passed its minimum.

    The weights have variance ``d^gamma_sigma2`` and the network width ``floor(d^gamma_w)``; the target is
    ``tasks.low_rank_task(d, k)`` of ``target_seed``. The learning rate is ``1 / (learning_rate_divisor c)`` for ``c`` above d,
    else ``1 / (learning_rate_divisor |A*|)`` with the largest singular value of the target.

    Parameters
    ----------
    gamma_sigma2, gamma_w : float
        Exponents.
    d, k : int
        Size and rank of the target.
    target_seed : int
        Of the target and its noise, the same for all points of a diagram.
    learning_rate_divisor : float
        Positive; 50 in the paper.
    max_steps : int
        Records of the errors at most, the first before any update.
    order : {'sequential', 'simultaneous'}
    with_distance : bool
        Also follow the self-consistent dynamics from the same start, with the same steps.
    precision : {'double', 'single'}
        Of the gradient descent; the self-consistent dynamics is always in double precision.
    rng : numpy.random.Generator or int
        Generator or seed, for the weights.

    Returns
    -------
    dict
        ``test_error`` (the least), ``steps`` (updates to reach it), ``stable_rank`` and ``n_above`` (singular values above ``c``)
        at that step, ``distance`` (largest ``|A - A_sc|^2 / d^2``, nan if not asked for), ``last_test_error``
        (infinite if diverged), ``stop_step``, ``reason`` ('loss', 'rise', 'plateau', 'cap' or 'diverged').

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Stops where the training error is below 1e-3, where the test error rose twice in a row, or where the training error
    changed by less than 2e-4 after an improvement of more than 0.01. Source: Tu et al. 2024, figure 2 and its code.

    Examples
    --------
    >>> from dlnutils.phases import train_point
    >>> point = train_point(-1.5, 2.0, d=30, k=2, target_seed=0, rng=1)
    >>> point["reason"], bool(0.1 < point["test_error"] < 0.4)
    ('rise', True)
    """
    gamma_sigma2, gamma_w = number("gamma_sigma2", gamma_sigma2), number("gamma_w", gamma_w, at_least=0.0)
    d, k = integer("d", d), integer("k", k)
    settings, rng = _settings(learning_rate_divisor, max_steps, order, precision), generator(rng)
    dtype = {"double": np.float64, "single": np.float32}[precision]
    A_star, E = low_rank_task(d, k, rng=integer("target_seed", target_seed, at_least=0))
    sigma2, c = float(d)**gamma_sigma2, float(d)**(gamma_sigma2 + gamma_w)
    learning_rate = 1 / (settings["learning_rate_divisor"] * (c if gamma_sigma2 + gamma_w > 1 else np.linalg.norm(A_star, 2)))
    W1, W2 = reduced_init(d, d, max(1, int(float(d)**gamma_w)), sigma2, rng, dtype=dtype)
    target, data = A_star.astype(dtype), (A_star + E).astype(dtype)
    train, test, apart, reason = [], [], np.nan, "cap"
    with np.errstate(over="ignore", invalid="ignore"):
        A = best = W2 @ W1
        Y, B = A_star + E, A.astype(float) if with_distance else A         # B: the self-consistent dynamics
        for n in range(settings["max_steps"]):
            G = A - data
            train.append(_mean_square(G))
            test.append(_mean_square(A - target))
            if not test[-1] < 1e6 * (1 + test[0]):
                reason = "diverged"
                break
            if n and test[-1] < min(test[:-1]):
                best = A
            if with_distance:
                B = B - learning_rate * self_consistent_descent(B, B - Y, c) if n else B
                apart = np.fmax(apart, _mean_square(A - B))
            if train[-1] < 1e-3:
                reason = "loss"
                break
            if len(test) > 4 and test[-3] < test[-2] < test[-1]:
                reason = "rise"
                break
            if len(test) > 4 and abs(train[-1] - train[-2]) < 2e-4 and train[0] - train[-1] > 1e-2:
                reason = "plateau"
                break
            W1, W2 = descend(W1, W2, G, dtype(learning_rate), order)
            A = W2 @ W1
    finite = reason != "diverged"
    least = min(test) if np.isfinite(test[0]) else np.inf  # infinite if it starts beyond the numbers
    s = np.linalg.svd(best, compute_uv=False).astype(float) if np.isfinite(least) else np.full(1, np.nan)
    return {"test_error": least, "steps": test.index(least) if np.isfinite(least) else 0,
            "stable_rank": float(np.sum(s**2) / s[0]**2), "n_above": int(np.sum(s > c)),
            "distance": float(apart) if finite or not with_distance else np.inf,
            "last_test_error": test[-1] if finite else np.inf, "stop_step": len(test) - 1, "reason": reason}


@dataclass(frozen=True)
class PhaseDiagram:
    """Outcome of training at every point of a grid of exponents; made by `phase_diagram`.

    Arrays have shape (len(gamma_w), len(gamma_sigma2)); what they hold is said at `train_point`.

    Attributes
    ----------
    gamma_sigma2, gamma_w : ndarray
        The axes: the weights have variance ``d^gamma_sigma2``, the network has width ``d^gamma_w``.
    test_error, steps, stable_rank, n_above, distance, last_test_error, stop_step, reason : ndarray
    target_values : ndarray, shape (k,)
        Singular values of the target ``A*``.
    target_power, noise_power : float
        Mean squares of the entries of ``A*`` and of its noise.
    parameters : dict
        ``d, k, seed, learning_rate_divisor, max_steps, order, precision``: what made it.
    """

    gamma_sigma2: NDArray[np.float64]
    gamma_w: NDArray[np.float64]
    test_error: NDArray[np.float64]
    steps: NDArray[np.integer]
    stable_rank: NDArray[np.float64]
    n_above: NDArray[np.integer]
    distance: NDArray[np.float64]
    last_test_error: NDArray[np.float64]
    stop_step: NDArray[np.integer]
    reason: NDArray[np.str_]
    target_values: NDArray[np.floating]
    target_power: float
    noise_power: float
    parameters: dict[str, Any]

    @property
    def gamma(self) -> NDArray[np.float64]:
        """Exponent of the threshold, ``c = d^gamma``, for every point."""
        return self.gamma_sigma2 + self.gamma_w[:, None]

    @property
    def threshold(self) -> NDArray[np.float64]:
        """``c = sigma2 width`` for every point."""
        return float(self.parameters["d"])**self.gamma

    @property
    def start_power(self) -> NDArray[np.float64]:
        """``nu = sigma2^2 width``, the mean square of the entries of the map at the start, for every point."""
        return float(self.parameters["d"])**(2 * self.gamma_sigma2 + self.gamma_w[:, None])

    @property
    def target_stable_rank(self) -> float:
        """``|A*|_F^2 / |A*|_op^2``."""
        return float(np.sum(self.target_values**2) / self.target_values[0]**2)

    @property
    def diverged(self) -> NDArray[np.bool_]:
        """Whether training diverged, for every point."""
        return self.reason == "diverged"

    def to_frame(self) -> pandas.DataFrame:
        """A table with one row a point: its exponents, threshold and outcome; needs pandas.

        Raises
        ------
        ImportError
            Without pandas; the message says how to get it.
        """
        try:
            import pandas
        except ImportError:
            raise ModuleNotFoundError("to_frame needs pandas: python -m pip install pandas") from None
        names = ("gamma", "threshold", "test_error", "steps", "stable_rank", "n_above", "distance", "last_test_error",
                 "stop_step", "reason")
        axes = np.meshgrid(self.gamma_sigma2, self.gamma_w)
        return pandas.DataFrame({name: values.ravel() for name, values in zip(("gamma_sigma2", "gamma_w"), axes)}
                                | {name: getattr(self, name).ravel() for name in names})

    def save(self, path: str | os.PathLike) -> None:
        """Write everything, the parameters too, to an ``.npz`` file without pickles; atomically."""
        write_arrays(Path(path), {f.name: getattr(self, f.name) for f in fields(self) if f.name != "parameters"}
                     | {"parameters": json.dumps(self.parameters)})

    @classmethod
    def load(cls, path: str | os.PathLike) -> PhaseDiagram:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            A file of something else.
        """
        stored: dict[str, Any] = read_arrays(Path(path))
        wanted = {f.name for f in fields(cls)}
        if set(stored) != wanted:
            raise ValueError(f"path must be a file that PhaseDiagram.save wrote, got {path} with {sorted(stored)}")
        stored |= {name: float(stored[name]) for name in ("target_power", "noise_power")}
        stored["parameters"] = json.loads(str(stored["parameters"]))
        return cls(**stored)

    def __repr__(self) -> str:
        p = self.parameters
        return (f"PhaseDiagram({len(self.gamma_w)} x {len(self.gamma_sigma2)} points, d={p['d']}, k={p['k']}, "
                f"seed={p['seed']}, test error {self.test_error.min():.3g} to {self.test_error.max():.3g})")


def phase_diagram(d: int, gamma_sigma2: ArrayLike, gamma_w: ArrayLike, *, seed: int, k: int = 5,
                  learning_rate_divisor: float = 50.0, max_steps: int = 750, order: str = "sequential",
                  with_distance: bool = False, precision: str = "double", jobs: int | None = None, cluster: str | None = None,
                  cache: str | os.PathLike | None = None, progress: bool = True) -> PhaseDiagram:
    """Train a network at every point of a grid of exponents: lazy, mixed, rich, buried in its own noise.

    Parameters
    ----------
    d : int
        Inputs and outputs.
    gamma_sigma2, gamma_w : array_like
        One-dimensional: exponents of the variance of the weights and of the width.
    seed : int
        Of the target, its noise and all weights; a point's numbers depend on its place in the grid, not on the workers.
    k, learning_rate_divisor, max_steps, order, with_distance, precision
        As in `train_point`.
    jobs, cluster, cache, progress
        Processes, address of a Dask scheduler, folder for finished points, and a bar: as in `sweep.sweep`.

    Returns
    -------
    PhaseDiagram

    Raises
    ------
    ValueError
        Arguments out of range.
    RuntimeError
        Of `sweep.sweep`: a point failed, or the cluster went away.

    Notes
    -----
    Cost: three products of ``d x 2d x d`` a step at any width, about 100 steps a point; ``with_distance`` an eigendecomposition
    of size d a step as well. Source: Tu et al. 2024, figure 2.

    Examples
    --------
    >>> from dlnutils.phases import phase_diagram
    >>> diagram = phase_diagram(20, [-2.0, -1.0], [1.8, 2.4], k=2, seed=0, cache="off")
    >>> diagram.test_error.shape, diagram.reason[0, 0]
    ((2, 2), np.str_('rise'))
    """
    axes = {"gamma_sigma2": np.atleast_1d(real("gamma_sigma2", gamma_sigma2)),
            "gamma_w": np.atleast_1d(real("gamma_w", gamma_w, at_least=0.0))}
    for name, axis in axes.items():
        if axis.ndim != 1 or not len(axis):
            raise ValueError(f"{name} must be one-dimensional and not empty, got shape {axis.shape}")
    d, k, seed = integer("d", d), integer("k", k), integer("seed", seed, at_least=0)
    A_star, E = low_rank_task(d, k, rng=seed)
    settings = {"d": d, "k": k} | _settings(learning_rate_divisor, max_steps, order, precision)
    shared = settings | {"target_seed": seed, "with_distance": bool(with_distance)}
    points = [{"gamma_sigma2": float(x), "gamma_w": float(y)} | shared for y in axes["gamma_w"] for x in axes["gamma_sigma2"]]
    outcomes = sweep(train_point, points, seed=seed, jobs=jobs, cluster=cluster, cache=cache, progress=progress)
    shape = len(axes["gamma_w"]), len(axes["gamma_sigma2"])
    grid = {name: np.array([point[name] for point in outcomes]).reshape(shape) for name in outcomes[0]}
    return PhaseDiagram(**axes, **grid, target_values=np.linalg.svd(A_star, compute_uv=False)[:k],
                        target_power=_mean_square(A_star), noise_power=_mean_square(E), parameters=settings | {"seed": seed})

"""What needs no solution: the lazy kernel, the edge of stability, and what a solution costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from .._validation import integer, number, real
from ..store import free_memory
from .spectrum import Spectrum, check_spectrum

__all__ = ["memory_needed", "check_memory", "lazy_kernel", "largest_eigenvalue", "stability_edge", "Cost", "theory_cost",
           "simulation_cost"]


def memory_needed(n_steps: int, n_hidden: int, n_modes: int = 1, skip: bool = False, n_outputs: int = 1) -> int:
    """Bytes that `solve_dmft` takes: ``T x T`` matrices, T = n_steps + 1, 10 a hidden layer (16 with skips), 4 a distinct mode
    and 10 more; for outputs that interact T counts each of them.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import memory_needed
    >>> memory_needed(199, 3) / 1e6
    14.08
    """
    T, L, K = integer("n_steps", n_steps, at_least=0) + 1, integer("n_hidden", n_hidden), integer("n_modes", n_modes)
    T *= integer("n_outputs", n_outputs)
    return 8 * T**2 * (L * (16 if skip else 10) + 4 * K + 10)


def check_memory(needed: int, size: int, name: str = "n_steps",
                 hint: str = "lower it, or put the modes of the spectrum into bins") -> None:
    """Refuse what needs more bytes than are free."""
    free = free_memory()
    if needed > free:
        raise ValueError(f"{name} = {size} needs {needed / 1e9:.3g} GB and {free / 1e9:.3g} GB are free: {hint}")


def lazy_kernel(n_hidden: int, *, skip: bool = False, branch_scale: float = 1.0) -> float:
    """Kernel ``K`` of the lazy limit: with white inputs the population error falls by ``1 - eta K`` a step.

    Parameters
    ----------
    n_hidden, skip, branch_scale
        As in `solve_dmft`.

    Returns
    -------
    float
        ``L + 1`` for a plain network with ``branch_scale`` 1; ``(1 + beta^2)^(L-1) (2 + (L-1) beta^2 / (1 + beta^2))`` with
        skips, which tends to ``(2 + beta0^2) exp(beta0^2)`` for ``beta = beta0 / sqrt(L)`` in deep networks.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import lazy_kernel
    >>> lazy_kernel(3), round(lazy_kernel(10_000, skip=True, branch_scale=0.01) / (3 * 2.718281828), 3)
    (4.0, 1.0)
    """
    n = integer("n_hidden", n_hidden) - 1
    beta2 = number("branch_scale", branch_scale, at_least=0.0)**2
    gain = beta2 + bool(skip)
    return gain**n * 2 + (n * beta2 * gain**(n - 1) if n else 0.0)


def largest_eigenvalue(spectrum: Spectrum, n_samples: float | None = None) -> float:
    """Largest eigenvalue of the covariance, or of the sample covariance of so many samples, in the limit of large sizes.

    Parameters
    ----------
    spectrum : Spectrum
    n_samples : float, optional
        By default infinitely many.

    Returns
    -------
    float
        ``min_s 1 / s + sum_k lambda_k / (1 - lambda_k s) / P`` over ``0 < s < 1 / lambda_1``, which is
        ``lambda (1 + sqrt(D / P))^2`` for alike modes.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Source: the edge of the sample spectrum, Silverstein & Choi 1995. A single mode far above the others counts as a group of one:
    its sample eigenvalue scatters below.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, largest_eigenvalue
    >>> round(largest_eigenvalue(isotropic(100), 400), 9)
    2.25
    """
    check_spectrum(spectrum)
    lam, largest = spectrum.eigenvalues, float(spectrum.eigenvalues.max())
    if n_samples is None or largest == 0:
        return largest
    weight = spectrum.multiplicity / number("n_samples", n_samples, above=0.0)
    share, low, high = lam / largest, 0.0, 1.0             # s in units of 1 / lambda_1; the slope grows with s
    for _ in range(100):
        s = (low + high) / 2
        low, high = (low, s) if s**2 * np.sum(weight * (share / (1 - share * s))**2) > 1 else (s, high)
    return float(largest * (1 / s + np.sum(weight * share / (1 - share * s))))


def stability_edge(spectrum: Spectrum, n_hidden: int, *, n_samples: float | None = None, skip: bool = False,
                   branch_scale: float = 1.0, momentum: float = 0.0, nesterov: bool = False) -> float:
    """Largest stable ``learning_rate`` of the lazy limit at infinite width.

    Parameters
    ----------
    spectrum : Spectrum
    n_hidden, skip, branch_scale
        As in `solve_dmft`.
    n_samples : float, optional
        Full batch; by default the population gradient.
    momentum, nesterov
        As of `Optimizer`.

    Returns
    -------
    float
        ``2 / (K lambda)`` with `lazy_kernel` and `largest_eigenvalue`, infinite where nothing can be learned. Momentum raises it
        to ``2 (1 + mu) / (K lambda)``, Nesterov's changes it to ``2 (1 + mu) / ((1 + 2 mu) K lambda)``.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic, stability_edge
    >>> stability_edge(isotropic(100), 1), round(stability_edge(isotropic(100), 1, n_samples=200), 4)
    (1.0, 0.3431)
    >>> stability_edge(isotropic(100), 1, momentum=0.5)
    1.5
    """
    check_spectrum(spectrum)
    mu = number("momentum", momentum, at_least=0.0)
    if mu >= 1:
        raise ValueError(f"momentum must be below 1, got {mu:g}")
    rate = lazy_kernel(n_hidden, skip=skip, branch_scale=branch_scale) * largest_eigenvalue(spectrum, n_samples)
    return float(2 * (1 + mu) / ((1 + 2 * mu if nesterov else 1) * rate)) if rate else np.inf


@dataclass(frozen=True)
class Cost:
    """Multiplications and additions, and bytes in memory, to leading order."""

    operations: float
    bytes: float


def theory_cost(n_steps: int, n_hidden: int, *, n_modes: int = 1, skip: bool = False) -> Cost:
    """What `solve_dmft` costs for full-batch training: a function of steps, layers and distinct modes only.

    Parameters
    ----------
    n_steps, n_hidden, skip
        As in `solve_dmft`.
    n_modes : int
        Distinct modes of the spectrum.

    Returns
    -------
    Cost
        ``operations = 2/3 T^3 (12 L + 10 K + 9)`` for T = n_steps + 1 recorded times, with skips 14 (L - 1) more in the
        bracket: so many products of a matrix and a vector of up to T entries a step. Beyond 224 steps, where several are
        solved together, each of them is computed some four times, in larger products and less time.

    Raises
    ------
    ValueError
        Arguments out of range.

    Notes
    -----
    Source: Bordelon & Pehlevan 2025, table 1, for this solver; a test counts the products.

    Examples
    --------
    >>> from dlnutils.dmft import theory_cost
    >>> f"{theory_cost(99, 3).operations:.3g}"
    '3.67e+07'
    """
    T, L, K = integer("n_steps", n_steps, at_least=0) + 1, integer("n_hidden", n_hidden), integer("n_modes", n_modes)
    products = 12 * L + (14 * (L - 1) if skip else 0) + 10 * K + 9
    return Cost(2 / 3 * T**3 * products, memory_needed(n_steps, L, K, skip))


def simulation_cost(n_steps: int, n_hidden: int, *, width: ArrayLike, n_inputs: int, n_samples: int,
                    n_networks: int = 1, n_outputs: int = 1) -> Cost:
    """What `simulate` costs for full-batch training: a function of all sizes.

    Parameters
    ----------
    n_steps, n_hidden, width, n_samples, n_networks
        As in `simulate`.
    n_inputs, n_outputs : int
        Dimensions of the inputs and of the targets, C.

    Returns
    -------
    Cost
        ``operations = 4 T (N D + (L - 1) N^2 + P D)`` for the products with the weights and the data, each way, and
        ``2 T^2 (N + D + 2 (L - 1) N)`` for the updates, with T = n_steps + 1; times the networks. With C outputs the first is
        C, the second C^2 times as much. The bytes are those of one network at a time. Plain descent over more than 32 updates
        takes less of the second than that, and fewer bytes.

    Raises
    ------
    ValueError
        Arguments out of range.

    Examples
    --------
    >>> from dlnutils.dmft import simulation_cost
    >>> f"{simulation_cost(99, 3, width=1000, n_inputs=1000, n_samples=2000).operations:.3g}"
    '2.12e+09'
    """
    T = integer("n_steps", n_steps, at_least=0) + 1
    L, D, P, n, C = (integer(name, value) for name, value in (
        ("n_hidden", n_hidden), ("n_inputs", n_inputs), ("n_samples", n_samples), ("n_networks", n_networks),
        ("n_outputs", n_outputs)))
    widths = real("width", width)
    if widths.ndim and widths.shape != (L,):
        raise ValueError(f"width must be one number or one for each of the {L} hidden layers, got shape {widths.shape}")
    sizes = [D, *(integer("width", N) for N in np.broadcast_to(widths, L).tolist())]
    weights = sum(below * above for below, above in zip(sizes, sizes[1:]))
    updates = sum(below + above for below, above in zip(sizes, sizes[1:]))
    return Cost(n * (4 * T * C * (weights + P * D) + 2 * T**2 * C**2 * updates), 8 * (weights + P * D + T * C * updates))

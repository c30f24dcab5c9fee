"""The data as the theory sees them: variances of the inputs and the target along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._validation import integer, matrix, number, real

__all__ = ["Spectrum", "isotropic", "power_law"]


@dataclass(frozen=True, init=False)
class Spectrum:
    """Variances of the inputs and the target along them: given, by `isotropic` or `power_law`, or `from_data`.

    Parameters
    ----------
    eigenvalues : array_like, shape (K,)
        Variance of the inputs along a mode, at least 0. What lies below by round-off, up to ``max(K, 100)`` units in the last
        place of the largest (1e-14 of it in double precision and few modes), counts as 0.
    target : array_like, shape (K,) or (K, C, C)
        Squared coefficient of the target along a mode (of each mode, where several are alike); of several outputs their Gram
        matrix ``w_kc w_kc'``, symmetric and positive, in which alike modes are averaged.
    multiplicity : array_like, shape (K,), optional
        How many modes are alike; 1 by default.
    binning_error : float
        What `binned` has found.

    Raises
    ------
    ValueError
        Shapes that differ, negative entries, a multiplicity that is not positive, or no mode.

    Notes
    -----
    The cost of a solution grows with K, the number of *distinct* modes: `dmft.theory_cost` and `dmft.memory_needed` say how. Put
    many modes into bins, with ``power_law(..., n_exact=20)`` or with `binned`.

    Examples
    --------
    >>> from dlnutils.dmft import Spectrum
    >>> Spectrum([1.0, 0.1], [1.0, 1.0])
    Spectrum(2 modes, target power 1.1)
    """

    eigenvalues: NDArray[np.float64]
    target: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    binning_error: float

    def __init__(self, eigenvalues: ArrayLike, target: ArrayLike, multiplicity: ArrayLike | None = None,
                 binning_error: float = 0.0) -> None:
        lam = np.atleast_1d(real("eigenvalues", eigenvalues))
        kind = np.asarray(eigenvalues).dtype
        unit = np.finfo(kind if kind.kind == "f" else float).eps
        lam[(lam < 0) & (lam >= -max(lam.size, 100) * unit * lam.max(initial=0.0))] = 0.0
        eigenvalues = real("eigenvalues", lam, at_least=0.0, hint="a covariance has none below zero but by round-off; is the "
                                                                  "matrix symmetric, are these variances?")
        target = _gram(target)
        count = np.ones_like(eigenvalues) if multiplicity is None else multiplicity
        count = np.atleast_1d(real("multiplicity", count, above=0.0))
        for name, value in (("eigenvalues", eigenvalues), ("target", target), ("multiplicity", count)):
            if value.shape[:1] != eigenvalues.shape or value.ndim != 1 and name != "target" or not len(value):
                raise ValueError(f"{name} must be one-dimensional, as long as eigenvalues and not empty, got shape {value.shape}")
            object.__setattr__(self, name, value)             # frozen from here on
        object.__setattr__(self, "binning_error", number("binning_error", binning_error, at_least=0.0))

    @classmethod
    def from_data(cls, X: ArrayLike, y: ArrayLike) -> Spectrum:
        """The spectrum of a data set: eigenvalues of its second moments, and the linear target that fits it best.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_inputs)
            Inputs. Their mean is left in, as networks see it; subtract it first if they shall not.
        y : array_like, shape (n_samples,) or (n_samples, C)
            One number to be learned for each sample, or several.

        Returns
        -------
        Spectrum
            All ``n_inputs`` modes, one by one, from the largest variance to the smallest. Variances below ``n_inputs`` units in
            the last place of the largest are round-off and become 0, with target 0. For hundreds of modes call `binned` next.

        Raises
        ------
        ValueError
            Shapes that do not match, no sample.

        Notes
        -----
        ``X' X / n_samples = U diag(lambda) U'``, and the coefficients are ``U' X' y / (n_samples lambda)``. What no linear map
        fits has the mean square ``mean(y^2) - power``; its root is the ``noise`` of `dmft.solve_dmft`. With fewer samples
        than some multiple of the inputs, the fit takes noise for target. Cost ``O(n_samples n_inputs^2)``.

        Examples
        --------
        >>> import numpy as np
        >>> from dlnutils.dmft import Spectrum
        >>> X = np.random.default_rng(0).standard_normal((1000, 3)) * [1.0, 2.0, 0.5]
        >>> Spectrum.from_data(X, X @ [0.0, 1.0, 2.0]).target.round(1)
        array([1., 0., 4.])
        """
        X, y = matrix("X", X), real("y", y)
        if y.shape[:1] != X.shape[:1] or y.ndim not in (1, 2) or not X.size or not y.size:
            raise ValueError(f"y must hold one number (or a row of them) for each row of X, and X must not be empty, got shapes "
                             f"{y.shape} and {X.shape}")
        lam, U = np.linalg.eigh(X.T @ X / len(X))
        lam, U = lam[::-1], U[:, ::-1]
        seen = lam > len(lam) * np.finfo(float).eps * lam[0]
        coefficient = np.where(seen, ((X.T @ y).T @ U / len(X)) / np.where(seen, lam, 1.0), 0.0)
        gram = coefficient**2 if y.ndim == 1 else np.einsum("ck,dk->kcd", coefficient, coefficient)
        return cls(np.where(seen, lam, 0.0), gram)

    def binned(self, *, n_exact: int = 20, ratio: float = 1.1) -> Spectrum:
        """The same data with modes of similar variance put together, so that a solution costs less.

        Parameters
        ----------
        n_exact : int
            So many of the largest modes (or groups) are kept as they are.
        ratio : float
            Largest ratio of variances in a bin, above 1.

        Returns
        -------
        Spectrum
            A bin keeps the number of its modes, the power of the target in it and the mean variance with the target's weights.
            ``binning_error`` is the error that this makes: the largest relative one of two things that a solution hangs on, the
            loss ``sum_k lambda_k w_k^2 exp(-2 lambda_k t)`` of a lazy network, down to 1e-4 of the first, and the degrees of
            freedom ``sum_k lambda_k / (lambda_k + kappa)`` for kappa from the smallest to the largest variance.

        Raises
        ------
        ValueError
            Arguments out of range.

        Examples
        --------
        >>> from dlnutils.dmft import power_law
        >>> bins = power_law(1000, 1.5, 0.5).binned(ratio=1.2)
        >>> bins, len(bins.eigenvalues), bins.binning_error < 0.01
        (Spectrum(1000 modes, target power 1.95), 52, True)
        """
        n_exact, ratio = integer("n_exact", n_exact, at_least=0), number("ratio", ratio, above=1.0)
        order = np.argsort(-self.eigenvalues, kind="stable")
        lam, count, target = self.eigenvalues[order], self.multiplicity[order], self.target[order]
        each = (slice(None), *(target.ndim - 1) * (None,))
        with np.errstate(divide="ignore"):                 # modes without variance share a bin
            step = np.minimum(np.log(lam[0] / lam) / np.log(ratio) if lam[0] else 0.0 * lam, 1e15)
        label = np.where(np.arange(len(lam)) < n_exact, -1.0 - np.arange(len(lam)), np.floor(step))
        first = np.flatnonzero(np.diff(label, prepend=np.nan))
        n, power = np.add.reduceat(count, first), np.add.reduceat(count[each] * target, first)
        own, size = count * self._power[order], np.diff(first, append=len(lam))
        weight = np.where(np.repeat(np.add.reduceat(own, first), size) > 0, own, count)
        mean = np.add.reduceat(weight * lam, first) / np.add.reduceat(weight, first)
        bins = Spectrum(mean, power / n[each], n)
        return Spectrum(mean, power / n[each], n, max(self.binning_error, _difference(self, bins)))

    @property
    def power(self) -> float:
        """Loss of a network that answers 0, without noise; of several outputs their sum."""
        return float(np.sum(self.multiplicity * self._power * self.eigenvalues))

    @property
    def n_outputs(self) -> int:
        """Numbers to be learned for each sample, C."""
        return 1 if self.target.ndim == 1 else self.target.shape[1]

    @property
    def _power(self) -> NDArray[np.float64]:
        """Squared coefficients along each mode, summed over outputs; shape (K,)."""
        return self.target if self.target.ndim == 1 else np.trace(self.target, axis1=1, axis2=2)

    @property
    def n_inputs(self) -> float:
        """Dimension of the inputs."""
        return float(np.sum(self.multiplicity))

    def __repr__(self) -> str:
        outputs = f", {self.n_outputs} outputs" if self.n_outputs > 1 else ""
        return f"Spectrum({self.n_inputs:g} modes{outputs}, target power {self.power:.3g})"


def _gram(target: ArrayLike) -> NDArray[np.float64]:
    """Squared coefficients of one output (K,), or Gram matrices of several (K, C, C)."""
    gram = np.atleast_1d(real("target", target))
    if gram.ndim == 3 and gram.shape[1:] == (1, 1):
        gram = gram[:, 0, 0]
    if gram.ndim != 3:
        return real("target", gram, at_least=0.0, hint="squares of coefficients")
    hint = "one a mode, the products w_kc w_kc' of the outputs' coefficients"
    least = 1e-9 * np.abs(gram).max(initial=0)
    if gram.shape[1] != gram.shape[2] or np.abs(gram - np.swapaxes(gram, 1, 2)).max(initial=0) > least:
        raise ValueError(f"target must be symmetric matrices, got shape {gram.shape}: {hint}")
    gram = (gram + np.swapaxes(gram, 1, 2)) / 2
    if gram.size and np.linalg.eigvalsh(gram).min() < -1e-9 * np.abs(gram).max():
        raise ValueError(f"target must be positive matrices, got an eigenvalue of {np.linalg.eigvalsh(gram).min():.3g}: {hint}")
    return gram


def _difference(spectrum: Spectrum, bins: Spectrum) -> float:
    """Largest relative difference of the lazy loss over time, and of the degrees of freedom."""
    positive = spectrum.eigenvalues[spectrum.eigenvalues > 0]
    if not len(positive):
        return 0.0
    rates = np.geomspace(positive.min() / 2, 2 * positive.max(), 200)

    def curves(s):
        lam, power = s.eigenvalues[:, None], s.multiplicity * s.eigenvalues
        return (power * s._power) @ np.exp(-2 * lam / rates), power @ (1 / (lam + rates))
    (loss, freedom), (binned_loss, binned_freedom) = curves(spectrum), curves(bins)
    floor = max(1e-4 * spectrum.power, np.finfo(float).tiny)
    return float(max(np.max(np.abs(binned_loss - loss) / np.maximum(loss, floor)), np.max(np.abs(binned_freedom / freedom - 1))))


def isotropic(n_inputs: float) -> Spectrum:
    """White inputs of the given dimension, and a target of mean square 1.

    Only the ratios of ``n_inputs`` to width and samples matter.

    Raises
    ------
    ValueError
        ``n_inputs`` not positive.

    Examples
    --------
    >>> from dlnutils.dmft import isotropic
    >>> isotropic(400)
    Spectrum(400 modes, target power 1)
    """
    n_inputs = number("n_inputs", n_inputs, above=0.0)
    return Spectrum([1.0], [1.0 / n_inputs], [n_inputs])


def power_law(n_modes: int, a: float, b: float, n_exact: int | None = None, ratio: float = 1.1) -> Spectrum:
    """Inputs with variances ``k^-a`` and a target whose power along mode ``k`` is ``k^(-a b - 1)``.

    Parameters
    ----------
    n_modes : int
        Any number with bins, such as ``10**14``; without, what fits into memory.
    a : float
        Capacity exponent, above 1 for a finite total variance; positive.
    b : float
        Source exponent of the task, positive; larger is easier.
    n_exact : int, optional
        Modes kept one by one; those beyond go into bins. By default every mode is kept.
    ratio : float
        Of the edges of a bin, above 1.

    Raises
    ------
    ValueError
        Exponents not positive, ``ratio`` not above 1.

    Notes
    -----
    A bin keeps the number of its modes, the power of the target in it and the mean variance with the target's weights. At
    infinite width that is all that matters; at finite width the random initial function sees it too, and easy tasks need finer
    bins (``n_exact=40, ratio=1.05``).
    Source: Bordelon & Pehlevan 2025, power-law data.

    Examples
    --------
    >>> from dlnutils.dmft import power_law
    >>> power_law(1000, 1.5, 0.5)
    Spectrum(1000 modes, target power 1.95)
    >>> len(power_law(1_000_000, 1.5, 0.5, n_exact=20).eigenvalues) < 150
    True
    """
    n_modes = integer("n_modes", n_modes)
    a, b, ratio = number("a", a, above=0.0), number("b", b, above=0.0), number("ratio", ratio, above=1.0)
    n_exact = n_modes if n_exact is None else min(integer("n_exact", n_exact), n_modes)
    edges, start = list(range(1, n_exact + 1)), n_exact + 1
    while start <= n_modes:
        edges.append(start)
        start = max(start + 1, int(np.ceil(start * ratio)))    # a Python integer: 64 bits end at 10^19
    edges.append(n_modes + 1)
    power = _sum_of_powers(a - a * b - 1, edges)
    count = np.array([float(y - x) for x, y in zip(edges, edges[1:])])
    return Spectrum(_sum_of_powers(-a * b - 1, edges) / power, power / count, count)


def _sum_of_powers(exponent, edges):
    """Sums of ``k^exponent`` from each edge up to the next; by the midpoint rule, exact to round-off, for k above a million."""
    exact = sum(edge <= 1_000_001 for edge in edges)
    k = np.arange(1, edges[exact - 1], dtype=float)
    low = np.add.reduceat(k**exponent, np.array(edges[:exact - 1]) - 1) if exact > 1 else []
    x = np.array([float(edge) for edge in edges[exact - 1:]]) - 0.5
    high = np.diff(np.log(x) if exponent == -1 else x**(exponent + 1) / (exponent + 1))
    return np.concatenate([low, high])


def check_spectrum(spectrum: object) -> None:
    """Refuse what is no spectrum."""
    if not isinstance(spectrum, Spectrum):
        raise ValueError(f"spectrum must be a Spectrum, got {spectrum!r}: see dmft.isotropic and dmft.power_law")

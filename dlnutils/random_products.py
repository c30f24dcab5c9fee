r"""Products of random matrices and signals through deep random networks (Saxe et al. 2013, sections 3 and 4).

Eigenvalues, singular values and Lyapunov exponents of ``W_k ... W_1`` for Gaussian and orthogonal factors, the
Jacobian of a deep random tanh network, and the mean-field map of its variance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._validation import choice, common_shape, generator, integer, number, real
from .initial_weights import orthogonal_matrix

__all__ = ["random_factor", "product_spectrum", "lyapunov_exponents", "triangular_law", "origin_bin_fraction", "variance_map",
           "slope_map", "variance_fixed_point", "jacobian_singular_values", "jacobian_mean_field"]


def random_factor(kind: str, width: int, rng: np.random.Generator | int) -> NDArray:
    """One factor of a product: entries ``N(0, 1/width)`` ('gaussian') or Haar ('orthogonal').

    Parameters
    ----------
    kind : {'gaussian', 'orthogonal'}
    width : int
    rng : numpy.random.Generator or int

    Returns
    -------
    ndarray, shape (width, width)

    Raises
    ------
    ValueError
        Unknown kind, a width that is not a positive integer.

    Notes
    -----
    Cost: ``width^2`` normal numbers, and one QR for an orthogonal factor. Source: Saxe et al. 2013, section 3.

    Examples
    --------
    >>> from dlnutils.random_products import random_factor
    >>> random_factor("gaussian", 3, rng=0).shape
    (3, 3)
    """
    choice("kind", kind, ("gaussian", "orthogonal"))
    n, rng = integer("width", width), generator(rng)
    return rng.standard_normal((n, n)) / np.sqrt(n) if kind == "gaussian" else orthogonal_matrix(n, rng)


def product_spectrum(kind: str, width: int, n_factors: int, *, eigenvalues: bool = True, rng: np.random.Generator | int
                     ) -> tuple[NDArray, NDArray | None]:
    """Singular values and eigenvalues of a product of independent random matrices.

    Parameters
    ----------
    kind : {'gaussian', 'orthogonal'}
    width : int
        Every factor has the shape (width, width).
    n_factors : int
        Number of factors: ``n_weights = N_l - 1`` of a deep linear network.
    eigenvalues : bool
        Also compute these; else None is returned in their place.
    rng : numpy.random.Generator or int

    Returns
    -------
    (singular_values, eigenvalues) : ndarray of shape (width,) decreasing, ndarray of complex of shape (width,) or None

    Raises
    ------
    ValueError
        Unknown kind or sizes that are not positive integers.

    Notes
    -----
    Values below about ``1e-15`` of the largest are round-off, not the product's: for the small end use
    :func:`lyapunov_exponents`. Cost: ``n_factors`` products of size width. Source: Saxe et al. 2013, figure 6B, C.

    Examples
    --------
    >>> from dlnutils.random_products import product_spectrum
    >>> s, _ = product_spectrum("orthogonal", 5, 10, eigenvalues=False, rng=0)
    >>> s.round(12)
    array([1., 1., 1., 1., 1.])
    """
    rng = generator(rng)
    product = random_factor(kind, width, rng)
    for _ in range(integer("n_factors", n_factors) - 1):
        product = random_factor(kind, width, rng) @ product
    return np.linalg.svd(product, compute_uv=False), np.linalg.eigvals(product) if eigenvalues else None


def lyapunov_exponents(kind: str, width: int, n_factors: int, rng: np.random.Generator | int) -> NDArray:
    """``ln(singular value) / n_factors`` of a product of random matrices, without ever forming it.

    Each factor is applied to an orthonormal frame that QR renews, and the logarithms of R's diagonal add up, so
    singular values of ``1e-300`` and less come out as well as the largest.

    Parameters
    ----------
    kind, width, n_factors, rng
        As in :func:`product_spectrum`.

    Returns
    -------
    ndarray, shape (width,)
        In decreasing order up to fluctuations of order ``1 / n_factors``.

    Raises
    ------
    ValueError
        Unknown kind or sizes that are not positive integers.

    Notes
    -----
    For a finite number of factors R's diagonal equals the singular values only to leading exponential order.
    Cost: one product and one QR of size width a factor. Goes beyond Saxe et al. 2013, figure 6B.

    Examples
    --------
    >>> from dlnutils.random_products import lyapunov_exponents
    >>> bool(abs(lyapunov_exponents("orthogonal", 4, 5, rng=0)).max() < 1e-12)
    True
    """
    n, k, rng = integer("width", width), integer("n_factors", n_factors), generator(rng)
    frame, total = np.eye(n), np.zeros(n)
    for _ in range(k):
        frame, R = np.linalg.qr(random_factor(kind, n, rng) @ frame)
        total += np.log(np.abs(np.diag(R)))
    return total / k


def triangular_law(width: int) -> NDArray:
    """Lyapunov exponents of many wide Gaussian factors: ``1/2 ln(1 - (i - 1/2)/width)`` for ``i = 1 .. width``.

    The squares of ``exp`` of the exponents fall on a straight line, hence the name.

    Parameters
    ----------
    width : int

    Returns
    -------
    ndarray, shape (width,)

    Raises
    ------
    ValueError
        A width that is not a positive integer.

    Notes
    -----
    Cost: one logarithm an entry. Source: Newman 1986; Isopi & Newman 1992.

    Examples
    --------
    >>> from dlnutils.random_products import triangular_law
    >>> triangular_law(4).round(3)
    array([-0.067, -0.235, -0.49 , -1.04 ])
    """
    n = integer("width", width)
    return 0.5 * np.log1p(-(np.arange(n) + 0.5) / n)


def origin_bin_fraction(k: ArrayLike, bin_width: float = 0.1) -> NDArray:
    """Share of the eigenvalues of a product of ``k`` Gaussian factors that falls into the square bin at the origin.

    For infinite size the eigenvalues are isotropic with ``P(|mu| < r) = r^(2/k)``; the bin is
    ``|Re|, |Im| < bin_width / 2``.

    Parameters
    ----------
    k : array_like
        Number of factors, at least 1.
    bin_width : float
        Between 0 and ``sqrt(2)``, so that the bin lies inside the unit disc.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``k`` below 1 or a bin that does not fit.

    Notes
    -----
    Cost: a quadrature with 40 nodes an entry. Source: Saxe et al. 2013, figure 6C, whose depths (not stated) this law identifies.

    Examples
    --------
    >>> from dlnutils.random_products import origin_bin_fraction
    >>> origin_bin_fraction([5, 100]).round(4)
    array([0.3155, 0.9439])
    """
    k = real("k", k, at_least=1.0)
    half = number("bin_width", bin_width, above=0.0, at_most=float(np.sqrt(2))) / 2
    nodes, weights = np.polynomial.legendre.leggauss(40)
    angle = np.pi / 8 * (1 + nodes)                        # P = mean of r(angle)^(2/k), r = half / cos(angle), over [0, pi/4]
    return ((half / np.cos(angle))**(2 / k[..., None]) @ weights / 2)[()]


# Trapezoid in t with z = 12 sinh(30 t) / sinh(30): the nodes crowd at 0, where tanh(sqrt(q) z) turns over for large q.
# Gauss-Hermite is off by 5e-4 at q = 10 already, for tanh has poles near the real line.
_T = np.arange(-2400, 2401) / 2400
_Z = 12 * np.sinh(30 * _T) / np.sinh(30)
_GAUSS = np.exp(-_Z**2 / 2) / np.sqrt(2 * np.pi) * 360 * np.cosh(30 * _T) / np.sinh(30) / 2400


def _average(function: Callable[[NDArray], NDArray], q: ArrayLike) -> NDArray:
    """Mean of ``function(sqrt(q) z)`` over a standard normal ``z``, for an array of ``q``."""
    q = np.asarray(q, dtype=float)
    return function(np.sqrt(q)[..., None] * _Z) @ _GAUSS


def variance_map(q: ArrayLike, g: ArrayLike) -> NDArray:
    """Variance after one layer of a wide random tanh network, ``g^2 <tanh(sqrt(q) z)^2>``.

    Parameters
    ----------
    q : array_like
        Variance of the layer's inputs, >= 0.
    g : array_like
        Gain: weights have variance ``g^2 / n``. Broadcasts with ``q``.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``q`` or ``g`` negative or not finite.

    Notes
    -----
    Cost: 4 801 tanh an entry. Source: Saxe et al. 2013, figure 8 and appendix G.

    Examples
    --------
    >>> from dlnutils.random_products import variance_map
    >>> float(variance_map(1.0, 1.0).round(7))
    0.3942945
    """
    q, g = real("q", q, at_least=0.0), real("g", g, at_least=0.0)
    common_shape(q=q, g=g)
    return (g**2 * _average(lambda h: np.tanh(h)**2, q))[()]


def slope_map(q: ArrayLike, g: ArrayLike) -> NDArray:
    """Mean squared slope of one layer, ``g^2 <tanh'(sqrt(q) z)^2>``: growth of a small difference's square.

    Parameters
    ----------
    q, g : array_like
        As in :func:`variance_map`.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``q`` or ``g`` negative or not finite.

    Notes
    -----
    Cost: 4 801 tanh an entry. Source: Poole et al. 2016; Saxe et al. 2013, section 4.

    Examples
    --------
    >>> from dlnutils.random_products import slope_map
    >>> float(slope_map(0.0, 1.1).round(12))
    1.21
    """
    q, g = real("q", q, at_least=0.0), real("g", g, at_least=0.0)
    common_shape(q=q, g=g)
    return (g**2 * _average(lambda h: (1 - np.tanh(h)**2)**2, q))[()]


def variance_fixed_point(g: ArrayLike) -> NDArray:
    """The variance a deep random tanh network settles at: 0 for ``g <= 1``, else the map's positive fixed point.

    Parameters
    ----------
    g : array_like
        Gain, >= 0.

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        ``g`` negative or not finite.

    Notes
    -----
    Just above 1 it grows as ``g - 1``. Cost: some ten averages of 4 801 tanh an entry. Source: Saxe et al. 2013, figure 8 right.

    Examples
    --------
    >>> from dlnutils.random_products import variance_fixed_point
    >>> variance_fixed_point([0.9, 1.1, 1.5]).round(6)
    array([0.      , 0.11275 , 0.793354])
    """
    from scipy.optimize import root_scalar

    g = real("g", g, at_least=0.0)

    def solve(gain: float) -> float:
        if gain < 1 + 1e-8:                                # there rounding of g matters more than the next term
            return max(gain - 1, 0.0)
        # In units of g - 1 the root stays of order 1 at the onset, where q itself vanishes.
        def excess(q: float) -> float: return gain**2 * float(_average(lambda h: np.tanh(h)**2, q)) / q - 1
        return root_scalar(excess, bracket=(min(gain - 1, 1.0) * 0.1, gain**2), method="brentq", xtol=1e-300, rtol=8.9e-16).root
    return np.vectorize(solve, otypes=[float])(g)[()]


def _networks(gains: ArrayLike, variances: ArrayLike) -> tuple[NDArray, NDArray]:
    """Gains and variances of the same shape, one entry for each network."""
    g, q = real("gains", gains, at_least=0.0), real("variances", variances, at_least=0.0)
    shape = common_shape(gains=g, variances=q)
    return np.broadcast_to(g, shape), np.broadcast_to(q, shape)


def jacobian_singular_values(gains: ArrayLike, variances: ArrayLike, width: int, n_factors: int, *, kind: str = "orthogonal",
                             rng: np.random.Generator | int) -> tuple[NDArray, NDArray]:
    """Singular values of the end-to-end Jacobian of deep random tanh networks, several gains and inputs in one pass.

    All networks share their random factors ``W``: ``x' = g W tanh(x)`` and ``J = prod g W diag(tanh'(x))``; the
    Jacobians stand side by side, so that each layer is one large product.

    Parameters
    ----------
    gains, variances : array_like
        Broadcast against each other; ``variances`` is the exact mean square of the input.
    width : int
    n_factors : int
        Number of random matrices, ``N_l - 1``.
    kind : {'orthogonal', 'gaussian'}
    rng : numpy.random.Generator or int

    Returns
    -------
    (singular_values, variance_out) : ndarray of shape (..., width) decreasing, ndarray of shape (...)

    Raises
    ------
    ValueError
        Negative gains or variances, or shapes that do not broadcast; sizes that are not positive integers, unknown kind.

    Notes
    -----
    Cost: ``n_factors`` products of (width, width) with (width, width * networks), one SVD a network. Source: Saxe
    et al. 2013, figure 7.

    Examples
    --------
    >>> from dlnutils.random_products import jacobian_singular_values
    >>> s, q = jacobian_singular_values(1.0, 1e-12, 6, 10, rng=0)
    >>> s.round(9)
    array([1., 1., 1., 1., 1., 1.])
    """
    gains, variances = _networks(gains, variances)
    shape, g, n, rng = gains.shape, gains.ravel(), integer("width", width), generator(rng)
    x = rng.standard_normal((n, 1))
    x = x / np.sqrt(np.mean(x**2)) * np.sqrt(variances.ravel())
    J = np.broadcast_to(np.eye(n)[:, None], (n, g.size, n))
    for _ in range(integer("n_factors", n_factors)):
        W = random_factor(kind, n, rng)
        signal = np.tanh(x)
        J = (W @ ((g * (1 - signal**2))[..., None] * J).reshape(n, -1)).reshape(n, g.size, n)
        x = g * (W @ signal)
    values = np.linalg.svd(J.transpose(1, 0, 2), compute_uv=False)
    return values.reshape(shape + (n,)), np.mean(x**2, axis=0).reshape(shape)


def jacobian_mean_field(gains: ArrayLike, variances: ArrayLike, n_factors: int
                        ) -> tuple[NDArray, NDArray]:
    """Predicted root mean square singular value of :func:`jacobian_singular_values`, and the outgoing variance.

    Parameters
    ----------
    gains, variances : array_like
        Broadcast against each other.
    n_factors : int
        Number of random matrices, ``N_l - 1``.

    Returns
    -------
    (rms, variance_out) : tuple of ndarray

    Raises
    ------
    ValueError
        Negative gains or variances, or shapes that do not broadcast; ``n_factors`` not a positive integer.

    Notes
    -----
    Wide networks: ``rms^2`` is the product of the layers' mean squared slopes along the variance's path. Cost: 9 602 tanh an
    entry and factor. Ours.

    Examples
    --------
    >>> from dlnutils.random_products import jacobian_mean_field
    >>> rms, q = jacobian_mean_field(0.9, 1.0, 99)
    >>> float(rms.round(7))
    1.03e-05
    """
    g, q = _networks(gains, variances)
    log_square = np.zeros(q.shape)
    with np.errstate(divide="ignore"):
        for _ in range(integer("n_factors", n_factors)):
            log_square = log_square + np.log(slope_map(q, g))
            q = variance_map(q, g)
    return np.exp(log_square / 2)[()], q

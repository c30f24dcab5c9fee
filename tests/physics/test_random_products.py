"""Random products and deep random networks against linear algebra, quadrature, differences and their limits."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import erfc

from dlnutils import random_products
from dlnutils.random_products import (
    jacobian_mean_field,
    jacobian_singular_values,
    lyapunov_exponents,
    origin_bin_fraction,
    product_spectrum,
    random_factor,
    slope_map,
    triangular_law,
    variance_fixed_point,
    variance_map,
)

pytestmark = pytest.mark.filterwarnings("error")

KINDS = ["gaussian", "orthogonal"]


@pytest.fixture
def rng():
    return np.random.default_rng(1312)


# --- products of random matrices ------------------------------------------------------------------------------------

def test_factors_have_the_right_scale(rng):
    Q = random_factor("orthogonal", 60, rng)
    np.testing.assert_allclose(Q @ Q.T, np.eye(60), atol=1e-13)
    G = random_factor("gaussian", 300, rng)
    assert 300 * G.var() == pytest.approx(1, abs=0.03) and abs(G.mean()) < 4 / 300**1.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_product_is_the_explicit_product(kind, k):
    singular_values, eigenvalues = product_spectrum(kind, 6, k, rng=k)
    rng, product = np.random.default_rng(k), np.eye(6)
    for _ in range(k):
        product = random_factor(kind, 6, rng) @ product
    np.testing.assert_allclose(singular_values, np.linalg.svd(product, compute_uv=False), rtol=1e-12)
    characteristic = np.poly(product)                      # the eigenvalues, whatever their order
    np.testing.assert_allclose(np.poly(eigenvalues), characteristic, atol=1e-12 * np.abs(characteristic).max())
    assert np.all(np.diff(singular_values) <= 0)
    only, none = product_spectrum(kind, 6, k, rng=k, eigenvalues=False)
    np.testing.assert_array_equal(only, singular_values)
    assert none is None


def test_orthogonal_product_keeps_every_length(rng):
    singular_values, eigenvalues = product_spectrum("orthogonal", 100, 100, rng=rng)
    np.testing.assert_allclose(singular_values, 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.abs(eigenvalues), 1, rtol=0, atol=1e-12)
    np.testing.assert_allclose(lyapunov_exponents("orthogonal", 100, 100, rng), 0, atol=1e-12)


def test_gaussian_product_keeps_lengths_only_on_average():
    squares = [product_spectrum("gaussian", 100, 5, rng=i, eigenvalues=False)[0]**2 for i in range(20)]
    assert np.mean(squares) == pytest.approx(1, abs=0.1)
    small = np.sqrt(squares) < 1e-3                        # most directions die nevertheless
    assert small.mean() == pytest.approx(0.096, abs=0.02)
    deep = product_spectrum("gaussian", 100, 100, rng=0, eigenvalues=False)[0]
    assert (deep < 1e-3).mean() == pytest.approx(10**(-6 / 100), abs=0.04)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [1, 3, 8])
def test_lyapunov_exponents_sum_to_the_determinant(kind, k):
    exponents = lyapunov_exponents(kind, 7, k, np.random.default_rng(k))
    singular_values, _ = product_spectrum(kind, 7, k, rng=k, eigenvalues=False)
    np.testing.assert_allclose(k * exponents.sum(), np.log(singular_values).sum(), atol=1e-11)


def test_lyapunov_exponents_are_those_of_the_singular_values():
    """While the product can still be formed: they agree to order 1/k, with the difference shrinking in k."""
    worst = []
    for k in (4, 12):                                      # deeper ones lose their smallest value to round-off
        difference = [lyapunov_exponents("gaussian", 3, k, np.random.default_rng(i))
                      - np.log(product_spectrum("gaussian", 3, k, rng=i, eigenvalues=False)[0]) / k
                      for i in range(30)]
        worst.append(np.abs(difference).mean())
    assert worst[0] < 0.3 and worst[1] < worst[0] / 2


def test_lyapunov_exponents_below_round_off():
    exponents = lyapunov_exponents("gaussian", 10, 2000, np.random.default_rng(3))
    assert np.exp(2000 * exponents[-1]) == 0               # a singular value that a float cannot hold
    assert exponents[-1] == pytest.approx(-0.5 * (np.log(10) + np.euler_gamma + np.log(2)), abs=0.1)    # <ln chi_1> / sqrt(n)


def test_many_factors_follow_the_triangular_law(rng):
    n, kept = 120, 108                                     # the smallest tenth converges last
    exponents = np.sort(lyapunov_exponents("gaussian", n, 150, rng))[::-1]
    assert np.sqrt(np.mean((exponents - triangular_law(n))[:kept]**2)) < 0.02
    np.testing.assert_allclose(np.diff(np.exp(2 * triangular_law(n))), -1 / n, rtol=1e-11)
    np.testing.assert_allclose(triangular_law(1), 0.5 * np.log(0.5), rtol=1e-15)


# --- the bin at the origin ------------------------------------------------------------------------------------------

def test_origin_bin_of_one_factor_is_an_area():
    width = np.array([0.02, 0.1, 1.0])
    np.testing.assert_allclose([origin_bin_fraction(1, w) for w in width], width**2 / np.pi, rtol=1e-12)


@pytest.mark.parametrize("k", [2, 5.5, 100])
def test_origin_bin_against_quadrature(k):
    share = quad(lambda angle: (0.15 / np.cos(angle))**(2 / k), 0, np.pi / 4, epsrel=1e-13)[0] * 4 / np.pi
    np.testing.assert_allclose(origin_bin_fraction(k, 0.3), share, rtol=1e-12)


def test_origin_bin_limits():
    assert origin_bin_fraction(1e15) == pytest.approx(1, abs=1e-13)
    shares = origin_bin_fraction([1, 2, 5, 20, 100])
    assert np.all(np.diff(shares) > 0) and 0 < shares[0] and shares[-1] < 1
    r = np.sqrt(2)                                         # the largest bin: its corners lie on the unit circle
    np.testing.assert_allclose(origin_bin_fraction(1, r), 2 / np.pi, rtol=1e-12)


def test_origin_bin_against_eigenvalues():
    eigenvalues = np.concatenate([product_spectrum("gaussian", 100, 5, rng=i)[1] for i in range(20)])
    inside = (np.abs(eigenvalues.real) < 0.05) & (np.abs(eigenvalues.imag) < 0.05)
    assert inside.mean() == pytest.approx(origin_bin_fraction(5), abs=0.02)


@pytest.mark.parametrize("k, share", [(1, 0.0032), (4, 0.237), (5, 0.3155), (6, 0.382), (99, 0.9434), (100, 0.9439)])
def test_the_paper_s_shares_name_the_depths(k, share):
    """32 % and 94 % are 5 and about 100 factors; 4 and 6 are excluded."""
    assert origin_bin_fraction(k) == pytest.approx(share, abs=6e-4 if k < 9 else 6e-5)


# --- the variance map -----------------------------------------------------------------------------------------------

REFERENCE = [entry for entry in json.loads((Path(__file__).parent / "saxe2013_reference.json").read_text())["entries"]
             if hasattr(random_products, entry["function"])]


@pytest.mark.parametrize("entry", REFERENCE, ids=lambda e: "-".join([e["function"], *map(str, e["inputs"].values())]))
def test_reference(entry):
    value = getattr(random_products, entry["function"])(**entry["inputs"])
    np.testing.assert_allclose(value, entry["expected"], rtol=1e-9 if "bin" in entry["function"] else 1e-12, atol=0)


def test_reference_file_has_all_three_functions():
    assert {e["function"] for e in REFERENCE} == {"variance_map", "variance_fixed_point", "origin_bin_fraction"}


def normal_mean(function, limit, q):
    """Mean of a function of x ~ N(0, q) that is even and equals ``limit`` for all |x| > 40."""
    edge = min(40.0, 12 * np.sqrt(q))
    inside = quad(lambda x: function(x) * np.exp(-x * x / (2 * q)), 0, edge, epsabs=0, epsrel=1e-13, limit=400)[0]
    return 2 * inside / np.sqrt(2 * np.pi * q) + limit * (erfc(edge / np.sqrt(2 * q)) if edge == 40 else 0)


@pytest.mark.parametrize("q", [1e-6, 0.3, 10.0, 1e3, 1e5, 1e9])     # large q: tanh is a step, and easily missed by nodes
def test_maps_against_quadrature(q):
    np.testing.assert_allclose(variance_map(q, 1.3), 1.69 * normal_mean(lambda x: np.tanh(x)**2, 1, q), rtol=1e-11)
    np.testing.assert_allclose(slope_map(q, 1.3), 1.69 * normal_mean(lambda x: np.cosh(x)**-4, 0, q), rtol=1e-11)


def test_maps_at_small_and_large_variance():
    q = np.array([1e-300, 1e-12, 1e-4, 1e-3])
    np.testing.assert_allclose(variance_map(q, 2.0), 4 * (q - 2 * q**2 + 17 / 3 * q**3), rtol=3e-8)
    np.testing.assert_allclose(slope_map(q, 2.0), 4 * (1 - 2 * q + 17 / 3 * q**2), rtol=2e-6)
    assert variance_map(0.0, 3.0) == 0 and slope_map(0.0, 3.0) == pytest.approx(9, rel=1e-14)
    large = np.array([1e8, 1e14, 1e20])                    # 1 - <tanh^2> = sqrt(2 / (pi q)), <tanh'^2> = 2/3 of it
    np.testing.assert_allclose((1 - variance_map(large, 1.0)) * np.sqrt(np.pi * large / 2), 1, rtol=1e-4)
    np.testing.assert_allclose(slope_map(large, 1.0) * np.sqrt(np.pi * large / 2), 2 / 3, rtol=1e-7)
    assert np.all(np.diff(variance_map(np.geomspace(1e-9, 1e9, 300), 1.0)) > 0)


@pytest.mark.parametrize("g", [1.0001, 1.05, 2.0, 30.0, 1e4])
def test_fixed_point_is_one_and_attracts(g):
    q = variance_fixed_point(g)
    assert variance_map(q, g) == pytest.approx(q, rel=1e-13)
    assert (variance_map(1.01 * q, g) < 1.01 * q) and (variance_map(0.99 * q, g) > 0.99 * q)


def test_fixed_point_limits():
    np.testing.assert_array_equal(variance_fixed_point([0.0, 0.5, 1.0]), 0)
    excess = np.array([3e-16, 1e-12, 1e-8, 2e-8, 1e-6, 1e-4])
    gains = 1 + excess
    np.testing.assert_allclose(variance_fixed_point(gains) / (gains - 1), 1 + 4 / 3 * excess, rtol=3e-8)
    np.testing.assert_allclose(variance_fixed_point(1e6) / 1e12, 1, rtol=1e-5)      # tanh is a step
    q = variance_fixed_point(1.001)
    assert slope_map(q, 1.001) - 1 == pytest.approx(4 / 3 * q**2, rel=0.01)         # chaos sets in at second order


def test_fixed_points_to_six_digits():
    np.testing.assert_allclose(variance_fixed_point([1.01, 1.05, 1.2, 2, 2.5]),
                               [0.0101326, 0.0532505, 0.249513, 2.1214735, 3.9609612], rtol=5e-6)


# --- Jacobians of deep random networks ------------------------------------------------------------------------------

def network(kind, width, n_factors, seed, gain, variance):
    """The network that ``jacobian_singular_values`` draws: its input and the map from input to output."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((width, 1))
    factors = [random_factor(kind, width, rng) for _ in range(n_factors)]

    def run(x):
        for W in factors:
            x = gain * W @ np.tanh(x)
        return x
    return x * np.sqrt(variance / np.mean(x**2)), run


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gain, variance", [(0.8, 0.3), (1.6, 2.5)])
def test_jacobian_against_differences(kind, gain, variance):
    x, run = network(kind, 6, 4, 5, gain, variance)
    h = 1e-5 * np.eye(6)
    jacobian = (run(x + h) - run(x - h)) / 2e-5
    values, variance_out = jacobian_singular_values(gain, variance, 6, 4, rng=5, kind=kind)
    np.testing.assert_allclose(values, np.linalg.svd(jacobian, compute_uv=False), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(variance_out, np.mean(run(x)**2), rtol=1e-12)
    assert np.mean(x**2) == pytest.approx(variance, rel=1e-13)


def test_jacobian_broadcasts():
    gains, variances = np.array([[0.9], [1.2]]), np.array([0.2, 1.0, 4.0])
    values, out = jacobian_singular_values(gains, variances, 5, 7, rng=1)
    assert values.shape == (2, 3, 5) and out.shape == (2, 3) and np.all(np.diff(values) <= 0)
    for i, j in np.ndindex(2, 3):                          # all networks share their factors and their direction
        one, one_out = jacobian_singular_values(gains[i, 0], variances[j], 5, 7, rng=1)
        assert one.shape == (5,) and np.shape(one_out) == ()
        np.testing.assert_allclose(values[i, j], one, rtol=1e-12)
        np.testing.assert_allclose(out[i, j], one_out, rtol=1e-13)


def test_jacobian_limits():
    values, out = jacobian_singular_values([0.9, 1.1], 1e-14, 8, 30, rng=2)
    np.testing.assert_allclose(values, np.array([[0.9], [1.1]])**30 * np.ones(8), rtol=1e-6)    # a linear network
    np.testing.assert_allclose(out, 1e-14 * np.array([0.9, 1.1])**60, rtol=1e-6)
    values, out = jacobian_singular_values([0.0, 1.0], [1.0, 0.0], 4, 3, rng=2)
    np.testing.assert_allclose(values, [[0] * 4, [1] * 4], atol=1e-14)
    assert np.all(out == 0)


def test_no_orthogonal_jacobian_stretches_beyond_its_gains():
    gains = np.array([0.7, 0.95, 1.0, 1.3])
    values, _ = jacobian_singular_values(gains[:, None], [0.01, 1.0, 9.0], 30, 20, rng=4)
    assert np.all(values[..., 0] <= gains[:, None]**20 * (1 + 1e-12))


@pytest.mark.parametrize("kind", KINDS)
def test_mean_field_against_simulation(kind):
    gains, variances = np.array([[0.9], [1.0], [1.1]]), np.array([0.2, 1.0])
    draws = [jacobian_singular_values(gains, variances, 150, 12, rng=i, kind=kind) for i in range(16)]
    rms, out = jacobian_mean_field(gains, variances, 12)
    assert rms.shape == out.shape == (3, 2)
    for ratio in (np.array([np.sqrt(np.mean(values**2, axis=-1)) for values, _ in draws]) / rms,
                  np.array([q for _, q in draws]) / out):
        error = ratio.std(axis=0, ddof=1) / 4
        assert np.all(np.abs(ratio.mean(axis=0) - 1) < np.maximum(0.02, 3 * error)) and error.max() < 0.12


def test_mean_field_is_the_product_along_the_path():
    q, square = 2.0, 1.0
    for _ in range(5):
        square, q = square * slope_map(q, 1.3), variance_map(q, 1.3)
    rms, out = jacobian_mean_field(1.3, 2.0, 5)
    assert rms == pytest.approx(np.sqrt(square), rel=1e-13) and out == pytest.approx(q, rel=1e-13)
    assert jacobian_mean_field(0.0, 1.0, 3)[0] == 0
    assert jacobian_mean_field(0.5, 0.0, 4)[0] == pytest.approx(0.5**4, rel=1e-13)


def test_at_the_edge_the_jacobian_dies_as_a_power_of_depth():
    depths = np.array([200, 400, 800, 1600])
    rms, q = zip(*(jacobian_mean_field(1.0, 1.0, int(depth)) for depth in depths))
    assert np.polyfit(np.log(depths), np.log(rms), 1)[0] == pytest.approx(-0.5, abs=0.0015)
    np.testing.assert_allclose(2 * depths * q, 1, rtol=0.015)


# --- bad input ------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
BAD = {                                                    # call, what the message must hold
    "kind of factor": (lambda: random_factor("uniform", 3, RNG), "kind .*'gaussian', 'orthogonal', got 'uniform'"),
    "size of factor": (lambda: random_factor("gaussian", 2.5, RNG), "width must be .*got 2.5"),
    "size of orthogonal": (lambda: random_factor("orthogonal", 0, RNG), "width must be .*got 0"),
    "kind of product": (lambda: product_spectrum("haar", 3, 2, rng=RNG), "kind .*got 'haar'"),
    "no factors": (lambda: product_spectrum("gaussian", 3, 0, rng=RNG), "n_factors must be .*got 0"),
    "half a factor": (lambda: lyapunov_exponents("gaussian", 3, 1.5, RNG), "n_factors must be .*got 1.5"),
    "no size": (lambda: lyapunov_exponents("gaussian", 0, 1, RNG), "width must be .*got 0"),
    "kind of Lyapunov": (lambda: lyapunov_exponents("haar", 3, 1, RNG), "kind .*got 'haar'"),
    "law of nothing": (lambda: triangular_law(-1), "width must be .*got -1"),
    "half a factor in the bin": (lambda: origin_bin_fraction([5, 0.5]), "k must be at least 1, got 0.5"),
    "bin too wide": (lambda: origin_bin_fraction(5, 1.5), "bin_width must be at most .*got 1.5"),
    "bin without width": (lambda: origin_bin_fraction(5, 0.0), "bin_width must be greater than 0, got 0"),
    "negative variance": (lambda: variance_map([1.0, -1.0], 1.0), "q must be at least 0, got -1"),
    "negative gain": (lambda: variance_map(1.0, -2.0), "g must be at least 0, got -2"),
    "infinite variance": (lambda: slope_map(np.inf, 1.0), "q must be finite, got inf"),
    "gain no number": (lambda: slope_map(1.0, "one"), "g must be a number .*'one'"),
    "gain of fixed point": (lambda: variance_fixed_point(np.nan), "g must be finite, got nan"),
    "negative gains": (lambda: jacobian_singular_values([1, -1], 1.0, 3, 2, rng=RNG), "gains must be at least 0, got -1"),
    "negative variances": (lambda: jacobian_singular_values(1.0, -0.1, 3, 2, rng=RNG), "variances must be .*got -0.1"),
    "no neurons": (lambda: jacobian_singular_values(1.0, 1.0, 0, 2, rng=RNG), "width must be .*got 0"),
    "no layers": (lambda: jacobian_singular_values(1.0, 1.0, 3, 0, rng=RNG), "n_factors must be .*got 0"),
    "kind of Jacobian": (lambda: jacobian_singular_values(1.0, 1.0, 3, 2, rng=RNG, kind="o"), "kind .*got 'o'"),
    "gains that fit no variances": (lambda: jacobian_singular_values([1, 2], [1, 2, 3], 3, 2, rng=RNG), "broadcast"),
    "mean field without layers": (lambda: jacobian_mean_field(1.0, 1.0, 0), "n_factors must be .*got 0"),
    "mean field of a negative gain": (lambda: jacobian_mean_field(-1.0, 1.0, 3), "gains must be .*got -1"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_every_function_refuses_something():
    lines = " ".join(inspect.getsource(call) for call, _ in BAD.values())
    assert all(name in lines for name in random_products.__all__)


def test_whole_numbers_may_come_as_floats():
    for function in (lambda n: lyapunov_exponents("gaussian", n, 2, np.random.default_rng(0)),
                     lambda n: product_spectrum("gaussian", n, 2, rng=0)[0],
                     lambda n: jacobian_singular_values(1.0, 1.0, n, 2, rng=0)[0], triangular_law):
        np.testing.assert_array_equal(function(4.0), function(4))

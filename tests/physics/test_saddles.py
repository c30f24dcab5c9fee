"""Closed forms of the saddle chapter against references, limits, differential equations and each other."""

import importlib
import json
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.stats import chi2

from dlnutils.initial_weights import orthogonal_matrix
from dlnutils.linear_networks import gradient_descent
from dlnutils.saddles import (
    deep_mode_strength,
    deep_mode_time,
    deep_mode_time_infinite,
    max_hessian_eigenvalue,
    random_start_delay,
    riccati_flow,
    two_layer_learning_time,
    two_layer_mode_strength,
    two_layer_unbalanced,
)

pytestmark = pytest.mark.filterwarnings("error")           # an overflow that happens to end well is still a defect

EPS = np.finfo(float).eps
DOP853 = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-14}


# --- the reference file ---------------------------------------------------------------------------------------------

ENTRIES = json.loads((Path(__file__).parent / "saxe2013_reference.json").read_text(encoding="utf-8"))["entries"]
#: Every function of the reference file; one that is missing here fails the tests below.
MODULES = {
    "two_layer_mode_strength": "saddles", "two_layer_learning_time": "saddles", "two_layer_unbalanced": "saddles",
    "deep_mode_time": "saddles", "deep_mode_time_infinite": "saddles", "max_hessian_eigenvalue": "saddles",
    "hierarchical_singular_values": "tasks",
    "variance_map": "random_products", "variance_fixed_point": "random_products", "origin_bin_fraction": "random_products",
}


def rounding(t, u, s, n, tau=1.0):
    """Relative change of u by one rounding of t: after a wait of 1e12 passages little is left of a mode's digits."""
    return EPS * t / tau * n * u**(1 - 2 / n) * np.abs(s - u)


def entry_id(entry):
    return entry["function"] + "-" + "-".join(f"{value:g}" for value in entry["inputs"].values())


def test_reference_file_and_table_name_the_same_functions():
    assert {entry["function"] for entry in ENTRIES} == set(MODULES)


@pytest.mark.parametrize("entry", ENTRIES, ids=entry_id)
def test_reference(entry):
    module = importlib.import_module("dlnutils." + MODULES[entry["function"]])
    value = getattr(module, entry["function"])(**entry["inputs"])
    if entry["function"] == "hierarchical_singular_values":
        value = value[0]                                   # without the multiplicities
    rtol = 1e-9 if entry["function"] == "origin_bin_fraction" else 1e-11
    np.testing.assert_allclose(value, entry["expected"], rtol=rtol, atol=0)


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e["function"] == "deep_mode_time"], ids=entry_id)
def test_reference_backwards(entry):
    """The file has no strengths of deep modes, but its times say where they are."""
    inputs = dict(entry["inputs"])
    u = inputs.pop("u")
    noise = rounding(entry["expected"], u, inputs["s"], inputs["n_weights"], inputs["tau"])
    np.testing.assert_allclose(deep_mode_strength(entry["expected"], **inputs), u, rtol=1e-9 + 64 * noise, atol=0)


# --- exact numbers in a hundred digits, where double precision is hard ------------------------------------------------

def exact_time(u, s, u0, n):
    """Time from u0 to u (tau = 1; n = 'inf': N_l t) where it is elementary, whatever the cancellation."""
    with localcontext() as context:
        context.prec = 400                                 # 1 - 1e-300 needs 300
        u, s, u0 = Decimal(u), Decimal(s), Decimal(u0)
        log = (u * (s - u0) / (u0 * (s - u))).ln()
        if n == 1:
            return float(((s - u0) / (s - u)).ln())
        if n == 2:
            return float(log / (2 * s))
        if n == 4:
            def part(x): return abs((s.sqrt() + x.sqrt()) / (s.sqrt() - x.sqrt())).ln() / s.sqrt()**3 - 2 / (s * x.sqrt())
            return float((part(u) - part(u0)) / 4)
        return float(log / s**2 + (1 / u0 - 1 / u) / s)


def exact_two_layer_strength(t, s, u0):
    with localcontext() as context:
        context.prec = 100
        t, s, u0 = Decimal(t), Decimal(s), Decimal(u0)
        return float(s / (1 + (s / u0 - 1) * (-2 * s * t).exp()))


HARD_PASSAGES = {                                          # u, s, u0
    "tiny start": (0.5, 1.0, 1e-300),
    "tiny start and end": (1e-299, 1.0, 1e-300),
    "end near s": (3 - 3e-12, 3.0, 1e-3),
    "all near s": (0.7 * (1 - 1e-13), 0.7, 0.7 * (1 - 1e-10)),
    "short": (0.5 + 1e-11, 1.3, 0.5),
    "from above": (1.1, 1.0, 1.7),
    "from above, to near s": (0.3 * (1 + 1e-12), 0.3, 2.0),
    "from far above": (1.0001, 1.0, 1e10),
    "from very far above": (1.0001, 1.0, 1e20),
    "from above, short": (2 - 1e-11, 1.0, 2.0),
    "tiny s": (0.5, 1e-9, 0.9),
    "s of round-off": (0.5, 1e-17, 0.9),
}


@pytest.mark.parametrize("n", [1, 2, 4, "inf"])
@pytest.mark.parametrize("passage", HARD_PASSAGES.values(), ids=HARD_PASSAGES)
def test_times_keep_their_digits(passage, n):
    time = deep_mode_time_infinite(*passage) if n == "inf" else deep_mode_time(*passage, n)
    np.testing.assert_allclose(time, exact_time(*passage, n), rtol=1e-11, atol=0)
    if n == 2:
        np.testing.assert_allclose(two_layer_learning_time(*passage), time, rtol=1e-15, atol=0)


@pytest.mark.parametrize("t, s, u0", [
    (0.3, 1.0, 1e-300), (345.0, 1.0, 1e-300), (1e-9, 1.3, 1e-5), (0.2, 1.3, 1.3 * (1 - 1e-12)), (1e-9, 1.1, 1.7),
    (1e-7, 1.1, 1e6), (2.0, 1.1, 1e20), (1.0, 1e-9, 0.5), (1.0, 1e-16, 1e-3), (1e3, 1e-20, 0.5), (1e300, 1.0, 1e-3)])
def test_two_layer_strength_keeps_its_digits(t, s, u0):
    np.testing.assert_allclose(two_layer_mode_strength(t, s, u0), exact_two_layer_strength(t, s, u0), rtol=1e-12, atol=0)


# --- limits in time, inverse functions, singular s ------------------------------------------------------------------

DEPTHS = [1, 2, 3, 6, 100]


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("u0", [1e-200, 1e-6, 0.5, 1.3 * (1 - 1e-12), 1.3, 2.0, 1e6])
def test_starts_at_u0_and_ends_at_s(u0, n):
    first, last = deep_mode_strength([0.0, 1e290], s=1.3, u0=u0, n_weights=n)
    np.testing.assert_allclose(first, u0, rtol=1e-14)
    np.testing.assert_allclose(last, 1.3, rtol=1e-14)


def test_two_layer_asymptote_with_input_variance():
    np.testing.assert_allclose(two_layer_mode_strength(1e3, 2.0, [1e-3, 30.0], d=0.25), 8.0, rtol=1e-14)


@pytest.mark.parametrize("n", DEPTHS)
@pytest.mark.parametrize("s, u0", [(1.0, 1e-300), (80.0, 1e-12), (1.3, 1e-3), (0.05, 0.02), (1.0, 1 - 1e-6), (1.0, 1.001),
                                   (1.3, 4.0), (1.0, 1e6)])
def test_strength_inverts_time(s, u0, n):
    share = np.array([1e-6, 1e-3, 0.1, 0.5, 0.9, 0.999])
    u = np.where(u0 < s, u0 * (s / u0)**share, u0 + (s - u0) * share)
    t = deep_mode_time(u, s, u0, n)
    assert np.all(np.abs(deep_mode_strength(t, s, u0, n) / u - 1) < 1e-11 + 64 * rounding(t, u, s, n))


@pytest.mark.parametrize("n", [3, 20, 10**6])
@pytest.mark.parametrize("s, u0", [(1.0, 1e-3), (80.0, 1e-9), (1.3, 4.0), (1.0, 1 - 1e-6), (2e-3, 1.0), (1.0, 1e-100)])
def test_very_many_times_give_what_few_give(s, u0, n):
    """From 32 000 times on a curve is made once and interpolated; at 1e-100 a passage is too short beside its wait for that."""
    u = np.where(u0 < s, u0 * (s / u0)**(x := np.linspace(1e-9, 1 - 1e-9, 4000)), u0 + (s - u0) * x)
    t = np.concatenate([deep_mode_time(u, s, u0, n), np.linspace(0, 2 * deep_mode_time(u[-1], s, u0, n), 40_000), [0.0]])
    many = deep_mode_strength(t, s, u0, n)
    few = np.concatenate([deep_mode_strength(part, s, u0, n) for part in np.array_split(t, 4)])
    assert np.all(np.abs(many / few - 1) < 1e-13 + 64 * rounding(t, few, s, n)) and many[-1] == u0


ZERO_S = {                                                 # function of s, its closed form at s = 0
    "two_layer_mode_strength": (lambda s: two_layer_mode_strength(3.0, s, 0.5, tau=2.0, d=0.7), 0.5 / (1 + 0.7 * 1.5)),
    "two_layer_learning_time": (lambda s: two_layer_learning_time(0.2, s, 0.5, tau=2.0), 3.0),
    "deep_mode_time 1": (lambda s: deep_mode_time(0.2, s, 0.5, 1), np.log(2.5)),
    "deep_mode_time 2": (lambda s: deep_mode_time(0.2, s, 0.5, 2), 1.5),
    "deep_mode_time 4": (lambda s: deep_mode_time(0.2, s, 0.5, 4), (0.2**-1.5 - 0.5**-1.5) / 6),
    "deep_mode_strength 1": (lambda s: deep_mode_strength(3.0, s, 0.5, 1), 0.5 * np.exp(-3.0)),
    "deep_mode_strength 2": (lambda s: deep_mode_strength(3.0, s, 0.5, 2), 0.125),
    "deep_mode_strength 4": (lambda s: deep_mode_strength(3.0, s, 0.5, 4), (0.5**-1.5 + 18)**(-2 / 3)),
    "deep_mode_time_infinite": (lambda s: deep_mode_time_infinite(0.2, s, 0.5), (0.2**-2 - 0.5**-2) / 2),
    "two_layer_unbalanced": (lambda s: two_layer_unbalanced(3.0, 0.5, 0.5, s), 0.1**0.5),
    "max_hessian_eigenvalue": (lambda s: max_hessian_eigenvalue(s, 3), 0.0),
}


@pytest.mark.parametrize("s", [0.0, 1e-30, 1e-17])         # an SVD returns round-off, seldom 0, for a missing mode
@pytest.mark.parametrize("function, limit", ZERO_S.values(), ids=ZERO_S)
def test_s_zero_is_the_limit_of_tiny_s(function, limit, s):
    np.testing.assert_allclose(function(s), limit, rtol=1e-11, atol=1e-20)


def test_mode_at_its_target_stays():
    for n in DEPTHS:
        np.testing.assert_allclose(deep_mode_strength([0.0, 0.1, 1e5], 1.3, 1.3, n), 1.3, rtol=1e-15)


# --- differential equations -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("n", [1, 2, 3, 5, 30])
@pytest.mark.parametrize("s, u0", [(2.0, 0.01), (2.0, 1.5), (2.0, 5.0), (0.0, 0.7)])
def test_deep_mode_solves_its_equation(s, u0, n):
    tau = 0.7
    times = np.linspace(0, 2.0 / n**0.5, 15)
    ode = solve_ivp(lambda t, u: n * u**(2 - 2 / n) * (s - u) / tau, (0, times[-1]), [u0], t_eval=times, **DOP853)
    np.testing.assert_allclose(deep_mode_strength(times, s, u0, n, tau), ode.y[0], rtol=1e-9)


@pytest.mark.parametrize("s, u0, d", [(2.0, 0.01, 0.25), (2.0, 12.0, 0.25), (0.5, 0.1, 3.0)])
def test_two_layer_mode_solves_its_equation_with_input_variance(s, u0, d):
    times = np.linspace(0, 3, 15)
    ode = solve_ivp(lambda t, u: 2 * u * (s - d * u) / 0.7, (0, 3), [u0], t_eval=times, **DOP853)
    np.testing.assert_allclose(two_layer_mode_strength(times, s, u0, tau=0.7, d=d), ode.y[0], rtol=1e-9)


@pytest.mark.parametrize("n", [2, 3, 7])
def test_deep_mode_is_a_network_of_equal_weights(n):
    """The equation of u follows from those of the weights a_i, each driven by all the others."""
    def slopes(t, a):
        product = np.prod(a)
        return product / a * (1.5 - product)
    start, times = np.full(n, 0.2**(1 / n)), np.linspace(0, 2, 9)
    ode = solve_ivp(slopes, (0, 2), start, t_eval=times, **DOP853)
    np.testing.assert_allclose(deep_mode_strength(times, 1.5, 0.2, n), np.prod(ode.y, axis=0), rtol=1e-9)


# --- broadcasting ---------------------------------------------------------------------------------------------------

COLUMN = np.array([[1.1], [2.0], [0.4]])                   # three values of s
ROW = np.array([0.02, 0.1, 0.3, 0.39])                     # four of anything else, in range for every s
BROADCAST = {
    "two_layer_mode_strength": (lambda s, x: two_layer_mode_strength(x, s, 0.01, tau=2.0), 0),
    "two_layer_learning_time": (lambda s, x: two_layer_learning_time(x, s, 0.01), 0),
    "two_layer_unbalanced": (lambda s, x: two_layer_unbalanced(1.0, x, -0.2, s), 1),
    "deep_mode_time": (lambda s, x: deep_mode_time(x, s, 0.01, 3), 0),
    "deep_mode_strength": (lambda s, x: deep_mode_strength(30 * x, s, 0.01, 3), 0),
    "deep_mode_strength of u0": (lambda s, x: deep_mode_strength(1.0, s, x, 5), 0),
    "deep_mode_strength of one matrix": (lambda s, x: deep_mode_strength(x, s, 0.01, 1), 0),
    "deep_mode_time_infinite": (lambda s, x: deep_mode_time_infinite(x, s, 0.01), 0),
    "max_hessian_eigenvalue": (lambda s, x: max_hessian_eigenvalue(s, 3, d=x), 0),
}


@pytest.mark.parametrize("function, is_pair", BROADCAST.values(), ids=BROADCAST)
def test_many_at_once_equal_one_at_a_time(function, is_pair):
    together = np.array(function(COLUMN, ROW))
    assert together.shape == (2,) * is_pair + (3, 4)
    apart = [[function(float(s), float(x)) for x in ROW] for s in COLUMN[:, 0]]
    assert all(isinstance(value, float) for value in np.ravel(apart).tolist()) and np.ndim(np.ravel(apart)[0]) == 0
    one = apart[0][0]
    assert all(isinstance(value, np.float64) for value in (one if is_pair else (one,)))    # scalar in, scalar out
    apart = np.moveaxis(apart, -1, 0) if is_pair else np.array(apart)
    np.testing.assert_allclose(together, apart, rtol=1e-14)


def test_times_need_no_order():
    times = np.array([3.0, 0.1, 8.0, 0.0])
    np.testing.assert_array_equal(deep_mode_strength(times, 1.0, 0.01, 4)[::-1],
                                  deep_mode_strength(times[::-1], 1.0, 0.01, 4))


# --- depth ----------------------------------------------------------------------------------------------------------

def test_one_and_two_matrices_are_the_elementary_cases():
    np.testing.assert_allclose(deep_mode_time(0.6, 1.5, 0.1, 1, tau=2.0), 2 * np.log(1.4 / 0.9), rtol=1e-14)
    np.testing.assert_allclose(deep_mode_strength(0.7, 1.5, 0.1, 1), 1.5 - 1.4 * np.exp(-0.7), rtol=1e-14)
    np.testing.assert_array_equal(deep_mode_time(ROW, 1.5, 0.01, 2), two_layer_learning_time(ROW, 1.5, 0.01))
    np.testing.assert_array_equal(deep_mode_strength(ROW, 1.5, 0.01, 2), two_layer_mode_strength(ROW, 1.5, 0.01))


@pytest.mark.parametrize("u, u0", [(0.5, 1e-3), (0.99, 0.4), (1.2, 3.0)])
def test_many_layers_approach_infinitely_many(u, u0):
    depth = 10**9
    np.testing.assert_allclose(depth * deep_mode_time(u, 1.0, u0, depth), deep_mode_time_infinite(u, 1.0, u0), rtol=1e-7)


@pytest.mark.parametrize("n, ratio", [(10, 0.314), (30, 0.676), (100, 0.889), (300, 0.961), (1000, 0.988)])
def test_infinite_depth_is_approached_slowly(n, ratio):
    assert n * deep_mode_time(0.5, 1.0, 1e-3, n) / deep_mode_time_infinite(0.5, 1.0, 1e-3) == pytest.approx(ratio, abs=5e-4)


# Steps at the rate 1 / max_hessian_eigenvalue from u0 to 0.99 with s = 1.
STEPS = {1e-3: (11.50, 67.16, 283.5, 548.4, 770.0, 897.7, 1010.5), 1e-2: (9.19, 23.78, 52.07, 75.78, 92.26, 100.92, 108.18),
         0.1: (6.79, 9.65, 12.44, 14.05, 14.98, 15.43, 15.78), 0.5: (4.60, 5.04, 5.33, 5.46, 5.53, 5.56, 5.59)}


@pytest.mark.parametrize("u0", STEPS)
def test_steps_at_the_depth_scaled_rate(u0):
    steps = [max_hessian_eigenvalue(1.0, n) * deep_mode_time(0.99, 1.0, u0, n) for n in (2, 4, 9, 19, 43, 99)]
    steps.append(deep_mode_time_infinite(0.99, 1.0, u0))
    np.testing.assert_allclose(steps, STEPS[u0], rtol=0, atol=0.051 if u0 == 1e-3 else 0.0051)


@pytest.mark.parametrize("s, u0, u", [(1.0, 1e-3, 0.99), (2.5, 1e-4, 2.0), (0.3, 0.1, 0.2)])
def test_depth_delays_by_a_finite_number_of_steps(s, u0, u):
    two = max_hessian_eigenvalue(s, 2) * two_layer_learning_time(u, s, u0)
    infinite = s**2 * deep_mode_time_infinite(u, s, u0)    # L s^(2 - 2/L) t_L for L to infinity
    np.testing.assert_allclose(infinite - two, s / u0 - s / u, rtol=1e-11)


@pytest.mark.parametrize("n, ratios, digits", [(3, (0.914, 0.9915, 0.99915), (3, 4, 5)),
                                               (6, (1.0009, 1.00003, 1.0000003), (4, 5, 7))])
def test_small_start_law(n, ratios, digits):
    u0 = np.array([1e-3, 1e-6, 1e-9])
    law = u0**-(1 - 2 / n) / (n - 2)
    measured = deep_mode_time(0.5, 1.0, u0, n) / law
    assert tuple(map(round, measured, digits)) == ratios
    np.testing.assert_allclose(deep_mode_time(1.5, 3.0, u0[-1], n) / law[-1], 1 / 3, rtol=2e-3)     # t_half ~ 1 / s


# --- unbalanced modes -----------------------------------------------------------------------------------------------

RNG = np.random.default_rng(20130613)
A0, B0 = RNG.normal(size=(2, 40))
S = RNG.uniform(0.2, 3, 40)


def test_unbalanced_solves_its_equation():
    def slopes(t, w):
        a, b = w.reshape(2, -1)
        return np.concatenate([b * (S - a * b), a * (S - a * b)]) / 0.7
    times = np.linspace(0, 1.5, 6)
    ode = solve_ivp(slopes, (0, 1.5), np.concatenate([A0, B0]), t_eval=times, **DOP853)
    a, b = two_layer_unbalanced(times[:, None], A0, B0, S, tau=0.7)
    np.testing.assert_allclose(np.hstack([a, b]), ode.y.T, rtol=0, atol=1e-10)


def test_unbalanced_limits_and_invariants():
    np.testing.assert_allclose(two_layer_unbalanced(0.0, A0, B0, S), [A0, B0], rtol=1e-13)
    times = np.linspace(0, 5, 60)[:, None]
    a, b = two_layer_unbalanced(times, A0, B0, S)
    np.testing.assert_allclose(a**2 - b**2, np.broadcast_to(A0**2 - B0**2, a.shape), atol=1e-12)
    steps = np.diff(a * b, axis=0) * np.sign(S - A0 * B0)
    assert steps.min() > -1e-13                            # the product moves towards s only
    a, b = two_layer_unbalanced(1e6, A0, B0, S)
    np.testing.assert_allclose(a * b, S, rtol=1e-12)
    assert np.all(np.sign(a + b) == np.sign(A0 + B0))      # which branch of the hyperbola
    np.testing.assert_allclose(two_layer_unbalanced(30.0, -1.0, [1 - 1e-6, 1 + 1e-6], 1.0), [[-1, 1], [-1, 1]], atol=1e-6)


def test_separatrix_runs_into_the_saddle():
    v0, s, t = 0.36, 1.4, np.array([0.0, 0.5, 3.0, 30.0, 1e4])
    decay = np.exp(-2 * s * t)
    a, b = two_layer_unbalanced(t, 0.6, -0.6, s)
    np.testing.assert_allclose(a**2, v0 * s * decay / (s + v0 * (1 - decay)), rtol=1e-12, atol=1e-300)
    np.testing.assert_array_equal(a, -b)


@pytest.mark.parametrize("sign", [1, -1])
def test_balanced_weights_give_the_two_layer_mode(sign):
    t, u0 = np.array([0.0, 0.1, 2.0, 345.0, 1e5]), np.array([[1e-300], [1e-3], [0.9], [7.0]])
    a, b = two_layer_unbalanced(t, sign * np.sqrt(u0), sign * np.sqrt(u0), 1.0)
    np.testing.assert_allclose(a, b, rtol=1e-14)
    np.testing.assert_allclose(a * b, two_layer_mode_strength(t, 1.0, u0), rtol=1e-12)


def appendix_time(a0, b0, a, b, s, rate=2, angle=2):
    """Equation 26 of appendix A: with both factors 2 as it should read; it is printed with ``rate`` 1."""
    c = np.abs(a0**2 - b0**2)
    root = np.hypot(c, rate * s)

    def primitive(a, b):
        tangent = rate * s * np.tanh(np.arcsinh(angle * a * b / c) / 2)
        return np.log(np.abs((root + c + tangent) / (root - c - tangent))) / root
    return primitive(a, b) - primitive(a0, b0)


def test_errata_appendix_a_time_misses_factors_of_two():
    t = np.linspace(0.2, 1.5, 40)
    a, b = two_layer_unbalanced(t, A0, B0, S)
    np.testing.assert_allclose(appendix_time(A0, B0, a, b, S), t, rtol=1e-9)
    for angle in (1, 2):                                   # ab = c sinh(theta) as printed, or c/2 sinh(theta) as it is
        printed = appendix_time(A0, B0, a, b, S, rate=1, angle=angle)
        assert np.median(np.abs(printed / t - 1)) > 0.2 and np.mean(np.abs(printed / t - 1) < 0.05) < 0.2


# --- curvature and steps of finite size -----------------------------------------------------------------------------

def hessian(function, x, h=1e-4):
    shifts = h * np.eye(len(x))
    return np.array([[(function(x + p + q) - function(x + p - q) - function(x - p + q) + function(x - p - q)) / (4 * h * h)
                      for q in shifts] for p in shifts])


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("s, d", [(2.0, 1.0), (0.7, 2.5)])
def test_hessian_eigenvalue_against_differences(s, d, n):
    end = (s / d)**(1 / n)
    def largest(a): return np.linalg.eigvalsh(hessian(lambda x: 0.5 * (s - d * np.prod(x))**2 / d, np.full(n, a)))[-1]
    peak = max_hessian_eigenvalue(s, n, d)
    np.testing.assert_allclose(largest(end), peak, rtol=1e-5)
    assert max(largest(end * x) for x in np.linspace(0.05, 1, 12)) <= peak * (1 + 1e-5)    # the end point is the worst


@pytest.mark.parametrize("n", [2, 4])
def test_gradient_descent_is_stable_up_to_two_over_the_curvature(n):
    start, s = [np.array([[1.001 * 2.0**(1 / n)]])] * n, 2.0
    error = {}
    for factor in (1.95, 2.05):
        _, u = gradient_descent(start, [[s]], learning_rate=factor / max_hessian_eigenvalue(s, n), n_steps=60)
        error[factor] = abs(u[-1, 0, 0] - s)
    assert error[1.95] < 1e-3 * s < error[2.05]


def test_euler_stretches_time():
    """Growth by (1 + rate s)^2 a step: between two starts only this phase differs."""
    rate, starts = 0.04, np.array([1e-12, 1e-6])
    W = np.sqrt(starts)[:, None, None]
    _, u = gradient_descent([W, W], [[1.0]], learning_rate=rate, n_steps=500)
    half = np.array([np.interp(0.5, u[:, i, 0, 0], rate * np.arange(501)) for i in range(2)])
    stretch = np.diff(half) / np.diff(two_layer_learning_time(0.5, 1.0, starts))
    np.testing.assert_allclose(stretch, rate / np.log1p(rate), rtol=1e-5)
    slow, fast = random_start_delay(1.0, 1e-6, 4, learning_rate=rate)[0], random_start_delay(1.0, 1e-6, 4)[0]
    np.testing.assert_allclose(slow - fast, rate / np.log1p(rate) - 1, rtol=1e-12)


def test_random_start_delay_is_the_mean_log_of_the_effective_start():
    s, u0, width = np.array([9.0, 5.0, 2.0]), 1e-6, 8
    mean, sd = random_start_delay(s, u0, width)
    for i, free in enumerate((8, 7, 6)):                   # each learned mode uses up one hidden direction
        first = chi2(free).expect(np.log)
        second = chi2(free).expect(lambda x: np.log(x)**2)
        assert mean[i] == pytest.approx((np.log(width) - first) / np.log(s[i] / u0), rel=1e-6)
        assert sd[i] == pytest.approx(np.sqrt(second - first**2) / np.log(s[i] / u0), rel=1e-6)


# --- Riccati flow of whole matrices ---------------------------------------------------------------------------------

def frame(n, h, rng):
    """n x h with orthonormal columns as far as there is room, zero beyond."""
    columns = orthogonal_matrix(n, rng)[:, :h]
    return np.pad(columns, ((0, 0), (0, h - columns.shape[1])))


def balanced_weights(n_inputs, h, n_outputs, lam, rng, scale=0.5):
    """Random weights with W2' W2 - W1 W1' = lam I; lam > 0 needs h <= n_outputs, lam < 0 needs h <= n_inputs."""
    squares = np.zeros(h)
    squares[:min(n_inputs, h, n_outputs)] = scale * rng.uniform(0.3, 1, min(n_inputs, h, n_outputs))
    R = orthogonal_matrix(h, rng)
    W1 = R @ (np.sqrt(squares + max(-lam, 0.0))[:, None] * frame(n_inputs, h, rng).T)
    W2 = frame(n_outputs, h, rng) * np.sqrt(squares + max(lam, 0.0)) @ R.T
    return W1, W2


def blocks(W1, W2):
    Q = np.concatenate([W1.T, W2])
    return Q @ Q.T


def flow_by_ode(W1, W2, sigma, times, tau):
    cut = W1.size

    def slopes(t, w):
        W1_, W2_ = w[:cut].reshape(W1.shape), w[cut:].reshape(W2.shape)
        error = sigma - W2_ @ W1_
        return np.concatenate([(W2_.T @ error).ravel(), (error @ W1_.T).ravel()]) / tau
    ode = solve_ivp(slopes, (0, times[-1]), np.concatenate([W1.ravel(), W2.ravel()]), t_eval=times, **DOP853)
    return np.array([blocks(w[:cut].reshape(W1.shape), w[cut:].reshape(W2.shape)) for w in ode.y.T])


# n_inputs, hidden, n_outputs, lam
SHAPES = [(3, 3, 3, 0.0), (3, 2, 3, 0.0), (2, 3, 4, 0.0), (4, 3, 2, 0.0), (5, 1, 2, 0.0), (3, 9, 2, 0.0), (1, 1, 1, 0.0),
          (3, 3, 3, 0.7), (3, 3, 3, -1.3), (2, 3, 4, 5.0), (4, 2, 1, -0.4)]


@pytest.mark.parametrize("n_inputs, h, n_outputs, lam", SHAPES)
def test_riccati_flow_is_the_gradient_flow(n_inputs, h, n_outputs, lam):
    rng = np.random.default_rng(5)
    W1, W2 = balanced_weights(n_inputs, h, n_outputs, lam, rng)
    sigma, times = rng.normal(size=(n_outputs, n_inputs)), np.array([0.0, 0.4, 1.5, 6.0])
    P = riccati_flow(W1, W2, sigma, times, tau=1.7, lam=lam)
    assert P.shape == (4, n_inputs + n_outputs, n_inputs + n_outputs)
    np.testing.assert_allclose(P[0], blocks(W1, W2), atol=1e-13)
    np.testing.assert_allclose(P, flow_by_ode(W1, W2, sigma, times, 1.7), atol=1e-9)
    # many times at once, in any order and shape, equal one at a time
    grid = times[[[2, 0], [3, 1]]]
    np.testing.assert_allclose(riccati_flow(W1, W2, sigma, grid, tau=1.7, lam=lam), P[[[2, 0], [3, 1]]], atol=1e-13)
    alone = riccati_flow(W1, W2, sigma, times[3], tau=1.7, lam=lam)
    assert alone.shape == P.shape[1:]
    np.testing.assert_allclose(alone, P[3], atol=1e-12)


@pytest.mark.parametrize("n_inputs, h, n_outputs", [(3, 2, 4), (2, 6, 3), (3, 9, 2)])
def test_riccati_flow_is_a_semigroup(n_inputs, h, n_outputs):
    rng = np.random.default_rng(6)
    W1, W2 = balanced_weights(n_inputs, h, n_outputs, 0.0, rng)
    sigma = rng.normal(size=(n_outputs, n_inputs))
    values, vectors = np.linalg.eigh(riccati_flow(W1, W2, sigma, 0.8))
    rank = min(n_inputs, h, n_outputs)
    Q = (vectors * np.sqrt(np.maximum(values, 0)))[:, -rank:]      # weights with the same P: only Q Q' matters
    resumed = riccati_flow(Q[:n_inputs].T, Q[n_inputs:], sigma, 1.1)
    np.testing.assert_allclose(resumed, riccati_flow(W1, W2, sigma, 1.9), atol=1e-12)


@pytest.mark.parametrize("h, lam", [(3, 0.0), (2, 0.0), (3, 0.6)])
def test_riccati_flow_at_long_times(h, lam):
    """The end is the best approximation of rank h, approached without overflow."""
    rng = np.random.default_rng(7)
    sigma = orthogonal_matrix(3, rng) * [4.0, 2.0, 1.0] @ frame(4, 3, rng).T
    W1, W2 = balanced_weights(4, h, 3, lam, rng, scale=0.01)
    U, s, Vt = np.linalg.svd(sigma, full_matrices=False)
    best = U[:, :h] * s[:h] @ Vt[:h]
    np.testing.assert_allclose(riccati_flow(W1, W2, sigma, 2000.0, lam=lam)[4:, :4], best, atol=1e-12)


def test_riccati_flow_of_decoupled_weights_is_a_set_of_two_layer_modes():
    rng = np.random.default_rng(8)
    U, V, R = orthogonal_matrix(3, rng), frame(5, 3, rng), frame(6, 3, rng)
    s, u0, times = np.array([3.0, 1.0, 0.0]), np.array([1e-8, 1e-3, 0.4]), np.array([0.0, 1.0, 5.0, 100.0])
    P = riccati_flow(R * np.sqrt(u0) @ V.T, U * np.sqrt(u0) @ R.T, U * s @ V.T, times, tau=2.0)
    modes = U.T @ P[:, 5:, :5] @ V
    np.testing.assert_allclose(np.diagonal(modes, axis1=1, axis2=2), two_layer_mode_strength(times[:, None], s, u0, tau=2.0),
                               rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(modes * (1 - np.eye(3)), 0, atol=1e-13)


def test_riccati_flow_without_anything_to_learn_decays():
    """All eigenvalues of F vanish, yet the weights move."""
    P = riccati_flow(np.sqrt(0.5) * np.eye(2), np.sqrt(0.5) * np.eye(2), np.zeros((2, 2)), [0.0, 1.0, 30.0])
    np.testing.assert_allclose(P[:, 2, 0], two_layer_mode_strength([0.0, 1.0, 30.0], 0.0, 0.5), rtol=1e-12)


def test_riccati_flow_of_other_weights_is_refused():
    rng = np.random.default_rng(9)
    W1, W2 = balanced_weights(3, 3, 3, 0.5, rng)
    with pytest.raises(ValueError, match=r"W1, W2 .* lam = 0\.0, but they miss it by 0\.5"):
        riccati_flow(W1, W2, np.eye(3), 1.0)
    with pytest.raises(ValueError, match="W1, W2"):
        riccati_flow(W1, W2 * (1 + 1e-6), np.eye(3), 1.0, lam=0.5)
    riccati_flow(W1, W2 * (1 + 1e-10), np.eye(3), 1.0, lam=0.5)     # round-off is not an imbalance


def test_the_riccati_solution_is_a_quotient_of_two_linear_flows_and_off_by_sigma_squared_from_unbalanced_weights():
    """P = Y / X with dY/dt = F Y, dX/dt = Y - F X; from Gaussian weights its error grows as their variance."""
    rng = np.random.default_rng(10)
    sigma31 = orthogonal_matrix(3, rng) * [4.0, 2.0, 1.0] @ frame(4, 3, rng).T
    F = np.block([[np.zeros((4, 4)), sigma31.T], [sigma31, np.zeros((3, 3))]])
    linear = np.block([[F, np.zeros((7, 7))], [np.eye(7), -F]])

    def quotient(P, t):
        YX = expm(t * linear) @ np.vstack([P, np.eye(7)])
        return YX[:7] @ np.linalg.inv(YX[7:])

    W1, W2 = balanced_weights(4, 3, 3, 0.0, rng)
    np.testing.assert_allclose(quotient(blocks(W1, W2), 1.5), riccati_flow(W1, W2, sigma31, 1.5), atol=1e-9)
    draw, errors = rng.standard_normal((7, 5)), []
    for size in (0.02, 0.04):
        Q = size * draw
        _, maps = gradient_descent([Q[:4].T, Q[4:]], sigma31, learning_rate=0.01, n_steps=200, every=40, method="rk4")
        errors.append(max(np.abs(quotient(Q @ Q.T, 0.4 * i)[4:, :4] - W).max() for i, W in enumerate(maps)))
    assert errors[1] / errors[0] == pytest.approx(4, rel=0.25) and errors[1] < 0.04**2


def test_decoder_and_encoder_of_an_autoencoder_end_as_transposes():
    """Their imbalance is conserved, so from weights of size sigma they differ by the order of sigma squared times the width."""
    rng, sigma = np.random.default_rng(11), 1e-3
    components = orthogonal_matrix(4, rng)
    C = components * [4.0, 2.0, 1.0, 0.5] @ components.T
    start = [sigma * rng.standard_normal((10, 4)), sigma * rng.standard_normal((4, 10))]
    (encoder, decoder), _ = gradient_descent(start, C, C, learning_rate=0.05, n_steps=1200, method="rk4")
    assert np.abs(decoder - encoder.T).max() < 3 * 10 * sigma**2
    np.testing.assert_allclose(decoder @ encoder, np.eye(4), atol=1e-9)


# --- bad input ------------------------------------------------------------------------------------------------------

def test_importing_the_module_needs_numpy_alone():
    code = ("import sys; from dlnutils import saddles; "
            "print(sorted({name.split('.')[0] for name in sys.modules} & {'scipy', 'joblib', 'tqdm', 'matplotlib', 'pandas'}))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


EYE = np.eye(2)
GOOD = {
    two_layer_mode_strength: {"t": 1.0, "s": 1.0, "u0": 0.1, "tau": 1.0, "d": 1.0},
    two_layer_learning_time: {"u": 0.5, "s": 1.0, "u0": 0.1, "tau": 1.0},
    two_layer_unbalanced: {"t": 1.0, "a0": 0.1, "b0": 0.2, "s": 1.0, "tau": 1.0},
    deep_mode_time: {"u": 0.5, "s": 1.0, "u0": 0.1, "n_weights": 3, "tau": 1.0},
    deep_mode_strength: {"t": 1.0, "s": 1.0, "u0": 0.1, "n_weights": 3, "tau": 1.0},
    deep_mode_time_infinite: {"u": 0.5, "s": 1.0, "u0": 0.1, "tau": 1.0},
    max_hessian_eigenvalue: {"s": 1.0, "n_weights": 3, "d": 1.0},
    random_start_delay: {"s": [3.0, 1.0], "u0": 0.1, "width": 4, "learning_rate": 0.1},
    riccati_flow: {"W1": EYE, "W2": EYE, "sigma31": EYE, "t": 1.0, "tau": 1.0, "lam": 0.0},
}
OUT_OF_RANGE = {"t": [-1.5], "s": [-0.25], "u0": [0.0, -0.25], "u": [0.0, -0.25], "tau": [0.0, -0.25], "d": [0.0, -0.25],
                "n_weights": [0, -2, 2.5, "3", True], "width": [0, 2.5], "learning_rate": [-0.25]}
NO_FINITE_TIME = {"u": [1.0, 2.0, 0.05], "u0": [1.0, 2.0, 0.75]}       # at s, beyond s, backwards
BAD = [(function, name, value) for function, good in GOOD.items() for name in good
       for value in [*OUT_OF_RANGE.get(name, []), *(NO_FINITE_TIME.get(name, []) if "u" in good else []),
                     *([np.nan, np.inf] if np.ndim(good[name]) < 2 else []), *(["x"] if name in ("s", "t", "tau") else [])]]


@pytest.mark.parametrize("function, name, value", BAD, ids=lambda x: getattr(x, "__name__", str(x)))
def test_bad_argument_is_named(function, name, value):
    function(**GOOD[function])
    with pytest.raises(ValueError, match=rf"\b{name}\b") as error:
        function(**GOOD[function] | {name: value})
    assert str(value) in str(error.value)


def test_one_bad_entry_of_an_array_is_shown():
    with pytest.raises(ValueError, match=r"\bs\b.*-0\.25"):
        two_layer_mode_strength(1.0, [1.0, -0.25, 2.0], 0.1)
    with pytest.raises(ValueError, match=r"u = 3\.0 with s = 1\.0"):
        deep_mode_time([0.5, 3.0], 1.0, 0.1, 3)


@pytest.mark.parametrize("change, name, shown", [
    ({"W2": np.ones((2, 3))}, "W2", r"\(2, 3\)"), ({"sigma31": np.ones((2, 3))}, "sigma31", r"\(2, 3\)"),
    ({"W1": np.ones(2)}, "W1", r"\(2,\)"), ({"W1": [[np.nan, 0], [0, 1]]}, "W1", "nan"),
    ({"sigma31": [[np.inf, 0], [0, 1]]}, "sigma31", "inf"),
    ({"t": [1.0, -2.5]}, "t", "-2.5")])
def test_riccati_flow_names_what_does_not_fit(change, name, shown):
    with pytest.raises(ValueError, match=rf"^{name}\b.*({shown})"):
        riccati_flow(**GOOD[riccati_flow] | change)


@pytest.mark.parametrize("s, name", [([3.0, 2.0, 1.5, 1.2, 1.1], r"width = 4.*\(5,\)"), ([3.0, 0.05], r"\bs\b.*0\.05"),
                                     ([[3.0]], r"\bs\b.*\(1, 1\)")])
def test_random_start_delay_names_what_does_not_fit(s, name):
    with pytest.raises(ValueError, match=name):
        random_start_delay(s, 0.1, 4)

"""Power laws and crossings."""

import numpy as np
import pytest

from dlnutils.fitting import first_crossing, fit_power_law, richardson

pytestmark = pytest.mark.filterwarnings("error")


@pytest.mark.parametrize("exponent, prefactor", [(-1.0, 2.0), (0.5, 1e-9), (3.0, 1e12), (0.0, 7.0)])
def test_exact_law_is_found(exponent, prefactor):
    x = np.geomspace(1e-3, 1e4, 12)
    law = fit_power_law(x, prefactor * x**exponent)
    assert law.exponent == pytest.approx(exponent, abs=1e-12) and law.prefactor == pytest.approx(prefactor, rel=1e-10)
    assert law.exponent_error < 1e-12 and law.window == (x[0], x[-1]) and law.n_points == 12
    np.testing.assert_allclose(law(x), prefactor * x**exponent, rtol=1e-10)


def test_error_is_the_spread_of_refits():
    rng = np.random.default_rng(0)
    x = np.geomspace(1, 100, 20)
    laws = [fit_power_law(x, x**-0.7 * np.exp(0.1 * rng.normal(size=20))) for _ in range(600)]
    exponents = np.array([law.exponent for law in laws])
    assert exponents.mean() == pytest.approx(-0.7, abs=4 * exponents.std() / 600**0.5)
    assert np.mean([law.exponent_error for law in laws]) == pytest.approx(exponents.std(), rel=0.1)


def test_agrees_with_polyfit():
    x, y = np.array([1.0, 2.0, 5.0, 7.0]), np.array([3.0, 2.5, 2.0, 0.4])
    (slope, offset), covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    law = fit_power_law(x, y)
    np.testing.assert_allclose([law.exponent, np.log(law.prefactor), law.exponent_error],
                               [slope, offset, covariance[0, 0]**0.5])


def test_window_decides_what_is_fitted():
    x = np.arange(1.0, 21.0)
    y = np.where(x < 5, -1.0, np.where(x <= 12, x**2, 1e3))        # even what has no logarithm may lie outside
    law = fit_power_law(x, y, low=5, high=12)
    assert law.exponent == pytest.approx(2, abs=1e-12) and law.window == (5.0, 12.0) and law.n_points == 8


def test_two_points_have_no_error():
    law = fit_power_law([1.0, 10.0], [1.0, 100.0])
    assert law.exponent == pytest.approx(2) and np.isnan(law.exponent_error)


@pytest.mark.parametrize("x, y, window, message", [
    ([1, 2], [1, 2, 3], {}, r"x and y .*\(2,\) and \(3,\)"), ([[1, 2]], [[1, 2]], {}, r"\(1, 2\)"),
    ([1, 2, 3], [1, -2, 3], {}, r"^y .* -2\.0"), ([0, 2, 3], [1, 2, 3], {}, r"^x .* 0\.0"),
    ([1, 2, 3], [1, np.nan, 3], {}, "^y .* nan"), ([1, 2, np.nan], [1, 2, 3], {}, "^x .* nan"),
    ([1, 2, 3], [1, 2, 3], {"low": 2.5}, r"low = 2\.5, high = inf holds 1 "), ([2, 2], [1, 2], {}, "holds 2 "),
    ([1, 2], [1, 2], {"low": 5, "high": 9}, "low = 5, high = 9 holds 0 ")])
def test_bad_data_is_named(x, y, window, message):
    with pytest.raises(ValueError, match=message):
        fit_power_law(x, y, **window)


# --- crossings ------------------------------------------------------------------------------------------------------

def test_crossing_of_straight_pieces():
    times = np.array([0.0, 1.0, 3.0, 7.0])
    assert first_crossing(times, [0.0, 1.0, 2.0, 6.0], 1.5) == 2.0
    assert first_crossing(times, [0.0, 1.0, 2.0, 6.0], 1.0) == 1.0         # at a sample
    assert first_crossing(times, [0.0, 2.0, 0.0, 2.0], 1.0) == 0.5         # the first of several
    assert first_crossing(times, [0.0, 0.0, 5.0, np.inf], 5.5) == 3.0      # a divergence is no crossing halfway


def test_crossing_at_the_start_and_never():
    times = np.array([2.0, 4.0])
    assert first_crossing(times, [3.0, 5.0], 1.0) == 2.0 and first_crossing(times, [1.0, 5.0], 1.0) == 2.0
    assert np.isnan(first_crossing(times, [0.0, 1.0], 1.5)) and np.isnan(first_crossing(times, [np.nan, np.nan], 1.0))


def test_many_curves_equal_one_at_a_time():
    rng = np.random.default_rng(1)
    times, curves = np.sort(rng.uniform(0, 9, 40)), rng.normal(size=(3, 5, 40)).cumsum(-1)
    levels = rng.uniform(0, 4, 5)                          # broadcast over the first axis
    together = first_crossing(times, curves, levels)
    assert together.shape == (3, 5) and np.isnan(together).any() and np.isfinite(together).any()
    for i, j in np.ndindex(3, 5):
        np.testing.assert_array_equal(first_crossing(times, curves[i, j], levels[j]), together[i, j])
        if np.isfinite(together[i, j]) and together[i, j] > times[0]:
            assert np.interp(together[i, j], times, curves[i, j]) == pytest.approx(levels[j])
            assert np.all(curves[i, j, times < together[i, j]] < levels[j])


@pytest.mark.parametrize("times, values", [([0, 1], [0, 1, 2]), ([0, 0], [0, 1]), ([1, 0], [0, 1]), ([[0, 1]], [0, 1]),
                                           ([0, np.nan], [0, 1]), (0.0, 1.0)])
def test_bad_times_are_named(times, values):
    with pytest.raises(ValueError, match="^times "):
        first_crossing(times, values, 0.5)


def test_drift_is_the_change_of_slope_inside_the_window():
    x = np.geomspace(1, 1e4, 41)
    assert fit_power_law(x, 3 * x**-0.5).drift == pytest.approx(0, abs=1e-12)
    bent = np.where(x <= 100, x**-1.0, 100**-1.0 * (x / 100)**-2.0)
    assert fit_power_law(x, bent).drift == pytest.approx(-1, abs=0.03)
    assert np.isnan(fit_power_law([1.0, 2.0, 4.0], [1.0, 2.0, 4.0]).drift)


@pytest.mark.parametrize("order", [1, 2])
def test_richardson_removes_one_order_a_size(order):
    n = 4.0 * 3.0**np.arange(4)
    orders = order + np.arange(3)
    series = np.array([2.0, -1.0]) + (n[:, None, None]**-orders[:, None] * [[3.0, 1.0]]).sum(1)
    np.testing.assert_allclose(richardson(series, ratio=3, first_order=order), [2.0, -1.0], rtol=1e-12)
    np.testing.assert_array_equal(richardson(series[:1]), series[0])


@pytest.mark.parametrize("call, message", [
    (lambda: richardson(1.0), "values must hold a result for each size"),
    (lambda: richardson([]), "values must hold a result"),
    (lambda: richardson([1.0, np.nan]), "values must be finite"),
    (lambda: richardson([1.0, 2.0], ratio=1.0), "ratio must be greater than 1"),
    (lambda: richardson([1.0, 2.0], first_order=0), "first_order .* 0"),
])
def test_richardson_names_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()

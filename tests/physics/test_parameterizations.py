"""The table of exponents, and what an ABC refuses."""

import numpy as np
import pytest

from dlnutils.parameterizations import ABC, MODELS, initial_exponents, parameterization

pytestmark = pytest.mark.filterwarnings("error")


def test_exponents_of_the_table():
    law = initial_exponents(5)
    np.testing.assert_allclose(law["fields"], [0, 0.5, 1, 1.5, 2, 2.5])
    np.testing.assert_allclose(law["backward"], [3, 2.5, 2, 1.5, 1])
    np.testing.assert_allclose(law["gradients"], [3, 3.5, 3.5, 3.5, 3.5, 3])
    np.testing.assert_allclose(parameterization("ipllr", 3, p=2).c_first, [-4, -4.5, -4.5, -4])
    for L in (1, 2, 5):
        m, abc = 10, parameterization("ipllr", L)
        np.testing.assert_allclose(abc.rates(m, True), [m**((L + 1) / 2), *[m**((L - 2) / 2)] * (L - 1), m**((L - 3) / 2)])
        for name in ("ip", "ipllr", "mup"):
            np.testing.assert_allclose(parameterization(name, L).rates(m), [m, *[1] * (L - 1), 1 / m])
    bias = parameterization("ip_bias", 4)
    np.testing.assert_allclose(bias.rates(10, True), 10**np.array([2.5, 1, 0.5, 0, -1]))
    np.testing.assert_allclose(bias.bias_rates(10, True), 10**np.array([2.5, 2, 1.5, 1, 0]))
    np.testing.assert_allclose(bias.bias_rates(10), [10, 10, 10, 10, 1])
    assert parameterization("ip_non_centered", 2).mean == 1.0 and set(MODELS) >= {"sp", "hp"}


ZERO = (0, 0, 0)
BAD = {                                                    # call, what the message must say
    "model": (lambda: parameterization("mupp", 2), "name must be one of 'sp'.* got 'mupp'"),
    "hidden": (lambda: parameterization("mup", 0), "n_hidden .* 0"),
    "hidden part": (lambda: parameterization("mup", 1.5), "n_hidden .* 1.5"),
    "degree": (lambda: parameterization("ipllr", 2, p=0.5), "p must be at least 1"),
    "hybrid": (lambda: parameterization("hpz", 1), "n_hidden must be at least 2 for a hybrid, got 1"),
    "exponents": (lambda: ABC("mine", 2, (0, 0), (0, 0, 0), (0, 0, 0)), "a must hold 3 exponents, .* got 2"),
    "exponents of a matrix": (lambda: ABC("mine", 2, [[0, 0, 0]], ZERO, ZERO), "a must hold 3 exponents"),
    "exponents in text": (lambda: ABC("mine", 2, ZERO, ("0", "0", "0"), ZERO), "b must be .*: turn text into numbers"),
    "hybrid unknown": (lambda: ABC("mine", 2, ZERO, ZERO, ZERO, hybrid="h"), "hybrid must be one of 'hp', 'hpz', got 'h'"),
    "mean": (lambda: ABC("mine", 2, ZERO, ZERO, ZERO, mean=np.nan), "mean must be finite, got nan"),
    "degree of two": (lambda: initial_exponents(2, p=[1, 2]), "p must be one number"),
    "width": (lambda: parameterization("mup", 2).scales(0), "width .* 0"),
    "width of a rate": (lambda: parameterization("mup", 2).rates(1.5), "width .* 1.5"),
    "width of a bias": (lambda: parameterization("ip_bias", 2).bias_rates(-1), "width .* -1"),
}


@pytest.mark.parametrize("call, message", BAD.values(), ids=BAD.keys())
def test_bad_argument_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()

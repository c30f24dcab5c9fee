"""Every container of real numbers is taken, and what is none is refused by name."""

import datetime
import re
from fractions import Fraction

import numpy as np
import pytest

from dlnutils._validation import generator, integer, matrix, number, real

SAME = {"list": [1, 2, 3], "tuple": (1.0, 2.0, 3.0), "integers": np.array([1, 2, 3]), "float32": np.float32([1, 2, 3]),
        "float16": np.float16([1, 2, 3]), "uint8": np.uint8([1, 2, 3]), "backwards": np.array([3.0, 2.0, 1.0])[::-1],
        "strided": np.arange(7.0)[1::2] / 2 + 0.5, "fractions": [Fraction(1), Fraction(2), Fraction(3)], "range": range(1, 4)}
REFUSED = {"text": "x", "numerals": "3.0", "list of text": ["1", "2"], "complex": 1j, "none": None, "nothing": [[], [1]],
           "dates": [datetime.datetime(2020, 1, 1)], "days": np.array(["2020-01-01"], dtype="datetime64[D]"),
           "mixed": [1.0, "2"], "dictionary": {"a": 1}, "masked": np.ma.masked_greater([1.0, 2.0], 1)}


@pytest.mark.parametrize("name", SAME)
def test_real_numbers_of_any_container(name):
    np.testing.assert_array_equal(real("x", SAME[name]), [1.0, 2.0, 3.0])
    assert real("x", SAME[name]).dtype == np.float64


def test_columns_of_a_table_are_arrays():
    pandas = pytest.importorskip("pandas")
    np.testing.assert_array_equal(real("x", pandas.DataFrame({"a": [1, 2, 3]})["a"]), [1.0, 2.0, 3.0])


def test_fortran_order_keeps_its_entries():
    ordered = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(matrix("x", np.asfortranarray(ordered), shape=(2, None)), ordered)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("check", [real, number])
def test_what_is_no_number_is_named(check, name):
    with pytest.raises(ValueError, match=r"^width must "):
        check("width", REFUSED[name])


@pytest.mark.parametrize("value, mend", [(1j, "real part"), ("1", "numbers first"), ([1.0, None], "leave None out"),
                                         (REFUSED["masked"], "leave the masked")])
def test_the_mend_is_said(value, mend):
    with pytest.raises(ValueError, match=mend):
        real("x", value)


@pytest.mark.parametrize("value", [[1.0, 2.0], np.ones(1), True, np.nan, np.inf])
def test_one_number_is_one_finite_number(value):
    with pytest.raises(ValueError, match=r"^gamma0 must be (one number|finite), got " + re.escape(repr(value))[:3]):
        number("gamma0", value)


@pytest.mark.parametrize("value", [1, 1.0, np.float32(1), np.array(1), Fraction(1)])
def test_one_number_is_a_float(value):
    assert number("x", value, above=0) == 1.0 and type(number("x", value)) is float


@pytest.mark.parametrize("rng", ["x", 1.5, [1.5], object(), -1])
def test_what_is_no_source_of_randomness_is_named(rng):
    with pytest.raises(ValueError, match="^rng must be a numpy.random.Generator or a seed, got "):
        generator(rng)


def test_a_generator_is_kept_and_a_seed_makes_one():
    rng = np.random.default_rng(3)
    assert generator(rng) is rng
    assert generator(3).random() == np.random.default_rng(3).random()


@pytest.mark.parametrize("value", [True, 1.5, "1", None, [1], np.nan])
def test_a_count_is_whole(value):
    with pytest.raises(ValueError, match="^n_steps must be an integer of at least 1"):
        integer("n_steps", value)

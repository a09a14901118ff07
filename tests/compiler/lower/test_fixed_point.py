"""Factors as words of 21 bits, and how far numbers are moved for those above one half."""

import math
from fractions import Fraction

import numpy as np
import pytest
from budgetc.lower.fixed_point import fits, moved, rescaled, word_of, words
from budgetc_targets.expression import Apply, Const, Ref
from hypothesis import given
from hypothesis import strategies as st


def _value(word: int) -> Fraction:
    return Fraction(word & 0xFFFF, 2 ** ((word >> 16) + 17))


@given(st.floats(2**-33, 0.5, exclude_max=True))
def test_a_factor_keeps_sixteen_bits(ratio: float) -> None:
    assert abs(_value(word_of(ratio)) - Fraction(ratio)) <= Fraction(ratio) / 2**16


@given(st.floats(0, 2**-33))
def test_what_is_next_to_nothing_loses_digits_only(ratio: float) -> None:
    assert abs(_value(word_of(ratio)) - Fraction(ratio)) <= Fraction(1, 2**49)


@pytest.mark.parametrize("ratio", [2.0**-n for n in range(2, 34)])
def test_powers_of_two_are_exact(ratio: float) -> None:
    assert _value(word_of(ratio)) == Fraction(ratio)


@given(st.floats(2**-20, 2**20))
def test_larger_factors_leave_one_below_a_half(ratio: float) -> None:
    left = moved(ratio)
    assert math.ldexp(ratio, -left) < 0.5
    assert left == 0 or math.ldexp(ratio, -left) >= 0.25


def test_what_does_not_fit_has_no_form() -> None:
    assert fits(255, 22)
    assert not fits(255, 24)
    assert rescaled(Ref(0), 1e9, 255) is None
    found = rescaled(Ref(0), 1.0, 255)
    assert isinstance(found, Apply)
    assert found.args == (Apply("mul", (Ref(0), Const(4, "int32"))), Const(32768, "int32"))


def test_an_array_of_factors_keeps_its_shape() -> None:
    made = words(np.array([[0.25], [0.125]]))
    assert made.dtype == np.int32
    assert made.tolist() == [[32768], [32768 | 1 << 16]]

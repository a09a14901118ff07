"""Numbers and expressions of fixed-point arithmetic, for cores that compute with integers only: docs/fixed-point.md.

A factor r below one half is a word of 21 bits, m + 65536 k, that stands for m / 2^(k + 17):

    m = rint(r 2^(k + 17)),  2^15 <= m < 2^16,  0 <= k <= 31

Larger factors multiply a number that was moved to the left before, as far as its bound leaves room for.
"""

import math

import numpy as np
from budgetc_targets.expression import Const, Expr, apply

from budgetc.lower.graph import Array

POINT = 17
"""Where the point of a factor is that was not moved to the right any further."""

_MANTISSA = 16
_FURTHEST = 31
_ROOM = 2**31 - 1


def word_of(ratio: float) -> int:
    """The word of a factor.

    Args:
        ratio: at least 0 and below one half; what is below 2^-33 loses digits.
    """
    assert 0 <= ratio < 0.5, f"BUG: {ratio} is no factor below one half"
    if not ratio:
        return 0
    further = min(-math.frexp(ratio)[1] - (POINT - _MANTISSA), _FURTHEST)
    mantissa = round(math.ldexp(ratio, POINT + further))
    if mantissa == 1 << _MANTISSA:  # rounded up to a power of two
        further, mantissa = further - 1, mantissa >> 1
    if further < 0:  # and that to one half: the nearest below
        further, mantissa = 0, (1 << _MANTISSA) - 1
    return mantissa | further << _MANTISSA


def rescaled(value: Expr, ratio: float, bound: float) -> Expr | None:
    """An integer times a factor, to nearest; None where that does not fit 32 bits.

    Args:
        value: the integer.
        ratio: the factor, not negative.
        bound: what the integer's magnitude never exceeds.
    """
    left = moved(ratio)
    if not fits(bound, left):
        return None
    return apply("rescale", shifted(value, left), word(math.ldexp(ratio, -left)))


def moved(ratio: float) -> int:
    """How far a number is moved to the left so that the factor left over is below one half."""
    return max(0, math.frexp(ratio)[1] + 1)


def fits(bound: float, left: int) -> bool:
    """Whether numbers up to a bound can be moved that far."""
    return left < _FURTHEST and bound * 2.0**left <= _ROOM


def shifted(value: Expr, left: int) -> Expr:
    """A number moved to the left."""
    return apply("mul", value, Const(1 << left, "int32")) if left else value


def word(ratio: float) -> Const:
    """A factor below one half as a literal."""
    return Const(word_of(ratio), "int32")


def words(ratios: Array) -> Array:
    """The words of several factors, as s32."""
    return np.array([word_of(float(r)) for r in ratios.reshape(-1)], np.int32).reshape(ratios.shape)


def bounded(value: Expr, low: int, high: int) -> Expr:
    """A number within limits."""
    return apply("min", apply("max", value, Const(low, "int32")), Const(high, "int32"))


def plus(value: Expr, number: int) -> Expr:
    """A number and another one that is known."""
    return apply("add", value, Const(number, "int32")) if number else value

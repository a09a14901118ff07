"""Elementary functions of f32 vectors without a call per lane: exp, erf, tanh, log, and log1p by the logarithm.

LLVM turns a vector `exp` into a call of libm for every lane, twenty times slower than this; and a library that needs
libm has half a megabyte of it in memory. Coefficients are
minimax fits (Lawson's iteration, in f64); what is said of errors is of real arithmetic, roundings add an ulp or two.

    exp(x)   = 2^n * (1 + r + r^2 P(r)),  n = rint(x / ln 2),  r = x - n ln 2     P of degree 4: 3.1e-9 of the result
    erf(x)   = x P(x^2) / Q(x^2) up to 3.95, where it rounds to 1                 degrees 5, 5: 2.1e-8
    tanh(x)  = x + x^3 P(x^2) for |x| < 0.625                                     degree 3: 1.2e-7 of the cubic part
             = sign(x) (1 - 2 / (exp(2 |x|) + 1)) beyond
    log(x)   = n ln 2 + f - f^2 / 2 + f^3 P(f),  x = 2^n (1 + f), 1 + f in [sqrt(1/2), sqrt(2))    degree 7: 6.4e-9
    log1p(x) = log(u) * (x / (u - 1)),  u = fl(1 + x);  x where u is 1     what u lost of x cancels, by Kahan

Source of the reduction: Cody and Waite 1980, chapters 6 and 13.
"""

import math
from collections.abc import Callable, Sequence

from tvm import tirx

from budgetc_targets.kernels.writer import Value, cast, intrinsic, literal, reinterpret

_EXP = (0.49999994, 0.16666521, 0.041668389, 0.0083687175, 0.0013814596)
_ERF_ABOVE = (1.1283791, 0.19155142, 0.052875586, 0.0038082050, 0.00028468799, 2.0258915e-06)
_ERF_BELOW = (1.0, 0.50309068, 0.11456008, 0.015055181, 0.0011707349, 3.7831642e-05)
_ERF_END = 3.95  # erf is 1 within half an ulp of it
_TANH_END = 0.625
_TANH = (-0.33332375, 0.13308713, -0.051971599, 0.01522688)
_LOG = (
    0.33333331,
    -0.2500082,
    0.20001227,
    -0.16623357,
    0.14201757,
    -0.1316016,
    0.12761576,
    -0.076344967,
)

_LOG2_E = 1.44269504
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4  # n times the first is exact
_DECAY_LOWEST = -88.0  # 2^n has the bits of 0 there
_LEAST_NORMAL = 1.17549435e-38
_DIGITS = 23  # of a significand, behind its first
_SQRT_HALF = 0x3F3504F3  # the bits of sqrt(1/2)
_EXP_LOWEST, _EXP_HIGHEST = -104.0, 89.0  # beyond, the result is 0 or infinity all the same


Hold = Callable[[Value], Value]
"""Keeps a value that is read more than once: `Writer.hold`."""


def exp(x: Value, lanes: int, hold: Hold) -> Value:
    """e^x. Overflows to infinity and underflows gradually to 0, as IEEE 754 asks."""
    # Of two numbers that compare as unordered, Min and Max are the second: NaN stays NaN.
    x = hold(tirx.Max(_real(_EXP_LOWEST, lanes), tirx.Min(_real(_EXP_HIGHEST, lanes), x)))
    power, whole = _reduced(x, lanes, hold)
    # 2^n in two factors, each of them a normal number
    half = hold(tirx.shift_right(whole, literal(1, "int32", lanes)))
    return power * _power_of_two(half, lanes) * _power_of_two(whole - half, lanes)


def decay(x: Value, lanes: int, hold: Hold) -> Value:
    """e^x of an x that is not above 0, a fourth cheaper: 0 where e^x would be no normal number; NaN stays NaN."""
    x = hold(tirx.Max(_real(_DECAY_LOWEST, lanes), x))
    power, whole = _reduced(x, lanes, hold)
    return power * _power_of_two(whole, lanes)


def _reduced(x: Value, lanes: int, hold: Hold) -> tuple[Value, Value]:
    """The power of the remainder r, and n."""
    whole = hold(intrinsic("llvm.lrint", "int32", lanes, x * _real(_LOG2_E, lanes)))
    n = hold(cast(whole, "float32", lanes))
    r = _fma(n, _real(-_LN2_HIGH, lanes), x, lanes)
    r = hold(_fma(n, _real(-_LN2_LOW, lanes), r, lanes))
    power = _fma(_polynomial(_EXP, r, lanes), r * r, r + _real(1.0, lanes), lanes)
    return power, whole


def erf(x: Value, lanes: int, hold: Hold) -> Value:
    """The Gauss error function."""
    x = hold(x)
    square = hold(x * x)
    above = x * _polynomial(_ERF_ABOVE, square, lanes)
    ratio = tirx.Div(above, _polynomial(_ERF_BELOW, square, lanes))
    outside = tirx.GE(_absolute(x, lanes), _real(_ERF_END, lanes))
    return tirx.Select(outside, _with_sign(_real(1.0, lanes), x, lanes), ratio)


def tanh(x: Value, lanes: int, hold: Hold) -> Value:
    """The hyperbolic tangent."""
    x = hold(x)
    size, square = hold(_absolute(x, lanes)), hold(x * x)
    small = x * _fma(_polynomial(_TANH, square, lanes), square, _real(1.0, lanes), lanes)
    one, two = _real(1.0, lanes), _real(2.0, lanes)
    large = one - tirx.Div(two, exp(size + size, lanes, hold) + one)
    inside = tirx.LT(size, _real(_TANH_END, lanes))
    return tirx.Select(inside, small, _with_sign(large, x, lanes))


def log(x: Value, lanes: int, hold: Hold) -> Value:
    """The natural logarithm: -infinity of 0, NaN below it."""
    x, zero = hold(x), _real(0.0, lanes)
    small = hold(tirx.LT(x, _real(_LEAST_NORMAL, lanes)))
    normal = tirx.Select(small, x * _real(2.0**_DIGITS, lanes), x)
    bits = hold(reinterpret(normal, "int32", lanes))
    digits = literal(_DIGITS, "int32", lanes)
    whole = hold(tirx.shift_right(bits - literal(_SQRT_HALF, "int32", lanes), digits))
    f = reinterpret(bits - tirx.shift_left(whole, digits), "float32", lanes) - _real(1.0, lanes)
    f = hold(f)
    n = cast(whole, "float32", lanes) - tirx.Select(small, _real(float(_DIGITS), lanes), zero)
    n, square = hold(n), hold(f * f)
    low = _fma(n, _real(_LN2_LOW, lanes), square * f * _polynomial(_LOG, f, lanes), lanes)
    log = _fma(n, _real(_LN2_HIGH, lanes), f + _fma(square, _real(-0.5, lanes), low, lanes), lanes)
    log = tirx.Select(tirx.LT(x, _real(math.inf, lanes)), log, x)
    end = tirx.Select(tirx.EQ(x, zero), _real(-math.inf, lanes), _real(math.nan, lanes))
    return tirx.Select(tirx.GT(x, zero), log, end)


def log1p(x: Value, lanes: int, hold: Hold) -> Value:
    """log(1 + x) for finite x above -1: 1 + x has lost what log1p has of a small x."""
    x, one = hold(x), _real(1.0, lanes)
    above = hold(x + one)
    ratio = log(above, lanes, hold) * tirx.Div(x, above - one)
    return tirx.Select(tirx.EQ(above, one), x, ratio)


def _real(value: float, lanes: int) -> Value:
    return literal(value, "float32", lanes)


def _fma(a: Value, b: Value, c: Value, lanes: int) -> Value:
    return intrinsic("llvm.fmuladd", "float32", lanes, a, b, c)


def _polynomial(coefficients: Sequence[float], x: Value, lanes: int) -> Value:
    """Horner's rule, the constant term first."""
    total = _real(coefficients[-1], lanes)
    for coefficient in reversed(coefficients[:-1]):
        total = _fma(total, x, _real(coefficient, lanes), lanes)
    return total


def _power_of_two(exponent: Value, lanes: int) -> Value:
    biased = exponent + literal(127, "int32", lanes)
    return reinterpret(tirx.shift_left(biased, literal(23, "int32", lanes)), "float32", lanes)


def _absolute(x: Value, lanes: int) -> Value:
    return intrinsic("llvm.fabs", "float32", lanes, x)


def _with_sign(size: Value, of: Value, lanes: int) -> Value:
    return intrinsic("llvm.copysign", "float32", lanes, size, of)

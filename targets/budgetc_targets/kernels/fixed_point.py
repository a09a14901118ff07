"""Fixed-point arithmetic in 32-bit integers, for cores that have no other: what docs/fixed-point.md defines.

    rescale(a, m + 65536 k)  =  floor(a m / 2^(k + 17) + 1/2)
                             =  ((t >> k) + 1) >> 1,    t = floor(a m / 65536) = (a >> 16) m + ((a & 65535) m >> 16)

No product needs more than 32 bits, which is as much as an Armv6-M core multiplies, and no sum overflows: for all s32 a
and 16-bit m, |t| <= 2^31. Floats are taken apart and put together by their bits, so that no library is called for them.
"""

from tvm import tirx

from budgetc_targets.kernels.functions import Hold
from budgetc_targets.kernels.writer import Value, cast, intrinsic, literal, reinterpret

_FRACTION = 23  # bits of a float's fraction
_ONE = 1 << _FRACTION
_HIGHEST = (1 << 31) - 1


def rescale(a: Value, b: Value, lanes: int, hold: Hold) -> Value:
    """An integer times a factor below one half, to nearest, halves up."""
    a, b = hold(a), hold(b)
    half, low = _int(16, lanes), _int(0xFFFF, lanes)
    mantissa = tirx.bitwise_and(b, low)
    below = cast(tirx.bitwise_and(a, low), "uint32", lanes) * cast(mantissa, "uint32", lanes)
    carried = cast(tirx.shift_right(below, literal(16, "uint32", lanes)), "int32", lanes)
    t = tirx.shift_right(a, half) * mantissa + carried
    doubled = tirx.shift_right(t, tirx.shift_right(b, half))
    return tirx.shift_right(doubled + _int(1, lanes), _int(1, lanes))


def to_fixed(x: Value, unit: Value, lanes: int, hold: Hold) -> Value:
    """A float times 2^unit, toward zero; beyond s32, and of what is no number, the end of s32 on its side."""
    bits = hold(reinterpret(x, "int32", lanes))
    shifted = tirx.shift_right(bits, _int(_FRACTION, lanes))
    exponent = tirx.bitwise_and(shifted, _int(255, lanes))
    fraction = tirx.bitwise_and(bits, _int(_ONE - 1, lanes))
    mantissa = hold(tirx.bitwise_or(fraction, _int(_ONE, lanes)))
    right = hold(_int(150, lanes) - exponent - unit)
    zero, room = _int(0, lanes), _int(7, lanes)
    small = tirx.shift_right(mantissa, tirx.Max(tirx.Min(right, _int(31, lanes)), zero))
    large = tirx.shift_left(mantissa, tirx.Max(tirx.Min(zero - right, room), zero))
    fits = tirx.Select(tirx.LT(right + room, zero), _int(_HIGHEST, lanes), large)
    size = hold(tirx.Select(tirx.LT(right, zero), fits, small))
    return tirx.Select(tirx.LT(bits, zero), zero - size, size)


def from_fixed(a: Value, unit: Value, lanes: int, hold: Hold) -> Value:
    """The float nearest to an integer times 2^unit, ties to even; the result must be a normal number or zero."""
    a = hold(a)
    zero = _int(0, lanes)
    size = hold(cast(tirx.Select(tirx.LT(a, zero), zero - a, a), "uint32", lanes))
    counted = intrinsic("llvm.ctlz", "uint32", lanes, size, tirx.IntImm("bool", 0))
    leading = hold(cast(tirx.bitwise_and(counted, _unsigned(31, lanes)), "int32", lanes))
    high = hold(tirx.shift_left(size, cast(leading, "uint32", lanes)))
    mantissa = hold(tirx.shift_right(high, _unsigned(8, lanes)))
    odd = tirx.bitwise_and(mantissa, _unsigned(1, lanes))
    rest = tirx.bitwise_and(high, _unsigned(255, lanes)) + _unsigned(127, lanes) + odd
    rounded = mantissa + tirx.shift_right(rest, _unsigned(8, lanes))
    exponent = (
        _int(157, lanes) - leading + unit
    )  # one less, since the mantissa's first bit adds one
    bits = tirx.shift_left(exponent, _int(_FRACTION, lanes)) + cast(rounded, "int32", lanes)
    sign = tirx.bitwise_and(a, _int(-(1 << 31), lanes))
    whole = tirx.Select(tirx.EQ(a, zero), zero, tirx.bitwise_or(bits, sign))
    return reinterpret(whole, "float32", lanes)


def _int(value: int, lanes: int) -> Value:
    return literal(value, "int32", lanes)


def _unsigned(value: int, lanes: int) -> Value:
    return literal(value, "uint32", lanes)

"""Integer dot products: four u8 activations by four s8 weights into each s32 lane, for every kind of vector unit.

Each entry sums x[4l..4l+3] * w[4l..4l+3] into lane l. `offset` is what the instruction wants subtracted from an
activation first; the packed bias gives it back (sum of w times the offset), so results are the same everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

from tvm import tirx

from budgetc_targets.kernels.writer import Value, intrinsic, literal, reinterpret


@dataclass(frozen=True)
class Dot:
    """A way to take the dot product: vector lanes, the code, and the offset of its activations."""

    lanes: int
    accumulate: Callable[[Value, Value, Value], Value]
    offset: int = 0


def _vpdpbusd(bits: int) -> Callable[[Value, Value, Value], Value]:
    lanes = bits // 32

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        return intrinsic(f"llvm.x86.avx512.vpdpbusd.{bits}", "int32", lanes, acc, x, w)

    return accumulate


def _maddubs(acc: Value, x: Value, w: Value) -> Value:
    """Exact while every weight is in [-64, 64]: 2 * 255 * 64 still fits 16 bits."""
    pairs = intrinsic("llvm.x86.avx2.pmadd.ub.sw", "int16", 16, x, w)
    return acc + intrinsic(
        "llvm.x86.avx2.pmadd.wd", "int32", 8, pairs, literal(1, "int16", 16)
    )


def _maddwd(name: str, lanes: int) -> Callable[[Value, Value, Value], Value]:
    """Even and odd bytes as 16-bit lanes: twice the multiplications' work of maddubs, exact for every s8 weight."""
    wide = 2 * lanes

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        x16, w16 = reinterpret(x, "int16", wide), reinterpret(w, "int16", wide)
        eight = literal(8, "int16", wide)
        x_even = tirx.bitwise_and(x16, literal(255, "int16", wide))
        unsigned = reinterpret(x, "uint16", wide)
        x_odd = reinterpret(
            tirx.shift_right(unsigned, literal(8, "uint16", wide)), "int16", wide
        )
        w_even = tirx.shift_right(tirx.shift_left(w16, eight), eight)
        w_odd = tirx.shift_right(w16, eight)
        even = intrinsic(name, "int32", lanes, x_even, w_even)
        return acc + even + intrinsic(name, "int32", lanes, x_odd, w_odd)

    return accumulate


def _signed(x: Value) -> Value:
    """u8 less 128 as s8: the top bit flipped."""
    return reinterpret(tirx.bitwise_xor(x, literal(128, "uint8", 16)), "int8", 16)


def _sdot(acc: Value, x: Value, w: Value) -> Value:
    return intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", "int32", 4, acc, _signed(x), w)


def _smull(acc: Value, x: Value, w: Value) -> Value:
    """NEON without the dot product: widening products, then two pairwise sums (2 * 128 * 127 fits 16 bits)."""
    signed = _signed(x)
    sums = []
    for half in (0, 8):
        picked = list(range(half, half + 8))
        a, b = tirx.Shuffle([signed], picked), tirx.Shuffle([w], picked)
        products = intrinsic("llvm.aarch64.neon.smull.v8i16", "int16", 8, a, b)
        sums.append(intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", "int32", 4, products))
    return acc + intrinsic("llvm.aarch64.neon.addp.v4i32", "int32", 4, *sums)


DOTS: dict[str, Dot] = {
    "vpdpbusd512": Dot(16, _vpdpbusd(512)),
    "vpdpbusd256": Dot(8, _vpdpbusd(256)),
    "maddubs256": Dot(8, _maddubs),
    "maddwd256": Dot(8, _maddwd("llvm.x86.avx2.pmadd.wd", 8)),
    "maddwd128": Dot(4, _maddwd("llvm.x86.sse2.pmadd.wd", 4)),
    "sdot128": Dot(4, _sdot, offset=128),
    "widening128": Dot(4, _smull, offset=128),
}

EXACT_FOR_WIDE_WEIGHTS = {"maddubs256": "maddwd256"}
"""What takes the place of a dot product that saturates, where a layer's weights leave [-64, 64]."""


def choose_dot(int8_dot: str, weight_range: int) -> Dot:
    """The dot product for a layer whose weights lie in [-weight_range, weight_range]."""
    name = EXACT_FOR_WIDE_WEIGHTS.get(int8_dot, int8_dot) if weight_range > 64 else int8_dot
    return DOTS[name]

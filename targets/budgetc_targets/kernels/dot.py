"""Integer dot products: four u8 activations by four s8 weights into each s32 lane, on any vector unit.

Each entry of DOTS sums x[4l..4l+3] * w[4l..4l+3] into lane l. Where an instruction wants signed
activations, 128 is subtracted from them here, and the packed bias gives it back (see
`arithmetic.balanced_bias`), so results are the same everywhere.
"""

from collections.abc import Callable

from tvm import tirx

from budgetc_targets.kernels.writer import Value, cast, intrinsic, literal, reinterpret

Accumulate = Callable[[Value, Value, Value], Value]
"""(accumulators, activations, weights) -> accumulators."""


def _vpdpbusd(bits: int) -> Accumulate:
    lanes = bits // 32

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        return intrinsic(f"llvm.x86.avx512.vpdpbusd.{bits}", "int32", lanes, acc, x, w)

    return accumulate


def _maddubs(acc: Value, x: Value, w: Value) -> Value:
    """Exact while every weight is in [-64, 64]: 2 * 255 * 64 still fits 16 bits."""
    pairs = intrinsic("llvm.x86.avx2.pmadd.ub.sw", "int16", 16, x, w)
    return acc + intrinsic("llvm.x86.avx2.pmadd.wd", "int32", 8, pairs, literal(1, "int16", 16))


def _maddwd(name: str, lanes: int) -> Accumulate:
    """Even and odd bytes as 16-bit lanes: twice the multiplications of maddubs, exact for every s8."""
    wide = 2 * lanes

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        x16, w16 = reinterpret(x, "int16", wide), reinterpret(w, "int16", wide)
        eight = literal(8, "int16", wide)
        x_even = tirx.bitwise_and(x16, literal(255, "int16", wide))
        unsigned = reinterpret(x, "uint16", wide)
        x_odd = reinterpret(tirx.shift_right(unsigned, literal(8, "uint16", wide)), "int16", wide)
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
    """NEON without the dot product: widening products, two pairwise sums (2 * 128 * 127 fits)."""
    signed = _signed(x)
    sums = []
    for half in (0, 8):
        picked = list(range(half, half + 8))
        a, b = tirx.Shuffle([signed], picked), tirx.Shuffle([w], picked)
        products = intrinsic("llvm.aarch64.neon.smull.v8i16", "int16", 8, a, b)
        sums.append(intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", "int32", 4, products))
    return acc + intrinsic("llvm.aarch64.neon.addp.v4i32", "int32", 4, *sums)


_PMADDWD = {8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}

DOTS: dict[str, Accumulate] = {
    "vpdpbusd512": _vpdpbusd(512),
    "vpdpbusd256": _vpdpbusd(256),
    "vpdpbusd128": _vpdpbusd(128),
    "maddubs256": _maddubs,
    "maddwd256": _maddwd(_PMADDWD[8], 8),
    "maddwd128": _maddwd(_PMADDWD[4], 4),
    "sdot128": _sdot,
    "widening128": _smull,
}


def pair_sum(acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """Two s16 products into each s32 lane, on x86: lane l takes x[2l] * w[2l] + x[2l+1] * w[2l+1]."""
    return acc + intrinsic(_PMADDWD[lanes], "int32", lanes, x, w)


def widening_product(acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """One s16 product into each s32 lane; NEON has it as a single instruction."""
    return acc + cast(x, "int32", lanes) * cast(w, "int32", lanes)

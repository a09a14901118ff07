"""Dot products: u8 activations by s8 weights into each s32 lane, four products mostly, on any vector unit.

Each entry of DOTS sums x[ul..ul+u-1] * w[ul..ul+u-1] into lane l, u being the `unit` of its
arithmetic. Where an instruction wants signed activations, 128 is subtracted from them here, and the
packed bias gives it back (see `arithmetic.balanced_bias`), so results are the same everywhere.
Pairs of bfloat16 go into f32 lanes.
"""

from collections.abc import Callable

from tvm import tirx

from budgetc_targets.kernels import bfloat16
from budgetc_targets.kernels.writer import Value, cast, intrinsic, literal, reinterpret, splat

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
    """Activations stand last, where the instruction may take one quad of a vector for all lanes."""
    return intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", "int32", 4, acc, w, _signed(x))


def _smull(acc: Value, x: Value, w: Value) -> Value:
    """NEON without the dot product: widening products, two pairwise sums (2 * 128 * 127 fits)."""
    sums = [
        intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", "int32", 4, products)
        for products in _products(x, w)
    ]
    return acc + intrinsic("llvm.aarch64.neon.addp.v4i32", "int32", 4, *sums)


def _products(x: Value, w: Value) -> list[Value]:
    """Sixteen products of signed bytes, as NEON multiplies them: two vectors of s16."""
    signed = _signed(x)
    wide = []
    for half in (0, 8):
        picked = list(range(half, half + 8))
        a, b = (cast(tirx.Shuffle([v], picked), "int16", 8) for v in (signed, w))
        wide.append(a * b)
    return wide


def _addp(acc: Value, x: Value, w: Value) -> Value:
    """The same for weights above -128: neighbouring products still fit 16 bits when they are added."""
    pairs = intrinsic("llvm.aarch64.neon.addp.v8i16", "int16", 8, *_products(x, w))
    return acc + intrinsic("llvm.aarch64.neon.saddlp.v4i32.v8i16", "int32", 4, pairs)


def _usdot(acc: Value, x: Value, w: Value) -> Value:
    return intrinsic("llvm.aarch64.neon.usdot.v4i32.v16i8", "int32", 4, acc, x, w)


def _neighbours(wide: Value, dtype: str, lanes: int) -> Value:
    """The sums of neighbouring lanes of a whole vector of 32-bit ARM, as half a vector."""
    half = lanes // 2
    low, high = (tirx.Shuffle([wide], list(range(n, n + half))) for n in (0, half))
    name = f"llvm.arm.neon.vpadd.v{half}i{dtype.removeprefix('int')}"
    return intrinsic(name, dtype, half, low, high)


def _vmull(acc: Value, x: Value, w: Value) -> Value:
    """NEON of 32-bit ARM, which adds neighbours of half vectors only."""
    sums = [
        intrinsic("llvm.arm.neon.vpaddls.v4i32.v8i16", "int32", 4, products)
        for products in _products(x, w)
    ]
    return acc + tirx.Shuffle([_neighbours(s, "int32", 4) for s in sums], list(range(4)))


def _vpadd(acc: Value, x: Value, w: Value) -> Value:
    """The same for weights above -128, as `_addp`."""
    pairs = [_neighbours(products, "int16", 8) for products in _products(x, w)]
    joined = tirx.Shuffle(pairs, list(range(8)))
    return intrinsic("llvm.arm.neon.vpadals.v4i32.v8i16", "int32", 4, acc, joined)


def halves(word: Value, name: str) -> tuple[Value, Value]:
    """Bytes 0 and 2, then bytes 1 and 3 of a word, as the two 16-bit halves of another."""
    right, left = (tirx.IntImm("uint32", n) for n in (8, 24))
    turned = tirx.bitwise_or(tirx.shift_right(word, right), tirx.shift_left(word, left))
    even, odd = (intrinsic(f"llvm.arm.{name}", "uint32", 1, w) for w in (word, turned))
    return even, odd


def _smlad(acc: Value, x: Value, w: Value) -> Value:
    """Two dual products of 16-bit halves, as Arm's DSP extension has them; modular, and so exact in 32 bits.

    It does not matter to a sum that the bytes of a word are not paired in their order.
    """
    sums = reinterpret(acc, "uint32", 1)
    pairs = zip(
        halves(reinterpret(x, "uint32", 1), "uxtb16"),
        halves(reinterpret(w, "uint32", 1), "sxtb16"),
        strict=True,
    )
    for xs, ws in pairs:
        sums = intrinsic("llvm.arm.smlad", "uint32", 1, xs, ws, sums)
    return reinterpret(sums, "int32", 1)


def _vmladava(acc: Value, x: Value, w: Value) -> Value:
    """Sixteen products into a scalar, in one instruction of the M-profile vector extension."""
    plain = [literal(0, "int32")] * 3  # signed, no difference, no exchange
    return intrinsic("llvm.arm.mve.vmldava", "int32", 1, *plain, acc, _signed(x), w)


def _mla(acc: Value, x: Value, w: Value) -> Value:
    return acc + cast(x, "int32", 1) * cast(w, "int32", 1)


def _vwmacc(lanes: int) -> Accumulate:
    """One product of s16 into each lane, as RISC-V's vector extension multiplies a vector by a number.

    128 is subtracted from an activation for LLVM's sake: it takes what is just widened for a vector of bytes, which
    it widens again for each product.
    """

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        less = cast(x, "int16", 1) - tirx.IntImm("int16", 128)
        return acc + cast(splat(less, lanes), "int32", lanes) * cast(w, "int32", lanes)

    return accumulate


_WASM_DOT = "llvm.wasm.dot"
_PMADDWD = {8: "llvm.x86.avx2.pmadd.wd", 4: "llvm.x86.sse2.pmadd.wd"}

DOTS: dict[str, Accumulate] = {
    "vpdpbusd512": _vpdpbusd(512),
    "vpdpbusd256": _vpdpbusd(256),
    "vpdpbusd128": _vpdpbusd(128),
    "maddubs256": _maddubs,
    "maddwd256": _maddwd(_PMADDWD[8], 8),
    "maddwd128": _maddwd(_PMADDWD[4], 4),
    "sdot128": _sdot,
    "usdot128": _usdot,
    "widening128": _smull,
    "pairwise128": _addp,
    "vmull128": _vmull,
    "vpadd128": _vpadd,
    "wasmdot128": _maddwd(_WASM_DOT, 4),
    "smlad32": _smlad,
    "vmladava32": _vmladava,
    "mla32": _mla,
    **{f"vdpbf16ps{32 * lanes}": bfloat16.dot(lanes) for lanes in (4, 8, 16)},
    **{f"vwmacc{32 * lanes}": _vwmacc(lanes) for lanes in (1, 2, 4, 8)},
}


def pair_sum(kind: str, acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """Two s16 products into each s32 lane: lane l takes x[2l] * w[2l] + x[2l+1] * w[2l+1]."""
    name = _WASM_DOT if kind == "wasmdot" else _PMADDWD[lanes]
    return acc + intrinsic(name, "int32", lanes, x, w)


def widening_product(acc: Value, x: Value, w: Value, lanes: int) -> Value:
    """One s16 product into each s32 lane; NEON has it as a single instruction."""
    return acc + cast(x, "int32", lanes) * cast(w, "int32", lanes)

"""Numbers of 8 significant bits and float32's exponents: 16 bits in memory, f32 in registers, pairs in dot products.

TVM's code generator has no such type (docs/tvm.md), so kernels call functions over integers and floats, which stand
here as LLVM's own text. `define` links it into a kernel, where they are inlined: one instruction each.
"""

from collections.abc import Callable
from typing import Any

import tvm
from tvm import tirx

from budgetc_targets.kernels.writer import Value, cast, lanes_type, literal, reinterpret

_DOT = """
declare <{n} x float> @llvm.x86.avx512bf16.dpbf16ps.{bits}(<{n} x float>, <{m} x bfloat>, <{m} x bfloat>)
define linkonce_odr hidden <{n} x float> @bf16_dot{n}(<{n} x float> %a, <{n} x i32> %x, <{n} x i32> %w) alwaysinline {{
  %xs = bitcast <{n} x i32> %x to <{m} x bfloat>
  %ws = bitcast <{n} x i32> %w to <{m} x bfloat>
  %sums = call <{n} x float> @llvm.x86.avx512bf16.dpbf16ps.{bits}(
      <{n} x float> %a, <{m} x bfloat> %xs, <{m} x bfloat> %ws)
  ret <{n} x float> %sums
}}
"""
_BITS = """
define linkonce_odr hidden {i16} @bf16_bits{n}({f32} %x) alwaysinline {{
  %y = fptrunc {f32} %x to {bf16}
  %z = bitcast {bf16} %y to {i16}
  ret {i16} %z
}}
"""


def _code() -> str:
    code = "".join(_DOT.format(n=n, m=2 * n, bits=32 * n) for n in (4, 8, 16))
    for n in (1, 2, 4, 8, 16):
        types = {t: t if n == 1 else f"<{n} x {t}>" for t in ("i16", "bfloat", "float")}
        code += _BITS.format(n=n, i16=types["i16"], bf16=types["bfloat"], f32=types["float"])
    return code


CODE = _code()
"""The functions that kernels call, in LLVM's language."""


def define(function: Any) -> Any:
    """A kernel with what it may call of them; those that it does not call leave nothing behind."""
    node, text = tvm.ir.StringImm("bf16"), tvm.ir.StringImm(CODE)
    return function.with_body(tirx.AttrStmt(node, "pragma_import_llvm", text, function.body))


def dot(lanes: int) -> Callable[[Value, Value, Value], Value]:
    """(f32 accumulators, pairs of activations, pairs of weights) -> accumulators; numbers below normal count as 0."""

    def accumulate(acc: Value, x: Value, w: Value) -> Value:
        pairs = (reinterpret(v, "int32", lanes) for v in (x, w))
        return tirx.call_pure_extern(lanes_type("float32", lanes), f"bf16_dot{lanes}", acc, *pairs)

    return accumulate


def rounded(value: Value, lanes: int) -> Value:
    """The nearest such number as f32, ties to even; what is below the normal ones is 0."""
    bits = tirx.call_pure_extern(lanes_type("uint16", lanes), f"bf16_bits{lanes}", value)
    return widened(bits, lanes)


def widened(stored: Value, lanes: int) -> Value:
    """F32 of 16 bits as they are in memory."""
    high = tirx.shift_left(cast(stored, "uint32", lanes), literal(16, "uint32", lanes))
    return reinterpret(high, "float32", lanes)


def bits(value: Value, lanes: int) -> Value:
    """What is stored of an f32 that is rounded already."""
    high = tirx.shift_right(reinterpret(value, "uint32", lanes), literal(16, "uint32", lanes))
    return cast(high, "uint16", lanes)

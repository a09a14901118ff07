"""Dot products of AVX512 by instructions that every machine of these tests has, so that the code around them runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def bfloat16_in_parts() -> str:
    """The functions of `kernels.bfloat16` by integers, multiply-adds and nothing else, in LLVM's language."""
    code = ""
    for n in (1, 2, 4, 8, 16):
        i32, i16, f32 = (t if n == 1 else f"<{n} x {t}>" for t in ("i32", "i16", "float"))

        def all_of(value: int, n: int = n) -> str:
            return f"{value}" if n == 1 else f"<{', '.join([f'i32 {value}'] * n)}>"

        code += f"""
define linkonce_odr hidden {i16} @bf16_bits{n}({f32} %x) alwaysinline {{
  %i = bitcast {f32} %x to {i32}
  %high = lshr {i32} %i, {all_of(16)}
  %odd = and {i32} %high, {all_of(1)}
  %more = add {i32} %odd, {all_of(0x7FFF)}
  %sum = add {i32} %i, %more
  %kept = lshr {i32} %sum, {all_of(16)}
  %y = trunc {i32} %kept to {i16}
  ret {i16} %y
}}
"""
        if n < 4:
            continue
        operands = ""
        for v in ("x", "w"):
            operands += f"""
  %{v}l = shl {i32} %{v}, {all_of(16)}
  %{v}h = and {i32} %{v}, {all_of(0xFFFF0000 - (1 << 32))}
  %{v}0 = bitcast {i32} %{v}l to {f32}
  %{v}1 = bitcast {i32} %{v}h to {f32}"""
        fma = f"@llvm.fma.v{n}f32"
        code += f"""
declare {f32} {fma}({f32}, {f32}, {f32})
define linkonce_odr hidden {f32} @bf16_dot{n}({f32} %a, {i32} %x, {i32} %w) alwaysinline {{{operands}
  %one = call {f32} {fma}({f32} %x0, {f32} %w0, {f32} %a)
  %two = call {f32} {fma}({f32} %x1, {f32} %w1, {f32} %one)
  ret {f32} %two
}}
"""
    return code


@contextmanager
def emulated_dots() -> Iterator[None]:
    """Dot products of AVX512 as exact ones of AVX2, so that any machine runs everything around them."""
    from budgetc_targets.kernels import bfloat16, dot, quads_code
    from tvm import tirx

    def accumulate(acc: Any, x: Any, w: Any) -> Any:
        halves = []
        for half in range(2):
            four, one = (list(range(n * half, n * half + n)) for n in (32, 8))
            parts = (tirx.Shuffle([v], at) for v, at in ((acc, one), (x, four), (w, four)))
            halves.append(dot.DOTS["maddwd256"](*parts))
        return tirx.Shuffle(halves, list(range(16)))

    real, packs = dict(dot.DOTS), quads_code.PACKS.pop(16)
    narrow = {"vpdpbusd256": real["maddwd256"], "vpdpbusd128": real["maddwd128"]}
    dot.DOTS.update({"vpdpbusd512": accumulate, **narrow})
    code, bfloat16.CODE = bfloat16.CODE, bfloat16_in_parts()
    try:
        yield
    finally:
        bfloat16.CODE = code
        dot.DOTS.update(real)
        quads_code.PACKS[16] = packs

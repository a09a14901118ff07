"""Instructions of a core in place of what LLVM would call a library for."""

from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from budgetc_specs.capability import Capability
from tvm import tirx
from tvm.target.codegen import llvm_lookup_intrinsic_id

from budgetc_targets.kernels.writer import Value, integer, intrinsic, literal, reinterpret

Rules = Mapping[str, Callable[..., Value]]
"""What takes the place of LLVM's intrinsics, by their names."""


def adapt(function: Any, capability: Capability) -> Any:
    """A kernel with its target's own rounding and multiply-add; the same function where LLVM knows them.

    LLVM makes a call of lrintf of every `llvm.lrint`, for each lane, where a machine has no instruction for just that,
    and `llvm.fmuladd` is one rounding or two as a Cortex-M's timing advises. There it becomes a single instruction, so
    that results are those of every other target.
    """
    rules = {_number(name): rule for name, rule in _rules(capability).items()}
    if not rules:
        return function

    def replaced(call: Any, mutator: Any) -> Any:
        changed = mutator.default_mutate(call)
        if changed.op.name not in _CALLS:
            return changed
        rule = rules.get(int(changed.args[0].value))
        return rule(*changed.args[1:]) if rule else changed

    return tvm_ffi.structural_mutate(function, (tvm.ir.Call, replaced))


_MVE_LANES = 4
_CALLS = ("tirx.call_llvm_pure_intrin", "tirx.call_llvm_intrin")


def _number(name: str) -> int:
    return int(llvm_lookup_intrinsic_id(name))


def _lanes(value: Value) -> int:
    name = str(value.dtype if hasattr(value, "dtype") else value.ty)
    return int(name.partition("x")[2] or 1)


def _rounded(value: Value) -> Value:
    """To the nearest integer, ties to even; both instructions saturate."""
    lanes = _lanes(value)
    bounds = _bounds(value) if lanes == 1 else None
    if bounds:  # cheaper between integers, and the same: nothing is rounded across a whole number
        inner, low, high = bounds
        return tirx.Min(tirx.Max(_rounded(inner), integer(low)), integer(high))
    if lanes == 1:
        return reinterpret(intrinsic("llvm.arm.vcvtr", "float32", 1, value), "int32", 1)
    if lanes != _MVE_LANES:
        return tirx.Shuffle(
            [_rounded(tirx.Shuffle([value], [i])) for i in range(lanes)], list(range(lanes))
        )
    signed = tirx.IntImm("int32", 0)
    return intrinsic("llvm.arm.mve.vcvtn", "int32", lanes, signed, value)


def _bounds(value: Value) -> tuple[Value, int, int] | None:
    """What min(max(x, low), high) holds between two whole numbers."""
    if not (isinstance(value, tirx.Min) and isinstance(value.a, tirx.Max)):
        return None
    limits = [value.a.b, value.b]
    if not all(isinstance(v, tirx.FloatImm) and float(v.value).is_integer() for v in limits):
        return None
    low, high = (int(v.value) for v in limits)
    return value.a.a, low, high


def _fused(a: Value, b: Value, c: Value) -> Value:
    return intrinsic("llvm.fma", "float32", _lanes(a), a, b, c)


_LIMIT = float(1 << 22)
_UNIT = 1.5 * (1 << 23)
"""Around it neighbouring floats differ by 1, so that a sum with it is rounded to an integer, ties to even."""


def _by_addition(value: Value) -> Value:
    """To the nearest integer, limited to 2^22 on both sides of zero."""
    lanes = _lanes(value)
    low, high, unit = (literal(v, "float32", lanes) for v in (-_LIMIT, _LIMIT, _UNIT))
    bits = reinterpret(tirx.Max(tirx.Min(value, high), low) + unit, "int32", lanes)
    return bits - literal(0x4B400000, "int32", lanes)


def _in_two_steps(value: Value) -> Value:
    """Rounded as a float, then converted with saturation: two instructions of WebAssembly."""
    lanes = _lanes(value)
    whole = intrinsic("llvm.rint", "float32", lanes, value)
    return intrinsic("llvm.fptosi.sat", "int32", lanes, whole)


def _whole(value: Value) -> Value:
    """The nearest integer as a float, by way of s32: what is larger than a float's digits is whole already."""
    near = tirx.Cast("float32", _rounded(value))
    signed = intrinsic("llvm.copysign", "float32", 1, near, value)  # of what rounds to -0
    small = tirx.LT(intrinsic("llvm.fabs", "float32", 1, value), literal(2.0**23, "float32"))
    return tirx.Select(small, signed, value)


_BARE: Rules = {"llvm.lrint": _rounded, "llvm.fmuladd": _fused}
_FPV4: Rules = {**_BARE, "llvm.rint": _whole}
"""The floating-point unit of the M4 rounds to integers only."""
_RULES: dict[str, Rules] = {
    "arm": {"llvm.lrint": _by_addition},
    "wasm32": {"llvm.lrint": _in_two_steps},
}


def _rules(capability: Capability) -> Rules:
    """What to replace on a target."""
    if capability.system == "bare":
        if capability.fixed_point:
            return {"llvm.lrint": _by_addition}
        return _FPV4 if capability.cpu == "cortex-m4" else _BARE
    return _RULES.get(capability.arch, {})

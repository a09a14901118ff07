"""Turn an expression into vector code over the lanes of one step of a kernel."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

from tvm import tirx

from budgetc_targets.expression import Apply, Const, Expr, Number, Ref
from budgetc_targets.kernels import bfloat16, fixed_point, functions
from budgetc_targets.kernels.functions import Hold
from budgetc_targets.kernels.writer import Value, cast, intrinsic, literal

INTEGERS = {"uint8", "int8", "int16", "uint16", "int32", "bool"}
LOWEST = {"uint8": 0, "int8": -128, "float32": -math.inf}
"""Where a maximum begins, by the type of the elements."""


def register_type(dtype: str) -> str:
    """The type in which an element is held while it is computed with."""
    if dtype == "bfloat16":
        return "float32"
    return "int32" if dtype in INTEGERS else dtype


def widen(value: Value, dtype: str, lanes: int) -> Value:
    """An element as loaded, in its register type."""
    if dtype == "bfloat16":
        return bfloat16.widened(value, lanes)
    register = register_type(dtype)
    return value if register == dtype else cast(value, register, lanes)


def narrow(value: Value, dtype: str, lanes: int) -> Value:
    """A computed value in the type in which it is stored; a float that becomes a bfloat16 is rounded already."""
    if dtype == "bfloat16":
        return bfloat16.bits(value, lanes)
    return value if register_type(dtype) == dtype else cast(value, dtype, lanes)


def _float_unary(name: str) -> Callable[..., Value]:
    return lambda _lanes, a: getattr(tirx, name)(a)


def _comparison(build: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    return lambda lanes, a, b: cast(build(a, b), "int32", lanes)


def _is_float(value: Value) -> bool:
    return str(value.dtype if hasattr(value, "dtype") else value.ty).startswith("float")


def _element(value: Value) -> str:
    return str(value.dtype if hasattr(value, "dtype") else value.ty).split("x")[0]


def _select(lanes: int, condition: Value, yes: Value, no: Value) -> Value:
    zero = literal(0, "int32", lanes)
    return tirx.Select(tirx.NE(condition, zero), yes, no)


def _divide(lanes: int, a: Value, b: Value) -> Value:
    del lanes
    return tirx.Div(a, b) if _is_float(a) else tirx.truncdiv(a, b)


def _modulo(lanes: int, a: Value, b: Value) -> Value:
    del lanes
    if _is_float(a):  # TVM's own takes integers only
        return tirx.Sub(a, tirx.Mul(tirx.floor(tirx.Div(a, b)), b))
    return tirx.floormod(a, b)


def _fma(lanes: int, a: Value, b: Value, c: Value) -> Value:
    return intrinsic("llvm.fmuladd", "float32", lanes, a, b, c)


def _apart_from_load(lanes: int, a: Value) -> Value:
    """The value plus zero: an operand that LLVM cannot take straight from memory.

    LLVM 22 folds a load of unknown alignment into SSE's rounding conversion, which then faults
    (docs/tvm.md). +0 changes -0 only, and both round to the integer 0.
    """
    return _fma(lanes, a, literal(1.0, "float32", lanes), literal(0.0, "float32", lanes))


def _binary(build: Callable[[Value, Value], Value]) -> Callable[..., Value]:
    return lambda _lanes, a, b: build(a, b)


_BUILDERS: dict[str, Callable[..., Value]] = {
    "to_float": lambda lanes, a: cast(a, "float32", lanes),
    "to_int": lambda lanes, a: cast(a, "int32", lanes),
    "round_int": lambda lanes, a: intrinsic("llvm.lrint", "int32", lanes, a),
    "as_is": lambda _lanes, a: a,
    "add": _binary(tirx.Add),
    "sub": _binary(tirx.Sub),
    "mul": _binary(tirx.Mul),
    "div": _divide,
    "mod": _modulo,
    "min": _binary(tirx.Min),
    "max": _binary(tirx.Max),
    "fma": _fma,
    "pow": lambda _lanes, a, b: tirx.pow(a, b),
    "sqrt": _float_unary("sqrt"),
    "rsqrt": lambda lanes, a: tirx.Div(literal(1.0, "float32", lanes), tirx.sqrt(a)),
    "sin": _float_unary("sin"),
    "cos": _float_unary("cos"),
    "floor": _float_unary("floor"),
    "ceil": _float_unary("ceil"),
    "round": lambda lanes, a: intrinsic("llvm.rint", "float32", lanes, a),
    "abs": lambda lanes, a: tirx.Max(a, tirx.Sub(literal(0, _element(a), lanes), a)),
    "less": _comparison(tirx.LT),
    "less_equal": _comparison(tirx.LE),
    "equal": _comparison(tirx.EQ),
    "not": lambda lanes, a: tirx.Sub(literal(1, "int32", lanes), a),
    "and": lambda _lanes, a, b: tirx.Mul(a, b),
    "or": lambda _lanes, a, b: tirx.Max(a, b),
    "select": _select,
    "round_bf16": lambda lanes, a: bfloat16.rounded(a, lanes),
    "shift_right": _binary(tirx.shift_right),
}


_FUNCTIONS: dict[str, Callable[..., Value]] = {
    "exp": functions.exp,
    "log": functions.log,
    "log1p": functions.log1p,
    "tanh": functions.tanh,
    "erf": functions.erf,
    "rescale": fixed_point.rescale,
    "to_fixed": fixed_point.to_fixed,
    "from_fixed": fixed_point.from_fixed,
}
"""Of the operands, the lanes and what keeps a value that is read more than once."""


def evaluate(
    expression: Expr,
    operand: Callable[[int], Value],
    number: Callable[[Number, int], Value],
    lanes: int,
    hold: Hold,
) -> Value:
    """Code for an expression, equal subtrees computed once.

    Args:
        expression: what to compute.
        operand: gives operand i in its register type.
        number: gives a number of the task's table in so many lanes (`Numbers`).
        lanes: of every operand and of the result.
        hold: keeps a value that is read more than once (`Writer.hold`).
    """
    built: dict[Expr, Any] = {}
    readers = _readers(expression)

    def build(node: Expr) -> Value:
        if node not in built:
            if isinstance(node, Ref):
                built[node] = operand(node.index)
            elif isinstance(node, Const):
                built[node] = literal(node.value, node.dtype, lanes)
            elif isinstance(node, Number):
                built[node] = number(node, lanes)
            else:
                assert isinstance(node, Apply)
                arguments = [build(a) for a in node.args]
                if node.fn == "round_int" and isinstance(node.args[0], Ref):
                    arguments = [_apart_from_load(lanes, *arguments)]
                if node.fn in _FUNCTIONS:
                    value = _FUNCTIONS[node.fn](*arguments, lanes, hold)
                else:
                    value = _BUILDERS[node.fn](lanes, *arguments)
                built[node] = hold(value) if readers[node] > 1 else value
        return built[node]

    return build(expression)


def _readers(expression: Expr) -> Counter[Expr]:
    """How many times each subtree is read, equal ones counted together."""
    counts: Counter[Expr] = Counter([expression])
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Apply):
            waiting += [a for a in dict.fromkeys(node.args) if a not in counts]
            counts.update(a for a in node.args)
            if node.fn in _READ_TWICE:
                counts.update(node.args)
    return counts


_READ_TWICE = {"abs", "mod"}
"""Functions whose code reads an operand more than once."""

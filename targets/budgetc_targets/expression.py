"""Elementwise expressions: what a kernel computes from its accumulator and its side inputs, as plain values.

An expression is the epilogue of a convolution, a pooling or a matrix product, or the whole of an elementwise kernel.
Functions are typed by their operands: integers are s32 in registers, reals are f32, truth values are s32 0 or 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Ref:
    """A side input by its position in the task's operands; -1 is the kernel's own accumulator."""

    index: int


@dataclass(frozen=True)
class Const:
    """A literal."""

    value: float | int
    dtype: str = "float32"


@dataclass(frozen=True)
class Number:
    """A number that the caller gives, by its position in the task's table of numbers; f32 or s32."""

    position: int
    dtype: str = "float32"


@dataclass(frozen=True)
class Apply:
    """A function of other expressions; FUNCTIONS lists the names and what they mean."""

    fn: str
    args: tuple["Expr", ...]


Expr = Ref | Const | Number | Apply

ACCUMULATOR = Ref(-1)

FUNCTIONS = {
    "to_float": "integer to nearest float",
    "to_int": "float to integer, toward zero",
    "round_int": "float to integer, ties to even",
    "as_is": "the operand itself",
    "add": "a + b",
    "sub": "a - b",
    "mul": "a * b",
    "div": "a / b; integers toward zero",
    "mod": "remainder with the sign of the divisor",
    "min": "smaller of a and b",
    "max": "larger of a and b",
    "fma": "a * b + c with one rounding",
    "pow": "a to the power of b",
    "exp": "e to the power of a",
    "log": "natural logarithm",
    "log1p": "natural logarithm of 1 + a, with all digits for small a; a is finite and above -1",
    "sqrt": "square root",
    "rsqrt": "1 / sqrt(a)",
    "tanh": "hyperbolic tangent",
    "erf": "Gauss error function",
    "sin": "sine",
    "cos": "cosine",
    "floor": "largest integer not above",
    "ceil": "smallest integer not below",
    "round": "nearest integer as a float, ties to even",
    "abs": "absolute value",
    "less": "a < b",
    "less_equal": "a <= b",
    "equal": "a == b",
    "not": "1 - a for truth values",
    "and": "both",
    "or": "either",
    "select": "b where a is true, else c",
    "round_bf16": "nearest float of 8 significant bits, ties to even; 0 for what is below the normal ones",
    "shift_right": "floor(a / 2**b) of integers",
    "rescale": "floor(a m / 2**(k + 17) + 1/2) of integers, where b = m + 65536 k and m < 65536",
    "to_fixed": "a 2**b as s32, toward zero and saturated, by the bits of the float a",
    "from_fixed": "the float nearest to a 2**b, ties to even, by its bits",
}
"""The last four are how a core without a floating-point unit computes: docs/fixed-point.md."""


def apply(fn: str, *args: Expr) -> Apply:
    """An application of a known function.

    Raises:
        AssertionError: the function is not listed.
    """
    assert fn in FUNCTIONS, f"BUG: no elementwise function {fn!r}"
    return Apply(fn, args)


def references(expression: Expr) -> Iterator[int]:
    """Positions of the operands that an expression reads, in order of appearance, with repeats."""
    if isinstance(expression, Ref):
        yield expression.index
    elif isinstance(expression, Apply):
        for argument in expression.args:
            yield from references(argument)


def functions(expression: Expr) -> Iterator[str]:
    """Names of the functions that an expression applies, with repeats."""
    if isinstance(expression, Apply):
        yield expression.fn
        for argument in expression.args:
            yield from functions(argument)


def substitute(expression: Expr, replace: Callable[[Ref], Expr]) -> Expr:
    """The expression with every reference replaced."""
    if isinstance(expression, Ref):
        return replace(expression)
    if isinstance(expression, Apply):
        return Apply(expression.fn, tuple(substitute(a, replace) for a in expression.args))
    return expression


def size(expression: Expr) -> int:
    """Number of function applications, shared subexpressions counted each time."""
    if isinstance(expression, Apply):
        return 1 + sum(size(a) for a in expression.args)
    return 0


SLOTS = {
    "div": 12,
    "sqrt": 12,
    "rsqrt": 24,
    "mod": 14,
    "exp": 22,
    "log": 27,
    "erf": 28,
    "log1p": 44,
    "tanh": 44,
    **dict.fromkeys(("cos", "pow", "sin"), 320),
}
"""Issue slots of the functions that are more than an instruction: those of their AVX-512 code, of which a division or a
root counts as 12, and each of the 16 calls of libm, one for a lane, as 20.
"""

SOFTMAX_SLOTS = 40
"""Issue slots of a vector in the three sweeps of a softmax, beside its expression."""


def slots(expression: Expr) -> int:
    """Issue slots of an expression of vectors; what appears twice is computed once."""
    seen: set[Expr] = set()
    waiting = [expression]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Apply) and node not in seen:
            seen.add(node)
            waiting += node.args
    return sum(SLOTS.get(node.fn, 1) for node in seen if isinstance(node, Apply))

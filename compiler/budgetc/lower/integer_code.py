"""C of our own for what integers do in no kernel: tables of codes, and softmax without floats.

    t = R(largest - x)
    e = 2^(15 - t_high / 256) (2^15 - t_low ln 2 / 2) >> (t >> 16) + spare
    p = floor(2^24 e / sum e)

t is the exponent in 16 bits behind the point, R the factor of docs/fixed-point.md, and `spare` the bits that keep the
sum of a row below 2^31. The quotient is found bit by bit, since a core without floats may have no division either.
"""

import math
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from budgetc.lower.graph import Graph, Operation

POWERS = np.rint(2.0 ** (15 - np.arange(256) / 256)).astype(np.int64)
"""2^-f for f in steps of 1/256, in units of 2^-15."""

SLOPE = round(math.log(2.0) * 2**15)
"""By how much 2^-f falls within such a step, in units of 2^-31 for each 2^-16 of f."""

_C_TYPES = {"uint8": "uint8_t", "int8": "int8_t", "int32": "int32_t"}


def spare_bits(count: int) -> int:
    """Bits that powers are moved to the right by, so that so many add up to less than 2^31."""
    return max(0, (count - 1).bit_length() - 1)


def integer_code(op: Operation, graph: Graph, name: str) -> str:
    """A C file with the function `name` of the operation; its parameters are the input and the output."""
    return _WRITERS[op.kind](op, graph, name)


def _lookup(op: Operation, graph: Graph, name: str) -> str:
    given, made = graph.values[op.inputs[0]], graph.values[op.output]
    result = _C_TYPES[made.dtype]
    return f"""#include <stdint.h>

void {name}(const uint8_t *x, {result} *y) {{
    static const {result} table[256] = {{{_listed(op.attributes["table"].tolist())}}};
    for (uint32_t i = 0; i < {math.prod(given.shape)}u; i++)
        y[i] = table[x[i]];
}}
"""


def _softmax(op: Operation, graph: Graph, name: str) -> str:
    value = graph.values[op.inputs[0]]
    axis, left = op.attributes["axis"], op.attributes["left"]
    mantissa, further = op.attributes["word"] & 0xFFFF, op.attributes["word"] >> 16
    count, inner = value.shape[axis], math.prod(value.shape[axis + 1 :])
    rows = math.prod(value.shape[:axis])
    return f"""#include <stdint.h>

void {name}(const {_C_TYPES[value.dtype]} *x, int32_t *y) {{
    static const uint16_t powers[256] = {{{_listed(POWERS.tolist())}}};
    for (uint32_t row = 0; row < {rows * inner}u; row++) {{
        const uint32_t at = row / {inner}u * {inner * count}u + row % {inner}u;
        int32_t largest = x[at];
        for (uint32_t i = 1; i < {count}u; i++)
            largest = x[at + i * {inner}u] > largest ? x[at + i * {inner}u] : largest;
        uint32_t sum = 0;
        for (uint32_t i = 0; i < {count}u; i++) {{
            uint32_t less = (uint32_t)largest - (uint32_t)x[at + i * {inner}u];
            less = (less > {(2**31 - 1) >> left}u ? {(2**31 - 1) >> left}u : less) << {left};
            const uint32_t scaled = (less >> 16) * {mantissa}u + ((less & 65535u) * {mantissa}u >> 16);
            const uint32_t t = ((scaled >> {further}) + 1) >> 1, moved = (t >> 16) + {spare_bits(count)};
            const uint32_t fine = 32768u - ((t & 255u) * {SLOPE}u >> 16);
            const uint32_t e = moved > 31 ? 0 : powers[t >> 8 & 255u] * fine >> moved;
            y[at + i * {inner}u] = (int32_t)e;
            sum += e;
        }}
        for (uint32_t i = 0; i < {count}u; i++) {{
            uint32_t rest = (uint32_t)y[at + i * {inner}u], part = rest == sum;
            rest = part ? 0 : rest;
            for (int bit = 0; bit < 24; bit++) {{
                rest <<= 1, part <<= 1;
                if (rest >= sum)
                    rest -= sum, part |= 1;
            }}
            y[at + i * {inner}u] = (int32_t)part;
        }}
    }}
}}
"""


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, numbers))


_WRITERS: Mapping[str, Callable[[Operation, Graph, str], str]] = {
    "lookup": _lookup,
    "integer-softmax": _softmax,
}

KINDS = frozenset(_WRITERS)
"""Kinds of operations that have such code."""

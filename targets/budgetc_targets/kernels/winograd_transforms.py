"""The one-dimensional transforms of F(2, 3) and F(4, 3) on vectors: B^T d and A^T m, factored.

The matrices are in `winograd.py`. Rows that differ in the signs of every other term share an even and an odd part.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from budgetc_targets.kernels.writer import Value, intrinsic, literal

Transform = Callable[[Sequence[Value], int], list[Value]]
"""From vectors and the number of their lanes to vectors."""

_A, _B = math.sqrt(0.5), math.sqrt(2)


def _fma(factor: float, x: Value, y: Value, lanes: int) -> Value:
    constant = literal(factor, "float32", lanes)
    return intrinsic("llvm.fmuladd", "float32", lanes, constant, x, y)


def _input_2(d: Sequence[Value], lanes: int) -> list[Value]:
    del lanes
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _output_2(m: Sequence[Value], lanes: int) -> list[Value]:
    del lanes
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _input_4(d: Sequence[Value], lanes: int) -> list[Value]:
    even_a, odd_a = _fma(-2, d[2], d[4], lanes), _fma(-2, d[1], d[3], lanes)
    even_b, odd_b = _fma(-0.5, d[2], d[4], lanes), _fma(-0.5, d[1], d[3], lanes)
    return [
        _fma(-2.5, d[2], d[0] + d[4], lanes),
        _fma(_A, odd_a, even_a, lanes),
        _fma(-_A, odd_a, even_a, lanes),
        _fma(_B, odd_b, even_b, lanes),
        _fma(-_B, odd_b, even_b, lanes),
        _fma(-2.5, d[3], d[1] + d[5], lanes),
    ]


def _output_4(m: Sequence[Value], lanes: int) -> list[Value]:
    even_a, odd_a = m[1] + m[2], m[1] - m[2]
    even_b, odd_b = m[3] + m[4], m[3] - m[4]
    return [
        m[0] + even_a + even_b,
        _fma(_B, odd_b, literal(_A, "float32", lanes) * odd_a, lanes),
        _fma(2, even_b, literal(0.5, "float32", lanes) * even_a, lanes),
        _fma(2 * _B, odd_b, _fma(_A / 2, odd_a, m[5], lanes), lanes),
    ]


INPUT: Mapping[int, Transform] = {2: _input_2, 4: _input_4}
"""B^T of m + 2 values, by m."""

OUTPUT: Mapping[int, Transform] = {2: _output_2, 4: _output_4}
"""A^T of m + 2 values, by m."""

"""The code of recurrent products by digits: a row is cut into bytes, and blocks of sums are formed of them."""

from collections.abc import Callable

from tvm import tirx

from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.dot import DOTS
from budgetc_targets.kernels.recurrent_digits import DIGITS, UNIT, plane
from budgetc_targets.kernels.rows import Row
from budgetc_targets.kernels.writer import (
    Value,
    Writer,
    cast,
    integer,
    intrinsic,
    literal,
    reinterpret,
    splat,
)

_EXPONENT = 0x7F800000
_NAN = 0x7FC00000
_MANTISSA_BITS = 23
_LEAST = 32 << _MANTISSA_BITS
"""The exponent of states so small that their scale would leave the exponents; they lose digits instead."""
_HALF = 1 << (8 * DIGITS - 1)


class DigitProducts:
    """Digits and sums of so many rows at a time, in local memory."""

    def __init__(
        self, writer: Writer, chosen: Arithmetic, hidden: int, rows: int, vectors: int
    ) -> None:
        self.writer, self.chosen, self.lanes, self.rows = writer, chosen, chosen.lanes, rows
        self.plane = plane(hidden)
        self.row = Row(writer, hidden, chosen.lanes)
        self.digits = writer.local("digits", "uint8", rows * DIGITS * self.plane)
        self.scales = writer.local("scales", "float32", 2 * rows)
        self.acc = writer.local("whole", "int32", DIGITS * rows * vectors * chosen.lanes)

    def cut(self, n: int, source: Value, begin: Value) -> None:
        """A row of f32 as digits; its scale, and what makes NaN of sums where it holds no finite numbers."""
        w = self.writer

        def magnitude(j: Value, lanes: int) -> Value:
            bits = reinterpret(w.load(source, begin + j, lanes), "int32", lanes)
            return tirx.bitwise_and(bits, literal(0x7FFFFFFF, "int32", lanes))

        largest = w.let(f"largest{n}", self.row.reduce(0, magnitude, tirx.Max, "int32"))
        power = w.let(f"power{n}", tirx.bitwise_and(largest, integer(_EXPONENT)))
        own = w.let(f"own{n}", tirx.Max(power, integer(_LEAST)))
        shift = (8 * DIGITS - 2) << _MANTISSA_BITS
        whole = w.let(f"factor{n}", reinterpret(integer(254 << 23) + shift - own, "float32", 1))
        w.store(self.scales, 2 * n, reinterpret(own - shift, "float32", 1))
        endless = tirx.EQ(power, integer(_EXPONENT))
        spoilt = tirx.Select(endless, integer(_NAN), integer(0))
        w.store(self.scales, 2 * n + 1, reinterpret(spoilt, "float32", 1))
        for j, lanes in self.row.pieces(f"d{n}"):
            scaled = w.load(source, begin + j, lanes) * splat(whole, lanes)
            near = intrinsic("llvm.lrint", "int32", lanes, scaled)
            moved = near + literal(_HALF, "int32", lanes)
            number = w.hold(tirx.Min(moved, literal(2 * _HALF - 1, "int32", lanes)))
            for digit in range(DIGITS):
                part = tirx.shift_right(number, literal(8 * digit, "int32", lanes))
                at = (n * DIGITS + digit) * self.plane
                w.store(self.digits, at + j, cast(part, "uint8", lanes), lanes)

    def block(
        self,
        weights: tuple[Value, Value],
        added: tuple[Value, Value],
        vectors: int,
        store: Callable[[int, int, Value], None],
    ) -> None:
        """The sums of one block of units for every row.

        Args:
            weights: where they lie, packed: buffer and position.
            added: what is added to the sums of digits, likewise.
            vectors: of the block.
            store: takes row, vector and sums.
        """
        w, lanes, wide = self.writer, self.lanes, UNIT * self.lanes
        corrected = range(DIGITS - 1) if self.chosen.offset else range(DIGITS - 1, DIGITS)
        places = [
            (d, n, v) for d in range(DIGITS) for n in range(self.rows) for v in range(vectors)
        ]
        for d, n, v in places:
            start = literal(0, "int32", lanes)
            if d in corrected:
                start = w.load(added[0], added[1] + v * lanes, lanes)
            w.store(self.acc, self._place(d, n, v, vectors), start, lanes)
        with w.loop("q", self.plane // UNIT) as q:
            loaded = [
                w.hold(w.load(weights[0], weights[1] + (q * vectors + v) * wide, wide))
                for v in range(vectors)
            ]
            for d in range(DIGITS):
                for n in range(self.rows):
                    at = (n * DIGITS + d) * self.plane + q * UNIT
                    quad = reinterpret(w.load(self.digits, at, UNIT), "int32", 1)
                    taken = reinterpret(splat(quad, lanes), "uint8", wide)
                    for v in range(vectors):
                        place = self._place(d, n, v, vectors)
                        acc = w.load(self.acc, place, lanes)
                        total = DOTS[self.chosen.name](acc, taken, loaded[v])
                        w.store(self.acc, place, total, lanes)
        for n in range(self.rows):
            for v in range(vectors):
                store(n, v, self._sum(n, v, vectors))

    def _sum(self, n: int, v: int, vectors: int) -> Value:
        """The digits' sums together, from the lowest up, in the scale of the row."""
        w, lanes = self.writer, self.lanes
        value = None
        for digit in range(DIGITS):
            part = cast(
                w.load(self.acc, self._place(digit, n, v, vectors), lanes), "float32", lanes
            )
            unit = literal(float(1 << (8 * digit)), "float32", lanes)
            value = part if value is None else self._fused(part, unit, value)
        scale, spoilt = (splat(w.load(self.scales, 2 * n + i), lanes) for i in (0, 1))
        return self._fused(value, scale, spoilt)

    def _fused(self, a: Value, b: Value, c: Value) -> Value:
        return intrinsic("llvm.fmuladd", "float32", self.lanes, a, b, c)

    def _place(self, digit: int, n: int, v: int, vectors: int) -> int:
        return ((digit * self.rows + n) * vectors + v) * self.lanes

"""A tile of a product of unpacked matrices: rows x vectors of columns, in registers over the whole reduction."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tvm import tirx

from budgetc_targets.kernels.epilogue import powers
from budgetc_targets.kernels.writer import Value, Writer, integer, intrinsic, literal, splat
from budgetc_targets.task import Access

Finish = Callable[[Value, int, int, Value, int], None]
"""What becomes of a vector of sums: (accumulators, place among them, row of the tile, first column, lanes)."""


@dataclass(frozen=True)
class Matrix:
    """Where a matrix of floats lies: a buffer, the position of its first element, strides of rows and columns."""

    buffer: Value
    first: Value
    rows: int
    columns: int

    def below(self, row: Value) -> "Matrix":
        """The matrix from a row on."""
        return replace(self, first=self.first + row * self.rows)


def matrix_of(buffer: Value, access: Access, b: Value, h: Value) -> Matrix:
    """One of the matrices that a buffer holds as (b, h, rows, columns)."""
    first = b * access.strides[0] + h * access.strides[1]
    return Matrix(buffer, first, access.strides[2], access.strides[3])


class ProductTile:
    """Code for some rows of a product at once, columns in groups of so many vectors.

    Where the columns are no multiple of the lanes, the last vector overlaps the one before it; fewer columns than lanes
    take smaller vectors.
    """

    def __init__(
        self, writer: Writer, name: str, *, rows: int, vectors: int, lanes: int, columns: int
    ) -> None:
        self.writer, self.rows, self.vectors = writer, rows, vectors
        self.lanes, self.columns = lanes, columns
        self.small = (
            [(integer(at), part) for at, part in powers(columns)] if columns < lanes else []
        )
        self.slots = max(self.vectors, len(self.small))
        self.acc = self.writer.local(name, "float32", self.rows * self.slots * lanes)

    def multiply(self, left: Matrix, right: Matrix, depth: int, finish: Finish) -> None:
        """All columns of the tile's rows of left @ right, which are finished from one end to the other.

        Args:
            left: the rows, by the elements that are summed over.
            right: these by the columns, which lie side by side.
            depth: number of elements that are summed over.
            finish: is called with each vector of sums.
        """
        groups = -(-self.columns // (self.lanes * self.vectors)) if not self.small else 1
        with self.writer.loop("g", groups) as group:
            chosen = list(self.small)
            for v in range(0 if chosen else self.vectors):
                at = (group * self.vectors + v) * self.lanes
                if self.columns % self.lanes:
                    at = tirx.min(at, self.columns - self.lanes)
                chosen.append((at, self.lanes))
            self._group(left, right, depth, chosen, finish)

    def _group(
        self,
        left: Matrix,
        right: Matrix,
        depth: int,
        columns: list[tuple[Value, int]],
        finish: Finish,
    ) -> None:
        w = self.writer
        for r in range(self.rows):
            for v, (_, lanes) in enumerate(columns):
                w.store(self.acc, self._place(r, v), literal(0.0, "float32", lanes), lanes)
        with w.loop("k", depth) as k:
            line = right.first + k * right.rows
            loaded = [w.load(right.buffer, line + first, lanes) for first, lanes in columns]
            for r in range(self.rows):
                a = w.load(left.buffer, left.first + (r * left.rows + k * left.columns))
                for v, (_, lanes) in enumerate(columns):
                    acc = w.load(self.acc, self._place(r, v), lanes)
                    factors = (splat(a, lanes), loaded[v])
                    total = intrinsic("llvm.fmuladd", "float32", lanes, *factors, acc)
                    w.store(self.acc, self._place(r, v), total, lanes)
        for r in range(self.rows):
            for v, (first, lanes) in enumerate(columns):
                finish(self.acc, self._place(r, v), r, first, lanes)

    def _place(self, row: int, vector: int) -> int:
        return (row * self.slots + vector) * self.lanes

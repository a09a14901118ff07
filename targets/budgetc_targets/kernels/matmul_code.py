"""The code of matrix products of activations: register tiles over unpacked operands."""

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.epilogue import Epilogue, powers
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer, integer, intrinsic, literal, splat
from budgetc_targets.task import Task

Columns = list[tuple[Value, int]]
"""Vectors of columns of a tile: (first column, lanes)."""


def build(task: Task, lanes: int, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, lanes, point, name)
    batch, heads, rows, _ = task.output.shape
    jobs = (batch, heads, -(-rows // builder.rows))
    return spread(builder.writer, jobs, builder.tiles, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, lanes: int, point: Point, name: str) -> None:
        self.task, self.lanes = task, lanes
        self.vectors, self.rows = knob(point, "vectors"), knob(point, "pixels")
        self.writer = Writer(name)
        left, right = task.inputs
        self.left = self.writer.pointer("a", "float32", left.extent)
        self.right = self.writer.pointer("c", "float32", right.extent)
        self.epilogue = Epilogue(self.writer, task, channel_axis=3)
        columns = task.output.shape[3]
        self.small = (
            [(integer(at), part) for at, part in powers(columns)] if columns < lanes else []
        )
        self.slots = max(self.vectors, len(self.small))
        self.acc = self.writer.local("acc", "float32", self.rows * self.slots * lanes)

    def tiles(self, b: Value, h: Value, job: Value) -> None:
        """Some whole rows of the result, which are written from one end to the other; the last overlap."""
        rows, columns = self.task.output.shape[2:]
        row = job * self.rows
        if rows % self.rows:
            row = tirx.min(row, rows - self.rows)
        groups = -(-columns // (self.lanes * self.vectors)) if columns >= self.lanes else 1
        with self.writer.loop("g", groups) as group:
            chosen: Columns = list(self.small)
            for v in range(0 if chosen else self.vectors):
                at = (group * self.vectors + v) * self.lanes
                if columns % self.lanes:
                    at = tirx.min(at, columns - self.lanes)
                chosen.append((at, self.lanes))
            self._tile(b, h, row, self.rows, chosen)

    def _tile(self, b: Value, h: Value, row: Value, rows: int, columns: Columns) -> None:
        w, (left, right) = self.writer, self.task.inputs
        for r in range(rows):
            for v, (_, lanes) in enumerate(columns):
                w.store(self.acc, self._place(r, v), literal(0.0, "float32", lanes), lanes)
        from_left = b * left.strides[0] + h * left.strides[1] + row * left.strides[2]
        from_right = b * right.strides[0] + h * right.strides[1]
        with w.loop("k", left.shape[3]) as k:
            line = from_right + k * right.strides[2]
            loaded = [w.load(self.right, line + first, lanes) for first, lanes in columns]
            for r in range(rows):
                a = w.load(self.left, from_left + (r * left.strides[2] + k * left.strides[3]))
                for v, (_, lanes) in enumerate(columns):
                    acc = w.load(self.acc, self._place(r, v), lanes)
                    factors = (splat(a, lanes), loaded[v])
                    total = intrinsic("llvm.fmuladd", "float32", lanes, *factors, acc)
                    w.store(self.acc, self._place(r, v), total, lanes)
        for r in range(rows):
            for v, (first, lanes) in enumerate(columns):
                self.epilogue.store(self.acc, self._place(r, v), (b, h, row + r, first), lanes)

    def _place(self, row: int, vector: int) -> int:
        return (row * self.slots + vector) * self.lanes

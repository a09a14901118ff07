"""The code of matrix products of activations: register tiles over unpacked operands."""

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.product_tile import ProductTile, matrix_of
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer
from budgetc_targets.task import Task


def build(task: Task, lanes: int, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, lanes, point, name)
    batch, heads, rows, _ = task.output.shape
    jobs = (batch, heads, -(-rows // builder.tile.rows))
    return spread(builder.writer, jobs, builder.rows, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, lanes: int, point: Point, name: str) -> None:
        self.task = task
        self.writer = Writer(name)
        left, right = task.inputs
        self.left = self.writer.pointer("a", "float32", left.extent)
        self.right = self.writer.pointer("c", "float32", right.extent)
        self.epilogue = Epilogue(self.writer, task, channel_axis=3)
        self.tile = ProductTile(
            self.writer,
            "acc",
            rows=knob(point, "pixels"),
            vectors=knob(point, "vectors"),
            lanes=lanes,
            columns=task.output.shape[3],
        )

    def rows(self, b: Value, h: Value, job: Value) -> None:
        """Some whole rows of the result; the last overlap those before."""
        rows, step = self.task.output.shape[2], self.tile.rows
        row = job * step
        if rows % step:
            row = tirx.min(row, rows - step)
        left, right = self.task.inputs

        def finish(acc: Value, place: int, r: int, first: Value, lanes: int) -> None:
            self.epilogue.store(acc, place, (b, h, row + r, first), lanes)

        self.tile.multiply(
            matrix_of(self.left, left, b, h).below(row),
            matrix_of(self.right, right, b, h),
            left.shape[3],
            finish,
        )

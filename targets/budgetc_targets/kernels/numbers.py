"""The table of numbers that a kernel reads instead of literals, so that tasks which differ in them share its code."""

from budgetc_targets.expression import Number
from budgetc_targets.kernels.writer import Value, Writer, reinterpret, splat
from budgetc_targets.task import Task


class Numbers:
    """Declares the pointer to the table where the task has one, and reads from it."""

    def __init__(self, writer: Writer, task: Task) -> None:
        self._writer, self._count = writer, task.numbers
        self._table = writer.pointer("numbers", "float32", task.numbers) if task.numbers else None

    def last(self, count: int) -> list[Value]:
        """The last so many numbers, s32: the sizes of an open task."""
        positions = range(self._count - count, self._count)
        return [self(Number(position, "int32"), 1) for position in positions]

    def __call__(self, number: Number, lanes: int) -> Value:
        """A number in every lane, in its type."""
        assert self._table is not None, "BUG: the task has no table of numbers"
        value = self._writer.load(self._table, number.position)
        if number.dtype != "float32":
            value = reinterpret(value, number.dtype, 1)
        return splat(value, lanes)

"""The end of a kernel: the task's expression of accumulators and side inputs, stored strided."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from tvm import tirx

from budgetc_targets.expression import ACCUMULATOR, references
from budgetc_targets.kernels.evaluate import evaluate, narrow, widen
from budgetc_targets.kernels.numbers import Numbers
from budgetc_targets.kernels.writer import Value, Writer, integer, splat
from budgetc_targets.task import Access, Task


def powers(lanes: int) -> list[tuple[int, int]]:
    """A lane count as powers of two: (first lane, lanes)."""
    parts, first = [], 0
    while lanes:
        part = 1 << (lanes.bit_length() - 1)
        parts.append((first, part))
        first, lanes = first + part, lanes - part
    return parts


class Epilogue:
    """Declares the operand pointers and the output, and stores vectors of results along one axis."""

    def __init__(self, writer: Writer, task: Task, channel_axis: int) -> None:
        self._writer = writer
        self._task = task
        self._axis = channel_axis
        self._operands = [
            writer.pointer(f"operand{i}", a.dtype, a.extent) for i, a in enumerate(task.operands)
        ]
        self.numbers = Numbers(writer, task)
        self.strides: Sequence[int | Value] = task.output.strides
        self._output = writer.pointer("y", task.output.dtype, task.output.extent)
        self._used = sorted(set(references(task.expression)) - {ACCUMULATOR.index})

    def store(self, acc: Value, place: int, index: Sequence[Value], lanes: int) -> None:
        """Apply the expression to `lanes` accumulators from `place` and store them from `index` on.

        The lanes run along the channel axis.
        """
        accumulator = self._writer.load(acc, place, lanes)
        self.store_value(accumulator, index, lanes)

    def store_part(self, acc: Value, place: int, index: Sequence[Value], count: int) -> None:
        """The same for any count of lanes; nothing beyond them is read or written."""
        for first, lanes in powers(count):
            shifted = list(index)
            shifted[self._axis] = index[self._axis] + first
            self.store(acc, place + first, shifted, lanes)

    def store_value(self, accumulator: Value | None, index: Sequence[Value], lanes: int) -> None:
        """Apply the expression to a value in registers and store it."""
        self.write(self.value(accumulator, index, lanes), index, lanes)

    def value(
        self,
        accumulator: Value | None,
        index: Sequence[Value],
        lanes: int,
        raw: Mapping[int, Value] = MappingProxyType({}),
    ) -> Value:
        """The expression of a value in registers, in the output's type; `raw` are operands that were loaded before."""

        def operand(i: int) -> Value:
            if i == ACCUMULATOR.index:
                return accumulator
            if i in raw:
                return widen(raw[i], self._task.operands[i].dtype, lanes)
            return self.fetch(i, index, lanes)

        value = evaluate(self._task.expression, operand, self.numbers, lanes, self._writer.hold)
        return narrow(value, self._task.output.dtype, lanes)

    def copied(self, index: Sequence[Value], lanes: int) -> Value:
        """Operand 0 as it is, without widening."""
        return self._raw(0, index, lanes)

    def along(self, i: int, index: Sequence[Value], lanes: int) -> Value:
        """Elements of operand i that lie side by side in memory, from an index on."""
        return self._writer.load(self._operands[i], offset(self._task.operands[i], index), lanes)

    def write(self, value: Value, index: Sequence[Value], lanes: int) -> None:
        """Store a vector of the output's type at consecutive elements from `index` on."""
        self._writer.store(
            self._output, offset(self._task.output, index, self.strides), value, lanes
        )

    def fetch(self, i: int, index: Sequence[Value], lanes: int) -> Value:
        """Operand i at an index of the output, in its register type."""
        return widen(self._raw(i, index, lanes), self._task.operands[i].dtype, lanes)

    def _raw(self, i: int, index: Sequence[Value], lanes: int) -> Value:
        access, buffer = self._task.operands[i], self._operands[i]
        at = offset(access, index)
        stride = access.strides[self._axis]
        if lanes == 1:
            return self._writer.load(buffer, at)
        if stride == 0:
            return splat(self._writer.load(buffer, at), lanes)
        if stride == 1:
            return self._writer.load(buffer, at, lanes)
        gathered = [self._writer.load(buffer, at + lane * stride) for lane in range(lanes)]
        return tirx.Shuffle(gathered, list(range(lanes)))


def offset(
    access: Access, index: Sequence[Value], strides: Sequence[int | Value] | None = None
) -> Value:
    """The element offset of an index, by other strides than the access's where given; broadcast dimensions fall out."""
    total: Value = integer(0)
    for extent, stride, position in zip(
        access.shape, strides or access.strides, index, strict=True
    ):
        if extent > 1 and not (isinstance(stride, int) and stride == 0):
            total = position * stride + total
    return total

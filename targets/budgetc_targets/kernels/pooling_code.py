"""The code of pooling kernels: one window at a time, vectorised over channels."""

from math import prod

from budgetc_specs.capability import Capability
from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.evaluate import LOWEST, register_type, widen
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.writer import Value, Writer, cast, literal, splat
from budgetc_targets.task import Task

SHORT_SUMS = {"uint8": ("uint16", 257), "int8": ("int16", 255)}
"""16 bits in which so many elements are summed exactly; a vector then holds twice the channels."""


def build(task: Task, capability: Capability, name: str) -> Kernel:
    """The function for a task."""
    builder = _Builder(task, capability, name)
    batch, _, rows, _ = task.output.shape
    return spread(builder.writer, (batch, rows), builder.row, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, capability: Capability, name: str) -> None:
        self.task, self.writer = task, Writer(name, may_alias=task.may_alias)
        self.dtype = task.inputs[0].dtype
        self.mode = task.attribute("mode")
        self.pads = task.attribute("pads")
        # A maximum stays in its own type: a vector then holds four times the u8 channels.
        self.accumulator = self.dtype if self.mode == "max" else register_type(self.dtype)
        channels = task.output.shape[1]
        widest = capability.vector_bytes // 4
        short, most = SHORT_SUMS.get(self.dtype, ("", 0))
        if self.mode != "max" and prod(task.attribute("kernel")) <= most and widest > 1:
            self.accumulator, widest = short, 2 * widest
        if self.mode == "max" and self.dtype == "uint8" and _plain(task):
            widest *= 4
        self.lanes = min(widest, 1 << (channels.bit_length() - 1))
        while task.may_alias and channels % self.lanes:  # nothing is computed twice in place
            self.lanes //= 2
        self.x = self.writer.pointer("x", self.dtype, task.inputs[0].extent)
        self.epilogue = Epilogue(self.writer, task, channel_axis=1)
        self.acc = self.writer.local("acc", self.accumulator, self.lanes)

    def row(self, n: Value, h: Value) -> None:
        """One row of the output; a last vector of channels overlaps the one before it."""
        channels = self.task.output.shape[1]
        with (
            self.writer.loop("w", self.task.output.shape[3]) as column,
            self.writer.loop("c", -(-channels // self.lanes)) as block,
        ):
            channel = block * self.lanes
            if channels % self.lanes:
                channel = tirx.min(channel, channels - self.lanes)
            self._window(n, h, column, channel)

    def _window(self, n: Value, h: Value, column: Value, channel: Value) -> None:
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        (kh, kw), (sh, sw) = self.task.attribute("kernel"), self.task.attribute("stride")
        dh, dw = self.task.attribute("dilation")
        top, left, _, _ = self.pads
        first = LOWEST[self.dtype] if self.mode == "max" else 0
        w.store(self.acc, 0, literal(first, self.accumulator, lanes), lanes)
        a0, a1 = self._bounds(h * sh - top, kh, dh, x.shape[2])
        b0, b1 = self._bounds(column * sw - left, kw, dw, x.shape[3])
        origin = n * x.strides[0] + channel
        with w.loop("a", a1 - a0, a0) as a, w.loop("b", b1 - b0, b0) as b:
            row, pixel = h * sh - top + a * dh, column * sw - left + b * dw
            at = origin + row * x.strides[2] + pixel * x.strides[3]
            value = w.load(self.x, at, lanes)
            acc = w.load(self.acc, 0, lanes)
            if self.mode == "max":
                w.store(self.acc, 0, tirx.Max(acc, value), lanes)
            else:
                w.store(self.acc, 0, acc + self._widened(value), lanes)
        accumulator = w.load(self.acc, 0, lanes)
        if self.mode != "max" or not _plain(self.task):
            accumulator = widen(accumulator, self.accumulator, lanes)
        if self.mode == "mean":
            count = tirx.Cast("float32", (a1 - a0) * (b1 - b0))
            if register_type(self.accumulator) == "int32":
                accumulator = cast(accumulator, "float32", lanes)
            accumulator = tirx.Div(accumulator, splat(count, lanes))
        self.epilogue.store_value(accumulator, (n, channel, h, column), lanes)

    def _widened(self, value: Value) -> Value:
        """An element as the sum takes it."""
        return (
            value if self.accumulator == self.dtype else cast(value, self.accumulator, self.lanes)
        )

    def _bounds(
        self, start: Value, kernel: int, dilation: int, extent: int
    ) -> tuple[Value | int, Value | int]:
        """First and one past the last tap inside the input; plain numbers where nothing is padded."""
        if not any(self.pads):
            return 0, kernel
        low = tirx.max(tirx.floordiv(dilation - 1 - start, dilation), 0)
        high = tirx.min(tirx.floordiv(extent - start + dilation - 1, dilation), kernel)
        return low, high


def _plain(task: Task) -> bool:
    """Whether the expression is the accumulator itself, stored in the input's own type."""
    return task.expression == ACCUMULATOR and task.output.dtype == task.inputs[0].dtype

"""Max, average and global pooling over NHWC windows, on u8 and f32, vectorised over channels.

The accumulator handed to the expression is the maximum, or the sum over the window; an average's division is part of the
expression where the count is the same everywhere, and of the kernel where padding makes it differ.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Task

LOWEST = {"uint8": 0, "int8": -128, "float32": -3.4028234663852886e38}


class Pooling:
    """The pooling family. Attributes: mode max, sum or mean; kernel, stride, dilation, pads (top, left, bottom, right)."""

    kind: ClassVar[str] = "pooling"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Channels innermost in both tensors."""
        del capability
        x, y = task.inputs[0], task.output
        if x.dtype not in LOWEST:
            return f"elements of type {x.dtype}"
        if x.shape[1] > 1 and (x.strides[1] != 1 or y.strides[1] != 1):
            return "the channel is not the innermost dimension"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """One point: pooling is bound by memory."""
        del task, capability
        return [point()]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """No constants."""
        del task, capability, point, constants
        return []

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        return _Builder(task, capability, name).build()


class _Builder:
    def __init__(self, task: Task, capability: Capability, name: str) -> None:
        from budgetc_targets.kernels.epilogue import Epilogue
        from budgetc_targets.kernels.evaluate import register_type
        from budgetc_targets.kernels.writer import Writer

        self.task, self.writer = task, Writer(name, may_alias=task.may_alias)
        self.dtype = task.inputs[0].dtype
        self.mode = task.attribute("mode")
        self.pads = task.attribute("pads")
        # A maximum stays in its own type: a vector then holds four times the u8 channels.
        self.accumulator = self.dtype if self.mode == "max" else register_type(self.dtype)
        channels = task.output.shape[1]
        widest = capability.vector_bytes // 4
        if self.mode == "max" and self.dtype == "uint8" and _plain(task):
            widest *= 4
        self.lanes = min(widest, 1 << (channels.bit_length() - 1))
        self.x = self.writer.pointer("x", self.dtype, task.inputs[0].extent)
        self.epilogue = Epilogue(self.writer, task, channel_axis=1)
        self.acc = self.writer.local("acc", self.accumulator, self.lanes)

    def build(self) -> Kernel:
        w, (batch, _, rows, _) = self.writer, self.task.output.shape
        if self.task.parallel:
            begin, end = w.scalar("begin"), w.scalar("end")
            with w.loop("job", end - begin, begin) as job:
                self._row(job // rows, job % rows)
            return Kernel(w.finish(), batch * rows)
        with w.loop("n", batch) as n, w.loop("h", rows) as h:
            self._row(n, h)
        return Kernel(w.finish())

    def _row(self, n, h) -> None:  # type: ignore[no-untyped-def]
        from tvm import tirx

        channels = self.task.output.shape[1]
        with (
            self.writer.loop("w", self.task.output.shape[3]) as column,
            self.writer.loop("c", -(-channels // self.lanes)) as block,
        ):
            channel = block * self.lanes
            if channels % self.lanes:
                channel = tirx.min(channel, channels - self.lanes)
            self._window(n, h, column, channel)

    def _window(self, n, h, column, channel) -> None:  # type: ignore[no-untyped-def]
        from budgetc_targets.kernels.evaluate import widen
        from budgetc_targets.kernels.writer import literal
        from tvm import tirx

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
                w.store(self.acc, 0, acc + widen(value, self.dtype, lanes), lanes)
        accumulator = w.load(self.acc, 0, lanes)
        if self.mode == "mean":
            count = tirx.Cast("float32", (a1 - a0) * (b1 - b0))
            from budgetc_targets.kernels.writer import cast, splat

            if self.accumulator == "int32":
                accumulator = cast(accumulator, "float32", lanes)
            accumulator = tirx.Div(accumulator, splat(count, lanes))
        elif not _plain(self.task):
            accumulator = widen(accumulator, self.accumulator, lanes)
        self.epilogue.store_value(accumulator, (n, channel, h, column), lanes)

    def _bounds(self, start, kernel: int, dilation: int, extent: int):  # type: ignore[no-untyped-def]
        """First and one past the last tap inside the input; plain numbers where no padding is in play."""
        from tvm import tirx

        if not any(self.pads):
            return 0, kernel
        low = tirx.max(tirx.floordiv(dilation - 1 - start, dilation), 0)
        high = tirx.min(tirx.floordiv(extent - start + dilation - 1, dilation), kernel)
        return low, high


def _plain(task: Task) -> bool:
    """Whether the expression is the accumulator itself, stored in the input's own type."""
    from budgetc_targets.expression import ACCUMULATOR

    return task.expression == ACCUMULATOR and task.output.dtype == task.inputs[0].dtype

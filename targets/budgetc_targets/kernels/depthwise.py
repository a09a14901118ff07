"""Depthwise convolution, f32 and u8 x s8, register-blocked over pixels and channels; no im2col.

    y[n, c, h, w] = f(bias[c] + sum over a, b of x[n, c, h*sh + a*dh, w*sw + b*dw] * W[c, a, b])

The integer kernel interleaves four rows of a pixel column bytewise, so that one dot product takes four taps of every
lane's channel; a column is built once for all the output pixels of a tile that see it. A channel count that is no
multiple of the lanes ends with a vector that overlaps the one before it: its results are computed twice, equally.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.tiles import knob, point, split_row
from budgetc_targets.task import Task


def _dot_name(task: Task, capability: Capability) -> str:
    if task.inputs[0].dtype != "uint8":
        return "float"
    name = capability.int8_dot
    if name == "maddubs256" and task.attribute("weight_range") > 64:
        return "maddwd256"
    return name


def _lanes(task: Task, capability: Capability) -> int:
    name = _dot_name(task, capability)
    return capability.vector_bytes // 4 if name == "float" else int(name[-3:]) // 32


class Depthwise:
    """The depthwise family: as many filters as channels, one channel each."""

    kind: ClassVar[str] = "depthwise"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Activations must be NHWC and fill a vector at least."""
        x, y = task.inputs[0], task.output
        if x.dtype not in ("uint8", "float32"):
            return f"activations of type {x.dtype}"
        if x.shape[1] < _lanes(task, capability):
            return "fewer channels than lanes"
        if x.strides[1] != 1 or y.strides[1] != 1:
            return "the channel is not the innermost dimension"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """How many pixels of a row share their columns, a divisor of the width first."""
        width = task.output.shape[3]
        kh, kw = task.attribute("kernel")
        reserve = 6 + (kw if task.inputs[0].dtype == "uint8" else 1)
        most = max(1, min(width, capability.vector_registers - reserve))
        choices = sorted(
            range(1, min(most, 8) + 1), key=lambda p: (-(-width // p) * (1 + 2 / p), -p)
        )
        return [point(pixels=p) for p in choices[:4]]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (channels, kh, kw) as [kh / 4][kw][channel][4] (integer) or [kh][kw][channel]; bias (channels,)."""
        from budgetc_targets.kernels.dot import DOTS

        del point
        weight, bias = np.asarray(constants["weight"]), np.asarray(constants["bias"])
        channels, (kh, kw) = weight.shape[0], task.attribute("kernel")
        weight = weight.reshape(channels, kh, kw)
        if task.inputs[0].dtype != "uint8":
            return [np.ascontiguousarray(weight.transpose(1, 2, 0)), bias]
        offset = DOTS[_dot_name(task, capability)].offset
        sums = weight.astype(np.int64).sum(axis=(1, 2))
        quads = -(-kh // 4)
        padded = np.zeros((channels, quads * 4, kw), np.int8)
        padded[:, :kh] = weight
        packed = padded.reshape(channels, quads, 4, kw).transpose(1, 3, 0, 2)
        return [np.ascontiguousarray(packed), (bias + offset * sums).astype(np.int32)]

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        return _Builder(task, capability, point, name).build()


class _Builder:
    def __init__(self, task: Task, capability: Capability, point: Point, name: str) -> None:
        from budgetc_targets.kernels.dot import DOTS
        from budgetc_targets.kernels.epilogue import Epilogue
        from budgetc_targets.kernels.writer import Writer

        dot_name = _dot_name(task, capability)
        self.task, self.lanes = task, _lanes(task, capability)
        self.pixels = knob(point, "pixels")
        self.channels = task.output.shape[1]
        self.kh, self.kw = task.attribute("kernel")
        self.dot = None if dot_name == "float" else DOTS[dot_name]
        self.writer = Writer(name, may_alias=task.may_alias)
        taps = -(-self.kh // 4) * 4 if self.dot else self.kh
        self.x = self.writer.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        self.weights = self.writer.pointer(
            "weights", "int8" if self.dot else "float32", taps * self.kw * self.channels
        )
        accumulator = "int32" if self.dot else "float32"
        self.bias = self.writer.pointer("bias", accumulator, self.channels)
        self.epilogue = Epilogue(self.writer, task, channel_axis=1)
        self.acc = self.writer.local("acc", accumulator, self.pixels * self.lanes)

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

        blocks = -(-self.channels // self.lanes)
        for first, count, pixels in split_row(self.task.output.shape[3], self.pixels):
            with (
                self.writer.loop(f"c{first}", blocks) as block,
                self.writer.loop(f"t{first}", count) as t,
            ):
                channel = block * self.lanes
                if self.channels % self.lanes:
                    channel = tirx.min(channel, self.channels - self.lanes)
                self._tile(n, h, channel, t * pixels + first, pixels)

    def _tile(self, n, h, channel, column, pixels: int) -> None:  # type: ignore[no-untyped-def]
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        sh, sw = self.task.attribute("stride")
        start = w.load(self.bias, channel, lanes)
        for p in range(pixels):
            w.store(self.acc, p * lanes, start, lanes)
        origin = n * x.strides[0] + h * (sh * x.strides[2]) + column * (sw * x.strides[3]) + channel
        if self.dot:
            self._integer_taps(origin, channel, pixels)
        else:
            self._float_taps(origin, channel, pixels)
        for p in range(pixels):
            self.epilogue.store(self.acc, p * lanes, (n, channel, h, column + p), lanes)

    def _float_taps(self, origin, channel, pixels: int) -> None:  # type: ignore[no-untyped-def]
        from budgetc_targets.kernels.writer import intrinsic

        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        dh, dw = self.task.attribute("dilation")
        sw = self.task.attribute("stride")[1]
        for a in range(self.kh):
            for b in range(self.kw):
                weight = w.load(self.weights, (a * self.kw + b) * self.channels + channel, lanes)
                for p in range(pixels):
                    at = origin + (a * dh * x.strides[2] + (p * sw + b * dw) * x.strides[3])
                    value = w.load(self.x, at, lanes)
                    acc = w.load(self.acc, p * lanes, lanes)
                    result = intrinsic("llvm.fmuladd", "float32", lanes, value, weight, acc)
                    w.store(self.acc, p * lanes, result, lanes)

    def _integer_taps(self, origin, channel, pixels: int) -> None:  # type: ignore[no-untyped-def]
        assert self.dot
        w, lanes = self.writer, self.lanes
        dw, sw = self.task.attribute("dilation")[1], self.task.attribute("stride")[1]
        columns = sorted({p * sw + b * dw for p in range(pixels) for b in range(self.kw)})
        for quad in range(-(-self.kh // 4)):
            weights = [
                w.load(
                    self.weights,
                    (quad * self.kw + b) * (self.channels * 4) + channel * 4,
                    4 * lanes,
                )
                for b in range(self.kw)
            ]
            for column in columns:
                users = [
                    (p, b)
                    for p in range(pixels)
                    for b in range(self.kw)
                    if p * sw + b * dw == column
                ]
                taps = w.let(f"q{quad}_{column}", self._column(origin, quad, column))
                for p, b in users:
                    acc = w.load(self.acc, p * lanes, lanes)
                    value = self.dot.accumulate(acc, taps, weights[b])
                    w.store(self.acc, p * lanes, value, lanes)

    def _column(self, origin, quad: int, column: int):  # type: ignore[no-untyped-def]
        """Four rows of one pixel's channels, interleaved; rows past the kernel repeat the last (their weight is 0)."""
        from tvm import tirx

        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        dh = self.task.attribute("dilation")[0]
        rows = []
        for r in range(4):
            a = min(quad * 4 + r, self.kh - 1)
            at = origin + (a * dh * x.strides[2] + column * x.strides[3])
            rows.append(w.load(self.x, at, lanes))
        order = [r * lanes + lane for lane in range(lanes) for r in range(4)]
        return tirx.Shuffle(rows, order)

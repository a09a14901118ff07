"""The code of depthwise kernels of floats: tiles of rows and pixels whose taps share what they read."""

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.depthwise_floats import FloatTile, job_rows
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.tiles import knob, split_row
from budgetc_targets.kernels.writer import Value, Writer, intrinsic
from budgetc_targets.task import Task


def build(task: Task, lanes: int, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, lanes, point, name)
    jobs = (task.output.shape[0], job_rows(task, builder.rows))
    return spread(builder.writer, jobs, builder.band, parallel=task.parallel)


class _Builder:
    """Channels are the innermost loop: neighbouring ones lie side by side, so every line of the cache is read whole.

    With a row's pixels inside, each would take one vector of channels, which for many channels all fall into the same
    few sets of the cache.
    """

    def __init__(self, task: Task, lanes: int, point: Point, name: str) -> None:
        self.task, self.lanes = task, lanes
        self.rows, self.pixels = knob(point, "lines"), knob(point, "pixels")
        self.channels = task.output.shape[1]
        self.tile = FloatTile(task, self.rows, self.pixels)
        self.writer = writer = Writer(name, may_alias=task.may_alias)
        self.x = writer.pointer("x", "float32", task.inputs[0].extent)
        taps = self.tile.kernel[0] * self.tile.kernel[1]
        self.weights = writer.pointer("weights", "float32", taps * self.channels)
        self.bias = writer.pointer("bias", "float32", self.channels)
        self.epilogue = Epilogue(writer, task, channel_axis=1)
        self.acc = writer.local("acc", "float32", self.rows * self.pixels * lanes)

    def band(self, n: Value, job: Value) -> None:
        """Some rows of the output. The last ones, and a row's last pixels, overlap those before them."""
        w, (height, width) = self.writer, self.task.output.shape[2:]
        h = job * self.rows
        if height % self.rows:
            h = tirx.min(h, height - self.rows)
        if self.task.may_alias:
            for first, count, pixels in split_row(width, self.pixels):
                with w.loop(f"t{first}", count) as t:
                    self._all_channels(n, h, t * pixels + first, pixels)
            return
        with w.loop("t", -(-width // self.pixels)) as t:
            column = t * self.pixels
            if width % self.pixels:
                column = tirx.min(column, width - self.pixels)
            self._all_channels(n, h, column, self.pixels)

    def _all_channels(self, n: Value, h: Value, column: Value, pixels: int) -> None:
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        sh, sw = self.task.attribute("stride")
        corner = n * x.strides[0] + h * (sh * x.strides[2]) + column * (sw * x.strides[3])
        origin = w.let(f"origin{pixels}", corner)
        with w.loop("c", -(-self.channels // lanes)) as block:
            channel = block * lanes
            if self.channels % lanes:
                channel = tirx.min(channel, self.channels - lanes)
            self._sums(origin + channel, channel, pixels)
            for r in range(self.rows):
                for p in range(pixels):
                    index = (n, channel, h + r, column + p)
                    self.epilogue.store(self.acc, self._place(r, p), index, lanes)

    def _sums(self, origin: Value, channel: Value, pixels: int) -> None:
        """Bias in, then every element of the input once, into all sums that it is part of."""
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        start = w.hold(w.load(self.bias, channel, lanes))
        for r in range(self.rows):
            for p in range(pixels):
                w.store(self.acc, self._place(r, p), start, lanes)
        for (row, column), users in self.tile.readers(pixels).items():
            at = origin + (row * x.strides[2] + column * x.strides[3])
            value = w.hold(w.load(self.x, at, lanes))
            for r, p, tap in users:
                weight = w.load(self.weights, channel + tap * self.channels, lanes)
                acc = w.load(self.acc, self._place(r, p), lanes)
                total = intrinsic("llvm.fmuladd", "float32", lanes, value, weight, acc)
                w.store(self.acc, self._place(r, p), total, lanes)

    def _place(self, row: int, pixel: int) -> int:
        return (row * self.pixels + pixel) * self.lanes

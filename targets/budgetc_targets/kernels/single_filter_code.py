"""The code of single-filter convolutions: an accumulator for each pixel, and their lanes added up together."""

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.dot import DOTS
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.single_filter import run_of, starts_of, vector
from budgetc_targets.kernels.writer import Value, Writer, intrinsic, literal, splat
from budgetc_targets.task import Task


def build(task: Task, arithmetic: Arithmetic, name: str) -> Kernel:
    """The function for a task."""
    builder = _Builder(task, arithmetic, name)
    batch, _, rows, _ = task.output.shape
    return spread(builder.writer, (batch, rows), builder.row, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, arithmetic: Arithmetic, name: str) -> None:
        self.task, self.arithmetic, self.lanes = task, arithmetic, arithmetic.lanes
        self.kh = task.attribute("kernel")[0]
        self.starts = starts_of(run_of(task), vector(arithmetic))
        self.writer = writer = Writer(name)
        self.sum_type, self.dot = arithmetic.sums, DOTS.get(arithmetic.name)
        self.x = writer.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        weights = self.kh * len(self.starts) * vector(arithmetic)
        self.weights = writer.pointer("weights", arithmetic.weights, weights)
        self.bias = writer.pointer("bias", self.sum_type, 1)
        self.epilogue = Epilogue(writer, task, channel_axis=3)
        self.acc = writer.local("acc", self.sum_type, self.lanes * self.lanes)

    def row(self, n: Value, h: Value) -> None:
        """One row of the output, as many pixels at a time as there are lanes."""
        width, lanes = self.task.output.shape[3], self.lanes
        with self.writer.loop("t", -(-width // lanes)) as t:
            column = t * lanes
            if width % lanes:
                column = tirx.min(column, width - lanes)
            self._tile(n, h, column)

    def _tile(self, n: Value, h: Value, column: Value) -> None:
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        sh, sw = self.task.attribute("stride")
        dh = self.task.attribute("dilation")[0]
        for p in range(lanes):
            w.store(self.acc, p * lanes, literal(0, self.sum_type, lanes), lanes)
        origin = n * x.strides[0] + h * (sh * x.strides[2]) + column * (sw * x.strides[3])
        wide, count = vector(self.arithmetic), len(self.starts)
        with w.loop("kh", self.kh) as kh:
            line = origin + kh * (dh * x.strides[2])
            if count > 1:
                with w.loop("r", count - 1) as r:
                    self._multiply((kh * count + r) * wide, line + r * wide)
            self._multiply((kh * count + count - 1) * wide, line + self.starts[-1])
        sums = [w.load(self.acc, p * lanes, lanes) for p in range(lanes)]
        total = self._transposed_sum(sums) + splat(w.load(self.bias, 0), lanes)
        w.store(self.acc, 0, total, lanes)
        self.epilogue.store(self.acc, 0, (n, tirx.IntImm("int32", 0), h, column), lanes)

    def _multiply(self, weights_at: Value, x_at: Value) -> None:
        """One vector of the run, for every pixel."""
        w, lanes, wide = self.writer, self.lanes, vector(self.arithmetic)
        step = self.task.attribute("stride")[1] * self.task.inputs[0].strides[3]
        weight = w.hold(w.load(self.weights, weights_at, wide))
        for p in range(lanes):
            x = w.load(self.x, x_at + p * step, wide)
            acc = w.load(self.acc, p * lanes, lanes)
            if self.dot:
                value = self.dot(acc, x, weight)
            else:
                value = intrinsic("llvm.fmuladd", "float32", lanes, x, weight, acc)
            w.store(self.acc, p * lanes, value, lanes)

    def _transposed_sum(self, sums: list[Value]) -> Value:
        """Lane p of the result is the sum of all lanes of vector p; neighbours are added level by level."""
        even = list(range(0, 2 * self.lanes, 2))
        odd = [lane + 1 for lane in even]
        while len(sums) > 1:
            held = [self.writer.hold(s) for s in sums]
            pairs = [held[i : i + 2] for i in range(0, len(held), 2)]
            sums = [tirx.Shuffle(p, even) + tirx.Shuffle(p, odd) for p in pairs]
        return sums[0]

"""The code of depthwise kernels of integers by taps: rows, register tiles, and ways to bring taps into lane order."""

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.dot import DOTS, pair_sum, widening_product
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.taps import Group, tap_groups, taps_per_group
from budgetc_targets.kernels.tiles import knob, split_row
from budgetc_targets.kernels.writer import Value, Writer, cast, reinterpret
from budgetc_targets.task import Task

Place = tuple[tuple[int, int] | None, ...]
"""Where a group's activations lie, as (row, column) of the input from a tile's origin."""


def build(task: Task, arithmetic: Arithmetic, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, arithmetic, point, name)
    batch, _, rows, _ = task.output.shape
    return spread(builder.writer, (batch, rows), builder.row, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, arithmetic: Arithmetic, point: Point, name: str) -> None:
        self.task, self.arithmetic, self.lanes = task, arithmetic, arithmetic.lanes
        self.pixels = knob(point, "pixels")
        self.channels = task.output.shape[1]
        self.unit = taps_per_group(arithmetic)
        self.groups = tap_groups(task.attribute("kernel"), self.unit)
        self.writer = writer = Writer(name, may_alias=task.may_alias)
        self.x = writer.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        weights = len(self.groups) * self.channels * self.unit
        self.weights = writer.pointer("weights", "int8", weights)
        self.bias = writer.pointer("bias", "int32", self.channels)
        self.epilogue = Epilogue(writer, task, channel_axis=1)
        self.acc = writer.local("acc", "int32", self.pixels * self.lanes)

    def row(self, n: Value, h: Value) -> None:
        """One row of the output."""
        w, lanes, width = self.writer, self.lanes, self.task.output.shape[3]
        with w.loop("c", -(-self.channels // lanes)) as block:
            channel = block * lanes
            if self.channels % lanes:
                channel = tirx.min(channel, self.channels - lanes)
            if self.task.may_alias:
                for first, count, pixels in split_row(width, self.pixels):
                    with w.loop(f"t{first}", count) as t:
                        self._tile(n, h, channel, t * pixels + first, pixels)
                return
            with w.loop("t", -(-width // self.pixels)) as t:
                column = t * self.pixels
                if width % self.pixels:
                    column = tirx.min(column, width - self.pixels)
                self._tile(n, h, channel, column, self.pixels)

    def _tile(self, n: Value, h: Value, channel: Value, column: Value, pixels: int) -> None:
        """Some pixels of one vector of channels: bias in, every tap, the epilogue out."""
        w, lanes, x = self.writer, self.lanes, self.task.inputs[0]
        sh, sw = self.task.attribute("stride")
        start = w.load(self.bias, channel, lanes)
        for p in range(pixels):
            w.store(self.acc, p * lanes, start, lanes)
        origin = n * x.strides[0] + h * (sh * x.strides[2]) + column * (sw * x.strides[3]) + channel
        for band in sorted({_row_of(group) for group in self.groups}):
            self._band(band, origin, channel, pixels)
        for p in range(pixels):
            self.epilogue.store(self.acc, p * lanes, (n, channel, h, column + p), lanes)

    def _band(self, band: int, origin: Value, channel: Value, pixels: int) -> None:
        """All groups whose first taps share a row; what is brought into order serves every user at once."""
        weights = {
            g: self._weight(g, channel)
            for g, group in enumerate(self.groups)
            if _row_of(group) == band
        }
        users: dict[Place, list[tuple[int, int]]] = {}
        for g in weights:
            for p in range(pixels):
                users.setdefault(self._place(self.groups[g], p), []).append((p, g))
        for i, place in enumerate(sorted(users, key=_column_of)):
            taken = self.writer.let(f"x{band}_{i}", self._activations(origin, place))
            for p, g in users[place]:
                self._accumulate(p, taken, weights[g])

    def _weight(self, g: int, channel: Value) -> Value:
        wide = self.unit * self.lanes
        at = g * (self.channels * self.unit) + channel * self.unit
        weight = self.writer.load(self.weights, at, wide)
        if self.unit < 4:
            return self.writer.let(f"w{g}", cast(weight, "int16", wide))
        return weight

    def _place(self, group: Group, pixel: int) -> Place:
        dh, dw = self.task.attribute("dilation")
        step = pixel * self.task.attribute("stride")[1]
        return tuple((tap[0] * dh, step + tap[1] * dw) if tap else None for tap in group)

    def _activations(self, origin: Value, place: Place) -> Value:
        """The vector of one place, lane by lane the group's activations side by side."""
        x, lanes = self.task.inputs[0], self.lanes
        rows = []
        for at in place:
            row, column = at or _last(place)
            index = origin + (row * x.strides[2] + column * x.strides[3])
            rows.append(self.writer.load(self.x, index, lanes))
        if self.unit == 1:
            return cast(rows[0], "int16", lanes)
        if self.unit == 2 and place[1] is None:
            return reinterpret(cast(rows[0], "int32", lanes), "int16", 2 * lanes)
        if self.unit == 2:
            return cast(_interleave(rows, lanes), "int16", 2 * lanes)
        if lanes > 8:  # one permutation of bytes where the machine has it
            return _interleave(rows, lanes)
        halves = [reinterpret(_interleave(rows[i : i + 2], lanes), "int16", lanes) for i in (0, 2)]
        return reinterpret(_interleave(halves, lanes), "uint8", 4 * lanes)

    def _accumulate(self, pixel: int, x: Value, weight: Value) -> None:
        lanes = self.lanes
        acc = self.writer.load(self.acc, pixel * lanes, lanes)
        if self.unit == 1:
            value = widening_product(acc, x, weight, lanes)
        elif self.unit == 2:
            value = pair_sum(self.arithmetic.kind, acc, x, weight, lanes)
        else:
            value = DOTS[self.arithmetic.name](acc, x, weight)
        self.writer.store(self.acc, pixel * lanes, value, lanes)


def _row_of(group: Group) -> int:
    assert group[0], "BUG: a group begins with a tap"
    return group[0][0]


def _column_of(place: Place) -> tuple[int, int]:
    assert place[0], "BUG: a group begins with a tap"
    return place[0][1], place[0][0]


def _last(place: Place) -> tuple[int, int]:
    """The last tap of a place: what a tap with a weight of zero may as well read."""
    return [at for at in place if at][-1]


def _interleave(vectors: list[Value], lanes: int) -> Value:
    """Element 0 of every vector, then element 1 of every vector, and so on."""
    count = len(vectors)
    return tirx.Shuffle(vectors, [r * lanes + lane for lane in range(lanes) for r in range(count)])

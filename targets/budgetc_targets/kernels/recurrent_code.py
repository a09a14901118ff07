"""The code of recurrent layers: a loop over steps around products of vectors by a matrix and sweeps over the units."""

from collections.abc import Callable, Sequence

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.kernels.epilogue import offset
from budgetc_targets.kernels.evaluate import evaluate
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.numbers import Numbers
from budgetc_targets.kernels.recurrent import Blocks
from budgetc_targets.kernels.recurrent_digits import plane
from budgetc_targets.kernels.recurrent_digits_code import DigitProducts
from budgetc_targets.kernels.rows import Row
from budgetc_targets.kernels.writer import Value, Writer, cast, integer, intrinsic, literal, splat
from budgetc_targets.recurrence import Cell
from budgetc_targets.task import Task


def build(task: Task, lanes: int, rows: int, blocks: Sequence[Blocks], name: str) -> Kernel:
    """The function for a task.

    Args:
        task: the layer.
        lanes: of a vector.
        rows: sequences of the batch that go side by side.
        blocks: how the sums of each stage are formed.
        name: of the function.
    """
    return _Builder(task, lanes, rows, blocks, name).kernel()


class _Builder:
    """Scratch memory holds the working rows and the sums of each sequence, then weights that are packed here.

    Where the units are no multiple of the lanes, it also holds what the input gives to the gates at a step, and the
    columns: all in whole vectors, so that the code of the cell stands there once, without tails.
    """

    def __init__(
        self, task: Task, lanes: int, rows: int, blocks: Sequence[Blocks], name: str
    ) -> None:
        self.task, self.lanes, self.tile, self.blocks = task, lanes, rows, blocks
        self.cells: Sequence[Cell] = task.attribute("cells")
        self.cell = self.cells[0]
        self.given, *others = task.inputs
        self.steps, self.batch, self.directions, _, self.hidden = self.given.shape
        self.writer = w = Writer(name)
        pointers = [w.pointer(f"x{i}", a.dtype, a.extent) for i, a in enumerate(task.inputs)]
        self.x = pointers.pop(0)
        self.sources = list(zip(others, pointers, strict=True))
        starts = len(task.attribute("initial"))
        ends = len(others) - task.attribute("lengths") - task.attribute("computed")
        self.initial = dict(zip(task.attribute("initial"), self.sources[:starts], strict=True))
        self.columns = self.sources[starts:ends]
        self.numbers = Numbers(w, task)
        self.row = Row(w, self.hidden, lanes)
        self.length = -(-self.hidden // lanes) * lanes
        self.copied = self.hidden % lanes != 0
        self.rows = self.cell.rows + (self.cell.gates if self.copied else 0)
        # The sums of a gate are read in whole vectors, and those of the last one end anywhere.
        sums = max(b.count * b.vectors for b in blocks) + self.copied
        self.place = self.rows * self.length + sums * lanes
        copies = len(self.columns) if self.copied else 0
        self.area = rows * self.place + copies * self.length
        self.jobs = (self.directions, -(-self.batch // rows))
        self.computed = task.attribute("computed")
        self.parallel = task.parallel and not self.computed and self.jobs[0] * self.jobs[1] > 1
        areas = self.jobs[0] * self.jobs[1] if self.parallel else 1
        sizes = [self._matrix(number) * self.directions for number in range(len(blocks))]
        starts_at = [areas * self.area + sum(sizes[:number]) for number in range(len(blocks))]
        total = areas * self.area + (sum(sizes) if self.computed else 0)
        self.digits: DigitProducts | None = None
        self.added: list[Value] = []
        if blocks[0].digits:
            most = max(b.vectors for b in blocks)
            self.digits = DigitProducts(w, blocks[0].digits, self.hidden, rows, most)
        packed = []
        for i, size in enumerate([] if self.computed else sizes):
            packed.append(w.pointer(f"r{i}", task.attribute("weight_type"), size))
            if self.digits:
                units = blocks[i].count * blocks[i].vectors * lanes
                self.added.append(w.pointer(f"added{i}", "int32", self.directions * units))
        self.y = w.pointer("y", "float32", task.output.extent)
        self.scratch = w.pointer("scratch", "float32", total)
        self.bytes = -(-4 * total // 64) * 64
        self.weights = (
            [(self.scratch, at) for at in starts_at]
            if self.computed
            else [(pointer, 0) for pointer in packed]
        )

    def kernel(self) -> Kernel:
        if self.computed:
            self._pack()
        made = spread(self.writer, self.jobs, self._sequences, parallel=self.parallel)
        return Kernel(made.function, made.tasks, self.bytes)

    def _matrix(self, number: int) -> int:
        """Elements of a stage's packed weights in one direction."""
        blocks = self.blocks[number]
        depth = plane(self.hidden) if blocks.digits else self.hidden
        return blocks.count * depth * blocks.vectors * self.lanes

    def _pack(self) -> None:
        """Computed weights into the order in which they are read."""
        w = self.writer
        access, source = self.sources[-1]
        for number, stage in enumerate(self.cell.stages):
            blocks, (target, at) = self.blocks[number], self.weights[number]
            width = blocks.vectors * self.lanes
            units = len(stage.gates) * self.hidden

            def place(
                d: Value,
                k: Value,
                unit: Value,
                blocks: Blocks = blocks,
                width: int = width,
                at: int = at,
            ) -> Value:
                block = (d * blocks.count + unit // width) * self.hidden + k
                return block * width + unit % width + at

            with w.loop("d", self.directions) as d, w.loop("k", self.hidden) as k:
                for position, gate in enumerate(stage.gates):
                    with w.loop("u", self.hidden) as u:
                        found = w.load(source, offset(access, (d, integer(gate), u, k)))
                        w.store(target, place(d, k, position * self.hidden + u), found)
                with w.loop("u", blocks.count * width - units, units) as u:
                    w.store(target, place(d, k, u), literal(0.0, "float32"))

    def _sequences(self, d: Value, tile: Value) -> None:
        """All steps of the sequences of a tile; the last tile overlaps the one before it."""
        w = self.writer
        first = tile * self.tile
        if self.batch % self.tile:
            first = tirx.min(first, self.batch - self.tile)
        base: Value = integer(0)
        if self.parallel:
            base = (d * self.jobs[1] + tile) * self.area
        self._begin(d, first, base)
        length: Value = integer(self.steps)
        ragged, sequence = self.task.attribute("lengths"), self.task.attribute("sequence")
        if ragged:
            access, source = self.sources[-1 - self.computed]
            given = w.load(source, offset(access, (first,)))
            length = w.let("length", tirx.max(tirx.min(given, integer(self.steps)), integer(0)))
        with w.loop("s", length if ragged else self.steps) as s:
            t = s
            if self.directions > 1:
                t = s + d * (length - 1 - s * 2)
            elif self.task.attribute("reverse"):
                t = length - 1 - s
            if self.copied:
                self._receive(t, d, first, base)
            for number in range(len(self.cell.stages)):
                self._product(number, d, base)
                self._update(number, t, d, first, base)
            if sequence and self.copied:
                self._hand_out(t, d, first, base)
        if ragged and sequence:
            with w.loop("s", integer(self.steps) - length, length) as s:
                for j, lanes in self.row.pieces("j"):
                    zero = literal(0.0, "float32", lanes)
                    w.store(self.y, offset(self.task.output, (s, d, first, j)), zero, lanes)
        self._finish(d, first, base)
        if ragged:
            with w.when(tirx.EQ(length, integer(0))):
                self._finish(d, first, base, empty=True)

    def _row(self, base: Value, n: Value | int, row: Value | int) -> Value:
        """Where a sequence's working row begins, or behind these what was given to one of its gates."""
        return base + n * self.place + row * self.length

    def _sums(self, base: Value, n: Value | int) -> Value:
        """Where the sums of a sequence begin, gate after gate."""
        return base + n * self.place + self.rows * self.length

    def _column(self, base: Value, index: int) -> Value:
        """Where the copy of a column begins."""
        return base + self.tile * self.place + index * self.length

    def _begin(self, d: Value, first: Value, base: Value) -> None:
        """States are zero or what the task brings; beyond copies all is zero, since a denormal there costs time."""
        count = self.place if self.copied else self.cell.states * self.length
        with self.writer.loop("n", self.tile) as n:
            self._clear(self._row(base, n, 0), count)
            for row, (access, source) in self.initial.items():
                begin = offset(access, (d, first + n, integer(0)))
                self._copy(source, begin, self._row(base, n, row))
        if self.copied and self.columns:
            self._clear(self._column(base, 0), len(self.columns) * self.length)
            for index, (access, source) in enumerate(self.columns):
                self._copy(source, offset(access, (d, integer(0))), self._column(base, index))

    def _clear(self, begin: Value, count: int) -> None:
        with self.writer.loop("z", count // self.lanes) as z:
            zero = literal(0.0, "float32", self.lanes)
            self.writer.store(self.scratch, begin + z * self.lanes, zero, self.lanes)

    def _copy(self, source: Value, begin: Value, to: Value) -> None:
        """The units of something side by side into scratch memory."""
        for j, lanes in self.row.pieces("j"):
            value = self.writer.load(source, begin + j, lanes)
            self.writer.store(self.scratch, to + j, value, lanes)

    def _receive(self, t: Value, d: Value, first: Value, base: Value) -> None:
        """What the input gives to the gates at a step, into scratch memory."""
        w, before = self.writer, self.cell.rows
        with w.loop("n", self.tile) as n, w.loop("g", self.cell.gates) as g:
            begin = offset(self.given, (t, first + n, d, g, integer(0)))
            self._copy(self.x, begin, self._row(base, n, before + g))

    def _hand_out(self, t: Value, d: Value, first: Value, base: Value) -> None:
        """The result of a step."""
        w = self.writer
        with w.loop("n", self.tile) as n:
            for j, lanes in self.row.pieces("j"):
                value = w.load(self.scratch, self._row(base, n, 0) + j, lanes)
                w.store(self.y, offset(self.task.output, (t, d, first + n, j)), value, lanes)

    def _finish(self, d: Value, first: Value, base: Value, *, empty: bool = False) -> None:
        """Hand out the last values of the rows; those of a sequence without steps are zero, as in onnxruntime."""
        w = self.writer
        slot = self.steps if self.task.attribute("sequence") else 0
        with w.loop("n", self.tile) as n:
            for position, row in enumerate(self.task.attribute("finals")):
                for j, lanes in self.row.pieces("j"):
                    value = literal(0.0, "float32", lanes)
                    if not empty:
                        value = w.load(self.scratch, self._row(base, n, row) + j, lanes)
                    index = (integer(slot + position), d, first + n, j)
                    w.store(self.y, offset(self.task.output, index), value, lanes)

    def _product(self, number: int, d: Value, base: Value) -> None:
        """The sums of a stage's gates, all units, for every sequence of the tile."""
        if self.digits:
            self._digit_product(self.digits, number, d, base)
            return
        w, stage, blocks = self.writer, self.cell.stages[number], self.blocks[number]
        lanes, hidden, chains = self.lanes, self.hidden, blocks.chains
        weights, at = self.weights[number]
        kind = "float32" if self.computed else self.task.attribute("weight_type")
        count = blocks.vectors
        acc = w.local(f"acc{number}", "float32", chains * self.tile * count * lanes)

        def place(chain: int, n: int, vector: int) -> int:
            return ((chain * self.tile + n) * count + vector) * lanes

        def sum_of(n: int, vector: int) -> Value:
            parts = [w.load(acc, place(chain, n, vector), lanes) for chain in range(chains)]
            while len(parts) > 1:
                parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=True)]
            return parts[0]

        with w.loop("b", blocks.count) as b:
            for slot in range(chains * self.tile * count):
                w.store(acc, slot * lanes, literal(0.0, "float32", lanes), lanes)
            block = d * self._matrix(number) + b * (hidden * count * lanes) + at
            with w.loop("k", hidden // chains) as k:
                for chain in range(chains):
                    unit = k * chains + chain
                    factors = [
                        w.load(self.scratch, self._row(base, n, stage.source) + unit)
                        for n in range(self.tile)
                    ]
                    for vector in range(count):
                        where = block + (unit * count + vector) * lanes
                        weight = w.load(weights, where, lanes)
                        if kind == "int8":
                            weight = w.hold(cast(weight, "float32", lanes))
                        for n, factor in enumerate(factors):
                            total = w.load(acc, place(chain, n, vector), lanes)
                            product = (splat(factor, lanes), weight, total)
                            added = intrinsic("llvm.fmuladd", "float32", lanes, *product)
                            w.store(acc, place(chain, n, vector), added, lanes)
            for n in range(self.tile):
                for vector in range(count):
                    to = self._sums(base, n) + (b * count + vector) * lanes
                    w.store(self.scratch, to, sum_of(n, vector), lanes)

    def _digit_product(self, products: DigitProducts, number: int, d: Value, base: Value) -> None:
        """The same by digits of the rows."""
        w, blocks, source = self.writer, self.blocks[number], self.cell.stages[number].source
        for n in range(self.tile):
            products.cut(n, self.scratch, self._row(base, n, source))
        width, matrix = blocks.vectors * self.lanes, self._matrix(number)
        with w.loop("b", blocks.count) as b:

            def store(n: int, vector: int, value: Value) -> None:
                to = self._sums(base, n) + b * width + vector * self.lanes
                w.store(self.scratch, to, value, self.lanes)

            weights, _ = self.weights[number]
            at = d * matrix + b * (matrix // blocks.count)
            added = (self.added[number], (d * blocks.count + b) * width)
            products.block((weights, at), added, blocks.vectors, store)

    def _update(self, number: int, t: Value, d: Value, first: Value, base: Value) -> None:
        """What the stage makes of its sums, by the cell of the direction."""
        if all(cell == self.cell for cell in self.cells):
            self._sweep(self.cell, number, t, d, first, base)
            return
        for direction, cell in enumerate(self.cells):
            with self.writer.when(tirx.EQ(d, integer(direction))):
                self._sweep(cell, number, t, d, first, base)

    def _sweep(
        self, cell: Cell, number: int, t: Value, d: Value, first: Value, base: Value
    ) -> None:
        w, lanes = self.writer, self.lanes
        with w.loop("n", self.tile) as n, w.loop("j", -(-self.hidden // lanes)) as vector:
            j = vector * lanes
            read = self._reader(cell, number, (t, d, first, n, j), base)
            for row, expression in cell.stages[number].updates:
                value = evaluate(expression, read, self.numbers, lanes, w.hold)
                w.store(self.scratch, self._row(base, n, row) + j, value, lanes)
            last = number == len(cell.stages) - 1
            if last and self.task.attribute("sequence") and not self.copied:
                result = w.load(self.scratch, self._row(base, n, 0) + j, lanes)
                w.store(self.y, offset(self.task.output, (t, d, first + n, j)), result, lanes)

    def _reader(
        self, cell: Cell, number: int, index: tuple[Value, ...], base: Value
    ) -> Callable[[int], Value]:
        """Gives a vector of what an expression of the cell refers to, from unit j on."""
        w, lanes = self.writer, self.lanes
        t, d, first, n, j = index

        def read(reference: int) -> Value:
            if reference < cell.rows:
                return w.load(self.scratch, self._row(base, n, reference) + j, lanes)
            gate = reference - cell.rows
            if gate < cell.gates:
                at = cell.stages[number].gates.index(gate) * self.hidden
                return w.load(self.scratch, self._sums(base, n) + (j + at), lanes)
            gate -= cell.gates
            column = gate - cell.gates
            if column < 0 and self.copied:
                return w.load(self.scratch, self._row(base, n, cell.rows + gate) + j, lanes)
            if column < 0:
                at = offset(self.given, (t, first + n, d, integer(gate), j))
                return w.load(self.x, at, lanes)
            if self.copied:
                return w.load(self.scratch, self._column(base, column) + j, lanes)
            access, source = self.columns[column]
            return w.load(source, offset(access, (d, j)), lanes)

        return read

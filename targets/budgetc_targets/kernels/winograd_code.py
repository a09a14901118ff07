"""The code of Winograd kernels: a block of tiles is transformed, multiplied position by position, transformed back."""

from dataclasses import replace

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.evaluate import widen
from budgetc_targets.kernels.jobs import share_of, spread
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.winograd_shape import Block, WinogradShape
from budgetc_targets.kernels.winograd_transforms import INPUT, OUTPUT
from budgetc_targets.kernels.writer import Value, Writer, integer, intrinsic, literal, splat
from budgetc_targets.task import Task


def build(task: Task, shape: WinogradShape, point: Point, threads: int, name: str) -> Kernel:
    """The function for a task at one point of the family's space, with scratch memory for so many threads."""
    builder = _Builder(task, shape, point, threads, name)
    kernel = spread(builder.writer, (builder.jobs,), builder.tiles, parallel=task.parallel)
    return replace(kernel, scratch=4 * threads * builder.block.scratch)


class _Builder:
    def __init__(
        self, task: Task, shape: WinogradShape, point: Point, threads: int, name: str
    ) -> None:
        self.task, self.shape, self.threads, self.lanes = task, shape, threads, shape.lanes
        self.block = Block(shape, knob(point, "tiles"), knob(point, "vectors"))
        self.jobs = -(-shape.tiles // self.block.tiles)
        self.writer = w = Writer(name, may_alias=task.may_alias)
        self.x = w.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        self.weights = w.pointer("weights", "float32", shape.weights)
        self.bias = w.pointer("bias", "float32", shape.filter_vectors * self.lanes)
        self.epilogue = Epilogue(w, task, channel_axis=1)
        self.scratch = w.pointer("scratch", "float32", threads * self.block.scratch)
        self.acc = w.local("acc", "float32", self.block.tiles * self.block.width)
        self.half_in = w.local("half_in", "float32", shape.positions * self.lanes)
        self.half_out = w.local("half_out", "float32", shape.size * shape.side * self.lanes)
        self.results = w.local("results", "float32", shape.size * self.lanes)

    def tiles(self, job: Value) -> None:
        """The output of one block of tiles. The last one overlaps that before it, but stores only its own part."""
        w, side, count, vectors = self.writer, self.shape.side, self.block.tiles, self.block.vectors
        base = integer(0)
        if self.threads > 1:
            base = w.let("base", share_of(job, self.jobs, self.threads) * self.block.scratch)
        first, done = job * count, integer(0)
        if self.shape.tiles % count:
            first = w.let("first", tirx.min(first, self.shape.tiles - count))
            done = w.let("done", (job * count - first) * vectors)
        with w.loop("p", count) as p:
            self._tile_in(first + p, base + p * self.block.row)
        with w.loop("o", self.shape.filter_vectors // vectors) as o:
            # Two loops over the positions, not one: the deeper the multiplication lies, the surer LLVM keeps its
            # accumulators in registers and not the constants of the transforms.
            with w.loop("i", side) as i, w.loop("j", side) as j:
                self._multiply(i * side + j, o, base)
            with w.loop("q", count * vectors - done, done) as q:
                at = base + self.block.products + q * self.lanes
                self._tile_out(first + q // vectors, o * vectors + q % vectors, at)

    def _origin(self, tile: Value) -> tuple[Value, Value, Value, Value, Value]:
        """A tile's image, first row and column, and how many of its rows and columns belong to the tile before."""
        shape, size = self.shape, self.shape.size
        n = tile // (shape.tile_rows * shape.tile_columns)
        row = tile // shape.tile_columns % shape.tile_rows * size
        column = tile % shape.tile_columns * size
        above = left = integer(0)
        if shape.rows % size:
            begin = tirx.min(row, shape.rows - size)
            row, above = begin, row - begin
        if shape.columns % size:
            begin = tirx.min(column, shape.columns - size)
            column, left = begin, column - begin
        return n, row, column, above, left

    def _tile_in(self, tile: Value, to: Value) -> None:
        """B^T x B of one tile, for all channels."""
        w, shape, strides = self.writer, self.shape, self.task.inputs[0].strides
        lanes, side, transform = shape.channel_lanes, shape.side, INPUT[shape.size]
        dtype = self.task.inputs[0].dtype
        n, row, column, _, _ = self._origin(tile)
        origin = w.let("origin", n * strides[0] + row * strides[2] + column * strides[3])
        with w.loop("c", -(-shape.channels // lanes)) as c:
            channel = c * lanes
            if shape.channels % lanes:
                channel = tirx.min(channel, shape.channels - lanes)
            for j in range(side):
                at = [origin + channel + (i * strides[2] + j * strides[3]) for i in range(side)]
                loaded = [widen(w.load(self.x, a, lanes), dtype, lanes) for a in at]
                values = [w.let(f"x{i}", value) for i, value in enumerate(loaded)]
                for i, value in enumerate(transform(values, lanes)):
                    w.store(self.half_in, (i * side + j) * lanes, value, lanes)
            for i in range(side):
                at = [(i * side + j) * lanes for j in range(side)]
                values = [w.load(self.half_in, a, lanes) for a in at]
                for j, value in enumerate(transform(values, lanes)):
                    plane = (i * side + j) * self.block.input_plane
                    w.store(self.scratch, to + channel + plane, value, lanes)

    def _multiply(self, t: Value, o: Value, base: Value) -> None:
        """Tiles x channels times channels x filters of a block, at one position, in registers."""
        w, block, lanes = self.writer, self.block, self.lanes
        channels, vectors, width = self.shape.channels, self.block.vectors, self.block.width
        places = range(0, block.tiles * width, lanes)
        for place in places:
            w.store(self.acc, place, literal(0.0, "float32", lanes), lanes)
        weights = (o * self.shape.positions + t) * (channels * width)
        tiles = base + t * block.input_plane
        with w.loop("c", channels) as c:
            at = [weights + c * width + v * lanes for v in range(vectors)]
            loaded = [w.load(self.weights, a, lanes) for a in at]
            for p in range(block.tiles):
                x = splat(w.load(self.scratch, tiles + c + p * block.row), lanes)
                for v in range(vectors):
                    place = (p * vectors + v) * lanes
                    acc = w.load(self.acc, place, lanes)
                    value = intrinsic("llvm.fmuladd", "float32", lanes, x, loaded[v], acc)
                    w.store(self.acc, place, value, lanes)
        for place in places:
            to = base + t * block.product_plane + (block.products + place)
            w.store(self.scratch, to, w.load(self.acc, place, lanes), lanes)

    def _tile_out(self, tile: Value, vector: Value, at: Value) -> None:
        """A^T m A of one tile and one vector of filters, bias, epilogue."""
        w, size, side, lanes = self.writer, self.shape.size, self.shape.side, self.lanes
        transform = OUTPUT[size]
        for j in range(side):
            planes = [(i * side + j) * self.block.product_plane for i in range(side)]
            products = [w.let(f"m{j}", w.load(self.scratch, at + p, lanes)) for p in planes]
            for i, value in enumerate(transform(products, lanes)):
                w.store(self.half_out, (i * side + j) * lanes, value, lanes)
        n, row, column, above, left = self._origin(tile)
        n, row, column = w.let("n", n), w.let("row", row), w.let("column", column)
        bias = w.let("bias", w.load(self.bias, vector * lanes, lanes))
        with w.loop("i", size - above, above) as i:
            places = [(i * side + j) * lanes for j in range(side)]
            values = transform([w.load(self.half_out, p, lanes) for p in places], lanes)
            for j, value in enumerate(values):
                w.store(self.results, j * lanes, value + bias, lanes)
            for j in range(size):
                index = (n, vector * lanes, row + i, column + j)
                if j >= -self.shape.columns % size:
                    self._store(j * lanes, index)
                else:
                    with w.when(tirx.LE(left, j)):
                        self._store(j * lanes, index)

    def _store(self, place: int, index: tuple[Value, Value, Value, Value]) -> None:
        """The epilogue of one vector; only the very last one can be a part."""
        lanes, filters = self.lanes, self.shape.filters
        tail = filters % lanes
        if not tail:
            self.epilogue.store(self.results, place, index, lanes)
            return
        if filters > lanes:
            with self.writer.when(tirx.LE(index[1], filters - lanes)):
                self.epilogue.store(self.results, place, index, lanes)
        with self.writer.when(tirx.GT(index[1], filters - lanes)):
            self.epilogue.store_part(self.results, place, index, tail)

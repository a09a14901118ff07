"""The code of elementwise kernels that turn their operands: square tiles, transposed in registers.

Where an operand lies along another dimension than the output's innermost one, a gathered vector costs a load for each
lane, and each of them in another cache line. A tile of n x n elements costs n loads of whole vectors instead, and
log2(n) rounds of n shuffles. A dimension that is no multiple of n ends in a tile that overlaps the one before it.
"""

from collections.abc import Sequence

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import size
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.writer import Value, Writer, integer
from budgetc_targets.task import Task

LARGEST_SIDE = 16
"""Vectors of a tile: more do not fit the registers."""
MOST_STEPS = 8
"""Of an expression, since it is written down once for each vector of a tile."""


def turned_dimension(task: Task, side: int) -> int | None:
    """The dimension along which those operands lie that do not lie along the innermost one, or None.

    Tiles want both dimensions to be as long as a tile, an expression that is short, and no memory that is read again
    after it was written.
    """
    shape = task.output.shape
    turned = [a for a in task.operands if a.strides[-1] not in (0, 1)]
    types = {a.dtype for a in (task.output, *task.operands)}
    fits = side > 1 and task.output.strides[-1] == 1 and shape[-1] >= side and "bool" not in types
    if not turned or not fits or task.may_alias or size(task.expression) > MOST_STEPS:
        return None
    return next(
        (
            d
            for d in range(len(shape) - 1)
            if shape[d] >= side and all(a.strides[d] == 1 for a in turned)
        ),
        None,
    )


def build(task: Task, writer: Writer, dimension: int, side: int, *, copies: bool) -> Kernel:
    """The function for a task without needless dimensions, in tiles of `side` along that dimension and the innermost.

    With `parallel`, threads share all but the loop along the innermost dimension.
    """
    shape, last = task.output.shape, len(task.output.shape) - 1
    epilogue = Epilogue(writer, task, last)
    turned = [i for i, a in enumerate(task.operands) if a.strides[-1] not in (0, 1)]
    outer = [d for d in range(last) if d != dimension]
    tiles = [-(-shape[d] // side) for d in (dimension, last)]

    def start(tile: Value, d: int) -> Value:
        if shape[d] % side == 0:
            return tile * side
        return tirx.min(tile * side, integer(shape[d] - side))

    def tile(index: dict[int, Value]) -> None:
        def at(along: int, across: int) -> Sequence[Value]:
            place = {**index, dimension: index[dimension] + along, last: index[last] + across}
            return [place[d] for d in range(last + 1)]

        given = {
            i: transposed(
                writer, [epilogue.along(i, at(0, column), side) for column in range(side)]
            )
            for i in turned
        }
        for row in range(side):
            raw = {i: rows[row] for i, rows in given.items()}
            value = raw[0] if copies else epilogue.value(None, at(row, 0), side, raw)
            epilogue.write(value, at(row, 0), side)

    def body(*position: Value) -> None:
        index = dict(zip(outer, position, strict=False))
        index[dimension] = writer.let("along", start(position[-1], dimension))
        with writer.loop("across", tiles[1]) as across:
            index[last] = writer.let("first", start(across, last))
            tile(index)

    extents = (*(shape[d] for d in outer), tiles[0])
    return spread(writer, extents, body, parallel=task.parallel)


def transposed(writer: Writer, rows: Sequence[Value]) -> list[Value]:
    """N vectors of n lanes, n a power of two: lane i of vector j becomes lane j of vector i.

    Each round interleaves the vectors of the first half with those of the second: a perfect shuffle. After log2(n)
    rounds every element has changed its row with its lane. Source: Stone 1971, "Parallel processing with the perfect
    shuffle".
    """
    count = len(rows)
    half = count // 2
    low = [lane // 2 + lane % 2 * count for lane in range(count)]
    high = [half + lane for lane in low]
    current = [writer.hold(row) for row in rows]
    for _ in range(count.bit_length() - 1):
        mixed = []
        for one, other in zip(current[:half], current[half:], strict=True):
            mixed += [tirx.Shuffle([one, other], order) for order in (low, high)]
        current = [writer.hold(value) for value in mixed]
    return current

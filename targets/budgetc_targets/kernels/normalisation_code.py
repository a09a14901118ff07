"""The code of normalisations: a row's mean, its variance around that mean, and the scaled row."""

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.kernels.epilogue import Epilogue, offset
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.rows import Row
from budgetc_targets.kernels.writer import Value, Writer, integer, literal, splat
from budgetc_targets.task import Task


def build(task: Task, lanes: int, name: str) -> Kernel:
    """The function for a task, with vectors of `lanes` elements."""
    writer = Writer(name, may_alias=task.may_alias)
    x, length = task.inputs[0], task.output.shape[-1]
    given = writer.pointer("x", "float32", x.extent)
    epilogue = Epilogue(writer, task, len(task.output.shape) - 1)
    row = Row(writer, length, lanes)
    count = literal(float(length), "float32")

    def body(*outer: Value) -> None:
        origin = offset(x, [*outer, integer(0)])

        def element(i: Value, part: int) -> Value:
            return writer.load(given, origin + i, part)

        mean = writer.let("mean", tirx.Div(row.reduce(0.0, element, tirx.Add), count))

        def square(i: Value, part: int) -> Value:
            centred = writer.hold(element(i, part) - splat(mean, part))
            return centred * centred

        variance = tirx.Div(row.reduce(0.0, square, tirx.Add), count)
        deviation = tirx.sqrt(variance + literal(task.attribute("epsilon"), "float32"))
        scale = writer.let("scale", tirx.Div(literal(1.0, "float32"), deviation))
        for i, part in row.pieces("k"):
            value = (element(i, part) - splat(mean, part)) * splat(scale, part)
            epilogue.store_value(value, [*outer, i], part)

    return spread(writer, task.output.shape[:-1], body, parallel=task.parallel)

"""What whole numbers an integer input may hold: an index must point into what it indexes."""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from budgetc.verification.rounding import shapes_of

Array = npt.NDArray[np.generic]
Range = tuple[int, int]

_MOVES = frozenset(
    {"Expand", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose"}
    | {"Concat", "Unsqueeze"}
)
_READS_ANY = frozenset(
    {"ConvInteger", "DequantizeLinear", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
    | {"MatMulInteger", "QLinearConv", "QLinearMatMul"}
)
_INDEXED = {"Gather": "axis", "GatherElements": "axis"}
_REALS = (TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def integer_ranges(model: onnx.ModelProto, seen: Mapping[str, Array]) -> dict[str, Range]:
    """The least and the largest value that each integer input may hold, both included.

    An input that reaches the indices of a Gather, if only through moves, may point at anything there, from the end as
    well. One that is only compared, converted to reals or multiplied as a quantised value may hold all that its type
    can. Any other one (a divisor, a count, indices of other operators) holds what `seen` has of it and nothing more,
    since what lies beyond may have no meaning.
    """
    ranges = {}
    for value in model.graph.input:
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        if dtype.kind not in "iu":
            continue
        low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
        samples = seen[value.name]
        for found in _uses(model, value.name):
            lowest, highest = found or (int(samples.min()), int(samples.max()))
            low, high = max(low, lowest), min(high, highest)
        ranges[value.name] = (low, max(low, high))
    return ranges


def makes_integers(model: onnx.ModelProto) -> bool:
    """Whether reals become whole numbers by a Cast, which ONNX leaves undefined where they are too large."""
    reals = {
        i.name
        for i in (*model.graph.input, *model.graph.value_info, *model.graph.output)
        if i.type.tensor_type.elem_type in _REALS
    }
    return any(
        node.op_type == "Cast"
        and node.input[0] in reals
        and helper.get_attribute_value(node.attribute[0]) not in (*_REALS, TensorProto.BOOL)
        for node in model.graph.node
    )


def _uses(model: onnx.ModelProto, name: str) -> Iterator[Range | None]:
    """What each use of a value allows; None where that is not known."""
    shapes = shapes_of(model)
    for node in model.graph.node:
        for position, read in enumerate(node.input):
            if read != name or node.op_type in _READS_ANY:
                continue
            to = [helper.get_attribute_value(a) for a in node.attribute if a.name == "to"]
            moves = node.op_type in _MOVES and (position == 0 or node.op_type == "Concat")
            if moves or (node.op_type == "Cast" and to[0] not in _REALS):
                for output in node.output:
                    yield from _uses(model, output)
            elif node.op_type == "Cast":
                continue
            elif node.op_type in _INDEXED and position == 1:
                axis = {a.name: a.i for a in node.attribute}.get("axis", 0)
                extent = shapes[node.input[0]][axis]
                yield -extent, extent - 1
            else:
                yield None

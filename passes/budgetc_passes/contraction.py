"""Which axes a layer sums over: of its input, and of its weights."""

from typing import NamedTuple

import onnx_ir as ir

from budgetc_passes.graph import dims, input_at, int_attribute, is_op
from budgetc_passes.relations import Axis


class Contraction(NamedTuple):
    """The axes that a layer multiplies element by element and sums up.

    Attributes:
        source: the axis of its input.
        rows: the axis of its weights, at input 1; of a grouped convolution, as long as one group.
    """

    source: Axis
    rows: Axis


def contraction(node: ir.Node) -> Contraction | None:
    """What a convolution or matrix product sums over.

    Returns:
        None for other operators, depthwise and grouped transposed convolutions, products of more
        than a matrix, and where ranks are not known.
    """
    x, weight = input_at(node, 0), input_at(node, 1)
    shape, filters = dims(x), dims(weight)
    if x is None or weight is None or shape is None or filters is None:
        return None
    groups = int_attribute(node, "group", 1)
    if is_op(node, "Conv"):
        return None if groups > 1 and filters[1] == 1 else Contraction((x, 1), (weight, 1))
    if is_op(node, "ConvTranspose"):
        return Contraction((x, 1), (weight, 0)) if groups == 1 else None
    if is_op(node, "Gemm"):
        inner = 0 if int_attribute(node, "transA", 0) else 1
        return Contraction((x, inner), (weight, 1 if int_attribute(node, "transB", 0) else 0))
    if is_op(node, "MatMul") and len(filters) == 2 and shape:
        return Contraction((x, len(shape) - 1), (weight, 0))
    return None

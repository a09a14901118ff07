"""How far rounding alone may move a model's outputs: the length of its sums, and what that bounds.

    |ours - reference| <= c u sqrt(n) |y|,  c = 16,  u the unit roundoff of the coarsest type on the way

n counts the products and sums that follow one another on the longest way to an output. Two orders of the same sum
differ by about sqrt(n) roundings with high probability, where the worst case would be n of them (N. Higham, T. Mary,
A new approach to probabilistic rounding error analysis, SIAM J. Sci. Comput. 41 (2019); the worst case is gamma_n of
N. Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
"""

import math
from collections.abc import Mapping, Sequence

import onnx
from onnx import TensorProto, helper

SAFETY = 16.0
"""The constant before the bound: layers amplify what reaches them, and the sum is no single sum."""

MOST_DIGITS = 0.4
"""No tolerance exceeds this part of sqrt(u), so that half the digits count whatever the length: 1e-4 in f32."""

UNIT_ROUNDOFF = {
    TensorProto.FLOAT: 2.0**-24,
    TensorProto.DOUBLE: 2.0**-53,
    TensorProto.FLOAT16: 2.0**-11,
    TensorProto.BFLOAT16: 2.0**-8,
}

EXACT = frozenset(
    {"Abs", "Cast", "Ceil", "Clip", "Compress", "Concat", "Constant", "ConstantOfShape"}
    | {"DepthToSpace", "DequantizeLinear", "Dropout", "Expand", "Flatten", "Floor", "Gather"}
    | {
        "GatherElements",
        "GatherND",
        "Identity",
        "Max",
        "MaxPool",
        "Min",
        "Neg",
        "Pad",
        "QuantizeLinear",
    }
    | {"ReduceMax", "ReduceMin", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Sign"}
    | {
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Tile",
        "TopK",
        "Transpose",
        "Unsqueeze",
        "Where",
    }
)
"""Operators whose results are not rounded: they move, choose, or go to a whole number."""

Shapes = Mapping[str, Sequence[int]]
_REDUCTIONS = frozenset(
    {"GlobalAveragePool", "GlobalLpPool", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp"}
    | {"ReduceMean", "ReduceProd", "ReduceSum", "ReduceSumSquare"}
)
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ROW_WISE = {"Softmax": -1, "LogSoftmax": -1, "LpNormalization": -1, "Hardmax": -1}
_NORMS = {"LayerNormalization": -1, "RMSNormalization": -1}


def tolerance(model: onnx.ModelProto) -> float:
    """The part of its magnitude by which an output may differ: c u sqrt(n), never above MOST_DIGITS sqrt(u)."""
    return bound(longest_sum(model), unit_roundoff(model))


def bound(terms: int, u: float = UNIT_ROUNDOFF[TensorProto.FLOAT]) -> float:
    """What a sum of so many terms may differ by, as a part of its magnitude, computed with the unit roundoff u."""
    return min(MOST_DIGITS * math.sqrt(u), SAFETY * u * math.sqrt(max(terms, 1)))


def unit_roundoff(model: onnx.ModelProto) -> float:
    """Of the coarsest floating-point type that a value has; of f32 where there is none.

    What is rounded to 16 bits on the way and widened again is no part of it: that is a step, as that of a quantiser.
    """
    graph = model.graph
    infos = (*graph.input, *graph.value_info, *graph.output)
    steps = rounded_on_the_way(model)
    kinds = {i.type.tensor_type.elem_type for i in infos if i.name not in steps}
    return max((UNIT_ROUNDOFF[k] for k in kinds if k in UNIT_ROUNDOFF), default=2.0**-24)


def rounded_on_the_way(model: onnx.ModelProto) -> frozenset[str]:
    """Values in bfloat16 inside the graph that only Casts make and read."""
    graph = model.graph
    halves = {
        i.name for i in graph.value_info if i.type.tensor_type.elem_type == TensorProto.BFLOAT16
    }
    for node in graph.node:
        if node.op_type != "Cast":
            halves.difference_update(node.input, node.output)
    return frozenset(halves)


def longest_sum(model: onnx.ModelProto) -> int:
    """Sums and roundings that follow one another on the longest way from an input to an output."""
    shapes = shapes_of(model)
    length: dict[str, int] = {}
    for node in model.graph.node:
        before = max((length.get(name, 0) for name in node.input), default=0)
        after = before + terms(node, shapes)
        length.update((name, after) for name in node.output)
    return max((length.get(o.name, 0) for o in model.graph.output), default=0)


def shapes_of(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Every value's shape, as the loader wrote it down."""
    shapes = {i.name: tuple(i.dims) for i in model.graph.initializer}
    for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        shapes.setdefault(value.name, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
    return shapes


def terms(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Terms that a node sums for one element: 1 for elementwise arithmetic, 0 where nothing is rounded."""
    if node.op_type in EXACT:
        return 0
    first = shapes.get(node.input[0], ()) if node.input else ()
    second = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    result = shapes.get(node.output[0], ())
    options = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind = node.op_type
    found = 1
    if kind in {"Conv", "ConvInteger"}:
        found = math.prod(second[1:])
    elif kind == "QLinearConv":
        found = math.prod(shapes.get(node.input[3], ())[1:])
    elif kind == "ConvTranspose":
        found = math.prod(second[2:]) * (second[0] if second else 1)
    elif kind in {"MatMul", "MatMulInteger", "QLinearMatMul"}:
        found = first[-1] if first else 1
    elif kind == "Gemm":
        found = (first[0] if options.get("transA") else first[-1]) if first else 1
    elif kind in {"AveragePool", "LpPool"}:
        found = math.prod(options.get("kernel_shape", (1,)))
    elif kind in _REDUCTIONS:
        found = math.prod(first) // max(math.prod(result), 1)
    elif kind in _ROW_WISE and first:
        found = first[options.get("axis", _ROW_WISE[kind]) % len(first)]
    elif kind in _NORMS and first:
        found = math.prod(first[options.get("axis", _NORMS[kind]) % len(first) :])
    elif kind in {"InstanceNormalization", "MeanVarianceNormalization"}:
        found = math.prod(first[2:])
    elif kind == "GroupNormalization":
        found = math.prod(first[1:]) // max(int(options.get("num_groups", 1)), 1)
    elif kind == "LRN":
        found = int(options.get("size", 1))
    elif kind in _GATES and len(first) == len(second) == 3:  # every step is a layer
        found = (first[1] if options.get("layout") else first[0]) * (
            first[2] + second[1] // _GATES[kind]
        )
    elif kind in {"CumSum", "Attention", "Einsum"}:
        found = max((*first, *second), default=1)
    return max(found, 1)

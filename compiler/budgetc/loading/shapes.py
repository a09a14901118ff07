"""Static shapes for every value: inference, and the arithmetic on shapes that it needs."""

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import ModelError, printable, quoted
from onnx import TensorProto, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from budgetc.loading.control_flow import ControlFlow
from budgetc.loading.draft import opset_of
from budgetc.loading.normalise import all_graphs, needed_outputs, replace_nodes, tensor_of
from budgetc.loading.static_values import alone
from budgetc.loading.tensors import PROTOBUF_LIMIT, node_label

Array = npt.NDArray[np.generic]

# Shape arithmetic is done on short lists of numbers. Nothing longer is computed here: it would be a
# weight, and folding those is the work of a pass.
_LONGEST = 1024
_ARITHMETIC = frozenset(
    {"Abs", "Add", "And", "Cast", "CastLike", "Ceil", "Clip", "Concat", "ConstantOfShape", "CumSum"}
    | {"Div", "Equal", "Expand", "Flatten", "Floor", "Gather", "GatherElements", "GatherND"}
    | {"Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod"}
    | {"Mul", "Neg", "NonZero", "Not", "Or", "Pow", "Range", "Reciprocal", "ReduceMax"}
    | {"ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "ScatterElements"}
    | {"ScatterND", "Shape", "Sign", "Size", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Sum"}
    | {"Tile", "Transpose", "Unsqueeze", "Where", "Xor"}
)


def infer_static_shapes(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the shape of every value written down, all of them numbers.

    Shapes that are computed in the graph (Shape, Gather, Concat, Reshape as exporters write them)
    are evaluated, and their values become initializers.

    Raises:
        ModelError: inference finds a contradiction, or a shape depends on the data; names the node.
    """
    control = ControlFlow()
    while True:
        model = _infer(model, control)
        if _fold_arithmetic(model) or control.sweep(model, _shapes(model.graph)):
            continue
        if not _leave_out_empty(model.graph):
            break
    control.check(model, _shapes(model.graph))
    _drop_unread_outputs(model)
    for graph in all_graphs(model.graph):
        _check_static(graph)
    return model


def shape_of(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    """The shape of a value where it is a tensor and every dimension is a number, else None."""
    if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
        return None
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _infer(model: onnx.ModelProto, control: ControlFlow) -> onnx.ModelProto:
    try:
        return shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:
        if control.selections:  # whose shapes may be what does not fit
            control.check_selections(_shapes(shape_inference.infer_shapes(model).graph))
        words = printable(" ".join(str(error).split()))
        raise ModelError(
            f"the model's shapes do not fit together: {words}",
            "compare the shapes under `inputs` of the spec with those the model was exported for.",
        ) from error


def _fold_arithmetic(model: onnx.ModelProto) -> bool:
    """Evaluate a graph's shape arithmetic as far as it goes, in place; whether there was any."""
    graph = model.graph
    shapes = _shapes(graph)
    known: dict[str, Array] = {
        i.name: numpy_helper.to_array(i)
        for i in graph.initializer
        if math.prod(i.dims) <= _LONGEST and i.data_type != TensorProto.STRING
    }
    outputs = {o.name for o in graph.output}
    # Only numbers, and what a shape was read from, directly or not, are evaluated: constants that
    # meet constants are weights.
    arithmetic: set[str] = set()
    kept, folded = [], []
    for node in graph.node:
        values = None
        if node.op_type in _ARITHMETIC and not set(node.output) & outputs:
            values = _evaluate(node, model, shapes, known, arithmetic)
        if values is None:
            kept.append(node)
            continue
        arithmetic |= set(values)
        known |= values
        folded += [tensor_of(name, value) for name, value in values.items()]
    if not folded:
        return False
    replace_nodes(graph, kept)
    graph.initializer.extend(folded)
    _forget(graph, arithmetic)
    return True


def _evaluate(
    node: onnx.NodeProto,
    model: onnx.ModelProto,
    shapes: dict[str, tuple[int, ...] | None],
    known: dict[str, Array],
    arithmetic: set[str],
) -> dict[str, Array] | None:
    """A node's results; None where its inputs are not known or a result would be long."""
    if node.op_type in {"Shape", "Size"}:
        shape = shapes.get(node.input[0])
        if shape is None:
            return None
        # Only the shape of the input matters: a view of one number costs no memory.
        feeds: dict[str, Array] = {node.input[0]: np.broadcast_to(np.float32(0), shape)}
    else:
        names = [i for i in node.input if i]
        if not names or not all(n in known for n in names):
            return None
        if not arithmetic.intersection(names) and not all(_is_number(known[n]) for n in names):
            return None
        feeds = {n: known[n] for n in names}
        if not _short(node, [known[n] for n in names]):
            return None
    try:
        results = ReferenceEvaluator(alone(node, model)).run(None, feeds)
    except Exception:  # then it is not ours to evaluate, and the node stays
        return None
    named = dict(zip([o for o in node.output if o], map(np.asarray, results), strict=True))
    return named if all(v.size <= _LONGEST for v in named.values()) else None


def _is_number(value: Array) -> bool:
    return value.size == 1 and value.dtype.kind in "iub"


def _short(node: onnx.NodeProto, values: list[Array]) -> bool:
    """Whether a result is short, asked before computing what is as long as a number says."""
    numbers = [np.asarray(v, np.float64) for v in values]
    if node.op_type == "Tile" and len(numbers) == 2:
        return float(np.prod(numbers[1])) * numbers[0].size <= _LONGEST
    if node.op_type in {"ConstantOfShape", "Expand"}:
        return float(np.prod(numbers[-1])) <= _LONGEST
    if node.op_type == "Range" and len(numbers) == 3:
        start, limit, delta = (float(n.flat[0]) for n in numbers)
        return delta != 0 and (limit - start) / delta <= _LONGEST
    return True


def _shapes(graph: onnx.GraphProto) -> dict[str, tuple[int, ...] | None]:
    """The static shapes of a graph's values, None for the others."""
    shapes = {v.name: shape_of(v) for v in (*graph.input, *graph.value_info, *graph.output)}
    return shapes | {i.name: tuple(i.dims) for i in graph.initializer}


def _leave_out_empty(graph: onnx.GraphProto) -> bool:
    """Take inputs without elements out of every Concat, in place; whether there were any."""
    shapes = _shapes(graph)
    changed = False
    for node in graph.node:
        if node.op_type != "Concat":
            continue
        full = [name for name in node.input if 0 not in (shapes.get(name) or ())]
        if full and len(full) < len(node.input):
            del node.input[:]
            node.input.extend(full)
            changed = True
    return changed


def _drop_unread_outputs(model: onnx.ModelProto) -> None:
    """Take optional outputs that nobody reads off their nodes, in place, where their shapes are not known.

    Old exporters ask every Dropout for its mask, and onnx has no shapes for some such outputs in old
    operator sets. Where it has, they stay: a BatchNormalization in training mode must have all three.
    """
    graphs = list(all_graphs(model.graph))
    read = {name for graph in graphs for node in graph.node for name in node.input}
    read |= {output.name for graph in graphs for output in graph.output}
    for graph in graphs:
        kept = read | {name for name, shape in _shapes(graph).items() if shape is not None}
        gone: set[str] = set()
        for node in graph.node:
            needed = needed_outputs(node, kept, opset_of(model))
            gone.update(node.output[len(needed) :])
            del node.output[len(needed) :]
        _forget(graph, gone)


def _forget(graph: onnx.GraphProto, names: set[str]) -> None:
    """Drop the written-down shapes of values: of initializers, which say it themselves."""
    kept = [v for v in graph.value_info if v.name not in names]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def _check_static(graph: onnx.GraphProto) -> None:
    known = {v.name: v for v in (*graph.value_info, *graph.output)}
    for node, name in _results(graph):
        value = known.get(name)
        shape = None if value is None else shape_of(value)
        if shape is None:
            raise ModelError(
                f"the shape of {quoted(name)}, a result of the {node_label(node)}, depends on the "
                "data",
                "every shape must follow from the inputs' shapes; export the model with fixed "
                "shapes.",
            )
        assert value is not None
        if math.prod(shape) > PROTOBUF_LIMIT:
            raise ModelError(
                f"{quoted(name)}, a result of the {node_label(node)}, has {math.prod(shape)} "
                f"elements {list(shape)}",
                f"a value has at most {PROTOBUF_LIMIT}; look at the shapes under `inputs` of the "
                "spec.",
            )


def _results(graph: onnx.GraphProto) -> Iterator[tuple[onnx.NodeProto, str]]:
    for node in graph.node:
        for name in node.output:
            if name:
                yield node, name

"""Questions and small edits on an ONNX graph that passes of every family need."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass

Array = npt.NDArray[np.generic]


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of these operators of the standard ONNX domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def opset(model: ir.Model) -> int:
    """Version of the standard operator set that the model imports (0 if it imports none)."""
    return model.graph.opset_imports.get("", 0)


def label(node: ir.Node) -> str:
    """The node's name, or its operator and first output where it has none: for notes and errors."""
    return node.name or f"{node.op_type}({node.outputs[0].name})"


def dims(value: ir.Value | None) -> tuple[int, ...] | None:
    """The value's shape if every dimension is a known number, else None."""
    if value is None or value.shape is None or not value.shape.is_static():
        return None
    return value.shape.numpy()


def constant(value: ir.Value | None) -> Array | None:
    """The tensor of an initializer or Constant node; None for what a caller may override."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def scalar(value: ir.Value | None) -> float | None:
    """The number that a constant holds, whatever its rank, if it holds exactly one."""
    array = constant(value)
    return None if array is None or array.size != 1 else float(array.reshape(()))


def input_at(node: ir.Node, index: int) -> ir.Value | None:
    """The node's input at an index; None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def only_consumer(value: ir.Value) -> ir.Node | None:
    """The node that alone reads the value, at one input, inside the same graph; else None."""
    uses = tuple(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.graph is not value.graph:
        return None
    return uses[0].node


def int_attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """A float attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """A string attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def ints_attribute(node: ir.Node, name: str, default: Sequence[int]) -> tuple[int, ...]:
    """An integer list attribute, or its default."""
    attribute = node.attributes.get(name)
    return tuple(default) if attribute is None else tuple(attribute.as_ints())


def set_ints(node: ir.Node, name: str, values: Sequence[int]) -> None:
    """Set an integer list attribute."""
    node.attributes[name] = ir.AttrInt64s(name, list(values))


def int_list(node: ir.Node, index: int, attribute: str) -> tuple[int, ...] | None:
    """Integers that older operator sets keep in an attribute and newer ones in a constant input.

    Returns:
        The integers; None where they are left out, or given by an input that is not constant.
    """
    if attribute in node.attributes:
        return tuple(node.attributes[attribute].as_ints())
    array = constant(input_at(node, index))
    return None if array is None else tuple(int(item) for item in array.reshape(-1))


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """The interval that a Relu, or a Clip with constant bounds, clamps to; None for others."""
    if is_op(node, "Relu"):
        return 0.0, np.inf
    if not is_op(node, "Clip"):
        return None
    bounds = []
    for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        bound: float | None = float_attribute(node, name, default)
        if input_at(node, index) is not None:
            bound = scalar(input_at(node, index))
        if bound is None:
            return None
        # Exporters write "no bound" as the largest float.
        bounds.append(default if abs(bound) >= float(np.finfo(np.float32).max) else bound)
    return bounds[0], bounds[1]


def fresh_name(graph: ir.Graph, stem: str) -> str:
    """A value name new to the graph and its subgraphs: the stem itself, or numbered."""
    taken = {value.name for value in (*graph.inputs, *graph.initializers.values())}
    for node in graph.all_nodes():
        taken.update(value.name for value in node.outputs)
        if node.graph is not None and node.graph is not graph:
            inner = node.graph
            taken.update(value.name for value in (*inner.inputs, *inner.initializers.values()))
    name, count = stem, 0
    while name in taken:
        count += 1
        name = f"{stem}.{count}"
    return name


def add_initializer(graph: ir.Graph, stem: str, array: npt.ArrayLike) -> ir.Value:
    """Add a constant to the graph, its name derived from the stem."""
    name = fresh_name(graph, stem)
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(np.shape(array)), name=name)
    value = ir.Value(
        name=name,
        shape=ir.Shape(np.shape(array)),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def set_constant(node: ir.Node, index: int, array: npt.ArrayLike, stem: str) -> None:
    """Make an input of the node a constant: in place if the node alone reads it, else a new one."""
    graph = graph_of(node)
    old = input_at(node, index)
    if old is not None and old.is_initializer() and only_consumer(old) is node:
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(np.shape(array)), name=old.name)
        old.const_value = tensor
        old.shape = ir.Shape(np.shape(array))
        old.type = ir.TensorType(tensor.dtype)
        return
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    stem = old.name if old is not None and old.name else stem
    node.replace_input_with(index, add_initializer(graph, stem, array))


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph that holds the node.

    Raises:
        TypeError: the node is in no graph, or in a function (functions are inlined on loading).
    """
    if not isinstance(node.graph, ir.Graph):
        message = f"BUG: node {label(node)} is not in a graph"
        raise TypeError(message)
    return node.graph


def add_node(
    anchor: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    *,
    shape: Sequence[int] | ir.Shape | None,
    dtype: ir.DataType | None,
    stem: str,
    attributes: Mapping[str, int | float | Sequence[int]] | None = None,
) -> ir.Value:
    """Insert a node before the anchor; the name of its one output is derived from the stem."""
    graph = graph_of(anchor)
    output = ir.Value(
        name=fresh_name(graph, stem),
        shape=None if shape is None else ir.Shape(shape),
        type=None if dtype is None else ir.TensorType(dtype),
    )
    converted = ir.convenience.convert_attributes(attributes or {})
    taken, name = {each.name for each in graph.all_nodes()}, output.name or op_type
    while name in taken:  # recipes name nodes: an old one must not have to give up its name
        name += "_"
    node = ir.Node("", op_type, inputs, converted, outputs=[output], name=name)
    graph.insert_before(anchor, node)
    return output


def substitute(old: ir.Value, new: ir.Value) -> bool:
    """Let every reader of one value read another; a model output keeps its name.

    The producer of the old value stays and is dead where nothing else reads it.

    Returns:
        False, and nothing is done, where the old value is a model output whose name the new one
        cannot take: it is an input, a constant, or an output itself.
    """
    if not old.is_graph_output():
        old.replace_all_uses_with(new)
        return True
    if new.producer() is None or new.is_graph_output() or new.graph is not old.graph:
        return False
    hand_over_output(old, new)
    old.replace_all_uses_with(new)
    return True


def hand_over_output(old: ir.Value, new: ir.Value) -> None:
    """Make another value the model output that the old one is, under its name; readers stay."""
    graph, name = old.graph, old.name
    if graph is None:
        message = f"BUG: {name} is an output of no graph"
        raise TypeError(message)
    # The interface is what the caller declared, even where inference knew less of the new value.
    new.shape, new.type = old.shape, old.type
    for at, output in enumerate(graph.outputs):
        if output is old:
            graph.outputs[at] = new
    old.name = fresh_name(graph, f"{name}.replaced")
    new.name = name


def drop_dead(node: ir.Node) -> None:
    """Remove the node, and then what it alone read, as far up as nothing reads the outputs."""
    graph = node.graph
    if graph is None or any(value.uses() or value.is_graph_output() for value in node.outputs):
        return
    producers = [value.producer() for value in node.inputs if value is not None]
    graph.remove(node, safe=True)
    for producer in producers:
        if producer is not None:
            drop_dead(producer)


def infer_missing_shapes(model: ir.Model) -> None:
    """Run ONNX shape inference if the shape of any tensor of the main graph is unknown."""
    if any(value.name and dims(value) is None for node in model.graph for value in node.outputs):
        ShapeInferencePass()(model)


def remove_dead(model: ir.Model) -> bool:
    """Remove nodes and initializers that no output needs; True if there were any."""
    return RemoveUnusedNodesPass()(model).modified

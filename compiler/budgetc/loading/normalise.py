"""One way to write each thing: no functions, no Constant nodes, no weights among the inputs."""

from collections.abc import Callable, Collection, Iterator

import onnx
from budgetc_specs.errors import ModelError, quoted
from onnx import AttributeProto, TensorProto, defs, helper, inliner, numpy_helper

from budgetc.loading.tensors import node_label

STANDARD = frozenset({"", "ai.onnx"})
"""The two names of the domain that operators belong to unless somebody says otherwise."""

_ONNX_DOMAINS = STANDARD | {"ai.onnx.ml", "ai.onnx.preview", "ai.onnx.preview.training"}
RANDOM_OPERATORS = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}
    | {"Bernoulli"}
)
"""Operators that give something else each time."""

_DECLARED_OPSET = 21
_MOST_NODES = 1_000_000

_FunctionKey = tuple[str, str, str]


def inline_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace calls of the functions that a model defines by the functions' nodes.

    Raises:
        ModelError: one can not be inlined.
    """
    if not model.functions:
        return model
    try:
        # A function may be written for another operator set than the model; the inliner converts
        # it.
        inlined: onnx.ModelProto = inliner.inline_local_functions(model, convert_version=True)
    except Exception as error:
        raise ModelError(
            f"the model's functions can not be inlined: {error}",
            "export the model without functions.",
        ) from error
    if inlined.functions:
        names = ", ".join(quoted(f.name) for f in inlined.functions)
        raise ModelError(
            f"the model's functions can not be inlined: {names}",
            "export the model without functions.",
        )
    return inlined


def declare_standard_operators(model: onnx.ModelProto) -> None:
    """Import the standard operators, in place, where a model has none: what is made of it may have some."""
    if all(o.domain not in STANDARD for o in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", _DECLARED_OPSET))


def forget_domain(model: onnx.ModelProto, domain: str) -> None:
    """Take back the import of an operator set, in place."""
    kept = [o for o in model.opset_import if o.domain != domain]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def refuse_foreign_operators(model: onnx.ModelProto) -> None:
    """Refuse operators that ONNX does not define: they would run somebody's library.

    Raises:
        ModelError: names the first such operator, its node and the domain.
    """
    for graph in all_graphs(model.graph):
        for node in graph.node:
            if node.domain not in _ONNX_DOMAINS:
                raise ModelError(
                    f"the {node_label(node)} is of the domain {quoted(node.domain)}, not a "
                    "standard ONNX operator",
                    "export the model with standard operators only; a model that onnxruntime has "
                    "optimised and "
                    "saved has such nodes, the one it was made from does not.",
                )


def lift_constants(model: onnx.ModelProto) -> None:
    """Turn Constant nodes into initializers of the graph that holds them, in place.

    A constant that is a graph output itself stays a node, since outputs are computed; so do
    strings.
    """
    for graph in all_graphs(model.graph):
        outputs = {o.name for o in graph.output}
        kept = []
        for node in graph.node:
            tensor = None if set(node.output) & outputs else _constant(node)
            if tensor is None:
                kept.append(node)
            else:
                tensor.name = node.output[0]
                graph.initializer.append(tensor)
        if len(kept) < len(graph.node):
            replace_nodes(graph, kept)


def separate_initializers(model: onnx.ModelProto) -> None:
    """Take the initializers out of the inputs, in place: a weight is not the caller's to override.

    Up to version 3 of the format every weight had to be an input as well, so that the version is
    raised to 4.
    """
    for graph in all_graphs(model.graph):
        stored = {i.name for i in graph.initializer}
        inputs = [i for i in graph.input if i.name not in stored]
        if len(inputs) < len(graph.input):
            del graph.input[:]
            graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)


def needed_outputs(node: onnx.NodeProto, read: Collection[str], opset: int) -> tuple[str, ...]:
    """A node's outputs without the optional ones at its end that are not among the values read; one stays."""
    outputs = list(node.output)
    try:
        formal = defs.get_schema(node.op_type, opset, node.domain).outputs
    except defs.SchemaError:
        return tuple(outputs)
    optional = defs.OpSchema.FormalParameterOption.Optional
    while (
        len(outputs) > 1
        and outputs[-1] not in read
        and len(outputs) <= len(formal)
        and formal[len(outputs) - 1].option == optional
    ):
        outputs.pop()
    return tuple(outputs)


def name_nodes(model: onnx.ModelProto) -> None:
    """Give every unnamed node and every node whose name is taken a name of its own, in place.

    It is made of the node's output, so that it does not depend on what other nodes there are: recipes
    name nodes, and must mean the same ones again.
    """
    graphs = list(all_graphs(model.graph))
    taken = {node.name for graph in graphs for node in graph.node}
    seen: set[str] = set()
    for graph in graphs:
        for node in graph.node:
            if not node.name or node.name in seen:
                own = next((name for name in node.output if name), node.op_type)
                stem = f"{node.name}_{own}" if node.name else own
                node.name = _fresh(stem, lambda name: name in taken)
                taken.add(node.name)
            seen.add(node.name)


def all_graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """A graph and the graphs in the attributes of its nodes, outermost first."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from all_graphs(inner)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes, without those inside of them."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            yield attribute.g
        yield from attribute.graphs


def replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    """Put nodes in the place of a graph's own; they may be some of these."""
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def _fresh(name: str, taken: Callable[[str], bool]) -> str:
    while taken(name):
        name += "_"
    return name


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    """The value of a Constant node as a tensor of its own."""
    if node.op_type != "Constant" or node.domain not in STANDARD or len(node.attribute) != 1:
        return None
    attribute = node.attribute[0]
    tensor = TensorProto()
    if attribute.name == "value":
        tensor.CopyFrom(attribute.t)
        return None if tensor.data_type == TensorProto.STRING else tensor
    if attribute.name in {"value_int", "value_ints", "value_float", "value_floats"}:
        kind = TensorProto.INT64 if attribute.name.startswith("value_int") else TensorProto.FLOAT
        value = helper.get_attribute_value(attribute)
        many = attribute.name.endswith("s")
        return helper.make_tensor(
            node.output[0], kind, [len(value)] if many else [], list(value) if many else [value]
        )
    return None


def check_expansion(model: onnx.ModelProto) -> None:
    """Count the nodes that inlining the functions would make, without making them.

    It comes before everything else that looks into functions: the checker would follow them all.

    Raises:
        ModelError: a function calls itself, or the expansion has more than a million nodes.
    """
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in model.functions}
    sizes: dict[_FunctionKey, int | None] = {}

    def size(nodes: "list[onnx.NodeProto]") -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, getattr(node, "overload", ""))
            total += function_size(key) if key in functions else 1
            for attribute in node.attribute:
                for graph in [attribute.g, *attribute.graphs] if attribute.ByteSize() else []:
                    total += size(list(graph.node))
        return total

    def function_size(key: _FunctionKey) -> int:
        if key not in sizes:
            sizes[key] = None
            sizes[key] = size(list(functions[key].node))
        known = sizes[key]
        if known is None:
            raise ModelError(f"the model's function {quoted(key[1])} calls itself")
        return known

    try:
        expanded = size(list(model.graph.node))
    except RecursionError as error:
        raise ModelError(
            "the model's functions call one another hundreds of levels deep"
        ) from error
    if expanded > _MOST_NODES:
        raise ModelError(
            f"the model's functions expand to {expanded} nodes", f"at most {_MOST_NODES} are read."
        )


def tensor_of(name: str, value: object) -> TensorProto:
    """A numpy array as a tensor of that name."""
    return numpy_helper.from_array(value, name)  # type: ignore[arg-type]

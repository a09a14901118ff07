"""Choose what each ONNX operator becomes: a map, a kernel, a view, a copy, or TVM's code for it."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from budgetc_targets.expression import Expr, Ref

from budgetc.element_types import ARITHMETIC_TYPES
from budgetc.loading.normalise import STANDARD
from budgetc.lower import select_kernels, select_moves
from budgetc.lower.activations import as_expression
from budgetc.lower.graph import Graph, Operation
from budgetc.lower.halves import HALF, cast_halves
from budgetc.lower.quantisation import (
    Quantisation,
    by_operands,
    dequantise,
    quantisation_of,
    quantise,
)
from budgetc.lower.select_moves import Selected

Selector = Callable[[Operation, Graph], Selected]


def select(graph: Graph, *, halves: bool = False) -> None:
    """Give every operation of the graph its lowering kind, in place.

    Args:
        graph: is changed.
        halves: whether there are kernels that compute with bfloat16 numbers.

    Raises:
        ModelError: an operator behaves as in training.
    """
    chosen: list[Operation] = []
    for op in graph.operations:
        if op.kind.islower():
            chosen.append(op)
            continue
        result = _select(op, graph, halves=halves)
        if result is None:
            chosen.append(replace(op, kind="foreign"))
        elif isinstance(result, Operation):
            chosen.append(result)
        else:
            chosen.extend(result)
    graph.operations = chosen


def _select(op: Operation, graph: Graph, *, halves: bool) -> Selected:
    types = {graph.values[name].dtype for name in (*op.inputs, *op.outputs) if name}
    node = op.attributes.get("proto")
    if halves and HALF in types and not types - ARITHMETIC_TYPES - {HALF}:
        chosen = cast_halves if op.kind == "Cast" else select_moves.SELECTORS.get(op.kind)
        return chosen(op, graph) if chosen else None
    if types - ARITHMETIC_TYPES or (node and node.domain not in STANDARD):
        return None
    return _SELECTORS.get(op.kind, _elementwise)(op, graph)


def _elementwise(op: Operation, graph: Graph) -> Selected:
    found = as_expression(op, graph)
    if found is None:
        return None
    inputs, expression = found
    return Operation("map", op.name, inputs, op.outputs, {}, expression)


def _quantize(op: Operation, graph: Graph) -> Selected:
    quantisation = quantisation_of(op, graph)
    if quantisation is None:
        computed = by_operands(op, graph)
        if computed is None:
            return None
        inputs = tuple(name for name in op.inputs if name)
        return Operation("map", op.name, inputs, op.outputs, {}, computed)
    convert: Callable[[Expr, Quantisation], Expr] = (
        quantise if op.kind == "QuantizeLinear" else dequantise
    )
    expression = convert(Ref(0), quantisation)
    return Operation("map", op.name, op.inputs[:1], op.outputs, {}, expression)


_SELECTORS: Mapping[str, Selector] = {
    **select_kernels.SELECTORS,
    **select_moves.SELECTORS,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
}

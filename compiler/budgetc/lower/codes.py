"""One kind of code for activations: signed bytes between Q and DQ become unsigned ones, 128 higher.

    Q(x, s, z s8) -> moves -> DQ    ->    Q(x, s, z + 128 u8) -> moves -> DQ

clamp(rint(x / s) + z, -128, 127) + 128 = clamp(rint(x / s) + z + 128, 0, 255), so that every real value behind a DQ
stays the same. The products have kernels for unsigned activations. Where a signed value is an input or output of the
model, a conversion takes one step between the port and the rest.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from budgetc.lower.graph import Graph, Operation, Value
from budgetc.lower.hoisting import MOVES
from budgetc.lower.quantisation import quantisation_of

OFFSET = 128
_CODERS = ("QuantizeLinear", "DequantizeLinear")


def make_codes_unsigned(graph: Graph) -> None:
    """Rewrite the graph in place: every web of signed codes that only Q, DQ and moves touch."""
    producers = graph.producers()
    readers: dict[str, list[Operation]] = defaultdict(list)
    for op in graph.operations:
        for name in op.inputs:
            readers[name].append(op)
    changed: set[str] = set()
    for web in _webs(graph):
        touching = [op for name in web for op in readers[name]]
        made = [producers[name] for name in web if name in producers]
        free = all(_allows(op, web, graph) for op in (*touching, *made))
        if free and any(op.kind == "DequantizeLinear" for op in touching):
            changed.update(web)
    if changed:
        _rewrite(graph, changed)


def _webs(graph: Graph) -> list[list[str]]:
    """Values of signed bytes that moves tie together, in the order of the graph."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def add(name: str) -> None:
        if graph.values[name].dtype == "int8" and name not in graph.constants:
            parent.setdefault(name, name)

    for name in graph.inputs:
        add(name)
    for op in graph.operations:
        for name in op.outputs:
            add(name)
        if _moves(op):
            tied = [n for n in (*_moved(op), *op.outputs) if n in parent]
            for name in tied[1:]:
                parent[root(name)] = root(tied[0])
    webs: dict[str, list[str]] = defaultdict(list)
    for name in parent:
        webs[root(name)].append(name)
    return list(webs.values())


def _moves(op: Operation) -> bool:
    return op.kind in MOVES or op.kind in ("Concat", "Split")


def _moved(op: Operation) -> tuple[str, ...]:
    """The inputs whose elements a move hands on."""
    return op.inputs if op.kind == "Concat" else op.inputs[:1]


def _allows(op: Operation, web: list[str], graph: Graph) -> bool:
    """Whether the operation can have the other code: it takes it apart, or only moves it."""
    if op.kind in _CODERS:
        zero = op.inputs[2] if len(op.inputs) > 2 else ""
        constant = not zero or zero in graph.constants
        whole = quantisation_of(op, graph) is not None  # one scale for all; others go through TVM
        return constant and whole and op.inputs[0] not in graph.constants and zero not in web
    return _moves(op) and not any(n in graph.constants for n in _moved(op))


def _rewrite(graph: Graph, changed: set[str]) -> None:
    before: list[Operation] = []
    after: list[Operation] = []
    names: dict[str, str] = {}
    for name in sorted(changed.intersection((*graph.inputs, *graph.outputs))):
        shape = graph.values[name].shape
        names[name] = graph.add_value(f"{name}.unsigned", shape, "uint8")
    for name in changed.difference(names):
        graph.values[name] = Value(graph.values[name].shape, "uint8")
    for name, inner in sorted(names.items()):
        port = name in graph.inputs
        target = before if port else after
        target += _conversion(graph, name, inner) if port else _conversion(graph, inner, name)
    operations = []
    for op in graph.operations:
        touched = changed.intersection((*op.inputs, *op.outputs))
        if not touched:
            operations.append(op)
            continue
        inputs = tuple(names.get(n, n) for n in op.inputs)
        outputs = tuple(names.get(n, n) for n in op.outputs)
        if op.kind in _CODERS:
            inputs = (*inputs[:2], _raised_zero(graph, op))
        operations.append(replace(op, inputs=inputs, outputs=outputs))
    graph.operations = [*before, *operations, *after]


def _raised_zero(graph: Graph, op: Operation) -> str:
    zero = op.inputs[2] if len(op.inputs) > 2 else ""
    array = graph.constants[zero] if zero else np.zeros(graph.values[op.inputs[1]].shape, np.int8)
    raised = (array.astype(np.int16) + OFFSET).astype(np.uint8)
    return graph.add_constant(f"{op.name}.zero", raised)


def _conversion(graph: Graph, source: str, result: str) -> list[Operation]:
    """From one code to the other by way of whole numbers, which floats hold exactly."""
    shape, name = graph.values[source].shape, result
    real = graph.add_value(f"{name}.whole", shape, "float32")
    one = graph.add_constant(f"{name}.one", np.array(1.0, np.float32))

    def zero(of: str) -> str:
        dtype = graph.values[of].dtype
        value = OFFSET if dtype == "uint8" else 0
        return graph.add_constant(f"{name}.zero", np.array(value, dtype))

    return [
        Operation("DequantizeLinear", f"{name}.decode", (source, one, zero(source)), (real,)),
        Operation("QuantizeLinear", f"{name}.encode", (real, one, zero(result)), (result,)),
    ]

"""Fuse elementwise maps into each other and into the kernel before them: a tensor is touched once."""

import math
from collections import defaultdict

from budgetc_targets.expression import ACCUMULATOR, Expr, Ref, references, size, substitute

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.halves import HALF

KERNELS = ("convolution", "product", "pooling", "matmul", "normalisation")
SWEEPS = ("map", "softmax", "reduction")
MOST_OPERANDS = 8  # pointers beyond the registers of a call cost more than a saved sweep
MOST_FUNCTIONS = 96  # an expression is a tree: what is read twice is written down twice
CHEAP = 4


def fuse(graph: Graph) -> None:
    """Rewrite the graph in place.

    One sweep in order suffices: whatever an operation takes in has its final form by then.
    """
    _Fuser(graph).run()


class _Fuser:
    """Operations are known by their first output, which they keep through every rewrite."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers: dict[str, Operation] = {}
        self.position: dict[str, int] = {}
        self.readers: dict[str, set[str]] = defaultdict(set)
        for op in graph.operations:
            for name in op.inputs:
                self.readers[name].add(op.outputs[0])
        self.gone: set[str] = set()

    def run(self) -> None:
        order: list[Operation] = []
        for position, original in enumerate(self.graph.operations):
            op = original
            if op.kind in SWEEPS:
                op = self._take_maps(op)
            if op.kind == "map":
                op = self._join_kernel(op)
            for name in op.outputs:
                self.producers[name] = op
                self.position[name] = position
            order.append(op)
        self.graph.operations = [op for op in order if op.outputs[0] not in self.gone]
        self.graph.remove_dead()

    def _take_maps(self, op: Operation) -> Operation:
        """Pull the maps that feed an operation into its expression."""
        again = True
        while again:
            again = False
            for position, name in enumerate(op.inputs):
                inner = self.producers.get(name)
                if inner is not None and inner.kind == "map" and self._worth(op, position, inner):
                    op = self._inline(op, position, inner)
                    again = True
                    break
        return op

    def _worth(self, op: Operation, position: int, inner: Operation) -> bool:
        assert op.expression is not None
        assert inner.expression is not None
        name = op.inputs[position]
        steps = size(inner.expression)
        repeated = not self._alone(name, op)
        # A smaller operand is broadcast: its map would be repeated for every element.
        space = op.attributes.get("full", self.graph.values[op.outputs[0]].shape)
        repeated |= math.prod(self.graph.values[name].shape) < math.prod(space)
        if repeated and not self._dequantises(inner):
            return False
        times = _times(op, name)
        return (
            len((set(op.inputs) | set(inner.inputs)) - {name}) <= MOST_OPERANDS
            and size(op.expression) + times * steps <= MOST_FUNCTIONS
        )

    def _alone(self, name: str, op: Operation) -> bool:
        """Whether nobody else reads the value."""
        return self.readers[name] == {op.outputs[0]} and name not in self.graph.outputs

    def _dequantises(self, op: Operation) -> bool:
        """Whether every reader may repeat the map: few steps from one number of 8 or 16 bits."""
        assert op.expression is not None
        narrow = self.graph.values[op.inputs[0]].dtype in ("uint8", "int8", HALF)
        return len(op.inputs) == 1 and narrow and size(op.expression) <= CHEAP

    def _drop(self, op: Operation) -> None:
        """An operation whose work is done elsewhere now."""
        self.gone.add(op.outputs[0])
        for name in op.inputs:
            self.readers[name].discard(op.outputs[0])

    def _inline(self, op: Operation, position: int, inner: Operation) -> Operation:
        """The operation with an input replaced by the map's own inputs."""
        assert op.expression is not None
        assert inner.expression is not None
        name = op.inputs[position]
        inputs = list(dict.fromkeys((*(i for i in op.inputs if i != name), *inner.inputs)))
        body = substitute(inner.expression, lambda r: Ref(inputs.index(inner.inputs[r.index])))

        def outer(reference: Ref) -> Expr:
            if reference == ACCUMULATOR:
                return reference
            wanted = op.inputs[reference.index]
            return body if wanted == name else Ref(inputs.index(wanted))

        if self._alone(name, op):
            self._drop(inner)
        self.readers[name].discard(op.outputs[0])
        for other in inner.inputs:
            self.readers[other].add(op.outputs[0])
        return Operation(
            op.kind,
            op.name,
            tuple(inputs),
            op.outputs,
            op.attributes,
            substitute(op.expression, outer),
            op.anchors,
        )

    def _join_kernel(self, op: Operation) -> Operation:
        """Make a map the end of the kernel that computes one of its inputs.

        Of several such kernels the last is taken, since it runs when the map would.
        """
        assert op.expression is not None
        shape = self.graph.values[op.output].shape
        candidates = [
            self.producers[name]
            for name in op.inputs
            if name in self.producers
            and self.producers[name].kind in KERNELS
            and self._alone(name, op)
            and self.graph.values[name].shape == shape
        ]
        if not candidates:
            return op
        kernel = max(candidates, key=lambda k: self.position[k.output])
        assert kernel.expression is not None
        times = _times(op, kernel.output)
        if (
            len(set(op.inputs) | set(kernel.inputs)) > MOST_OPERANDS + 1
            or size(op.expression) + times * size(kernel.expression) > MOST_FUNCTIONS
        ):
            return op
        self._drop(kernel)
        joined = _joined(kernel, op)
        for name in joined.inputs:
            self.readers[name].add(op.output)
        return joined


def _times(op: Operation, name: str) -> int:
    """How often an operation's expression reads an input."""
    assert op.expression is not None
    return sum(i >= 0 and op.inputs[i] == name for i in references(op.expression))


def _joined(kernel: Operation, op: Operation) -> Operation:
    """The kernel with the map's expression around its own."""
    assert kernel.expression is not None
    assert op.expression is not None
    anchors = kernel.inputs[: kernel.anchors]
    others = (i for i in op.inputs if i != kernel.output)
    sides = list(dict.fromkeys((*kernel.inputs[kernel.anchors :], *others)))

    def place(name: str) -> Ref:
        return Ref(len(anchors) + sides.index(name))

    def inside(reference: Ref) -> Expr:
        return reference if reference == ACCUMULATOR else place(kernel.inputs[reference.index])

    value = substitute(kernel.expression, inside)

    def outside(reference: Ref) -> Expr:
        name = op.inputs[reference.index]
        return value if name == kernel.output else place(name)

    return Operation(
        kernel.kind,
        kernel.name,
        (*anchors, *sides),
        op.outputs,
        kernel.attributes,
        substitute(op.expression, outside),
        kernel.anchors,
    )

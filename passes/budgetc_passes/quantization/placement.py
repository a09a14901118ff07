"""Where a float graph goes over to integers: which nodes run on u8, which tensors have a code.

A product and the activation right behind it are one unit: no code is placed between the two, so
that the activation can work on the accumulator.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass

import onnx_ir as ir

from budgetc_passes.contract import Note
from budgetc_passes.graph import label
from budgetc_passes.quantization.operators import Kind, Role, clip_bounds, kind_of, role_of


@dataclass(frozen=True)
class Unit:
    """A node that runs on codes, and the activation on its unquantised result, if any."""

    node: ir.Node
    kind: Kind
    role: Role
    follower: ir.Node | None = None

    @property
    def output(self) -> ir.Value:
        """The tensor that leaves the unit."""
        return (self.follower or self.node).outputs[0]

    @property
    def inputs(self) -> tuple[ir.Value, ...]:
        """The tensors that the unit reads as codes, constants among them."""
        indices = sorted(self.role.activations + self.role.constants)
        return tuple(value for i in indices if (value := self.node.inputs[i]) is not None)


@dataclass(frozen=True)
class Placement:
    """The decision for a whole graph.

    Attributes:
        units: in the order of the graph.
        coded: every tensor that gets a code, in the order of the graph.
        internal: those of them that a unit produces: nothing reads them but through their code.
        refused: a note for each float operator that stays as it is.
    """

    units: tuple[Unit, ...]
    coded: tuple[ir.Value, ...]
    internal: frozenset[ir.Value]
    refused: tuple[Note, ...]


class _Placer:
    def __init__(self, graph: ir.Graph, skip: Container[str], float_head: bool) -> None:
        self.nodes = [node for node in graph if _computes(node)]
        self.skip = skip
        self.float_head = float_head
        self.units: dict[ir.Node, Unit] = {}
        self.integers: set[ir.Value] = set()
        self.reasons: dict[ir.Node, str] = {}
        self.candidates: dict[ir.Node, Unit] = {}
        self.wanted: set[ir.Value] = set()
        for node in reversed(self.nodes):
            self._consider(node)
        for node in self.nodes:
            self._attach(node)

    def _consider(self, node: ir.Node) -> None:
        """Note a candidate, and whether its result is wanted in integers by what lies behind it."""
        kind, role = kind_of(node), role_of(node)
        if label(node) in self.skip:
            self.reasons[node] = "named in `skip`"
        elif isinstance(role, str):
            self.reasons[node] = role
        elif kind is not None:
            self.candidates[node] = Unit(node, kind, role)
            if kind in {"anchor", "recurrent", "rider"} or node.outputs[0] in self.wanted:
                self.wanted.update(self.candidates[node].inputs)

    def _attach(self, node: ir.Node) -> None:
        unit = self.candidates.get(node)
        value = node.outputs[0]
        if unit is None or unit.kind not in {"anchor", "rider"} or value.is_graph_output():
            return
        users = {use.node for use in value.uses()}
        if len(users) == 1 and (behind := self.candidates.get(next(iter(users)))) is not None:
            folds = clip_bounds(behind.node) is not None
            if behind.kind == "activation" and (folds or behind.output in self.wanted):
                self.candidates[node] = Unit(node, unit.kind, unit.role, behind.node)
                del self.candidates[behind.node]

    def settle(self) -> None:
        """Take in candidates until no further one has a reason to be quantised."""
        before = -1
        while before != len(self.units):
            before = len(self.units)
            for node in self.nodes:
                self._forward(node)
            for node in reversed(self.nodes):
                self._backward(node)

    def _forward(self, node: ir.Node) -> None:
        unit = self.candidates.get(node)
        if unit is None or node in self.units:
            return
        arrives = any(value in self.integers for value in unit.inputs)
        if unit.kind == "activation":
            arrives = arrives and unit.output in self.wanted
        if unit.kind in {"anchor", "recurrent"} or arrives:
            self._take(unit)

    def _backward(self, node: ir.Node) -> None:
        unit = self.candidates.get(node)
        if unit is None or node in self.units or unit.kind != "carrier":
            return
        users = (self.units.get(use.node) for use in unit.output.uses())
        if any(user is not None and unit.output in user.inputs for user in users):
            self._take(unit)

    def _take(self, unit: Unit) -> None:
        self.units[unit.node] = unit
        if unit.kind == "recurrent":
            return
        if unit.kind != "anchor" or unit.output in self.wanted or not self.float_head:
            self.integers.add(unit.output)

    def result(self) -> Placement:
        """The placement that was settled on."""
        units = tuple(self.units[node] for node in self.nodes if node in self.units)
        coded: dict[ir.Value, None] = {}
        for unit in units:
            coded.update(dict.fromkeys(unit.inputs))
            if unit.output in self.integers:
                coded[unit.output] = None
        busy = {unit.node for unit in units} | {unit.follower for unit in units}
        refused = tuple(
            Note("refused", node.name or "", f"{node.op_type} stays float: {self._reason(node)}")
            for node in self.nodes
            if node not in busy
        )
        return Placement(units, tuple(coded), frozenset(self.integers), refused)

    def _reason(self, node: ir.Node) -> str:
        if node in self.reasons:
            return self.reasons[node]
        if any(value in self.integers for value in node.inputs if value is not None):
            return "nothing behind it works on integers"
        return "its inputs arrive in float"


def place(graph: ir.Graph, skip: Iterable[str] = (), float_head: bool = False) -> Placement:
    """Decide what of a float graph runs on integers; the graph is not changed.

    Args:
        graph: nodes in topological order, with types.
        skip: names of nodes that stay float.
        float_head: whether a product whose result no integer operator wants hands it out
            unquantised.
    """
    placer = _Placer(graph, frozenset(skip), float_head)
    placer.settle()
    return placer.result()


def _computes(node: ir.Node) -> bool:
    """Whether the node computes float tensors; shape arithmetic and constants do not count."""
    floats = {ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE}
    return node.op_type != "Constant" and any(output.dtype in floats for output in node.outputs)

"""Operators without a kernel of ours: TVM's ONNX importer and legalisation, called like any other kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from budgetc_specs.capability import Capability

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.placement import Storage


@dataclass(frozen=True)
class ForeignArgument:
    """A pointer of a foreign kernel: a port of the operation, a constant, or scratch memory."""

    role: Literal["input", "output", "constant", "scratch"]
    index: int = 0
    constant: Array | None = None
    scratch: Storage | None = None


@dataclass(frozen=True)
class ForeignCall:
    """One kernel call; `function` is None where the same function was handed over before."""

    name: str
    function: Any
    arguments: Sequence[ForeignArgument]


class ForeignCompiler:
    """Compiles one ONNX node at a time through Relax."""

    def __init__(self, graph: Graph, capability: Capability) -> None:
        self._graph, self._capability = graph, capability

    def compile(self, op: Operation) -> Sequence[ForeignCall]:
        """The calls that compute a node."""
        raise NotImplementedError

"""The graph that lowering works on: from one operation per ONNX node to one per kernel."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import quoted
from budgetc_targets.expression import Expr, Ref, substitute
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Value:
    """A tensor: its ONNX shape and numpy dtype. Where it lies in memory is decided later."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Operation:
    """One step. `kind` is an ONNX operator until it is chosen to be one of the kinds below.

    * `map`: an elementwise expression over the inputs, which broadcast to the output as in numpy
    * `convolution`, `product`, `matmul`, `normalisation`, `pooling`, `softmax`, `reduction`:
      kernels; `expression` is what follows, over the accumulator and the inputs behind the first
      `anchors`
    * `attention`: two products with a softmax between them (`attention.py`)
    * `recurrent`: a kernel that goes through all steps of a sequence (`recurrent.py`)
    * `view`: the same elements under other strides (`attributes["view"]` names how)
    * `copy-into`: writes its inputs side by side into one output at `attributes["offsets"]`, the
      rest filled
    * `foreign`: an ONNX node that TVM's importer compiles
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    expression: Expr | None = None
    anchors: int = 0

    @property
    def output(self) -> str:
        """The only output."""
        assert len(self.outputs) == 1, f"BUG: {self.label} has {len(self.outputs)} outputs"
        return self.outputs[0]

    @property
    def epilogue(self) -> Expr:
        """The expression with the inputs behind the anchors counted from 0, as tasks count their operands."""
        assert self.expression is not None, f"BUG: {self.label} has no expression"
        return self.behind_anchors(self.expression)

    def behind_anchors(self, expression: Expr) -> Expr:
        """An expression over the inputs with those behind the anchors counted from 0."""
        return substitute(expression, lambda r: r if r.index < 0 else Ref(r.index - self.anchors))

    @property
    def label(self) -> str:
        """How messages call it."""
        node = self.attributes.get("proto")
        return f"the {node.op_type if node else self.kind} node {quoted(self.name)}"


@dataclass
class Graph:
    """Operations in an order in which they can run, and what is known of every value."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: list[Operation]
    values: dict[str, Value]
    constants: dict[str, Array]
    opset: int = 17
    domains: Mapping[str, int] = field(default_factory=dict)  # further operator sets, by domain

    def uses(self) -> Counter[str]:
        """How often each value is read; a graph output counts as one reading."""
        counts = Counter(name for op in self.operations for name in op.inputs)
        counts.update(self.outputs)
        return counts

    def producers(self) -> dict[str, Operation]:
        """The operation that makes each value."""
        return {name: op for op in self.operations for name in op.outputs}

    def consumers(self, name: str) -> Iterator[Operation]:
        """The operations that read a value."""
        return (op for op in self.operations if name in op.inputs)

    def add_constant(self, hint: str, array: Array) -> str:
        """A constant under a fresh name."""
        name = self._fresh(hint)
        self.set_constant(name, array)
        return name

    def set_constant(self, name: str, array: Array) -> None:
        """Make a value a constant."""
        contiguous = np.ascontiguousarray(array).reshape(array.shape)
        self.constants[name] = contiguous
        self.values[name] = Value(contiguous.shape, contiguous.dtype.name)

    def add_value(self, hint: str, shape: tuple[int, ...], dtype: str) -> str:
        """A value under a fresh name."""
        name = self._fresh(hint)
        self.values[name] = Value(shape, dtype)
        return name

    def remove_dead(self) -> None:
        """Drop operations whose results nobody reads, and then their inputs' makers."""
        needed = set(self.outputs)
        kept: list[Operation] = []
        for op in reversed(self.operations):
            if needed.intersection(op.outputs):
                kept.append(op)
                needed.update(op.inputs)
        self.operations = kept[::-1]

    def skip_idle_views(self) -> None:
        """Let the readers of a view that changes nothing read what it is a view of; its operations are chosen."""
        seen: dict[str, str] = {}
        kept: list[Operation] = []
        for given in self.operations:
            op = replace(given, inputs=tuple(seen.get(name, name) for name in given.inputs))
            idle = op.kind == "view" and op.attributes["view"] == "reshape"
            if idle and op.output not in self.outputs:
                source = op.inputs[0]
                if self.values[source] == self.values[op.output]:
                    seen[op.output] = source
                    continue
            kept.append(op)
        self.operations = kept

    def node_model(self, op: Operation) -> onnx.ModelProto:
        """The ONNX node behind an operation as a model of its own, constants as initializers."""
        node = onnx.NodeProto()
        node.CopyFrom(op.attributes["proto"])
        del node.input[:]
        node.input.extend(op.inputs)
        del node.output[:]  # a pass of the lowering may have put another value in its place
        node.output.extend(op.outputs)
        names = list(dict.fromkeys(n for n in op.inputs if n))

        def info(name: str) -> onnx.ValueInfoProto:
            value = self.values[name]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
            return helper.make_tensor_value_info(name, kind, value.shape)

        body = helper.make_graph(
            [node],
            "node",
            [info(n) for n in names if n not in self.constants],
            [info(n) for n in op.outputs],
            [numpy_helper.from_array(self.constants[n], n) for n in names if n in self.constants],
        )
        opset = helper.make_opsetid(node.domain, self.domains.get(node.domain, self.opset))
        return helper.make_model(body, opset_imports=[opset], ir_version=9)

    def _fresh(self, hint: str) -> str:
        name = hint
        while name in self.values:
            name = f"{hint}_{len(self.values)}"
        return name

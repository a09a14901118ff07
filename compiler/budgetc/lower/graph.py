"""The graph that lowering works on: operations over named values, from ONNX down to one operation per kernel."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from budgetc_targets.expression import Expr

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
    * `convolution`, `pooling`, `softmax`, `reduction`: kernels; `expression` is what follows, over the accumulator and
      the inputs behind the first `anchors`
    * `view`: the same elements under other strides (`attributes["view"]` names how)
    * `copy-into`: writes its inputs side by side into one output at `attributes["offsets"]`, the rest filled
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
        assert len(self.outputs) == 1, f"BUG: {self.kind} {self.name} has {len(self.outputs)} outputs"
        return self.outputs[0]


@dataclass
class Graph:
    """Operations in an order in which they can run, and what is known of every value."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    operations: list[Operation]
    values: dict[str, Value]
    constants: dict[str, Array]
    opset: int = 17

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
        name = hint
        while name in self.values:
            name = f"{hint}_{len(self.values)}"
        contiguous = np.ascontiguousarray(array).reshape(array.shape)
        self.constants[name] = contiguous
        self.values[name] = Value(contiguous.shape, contiguous.dtype.name)
        return name

    def add_value(self, hint: str, shape: tuple[int, ...], dtype: str) -> str:
        """A value under a fresh name."""
        name = hint
        while name in self.values:
            name = f"{hint}_{len(self.values)}"
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

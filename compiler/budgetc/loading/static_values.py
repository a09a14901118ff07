"""What a graph computes from constants and shapes alone, asked for one value at a time."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator

from budgetc.loading.normalise import RANDOM_OPERATORS, STANDARD

Array = npt.NDArray[np.generic]
Shapes = Mapping[str, tuple[int, ...] | None]
Evaluators = dict[str, ReferenceEvaluator]

LONGEST = 1 << 16
"""Elements of the largest value that is computed: conditions and counts, and what they come from."""

_NEVER = RANDOM_OPERATORS | {"If", "Loop", "Scan", "Dropout"}
_AS_LONG_AS_A_NUMBER_SAYS = frozenset(
    {"ConstantOfShape", "Expand", "Range", "Tile", "OneHot", "Pad", "Resize", "Upsample"}
    | {"Gather", "EyeLike", "Trilu", "SplitToSequence", "SequenceConstruct", "SequenceEmpty"}
)


class StaticValues:
    """Evaluates values of a list of nodes on request.

    Args:
        nodes: in an order in which they can run.
        model: whose operator sets they are written for.
        lookup: the value of a name that no node makes, or None.
        shapes: static shapes, for Shape and Size.
        evaluators: shared between the rounds of one list of nodes, since they take time to make.
    """

    def __init__(
        self,
        nodes: Sequence[onnx.NodeProto],
        model: onnx.ModelProto,
        lookup: Callable[[str], Array | None],
        shapes: Shapes,
        evaluators: Evaluators | None = None,
    ) -> None:
        self._evaluators: Evaluators = {} if evaluators is None else evaluators
        self._model, self._lookup, self._shapes = model, lookup, shapes
        self._nodes = nodes
        self._made = {name: i for i, n in enumerate(nodes) for name in n.output if name}
        self._known: dict[str, Array | None] = {}

    def value(self, name: str) -> Array | None:
        """The array behind a name; None where it depends on inputs, or is too large to be asked for."""
        if name in self._known:
            return self._known[name]
        for position in self._ancestors(name):
            self._evaluate(self._nodes[position])
        if name not in self._known:
            self._known[name] = self._lookup(name)
        return self._known[name]

    def _ancestors(self, name: str) -> Iterable[int]:
        """Positions of the nodes that a value depends on, in order."""
        found: set[int] = set()
        waiting = [name]
        while waiting:
            each = waiting.pop()
            position = self._made.get(each)
            if position is None or position in found or each in self._known:
                continue
            found.add(position)
            node = self._nodes[position]
            if node.op_type not in {"Shape", "Size"}:
                waiting += [i for i in node.input if i]
        return sorted(found)

    def _evaluate(self, node: onnx.NodeProto) -> None:
        results = self._results(node)
        for index, name in enumerate(node.output):
            if name:
                self._known[name] = None if results is None else np.asarray(results[index])

    def _results(self, node: onnx.NodeProto) -> Sequence[Array] | None:
        if node.op_type in _NEVER or node.domain not in STANDARD:
            return None
        if node.op_type in {"Shape", "Size"}:
            shape = self._shapes.get(node.input[0])
            if shape is None:
                return None
            feeds: dict[str, Array] = {node.input[0]: np.broadcast_to(np.float32(0), shape)}
        else:
            given = {name: self.value(name) for name in node.input if name}
            feeds = {name: array for name, array in given.items() if array is not None}
            if len(feeds) < len(given) or not self._short(node, feeds):
                return None
        try:
            results = self._evaluator(node).run(None, feeds)
        except Exception:  # then it is not known now, and whoever asked says so
            return None
        arrays = [r for r in results if isinstance(r, (np.ndarray, np.generic))]
        small = all(np.asarray(a).size <= LONGEST for a in arrays)
        return [np.asarray(a) for a in arrays] if small and len(arrays) == len(results) else None

    def _evaluator(self, node: onnx.NodeProto) -> ReferenceEvaluator:
        key = next(name for name in node.output if name)
        if key not in self._evaluators:
            self._evaluators[key] = ReferenceEvaluator(alone(node, self._model))
        return self._evaluators[key]

    def _short(self, node: onnx.NodeProto, feeds: Mapping[str, Array]) -> bool:
        """Whether the result is short, asked before computing what is as long as a number says."""
        if any(a.size > LONGEST for a in feeds.values()):
            return False
        if node.op_type not in _AS_LONG_AS_A_NUMBER_SAYS:
            return True
        shapes = [self._shapes.get(name) for name in node.output if name]
        return all(s is not None and math.prod(s) <= LONGEST for s in shapes)


def alone(node: onnx.NodeProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """A model of one node, under the operator sets of the model it is from."""
    graph = onnx.helper.make_graph(
        [node],
        "alone",
        [onnx.ValueInfoProto(name=n) for n in dict.fromkeys(i for i in node.input if i)],
        [onnx.ValueInfoProto(name=n) for n in node.output if n],
    )
    return onnx.helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )

"""Sequences of tensors whose structure is known: an element is a name, and nothing is left of the sequence."""

from collections.abc import Sequence

import numpy as np
import onnx

from budgetc.loading.draft import Draft, attributes_of
from budgetc.loading.static_values import Shapes, StaticValues

MAKERS = frozenset(
    {"SequenceConstruct", "SequenceEmpty", "SequenceInsert", "SequenceErase", "SplitToSequence"}
)
READERS = frozenset({"SequenceAt", "SequenceLength", "ConcatFromSequence"})


class Sequences:
    """Follows sequences through one sweep over a graph."""

    def __init__(self, draft: Draft, values: StaticValues, shapes: Shapes) -> None:
        self._draft, self._values, self._shapes = draft, values, shapes
        self._elements: dict[str, list[str]] = {}

    def take(self, node: onnx.NodeProto) -> bool:
        """Write what the node means for tensors into the draft; whether that was possible."""
        if node.op_type == "Identity" and node.input[0] in self._elements:
            self._elements[node.output[0]] = self._elements[node.input[0]]
            return True
        if node.op_type in MAKERS:
            elements = self._made(node)
            if elements is not None:
                self._elements[node.output[0]] = elements
            return elements is not None
        if node.op_type not in READERS or node.input[0] not in self._elements:
            return False
        return self._read(node, self._elements[node.input[0]])

    def _made(self, node: onnx.NodeProto) -> list[str] | None:
        if node.op_type == "SequenceEmpty":
            return []
        if node.op_type == "SequenceConstruct":
            return list(node.input)
        if node.op_type == "SplitToSequence":
            return self._split(node)
        elements = self._elements.get(node.input[0])
        if elements is None:
            return None
        elements = list(elements)
        erases = node.op_type == "SequenceErase"
        index = 1 if erases else 2
        if len(node.input) <= index or not node.input[index]:
            position: int | None = len(elements) - erases
        else:
            position = self._position(node.input[index], len(elements))
        if position is None or not 0 <= position <= len(elements) - erases:
            return None
        if erases:
            del elements[position]
        else:
            elements.insert(position, node.input[1])
        return elements

    def _read(self, node: onnx.NodeProto, elements: Sequence[str]) -> bool:
        draft, output = self._draft, node.output[0]
        if node.op_type == "SequenceLength":
            length = draft.constant(np.array(len(elements), np.int64), f"{node.name}.length")
            draft.add("Identity", [length], node.name, output=output)
            return True
        if node.op_type == "SequenceAt":
            position = self._position(node.input[1], len(elements))
            if position is None or not 0 <= position < len(elements):
                return False
            draft.add("Identity", [elements[position]], node.name, output=output)
            return True
        given = attributes_of(node)
        axis, parts = int(given["axis"]), list(elements)
        if not parts:
            return False
        if given.get("new_axis", 0):
            parts = [draft.unsqueeze(name, axis, f"{node.name}.{name}.slice") for name in parts]
        draft.add("Concat", parts, node.name, output=output, attributes={"axis": axis})
        return True

    def _split(self, node: onnx.NodeProto) -> list[str] | None:
        given = attributes_of(node)
        source, shape = node.input[0], self._shapes.get(node.input[0])
        if shape is None:
            return None
        axis = int(given.get("axis", 0)) % len(shape)
        length = shape[axis]
        single = len(node.input) < 2 or not node.input[1]
        if single:
            sizes = [1] * length
        else:
            split = self._values.value(node.input[1])
            if split is None:
                return None
            step = int(split.reshape(-1)[0])
            if split.ndim:
                sizes = [int(n) for n in split]
            elif step < 1:
                return None
            else:
                sizes = [min(step, length - at) for at in range(0, length, step)]
        elements, start = [], 0
        for size in sizes:
            name = self._draft.slice(source, axis, start, f"{node.name}.{start}", size)
            if single and not given.get("keepdims", 1):
                name = self._draft.squeeze(name, axis, f"{node.name}.{start}.element")
            elements.append(name)
            start += size
        return elements

    def _position(self, name: str, length: int) -> int | None:
        array = self._values.value(name)
        if array is None:
            return None
        position = int(array.reshape(-1)[0])
        return position + length if position < 0 else position

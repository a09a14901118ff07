"""Random valid graphs: one operator after another over the values that are there, with odd shapes and types."""

import functools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

MOST_ELEMENTS = 5000
ELEMENT = {
    "float32": TensorProto.FLOAT,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True)
class Value:
    """A tensor of the graph."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Skip(Exception):  # noqa: N818  what happened, as `except Skip` reads
    """The operator does not fit what is there; another one is tried."""


Grower = Callable[["Growth", str], object]
Table = Sequence[tuple[str, Grower]]


def grow(source: random.Random, table: Table, prefix: str = "", opset: int = 17) -> onnx.ModelProto:
    """A model of one to fourteen nodes; the same for the same state of the source.

    Args:
        source: `random.Random(seed)`, or hypothesis's own, whose draws it can shrink.
        table: operators and what adds a node of each, see `operators`; the more entries, the more often.
        prefix: of all names, so that several graphs can be put into one.
        opset: its version of the operators, from 13 on.
    """
    return Growth(source, table, prefix, opset).grown()


class Growth:
    """A graph while it grows."""

    def __init__(self, source: random.Random, table: Table, prefix: str, opset: int) -> None:
        self.source, self.table, self.prefix = source, table, prefix
        self.opset = opset
        self.values: list[Value] = []
        self.inputs: list[Value] = []
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.read: set[str] = set()
        self.count = 0

    def grown(self) -> onnx.ModelProto:
        self._new_input("float32", self._image() if self.source.random() < 0.6 else self._shape())
        size = self.source.randint(1, 14)
        for _ in range(size * 4):
            if len(self.nodes) >= size:
                break
            name, grower = self.source.choice(self.table)
            before = len(self.nodes), len(self.constants), len(self.values), len(self.inputs)
            try:
                grower(self, name)
            except Skip:
                for kept, items in zip(before, self._lists(), strict=True):
                    del items[kept:]
        if not self.nodes:
            self.add("Relu", [self.values[0]], self.values[0].shape)
        return self._model()

    def _lists(self) -> Sequence[list[object]]:
        return (self.nodes, self.constants, self.values, self.inputs)  # type: ignore[return-value]

    def _model(self) -> onnx.ModelProto:
        produced = {o for n in self.nodes for o in n.output}
        consumed = {i for n in self.nodes for i in n.input}
        outputs = [v for v in self.values if v.name in produced and v.name not in consumed]
        extra = [v for v in self.values if v.name in produced and v not in outputs]
        if extra and self.source.random() < 0.2:
            outputs.append(self.source.choice(extra))
        used = [v for v in self.inputs if v.name in consumed]
        graph = helper.make_graph(
            self.nodes,
            "grown",
            [_info(v) for v in used],
            [_info(v) for v in outputs],
            self.constants,
        )
        opset = [helper.make_opsetid("", self.opset)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=8)
        return shape_inference.infer_shapes(model, strict_mode=True)

    # What operators take.

    def pick(self, *dtypes: str, rank: int | None = None) -> Value:
        fitting = [
            v
            for v in self.values
            if v.dtype in (dtypes or ("float32",)) and (rank is None or len(v.shape) == rank)
        ]
        if fitting and self.source.random() < 0.9:
            recent = fitting[-3:] if self.source.random() < 0.6 else fitting
            return self.source.choice(recent)
        if len(self.inputs) >= 4:
            raise Skip
        shape = self._image() if rank == 4 else self._shape(rank)
        return self._new_input(self.source.choice(dtypes or ("float32",)), shape)

    def beside(self, value: Value) -> Value:
        """Something that broadcasts with a value: another value, a constant or an input."""
        others = [
            v for v in self.values if v.dtype == value.dtype and broadcast(v.shape, value.shape)
        ]
        kind = self.source.random()
        if others and kind < 0.5:
            return self.source.choice(others)
        keep = self.source.randint(0, len(value.shape))
        shape = tuple(
            1 if self.source.random() < 0.3 else d for d in value.shape[len(value.shape) - keep :]
        )
        if kind < 0.85 or len(self.inputs) >= 4:
            return self.constant(value.dtype, shape)
        return self._new_input(value.dtype, shape)

    def constant(self, dtype: str, shape: tuple[int, ...], scale: float = 1.0) -> Value:
        draws = np.random.default_rng(self.source.getrandbits(32))
        if dtype == "float32":
            array = np.round(draws.standard_normal(shape) * scale, 3).astype(dtype)
        else:
            array = draws.integers(0, 2 if dtype == "bool" else 7, shape).astype(dtype)
        return self.fixed(array)

    def fixed(self, array: np.ndarray) -> Value:
        name = self._name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return Value(name, array.dtype.name, array.shape)

    def add(
        self,
        operator: str,
        inputs: Sequence[Value | None],
        shape: Sequence[int],
        dtype: str | None = None,
        **attributes: object,
    ) -> Value:
        """A node with one result of this shape; its type is that of the first input."""
        made = tuple(int(d) for d in shape)
        if math.prod(made) > MOST_ELEMENTS or math.prod(made) < 1 or len(made) > 5:
            raise Skip
        first = inputs[0]
        assert first is not None
        if oldest(operator) > self.opset:
            raise Skip
        value = Value(self._name("v"), dtype or first.dtype, made)
        names = [v.name if v else "" for v in inputs]
        self.nodes.append(
            helper.make_node(operator, names, [value.name], self._name("n"), **attributes)
        )
        self.values.append(value)
        return value

    def axis(self, value: Value) -> int:
        if not value.shape:
            raise Skip
        return self.source.randrange(len(value.shape))

    def signed(self, axis: int, value: Value) -> int:
        """The axis, or the same counted from the end."""
        return axis - len(value.shape) if self.source.random() < 0.3 else axis

    def _new_input(self, dtype: str, shape: tuple[int, ...]) -> Value:
        value = Value(self._name("x"), dtype, shape)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def _shape(self, rank: int | None = None) -> tuple[int, ...]:
        rank = self.source.randint(1, 4) if rank is None else rank
        shape: list[int] = []
        for _ in range(rank):
            extent = self.source.choice((1, 2, 3, 4, 5, 7, 8, 9, 13, 16))
            shape.append(extent if math.prod(shape) * extent <= MOST_ELEMENTS // 2 else 1)
        return tuple(shape)

    def _image(self) -> tuple[int, ...]:
        batch, channels = (
            self.source.choice((1, 1, 1, 2)),
            self.source.choice((1, 3, 4, 7, 8, 12, 17)),
        )
        height, width = self.source.randint(1, 11), self.source.randint(1, 13)
        return batch, channels, height, width

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{self.prefix}{kind}{self.count}"


def _info(value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(value.name, ELEMENT[value.dtype], value.shape)


def broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    try:
        return np.broadcast_shapes(first, second)
    except ValueError:
        return None


@functools.cache
def oldest(operator: str) -> int:
    """The first opset that has an operator."""
    return min(
        s.since_version
        for s in defs.get_all_schemas_with_history()
        if s.name == operator and not s.domain
    )

"""The tensors stored in a model: where they are, and whether they have the bytes they must."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import onnx
from budgetc_specs.errors import ModelError, printable, quoted
from onnx import TensorProto

PROTOBUF_LIMIT = (1 << 31) - 1
"""Bytes a protobuf message may have; a model is a single one, weights included."""

_BITS = {
    **dict.fromkeys(("UINT2", "INT2"), 2),
    **dict.fromkeys(("UINT4", "INT4", "FLOAT4E2M1"), 4),
    **dict.fromkeys(("FLOAT6E2M3", "FLOAT6E3M2"), 6),
    **dict.fromkeys(("UINT8", "INT8", "BOOL", "FLOAT8E8M0"), 8),
    **dict.fromkeys(("FLOAT8E4M3FN", "FLOAT8E4M3FNUZ", "FLOAT8E5M2", "FLOAT8E5M2FNUZ"), 8),
    **dict.fromkeys(("UINT16", "INT16", "FLOAT16", "BFLOAT16"), 16),
    **dict.fromkeys(("FLOAT", "INT32", "UINT32"), 32),
    **dict.fromkeys(("DOUBLE", "INT64", "UINT64", "COMPLEX64"), 64),
    "COMPLEX128": 128,
}
_FIELDS = {
    **dict.fromkeys(("FLOAT", "COMPLEX64"), "float_data"),
    **dict.fromkeys(("DOUBLE", "COMPLEX128"), "double_data"),
    **dict.fromkeys(("UINT32", "UINT64"), "uint64_data"),
    "INT64": "int64_data",
    "STRING": "string_data",
}
_ALL_FIELDS = (
    "float_data",
    "int32_data",
    "string_data",
    "int64_data",
    "double_data",
    "uint64_data",
)


@dataclass(frozen=True)
class Stored:
    """A tensor of a model and how an error message calls it."""

    tensor: TensorProto
    label: str


def stored_tensors(model: onnx.ModelProto) -> Iterator[Stored]:
    """Every tensor of a model: initializers and attributes, of graphs, subgraphs and functions."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node, f"function {quoted(function.name)}")


def byte_length(stored: Stored) -> int:
    """The bytes that the dimensions and the element type of a tensor call for; 0 for strings.

    Raises:
        ModelError: a negative dimension, an unknown element type, or more than a model can hold.
    """
    tensor = stored.tensor
    name = type_name(tensor.data_type)
    if name is None or (name != "STRING" and name not in _BITS):
        raise ModelError(
            f"{stored.label} has the element type {tensor.data_type}, which ONNX does not define"
        )
    if any(d < 0 for d in tensor.dims):
        raise ModelError(f"{stored.label} has a negative dimension: {list(tensor.dims)}")
    length = (int(math.prod(tensor.dims)) * _BITS.get(name, 0) + 7) // 8
    if length > PROTOBUF_LIMIT:
        raise ModelError(
            f"{stored.label} claims {length} bytes ({name} {list(tensor.dims)})",
            f"a model holds at most 2 GiB ({PROTOBUF_LIMIT} bytes) with all its tensors.",
        )
    return length


def check_embedded(stored: Stored) -> None:
    """Check that a tensor in the model has exactly the data that its dimensions call for.

    Raises:
        ModelError: it has more or less, or of another kind.
    """
    tensor = stored.tensor
    expected = byte_length(stored)
    name = type_name(tensor.data_type) or ""
    filled = [f for f in _ALL_FIELDS if len(getattr(tensor, f))]
    if tensor.HasField("raw_data"):
        if filled or name == "STRING":
            raise ModelError(f"{stored.label} has raw data beside or instead of its {name} values")
        if len(tensor.raw_data) != expected:
            raise ModelError(
                f"{stored.label} is {name} {list(tensor.dims)}, which takes {expected} bytes, "
                f"but has {len(tensor.raw_data)}",
                "the file is damaged or was written by a faulty tool; export the model again.",
            )
        return
    field = _FIELDS.get(name, "int32_data")
    if any(f != field for f in filled):
        raise ModelError(f"{stored.label} is {name} but has values in {' and '.join(filled)}")
    count = len(getattr(tensor, field))
    elements = math.prod(tensor.dims) * (2 if name.startswith("COMPLEX") else 1)
    if name in _BITS and _BITS[name] < 8:
        elements = expected  # packed: one entry of the field holds one byte
    if count != elements:
        raise ModelError(
            f"{stored.label} is {name} {list(tensor.dims)}, which takes {elements} values, but has "
            f"{count}",
            "the file is damaged or was written by a faulty tool; export the model again.",
        )


def type_name(number: int) -> str | None:
    """ONNX's name of an element type; None where there is none."""
    try:
        return str(TensorProto.DataType.Name(number))
    except ValueError:
        return None


def node_label(node: onnx.NodeProto) -> str:
    """How an error message calls a node: by its name, or by its first output where it has none."""
    name = node.name or next((o for o in node.output if o), "")
    return f'{printable(node.op_type)} node "{printable(name)}"'


def _of_graph(graph: onnx.GraphProto) -> Iterator[Stored]:
    for tensor in graph.initializer:
        yield Stored(tensor, f"the initializer {quoted(tensor.name)}")
    for sparse in graph.sparse_initializer:
        raise ModelError(
            f"the initializer {quoted(sparse.values.name)} is stored sparsely, which is not "
            "supported",
            "export the model with dense weights.",
        )
    yield from _of_nodes(graph.node, "the graph")


def _of_nodes(nodes: Iterable[onnx.NodeProto], place: str) -> Iterator[Stored]:
    for node in nodes:
        for attribute in node.attribute:
            label = f"the attribute {quoted(attribute.name)} of the {node_label(node)} in {place}"
            if attribute.HasField("t"):
                yield Stored(attribute.t, label)
            yield from (Stored(tensor, label) for tensor in attribute.tensors)
            if attribute.HasField("sparse_tensor") or attribute.sparse_tensors:
                raise ModelError(f"{label} is a sparse tensor, which is not supported")
            if attribute.HasField("g"):
                yield from _of_graph(attribute.g)
            for graph in attribute.graphs:
                yield from _of_graph(graph)

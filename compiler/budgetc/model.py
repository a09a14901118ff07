"""The one loader in front of onnx, onnxruntime and TVM: a file becomes a checked model."""

import hashlib
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx
from budgetc_specs.errors import ModelError, printable, quoted
from onnx import TensorProto, helper

from budgetc.loading.draft import opset_of
from budgetc.loading.expansion import expand_functions
from budgetc.loading.external import embed_external_data, external_files
from budgetc.loading.halves import widen_halves
from budgetc.loading.inputs import fix_dimensions
from budgetc.loading.integer_operators import (
    needs_qdq,
    raise_opset,
    widen_small_weights,
    write_as_qdq,
)
from budgetc.loading.normalise import (
    check_expansion,
    declare_standard_operators,
    inline_functions,
    lift_constants,
    name_nodes,
    refuse_foreign_operators,
    separate_initializers,
)
from budgetc.loading.recurrent import put_steps_first
from budgetc.loading.shapes import infer_static_shapes, shape_of
from budgetc.loading.tensors import PROTOBUF_LIMIT, Stored, byte_length
from budgetc.lower.lowered import Port

OLDEST_OPSET = 9
"""Models of older operator sets are converted; passes and lowering read this one and newer ones."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class Model:
    """A checked model: self-contained, every shape a number, nothing left to read elsewhere.

    Attributes:
        path: the file it came from.
        data: the serialised ModelProto: external data embedded, functions inlined, Constant nodes
            lifted to initializers, initializers apart from the inputs, nodes named, shapes of all
            values written down.
        digest: sha256 of `data`, in hex.
        inputs: what a caller feeds, in the model's order.
        outputs: what a caller gets, in the model's order.
        opset: version of the standard operator set.
        parameter_count: elements of all initializers but the 64-bit integers, which are shapes and
            indices.
        weight_bytes: bytes of these.
        quantized: whether it has integer codes as it is.
        further: the same model for the other shapes of its inputs that a spec names.
    """

    path: Path
    data: bytes = field(repr=False)
    digest: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opset: int
    parameter_count: int
    weight_bytes: int
    quantized: bool = False
    further: tuple["Model", ...] = ()

    @property
    def entries(self) -> tuple["Model", ...]:
        """The model for each of the shapes."""
        return (replace(self, further=()), *self.further)


def load_model(path: Path | str, inputs: Mapping[str, Sequence[int]] | None = None) -> Model:
    """Read, check and normalise an ONNX model that nobody vouches for.

    No operator of the model is run, but for integer arithmetic on shapes; no library it names is
    loaded.

    Args:
        path: the model file; its external data lies in the same folder.
        inputs: shapes by input name, for the inputs that have free dimensions.

    Raises:
        ModelError: the file is absent, damaged, invalid, untrusted, too large, or leaves a
            dimension free.
        SpecError: `inputs` does not fit the model.
    """
    path = Path(path)
    try:
        model = _parse(_read(path))
        embed_external_data(model, path)
        return _normalised(path, model, inputs or {})
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.repair) from error


def model_files(path: Path | str) -> tuple[Path, ...]:
    """The file of a model, and those beside it that hold its weights: absolute, sorted, each once.

    Links are not followed: a build that is handed links depends on these.

    Raises:
        ModelError: the file is absent or damaged, or names a file outside of its folder.
    """
    path = Path(path)
    try:
        outside = external_files(_parse(_read(path)), path)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.repair) from error
    return tuple(sorted({path.absolute(), *outside}))


def declared_inputs(path: Path | str) -> dict[str, tuple[int | str, ...]]:
    """The shapes of a model's inputs as its file has them: where a dimension is free its name, or `?`.

    Raises:
        ModelError: the file is absent or damaged, or an input is no tensor.
    """
    path = Path(path)
    try:
        model = _parse(_read(path))
        _require_tensors(model)
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.repair) from error
    weights = {each.name for each in model.graph.initializer}
    return {
        each.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
            for dim in each.type.tensor_type.shape.dim
        )
        for each in model.graph.input
        if each.name not in weights
    }


def parse_model(data: bytes, path: Path | str) -> Model:
    """The Model of bytes that are self-contained and static already, such as those a pass has made.

    Raises:
        ModelError: they are not.
    """
    try:
        model = _parse(data)
        embed_external_data(model, None)
        return _normalised(Path(path), model, {})
    except ModelError as error:
        raise ModelError(f"{path}: {error.message}", error.repair) from error


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ModelError(
            f"the model can not be read: {error.strerror}", "look at `model` in the spec."
        ) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError("the model is not a regular file")
        if status.st_size > PROTOBUF_LIMIT:
            raise ModelError(
                f"the model has {status.st_size} bytes",
                f"a model file holds at most 2 GiB ({PROTOBUF_LIMIT} bytes).",
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(PROTOBUF_LIMIT)
    finally:
        os.close(descriptor)


def _parse(data: bytes) -> onnx.ModelProto:
    if not data:
        raise ModelError("the file is empty")
    if data.startswith(_LFS_POINTER):
        raise ModelError(
            "the file is a pointer of Git LFS, not the model", "fetch the model: git lfs pull"
        )
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(data)
    except Exception as error:  # the class is of protobuf, which is onnx's dependency and not ours
        raise ModelError(
            "the file is not an ONNX model, or it is truncated", "export or download it again."
        ) from error
    if not model.HasField("graph") or not model.graph.node:
        raise ModelError("the file holds no ONNX graph", "export or download it again.")
    return model


def _normalised(path: Path, model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Model:
    check_expansion(model)
    _check(model)
    model = inline_functions(model)
    declare_standard_operators(model)
    if 0 < opset_of(model) < OLDEST_OPSET:
        model = raise_opset(model, OLDEST_OPSET)
    model = expand_functions(model)
    lift_constants(model)
    separate_initializers(model)
    put_steps_first(model)
    name_nodes(model)
    model = write_as_qdq(model)
    widen_small_weights(model)
    refuse_foreign_operators(model)
    _require_tensors(model)
    fix_dimensions(model, shapes)
    model = infer_static_shapes(model)
    if needs_qdq(model):  # what was inside of control flow
        model = infer_static_shapes(write_as_qdq(model))
    if widen_halves(model):
        model = infer_static_shapes(model)
    name_nodes(model)  # what became of control flow, of integers and of halves
    _check(model)
    data = _serialised(model)
    weights = [
        Stored(i, i.name) for i in model.graph.initializer if i.data_type != TensorProto.INT64
    ]
    return Model(
        path=path,
        data=data,
        digest=hashlib.sha256(data).hexdigest(),
        inputs=tuple(_port(v) for v in model.graph.input),
        outputs=tuple(_port(v) for v in model.graph.output),
        opset=opset_of(model),
        parameter_count=sum(math.prod(w.tensor.dims) for w in weights),
        weight_bytes=sum(byte_length(w) for w in weights),
        quantized=any(node.op_type == "DequantizeLinear" for node in model.graph.node),
    )


def _check(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # the checker raises several unrelated classes
        words = printable(" ".join(str(error).split()))
        raise ModelError(
            f"the ONNX checker refuses the model: {words}", "export it again."
        ) from error


def _require_tensors(model: onnx.ModelProto) -> None:
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        if not values:
            raise ModelError(f"the model has no {kind}")
        for value in values:
            tensor = value.type.HasField("tensor_type")
            if not tensor or value.type.tensor_type.elem_type == TensorProto.STRING:
                raise ModelError(
                    f"the {kind} {quoted(value.name)} is not a tensor of numbers",
                    "sequences, maps, optional values and strings are not supported.",
                )


def _port(value: onnx.ValueInfoProto) -> Port:
    shape = shape_of(value)
    if shape is None:
        raise ModelError(
            f"the shape of {quoted(value.name)} depends on the data",
            "every shape must follow from the inputs' shapes; export the model with fixed shapes.",
        )
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return Port(value.name, dtype.name, shape)


def _serialised(model: onnx.ModelProto) -> bytes:
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except ValueError as error:
        raise ModelError(
            "the model with its shapes written down exceeds 2 GiB", "a model holds at most 2 GiB."
        ) from error

"""A second opinion in double precision, on whose roundings are the smaller ones.

Two float32 libraries that differ are both off what the graph says of real numbers. Evaluated with 29 more bits by
onnx's reference evaluator, that is known far more closely than either has it, and whoever is nearer has the better
right.
"""

import math
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import ModelError, quoted
from onnx import AttributeProto, TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from budgetc.verification.agreement import differences
from budgetc.verification.oracle import Array, Arrays
from budgetc.verification.rounding import rounded_on_the_way
from budgetc.worker import ChildDied, run_child

SECONDS = 120.0
"""Time for all evaluations of one model: numpy code is a hundred times slower than a library, and more."""

BYTES = 8 * 2**30
"""Memory of an evaluation, which keeps every value of the graph."""

_MOST_BYTES = 2**31 - 2**20

_TYPES = frozenset({"dtype", "output_datatype", "output_dtype", "to"})
"""Attributes that name an element type."""

_STEPS = frozenset({"DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"})
"""Operators after which the nearest value is not the right one: an integer is right by the exactness rule, or wrong."""

_NARROW = frozenset({"CausalConvWithState", "GridSample", "LinearAttention"})
"""Operators that onnx's evaluator computes in float32 inside, whatever it is given."""

_REPAIR = "nothing to repair: without such an evaluation the bounds on rounding alone decide."


class Precise:
    """Evaluates one model in double precision, in a child, until its time is up.

    Args:
        model: the graph, checked and with inferred shapes.
        seconds: time for all inferences together.
    """

    def __init__(self, model: onnx.ModelProto, seconds: float = SECONDS) -> None:
        self._model, self._seconds = model, seconds
        self._left = seconds

    def infer(self, feed: Arrays) -> dict[str, Array]:
        """One inference: outputs by name, in f64 where the model has f32.

        Raises:
            ModelError: it cannot be evaluated so, or the time is up.
        """
        proto = doubled(self._model)
        if proto.ByteSize() > _MOST_BYTES:
            raise _no_judge("of a graph whose constants are larger than a file of ONNX may be")
        if self._left <= 0:
            raise _no_judge(f"since its {self._seconds:g} s were up")
        begin = time.monotonic()
        try:
            return self._evaluated(proto, feed)
        except ChildDied as died:
            raise _no_judge(f"since its evaluation died: {died.message}") from died
        finally:
            self._left -= time.monotonic() - begin

    def _evaluated(self, proto: onnx.ModelProto, feed: Arrays) -> dict[str, Array]:
        with tempfile.TemporaryDirectory(prefix="budgetc-precise-") as temporary:
            model, inputs, outputs = (Path(temporary) / n for n in ("model", "in.npz", "out.npz"))
            model.write_bytes(proto.SerializeToString())
            np.savez(inputs, *(_widened(feed[port.name]) for port in proto.graph.input))
            run_child(
                "budgetc.verification.precise:evaluate",
                {"model": str(model), "inputs": str(inputs), "outputs": str(outputs)},
                timeout_s=self._left,
                memory_bytes=BYTES,
            )
            with np.load(outputs) as found:
                values = [found[name] for name in found.files]
        return {port.name: v for port, v in zip(proto.graph.output, values, strict=True)}


def doubled(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with f64 in the place of every f32: ports, constants, casts and other attributes.

    Raises:
        ModelError: double precision is no judge of it, since it is quantised or computes in f64 itself.
    """
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    halves = rounded_on_the_way(model)
    for node in graph.node:
        if halves.intersection(node.output):
            raise _no_judge(
                f"of what is rounded to 16 bits on the way, here by {quoted(node.name)}"
            )
        if node.op_type in _STEPS | _NARROW:
            raise _no_judge(f"of {node.op_type}, here {quoted(node.name)}")
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _double(attribute.t)
            elif attribute.name in _TYPES and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    for tensor in graph.initializer:
        _double(tensor)
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        if kind.elem_type == TensorProto.DOUBLE:
            raise _no_judge(f"of a graph that computes in it, here {quoted(info.name)}")
        if kind.elem_type == TensorProto.FLOAT:
            kind.elem_type = TensorProto.DOUBLE
    return made


def evaluate(model: str, inputs: str, outputs: str) -> None:
    """In a child: one inference of a model that `doubled` made; archives have arrays in the order of ports.

    Raises:
        ModelError: the evaluator lacks an operator, or fails, or computes a value in float32 after all.
    """
    proto = onnx.load(model)
    graph = proto.graph
    with np.load(inputs) as given:
        feed = {port.name: given[n] for port, n in zip(graph.input, given.files, strict=True)}
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(proto, new_ops=[Erf]).run(None, feed, intermediate=True)
    except Exception as error:  # it raises whatever its numpy code raises
        raise _no_judge(f"since onnx's evaluator fails: {error}") from error
    assert isinstance(values, dict)
    for info in (*graph.value_info, *graph.output):
        value = values.get(info.name)
        wide = info.type.tensor_type.elem_type == TensorProto.DOUBLE
        if wide and value is not None and np.asarray(value).dtype != np.float64:
            raise _no_judge(f"since onnx's evaluator has {quoted(info.name)} in less")
    np.savez(outputs, *(np.asarray(values[o.name]) for o in graph.output))


class Erf(OpRun):
    """The error function in double precision, which onnx's evaluator rounds to float32."""

    op_domain = ""

    def _run(self, x: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64]]:
        return (np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x)),)


def as_near(ours: Array, theirs: Array, truth: Array, allowed: float) -> npt.NDArray[np.bool_]:
    """The elements of one output that are at least as near to the truth as a reference has them.

    An element is where its own distance is not larger than the reference's, or than what rounding is allowed. All are,
    as far as they are finite, where the reference has at least as many elements beyond every distance that is not
    allowed: of two who round equally well, each is nearer in half of the elements.

    Args:
        ours: one inference's values.
        theirs: the reference's.
        truth: the same in double precision.
        allowed: an absolute difference that rounding explains.
    """
    own, other = differences(ours, truth), differences(theirs, truth)
    near: npt.NDArray[np.bool_] = own <= np.maximum(other, allowed)
    ranked = np.sort(own, axis=None) <= np.maximum(np.sort(other, axis=None), allowed)
    return near | np.isfinite(own) if ranked.all() else near


def _double(tensor: onnx.TensorProto) -> None:
    if tensor.data_type == TensorProto.FLOAT:
        wide = numpy_helper.to_array(tensor).astype(np.float64)
        tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))


def _widened(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _no_judge(why: str) -> ModelError:
    return ModelError(f"double precision is no judge {why}", _REPAIR)

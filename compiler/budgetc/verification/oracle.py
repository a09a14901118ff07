"""What a library is held against: onnxruntime, and onnx's reference evaluator where that cannot run the model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import ModelError, printable
from onnx.reference import ReferenceEvaluator

from budgetc.baseline import Session, make_session
from budgetc.lower.lowered import Port
from budgetc.model import Model
from budgetc.verification.fixed_point import FixedPointReference

Array = npt.NDArray[np.generic]
Arrays = Mapping[str, Array]
Infer = Callable[[Arrays], Arrays]


def reference_session(model: Model, *, fixed_point: bool) -> Session | FixedPointReference:
    """What says which numbers the libraries of a model have to give.

    For a QDQ graph that is the integer reference: onnxruntime's integer kernels, told not to saturate, whose every
    integer the lowering promises to compute (the exactness rule of docs/lowering.md); for cores without floats, the
    fixed-point arithmetic of docs/fixed-point.md.

    Raises:
        ModelError: it does not take the model.
    """
    if fixed_point and model.quantized:
        return FixedPointReference(model.data)
    return make_session(model.data, exact_integers=True)


class Oracle:
    """The reference of one model on one kind of core.

    Attributes:
        name: which reference it is.
        exact: whether it is the only one: every value of it is an integer or made of one, and none may differ.
    """

    def __init__(self, model: Model, *, fixed_point: bool = False) -> None:
        self._model = model
        self.proto = onnx.load_model_from_string(model.data)
        self._session: Session | FixedPointReference | None = None
        self._why = ""
        try:
            self._session = reference_session(model, fixed_point=fixed_point)
        except ModelError as error:
            self._why = error.message
        self.name = "onnxruntime" if self._session else "onnx's reference evaluator"
        self.exact = False
        if isinstance(self._session, FixedPointReference):
            self.name, self.exact = "fixed-point arithmetic in numpy", self._session.whole

    def infer(self, feed: Arrays) -> dict[str, Array]:
        """One inference.

        Raises:
            ModelError: neither reference runs it.
        """
        if self._session is not None:
            return self._session.run(feed)
        try:
            return self.definition(feed)
        except Exception as error:  # of whatever kind its numpy code raises
            words = printable(" ".join(str(error).split()))
            raise ModelError(
                f"no reference runs the model: onnx's evaluator fails with {words}; {self._why}",
                "nothing says what its results should be; export the model so that onnxruntime runs it.",
            ) from error

    def definition(self, feed: Arrays) -> dict[str, Array]:
        """One inference by onnx's reference evaluator, which is ONNX's definition in numpy, and slow."""
        with np.errstate(all="ignore"):
            values = self._evaluator.run(None, dict(feed))
        return {o.name: np.asarray(v) for o, v in zip(self.proto.graph.output, values, strict=True)}

    def as_written(self, feed: Arrays) -> dict[str, Array]:
        """One inference by onnxruntime without its optimiser, which may hand out a quantised value for a real one."""
        return self._plain.run(feed)

    @cached_property
    def _plain(self) -> Session:
        return make_session(self._model.data, optimisation="none")

    @cached_property
    def _evaluator(self) -> ReferenceEvaluator:
        return ReferenceEvaluator(self.proto)


def feeds(inputs: Arrays, ports: Sequence[Port]) -> Iterator[dict[str, Array]]:
    """Stacked inputs, one inference after another, each array in its port's shape."""
    for step in range(inferences(inputs, ports)):
        feed = {}
        for port in ports:
            rows = port.shape[0] if port.shape else 1
            feed[port.name] = inputs[port.name][step * rows : (step + 1) * rows].reshape(port.shape)
        yield feed


def inferences(inputs: Arrays, ports: Sequence[Port]) -> int:
    """How many inferences stacked inputs make; a last one that is not full does not count."""
    return min(len(inputs[p.name]) // (p.shape[0] if p.shape else 1) for p in ports)


def stack(feed: Arrays) -> dict[str, Array]:
    """One inference's arrays as stacked ones: a scalar gets an axis."""
    return {name: np.atleast_1d(value) for name, value in feed.items()}


def outputs_of(infer: Infer, inputs: Arrays, ports: Sequence[Port]) -> dict[str, Array]:
    """Every inference's outputs, with one entry on axis 0 for each inference."""
    columns: dict[str, list[Array]] = {}
    for feed in feeds(inputs, ports):
        for name, value in infer(feed).items():
            columns.setdefault(name, []).append(np.asarray(value))
    return {name: np.stack(values) for name, values in columns.items()}


def by_inference(outputs: Arrays, ports: Sequence[Port]) -> dict[str, Array]:
    """What the harness joined on axis 0, with one entry there for each inference."""
    return {p.name: outputs[p.name].reshape(-1, *p.shape) for p in ports}

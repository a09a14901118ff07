"""Put cheaper activations in place of those that need exponentials.

An activation is found by what it does, however it is written: a run of elementwise operators between one tensor and
another, with single numbers for constants, is a function f of one number, which is looked at on a grid:

    f(x) ~ x for large x, ~ 0 for small x         GELU, SiLU, Mish, ELU, Softplus:   Relu or HardSwish
    f(x) ~ 1 for large x, ~ 0 for small x         the logistic function:             HardSigmoid
    f(x) ~ 1 for large x, ~ -1 for small x        the hyperbolic tangent:            Clip to [-1, 1]

With calibration samples, the matrix product or convolution that reads f(x) is fitted to read g(x) instead:

    W' = W + W E[(f - g) g^T] (E[g g^T] + r I)^-1

as channels that others stand in for are (pruning/replacement.py), with one matrix for all taps.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from budgetc_passes.calibration import Pairs, Watcher, watch
from budgetc_passes.contract import Evidence, Needs, Note, PassResult, Sample
from budgetc_passes.contraction import Contraction, contraction
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    constant,
    dims,
    drop_dead,
    graph_of,
    int_attribute,
    is_op,
    label,
    only_consumer,
    opset,
    scalar,
    set_constant,
    substitute,
)
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import require_known, split_names
from budgetc_passes.operators import ELEMENTWISE_UNARY
from budgetc_passes.options import check_words
from budgetc_passes.selection import check

Floats = npt.NDArray[np.float64]

RIDGE = 1e-3
"""Of the mean square of the channels, added to that of each."""

MOST_CHANNELS = 2048
"""That a reader is fitted to: the moments of more would take too much memory and time."""

COSTLY = frozenset({
    "Celu", "Elu", "Erf", "Exp", "Gelu", "Log", "Mish", "Selu", "Sigmoid", "Softplus", "Swish", "Tanh",
})  # fmt: skip
"""What makes an activation worth the change."""

_ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "PRelu")
_UNARY = ELEMENTWISE_UNARY - {"Cast", "Dropout", "Not"}
_FAR = 30.0
"""Where an activation is what it is for large numbers."""


@dataclass(frozen=True)
class ReplaceActivations:
    """Puts cheaper activations in place of GELU, SiLU, Mish, ELU, the logistic function and the hyperbolic tangent.

    An activation has the name of its last node. The layer that reads it is fitted to the new one on the
    calibration samples.

    Requires: opset >= 9, functions inlined; best after `clean` and `fuse`. Ensures: the model passes the
    full ONNX checker; the interface is unchanged.
    Cost: lowers latency, most on hardware without wide vectors; changes the function.
    Source: Howard et al. 2019, arXiv 1905.02244, section 5.2 (the hard forms).

    Attributes:
        to: what becomes of activations that hand on large numbers, "relu" or "hardswish". Those that go
            to 0 or -1 and to 1 become a HardSigmoid or a Clip.
        nodes: which activations, by name, separated by ";"; one inside of a name has a backslash before
            it. Without names, each that suits.
        method: "fit" the readers to the calibration samples; "keep" their weights.
    """

    name: ClassVar[str] = "replace-activations"
    to: Literal["relu", "hardswish"] = "relu"
    nodes: str = ""
    method: Literal["fit", "keep"] = "fit"

    def __post_init__(self) -> None:
        """Check the options."""
        check_words(self)

    def needs(self) -> Needs:
        """Calibration samples, if readers are fitted to them."""
        return Needs(calibration=self.method == "fit")

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Replace every activation that is wanted.

        Raises:
            PassError: `nodes` names an activation that the model lacks; there are no samples, or they do
                not fit the model.
        """
        before = require(model, self.name)
        found = {each.name: each for each in activations(model)}
        wanted = split_names(self.nodes)
        require_known(wanted, list(found), "replace-activations: nodes")
        notes: list[Note] = []
        chosen: dict[str, tuple[_Activation, _Cheap]] = {}
        for name in wanted or found:
            cheap = _cheap(found[name], self.to)
            if isinstance(cheap, str):
                notes.append(Note("refused", name, f"left as it is: {cheap}"))
            else:
                chosen[name] = found[name], cheap
        predictions: Mapping[str, Floats] = {}
        if self.method == "fit" and chosen:
            measured = functools.partial(_predictions, model, chosen, evidence.calibration())
            predictions = evidence.measured(f"{self}", measured)
        for name, (activation, cheap) in chosen.items():
            reader = _reader(activation)
            fitted = ""
            if name in predictions and reader is not None:
                _refit(reader, predictions[name])
                fitted = f"; fitted {label(reader[0])}"
            _write(activation, cheap, opset(model))
            notes.append(Note("did", name, f"made a {cheap.name}{fitted}"))
        result = finish(model, self.name, before, notes)
        if result.modified:
            check(model, self.name)
        return result


@dataclass(frozen=True, eq=False)
class _Activation:
    """A run of elementwise operators that computes one function of one tensor.

    Attributes:
        source: what it reads.
        result: what it hands on.
        nodes: its operators, in graph order.
    """

    source: ir.Value
    result: ir.Value
    nodes: tuple[ir.Node, ...]

    @property
    def name(self) -> str:
        return label(self.nodes[-1])

    def __call__(self, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The function, of an array of any shape."""
        ours = {self.source, *(node.outputs[0] for node in self.nodes)}
        held: dict[str, npt.NDArray[np.generic]] = {}
        for node in self.nodes:
            for value in node.inputs:
                if value is not None and value not in ours:
                    array = constant(value)
                    assert array is not None
                    held[value.name or ""] = array.reshape(())
        kind = onnx.TensorProto.FLOAT
        ports = [
            onnx.helper.make_tensor_value_info(value.name or "", kind, ["N"])
            for value in (self.source, self.result)
        ]
        graph = onnx.helper.make_graph(
            [ir.to_proto(node) for node in self.nodes],
            "activation",
            ports[:1],
            ports[1:],
            [onnx.numpy_helper.from_array(array, name) for name, array in held.items()],
        )
        version = opset_of(self.nodes[0])
        imports = [onnx.helper.make_opsetid("", version)]
        proto = onnx.helper.make_model(graph, opset_imports=imports)
        (got,) = ReferenceEvaluator(proto).run(None, {self.source.name or "": numbers})
        return np.asarray(got, np.float32)


@dataclass(frozen=True)
class _Cheap:
    """A function that is quick to compute."""

    name: str
    compute: Callable[[Floats], Floats]


_RELU = _Cheap("Relu", lambda x: np.maximum(x, 0.0))
_HARD_SWISH = _Cheap("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0))
_HARD_SIGMOID = _Cheap("HardSigmoid", lambda x: np.clip(0.2 * x + 0.5, 0.0, 1.0))
_CLIP = _Cheap("Clip", lambda x: np.clip(x, -1.0, 1.0))


def opset_of(node: ir.Node) -> int:
    """The version of the standard operators that a node is of."""
    return graph_of(node).opset_imports.get("", 0)


def activations(model: ir.Model) -> Iterator[_Activation]:
    """Each longest run of elementwise operators on one tensor that has a costly one among them."""
    roots: dict[ir.Value, ir.Value] = {}
    for node in model.graph:
        root = _root(node, roots)
        if root is not None:
            roots[node.outputs[0]] = root
    for node in model.graph:
        result = node.outputs[0]
        root = roots.get(result)
        goes_on = all(roots.get(each.outputs[0]) is root for each in result.consumers())
        if root is None or (goes_on and not result.is_graph_output()):
            continue
        inside = _between(root, result)
        if any(is_op(each, *COSTLY) for each in inside):
            yield _Activation(root, result, inside)


def _root(node: ir.Node, roots: Mapping[ir.Value, ir.Value]) -> ir.Value | None:
    """The tensor that a node's output is a function of, number by number; None where there is no one."""
    if not is_op(node, *_UNARY, *_ARITHMETIC) or len(node.outputs) > 1:
        return None
    found: dict[ir.Value, None] = {}
    for value in node.inputs:
        if value is None or scalar(value) is not None:
            continue
        if constant(value) is not None:
            return None
        found[roots.get(value, value)] = None
    shapes = {dims(value) for value in (*found, node.outputs[0])}
    same = len(found) == 1 and len(shapes) == 1 and None not in shapes
    return next(iter(found)) if same else None


def _between(root: ir.Value, result: ir.Value) -> tuple[ir.Node, ...]:
    seen: dict[ir.Node, None] = {}
    left = [result]
    while left:
        value = left.pop()
        node = value.producer()
        if value is root or node is None or node in seen:
            continue
        seen[node] = None
        left += [each for each in node.inputs if each is not None and scalar(each) is None]
    graph = next(iter(seen)).graph
    return tuple(node for node in graph or () if node in seen)


def _cheap(activation: _Activation, to: str) -> _Cheap | str:
    """What is like the activation for large and small numbers, or why nothing is."""
    low, high = activation(np.array([-_FAR, _FAR], np.float32)).astype(np.float64)
    if abs(high - _FAR) < 1e-3 and abs(low) < 2:
        return _RELU if to == "relu" else _HARD_SWISH
    if abs(high - 1) < 1e-3 and abs(low) < 1e-3:
        return _HARD_SIGMOID
    if abs(high - 1) < 1e-3 and abs(low + 1) < 1e-3:
        return _CLIP
    return f"it is {low:.3g} at {-_FAR:g} and {high:.3g} at {_FAR:g}, like none of the cheap ones"


def _reader(activation: _Activation) -> tuple[ir.Node, Contraction] | None:
    """The layer that alone reads an activation and can be fitted to another."""
    node = only_consumer(activation.result)
    summed = None if node is None else contraction(node)
    if node is None or summed is None or summed.source[0] is not activation.result:
        return None
    weight = constant(node.inputs[1])
    grouped = int_attribute(node, "group", 1) > 1
    if weight is None or weight.dtype.kind != "f" or grouped:
        return None
    return (node, summed) if weight.shape[summed.rows[1]] <= MOST_CHANNELS else None


class _Sums:
    """The running moments of an activation's channels and of what comes in its place."""

    def __init__(self, axis: int, cheap: _Cheap) -> None:
        self._axis, self._cheap = axis, cheap
        self._square: Floats | None = None
        self._across: Floats | None = None

    def update(self, source: npt.NDArray[np.floating], result: npt.NDArray[np.floating]) -> None:
        """Take in what goes in and what comes out at one inference."""
        x, f = (
            np.moveaxis(each, self._axis, -1).reshape(-1, each.shape[self._axis]).astype(np.float64)
            for each in (source, result)
        )
        g = self._cheap.compute(x)
        square, across = g.T @ g, (f - g).T @ g
        self._square = square if self._square is None else self._square + square
        self._across = across if self._across is None else self._across + across

    @property
    def prediction(self) -> Floats:
        """M, for which f - g is nearest to M g: (channels, channels)."""
        assert self._square is not None
        assert self._across is not None
        own = float(np.trace(self._square)) / len(self._square)
        within = self._square + (RIDGE * own or 1.0) * np.eye(len(self._square))
        return np.asarray(np.linalg.solve(within, self._across.T).T)


def _predictions(
    model: ir.Model,
    chosen: Mapping[str, tuple[_Activation, _Cheap]],
    samples: Iterable[Sample],
) -> dict[str, Floats]:
    watchers: dict[str, list[Watcher]] = {}
    sums = {}
    for name, (activation, cheap) in chosen.items():
        reader = _reader(activation)
        if reader is None:
            continue
        sums[name] = _Sums(reader[1].source[1], cheap)
        pairs = Pairs(sums[name].update)
        for value, half in ((activation.source, pairs.first), (activation.result, pairs.second)):
            watchers.setdefault(value.name or "", []).append(half)
    watch(model, watchers, samples)
    return {name: each.prediction for name, each in sums.items()}


def _refit(reader: tuple[ir.Node, Contraction], prediction: Floats) -> None:
    node, summed = reader
    weight = constant(node.inputs[1])
    assert weight is not None
    rows = np.moveaxis(weight.astype(np.float64), summed.rows[1], 0)
    fitted = rows + np.tensordot(prediction.T, rows, 1)
    new = np.moveaxis(fitted, 0, summed.rows[1]).astype(weight.dtype)
    set_constant(node, 1, new, f"{label(node)}.refitted")


def _write(activation: _Activation, cheap: _Cheap, version: int) -> None:
    value, result, last = activation.source, activation.result, activation.nodes[-1]
    made = functools.partial(
        add_node,
        last,
        shape=dims(result),
        dtype=result.dtype,
        stem=f"{activation.name}.{cheap.name}",
    )
    if cheap is _CLIP and version >= 11:
        kind = (result.dtype or ir.DataType.FLOAT).numpy()
        stem = f"{activation.name}.bound"
        bounds = [add_initializer(graph_of(last), stem, np.array(b, kind)) for b in (-1, 1)]
        new = made("Clip", (value, *bounds))
    elif cheap is _CLIP:
        new = made("Clip", (value,), attributes={"min": -1.0, "max": 1.0})
    elif cheap is _HARD_SWISH and version < 14:
        gate = made("HardSigmoid", (value,), attributes={"alpha": 1 / 6, "beta": 0.5})
        new = made("Mul", (value, gate))
    elif cheap is _HARD_SIGMOID:
        new = made("HardSigmoid", (value,), attributes={"alpha": 0.2, "beta": 0.5})
    else:
        new = made(cheap.name, (value,))
    substitute(result, new)
    drop_dead(last)

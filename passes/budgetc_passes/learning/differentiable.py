"""An ONNX graph as a torch module, and its weights back into the graph.

A graph is made for inferences of one shape, its batch included. The module computes many of them at once: a value
that depends on the inputs has one more axis in front, one element for each inference, and a node works on it by
`torch.vmap`. So no operator has to know which of its axes is the batch, and a reshape to a fixed shape stays one.
Where it is known that a batch may be larger, as of a convolution, the two axes are one: that is quicker.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.nn import functional

from budgetc_passes.contract import PassError
from budgetc_passes.graph import Array, constant, dims, infer_missing_shapes, is_op, label, opset
from budgetc_passes.learning.codes import CODES, CodedWeight, coded_weight
from budgetc_passes.learning.elementwise import NARY, UNARY
from budgetc_passes.learning.layers import LAYERS
from budgetc_passes.learning.moves import MOVES, REDUCTIONS
from budgetc_passes.learning.recurrent import RECURRENT
from budgetc_passes.learning.site import Function, Site

OPERATORS = {**UNARY, **NARY, **CODES, **LAYERS, **MOVES, **REDUCTIONS, **RECURRENT}
"""The operators that have a differentiable form."""

_LEARNED = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "GRU": (1, 2, 3),
    "Gemm": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RNN": (1, 2, 3),
    "Sub": (0, 1),
}
"""The inputs at which a constant is a weight."""

_ALONE = frozenset({"Add", "Mul", "Sub"})
"""Where a single number is no weight but a part of the formula, such as the 0.5 of a Gelu."""

_ROWWISE = frozenset(
    {
        "AveragePool",
        "BatchNormalization",
        "Conv",
        "Gemm",
        "GlobalAveragePool",
        "GlobalMaxPool",
        "MaxPool",
    }
)
"""What treats each element of a batch for itself, axis 0 of the first input: quicker so than by `torch.vmap`."""

_MOMENTUM = 0.1
"""By how much a step moves the statistics of a BatchNormalization towards those of its batch."""


@dataclass(frozen=True)
class _Step:
    """A node with its function.

    Attributes:
        node: what is computed.
        function: of one inference.
        live: of each input, whether it has an axis of inferences.
        direct: whether the function may see that axis as well.
        rowwise: whether it may see inferences as a larger batch.
    """

    node: ir.Node
    function: Function
    live: tuple[bool, ...]
    direct: bool
    rowwise: bool

    def run(self, inputs: Sequence[Tensor | None]) -> Sequence[Tensor]:
        made = self._called(inputs)
        return (made,) if isinstance(made, Tensor) else tuple(made)

    def _called(self, inputs: Sequence[Tensor | None]) -> Tensor | tuple[Tensor, ...]:
        made: Tensor | tuple[Tensor, ...]
        if self.direct or not any(self.live):
            made = self.function(*inputs)
            return made
        if self.rowwise:
            x = inputs[0]
            assert x is not None
            rows: Tensor = self.function(x.flatten(0, 1), *inputs[1:])
            return rows.reshape(*x.shape[:2], *rows.shape[1:])
        given = [each for each in inputs if each is not None]
        places = [at for at, each in enumerate(inputs) if each is not None]
        axes = tuple(0 if self.live[at] else None for at in places)

        def one(*tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
            arguments: list[Tensor | None] = [None] * len(inputs)
            for at, tensor in zip(places, tensors, strict=True):
                arguments[at] = tensor
            made: Tensor | tuple[Tensor, ...] = self.function(*arguments)
            return made

        found: Tensor | tuple[Tensor, ...] = torch.vmap(one, axes)(*given)
        return found


class Net(nn.Module):
    """A graph that can be trained: its weights by name, its values by name, its weights written back.

    What a graph holds is kept while it is trained: constants that several nodes read are one weight, elements of
    weights that are exactly zero stay zero, codes stay codes of the same width, and all shapes are as they were.

    Args:
        model: shapes that it lacks are written into it; nothing else of it is changed.
        scales: whether the steps of codes are learned too.

    Raises:
        PassError: an operator has no differentiable form; names the first such node.
    """

    def __init__(self, model: ir.Model, *, scales: bool = False) -> None:
        super().__init__()
        infer_missing_shapes(model)
        graph, version = model.graph, opset(model)
        self._inputs = tuple(value.name or "" for value in graph.inputs)
        self._fixed: dict[ir.Value, Tensor] = {}
        self._masks: dict[ir.Value, Tensor] = {}
        self._statistics: dict[ir.Value, Tensor] = {}
        self._named: dict[str, nn.Parameter] = {}
        self._parts = nn.ParameterList()
        coded = (coded_weight(node, version) for node in graph)
        self._coded = {each.node: each for each in coded if each is not None}
        self._scales: dict[ir.Value, Tensor] = {}
        self._steps: list[_Step] = []
        self._values = {value.name: value for value in graph.inputs}
        live = set(graph.inputs)
        for node in graph:
            self._constants(node)
            if is_op(node, "Constant"):
                continue
            self._steps.append(_step(node, version, live))
            if any(self._steps[-1].live):
                live.update(node.outputs)
            self._values |= {value.name: value for value in node.outputs}
        if scales:
            self._learn_scales()
        for weight in self._coded.values():
            if (weight.codes.name or "") not in self._named:
                self._learn(weight.codes, weight.real(self._scale(weight)))
        self._live = live

    @property
    def weights(self) -> Mapping[str, nn.Parameter]:
        """What is learned, by the names of the initializers; of steps of codes, the logarithm of their growth."""
        return self._named

    @property
    def normalises(self) -> bool:
        """Whether there are normalisations that learn from the statistics of their batch."""
        return bool(self._statistics)

    def state(self) -> dict[str, Tensor]:
        """A copy of all that training changes."""
        found = {f"weight {name}": each.detach().clone() for name, each in self._named.items()}
        kept = {f"statistic {v.name}": each.clone() for v, each in self._statistics.items()}
        return found | kept

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that `state` made of the same graph."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state[f"weight {name}"])
            for value, kept in self._statistics.items():
                kept.copy_(state[f"statistic {value.name}"])

    def forward(self, inputs: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
        """Values of the graph by name, for many inferences at once.

        Args:
            inputs: by name, [inferences, *shape].
            wanted: names of outputs or of any other values that depend on the inputs.
        """
        values: dict[ir.Value, Tensor] = {self._values[n]: inputs[n] for n in self._inputs}
        for step in self._steps:
            weight = self._coded.get(step.node)
            if weight is not None:
                real = self._named[weight.codes.name or ""]
                values[step.node.outputs[0]] = weight.fake(real, self._scale(weight))
                continue
            given = [None if v is None else self._value(v, values) for v in step.node.inputs]
            if self.training and is_op(step.node, "BatchNormalization"):
                made: Sequence[Tensor] = (self._normalised(step.node, given),)
            else:
                made = step.run(given)
            values.update(zip(step.node.outputs, made, strict=False))
        return {name: values[self._values[name]] for name in wanted}

    def write(self, model: ir.Model) -> tuple[str, ...]:
        """Put what was learned into the initializers of a graph that has them by name; nothing else changes.

        Returns:
            The names of those whose elements differ now.
        """
        arrays = self._arrays()
        changed = []
        for value in model.graph.initializers.values():
            array, before = arrays.get(value.name or ""), constant(value)
            if array is None or before is None or np.array_equal(array, before):
                continue
            value.const_value = ir.tensor(array.astype(before.dtype), name=value.name)
            changed.append(value.name or "")
        return tuple(changed)

    def _arrays(self) -> dict[str, Array]:
        """All that training may have changed, as it is stored."""
        found: dict[str, Array] = {}
        with torch.no_grad():
            for value in [*self._fixed, *self._scales]:
                if value in self._scales or (value.name or "") in self._named:
                    found[value.name or ""] = self._constant(value).numpy().copy()
            for value, kept in self._statistics.items():
                found[value.name or ""] = kept.numpy().copy()
            for weight in self._coded.values():
                real, scale = self._named[weight.codes.name or ""], self._scale(weight)
                found[weight.codes.name or ""] = weight.array(real, scale)
                if self._scales and weight.factors:
                    found[weight.scale.name or ""] = scale.numpy().copy()
        return found

    def _constants(self, node: ir.Node) -> None:
        """Take in the constants that a node reads, and say which of them are learned."""
        for at, value in enumerate(node.inputs):
            array = constant(value)
            if value is None or array is None:
                continue
            if value not in self._fixed:
                self._fixed[value] = torch.from_numpy(np.array(array))
            if is_op(node, "BatchNormalization") and at in {3, 4}:
                self._statistics.setdefault(value, self._fixed[value].clone())
            held = value.producer() is None and (value.name or "") not in self._named
            if held and array.dtype == np.float32 and _is_weight(value, array.size):
                self._learn(value, self._fixed[value])
                if array.ndim > 1 and not array.all():
                    self._masks[value] = torch.from_numpy((array != 0).astype(np.float32))

    def _learn(self, value: ir.Value, start: Tensor) -> None:
        parameter = nn.Parameter(start.clone())
        self._named[value.name or ""] = parameter
        self._parts.append(parameter)

    def _learn_scales(self) -> None:
        """Let the steps of all codes be learned, but for those of biases, which follow."""
        followers = {weight.scale for weight in self._coded.values() if weight.factors}
        for step in self._steps:
            if not is_op(step.node, "QuantizeLinear", "DequantizeLinear"):
                continue
            scale = step.node.inputs[1]
            if scale is None or scale in followers or scale in self._scales:
                continue
            self._scales[scale] = self._fixed[scale]
            # As a logarithm: a step of training changes it by a share of itself, whatever its unit.
            self._learn(scale, torch.zeros_like(self._fixed[scale]))

    def _scale(self, weight: CodedWeight) -> Tensor:
        """The steps of coded weights as they are now."""
        if not self._scales or not weight.factors:
            return self._constant(weight.scale)
        first, second = (self._constant(each) for each in weight.factors)
        return (first * second).reshape(self._fixed[weight.scale].shape)

    def _value(self, value: ir.Value, values: Mapping[ir.Value, Tensor]) -> Tensor:
        return values[value] if value in values else self._constant(value)

    def _constant(self, value: ir.Value) -> Tensor:
        """A constant as it is now: learned, or as the graph has it."""
        if value in self._scales:
            return self._scales[value] * torch.exp(self._named[value.name or ""])
        if value in self._statistics:
            return self._statistics[value]
        parameter = self._named.get(value.name or "")
        if parameter is None:
            return self._fixed[value]
        mask = self._masks.get(value)
        return parameter if mask is None else parameter * mask

    def _normalised(self, node: ir.Node, given: Sequence[Tensor | None]) -> Tensor:
        """A BatchNormalization by the statistics of its batch, which its own ones move towards."""
        x, scale, bias, mean, variance = given[:5]
        assert x is not None
        made = functional.batch_norm(
            x.flatten(0, 1),
            mean,
            variance,
            scale,
            bias,
            training=True,
            momentum=_MOMENTUM,
            eps=Site(node, 0).real("epsilon", 1e-5),
        )
        return made.reshape(x.shape)


def _is_weight(value: ir.Value, size: int) -> bool:
    """Whether a constant is a weight to all that read it: to some, it may be a bound or a number of a formula."""
    return all(
        use.node.domain == ""
        and use.idx in _LEARNED.get(use.node.op_type, ())
        and not (size == 1 and use.node.op_type in _ALONE)
        for use in value.uses()
    )


def _step(node: ir.Node, version: int, live: set[ir.Value]) -> _Step:
    """A node's function.

    Raises:
        PassError: it has none.
    """
    if node.domain != "" or node.op_type not in OPERATORS:
        message = f"the operator {node.op_type} of {label(node)!r} has no differentiable form"
        raise PassError(message)
    function = OPERATORS[node.op_type](Site(node, version))
    given = tuple(value is not None and value in live for value in node.inputs)
    return _Step(node, function, given, _is_direct(node, given), _is_rowwise(node, given))


def _is_direct(node: ir.Node, live: Sequence[bool]) -> bool:
    """Whether a function of single elements may see the axis of inferences: nothing is broadcast along it."""
    if node.op_type in UNARY:
        return True
    if node.op_type in CODES:
        return live[0]
    if node.op_type not in NARY:
        return False
    ranks = [None if value is None else len(dims(value) or ()) for value in node.inputs]
    of_live = {rank for rank, each in zip(ranks, live, strict=True) if each}
    of_fixed = [rank or 0 for rank, each in zip(ranks, live, strict=True) if not each]
    return len(of_live) == 1 and max(of_fixed, default=0) <= min(r or 0 for r in of_live)


def _is_rowwise(node: ir.Node, live: Sequence[bool]) -> bool:
    """Whether inferences may stand in the batch of a node's first input, with nothing that is about one of them."""
    if node.op_type not in _ROWWISE or list(live) != [True] + [False] * (len(live) - 1):
        return False
    if node.op_type != "Gemm":
        return True
    added = dims(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else ()
    turned = Site(node, 0).integer("transA", 0)
    return not turned and added is not None and (len(added) < 2 or added[0] == 1)

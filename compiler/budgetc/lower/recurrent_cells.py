"""LSTM, GRU and RNN as cells: what ONNX says of one step, as expressions for each working row.

    LSTM   c = f * c + i * G(..),  h = o * H(c)                i, o, f of (given + sum + bias + peephole * c)
    GRU    h = (1 - z) * n + z * h                             z, r of (given + sum + bias)
           n = G(given + bias + (r * h) @ R)                   linear_before_reset = 0: a product of its own
           n = G(given + bias + r * (h @ R + bias of R))       linear_before_reset = 1
    RNN    h = F(given + sum + bias)

Source: the operators' definitions in the ONNX standard.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from budgetc_specs.errors import ModelError, quoted
from budgetc_targets.expression import Expr, apply, substitute
from budgetc_targets.recurrence import Cell, Stage

from budgetc.lower.activations import ONE, UNARY, clip, real

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
"""Gates by operator: i, o, f, c; z, r, h; and the only one."""

ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
"""What ONNX takes where a node names no activations, for one direction."""

_PARAMETERS: Mapping[str, tuple[float | None, ...]] = {
    "Affine": (None, None),
    "Elu": (1.0,),
    "HardSigmoid": (0.2, 0.5),
    "LeakyRelu": (0.01,),
    "Relu": (),
    "ScaledTanh": (None, None),
    "Sigmoid": (),
    "Softplus": (),
    "Softsign": (),
    "Tanh": (),
    "ThresholdedRelu": (None,),
}
"""Defaults of alpha and beta. None: ONNX has no operator that says one, or onnxruntime takes another."""


@dataclass(frozen=True)
class Columns:
    """Which columns a cell reads; None, or nothing, where the layer has no such input.

    Attributes:
        scales: of the weights of each gate, where these are integers.
        biases: that are added to each gate.
        reset: the recurrent bias of a GRU's hidden gate, where that is multiplied by the reset gate.
        peepholes: of the gates i, o and f.
    """

    scales: Sequence[int] | None
    biases: Sequence[Sequence[int]]
    reset: Sequence[int]
    peepholes: Sequence[int] | None


Function = Callable[[Expr], Expr]


def cells(kind: str, label: str, attributes: Mapping[str, Any], columns: Columns) -> list[Cell]:
    """The cell of each direction of a node.

    Raises:
        ModelError: an activation that ONNX does not know.
    """
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    functions = _functions(kind, label, attributes, directions)
    each = len(ACTIVATIONS[kind])
    made = []
    for direction in range(directions):
        chosen = functions[direction * each : (direction + 1) * each]
        writer = _Cell(kind, attributes, columns, chosen)
        made.append({"LSTM": writer.lstm, "GRU": writer.gru, "RNN": writer.rnn}[kind]())
    return made


class _Cell:
    def __init__(
        self,
        kind: str,
        attributes: Mapping[str, Any],
        columns: Columns,
        functions: Sequence[Function],
    ) -> None:
        self.attributes, self.columns, self.functions = attributes, columns, functions
        self.limit = float(attributes.get("clip", 0.0)) or np.inf
        self.before = bool(attributes.get("linear_before_reset", 0))
        rows = {"LSTM": 2, "GRU": 1 if self.before else 3, "RNN": 1}[kind]
        self.cell = Cell(rows, 2 if kind == "LSTM" else 1, GATES[kind], ())

    def lstm(self) -> Cell:
        f, g, h = self.functions
        state, column = self.cell.row(1), self.cell.column

        def gate(index: int, peephole: int, state: Expr) -> Expr:
            value = self.gate(index)
            if self.columns.peepholes is not None:
                value = apply("fma", column(self.columns.peepholes[peephole]), state, value)
            return f(self.limited(value))

        entering = gate(0, 0, state)
        coupled = self.attributes.get("input_forget", 0)
        kept = apply("sub", ONE, entering) if coupled else gate(2, 2, state)
        candidate = g(self.limited(self.gate(3)))
        after = apply("fma", kept, state, apply("mul", entering, candidate))
        result = apply("mul", gate(1, 1, state), h(state))
        return self.staged(Stage(0, (0, 1, 2, 3), ((1, after), (0, result))))

    def gru(self) -> Cell:
        f, g = self.functions
        old = self.cell.row(0)
        update, reset = f(self.limited(self.gate(0))), f(self.limited(self.gate(1)))

        def mixed(update: Expr, new: Expr) -> Expr:
            return apply("fma", update, apply("sub", old, new), new)

        if self.before:
            inner = self.product(2)
            for index in self.columns.reset:
                inner = apply("add", inner, self.cell.column(index))
            outer = apply("fma", reset, inner, self.biased(2, self.cell.given(2)))
            new = g(self.limited(outer))
            return self.staged(Stage(0, (0, 1, 2), ((0, mixed(update, new)),)))
        first = Stage(0, (0, 1), ((1, update), (2, apply("mul", reset, old))))
        new = g(self.limited(self.gate(2)))
        return self.staged(first, Stage(2, (2,), ((0, mixed(self.cell.row(1), new)),)))

    def rnn(self) -> Cell:
        (f,) = self.functions
        return self.staged(Stage(0, (0,), ((0, f(self.limited(self.gate(0)))),)))

    def staged(self, *stages: Stage) -> Cell:
        return Cell(self.cell.rows, self.cell.states, self.cell.gates, stages)

    def gate(self, index: int) -> Expr:
        """What goes into a gate from the input, the state and the biases."""
        given = self.biased(index, self.cell.given(index))
        if self.columns.scales is None:
            return apply("add", given, self.cell.summed(index))
        scale = self.cell.column(self.columns.scales[index])
        return apply("fma", self.cell.summed(index), scale, given)

    def product(self, index: int) -> Expr:
        """What the state alone gives to a gate."""
        if self.columns.scales is None:
            return self.cell.summed(index)
        scale = self.cell.column(self.columns.scales[index])
        return apply("mul", self.cell.summed(index), scale)

    def biased(self, index: int, value: Expr) -> Expr:
        for column in self.columns.biases[index]:
            value = apply("add", value, self.cell.column(column))
        return value

    def limited(self, value: Expr) -> Expr:
        """What an activation is given."""
        return clip(value, -self.limit, self.limit)


def _functions(
    kind: str, label: str, attributes: Mapping[str, Any], directions: int
) -> list[Function]:
    """The activations of all directions; each takes its parameters from the lists, in order."""
    count = len(ACTIVATIONS[kind]) * directions
    names = list(attributes.get("activations") or ACTIVATIONS[kind] * directions)[:count]
    if len(names) < count:
        raise ModelError(
            f"{label} names {len(names)} activations, and has {count}",
            "name one for each gate and direction, or none at all.",
        )
    known = {name.lower(): name for name in _PARAMETERS}
    lists = {key: list(attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    functions = []
    for given in map(_text, names):
        name = known.get(given.lower())
        if name is None:
            raise ModelError(
                f"{label}: the activation {quoted(given)} is not one that ONNX names",
                f"use one of {', '.join(_PARAMETERS)}.",
            )
        parameters = {}
        for key, default in zip(lists, _PARAMETERS[name], strict=False):
            value = lists[key].pop(0) if lists[key] else default
            if value is None:
                raise ModelError(
                    f"{label}: the activation {quoted(name)} is given no {key}, and runtimes take "
                    "different values then",
                    f"write the value that is meant into the attribute activation_{key}.",
                )
            parameters[key] = value
        functions.append(_function(name, parameters))
    return functions


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _function(name: str, parameters: Mapping[str, float]) -> Function:
    def applied(x: Expr) -> Expr:
        if name == "Affine":
            return apply("fma", x, real(parameters["alpha"]), real(parameters["beta"]))
        if name == "ScaledTanh":
            bent = apply("tanh", apply("mul", x, real(parameters["beta"])))
            return apply("mul", real(parameters["alpha"]), bent)
        return substitute(UNARY[name](dict(parameters)), lambda _: x)

    return applied

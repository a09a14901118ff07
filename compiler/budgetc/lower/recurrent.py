"""LSTM, GRU and RNN become a product of all steps by the input's weights, and one operation that goes through them.

    LSTM(X, W, R, ..)  ->  given = MatMul(X, columns of W),  recurrent(given, R, ..)

The product is an ordinary one: it becomes integer where X and W are quantised. What the operation makes lies in one
value of shape (slots, directions, batch, hidden): the result of every step, if it is read, then the last result and
the last cell, if these are; the node's outputs are views of it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from budgetc_specs.errors import ModelError, quoted
from onnx import helper

from budgetc.lower.constants import fold_constants
from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.recurrent_cells import GATES, Columns, cells


@dataclass(frozen=True)
class Column:
    """A number for each hidden unit: `hidden` elements of a value's last dimension from `start` on."""

    value: str
    start: int


def form_recurrent_operations(graph: Graph) -> None:
    """Rewrite the graph in place.

    Raises:
        ModelError: a layer of another type than f32, or with an activation that ONNX does not know.
    """
    recurrent = [op for op in graph.operations if op.kind in GATES]
    uses = graph.uses()
    for op in recurrent:
        position = graph.operations.index(op)
        graph.operations[position : position + 1] = _Former(graph, op, uses).operations()
    if recurrent:
        fold_constants(graph, keep=("DequantizeLinear",))


class _Former:
    def __init__(self, graph: Graph, op: Operation, uses: dict[str, int]) -> None:
        self.graph, self.op = graph, op
        x, w, r, bias, lengths, h, c, peepholes = (*op.inputs, *[""] * 8)[:8]
        for name in (x, w, r):
            if graph.values[name].dtype != "float32":
                raise ModelError(
                    f"{op.label}: {quoted(name)} is of type {graph.values[name].dtype}; recurrent "
                    "layers are computed in float32 only",
                    "export the model in float32.",
                )
        self.x, self.w, self.r, self.bias, self.lengths = x, w, r, bias, lengths
        self.initial = {
            row: name for row, name in enumerate((h, c)) if name and not self._zero(name)
        }
        self.peepholes = peepholes
        self.directions, rows, self.hidden = graph.values[r].shape
        self.gates = rows // self.hidden
        assert not op.attributes.get("layout", 0), f"BUG: {op.label} has the batch first"
        self.steps, self.batch, _ = graph.values[x].shape
        made = (*op.attributes["proto"].output, "", "", "")[:3]
        self.outputs = tuple(name if name and uses[name] else "" for name in made)
        self.before = bool(op.attributes.get("linear_before_reset", 0))
        self.columns: list[Column] = []
        self.made: list[Operation] = []

    def operations(self) -> list[Operation]:
        """What takes the node's place."""
        given = self._given()
        weight, scales = self._recurrent_weights()
        described = self._columns(scales)
        sequence, *finals = self.outputs
        rows = tuple(row for row, name in enumerate(finals) if name)
        slots = self.steps * bool(sequence) + len(rows)
        names = [name for name in self.outputs if name]
        shape = (slots, self.directions, self.batch, self.hidden)
        whole = len(names) == 1 and self.graph.values[names[0]].shape == shape
        result = (
            names[0] if whole else self.graph.add_value(f"{self.op.name}.all", shape, "float32")
        )
        lengths = "" if self._whole_lengths() else self.lengths
        attributes = {
            "cells": tuple(cells(self.op.kind, self.op.label, self.op.attributes, described)),
            "reverse": self.op.attributes.get("direction", "forward") == "reverse",
            "initial": tuple(self.initial),
            "columns": tuple(self.columns),
            "lengths": lengths,
            "weight": weight,
            "sequence": bool(sequence),
            "finals": rows,
        }
        columns = dict.fromkeys(column.value for column in self.columns)
        inputs = (given, *self.initial.values(), *columns, *filter(None, (lengths, weight)))
        recurrent = Operation("recurrent", self.op.name, inputs, (result,), attributes)
        self.made.append(recurrent)
        if not whole:
            self._views(result)
        return self.made

    def _given(self) -> str:
        """What the input gives to the gates of every direction, at every step."""
        graph, name = self.graph, self.op.name
        columns = self.directions * self.gates * self.hidden
        depth = graph.values[self.x].shape[2]
        quantised = self._quantised(self.w)
        if quantised:
            integers, scales = quantised
            flat = integers.transpose(2, 0, 1).reshape(depth, columns)
            tiled = np.tile(np.broadcast_to(scales, self.gates * self.hidden), self.directions)
            inputs = (
                graph.add_constant(f"{name}.weight", flat),
                graph.add_constant(f"{name}.scale", tiled.astype(np.float32)),
            )
            weight = self._node("DequantizeLinear", inputs, (depth, columns), axis=1)
        else:
            turned = self._node(
                "Transpose", (self.w,), (depth, *graph.values[self.w].shape[:2]), perm=[2, 0, 1]
            )
            shape = graph.add_constant(f"{name}.columns", np.array([depth, columns]))
            weight = self._node("Reshape", (turned, shape), (depth, columns))
        lead = graph.values[self.x].shape[:2]
        return self._node("MatMul", (self.x, weight), (*lead, columns))

    def _recurrent_weights(self) -> tuple[str, Array | None]:
        """The weights' name, and their scales where they are integers."""
        quantised = self._quantised(self.r)
        if quantised is None:
            return self.r, None
        return self.graph.add_constant(f"{self.op.name}.recurrent", quantised[0]), quantised[1]

    def _columns(self, scales: Array | None) -> Columns:
        graph, name, hidden = self.graph, self.op.name, self.hidden
        scaled = None
        if scales is not None:
            row = np.broadcast_to(scales, self.gates * hidden)[None].astype(np.float32)
            value = graph.add_constant(f"{name}.scales", row)
            scaled = [self._column(value, gate) for gate in range(self.gates)]
        biases: list[list[int]] = [[] for _ in range(self.gates)]
        reset: list[int] = []
        constant = graph.constants.get(self.bias)
        apart = self.gates - 1 if self.op.kind == "GRU" and self.before else None
        if constant is not None:
            parts = constant.reshape(self.directions, 2, self.gates, hidden)
            together = parts.sum(axis=1)
            if apart is not None:
                together[:, apart] = parts[:, 0, apart]
                value = graph.add_constant(f"{name}.reset", parts[:, 1, apart])
                reset.append(self._column(value, 0))
            if together.any():
                flat = together.reshape(self.directions, -1)
                value = graph.add_constant(f"{name}.bias", flat)
                biases = [[self._column(value, gate)] for gate in range(self.gates)]
        elif self.bias:
            for gate in range(self.gates):
                biases[gate].append(self._column(self.bias, gate))
                recurrent = self._column(self.bias, self.gates + gate)
                (reset if gate == apart else biases[gate]).append(recurrent)
        peepholes = None
        if self.peepholes:
            peepholes = [self._column(self.peepholes, gate) for gate in range(3)]
        return Columns(scaled, biases, reset, peepholes)

    def _column(self, value: str, number: int) -> int:
        self.columns.append(Column(value, number * self.hidden))
        return len(self.columns) - 1

    def _views(self, result: str) -> None:
        """The node's outputs out of what lies in one value."""
        slots, *rest = self.graph.values[result].shape
        at = 0
        for position, name in enumerate(self.outputs):
            if not name:
                continue
            count = 1 if position else self.steps
            step = (count, *rest)
            ranges = ((at, 1), *((0, 1),) * len(rest))
            at += count
            if position:
                result_of = self._view(result, step, f"{name}.slot", view="slice", ranges=ranges)
                how: dict[str, object] = {"view": "reshape"}
            else:
                result_of, how = result, {"view": "slice", "ranges": ranges}
            self.made.append(Operation("view", name, (result_of,), (name,), how))
        assert at == slots, "BUG: a slot of a recurrent layer that nobody reads"

    def _view(self, source: str, shape: tuple[int, ...], hint: str, **how: object) -> str:
        name = self.graph.add_value(hint, shape, "float32")
        self.made.append(Operation("view", hint, (source,), (name,), how))
        return name

    def _node(self, kind: str, inputs: tuple[str, ...], shape: tuple[int, ...], **how: Any) -> str:
        """An ONNX node of ours, so that it is folded, fused and made integer like any other."""
        name = self.graph.add_value(f"{self.op.name}.{kind.lower()}", shape, "float32")
        proto = helper.make_node(kind, inputs, [name], name=f"{self.op.name} {kind}", **how)
        attributes = {**how, "proto": proto}
        self.made.append(Operation(kind, self.op.name, inputs, (name,), attributes))
        return name

    def _quantised(self, name: str) -> tuple[Array, Array] | None:
        """Symmetric s8 weights behind a DequantizeLinear with a scale for the tensor or each gate's unit."""
        op = self.graph.producers().get(name)
        if op is None or op.kind != "DequantizeLinear":
            return None
        array, scales, zero = (self.graph.constants.get(n) for n in (*op.inputs, "")[:3])
        if array is None or scales is None or array.dtype != np.int8:
            return None
        if scales.dtype != np.float32 or (zero is not None and zero.any()):
            return None
        if len(op.inputs) > 2 and op.inputs[2] and zero is None:
            return None
        along = scales.ndim == 1 and op.attributes.get("axis", 1) % array.ndim == 1
        fits = scales.size == 1 or (along and scales.size == array.shape[1])
        return (array, scales.reshape(-1)) if fits else None

    def _zero(self, name: str) -> bool:
        constant = self.graph.constants.get(name)
        return constant is not None and not constant.any()

    def _whole_lengths(self) -> bool:
        """Whether every sequence of the batch has all steps."""
        constant = self.graph.constants.get(self.lengths)
        return not self.lengths or (constant is not None and bool((constant >= self.steps).all()))

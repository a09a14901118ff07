"""Recurrent layers as functions of torch, step by step as ONNX defines them.

GRU    z = s(x Wz + h Rz + b), r = s(x Wr + h Rr + b), h' = (1 - z) tanh(n) + z h
n = x Wh + (r * h) Rh + b, or x Wh + wb + r * (h Rh + rb) by linear_before_reset
LSTM   i, o, f, c = x W + h R + b (+ p * C);  C' = s(f) C + s(i) tanh(c), h' = s(o) tanh(C')
RNN    h' = tanh(x W + h R + b)
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from budgetc_passes.learning.elementwise import Build
from budgetc_passes.learning.site import Function, Site

_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
_USUAL = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}
_SEQUENCE_LENGTHS, _PEEPHOLES = 4, 7


def _layer(site: Site) -> Function:
    node = site.node
    kind = node.op_type
    directions = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    given = node.attributes.get("activations")
    usual = _USUAL[kind] * len(directions[site.text("direction", "forward")])
    if given is not None and list(given.as_strings()) != usual:
        raise site.refusal("has activations other than usual, without a differentiable form")
    if "clip" in node.attributes or site.integer("layout", 0) or site.integer("input_forget", 0):
        raise site.refusal("has a clip, a layout or coupled gates without a differentiable form")
    for index in (_SEQUENCE_LENGTHS, _PEEPHOLES):
        if index < len(node.inputs) and node.inputs[index] is not None:
            raise site.refusal(f"has an input {index} that has no differentiable form")
    hidden = site.integer("hidden_size", 0)
    linear = bool(site.integer("linear_before_reset", 0))
    backwards = directions[site.text("direction", "forward")]

    def run(
        x: Tensor,
        weight: Tensor,
        recurrence: Tensor,
        bias: Tensor | None = None,
        _lengths: Tensor | None = None,
        state: Tensor | None = None,
        cell: Tensor | None = None,
        _peepholes: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        sides, last_states, last_cells = [], [], []
        for side, backward in enumerate(backwards):
            start = x.new_zeros(x.shape[1], hidden)
            states = [start if each is None else each[side] for each in (state, cell)]
            both = x.new_zeros(2 * _GATES[kind] * hidden) if bias is None else bias[side]
            outputs: list[Tensor] = []
            steps = list(x.unbind(0))
            for step in reversed(steps) if backward else steps:
                states = _step(kind, step, states, weight[side], recurrence[side], both, linear)
                outputs.append(states[0])
            sides.append(torch.stack(outputs[::-1] if backward else outputs))
            last_states.append(states[0])
            last_cells.append(states[1])
        made = torch.stack(sides, 1), torch.stack(last_states), torch.stack(last_cells)
        return made[: len(node.outputs)]

    return run


def _step(
    kind: str,
    x: Tensor,
    states: Sequence[Tensor],
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor,
    linear: bool,
) -> list[Tensor]:
    """The states after a step: h, and C where the layer has one."""
    h, c = states
    own, other = bias.chunk(2)
    fed = x @ weight.T + own
    if kind == "GRU":
        z, r, n = fed.chunk(3, -1)
        wz, wr, wn = recurrence.chunk(3)
        bz, br, bn = other.chunk(3)
        z, r = torch.sigmoid(z + h @ wz.T + bz), torch.sigmoid(r + h @ wr.T + br)
        inner = r * (h @ wn.T + bn) if linear else (r * h) @ wn.T + bn
        return [(1 - z) * torch.tanh(n + inner) + z * h, c]
    total = fed + h @ recurrence.T + other
    if kind == "RNN":
        return [torch.tanh(total), c]
    i, o, f, g = total.chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return [torch.sigmoid(o) * torch.tanh(c), c]


RECURRENT: dict[str, Build] = dict.fromkeys(_GATES, _layer)
"""Layers that go through steps."""

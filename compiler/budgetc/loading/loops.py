"""Loop and Scan with a number of rounds that is known: the rounds are written one after another."""

from collections.abc import Sequence

import numpy as np
import onnx
from budgetc_specs.errors import ModelError

from budgetc.loading.draft import Draft, attributes_of
from budgetc.loading.inlining import Body, node_count
from budgetc.loading.static_values import Array, Evaluators, Shapes, StaticValues
from budgetc.loading.tensors import node_label

MOST_UNROLLED = 10_000
"""Nodes that one loop may become."""


def unroll_loop(
    draft: Draft,
    node: onnx.NodeProto,
    model: onnx.ModelProto,
    values: StaticValues,
    shapes: Shapes,
) -> str | None:
    """Write a Loop's rounds into the draft.

    Returns:
        None where it was done, else the reason why it cannot be done (yet).

    Raises:
        ModelError: there are too many rounds.
    """
    body = attributes_of(node)["body"]
    most = _number(values, node.input[0]) if node.input[0] else None
    if node.input[0] and most is None:
        return "its number of rounds depends on the data"
    start = values.value(node.input[1]) if len(node.input) > 1 and node.input[1] else np.True_
    if start is None:
        return "whether it starts depends on the data"
    carried = list(node.input[2:])
    rounds = _Rounds(draft, node, body)
    known: list[Array | None] = [values.value(name) for name in carried]
    continues, count = bool(start), 0
    stacked: list[list[str]] = [[] for _ in node.output[len(carried) :]]
    mark, evaluators = draft.mark(), Evaluators()
    while continues and (most is None or count < most):
        rounds.check(count + 1, most)
        given = [np.array(count, np.int64), np.array(True), *known]
        inside = _inside(body, model, values, shapes, given, evaluators)
        again = inside.value(body.output[0].name)
        if again is None:
            draft.reset(mark)
            return "whether it goes on depends on the data"
        known = [inside.value(o.name) for o in body.output[1 : 1 + len(carried)]]
        iteration = draft.scalar(count, "int64")
        made = rounds.body.write([iteration, draft.scalar(True, "bool"), *carried])
        carried = made[1 : 1 + len(carried)]
        for stack, name in zip(stacked, made[1 + len(carried) :], strict=True):
            stack.append(name)
        continues, count = bool(again), count + 1
    _finish(draft, node, carried, stacked, [(0, False)] * len(stacked))
    return None


def unroll_scan(draft: Draft, node: onnx.NodeProto, shapes: Shapes) -> str | None:
    """The same for a Scan, whose rounds are as many as its inputs are long."""
    given = attributes_of(node)
    body = given["body"]
    if draft.opset < 9:
        return "Scan of opset 8 has another form; export the model for opset 9 or later"
    count = int(given["num_scan_inputs"])
    states, scanned = list(node.input[:-count]), list(node.input[-count:])
    axes = list(given.get("scan_input_axes", [0] * count))
    turned = list(given.get("scan_input_directions", [0] * count))
    known = [shapes.get(name) for name in scanned]
    if any(shape is None for shape in known):
        return "the length of what it goes over is not known"
    axes = [a % len(s) for a, s in zip(axes, known, strict=True) if s is not None]
    length = (known[0] or ())[axes[0]]
    rounds = _Rounds(draft, node, body)
    rounds.check(length, length)
    outputs = len(node.output) - len(states)
    ends = list(
        zip(
            given.get("scan_output_axes", [0] * outputs),
            map(bool, given.get("scan_output_directions", [0] * outputs)),
            strict=True,
        )
    )
    stacked: list[list[str]] = [[] for _ in range(outputs)]
    for position in range(length):
        parts = []
        for name, axis, backwards in zip(scanned, axes, turned, strict=True):
            at = length - 1 - position if backwards else position
            part = draft.slice(name, axis, at, f"{node.name}.{name}.part")
            parts.append(draft.squeeze(part, axis, f"{node.name}.{name}.at"))
        made = rounds.body.write([*states, *parts])
        states = made[: len(states)]
        for stack, name in zip(stacked, made[len(states) :], strict=True):
            stack.append(name)
    _finish(draft, node, states, stacked, ends)
    return None


class _Rounds:
    """A loop's body, and how much of it is allowed."""

    def __init__(self, draft: Draft, node: onnx.NodeProto, graph: onnx.GraphProto) -> None:
        self.body = Body(draft, graph, node.name)
        self._node, self._size = node, node_count(graph)

    def check(self, count: int, whole: int | None) -> None:
        """Refuse what would become too large.

        Raises:
            ModelError: it names the count.
        """
        rounds = count if whole is None else max(count, whole)
        # A loop without a limit is stopped by its condition, perhaps; so is one with a huge limit.
        bounded = rounds * self._size if rounds < 1 << 31 else count * self._size
        if bounded > MOST_UNROLLED:
            raise ModelError(
                f"the {node_label(self._node)} runs {rounds} rounds of {self._size} nodes, which "
                f"would become {bounded}",
                f"a loop is unrolled to at most {MOST_UNROLLED} nodes; export the model for "
                "shorter inputs, or with the loop's work in tensor operators.",
            )


def _inside(
    body: onnx.GraphProto,
    model: onnx.ModelProto,
    values: StaticValues,
    shapes: Shapes,
    inputs: Sequence[Array | None],
    evaluators: Evaluators,
) -> StaticValues:
    """What is known inside of one round."""
    formal = {i.name: v for i, v in zip(body.input, inputs, strict=True)}
    constants = {t.name: t for t in body.initializer}

    def lookup(name: str) -> Array | None:
        if name in formal:
            array = formal[name]
            return None if array is None else np.asarray(array)
        if name in constants:
            return np.asarray(onnx.numpy_helper.to_array(constants[name]))
        return values.value(name)

    hidden = {*formal, *(name for n in body.node for name in n.output)}
    outer = {name: shape for name, shape in shapes.items() if name not in hidden}
    return StaticValues(list(body.node), model, lookup, outer, evaluators)


def _number(values: StaticValues, name: str) -> int | None:
    array = values.value(name)
    return None if array is None else int(array.reshape(-1)[0])


def _finish(
    draft: Draft,
    node: onnx.NodeProto,
    states: Sequence[str],
    stacked: Sequence[Sequence[str]],
    ends: Sequence[tuple[int, bool]],
) -> None:
    """Give the last states and the stacks of results the names of the node's outputs."""
    for name, output in zip(states, node.output, strict=False):
        if output:
            draft.add("Identity", [name], node.name, output=output)
    for stack, (axis, backwards), output in zip(
        stacked, ends, node.output[len(states) :], strict=True
    ):
        if not output:
            continue
        if not stack:
            raise ModelError(
                f"the {node_label(node)} runs 0 rounds, so that its output holds nothing",
                "leave the loop out of the model.",
            )
        ordered = stack[::-1] if backwards else stack
        slices = [draft.unsqueeze(name, axis, f"{node.name}.{name}.slice") for name in ordered]
        draft.add("Concat", slices, node.name, output=output, attributes={"axis": axis})

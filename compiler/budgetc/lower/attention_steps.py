"""Attention as a task."""

import math

from budgetc_targets.task import Access

from budgetc.lower.accesses import broadcast, four_dimensional
from budgetc.lower.graph import Operation
from budgetc.lower.matrix_steps import call_by_rows, columns_inside
from budgetc.lower.steps import Steps


def attention(op: Operation, steps: Steps) -> None:
    """One call; only the columns of the transposed keys and those of the values must lie side by side."""
    scored, made = op.attributes["scored"], steps.graph.values[op.output].shape
    queries = steps.placed[op.inputs[0]]
    keys, values = (columns_inside(name, steps) for name in op.inputs[1:3])

    def seen(name: str, position: int) -> Access:
        shape = scored if position < op.attributes["inner"] else made
        return four_dimensional(broadcast(steps.placed[name], shape))

    call_by_rows(
        op,
        steps,
        "attention",
        (
            four_dimensional(broadcast(queries, (*scored[:-2], *queries.shape[-2:]))),
            four_dimensional(broadcast(keys, (*scored[:-2], *keys.shape[-2:]))),
            four_dimensional(broadcast(values, (*made[:-2], *values.shape[-2:]))),
        ),
        (queries, keys, values),
        operands=tuple(seen(name, i) for i, name in enumerate(op.inputs[op.anchors :])),
        attributes=tuple(
            (name, op.behind_anchors(op.attributes[name])) for name in ("logits", "weights")
        ),
        macs=math.prod(scored) * queries.shape[-1] + math.prod(made) * values.shape[-2],
        work=math.prod(scored),
    )

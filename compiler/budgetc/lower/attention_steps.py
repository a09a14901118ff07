"""Attention as a task, or as the tasks of its parts where no kernel takes it whole."""

import math
from collections.abc import Callable, Mapping

from budgetc_targets.task import Access

from budgetc.lower.accesses import broadcast, four_dimensional
from budgetc.lower.attention import Parts
from budgetc.lower.graph import Operation
from budgetc.lower.matrix_steps import call_by_rows, columns_inside, matmul
from budgetc.lower.move_steps import elementwise, sweep
from budgetc.lower.steps import Steps

_HANDLERS: Mapping[str, Callable[[Operation, Steps], None]] = {
    "matmul": matmul,
    "softmax": sweep,
    "map": elementwise,
}
"""Of the parts."""


def attention(op: Operation, steps: Steps) -> None:
    """One call; only the columns of the transposed keys and those of the values must lie side by side."""
    parts: Parts = op.attributes["parts"]
    if not any(family.kind == "attention" for family in steps.families):
        for part in parts.operations:
            _HANDLERS[part.kind](part, steps)
        return
    scored, made = (steps.graph.values[part.output].shape for part in (parts.scores, parts.result))
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

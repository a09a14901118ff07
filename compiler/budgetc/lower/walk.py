"""The walk over the graph: every operation becomes its steps."""

from collections.abc import Callable, Mapping, Sequence

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family

from budgetc.lower import (
    attention_steps,
    integer_code,
    kernel_steps,
    matrix_steps,
    move_steps,
    recurrent_steps,
)
from budgetc.lower.graph import Graph, Operation
from budgetc.lower.steps import Steps

_HANDLERS: Mapping[str, Callable[[Operation, Steps], None]] = {
    "map": move_steps.elementwise,
    "view": move_steps.renamed,
    "convolution": kernel_steps.convolution,
    "product": kernel_steps.product,
    "pooling": kernel_steps.pooling,
    "matmul": matrix_steps.matmul,
    "attention": attention_steps.attention,
    "normalisation": matrix_steps.normalisation,
    "recurrent": recurrent_steps.recurrent,
    "softmax": move_steps.sweep,
    "reduction": move_steps.sweep,
    "copy-into": move_steps.copy_into,
    "foreign": move_steps.foreign,
    **dict.fromkeys(sorted(integer_code.KINDS), move_steps.foreign),
}


def walk(graph: Graph, capability: Capability, families: Sequence[Family]) -> Steps:
    """The kernel calls of a graph whose operations are chosen and fused.

    Raises:
        ModelError: no kernel family takes an operation.
    """
    steps = Steps(graph, capability, families)
    for op in graph.operations:
        _HANDLERS[op.kind](op, steps)
    steps.finish()
    return steps

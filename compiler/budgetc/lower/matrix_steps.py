"""Products of two activations and normalised rows as tasks of the kernel families."""

import math

from budgetc_targets.expression import Ref
from budgetc_targets.task import Access, Attribute, Task

from budgetc.lower.accesses import access, broadcast, four_dimensional
from budgetc.lower.graph import Operation
from budgetc.lower.placement import Placement, Want
from budgetc.lower.steps import Argument, Steps


def matmul(op: Operation, steps: Steps) -> None:
    """a[..., m, k] @ c[..., k, n]; only the columns of the right-hand side must lie side by side."""
    shape = steps.graph.values[op.output].shape
    left, right = steps.placed[op.inputs[0]], columns_inside(op.inputs[1], steps)
    sources = tuple(
        four_dimensional(broadcast(p, (*shape[:-2], *p.shape[-2:]))) for p in (left, right)
    )
    macs = math.prod(shape) * left.shape[-1]
    call_by_rows(op, steps, "matmul", sources, (left, right), macs=macs)


def normalisation(op: Operation, steps: Steps) -> None:
    """Rows of the last dimension, which must lie side by side."""
    x = columns_inside(op.inputs[0], steps)
    epsilon: tuple[tuple[str, Attribute], ...] = (("epsilon", op.attributes["epsilon"]),)
    call_by_rows(
        op, steps, "normalisation", (four_dimensional(access(x)),), (x,), attributes=epsilon
    )


def columns_inside(name: str, steps: Steps) -> Placement:
    """A value whose elements of the last dimension lie side by side, copied if need be."""
    placed = steps.placed[name]
    if placed.shape[-1] > 1 and placed.strides[-1] != 1:
        return steps.copied(name, _natural(placed))
    return placed


def call_by_rows(
    op: Operation,
    steps: Steps,
    kind: str,
    sources: tuple[Access, ...],
    inputs: tuple[Placement, ...],
    *,
    operands: tuple[Access, ...] | None = None,
    attributes: tuple[tuple[str, Attribute], ...] = (),
    macs: int = 0,
    work: int = 0,
) -> None:
    """One call whose results lie side by side in the last dimension; a copy follows where readers wish otherwise.

    Args:
        op: what is computed.
        steps: to which the call is added.
        kind: of the task.
        sources: what the family reads, as it sees it.
        inputs: the same as it lies.
        operands: what the expressions read, where that is not seen in the index space of the output.
        attributes: of the task.
        macs: multiply-accumulates.
        work: elements that are gone over, where these are not the output's.
    """
    shape = steps.graph.values[op.output].shape
    final = output = steps.allocate(op.output)
    if final.shape[-1] > 1 and final.strides[-1] != 1:
        output = steps.scratch(f"{op.output}.rows", op.output, _natural(final))
    sides = [steps.placed[name] for name in op.inputs[op.anchors :]]
    if operands is None:
        operands = tuple(four_dimensional(broadcast(p, shape)) for p in sides)
    task = Task(kind, sources, four_dimensional(access(output)), op.epilogue, operands, attributes)
    arguments = [Argument.at(p) for p in inputs]
    steps.emit(op.name, task, arguments, sides, output, macs=macs, work=work or math.prod(shape))
    if output is not final:
        steps.emit_map(f"copy {op.output}", Ref(0), [output], final)


def _natural(placed: Placement) -> Want:
    return Want(tuple(range(len(placed.shape))), ())

"""Products of two activations and normalised rows as tasks of the kernel families."""

import math
from dataclasses import replace

from budgetc_targets.expression import Ref
from budgetc_targets.task import Access, Attribute, Task

from budgetc.lower.accesses import access, broadcast
from budgetc.lower.graph import Operation
from budgetc.lower.placement import Placement, Want
from budgetc.lower.steps import Argument, Steps


def matmul(op: Operation, steps: Steps) -> None:
    """a[..., m, k] @ c[..., k, n]; only the columns of the right-hand side must lie side by side."""
    shape = steps.graph.values[op.output].shape
    left, right = (steps.placed[name] for name in op.inputs[:2])
    if right.shape[-1] > 1 and right.strides[-1] != 1:
        right = steps.copied(op.inputs[1], _natural(right))
    sources = tuple(
        _four_dimensional(broadcast(p, (*shape[:-2], *p.shape[-2:]))) for p in (left, right)
    )
    macs = math.prod(shape) * left.shape[-1]
    _emit(op, steps, "matmul", sources, (left, right), macs=macs)


def normalisation(op: Operation, steps: Steps) -> None:
    """Rows of the last dimension, which must lie side by side."""
    x = steps.placed[op.inputs[0]]
    if x.shape[-1] > 1 and x.strides[-1] != 1:
        x = steps.copied(op.inputs[0], _natural(x))
    epsilon: tuple[tuple[str, Attribute], ...] = (("epsilon", op.attributes["epsilon"]),)
    _emit(op, steps, "normalisation", (_four_dimensional(access(x)),), (x,), attributes=epsilon)


def _emit(
    op: Operation,
    steps: Steps,
    kind: str,
    sources: tuple[Access, ...],
    inputs: tuple[Placement, ...],
    *,
    attributes: tuple[tuple[str, Attribute], ...] = (),
    macs: int = 0,
) -> None:
    """One call whose results lie side by side in the last dimension; a copy follows where readers wish otherwise."""
    shape = steps.graph.values[op.output].shape
    final = output = steps.allocate(op.output)
    if final.shape[-1] > 1 and final.strides[-1] != 1:
        output = steps.scratch(f"{op.output}.rows", op.output, _natural(final))
    sides = [steps.placed[name] for name in op.inputs[op.anchors :]]
    operands = tuple(_four_dimensional(broadcast(p, shape)) for p in sides)
    task = Task(kind, sources, _four_dimensional(access(output)), op.epilogue, operands, attributes)
    arguments = [Argument.at(p) for p in inputs]
    steps.emit(op.name, task, arguments, sides, output, macs=macs, work=math.prod(shape))
    if output is not final:
        steps.emit_map(f"copy {op.output}", Ref(0), [output], final)


def _natural(placed: Placement) -> Want:
    return Want(tuple(range(len(placed.shape))), ())


def _four_dimensional(given: Access) -> Access:
    """Leading dimensions of 1, so that every task of a family has the same rank."""
    lead = 4 - len(given.shape)
    return replace(given, shape=(1,) * lead + given.shape, strides=(0,) * lead + given.strides)

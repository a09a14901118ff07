"""Maps, sweeps, copies and views as steps: what works on values wherever they lie."""

import math
from dataclasses import replace

from budgetc_targets.expression import Const, Ref
from budgetc_targets.task import Attribute, Task

from budgetc.lower.accesses import access, broadcast, with_reduced_axes
from budgetc.lower.graph import Operation
from budgetc.lower.placement import Placement, view
from budgetc.lower.steps import Steps


def elementwise(op: Operation, steps: Steps) -> None:
    """An expression over every element, in the memory order of an operand of that shape."""
    assert op.expression is not None
    shape = steps.graph.values[op.output].shape
    operands = [steps.placed[name] for name in op.inputs]
    whole = (p for p in operands if p.shape == shape and not _repeats(p))
    order = next((p.memory_order() for p in whole), None)
    output = steps.allocate(op.output, order)
    steps.emit_map(op.name, op.expression, operands, output)


def sweep(op: Operation, steps: Steps) -> None:
    """Softmax and reductions: an expression over the unreduced index space."""
    assert op.expression is not None
    shape = steps.graph.values[op.output].shape
    operands = [steps.placed[name] for name in op.inputs]
    output = steps.allocate(op.output)
    full: tuple[int, ...] = op.attributes.get("full", shape)
    written = access(output)
    if op.kind == "reduction":
        written = with_reduced_axes(written, full, op.attributes["axes"])
    attributes: tuple[tuple[str, Attribute], ...] = tuple(op.attributes.items())
    accesses = tuple(broadcast(p, full) for p in operands)
    task = Task(op.kind, (), written, op.expression, accesses, attributes)
    steps.emit(op.name, task, [], operands, output, work=math.prod(full))


def copy_into(op: Operation, steps: Steps) -> None:
    """Fill the output where asked for, then write every input to its place in it."""
    sources = [steps.placed[name] for name in op.inputs]
    output = steps.allocate(op.output, sources[0].memory_order())
    if "fill" in op.attributes:
        fill = Const(op.attributes["fill"], output.dtype)
        steps.emit_map(f"fill {op.name}", fill, [], output)
    for source, offsets in zip(sources, op.attributes["offsets"], strict=True):
        shift = sum(o * s for o, s in zip(offsets, output.strides, strict=True))
        part = replace(output, shape=source.shape, offset=output.offset + shift, border=())
        steps.emit_map(op.name, Ref(0), [source], part, part=True)


def renamed(op: Operation, steps: Steps) -> None:
    """A view: no step at all, unless memory has gaps where the view has none."""
    shape = steps.graph.values[op.output].shape
    given = steps.placed[op.inputs[0]]
    seen = view(given, shape, op.attributes)
    if seen is None and op.attributes["view"] == "reshape":
        # One copy, straight into the order in which the result is read, seen with the shape that it had.
        final = steps.allocate(op.output)
        before = view(final, given.shape, op.attributes)
        if before is not None:
            steps.emit_map(f"copy {op.inputs[0]}", Ref(0), [given], before)
            return
    if seen is None:
        seen = view(steps.dense(op.inputs[0]), shape, op.attributes)
    assert seen is not None, f"BUG: {op.label} is no view of dense memory"
    steps.placed[op.output] = seen


def foreign(op: Operation, steps: Steps) -> None:
    """What has a function of its own over dense memory, generated or not."""
    steps.emit_foreign(op)


def _repeats(placed: Placement) -> bool:
    """Whether elements share memory, as those of an expanded value do."""
    return any(n > 1 and s == 0 for n, s in zip(placed.shape, placed.strides, strict=True))

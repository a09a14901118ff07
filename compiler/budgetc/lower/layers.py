"""What each kernel call is for and how much it has to do, taken from the step that it is made of."""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from budgetc_targets.contract import Growing
from budgetc_targets.expression import Apply, Const, Expr, Number, slots
from budgetc_targets.task import Access, Task

from budgetc.lower.graph import Array, Graph
from budgetc.lower.lowered import Layer
from budgetc.lower.sharing import form_of
from budgetc.lower.steps import WORK_OF_SWEEPS, Step


def kernel_layer(step: Step, kernel: str, packed: Sequence[Array]) -> Layer:
    """The layer of a call of a kernel of ours.

    Args:
        step: with its point.
        kernel: the kernel's symbol.
        packed: its constants as the kernel reads them.
    """
    task = step.task
    assert task
    assert step.point is not None
    weight = (step.constants or {}).get("weight")
    stored = sum(array.nbytes for array in packed)
    accesses = (*task.inputs, *task.operands, task.output)
    read = [a.dtype for a in (*task.inputs, *task.operands)]
    return Layer(
        layer=step.label,
        operator=task.kind,
        kernel=kernel,
        bits=8 * (np.dtype(read[0] if weight is None else weight.dtype).itemsize if read else 0),
        sparsity=_zeros(weight),
        weight_bytes=stored,
        macs=step.macs,
        work=step.macs if _grows(step) else _work(step.macs, weight, packed),
        moved=stored + sum(map(_bytes, accesses)),
        filled=sum(fill.rows * fill.width for fill in step.fills),
        slots=_slots(task),
        form=form_digest(task, step.code is not None),
        point=step.point,
        parallel=task.parallel,
    )


def foreign_layer(step: Step, kernel: str, constants: Iterable[Array], graph: Graph) -> Layer:
    """The layer of a call of a kernel that was generated for one ONNX node."""
    op = step.foreign
    assert op
    stored = sum(array.nbytes for array in constants)
    values = [graph.values[name] for name in (*op.inputs, *op.outputs) if name]
    sizes = [math.prod(v.shape) * np.dtype(v.dtype).itemsize for v in values]
    node = op.attributes.get("proto")
    operator = node.op_type if node else op.attributes["operator"]
    said = list(node.attribute) if node else op.kind
    words = f"{operator} {[(v.dtype, v.shape) for v in values]} {said}"
    return Layer(
        layer=step.label,
        operator=operator,
        kernel=kernel,
        bits=8 * np.dtype(values[0].dtype).itemsize if values else 0,
        sparsity=0.0,
        weight_bytes=stored,
        macs=step.macs,
        work=step.macs,
        moved=stored + sum(sizes),
        filled=sum(fill.rows * fill.width for fill in step.fills),
        form=hashlib.sha256(words.encode()).hexdigest()[:16],
    )


def form_digest(task: Task, opened: bool) -> str:
    """Names all tasks that are equal but for numbers, wherever these stand; code for any size is told apart."""
    form = form_of(task)
    form = replace(form.with_expressions([*map(_without_tables, form.expressions)]), numbers=0)
    return hashlib.sha256(f"{form!r} {opened}".encode()).hexdigest()[:16]


def _without_tables(expression: Expr) -> Expr:
    if isinstance(expression, Number):
        return Const(0, expression.dtype)
    if isinstance(expression, Apply):
        return Apply(expression.fn, tuple(map(_without_tables, expression.args)))
    return expression


def _slots(task: Task) -> int:
    """Of the whole output; what sweeps reads operands alone, and its expression is of what is read."""
    sweep = WORK_OF_SWEEPS.get(task.kind, 0)
    if task.kind == "attention":
        # It sweeps over scores that nobody else sees, and so do all expressions but the end.
        queries, keys, _ = task.inputs
        scores = math.prod(queries.shape[:-1]) * keys.shape[-1]
        inner = sum(map(slots, task.expressions[1:]))
        return scores * (sweep + inner) + math.prod(task.output.shape) * slots(task.expression)
    swept = () if task.inputs else task.operands
    elements = max(math.prod(access.shape) for access in (task.output, *swept))
    return elements * (sweep + slots(task.expression))


def _bytes(access: Access) -> int:
    return int(access.extent) * np.dtype(access.dtype).itemsize


def _zeros(weight: Array | None) -> float:
    if weight is None or not weight.size:
        return 0.0
    return 1.0 - float(np.count_nonzero(weight)) / weight.size


def _grows(step: Step) -> bool:
    """Whether more weights mean fewer products, and not zeros beside the others."""
    return isinstance(step.family, Growing) and step.family.grows


def _work(macs: int, weight: Array | None, packed: Sequence[Array]) -> int:
    """Multiply-accumulates with the weights that fill whole vectors."""
    if weight is None or not weight.size or not packed:
        return macs
    largest = max(array.size for array in packed)
    return round(macs * max(1.0, largest / weight.size))

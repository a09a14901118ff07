"""One kernel for steps that differ in numbers only: what differs is read from a table that each call brings along.

Layers of one shape are compiled once already where their tasks are equal. Quantised ones seldom are: scales and zero
points stand in their expressions as literals. Literals that all steps of one form agree on stay where they are.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from budgetc_targets.expression import Apply, Const, Expr, Number
from budgetc_targets.task import Task

from budgetc.lower.graph import Array
from budgetc.lower.placement import Storage
from budgetc.lower.steps import Argument, Steps

_TABLED = ("float32", "int32")
"""Types of literals that fit a slot of the table."""


def share_kernels(programs: Sequence[Steps]) -> None:
    """Rewrite the steps of one library's programs in place."""
    forms: dict[Task, list[tuple[Steps, int, Task]]] = defaultdict(list)
    for steps in programs:
        for position, step in enumerate(steps.steps):
            if step.task:
                forms[form_of(step.task)].append((steps, position, step.task))
    for members in forms.values():
        rows = [_literals(task) for *_, task in members]
        columns = list(zip(*rows, strict=True))
        # Literals that are equal in every step, such as a scale that is read twice, share a slot.
        slots = list(dict.fromkeys(column for column in columns if len(set(column)) > 1))
        if not slots:
            continue
        numbers: dict[int, Expr] = {
            i: Number(slots.index(column), column[0].dtype)
            for i, column in enumerate(columns)
            if column in slots
        }
        for member, (steps, position, task) in enumerate(members):
            step = steps.steps[position]
            table = _table(steps, [slot[member] for slot in slots])
            steps.steps[position] = replace(
                step,
                task=replace(_replaced(task, numbers.get), numbers=len(slots)),
                operands=(*step.operands, table),
            )


def form_of(task: Task) -> Task:
    """The task with every literal that a table can hold forgotten but its type."""

    def forgotten(_: int, literal: Const) -> Const:
        return Const(0, literal.dtype) if literal.dtype in _TABLED else literal

    return _replaced(task, forgotten)


def _literals(task: Task) -> list[Const]:
    """In order of appearance, each time that they appear."""
    found: list[Const] = []

    def note(_: int, literal: Const) -> Expr:
        found.append(literal)
        return literal

    _replaced(task, note)
    return found


def _replaced(task: Task, change: Callable[[int, Const], Expr]) -> Task:
    """The task with each literal of its expressions replaced, given its position in order of appearance."""
    count = 0

    def walk(node: Expr) -> Expr:
        nonlocal count
        if isinstance(node, Const):
            count += 1
            return change(count - 1, node)
        if isinstance(node, Apply):
            return Apply(node.fn, tuple(walk(a) for a in node.args))
        return node

    return task.with_expressions([walk(e) for e in task.expressions])


def _table(steps: Steps, literals: Sequence[Const]) -> Argument:
    """Literals side by side in the weights."""
    return add_table(
        steps, np.concatenate([np.array([c.value], c.dtype).view(np.uint32) for c in literals])
    )


def add_table(steps: Steps, value: Array) -> Argument:
    """A table of numbers among the weights."""
    name = steps.graph.add_constant("numbers", value)
    steps.storages[name] = Storage(name, "weights", value.nbytes)
    return Argument(name, 0)

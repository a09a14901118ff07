"""One kernel for steps that differ in numbers only: what differs becomes an operand.

Layers of one shape are compiled once already where their tasks are equal. Quantised ones seldom are: scales and zero
points stand in their expressions as literals. Literals that all steps of one form agree on stay where they are.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from budgetc_targets.expression import Apply, Const, Expr, Ref
from budgetc_targets.task import Access, Task

from budgetc.lower.placement import Storage
from budgetc.lower.steps import Argument, Steps

MOST_OPERANDS = 8
"""More pointers than registers for them cost more than the code that is saved."""

_PLACEHOLDER = 0


def share_kernels(steps: Steps) -> None:
    """Rewrite the steps in place."""
    forms: dict[Task, list[tuple[int, Task]]] = defaultdict(list)
    for position, step in enumerate(steps.steps):
        if step.task:
            forms[_form(step.task)].append((position, step.task))
    for form, members in forms.items():
        values = [_literals(task.expression) for _, task in members]
        differing = [
            i for i, column in enumerate(zip(*values, strict=True)) if len(set(column)) > 1
        ]
        if not differing or len(form.operands) + len(differing) > MOST_OPERANDS:
            continue
        for (position, task), row in zip(members, values, strict=True):
            chosen = [row[i] for i in differing]
            step = steps.steps[position]
            steps.steps[position] = replace(
                step,
                task=_lifted(task, differing),
                operands=(*step.operands, *(_operand(steps, c) for c in chosen)),
            )


def _form(task: Task) -> Task:
    """The task with every literal forgotten but its type."""
    return replace(
        task, expression=_replaced(task.expression, lambda _, c: Const(_PLACEHOLDER, c.dtype))
    )


def _literals(expression: Expr) -> list[Const]:
    """In order of appearance, each time that they appear."""
    found: list[Const] = []

    def note(_: int, literal: Const) -> Expr:
        found.append(literal)
        return literal

    _replaced(expression, note)
    return found


def _lifted(task: Task, differing: Sequence[int]) -> Task:
    """The task with some of its literals as operands behind those that it has."""
    first = len(task.operands)
    refs = {position: Ref(first + i) for i, position in enumerate(differing)}
    expression = _replaced(task.expression, refs.get)
    literals = _literals(task.expression)
    shape = _space(task)
    added = (Access(literals[i].dtype, shape, (0,) * len(shape)) for i in differing)
    return replace(task, expression=expression, operands=(*task.operands, *added))


def _space(task: Task) -> tuple[int, ...]:
    """The index space of a task's operands: the unreduced one for a reduction."""
    full = dict(task.attributes).get("full", task.output.shape)
    assert isinstance(full, tuple), "BUG: a shape is a tuple"
    return full


def _replaced(expression: Expr, change: Callable[[int, Const], Expr]) -> Expr:
    """The expression with each literal replaced, given its position in order of appearance."""
    count = 0

    def walk(node: Expr) -> Expr:
        nonlocal count
        if isinstance(node, Const):
            count += 1
            return change(count - 1, node)
        if isinstance(node, Apply):
            return Apply(node.fn, tuple(walk(a) for a in node.args))
        return node

    return walk(expression)


def _operand(steps: Steps, literal: Const) -> Argument:
    """A literal in the weights."""
    value = np.array(literal.value, literal.dtype)
    name = steps.graph.add_constant("literal", value)
    steps.storages[name] = Storage(name, "weights", value.nbytes)
    return Argument(name, 0)

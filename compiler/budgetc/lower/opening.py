"""One kernel for steps that differ in sizes only, where their family can write code for any size."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Opened, Opening, Point
from budgetc_targets.task import Task

from budgetc.lower.sharing import add_table
from budgetc.lower.steps import Step, Steps

WORTH = 0.018
"""Instructions for each multiplication of a model that a kernel of its own must save for each KiB that it takes."""


def open_sizes(programs: Sequence[Steps], capability: Capability, *, compact: bool = False) -> None:
    """Let steps whose tasks are equal but for sizes, at one point, run the same code. Rewrites the steps in place.

    They may be of several programs that go into one library.

    Code for the very sizes is faster, so a kernel that none would share is left as it is; and without `compact` one
    that the whole model would be slower by.
    """
    total = sum(step.macs for steps in programs for step in steps.steps) or 1
    forms: dict[tuple[Task, Point], list[tuple[Steps, int, Opened]]] = defaultdict(list)
    for steps in programs:
        for position, step in enumerate(steps.steps):
            if step.task and step.point is not None and isinstance(step.family, Opening):
                opened = step.family.opened(step.task, capability, step.point)
                if opened:
                    forms[opened.task, step.point].append((steps, position, opened))
    for found in forms.values():
        members = found if compact else _cheap(found, total)
        if len({steps.steps[position].task for steps, position, _ in members}) > 1:
            for steps, position, opened in members:
                steps.steps[position] = _general(steps, steps.steps[position], opened)


def _cheap(
    members: Sequence[tuple[Steps, int, Opened]], total: int
) -> list[tuple[Steps, int, Opened]]:
    """Those whose tasks, with all of their calls, lose little."""
    lost: dict[Task | None, float] = defaultdict(float)
    for steps, position, opened in members:
        step = steps.steps[position]
        if opened.cost:
            kib = opened.code / 1024
            lost[step.task] += opened.cost * step.macs / total / kib
    return [m for m in members if lost[m[0].steps[m[1]].task] <= WORTH]


def _general(steps: Steps, step: Step, opened: Opened) -> Step:
    """The step with the sizes behind the numbers that it has."""
    assert step.task
    operands, numbers = step.operands, np.zeros(0, np.uint32)
    if step.task.numbers:
        numbers = steps.graph.constants[operands[-1].storage]
        operands = operands[:-1]
    table = np.concatenate([numbers, np.array(opened.sizes, np.int32).view(np.uint32)])
    given = (*operands, add_table(steps, table))
    return replace(step, code=opened.task, tasks=opened.tasks, operands=given)

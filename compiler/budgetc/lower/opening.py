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


def open_sizes(programs: Sequence[Steps], capability: Capability) -> None:
    """Let steps whose tasks are equal but for sizes, at one point, run the same code. Rewrites the steps in place.

    They may be of several programs that go into one library.

    Code for the very sizes is a little faster, so a kernel that none would share is left as it is.
    """
    forms: dict[tuple[Task, Point], list[tuple[Steps, int, Opened]]] = defaultdict(list)
    for steps in programs:
        for position, step in enumerate(steps.steps):
            if step.task and step.point is not None and isinstance(step.family, Opening):
                opened = step.family.opened(step.task, capability, step.point)
                if opened:
                    forms[opened.task, step.point].append((steps, position, opened))
    for members in forms.values():
        if len({steps.steps[position].task for steps, position, _ in members}) > 1:
            for steps, position, opened in members:
                steps.steps[position] = _general(steps, steps.steps[position], opened)


def _general(steps: Steps, step: Step, opened: Opened) -> Step:
    """The step with the sizes behind the numbers that it has."""
    assert step.task
    operands, numbers = step.operands, np.zeros(0, np.uint32)
    if step.task.numbers:
        numbers = steps.graph.constants[operands[-1].storage]
        operands = operands[:-1]
    table = np.concatenate([numbers, np.array(opened.sizes, np.int32).view(np.uint32)])
    return replace(step, code=opened.task, operands=(*operands, add_table(steps, table)))

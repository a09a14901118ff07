"""Which point of its family's space each kernel is built at."""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Point
from budgetc_targets.task import Task

from budgetc.lower.graph import Array
from budgetc.lower.steps import Steps

Chooser = Callable[[Family, Task, Mapping[str, Array]], Point]
"""Picks the point of a kernel by its family, task and constants."""


def default_point(capability: Capability) -> Chooser:
    """Every kernel at the first point of its space."""
    return lambda family, task, _constants: family.space(task, capability)[0]


def lean_point(capability: Capability) -> Chooser:
    """Every kernel at the point that writes the least out: the product of its knobs is what its code repeats."""

    def choose(family: Family, task: Task, constants: Mapping[str, Array]) -> Point:
        del constants
        return min(family.space(task, capability), key=lambda p: math.prod(n for _, n in p))

    return choose


def choose_points(steps: Steps, choose: Chooser) -> None:
    """Give every step of a family its point."""
    for position, step in enumerate(steps.steps):
        if step.task and step.family:
            point = choose(step.family, step.task, step.constants or {})
            steps.steps[position] = replace(step, point=point)

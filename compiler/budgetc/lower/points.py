"""Which point of its family's space each kernel is built at."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Point
from budgetc_targets.task import Task

from budgetc.lower.graph import Array
from budgetc.lower.steps import Step, Steps

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


def choose_points(programs: Sequence[Steps], choose: Chooser, capability: Capability) -> None:
    """Give every step of a family its point.

    Where `choose` would lay weights out in a way that no program before has, another point of the space is taken that
    finds them laid out already, if there is one: a library would hold its weights twice otherwise.
    """
    layouts: set[bytes] = set()
    for program in programs:
        for position, step in enumerate(program.steps):
            if not step.task or not step.family:
                continue
            constants = step.constants or {}
            point = choose(step.family, step.task, constants)
            if constants and program is not programs[0]:
                points = [point, *step.family.space(step.task, capability)]
                known = (p for p in points if _layout(step, p, capability) in layouts)
                point = next(known, point)
            program.steps[position] = replace(step, point=point)
        if program is not programs[-1]:
            layouts.update(
                _layout(s, s.point, capability) for s in program.steps if s.point is not None
            )


def _layout(step: Step, point: Point, capability: Capability) -> bytes:
    """A digest of a step's constants as its kernel reads them at a point."""
    assert step.task
    assert step.family
    digest = hashlib.sha256()
    for array in step.family.pack(step.task, capability, point, step.constants or {}):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()

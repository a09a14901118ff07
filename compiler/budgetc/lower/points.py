"""Which point of its family's space each kernel is built at."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Point
from budgetc_targets.task import Task

from budgetc.lower.graph import Array
from budgetc.lower.steps import Step, Steps


@dataclass(frozen=True)
class Work:
    """A distinct kernel of a model: family, task, constants of one of its calls, and how often it is called."""

    family: Family
    task: Task
    constants: Mapping[str, Array]
    calls: int = 1


Pick = Callable[[Family, Task, Mapping[str, Array]], Point]
"""Picks the point of one kernel by its family, task and constants."""

Chooser = Callable[[Sequence[Work]], Sequence[Point]]
"""Picks the points of all kernels of a model, so that it can weigh them against each other."""


def default_point(capability: Capability) -> Pick:
    """Every kernel at the first point of its space."""
    return lambda family, task, _constants: family.space(task, capability)[0]


def lean_point(capability: Capability) -> Pick:
    """Every kernel at the point that writes the least out: the product of its knobs is what its code repeats."""

    def choose(family: Family, task: Task, constants: Mapping[str, Array]) -> Point:
        del constants
        return min(family.space(task, capability), key=lambda p: math.prod(n for _, n in p))

    return choose


def known_point(
    known: Callable[[Task], Point | None], capability: Capability, otherwise: Pick
) -> Pick:
    """Every kernel at the point that was chosen for its task before, where there is one and its space still has it."""

    def choose(family: Family, task: Task, constants: Mapping[str, Array]) -> Point:
        point = known(task)
        if point is not None and point in family.space(task, capability):
            return point
        return otherwise(family, task, constants)

    return choose


def one_by_one(pick: Pick) -> Chooser:
    """Every kernel by itself."""
    return lambda works: [pick(w.family, w.task, w.constants) for w in works]


def choose_points(
    programs: Sequence[Steps], choose: Chooser, capability: Capability
) -> list[tuple[Task, Point]]:
    """Give every step of a family its point; equal tasks are chosen for once.

    Where `choose` would lay weights out in a way that no program before has, another point of the space is taken that
    finds them laid out already, if there is one: a library would hold its weights twice otherwise.

    Returns:
        What was chosen for each task, in the order of the first calls: who chooses that again has the same code.
    """
    works: dict[str, Work] = {}
    for step in (step for program in programs for step in program.steps):
        if step.task and step.family:
            digest = step.task.digest
            known = works.get(digest) or Work(step.family, step.task, step.constants or {}, 0)
            works[digest] = replace(known, calls=known.calls + 1)
    chosen = dict(zip(works, choose(list(works.values())), strict=True))
    layouts: set[bytes] = set()
    for program in programs:
        for position, step in enumerate(program.steps):
            if not step.task or not step.family:
                continue
            constants = step.constants or {}
            point = chosen[step.task.digest]
            if constants and program is not programs[0]:
                points = [point, *step.family.space(step.task, capability)]
                fitting = (p for p in points if _layout(step, p, capability) in layouts)
                point = next(fitting, point)
            program.steps[position] = replace(step, point=point)
        if program is not programs[-1]:
            layouts.update(
                _layout(s, s.point, capability) for s in program.steps if s.point is not None
            )
    return [(work.task, chosen[digest]) for digest, work in works.items()]


def _layout(step: Step, point: Point, capability: Capability) -> bytes:
    """A digest of a step's constants as its kernel reads them at a point."""
    assert step.task
    assert step.family
    digest = hashlib.sha256()
    for array in step.family.pack(step.task, capability, point, step.constants or {}):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()

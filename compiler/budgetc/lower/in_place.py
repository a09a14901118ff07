"""Write a result over an operand that nobody reads any more, element for element: both are one storage then.

A residual sum needs no memory of its own, and neither does an activation that no kernel takes in.
"""

from collections.abc import Mapping
from dataclasses import replace

from budgetc_specs.capability import Capability
from budgetc_targets.task import Access, Task

from budgetc.lower.placement import Storage
from budgetc.lower.sharing import form_of
from budgetc.lower.steps import Argument, Step, Steps

OVERWRITING = ("elementwise", "convolution", "softmax", "winograd")
"""Kinds of tasks that are as fast in place, where their family takes that at all."""


def write_in_place(steps: Steps, capability: Capability) -> None:
    """Rewrite the steps. An operand qualifies if it lies as the result is to lie, and all others read it before.

    Of tasks that are equal otherwise, all may alias if one does, so that they stay one kernel.
    """
    last = {name: position for position, step in enumerate(steps.steps) for name in _touched(step)}
    first: dict[str, int] = {}
    borders = {s.outputs[0].storage: s.fills for s in steps.steps if s.fills}
    for position, step in enumerate(steps.steps):
        for name in _touched(step):
            first.setdefault(name, position)
    names: dict[str, str] = {}  # of storages that became one with another
    forms: set[Task] = set()  # asked for members only
    for position, step in enumerate(steps.steps):
        operand = _overwritable(step, steps, capability)
        if operand is None or step.task is None:
            continue
        given, made = names.get(operand.storage, operand.storage), step.outputs[0].storage
        alone = first[made] == position and last[operand.storage] == position
        if not alone or last[given] > position or borders.get(given, ()) != step.fills:
            continue
        joined = f"{given}, {made}"
        for name in (operand.storage, given, made):
            names[name] = joined
        names |= {old: joined for old, new in names.items() if new == given}
        last[joined], borders[joined] = last[made], step.fills
        steps.storages[joined] = Storage(joined, "arena", steps.storages[made].size)
        forms.add(form_of(replace(step.task, may_alias=True)))
        steps.steps[position] = replace(step, fills=())
    steps.steps = [_changed(step, names, forms) for step in steps.steps]


def _touched(step: Step) -> list[str]:
    return [a.storage for a in (*step.inputs, *step.operands, *step.outputs)]


def _overwritable(step: Step, steps: Steps, capability: Capability) -> Argument | None:
    """The operand that a step may write its result over, as far as the step itself can tell."""
    task = step.task
    if task is None or step.family is None or step.part or task.kind not in OVERWRITING:
        return None
    output = step.outputs[0]
    if steps.storages[output.storage].region != "arena":
        return None
    if step.family.refusal(replace(task, may_alias=True), capability) is not None:
        return None
    for operand, access in zip(step.operands, task.operands, strict=True):
        if not _alike(access, task.output) or operand.offset != output.offset:
            continue
        storage = steps.storages[operand.storage]
        read = [a.storage for a in (*step.inputs, *step.operands)]
        if (
            storage.region == "arena"
            and storage.size == steps.storages[output.storage].size
            and read.count(operand.storage) == 1
        ):
            return operand
    return None


def _alike(one: Access, other: Access) -> bool:
    """Whether every element lies at the same place."""
    pairs = zip(one.shape, one.strides, other.strides, strict=True)
    same = one.dtype == other.dtype and one.shape == other.shape
    return same and all(a == b for extent, a, b in pairs if extent > 1)


def _changed(step: Step, names: Mapping[str, str], forms: set[Task]) -> Step:
    def moved(arguments: tuple[Argument, ...]) -> tuple[Argument, ...]:
        return tuple(replace(a, storage=names.get(a.storage, a.storage)) for a in arguments)

    task = step.task
    if task is not None:
        aliasing = replace(task, may_alias=True)
        task = aliasing if form_of(aliasing) in forms else task
    return replace(
        step,
        task=task,
        inputs=moved(step.inputs),
        operands=moved(step.operands),
        outputs=moved(step.outputs),
    )

"""A lesson: a graph made differentiable, trained on what the engine hands over, and its weights written back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Lessons, Note, PassError, held_back
from budgetc_passes.graph import Array
from budgetc_passes.learning.differentiable import Net
from budgetc_passes.learning.distillation import (
    Distillation,
    Taste,
    check_ports,
    heads_of,
    shared_values,
)
from budgetc_passes.learning.training import Plan, Trained, train

_FEWEST = 4


@dataclass(frozen=True)
class Learned:
    """What training came to: arrays for initializers by name, and what to say of it."""

    arrays: Mapping[str, Array]
    notes: tuple[Note, ...]


def learn(
    model: ir.Model, evidence: Evidence, taste: Taste, plan: Plan, *, scales: bool = False
) -> tuple[Note, ...]:
    """Train a model on the lessons, and write its weights; for a further shape, those of the first.

    Args:
        model: what learns; its initializers change, and nothing else.
        evidence: with the lessons.
        taste: what counts how much.
        plan: how; the lessons say by which seed and for how long.
        scales: whether the steps of codes are learned too.

    Raises:
        PassError: an operator has no differentiable form, the teacher or the samples do not suit the model.
    """
    lessons = evidence.lessons
    if not Net(model).weights:
        return (Note("refused", "", "it has no weights that could be learned: left as it was"),)
    if lessons is None:
        message = "BUG: a pass that learns was run without lessons"
        raise PassError(message)
    found = evidence.measured("learned", lambda: _learned(model, lessons, taste, plan, scales))
    for value in model.graph.initializers.values():
        array = found.arrays.get(value.name or "")
        if array is not None:
            value.const_value = ir.tensor(array, name=value.name)
    return found.notes


def _learned(
    model: ir.Model,
    lessons: Lessons,
    taste: Taste,
    plan: Plan,
    scales: bool,
) -> Learned:
    check_ports(model, lessons.teacher)
    net, teacher = Net(model, scales=scales), Net(lessons.teacher)
    inputs = _stacked(model, lessons)
    count = len(next(iter(inputs.values())))
    if count < _FEWEST:
        message = f"{count} inferences are too few to learn from and to hold some back"
        raise PassError(message)
    labels = _labels(lessons.labels, count)
    heads = heads_of(model, lessons.teacher, taste.kind, lessons.labels, classes=lessons.classes)
    features = shared_values(model, lessons.teacher) if taste.features else ()
    known, kept = held_back(count, lessons.seed)
    held = len(kept)
    course = Distillation(
        teacher,
        heads,
        features,
        taste,
        {name: each[known] for name, each in inputs.items()},
        None if labels is None else labels[known],
        (
            {name: each[kept] for name, each in inputs.items()},
            None if labels is None else labels[kept],
        ),
        lessons.augmentations,
    )
    plan = replace(plan, seed=lessons.seed, seconds=lessons.seconds)
    trained = train(net, course, plan, lessons.checkpoint, lessons.say)
    changed = net.write(model)
    stored = model.graph.initializers
    arrays = {name: np.array(_const(stored[name])) for name in changed}
    notes = [Note("refused", "", lessons.caution)] if lessons.caution else []
    text = _sentence(trained, course.quality, count - held, held, changed)
    notes.append(Note("did" if changed else "refused", "", text))
    if taste.features and not features:
        notes.append(
            Note("refused", "", "no value in between has the name and shape of one of the teacher")
        )
    told = any(head.labelled for head in heads)
    if taste.hard and lessons.labels is not None and not told:
        notes.append(Note("refused", "", "labels are no classes of an output: not learned from"))
    return Learned(arrays, tuple(notes))


def _sentence(
    trained: Trained, quality: str, learned: int, held: int, changed: tuple[str, ...]
) -> str:
    run = (
        f"{trained.epochs} of {trained.planned} epochs"
        if trained.why
        else f"{trained.epochs} epochs"
    )
    why = f" ({trained.why})" if trained.why else ""
    said = f"{run}{why} of {learned:,} inferences, {held:,} held back"
    if not changed:
        return f"{said}: {quality} {trained.before.quality:.4f} was not improved: left as it was"
    return (
        f"{said}: {quality} {trained.before.quality:.4f} to {trained.best.quality:.4f}, "
        f"loss {trained.before.loss:.4g} to {trained.best.loss:.4g} in epoch {trained.best_epoch}; "
        f"{len(changed)} constants changed"
    )


def _stacked(model: ir.Model, lessons: Lessons) -> dict[str, Array]:
    """All samples by input, [inferences, *shape]."""
    names = [value.name or "" for value in model.graph.inputs]
    columns: dict[str, list[Array]] = {name: [] for name in names}
    for number, sample in enumerate(lessons.samples()):
        for name in names:
            if name not in sample:
                message = f"training sample {number} lacks the input {name!r}"
                raise PassError(message)
            columns[name].append(sample[name])
    if not columns or not next(iter(columns.values())):
        message = "there are no samples to learn from"
        raise PassError(message)
    return {name: np.stack(column) for name, column in columns.items()}


def _labels(labels: Array | None, count: int) -> Array | None:
    """The labels of each inference, [inferences, batch, ...]."""
    if labels is None or labels.dtype.kind not in "iu" or len(labels) % count:
        return None
    return labels.astype(np.int64).reshape(count, len(labels) // count, *labels.shape[1:])


def _const(value: ir.Value) -> Array:
    if value.const_value is None:
        message = f"BUG: {value.name} is no constant"
        raise TypeError(message)
    return value.const_value.numpy()

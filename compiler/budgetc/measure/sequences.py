"""Metrics of sequences: edits from the answered sequence of classes to the right one."""

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import SpecError

from budgetc.measure.metrics import Array, Metric, Outputs, Scores, only_output

Integers = npt.NDArray[np.int64]

NO_BLANK = -1
"""The option's value where every step counts."""


def _edit_distance(
    outputs: Outputs, labels: Array | None, _: Outputs, *, blank: int = NO_BLANK
) -> Scores:
    """[N, 2]: edits, and the length of the right sequence."""
    values = only_output(outputs, "edit-distance")
    suits = labels is not None and labels.dtype.kind in "iu" and labels.ndim == 2
    if values.ndim != 3 or labels is None or not suits or len(labels) != len(values):
        shown = "none" if labels is None else f"{labels.dtype.name} {list(labels.shape)}"
        raise SpecError.of(
            "the metric edit-distance needs an output of shape [N, steps, classes] and labels of "
            f"shape [N, length]; the output is {list(values.shape)}, they are {shown}",
            'save the sequences as "label", an array of integers, filled up with -1.',
        )
    answered = _packed(_steps(values.argmax(axis=2), blank))
    right = _packed(labels.astype(np.int64))
    lengths = (right >= 0).sum(axis=1)
    return np.stack([edits(answered, right), lengths], axis=1).astype(np.float64)


def _steps(classes: npt.NDArray[np.intp], blank: int) -> Integers:
    """The class of each step, -1 where it says nothing: a blank, or with blanks what is held on."""
    steps = classes.astype(np.int64)
    if blank == NO_BLANK:
        return steps
    held = np.zeros(steps.shape, bool)
    held[:, 1:] = steps[:, 1:] == steps[:, :-1]
    return np.where(held | (steps == blank), -1, steps)


def _packed(sequences: Integers) -> Integers:
    """Each sequence without its -1, which come to stand at its end."""
    order = np.argsort(sequences < 0, axis=1, kind="stable")
    return np.take_along_axis(sequences, order, axis=1)


def edits(first: Integers, second: Integers) -> Integers:
    """How many insertions, removals and replacements make one sequence of the other, for each row.

    Row by row of the table of Wagner and Fischer, for all pairs at once: a row's insertions are a
    running minimum.
    Source: R. Wagner, M. Fischer, The string-to-string correction problem, Journal of the ACM 21
    (1974), 168-173.

    Args:
        first: [N, T], each row filled up with -1 at its end.
        second: [N, L], likewise.
    """
    samples, columns = len(second), np.arange(second.shape[1] + 1)
    first_lengths, second_lengths = (first >= 0).sum(axis=1), (second >= 0).sum(axis=1)
    row = np.tile(columns, (samples, 1))
    found = np.where(first_lengths == 0, second_lengths, 0)
    for step in range(first.shape[1]):
        best = row + 1
        replaced = row[:, :-1] + (second != first[:, step, None])
        best[:, 1:] = np.minimum(best[:, 1:], replaced)
        row = np.minimum.accumulate(best - columns, axis=1) + columns
        ends = first_lengths == step + 1
        found[ends] = row[ends, second_lengths[ends]]
    return found


def _rate(means: Scores) -> Scores:
    """Edits for each entry of the right sequences."""
    return np.asarray(means[..., 0] / np.maximum(means[..., 1], np.finfo(np.float64).tiny))


edit_distance = Metric(
    "edit-distance",
    _edit_distance,
    higher_is_better=False,
    needs_labels=True,
    best=0.0,
    aggregate=_rate,
    about="For sequences of classes, outputs [N, steps, classes] against labels [N, length] filled up "
    "with -1: edits for each entry of the labels. With a `blank`, such as 0, a class that is held on "
    "counts once and blanks not at all, as CTC has it.",
)

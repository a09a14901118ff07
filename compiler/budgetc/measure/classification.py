"""Metrics of classes: top-k, F1, mean intersection over union, agreement with the float model."""

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import SpecError, quoted

from budgetc.measure.metrics import Array, Metric, Outputs, Scores, only_output

Classes = npt.NDArray[np.int64]
Truths = npt.NDArray[np.bool_]

VOID = 255
"""The label of pixels that no class claims, in most data sets for segmentation."""


def _class_of_each(labels: Array | None, samples: int, metric: str) -> Classes:
    if labels is None or labels.dtype.kind not in "iu" or labels.size != samples:
        shown = "no labels" if labels is None else f"{labels.dtype.name} {list(labels.shape)}"
        raise SpecError.of(
            f"the metric {metric} needs one whole number, the class, for each sample; here are "
            f"{shown}",
            'save the classes as "label", an array of integers of shape [N].',
        )
    return labels.reshape(samples).astype(np.int64)


def _labelled(outputs: Outputs, labels: Array | None, metric: str, count: int) -> Scores:
    """Whether each sample's class is among its largest outputs, so many of them."""
    values = _flat(only_output(outputs, metric))
    classes = values.shape[1]
    right = _class_of_each(labels, len(values), metric)
    _check_range(right, classes, metric)
    if count >= classes:
        raise SpecError.of(
            f"the metric {metric} looks at {count} classes, and the output has {classes}: no answer "
            "is wrong",
            "choose top1." if classes > 1 else "choose a metric of values, such as mse.",
        )
    return _among_largest(values, right, count)


def _among_largest(values: Array, labels: Array, count: int) -> Scores:
    """1 where the label is among the largest values, of equal ones the first, and none is NaN."""
    numbers = values.astype(np.float64)
    ranked = np.argsort(-numbers, axis=1, kind="stable")[:, :count]
    right = (ranked == labels[:, None]).any(axis=1) & ~np.isnan(numbers).any(axis=1)
    return np.asarray(right, np.float64)


def _flat(values: Array) -> Array:
    return values.reshape(len(values), -1)


def _top(outputs: Outputs, labels: Array | None, _: Outputs, *, k: int = 1) -> Scores:
    if k < 1:
        raise SpecError.of(f"the metric top looks at {quoted(k)} classes", "k is 1 or more.")
    return _labelled(outputs, labels, "top", k)


def _top1(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    return _labelled(outputs, labels, "top1", 1)


def _top5(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    return _labelled(outputs, labels, "top5", 5)


def _agreement(outputs: Outputs, _: Array | None, reference: Outputs) -> Scores:
    same = [
        _among_largest(_flat(outputs[name]), _flat(expected).argmax(axis=1), 1)
        for name, expected in reference.items()
    ]
    return np.asarray(np.min(same, axis=0), np.float64)


def _f1(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    """[N, 3C]: for each class whether it was hit, whether it was answered, whether it was right."""
    values = _flat(only_output(outputs, "f1"))
    right = _class_of_each(labels, len(values), "f1")
    classes = values.shape[1]
    _check_range(right, classes, "f1")
    answered = values.argmax(axis=1)
    one = np.eye(classes, dtype=np.float64)
    hit = one[right] * one[answered]
    # The largest of values with a NaN among them is nothing; the class it stands at was not meant.
    known = 1.0 - np.isnan(values.astype(np.float64)).max(axis=1, keepdims=True)
    return np.concatenate([hit * known, one[answered] * known, one[right]], axis=1)


def _macro_f1(means: Scores) -> Scores:
    """2 hits / (answers + truths), over the classes that are there."""
    hit, answered, right = np.split(means, 3, axis=-1)
    return _over_classes(2 * hit, answered + right, right > 0)


def _mean_iou(outputs: Outputs, labels: Array | None, _: Outputs, *, ignore: int = VOID) -> Scores:
    """[N, 3C]: for each class the pixels in label and answer, those in the answer, those in the label."""
    values = only_output(outputs, "mean-iou")
    wanted = (len(values), *values.shape[2:])
    if values.ndim < 3 or labels is None or labels.dtype.kind not in "iu" or labels.shape != wanted:
        shown = "none" if labels is None else f"{labels.dtype.name} {list(labels.shape)}"
        raise SpecError.of(
            "the metric mean-iou needs an output of shape [N, classes, H, W] and labels of shape "
            f"[N, H, W]; the output is {list(values.shape)}, they are {shown}",
            'save the class of each pixel as "label", an array of integers.',
        )
    classes = values.shape[1]
    truth: Classes = labels.astype(np.int64)
    judged = (truth >= 0) & (truth != ignore)
    _check_range(truth[judged], classes, "mean-iou")
    answered = values.argmax(axis=1)
    shared, answers, truths = [], [], []
    pixels = tuple(range(1, truth.ndim))
    for each in range(classes):
        here, there = judged & (answered == each), judged & (truth == each)
        shared.append((here & there).sum(axis=pixels))
        answers.append(here.sum(axis=pixels))
        truths.append(there.sum(axis=pixels))
    return np.asarray([*shared, *answers, *truths], np.float64).T


def _mean_ratio(means: Scores) -> Scores:
    """Pixels in both / pixels in either, over the classes that are there."""
    shared, answered, right = np.split(means, 3, axis=-1)
    return _over_classes(shared, answered + right - shared, right > 0)


# A class that is in no label of a set does not count: there is nothing to find of it, and one answer
# too many would otherwise cost as much as a whole class.


def _over_classes(part: Scores, whole: Scores, there: Truths) -> Scores:
    """The mean of part / whole over the classes that are there; 0 where none is."""
    ratios = np.divide(part, whole, out=np.zeros_like(part), where=there)
    return np.asarray(ratios.sum(axis=-1) / np.maximum(there.sum(axis=-1), 1))


def _check_range(labels: Classes, classes: int, metric: str) -> None:
    outside = labels[(labels < 0) | (labels >= classes)]
    if outside.size:
        raise SpecError.of(
            f"the metric {metric} found the label {outside[0]}, and the output has {classes} classes",
            f"classes go from 0 to {classes - 1}.",
        )


top = Metric(
    "top",
    _top,
    needs_labels=True,
    best=1.0,
    classes=True,
    about="Whether the label is among the `k` largest outputs.",
)
top1 = Metric(
    "top1",
    _top1,
    needs_labels=True,
    best=1.0,
    classes=True,
    about="Whether the largest output is the label's.",
)
top5 = Metric(
    "top5",
    _top5,
    needs_labels=True,
    best=1.0,
    classes=True,
    about="Whether the label is among the five largest outputs.",
)
f1 = Metric(
    "f1",
    _f1,
    needs_labels=True,
    best=1.0,
    classes=True,
    aggregate=_macro_f1,
    about="F1 of each class, the harmonic mean of precision and recall, over all samples; then the "
    "mean over the classes that the labels have (macro).",
)
mean_iou = Metric(
    "mean-iou",
    _mean_iou,
    needs_labels=True,
    best=1.0,
    aggregate=_mean_ratio,
    about="For segmentation, outputs [N, classes, H, W] against labels [N, H, W]: of each class the "
    "pixels in label and answer as a part of those in either, over all samples; then the mean over "
    "the classes that the labels have. Pixels labelled `ignore`, or below 0, are not judged.",
)
agreement = Metric(
    "agreement",
    _agreement,
    best=1.0,
    classes=True,
    about="Whether the largest value is where the float model's is, in every output.",
)

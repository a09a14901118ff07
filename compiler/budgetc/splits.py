"""Which samples serve what: ranges, the choices of the search, the verdicts."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from budgetc_specs.errors import SpecError
from budgetc_specs.spec import Spec

from budgetc.data import LABEL, SLICE, Array, Data, load_data, load_slices
from budgetc.measure.metrics import Metric
from budgetc.model import Model

MOST_SLICES = 1000
"""Of so many slices every one still gets an interval in a moment; more are numbers of samples by mistake."""


@dataclass(frozen=True)
class Splits:
    """The data of a spec, each part for its purpose.

    Attributes:
        calibration: what quantization takes its ranges from.
        validation: what search and sensitivity judge quality on; None where nothing can judge it.
        evaluation: what verdicts are about.
        sentence: for the report: what `validation` is, and why.
        saw_evaluation: whether `validation` is the evaluation data, so that the final figures of
            quality are of samples that choices were made on.
        training: what passes learn from that train.
    """

    calibration: Data | None
    validation: Data | None
    evaluation: Data | None
    sentence: str
    saw_evaluation: bool
    training: Data | None = None


def load_splits(spec: Spec, model: Model, metric: Metric) -> Splits:
    """Load and check all data of a spec, and decide what the search may look at.

    Search and sensitivity judge quality on `data.validation`; else on the calibration data, if they
    have the labels that the metric needs; else on the evaluation data, and the sentence says so.

    Raises:
        SpecError: an archive does not suit the model, the metric or the slices.
    """
    paths, needed = spec.data, metric.needs_labels
    grouping = spec.quality.slices
    calibration = load_data(paths.calibration, model) if paths.calibration else None
    training = load_data(paths.train, model) if paths.train else None
    validation = evaluation = None
    if paths.validation:
        validation = load_data(paths.validation, model, labels_required=needed)
    if paths.evaluation:
        evaluation = load_data(paths.evaluation, model, labels_required=needed)
        evaluation = replace(evaluation, slices=_slices(evaluation, grouping))
        _check_number(evaluation)
    chosen, sentence, saw = _choose(calibration, validation, evaluation, needs_labels=needed)
    if chosen is not None and chosen is not evaluation:
        chosen = replace(chosen, slices=_slices_if_any(chosen, grouping))
    if training is not None and evaluation is not None and training.digest == evaluation.digest:
        raise SpecError.of(
            "data.train: these are the evaluation data, which nothing may learn from",
            "keep samples back: a model that has seen its test says nothing by passing it.",
            str(training.path),
        )
    return Splits(calibration, chosen, evaluation, sentence, saw, training)


def _choose(
    calibration: Data | None,
    validation: Data | None,
    evaluation: Data | None,
    *,
    needs_labels: bool,
) -> tuple[Data | None, str, bool]:
    """The validation data, the sentence on it, and whether the search sees the evaluation data."""
    labelled = calibration is not None and (calibration.labels is not None or not needs_labels)
    if validation is not None:
        chosen, what = validation, "the validation data"
    elif calibration is not None and labelled:
        chosen, what = calibration, "the calibration data"
    elif evaluation is not None:
        lacking = "calibration data" if calibration is None else "labels in the calibration data"
        why = f"there are neither validation data nor {lacking}"
        return evaluation, f"the search sees the evaluation data: {why}", True
    else:
        return None, "the search does not judge quality: there are no data to judge it on", False
    if evaluation is not None and chosen.digest == evaluation.digest:
        return chosen, f"the search sees the evaluation data: {what} are the same file", True
    samples = f"{chosen.count:,} samples of {chosen.path.name}"
    return chosen, f"the search judges quality on {what}, {samples}", False


def _check_number(evaluation: Data) -> None:
    count = 0 if evaluation.slices is None else len(np.unique(evaluation.slices))
    if count > MOST_SLICES:
        raise SpecError.of(
            f"quality.slices: there are {count:,} slices of {evaluation.count:,} samples",
            f"a slice is a group of samples, and there are at most {MOST_SLICES:,}.",
            str(evaluation.path),
        )


def _slices(data: Data, grouping: str | Path | None) -> Array | None:
    """The slice of each sample, as the spec asks for them.

    Raises:
        SpecError: the data do not have them.
    """
    if grouping is None:
        return None
    if isinstance(grouping, Path):
        return load_slices(grouping, data)
    if grouping == SLICE and data.slices is None:
        raise SpecError.of(
            f'quality.slices: there is no array "{SLICE}"',
            "add one that says for each sample which slice it belongs to.",
            str(data.path),
        )
    if grouping == LABEL and _classes(data) is None:
        shown = "no labels"
        if data.labels is not None:
            shown = f"labels of {data.labels.dtype.name} {list(data.labels.shape)}"
        raise SpecError.of(
            f"quality.slices: a class can be a slice where a label is one whole number; "
            f"here are {shown}",
            f'save an array "{SLICE}" that says which slice a sample belongs to.',
            str(data.path),
        )
    return _slices_if_any(data, grouping)


def _slices_if_any(data: Data, grouping: str | Path | None) -> Array | None:
    """The same of data that need not have them; an archive of slices is of evaluation data only."""
    if grouping == LABEL:
        return _classes(data)
    return data.slices if grouping == SLICE else None


def _classes(data: Data) -> Array | None:
    labels = data.labels
    if labels is None or labels.dtype.kind not in "biu" or labels.size != data.count:
        return None
    return labels.reshape(data.count)

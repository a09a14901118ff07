"""Metrics of numbers: mean squared error, signal-to-noise ratio, cosine to the float model."""

import numpy as np
from budgetc_specs.errors import SpecError

from budgetc.measure.metrics import Array, Metric, Outputs, Scores, only_output

MOST_DB = 150.0
"""What counts as no noise at all; the rounding of float32 is in between 140 and 150 dB below the signal."""


def _right_values(outputs: Outputs, labels: Array | None, metric: str) -> tuple[Scores, Scores]:
    """The one output and the labels, [N, values] each."""
    values = only_output(outputs, metric)
    if labels is None or labels.size != values.size or len(labels) != len(values):
        shown = "none" if labels is None else list(labels.shape)
        raise SpecError.of(
            f"the metric {metric} needs labels of the output's shape; the output is "
            f"{list(values.shape)}, they are {shown}",
            'save the right outputs as "label", samples on axis 0'
            + (", or none to compare with the float model." if metric == "snr" else "."),
        )
    return _flat(values), _flat(labels)


def _flat(values: Array) -> Scores:
    return values.reshape(len(values), -1).astype(np.float64)


def _mse(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    values, right = _right_values(outputs, labels, "mse")
    return np.asarray(np.mean((values - right) ** 2, axis=1))


def _snr(outputs: Outputs, labels: Array | None, reference: Outputs) -> Scores:
    """[N, 2]: the energy of the right outputs and that of what was added to them."""
    if labels is not None:
        pairs = [_right_values(outputs, labels, "snr")]
    else:
        pairs = [(_flat(outputs[name]), _flat(right)) for name, right in reference.items()]
    signal = sum((np.sum(right**2, axis=1) for _, right in pairs), np.zeros(()))
    noise = sum((np.sum((values - right) ** 2, axis=1) for values, right in pairs), np.zeros(()))
    return np.stack([signal, noise], axis=1)


def _decibels(means: Scores) -> Scores:
    signal, noise = means[..., 0], means[..., 1]
    least, most = 10 ** (-MOST_DB / 10), 10 ** (MOST_DB / 10)
    # Silence that stays silence has no noise, so the second 0 of 0 / 0 counts.
    with np.errstate(over="ignore"):
        loud = np.divide(signal, noise, out=np.full_like(signal, most), where=noise > 0)
    return np.asarray(10 * np.log10(np.clip(loud, least, most)))


def _cosine(outputs: Outputs, _: Array | None, reference: Outputs) -> Scores:
    of_each = []
    for name, expected in reference.items():
        ours, theirs = _flat(outputs[name]), _flat(expected)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        product = np.sum(ours * theirs, axis=1)
        cosine = np.divide(product, lengths, out=np.zeros_like(product), where=lengths > 0)
        cosine[(ours == theirs).all(axis=1)] = 1.0
        of_each.append(cosine)
    return np.asarray(np.mean(of_each, axis=0))


mse = Metric(
    "mse",
    _mse,
    higher_is_better=False,
    needs_labels=True,
    best=0.0,
    about="Mean squared difference between the outputs and the labels, the right outputs.",
)
snr = Metric(
    "snr",
    _snr,
    best=MOST_DB,
    aggregate=_decibels,
    about="Energy of the right outputs over that of the error, in dB over all samples; no error counts "
    "as 150 dB. The right outputs are the labels, or without labels the float model's outputs, all of "
    "them.",
)
cosine = Metric(
    "cosine",
    _cosine,
    best=1.0,
    about="Cosine of the angle between a sample's outputs and the float model's; where there are "
    "several outputs, their mean.",
)

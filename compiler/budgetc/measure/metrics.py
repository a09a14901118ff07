"""Metrics: what makes an answer good, as one score for each sample."""

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import SpecError, did_you_mean, quoted

Array = npt.NDArray[np.generic]
Scores = npt.NDArray[np.float64]
Outputs = Mapping[str, Array]
MetricFunction = Callable[[Outputs, Array | None, Outputs], Scores]

GROUP = "budgetc.metrics"
"""The entry point group; its members are a `Metric`, or a function as `Metric.function` is."""


@dataclass(frozen=True)
class Metric:
    """A metric; call it with outputs, labels and the float model's outputs, samples on axis 0.

    Attributes:
        name: what the spec calls it.
        function: takes (outputs, labels or None, reference outputs) and returns a score for each
            sample. The metric of a set is the mean of the scores.
        higher_is_better: whether more is better.
        needs_labels: whether the evaluation data must have labels.
    """

    name: str
    function: MetricFunction
    higher_is_better: bool = True
    needs_labels: bool = False

    def __call__(self, outputs: Outputs, labels: Array | None, reference: Outputs) -> Scores:
        """The scores, one float64 for each sample.

        Raises:
            SpecError: the labels or outputs do not suit the metric, or a foreign metric fails or
                returns nonsense.
        """
        if self.needs_labels and labels is None:
            raise SpecError.of(
                f"the metric {self.name} needs labels, and the evaluation data has none",
                'add the array "label" to it, or choose a metric that needs none, such as '
                "agreement.",
            )
        try:
            scores = np.asarray(self.function(outputs, labels, reference), np.float64)
        except SpecError:
            raise
        except Exception as error:
            raise SpecError.of(
                f"the metric {self.name} failed: {type(error).__name__}: {error}",
                "it is called with (outputs, labels, reference), arrays with samples on axis 0.",
            ) from error
        samples = len(next(iter(reference.values())))
        if scores.shape != (samples,) or not np.isfinite(scores).all():
            raise SpecError.of(
                f"the metric {self.name} returned {list(scores.shape)} scores for {samples} "
                "samples, or not finite ones",
                "a metric returns one finite score for each sample.",
            )
        return scores


def resolve_metric(name: str, folder: Path | None = None) -> Metric:
    """Find a metric by the name of an entry point, or as `module:function`.

    Args:
        name: as in `quality.metric` of the spec.
        folder: where a module that is not installed is looked for as well: the spec's own folder.

    Raises:
        SpecError: there is none of that name, two packages claim it, or it can not be imported.
    """
    if ":" in name:
        return _imported(name, EntryPoint(name, name, GROUP), folder)
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = sorted(entry_points(group=GROUP).names)
        near = did_you_mean(name, known)
        raise SpecError.of(
            f"quality.metric: there is no metric {quoted(name)}",
            f"{near + ' ' if near else ''}installed are {', '.join(known)}; or name a function as "
            "module:function.",
        )
    if len({point.value for point in found}) > 1:
        owners = " and ".join(sorted(p.dist.name if p.dist else p.value for p in found))
        raise SpecError.of(
            f"quality.metric: {quoted(name)} is claimed by {owners}",
            "uninstall one of them, or name the function as module:function.",
        )
    return _imported(name, found[0], None)


def _imported(name: str, point: EntryPoint, folder: Path | None) -> Metric:
    before = list(sys.path)
    try:
        if folder is not None:
            sys.path.append(str(folder))
            importlib.invalidate_caches()
        loaded = point.load()
    except Exception as error:
        owner = f" of {point.dist.name}" if point.dist else ""
        raise SpecError.of(
            f"quality.metric: {quoted(point.value)}{owner} can not be imported: "
            f"{type(error).__name__}: {error}",
            "it names a function as module:function, in a module that is installed or lies beside "
            "the spec.",
        ) from error
    finally:
        sys.path[:] = before
    if isinstance(loaded, Metric):
        return loaded
    if not callable(loaded):
        raise SpecError.of(
            f"quality.metric: {quoted(point.value)} is not a function",
            "a metric is a function of (outputs, labels, reference).",
        )
    return Metric(
        name,
        loaded,
        higher_is_better=bool(getattr(loaded, "higher_is_better", True)),
        needs_labels=bool(getattr(loaded, "needs_labels", False)),
    )


def _sole(outputs: Outputs, metric: str) -> Array:
    """The one output as (samples, values)."""
    if len(outputs) != 1:
        names = ", ".join(quoted(n) for n in outputs)
        raise SpecError.of(
            f"the metric {metric} is for models with one output; this one has {names}",
            "write a function that takes what it needs of them, and name it as module:function.",
        )
    value = next(iter(outputs.values()))
    return value.reshape(len(value), -1)


def _classes(labels: Array | None, samples: int, metric: str) -> Array:
    if labels is None or labels.dtype.kind not in "iu" or labels.size != samples:
        shown = "no labels" if labels is None else f"{labels.dtype.name} {list(labels.shape)}"
        raise SpecError.of(
            f"the metric {metric} needs one whole number, the class, for each sample; here are "
            f"{shown}",
            'save the classes as "label", an array of integers of shape [N].',
        )
    return labels.reshape(samples)


def _top(values: Array, labels: Array, count: int) -> Scores:
    """1 where the label is among the largest values, of equal ones the first, and none is NaN."""
    numbers = values.astype(np.float64)
    ranked = np.argsort(-numbers, axis=1, kind="stable")[:, :count]
    right = (ranked == labels[:, None]).any(axis=1) & ~np.isnan(numbers).any(axis=1)
    return np.asarray(right, np.float64)


def _top1(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    values = _sole(outputs, "top1")
    return _top(values, _classes(labels, len(values), "top1"), 1)


def _top5(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    values = _sole(outputs, "top5")
    return _top(values, _classes(labels, len(values), "top5"), 5)


def _mse(outputs: Outputs, labels: Array | None, _: Outputs) -> Scores:
    values = _sole(outputs, "mse")
    if labels is None or labels.size != values.size:
        shown = "none" if labels is None else list(labels.shape)
        raise SpecError.of(
            "the metric mse needs labels of the output's shape; the output is "
            f"{list(values.shape)}, they are {shown}",
            'save the right outputs as "label", samples on axis 0.',
        )
    difference = values.astype(np.float64) - labels.reshape(values.shape).astype(np.float64)
    return np.asarray(np.mean(difference**2, axis=1), np.float64)


def _agreement(outputs: Outputs, _: Array | None, reference: Outputs) -> Scores:
    expected = _sole(reference, "agreement").argmax(axis=1)
    return _top(_sole(outputs, "agreement"), expected, 1)


top1 = Metric("top1", _top1, needs_labels=True)
"""Whether the largest output is the label's."""

top5 = Metric("top5", _top5, needs_labels=True)
"""Whether the label is among the five largest outputs."""

mse = Metric("mse", _mse, higher_is_better=False, needs_labels=True)
"""Mean squared difference between the outputs and the labels, which are the right outputs."""

agreement = Metric("agreement", _agreement)
"""Whether the largest output is that of the float model; needs no labels."""

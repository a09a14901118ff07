"""The contract of metrics, and the two doors by which they come in."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import Refusal, SpecError, did_you_mean, quoted
from budgetc_specs.recipe import Step, Value, parse_recipe

Array = npt.NDArray[np.generic]
Scores = npt.NDArray[np.float64]
Outputs = Mapping[str, Array]
MetricFunction = Callable[..., Scores]
Aggregate = Callable[[Scores], Scores]

GROUP = "budgetc.metrics"
"""The entry point group; its members are a `Metric`, or a function as `Metric.function` is."""


@dataclass(frozen=True)
class Metric:
    """A metric; call it with outputs, labels and the float model's outputs, samples on axis 0.

    What a metric says of a set is made of what it says of each sample, so that an interval can be
    had by drawing samples. A score for each sample is enough where the set's value is their mean.
    Where it is not, as of F1, a sample has several statistics, and `aggregate` makes the value of
    their means: F1 of the shares of samples that were hit, that were answered and that are there.

    Attributes:
        name: what the spec calls it.
        function: takes (outputs, labels or None, reference outputs) and returns a score for each
            sample, [N], or with `aggregate` statistics, [N, K]. What it takes by keyword alone are
            options: `top{k=3}`.
        higher_is_better: whether more is better.
        needs_labels: whether the evaluation data must have labels.
        best: the best value that there is; None where it has no end.
        classes: whether it takes a row of outputs for scores of classes, the largest for the answer.
            What learns without labels learns scores of classes then.
        aggregate: makes values, [...], of statistics' means, [..., K]; None where the value is the
            mean of the scores.
        about: what it says, in a sentence or two; for the documentation.
    """

    name: str
    function: MetricFunction
    higher_is_better: bool = True
    needs_labels: bool = False
    best: float | None = None
    classes: bool = False
    aggregate: Aggregate | None = None
    about: str = ""

    def __call__(self, outputs: Outputs, labels: Array | None, reference: Outputs) -> Scores:
        """The scores, [N], or statistics, [N, K], in float64.

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
        dimensions = 1 if self.aggregate is None else 2
        shaped = scores.ndim == dimensions and len(scores) == samples
        if not shaped or not np.isfinite(scores).all():
            what = "score" if self.aggregate is None else "row of statistics"
            raise SpecError.of(
                f"the metric {self.name} returned {list(scores.shape)} {what}s for {samples} "
                "samples, or not finite ones",
                f"a metric returns one finite {what} for each sample.",
            )
        return scores

    def value(self, scores: Scores) -> float:
        """The metric of a set of samples, from what was returned for each of them.

        Raises:
            SpecError: the metric's aggregate fails or gives no number.
        """
        means = scores.mean(axis=0)
        if self.aggregate is None:
            return float(means)
        try:
            value = float(self.aggregate(means))
        except Exception as error:
            raise SpecError.of(
                f"the aggregate of the metric {self.name} failed: {type(error).__name__}: {error}",
                "it takes means of the statistics, [..., K], and returns values, [...].",
            ) from error
        if not np.isfinite(value):
            raise SpecError.of(
                f"the aggregate of the metric {self.name} returned {value}",
                "a metric's value is a finite number.",
            )
        return value


def resolve_metric(name: str, folder: Path | None = None) -> Metric:
    """Find a metric by the name of an entry point, with options in braces, or as `module:function`.

    Args:
        name: as in `quality.metric` of the spec, such as `top1`, `top{k=3}` or `mymetrics:score`.
        folder: where a module that is not installed is looked for as well: the spec's own folder.

    Raises:
        SpecError: there is none of that name, two packages claim it, it can not be imported, or it
            has no such option.
    """
    if "{" not in name and ":" in name:
        return _imported(name, EntryPoint(name, name, GROUP), folder)
    try:
        (step,) = parse_recipe(name).steps
    except (Refusal, ValueError) as error:
        raise SpecError.of(
            f"quality.metric: {quoted(name)} is not a metric",
            'write its name, with options in braces where it has any, such as "top{k=3}".',
        ) from error
    found = list(entry_points(group=GROUP, name=step.name))
    if not found:
        known = sorted(entry_points(group=GROUP).names)
        near = did_you_mean(step.name, known)
        raise SpecError.of(
            f"quality.metric: there is no metric {quoted(step.name)}",
            f"{near + ' ' if near else ''}installed are {', '.join(known)}; or name a function as "
            "module:function.",
        )
    if len({point.value for point in found}) > 1:
        owners = " and ".join(sorted(p.dist.name if p.dist else p.value for p in found))
        raise SpecError.of(
            f"quality.metric: {quoted(step.name)} is claimed by {owners}",
            "uninstall one of them, or name the function as module:function.",
        )
    metric = _imported(step.name, found[0], None)
    return _with_options(metric, step) if step.options else metric


def metric_options(metric: Metric) -> Mapping[str, Value]:
    """The options of a metric with their defaults: what its function takes by keyword alone."""
    if isinstance(metric.function, partial):
        return metric_options(replace(metric, function=metric.function.func))
    parameters = inspect.signature(metric.function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}


def _with_options(metric: Metric, step: Step) -> Metric:
    known = metric_options(metric)
    for name, value in step.options:
        if name not in known:
            has = ", ".join(known) or "none"
            raise SpecError.of(
                f"quality.metric: {metric.name} has no option {quoted(name)}",
                f"{did_you_mean(name, known)} its options are {has}.".strip(),
            )
        kind = type(known[name])
        if type(value) is not kind:
            raise SpecError.of(
                f"quality.metric: {metric.name}: {name} is {quoted(value)}",
                f"it is of the kind of its default, {quoted(known[name])}.",
            )
    return replace(metric, name=str(step), function=partial(metric.function, **dict(step.options)))


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
        best=best if isinstance(best := getattr(loaded, "best", None), int | float) else None,
        classes=bool(getattr(loaded, "classes", False)),
        aggregate=getattr(loaded, "aggregate", None),
        about=(inspect.getdoc(loaded) or "").partition("\n\n")[0],
    )


def only_output(outputs: Outputs, metric: str) -> Array:
    """The one output of a model, samples on axis 0.

    Raises:
        SpecError: it has several.
    """
    if len(outputs) != 1:
        names = ", ".join(quoted(n) for n in outputs)
        raise SpecError.of(
            f"the metric {metric} is for models with one output; this one has {names}",
            "agreement, cosine and snr look at all of them; or write a function that takes what it "
            "needs of them, and name it as module:function.",
        )
    return next(iter(outputs.values()))

"""The quality of optimised models beside the float model, by their references, on the same samples."""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from budgetc.assess import synthetic
from budgetc.baseline import by_sample
from budgetc.data import load_data
from budgetc.measure.metrics import GROUP as METRICS
from budgetc.measure.metrics import Scores, resolve_metric
from budgetc.measure.quality import compare
from budgetc.model import Model
from budgetc.provenance import code_digest
from budgetc.registry import release_of
from budgetc.search.logits import tapped
from budgetc.store import Shelf, file_digest
from budgetc.verification.oracle import reference_session

Array = npt.NDArray[np.generic]

_TEMPERATURES = tuple(2 ** (step / 4) for step in range(-16, 25))
"""From a sixteenth to 64 times the deviation of the scores."""


class Judge:
    """Compares models with the float model on the same samples.

    Args:
        model: the float model.
        validation: .npz archive that quality is judged on; None for made-up inputs.
        metric: as in `quality.metric` of a spec; None where the samples have no labels for it.
        folder: where the metric's module is looked for as well.
        samples: of the validation data, at most.
        seed: which of them.
        kept: folder with what was found of models before, whatever made them: targets whose passes come to the same
            model share it. None keeps nothing.
        fixed_point: whether quantised models are judged by the arithmetic of cores without floats.
        surprised: whether their surprise at labels is asked for: a fifth of a second where 2048 samples are of 1000
            classes.

    Raises:
        SpecError: the data or the metric is at fault.
    """

    def __init__(
        self,
        model: Model,
        validation: str | None,
        metric: str | None,
        folder: str | None,
        samples: int,
        seed: int,
        kept: Path | None = None,
        *,
        fixed_point: bool = False,
        surprised: bool = False,
    ) -> None:
        self._model, self._kept = model, Shelf(kept) if kept else None
        self._metric = resolve_metric(metric, Path(folder) if folder else None) if metric else None
        self._feeds, self._rows, self._labels = _chosen(model, validation, samples, seed)
        self.samples = len(self._rows)
        asked = [metric, metric_code(metric, Path(folder) if folder else None), samples, seed]
        data = file_digest(Path(validation)) if validation else None
        self._fixed_point, self._surprised = fixed_point, surprised
        self._key = [code_digest(), model.digest, data, *asked, fixed_point, surprised]

    @functools.cached_property
    def _float(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """The float model's outputs, and the numbers behind them."""
        return self._answers(self._model)

    @functools.cached_property
    def _scores(self) -> Scores:
        assert self._metric is not None
        return self._metric(self._float[0], self._labels, self._float[0])

    def figures(self, model: Model) -> dict[str, Any]:
        """What is found of a model.

        `error` is the noise in its answers and `samples` how many were judged; where it is asked for and labels are
        classes of its one output, `loss` is its surprise at them; where there is a metric, `value` is the metric with
        the upper end of its interval, `value_high`, and `drop` what it loses, from `low` to `high`.
        """
        if self._kept is None:
            return self._figures(model)
        key = [*self._key, model.digest]
        known: dict[str, Any] | None = self._kept.get(key)
        if known is None:
            known = self._figures(model)
            self._kept.put(key, known)
        return known

    def _figures(self, model: Model) -> dict[str, Any]:
        outputs, numbers = self._answers(model)
        reference, reference_numbers = self._float
        error = noise_to_signal(numbers, reference_numbers)
        figures: dict[str, Any] = {"error": error, "samples": self.samples}
        loss = surprise(numbers, self._labels) if self._surprised else None
        if loss is not None:
            figures["loss"] = loss
        if self._metric is None:
            return figures
        scores = self._metric(outputs, self._labels, reference)
        found = compare(self._metric, scores, self._scores)
        return {
            **figures,
            "drop": found.drop,
            "low": found.low,
            "high": found.high,
            "value": found.value,
            "value_high": found.value_high,
        }

    def _answers(self, model: Model) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name, samples on axis 0; and the numbers behind them, inferences on axis 0."""
        data, taps = tapped(model.data)
        session = reference_session(replace(model, data=data), fixed_point=self._fixed_point)
        columns: dict[str, list[Array]] = {name: [] for name in taps}
        numbers: dict[str, list[Array]] = {name: [] for name in taps}
        for feed in self._feeds:
            found = session.run(feed)
            for name, tap in taps.items():
                columns[name].append(np.atleast_1d(found[name]))
                numbers[name].append(tap.of(found))
        joined = {name: np.concatenate(values) for name, values in columns.items()}
        stacked = {name: np.stack(values) for name, values in numbers.items()}
        return by_sample(joined, self.samples), stacked


def metric_code(metric: str | None, folder: Path | None) -> str:
    """The release that a metric came with, or a digest of the module beside the spec that it is in."""
    if metric is None or folder is None:
        return ""
    if "{" in metric or ":" not in metric:
        return release_of(METRICS, metric.partition("{")[0])
    file = folder / f"{metric.partition(':')[0].replace('.', '/')}.py"
    return file_digest(file) if file.is_file() else ""


def _chosen(
    model: Model, validation: str | None, samples: int, seed: int
) -> tuple[list[dict[str, Array]], Array, Array | None]:
    """Inferences to run, the numbers of their samples, and the labels of these."""
    batch = max((port.shape[0] for port in model.inputs if port.shape), default=1)
    wanted = max(1, samples // batch)
    if validation is None:
        made = synthetic(model.inputs, wanted)
        feeds = [
            {p.name: _step(made[p.name], p.shape, at) for p in model.inputs} for at in range(wanted)
        ]
        return feeds, np.arange(wanted * batch), None
    data = load_data(validation, model)
    random = np.random.default_rng(seed)
    steps = np.sort(random.permutation(data.steps)[:wanted])
    feeds = list(_picked(data.samples(), set(steps.tolist())))
    each = data.count // data.steps
    rows = (steps[:, None] * each + np.arange(each)).reshape(-1)
    return feeds, rows, None if data.labels is None else data.labels[rows]


def _step(array: Array, shape: tuple[int, ...], at: int) -> Array:
    rows = shape[0] if shape else 1
    return array[at * rows : (at + 1) * rows].reshape(shape)


def _picked(stream: Iterator[dict[str, Array]], steps: set[int]) -> Iterator[dict[str, Array]]:
    return (feed for at, feed in enumerate(stream) if at in steps)


def surprise(numbers: Mapping[str, Array], labels: Array | None) -> float | None:
    """The mean of -log p(label), in nats, at the temperature at which it is least; None where labels are no classes.

    How sure a model is of itself says little of how good it is, and depends on how it was trained; without that, this
    tells models apart that give equally many right answers.
    Source: Guo et al. 2017, arXiv 1706.04599 (one temperature for all samples).

    Args:
        numbers: scores by output, inferences on axis 0.
        labels: of the samples.
    """
    if labels is None or labels.dtype.kind not in "iu" or labels.ndim != 1 or len(numbers) != 1:
        return None
    (scores,) = numbers.values()
    classes = scores.shape[-1]
    if (
        scores.size != len(labels) * classes
        or classes < 2
        or not 0 <= labels.min() <= labels.max() < classes
    ):
        return None
    rows = scores.reshape(len(labels), classes).astype(np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    rows = rows / (rows.std() or 1.0)
    own = rows[np.arange(len(labels)), labels]
    softened = ((rows / t, own / t) for t in _TEMPERATURES)
    return min(float((np.log(np.exp(each).sum(axis=1)) - right).mean()) for each, right in softened)


def noise_to_signal(outputs: Mapping[str, Array], reference: Mapping[str, Array]) -> float:
    """Energy of the difference over that of the reference: the mean over inferences and outputs.

    Args:
        outputs: by name, inferences on axis 0.
        reference: the same of the float model. What is zero throughout has the ratio 1 where
            anything differs.
    """
    ratios = []
    for name, right in reference.items():
        wanted = right.reshape(len(right), -1).astype(np.float64)
        off = outputs[name].reshape(len(right), -1).astype(np.float64) - wanted
        noise, signal = (off**2).sum(axis=1), (wanted**2).sum(axis=1)
        loud = signal > 0
        ratios.append(np.where(loud, noise / np.where(loud, signal, 1.0), noise > 0))
    return float(np.mean(ratios))

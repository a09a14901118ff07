"""What recipes do to the answers of a model, by onnxruntime; a function for a supervised child.

Hundreds of recipes for one model share most of their work: the model after a common beginning is made
once, ranges of activations are collected once for each model that a pass is run on, and the float model
answers once.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from budgetc_passes.contract import Evidence
from budgetc_specs.capability import Capability
from budgetc_specs.errors import BudgetcError, EnvironmentError_, SpecError
from budgetc_specs.recipe import Recipe, Step, parse_recipe

from budgetc.assess import synthetic
from budgetc.baseline import by_sample, make_session
from budgetc.child import report_progress
from budgetc.data import load_data
from budgetc.measure.metrics import Scores, resolve_metric
from budgetc.measure.quality import compare
from budgetc.model import Model, parse_model
from budgetc.optimise import run_pass
from budgetc.registry import make_passes
from budgetc.search.logits import tapped

Array = npt.NDArray[np.generic]

KEPT_MODELS = 8
"""Models after the beginning of a recipe that are kept for the next one."""


def simulate_recipes(
    model: str,
    source: str,
    capability: dict[str, Any],
    recipes: Sequence[str],
    calibration: str | None,
    validation: str | None,
    metric: str | None,
    folder: str | None,
    samples: int,
    seed: int,
) -> None:
    """Run each recipe's model on some of the validation samples, beside the float model.

    What is found of a recipe is reported as progress, so that nothing is lost when the work ends early:
    `{"begun": index}`, then `{"index", "found"}` with `refused`, why it cannot be, or else `error`,
    `weight_bytes`, `samples` and, where there is a metric, `drop`, `low` and `high`.

    Args:
        model: file with a normalised model.
        source: where it came from, for messages.
        capability: the target's sheet as JSON.
        recipes: as text.
        calibration: .npz archive for passes, or None.
        validation: .npz archive that quality is judged on; None for made-up inputs.
        metric: as in `quality.metric` of a spec; None where the samples have no labels for it.
        folder: where the metric's module is looked for as well.
        samples: of the validation data, at most.
        seed: which of them.

    Raises:
        SpecError: the data, the metric or a recipe is at fault.
    """
    sheet = Capability.model_validate(capability)
    given = parse_model(Path(model).read_bytes(), source)
    judge = _Judge(given, validation, metric, folder, samples, seed)
    kitchen = Kitchen(given, sheet, calibration, source)
    for index, text in enumerate(recipes):
        report_progress({"begun": index})
        try:
            made = kitchen.model(parse_recipe(text))
            found = {"weight_bytes": made.weight_bytes, **judge.figures(made)}
        except (SpecError, EnvironmentError_):
            raise
        except BudgetcError as error:
            found = {"refused": error.message}
        report_progress({"index": index, "found": found})


class Kitchen:
    """Makes models by recipes for one target, and keeps what recipes share."""

    def __init__(
        self, model: Model, capability: Capability, calibration: str | None, source: str
    ) -> None:
        self._capability, self._source = capability, source
        self._data = load_data(calibration, model) if calibration else None
        self._made: OrderedDict[tuple[Step, ...], Model] = OrderedDict({(): model})
        self._evidence: OrderedDict[tuple[str, str], Evidence] = OrderedDict()

    def model(self, recipe: Recipe) -> Model:
        """The model after the recipe."""
        passes = make_passes(recipe)
        length = next(n for n in range(len(passes), -1, -1) if recipe.steps[:n] in self._made)
        model = self._made[recipe.steps[:length]]
        self._made.move_to_end(recipe.steps[:length])
        for at in range(length, len(passes)):
            step, each = recipe.steps[at], passes[at]
            evidence = self._evidence_for(model, step, calibrated=each.needs().calibration)
            model, _ = run_pass(model, step, each, evidence, self._source)
            if at + 1 < len(passes):
                self._keep(recipe.steps[: at + 1], model)
        return model

    def _keep(self, steps: tuple[Step, ...], model: Model) -> None:
        self._made[steps] = model
        while len(self._made) > KEPT_MODELS:
            oldest = next(each for each in self._made if each)  # the model without a pass stays
            del self._made[oldest]

    def _evidence_for(self, model: Model, step: Step, *, calibrated: bool) -> Evidence:
        """Evidence with what the pass has measured of this very model before."""
        if not calibrated:
            return Evidence(self._capability)
        if self._data is None:
            raise SpecError.of(
                f"the pass {step.name} needs calibration data",
                'name it in the spec: "data: {calibration: calib.npz}".',
            )
        key = (model.digest, step.name)
        if key not in self._evidence:
            self._evidence[key] = Evidence(self._capability, self._data.samples)
        self._evidence.move_to_end(key)
        while len(self._evidence) > KEPT_MODELS:
            self._evidence.popitem(last=False)
        return self._evidence[key]


class _Judge:
    """Compares models with the float model on the same samples."""

    def __init__(
        self,
        model: Model,
        validation: str | None,
        metric: str | None,
        folder: str | None,
        samples: int,
        seed: int,
    ) -> None:
        self._metric = resolve_metric(metric, Path(folder) if folder else None) if metric else None
        self._feeds, self._rows, labels = _chosen(model, validation, samples, seed)
        self._labels = labels
        self.samples = len(self._rows)
        self._reference, self._numbers = self._answers(model)
        self._scores: Scores | None = None
        if self._metric is not None:
            self._scores = self._metric(self._reference, self._labels, self._reference)

    def figures(self, model: Model) -> dict[str, Any]:
        """The noise in the model's answers, and what it loses of the metric."""
        outputs, numbers = self._answers(model)
        error = noise_to_signal(numbers, self._numbers)
        figures = {"error": error, "samples": self.samples}
        if self._metric is None or self._scores is None:
            return figures
        scores = self._metric(outputs, self._labels, self._reference)
        found = compare(self._metric, scores, self._scores)
        return {**figures, "drop": found.drop, "low": found.low, "high": found.high}

    def _answers(self, model: Model) -> tuple[dict[str, Array], dict[str, Array]]:
        """Outputs by name, samples on axis 0; and the numbers behind them, inferences on axis 0."""
        data, taps = tapped(model.data)
        session = make_session(data, exact_integers=True)
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

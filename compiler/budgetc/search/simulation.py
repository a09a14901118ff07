"""Quality of recipes without a build: simulated in a child, and kept, so that none is simulated twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Recipe

from budgetc.cache import cache_folder
from budgetc.data import Data
from budgetc.measure.metrics import Metric
from budgetc.model import Model
from budgetc.provenance import code_digest
from budgetc.registry import PASSES, release_of
from budgetc.search.judge import metric_code
from budgetc.store import Shelf, json_digest
from budgetc.worker import ChildDied, run_child

SIMULATION_BYTES = 8 * 2**30
SECONDS_A_RECIPE = 600.0

SAMPLES = 256
"""Samples that a recipe is simulated on unless somebody says otherwise."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """What recipes are simulated on.

    Attributes:
        model_file: a normalised model, such as `Job.model_file`.
        digest: of the model.
        source: where it came from, for messages.
        capability: the target's sheet.
        calibration: samples for passes, and their digest, or None.
        validation: samples that quality is judged on, and their digest; None for made-up inputs.
        metric: as the spec names it; None where the samples have no labels for it.
        folder: where the metric's module is looked for as well, as the spec's own folder is.
        samples: of the validation data, at most.
        seed: which of them.
    """

    model_file: Path
    digest: str
    source: Path
    capability: Capability
    calibration: tuple[Path, str] | None = None
    validation: tuple[Path, str] | None = None
    metric: str | None = None
    folder: Path | None = None
    samples: int = SAMPLES
    seed: int = 0

    @staticmethod
    def of(
        model: Model,
        model_file: Path,
        capability: Capability,
        metric: Metric,
        *,
        calibration: Data | None,
        validation: Data | None,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> "Subject":
        """What a spec names, for simulations.

        Without validation data, the calibration data tell how much noise there is, and no metric is
        asked; without any data, made-up inputs do.
        """
        judged = validation or calibration
        asked = validation is not None and not (metric.needs_labels and validation.labels is None)
        return Subject(
            model_file=model_file,
            digest=model.digest,
            source=model.path,
            capability=capability,
            calibration=(calibration.path, calibration.digest) if calibration else None,
            validation=(judged.path, judged.digest) if judged else None,
            metric=metric.name if asked else None,
            folder=model.path.parent,
            samples=samples,
            seed=seed,
        )

    def key(self, recipe: Recipe) -> dict[str, Any]:
        """Everything that what is found of a recipe depends on, as JSON."""
        sheet = self.capability.model_dump(mode="json", exclude={"native", "threads"})
        return {
            "model": self.digest,
            "recipe": str(recipe),
            "capability": sheet,
            "calibration": self.calibration and self.calibration[1],
            "validation": self.validation and self.validation[1],
            "metric": self.metric,
            "samples": self.samples,
            "seed": self.seed,
            "code": code_digest(),
            "passes": [release_of(PASSES, step.name) for step in recipe.steps],
            "metric code": metric_code(self.metric, self.folder),
        }


@dataclass(frozen=True)
class Simulated:
    """What onnxruntime makes of a recipe's model, beside the float model.

    Attributes:
        recipe: its text.
        refused: why the recipe cannot be; empty where it can.
        error: noise-to-signal ratio of the outputs, before a last Softmax or Sigmoid: the mean over
            inferences and outputs. It grows where the metric does not move yet.
        drop: by how much the metric is worse; None without a metric.
        low: lower end of its interval.
        high: upper end of its interval.
        value: the metric.
        value_high: upper end of its interval.
        weight_bytes: of the optimised model as it is stored.
        samples: how many samples were judged.
    """

    recipe: str
    refused: str = ""
    error: float = 0.0
    drop: float | None = None
    low: float | None = None
    high: float | None = None
    value: float | None = None
    value_high: float | None = None
    weight_bytes: int = 0
    samples: int = 0


def simulate(
    subject: Subject, recipes: Sequence[Recipe], say: Say, cache: Path | None = None
) -> tuple[Simulated, ...]:
    """Simulate recipes, each once: what was found before comes from the cache.

    All that is missing is done in one child, and each recipe is kept as soon as it is known.

    Args:
        subject: the model and its data.
        recipes: what to simulate; recipes with a common beginning best stand together.
        say: told what is being done.
        cache: folder with what was found before; by default in the cache folder.

    Raises:
        ChildDied: a pass or onnxruntime crashed, hung or ran out of memory.
        BudgetcError: the data, the metric, a recipe or this machine is at fault.
    """
    shelf = Shelf(cache or cache_folder() / "simulated")
    keys = [json_digest(subject.key(recipe)) for recipe in recipes]
    known = [shelf.get(subject.key(recipe)) for recipe in recipes]
    found = {key: kept for key, kept in zip(keys, known, strict=True) if kept is not None}
    missing = {key: r for key, r in zip(keys, recipes, strict=True) if key not in found}
    if missing:
        _simulate(subject, missing, found, shelf, say)
    return tuple(_simulated(found[key], r) for key, r in zip(keys, recipes, strict=True))


def _simulate(
    subject: Subject,
    missing: Mapping[str, Recipe],
    found: dict[str, dict[str, Any]],
    shelf: Shelf,
    say: Say,
) -> None:
    """One child for all; where a recipe kills it, another one for those behind it, unless that dies at once."""
    waiting = list(missing)
    fruitless = False
    total, begun = len(waiting), ""

    def hear(message: Mapping[str, Any]) -> None:
        nonlocal begun
        if "begun" in message:
            begun = waiting[message["begun"]]
            say(f"{total - len(waiting) + message['begun'] + 1} of {total}: {missing[begun]}")
            return
        found[begun] = dict(message["found"])
        shelf.put(subject.key(missing[begun]), found[begun])

    while waiting:
        begun, before = "", len(found)
        try:
            run_child(
                "budgetc.search.simulator:simulate_recipes",
                {
                    "model": str(subject.model_file),
                    "source": str(subject.source),
                    "capability": subject.capability.model_dump(mode="json"),
                    "recipes": [str(missing[key]) for key in waiting],
                    "calibration": str(subject.calibration[0]) if subject.calibration else None,
                    "validation": str(subject.validation[0]) if subject.validation else None,
                    "metric": subject.metric,
                    "folder": str(subject.folder) if subject.folder else None,
                    "samples": subject.samples,
                    "seed": subject.seed,
                },
                timeout_s=SECONDS_A_RECIPE * len(waiting),
                memory_bytes=SIMULATION_BYTES,
                progress=hear,
            )
        except ChildDied as error:
            again, fruitless = fruitless, len(found) == before
            if not begun or begun in found or (fruitless and again):
                raise
            found[begun] = {
                "refused": error.message
            }  # not kept: another machine may have more memory
        waiting = [key for key in waiting if key not in found]


def _simulated(figures: Mapping[str, Any], recipe: Recipe) -> Simulated:
    return Simulated(recipe=str(recipe), **figures)

"""Models by recipes: passes run one after another, and what recipes have in common is done once."""

import functools
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import onnx
import onnx_ir as ir
from budgetc_passes.contract import Evidence, Lessons, Pass, PassError, PassResult
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, SpecError
from budgetc_specs.recipe import Recipe, Step

from budgetc.data import Data, load_data
from budgetc.learning import Learning, School, Taught, check_installed
from budgetc.model import Model, parse_model
from budgetc.registry import make_passes

KEPT_MODELS = 8
"""Models that are kept unless somebody says otherwise."""

Dish = tuple[tuple[Model, ...], tuple[dict[str, Any], ...]]
"""The model for each of its shapes after some steps, and what each step did."""


class Kitchen:
    """Makes models by recipes. The first steps of a recipe, and ranges of activations, serve the next one too.

    Args:
        models: the normalised model for one shape or for several. What passes measure, they measure on the first.
        capability: the target's sheet.
        calibration: .npz archive for passes, or None.
        source: where the model came from, for messages.
        learning: what passes learn from that train, or None.
        kept: models after the beginning of a recipe that are kept for the next one. Who cooks one recipe needs none.
    """

    def __init__(
        self,
        models: Sequence[Model],
        capability: Capability,
        calibration: str | None,
        source: str,
        learning: Learning | None = None,
        *,
        kept: int = KEPT_MODELS,
    ) -> None:
        self._learning = learning
        self._capability, self._source, self._kept = capability, source, kept
        self._given, self._calibration = models[0], calibration
        self._made: OrderedDict[tuple[Step, ...], Dish] = OrderedDict({(): (tuple(models), ())})
        self._evidence: OrderedDict[tuple[str, str], Evidence] = OrderedDict()
        self._taught: dict[tuple[Step, ...], float] = {}

    def cook(
        self,
        recipe: Recipe,
        begins: Callable[[Step], None] = lambda _step: None,
        says: Callable[[str], None] = lambda _text: None,
    ) -> Dish:
        """The model after the recipe, for each of its shapes, and the ledger.

        Args:
            recipe: which passes, in order.
            begins: told of each pass that is run, before it is.
            says: told how far a pass is that takes long.

        Raises:
            ModelError: a pass refuses the model.
            SpecError: a pass does not exist, or needs data and there are none; the data are at fault.
            EnvironmentError_: a pass trains, and the extra for it is not installed.
        """
        passes = make_passes(recipe)
        known = next(n for n in range(len(passes), -1, -1) if recipe.steps[:n] in self._made)
        models, ledger = self._made[recipe.steps[:known]]
        self._made.move_to_end(recipe.steps[:known])
        for at in range(known, len(passes)):
            step, each = recipe.steps[at], passes[at]
            begins(step)
            if (needs := each.needs()).lessons:
                asked = needs.teacher == "before"
                before = self._before(recipe, passes[:at]) if asked else None
                taught = self._learned(models, step, each, says, before)
                models, entry = taught.models, dict(taught.entry)
                self._taught[recipe.steps[: at + 1]] = taught.seconds
            else:
                models, entry = self._made_by(models, step, each)
            ledger = (*ledger, entry)
            if at + 1 < len(passes):
                self._keep(recipe.steps[: at + 1], (models, ledger))
        return models, ledger

    def taught(self, recipe: Recipe) -> tuple[float, ...]:
        """What each training of a recipe took in seconds, whenever that was; it was cooked here."""
        beginnings = (recipe.steps[:count] for count in range(1, len(recipe.steps) + 1))
        return tuple(self._taught[each] for each in beginnings if each in self._taught)

    def _made_by(
        self,
        models: Sequence[Model],
        step: Step,
        each: Pass,
        lessons: Lessons | None = None,
    ) -> tuple[tuple[Model, ...], dict[str, Any]]:
        """The models after a pass, and what the ledger says of it."""
        evidence = self._evidence_for(models[0], step, calibrated=each.needs().calibration)
        evidence = replace(evidence, lessons=lessons, results={}) if lessons else evidence
        results = [run_pass(model, step, each, evidence, self._source) for model in models]
        made = tuple(model for model, _ in results)
        return made, _ledger_entry(str(step), made[0], results[0][1])

    def _learned(
        self,
        models: Sequence[Model],
        step: Step,
        each: Pass,
        says: Callable[[str], None],
        teacher: Model | None,
    ) -> Taught:
        """The same after a pass that trains, from what an earlier run came to where there is one."""
        check_installed(f"pass {step.name}")
        if self._learning is None:
            raise SpecError.of(
                f"the pass {step.name} needs samples to learn from",
                'name them in the spec: "data: {train: train.npz}".',
            )
        school = School(self._learning, self._given, self._source)
        sheet = self._capability.model_dump(mode="json", exclude={"native", "threads"})
        ranges = self._data.digest if each.needs().calibration and self._data else None
        more = {"capability": sheet, "calibration": ranges, "before": teacher and teacher.digest}
        key = school.key(models, step, more)
        taught = school.recall(key)
        if taught is None:
            begin = time.monotonic()
            lessons = school.lessons(key, lambda text: says(f"{step.name}: {text}"), teacher)
            made, entry = self._made_by(models, step, each, lessons)
            taught = Taught(made, entry, time.monotonic() - begin)
            school.keep(key, taught)
        return taught

    def _before(self, recipe: Recipe, passes: Sequence[Pass]) -> Model | None:
        """The model before what stands between a training and the one before it; None without one before.

        Args:
            recipe: with these passes, and the one that trains.
            passes: before the one that trains. Several that train in a row are one training.
        """
        at = len(passes)
        for trains in (True, False):
            while at and passes[at - 1].needs().lessons == trains:
                at -= 1
        return self.cook(Recipe(recipe.steps[:at]))[0][0] if at else None

    def _keep(self, steps: tuple[Step, ...], dish: Dish) -> None:
        self._made[steps] = dish
        while len(self._made) > 1 + self._kept:
            oldest = next(each for each in self._made if each)  # the model without a pass stays
            del self._made[oldest]

    @functools.cached_property
    def _data(self) -> Data | None:
        """Read where a pass asks for it: a recipe that needs none does without."""
        return load_data(self._calibration, self._given) if self._calibration else None

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
        while len(self._evidence) > 1 + self._kept:
            self._evidence.popitem(last=False)
        return self._evidence[key]


def run_pass(
    model: Model, step: Step, each: Pass, evidence: Evidence, source: str
) -> tuple[Model, PassResult]:
    """Run one pass of a recipe; the model that it makes is checked as if it came from outside.

    Raises:
        ModelError: the pass refuses the model.
    """
    proto = onnx.load_model_from_string(model.data)
    try:
        result = each.run(ir.from_proto(proto), evidence)
    except PassError as error:
        raise ModelError(f"{source}: pass {step}: {error}") from error
    return (_reread(result.model, source, str(step)) if result.modified else model), result


def _reread(model: ir.Model, source: str, step: str) -> Model:
    """What a pass made, checked as if it came from outside."""
    proto = ir.to_proto(model)
    try:
        return parse_model(proto.SerializeToString(), source)
    except ModelError as error:
        raise ModelError(f"BUG: pass {step} made an invalid model: {error.message}") from error


def _ledger_entry(step: str, model: Model, result: PassResult) -> dict[str, Any]:
    """What a step did, as the ledger has it; `model` is what it left."""
    return {
        "pass": step,
        "modified": result.modified,
        "weight_bytes": model.weight_bytes,
        "parameters": model.parameter_count,
        "notes": [{"kind": n.kind, "node": n.node, "text": n.text} for n in result.notes],
    }

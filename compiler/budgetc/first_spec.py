"""A first spec for a model: what the model leaves open is settled, a baseline is measured, budgets are made of it."""

import io
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from budgetc_specs.errors import (
    ModelError,
    SpecError,
    WrongNumbersError,
    did_you_mean,
    quoted,
)
from budgetc_specs.naming import TARGET_NAME
from budgetc_specs.recipe import Recipe
from budgetc_specs.spec import Spec, TargetSpec

from budgetc.archive import Column, open_archive
from budgetc.assess import synthetic
from budgetc.boards import board_names
from budgetc.compile import compile as compile_
from budgetc.data import Data, load_data
from budgetc.measure.metrics import resolve_metric
from budgetc.model import Model, declared_inputs, load_model
from budgetc.plugins import installed
from budgetc.progress import Event, Observer, ignore
from budgetc.registry import TARGETS, find_target
from budgetc.search.recipes import float_recipe, int8_recipe
from budgetc.verdict import Measurement

MADE_UP_SAMPLES, MADE_UP_BYTES = 64, 16 << 20
"""Samples that are made up where there are none: so many, but no more than fit, and eight in any case."""

WORST_DROP = 0.02
"""What int8 may lose for budgets to be made of it rather than of the float model: a fraction of the metric."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Wish:
    """What a user says of a model that has no spec yet.

    Attributes:
        model: its file.
        out: the spec that is to be written.
        evaluation: samples to judge quality on; None makes some up.
        calibration: samples to take ranges from; by default the others.
        targets: kinds, CPUs or boards.
        metric: of quality; nothing leaves the choice to what the data have.
        shapes: of inputs, by name.
    """

    model: Path
    out: Path
    evaluation: Path | None = None
    calibration: Path | None = None
    targets: tuple[str, ...] = ("host",)
    metric: str = ""
    shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """All that stands in a first spec but the budgets.

    Attributes:
        model: as the spec names it.
        shapes: of the inputs that the model leaves dimensions of free.
        evaluation: the archive of samples.
        calibration: likewise, maybe the same.
        made_up: the bytes of that archive where the samples are made up, to be written with the spec; else None.
        metric: how quality is measured, and why so.
        why_metric: in a sentence.
        targets: by their names in the spec.
    """

    model: Path
    shapes: Mapping[str, Shape]
    evaluation: Path
    calibration: Path
    made_up: bytes | None = field(repr=False)
    metric: str
    why_metric: str
    targets: Mapping[str, TargetSpec]

    def spec(self, recipe: Recipe) -> Spec:
        """The spec that measures a recipe: without budgets, so that it is built whatever comes of it."""
        return Spec.model_validate(
            {
                "model": self.model,
                "inputs": {name: {"shape": shape} for name, shape in self.shapes.items()},
                "data": {"calibration": self.calibration, "evaluation": self.evaluation},
                "quality": {"metric": self.metric},
                "targets": self.targets,
                "passes": recipe,
            }
        )


@dataclass(frozen=True)
class Baseline:
    """What was measured of a model on one target before any search.

    Attributes:
        target: its name.
        plain: the float model, cleaned and fused.
        int8: the same quantized; None where that cannot be done.
        why_not: why not, or nothing.
    """

    target: str
    plain: Measurement
    int8: Measurement | None
    why_not: str = ""

    @property
    def base(self) -> Measurement:
        """What budgets are made of: int8 where it is smaller, no slower, and loses little."""
        int8 = self.int8
        if int8 is None or int8.size.deployed > self.plain.size.deployed:
            return self.plain
        if int8.quality is not None and int8.quality.drop > WORST_DROP:
            return self.plain
        times = [
            m.latency.ours.statistic(m.latency.statistic)
            for m in (int8, self.plain)
            if m.latency is not None
        ]
        slower = len(times) == 2 and times[0] > times[1]
        return self.plain if slower else int8


def draft(wish: Wish) -> Draft:
    """Settle what the model and the data leave open; nothing is written.

    Raises:
        SpecError: something has to be said: a dimension, or a target that exists.
        ModelError: the model is no model.
    """
    targets = dict(_target(word) for word in wish.targets)
    shapes = _settled(wish)
    model = load_model(wish.model, shapes)
    made = None
    evaluation = wish.evaluation
    if evaluation is None:
        evaluation = wish.out.parent / f"{wish.model.stem}-made-up.npz"
        made = _made_up(model)
        metric, why = _metric_without_labels(model)
    else:
        metric, why = _metric_for(load_data(evaluation, model), model)
    if wish.metric:
        resolve_metric(wish.metric, wish.model.parent)
        metric, why = wish.metric, "as asked for"
    calibration = wish.calibration or evaluation
    if wish.calibration is not None:
        load_data(wish.calibration, model)
    return Draft(
        model=wish.model,
        shapes=shapes,
        evaluation=evaluation,
        calibration=calibration,
        made_up=made,
        metric=metric,
        why_metric=why,
        targets=targets,
    )


def measure(drafted: Draft, observer: Observer = ignore) -> tuple[Baseline, ...]:
    """Build the model as it is and as int8, and measure both beside onnxruntime on every target.

    Raises:
        BudgetcError: the model cannot be compiled, or the numbers of what comes of it are wrong.
    """
    if drafted.made_up is not None:
        with tempfile.TemporaryDirectory(prefix="budgetc-") as scratch:
            file = Path(scratch) / drafted.evaluation.name
            file.write_bytes(drafted.made_up)
            one = file if drafted.calibration == drafted.evaluation else drafted.calibration
            kept = replace(drafted, evaluation=file, calibration=one, made_up=None)
            return measure(kept, observer)
    plain = _measured(drafted, float_recipe(), observer)
    int8: Mapping[str, Measurement] = {}
    why = ""
    try:
        if load_model(drafted.model, drafted.shapes).quantized:
            why = "the model is quantized as it is"
        else:
            int8 = _measured(drafted, int8_recipe(), observer)
    except (ModelError, WrongNumbersError) as error:
        why = error.message.partition("\n")[0]
        observer(Event("note", "", text=f"no int8 baseline: {why}"))
    return tuple(Baseline(name, each, int8.get(name), why) for name, each in plain.items())


def _measured(drafted: Draft, recipe: Recipe, observer: Observer) -> dict[str, Measurement]:
    with tempfile.TemporaryDirectory(prefix="budgetc-") as scratch:
        result = compile_(drafted.spec(recipe), out=Path(scratch) / "out", observer=observer)
    found = {}
    for target in result.targets:
        if target.chosen is None or target.chosen.measurement is None:
            raise WrongNumbersError(f"{target.target}: {target.certificate}")
        found[target.target] = target.chosen.measurement
    return found


def _target(word: str) -> tuple[str, TargetSpec]:
    """A target of the spec by what it is called: a kind, a CPU of one, or a board."""
    name = word.casefold().replace("+", "-").replace(".", "-")
    if word in board_names():
        return name, TargetSpec(board=word)
    kinds = list(installed(TARGETS))
    if word in kinds:
        return name, TargetSpec(kind=word)
    cpus = {cpu: kind for kind in reversed(kinds) for cpu in find_target(kind).cpus()}
    if word in cpus and TARGET_NAME.fullmatch(name):
        return name, TargetSpec(kind=cpus[word], cpu=word)
    near = did_you_mean(word, [*kinds, *cpus, *board_names()])
    raise SpecError.of(
        f"no kind, CPU or board is called {quoted(word)}",
        f"{near} `budgetc targets` lists them.".strip(),
    )


def _settled(wish: Wish) -> dict[str, Shape]:
    """Shapes for inputs with free dimensions: as the user says, as the data have them, with a batch of one."""
    declared = declared_inputs(wish.model)
    given = dict(wish.shapes)
    for name in given:
        if name not in declared:
            listed = ", ".join(map(quoted, declared))
            raise SpecError.of(
                f"--shape: the model has no input {quoted(name)}",
                f"{did_you_mean(name, declared)} its inputs are {listed}.".strip(),
            )
    known = _shapes_of_data(wish.evaluation or wish.calibration, declared)
    shapes, open_ = {}, []
    for name, dims in declared.items():
        if name in given:
            shapes[name] = given[name]
            continue
        if all(isinstance(dim, int) for dim in dims):
            continue
        one = [1 if axis == 0 and isinstance(dim, str) else dim for axis, dim in enumerate(dims)]
        seen = known.get(name, ())
        if len(seen) == len(one):
            one = [d if isinstance(d, int) else s for d, s in zip(one, seen, strict=True)]
        if any(isinstance(dim, str) for dim in one):
            open_.append((name, dims, one))
        else:
            shapes[name] = tuple(int(dim) for dim in one)
    if open_:
        problems = [f"the input {quoted(name)} is [{_joined(dims)}]" for name, dims, _ in open_]
        says = " ".join(
            f"--shape '{name}={','.join(f'<{d}>' if isinstance(d, str) else str(d) for d in one)}'"
            for name, _, one in open_
        )
        raise SpecError.of(
            f"{'; '.join(problems)}: what is no number there must be fixed",
            f"say it, with numbers for what stands in <>: {says}; or give samples, --data FILE.",
        )
    return shapes


def _joined(dims: Sequence[int | str]) -> str:
    return ", ".join(map(str, dims))


def _shapes_of_data(
    path: Path | None, declared: Mapping[str, Sequence[object]]
) -> dict[str, Shape]:
    """The shapes of samples for each input, with a batch of one; nothing where there are none."""
    if path is None:
        return {}
    found = {}
    with open_archive(path) as archive:
        names = {n.removesuffix(".npy") for n in archive.namelist()}
        for name in sorted(names & set(declared)):
            with Column.open(archive, name) as column:
                found[name] = (1, *column.shape[1:])
    return found


def _made_up(model: Model) -> bytes:
    """An archive of made-up samples: no data, but what a model can be run on."""
    one = synthetic(model.inputs, 1)
    size = sum(array.nbytes for array in one.values())
    steps = max(8, min(MADE_UP_SAMPLES, MADE_UP_BYTES // max(1, size)))
    file = io.BytesIO()
    np.savez_compressed(file, **synthetic(model.inputs, steps))  # type: ignore[arg-type]
    return file.getvalue()


def _metric_for(data: Data, model: Model) -> tuple[str, str]:
    """The metric that suits the labels of the samples, and why it does."""
    labels = data.labels
    if labels is not None and len(model.outputs) == 1:
        classes = model.outputs[0].shape[-1] if model.outputs[0].shape else 0
        single = labels.dtype.kind in "iu" and labels.size == data.count
        if single and int(labels.min()) >= 0 and int(labels.max()) < classes:
            return "top1", "a label is the number of the largest output"
    metric, why = _metric_without_labels(model)
    said = "the samples have no labels" if labels is None else "the labels are no classes"
    return metric, f"{said}; {why}"


def _metric_without_labels(model: Model) -> tuple[str, str]:
    if all(len(port.shape) == 2 and port.shape[1] > 1 for port in model.outputs):
        return "agreement", "how often the largest output is the float model's"
    return "cosine", "how near the outputs are to the float model's"

"""What passes that train are handed, and where what they came to is kept, so that nothing is learned twice.

All of it lies under the digest of what it depends on: the model, the step, the samples, the teacher, the augmentations,
seed and time, and the code. A run that was killed goes on from its checkpoint; a second one trains nothing.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from budgetc_passes.contract import Lessons
from budgetc_specs.errors import EnvironmentError_, SpecError
from budgetc_specs.recipe import Recipe, Step
from budgetc_specs.spec import Spec

from budgetc.augmentations import augmentation_code, resolve_augmentations
from budgetc.cache import cache_folder
from budgetc.data import LABEL, Data, load_data
from budgetc.measure.metrics import resolve_metric
from budgetc.model import Model, load_model, parse_model
from budgetc.provenance import code_digest
from budgetc.registry import PASSES, make_passes, release_of
from budgetc.store import Shelf, Store, file_digest, json_digest, write_atomic

EXTRA = "torch"
"""The distribution that passes need which train; an extra of ours installs it."""

LEARNED, WEIGHTS, CHECKPOINTS = "learned", "learned-models", "checkpoints"
"""Folders of the cache: what each training came to, the models, and what is under way."""

_DIGEST = 64


@dataclass(frozen=True)
class Learning:
    """What passes of a spec learn from, as files.

    Attributes:
        samples: an .npz archive.
        caution: for the ledger, if these are not meant for training; empty otherwise.
        teacher: an ONNX model with static shapes; None for the model itself.
        augmentations: as text, in their order.
        folder: where modules of functions are looked for as well, as the spec's own folder is.
        seed: of everything that is drawn at random.
        seconds: longest that one pass may train.
        classes: whether answers are judged as scores of classes.
    """

    samples: Path
    caution: str
    teacher: Path | None
    augmentations: tuple[str, ...]
    folder: Path
    seed: int
    seconds: float
    classes: bool = False

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for a child."""
        return {
            "samples": str(self.samples),
            "caution": self.caution,
            "teacher": None if self.teacher is None else str(self.teacher),
            "augmentations": list(self.augmentations),
            "folder": str(self.folder),
            "seed": self.seed,
            "seconds": self.seconds,
            "classes": self.classes,
        }

    @staticmethod
    def from_json(given: Mapping[str, Any]) -> "Learning":
        """The inverse of `to_json`."""
        teacher = given["teacher"]
        return Learning(
            samples=Path(given["samples"]),
            caution=given["caution"],
            teacher=None if teacher is None else Path(teacher),
            augmentations=tuple(given["augmentations"]),
            folder=Path(given["folder"]),
            seed=given["seed"],
            seconds=given["seconds"],
            classes=given["classes"],
        )

    def digests(self) -> dict[str, Any]:
        """All that what is learned depends on, beside the model and the pass."""
        return {
            "samples": file_digest(self.samples),
            "teacher": None if self.teacher is None else file_digest(self.teacher),
            "augmentations": list(self.augmentations),
            "functions": [augmentation_code(text, self.folder) for text in self.augmentations],
            "seed": self.seed,
            "seconds": self.seconds,
            "classes": self.classes,
        }


def learning_of(spec: Spec, training: Data | None, calibration: Data | None) -> Learning | None:
    """What passes of a spec may learn from; None where there are no samples for it.

    Args:
        spec: the spec.
        training: its samples to learn from.
        calibration: what is taken in their place.

    Raises:
        SpecError: there is no such metric.
    """
    samples = training or calibration
    if samples is None:
        return None
    caution = ""
    if training is None:
        caution = (
            f"learned from the calibration data, {samples.count:,} samples, since there is no "
            "data.train; ranges and the choices of a search may be of the same samples"
        )
    asked = spec.learning
    return Learning(
        samples=samples.path.absolute(),
        caution=caution,
        teacher=None if asked.teacher is None else asked.teacher.absolute(),
        augmentations=asked.augment,
        folder=spec.model.parent.absolute(),
        seed=spec.search.seed,
        seconds=asked.time,
        classes=_judges_classes(spec),
    )


def _judges_classes(spec: Spec) -> bool:
    """Whether the spec's metric takes outputs for scores of classes; without evaluation data it judges nothing."""
    if spec.data.evaluation is None:
        return False
    return resolve_metric(spec.quality.metric, spec.model.parent).classes


def learners(recipe: Recipe) -> tuple[Step, ...]:
    """The steps of a recipe that train.

    Raises:
        SpecError: a pass or an option does not exist.
    """
    passes = make_passes(recipe)
    return tuple(s for s, each in zip(recipe.steps, passes, strict=True) if each.needs().lessons)


def check_learning(spec: Spec) -> None:
    """Refuse what a spec says of learning and this machine or the data do not allow.

    Raises:
        SpecError: an augmentation does not exist, or there are no samples to learn from.
        EnvironmentError_: a recipe trains, and torch is not installed.
    """
    resolve_augmentations(spec.learning.augment, spec.model.parent)
    if spec.learns:
        check_installed(f"strategy {spec.strategy}")
    if spec.passes == "auto":
        return
    assert not isinstance(spec.passes, str)
    for step in learners(spec.passes):
        check_installed(f"pass {step.name}")
        if not (spec.data.train or spec.data.calibration):
            raise SpecError.of(
                f"passes: {step.name} needs samples to learn from",
                'name them in the spec, "data: {train: train.npz}".',
            )


def check_strategy(spec: Spec, samples: Data | None) -> None:
    """Refuse a strategy that could not teach a larger model anything.

    Args:
        spec: the spec.
        samples: to learn from.

    Raises:
        SpecError: there are neither labels nor a teacher that the model is not itself.
    """
    grows = spec.strategy == "grow-improve-shrink"
    if grows and spec.learning.teacher is None and (samples is None or samples.labels is None):
        where = samples.path if samples else None
        raise SpecError.of(
            f'strategy: "{spec.strategy}" needs labels, or a teacher: a larger model learns no more from the model '
            "than that knows",
            f'add the array "{LABEL}" to the samples, or name a model, "learning: {{teacher: large.onnx}}".',
            str(where) if where else None,
        )


def check_installed(what: str) -> None:
    """Refuse to run what trains where its extra is not installed.

    Args:
        what: trains, such as "pass distill".

    Raises:
        EnvironmentError_: torch is missing.
    """
    try:
        version(EXTRA)
    except PackageNotFoundError:
        raise EnvironmentError_(
            f"the {what} trains, and {EXTRA} is not installed",
            'pip install "budgetc[learn]"',
        ) from None


@dataclass(frozen=True)
class FileCheckpoint:
    """A checkpoint in one file, with the digest of what it holds."""

    path: Path

    def load(self) -> bytes | None:
        """What was saved, if it is whole."""
        try:
            held = self.path.read_bytes()
        except OSError:
            return None
        digest, data = held[:_DIGEST], held[_DIGEST:]
        return data if hashlib.sha256(data).hexdigest().encode() == digest else None

    def save(self, data: bytes) -> None:
        """Keep this in place of what was there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.path, hashlib.sha256(data).hexdigest().encode() + data)

    def clear(self) -> None:
        """Forget it: what it was for is done."""
        self.path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Taught:
    """The models after a pass that trains, for each shape, what the ledger says of it, and what it took.

    The seconds are no part of the ledger, which is the same for a run that was cut short.
    """

    models: tuple[Model, ...]
    entry: Mapping[str, Any]
    seconds: float


class School:
    """Has lessons for passes, and keeps what these come to.

    Args:
        learning: what is learned from.
        given: the normalised model before any pass.
        source: where it came from, for messages.
        cache: the cache folder.
    """

    def __init__(
        self, learning: Learning, given: Model, source: str, cache: Path | None = None
    ) -> None:
        self._learning, self._given, self._source = learning, given, source
        self._cache = cache or cache_folder()

    def key(self, models: Sequence[Model], step: Step, more: Mapping[str, Any]) -> dict[str, Any]:
        """Everything that the step makes of models depends on."""
        return {
            "models": [model.digest for model in models],
            "step": str(step),
            "release": release_of(PASSES, step.name),
            "code": code_digest(),
            EXTRA: version(EXTRA),
            "original": self._given.digest,
            **self._learning.digests(),
            **more,
        }

    def recall(self, key: Mapping[str, Any]) -> Taught | None:
        """What the step came to before, if all of it is still there."""
        kept = Shelf(self._cache / LEARNED).get(dict(key))
        if kept is None:
            return None
        data = [Store(self._cache / WEIGHTS).get(digest) for digest in kept["models"]]
        models = [parse_model(each, self._source) for each in data if each is not None]
        if len(models) != len(data):
            return None
        return Taught(tuple(models), kept["entry"], kept["seconds"])

    def keep(self, key: Mapping[str, Any], taught: Taught) -> None:
        """Keep what a step came to; its checkpoint goes."""
        digests = [Store(self._cache / WEIGHTS).put(model.data) for model in taught.models]
        value = {"models": digests, "entry": taught.entry, "seconds": taught.seconds}
        Shelf(self._cache / LEARNED).put(dict(key), value)
        self._checkpoint(key).clear()

    def lessons(
        self, key: Mapping[str, Any], say: Callable[[str], None], teacher: Model | None = None
    ) -> Lessons:
        """What the pass is handed.

        Args:
            key: of what it comes to.
            say: told how far it is.
            teacher: None for the one that the spec names, or the model itself.

        Raises:
            SpecError: samples, teacher or augmentations do not suit the model.
        """
        learning = self._learning
        data = load_data(learning.samples, self._given)
        return Lessons(
            teacher=ir.from_proto(onnx.load_model_from_string((teacher or self._teacher()).data)),
            samples=data.samples,
            labels=data.labels,
            augmentations=resolve_augmentations(learning.augmentations, learning.folder),
            seed=learning.seed,
            seconds=learning.seconds,
            classes=learning.classes,
            checkpoint=self._checkpoint(key),
            say=say,
            caution=learning.caution,
        )

    def _teacher(self) -> Model:
        return load_teacher(self._learning.teacher, self._given) or self._given

    def _checkpoint(self, key: Mapping[str, Any]) -> FileCheckpoint:
        return FileCheckpoint(self._cache / CHECKPOINTS / json_digest(dict(key)))


def load_teacher(path: Path | None, model: Model) -> Model | None:
    """The model that a spec names as the teacher, with the inputs of the one that is compiled.

    Raises:
        ModelError: it cannot be read.
        SpecError: it takes or gives something else.
    """
    if path is None:
        return None
    found = load_model(path, {port.name: port.shape for port in model.inputs})
    for what, theirs, ours in (
        ("inputs", found.inputs, model.inputs),
        ("outputs", found.outputs, model.outputs),
    ):
        if theirs != ours:
            raise SpecError.of(
                f"learning.teacher: its {what} are {_listed(theirs)}, those of the model {_listed(ours)}",
                "a teacher takes and gives what the model does, under the same names.",
                str(path),
            )
    return found


def _listed(ports: Sequence[Any]) -> str:
    return ", ".join(f"{port.name} {port.dtype} {list(port.shape)}" for port in ports)

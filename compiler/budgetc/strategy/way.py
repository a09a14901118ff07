"""A way through a strategy, and the recipe that it is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from budgetc_specs.recipe import Recipe, Step, Value

_CLEAN, _FUSE = Step.of("clean"), Step.of("fuse")
_TRAINS_FLOATS, _TRAINS_CODES = "distill", "qat"


@dataclass(frozen=True)
class Taste:
    """By which settings a training goes.

    Attributes:
        rate: highest rate of learning.
        temperature: of the teacher's answers.
        hard: share of the labels in the loss.
    """

    rate: float
    temperature: float = 2.0
    hard: float = 0.3

    def step(self, epochs: int, *, before: bool, codes: bool = False) -> Step:
        """The training as a step.

        Args:
            epochs: how many.
            before: whether the teacher is the model as it was before the passes since the last training.
            codes: whether it goes through codes.
        """
        options: dict[str, Value] = {"teacher": "before"} if before else {}
        return Step.of(
            _TRAINS_CODES if codes else _TRAINS_FLOATS,
            epochs=epochs,
            rate=self.rate,
            temperature=self.temperature,
            hard=self.hard,
            **options,
        )


@dataclass(frozen=True)
class Way:
    """What is done to a model, in the order in which it is done.

    Attributes:
        growth: makes it larger.
        raising: trains that.
        structure: makes it smaller.
        training: trains what is left.
        codes: stores it in codes.
        tuning: trains through these.
    """

    growth: tuple[Step, ...] = ()
    raising: tuple[Step, ...] = ()
    structure: tuple[Step, ...] = ()
    training: tuple[Step, ...] = ()
    codes: tuple[Step, ...] = ()
    tuning: tuple[Step, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """All of it. Normalisations learn with the statistics of batches, so that they are folded last."""
        structure = (*self.structure, _CLEAN) if self.structure else ()
        return Recipe(
            (
                _CLEAN,
                *self.growth,
                *self.raising,
                *structure,
                *self.training,
                _FUSE,
                _CLEAN,
                *self.codes,
                *self.tuning,
            )
        )

    @property
    def preamble(self) -> tuple[Step, ...]:
        """What comes before the structure, folded: what passes are asked about, and go on from."""
        return replace(self, structure=(), training=(), codes=(), tuning=()).recipe.steps

    @property
    def epochs(self) -> int:
        """That are trained in all."""
        return sum(epochs_of(s) for s in (*self.raising, *self.training, *self.tuning))


def epochs_of(step: Step) -> int:
    """The epochs of a step that trains."""
    return int(dict(step.options).get("epochs", 0))


def words(steps: Sequence[Step]) -> str:
    """Steps as text."""
    return str(Recipe(tuple(steps)))

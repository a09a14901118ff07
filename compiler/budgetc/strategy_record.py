"""What a strategy did, as the result keeps it: the figures after each of its steps, and every training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

StepKind = Literal["float", "grown", "raised", "shrunk", "trained", "coded", "tuned"]
"""The model as it is; larger; that one trained; smaller; trained again; in codes; trained through the codes."""


@dataclass(frozen=True)
class Reached:
    """The figures of a model, not built.

    Attributes:
        quality: the metric on the samples that are held back; None where nothing tells it.
        drop: what it falls by against the float model there, below 0 for a gain.
        loss: surprise at their labels in nats, `budgetc.search.judge.surprise`; else None.
        size: bytes to deploy.
        memory: bytes of RAM of one inference.
        latency: seconds of one inference, as expected; None where nothing is known of it.
        weight_bytes: of the model as it is stored.
    """

    quality: float | None
    drop: float | None
    loss: float | None
    size: int
    memory: int
    latency: float | None
    weight_bytes: int


@dataclass(frozen=True)
class StrategyStep:
    """One step of the way to the chosen recipe.

    Attributes:
        kind: which.
        text: what was done, as steps of a recipe; empty for the float model.
        recipe: that makes the model after this step.
        epochs: that were trained so far, of the growth and of what came after.
        reached: the figures after it; None where its recipe was refused.
    """

    kind: StepKind
    text: str
    recipe: str
    epochs: int
    reached: Reached | None


@dataclass(frozen=True)
class StrategyTrial:
    """One training.

    Attributes:
        phase: `grow`, `shrink` or `codes`.
        rung: of the successive halving, from 1; 0 for what is looked at behind it.
        recipe: of the model that was trained.
        structure: its steps that change the architecture.
        epochs: in all, those of the rungs before included.
        rate: highest rate of learning in this rung.
        temperature: of the teacher's answers.
        hard: share of the labels in the loss.
        seconds: that this rung took.
        reached: the figures after it; None where it was refused.
        went_on: whether it was among those that were trained further, or built.
        reason: why it was refused; else empty.
    """

    phase: Literal["grow", "shrink", "codes"]
    rung: int
    recipe: str
    structure: str
    epochs: int
    rate: float
    temperature: float
    hard: float
    seconds: float
    reached: Reached | None
    went_on: bool
    reason: str = ""


@dataclass(frozen=True)
class StrategyInfo:
    """How a strategy went.

    Attributes:
        name: as the spec has it.
        time: seconds that it was allowed to train, as the spec has it.
        trained: seconds that were trained, the sum over all trainings; several run at once.
        judged_on: which samples decided.
        steps: to the chosen recipe, or to the best that was trained.
        trials: every training, in order.
        notes: what else its user should know.
    """

    name: str
    time: float
    trained: float
    judged_on: str
    steps: tuple[StrategyStep, ...]
    trials: tuple[StrategyTrial, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> Mapping[str, Any]:
        """As plain JSON values."""
        return asdict(self)

"""What passes that learn have in common: their options with the bounds of these, and how they train."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, Teacher
from budgetc_passes.graph import constant, input_at, is_op, only_consumer, set_constant
from budgetc_passes.options import check_words

_STATISTICS = (1, 2, 3, 4)
"""Inputs of a BatchNormalization: scale, bias, mean, variance."""

_WORDS = {
    "epochs": (1, 10_000, "a number of times that all samples are seen, 1 or above"),
    "rate": (1e-8, 1.0, "above 0 and at most 1, such as 1e-3"),
    "temperature": (1.0, 1000.0, "1 or above, such as 2"),
    "hard": (0.0, 1.0, "a share, 0 to 1"),
    "features": (0.0, 1e6, "a weight, 0 or above"),
    "batch": (1, 65_536, "a number of inferences, 1 or above"),
    "decay": (0.0, 1.0, "0 to 1, such as 1e-4"),
    "patience": (0, 10_000, "a number of epochs, or 0"),
}


@dataclass(frozen=True)
class Learner:
    """The options; each pass has defaults of its own, and says what they are.

    Raises:
        ValueError: an option is out of its bounds.
    """

    name: ClassVar[str]

    epochs: int
    rate: float
    temperature: float
    hard: float
    features: float
    loss: Literal["auto", "soft", "plain"]
    batch: int
    decay: float
    patience: int
    teacher: Teacher

    def __post_init__(self) -> None:
        """Check the options."""
        for option, (least, most, words) in _WORDS.items():
            value = getattr(self, option)
            if not least <= value <= most:
                message = f"{self.name}: {option} is {value}; it is {words}"
                raise ValueError(message)
        check_words(self)

    def needs(self) -> Needs:
        """Samples to learn from."""
        return Needs(lessons=True, teacher=self.teacher)

    def trained(
        self, model: ir.Model, evidence: Evidence, *, scales: bool = False
    ) -> tuple[Note, ...]:
        """Train a model, and write its weights into it.

        Args:
            model: its initializers change.
            evidence: with the lessons.
            scales: whether the steps of codes are learned too.

        Raises:
            PassError: an operator has no differentiable form, or samples or teacher do not suit.
        """
        from budgetc_passes.learning.distillation import Taste
        from budgetc_passes.learning.lesson import learn
        from budgetc_passes.learning.training import Plan

        _part_statistics(model.graph)
        taste = Taste(self.temperature, self.hard, self.features, self.loss)
        plan = Plan(self.epochs, self.batch, self.rate, self.decay, self.patience)
        return learn(model, evidence, taste, plan, scales=scales)


def _part_statistics(graph: ir.Graph) -> None:
    """Have no BatchNormalization share its scale, bias, mean or variance, as new ones may: each changes by itself."""
    for node in graph:
        if not is_op(node, "BatchNormalization"):
            continue
        for index in _STATISTICS:
            value = input_at(node, index)
            array = constant(value)
            if value is None or array is None:
                continue
            if only_consumer(value) is not node:
                set_constant(node, index, array, "statistic")

"""Train a quantised model as it computes: through its codes."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Note, PassResult, Teacher
from budgetc_passes.graph import is_op
from budgetc_passes.invariants import finish, require
from budgetc_passes.learning.learner import Learner


@dataclass(frozen=True)
class QuantisationAwareTraining(Learner):
    """Trains the codes of a quantised model so that it answers as its teacher does; what rounding took comes back.

    The model computes with its codes while it learns: every QuantizeLinear rounds and saturates as
    the library will, weights and biases are rounded to the codes that they will be stored in, with
    zero points, widths and channels as `quantize` has written them. Gradients pass through the
    rounding as if it were not there. Samples, labels and teacher are those of `distill`. Needs the
    extra: pip install "budgetc[learn]".

    Requires: a model in QDQ form, best straight from `quantize`; training samples. Ensures: only
    initializers differ; codes keep their type and width.
    Cost: minutes of time, once; never size or latency.
    Source: Jacob et al. 2018, section 3; Bengio et al. 2013, arXiv 1308.3432 (straight-through
    gradients); Esser et al. 2020, arXiv 1902.08153 (LSQ, learned steps).

    Attributes:
        epochs: times that all samples are seen, at most.
        rate: highest rate of learning; it falls to nothing along half a cosine.
        temperature: softens the answers of classes, 1 or above.
        hard: share of the labels in the loss, 0 to 1; where there are none, of the classes that the
            teacher takes samples for, as they are.
        features: weight of values in between that both models compute under one name; 0: none.
        loss: how outputs are compared: as scores of classes ("soft"), by their squares ("plain"), or
            "auto": as classes where a Softmax makes them, labels fit, or the spec's metric judges them
            as such.
        batch: inferences a step.
        decay: weight decay.
        patience: epochs without an improvement after which training ends; 0: none.
        teacher: whose answers count, as in `distill`.
        scales: whether the steps of the codes stay as they are ("fixed") or are learned ("learned").

    Raises:
        ValueError: an option is out of its bounds.
    """

    name: ClassVar[str] = "qat"

    epochs: int = 10
    rate: float = 5e-4
    temperature: float = 2.0
    hard: float = 0.3
    features: float = 0.0
    loss: Literal["auto", "soft", "plain"] = "auto"
    batch: int = 64
    decay: float = 0.0
    patience: int = 0
    teacher: Teacher = "given"
    scales: Literal["fixed", "learned"] = "fixed"

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Train the codes.

        Raises:
            PassError: an operator has no differentiable form, or samples or teacher do not suit.
        """
        before = require(model, self.name)
        if not any(is_op(node, "QuantizeLinear") for node in model.graph):
            text = "it has no codes; `quantize` comes first: left as it was"
            return PassResult(model, modified=False, notes=(Note("refused", "", text),))
        notes = self.trained(model, evidence, scales=self.scales == "learned")
        return finish(model, self.name, before, notes)

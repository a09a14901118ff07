"""Train a model to answer as its teacher does."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Note, PassResult, Teacher
from budgetc_passes.graph import is_op, label
from budgetc_passes.invariants import finish, require
from budgetc_passes.learning.learner import Learner


@dataclass(frozen=True)
class Distill(Learner):
    """Trains the weights so that the model answers as its teacher does; what pruning took comes back in part.

    The teacher is the model of the spec as it was before any pass, or `learning.teacher`. Where
    samples have labels that are classes of an output, these count too; without, the teacher's
    answers alone. A tenth of the samples is held back: the epoch that is best on it is kept, and
    if none is better than the start, the model is left as it was. The data of the evaluation are
    never seen. Needs the extra: pip install "budgetc[learn]".

    What earlier passes did stays: shapes, zeros of weights, factors of products, constants that
    several nodes read. Normalisations that are not folded yet learn with the statistics of their
    batches, as when the model was trained: this pass is meant to stand before `fuse`.

    Requires: float32, operators with a differentiable form, training samples. Ensures: only
    initializers differ.
    Cost: minutes of time, once; never size or latency.
    Source: Hinton, Vinyals and Dean 2015, arXiv 1503.02531; Ba and Caruana 2014, arXiv 1312.6184
    (without a temperature); Romero et al. 2015, arXiv 1412.6550 (values in between); Loshchilov and
    Hutter 2019, arXiv 1711.05101 (AdamW).

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
        teacher: whose answers count: those of the model of the spec ("given"), or of the model as it
            was before the passes between this training and the last one ("before"). So a model that
            was grown, trained and pruned learns from what it was before it was pruned.

    Raises:
        ValueError: an option is out of its bounds.
    """

    name: ClassVar[str] = "distill"

    epochs: int = 20
    rate: float = 2e-3
    temperature: float = 2.0
    hard: float = 0.3
    features: float = 0.0
    loss: Literal["auto", "soft", "plain"] = "auto"
    batch: int = 64
    decay: float = 1e-4
    patience: int = 0
    teacher: Teacher = "given"

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Train the model.

        Raises:
            PassError: an operator has no differentiable form, or samples or teacher do not suit.
        """
        before = require(model, self.name)
        coded = next((node for node in model.graph if is_op(node, "QuantizeLinear")), None)
        if coded is not None:
            text = "it has codes, which `qat` trains: left as it was"
            return PassResult(model, modified=False, notes=(Note("refused", label(coded), text),))
        notes = self.trained(model, evidence)
        return finish(model, self.name, before, notes)

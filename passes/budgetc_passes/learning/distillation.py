"""What a model learns from its teacher: answers softened by a temperature, labels, values in between.

    soft      T^2 KL(softmax(t / T) || softmax(s / T))      classes; t and s are what goes into a last Softmax
    hard      -log softmax(s)[label]                        the sample's, or else argmax t of the sample as it is
    plain     |s - t|^2 / var t                             outputs that are no classes, and values in between

Source: Hinton, Vinyals and Dean 2015, arXiv 1503.02531 (temperature, and its square, so that the gradient keeps its
size); Ba and Caruana 2014, arXiv 1312.6184 (regression on logits); Romero et al. 2015, arXiv 1412.6550 (FitNets: hints,
here where both have a value of the same name and shape, so that no regressor is needed); Xie et al. 2020, arXiv
1911.04252 (what a teacher says of samples as they are, for a label of what becomes of them).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

from budgetc_passes.contract import Augmentation, Batch, PassError
from budgetc_passes.graph import Array, dims, is_op
from budgetc_passes.learning.differentiable import Net
from budgetc_passes.learning.training import Rows, Score

Kind = Literal["auto", "soft", "plain"]

_EVALUATED = 256
_SMALLEST = 1e-12
_ROWS = 2  # axes of an output that has a row of scores for each inference
_NORMALISING = ("Softmax", "LogSoftmax")


@dataclass(frozen=True)
class Taste:
    """What counts how much.

    Attributes:
        temperature: that softens the answers of classes.
        hard: share of the labels in the loss, 0 to 1; the rest is the teacher's. Where nobody says what is right,
            the class that the teacher takes a sample for, as it is, stands in for the label.
        features: weight of values in between, beside that.
        kind: how outputs are compared; "auto" takes for classes what a Softmax makes, labels fit, or
            will be judged as such.
    """

    temperature: float
    hard: float
    features: float
    kind: Kind


@dataclass(frozen=True)
class Head:
    """An output: where its answer is best compared, and how.

    Attributes:
        output: its name.
        student: the value of the student that is compared.
        teacher: that of the teacher.
        soft: whether these are scores of classes, along the last axis.
        labelled: whether the labels are about it.
    """

    output: str
    student: str
    teacher: str
    soft: bool
    labelled: bool


def heads_of(
    student: ir.Model,
    teacher: ir.Model,
    kind: Kind,
    labels: Array | None,
    *,
    classes: bool = False,
) -> tuple[Head, ...]:
    """How each output of a model is held against its teacher's.

    Args:
        student: the model that learns.
        teacher: with outputs of the same names and shapes.
        kind: how outputs are compared.
        labels: of the samples, or None.
        classes: whether the answers will be judged as scores of classes; this says something of a
            model with one output.
    """
    answers = {value.name: value for value in teacher.graph.outputs}
    fitting = [value for value in student.graph.outputs if _classes(value, labels)]
    found = []
    for value in student.graph.outputs:
        other = answers[value.name]
        own, theirs = _scores(value), _scores(other)
        normalised = own is not value and theirs is not other
        if not normalised:  # one of them has no Softmax: compared as they are
            own, theirs = value, other
        labelled = len(fitting) == 1 and fitting[0] is value
        shape = dims(value) or (1,)
        judged = classes and len(shape) == _ROWS and len(student.graph.outputs) == 1
        known = normalised or labelled or judged
        soft = shape[-1] > 1 and (kind == "soft" or (kind == "auto" and known))
        name = value.name or ""
        found.append(Head(name, own.name or "", theirs.name or "", soft, labelled and soft))
    return tuple(found)


def _classes(value: ir.Value, labels: Array | None) -> bool:
    """Whether labels are numbers of classes that an output has scores of."""
    shape = dims(value)
    if labels is None or labels.dtype.kind not in "iu" or labels.ndim != 1 or not labels.size:
        return False
    return (
        shape is not None and len(shape) == _ROWS and 0 <= labels.min() <= labels.max() < shape[1]
    )


def _scores(value: ir.Value) -> ir.Value:
    """What goes into the Softmax that makes a value, or the value."""
    at = value
    while is_op(at.producer(), "Identity"):
        at = _source(at)
    node = at.producer()
    if not is_op(node, *_NORMALISING) or node is None:
        return value
    before = _source(at)
    rank = len(dims(before) or ())
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    return before if rank and axis % rank == rank - 1 else value


def _source(value: ir.Value) -> ir.Value:
    node = value.producer()
    if node is None or node.inputs[0] is None:
        message = f"BUG: {value.name} is made of nothing"
        raise TypeError(message)
    return node.inputs[0]


def shared_values(student: ir.Model, teacher: ir.Model) -> tuple[str, ...]:
    """Names of values that both compute in one shape, but for the outputs."""
    shapes = {
        value.name: dims(value)
        for node in teacher.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT
    }
    return tuple(
        value.name
        for node in student.graph
        for value in node.outputs
        if value.name and value.dtype == ir.DataType.FLOAT and not value.is_graph_output()
        if dims(value) is not None and shapes.get(value.name) == dims(value)
    )


class Distillation:
    """Learning from a teacher, with some of the samples held back.

    Args:
        teacher: in evaluation.
        heads: how outputs are compared.
        features: names of values that are compared too.
        taste: what counts how much.
        inputs: samples to learn from, by name, [inferences, *shape].
        labels: of these, [inferences, batch], or None.
        held: the same two of the samples that are held back.
        augmentations: in their order.
    """

    def __init__(
        self,
        teacher: Net,
        heads: Sequence[Head],
        features: Sequence[str],
        taste: Taste,
        inputs: Mapping[str, Array],
        labels: Array | None,
        held: tuple[Mapping[str, Array], Array | None],
        augmentations: Sequence[Augmentation] = (),
    ) -> None:
        self._teacher = teacher.eval()
        self._heads, self._features, self._taste = tuple(heads), tuple(features), taste
        self._inputs, self._labels, self._held = inputs, labels, held
        self._augmentations = tuple(augmentations)
        self._asked = tuple(dict.fromkeys([h.teacher for h in self._heads] + list(self._features)))
        self._answers = self._ask(held[0])
        # By labels alone, nobody is asked. What never changes is asked for once; values in between would fill the
        # memory.
        told = labels is not None and all(head.labelled for head in self._heads)
        self._alone = told and taste.hard == 1 and not features
        self._known = None if augmentations or features or self._alone else self._ask(inputs)
        self._spread = {
            head.output: max(float(self._answers[head.teacher].var()), _SMALLEST)
            for head in self._heads
        }
        self._told = held[1] is not None and any(head.labelled for head in self._heads)
        self._guess()
        soft = any(head.soft for head in self._heads)
        self.quality = "top-1" if self._told else "agreement" if soft else "fit"

    def _guess(self) -> None:
        """Take the teacher's word for labels where there are none and one output has scores of classes."""
        if not self._taste.hard or any(head.labelled for head in self._heads):
            return
        soft = [head for head in self._heads if head.soft]
        if len(soft) != 1 or self._answers[soft[0].teacher].ndim != 1 + _ROWS:
            return
        name = soft[0].teacher
        known = self._known or self._ask(self._inputs)
        self._labels = known[name].argmax(-1).numpy()
        self._held = self._held[0], self._answers[name].argmax(-1).numpy()
        self._heads = tuple(replace(head, labelled=head.soft) for head in self._heads)

    def size(self) -> int:
        """How many inferences there are to learn from."""
        return len(next(iter(self._inputs.values())))

    def loss(self, net: Net, rows: Rows, random: np.random.Generator) -> Tensor:
        """The loss of some samples, augmented."""
        batch = Batch({name: each[rows] for name, each in self._inputs.items()})
        for augmentation in self._augmentations:
            batch = augmentation.apply(batch, random)
        inputs = _tensors(batch.inputs)
        if self._alone:
            answers: Mapping[str, Tensor] = {}
        elif self._known is None:
            answers = self._asking(inputs)
        else:
            where = torch.from_numpy(rows)
            answers = {name: each[where] for name, each in self._known.items()}
        labels = None if self._labels is None else torch.from_numpy(self._labels[rows])
        wanted = dict.fromkeys([head.student for head in self._heads] + list(self._features))
        return self._loss(net(inputs, wanted), answers, labels, batch)

    def score(self, net: Net) -> Score:
        """The loss on what is held back, and the share of right answers, or how close they are."""
        inputs, labels = self._held
        net.eval()
        with torch.no_grad():
            wanted = dict.fromkeys([head.student for head in self._heads])
            found = [net(_tensors(part), wanted) for part in _parts(inputs)]
            made = {name: torch.cat([each[name] for each in found]) for name in wanted}
            right = None if labels is None else torch.from_numpy(labels)
            loss = self._loss(made, self._answers, right, Batch({}), features=False)
            return Score(self._quality(made, right), float(loss))

    def _quality(self, made: Mapping[str, Tensor], labels: Tensor | None) -> float:
        shares = []
        for head in self._heads:
            answer, wanted = made[head.student], self._answers[head.teacher]
            if self._told:
                if head.labelled and labels is not None:
                    shares.append(float((answer.argmax(-1) == labels).float().mean()))
            elif head.soft:
                shares.append(float((answer.argmax(-1) == wanted.argmax(-1)).float().mean()))
            elif self.quality == "fit":
                error = float((answer - wanted).square().mean())
                shares.append(1 - error / self._spread[head.output])
        return float(np.mean(shares))

    def _loss(
        self,
        made: Mapping[str, Tensor],
        answers: Mapping[str, Tensor],
        labels: Tensor | None,
        batch: Batch,
        *,
        features: bool = True,
    ) -> Tensor:
        taste = self._taste
        total = torch.zeros(())
        for head in self._heads:
            student = made[head.student]
            told = labels if head.labelled else None
            hard = 0.0 if told is None else taste.hard
            if told is not None and hard:
                total = total + hard * _labelled(student, told, batch)
            if hard < 1:
                total = total + (1 - hard) * self._taught(head, student, answers[head.teacher])
        if features and self._features:
            hints = [
                (made[name] - answers[name]).square().mean()
                / answers[name].square().mean().clamp_min(_SMALLEST)
                for name in self._features
            ]
            total = total + taste.features * torch.stack(hints).mean()
        return total

    def _taught(self, head: Head, student: Tensor, teacher: Tensor) -> Tensor:
        """How far an answer is from the teacher's."""
        if head.soft:
            return _softened(student, teacher, self._taste.temperature)
        return (student - teacher).square().mean() / self._spread[head.output]

    def _ask(self, inputs: Mapping[str, Array]) -> dict[str, Tensor]:
        found = [self._asking(_tensors(part)) for part in _parts(inputs)]
        return {name: torch.cat([each[name] for each in found]) for name in self._asked}

    def _asking(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            found: dict[str, Tensor] = self._teacher(inputs, self._asked)
            return found


def _softened(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    ours = torch.log_softmax(student / temperature, -1)
    theirs = torch.log_softmax(teacher / temperature, -1)
    divergence = (theirs.exp() * (theirs - ours)).sum(-1)
    return divergence.mean() * temperature**2


def _labelled(student: Tensor, labels: Tensor, batch: Batch) -> Tensor:
    """The cross-entropy; of a mixed sample, that of both in their shares."""
    flat = student.flatten(0, 1)
    own = functional.cross_entropy(flat, labels.flatten(), reduction="none").reshape(labels.shape)
    if batch.partners is None or batch.shares is None:
        return own.mean()
    others = labels[torch.from_numpy(batch.partners)].flatten()
    other = functional.cross_entropy(flat, others, reduction="none").reshape(labels.shape)
    shares = torch.from_numpy(batch.shares)[:, None]
    return (shares * own + (1 - shares) * other).mean()


def _tensors(inputs: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in inputs.items()}


def _parts(inputs: Mapping[str, Array]) -> list[dict[str, Array]]:
    count = len(next(iter(inputs.values())))
    return [
        {name: each[start : start + _EVALUATED] for name, each in inputs.items()}
        for start in range(0, count, _EVALUATED)
    ]


def check_ports(student: ir.Model, teacher: ir.Model) -> None:
    """Refuse a teacher that does not take and give what the student does.

    Raises:
        PassError: a name or a shape differs.
    """
    for what, ours, theirs in (
        ("inputs", student.graph.inputs, teacher.graph.inputs),
        ("outputs", student.graph.outputs, teacher.graph.outputs),
    ):
        own = {value.name: dims(value) for value in ours}
        other = {value.name: dims(value) for value in theirs}
        if own != other:
            message = f"the teacher has other {what}: {other}, and the model has {own}"
            raise PassError(message)

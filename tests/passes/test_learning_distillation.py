"""What is learned: how outputs are compared, with labels, without, and in between."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.contract import Batch, PassError

torch = pytest.importorskip("torch")
from budgetc_passes.learning.differentiable import Net  # noqa: E402  it needs torch
from budgetc_passes.learning.distillation import (  # noqa: E402
    Distillation,
    Head,
    Taste,
    check_ports,
    heads_of,
    shared_values,
)

LOGITS = "g (float[1,4] x, float[4,3] w) => (float[1,3] y) { y = MatMul (x, w) }"
CLASSES = """g (float[1,4] x, float[4,3] w) => (float[1,3] y) {
    a = MatMul (x, w)  b = Softmax (a)  y = Identity (b) }"""
DEEPER = """g (float[1,4] x, float[4,4] v, float[4,3] w) => (float[1,3] y) {
    h = MatMul (x, v)  r = Relu (h)  y = MatMul (r, w) }"""
LABELS = np.array([0, 1, 2, 2])


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.fixture
def graph(parse):
    def make(text, seed=0):
        weights = {"w": noise(4, 3, seed=seed), "v": noise(4, 4, seed=seed)}
        used = {name: each for name, each in weights.items() if f"] {name}" in text}
        return ir.from_proto(parse(text, **used))

    return make


@pytest.mark.parametrize(
    ("text", "kind", "labels", "soft", "labelled"),
    [
        (CLASSES, "auto", None, True, False),
        (CLASSES, "auto", LABELS, True, True),
        (CLASSES, "plain", LABELS, False, False),
        (LOGITS, "auto", None, False, False),
        (LOGITS, "auto", LABELS, True, True),
        (LOGITS, "auto", LABELS + 1, False, False),  # there is no class 3
        (LOGITS, "auto", LABELS.astype("f4"), False, False),
        (LOGITS, "soft", None, True, False),
    ],
)
def test_how_an_output_is_compared(graph, text, kind, labels, soft, labelled):
    (head,) = heads_of(graph(text), graph(text), kind, labels)
    value = "a" if text == CLASSES else "y"
    assert head == Head("y", value, value, soft, labelled)


@pytest.mark.parametrize("kind", ["auto", "plain"])
def test_what_is_judged_as_classes_is_compared_as_such(graph, kind):
    (head,) = heads_of(graph(LOGITS), graph(LOGITS), kind, None, classes=True)
    assert head == Head("y", "y", "y", soft=kind == "auto", labelled=False)


def test_of_two_outputs_neither_is_said_to_be_classes(parse):
    text = """g (float[1,3] x) => (float[1,3] y, float[1,3] z) { y = Relu (x)  z = Neg (x) }"""
    model = ir.from_proto(parse(text))
    assert not any(head.soft for head in heads_of(model, model, "auto", None, classes=True))


def test_a_softmax_of_one_side_is_compared_as_it_is(graph):
    (head,) = heads_of(graph(CLASSES), graph(LOGITS), "auto", None)
    assert (head.student, head.teacher, head.soft) == ("y", "y", False)


def test_values_of_one_name_and_shape_are_shared(graph):
    assert shared_values(graph(DEEPER), graph(DEEPER)) == ("h", "r")
    assert shared_values(graph(DEEPER), graph(LOGITS)) == ()


def course(graph, text, taste, labels=None, features=(), **more):
    teacher, student = graph(text, 1), graph(text, 2)
    x = noise(4, 1, 4, seed=7)
    told = None if labels is None else labels.reshape(-1, 1)
    heads = heads_of(student, teacher, taste.kind, labels)
    made = Distillation(
        Net(teacher), heads, features, taste, {"x": x}, told, ({"x": x}, told), **more
    )
    return made, Net(student), x


def log_softmax(x):
    return (
        x
        - x.max(-1, keepdims=True)
        - np.log(np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True))
    )


def answers(net, x):
    with torch.no_grad():
        return net({"x": torch.from_numpy(x)}, ["y"])["y"].numpy().astype("f8")


def test_the_loss_is_that_of_the_formula(graph):
    taste = Taste(temperature=4.0, hard=0.25, features=0.0, kind="auto")
    made, student, x = course(graph, LOGITS, taste, LABELS)
    ours, theirs = answers(student, x), answers(Net(graph(LOGITS, 1)), x)
    p, q = log_softmax(theirs / 4), log_softmax(ours / 4)
    soft = 16 * (np.exp(p) * (p - q)).sum(-1).mean()
    hard = -log_softmax(ours)[np.arange(4), 0, LABELS].mean()
    loss = made.loss(student, np.arange(4), np.random.default_rng(0))
    assert loss.item() == pytest.approx(0.75 * soft + 0.25 * hard, rel=1e-5)
    assert made.quality == "top-1"
    score = made.score(student)
    assert score.loss == pytest.approx(loss.item(), rel=1e-6)
    assert score.quality == (ours.argmax(-1)[:, 0] == LABELS).mean()


def test_the_loss_of_an_output_that_is_no_class(graph):
    taste = Taste(temperature=4.0, hard=0.25, features=0.0, kind="auto")
    made, student, x = course(graph, LOGITS, taste)
    ours, theirs = answers(student, x), answers(Net(graph(LOGITS, 1)), x)
    wanted = ((ours - theirs) ** 2).mean() / theirs.var(ddof=1)
    loss = made.loss(student, np.arange(4), np.random.default_rng(0))
    assert loss.item() == pytest.approx(wanted, rel=1e-5)
    assert made.quality == "fit"
    assert made.score(student).quality == pytest.approx(1 - wanted, rel=1e-5)


def test_values_in_between_count(graph):
    none = Taste(temperature=4.0, hard=0.0, features=0.0, kind="plain")
    some = Taste(temperature=4.0, hard=0.0, features=2.0, kind="plain")
    without, student, x = course(graph, DEEPER, none)
    with_, _, _ = course(graph, DEEPER, some, features=("h",))
    ours, theirs = (x @ noise(4, 4, seed=seed) for seed in (2, 1))
    hint = ((ours - theirs) ** 2).mean() / (theirs**2).mean()
    rows, random = np.arange(4), np.random.default_rng(0)
    added = with_.loss(student, rows, random).item() - without.loss(student, rows, random).item()
    assert added == pytest.approx(2 * hint, rel=1e-4)


def test_by_labels_alone_the_teacher_is_not_asked(graph):
    taste = Taste(temperature=4.0, hard=1.0, features=0.0, kind="auto")
    made, student, x = course(graph, LOGITS, taste, LABELS, augmentations=(Halved(),))
    made._asking = pytest.fail
    alone, _, _ = course(graph, LOGITS, taste, LABELS)
    expected = -log_softmax(answers(student, x))[np.arange(4), 0, LABELS].mean()
    loss = alone.loss(student, np.arange(4), np.random.default_rng(0))
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert alone.score(student).loss == pytest.approx(expected, rel=1e-5)
    made.loss(student, np.arange(4), np.random.default_rng(0))


def test_without_labels_the_teacher_stands_in_for_them(graph):
    taste = Taste(temperature=4.0, hard=0.25, features=0.0, kind="soft")
    guessed, student, x = course(graph, LOGITS, taste)
    theirs = answers(Net(graph(LOGITS, 1)), x).argmax(-1)[:, 0]
    told, _, _ = course(graph, LOGITS, taste, theirs)
    rows, random = np.arange(4), np.random.default_rng(0)
    assert guessed.loss(student, rows, random) == told.loss(student, rows, random)
    assert guessed.score(student) == told.score(student)
    assert (guessed.quality, told.quality) == ("agreement", "top-1")


class Halved:
    """A partner for each, and half of both."""

    name = "halved"

    def apply(self, batch, random):
        return Batch(batch.inputs, np.array([3, 2, 1, 0]), np.full(4, 0.5, "f4"))


def test_labels_of_mixed_samples_count_in_their_shares(graph):
    taste = Taste(temperature=1.0, hard=1.0, features=0.0, kind="auto")
    made, student, x = course(graph, LOGITS, taste, LABELS, augmentations=(Halved(),))
    scores = log_softmax(answers(student, x))[np.arange(4), 0]
    own = -scores[np.arange(4), LABELS]
    other = -scores[np.arange(4), LABELS[::-1]]
    loss = made.loss(student, np.arange(4), np.random.default_rng(0))
    assert loss.item() == pytest.approx(((own + other) / 2).mean(), rel=1e-5)


def test_a_teacher_of_another_shape_is_refused(graph, parse):
    other = ir.from_proto(parse("g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }"))
    with pytest.raises(PassError, match="the teacher has other outputs"):
        check_ports(graph(LOGITS), other)

"""The loop of training: the same again for a seed, resumed where it was, ended in time, the best epoch kept."""

import io
import itertools

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
from budgetc_passes.learning.differentiable import Net  # noqa: E402  it needs torch
from budgetc_passes.learning.training import Plan, Score, rate_at, train  # noqa: E402

PLAN = Plan(epochs=6, batch=8, rate=1e-2, decay=0.0, patience=0, seed=3)


class Kept:
    """A checkpoint in memory."""

    def __init__(self):
        self.data = None

    def load(self):
        return self.data

    def save(self, data):
        self.data = data


class Line:
    """Learn what another layer computes."""

    quality = "fit"

    def __init__(self):
        random = np.random.default_rng(0)
        self.x = torch.from_numpy(random.normal(size=(40, 1, 4)).astype("f4"))
        self.y = self.x @ torch.from_numpy(random.normal(size=(4, 3)).astype("f4"))

    def size(self):
        return 32

    def loss(self, net, rows, random):
        noise = torch.from_numpy(random.normal(0, 1e-3, (len(rows), 1, 4)).astype("f4"))
        return self.error(net, self.x[rows] + noise, self.y[rows])

    def score(self, net):
        net.eval()
        with torch.no_grad():
            loss = float(self.error(net, self.x[32:], self.y[32:]))
        return Score(1 - loss, loss)

    def error(self, net, x, y):
        return (net({"x": x}, ["y"])["y"] - y).square().mean()


@pytest.fixture
def net(parse):
    weight = np.random.default_rng(1).normal(size=(4, 3)).astype("f4")
    text = "g (float[1,4] x, float[4,3] w) => (float[1,3] y) { y = MatMul (x, w) }"
    model = parse(text, w=weight)
    return lambda: Net(ir.from_proto(model))


def run(net, plan=PLAN, *, kept=None, say=lambda _: None, clock=None):
    made = net()
    return train(made, Line(), plan, kept or Kept(), say, clock or itertools.count().__next__), made


def same(one, other):
    return all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


def test_it_learns_and_is_the_same_again_for_a_seed(net):
    trained, made = run(net)
    assert trained.best.loss < 0.9 * trained.before.loss
    assert trained.epochs == trained.best_epoch == 6
    assert not trained.why
    again, other = run(net)
    assert again == trained
    assert same(made, other)
    assert not same(made, run(net, Plan(**{**vars(PLAN), "seed": 4}))[1])


@pytest.mark.parametrize("at", [1, 3, 5])
def test_a_run_that_was_cut_short_comes_to_the_same(net, at):
    whole, made = run(net)
    kept, said = Kept(), []

    def cut(text):
        said.append(text)
        if len(said) == at + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(net, kept=kept, say=cut)
    resumed, other = run(net, kept=kept, say=said.append)
    assert f"going on after epoch {at}" in said
    assert resumed == whole
    assert same(made, other)


def test_a_checkpoint_of_another_plan_is_not_taken(net):
    kept = Kept()
    run(net, kept=kept)
    other = Plan(**{**vars(PLAN), "rate": 1e-3})
    trained, _ = run(net, other, kept=kept)
    assert trained == run(net, other)[0]


def test_a_checkpoint_that_is_none_is_not_taken(net):
    kept, held = Kept(), io.BytesIO()
    torch.save({"plan": None}, held)
    kept.save(held.getvalue())
    assert run(net, kept=kept)[0] == run(net)[0]


def test_it_ends_in_time(net):
    """An epoch takes some ticks of this clock: fewer are planned, so that the rate falls to nothing all the same."""
    said = []
    plan = Plan(**{**vars(PLAN), "epochs": 1000, "seconds": 20})
    trained, _ = run(net, plan, say=said.append)
    assert 1 < trained.epochs < 20
    assert trained.planned == 1000
    assert "time" in trained.why
    assert f"epoch {trained.epochs}/{trained.epochs}: " in said[-1]


def test_it_ends_without_an_improvement(net):
    trained, made = run(net, Plan(**{**vars(PLAN), "rate": 1.0, "epochs": 50, "patience": 3}))
    assert trained.epochs - trained.best_epoch == 3
    assert "no improvement in 3 epochs" in trained.why
    assert Line().score(made) == trained.best


def test_what_was_better_before_stays(net):
    first, made = run(net, Plan(**{**vars(PLAN), "epochs": 60}))
    bad = Plan(**{**vars(PLAN), "epochs": 1, "rate": 1.0})
    state = made.state()
    trained = train(made, Line(), bad, Kept(), lambda _: None)
    assert trained.best_epoch == 0
    assert trained.best == first.best
    assert all(torch.equal(state[name], each) for name, each in made.state().items())


def test_the_rate_rises_and_falls():
    rates = [rate_at(PLAN, part / 100) for part in range(101)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == pytest.approx(PLAN.rate)
    assert rates[-1] == pytest.approx(0, abs=1e-9)

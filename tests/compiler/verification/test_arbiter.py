"""What excuses a difference beyond the bound: noise that moves the reference as far, and nothing else."""

import numpy as np
import pytest
from budgetc.verification.agreement import compare, output_steps
from budgetc.verification.arbiter import Arbiter
from budgetc.verification.oracle import Oracle
from budgetc.verification.rounding import tolerance

STEP = 0.5
NET = """g (float[1,2] x) => (float[1,2] y) <float s = {0.5}, uint8 z = {0}>
    { e = Exp(x)  q = QuantizeLinear(e, s, z)  y = DequantizeLinear(q, s, z) }"""


@pytest.mark.parametrize(
    ("value", "steps", "agrees"),
    [
        (4.75, 0.0, True),
        (
            4.75,
            1.0,
            True,
        ),  # between two steps: the noise moves the first element, ours may move another
        (4.75, 3.0, False),
        (4.6, 1.0, False),  # no rounding comes near a step: every integer must be the same
    ],
)
def test_integers_may_differ_by_what_noise_moves_their_output(make_model, value, steps, agrees):
    model = make_model(NET)
    oracle = Oracle(model)
    known = output_steps(oracle.proto)
    feed = {"x": np.log(np.array([[value, 2.1]], np.float64)).astype(np.float32)}
    wanted = {name: out[None] for name, out in oracle.infer(feed).items()}
    ours = {"y": wanted["y"] + np.array([0.0, steps * STEP], np.float32)}
    found = compare(ours, wanted, tolerance=1e-6, steps=known)
    judged = Arbiter(oracle, 1e-6, known).judge(found, ours, wanted, {0: feed})
    assert judged.agrees is agrees
    assert judged.outputs[0].excepted == (1 if agrees and steps else 0)


def test_onnxruntimes_optimiser_may_be_wrong(make_model):
    """Version 1.32 hands out the dequantised value for the real one, across a transpose that changes nothing."""
    model = make_model("""g (float[1,3] x) => (float[1,3] q, float[1,3] y)
        <float s = {0.02}, uint8 z = {128}, float[3,3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9}>
        { y = Gemm(x, w)  t = Transpose<perm=[0, 1]>(y)  c = QuantizeLinear(t, s, z)
          q = DequantizeLinear(c, s, z) }""")
    oracle = Oracle(model)
    known = output_steps(oracle.proto)
    feed = {"x": np.array([[1.0, -3.0, 0.5]], np.float32)}
    wanted = {name: out[None] for name, out in oracle.infer(feed).items()}
    ours = {name: out[None] for name, out in oracle.as_written(feed).items()}
    np.testing.assert_allclose(
        ours["y"][0], feed["x"] @ np.arange(1.0, 10.0).reshape(3, 3), rtol=1e-6
    )
    found = compare(ours, wanted, tolerance=1e-6, steps=known)
    assert Arbiter(oracle, 1e-6, known).judge(found, ours, wanted, {0: feed}).agrees


@pytest.mark.parametrize(("difference", "agrees"), [(3.9, True), (4.1, False)])
@pytest.mark.parametrize("first", [-1.0, 0.0, 1.0])
def test_what_noise_moves_is_between_any_two_runs(make_model, first, difference, agrees):
    """Whichever run comes first: the furthest two are 2 apart, and a value may differ by twice that."""

    class Runs:
        def __init__(self, values):
            self.left = iter(values)

        def run(self, _):
            return {"y": np.full((1, 2), next(self.left), np.float32)}

    oracle = Oracle(make_model("g (float[1,2] x) => (float[1,2] y) { y = Exp(x) }"))
    arbiter = Arbiter(oracle, 1e-6, {})
    arbiter._noisy = Runs([first, *np.linspace(-1, 1, 15)]), Runs(np.zeros(8))
    arbiter._precise = None  # which would take seconds for saying the same
    feed = {"x": np.zeros((1, 2), np.float32)}
    wanted = {"y": np.ones((1, 1, 2), np.float32)}
    ours = {"y": wanted["y"] + np.array([0, difference], np.float32)}
    found = compare(ours, wanted, tolerance=1e-6)
    assert arbiter.judge(found, ours, wanted, {0: feed}).agrees is agrees


CANCELS = """g (float[16,64] x) => (float[1,1] y) <float tiny = {1e-30}>
{ d = MatMul(x, w) s = Mul(d, d) e = Add(s, tiny) l = Log(e) y = ReduceMean<axes=[0, 1]>(l) }"""
"""The loudness of a filter bank: of a constant signal, nothing but rounding comes to the logarithm."""


def filters() -> np.ndarray:
    """Weights of 256 filters, each after its negative, so that sums in their order cancel soonest."""
    half = np.random.default_rng(0).integers(-512, 512, (32, 256))
    return np.stack([half, -half], axis=1).reshape(64, 256).astype(np.float32) / 1024


def loudness(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """What `CANCELS` gives where float32 sums in the order of the weights' rows."""
    sums = np.zeros((len(x), weights.shape[1]), np.float32)
    for column, row in zip(x.T, weights, strict=True):
        sums += np.outer(column, row)
    return np.log(sums * sums + np.float32(1e-30)).mean(keepdims=True)


def judged(make_model, *inferences: tuple[np.ndarray, np.ndarray]):
    """The arbiter, and what it says of inferences of `CANCELS`: what was fed, and what a library gave."""
    oracle = Oracle(make_model(CANCELS, w=filters()))
    bound = tolerance(oracle.proto)
    feed_of = {step: {"x": x} for step, (x, _) in enumerate(inferences)}
    wanted = {"y": np.stack([oracle.infer(feed)["y"] for feed in feed_of.values()])}
    ours = {"y": np.stack([y for _, y in inferences])}
    found = compare(ours, wanted, tolerance=bound)
    assert len(found.beyond) == len(inferences)
    arbiter = Arbiter(oracle, bound, {})
    return arbiter, arbiter.judge(found, ours, wanted, feed_of)


def test_another_order_of_a_sum_that_cancels_before_a_logarithm_is_no_fault(make_model) -> None:
    """Of a constant signal's moments all are rounded alike; noise of their own would all but cancel in the mean.

    A sum of the positive weights first is further off the truth than onnxruntime's, so that double precision is no
    excuse for it.
    """
    constants = [np.full((16, 64), value, np.float32) for value in (0.7, -1.3, 0.1)]
    ordered = np.sort(filters(), axis=0)
    arbiter, found = judged(make_model, *((x, loudness(x, ordered)) for x in constants))
    assert found.agrees, str(found)
    assert found.outputs[0].excepted == len(constants)
    assert arbiter.nearer == 0


def test_a_fault_before_that_logarithm_is_one(make_model) -> None:
    """A dropped term where all of them cancel, and one of 256 filters where they do not."""
    dropped, one = filters(), filters()
    dropped[-1] = 0
    one[:, 0] = 0
    constant = np.full((16, 64), 0.7, np.float32)
    random = np.random.default_rng(1).standard_normal((16, 64)).astype(np.float32)
    inferences = (constant, loudness(constant, dropped)), (random, loudness(random, one))
    _, found = judged(make_model, *inferences)
    assert sorted(found.beyond) == [0, 1], str(found)


STEPPED = "h = Cast<to=16>(x)  f = Cast<to=1>(h)  y = Tanh(f)"


@pytest.mark.parametrize(
    ("graph", "strays", "agrees"),
    [
        (STEPPED, [1.0], True),  # where no run moved anything, as each run does somewhere
        (STEPPED, [1.0, 0.9], True),
        (STEPPED, [1.0, 1.0, 1.0], False),  # more elements than any run
        (STEPPED, [1.1], False),  # further off than any run
        (STEPPED, [np.nan], False),
        ("y = Tanh(x)", [1.0], False),
    ],
)
def test_steps_on_the_way_move_other_elements_each_time(make_model, graph, strays, agrees):
    """Behind a rounding to 16 bits each run moves two elements of its own: no run explains those of another."""

    class Runs:
        def __init__(self, moved):
            self.count, self.moved = 0, moved

        def run(self, _):
            values = np.ones((1, 64), np.float32)
            values[0, 2 * self.count : 2 * self.count + self.moved] += 1
            self.count += 1
            return {"y": values}

    oracle = Oracle(make_model(f"g (float[1,64] x) => (float[1,64] y) {{ {graph} }}"))
    arbiter = Arbiter(oracle, 1e-6, {})
    arbiter._noisy = Runs(2), Runs(0)
    feed = {"x": np.zeros((1, 64), np.float32)}
    wanted = {"y": np.ones((1, 1, 64), np.float32)}
    ours = {"y": wanted["y"].copy()}
    ours["y"][0, 0, -len(strays) :] += np.float32(strays)
    found = compare(ours, wanted, tolerance=1e-6)
    judged = arbiter.judge(found, ours, wanted, {0: feed})
    assert judged.agrees is agrees
    assert judged.outputs[0].excepted == (len(strays) if agrees else 0)

"""What double precision says of a float graph, and of what it has no say."""

import math

import numpy as np
import onnx
import pytest
from budgetc.verification.cases import Case
from budgetc.verification.precise import Precise, as_near
from budgetc.verification.verifier import Verifier
from budgetc_specs.errors import ModelError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

CANCELS = """g (float[1,64] x, float[1,64] z) => (float[1,64] y) <float tiny = {1e-30}>
{ s = Mul(x, x) d = Sub(s, z) a = Abs(d) e = Add(a, tiny) y = Log(e) }"""
"""With z the square of x as f32 has it, onnxruntime cancels to 0; a product that is not rounded does not."""


def precise(model, seconds: float = 60.0) -> Precise:
    return Precise(onnx.load_model_from_string(model.data), seconds)


def squares() -> dict[str, np.ndarray]:
    x = np.random.default_rng(0).uniform(0.5, 2, (4, 64)).astype(np.float32)
    return {"x": x, "z": x * x}


def test_every_operator_on_the_way_has_all_digits(make_model) -> None:
    """The inputs and constants are those of f32; nothing is rounded to it behind them."""
    model = make_model(
        """g (float[2,5] x, float16[2,5] h) => (float[2,3] y, float[2,5] e, bool[2,5] b, float[2,3] r)
        { c = Cast<to=1>(h) s = Sub(x, c) m = MatMul(s, w) y = Softmax(m) e = Erf(s) b = Less(x, c)
          r = LayerNormalization<epsilon=1e-5>(m, g) }""",
        w=(w := np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)),
        g=np.ones(3, np.float32),
    )
    random = np.random.default_rng(2)
    x = random.standard_normal((2, 5)).astype(np.float32)
    h = (x * 0.999).astype(np.float16)
    found = precise(model).infer({"x": x, "h": h})
    s = x.astype(np.float64) - h.astype(np.float64)
    m = s @ w.astype(np.float64)
    exponentials = np.exp(m - m.max(axis=1, keepdims=True))
    softmax = exponentials / exponentials.sum(axis=1, keepdims=True)
    deviation = np.sqrt(m.var(axis=1, keepdims=True) + np.float32(1e-5))
    np.testing.assert_allclose(found["y"], softmax, rtol=1e-14)
    np.testing.assert_allclose(found["e"], np.vectorize(math.erf)(s), rtol=1e-14)
    np.testing.assert_allclose(
        found["r"], (m - m.mean(axis=1, keepdims=True)) / deviation, rtol=1e-12
    )
    assert found["b"].dtype == np.bool_
    assert found["y"].dtype == np.float64


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (
            """g (float[2] x) => (float[2] y) <float s = {0.5}, uint8 z = {0}>
            { q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z) }""",
            "QuantizeLinear",
        ),
        ("g (double[2] x) => (double[2] y) { y = Exp(x) }", "computes in it"),
        (
            "g (float[2] x) => (float[2] y) { h = Cast<to=16>(x) y = Cast<to=1>(h) }",
            "16 bits on the way",
        ),
        (
            "g (float[1,1,2,2] x, float[1,2,2,2] at) => (float[1,1,2,2] y) { y = GridSample(x, at) }",
            "GridSample",
        ),
        (
            """g (float[1,2,3] x) => (float[1,2,2,2] y) <int64[4] size = {1, 1, 2, 2}>
            { y = AffineGrid(x, size) }""",
            "in less",  # its result is f32 whatever it is given
        ),
    ],
)
def test_where_it_is_no_judge_it_says_so(make_model, text, what) -> None:
    model = make_model(text, opset=20)
    feed = {port.name: np.zeros(port.shape, port.dtype) for port in model.inputs}
    with pytest.raises(ModelError, match=what):
        precise(model).infer(feed)


def test_it_ends_when_its_time_is_up_and_is_not_tried_again(make_model) -> None:
    model = make_model("g (float[2] x) => (float[2] y) { y = Exp(x) }")
    asked = precise(model, seconds=0.05)
    feed = {"x": np.zeros(2, np.float32)}
    with pytest.raises(ModelError, match=r"time limit of 0\.05 s"):
        asked.infer(feed)
    with pytest.raises(ModelError, match=r"its 0\.05 s were up"):
        asked.infer(feed)


def test_a_library_that_is_nearer_is_accepted_and_counted(make_model, build) -> None:
    """The library fuses product and difference, so that its logarithm is that of the true difference."""
    model = make_model(CANCELS)
    with build(model) as run:
        report = Verifier(model, run).verify(squares(), seconds=0)
    assert report.agrees, str(report)
    assert report.cases[0].agreement.outputs[0].largest > 0.5
    assert 2 <= report.nearer <= report.cases[0].inferences  # noise may come to nothing as well
    assert report.excepted > 4 * 32
    assert "by the graph in double precision" in str(report)
    assert report.to_json()["nearer"] == report.nearer
    assert report.joined([("other", report)]).nearer == 2 * report.nearer


@pytest.mark.parametrize("offset", [-30.0, 120.0])
def test_a_value_further_off_than_onnxruntime_s_is_refused(differing, make_model, offset) -> None:
    """onnxruntime has -69 for what is -19 or so."""
    model = make_model(CANCELS)

    def spoilt(y: np.ndarray) -> np.ndarray:
        return y + np.eye(1, 64, 7, dtype=np.float32) * np.float32(offset)

    seen = differing(model, spoilt).compare(Case("real", squares()))
    assert not seen.agreement.agrees
    assert seen.agreement.outputs[0].beyond


def test_one_value_cannot_hide_behind_the_errors_of_others(differing, make_model) -> None:
    """Nearer in all elements but one, where it is further off than onnxruntime is anywhere."""
    model = make_model(CANCELS)
    x = squares()

    def nearer(y: np.ndarray) -> np.ndarray:
        exact = x["x"].astype(np.float64) ** 2 - x["z"]
        true = np.log(np.abs(exact) + np.float32(1e-30)).astype(np.float32).reshape(y.shape)
        true[..., 7] += 60
        return true

    report = differing(model, nearer).verify(x, seconds=0)
    assert not report.agrees
    assert report.nearer == 0


def test_a_wrong_library_says_why_double_precision_could_not_help(differing, make_model) -> None:
    text = "g (float[1,1,4,4] x) => (float[1,1,2,2] y) { y = GridSample(x, at) }"
    model = make_model(text, opset=20, at=np.zeros((1, 2, 2, 2), np.float32))
    x = {"x": np.random.default_rng(3).standard_normal((1, 1, 4, 4)).astype(np.float32)}
    report = differing(model, lambda y: y * 2).verify(x, seconds=0)
    assert not report.agrees
    assert "GridSample" in report.no_precise
    assert "GridSample" in str(report)


ERRORS = arrays.arrays(np.float64, 12, elements=st.floats(-1, 1))


@given(ERRORS, ERRORS)
def test_nobody_is_nearer_with_more_errors_of_any_size(own, other) -> None:
    truth = np.linspace(-3, 3, 12)
    near = as_near(truth + own, truth + other, truth, 0.1)
    own, other = np.abs(truth + own - truth), np.abs(truth + other - truth)
    assert near[own <= np.maximum(other, 0.1)].all()
    if not near.all():
        assert any((own >= size).sum() > (other >= size).sum() for size in own[own > 0.1])
    for size in own[own > 0.1]:
        if (own >= size).sum() > (other >= size).sum():
            assert not near[(own > np.maximum(other, 0.1))].any()


def test_who_rounds_half_as_much_is_nearer_though_not_in_every_element() -> None:
    random = np.random.default_rng(5)
    truth = random.standard_normal(1000)
    own, other = (scale * random.standard_normal(1000) for scale in (0.5, 1.0))
    assert (np.abs(own) > np.abs(other)).sum() > 200
    assert as_near(truth + own, truth + other, truth, 0.0).all()
    assert not as_near(truth + other, truth + own, truth, 0.0).all()
    own[3] = np.inf
    other[4] = np.inf
    assert np.flatnonzero(~as_near(truth + own, truth + other, truth, 0.0)).tolist() == [3]

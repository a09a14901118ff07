"""Made-up inputs: what they hold, and what they must not."""

import numpy as np
import onnx
import pytest
from budgetc.verification.cases import NoCase, adversarial
from budgetc.verification.limits import integer_ranges, makes_integers


def cases(model, **seen):
    proto = onnx.load_model_from_string(model.data)
    return {c.name: c for c in adversarial(proto, model.inputs, seen)}


@pytest.fixture
def linear(make_model):
    return make_model("g (float[2,3] x) => (float[2,3] y) { y = Neg(x) }")


def test_reals_reach_from_zero_to_the_type_s_ends(linear) -> None:
    seen = np.linspace(-2, 3, 12, dtype=np.float32).reshape(4, 3)
    made = cases(linear, x=seen)
    assert not made["zeros"].inputs["x"].any()
    assert (made["ones"].inputs["x"] == 1).all()
    within = made["random within what was seen"].inputs["x"]
    assert within.shape == (8, 3)
    assert -2 <= within.min() < within.max() <= 3
    assert np.abs(made["random beyond what was seen"].inputs["x"]).max() > 3
    assert set(np.unique(made["the ends of what was seen"].inputs["x"])) == {-2, 3}
    assert np.count_nonzero(made["one value that is not zero"].inputs["x"]) == 2
    tiny = np.abs(made["denormal numbers"].inputs["x"])
    assert 0 < tiny.max() < np.finfo(np.float32).tiny
    assert np.abs(made["the largest numbers"].inputs["x"]).min() == np.finfo(np.float32).max
    again = cases(linear, x=seen)
    assert all(np.array_equal(made[n].inputs["x"], again[n].inputs["x"]) for n in made)


def test_the_largest_numbers_are_those_that_do_not_overflow_inside(make_model) -> None:
    squares = make_model("g (float[4] x) => (float[4] y) { a = Mul(x, x) y = Sqrt(a) }")
    seen = np.ones(4, np.float32)
    assert np.abs(cases(squares, x=seen)["the largest numbers"].inputs["x"]).max() == 2.0**32
    exponential = make_model("g (float[4] x) => (float[4] y) { a = Exp(x) y = Relu(a) }")
    largest = cases(exponential, x=seen)["the largest numbers"]
    assert isinstance(largest, NoCase)
    assert "overflows" in largest.why


def test_reals_that_become_whole_numbers_stay_within_what_was_seen(make_model) -> None:
    model = make_model("g (float[4] x) => (int32[4] y) { y = Cast<to=6>(x) }")
    assert makes_integers(onnx.load_model_from_string(model.data))
    made = cases(model, x=np.ones(4, np.float32))
    assert isinstance(made["the largest numbers"], NoCase)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float[7,2] y) { y = Gather(w, i) }", (-3, 2)),
        ("float[7,2] y) { t = Identity(i) y = Gather(w, t) }", (-3, 2)),
        ("float[7] y) { y = Cast<to=1>(i) }", (-(2**63), 2**63 - 1)),
        ("bool[7] y) { y = Equal(i, i) }", (-(2**63), 2**63 - 1)),
        ("int64[7] y) { y = Div(one, i) }", (1, 5)),
        ("float[7,2] y) { t = Add(i, i) y = Gather(w, t) }", (1, 5)),
    ],
)
def test_whole_numbers_stay_where_they_mean_something(make_model, text, expected) -> None:
    model = make_model(
        f"g (int64[7] i) => ({text}",
        w=np.ones((3, 2), np.float32),
        one=np.ones(7, np.int64),
    )
    seen = {"i": np.array([1, 2, 3, 4, 5, 1, 1])}
    assert integer_ranges(onnx.load_model_from_string(model.data), seen) == {"i": expected}
    made = cases(model, **seen).values()
    for case in (c for c in made if not isinstance(c, NoCase)):
        assert expected[0] <= case.inputs["i"].min()
        assert case.inputs["i"].max() <= expected[1]


def test_denormals_are_left_out_where_the_hardware_has_none(make_model) -> None:  # type: ignore[no-untyped-def]
    model = make_model("g (float[1,4] x) => (float[1,4] y) { y = Neg(x) }")
    seen = {"x": np.ones((1, 4), np.float32)}
    found = list(
        adversarial(onnx.load_from_string(model.data), model.inputs, seen, denormals=False)
    )
    (left_out,) = [case for case in found if case.name == "denormal numbers"]
    assert isinstance(left_out, NoCase)
    assert "take them for zero" in left_out.why

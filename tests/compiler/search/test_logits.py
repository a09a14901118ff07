"""Numbers before the probabilities: found where there are some, and free of what a Softmax ignores."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.search.logits import Tap, tapped

HEAD = '<ir_version: 8, opset_import: ["": {}]> g (float[2,3,4] x) => (float[2,3,4] y) {{ {} }}'


def model_of(body: str, opset: int = 17) -> bytes:
    proto = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(HEAD.format(opset, body)))
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("body", "opset", "tap"),
    [
        ("y = Relu (x)", 17, Tap("y")),
        ("a = Relu (x) y = Softmax (a)", 17, Tap("a", (2,))),
        ("a = Relu (x) y = Softmax <axis = 1> (a)", 17, Tap("a", (1,))),
        ("a = Relu (x) y = Softmax (a)", 11, Tap("a", (1, 2))),
        ("a = Relu (x) b = Softmax (a) c = Identity (b) y = Identity (c)", 17, Tap("a", (2,))),
        ("a = Relu (x) y = Sigmoid (a)", 17, Tap("a")),
        ("y = Softmax (x)", 17, Tap("y")),
    ],
)
def test_where_the_numbers_come_from(body: str, opset: int, tap: Tap) -> None:
    data, taps = tapped(model_of(body, opset))
    assert taps == {"y": tap}
    x = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
    found = make_session(data).run({"x": x})
    assert set(found) == {"y", tap.value}
    numbers = tap.of(found)
    assert numbers.shape == (2, 3, 4)
    if tap.axes:
        np.testing.assert_allclose(numbers.mean(axis=tap.axes), 0, atol=1e-7)


def test_what_is_added_to_all_changes_nothing() -> None:
    array = np.random.default_rng(0).standard_normal((2, 5))
    tap = Tap("a", (1,))
    np.testing.assert_allclose(tap.of({"a": array}), tap.of({"a": array + 3.0}))

"""Cutting a model in two: what crosses, and what each side computes."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.verification.cuts import Cutter

BRANCHES = """g (float[1,4] x) => (float[1,4] y, float[1,4] z)
{
    a = Exp(x)
    b = Neg(a)
    z = Abs(b)
    c = Mul(a, b)
    y = Add(c, x)
}"""

QUANTISED = """g (float[1,4] x) => (float[1,4] y) <float s = {0.1}, uint8 o = {128}>
{
    q = QuantizeLinear(x, s, o)
    d = DequantizeLinear(q, s, o)
    e = Neg(d)
    r = QuantizeLinear(e, s, o)
    y = DequantizeLinear(r, s, o)
}"""


def cutter(make_model, text):
    return Cutter(onnx.load_model_from_string(make_model(text).data))


def test_what_crosses_a_cut(make_model) -> None:
    found = [cut.values for cut in cutter(make_model, BRANCHES).cuts()]
    assert found == [("a",), ("a", "b"), ("a", "b", "z"), ("z", "c"), ("z", "y")]


def test_a_quantised_neighbourhood_stays_whole(make_model) -> None:
    found = [cut.values for cut in cutter(make_model, QUANTISED).cuts()]
    assert found == [("q",), ("r",), ("y",)]


@pytest.mark.parametrize("text", [BRANCHES, QUANTISED])
def test_both_sides_of_a_cut_make_the_whole(make_model, text) -> None:
    made = cutter(make_model, text)
    feed = {"x": np.array([[-1.25, 0.5, 2, 3]], np.float32)}
    whole = make_session(made.model.SerializeToString(), optimisation="none").run(feed)
    for cut in made.cuts():
        first = made.part([], cut.values)
        onnx.checker.check_model(first)
        values = make_session(first.SerializeToString(), optimisation="none").run(feed)
        rest = [name for name in made.outputs if name not in cut.values]
        if rest:
            second = made.part(cut.values, rest)
            known = {**feed, **values}
            read = {i.name: known[i.name] for i in second.graph.input}
            values.update(make_session(second.SerializeToString()).run(read))
        for name in made.outputs:
            np.testing.assert_array_equal(values[name], whole[name])

"""Recurrent layers with the batch first are brought into the usual order, and no others are touched."""

import numpy as np
import onnx
import pytest
from budgetc.loading.recurrent import put_steps_first
from onnx import parser
from onnx.reference import ReferenceEvaluator

HEADER = '<ir_version: 9, opset_import: ["": 17]> '
GRU = """g (float[2,5,3] x, float[1,12,3] w, float[1,12,4] r, float[2,1,4] h) => (float[2,5,1,4] y, float[2,1,4] z)
{ y, z = GRU<hidden_size=4, layout=1>(x, w, r, , , h) }"""


def _attributes(model: onnx.ModelProto) -> list[set[str]]:
    return [{a.name for a in node.attribute} for node in model.graph.node]


def test_the_same_numbers_come_out_in_the_same_order() -> None:
    model = parser.parse_model(HEADER + GRU)
    turned = onnx.ModelProto.FromString(model.SerializeToString())
    put_steps_first(turned)
    onnx.checker.check_model(turned, full_check=True)
    assert [n.op_type for n in turned.graph.node] == [
        "Transpose",
        "Transpose",
        "GRU",
        "Transpose",
        "Transpose",
    ]
    assert "layout" not in set().union(*_attributes(turned))
    random = np.random.default_rng(0)
    feeds = {
        i.name: random.standard_normal([d.dim_value for d in i.type.tensor_type.shape.dim]).astype(
            np.float32
        )
        for i in model.graph.input
    }
    # onnx's own evaluator gives the states of one direction as those of the batch.
    expected, last = ReferenceEvaluator(turned).run(None, feeds)
    assert expected.shape == (2, 5, 1, 4)
    np.testing.assert_array_equal(expected[:, -1], last)


@pytest.mark.parametrize("layer", ["RNN<hidden_size=4>", "RNN<hidden_size=4, layout=0>"])
def test_the_usual_order_stays(layer: str) -> None:
    text = "g (float[5,2,3] x, float[1,4,3] w, float[1,4,4] r) => (float[5,1,2,4] y)"
    model = parser.parse_model(f"{HEADER}{text} {{ y = {layer}(x, w, r) }}")
    before = model.SerializeToString()
    put_steps_first(model)
    assert model.SerializeToString() == before


def test_names_of_others_are_not_taken() -> None:
    text = GRU.replace("{ y", "{ x_steps_first = Relu(x)  y").replace("GRU", "GRU", 1)
    model = parser.parse_model(HEADER + text)
    put_steps_first(model)
    made = [name for node in model.graph.node for name in node.output if name]
    assert len(made) == len(set(made))

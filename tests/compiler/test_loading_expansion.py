"""Operators that are functions of simpler ones become those, and compute the same."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.loading.expansion import EXPANDED, expand_functions
from onnx import TensorProto, helper, parser
from onnx.reference import ReferenceEvaluator

CASES = {
    "Attention": """g (float[1,2,4,8] q, float[1,2,6,8] k, float[1,2,6,8] v) => (float[1,2,4,8] y)
        { y = Attention<is_causal=1>(q, k, v) }""",
    "GroupNormalization": """g (float[1,4,3,3] x, float[4] s, float[4] b) => (float[1,4,3,3] y)
        { y = GroupNormalization<num_groups=2>(x, s, b) }""",
    "MeanVarianceNormalization": """g (float[2,3,4,4] x) => (float[2,3,4,4] y)
        { y = MeanVarianceNormalization(x) }""",
    "RMSNormalization": """g (float[2,8] x, float[8] s) => (float[2,8] y)
        { y = RMSNormalization(x, s) }""",
    "RotaryEmbedding": """g (float[1,2,3,4] x, float[1,3,2] c, float[1,3,2] s) => (float[1,2,3,4] y)
        { y = RotaryEmbedding(x, c, s) }""",
}


def model_of(text, opset=23):
    return parser.parse_model(f'<ir_version: 10, opset_import: ["": {opset}]> {text}')


def feeds_of(model):
    random = np.random.default_rng(0)
    shapes = {
        i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in model.graph.input
    }
    return {n: random.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


@pytest.mark.parametrize("name", CASES)
def test_the_body_computes_what_the_operator_does(name):
    model = model_of(CASES[name])
    expanded = expand_functions(model)
    onnx.checker.check_model(expanded, full_check=True)
    assert name not in {n.op_type for n in expanded.graph.node}
    assert [o.domain for o in expanded.opset_import] == [""]
    feeds = feeds_of(model)
    before, after = (make_session(m.SerializeToString()).run(feeds) for m in (model, expanded))
    np.testing.assert_allclose(after["y"], before["y"], rtol=1e-5, atol=1e-6)


def test_inputs_left_out_in_between():
    node = helper.make_node("Attention", ["q", "k", "v", "", "", "", "n"], ["y"], is_causal=1)
    shapes = {"q": [2, 1, 4, 8], "k": [2, 1, 6, 8], "v": [2, 1, 6, 8]}
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    ports.append(helper.make_tensor_value_info("n", TensorProto.INT64, [2]))
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 1, 4, 8])
    graph = helper.make_graph([node], "g", ports, [out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24)], ir_version=10)
    expanded = expand_functions(model)
    onnx.checker.check_model(expanded, full_check=True)
    assert "MatMul" in {n.op_type for n in expanded.graph.node}


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
@pytest.mark.parametrize(
    ("dtype", "opset"), [("uint8", 11), ("uint8", 27), ("uint64", 27), ("int8", 27), ("int32", 27)]
)
def test_shifts_by_any_number_of_bits(direction, dtype, opset):
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node("BitShift", ["x", "s"], ["y"], direction=direction)
    ports = [helper.make_tensor_value_info(n, kind, [4]) for n in "xsy"]
    graph = helper.make_graph([node], "g", ports[:2], ports[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    expanded = expand_functions(model)
    x, s = np.array([5, 5, 120, 1], dtype), np.array([0, 3, 100, 127], dtype)
    if dtype.startswith("i"):
        x[1], s[3] = -5, -2
    (y,) = ReferenceEvaluator(expanded).run(None, {"x": x, "s": s})
    wanted = []
    for value, bits in zip(x.tolist(), s.tolist(), strict=True):
        kept = 0 <= bits < x.itemsize * 8
        shifted = (value << bits if direction == "LEFT" else value >> bits) if kept else 0
        wanted.append(shifted & (2 ** (8 * x.itemsize) - 1))
    np.testing.assert_array_equal(y, np.array(wanted, np.uint64).astype(dtype))


def test_all_others_stay():
    model = model_of("g (float[3] x) => (float[3] y) { y = Celu(x) }")
    assert expand_functions(model) is model
    assert "Celu" not in EXPANDED

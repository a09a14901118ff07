"""Which nodes go over to integers and which tensors get a code, on graphs written as text."""

import onnx_ir as ir
import pytest
from budgetc_passes.quantization.opset import prepared
from budgetc_passes.quantization.placement import Placement, place

CONSTANTS = """
float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] b = {1,2,3,4},
float lo = {0}, float hi = {6}, int64[2] flat = {1, 4}
"""


def placed(body: str, skip: tuple[str, ...] = (), float_head: bool = False) -> Placement:
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    agraph (float[1,4] x) => (float[1,4] out)
    <{CONSTANTS}>
    {{ {body} }}
    """
    return place(prepared(ir.from_onnx_text(text)).graph, skip, float_head)


def coded(placement: Placement) -> list[str | None]:
    return [value.name for value in placement.coded]


def units(placement: Placement) -> list[tuple[str, str | None]]:
    return [
        (unit.node.op_type, None if unit.follower is None else unit.follower.op_type)
        for unit in placement.units
    ]


def refusals(placement: Placement) -> list[str]:
    return [note.text for note in placement.refused]


def test_a_product_between_its_input_and_output() -> None:
    found = placed("out = Gemm(x, w, b)")
    assert coded(found) == ["x", "out"]
    assert {value.name for value in found.internal} == {"out"}
    assert found.refused == ()


@pytest.mark.parametrize("activation", ["Relu(h)", "Clip(h, lo, hi)"])
def test_a_clip_belongs_to_the_product_before_it(activation: str) -> None:
    found = placed(f"h = Gemm(x, w) out = {activation}")
    assert units(found) == [("Gemm", activation[:4])]
    assert coded(found) == ["x", "out"]


@pytest.mark.parametrize(
    "activation", ["PRelu(h, b)", "HardSwish(h)", "LeakyRelu(h)", "Sigmoid(h)"]
)
def test_no_code_stands_between_a_product_and_its_activation(activation: str) -> None:
    found = placed(f"h = Gemm(x, w) a = {activation} out = Gemm(a, w)")
    assert units(found) == [("Gemm", activation.partition("(")[0]), ("Gemm", None)]
    assert coded(found) == ["x", "a", "out"]


def test_an_activation_that_feeds_only_the_output_stays_float() -> None:
    found = placed("h = Gemm(x, w) out = Sigmoid(h)")
    assert units(found) == [("Gemm", None)]
    assert coded(found) == ["x", "h"]
    assert refusals(found) == ["Sigmoid stays float: nothing behind it works on integers"]


def test_an_activation_of_a_shared_result_stands_alone() -> None:
    found = placed("h = Gemm(x, w) s = Sigmoid(h) out = Mul(h, s)")
    assert units(found) == [("Gemm", None), ("Sigmoid", None), ("Mul", None)]
    assert coded(found) == ["x", "h", "s", "out"]


def test_a_result_that_leaves_the_graph_has_its_own_code() -> None:
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    agraph (float[1,4] x) => (float[1,4] h, float[1,4] out)
    <{CONSTANTS}>
    {{ h = Gemm(x, w) r = Relu(h) out = Gemm(r, w) }}
    """
    found = place(prepared(ir.from_onnx_text(text)).graph)
    assert units(found) == [("Gemm", None), ("Relu", None), ("Gemm", None)]


def test_a_softmax_head_stays_float() -> None:
    found = placed("h = Gemm(x, w, b) out = Softmax(h)")
    assert coded(found) == ["x", "h"]
    assert refusals(found)[0].startswith("Softmax stays float: probabilities lose")


def test_a_float_head_hands_out_its_accumulator() -> None:
    found = placed("h = Gemm(x, w) a = Relu(h) g = Gemm(a, w) out = Softmax(g)", float_head=True)
    assert coded(found) == ["x", "a"]
    assert [unit.node.op_type for unit in found.units] == ["Gemm", "Gemm"]


def test_a_float_operator_in_the_middle_is_an_island() -> None:
    found = placed("h = Gemm(x, w) e = Erf(h) out = Gemm(e, w)")
    assert coded(found) == ["x", "h", "e", "out"]
    assert {value.name for value in found.internal} == {"h", "out"}


def test_carriers_are_quantised_from_either_side() -> None:
    found = placed("t = Reshape(x, flat) h = Gemm(t, w) f = Flatten(h) out = Softmax(f)")
    assert units(found) == [("Reshape", None), ("Gemm", None), ("Flatten", None)]
    assert coded(found) == ["x", "t", "h", "f"]


def test_a_sum_in_front_of_the_first_product_stays_float() -> None:
    found = placed("s = Add(x, b) out = Gemm(s, w)")
    assert coded(found) == ["s", "out"]
    assert refusals(found) == ["Add stays float: its inputs arrive in float"]


def test_a_sum_takes_codes_and_codes_its_constants() -> None:
    found = placed("h = MatMul(x, w) s = Add(h, b) r = Relu(s) out = Add(r, x)")
    assert units(found) == [("MatMul", None), ("Add", "Relu"), ("Add", None)]
    assert coded(found) == ["x", "h", "b", "r", "out"]


def test_a_sum_behind_a_carrier_that_was_wanted_late() -> None:
    # Flatten is quantised only because Gemm wants it; then the Add has an input in integers too.
    found = placed("t = Flatten(x) h = Gemm(t, w) s = Erf(x) a = Add(t, s) out = Add(a, h)")
    assert [unit.node.op_type for unit in found.units] == ["Flatten", "Gemm", "Add", "Add"]


def test_skipped_nodes_stay_float() -> None:
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    agraph (float[1,4] x) => (float[1,4] out)
    <{CONSTANTS}>
    {{ [first] h = Gemm(x, w) [second] out = Gemm(h, w) }}
    """
    found = place(prepared(ir.from_onnx_text(text)).graph, ["second"])
    assert coded(found) == ["x", "h"]
    assert found.refused[0].node == "second"
    assert found.refused[0].text == "Gemm stays float: named in `skip`"


def test_nothing_is_quantised_without_a_product() -> None:
    found = placed("t = Flatten(x) s = Add(t, b) out = Relu(s)")
    assert found.units == ()
    assert found.coded == ()
    assert len(found.refused) == 3


def test_shape_arithmetic_is_neither_quantised_nor_reported() -> None:
    found = placed("s = Shape(x) h = Reshape(x, s) out = Gemm(h, w)")
    assert units(found) == [("Reshape", None), ("Gemm", None)]
    assert found.refused == ()


def test_a_recurrent_layer_takes_integers_and_gives_reals() -> None:
    text = """
    <ir_version: 8, opset_import: ["": 17]>
    agraph (float[3,5,1] x) => (float[5,1,1,4] y, float[1,1,4] last)
    <float[1,4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12},
     float[1,4,4] r = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}>
    { t = Transpose <perm=[1,2,0]> (x)  y, last = RNN <hidden_size=4> (t, w, r) }
    """
    found = place(prepared(ir.from_onnx_text(text)).graph)
    assert units(found) == [("Transpose", None), ("RNN", None)]
    assert coded(found) == ["x", "t"]
    assert {value.name for value in found.internal} == {"t"}
    assert found.refused == ()

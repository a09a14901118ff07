"""Raising the opset and filling in types before quantisation."""

import onnx_ir as ir
import pytest
from budgetc_passes.contract import PassError
from budgetc_passes.quantization.opset import FIRST_OPSET, prepared, quantised_by


def model(body: str, opset: int = 17) -> ir.Model:
    return ir.from_onnx_text(
        f"""
        <ir_version: 8, opset_import: ["": {opset}]>
        agraph (float[1,4] x) => (float[1,4] out)
        <float s = {{0.5}}, uint8 z = {{3}}>
        {{ {body} }}
        """
    )


def test_a_model_that_is_ready_is_returned_as_it_is() -> None:
    ready = model("out = Relu(x)")
    assert prepared(ready) is ready


def test_missing_types_are_inferred() -> None:
    found = prepared(model("h = Relu(x) out = Neg(h)"))
    assert found.graph[0].outputs[0].dtype == ir.DataType.FLOAT
    assert found.graph[0].outputs[0].shape == ir.Shape([1, 4])


def test_an_old_opset_is_raised() -> None:
    found = prepared(model("h = Unsqueeze <axes=[0]> (x) out = Squeeze <axes=[0]> (h)", opset=11))
    assert found.opset_imports[""] == FIRST_OPSET
    squeeze = next(node for node in found.graph if node.op_type == "Squeeze")
    assert len(squeeze.inputs) == 2
    assert [value.name for value in found.graph.outputs] == ["out"]


def test_an_opset_that_onnx_cannot_raise_is_refused() -> None:
    # Upsample has no counterpart from opset 10 on whose conversion onnx knows.
    with pytest.raises(PassError, match="cannot convert the model from opset 6 to 13"):
        prepared(model("out = NoSuchOperator(x)", opset=6))


def test_a_quantised_model_is_known_by_its_first_code() -> None:
    body = "q = QuantizeLinear(x, s, z) out = DequantizeLinear(q, s, z)"
    found = quantised_by(model(body))
    assert found is not None
    assert found.op_type == "QuantizeLinear"
    assert quantised_by(model("out = Relu(x)")) is None

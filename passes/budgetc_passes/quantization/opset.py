"""Bring a model to what quantisation reads: an opset with scales a channel, all tensors typed."""

import onnx
import onnx_ir as ir

from budgetc_passes.contract import PassError

FIRST_OPSET = 13
"""QuantizeLinear and DequantizeLinear take an axis from here on."""


def quantised_by(model: ir.Model) -> ir.Node | None:
    """The first node that says that a model is quantised already, None for a float model."""
    coders = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
    return next((node for node in model.graph if node.op_type in coders), None)


def prepared(model: ir.Model) -> ir.Model:
    """The model at opset 13 or above with types; the model itself if nothing is to be done.

    Raises:
        PassError: onnx cannot convert it.
    """
    version = model.opset_imports.get("", FIRST_OPSET)
    untyped = any(output.dtype is None for node in model.graph for output in node.outputs)
    if version >= FIRST_OPSET and not untyped:
        return model
    proto = ir.to_proto(model)
    try:
        if version < FIRST_OPSET:
            proto = onnx.version_converter.convert_version(proto, FIRST_OPSET)
            # IR version 7 is the one that was published with opset 12 and 13.
            proto.ir_version = max(proto.ir_version, 7)
        proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except Exception as error:  # onnx raises RuntimeError and classes of its C++ part
        raise PassError(
            f"onnx cannot convert the model from opset {version} to {FIRST_OPSET}, the first with "
            f"scales per channel: {error}; export it with a newer opset"
        ) from error
    return ir.from_proto(proto)

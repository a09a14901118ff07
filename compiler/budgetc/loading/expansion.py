"""Operators that ONNX defines by simpler ones are written as those, where kernels serve them better."""

import onnx
from onnx import inliner

from budgetc.loading.normalise import all_graphs

EXPANDED = frozenset(
    {
        "Attention",
        "GroupNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "RotaryEmbedding",
        "SwiGLU",
    }
)
"""Operators of the standard domain that run as products, reductions and maps."""


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the operators of EXPANDED replaced by the bodies that the standard gives them.

    An operator that is no function in the model's opset stays.
    """
    operators = {node.op_type for graph in all_graphs(model.graph) for node in graph.node}
    names = [("", name) for name in sorted(EXPANDED & operators)]
    if not names:
        return model
    expanded: onnx.ModelProto = inliner.inline_selected_functions(
        model, names, inline_schema_functions=True
    )
    return expanded

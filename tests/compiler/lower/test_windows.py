"""Windows against onnxruntime: whatever way padding is given, the first tap reads the same element."""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.graph import Operation
from budgetc.lower.windows import window_of
from onnx import TensorProto, helper

EXTENT = 11


def taps(kernel, stride, dilation, **padding):
    """Which input elements each output of a convolution sums, read off onnxruntime with a code for each tap."""
    node = helper.make_node(
        "Conv",
        ["x", "w"],
        ["y"],
        kernel_shape=[kernel],
        strides=[stride],
        dilations=[dilation],
        **padding,
    )
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [EXTENT, 1, EXTENT]),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 1, kernel]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    x = np.eye(EXTENT, dtype=np.float32)[:, None, :]
    w = np.arange(1, kernel + 1, dtype=np.float32)[None, None]
    y = make_session(model.SerializeToString()).run({"x": x, "w": w})["y"][:, 0]
    return y.T  # [output, input]: the tap (from 1) by which the output reads the input, or 0


PADDINGS = [
    *({"auto_pad": mode} for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")),
    {"pads": [1, 2]},
    {"pads": [0, 1]},
    {},
]
# onnxruntime refuses dilated windows with automatic padding, so there is nothing to compare with.
CASES = [
    (dilation, padding)
    for dilation in (1, 2)
    for padding in PADDINGS
    if dilation == 1 or "SAME" not in padding.get("auto_pad", "")
]


@pytest.mark.parametrize("kernel", [1, 2, 3, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize(("dilation", "padding"), CASES, ids=str)
def test_every_output_reads_what_onnxruntime_reads(kernel, stride, dilation, padding):
    expected = taps(kernel, stride, dilation, **padding)
    attributes = {"strides": (stride,), "dilations": (dilation,), **padding}
    op = Operation("Conv", "c", ("x",), ("y",), attributes)
    window = window_of(op, (1, 1, EXTENT), (1, 1, len(expected)), (kernel,))
    low, high = window.pads[0]
    found = np.zeros_like(expected)
    for output in range(len(expected)):
        for tap in range(kernel):
            at = output * stride + tap * dilation - low
            assert -low <= at < EXTENT + high, "the border does not hold the last tap"
            if 0 <= at < EXTENT:
                found[output, at] = tap + 1
    np.testing.assert_array_equal(found, expected)


def test_padding_that_no_window_reaches_is_not_stored():
    op = Operation("Conv", "c", ("x",), ("y",), {"strides": (2,), "pads": (1, 1)})
    assert window_of(op, (1, 1, 8), (1, 1, 4), (3,)).pads == ((1, 0),)

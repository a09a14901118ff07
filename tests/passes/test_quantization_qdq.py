"""The QDQ graph that is written: its structure operator by operator, and its numbers."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from budgetc_passes.calibration import MinMax, collect
from budgetc_passes.contract import Note
from budgetc_passes.quantization.placement import place
from budgetc_passes.quantization.qdq import WeightForm, write
from budgetc_passes.quantization.sharing import codes, statistics

Arrays = Mapping[str, npt.NDArray[np.generic]]

RNG = np.random.default_rng(0)
CONSTANTS = {
    "w": RNG.normal(size=(6, 3, 3, 3)),
    "b": RNG.normal(size=6),
    "depthwise": RNG.normal(size=(3, 1, 3, 3)),
    "slope": RNG.uniform(0, 0.3, (6, 1, 1)),
    "dense": RNG.normal(size=(3 * 64, 5)) * 0.1,
    "bias": RNG.normal(size=(1, 5)),
    "addend": RNG.normal(size=(1, 3, 1, 1)),
    "lo": np.array(0.0),
    "hi": np.array(8.0),
    "low": np.array(-1.0),
    "inputs": RNG.normal(size=(2, 15, 8)),
    "states": RNG.normal(size=(2, 15, 5)),
}
SAMPLES = [{"x": RNG.normal(size=(1, 3, 8, 8)).astype(np.float32)} for _ in range(8)]


def written(
    body: str, form: WeightForm | None = None, outputs: str = "float[1] out"
) -> tuple[ir.Model, ir.Model, tuple[Note, ...]]:
    """A float model, its quantised form, and the notes; the shapes of the outputs are inferred."""
    proto = onnx.parser.parse_model(
        f"""
        <ir_version: 8, opset_import: ["": 17]>
        agraph (float[1,3,8,8] x) => ({outputs})
        <int64[8] pads = {{0,0,1,1,0,0,1,1}}, int64[2] flat = {{1,-1}}>
        {{ {body} }}
        """
    )
    for name, array in CONSTANTS.items():
        if any(name in node.input for node in proto.graph.node):
            tensor = onnx.numpy_helper.from_array(array.astype(np.float32), name)
            proto.graph.initializer.append(tensor)
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    proto = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    model = ir.from_proto(proto)
    placement = place(model.graph)
    observed = collect(model, statistics(placement, MinMax()), SAMPLES)
    found = codes(placement, observed)
    notes = write(model.graph, placement, found, form or WeightForm(7, per_channel=True))
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return ir.from_proto(proto), model, notes


def chain(model: ir.Model, names: str = "out") -> list[str]:
    """The operators that an output hangs on, along first inputs, in the order of the data."""
    value = next(value for value in model.graph.outputs if value.name == names)
    found: list[str] = []
    node = value.producer()
    while node is not None:
        found.append(node.op_type)
        first = node.inputs[0]
        node = None if first is None else first.producer()
    return found[::-1]


def node_of(model: ir.Model, op_type: str) -> ir.Node:
    return next(node for node in model.graph if node.op_type == op_type)


def stored(node: ir.Node, index: int) -> tuple[Arrays, ir.Node]:
    """The initializers of the DequantizeLinear that feeds an input."""
    value = node.inputs[index]
    assert value is not None
    producer = value.producer()
    assert producer is not None
    assert producer.op_type == "DequantizeLinear"
    arrays = {}
    for name, held in zip(("codes", "scale", "zero_point"), producer.inputs, strict=True):
        assert held is not None
        assert held.const_value is not None
        arrays[name] = held.const_value.numpy()
    return arrays, producer


def run(model: ir.Model, sample: Arrays) -> list[npt.NDArray[np.float32]]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    data = ir.to_proto(model).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return list(session.run(None, dict(sample)))


def assert_close(float_model: ir.Model, model: ir.Model, levels: float) -> None:
    """Outputs agree within so many 1/255 of the float output's range over the samples."""
    runs = [(run(float_model, sample), run(model, sample)) for sample in SAMPLES]
    for i in range(len(model.graph.outputs)):
        expected = np.stack([outputs[i] for outputs, _ in runs])
        got = np.stack([outputs[i] for _, outputs in runs])
        assert np.abs(got - expected).max() <= levels * np.ptp(expected) / 255


QDQ = ["QuantizeLinear", "DequantizeLinear"]

CONV = "Conv <pads=[1,1,1,1]>"


@pytest.mark.parametrize(
    ("body", "operators", "levels"),
    [
        (f"out = {CONV} (x, w, b)", [*QDQ, "Conv", *QDQ], 5),
        (f"h = {CONV} (x, w) out = Relu(h)", [*QDQ, "Conv", *QDQ], 5),
        (f"h = {CONV} (x, w) out = Clip(h, lo, hi)", [*QDQ, "Conv", *QDQ], 9),
        ("out = Conv <group=3> (x, depthwise)", [*QDQ, "Conv", *QDQ], 5),
        (
            f"h = {CONV} (x, w) p = PRelu(h, slope) out = AveragePool <kernel_shape=[2,2]> (p)",
            [*QDQ, "Conv", "PRelu", *QDQ, "AveragePool", *QDQ],
            5,
        ),
        (
            f"h = {CONV} (x, w) m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (h)"
            " out = GlobalAveragePool(m)",
            [*QDQ, "Conv", *QDQ, "MaxPool", *QDQ, "GlobalAveragePool", *QDQ],
            8,
        ),
        (
            "f = Reshape(x, flat) h = Gemm(f, dense, bias) out = Softmax(h)",
            [*QDQ, "Reshape", *QDQ, "Gemm", *QDQ, "Softmax"],
            9,
        ),
        (
            "h = Conv <group=3, pads=[1,1,1,1]> (x, depthwise) s = Add(h, x) out = Relu(s)",
            [*QDQ, "Conv", *QDQ, "Add", *QDQ],
            5,
        ),
        (
            "h = Conv <group=3, pads=[1,1,1,1]> (x, depthwise) out = Mul(h, addend)",
            [*QDQ, "Conv", *QDQ, "Mul", *QDQ],
            8,
        ),
        (
            "p = Pad(x, pads) t = Transpose <perm=[0,1,3,2]> (p) out = Conv(t, w)",
            [*QDQ, "Pad", *QDQ, "Transpose", *QDQ, "Conv", *QDQ],
            5,
        ),
        ("t = Transpose <perm=[0,1,3,2]> (x) out = MatMul(x, t)", [*QDQ, "MatMul", *QDQ], 5),
    ],
)
def test_the_form_and_the_numbers(body: str, operators: list[str], levels: float) -> None:
    float_model, model, _ = written(body)
    assert chain(model) == operators
    assert_close(float_model, model, levels)


def test_weights_and_biases_are_integers_behind_a_dequantize() -> None:
    _, model, _ = written(f"out = {CONV} (x, w, b)")
    conv = node_of(model, "Conv")
    weight, dequantize = stored(conv, 1)
    assert weight["codes"].dtype == np.int8
    assert np.abs(weight["codes"].astype(int)).max() == 64
    assert weight["scale"].shape == (6,)
    assert weight["zero_point"].tolist() == [0] * 6
    assert dequantize.attributes["axis"].as_int() == 0
    bias, dequantize = stored(conv, 2)
    assert bias["codes"].dtype == np.int32
    assert bias["zero_point"].dtype == np.int32
    assert dequantize.attributes["axis"].as_int() == 0
    arrived = conv.inputs[0].producer() if conv.inputs[0] else None
    assert arrived is not None
    scale = arrived.inputs[1].const_value.numpy()  # type: ignore[union-attr]
    np.testing.assert_array_equal(bias["scale"], scale * weight["scale"])
    assert "w" not in model.graph.initializers
    assert "b" not in model.graph.initializers


def test_one_scale_for_a_tensor_has_no_axis() -> None:
    _, model, _ = written(f"out = {CONV} (x, w, b)", WeightForm(8, per_channel=False))
    for index in (1, 2):
        arrays, dequantize = stored(node_of(model, "Conv"), index)
        assert arrays["scale"].shape == ()
        assert "axis" not in dequantize.attributes
    assert np.abs(stored(node_of(model, "Conv"), 1)[0]["codes"].astype(int)).max() == 127


def test_gemm_gets_its_axis_its_bias_as_a_vector_and_loses_alpha() -> None:
    body = "f = Flatten(x) out = Gemm <alpha=0.5, beta=2.0> (f, dense, bias)"
    float_model, model, _ = written(body)
    gemm = node_of(model, "Gemm")
    assert "alpha" not in gemm.attributes
    weight, dequantize = stored(gemm, 1)
    assert weight["scale"].shape == (5,)
    assert dequantize.attributes["axis"].as_int() == 1
    assert stored(gemm, 2)[0]["codes"].shape == (5,)
    assert_close(float_model, model, 6)


def test_a_relu_goes_and_its_code_starts_at_zero() -> None:
    _, model, notes = written(f"h = {CONV} (x, w) out = Relu(h)")
    assert "Relu" not in [node.op_type for node in model.graph]
    (use,) = node_of(model, "Conv").outputs[0].uses()
    assert use.node.op_type == "QuantizeLinear"
    zero_point = use.node.inputs[2]
    assert zero_point is not None
    assert zero_point.const_value is not None
    assert zero_point.const_value.numpy() == 0
    assert "Relu implied by it" in notes[-1].text


def test_a_relu_stays_if_its_code_reaches_below_zero() -> None:
    body = f"h = {CONV} (x, w) r = Relu(h) p = Pad(r, pads, low) out = Neg(p)"
    float_model, model, notes = written(body)
    assert chain(model)[:4] == [*QDQ, "Conv", "Relu"]
    assert any("Relu before it" in note.text for note in notes)
    assert_close(float_model, model, 5)


def test_the_interface_keeps_names_types_and_shapes() -> None:
    outputs = "float[1] h, float[1] out"
    float_model, model, _ = written(f"h = {CONV} (x, w) out = Relu(h)", outputs=outputs)
    for kept, now in zip(float_model.graph.outputs, model.graph.outputs, strict=True):
        assert (kept.name, kept.dtype, kept.shape) == (now.name, now.dtype, now.shape)
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert_close(float_model, model, 5)


def test_every_new_tensor_has_a_type_and_a_shape() -> None:
    _, model, _ = written(f"h = {CONV} (x, w, b) out = Relu(h)")
    for node in model.graph:
        for value in node.outputs:
            assert value.dtype is not None
            assert value.shape is not None


def test_readers_in_integers_share_one_code_and_float_readers_of_an_input_keep_it() -> None:
    body = f"h = {CONV} (x, w) g = {CONV} (x, w) n = Neg(x) m = MatMul(n, n) out = Add(h, g)"
    _, model, _ = written(body)
    entries = [
        node
        for node in model.graph
        if node.op_type == "QuantizeLinear" and node.inputs[0] is model.graph.inputs[0]
    ]
    assert len(entries) == 1
    assert node_of(model, "Neg").inputs[0] is model.graph.inputs[0]


def test_concat_of_a_constant_and_a_result() -> None:
    body = "h = Conv <group=3> (x, depthwise) g = GlobalAveragePool(h)"
    body += " out = Concat <axis=0> (g, addend)"
    float_model, model, _ = written(body)
    concat = node_of(model, "Concat")
    codes_of_constant, _ = stored(concat, 1)
    assert codes_of_constant["codes"].dtype == np.uint8
    scales = {
        float(value.producer().inputs[1].const_value.numpy())  # type: ignore[union-attr]
        for value in [*concat.inputs, *model.graph.outputs]
        if value is not None
    }
    assert len(scales) == 1
    assert_close(float_model, model, 5)


def test_names_that_are_taken_are_avoided() -> None:
    body = f"x_scale = Abs(x) n = {CONV} (x_scale, w) h = {CONV} (x, w) out = Add(n, h)"
    float_model, model, _ = written(body)
    names = [value.name for node in model.graph for value in node.outputs]
    assert len(names) == len(set(names))
    assert_close(float_model, model, 5)


def test_weights_in_constant_nodes_are_taken_out() -> None:
    body = "t = Transpose <perm=[0,2,3,1]> (x) c = Constant <value = float[3,2] {1,2,3,4,5,6}> ()"
    float_model, model, _ = written(body + " out = MatMul(t, c)")
    assert "Constant" not in [node.op_type for node in model.graph]
    assert_close(float_model, model, 4)


def test_the_notes_say_what_became_of_each_node() -> None:
    _, _, notes = written(f"[first] h = {CONV} (x, w, b) [second] out = GlobalAveragePool(h)")
    assert [note.kind for note in notes] == ["did"] * 3
    assert notes[0].text.startswith("float tensor 'x' is quantised to u8 [-")
    assert "Conv: weights s8 of 7 bits, 6 scales" in notes[1].text
    assert "GlobalAveragePool: result u8 [" in notes[2].text


def test_a_recurrent_layer_has_a_scale_for_each_row_of_both_directions() -> None:
    _, model, notes = written("""s = ReduceMax <axes=[0], keepdims=0> (x)
        h, out = GRU <hidden_size=5, direction="bidirectional"> (s, inputs, states)""")
    layer = node_of(model, "GRU")
    for index, name, limit in ((1, "inputs", 64), (2, "states", 127)):
        found, dequantize = stored(layer, index)
        integers, scale = found["codes"], found["scale"]
        assert dequantize.attributes["axis"].as_int() == 1
        assert integers.dtype == np.int8
        assert np.abs(integers).max() == limit, "weights of a state meet no dot product"
        assert scale.shape == found["zero_point"].shape == (15,)
        error = np.abs(integers * scale[:, None] - CONSTANTS[name]).max()
        assert error <= scale.max() / 2 + 1e-6
    assert chain(model)[-3:] == ["QuantizeLinear", "DequantizeLinear", "GRU"]
    assert any("weights of its state s8 of 8 bits" in note.text for note in notes)

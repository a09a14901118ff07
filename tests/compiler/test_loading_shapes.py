"""The inputs' dimensions and all shapes behind them: fixed by the spec, inferred, or a sentence that says why not."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from budgetc.lower.lowered import Port
from budgetc.model import load_model
from budgetc_specs.errors import ModelError, SpecError
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "specs/examples/mnist/mnist5k_cnn.onnx"
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def value(name, shape, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name="w", shape=(4, 3)):
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return numpy_helper.from_array(data, name)


def model_of(nodes, inputs, outputs, initializers=(), *, opset=17, ir=8, functions=(), domains=()):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(initializers))
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, functions=list(functions))


def saved(folder, model, name="m.onnx"):
    path = folder / name
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    return path


def refusal(path, inputs=None):
    with pytest.raises(ModelError) as caught:
        load_model(path, inputs)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def outputs(data, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"]).run(None, feeds)


def graph_of(model):
    return onnx.load_model_from_string(model.data).graph


def test_a_free_dimension_shows_the_lines_to_add():
    assert refusal(MNIST) == (
        'the input "input" is [N, 1, 28, 28]: the dimension "N" (axis 0) must be fixed\n'
        "  add to the spec:\n"
        "  inputs:\n"
        "    input: {shape: [1, 1, 28, 28]}"
    )


def test_all_free_dimensions_of_all_inputs_at_once(tmp_path):
    model = model_of(
        [helper.make_node("Add", ["a:0", "b"], ["y"])],
        [value("a:0", ["N", 3, "H", None]), value("b", [None, 3, 2, 2])],
        [value("y", None)],
    )
    model.graph.output[0].CopyFrom(value("y", ["N", 3, "H", "W"]))
    path = saved(tmp_path, model)
    assert refusal(path) == (
        'the input "a:0" is [N, 3, H, ?]: the dimensions "N" (axis 0), "H" (axis 2), axis 3 '
        "must be fixed\n"
        'the input "b" is [?, 3, 2, 2]: the dimension axis 0 must be fixed\n'
        "  add to the spec, with numbers for what stands in <>:\n"
        "  inputs:\n"
        '    "a:0": {shape: [1, 3, <H>, <?>]}\n'
        "    b: {shape: [1, 3, 2, 2]}"
    )
    loaded = load_model(path, {"a:0": [1, 3, 2, 2], "b": [1, 3, 2, 2]})
    assert loaded.outputs == (Port("y", "float32", (1, 3, 2, 2)),)


def test_a_named_dimension_is_fixed_wherever_it_stands(tmp_path):
    model = model_of(
        [helper.make_node("Add", ["a", "b"], ["y"])],
        [value("a", ["N", 3]), value("b", ["N", 3])],
        [value("y", ["N", 3])],
    )
    path = saved(tmp_path, model)
    assert [p.shape for p in load_model(path, {"a": [5, 3]}).inputs] == [(5, 3), (5, 3)]
    with pytest.raises(SpecError) as caught:
        load_model(path, {"a": [5, 3], "b": [4, 3]})
    assert str(caught.value) == (
        'inputs: the dimension "N" is 5 in "a" and 4 in "b"\n'
        "  a named dimension of the model has one size wherever its name stands."
    )


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        (
            {"imput": [1, 1, 28, 28]},
            "inputs.imput: the model has no input of this name\n"
            '  did you mean "input"? the inputs are: "input".',
        ),
        (
            {"input": [1, 28, 28]},
            "inputs.input.shape: [1, 28, 28] has 3 dimensions, the model's input has 4\n"
            "  the model's input is [N, 1, 28, 28].",
        ),
        (
            {"input": [1, 3, 28, 28]},
            "inputs.input.shape: 3 (axis 1) contradicts the model, which fixes 1\n"
            "  the model's input is [N, 1, 28, 28]; only what is not a number there is free.",
        ),
        (
            {"input": [0, 1, 28, 28]},
            "inputs.input.shape: 0 (axis 0) is not a size\n  a size is 1 or more.",
        ),
    ],
)
def test_shapes_that_do_not_fit_the_model(inputs, text):
    with pytest.raises(SpecError) as caught:
        load_model(MNIST, inputs)
    assert str(caught.value) == text


def test_all_wrong_shapes_at_once():
    with pytest.raises(SpecError) as caught:
        load_model(MNIST, {"imput": [1], "input": [2, 3, 28, 29]})
    assert len(caught.value.diagnostics) == 3


def test_shapes_that_do_not_go_together(tmp_path):
    model = model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [1, "K"])],
        [value("y", [1, 3])],
        [weight()],
    )
    text = refusal(saved(tmp_path, model), {"x": [1, 5]})
    assert text.startswith("the model's shapes do not fit together: ")
    assert "MatMul" in text
    assert text.endswith(
        "compare the shapes under `inputs` of the spec with those the model was exported for."
    )


def test_an_input_that_holds_nothing(tmp_path):
    model = model_of(
        [helper.make_node("Relu", ["x"], ["y"])], [value("x", [0, 4])], [value("y", [0, 4])]
    )
    assert load_model(saved(tmp_path, model)).inputs[0].shape == (0, 4)


def test_a_shape_that_depends_on_the_data(tmp_path):
    model = model_of(
        [helper.make_node("NonZero", ["x"], ["y"], name="find")],
        [value("x", [4, 4])],
        [value("y", [2, "n"], INT64)],
    )
    assert refusal(saved(tmp_path, model)) == (
        'the shape of "y", a result of the NonZero node "find", depends on the data\n'
        "  every shape must follow from the inputs' shapes; export the model with fixed shapes."
    )


def test_an_old_mask_that_nobody_reads_is_left_out(tmp_path):
    """Before opset 10, onnx has no shape for the mask, and exporters asked every Dropout for one."""
    nodes = [
        helper.make_node("Dropout", ["x"], ["kept", "mask"], ratio=0.5),
        helper.make_node("Relu", ["kept"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [2, 3])], [value("y", [2, 3])], opset=9)
    loaded = load_model(saved(tmp_path, model))
    assert [list(n.output) for n in graph_of(loaded).node] == [["kept"], ["y"]]
    assert "mask" not in {v.name for v in graph_of(loaded).value_info}
    x = np.float32([[-1, 0, 2], [3, -4, 5]])
    np.testing.assert_array_equal(outputs(loaded.data, {"x": x})[0], np.maximum(x, 0))


def test_an_old_mask_that_is_read_is_refused(tmp_path):
    nodes = [
        helper.make_node("Dropout", ["x"], ["kept", "mask"], name="drop"),
        helper.make_node("Mul", ["kept", "mask"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [2])], [value("y", [2])], opset=9)
    text = refusal(saved(tmp_path, model))
    assert 'the shape of "mask", a result of the Dropout node "drop"' in text


def test_an_optional_output_with_a_shape_stays(tmp_path):
    """A BatchNormalization in training mode is not valid without all of its outputs."""
    node = helper.make_node(
        "BatchNormalization", ["x", "s", "b", "m", "v"], ["y", "mean", "var"], training_mode=1
    )
    weights = [weight(name, (3,)) for name in "sbmv"]
    model = model_of([node], [value("x", [2, 3, 4])], [value("y", [2, 3, 4])], weights)
    loaded = load_model(saved(tmp_path, model))
    assert list(graph_of(loaded).node[0].output) == ["y", "mean", "var"]


def test_computed_shapes_are_evaluated(tmp_path):
    """Reshape to (batch, -1 // 2, 2) the way exporters write it, with an integer division."""
    constants = {"zero": 0, "two": 2, "axis": 0}
    nodes = [
        helper.make_node("Constant", [], [n], value=numpy_helper.from_array(np.array([v])))
        for n, v in constants.items()
    ]
    nodes += [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Slice", ["shape", "one", "two", "axis"], ["length"]),
        helper.make_node("Div", ["length", "two"], ["half"]),
        helper.make_node("Concat", ["batch", "half", "two"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    one = numpy_helper.from_array(np.array([1]), "one")
    model = model_of(nodes, [value("x", ["N", 6])], [value("y", ["N", "a", "b"])], [one])
    loaded = load_model(saved(tmp_path, model), {"x": [2, 6]})
    assert loaded.outputs == (Port("y", "float32", (2, 3, 2)),)
    graph = graph_of(loaded)
    assert [node.op_type for node in graph.node] == ["Reshape"]
    x = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(outputs(loaded.data, {"x": x})[0], x.reshape(2, 3, 2))


def test_a_value_too_large_to_exist(tmp_path):
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "shape")
    model = model_of(
        [helper.make_node("Expand", ["x", "shape"], ["y"], name="blow")],
        [value("x", [1, 1])],
        [value("y", ["a", "b"])],
        [shape],
    )
    assert refusal(saved(tmp_path, model)) == (
        '"y", a result of the Expand node "blow", has 1099511627776 elements [1048576, 1048576]\n'
        "  a value has at most 2147483647; look at the shapes under `inputs` of the spec."
    )

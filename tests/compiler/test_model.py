"""The loader: real models come through unchanged in meaning, hostile and damaged ones with a sentence each."""

import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from budgetc.lower.lowered import Port
from budgetc.model import load_model, parse_model
from budgetc_specs.errors import ModelError, SpecError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "specs/examples/mnist/mnist5k_cnn.onnx"
MODELS = {
    MNIST: ("input", [1, 1, 28, 28], 35994),
    ROOT / "specs/examples/animals/animalmnist_dscnn.onnx": ("input", [1, 1, 28, 28], 9622),
    ROOT / "tests/models/mlperf_tiny_resnet8_cifar10.onnx": ("input", [1, 32, 32, 3], 78666),
    ROOT / "tests/models/mlperf_tiny_dscnn_kws.onnx": ("input", [1, 50, 10, 1], 24908),
    ROOT / "tests/models/mlperf_tiny_mobilenet_vww.onnx": ("input", [1, 96, 96, 3], 221794),
    ROOT / "tests/models/mtcnn_rnet.onnx": ("input_2", [1, 24, 24, 3], 100178),
}
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


def matmul(initializer=None, batch=1):
    return model_of(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", [batch, 4])],
        [value("y", [batch, 3])],
        [initializer or weight()],
    )


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


@pytest.mark.parametrize("path", MODELS, ids=lambda p: p.stem)
def test_real_models(path):
    name, shape, parameters = MODELS[path]
    model = load_model(path, {name: shape})
    assert model.inputs == (Port(name, "float32", tuple(shape)),)
    assert (model.parameter_count, model.weight_bytes) == (parameters, 4 * parameters)
    graph = graph_of(model)
    assert all(node.name for node in graph.node)
    assert not any(node.op_type == "Constant" for node in graph.node)
    written = {v.name for v in (*graph.value_info, *graph.output)}
    assert {o for node in graph.node for o in node.output if o} <= written
    feeds = {name: np.random.default_rng(0).random(shape, np.float32)}
    for ours, theirs in zip(
        outputs(model.data, feeds), outputs(path.read_bytes(), feeds), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert parse_model(model.data, path) == model


def test_values(tmp_path):
    model = load_model(saved(tmp_path, matmul()))
    assert model.path == tmp_path / "m.onnx"
    assert model.outputs == (Port("y", "float32", (1, 3)),)
    assert (model.opset, model.parameter_count, model.weight_bytes) == (17, 12, 48)
    assert load_model(saved(tmp_path, matmul(), "other.onnx")).digest == model.digest
    assert "data=" not in repr(model)


# Dimensions.


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
    assert refusal(saved(tmp_path, model)) == 'the input "x" is [0, 4], which holds nothing'


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


# Normal form.


def test_initializers_leave_the_inputs_of_old_models(tmp_path):
    model = matmul()
    model.ir_version = 3
    model.opset_import[0].version = 9
    model.graph.input.append(value("w", [4, 3]))
    loaded = load_model(saved(tmp_path, model))
    assert [p.name for p in loaded.inputs] == ["x"]
    assert loaded.opset == 9
    with pytest.raises(SpecError, match=r"inputs\.w: the model has no input of this name"):
        load_model(tmp_path / "m.onnx", {"w": [4, 3]})


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({"value": weight("t", (3,))}, np.arange(3, dtype=np.float32)),
        ({"value_float": 2.5}, np.float32(2.5)),
        ({"value_floats": [1.0, 2.0, 3.0]}, np.array([1, 2, 3], np.float32)),
    ],
)
def test_constants_become_initializers(tmp_path, attribute, expected):
    model = model_of(
        [
            helper.make_node("Constant", [], ["c"], **attribute),
            helper.make_node("Mul", ["x", "c"], ["y"]),
        ],
        [value("x", [2, 3])],
        [value("y", [2, 3])],
    )
    graph = graph_of(load_model(saved(tmp_path, model)))
    assert [node.op_type for node in graph.node] == ["Mul"]
    assert [i.name for i in graph.initializer] == ["c"]
    np.testing.assert_array_equal(numpy_helper.to_array(graph.initializer[0]), expected)


def test_constants_in_branches_and_as_outputs(tmp_path):
    def branch(name, number):
        constant = helper.make_node("Constant", [], [f"{name}_c"], value_floats=[number, number])
        add = helper.make_node("Add", ["x", f"{name}_c"], [name])
        return helper.make_graph([constant, add], name, [], [value(name, [2])])

    model = model_of(
        [
            helper.make_node(
                "If", ["cond"], ["y"], then_branch=branch("a", 1.0), else_branch=branch("b", 2.0)
            ),
            helper.make_node("Constant", [], ["z"], value_floats=[7.0]),
        ],
        [value("x", [2]), value("cond", [], TensorProto.BOOL)],
        [value("y", [2]), value("z", [1])],
    )
    loaded = load_model(saved(tmp_path, model))
    graph = graph_of(loaded)
    assert [node.op_type for node in graph.node] == ["If", "Constant"]
    branches = [a.g for a in graph.node[0].attribute]
    assert [[n.op_type for n in b.node] for b in branches] == [["Add"], ["Add"]]
    feeds = {"x": np.zeros(2, np.float32), "cond": np.array(False)}
    y, z = outputs(loaded.data, feeds)
    assert (y.tolist(), z.tolist()) == ([2.0, 2.0], [7.0])


def test_functions_are_inlined(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    inner = helper.make_function(
        "local", "Inner", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], imports
    )
    outer = helper.make_function(
        "local",
        "Outer",
        ["a"],
        ["c"],
        [
            helper.make_node("Inner", ["a"], ["b"], domain="local"),
            helper.make_node("Neg", ["b"], ["c"]),
        ],
        imports,
    )
    model = model_of(
        [helper.make_node("Outer", ["x"], ["y"], domain="local")],
        [value("x", [2])],
        [value("y", [2])],
        functions=[inner, outer],
        domains=["local"],
    )
    loaded = load_model(saved(tmp_path, model))
    assert [node.op_type for node in graph_of(loaded).node] == ["Relu", "Neg"]


def test_a_function_that_calls_itself(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    call = helper.make_node("Loop", ["a"], ["b"], domain="local")
    function = helper.make_function("local", "Loop", ["a"], ["b"], [call], imports)
    model = model_of(
        [helper.make_node("Loop", ["x"], ["y"], domain="local")],
        [value("x", [2])],
        [value("y", [2])],
        functions=[function],
        domains=["local"],
    )
    assert refusal(saved(tmp_path, model)) == 'the model\'s function "Loop" calls itself'


def test_functions_that_double_at_every_level(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local", "F0", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], imports
        )
    ]
    for level in range(1, 40):
        calls = [
            helper.make_node(f"F{level - 1}", ["a"], ["c"], domain="local"),
            helper.make_node(f"F{level - 1}", ["c"], ["b"], domain="local"),
        ]
        functions.append(helper.make_function("local", f"F{level}", ["a"], ["b"], calls, imports))
    model = model_of(
        [helper.make_node("F39", ["x"], ["y"], domain="local")],
        [value("x", [2])],
        [value("y", [2])],
        functions=functions,
        domains=["local"],
    )
    assert refusal(saved(tmp_path, model)) == (
        f"the model's functions expand to {2**39} nodes\n  at most 1000000 are read."
    )


def test_functions_that_go_too_deep(tmp_path):
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    functions = [
        helper.make_function(
            "local",
            f"F{level}",
            ["a"],
            ["b"],
            [helper.make_node(f"F{level - 1}", ["a"], ["b"], domain="local")],
            imports,
        )
        for level in range(1, 3000)
    ]
    model = model_of(
        [helper.make_node("F2999", ["x"], ["y"], domain="local")],
        [value("x", [2])],
        [value("y", [2])],
        functions=functions,
        domains=["local"],
    )
    text = "the model's functions call one another hundreds of levels deep"
    assert refusal(saved(tmp_path, model)) == text


def test_nodes_get_names_of_their_own(tmp_path):
    model = model_of(
        [
            helper.make_node("Relu", ["x"], ["a"], name="act"),
            helper.make_node("Relu", ["a"], ["b"], name="act"),
            helper.make_node("Relu", ["b"], ["y"]),
        ],
        [value("x", [2])],
        [value("y", [2])],
    )
    names = [n.name for n in graph_of(load_model(saved(tmp_path, model))).node]
    assert names == ["act", "act_1", "Relu_2"]


# What is refused.


def test_foreign_operators(tmp_path):
    model = model_of(
        [helper.make_node("Gelu", ["x"], ["y"], name="g", domain="com.microsoft")],
        [value("x", [2])],
        [value("y", [2])],
        domains=["com.microsoft"],
    )
    assert refusal(saved(tmp_path, model)).startswith(
        'the Gelu node "g" is of the domain "com.microsoft", not a standard ONNX operator\n'
        "  export the model with standard operators only;"
    )


def test_what_the_checker_refuses(tmp_path):
    model = matmul()
    model.graph.node[0].op_type = "MatMulOfTheFuture"
    text = refusal(saved(tmp_path, model))
    assert text.startswith("the ONNX checker refuses the model: ")
    assert "MatMulOfTheFuture" in text


def test_inputs_of_other_types(tmp_path):
    model = model_of(
        [helper.make_node("Identity", ["x"], ["y"])],
        [value("x", [2], TensorProto.STRING)],
        [value("y", [2], TensorProto.STRING)],
    )
    assert refusal(saved(tmp_path, model)) == (
        'the input "x" is not a tensor of numbers\n'
        "  sequences, maps, optional values and strings are not supported."
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "the file is empty"),
        (
            b"<html>not found</html>",
            "the file is not an ONNX model, or it is truncated\n  export or download it again.",
        ),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
            "the file is a pointer of Git LFS, not the model\n  fetch the model: git lfs pull",
        ),
        (b"\x08\x08", "the file holds no ONNX graph\n  export or download it again."),
    ],
)
def test_files_that_are_no_model(tmp_path, content, text):
    assert refusal(saved(tmp_path, content)) == text


def test_files_that_can_not_be_read(tmp_path):
    absent = tmp_path / "absent.onnx"
    text = "the model can not be read: No such file or directory\n  look at `model` in the spec."
    assert refusal(absent) == text
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe") == "the model is not a regular file"
    assert refusal(tmp_path) == "the model is not a regular file"
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(3 << 30)
    assert refusal(tmp_path / "huge") == (
        "the model has 3221225472 bytes\n  a model file holds at most 2 GiB (2147483647 bytes)."
    )


def test_every_truncation_is_one_sentence(tmp_path):
    whole = MNIST.read_bytes()
    for length in [1, 10, 100, 1000, *range(2000, len(whole), 7919), len(whole) - 1]:
        path = saved(tmp_path, whole[:length])
        with pytest.raises(ModelError):
            load_model(path, {"input": [1, 1, 28, 28]})


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    )
)
def test_flipped_bytes_load_or_are_refused(tmp_path, flips):
    data = bytearray(matmul().SerializeToString())
    for place, byte in flips:
        data[int(place * len(data))] = byte
    path = saved(tmp_path, bytes(data))
    try:
        load_model(path, {"x": [1, 4]})
    except (ModelError, SpecError) as error:
        assert str(error)


# Tensors that lie about themselves.


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda t: t.dims.__setitem__(0, 5),
            'the initializer "w" is FLOAT [5, 3], which takes 60 bytes, but has 48\n'
            "  the file is damaged or was written by a faulty tool; export the model again.",
        ),
        (
            lambda t: t.dims.__setitem__(0, 1 << 40),
            'the initializer "w" claims 13194139533312 bytes (FLOAT [1099511627776, 3])\n'
            "  a model holds at most 2 GiB (2147483647 bytes) with all its tensors.",
        ),
        (
            lambda t: t.dims.__setitem__(0, -4),
            'the initializer "w" has a negative dimension: [-4, 3]',
        ),
        (
            lambda t: setattr(t, "data_type", 99),
            'the initializer "w" has the element type 99, which ONNX does not define',
        ),
        (
            lambda t: t.float_data.append(1.0),
            'the initializer "w" has raw data beside or instead of its FLOAT values',
        ),
        (
            lambda t: (t.ClearField("raw_data"), t.float_data.extend([1.0] * 11)),
            'the initializer "w" is FLOAT [4, 3], which takes 12 values, but has 11\n'
            "  the file is damaged or was written by a faulty tool; export the model again.",
        ),
        (
            lambda t: (t.ClearField("raw_data"), t.int64_data.extend([1] * 12)),
            'the initializer "w" is FLOAT but has values in int64_data',
        ),
    ],
)
def test_tensors_are_measured_before_they_are_believed(tmp_path, change, text):
    tensor = weight()
    change(tensor)
    assert refusal(saved(tmp_path, matmul(tensor))) == text


def test_typed_and_packed_values_are_counted(tmp_path):
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    four_bits = helper.make_tensor("q", TensorProto.INT4, [3, 3], [1, -2, 3, -4, 5, -6, 7, -8, 0])
    zero = helper.make_tensor("z", TensorProto.INT4, [], [0])
    scale = helper.make_tensor("s", FLOAT, [], [0.5])
    model = model_of(
        nodes, [value("x", [1, 3])], [value("y", [1, 3])], [four_bits, scale, zero], opset=21, ir=10
    )
    loaded = load_model(saved(tmp_path, model))
    assert (loaded.parameter_count, loaded.weight_bytes) == (11, 10)


def test_attribute_tensors_are_measured_too(tmp_path):
    tensor = weight("t", (3,))
    tensor.dims[0] = 4
    model = model_of(
        [
            helper.make_node("Constant", [], ["c"], name="k", value=tensor),
            helper.make_node("Add", ["x", "c"], ["y"]),
        ],
        [value("x", [3])],
        [value("y", [3])],
    )
    assert refusal(saved(tmp_path, model)).startswith(
        'the attribute "value" of the Constant node "k" in the graph is FLOAT [4], '
        "which takes 16 bytes, but has 12"
    )


# External data.


def external(location, *, offset=None, length=None, shape=(4, 3)):
    tensor = TensorProto(name="w", data_type=FLOAT, dims=shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, entry in {"location": location, "offset": offset, "length": length}.items():
        if entry is not None:
            tensor.external_data.add(key=key, value=str(entry))
    return tensor


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "model"
    (inside / "deep").mkdir(parents=True)
    data = weight().raw_data
    (inside / "w.bin").write_bytes(data)
    (inside / "deep" / "w.bin").write_bytes(b"\0" * 8 + data)
    (tmp_path / "secret").write_bytes(data)
    return inside


def load_external(folder, *arguments, **options):
    return load_model(saved(folder, matmul(external(*arguments, **options))))


@pytest.mark.parametrize(
    "arguments",
    [
        {"location": "w.bin"},
        {"location": "w.bin", "offset": 0, "length": 48},
        {"location": "./deep//w.bin", "offset": 8},
    ],
)
def test_external_data_is_moved_into_the_model(folder, arguments):
    loaded = load_external(folder, **arguments)
    embedded = load_model(saved(folder, matmul()))
    assert loaded.data == embedded.data


def test_external_data_by_links_that_stay_inside(folder, tmp_path):
    (folder / "link").symlink_to("deep/w.bin")
    assert load_external(folder, "link", offset=8).weight_bytes == 48
    (folder / "hard").hardlink_to(folder / "w.bin")
    assert load_external(folder, "hard").weight_bytes == 48
    (tmp_path / "alias").symlink_to(folder)
    saved(folder, matmul(external("w.bin")))
    assert load_model(tmp_path / "alias" / "m.onnx").weight_bytes == 48
    (tmp_path / "m.onnx").symlink_to(folder / "m.onnx")
    assert load_model(tmp_path / "m.onnx").weight_bytes == 48


SAVE_SO = "\n  external data is a file in the model's folder, named relative to it; save it so."


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"location": "/etc/passwd"},
            ' has its data in "/etc/passwd", which is an absolute path' + SAVE_SO,
        ),
        (
            {"location": "C:\\weights"},
            ' has its data in "C:\\weights", which is an absolute path' + SAVE_SO,
        ),
        (
            {"location": "../secret"},
            ' has its data in "../secret", which leads upwards' + SAVE_SO,
        ),
        (
            {"location": "deep\\..\\..\\secret"},
            ' has its data in "deep\\..\\..\\secret", which leads upwards' + SAVE_SO,
        ),
        ({"location": ""}, " has external data without a usable location" + SAVE_SO),
        ({"location": "w\0"}, " has external data without a usable location" + SAVE_SO),
        (
            {"location": "absent"},
            ' has its data in "absent", which does not exist in {folder}\n'
            "  copy the file there; it is a part of the model.",
        ),
        (
            {"location": "w.bin", "offset": 8},
            " lies at bytes 8 to 56 of {folder}/w.bin, which has only 48\n"
            "  the file is truncated or belongs to another model; copy it again.",
        ),
        (
            {"location": "w.bin", "length": 8},
            " takes 48 bytes, but the model says that its external data has 8",
        ),
        ({"location": "w.bin", "offset": -1}, ' has external data with the offset "-1"'),
        (
            {"location": "w.bin", "offset": "9" * 30},
            f' has external data with the offset "{"9" * 30}"',
        ),
        (
            {"location": "w.bin", "shape": (1 << 40, 3)},
            " claims 13194139533312 bytes (FLOAT [1099511627776, 3])\n"
            "  a model holds at most 2 GiB (2147483647 bytes) with all its tensors.",
        ),
        ({"location": "deep"}, " has its data in {folder}/deep, which is not a regular file"),
        ({"location": "pipe"}, " has its data in {folder}/pipe, which is not a regular file"),
        (
            {"location": "soft"},
            ' has its data in "soft", which a symbolic link leads outside of {folder}\n'
            "  copy the file itself in the place of the link.",
        ),
        (
            {"location": "out/secret"},
            ' has its data in "out/secret", which a symbolic link leads outside of {folder}\n'
            "  copy the file itself in the place of the link.",
        ),
        (
            {"location": "hard"},
            " has its data in {folder}/hard, which is a hard link to a file outside of {folder}\n"
            '  make a copy of its own: cp "hard" copy && mv copy "hard"',
        ),
    ],
)
def test_external_data_is_contained(folder, arguments, text):
    os.mkfifo(folder / "pipe")
    (folder / "soft").symlink_to("../secret")
    (folder / "out").symlink_to("..")
    (folder / "hard").hardlink_to(folder.parent / "secret")
    path = saved(folder, matmul(external(**arguments)))
    assert refusal(path) == 'the initializer "w"' + text.replace("{folder}", str(folder))


def test_a_loop_of_links(folder):
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    path = saved(folder, matmul(external("a")))
    assert 'has its data in "a", which cannot be resolved' in refusal(path)


def test_bytes_can_not_point_to_files(folder):
    with pytest.raises(ModelError, match="has external data, but the model is not a file"):
        parse_model(matmul(external("w.bin")).SerializeToString(), "made by a pass")

"""The loader: real models come through unchanged in meaning, hostile and damaged ones with a sentence each."""

import contextlib
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
    assert [node.op_type for node in graph.node] == ["Add", "Add", "Where", "Constant"]
    assert len(graph.initializer) == 2
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
    assert names == ["act", "act_b", "y"]


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
    with contextlib.suppress(ModelError, SpecError):
        assert load_model(path, {"x": [1, 4]}).data

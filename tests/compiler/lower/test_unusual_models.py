"""Ordinary networks in unusual form, each made here, as a library beside onnxruntime."""

import shutil

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.model import load_model
from budgetc.verification.agreement import compare as compare_outputs
from budgetc.verification.rounding import tolerance
from onnx import TensorProto, external_data_helper, helper, numpy_helper, parser, version_converter


def weights(*shape, seed=0):
    scale = np.sqrt(np.prod(shape[1:]) or 1)
    return (np.random.default_rng(seed).standard_normal(shape) / scale).astype(np.float32)


NET = """g (float[N,3,H,W] image) => (float[N,5] scores) {
    a = Conv<pads=[1,1,1,1]>(image, w1, b1)
    b = Relu(a)
    c = Conv<strides=[2,2], pads=[1,1,1,1], group=6>(b, w2)
    n = BatchNormalization(c, gamma, beta, mean, variance)
    d = LeakyRelu<alpha=0.1>(n)
    p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)
    m = GlobalAveragePool(p)
    f = Flatten(m)
    scores = Gemm<transB=1>(f, w3, b3)
}"""
WEIGHTS = {
    "w1": weights(6, 3, 3, 3),
    "b1": weights(6),
    "w2": weights(6, 1, 3, 3, seed=1),
    "gamma": np.full(6, 1.5, np.float32),
    "beta": weights(6, seed=2),
    "mean": weights(6, seed=3),
    "variance": np.full(6, 0.5, np.float32),
    "w3": weights(5, 6, seed=4),
    "b3": weights(5, seed=5),
}
FIXED = NET.replace("[N,3,H,W]", "[1,3,12,12]").replace("[N,5]", "[1,5]")


def network(text=FIXED, opset=17, ir=9, **arrays):
    model = parser.parse_model(f'<ir_version: {ir}, opset_import: ["": {opset}]>\n{text}')
    arrays = arrays or WEIGHTS
    model.graph.initializer.extend(numpy_helper.from_array(a, n) for n, a in arrays.items())
    return model


@pytest.fixture
def check(tmp_path, build_library):
    """Loads a model as the product does, builds it and compares: `check(model, shapes, feeds)`."""

    def compare(model, shapes=None, feeds=None, *, path=None):
        if path is None:
            path = tmp_path / "model.onnx"
            path.write_bytes(model.SerializeToString())
        loaded = load_model(path, shapes)
        library = build_library(onnx.load_model_from_string(loaded.data))
        random = np.random.default_rng(7)
        feeds = feeds or {
            p.name: random.standard_normal(p.shape).astype(p.dtype) for p in loaded.inputs
        }
        theirs = make_session(onnx.load(path).SerializeToString()).run(feeds)
        ours = library.run(feeds)

        def samples(outputs):
            return {n: np.asarray(v)[None] for n, v in outputs.items()}

        allowed = tolerance(onnx.load_model_from_string(loaded.data))
        found = compare_outputs(samples(ours), samples(theirs), tolerance=allowed)
        assert found.agrees, str(found)
        return library

    return compare


def test_all_weights_as_constant_nodes(check):
    model = network()
    nodes = [
        helper.make_node("Constant", [], [t.name], value=t, name=f"c{i}")
        for i, t in enumerate(model.graph.initializer)
    ]
    nodes += list(model.graph.node)
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    library = check(model)
    assert "foreign" not in library.kernels


def test_weights_inside_of_a_branch(check):
    model = network()
    branch = onnx.GraphProto()
    branch.CopyFrom(model.graph)
    del branch.input[:]
    branch.name = "inside"
    other = helper.make_graph(
        [helper.make_node("Constant", [], ["none"], value=numpy_helper.from_array(weights(1, 5)))],
        "otherwise",
        [],
        [helper.make_tensor_value_info("none", TensorProto.FLOAT, [1, 5])],
    )
    nodes = [
        helper.make_node("Shape", ["image"], ["shape"]),
        helper.make_node("Size", ["shape"], ["rank"]),
        helper.make_node("Equal", ["rank", "four"], ["condition"]),
        helper.make_node("If", ["condition"], ["result"], then_branch=branch, else_branch=other),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        model.graph.input,
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(np.array(4, np.int64), "four")],
    )
    outer = helper.make_model(graph, opset_imports=model.opset_import, ir_version=9)
    library = check(outer)
    assert "foreign" not in library.kernels


@pytest.mark.parametrize("shape", [[1, 3, 12, 12], [2, 3, 20, 9]])
def test_free_batch_height_and_width(check, shape):
    check(network(NET), {"image": shape})


def test_arithmetic_on_free_shapes(check):
    text = """g (float[N,3,H,W] image) => (float[N,K] y)
        <int64 zero = {0}, int64 three = {3}, int64 two = {2}, int64[1] first = {0}, int64[1] none = {-1}> {
    s = Shape(image)
    n = Gather<axis=0>(s, zero)
    h = Gather<axis=0>(s, two)
    w = Gather<axis=0>(s, three)
    half = Div(h, two)
    halves = Unsqueeze(half, first)
    whole = Unsqueeze(w, first)
    back = Concat<axis=0>(halves, whole)
    count = Shape<start=0, end=2>(image)
    size = Concat<axis=0>(count, back)
    r = Resize<mode="nearest">(image, , , size)
    pad = ConstantOfShape<value=int64[1]{0}>(count)
    n1 = Unsqueeze(n, first)
    target = Concat<axis=0>(n1, none)
    y0 = Reshape(r, target)
    ones = ConstantOfShape<value=float[1]{1}>(n1)
    grown = Unsqueeze(ones, axis)
    shape_of_y = Shape(y0)
    tall = Expand(grown, shape_of_y)
    y = Add(y0, tall)
}"""
    model = network(text, axis=np.array([1], np.int64))
    library = check(model, {"image": [2, 3, 8, 6]})
    assert library.model.inputs[0].shape == (2, 3, 8, 6)
    kinds = {n.op_type for n in onnx.load_model_from_string(library.model.data).graph.node}
    assert not kinds & {"Shape", "Gather", "Div", "Concat"}


def test_integer_inputs(check):
    text = """g (int64[1,7] words) => (float[1,7,4] y) {
    e = Gather<axis=0>(table, words)  m = MatMul(e, w)  y = Relu(m) }"""
    model = network(text, table=weights(50, 8), w=weights(8, 4))
    check(model, feeds={"words": np.array([[0, 1, 49, 3, 3, 7, 20]], np.int64)})


def test_an_old_opset_with_channels_last(check):
    text = """g (float[1,12,12,3] image) => (float[1,6,6,6] y) {
    t = Transpose<perm=[0,3,1,2]>(image)
    a = Conv<pads=[1,1,1,1]>(t, w1, b1)
    u = Transpose<perm=[0,2,3,1]>(a)
    v = Relu(u)
    w = Transpose<perm=[0,3,1,2]>(v)
    c = Conv<strides=[2,2], pads=[1,1,1,1], group=6>(w, w2)
    y = Transpose<perm=[0,2,3,1]>(c)
}"""
    arrays = {n: WEIGHTS[n] for n in ("w1", "b1", "w2")}
    library = check(network(text, 9, 4, **arrays))
    assert "foreign" not in library.kernels


def test_external_data(check, tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    model = network()
    external_data_helper.convert_model_to_external_data(
        model, all_tensors_to_one_file=True, location="weights.bin", size_threshold=0
    )
    onnx.save(model, folder / "model.onnx")
    assert (folder / "weights.bin").stat().st_size > 0
    check(None, path=folder / "model.onnx")


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])
def test_every_operator_set(check, opset):
    converted = version_converter.convert_version(network(opset=9), opset)
    converted.ir_version = 4 if opset < 12 else 9 if opset < 21 else 10
    assert converted.opset_import[0].version == opset
    library = check(converted)
    assert "foreign" not in library.kernels


def test_an_optional_input_is_left_out(check):
    text = """g (float[1,3,12,12] x) => (float[1,3,12,12] y) <float top = {0.5}> {
    y = Clip(x, , top) }"""
    check(network(text, unused=weights(1)))


def test_parts_that_hold_nothing(check):
    text = """g (float[2,3] x) => (float[2,3] y) <int64[1] s = {3}, int64[1] e = {3}, int64[1] a = {1}> {
    none = Slice(x, s, e, a)  more = Relu(none)  c = Concat<axis=1>(more, x, none)  y = Neg(c) }"""
    check(network(text, unused=weights(1)))


@pytest.mark.slow
def test_more_than_200_megabytes(check):
    """Four matrices of 64 MiB: what is embedded is not copied too often, nor compiled for long."""
    text = """g (float[1,4096] x) => (float[1,4096] y) {
    a = MatMul(x, w0)  b = Relu(a)  c = MatMul(b, w1)  d = Relu(c)  e = MatMul(d, w2)  f = Relu(e)
    y = MatMul(f, w3) }"""
    matrix = np.random.default_rng(0).standard_normal((4096, 4096), np.float32) / np.float32(64)
    model = network(text, **{f"w{i}": np.roll(matrix, i, axis=0) for i in range(4)})
    assert model.ByteSize() > 200e6
    library = check(model)
    assert library.lowered.weight_bytes > 200e6
    shutil.rmtree(library.folder)  # a gigabyte

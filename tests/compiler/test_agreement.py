"""The differential check: rounding passes, a wrong number anywhere does not."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.baseline import make_session, run_over
from budgetc.data import load_data
from budgetc.measure.agreement import (
    compare_float,
    compare_integer,
    output_steps,
    reduction_length,
)
from budgetc.model import load_model
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 10, (200, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def mnist():
    model = load_model(ROOT / "specs/examples/mnist/mnist5k_cnn.onnx", {"input": [1, 1, 28, 28]})
    data = load_data(ROOT / "specs/examples/mnist/evaluation.npz", model)
    return model, run_over(make_session(model.data).run, data, limit=200), data


def test_two_optimisation_levels_of_onnxruntime_agree(mnist):
    model, reference, data = mnist
    plain = run_over(make_session(model.data, optimisation="none").run, data, limit=200)
    agreement = compare_float(plain, reference, reductions=reduction_length(model.data))
    assert agreement.agrees
    assert agreement.outputs[0].top1 == 1
    assert 0 < agreement.outputs[0].largest < agreement.outputs[0].tolerance < 1e-4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: y.__setitem__((17, 3), y[17, 3] + 1e-4 * np.abs(y[17]).max() * 1.1),
        lambda y: y.__setitem__((17, 3), np.nan),
        lambda y: y.__setitem__((17, 3), np.inf),
        lambda y: y.__setitem__(17, y[16]),
        lambda y: y.__setitem__(17, 0),
    ],
)
def test_one_wrong_number_is_found_and_named(mnist, spoil):
    model, reference, _ = mnist
    ours = reference["logits"].copy()
    spoil(ours)
    agreement = compare_float({"logits": ours}, reference, reductions=reduction_length(model.data))
    assert not agreement.agrees
    assert agreement.outputs[0].worst_sample == 17
    assert str(agreement).startswith("logits: differs, by at most ")


def test_no_model_is_long_enough_for_a_loose_check():
    ours = {"y": LOGITS + np.abs(LOGITS).max(axis=1, keepdims=True) * np.float32(1.2e-4)}
    assert not compare_float(ours, {"y": LOGITS}, reductions=10**12).agrees


def test_tiny_samples_are_held_against_typical_ones():
    reference = np.where(np.arange(200)[:, None] == 5, 1e-9, LOGITS).astype(np.float32)
    ours = reference.copy()
    ours[5] += 1e-7
    assert compare_float({"y": ours}, {"y": reference}, reductions=100).agrees


def test_whole_numbers_must_be_the_same():
    reference = {"y": np.arange(20, dtype=np.int64).reshape(10, 2)}
    assert compare_float(reference, reference, reductions=1).agrees
    ours = {"y": reference["y"] + (np.arange(10) == 3)[:, None]}
    agreement = compare_float(ours, reference, reductions=1)
    assert not agreement.agrees
    assert agreement.outputs[0].worst_sample == 3
    assert agreement.outputs[0].identical == 0.9


def test_every_output_counts():
    reference = {"a": LOGITS, "b": LOGITS}
    agreement = compare_float({"a": LOGITS, "b": -LOGITS}, reference, reductions=100)
    assert [o.agrees for o in agreement.outputs] == [True, False]
    assert not agreement.agrees
    with pytest.raises(AssertionError, match=r"BUG: the output 'b' is missing"):
        compare_float({"a": LOGITS}, reference, reductions=100)


STEP = 0.25


def quantised(samples=1000):
    levels = np.random.default_rng(3).integers(0, 256, (samples, 10))
    return (levels * STEP).astype(np.float32)


def test_a_step_here_and_there_agrees():
    oracle = quantised()
    ours = oracle + STEP * np.random.default_rng(4).choice(
        [-1, 0, 1], oracle.shape, p=[0.02, 0.96, 0.02]
    ).astype(np.float32)
    agreement = compare_integer({"y": ours}, {"y": oracle}, steps={"y": STEP})
    assert agreement.agrees
    assert agreement.outputs[0].largest == 1
    assert 0.5 < agreement.outputs[0].identical < 0.8


def test_identical_outputs():
    oracle = {"y": quantised()}
    output = compare_integer(oracle, oracle, steps={"y": STEP}).outputs[0]
    assert (output.agrees, output.largest, output.identical, output.top1) == (True, 0, 1, 1)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: np.concatenate([y[:975], y[975:, ::-1]]),  # 2.5 % of the samples are wrong
        lambda y: y + 6 * STEP,  # a bias: the places are right, the values are not
        lambda y: y * 1.1,
        lambda y: np.where(np.arange(1000)[:, None] == 5, np.nan, y),
    ],
)
def test_wrong_integers_are_found(spoil):
    oracle = quantised()
    ours = spoil(oracle).astype(np.float32)
    assert not compare_integer({"y": ours}, {"y": oracle}, steps={"y": STEP}).agrees


def test_float_behind_the_last_integer_is_judged_by_places():
    logits = quantised() / 16
    softmax = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    moved = logits + STEP / 16
    moved[:, 0] -= STEP / 16
    ours = np.exp(moved) / np.exp(moved).sum(axis=1, keepdims=True)
    assert compare_integer({"y": ours}, {"y": softmax}, steps={}).agrees
    assert not compare_integer({"y": softmax[:, ::-1]}, {"y": softmax}, steps={}).agrees


def quantised_model(*, behind=None):
    tensors = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [STEP]),
        helper.make_tensor("z", TensorProto.UINT8, [], [3]),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d" if behind else "y"]),
    ]
    if behind:
        nodes.append(helper.make_node(behind, ["d"], ["y"]))
    value = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:], tensors)
    imports = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=imports).SerializeToString()


def test_output_steps():
    assert output_steps(quantised_model()) == {"y": STEP}
    assert output_steps(quantised_model(behind="Flatten")) == {"y": STEP}
    assert output_steps(quantised_model(behind="Softmax")) == {}


def test_reduction_length(mnist):
    """Convolutions of 1, 16, 16, 32, 32 channels by 3 x 3, and a dense layer: read off the weights."""
    model, _, _ = mnist
    import onnx

    graph = onnx.load_model_from_string(model.data).graph
    dims = {i.name: tuple(i.dims) for i in graph.initializer}
    expected = 0
    for node in graph.node:
        if node.op_type == "Conv":
            expected += int(np.prod(dims[node.input[1]][1:]))
        elif node.op_type == "Gemm":
            expected += max(dims[node.input[1]])
    assert reduction_length(model.data) == expected > 100


def test_every_step_of_a_recurrent_layer_counts():
    from onnx import parser

    model = parser.parse_model("""<ir_version: 9, opset_import: ["": 17]>
        g (float[5,1,3] x, float[1,12,3] w, float[1,12,4] r) => (float[5,1,1,4] y)
        { y = GRU<hidden_size=4>(x, w, r) }""")
    assert reduction_length(model.SerializeToString()) == 5 * (3 + 4)

"""The comparison: rounding passes, a wrong number anywhere does not."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session, run_over
from budgetc.data import load_data
from budgetc.model import load_model
from budgetc.verification.agreement import compare, output_steps
from budgetc.verification.rounding import bound, tolerance
from onnx import TensorProto, helper

ROOT = Path(__file__).parents[3]
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(0, 10, (200, 10)).astype(np.float32)


@pytest.fixture(scope="module")
def mnist():
    model = load_model(ROOT / "specs/examples/mnist/mnist5k_cnn.onnx", {"input": [1, 1, 28, 28]})
    data = load_data(ROOT / "specs/examples/mnist/evaluation.npz", model)
    allowed = tolerance(onnx.load_model_from_string(model.data))
    return model, run_over(make_session(model.data).run, data, limit=200), data, allowed


def test_two_optimisation_levels_of_onnxruntime_agree(mnist):
    model, reference, data, allowed = mnist
    plain = run_over(make_session(model.data, optimisation="none").run, data, limit=200)
    agreement = compare(plain, reference, tolerance=allowed)
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
    _, reference, _, allowed = mnist
    ours = reference["logits"].copy()
    spoil(ours)
    agreement = compare({"logits": ours}, reference, tolerance=allowed)
    assert not agreement.agrees
    assert agreement.beyond == (17,)
    assert agreement.outputs[0].worst_sample == 17
    assert str(agreement).startswith("logits: differs, by at most ")


def test_tiny_samples_are_held_against_typical_ones():
    reference = np.where(np.arange(200)[:, None] == 5, 1e-9, LOGITS).astype(np.float32)
    ours = reference.copy()
    ours[5] += 1e-7
    assert compare({"y": ours}, {"y": reference}, tolerance=bound(100)).agrees


def test_not_finite_values_must_be_the_same_and_do_not_widen_the_rest():
    reference = LOGITS.copy()
    reference[3, 0], reference[4, 0], reference[5, 0] = np.nan, np.inf, -np.inf
    assert compare({"y": reference.copy()}, {"y": reference}, tolerance=1e-6).agrees
    for sample, value in ((3, 0.0), (4, -np.inf), (5, np.nan)):
        ours = reference.copy()
        ours[sample, 0] = value
        assert compare({"y": ours}, {"y": reference}, tolerance=1e-6).beyond == (sample,)
    ours = reference.copy()
    ours[4, 1] += 1
    assert compare({"y": ours}, {"y": reference}, tolerance=1e-6).beyond == (4,)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int8, np.bool_])
def test_whole_numbers_must_be_the_same(dtype):
    reference = {"y": np.arange(20).reshape(10, 2).astype(dtype)}
    assert compare(reference, reference, tolerance=1).agrees
    ours = {"y": np.where(np.arange(10)[:, None] == 3, 0, reference["y"]).astype(dtype)}
    agreement = compare(ours, reference, tolerance=1)
    assert not agreement.agrees
    assert agreement.outputs[0].worst_sample == 3
    assert agreement.outputs[0].identical == 0.9


def test_large_whole_numbers_are_not_compared_as_reals():
    reference = np.full((1, 1), 2**63 - 1, np.int64)
    assert compare({"y": reference - 1}, {"y": reference}, tolerance=1).outputs[0].largest == 1


def test_every_output_counts():
    reference = {"a": LOGITS, "b": LOGITS}
    agreement = compare({"a": LOGITS, "b": -LOGITS}, reference, tolerance=1e-5)
    assert [o.agrees for o in agreement.outputs] == [True, False]
    assert not agreement.agrees
    with pytest.raises(AssertionError, match=r"BUG: the output 'b' is missing"):
        compare({"a": LOGITS}, reference, tolerance=1e-5)


def test_a_dequantised_integer_is_held_to_every_bit():
    step = 0.25
    oracle = (RNG.integers(0, 256, (100, 10)) * step).astype(np.float32)
    ours = oracle.copy()
    ours[7, 2] += step
    output = compare({"y": ours}, {"y": oracle}, tolerance=1, steps={"y": step}).outputs[0]
    assert (output.agrees, output.largest, output.beyond) == (False, 1, (7,))
    output = compare({"y": oracle}, {"y": oracle}, tolerance=1, steps={"y": step}).outputs[0]
    assert (output.agrees, output.largest, output.identical, output.top1) == (True, 0, 1, 1)


def test_steps_are_those_of_dequantised_outputs():
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["d"]),
        helper.make_node("Reshape", ["d", "shape"], ["y"]),
        helper.make_node("Relu", ["d"], ["r"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4])],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 2]) for n in ("y", "r")],
        [
            helper.make_tensor("s", TensorProto.FLOAT, [], [0.5]),
            helper.make_tensor("z", TensorProto.UINT8, [], [3]),
            helper.make_tensor("shape", TensorProto.INT64, [2], [2, 2]),
        ],
    )
    assert output_steps(helper.make_model(graph)) == {"y": 0.5}

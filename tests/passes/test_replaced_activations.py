"""Tests of cheaper activations."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.architecture.activations import ReplaceActivations, activations
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import Evidence, PassError
from budgetc_passes.fusion.fuse import Fuse

from .conftest import compare, execute, parse_model

WIDTH = 8
CONSTANTS = {"root": 2.0**0.5, "half": 0.5, "one": 1.0}

FORMS = {
    "silu": ("s = Sigmoid (a) [act] f = Mul (a, s)", "Relu"),
    "gelu": ("d = Div (a, root) e = Erf (d) p = Add (e, one) m = Mul (a, p) [act] f = Mul (m, half)", "Relu"),
    "mish": ("p = Softplus (a) t = Tanh (p) [act] f = Mul (a, t)", "Relu"),
    "elu": ("[act] f = Elu (a)", "Relu"),
    "softplus": ("[act] f = Softplus (a)", "Relu"),
    "logistic": ("[act] f = Sigmoid (a)", "HardSigmoid"),
    "tangent": ("[act] f = Tanh (a)", "Clip"),
}  # fmt: skip


def network(form, opset=17):
    random = np.random.default_rng(0)
    held = {name: np.float32(value) for name, value in CONSTANTS.items() if name in form}
    return parse_model(
        f"g (float[4,3] x) => (float[4,5] y) {{ a = MatMul (x, w) {form} [last] y = MatMul (f, v) }}",
        opset,
        w=random.normal(size=(3, WIDTH)).astype("f4"),
        v=random.normal(size=(WIDTH, 5)).astype("f4"),
        **held,
    )


def samples(count=64):
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(4, 3)).astype("f4")} for _ in range(count)]


def replaced(model, evidence, **options):
    fresh = Evidence(evidence.capability, samples)
    result = ReplaceActivations(**options).run(ir.from_proto(model), fresh)
    after = ir.to_proto(result.model)
    onnx.checker.check_model(after, full_check=True)
    return after, result.notes


def error(model, other):
    """Part of the variance that is missed on samples of their own."""
    random = np.random.default_rng(2)
    feeds = [{"x": random.normal(size=(4, 3)).astype("f4")} for _ in range(32)]
    wanted, got = (np.concatenate([execute(m, f)["y"] for f in feeds]) for m in (model, other))
    return float(((got - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_known_by_what_it_does(evidence, form):
    text, op_type = FORMS[form]
    model = network(text)
    after, notes = replaced(model, evidence)
    assert [node.op_type for node in after.graph.node] == ["MatMul", op_type, "MatMul"]
    assert [note.text for note in notes] == [f"made a {op_type}; fitted last"]
    kept, _ = replaced(model, evidence, method="keep")
    assert error(model, after) < min(0.3, 0.9 * error(model, kept))


def test_hard_swish_comes_nearer(evidence):
    model = network(FORMS["silu"][0])
    after, _ = replaced(model, evidence, to="hardswish")
    assert [node.op_type for node in after.graph.node] == ["MatMul", "HardSwish", "MatMul"]
    assert error(model, after) < 0.3 * error(model, replaced(model, evidence)[0])


@pytest.mark.parametrize(
    ("form", "to", "opset", "wanted"),
    [
        ("silu", "hardswish", 13, ["HardSigmoid", "Mul"]),
        ("tangent", "relu", 10, ["Clip"]),
        ("logistic", "relu", 9, ["HardSigmoid"]),
    ],
)
def test_old_operator_sets(evidence, form, to, opset, wanted):
    model = network(FORMS[form][0], opset)
    after, _ = replaced(model, evidence, to=to)
    assert [node.op_type for node in after.graph.node] == ["MatMul", *wanted, "MatMul"]
    assert error(model, after) < 0.1


def test_a_convolution_is_fitted_with_one_matrix_for_its_taps(evidence):
    random = np.random.default_rng(0)
    model = parse_model(
        """g (float[1,3,8,8] x) => (float[1,5,8,8] y)
           { a = Conv (x, w) [act] f = Elu (a) [last] y = Conv <pads = [1,1,1,1]> (f, v) }""",
        w=random.normal(size=(WIDTH, 3, 1, 1)).astype("f4"),
        v=random.normal(size=(5, WIDTH, 3, 3)).astype("f4"),
    )
    images = [{"x": random.normal(size=(1, 3, 8, 8)).astype("f4")} for _ in range(32)]
    known = Evidence(evidence.capability, lambda: images)
    fitted, kept = (
        ir.to_proto(ReplaceActivations(method=method).run(ir.from_proto(model), known).model)
        for method in ("fit", "keep")
    )
    wanted = np.concatenate([execute(model, each)["y"] for each in images])
    off = [
        float(((np.concatenate([execute(m, s)["y"] for s in images]) - wanted) ** 2).sum())
        for m in (fitted, kept)
    ]
    assert off[0] < 0.5 * off[1]


def test_networks_of_cheap_activations_stay_as_they_are(apply, real):
    done = apply(real("mlperf_tiny_resnet8_cifar10"), Clean(), Fuse())
    again = apply(done.after, ReplaceActivations())
    assert not again.modified
    assert again.notes == ()


def test_what_several_read_is_replaced_and_nobody_fitted(evidence):
    model = network(FORMS["silu"][0].replace("Mul (a, s)", "Mul (a, s) q = MatMul (f, v)"))
    after, notes = replaced(model, evidence)
    assert [note.text for note in notes] == ["made a Relu"]
    held = {i.name: onnx.numpy_helper.to_array(i) for i in after.graph.initializer}
    before = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    np.testing.assert_array_equal(held["v"], before["v"])


def test_an_output_keeps_its_name(apply, parse):
    model = parse("g (float[4,3] x) => (float[4,3] y) { [act] y = Sigmoid (x) }")
    done = apply(model, ReplaceActivations(method="keep"))
    assert done.ops == ["HardSigmoid"]
    assert done.after.graph.output[0].name == "y"


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (
            "[act] f = Exp (a)",
            "it is 9.36e-14 at -30 and 1.07e+13 at 30, like none of the cheap ones",
        ),
        (
            "e = Elu (a) [act] f = Neg (e)",
            "it is 1 at -30 and -30 at 30, like none of the cheap ones",
        ),
    ],
)
def test_functions_that_are_like_none(evidence, form, reason):
    _, notes = replaced(network(form), evidence)
    assert [note.text for note in notes] == [f"left as it is: {reason}"]


@pytest.mark.parametrize(
    "form",
    [
        "[act] f = Relu (a)",
        "[act] f = LeakyRelu (a)",
        "s = Softmax (a) [act] f = Mul (s, s)",
        "b = MatMul (x, w) s = Sigmoid (b) [act] f = Mul (a, s)",
    ],
)
def test_what_is_no_costly_function_of_one_tensor(form):
    found = {each.name for each in activations(ir.from_proto(network(form)))}
    assert "act" not in found


def test_what_it_computes_is_what_onnxruntime_does():
    for text, _ in FORMS.values():
        model = network(text)
        (activation,) = activations(ir.from_proto(model))
        shown = onnx.ModelProto.FromString(model.SerializeToString())
        for name in ("a", "f"):
            shown.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, [4, WIDTH]))
        got = execute(shown, samples()[0])
        compare(activation(got["a"].reshape(-1)).reshape(4, WIDTH), got["f"], relative=1e-6)


def test_an_activation_that_is_not_there(evidence):
    with pytest.raises(
        PassError, match="nodes names 'act1', which the model lacks; did you mean 'act'"
    ):
        replaced(network(FORMS["elu"][0]), evidence, nodes="act1")


@pytest.mark.parametrize(
    ("options", "message"),
    [({"to": "swish"}, '"relu" or "hardswish"'), ({"method": "guess"}, '"fit" or "keep"')],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        ReplaceActivations(**options)

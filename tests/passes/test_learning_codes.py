"""Codes that gradients pass through: the numbers of onnxruntime's QuantizeLinear, and gradients by the formula."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
from budgetc_passes.learning.codes import coded_weight, round_through  # noqa: E402  it needs torch
from budgetc_passes.learning.differentiable import Net  # noqa: E402

PAIR = """g (float[2,5] x, float s, {kind} z) => (float[2,5] y) {{
    q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }}"""

LAYER = """g (float[1,4] x, float s, uint8 z, int8[3,4] w, float[3] t, int32[3] b, float[3] u)
    => (float[1,3] y) {
        q = QuantizeLinear (x, s, z)
        d = DequantizeLinear (q, s, z)
        e = DequantizeLinear <axis = 0> (w, t)
        f = DequantizeLinear <axis = 0> (b, u)
        y = Gemm <transB = 1> (d, e, f)
    }"""


def layer(parse):
    random = np.random.default_rng(0)
    steps = random.uniform(0.01, 0.02, 3).astype("f4")
    return parse(
        LAYER,
        s=np.float32(0.05),
        z=np.uint8(120),
        w=np.array([[64, -3, 5, 0], [9, -64, 1, 2], [3, 4, -5, 64]], np.int8),
        t=steps,
        b=np.array([100, -200, 300], np.int32),
        u=np.float32(0.05) * steps,
    )


@pytest.mark.parametrize("kind", ["uint8", "int8"])
@pytest.mark.parametrize("scale", [0.1, 0.01, 3.0])
def test_pairs_round_and_saturate_as_onnxruntime_does(parse, ort, kind, scale):
    zero = np.array(7, kind)
    model = parse(PAIR.format(kind=kind), s=np.float32(scale), z=zero)
    ties = (np.arange(10, dtype="f4").reshape(2, 5) - 4.5) * np.float32(scale)
    random = np.random.default_rng(0)
    net = Net(ir.from_proto(model)).eval()
    for x in (ties, *(random.normal(0, 20 * scale, (2, 5)).astype("f4") for _ in range(20))):
        made = net({"x": torch.from_numpy(x[None])}, ["y"])["y"].numpy()[0]
        np.testing.assert_array_equal(made, ort(model, {"x": x})["y"])


def test_a_scale_for_each_channel(in_torch, parse):
    text = """g (float[2,3,4] x, float[3] s, uint8[3] z) => (float[2,3,4] y) {
        q = QuantizeLinear <axis = 1> (x, s, z)  y = DequantizeLinear <axis = 1> (q, s, z) }"""
    scales = np.array([0.02, 0.1, 0.5], "f4")
    in_torch(parse(text, s=scales, z=np.array([0, 100, 255], np.uint8)))


def test_layers_of_codes(in_torch, parse):
    in_torch(layer(parse))


def test_gradients_pass_within_the_range_and_learn_the_step():
    x = torch.tensor([0.26, 1.9, -7.0, 300.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    made = round_through(torch.clamp(x / scale, -3.0, 5.0)) * scale
    torch.autograd.backward(made.sum())
    np.testing.assert_allclose(made.detach(), [0.5, 2.0, -1.5, 2.5])
    np.testing.assert_allclose(x.grad, [1, 1, 0, 0])
    inside = sum(np.rint(v / 0.5) - v / 0.5 for v in (0.26, 1.9))
    assert float(scale.grad) == pytest.approx(inside - 3 + 5, rel=1e-4)


def test_what_codes_are_trained_as(parse):
    model = ir.from_proto(layer(parse))
    weight, bias = (
        coded_weight(node, 17) for node in model.graph if node.outputs[0].name in {"e", "f"}
    )
    assert (weight.least, weight.most) == (-64, 64), "as many bits as were used"
    assert weight.factors == ()
    assert [value.name for value in bias.factors] == ["s", "t"]
    assert [coded_weight(node, 17) for node in model.graph][:2] == [None, None]


def train(net, steps=20):
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    x = torch.from_numpy(np.random.default_rng(5).normal(size=(16, 1, 4)).astype("f4"))
    for _ in range(steps):
        loss = (net({"x": x}, ["y"])["y"] - 1).square().mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()


@pytest.mark.parametrize("scales", [False, True])
def test_what_was_trained_is_what_onnxruntime_computes(parse, in_torch, ort, scales):
    model = ir.from_proto(layer(parse))
    net = Net(model, scales=scales)
    assert list(net.weights) == (["s", "t", "w", "b"] if scales else ["w", "b"])
    train(net)
    changed = set(net.write(model))
    assert changed == ({"s", "t", "u", "w", "b"} if scales else {"w", "b"})
    after = ir.to_proto(model)
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in after.graph.initializer}
    assert stored["w"].dtype == np.int8
    assert np.abs(stored["w"].astype(int)).max() <= 64
    assert stored["b"].dtype == np.int32
    np.testing.assert_allclose(stored["u"], stored["s"] * stored["t"], rtol=1e-6)
    x = np.random.default_rng(6).normal(size=(1, 1, 4)).astype("f4")
    with torch.no_grad():
        made = net.eval()({"x": torch.from_numpy(x)}, ["y"])["y"].numpy()[0]
    np.testing.assert_allclose(made, ort(after, {"x": x[0]})["y"], rtol=1e-5, atol=1e-6)
    in_torch(after)


def test_codes_read_by_two_steps_stay(parse):
    text = """g (float[1,4] x, int8[4] w, float s, float t) => (float[1,4] y) {
        a = DequantizeLinear (w, s)  b = DequantizeLinear (w, t)
        c = Mul (x, a)  y = Mul (c, b) }"""
    codes = np.array([1, 2, -3, 4], np.int8)
    model = parse(text, w=codes, s=np.float32(0.5), t=np.float32(0.25))
    assert list(Net(ir.from_proto(model)).weights) == []

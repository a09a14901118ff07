"""A graph as a torch module: the same outputs, and weights that come back alone."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import PassError
from budgetc_passes.fusion.fuse import Fuse

torch = pytest.importorskip("torch")
from budgetc_passes.learning.differentiable import Net  # noqa: E402  it needs torch

TWO_LAYERS = """g (float[1,4] x, float[6,4] w, float[6] b, float[6,3] v) => (float[1,3] y) {
    a = Gemm <transB = 1> (x, w, b)
    c = Relu (a)
    y = MatMul (c, v)
}"""


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.fixture
def two_layers(parse):
    return parse(TWO_LAYERS, w=noise(6, 4), b=noise(6), v=noise(6, 3))


def train(net, *, steps=3, shape=(1, 4)):
    """Move all weights a little, towards outputs of one."""
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    x = torch.from_numpy(noise(8, *shape, seed=9))
    for _ in range(steps):
        (made,) = net({"x": x}, ["y"]).values()
        loss = (made - 1).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def frame(model):
    """A model without what its initializers hold."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for item in copy.graph.initializer:
        kept = item.name, item.data_type, list(item.dims)
        item.Clear()
        item.name, item.data_type = kept[:2]
        item.dims.extend(kept[2])
    return copy.SerializeToString()


def test_real_models(apply, real, real_name, in_torch):
    in_torch(apply(real(real_name), Clean()).after)


def test_real_models_after_fusion(apply, real, real_name, in_torch):
    in_torch(apply(real(real_name), Clean(), Fuse()).after)


def test_only_initializers_come_back(two_layers):
    model = ir.from_proto(two_layers)
    before = ir.to_proto(model)
    net = Net(model)
    assert list(net.weights) == ["w", "b", "v"]
    train(net.train())
    assert net.write(model) == ("w", "b", "v")
    after = ir.to_proto(model)
    assert frame(after) == frame(before)
    assert after.SerializeToString() != before.SerializeToString()


def test_what_comes_back_computes_what_was_trained(two_layers, in_torch, ort):
    model = ir.from_proto(two_layers)
    net = Net(model)
    train(net.train())
    net.write(model)
    x = noise(1, 1, 4, seed=5)
    with torch.no_grad():
        made = net.eval()({"x": torch.from_numpy(x)}, ["y"])["y"].numpy()[0]
    np.testing.assert_allclose(made, ort(ir.to_proto(model), {"x": x[0]})["y"], rtol=1e-5)


def test_nothing_comes_back_from_what_was_not_trained(apply, real, real_name):
    model = ir.from_proto(apply(real(real_name), Clean()).after)
    assert Net(model).write(model) == ()


def test_weights_that_are_zero_stay_zero(parse):
    weight = noise(6, 4)
    weight[::2, 1] = 0
    model = ir.from_proto(parse(TWO_LAYERS, w=weight, b=np.zeros(6, "f4"), v=noise(6, 3)))
    net = Net(model)
    train(net.train())
    net.write(model)
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in ir.to_proto(model).graph.initializer}
    np.testing.assert_array_equal(stored["w"] == 0, weight == 0)
    assert stored["b"].any(), "a bias that happens to be zero is free"


def test_constants_of_several_readers_stay_one(parse):
    text = """g (float[1,4] x, float[4,4] w) => (float[1,4] y) {
        a = MatMul (x, w)  b = Tanh (a)  y = MatMul (b, w) }"""
    model = ir.from_proto(parse(text, w=noise(4, 4)))
    net = Net(model)
    train(net.train())
    assert list(net.weights) == ["w"]
    net.write(model)
    assert len(model.graph.initializers) == 1


def test_factors_of_a_product_stay_factors(parse):
    text = """g (float[1,4] x, float[4,2] u, float[2,4] v) => (float[1,4] y) {
        a = MatMul (x, u)  y = MatMul (a, v) }"""
    model = ir.from_proto(parse(text, u=noise(4, 2), v=noise(2, 4, seed=1)))
    net = Net(model)
    train(net.train())
    assert net.write(model) == ("u", "v")
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in ir.to_proto(model).graph.initializer}
    assert np.linalg.matrix_rank(stored["u"] @ stored["v"]) == 2


def test_numbers_of_a_formula_are_no_weights(parse):
    text = """g (float[1,4] x, float h, float[4] b) => (float[1,4] y) {
        a = Mul (x, h)  y = Add (a, b) }"""
    model = ir.from_proto(parse(text, h=np.float32(0.5), b=noise(4)))
    assert list(Net(model).weights) == ["b"]


def test_what_is_no_weight_to_one_of_its_readers_is_not_learned(parse):
    text = """g (float[1,4] x, float[4] b) => (float[1,4] y) {
        a = Add (x, b)  y = Pow (a, b) }"""
    assert list(Net(ir.from_proto(parse(text, b=noise(4)))).weights) == []


def test_normalisations_learn_their_statistics_from_batches(parse):
    text = """g (float[1,4,2,2] x, float[4] s, float[4] b, float[4] m, float[4] v)
        => (float[1,4,2,2] y) { y = BatchNormalization (x, s, b, m, v) }"""
    ones, zeros = np.ones(4, "f4"), np.zeros(4, "f4")
    names = {"s": ones, "b": zeros, "m": zeros.copy() + 0.5, "v": ones.copy() * 2}
    model = ir.from_proto(parse(text, **names))
    net = Net(model)
    assert net.normalises
    train(net.train(), shape=(1, 4, 2, 2))
    assert set(net.write(model)) == {"s", "b", "m", "v"}


def test_a_state_is_taken_up_again(two_layers):
    net, other = Net(ir.from_proto(two_layers)), Net(ir.from_proto(two_layers))
    train(net.train())
    other.restore(net.state())
    for name, weight in net.weights.items():
        assert torch.equal(weight, other.weights[name])


def test_an_operator_without_a_form_is_named(parse):
    text = "g (float[1,4] x) => (float[1,4] y) { t = Tanh (x) y = CumSum (t, a) }"
    text = text.replace("x)", "x, int64 a)", 1)
    model = ir.from_proto(parse(text, a=np.int64(1)))
    with pytest.raises(PassError, match=r"the operator CumSum of .* has no differentiable"):
        Net(model)

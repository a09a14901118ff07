"""A fault in any kernel is found, every time, and the layer is named."""

from collections.abc import Callable

import numpy as np
import pytest
from budgetc.assess import synthetic
from budgetc.model import Model
from budgetc.verification.locate import locate
from budgetc.verification.verifier import Verifier

NETWORK = """g (float[1,8,12,12] x, float[1,8,12,12] z) => (float[1,5] y)
<int64[2] rows = {16, 36}, int64[1] last = {1}>
{
    [start] a = Mul(x, z)
    [conv] b = Conv<strides=[1,1], pads=[1,1,1,1]>(a, w1)
    [relu] c = Relu(b)
    [pointwise] p = Conv(c, w4)
    [depthwise] d = Conv<group=16, pads=[1,1,1,1]>(p, w2)
    [maxpool] e = MaxPool<kernel_shape=[2,2], strides=[2,2]>(d)
    [rows] f = Reshape(e, rows)
    [turn] g = Transpose<perm=[1,0]>(f)
    [product] h = MatMul(f, g)
    [softmax] s = Softmax<axis=-1>(h)
    [norm] n = LayerNormalization<axis=-1>(s, scale)
    [sums] r = ReduceSum<keepdims=0>(n, last)
    [flat] t = Flatten<axis=0>(r)
    [dense] y = MatMul(t, w3)
}"""

LAYERS = {
    "elementwise": "start",
    "winograd": "conv",
    "convolution": "pointwise",
    "depthwise": "depthwise",
    "pooling": "maxpool",
    "matmul": "product",
    "softmax": "softmax",
    "normalisation": "norm",
    "reduction": "sums",
}


@pytest.fixture(scope="module")
def network(make_model: Callable[..., Model]) -> Model:
    random = np.random.default_rng(7)

    def weights(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return make_model(
        NETWORK,
        w1=weights(16, 8, 3, 3) / 8,
        w2=weights(16, 1, 3, 3) / 3,
        w3=weights(16, 5),
        w4=weights(16, 16, 1, 1) / 4,
        scale=weights(16),
    )


def test_the_network_is_right_without_a_fault(network, build) -> None:
    with build(network) as run:
        report = Verifier(network, run).verify(synthetic(network.inputs))
    assert report.agrees, str(report)
    assert report.reference == "onnxruntime"


@pytest.mark.parametrize(
    "which", ["first", pytest.param("last", marks=(pytest.mark.slow, pytest.mark.large))]
)
@pytest.mark.parametrize("family", LAYERS)
def test_a_dropped_iteration_is_caught_and_its_layer_named(network, faulty, family, which) -> None:
    rebuild = faulty(f"{family} {which}")
    with rebuild(network) as run:
        report = Verifier(network, run).verify(synthetic(network.inputs))
    assert not report.agrees
    fault = locate(network, report.wrong.failing, rebuild)
    assert fault is not None
    assert fault.node == LAYERS[family], str(fault)
    assert fault.alone
    assert fault.builds <= 8

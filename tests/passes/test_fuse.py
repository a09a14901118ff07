"""Tests of the fusion composite, on real models and on random chains."""

import numpy as np
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.fusion.fuse import Fuse
from hypothesis import given, settings
from hypothesis import strategies as st

OPS = {
    "japanesevowels_gru": {"ConstantOfShape": 1, "Reshape": 1, "Transpose": 1, "GRU": 1,
                           "ReduceMean": 1, "Gemm": 1},
    "animalmnist_dscnn": {"Conv": 7, "Relu": 1, "Clip": 6, "GlobalAveragePool": 1, "Flatten": 1,
                          "Gemm": 1},
    "mnist5k_cnn": {"Conv": 5, "Relu": 5, "MaxPool": 2, "GlobalAveragePool": 1, "Flatten": 1,
                    "Gemm": 1},
    "mlperf_tiny_dscnn_kws": {"Reshape": 1, "Conv": 9, "Relu": 9, "GlobalAveragePool": 1,
                              "Flatten": 1, "Gemm": 1, "Softmax": 1},
    "mlperf_tiny_mobilenet_vww": {"Transpose": 1, "Conv": 27, "Relu": 27, "GlobalAveragePool": 1,
                                  "Flatten": 1, "Gemm": 1, "Softmax": 1},
    "mlperf_tiny_resnet8_cifar10": {"Transpose": 1, "Conv": 9, "Relu": 7, "Add": 3,
                                    "GlobalAveragePool": 1, "Flatten": 1, "Gemm": 1, "Softmax": 1},
    "mtcnn_rnet": {"Transpose": 1, "Conv": 3, "PRelu": 4, "MaxPool": 2, "Flatten": 1, "Gemm": 3,
                   "Softmax": 1},
}  # fmt: skip


def test_real_models(apply, real, same, real_name):
    done = apply(real(real_name), Clean(), Fuse())
    assert {op: done.ops.count(op) for op in dict.fromkeys(done.ops)} == OPS[real_name]
    # The initial state of the recurrent layer is zeros of a size that is cheaper to make than to store.
    grown = real_name == "japanesevowels_gru"
    assert len(done.refusals()) == grown
    same(done, relative=1e-5)
    assert not apply(done.after, Clean(), Fuse()).modified


LINES = {
    "conv": "{out} = Conv <pads = [1,1,1,1]> ({x}, w)",
    "norm": "{out} = BatchNormalization ({x}, k, k, k, one)",
    "add": "{out} = Add ({x}, k3)",
    "mul": "{out} = Mul (k3, {x})",
    "residual": "{out} = Add ({x}, x)",
    "max": "{out} = Max ({x}, zero)",
    "min": "{out} = Min (six, {x})",
    "relu": "{out} = Relu ({x})",
    "pad": "{out}p = Pad ({x}, pads) {out} = AveragePool <kernel_shape = [3,3]> ({out}p)",
    "clip": "{out} = Clip ({x}, zero, six)",
}


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(st.sampled_from(list(LINES)), min_size=1, max_size=8),
    tap=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_any_chain_keeps_its_function(apply, parse, same, *, steps, tap, seed):
    rng = np.random.default_rng(seed)
    arrays = {
        "w": (rng.normal(size=(4, 4, 3, 3)) / 6).astype("f"),
        "k": rng.uniform(0.5, 1.5, size=4).astype("f"),
        "one": np.ones(4, "f"),
        "k3": rng.uniform(0.5, 1.5, size=(4, 1, 1)).astype("f"),
        "zero": np.array(0, "f"),
        "six": np.array(6, "f"),
        "pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    }
    names = ["x", *(f"v{at}" for at in range(len(steps)))]
    lines = [LINES[s].format(x=names[at], out=names[at + 1]) for at, s in enumerate(steps)]
    kinds = {"f": "float", "i": "int64"}
    declared = "".join(
        f", {kinds[a.dtype.kind]}{list(a.shape) if a.ndim else ''} {n}" for n, a in arrays.items()
    )
    # A tensor in the middle that is also an output must stay what it is.
    model = parse(
        f"""g (float[1,4,5,5] x{declared}) => (float[1,4,5,5] y, float[1,4,5,5] t)
            {{ {" ".join(lines)} y = Neg ({names[-1]}) t = Abs ({names[tap % len(names)]}) }}""",
        **arrays,
    )
    done = apply(model, Fuse())
    same(done, terms=36 * len(steps), seed=seed)
    assert len(done.ops) <= len(model.graph.node) + steps.count("norm")


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_a_mobile_block_of_any_opset(apply, parse, same, opset):
    rng = np.random.default_rng(0)
    clip = "Clip <min = 0.0, max = 6.0> (n)" if opset < 11 else "Clip (n, zero, six)"
    used = {} if opset < 11 else {"zero": np.array(0, "f"), "six": np.array(6, "f")}
    declared = "".join(f", float {name}" for name in used)
    model = parse(
        f"""g (float[1,4,5,5] x, float[4,1,3,3] w, float[4] k, float[4] v{declared})
            => (float[1,4,5,5] y) {{ c = Conv <group = 4, pads = [1,1,1,1]> (x, w)
               n = BatchNormalization (c, k, k, k, v) y = {clip} }}""",
        opset,
        w=rng.normal(size=(4, 1, 3, 3)).astype("f"),
        k=rng.normal(size=4).astype("f"),
        v=np.ones(4, "f"),
        **used,
    )
    done = apply(model, Fuse())
    assert done.ops == ["Conv", "Clip"]
    same(done, terms=10)

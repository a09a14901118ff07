"""Elementwise operators in torch, against onnxruntime."""

import numpy as np
import pytest

UNARY = [
    "Abs",
    "Ceil",
    "Celu <alpha = 0.7>",
    "Clip <min = -0.5, max = 1.5>",
    "Cos",
    "Elu <alpha = 0.5>",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu <alpha = 0.2>",
    "Mish",
    "Neg",
    "Reciprocal",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "Tanh",
    "ThresholdedRelu <alpha = 0.5>",
]


@pytest.mark.parametrize("operator", UNARY)
def test_of_one_input(in_torch, parse, operator):
    old = operator.startswith("Clip")  # bounds are attributes there
    opset = 9 if old else 18
    in_torch(parse(f"g (float[2,5] x) => (float[2,5] y) {{ y = {operator} (x) }}", opset))


@pytest.mark.parametrize("operator", ["Sqrt", "Log"])
def test_of_one_positive_input(in_torch, parse, operator):
    text = f"g (float[2,5] x) => (float[2,5] y) {{ a = Abs (x) y = {operator} (a) }}"
    in_torch(parse(text))


@pytest.mark.parametrize("how", ["none", "tanh"])
def test_gelu(in_torch, parse, how):
    in_torch(
        parse(f'g (float[2,5] x) => (float[2,5] y) {{ y = Gelu <approximate = "{how}"> (x) }}', 20)
    )


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"])
@pytest.mark.parametrize("shape", ["2,5", "5", "1", "2,1"])
def test_of_two_inputs_that_are_broadcast(in_torch, parse, operator, shape):
    in_torch(
        parse(f"g (float[2,5] x, float[{shape}] z) => (float[2,5] y) {{ y = {operator} (x, z) }}")
    )


@pytest.mark.parametrize("shape", [(5,), (1, 5), (4, 1, 5), ()])
def test_of_a_constant_of_more_or_fewer_axes(in_torch, parse, shape):
    made = "4,2,5" if len(shape) == 3 else "2,5"
    text = f"g (float[2,5] x, float[{','.join(map(str, shape))}] c) => (float[{made}] y)"
    text = text.replace("float[] c", "float c") + "{ y = Add (x, c) }"
    in_torch(parse(text, c=np.random.default_rng(0).normal(size=shape).astype("f4")))


@pytest.mark.parametrize("operator", ["Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual"])
def test_choices(in_torch, parse, operator):
    text = f"""g (float[2,5] x, float[2,5] z) => (float[2,5] y)
        {{ a = Round (x) b = Round (z) c = {operator} (a, b) y = Where (c, x, z) }}"""
    in_torch(parse(text))


@pytest.mark.parametrize("to", [1, 6, 7])
def test_casts(in_torch, parse, to):
    kind = {1: "float", 6: "int32", 7: "int64"}[to]
    in_torch(parse(f"g (float[2,5] x) => ({kind}[2,5] y) {{ y = Cast <to = {to}> (x) }}"))


def test_slopes_and_powers(in_torch, parse):
    text = """g (float[2,5] x, float[5] s, float e) => (float[2,5] y)
        { a = PRelu (x, s) b = Abs (a) y = Pow (b, e) }"""
    in_torch(parse(text, s=np.linspace(0.1, 0.5, 5, dtype="f4"), e=np.float32(1.5)))


def test_computed_bounds_are_refused(in_torch, parse):
    text = "g (float[2,5] x, float m) => (float[2,5] y) { y = Clip (x, m) }"
    with pytest.raises(Exception, match="computed bounds, which have no differentiable form"):
        in_torch(parse(text))

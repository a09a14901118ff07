"""Tests of recognising activations."""

import numpy as np
import pytest
from budgetc_passes.fusion.activations import RecogniseActivations
from hypothesis import given, settings
from hypothesis import strategies as st

NUMBERS = {
    name: np.array(number, "f")
    for name, number in {
        "zero": 0, "one": 1, "three": 3, "six": 6, "half": 0.5, "sixth": 1 / 6, "low": -2,
        "high": 4, "huge": np.finfo("f").max,
    }.items()
}  # fmt: skip


def activation(parse, lines, opset=17):
    used = {name: array for name, array in NUMBERS.items() if name in lines}
    declared = "".join(f", float {name}" for name in used)
    return parse(f"g (float[2,7] x{declared}) => (float[2,7] y) {{ {lines} }}", opset, **used)


RULES = [
    ("y = Max (x, zero)", ["Relu"]),
    ("y = Max (zero, x)", ["Relu"]),
    ("y = Min (x, six)", ["Clip"]),
    ("a = Max (x, zero) y = Min (a, six)", ["Clip"]),
    ("a = Min (x, six) y = Relu (a)", ["Clip"]),
    ("a = Relu (x) y = Clip (a, low, six)", ["Clip"]),
    ("a = Clip (x, low, high) b = Clip (a, zero) y = Relu (b)", ["Clip"]),
    ("y = Clip (x, zero)", ["Relu"]),
    ("y = Clip (x, zero, huge)", ["Relu"]),
    ("a = Add (x, three) b = Clip (a, zero, six) y = Div (b, six)", ["HardSigmoid"]),
    ("a = Add (three, x) b = Clip (a, zero, six) y = Mul (sixth, b)", ["HardSigmoid"]),
    ("a = Mul (x, sixth) b = Add (a, half) y = Clip (b, zero, one)", ["HardSigmoid"]),
    ("a = Add (x, three) b = Clip (a, zero, six) c = Div (b, six) y = Mul (x, c)", ["HardSwish"]),
    ("a = Add (x, three) b = Clip (a, zero, six) c = Mul (x, b) y = Div (c, six)", ["HardSwish"]),
    ("a = Add (x, three) b = Clip (a, zero, six) c = Mul (x, sixth) y = Mul (b, c)",
     ["HardSwish"]),
    ("a = Add (x, three) m = Max (a, zero) b = Min (m, six) c = Mul (b, x) y = Mul (c, sixth)",
     ["HardSwish"]),
    ("a = HardSigmoid <alpha = 0.16666667, beta = 0.5> (x) y = Mul (a, x)", ["HardSwish"]),
]  # fmt: skip


@pytest.mark.parametrize(("lines", "ops"), RULES)
def test_rules(apply, parse, same, lines, ops):
    done = apply(activation(parse, lines), RecogniseActivations())
    assert done.ops == ops
    same(done)


@pytest.mark.parametrize(
    "lines",
    [
        "a = Sigmoid (x) y = Mul (x, a)",
        "a = HardSigmoid <alpha = 0.2, beta = 0.5> (x) y = Mul (a, x)",
        "a = Add (x, three) b = Clip (a, zero, six) y = Div (b, three)",
        "y = Relu (x)",
        "y = Clip (x, zero, six)",
        "y = Clip (x, six, zero)",
    ],
)
def test_what_is_something_else_stays(apply, parse, lines):
    assert not apply(activation(parse, lines), RecogniseActivations()).modified


def test_hard_swish_is_refused_where_the_opset_lacks_it(apply, parse, same):
    lines = "a = Add (x, three) b = Clip (a, zero, six) c = Div (b, six) y = Mul (x, c)"
    done = apply(activation(parse, lines, 13), RecogniseActivations())
    assert done.ops == ["HardSigmoid", "Mul"]
    assert "opset 13" in done.refusals()[0]
    same(done)


def test_clip_of_old_opsets_keeps_its_bounds_in_attributes(apply, parse, same):
    lines = "a = Clip <min = -2.0, max = 4.0> (x) b = Relu (a) y = Clip <max = 3.0> (b)"
    done = apply(activation(parse, lines, 9), RecogniseActivations())
    assert done.ops == ["Clip"]
    same(done)


def test_a_clip_that_is_read_twice_is_not_merged(apply, parse, same):
    lines = "a = Clip (x, low, high) b = Relu (a) y = Add (a, b)"
    done = apply(activation(parse, lines), RecogniseActivations())
    assert not done.modified


@settings(deadline=None, max_examples=25)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["Max", "Min", "Clip", "Relu"]), st.integers(-4, 4)),
        min_size=1,
        max_size=5,
    )
)
def test_any_chain_of_clamps_becomes_one(apply, parse, same, steps):
    lines, value, constants = [], "x", {}
    for at, (op, number) in enumerate(steps):
        name = "y" if at == len(steps) - 1 else f"v{at}"
        constants |= {f"k{at}": np.array(number, "f"), f"l{at}": np.array(number + 2, "f")}
        operands = {"Relu": value, "Clip": f"{value}, k{at}, l{at}"}.get(op, f"{value}, k{at}")
        lines.append(f"{name} = {op} ({operands})")
        value = name
    declared = "".join(f", float {name}" for name in constants)
    model = parse(
        f"g (float[2,7] x{declared}) => (float[2,7] y) {{ {' '.join(lines)} }}", **constants
    )
    done = apply(model, RecogniseActivations())
    assert len(done.ops) == 1
    same(done)

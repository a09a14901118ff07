"""Tests of removing what changes nothing."""

import numpy as np
import pytest
from budgetc_passes.cleanup.identities import RemoveIdentities
from hypothesis import given, settings
from hypothesis import strategies as st

CONSTANTS = {
    "zero": np.zeros((), "f"),
    "ones": np.ones((3, 1), "f"),
    "two": np.array(2, "f"),
    "wide": np.zeros((2, 2, 3, 4), "f"),
    "shape": np.array([2, 3, 4], np.int64),
    "flat": np.array([6, 4], np.int64),
    "none": np.zeros(6, np.int64),
    "shift": np.array([1, 0, 0, -1, 0, 0], np.int64),
    "first": np.array([0], np.int64),
    "last": np.array([9], np.int64),
    "back": np.array([-1], np.int64),
    "most": np.array([-(2**31)], np.int64),
    "training": np.array(1, bool),
    "rate": np.array(0.5, "f"),
}


def model_of(parse, lines, opset=17):
    used = {name: array for name, array in CONSTANTS.items() if name in lines}
    kinds = {"f": "float", "i": "int64", "b": "bool"}
    declared = "".join(
        f", {kinds[a.dtype.kind]}{list(a.shape) if a.ndim else ''} {n}" for n, a in used.items()
    )
    text = f"g (float[2,3,4] x{declared}) => (float[2,3,4] y) {{ r = Relu (x) {lines} }}"
    return parse(text, opset, **used)


NOTHING = [
    "Identity (r)", "Dropout (r)", "Cast <to = 1> (r)", "Reshape (r, shape)", "Expand (r, shape)",
    "Transpose <perm = [0, 1, 2]> (r)", "Pad (r, none)", "Slice (r, first, last, first)",
    "Concat <axis = 1> (r)", "Sum (r)", "Add (r, zero)", "Add (zero, r)", "Sub (r, zero)",
    "Mul (r, ones)", "Div (r, ones)", "Pow (r, ones)",
]  # fmt: skip


@pytest.mark.parametrize("line", NOTHING)
def test_nothing_is_left_of_it(apply, parse, same, line):
    done = apply(model_of(parse, f"y = {line}"), RemoveIdentities())
    assert done.ops == ["Relu"]
    assert done.after.graph.node[0].output[0] == "y"
    same(done)


@pytest.mark.parametrize(
    "line",
    [
        "Sub (zero, r)", "Div (ones, r)", "Mul (r, two)", "Slice (r, back, most, first, back)",
        "Pad (r, shift)", "Dropout (r, rate, training)",
    ],
)  # fmt: skip
def test_what_changes_something_stays(apply, parse, line):
    assert not apply(model_of(parse, f"y = {line}"), RemoveIdentities()).modified


def test_a_zero_that_widens_stays(apply, parse):
    model = parse(
        "g (float[2,3,4] x, float[2,2,3,4] wide) => (float[2,2,3,4] y) { y = Add (x, wide) }",
        wide=CONSTANTS["wide"],
    )
    assert not apply(model, RemoveIdentities()).modified


def test_between_input_and_output_something_carries_the_name(apply, parse, same):
    model = parse("g (float[2] x) => (float[2] y, float[2] z) { y = Sum (x) z = Identity (x) }")
    done = apply(model, RemoveIdentities())
    assert done.ops == ["Identity", "Identity"]
    assert not apply(done.after, RemoveIdentities()).modified
    same(done)


def test_two_outputs_of_one_value_both_stay(apply, parse, same):
    model = parse(
        """g (float[2] x) => (float[2] y, float[2] z)
           { a = Neg (x) y = Identity (a) z = Identity (a) }"""
    )
    done = apply(model, RemoveIdentities())
    assert done.ops == ["Neg", "Identity"]
    same(done)


@settings(deadline=None, max_examples=25)
@given(lines=st.lists(st.sampled_from(NOTHING), min_size=1, max_size=6))
def test_chains(apply, parse, same, lines):
    text, value = [], "r"
    for at, line in enumerate(lines):
        name = "y" if at == len(lines) - 1 else f"v{at}"
        head, tail = line.rsplit("(", 1)
        names = [value if item.strip(" )") == "r" else item.strip(" )") for item in tail.split(",")]
        text.append(f"{name} = {head}({', '.join(names)})")
        value = name
    done = apply(model_of(parse, " ".join(text)), RemoveIdentities())
    assert done.ops == ["Relu"]
    same(done)

"""Recurrent layers in torch, against onnxruntime."""

import numpy as np
import pytest

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def layer(parse, kind, direction="forward", attributes=""):
    sides = 2 if direction == "bidirectional" else 1
    random = np.random.default_rng(0)
    shapes = {
        "w": (sides, 5 * GATES[kind], 3),
        "r": (sides, 5 * GATES[kind], 5),
        "b": (sides, 10 * GATES[kind]),
    }
    constants = {n: random.normal(0, 0.5, s).astype("f4") for n, s in shapes.items()}
    declared = ", ".join(f"float[{','.join(map(str, s))}] {n}" for n, s in shapes.items())
    text = f"""g (float[4,2,3] x, {declared}) => (float[4,{sides},2,5] y, float[{sides},2,5] h) {{
        y, h = {kind} <hidden_size = 5, direction = "{direction}"{attributes}> (x, w, r, b)
    }}"""
    return parse(text, **constants)


@pytest.mark.parametrize("kind", list(GATES))
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_layers(in_torch, parse, kind, direction):
    in_torch(layer(parse, kind, direction))


def test_a_gru_that_resets_after_the_product(in_torch, parse):
    in_torch(layer(parse, "GRU", attributes=", linear_before_reset = 1"))


def test_other_activations_are_refused(in_torch, parse):
    with pytest.raises(Exception, match="activations other than usual"):
        in_torch(layer(parse, "RNN", attributes=', activations = ["Relu"]'))

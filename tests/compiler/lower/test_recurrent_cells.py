"""What a step of each layer computes, expression by expression, and the activations of ONNX."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from budgetc.lower.recurrent_cells import GATES, Columns, cells
from budgetc_specs.errors import ModelError
from budgetc_targets.expression import Apply, Const, Expr, Ref, functions

PLAIN = {kind: Columns(None, [()] * gates, (), None) for kind, gates in GATES.items()}


def value(expression: Expr, refs: Mapping[int, float]) -> float:
    """The expression in f64."""
    if isinstance(expression, Ref):
        return refs[expression.index]
    if isinstance(expression, Const):
        return float(expression.value)
    assert isinstance(expression, Apply)
    a = [value(argument, refs) for argument in expression.args]
    known: dict[str, Any] = {
        "add": lambda: a[0] + a[1],
        "sub": lambda: a[0] - a[1],
        "mul": lambda: a[0] * a[1],
        "div": lambda: a[0] / a[1],
        "fma": lambda: a[0] * a[1] + a[2],
        "exp": lambda: np.exp(a[0]),
        "log": lambda: np.log(a[0]),
        "log1p": lambda: np.log1p(a[0]),
        "tanh": lambda: np.tanh(a[0]),
        "abs": lambda: abs(a[0]),
        "max": lambda: max(a),
        "min": lambda: min(a),
        "less": lambda: float(a[0] < a[1]),
        "select": lambda: a[1] if a[0] else a[2],
    }
    return float(known[expression.fn]())


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_an_lstm_couples_its_gates_on_request() -> None:
    for coupled in (0, 1):
        (cell,) = cells("LSTM", "", {"input_forget": coupled}, PLAIN["LSTM"])
        # rows h, c; sums of i, o, f, c; what the input gives to them
        refs = dict(enumerate([0.3, -0.4, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]))
        (memory_row, memory), (result_row, result) = cell.stages[0].updates
        assert (memory_row, result_row) == (1, 0)
        i, o, f, c = (refs[2 + g] + refs[6 + g] for g in range(4))
        kept = 1 - sigmoid(i) if coupled else sigmoid(f)
        expected = kept * refs[1] + sigmoid(i) * np.tanh(c)
        assert value(memory, refs) == pytest.approx(expected)
        refs[1] = expected
        assert value(result, refs) == pytest.approx(sigmoid(o) * np.tanh(expected))


def test_a_gru_multiplies_before_or_behind_the_reset_gate() -> None:
    (behind,) = cells("GRU", "", {"linear_before_reset": 1}, Columns(None, [()] * 3, (0,), None))
    refs = dict(enumerate([0.3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]))
    ((_, result),) = behind.stages[0].updates
    z, r = sigmoid(0.1 + 0.4), sigmoid(0.2 + 0.5)
    new = np.tanh(0.6 + r * (0.3 + 0.7))
    assert value(result, refs) == pytest.approx((1 - z) * new + z * 0.3)
    (before,) = cells("GRU", "", {}, PLAIN["GRU"])
    assert [stage.gates for stage in before.stages] == [(0, 1), (2,)]
    assert before.stages[1].source == before.stages[0].updates[1][0]


def test_integer_weights_bring_their_scales() -> None:
    (cell,) = cells("RNN", "", {}, Columns([0], [(1,)], (), None))
    ((_, result),) = cell.stages[0].updates
    refs = dict(enumerate([0.0, 50.0, 0.25, 0.01, 0.125]))
    assert value(result, refs) == pytest.approx(np.tanh(50 * 0.01 + 0.25 + 0.125))


ACTIVATIONS: dict[str, Any] = {
    "Affine": lambda x, a, b: a * x + b,
    "Elu": lambda x, a, b: x if x >= 0 else a * (np.exp(x) - 1),
    "HardSigmoid": lambda x, a, b: min(max(a * x + b, 0), 1),
    "LeakyRelu": lambda x, a, b: x if x >= 0 else a * x,
    "Relu": lambda x, a, b: max(x, 0),
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "Sigmoid": lambda x, a, b: sigmoid(x),
    "Softplus": lambda x, a, b: np.log(1 + np.exp(x)),
    "Softsign": lambda x, a, b: x / (1 + abs(x)),
    "Tanh": lambda x, a, b: np.tanh(x),
    "ThresholdedRelu": lambda x, a, b: x if x > a else 0,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("x", [-2.0, -0.3, 0.3, 2.0])
def test_every_activation_of_the_standard(name: str, x: float) -> None:
    attributes = {
        "activations": [name.upper().encode()],
        "activation_alpha": (0.7,),
        "activation_beta": (0.4,),
    }
    (cell,) = cells("RNN", "", attributes, PLAIN["RNN"])
    ((_, result),) = cell.stages[0].updates
    found = value(result, {0: 0.0, 1: x, 2: 0.0})
    assert found == pytest.approx(ACTIVATIONS[name](x, 0.7, 0.4), rel=1e-6, abs=1e-6)


def test_parameters_are_taken_in_order_by_those_that_have_some() -> None:
    attributes = {
        "direction": "bidirectional",
        "activations": ["Tanh", "LeakyRelu", "Affine", "Elu"],
        "activation_alpha": (0.125, 0.25),
        "activation_beta": (0.5,),
    }
    first, second = cells("GRU", "", attributes, PLAIN["GRU"])

    def literals(expression: Expr) -> set[float]:
        if isinstance(expression, Const):
            return {float(expression.value)}
        return set().union(*map(literals, getattr(expression, "args", ())))

    assert 0.125 in literals(first.stages[1].updates[0][1])
    assert {0.25, 0.5} <= literals(second.stages[0].updates[0][1])
    assert 1.0 in literals(second.stages[1].updates[0][1]), "the default of Elu"


def test_a_clip_is_around_what_activations_are_given() -> None:
    (cell,) = cells("RNN", "", {"clip": 0.5}, PLAIN["RNN"])
    ((_, result),) = cell.stages[0].updates
    assert value(result, {0: 0.0, 1: 3.0, 2: 0.0}) == pytest.approx(np.tanh(0.5))
    (free,) = cells("RNN", "", {}, PLAIN["RNN"])
    assert "min" not in set(functions(free.stages[0].updates[0][1]))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["Cosh"], '"Cosh" is not one that ONNX names'),
        (["ScaledTanh"], '"ScaledTanh" is given no alpha'),
        (["ThresholdedRelu"], "given no alpha"),
    ],
)
def test_what_it_refuses(names: list[str], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        cells("RNN", 'the RNN node "r"', {"activations": names}, PLAIN["RNN"])
    with pytest.raises(ModelError, match="names 1 activations, and has 2"):
        cells("GRU", 'the GRU node "r"', {"activations": names[:1]}, PLAIN["GRU"])

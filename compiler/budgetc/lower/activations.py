"""Elementwise ONNX operators as expressions over their inputs."""

from collections.abc import Callable
from typing import Any

import numpy as np
from budgetc_specs.errors import ModelError
from budgetc_targets.expression import Const, Expr, Ref, apply

from budgetc.lower.graph import Graph, Operation

X, Y, Z = Ref(0), Ref(1), Ref(2)


def real(value: float) -> Const:
    """An f32 literal."""
    return Const(float(np.float32(value)))


ONE = real(1.0)


def sigmoid(x: Expr) -> Expr:
    """1 / (1 + exp(-x))."""
    return apply("div", ONE, apply("add", ONE, apply("exp", apply("sub", real(0.0), x))))


def clip(x: Expr, low: float, high: float) -> Expr:
    """The operand limited to [low, high]; infinite limits fall away."""
    if low > -np.inf:
        x = apply("max", x, real(low))
    return apply("min", x, real(high)) if high < np.inf else x


def _negative_part(x: Expr, negative: Expr) -> Expr:
    return apply("select", apply("less", x, real(0.0)), negative, x)


def _hard_sigmoid(x: Expr, alpha: float, beta: float) -> Expr:
    return clip(apply("add", apply("mul", x, real(alpha)), real(beta)), 0.0, 1.0)


def _gelu(a: dict[str, Any]) -> Expr:
    if a.get("approximate", "none") == "tanh":
        cube = apply("mul", apply("mul", X, X), X)
        inner = apply("add", X, apply("mul", real(0.044715), cube))
        bent = apply("tanh", apply("mul", real(np.sqrt(2.0 / np.pi)), inner))
    else:
        bent = apply("erf", apply("mul", X, real(np.sqrt(0.5))))
    return apply("mul", apply("mul", real(0.5), X), apply("add", ONE, bent))


def _elu(a: dict[str, Any], gamma: float = 1.0, alpha: float | None = None) -> Expr:
    slope = a.get("alpha", 1.0) if alpha is None else alpha
    curve = apply("mul", real(slope), apply("sub", apply("exp", X), ONE))
    return apply("mul", real(gamma), _negative_part(X, curve))


def _celu(a: dict[str, Any]) -> Expr:
    alpha = real(a.get("alpha", 1.0))
    curve = apply("mul", alpha, apply("sub", apply("exp", apply("div", X, alpha)), ONE))
    return _negative_part(X, curve)


def _softplus() -> Expr:
    # log(1 + exp(x)) as max(x, 0) + log1p(exp(-|x|)), which never overflows and loses no small value
    decay = apply("exp", apply("sub", real(0.0), apply("abs", X)))
    return apply("add", apply("max", X, real(0.0)), apply("log1p", decay))


def _sign() -> Expr:
    below = apply("select", apply("less", X, real(0.0)), real(-1.0), real(0.0))
    return apply("select", apply("less", real(0.0), X), ONE, below)


UNARY: dict[str, Callable[[dict[str, Any]], Expr]] = {
    "Relu": lambda _: apply("max", X, real(0.0)),
    "LeakyRelu": lambda a: _negative_part(X, apply("mul", X, real(a.get("alpha", 0.01)))),
    "ThresholdedRelu": lambda a: apply(
        "select", apply("less", real(a.get("alpha", 1.0)), X), X, real(0.0)
    ),
    "Sigmoid": lambda _: sigmoid(X),
    "HardSigmoid": lambda a: _hard_sigmoid(X, a.get("alpha", 0.2), a.get("beta", 0.5)),
    "HardSwish": lambda _: apply("mul", X, _hard_sigmoid(X, 1.0 / 6.0, 0.5)),
    "Swish": lambda a: apply("mul", X, sigmoid(apply("mul", real(a.get("alpha", 1.0)), X))),
    "Tanh": lambda _: apply("tanh", X),
    "Elu": _elu,
    "Selu": lambda a: _elu(
        a,
        a.get("gamma", 1.05070102214813232421875),
        a.get("alpha", 1.67326319217681884765625),
    ),
    "Celu": _celu,
    "Softplus": lambda _: _softplus(),
    "Softsign": lambda _: apply("div", X, apply("add", ONE, apply("abs", X))),
    "Mish": lambda _: apply("mul", X, apply("tanh", _softplus())),
    "Gelu": _gelu,
    "Exp": lambda _: apply("exp", X),
    "Log": lambda _: apply("log", X),
    "Sqrt": lambda _: apply("sqrt", X),
    "Reciprocal": lambda _: apply("div", ONE, X),
    "Abs": lambda _: apply("abs", X),
    "Neg": lambda _: apply("sub", real(0.0), X),
    "Floor": lambda _: apply("floor", X),
    "Ceil": lambda _: apply("ceil", X),
    "Round": lambda _: apply("round", X),
    "Erf": lambda _: apply("erf", X),
    "Sin": lambda _: apply("sin", X),
    "Cos": lambda _: apply("cos", X),
    "Sign": lambda _: _sign(),
}

BINARY: dict[str, Expr] = {
    "Add": apply("add", X, Y),
    "Sub": apply("sub", X, Y),
    "Mul": apply("mul", X, Y),
    "Div": apply("div", X, Y),
    "PRelu": _negative_part(X, apply("mul", X, Y)),
}

FOLDED = {"Sum": "add", "Mean": "add", "Min": "min", "Max": "max"}
"""Operators of any number of inputs that are folds of a binary function."""


Elementwise = tuple[tuple[str, ...], Expr] | None


def as_expression(op: Operation, graph: Graph) -> Elementwise:
    """Inputs and expression of an f32 elementwise operator, or None where it is none of these.

    Raises:
        ModelError: a normalisation that takes its statistics from the batch, as in training.
    """
    if op.kind == "Pow":
        return _power(op, graph)
    if op.kind == "Where":
        return _choice(op, graph)
    values = [graph.values[name] for name in (*op.inputs, *op.outputs) if name]
    if any(v.dtype != "float32" for v in values):
        return None
    if op.kind in UNARY:
        return op.inputs, UNARY[op.kind](dict(op.attributes))
    if op.kind in BINARY:
        return op.inputs, BINARY[op.kind]
    if op.kind in FOLDED:
        return op.inputs, _folded(op)
    if op.kind == "Clip":
        return _clip(op, graph)
    if op.kind == "BatchNormalization":
        return _batch_norm(op, graph)
    return None


def _folded(op: Operation) -> Expr:
    folded: Expr = X
    for i in range(1, len(op.inputs)):
        folded = apply(FOLDED[op.kind], folded, Ref(i))
    return apply("div", folded, real(len(op.inputs))) if op.kind == "Mean" else folded


def _power(op: Operation, graph: Graph) -> Elementwise:
    """A power; by the constants that models are full of without a library call."""
    base, exponent = op.inputs
    if graph.values[base].dtype != "float32":
        return None
    constant = graph.constants.get(exponent)
    if constant is not None:
        if constant.size == 1 and len(constant.shape) <= len(graph.values[base].shape):
            known: dict[float, Expr] = {2.0: apply("mul", X, X), 0.5: apply("sqrt", X), 1.0: X}
            found = known.get(float(constant.reshape(-1)[0]))
            if found is not None:
                return (base,), found
        exponent = graph.add_constant(f"{op.name}.exponent", constant.astype(np.float32))
    if graph.values[exponent].dtype != "float32":
        return None
    return (base, exponent), apply("pow", X, Y)


def _choice(op: Operation, graph: Graph) -> Elementwise:
    """One of two numbers; other types are left to generated C."""
    _, yes, no = (graph.values[name].dtype for name in op.inputs)
    return (op.inputs, apply("select", X, Y, Z)) if yes == no == "float32" else None


def _clip(op: Operation, graph: Graph) -> Elementwise:
    """Limits as literals where they are constant, else as further inputs."""
    inputs = list(op.inputs[:1])
    expression: Expr = X
    given = [*op.inputs[1:3], "", ""]
    for name, function, attribute, neutral in (
        (given[0], "max", "min", -np.inf),
        (given[1], "min", "max", np.inf),
    ):
        if name and name not in graph.constants:
            expression = apply(function, expression, Ref(len(inputs)))
            inputs.append(name)
            continue
        limit = op.attributes.get(attribute, neutral)
        if name:
            limit = graph.constants[name].reshape(-1)[0].item()
        if abs(limit) < np.inf:
            expression = apply(function, expression, real(limit))
    return tuple(inputs), expression


def _batch_norm(op: Operation, graph: Graph) -> Elementwise:
    """A product and a sum with constant statistics; one that precedes no convolution stays as this."""
    if op.attributes.get("training_mode", 0):
        raise ModelError(
            f"{op.label} takes its statistics from the batch, as in training",
            "export the model for inference (in PyTorch, call model.eval() first).",
        )
    rank = len(graph.values[op.inputs[0]].shape)
    if any(name not in graph.constants for name in op.inputs[1:]) or rank < 2:
        return None
    gamma, beta, mean, variance = (graph.constants[n].astype(np.float64) for n in op.inputs[1:])
    scale = gamma / np.sqrt(variance + op.attributes.get("epsilon", 1e-5))
    shape = [1] * rank
    shape[1] = -1
    names = tuple(
        graph.add_constant(f"{op.name}.{hint}", array.astype(np.float32).reshape(shape))
        for hint, array in (("scale", scale), ("shift", beta - mean * scale))
    )
    return (op.inputs[0], *names), apply("fma", X, Y, Z)

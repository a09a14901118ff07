"""Elementwise operators as functions of torch."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from budgetc_passes.graph import clip_bounds
from budgetc_passes.learning.site import Function, Site

Build = Callable[[Site], Function]

_INTEGER_TYPES = frozenset({2, 3, 4, 5, 6, 7, 12, 13})
_BOOLEAN = 9


def _plain(function: Function) -> Build:
    return lambda _: function


def _folded(function: Callable[[Tensor, Tensor], Tensor]) -> Build:
    """An operator of any number of inputs by one of two."""

    def build(_: Site) -> Function:
        def run(first: Tensor, *others: Tensor) -> Tensor:
            for other in others:
                first = function(first, other)
            return first

        return run

    return build


def _mean(_: Site) -> Function:
    def run(first: Tensor, *others: Tensor) -> Tensor:
        total = first
        for other in others:
            total = total + other
        return total / (1 + len(others))

    return run


def _clip(site: Site) -> Function:
    bounds = clip_bounds(site.node)
    if bounds is None:
        raise site.refusal("has computed bounds, which have no differentiable form")
    low, high = bounds
    if low < high:
        return lambda x, *_: functional.hardtanh(x, low, high)  # clamp takes three steps backwards
    return lambda x, *_: torch.clamp(x, low, high)


def _cast(site: Site) -> Function:
    to = site.integer("to", 1)
    if to == _BOOLEAN:
        return lambda x: x != 0
    if to in _INTEGER_TYPES:
        return lambda x: x.to(torch.int64)
    return lambda x: x.to(torch.float32)


def _gelu(site: Site) -> Function:
    approximate = site.text("approximate", "none")
    return lambda x: functional.gelu(x, approximate=approximate)


def _hard_sigmoid(site: Site) -> Function:
    alpha, beta = site.real("alpha", 0.2), site.real("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0.0, 1.0)


def _leaky_relu(site: Site) -> Function:
    alpha = site.real("alpha", 0.01)
    return lambda x: torch.where(x < 0, alpha * x, x)


def _elu(site: Site) -> Function:
    alpha = site.real("alpha", 1.0)
    return lambda x: torch.where(x < 0, alpha * torch.expm1(torch.clamp(x, max=0.0)), x)


def _celu(site: Site) -> Function:
    alpha = site.real("alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


def _selu(site: Site) -> Function:
    alpha = site.real("alpha", 1.67326319217681884765625)
    gamma = site.real("gamma", 1.05070102214813232421875)

    def run(x: Tensor) -> Tensor:
        return gamma * torch.where(x > 0, x, alpha * torch.expm1(torch.clamp(x, max=0.0)))

    return run


def _thresholded_relu(site: Site) -> Function:
    alpha = site.real("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


def _swish(site: Site) -> Function:
    alpha = site.real("alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


def _divide(x: Tensor, y: Tensor) -> Tensor:
    if x.is_floating_point():
        return x / y
    return torch.div(x, y, rounding_mode="trunc")


def _relu6(x: Tensor) -> Tensor:
    return torch.clamp(x / 6 + 0.5, 0.0, 1.0)


UNARY: dict[str, Build] = {
    "Abs": _plain(torch.abs),
    "Cast": _cast,
    "Ceil": _plain(torch.ceil),
    "Celu": _celu,
    "Clip": _clip,
    "Cos": _plain(torch.cos),
    "Dropout": _plain(lambda x, *_: x),
    "Elu": _elu,
    "Erf": _plain(torch.erf),
    "Exp": _plain(torch.exp),
    "Floor": _plain(torch.floor),
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _plain(lambda x: x * _relu6(x)),
    "Identity": _plain(lambda x: x),
    "LeakyRelu": _leaky_relu,
    "Log": _plain(torch.log),
    "Mish": _plain(functional.mish),
    "Neg": _plain(torch.neg),
    "Not": _plain(torch.logical_not),
    "Reciprocal": _plain(torch.reciprocal),
    "Relu": _plain(torch.relu),
    "Round": _plain(torch.round),
    "Selu": _selu,
    "Sigmoid": _plain(torch.sigmoid),
    "Sign": _plain(torch.sign),
    "Sin": _plain(torch.sin),
    "Softplus": _plain(lambda x: functional.softplus(x, threshold=math.inf)),
    "Softsign": _plain(functional.softsign),
    "Sqrt": _plain(torch.sqrt),
    "Swish": _swish,
    "Tanh": _plain(torch.tanh),
    "ThresholdedRelu": _thresholded_relu,
}
"""Each output element is a function of the input element at its place."""

NARY: dict[str, Build] = {
    "Add": _plain(torch.add),
    "And": _plain(torch.logical_and),
    "Div": _plain(_divide),
    "Equal": _plain(torch.eq),
    "Greater": _plain(torch.gt),
    "GreaterOrEqual": _plain(torch.ge),
    "Less": _plain(torch.lt),
    "LessOrEqual": _plain(torch.le),
    "Max": _folded(torch.maximum),
    "Mean": _mean,
    "Min": _folded(torch.minimum),
    "Mul": _plain(torch.mul),
    "Or": _plain(torch.logical_or),
    "PRelu": _plain(lambda x, slope: torch.where(x < 0, slope * x, x)),
    "Pow": _plain(torch.pow),
    "Sub": _plain(torch.sub),
    "Sum": _folded(torch.add),
    "Where": _plain(torch.where),
    "Xor": _plain(torch.logical_xor),
}
"""The same for several inputs, broadcast against each other from the last axis on."""

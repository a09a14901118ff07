"""Put a depthwise and a pointwise convolution in place of a convolution.

    y = sum over i, t of W[o, i, t] x[i, t]   ~   sum over i, s of P[o, i, s] (sum over t of D[i, s, t] x[i, t])

For each input channel i the matrix W[:, i, :] is replaced by one of rank m, the multiplier: the m largest parts of its
singular value decomposition. With calibration samples, P and D are then fitted in turns to what the layer computed of
them (regression.py); each is a linear problem while the other stands still.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_ir as ir
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    constant,
    dims,
    graph_of,
    is_op,
    label,
    set_constant,
)
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import join_values, require_known
from budgetc_passes.offer import Offer, Part, Stage
from budgetc_passes.options import check_words, counts_of
from budgetc_passes.regression import (
    MOST_COLUMNS,
    RIDGE,
    Floats,
    Original,
    Seen,
    Window,
    filters_of,
    fit,
    lost,
    window_of,
)
from budgetc_passes.selection import check

ROUNDS = 8
"""Of fitting the one and the other; the losses seen stand still after fewer."""

MULTIPLIERS = (2, 1)
"""What the search may choose among."""

CODED = 8
"""Bytes, and more, that a channel in between takes beside its weights when these are codes: it must save as much."""

MOST_OFFERED = 1024
"""Elements of a patch: to fit a layer that has more takes seconds each time, too long for a search."""


@dataclass(frozen=True)
class Separable:
    """Splits convolutions into a depthwise and a pointwise one: fewer products, at a price in quality.

    What is put in place of a convolution starts from its weights, so that training has little left to do.

    Requires: opset >= 9, functions inlined, float weights; best after `clean` and `fuse`. Ensures: the
    model passes the full ONNX checker; the interface is unchanged.
    Cost: lowers size and the number of products, of a k x k layer to about 1/k^2 by `multiplier=1`; time
    less so, for each depthwise layer is one more tensor; changes the function.
    Source: Sifre 2014, thesis, section 6.2 (the form); Denton et al. 2014, arXiv 1404.0736 (low rank, for
    each channel); Zhang et al. 2015, arXiv 1505.06798, section 2 (fitted to what a layer computes).

    Attributes:
        multiplier: depthwise filters for each channel. More come nearer, and cost as much more; 0 leaves a
            convolution as it is.
        layers: convolutions with a multiplier of their own, as "conv1=2;conv3=0"; `multiplier` is for the
            rest, but those that it would not make smaller, and those of so few channels that little would
            be left. A ; or = inside of a name has a backslash before it.
        method: "fit" to what layers compute of the calibration samples; "svd" to their weights alone.
    """

    name: ClassVar[str] = "separable"
    stage: ClassVar[Stage] = "structure"
    multiplier: int = 1
    layers: str = ""
    method: Literal["fit", "svd"] = "fit"

    def __post_init__(self) -> None:
        """Check the options."""
        check_words(self)
        own = counts_of(self, "layers", "multiplier")
        if self.multiplier < 0 or (self.multiplier == 0 and not own):
            message = (
                f"separable: multiplier is {self.multiplier}; it is 1 or more, or 0 where `layers` says "
                "what is split"
            )
            raise ValueError(message)

    def needs(self) -> Needs:
        """Calibration samples, if weights are fitted to them."""
        return Needs(calibration=self.method == "fit")

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """A part for each convolution of several channels that gets smaller: 0, as it is, or the multipliers 2 and 1.

        Weights are fitted to the calibration samples; without such, nothing is offered.
        """
        parts = []
        for node in model.graph:
            levels = tuple(m for m in MULTIPLIERS if _offered(node, m))
            if levels:
                weights = (constant(value) for value in node.inputs[1:])
                count = sum(array.size for array in weights if array is not None)
                parts.append(Part(label(node), (0, *levels), (label(node),), count))
        return Offer(tuple(parts), {"method": ("fit",)})

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """The multiplier of each convolution that is split, by name."""
        split = {name: int(level) for name, level in levels.items() if level}
        if not split:
            return None
        return Step.of(cls.name, **options, multiplier=0, layers=join_values(split))

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Split every layer that is wanted.

        Raises:
            PassError: `layers` names a convolution that the model lacks; there are no samples, or they do
                not fit the model.
        """
        before = require(model, self.name)
        convolutions = {label(node): node for node in model.graph if is_op(node, "Conv")}
        own = counts_of(self, "layers", "multiplier")
        require_known(own, list(convolutions), "separable: layers")
        notes: list[Note] = []
        wanted: dict[str, tuple[int, Window]] = {}
        for name, node in convolutions.items():
            count = own.get(name, self.multiplier)
            window = _suitable(node, count)
            if (
                isinstance(window, Window)
                and name not in own
                and count * window.channels < window.taps
            ):
                window = f"of {window.channels} channels too little would be left; it can be named"
            if isinstance(window, str):
                notes.append(Note("refused", name, f"left as it is: {window}"))
            else:
                wanted[name] = count, window
        original = Original(model, evidence.calibration) if self.method == "fit" else None
        done: dict[str, int] = {}
        for name, (count, window) in wanted.items():
            node = convolutions[name]
            done[name] = count
            found = functools.partial(_parts, model, node, window, count, original)
            # What comes behind a layer has no say in what it is fitted to.
            parts = evidence.measured(f"{self.method} of {name} by {done}", found)
            _write(node, window, parts)
            how = (
                ""
                if parts.missed is None
                else f", which miss {parts.missed:.1%} of its variance on the samples"
            )
            notes.append(Note("did", name, f"made a depthwise and a pointwise convolution{how}"))
        result = finish(model, self.name, before, notes)
        if result.modified:
            check(model, self.name)
        return result


def _parts(
    model: ir.Model, node: ir.Node, window: Window, multiplier: int, original: Original | None
) -> "_Parts":
    parts = _low_rank(filters_of(node, window)[0], window, multiplier)
    if original is None or window.columns * multiplier > MOST_COLUMNS:
        return parts
    return _fitted(original.seen(model, node, window), parts)


def _suitable(node: ir.Node, multiplier: int) -> Window | str:
    """The window of a convolution that gets smaller by being split, or why it does not."""
    window = window_of(node)
    if isinstance(window, str):
        return window
    if multiplier == 0:
        return "its multiplier is 0"
    if window.groups > 1:
        return f"its channels are in {window.groups} groups already"
    filters = (dims(node.outputs[0]) or ())[1]
    between = multiplier * window.channels
    whole, split = window.columns * filters, between * (window.taps + filters)
    if split + CODED * (between + 1) >= whole:
        return (
            f"it has {whole} weights, and split by multiplier {multiplier} it would have {split}, "
            f"with scales for {between} channels more"
        )
    return window


def _offered(node: ir.Node, multiplier: int) -> bool:
    window = _suitable(node, multiplier) if is_op(node, "Conv") else "no convolution"
    if isinstance(window, str) or window.columns > MOST_OFFERED:
        return False
    return multiplier * window.channels >= window.taps


@dataclass(frozen=True, eq=False)
class _Parts:
    """What a convolution is split into.

    Attributes:
        deep: D, of shape (channels, multiplier, taps).
        point: P with the bias in the last column, of shape (filters, channels * multiplier + 1).
        missed: of the variance of what the layer computed, where samples told.
    """

    deep: Floats
    point: Floats
    missed: float | None = None

    @property
    def features(self) -> Floats:
        """The depthwise filters for a whole patch, and the constant: (channels * multiplier + 1, columns + 1)."""
        channels, count, taps = self.deep.shape
        spread = np.zeros((channels, count, channels, taps))
        at = np.arange(channels)
        spread[at, :, at] = self.deep
        features = np.zeros((channels * count + 1, channels * taps + 1))
        features[:-1, :-1] = spread.reshape(channels * count, -1)
        features[-1, -1] = 1
        return features


def _low_rank(wanted: Floats, window: Window, multiplier: int) -> _Parts:
    """The nearest by weights alone, each channel for itself; no more than full rank."""
    parts = wanted[:, :-1].reshape(len(wanted), window.channels, window.taps)
    left, values, right = np.linalg.svd(parts.transpose(1, 0, 2), full_matrices=False)
    count = min(multiplier, values.shape[1])
    root = np.sqrt(values[:, :count])
    deep = right[:, :count] * root[:, :, None]
    point = (left[:, :, :count] * root[:, None]).transpose(1, 0, 2).reshape(len(wanted), -1)
    return _Parts(deep, np.concatenate([point, wanted[:, -1:]], axis=1))


def _write(node: ir.Node, window: Window, parts: _Parts) -> None:
    deep, point = parts.deep, parts.point
    value, out = node.inputs[0], node.outputs[0]
    weight = constant(node.inputs[1])
    assert value is not None
    assert weight is not None
    channels = deep.shape[0] * deep.shape[1]
    batch, _, *spatial = dims(out) or ()
    kernel = deep.reshape(channels, 1, *window.kernel).astype(weight.dtype)
    stem = f"{label(node)}.depthwise"
    between = add_node(
        node,
        "Conv",
        (value, add_initializer(graph_of(node), f"{stem}.weight", kernel)),
        shape=(batch, channels, *spatial),
        dtype=out.dtype,
        stem=stem,
        attributes={
            "group": window.channels,
            "kernel_shape": window.kernel,
            "strides": window.strides,
            "dilations": window.dilations,
            "pads": (*window.begins, *window.ends),
        },
    )
    node.replace_input_with(0, between)
    node.attributes.clear()
    pointwise = point[:, :-1].reshape(len(point), channels, *(1,) * len(spatial))
    set_constant(node, 1, pointwise.astype(weight.dtype), f"{label(node)}.pointwise")
    set_constant(node, 2, point[:, -1].astype(weight.dtype), f"{label(node)}.bias")


def _fitted(seen: Seen, parts: _Parts) -> _Parts:
    """Both parts fitted in turns, the pointwise one last."""
    square, across = seen.square[0], seen.across[0]
    for round_ in range(ROUNDS + 1):
        deep = _fitted_depthwise(square, across, parts) if round_ else parts.deep
        parts = _Parts(deep, parts.point)
        parts = _Parts(deep, fit(square, across, parts.features, parts.point))
    return replace(parts, missed=lost(seen, 0, parts.point @ parts.features))


def _fitted_depthwise(square: Floats, across: Floats, parts: _Parts) -> Floats:
    """D by least squares while P stands still: one unknown for each channel, filter and tap."""
    channels, count, taps = parts.deep.shape
    size = channels * count * taps
    sums = parts.point[:, :-1]
    rest = across - np.outer(parts.point[:, -1], square[-1])
    at = np.arange(channels)
    aim = (sums.T @ rest[:, :-1]).reshape(channels, count, channels, taps)[at, :, at].reshape(size)
    gram = (sums.T @ sums).reshape(channels, count, channels, count)
    moment = square[:-1, :-1].reshape(channels, taps, channels, taps)
    system = np.einsum("iajb,itju->iatjbu", gram, moment, optimize=True).reshape(size, size)
    own = float(np.trace(system)) / size
    if not own:
        return parts.deep
    flat = parts.deep.reshape(size)
    moved = np.linalg.solve(system + RIDGE * own * np.eye(size), aim - system @ flat)
    return (flat + moved).reshape(parts.deep.shape)

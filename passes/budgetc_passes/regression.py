"""Weights of a cheaper layer by least squares: what a convolution reads and should compute, and the fit to it.

A convolution computed y in the model as it was. In the model as it has become, it reads patches p of its input (with a
one behind each, for the bias), and a cheaper layer sees features z = F p of them. The weights for these that come
nearest to y on the samples are

    A = A' + (E[y p^T] - A' F S) F^T (F S F^T + r I)^-1,   S = E[p p^T]

with A' what the layer would have without samples: the ridge r draws towards it, so that a weight of which the samples
say nothing stays as it was. Layers are fitted in the order of the graph, so that each makes up for what those before it
miss. Patches have the zeros around an image as the layer has them.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.calibration import Pairs, watch_all
from budgetc_passes.contract import PassError, Sample
from budgetc_passes.fusion.pad import explicit_pads
from budgetc_passes.graph import (
    constant,
    dims,
    input_at,
    int_attribute,
    ints_attribute,
    is_op,
    label,
    set_constant,
)

RIDGE = 1e-3
"""Of the mean square of the features, added to that of each."""

MOST_COLUMNS = 4096
"""Of a patch: the moments of more would take too much memory and time."""

MOST_POSITIONS = 128
"""Of one inference that count, drawn at random: neighbours say nearly the same."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """How a convolution goes over its input; one number for each spatial axis.

    Attributes:
        kernel: size.
        strides: steps.
        dilations: distance of two taps.
        begins: zeros before the input.
        ends: zeros behind it.
        groups: of channels.
        channels: of one group.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    begins: tuple[int, ...]
    ends: tuple[int, ...]
    groups: int
    channels: int

    @property
    def taps(self) -> int:
        """Weights of a filter for one channel."""
        return int(np.prod(self.kernel))

    @property
    def columns(self) -> int:
        """Elements of a patch."""
        return self.channels * self.taps

    def patches(self, values: npt.NDArray[np.floating], positions: npt.NDArray[np.int64]) -> Floats:
        """What each filter is laid over, of shape (groups, positions, columns).

        Args:
            values: the input, of shape (batch, channels of all groups, *spatial).
            positions: which of the output, batch and spatial axes as one.
        """
        around = [(0, 0), (0, 0), *zip(self.begins, self.ends, strict=True)]
        spans = tuple((k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True))
        spatial = tuple(range(2, values.ndim))
        seen = np.lib.stride_tricks.sliding_window_view(np.pad(values, around), spans, spatial)
        steps = tuple(slice(None, None, stride) for stride in self.strides)
        taps = tuple(slice(None, None, dilation) for dilation in self.dilations)
        laid = np.moveaxis(seen[(slice(None), slice(None), *steps, *taps)], 1, len(spatial) + 1)
        taken = laid[np.unravel_index(positions, laid.shape[: len(spatial) + 1])]
        rows = taken.reshape(len(positions), self.groups, self.columns)
        return rows.transpose(1, 0, 2).astype(np.float64)


def window_of(node: ir.Node) -> Window | str:
    """The window of a convolution with constant weights, or why it has none."""
    weight, shape = constant(input_at(node, 1)), dims(node.inputs[0])
    if not is_op(node, "Conv"):
        return f"it is a {node.op_type}, no convolution"
    if weight is None or weight.dtype.kind != "f":
        return "its weights are not constant floats"
    if input_at(node, 2) is not None and constant(node.inputs[2]) is None:
        return "its bias is not constant"
    if shape is None or dims(node.outputs[0]) is None:
        return "the shape of its input is not known"
    ones = (1,) * (weight.ndim - 2)
    begins, ends = explicit_pads(node)
    return Window(
        kernel=weight.shape[2:],
        strides=ints_attribute(node, "strides", ones),
        dilations=ints_attribute(node, "dilations", ones),
        begins=tuple(begins),
        ends=tuple(ends),
        groups=int_attribute(node, "group", 1),
        channels=weight.shape[1],
    )


@dataclass(frozen=True, eq=False)
class Seen:
    """Second moments of what a convolution reads now and computed before, by its groups of channels.

    Attributes:
        square: E[p p^T] of patches with a one behind, of shape (groups, columns + 1, columns + 1).
        across: E[y p^T], of shape (groups, filters of each, columns + 1).
        energy: E[y^T y], of shape (groups,).
    """

    square: Floats
    across: Floats
    energy: Floats

    @property
    def variances(self) -> Floats:
        """Of what was computed, summed over the filters of each group."""
        means = self.across[:, :, -1]
        return np.asarray(np.maximum(self.energy - (means**2).sum(axis=1), 0.0))


class Original:
    """A model as it was, beside the one that passes make of it.

    Args:
        model: the model before anything is changed.
        samples: starts a fresh stream of samples.
    """

    def __init__(self, model: ir.Model, samples: Callable[[], Iterable[Sample]]) -> None:
        self._before = ir.from_proto(ir.to_proto(model))
        self._samples = samples

    def seen(
        self,
        model: ir.Model,
        node: ir.Node,
        window: Window,
        kept: npt.NDArray[np.int64] | None = None,
    ) -> Seen:
        """What a convolution reads in the model now, and what it computed before, by its output's name.

        Args:
            model: as it is now.
            node: the convolution.
            window: of it.
            kept: the channels of before that it still computes; None for all of them.

        Raises:
            PassError: there are no samples, or they do not fit the model.
        """
        source, result = node.inputs[0], node.outputs[0]
        assert source is not None
        moments = _Moments(window)
        pairs = Pairs(lambda x, y: moments.update(x, y if kept is None else y[:, kept]))
        watch_all(
            [
                (model, {source.name or "": [pairs.first]}),
                (self._before, {result.name or "": [pairs.second]}),
            ],
            self._samples(),
        )
        return moments.seen

    def fitted(
        self,
        model: ir.Model,
        node: ir.Node,
        window: Window,
        kept: npt.NDArray[np.int64] | None = None,
    ) -> Floats:
        """All weights of a convolution, fitted to what it computed before: of the shape of `filters_of`.

        Takes and raises what `seen` does.
        """
        seen, filters = self.seen(model, node, window, kept), filters_of(node, window)
        whole = np.eye(window.columns + 1)
        groups = zip(seen.square, seen.across, filters, strict=True)
        return np.stack([fit(square, across, whole, own) for square, across, own in groups])


class _Moments:
    """The running sums of one convolution."""

    def __init__(self, window: Window) -> None:
        self._window = window
        size = window.columns + 1
        self._square = np.zeros((window.groups, size, size))
        self._across: Floats | None = None
        self._energy = np.zeros(window.groups)
        self._count = 0
        self._random = np.random.default_rng(0)

    def update(self, source: npt.NDArray[np.floating], result: npt.NDArray[np.floating]) -> None:
        """Take in the input and the output of one inference."""
        filters = result.shape[1] // self._window.groups
        rows = np.moveaxis(result, 1, -1).reshape(-1, self._window.groups, filters)
        positions = np.arange(len(rows))
        if len(rows) > MOST_POSITIONS:
            positions = self._random.choice(len(rows), MOST_POSITIONS, replace=False)
        outputs = rows[positions].transpose(1, 0, 2).astype(np.float64)
        patches = self._window.patches(source, positions)
        seen = np.concatenate([patches, np.ones((*patches.shape[:2], 1))], axis=2)
        self._square += seen.transpose(0, 2, 1) @ seen
        across = outputs.transpose(0, 2, 1) @ seen
        self._across = across if self._across is None else self._across + across
        self._energy += (outputs**2).sum(axis=(1, 2))
        self._count += len(positions)

    @property
    def seen(self) -> Seen:
        assert self._across is not None
        count = self._count
        return Seen(self._square / count, self._across / count, self._energy / count)


def filters_of(node: ir.Node, window: Window) -> Floats:
    """A convolution's weights with its bias in the last column: (groups, filters of each, columns + 1)."""
    weight, bias = constant(node.inputs[1]), constant(input_at(node, 2))
    if weight is None:
        message = f"BUG: the weights of {label(node)} are not constant"
        raise PassError(message)
    flat = weight.astype(np.float64).reshape(window.groups, -1, window.columns)
    last = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    return np.concatenate([flat, last.reshape(window.groups, -1, 1)], axis=2)


def fit(square: Floats, across: Floats, features: Floats, start: Floats) -> Floats:
    """Weights for features by which the same comes out, as near as can be.

    Args:
        square: S, of shape (columns + 1, columns + 1).
        across: E[y p^T], of shape (filters, columns + 1).
        features: F, of shape (features, columns + 1); the last one is the constant.
        start: A', of shape (filters, features).

    Returns:
        A, of the same shape.
    """
    within = features @ square @ features.T
    missing = (across - start @ features @ square) @ features.T
    own = float(np.trace(within[:-1, :-1])) / max(len(within) - 1, 1)
    ridge = RIDGE * (own or 1.0) * np.eye(len(within))
    ridge[-1, -1] = RIDGE  # of the one behind each patch
    return start + np.linalg.solve(within + ridge, missing.T).T


def lost(seen: Seen, group: int, got: Floats) -> float:
    """The part of the variance of what filters computed that others miss.

    Args:
        seen: on samples.
        group: of channels.
        got: the other filters, written for whole patches: (filters, columns + 1).
    """
    square, across, variance = seen.square[group], seen.across[group], seen.variances[group]
    missed = seen.energy[group] - 2 * (got * across).sum() + ((got @ square) * got).sum()
    return max(float(missed), 0.0) / float(variance) if variance > 0 else 0.0


def set_filters(node: ir.Node, window: Window, filters: Floats) -> None:
    """Give a convolution weights with a bias, of the shape of `filters_of`."""
    weight = constant(node.inputs[1])
    assert weight is not None
    flat = filters.reshape(-1, window.columns + 1)
    new = flat[:, :-1].reshape(len(flat), window.channels, *window.kernel)
    set_constant(node, 1, new.astype(weight.dtype), f"{label(node)}.fitted")
    if input_at(node, 2) is not None or flat[:, -1].any():
        set_constant(node, 2, flat[:, -1].astype(weight.dtype), f"{label(node)}.bias")

"""Make the kernels of convolutions smaller, by their middle.

Of W[o, i, t] the taps t of the smaller kernel are kept, and the padding becomes smaller by what is cut off, so that
each output still lies over the same place. With calibration samples, the taps that stay are fitted to what the layer
computed of all of them (regression.py): neighbours in an image say much of each other.
"""

import functools
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import is_op, label, set_ints
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import require_known
from budgetc_passes.options import check_words, counts_of
from budgetc_passes.regression import (
    MOST_COLUMNS,
    Floats,
    Original,
    Window,
    filters_of,
    fit,
    lost,
    set_filters,
    window_of,
)
from budgetc_passes.selection import check


@dataclass(frozen=True)
class ShrinkKernels:
    """Makes kernels of convolutions smaller, such as 5x5 to 3x3: fewer weights and products, at a price in quality.

    Smaller kernels start from the middle of those that were, so that training has little left to do.

    Requires: opset >= 9, functions inlined, float weights; best after `clean` and `fuse`. Ensures: the
    model passes the full ONNX checker; the interface is unchanged.
    Cost: lowers size and latency of a layer by the share of taps that go; changes the function.
    Source: Zhang et al. 2015, arXiv 1505.06798, section 2 (fitted to what a layer computes).

    Attributes:
        kernel: the size on each axis that is longer; 0 leaves a convolution as it is.
        layers: convolutions with a size of their own, as "conv1=1;conv3=5"; `kernel` is for the rest. A ;
            or = inside of a name has a backslash before it.
        method: "fit" to what layers compute of the calibration samples; "crop" without.
    """

    name: ClassVar[str] = "shrink-kernels"
    kernel: int = 3
    layers: str = ""
    method: Literal["fit", "crop"] = "fit"

    def __post_init__(self) -> None:
        """Check the options."""
        check_words(self)
        own = counts_of(self, "layers", "kernel")
        if self.kernel < 0 or (self.kernel == 0 and not own):
            message = (
                f"shrink-kernels: kernel is {self.kernel}; it is 1 or more, such as 3, or 0 where "
                "`layers` says what gets smaller"
            )
            raise ValueError(message)

    def needs(self) -> Needs:
        """Calibration samples, if weights are fitted to them."""
        return Needs(calibration=self.method == "fit")

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Shrink every kernel that is wanted, in the order of the graph.

        Raises:
            PassError: `layers` names a convolution that the model lacks; there are no samples, or they do
                not fit the model.
        """
        before = require(model, self.name)
        convolutions = {label(node): node for node in model.graph if is_op(node, "Conv")}
        own = counts_of(self, "layers", "kernel")
        require_known(own, list(convolutions), "shrink-kernels: layers")
        notes: list[Note] = []
        original = Original(model, evidence.calibration) if self.method == "fit" else None
        for name, node in convolutions.items():
            window = window_of(node)
            cut = _cut(window, own.get(name, self.kernel)) if isinstance(window, Window) else window
            if isinstance(window, str) or isinstance(cut, str):
                notes.append(Note("refused", name, f"left as it is: {cut}"))
                continue
            found = functools.partial(_filters, model, node, window, cut, original)
            filters, missed = evidence.measured(f"{self} of {name}", found)
            _write(node, cut, filters)
            sizes = ["x".join(map(str, each.kernel)) for each in (window, cut.window)]
            how = "" if missed is None else f"; misses {missed:.1%} of its variance on the samples"
            notes.append(Note("did", name, f"made {sizes[1]} of {sizes[0]}{how}"))
        result = finish(model, self.name, before, notes)
        if result.modified:
            check(model, self.name)
        return result


@dataclass(frozen=True, eq=False)
class _Cut:
    """A smaller window, and which taps of the larger one it has."""

    window: Window
    taps: npt.NDArray[np.int64]


def _cut(window: Window, size: int) -> _Cut | str:
    """A window of at most this size on each axis, as near to the middle as its padding allows."""
    if size == 0:
        return "its kernel is 0"
    kernel = tuple(min(k, size) for k in window.kernel)
    if kernel == window.kernel:
        return f"no axis of its kernel is longer than {size}"
    begins, ends, firsts = [], [], []
    for at, (long, short) in enumerate(zip(window.kernel, kernel, strict=True)):
        step, begin, end = window.dilations[at], window.begins[at], window.ends[at]
        fits = [
            first
            for first in range(long - short + 1)
            if begin >= first * step and end >= (long - short - first) * step
        ]
        if not fits:
            return f"its padding of {begin} and {end} is less than what would be cut off"
        first = fits[len(fits) // 2]
        firsts.append(first)
        begins.append(begin - first * step)
        ends.append(end - (long - short - first) * step)
    grid = np.arange(window.taps).reshape(window.kernel)
    middle = tuple(slice(f, f + k) for f, k in zip(firsts, kernel, strict=True))
    smaller = replace(window, kernel=kernel, begins=tuple(begins), ends=tuple(ends))
    return _Cut(smaller, grid[middle].reshape(-1))


def _filters(
    model: ir.Model, node: ir.Node, window: Window, cut: _Cut, original: Original | None
) -> tuple[Floats, float | None]:
    """The smaller filters with their bias, (groups, filters of each, columns + 1); and what they miss."""
    columns = np.arange(window.columns).reshape(window.channels, window.taps)[:, cut.taps]
    kept = np.append(columns.reshape(-1), window.columns)
    filters = filters_of(node, window)[:, :, kept]
    if original is None or window.columns > MOST_COLUMNS:
        return filters, None
    seen = original.seen(model, node, window)
    features = np.eye(window.columns + 1)[kept]
    missed = np.zeros(window.groups)
    for group, start in enumerate(filters):
        square, across = seen.square[group], seen.across[group]
        filters[group] = fit(square, across, features, start)
        missed[group] = lost(seen, group, filters[group] @ features)
    variances = seen.variances
    return filters, float(missed @ variances / (variances.sum() or 1.0))


def _write(node: ir.Node, cut: _Cut, filters: Floats) -> None:
    window = cut.window
    set_filters(node, window, filters)
    node.attributes.pop("auto_pad", None)
    set_ints(node, "kernel_shape", window.kernel)
    set_ints(node, "pads", (*window.begins, *window.ends))

"""Channels that the others can stand in for: which to remove, and how the layers that read them make up for it.

A layer with weights W reads channels x of a group, of which some go. By second moments S = E[x x^T] + r I on
calibration samples, those that go are predicted from those that stay, and what the layer makes of the prediction goes
into its weights for these:

    x_gone ~ A x_kept,   A = S_gk S_kk^-1,   W_kept + W_gone A

What that loses is the expected square of what is not predicted, E|W_gone (x_gone - A x_kept)|^2. Taken one at a time,
the channel c of which the layer's outputs lose least goes first, and the next one is asked with W as it is then:

    loss(c) = |W_c|^2 / (S^-1)_cc,   W_k -= W_c (S^-1)_kc / (S^-1)_cc,   S^-1 without c

as optimal brain surgeon has it for single weights (Hassibi and Stork 1993), and channel pruning by least squares for
layers (He et al. 2017, arXiv 1707.06168, section 3.1); several layers count as parts of what their outputs weigh. One
prediction serves all taps of a convolution, so that no matrix is larger than the channels, and zeros around an image
are predicted as zeros. There is no constant term for this reason.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.calibration import watch
from budgetc_passes.contract import PassError, Sample
from budgetc_passes.contraction import contraction
from budgetc_passes.coupling import Group
from budgetc_passes.graph import constant, label, set_constant
from budgetc_passes.relations import Axis

RIDGE = 1e-3
"""Of the mean square of the channels, added to that of each: none is predicted by what is little but noise."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reader:
    """A layer with constant weights that sums over the channels of a group.

    Attributes:
        layer: the layer.
        source: the axis of its input that the channels lie on.
        rows: the axis of its weights that is summed over.
    """

    layer: ir.Node
    source: Axis
    rows: Axis

    def weights(self, group: Group) -> Floats:
        """What it does with each channel, of shape (channels, positions of each, everything else)."""
        array = np.moveaxis(_weight(self), self.rows[1], 0)
        return array.reshape(len(array), -1)[_positions(group, self.rows)]

    def refit(self, group: Group, gone: Sequence[int], prediction: Floats) -> None:
        """Let the channels that stay do what those that go did; these are still there.

        Args:
            group: the channels.
            gone: which of them go.
            prediction: of these by all, of shape (gone, channels), zero where a channel goes.
        """
        array = _weight(self)
        turned = np.moveaxis(array, self.rows[1], 0)
        rows = turned.reshape(len(turned), -1).copy()
        where = _positions(group, self.rows)
        added = np.einsum("gk,gpw->kpw", prediction, rows[where[list(gone)]])
        rows[where] += added
        new = np.moveaxis(rows.reshape(turned.shape), 0, self.rows[1])
        set_constant(
            self.layer, 1, new.astype(_stored(self).dtype), f"{label(self.layer)}.refitted"
        )


class Moments:
    """The running second moment of channels of one tensor.

    Args:
        axis: that the channels lie on.
        positions: of each channel on it, of shape (channels, positions of each).
    """

    def __init__(self, axis: int, positions: npt.NDArray[np.int64]) -> None:
        self._axis, self._positions = axis, positions
        self._count = 0
        self._sum = np.zeros((len(positions), len(positions)))

    def update(self, values: npt.NDArray[np.floating]) -> None:
        """Take in the tensor of one inference.

        Raises:
            ValueError: a value is not finite.
        """
        if not np.isfinite(values).all():
            raise ValueError("values are not finite")
        rows = np.moveaxis(values, self._axis, -1).reshape(-1, values.shape[self._axis])
        seen = np.moveaxis(rows[:, self._positions], 1, -1).reshape(-1, len(self._positions))
        self._sum += seen.T.astype(np.float64) @ seen
        self._count += len(seen)

    @property
    def square(self) -> Floats:
        """The mean of the product of each two channels, with the ridge on the diagonal."""
        mean = self._sum / max(self._count, 1)
        own = float(np.trace(mean)) / len(mean)
        return mean + (RIDGE * own or 1.0) * np.eye(len(mean))


def readers(group: Group, model: ir.Model) -> tuple[Reader, ...]:
    """The layers that sum over the channels of a group, in graph order.

    Weights that several nodes read are left out: what is right for one of them is wrong for the other.
    """
    axes = group.bundles[0]
    found = (reader for node in model.graph if (reader := _reader(node)) is not None)
    return tuple(r for r in found if r.source in axes and r.rows in axes and _is_own(r))


def measure(
    model: ir.Model, groups: Iterable[Group], samples: Iterable[Sample]
) -> dict[str, Floats]:
    """The second moments of the channels that each reader of each group reads, by `key`.

    Raises:
        PassError: there are no samples, or they do not fit the model.
    """
    wanted: dict[str, list[Moments]] = {}
    moments = {}
    for group in groups:
        for reader in readers(group, model):
            value, axis = reader.source
            assert isinstance(value, ir.Value)
            one = Moments(axis, _positions(group, reader.source))
            wanted.setdefault(value.name or "", []).append(one)
            moments[key(group, reader)] = one
    watch(model, wanted, samples)
    return {name: one.square for name, one in moments.items()}


def key(group: Group, reader: Reader) -> str:
    """Under which name `measure` gives the moments of what a reader reads of a group."""
    return f"{group.name} in {label(reader.layer)}"


def replaceable(
    group: Group, among: Sequence[Reader], moments: Sequence[Floats], count: int
) -> list[int]:
    """The channels that the others stand in for with least loss, as places in `group.bundles`, in the order of going.

    Args:
        group: the channels.
        among: the layers that read them, one or more.
        moments: of what each reads.
        count: how many go; fewer than there are.
    """
    left = np.ones(len(group.bundles), bool)
    gone: list[int] = []
    parts = [_Elimination(r.weights(group), m) for r, m in zip(among, moments, strict=True)]
    for _ in range(count):
        losses = np.sum([part.losses(left) for part in parts], axis=0)
        at = int(np.argmin(np.where(left, losses, np.inf)))
        gone.append(at)
        left[at] = False
        for part in parts:
            part.remove(at)
    return gone


class _Elimination:
    """One reader while channels go one after another: the products of its weights, and the inverse of the moments."""

    def __init__(self, weights: Floats, square: Floats) -> None:
        flat = weights.reshape(len(weights), -1)
        products = flat @ flat.T
        self._products = products / (float(np.sum(products * square)) or 1.0)
        self._inverse = np.linalg.inv(square)

    def losses(self, left: npt.NDArray[np.bool_]) -> Floats:
        """The part of the reader's outputs that is lost with each channel; for those that are gone, no matter what."""
        return np.asarray(np.diag(self._products) / np.where(left, np.diag(self._inverse), 1.0))

    def remove(self, at: int) -> None:
        """Let the channels that are left stand in for one."""
        row, pivot = self._inverse[at].copy(), self._inverse[at, at]
        share = -row / pivot
        share[at] = 0.0
        across, own = self._products[at].copy(), self._products[at, at]
        self._products += np.outer(share, across) + np.outer(across, share)
        self._products += own * np.outer(share, share)
        self._inverse -= np.outer(row, row) / pivot


def replace(
    group: Group, among: Sequence[Reader], moments: Sequence[Floats], gone: Sequence[int]
) -> None:
    """Refit the readers of a group to what stays of it."""
    kept = [at for at in range(len(group.bundles)) if at not in set(gone)]
    for reader, square in zip(among, moments, strict=True):
        prediction = np.zeros((len(gone), len(group.bundles)))
        within, across = square[np.ix_(kept, kept)], square[np.ix_(kept, gone)]
        prediction[:, kept] = np.linalg.solve(within, across).T
        reader.refit(group, gone, prediction)


def _reader(node: ir.Node) -> Reader | None:
    summed = contraction(node)
    if summed is None or constant(node.inputs[1]) is None:
        return None
    return Reader(node, summed.source, summed.rows)


def _is_own(reader: Reader) -> bool:
    value = reader.rows[0]
    return isinstance(value, ir.Value) and len(value.uses()) == 1


def _stored(reader: Reader) -> npt.NDArray[np.generic]:
    array = constant(reader.layer.inputs[1])
    if array is None:
        message = f"BUG: the weights of {label(reader.layer)} are not constant"
        raise PassError(message)
    return array


def _weight(reader: Reader) -> Floats:
    return _stored(reader).astype(np.float64)


def _positions(group: Group, axis: Axis) -> npt.NDArray[np.int64]:
    return np.array([bundle[axis] for bundle in group.bundles], np.int64)

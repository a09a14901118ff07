"""Winograd convolution, f32, 3x3 with a stride of 1, NHWC: fewer multiplications for more weights.

Activations may be bfloat16, which are widened: what a direct kernel of these makes twice as fast is the other choice.

    Y = A^T [ sum over i of (G W[o, i] G^T) * (B^T x[i] B) ] A        * is elementwise, Y is a tile of m x m results

F(2, 3) takes (m + 2)^2 = 16 multiplications for 4 results and F(4, 3) takes 36 for 16, where a direct convolution takes
36 and 144. F(2, 3) interpolates at 0, 1, -1 and infinity:

          [1  0 -1  0]        [ 1    0    0 ]
    B^T = [0  1  1  0]    G = [1/2  1/2  1/2]    A^T = [1  1  1  0]
          [0 -1  1  0]        [1/2 -1/2  1/2]          [0  1 -1 -1]
          [0  1  0 -1]        [ 0    0    1 ]

F(4, 3) at 0, a, -a, b, -b and infinity with a = 1 / sqrt(2) and b = sqrt(2). The usual 1 and 2 give a fourth of the
accuracy: these points lie around 1 in both directions, so their powers stay small.

          [1   0  -5/2   0   1   0]        [  1      0     0 ]
          [0 -2 a  -2    a   1   0]        [-2/3 -2/3 a  -1/3]          [1   1    1    1    1   0]
    B^T = [0  2 a  -2   -a   1   0]    G = [-2/3  2/3 a  -1/3]    A^T = [0   a   -a    b   -b   0]
          [0 -b/2 -1/2   b   1   0]        [ 1/6  1/6 b   1/3]          [0  1/2  1/2   2    2   0]
          [0  b/2 -1/2  -b   1   0]        [ 1/6 -1/6 b   1/3]          [0  a/2 -a/2  2 b -2 b  1]
          [0   1    0  -5/2  0   1]        [  0      0     1 ]

A block of tiles is transformed into scratch memory, V[position][tile][channel]; for each block of filters every
position is a matrix product with U[block of filters][position][channel][filter] in registers; the products are
transformed back, and bias and expression follow. Tiles that would leave the output begin earlier and store their own
part only: every result is written once. Infinities and NaNs spread over their tile.

Weights grow to 16/9 or 36/9 of their size, which a size budget feels. So the family takes a layer only where its
transformed weights fit the level 2 cache of the sheet: they are then read at full speed, block after block, and a
library grows by less than that much for each layer. Where a library misses its budget of size or memory, it is built
again without this family.

Source: Lavin and Gray 2015, "Fast algorithms for convolutional neural networks". On the choice of points: Barabasz et
al. 2018, "Error analysis and improving the accuracy of Winograd convolution for deep neural networks".
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.arithmetic import arithmetic, no_products
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.winograd_cost import direct_cost, rank_blocks
from budgetc_targets.kernels.winograd_shape import WinogradShape, shape_of
from budgetc_targets.task import Task

_B = np.sqrt(2)
_G = {
    2: np.array([[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]]),
    4: np.array(
        [
            [1, 0, 0],
            [-2 / 3, -_B / 3, -1 / 3],
            [-2 / 3, _B / 3, -1 / 3],
            [1 / 6, _B / 6, 1 / 3],
            [1 / 6, -_B / 6, 1 / 3],
            [0, 0, 1],
        ]
    ),
}


@dataclass(frozen=True)
class Winograd:
    """The Winograd family: dense 3x3 convolutions of floats where they are faster this way.

    Attributes:
        worth: how many times as fast as the direct kernel it must be by estimate, which errs by less than that.
        worth_of_halves: the same where that multiplies bfloat16 numbers; measured, it is slower than the estimate says.
    """

    kind: ClassVar[str] = "winograd"
    grows: ClassVar[bool] = True
    worth: float = 1.25
    worth_of_halves: float = 0.9

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """A 3x3 kernel over neighbouring pixels, of a size at which the transforms and the larger weights pay."""
        x, y = task.inputs[0], task.output
        reason = no_products(x.dtype, capability)
        if reason or x.dtype == "uint8":
            return reason or f"activations of type {x.dtype}"
        plain = {"kernel": (3, 3), "stride": (1, 1), "dilation": (1, 1), "groups": 1}
        for name, wanted in plain.items():
            if task.attribute(name) != wanted:
                return f"a {name} of {task.attribute(name)}, not {wanted}"
        for access in (x, y):
            if access.shape[1] > 1 and access.strides[1] != 1:
                return "the channel is not the innermost dimension"
        if min(y.shape[2:]) < min(_G):
            return "the output is smaller than a tile"
        shapes = _shapes(task, capability)
        if not shapes:
            return "the transformed weights do not fit the level 2 cache"
        unit = arithmetic(task, capability).unit
        worth = self.worth if unit == 1 else self.worth_of_halves
        for threads in {1, capability.threads}:
            best = min(_rank(s, capability, threads)[0][0] for s in shapes)
            gain = direct_cost(shapes[0], threads, unit) / best
            if gain < worth:
                return f"by estimate {gain:.2f} times as fast as the direct kernel, not {worth}"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Register tiles of tiles and vectors, for the tile size that is cheaper by estimate."""
        threads = capability.threads if task.parallel else 1
        ranked = [_rank(shape, capability, threads) for shape in _shapes(task, capability)]
        return [point for _, point in min(ranked, key=lambda r: r[0][0])]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (filters, channels, 3, 3) transformed in f64, in reading order; bias (filters,) in whole vectors."""
        shape, vectors = _shape(task, capability, point), knob(point, "vectors")
        g, weight = _G[shape.size], np.asarray(constants["weight"]).astype(np.float64)
        transformed = np.einsum("ia,jb,ocab->ijco", g, g, weight)
        filters = shape.filter_vectors * shape.lanes
        padded = np.zeros((shape.positions, shape.channels, filters), np.float32)
        padded[:, :, : shape.filters] = transformed.reshape(shape.positions, shape.channels, -1)
        blocks = padded.reshape(shape.positions, shape.channels, -1, vectors * shape.lanes)
        bias = np.zeros(filters, np.float32)
        bias[: shape.filters] = constants["bias"]
        return [np.ascontiguousarray(blocks.transpose(2, 0, 1, 3)), bias]

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.winograd_code import build

        threads = capability.threads if task.parallel else 1
        return build(task, _shape(task, capability, point), point, threads, name)


def _shape(task: Task, capability: Capability, point: Point) -> WinogradShape:
    return shape_of(task, arithmetic(task, capability).lanes, knob(point, "size"))


def _shapes(task: Task, capability: Capability) -> list[WinogradShape]:
    """The task at each tile size that its output holds and whose weights fit."""
    lanes = arithmetic(task, capability).lanes
    shapes = [shape_of(task, lanes, size) for size in _G if size <= min(task.output.shape[2:])]
    return [shape for shape in shapes if 4 * shape.weights <= capability.l2_bytes]


def _rank(
    shape: WinogradShape, capability: Capability, threads: int
) -> Sequence[tuple[float, Point]]:
    return rank_blocks(shape, capability.vector_registers, capability.l1_bytes, threads)

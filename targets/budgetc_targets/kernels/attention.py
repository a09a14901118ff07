"""Attention as one kernel: scores, their softmax and the sum that it weighs, some rows at a time.

    y[b, h, m, :] = f(sum over n of p[n] * v[b, h, n, :]),  p = w(softmax over n of s[n])
    s[n] = l(sum over k of q[b, h, m, k] * c[b, h, k, n])

`c` are the keys, transposed. The scores of a block of rows are all that there is of them, in scratch memory; so they
leave no cache, and the arena has none of the rest. Every number is what a product, a softmax and another product by
themselves compute, to the bit: sums go over `k` and `n` in order, and rows are swept over likewise.
"""

from collections.abc import Sequence
from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.expression import SOFTMAX_SLOTS
from budgetc_targets.kernels.matmul import cost_of_product, unsuited
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.kernels.tiles import PricedTile, point, price_tiles
from budgetc_targets.task import Task

_ROWS = (8, 16)
"""Least and most rows of a block: fewer are a little slower, more are no faster and take more scratch memory."""

_NEARLY = 1.02
"""Prices that differ by less are one; of those the point of least code is taken."""

_MOST_POINTS = 12


class Attention(SinglePoint):
    """The family of attention. Inputs: q (b, h, m, k), c (b, h, k, n), v (b, h, n, d); a stride of 0 broadcasts.

    Attributes of its tasks: the expressions `logits`, of the sums of the first product, and `weights`, of what softmax
    makes of them. Their operands are in the index space of the scores (b, h, m, n), those of the task's expression in
    that of the output (b, h, m, d); the three count operands together.
    """

    kind: ClassVar[str] = "attention"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """What products of activations refuse, for both of them."""
        del capability
        left, keys, values = task.inputs
        return unsuited((left, keys), task) or unsuited((left, values), task)

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Rows of a block and the register tiles of both products that divide it, ranked by the issue-slot model."""
        _, keys, _ = task.inputs
        *_, depth, scored = keys.shape
        *_, rows, columns = task.output.shape
        lanes = capability.channel_block

        def tiles(block: int, right: int, wide: int) -> list[PricedTile]:
            cost = cost_of_product(right, wide, capability)
            found = price_tiles(block, -(-wide // lanes), capability.vector_registers, cost)
            whole = [tile for tile in found if block % tile.pixels == 0]
            return sorted(whole, key=lambda t: (t.price, t.code))[:3] or [PricedTile(1.0, 1, 1, 1)]

        ranked: list[tuple[float, int, Point]] = []
        least, most = (min(rows, n) for n in _ROWS)
        for block in range(least, most + 1):
            for one in tiles(block, depth, scored):
                for other in tiles(block, scored, columns):
                    swept = SOFTMAX_SLOTS * block * -(-scored // lanes)
                    price = -(-rows // block) * (one.price * depth + other.price * scored + swept)
                    chosen = point(
                        rows=block,
                        score_pixels=one.pixels,
                        score_vectors=one.vectors,
                        pixels=other.pixels,
                        vectors=other.vectors,
                    )
                    ranked.append((price, one.code + other.code, chosen))
        best = min(ranked)[0]
        ranked.sort(key=lambda r: (r[0], 0) if r[0] > _NEARLY * best else (best, r[1]))
        return [chosen for _, _, chosen in ranked[:_MOST_POINTS]]

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.attention_code import build

        threads = capability.threads if task.parallel else 1
        return build(task, capability.channel_block, point, threads, name)

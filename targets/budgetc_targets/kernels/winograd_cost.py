"""What a Winograd convolution costs beside a direct one, in issue slots, and which blocks are the cheapest.

    direct    = 9 * channels * vectors of filters * pixels
    Winograd  = blocks * (tiles * (input transform * vectors of channels + output transform * vectors of filters)
                          + positions * channels * what a register tile takes for one channel)

and 4 slots for each vector of weights in both: which caches hold them is not known, and the third level is likely.
Measured on Zen 4 with 128, 256 and 512 bits: the blocks that come out cheapest are within 4 % of the fastest on
average, and the ratio of the two costs is below the measured one where it decides.
"""

import math
from collections.abc import Sequence

from budgetc_targets.contract import Point
from budgetc_targets.kernels.tiles import COSTS, point
from budgetc_targets.kernels.winograd_shape import Block, WinogradShape

_TRANSFORMS = {2: 25, 4: 120}
"""Slots of one transform, there or back, of one tile and one vector; loads and stores overlap with arithmetic."""

_CALL = 10
_WEIGHT_VECTOR = 4
_SCRATCH_SHARE = 0.01
"""How much longer everything takes for each level 1 cache that the scratch memory fills."""


def direct_cost(shape: WinogradShape, threads: int = 1, unit: int = 1) -> float:
    """Slots of the direct kernel, which comes near its multiply-adds; an instruction sums `unit` into a lane."""
    vectors = 9 * shape.channels * shape.filter_vectors / unit
    return vectors * (shape.batch * shape.rows * shape.columns / threads + _WEIGHT_VECTOR)


def winograd_cost(block: Block, l1_bytes: int, threads: int = 1) -> float:
    """Slots of the thread with the most blocks."""
    shape, cost = block.shape, COSTS["float"]
    accumulators = block.tiles * block.vectors
    step = accumulators * cost.dot + block.tiles * cost.per_pixel + block.vectors * cost.per_vector
    step *= max(1.0, cost.latency / accumulators)
    products = shape.filter_vectors / block.vectors * shape.positions
    channel_vectors = -(-shape.channels // shape.channel_lanes)
    transforms = block.tiles * (channel_vectors + shape.filter_vectors) * _TRANSFORMS[shape.size]
    once = transforms + products * (shape.channels * step + _CALL)
    once *= 1 + _SCRATCH_SHARE * 4 * block.scratch / l1_bytes
    rounds = math.ceil(math.ceil(shape.tiles / block.tiles) / threads)
    return rounds * once + shape.weights / shape.lanes * _WEIGHT_VECTOR


def rank_blocks(
    shape: WinogradShape, registers: int, l1_bytes: int, threads: int, most: int = 12
) -> Sequence[tuple[float, Point]]:
    """Costs and points, the cheapest first; vectors divide the filters, so that no block of them is a special case."""
    spare = COSTS["float"].spare_registers
    ranked: list[tuple[float, int, Point]] = []
    for vectors in range(1, shape.filter_vectors + 1):
        if shape.filter_vectors % vectors:
            continue
        for tiles in range(1, shape.tiles + 1):
            if tiles * vectors + vectors + spare > registers:
                break
            block = Block(shape, tiles, vectors)
            price = winograd_cost(block, l1_bytes, threads)
            at = point(size=shape.size, tiles=tiles, vectors=vectors)
            ranked.append((price, block.scratch, at))
    ranked.sort()
    return [(price, at) for price, _, at in ranked[:most] if price <= 1.3 * ranked[0][0]]

"""Register tiles: which shapes fit the register file, and what covering a row with them costs.

A tile is `pixels` x `vectors` accumulators. The model counts issue slots: a tile of p pixels and v
vectors takes, per reduction step, p * v dot products, p broadcasts and v weight loads, which have
ports of their own on most machines and so count little; it picks the default and prunes the space
before anything is measured. Of tiles that are nearly equal in it the one of least code is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from budgetc_targets.contract import Point


@dataclass(frozen=True)
class TileCost:
    """What the inner loop of a kernel takes from the machine, in issue slots and registers."""

    dot: float = 1.0
    per_pixel: float = 1.0
    per_vector: float = 1.0
    spare_registers: int = 2
    latency: int = 8  # accumulators needed to keep two pipes of four cycles busy
    most: int = 20  # beyond it LLVM spills: up to twice slower where taps overlap, never faster


# Six accumulators keep byte dot products busy: the next tile begins while this one drains.
COSTS = {
    "float": TileCost(dot=1.0, per_pixel=0.15, per_vector=0.15, spare_registers=1),
    "vpdpbusd": TileCost(dot=1.0, per_pixel=0.15, per_vector=0.15, spare_registers=1, latency=6),
    "vdpbf16ps": TileCost(dot=1.0, per_pixel=0.15, per_vector=0.15, spare_registers=1),
    "maddubs": TileCost(dot=3.0, per_pixel=0.5, per_vector=0.5, spare_registers=3, latency=4),
    "maddwd": TileCost(dot=4.0, per_pixel=2.5, per_vector=3.5, spare_registers=6, latency=4),
    "sdot": TileCost(dot=1.0, per_pixel=1.5, per_vector=0.5, spare_registers=2),
    "smlad": TileCost(dot=2.0, per_pixel=3.0, per_vector=3.0, spare_registers=7, latency=1, most=4),
    "vmladava": TileCost(per_pixel=2.0, spare_registers=1, latency=1, most=4),
    "mla": TileCost(per_pixel=1.0, per_vector=1.0, spare_registers=6, latency=1, most=4),
    "vwmacc": TileCost(per_pixel=0.5, per_vector=1.0, spare_registers=1, latency=4),
    "usdot": TileCost(dot=1.0, per_pixel=1.0, per_vector=0.5, spare_registers=2),
    "widening": TileCost(dot=6.0, per_pixel=1.5, per_vector=0.5, spare_registers=6, latency=4),
    "pairwise": TileCost(dot=4.0, per_pixel=1.5, per_vector=0.5, spare_registers=5, latency=4),
    "vmull": TileCost(dot=7.0, per_pixel=2.0, per_vector=0.5, spare_registers=5, latency=4),
    "vpadd": TileCost(dot=5.0, per_pixel=2.0, per_vector=0.5, spare_registers=5, latency=4),
    "wasmdot": TileCost(dot=4.0, per_pixel=3.0, per_vector=4.0, spare_registers=6, latency=4),
}


NEARLY = 1.05
"""Prices that differ by less are one to the model; measured, such tiles are within two percent."""


def point(**knobs: int) -> Point:
    """A point of a space from its knobs."""
    return tuple(sorted(knobs.items()))


def knob(chosen: Point, name: str) -> int:
    """The value of one knob."""
    return dict(chosen)[name]


def split_row(width: int, pixels: int) -> list[tuple[int, int, int]]:
    """Cover a row: (first pixel, number of tiles, pixels of a tile), the remainder as its own tile."""
    whole, rest = divmod(width, pixels)
    parts = [(0, whole, pixels)] if whole else []
    return parts + ([(whole * pixels, 1, rest)] if rest else [])


def _row_cost(width: int, pixels: int, vectors: int, cost: TileCost, ending: float) -> float:
    total = 0.0
    for _, count, p in split_row(width, pixels):
        slots = p * vectors * cost.dot + p * cost.per_pixel + vectors * cost.per_vector
        starved = max(1.0, cost.latency / (p * vectors))
        total += count * (slots * starved + p * vectors * ending)
    return total


def _divisors(n: int) -> Iterator[int]:
    return (d for d in range(1, n + 1) if n % d == 0)


@dataclass(frozen=True)
class PricedTile:
    """A tile, what covering a row by it costs for each step of the reduction in issue slots, and its size in code."""

    price: float
    code: int
    pixels: int
    vectors: int


def price_tiles(
    width: int, blocks: int, registers: int, cost: TileCost, *, ending: float = 0.0
) -> list[PricedTile]:
    """Every tile for rows of `width` pixels and `blocks` vectors of channels that fits; see `rank_tiles`."""
    priced = []
    for vectors in _divisors(blocks):
        for pixels in range(1, min(width, 14) + 1):
            if pixels * vectors + vectors + cost.spare_registers > registers:
                continue
            if pixels * vectors > cost.most:
                continue
            price = _row_cost(width, pixels, vectors, cost, ending) * (blocks // vectors)
            code = (pixels + width % pixels) * vectors
            priced.append(PricedTile(price, code, pixels, vectors))
    return priced


def rank_tiles(
    width: int,
    blocks: int,
    registers: int,
    cost: TileCost,
    *,
    ending: float = 0.0,
    most: int = 12,
) -> Sequence[Point]:
    """Tiles for rows of `width` pixels and `blocks` vectors of channels, the cheapest first.

    Vectors divide the number of blocks, so that no block is a special case.

    Args:
        width: pixels of a row.
        blocks: vectors of channels.
        registers: vector registers of the machine.
        cost: of the inner loop.
        ending: issue slots of the epilogue of one accumulator, for each step of its reduction.
        most: tiles to return.
    """
    ranked = [
        (tile.price, tile.code, point(pixels=tile.pixels, vectors=tile.vectors))
        for tile in price_tiles(width, blocks, registers, cost, ending=ending)
    ]
    if not ranked:
        return [point(pixels=1, vectors=1)]
    best = min(ranked)[0]
    ranked.sort(key=lambda r: (r[0], 0) if r[0] > NEARLY * best else (best, r[1]))
    return [p for price, _, p in ranked[:most] if price <= 1.6 * best]

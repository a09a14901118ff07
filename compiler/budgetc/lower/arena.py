"""Plan the arena: an offset for every intermediate tensor, so that no two that live at the same time overlap."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT = 64
SLACK = 64  # kernels read whole vectors and may pass the end of the last tensor


@dataclass(frozen=True)
class Life:
    """A tensor's bytes, and the first and the last call that touch it."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes, the arena's size, and the bytes that any plan for this order of calls needs."""

    offsets: Mapping[str, int]
    size: int
    lower_bound: int


def plan(lives: Mapping[str, Life]) -> Plan:
    """Best of several greedy orders: each tensor goes to the lowest gap that fits among those it meets.

    Source: Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", greedy by size.
    """
    sizes = {name: -(-life.size // ALIGNMENT) * ALIGNMENT for name, life in lives.items()}
    orders = (
        sorted(lives, key=lambda n: (-sizes[n], lives[n].first)),
        sorted(lives, key=lambda n: (-sizes[n] * (lives[n].last - lives[n].first + 1), n)),
        sorted(lives, key=lambda n: (lives[n].first, -sizes[n])),
        sorted(lives, key=lambda n: (-lives[n].last + lives[n].first, -sizes[n])),
    )
    plans = [_place(order, lives, sizes) for order in orders]
    offsets = min(plans, key=lambda p: _extent(p, sizes))
    size = _extent(offsets, sizes)
    return Plan(offsets, size + SLACK if size else 0, lower_bound(lives))


def lower_bound(lives: Mapping[str, Life]) -> int:
    """The most bytes that live at one call."""
    moments = {life.first for life in lives.values()}
    return max(
        (
            sum(life.size for life in lives.values() if life.first <= moment <= life.last)
            for moment in moments
        ),
        default=0,
    )


def _place(
    order: Sequence[str], lives: Mapping[str, Life], sizes: Mapping[str, int]
) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for name in order:
        life = lives[name]
        met = sorted(
            (offsets[other], offsets[other] + sizes[other])
            for other in offsets
            if lives[other].first <= life.last and life.first <= lives[other].last
        )
        at = 0
        for begin, end in met:
            if at + sizes[name] <= begin:
                break
            at = max(at, end)
        offsets[name] = at
    return offsets


def _extent(offsets: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    return max((at + sizes[name] for name, at in offsets.items()), default=0)

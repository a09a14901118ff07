"""Contenders take turns: what disturbs a machine for a while is shared by all."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def turned(names: Sequence[T], number: int) -> list[T]:
    """The order of a round: another one begins each time, and every other round runs backwards."""
    if not names:
        return []
    shift = number * max(1, len(names) // 3) % len(names)
    order = [*names[shift:], *names[:shift]]
    return order[::-1] if number % 2 else order


def in_turns(
    contenders: Mapping[str, Callable[[], Mapping[str, Any]]], rounds: int
) -> dict[str, float]:
    """Seconds of each: the median over rounds of what each call of it gives as `median`."""
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds):
        for name in turned(list(contenders), number):
            taken[name].append(contenders[name]()["median"])
    return {name: statistics.median(values) for name, values in taken.items()}

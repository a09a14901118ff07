"""A race between kernels: in a child of its own, on one processor, in turns, so that they share what disturbs them."""

import ctypes
import mmap
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

MOST_ROUNDS = 31
LEAST_ROUNDS = 9
ROUND_NS = 300_000  # long enough for the clock, short enough for many rounds
RACE_NS = 1_500_000_000
WATCH_SECONDS = 0.05

WORTH = 0.02
"""What a change of point must bring at least; less is not worth code that differs between layers of one shape."""


def race(
    library: str, memory: str, numbers: Sequence[int], arguments: Sequence[Sequence[int]]
) -> list[list[float]]:
    """Time kernels in turns; the whole of a child.

    Args:
        library: with a function `time<i>(void **arguments, int64_t calls)` for each kernel, which gives nanoseconds.
        memory: file with the contents of everything that the kernels read and write; it is not changed.
        numbers: of the kernels that race.
        arguments: for each of them the offsets of its arguments in the memory.

    Returns:
        Nanoseconds of a call: for each kernel, one number each round.
    """
    os.sched_setaffinity(0, {least_loaded()})
    loaded = ctypes.CDLL(library)
    with Path(memory).open("rb") as file:
        held = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    base = ctypes.addressof(ctypes.c_char.from_buffer(held))
    entries = []
    for number, offsets in zip(numbers, arguments, strict=True):
        function = getattr(loaded, f"time{number}")
        function.restype = ctypes.c_int64
        pointers = (ctypes.c_void_p * len(offsets))(*(base + offset for offset in offsets))
        function(pointers, ctypes.c_int64(1))  # pages come in
        once = max(1, function(pointers, ctypes.c_int64(1)))
        entries.append((function, pointers, max(1, ROUND_NS // once), once))
    round_ns = sum(count * once for _, _, count, once in entries)
    rounds = min(MOST_ROUNDS, max(LEAST_ROUNDS, RACE_NS // round_ns))
    samples: list[list[float]] = [[] for _ in entries]
    for turn in range(rounds):
        order = range(len(entries)) if turn % 2 else reversed(range(len(entries)))
        for i in order:
            function, pointers, count, _ = entries[i]
            samples[i].append(function(pointers, ctypes.c_int64(count)) / count)
    return samples


def least_loaded() -> int:
    """The processor, of those that this process may use, that idled most while it was watched."""
    before = _idle()
    time.sleep(WATCH_SECONDS)
    after = _idle()
    return max(
        sorted(os.sched_getaffinity(0)), key=lambda cpu: after.get(cpu, 0) - before.get(cpu, 0)
    )


def _idle() -> Mapping[int, int]:
    """Ticks that each processor has idled since the machine was started."""
    lines = Path("/proc/stat").read_text().splitlines()
    fields = [line.split() for line in lines if line.startswith("cpu") and line[3].isdigit()]
    return {int(name.removeprefix("cpu")): int(idle) for name, _, _, _, idle, *_ in fields}


def advantage(challenger: Sequence[float], incumbent: Sequence[float]) -> float:
    """By how much a challenger is faster, as a fraction; 0 where that is not beyond what the rounds differ by.

    Rounds are compared one by one, since what slows a machine down for a while slows both. The median of their ratios
    must lie below 1 by more than half of what the middle half of them spans, and by more than `WORTH`.
    """
    ratios = [c / i for c, i in zip(challenger, incumbent, strict=True)]
    first, median, third = statistics.quantiles(ratios, n=4)
    gained = 1 - median
    return gained if gained > max(WORTH, (third - first) / 2) else 0.0

"""The taps of a depthwise kernel in groups: as many as one instruction sums into a lane."""

from budgetc_targets.kernels.arithmetic import Arithmetic

Tap = tuple[int, int]
"""Row and column in the kernel."""

Group = tuple[Tap | None, ...]
"""Taps that one instruction sums; None multiplies by a weight of zero."""


def tap_groups(kernel: tuple[int, int], unit: int) -> list[Group]:
    """Every tap of a kernel in groups of `unit` (1, 2 or 4), band of rows by band of rows.

    Fours are rows of one column. Twos are rows of one column too, but the last row of an odd
    kernel pairs its columns, so that one tap at most stands alone.
    """
    kh, kw = kernel
    if unit == 2:
        groups: list[Group] = [((a, b), (a + 1, b)) for a in range(0, kh - 1, 2) for b in range(kw)]
        if kh % 2:
            groups += [((kh - 1, b), (kh - 1, b + 1)) for b in range(0, kw - 1, 2)]
            groups += [((kh - 1, kw - 1), None)] if kw % 2 else []
        return groups
    return [
        tuple((a + r, b) if a + r < kh else None for r in range(unit))
        for a in range(0, kh, unit)
        for b in range(kw)
    ]


def taps_per_group(chosen: Arithmetic) -> int:
    """How many taps the arithmetic's best instruction for this work takes at once."""
    return chosen.taps

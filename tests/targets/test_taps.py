"""Groups of taps: every tap once, whatever the kernel and the instruction."""

import pytest
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.taps import tap_groups, taps_per_group

KERNELS = [(a, b) for a in range(1, 8) for b in range(1, 8)]


@pytest.mark.parametrize("unit", [1, 2, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_tap_is_in_one_group(kernel: tuple[int, int], unit: int) -> None:
    groups = tap_groups(kernel, unit)
    taps = [tap for group in groups for tap in group if tap]
    assert sorted(taps) == [(a, b) for a in range(kernel[0]) for b in range(kernel[1])]
    assert all(len(group) == unit and group[0] for group in groups)


@pytest.mark.parametrize("kernel", KERNELS)
def test_pairs_waste_one_place_at_most(kernel: tuple[int, int]) -> None:
    taps = kernel[0] * kernel[1]
    assert len(tap_groups(kernel, 2)) == -(-taps // 2)


def test_the_unit_follows_the_instruction() -> None:
    expected = {
        "float": 1,
        "widening128": 1,
        "maddwd128": 2,
        "maddwd256": 2,
        "maddubs256": 4,
        "vpdpbusd512": 4,
        "sdot128": 4,
    }
    assert {name: taps_per_group(Arithmetic(name, 4)) for name in expected} == expected

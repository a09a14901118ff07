"""Contenders: kernels of ours at several points, compiled, and raced in a child."""

from pathlib import Path
from statistics import median

import pytest
from budgetc.lower.points import Work
from budgetc.registry import find_target
from budgetc.tuning.contenders import compile_contenders
from budgetc_specs.capability import Capability
from budgetc_targets.kernels.tiles import point


@pytest.mark.usefixtures("zig_cache")
def test_a_tile_that_starves_the_pipes_is_slower(
    works: list[Work], sheet: Capability, tmp_path: Path
) -> None:
    default = works[0].family.space(works[0].task, sheet)[0]
    chosen = [(works[0], point(pixels=1, vectors=1)), (works[0], default)]
    contenders = compile_contenders(chosen, find_target("host"), sheet, tmp_path)
    starved, good = contenders.race()
    assert median(good) < 0.7 * median(starved)


@pytest.mark.usefixtures("zig_cache")
def test_different_kernels_share_a_race_and_equal_ones_their_memory(
    works: list[Work], sheet: Capability, tmp_path: Path
) -> None:
    first = [(w, w.family.space(w.task, sheet)[0]) for w in works]
    contenders = compile_contenders([*first, first[0]], find_target("host"), sheet, tmp_path)
    ends = [(c[0], c[-1]) for c in contenders.arguments.values()]
    assert ends[0] == ends[3]
    assert len(set(ends)) == 3
    assert all(offset % 64 == 0 for c in contenders.arguments.values() for offset in c)
    assert [len(samples) > 0 for samples in contenders.race()] == [True] * 4

"""Contenders: kernels of ours at several points, compiled, and raced in a child."""

import re
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
    target = find_target("host")
    with compile_contenders(chosen, target, sheet, target.runner(sheet), tmp_path) as contenders:
        starved, good = contenders.race()
        good_again, starved_again = contenders.race(1, 0)
    assert contenders.machines == ["this machine"]
    assert median(good_again) < 0.7 * median(starved_again)
    assert median(good) < 0.7 * median(starved)


@pytest.mark.usefixtures("zig_cache")
def test_different_kernels_share_a_race_and_equal_ones_their_memory(
    works: list[Work], sheet: Capability, tmp_path: Path
) -> None:
    first = [(w, w.family.space(w.task, sheet)[0]) for w in works]
    target, chosen = find_target("host"), [*first, first[0]]
    with compile_contenders(chosen, target, sheet, target.runner(sheet), tmp_path) as contenders:
        assert [len(samples) > 0 for samples in contenders.race()] == [True] * 4
    table = re.findall(r"at\d+\[\] = \{(.*)\}", (tmp_path / "t.c").read_text())
    offsets = [[int(word) for word in row.split(",")] for row in table]
    ends = [(c[0], c[-1]) for c in offsets]
    assert ends[0] == ends[3]
    assert len(set(ends)) == 3
    assert all(offset % 64 == 0 for c in offsets for offset in c)

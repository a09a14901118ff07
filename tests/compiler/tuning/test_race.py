"""Races: what counts as faster, and a real one between functions in C."""

import os
from importlib import resources
from pathlib import Path

import pytest
from budgetc.emit.zig import Zig
from budgetc.measure.conversation import BinaryError
from budgetc.tuning.contenders import Contenders
from budgetc.tuning.race import LEAST_ROUNDS, MOST_ROUNDS, WORTH, advantage
from hypothesis import given
from hypothesis import strategies as st

TIMERS = """
#define _GNU_SOURCE
#include "race.h"
#include <sched.h>
#include <time.h>
static int64_t spin(volatile int32_t *counter, int64_t calls, int64_t work) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int64_t i = 0; i < calls * work; i++) ++*counter;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec;
}
static int64_t slow(void **a, int64_t n) { return spin(a[0], n, 3000); }
static int64_t fast(void **a, int64_t n) { return spin(a[0], n, 1000); }
static int64_t crash(void **a, int64_t n) { *(volatile int *)0 = 1; return n; }
static int64_t processors(void **a, int64_t n) {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    return CPU_COUNT(&allowed) * n;
}
static int64_t processor(void **a, int64_t n) { return (1 + sched_getcpu()) * n; }
static const int64_t at[] = {16};
const contender contenders[] = {{slow, 1, at}, {fast, 1, at}, {crash, 1, at}, {processors, 1, at}, {processor, 1, at}};
const int32_t contender_count = 5;
"""


@pytest.fixture
def contenders(tmp_path: Path, zig_cache: Path):
    (tmp_path / "t.c").write_text(TIMERS)
    for name in ("race.c", "race.h"):
        (tmp_path / name).write_bytes(resources.files("budgetc.emit").joinpath(name).read_bytes())
    Zig(zig_cache / "zig").run("cc", "-O2", "race.c", "t.c", "-o", "race", cwd=tmp_path)
    (tmp_path / "memory.bin").write_bytes(bytes(64))
    with Contenders([str(tmp_path / "race")], tmp_path / "memory.bin", 5) as made:
        yield made


def test_the_faster_one_wins_and_the_memory_is_left_alone(
    contenders: Contenders, tmp_path: Path
) -> None:
    slow, fast = contenders.race(0, 1)
    assert LEAST_ROUNDS <= len(slow) == len(fast) <= MOST_ROUNDS
    assert advantage(fast, slow) == pytest.approx(2 / 3, abs=0.1)
    assert advantage(slow, fast) == 0
    assert (tmp_path / "memory.bin").read_bytes() == bytes(64)


def test_a_crash_ends_the_race_only(contenders: Contenders) -> None:
    with pytest.raises(BinaryError, match="SIGSEGV"):
        contenders.race()
    assert len(contenders.race(0, 1)) == 2


def test_a_race_is_run_on_one_processor(contenders: Contenders) -> None:
    assert set(contenders.race(3)[0]) == {1.0}


def test_it_is_one_that_may_be_used(contenders: Contenders) -> None:
    allowed = os.sched_getaffinity(0)
    for only in sorted(allowed):
        os.sched_setaffinity(0, {only})
        try:
            with contenders:
                assert set(contenders.race(4)[0]) == {only + 1.0}
        finally:
            os.sched_setaffinity(0, allowed)


LENGTHS = st.floats(1.0, 1e6)


@given(st.lists(LENGTHS, min_size=9, max_size=31), st.floats(0.5, 2.0))
def test_what_slows_both_down_decides_nothing(incumbent: list[float], factor: float) -> None:
    gained = advantage([factor * t for t in incumbent], incumbent)
    assert gained == (pytest.approx(1 - factor, rel=1e-6) if 1 - factor > WORTH + 1e-9 else 0)


def test_less_than_the_rounds_differ_by_is_no_win() -> None:
    incumbent = [100.0] * 12
    assert advantage([95.0] * 12, incumbent) == pytest.approx(0.05)
    assert advantage([80.0, 95.0, 110.0] * 4, incumbent) == 0
    assert advantage([99.0] * 12, incumbent) == 0

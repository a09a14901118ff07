"""Races: what counts as faster, and a real one between two functions in C."""

import os
from pathlib import Path

import pytest
from budgetc.emit.zig import Zig
from budgetc.tuning.contenders import Contenders
from budgetc.tuning.race import LEAST_ROUNDS, MOST_ROUNDS, WORTH, advantage, least_loaded
from budgetc.worker import ChildDied
from hypothesis import given
from hypothesis import strategies as st

TIMERS = """
#define _GNU_SOURCE
#include <sched.h>
#include <stdint.h>
#include <time.h>
static int64_t spin(volatile int32_t *counter, int64_t calls, int64_t work) {
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    for (int64_t i = 0; i < calls * work; i++) ++*counter;
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec;
}
int64_t time0(void **a, int64_t n) { return spin(a[0], n, 3000); }
int64_t time1(void **a, int64_t n) { return spin(a[0], n, 1000); }
int64_t time2(void **a, int64_t n) { *(volatile int *)0 = 1; return n; }
int64_t time3(void **a, int64_t n) {
    cpu_set_t allowed;
    sched_getaffinity(0, sizeof allowed, &allowed);
    return CPU_COUNT(&allowed) * n;
}
"""


@pytest.fixture
def contenders(tmp_path: Path, zig_cache: Path) -> Contenders:
    (tmp_path / "t.c").write_text(TIMERS)
    Zig(zig_cache / "zig").run("cc", "-O2", "-shared", "t.c", "-o", "t.so", cwd=tmp_path)
    (tmp_path / "memory.bin").write_bytes(bytes(64))
    return Contenders(tmp_path, {number: [16] for number in range(4)})


def test_the_faster_one_wins_and_the_memory_is_left_alone(contenders: Contenders) -> None:
    slow, fast = contenders.only(0, 1).race()
    assert LEAST_ROUNDS <= len(slow) == len(fast) <= MOST_ROUNDS
    assert advantage(fast, slow) == pytest.approx(2 / 3, abs=0.1)
    assert advantage(slow, fast) == 0
    assert (contenders.folder / "memory.bin").read_bytes() == bytes(64)


def test_a_crash_ends_the_race_only(contenders: Contenders) -> None:
    with pytest.raises(ChildDied, match="SIGSEGV"):
        contenders.race()


def test_a_race_is_run_on_one_processor(contenders: Contenders) -> None:
    before = os.sched_getaffinity(0)
    assert set(contenders.only(3).race()[0]) == {1.0}
    assert os.sched_getaffinity(0) == before


def test_the_least_loaded_processor_is_one_that_may_be_used() -> None:
    allowed = os.sched_getaffinity(0)
    for only in sorted(allowed):
        os.sched_setaffinity(0, {only})
        try:
            assert least_loaded() == only
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

"""Measurements of kernels on the disk: shared between processes, and never more of one kernel than are of use."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.predict.timings import KEPT, Timing, Timings
from budgetc.registry import find_target
from budgetc_specs.capability import Capability

ONE = Timing("convolution", 8, "abc", (("pixels", 4),), 1000, 200, 300, False, 1e-6)


@pytest.fixture
def timings(tmp_path: Path, host: Capability) -> Timings:
    return Timings(tmp_path, find_target("host"), host)


def test_there_is_nothing_at_first(timings: Timings) -> None:
    assert timings.read() == []


def test_what_is_added_is_read(timings: Timings) -> None:
    other = replace(ONE, point=(), seconds=2e-6)
    timings.add([ONE, other])
    assert timings.read() == [ONE, other]


def test_the_latest_of_a_kernel_are_kept(timings: Timings) -> None:
    for number in range(KEPT + 5):
        timings.add([replace(ONE, seconds=float(number))])
    assert [t.seconds for t in timings.read()] == [float(n) for n in range(5, KEPT + 5)]


def test_sheets_do_not_mix(tmp_path: Path, host: Capability) -> None:
    target = find_target("host")
    Timings(tmp_path, target, host).add([ONE])
    threaded = host.model_copy(update={"threads": 2})
    assert Timings(tmp_path, target, threaded).read() == []


def test_damaged_lines_are_left_out(tmp_path: Path, timings: Timings) -> None:
    timings.add([ONE])
    (file,) = tmp_path.glob("*.jsonl")
    file.write_text('{"half": \n' + file.read_text() + '{"operator": 1}\n')
    assert timings.read() == [ONE]


def test_many_may_add_at_once(tmp_path: Path, host: Capability) -> None:
    def add(number: int) -> None:
        Timings(tmp_path, find_target("host"), host).add([replace(ONE, form=str(number))])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    forms = {t.form for t in Timings(tmp_path, find_target("host"), host).read()}
    assert forms == {str(number) for number in range(40)}

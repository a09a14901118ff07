"""Kernels for any size: what they read from their table makes them compute what numpy says, overlaps and all."""

from dataclasses import replace

import pytest
from budgetc_targets.contract import Opening
from conftest import RunKernels
from kernel_runner import AVX2, DOTPROD, WIDE_EMULATED, Job, Written
from windows import Window, check, job_of, task_of

POINTWISE = Window(channels=24, filters=32, kernel=(1, 1), out=(5, 19), row_gap=7)
WINDOWS = {
    "dense": POINTWISE,
    "one row": replace(POINTWISE, out=(1, 14), row_gap=0),
    "strided": replace(POINTWISE, stride=(2, 2)),
    "channels that are no quads": replace(POINTWISE, channels=29),
    "many filters": replace(POINTWISE, filters=128),
    "float": replace(POINTWISE, integer=False),
    "threads that share rows": replace(POINTWISE, out=(17, 19), parallel=True),
    "threads that share tiles": replace(POINTWISE, parallel=True),
    "threads that share filters": replace(
        POINTWISE, channels=64, filters=96, out=(1, 14), row_gap=0, parallel=True
    ),
    "a kernel that is one run": replace(POINTWISE, channels=1, kernel=(1, 49), out=(1, 14)),
    "quads": Window("depthwise", channels=64, filters=64, groups=64, out=(5, 7), row_gap=64),
    "quads with a stride": Window("depthwise", channels=64, filters=64, groups=64, stride=(2, 2)),
    "blocks of quads": Window("depthwise", channels=192, filters=192, groups=192, out=(4, 3)),
    # 96 and 288 are no whole blocks of 64, and twice a block of 32 is one.
    "blocks of half vectors": Window("depthwise", channels=96, filters=96, groups=96, out=(4, 3)),
    "pixels side by side": Window("depthwise", channels=16, filters=16, groups=16, out=(7, 9)),
}
CAPABILITIES = {"avx2": AVX2, "wide": WIDE_EMULATED, "dotprod": DOTPROD}


def _jobs() -> dict[str, tuple[Window, Job]]:
    jobs = {}
    for sheet, capability in CAPABILITIES.items():
        for what, window in WINDOWS.items():
            name = f"{what}, {sheet}"
            job = replace(job_of(name, window, capability), open=True)
            assert isinstance(job.family, Opening)
            if job.family.opened(job.task, capability, job.chosen):
                jobs[name] = (window, job)
    return jobs


JOBS = _jobs()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in JOBS.values()])


@pytest.mark.parametrize("name", JOBS)
def test_an_open_kernel_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    window, job = JOBS[name]
    check(window, job, written[name])


def test_what_threads_share_is_a_part_of_the_form() -> None:
    shared = {
        name: dict(job.opened.task.attributes)["sharing"]
        for name, (_, job) in JOBS.items()
        if job.task.parallel
    }
    for what in ("rows", "tiles", "filters"):
        found = [v for name, v in shared.items() if name.startswith(f"threads that share {what}")]
        assert found
        assert set(found) == {what}


def test_every_window_is_open_somewhere() -> None:
    assert {name.rsplit(", ", 1)[0] for name in JOBS} == set(WINDOWS)


def test_tasks_of_other_sizes_are_equal_when_opened() -> None:
    def opened(window: Window) -> object:
        job = job_of("any", window, AVX2)
        assert isinstance(job.family, Opening)
        point = job_of("any", POINTWISE, AVX2).chosen
        found = job.family.opened(task_of(window), AVX2, point)
        return found and found.task

    larger = replace(POINTWISE, channels=64, filters=64, out=(9, 33), stride=(2, 1))
    assert opened(POINTWISE) == opened(larger)
    assert opened(POINTWISE) != opened(replace(POINTWISE, zero=3))


@pytest.mark.parametrize(
    "window",
    [
        replace(POINTWISE, kernel=(3, 3)),
        replace(POINTWISE, residual=True),
        replace(POINTWISE, batch=2),
        replace(POINTWISE, filters=30),
        replace(POINTWISE, channels=8),
    ],
    ids=lambda window: window.name,
)
def test_what_only_code_for_the_very_sizes_can_do_stays_closed(window: Window) -> None:
    job = job_of("any", window, AVX2)
    assert isinstance(job.family, Opening)
    assert job.family.opened(job.task, AVX2, job.chosen) is None

"""Convolutions by one filter: runs and rows of every length that a vector leaves a rest of, against numpy."""

from dataclasses import replace

import pytest
from budgetc_targets.aarch64 import AArch64
from budgetc_targets.kernels.single_filter import SingleFilter
from conftest import RunKernels
from kernel_runner import AVX2, DOTPROD, SSE2, WIDE, WIDE_BF16, WIDE_EMULATED, Job, Written
from windows import Window, check, job_of, jobs_of, task_of

FAMILY = SingleFilter()
BASE = Window("single-filter", channels=32, filters=1, kernel=(3, 3), out=(3, 18))
WINDOWS = [
    BASE,
    *(replace(BASE, channels=c) for c in (8, 11, 33, 64)),
    *(replace(BASE, channels=1, kernel=(1, k), stride=(1, s)) for k in (64, 256) for s in (1, 2)),
    replace(BASE, kernel=(1, 1), channels=64),
    replace(BASE, kernel=(7, 3), stride=(2, 3), dilation=(2, 1)),
    *(replace(BASE, out=(2, w)) for w in (16, 17, 40)),
    replace(BASE, batch=2, spare=(1, 2), row_gap=9, zero=5),
    replace(BASE, residual=True),
    replace(BASE, batch=2, parallel=True),
    *(replace(BASE, weight_range=r, extreme=True) for r in (64, 127, 128)),
]


def _cases() -> dict[str, tuple[Window, Job]]:
    cases = {}
    for window in WINDOWS:
        for capability in (AVX2, SSE2, *([WIDE] if WIDE.native else [])):
            for shape in (window, replace(window, integer=False)):
                if shape.residual and not shape.integer:
                    continue
                if FAMILY.refusal(task_of(shape), capability) is None:
                    cases.update({j.name: (shape, j) for j in jobs_of(shape, capability)})
    for window in (*WINDOWS[2:4], WINDOWS[9]):
        shape = replace(window, integer=False, halves=True)
        for capability in (WIDE_EMULATED, *([WIDE_BF16] if WIDE_BF16.native else [])):
            assert FAMILY.refusal(task_of(shape), capability) is None
            cases.update({j.name: (shape, j) for j in jobs_of(shape, capability)})
    return cases


CASES = _cases()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in CASES.values()])


@pytest.mark.parametrize("name", CASES)
def test_a_single_filter_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    window, job = CASES[name]
    check(window, job, written[name])


def test_most_windows_are_taken() -> None:
    assert len(CASES) >= 90


def test_under_emulation_the_other_architecture_says_the_same(run_kernels: RunKernels) -> None:
    why_not = AArch64().runner(DOTPROD).why_not
    if why_not:
        pytest.skip(why_not)
    job = job_of("arm", BASE, DOTPROD)
    check(BASE, job, run_kernels([job])["arm"])


@pytest.mark.parametrize(
    ("window", "why"),
    [
        (replace(BASE, filters=2), "more than one filter"),
        (replace(BASE, kernel=(3, 1), channels=8), "shorter than a vector"),
        (replace(BASE, out=(3, 5)), "shorter than a vector"),
        (replace(BASE, dilation=(1, 2)), "side by side"),
        (replace(BASE, residual=True, in_place=True), "memory of their own"),
    ],
)
def test_what_it_refuses(window: Window, why: str) -> None:
    assert why in (FAMILY.refusal(task_of(window), WIDE) or "")

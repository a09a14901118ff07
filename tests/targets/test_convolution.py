"""Convolutions: shapes with every kind of remainder, on every vector unit that runs here, against numpy."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family
from budgetc_targets.kernels.convolution import Convolution
from budgetc_targets.kernels.convolution_shape import shape_of
from budgetc_targets.task import Access
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, WIDE_BF16, WIDE_EMULATED, Job, Written
from windows import Numbers, Window, check, job_of, jobs_of, task_of

CONVOLUTION = Convolution()

SHAPES = [
    *(
        Window(channels=c, filters=f)
        for c, f in [(1, 3), (3, 8), (5, 7), (7, 5), (8, 12), (12, 28), (28, 1)]
    ),
    *(
        Window(channels=4, filters=16, out=(2, w))
        for w in (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 16, 17)
    ),
    Window(channels=5, filters=20, stride=(2, 1), out=(4, 7)),
    Window(channels=3, filters=9, stride=(2, 3), kernel=(5, 4), out=(3, 5)),
    Window(channels=8, filters=24, dilation=(2, 3)),
    Window(channels=3, filters=8, dilation=(3, 1), kernel=(2, 5)),
    Window(channels=3, filters=8, dilation=(1, 2)),  # a dilated row of taps is no run
    Window(channels=12, filters=20, groups=4),
    Window(channels=6, filters=28, groups=2, kernel=(1, 1)),
    Window(channels=7, filters=7, groups=7),
    Window(channels=3, filters=16, spare=(1, 2)),
    Window(channels=8, filters=20, batch=2, spare=(2, 0)),
    Window(channels=30, filters=10, kernel=(1, 1), out=(1, 5)),
    Window(channels=16, filters=48, kernel=(1, 1), out=(1, 1)),
    Window(channels=9, filters=17, kernel=(1, 1), stride=(2, 2), out=(3, 3)),
    Window(channels=1, filters=8, kernel=(10, 4), stride=(2, 2), out=(4, 3)),
    Window(channels=4, filters=12, row_gap=24),
    Window(channels=5, filters=11, row_gap=3, zero=131),
    Window(channels=8, filters=19, residual=True),
    Window(channels=8, filters=19, residual=True, in_place=True, kernel=(1, 1)),
]
PARALLEL = [
    Window(channels=5, filters=28, batch=2, parallel=True),
    Window(channels=12, filters=16, groups=4, out=(7, 3), parallel=True),
    Window(channels=3, filters=8, kernel=(1, 1), out=(1, 9), parallel=True),
    *(Window(channels=8, filters=48, kernel=(1, 1), out=(1, w), parallel=True) for w in (64, 67)),
    Window(channels=8, filters=16, out=(2, 45), parallel=True),
]
LONG_ROWS = [
    Window(channels=1, filters=20, kernel=(1, 40), stride=(1, 8), out=(1, 5)),
    Window(channels=4, filters=9, kernel=(2, 17)),
]
EVERYWHERE = [
    Window(channels=3, filters=28, out=(3, 7)),
    Window(channels=10, filters=40, out=(2, 14), kernel=(1, 1)),
]
EXTREMES = [
    Window(channels=64, filters=16, kernel=(3, 3), out=(2, 2), weight_range=r, extreme=True)
    for r in (64, 127, 128)
] + [
    Window(channels=11, filters=9, weight_range=127),
    Window(channels=3, filters=9, weight_range=128),
]
HALVES = [
    replace(window, integer=False, halves=True)
    for window in (
        *SHAPES[:5],
        *SHAPES[19:-1:2],
        *PARALLEL[:3],
        Window(channels=64, filters=64, out=(2, 9)),
        Window(channels=7, filters=33, kernel=(1, 1), out=(1, 9)),
        Window(channels=16, filters=40, residual=True, kernel=(1, 1), in_place=True),
    )
    if window.zero == 0
]


def _cases() -> list[tuple[Window, Job]]:
    cases: list[tuple[Window, Job]] = []

    def add(window: Window, capability: Capability, *, every_point: bool = False) -> None:
        cases.extend((window, job) for job in jobs_of(window, capability, every_point=every_point))

    for window in [*SHAPES, *PARALLEL]:
        add(window, AVX2)
    for window in [*SHAPES[::2], *PARALLEL[::2]]:
        if not window.residual:
            add(replace(window, integer=False), AVX2)
        add(window, WIDE_EMULATED)
    for window in [*SHAPES[1::3], *PARALLEL[1:2]]:
        add(window, SSE2)
    add(replace(SHAPES[3], integer=False), WIDE_EMULATED)
    for window in EVERYWHERE:
        for capability in (AVX2, SSE2, WIDE_EMULATED):
            add(window, capability, every_point=True)
        add(replace(window, integer=False), AVX2, every_point=True)
    for window in LONG_ROWS:
        add(window, AVX2)
        add(replace(window, integer=False), AVX2)
        add(replace(window, integer=False, halves=True), WIDE_EMULATED)
    for window in EXTREMES:
        for capability in (AVX2, SSE2, WIDE_EMULATED):
            add(window, capability)
        if WIDE.native:
            add(window, WIDE)
    for window in HALVES:
        add(window, WIDE_EMULATED)
    for window in HALVES[-3:]:
        if WIDE_BF16.native:
            add(window, WIDE_BF16)
    add(replace(EVERYWHERE[1], integer=False, halves=True), WIDE_EMULATED, every_point=True)
    unique = {job.name: (window, job) for window, job in cases}
    return list(unique.values())


CASES = _cases()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in CASES])


@pytest.mark.parametrize(("window", "job"), CASES, ids=[job.name for _, job in CASES])
def test_a_convolution_is_what_numpy_says(
    window: Window, job: Job, written: dict[str, Written]
) -> None:
    check(window, job, written[job.name])


def test_the_numbers_of_these_tests_are_hard_ones() -> None:
    worst = Numbers(Window(channels=64, filters=16, out=(2, 2), weight_range=127, extreme=True))
    assert np.abs(worst.sums()).max() > 255 * 127 * 576 - 5001
    for window in SHAPES:
        stored = Numbers(window).expected()
        assert len(np.unique(stored)) > min(20, stored.size // 4), window.name


@pytest.mark.parametrize(("window", "steps"), [(LONG_ROWS[0], 40), (LONG_ROWS[1], 17)])
def test_a_long_row_of_taps_is_a_loop(window: Window, steps: int) -> None:
    """Written out, 256 taps of a spectrogram made 95 KiB of code, and it took five times as long."""
    shape = shape_of(task_of(window), 4 if window.channels > 1 else 1)
    assert (shape.kw, shape.steps) == (1, steps)


def test_the_family_takes_its_tasks_and_says_why_not() -> None:
    family: Family = CONVOLUTION
    task = task_of(Window())
    assert family.refusal(task, AVX2) is None
    planar = Access("uint8", task.inputs[0].shape, (1000, 100, 10, 1))
    assert "innermost" in (family.refusal(replace(task, inputs=(planar,)), AVX2) or "")
    assert "innermost" in (family.refusal(replace(task, output=planar), AVX2) or "")
    half = replace(task, inputs=(replace(task.inputs[0], dtype="bfloat16"),))
    assert family.refusal(half, WIDE_BF16) is None
    assert "no dot product" in (family.refusal(half, AVX2) or "")
    signed = Access("int16", task.inputs[0].shape, task.inputs[0].strides)
    assert "int16" in (family.refusal(replace(task, inputs=(signed,)), AVX2) or "")


def test_every_point_fits_the_registers() -> None:
    for window in SHAPES:
        for capability in (AVX2, SSE2, WIDE):
            for point in CONVOLUTION.space(task_of(window), capability):
                knobs = dict(point)
                held = knobs["pixels"] * knobs["vectors"] + knobs["vectors"]
                assert held < capability.vector_registers, (window.name, point)


def test_weights_are_padded_to_whole_steps_and_vectors_with_zeros() -> None:
    window = Window(channels=5, filters=9, kernel=(2, 2), out=(2, 2))
    job = job_of("packed", window, AVX2)
    weights, bias = CONVOLUTION.pack(job.task, AVX2, job.chosen, job.constants)
    vectors = dict(job.chosen)["vectors"]
    run = -(-5 * 2 // 4)  # a row of two taps is one run of ten channels
    assert weights.shape == (1, 2 // vectors, 2, run, 1, vectors, 8, 4)
    assert bias.shape == (1, 16)
    given = np.asarray(job.constants["weight"])
    assert weights.astype(int).sum() == given.astype(int).sum()
    assert np.count_nonzero(weights) == np.count_nonzero(given)

"""Depthwise convolutions: every way to sum taps, tails of channels and rows, against numpy."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.kernels.depthwise import Depthwise
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, WIDE_EMULATED, Job, Written
from windows import Window, check, job_of, jobs_of, task_of

DEPTHWISE = Depthwise()


def window(
    channels: int, kernel: int | tuple[int, int] = 3, stride: int = 1, **more: object
) -> Window:
    taps = (kernel, kernel) if isinstance(kernel, int) else kernel
    base = Window("depthwise", channels=channels, filters=channels, groups=channels, kernel=taps)
    return replace(base, stride=(stride, stride), **more)


SHAPES = [
    *(window(c) for c in (16, 17, 28, 31)),
    *(window(16, k, s) for k in (1, 3, 5, 7) for s in (1, 2)),
    *(window(16, out=(2, w)) for w in (1, 2, 5, 7, 8, 13, 17)),
    window(16, (2, 4)),
    window(16, (4, 1), out=(3, 9)),
    window(19, (1, 5), out=(3, 4)),
    window(24, dilation=(2, 3)),
    window(20, 5, 2, dilation=(1, 2)),
    window(24, batch=2, spare=(1, 2)),
    window(16, row_gap=32, zero=7),
    window(21, residual=True, out=(3, 11)),
    window(16, residual=True, in_place=True, out=(3, 11)),
]
PARALLEL = [window(19, batch=2, out=(5, 3), parallel=True), window(16, out=(1, 3), parallel=True)]
EXTREMES = [window(17, k, weight_range=r, extreme=True) for k in (3, 7) for r in (64, 127, 128)]
WIDE_WEIGHTS = [window(18, k, weight_range=128) for k in (1, 2, 3, 4, 5)]
EVERY_POINT = [window(19, 3, s, out=(3, 13)) for s in (1, 2)]
QUADS = [
    *(window(c, out=(4, 11)) for c in (4, 8, 16, 32, 64, 128)),
    *(window(64, k, s, out=(3, 7)) for k in (1, 2, 3, 4) for s in (1, 2)),
    window(8, (4, 5), out=(3, 9)),
    *(window(c, stride=2, out=(3, 7)) for c in (16, 32, 48)),
    window(64, (2, 3), dilation=(2, 3)),
    window(16, dilation=(1, 2), out=(5, 9)),
    window(64, batch=2, spare=(1, 2), zero=9, row_gap=64),
    window(64, residual=True, out=(3, 5)),
    window(8, residual=True, out=(3, 9)),
    window(16, batch=2, out=(5, 8), parallel=True),
    *(window(64, weight_range=r, extreme=True) for r in (64, 127, 128)),
]


def _cases() -> list[tuple[Window, Job]]:
    cases: list[tuple[Window, Job]] = []

    def add(shape: Window, capability: Capability, *, every_point: bool = False) -> None:
        cases.extend((shape, job) for job in jobs_of(shape, capability, every_point=every_point))

    for shape in [*SHAPES, *PARALLEL]:
        add(shape, AVX2)
    for shape in [*SHAPES[::2], *PARALLEL[:1]]:
        add(shape, SSE2)
        add(shape, WIDE_EMULATED)
        if not shape.residual:
            add(replace(shape, integer=False), AVX2)
    for shape in [*EXTREMES, *WIDE_WEIGHTS]:
        add(shape, AVX2)
        add(shape, SSE2)
    for shape in EXTREMES:
        add(shape, WIDE if WIDE.native else WIDE_EMULATED)
    for shape in QUADS:
        for capability in (AVX2, WIDE if WIDE.native else WIDE_EMULATED):
            add(shape, capability, every_point=True)
    for shape in EVERY_POINT:
        for capability in (AVX2, SSE2, WIDE_EMULATED):
            add(shape, capability, every_point=True)
        add(replace(shape, weight_range=100), AVX2, every_point=True)
        add(replace(shape, integer=False), AVX2, every_point=True)
    unique = {job.name: (shape, job) for shape, job in cases}
    return list(unique.values())


CASES = _cases()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in CASES])


@pytest.mark.parametrize(("shape", "job"), CASES, ids=[job.name for _, job in CASES])
def test_a_depthwise_convolution_is_what_numpy_says(
    shape: Window, job: Job, written: dict[str, Written]
) -> None:
    check(shape, job, written[job.name])


def test_fewer_channels_than_lanes_take_a_narrower_vector() -> None:
    task = task_of(window(7))
    assert DEPTHWISE.refusal(task, AVX2) is None
    assert DEPTHWISE.refusal(task_of(window(3)), AVX2) == "fewer channels than lanes"
    assert DEPTHWISE.refusal(task_of(replace(window(3), integer=False)), WIDE) is None


def test_whole_registers_of_bytes_go_by_quads_of_rows() -> None:
    for channels, width in ((64, 6), (16, 6), (8, 8)):
        default = DEPTHWISE.space(task_of(window(channels, out=(4, width))), WIDE)[0]
        assert "rows" in dict(default), (channels, default)
    for shape in (
        window(20),
        window(12, 3, 2),
        window(64, 5),
        window(64, residual=True, in_place=True),
    ):
        assert "rows" not in dict(DEPTHWISE.space(task_of(shape), WIDE)[0]), shape


def test_runs_take_two_rows_where_a_pair_wastes_little() -> None:
    def default(shape: Window) -> dict[str, int]:
        return dict(DEPTHWISE.space(task_of(shape), WIDE)[0])

    for width in (5, 14, 56):
        assert default(window(64, out=(14, width))) == {"rows": 2, "runs": 2}, width
    for out in ((3, 3), (7, 7)):  # the last pair would compute a row again
        assert default(window(128, out=out)) == {"rows": 1, "runs": 1}, out
    assert default(window(128, stride=2, out=(28, 28))) == {"rows": 1, "runs": 1}
    assert "runs" not in default(window(64, dilation=(1, 2)))
    assert "runs" not in default(window(8, out=(4, 8)))  # pixels side by side share no column


def test_threads_never_meet_in_a_row_that_is_put_by() -> None:
    for height in (8, 9):
        task = task_of(window(64, out=(height, 14), parallel=True))
        pairs = [dict(p) for p in DEPTHWISE.space(task, WIDE) if dict(p).get("runs") == 2]
        assert any(p["rows"] == 2 for p in pairs) == (height % 2 == 0)


def test_overlapping_vectors_are_never_computed_in_place() -> None:
    task = task_of(window(17, residual=True, in_place=True))
    assert "computed twice" in (DEPTHWISE.refusal(task, AVX2) or "")
    assert DEPTHWISE.refusal(replace(task, may_alias=False), AVX2) is None


@pytest.mark.parametrize("capability", [AVX2, SSE2, WIDE], ids=lambda c: c.int8_dot)
def test_weights_take_no_more_than_their_padded_groups(capability: Capability) -> None:
    job = job_of("packed", window(24, weight_range=64), capability)
    weights, bias = DEPTHWISE.pack(job.task, capability, job.chosen, job.constants)
    assert (
        weights.nbytes
        == {"maddwd128": 10, "maddubs256": 12, "vpdpbusd512": 12}[capability.int8_dot] * 24
    )
    assert np.count_nonzero(weights) == np.count_nonzero(job.constants["weight"])
    np.testing.assert_array_equal(bias, job.constants["bias"])


def test_the_first_point_covers_a_row_without_recomputing_pixels() -> None:
    for width in (7, 14, 28, 6, 24, 48, 5, 25):
        pixels = dict(DEPTHWISE.space(task_of(window(24, out=(2, width))), AVX2)[0])["pixels"]
        assert width % pixels == 0, (width, pixels)

"""Winograd convolutions: every remainder of tiles, channels and filters against numpy, and when they are taken."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family
from budgetc_targets.expression import ACCUMULATOR, Const, Ref, apply
from budgetc_targets.kernels.jobs import share_of
from budgetc_targets.kernels.winograd import Winograd
from budgetc_targets.kernels.winograd_cost import rank_blocks
from budgetc_targets.kernels.winograd_shape import shape_of
from budgetc_targets.task import Access
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, WIDE_EMULATED, Array, Job, Written, spread
from windows import Numbers, Window, job_of, task_of

WINOGRAD = Winograd()
ALWAYS = Winograd(worth=0.0, worth_of_halves=0.0)
"""Takes what does not pay as well, so that tests can be small."""

BASE = Window(kind="winograd", integer=False, channels=8, filters=8, out=(8, 8))

ROUNDINGS = {2: 1.5, 4: 6.0}
"""How many roundings of the largest sum a result may be off, times the root of the number of its terms.

F(2, 3) sums like a direct convolution, with three additions at both ends. The transforms of F(4, 3) stretch a tile by
up to 5 in each direction there and by up to 7 back; what cancels between them leaves its roundings, measured to be up
to four times those of F(2, 3). Both bounds are twice the worst of these cases.
"""

SHAPES = [
    *(
        replace(BASE, channels=c, filters=f)
        for c, f in [(1, 3), (3, 8), (5, 7), (7, 5), (8, 12), (12, 28), (17, 1), (33, 20), (4, 40)]
    ),
    *(
        replace(BASE, channels=5, filters=9, out=out)
        for out in [
            (2, 2),
            (2, 3),
            (3, 7),
            (4, 4),
            (4, 5),
            (5, 4),
            (6, 7),
            (7, 6),
            (9, 13),
            (5, 40),
        ]
    ),
    replace(BASE, spare=(1, 2), out=(5, 7)),
    replace(BASE, batch=3, spare=(2, 0), out=(6, 5)),
    replace(BASE, row_gap=24, filters=12),
    replace(BASE, row_gap=3, channels=5, filters=11, out=(7, 7)),
]
EVERYWHERE = [
    replace(BASE, channels=10, filters=40, out=(7, 10)),
    replace(BASE, channels=6, filters=20, batch=2, out=(4, 6)),
]
PARALLEL = [
    replace(BASE, channels=5, filters=28, batch=2, out=(9, 10), parallel=True),
    replace(BASE, channels=8, filters=16, out=(5, 5), parallel=True),
]


def _cases() -> list[tuple[Window, Job]]:
    cases: dict[str, tuple[Window, Job]] = {}

    def add(window: Window, capability: Capability, points: int) -> None:
        task = task_of(window)
        for size in (2, 4):
            if min(window.out) < size:
                continue
            shape = shape_of(task, capability.channel_block, size)
            ranked = rank_blocks(
                shape, capability.vector_registers, capability.l1_bytes, capability.threads
            )
            for _, point in ranked[:points]:
                name = f"{window.name} | {capability.cpu} {capability.vector_bytes}"
                name += f" {capability.threads} | {dict(point)}"
                job = job_of(name, window, capability, point)
                cases[name] = (window, replace(job, done_by=ALWAYS))

    for window in SHAPES:
        add(window, AVX2, 1)
    for window in SHAPES[::3]:
        add(window, SSE2, 1)
        add(window, WIDE_EMULATED, 1)
    for window in SHAPES[5:8]:
        add(replace(window, halves=True), WIDE_EMULATED, 1)
    for window in EVERYWHERE:
        for capability in (AVX2, SSE2, WIDE_EMULATED):
            add(window, capability, 100)
    for window in PARALLEL:
        for threads in (1, 3):
            add(window, AVX2.model_copy(update={"threads": threads}), 2)
    if WIDE.native:
        for window in [*EVERYWHERE, *PARALLEL]:
            add(window, WIDE, 2)
    return list(cases.values())


CASES = _cases()


def _bound(job: Job, sums: Array, terms: int) -> float:
    size = dict(job.chosen)["size"]
    return float(ROUNDINGS[size] * 2.0**-24 * np.sqrt(terms) * np.abs(sums).max())


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([*(job for _, job in CASES), *RESIDUALS.values()])


@pytest.mark.parametrize(("window", "job"), CASES, ids=[job.name for _, job in CASES])
def test_a_winograd_convolution_is_what_numpy_says(
    window: Window, job: Job, written: dict[str, Written]
) -> None:
    numbers, found = Numbers(window), written[job.name]
    assert found.intact, "wrote outside the output"
    got = found.view(job.task.output).transpose(0, 2, 3, 1)
    stretch = max(1.0, float(np.abs(numbers.scale).max()))
    bound = _bound(job, numbers.sums(), 9 * window.channels) * stretch
    assert np.abs(got - numbers.expected()).max() <= bound
    if window.row_gap:
        mask = spread(job.task.output, np.ones(job.task.output.shape), fill=0) == 0
        assert (found.memory[mask].view(np.uint8) == 0xA5).all()


def _residual(*, in_place: bool) -> Job:
    """max(sum + r, 0) with r of the output's layout, added where it lies or written over."""
    window = replace(BASE, channels=9, filters=12, out=(7, 6), in_place=in_place)
    task = task_of(window)
    total = apply("max", apply("add", ACCUMULATOR, Ref(0)), Const(0.0))
    task = replace(task, expression=total, operands=(task.output,))
    numbers = Numbers(window)
    old = numbers.residual.astype(np.float32).transpose(0, 3, 1, 2) - 128
    return Job(
        f"residual {in_place}",
        task,
        AVX2,
        (numbers.x.ravel(), spread(task.output, old)),
        {"weight": numbers.weight, "bias": numbers.bias},
        alias=0 if in_place else None,
        done_by=ALWAYS,
    )


RESIDUALS = {in_place: _residual(in_place=in_place) for in_place in (False, True)}


@pytest.mark.parametrize("in_place", [False, True])
def test_a_residual_is_added_even_where_the_output_lies(
    in_place: bool, written: dict[str, Written]
) -> None:
    job = RESIDUALS[in_place]
    numbers = Numbers(replace(BASE, channels=9, filters=12, out=(7, 6), in_place=in_place))
    sums = numbers.sums() + numbers.residual - 128.0
    got = written[job.name].view(job.task.output).transpose(0, 2, 3, 1)
    assert np.abs(got - np.maximum(sums, 0)).max() <= _bound(job, sums, 9 * 9 + 1)


def test_large_layers_of_few_weights_are_taken_and_others_refused_with_the_reason() -> None:
    family: Family = WINOGRAD
    good = task_of(replace(BASE, channels=32, filters=32, out=(16, 16)))
    assert family.refusal(good, AVX2) is None
    assert family.refusal(good, WIDE) is None

    def why(**changes: object) -> str:
        changed = replace(BASE, channels=32, filters=32, out=(16, 16))
        return family.refusal(task_of(replace(changed, **changes)), AVX2) or ""  # type: ignore[arg-type]

    assert "uint8" in why(integer=True)
    assert "kernel" in why(kernel=(5, 5))
    assert "stride" in why(stride=(2, 2))
    assert "dilation" in why(dilation=(1, 2))
    assert "groups" in why(groups=2)
    assert "smaller than a tile" in why(out=(1, 16))
    assert "level 2 cache" in why(filters=512)
    assert "0." in why(channels=1)  # times as fast
    assert "times as fast" in why(channels=64, filters=16, out=(2, 2))
    planar = Access("float32", good.output.shape, (8192, 256, 16, 1))
    assert "innermost" in (family.refusal(replace(good, output=planar), AVX2) or "")


def test_threads_that_get_no_tile_speak_against_it() -> None:
    task = task_of(replace(BASE, channels=64, filters=64, out=(8, 8)))
    many = WIDE.model_copy(update={"threads": 16})
    assert WINOGRAD.refusal(task, WIDE) is None
    assert "times as fast" in (WINOGRAD.refusal(task, many) or "")


def test_tiles_are_as_large_as_the_cache_allows() -> None:
    task = task_of(replace(BASE, channels=64, filters=64, out=(16, 16)))
    sizes = {}
    for kib in (256, 1024):
        sheet = WIDE.model_copy(update={"l2_bytes": kib * 1024})
        sizes[kib] = {dict(point)["size"] for point in WINOGRAD.space(task, sheet)}
    assert sizes == {256: {2}, 1024: {4}}


def test_weights_are_packed_in_reading_order_and_padded_with_zeros() -> None:
    window = replace(BASE, channels=3, filters=9, out=(4, 4))
    job = replace(job_of("packed", window, AVX2), done_by=ALWAYS)
    (size, vectors) = (dict(job.chosen)[k] for k in ("size", "vectors"))
    weights, bias = ALWAYS.pack(job.task, AVX2, job.chosen, job.constants)
    assert weights.shape == (2 // vectors, (size + 2) ** 2, 3, vectors * 8)
    assert bias.shape == (16,)
    flat = np.moveaxis(weights, 0, 2).reshape((size + 2) ** 2, 3, 16)
    assert not flat[:, :, 9:].any()
    assert not bias[9:].any()
    given = np.asarray(job.constants["weight"])
    np.testing.assert_array_equal(flat[0, :, :9].T, given[:, :, 0, 0])  # corners are as they were
    np.testing.assert_array_equal(flat[-1, :, :9].T, given[:, :, 2, 2])


@pytest.mark.parametrize("shares", [1, 2, 3, 4, 7, 16])
def test_a_share_of_the_jobs_has_its_own_number(shares: int) -> None:
    for jobs in range(1, 60):
        for share in range(shares):
            for job in range(jobs * share // shares, jobs * (share + 1) // shares):
                assert share_of(job, jobs, shares) == share

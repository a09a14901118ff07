"""Normalised rows: tails, strided rows, scale and shift, and numbers far from zero, against numpy."""

import numpy as np
import pytest
from budgetc_targets.expression import ACCUMULATOR, Ref, apply
from budgetc_targets.kernels.normalisation import Normalisation
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, Job, Written, dense

EPSILON = 1e-5
SHAPES = [(1, 1, 3, n) for n in (1, 2, 7, 8, 16, 33, 64, 1000)] + [(2, 3, 4, 20)]


def _task(shape: tuple[int, ...], gap: int = 0) -> Task:
    """`gap` elements lie between the rows of the input."""
    x = dense("float32", (*shape[:3], shape[3] + gap))
    side = Access("float32", shape, (0, 0, 0, 1))
    expression = apply("fma", ACCUMULATOR, Ref(0), Ref(1))
    given = Access("float32", shape, x.strides)
    attributes = (("epsilon", EPSILON),)
    return Task(
        "normalisation", (given,), dense("float32", shape), expression, (side, side), attributes
    )


def _job(shape: tuple[int, ...], capability: object, gap: int, centre: float) -> Job:
    task = _task(shape, gap)
    rng = np.random.default_rng(shape[3])
    x = (rng.standard_normal(task.inputs[0].extent) + centre).astype(np.float32)
    sides = (rng.standard_normal(shape[3]).astype(np.float32) for _ in range(2))
    name = f"{shape} gap={gap} centre={centre} {capability.cpu}"  # type: ignore[attr-defined]
    return Job(name, task, capability, (x, *sides))  # type: ignore[arg-type]


TARGETS = [AVX2, SSE2, *([WIDE] if WIDE.native else [])]
JOBS = {
    job.name: job
    for capability in TARGETS
    for shape in SHAPES
    for gap, centre in ((0, 0.0), (3, 0.0), (0, 100.0))
    for job in [_job(shape, capability, gap, centre)]
}


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(list(JOBS.values()))


@pytest.mark.parametrize("name", JOBS)
def test_a_normalised_row_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    job = JOBS[name]
    assert written[name].intact
    access = job.task.inputs[0]
    strides = [4 * s for s in access.strides]
    x = np.lib.stride_tricks.as_strided(job.arrays[0], access.shape, strides).astype(np.float64)
    centred = x - x.mean(-1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON)
    scale, shift = job.arrays[1:]
    got = written[name].view(job.task.output)
    # The mean is rounded once: its error counts in units of the numbers, divided by their spread.
    rounding = np.abs(x).max() * 2**-23 / max(float(centred.std()), EPSILON**0.5)
    np.testing.assert_allclose(
        got, normal * scale + shift, rtol=0, atol=4 * (rounding + 2**-20) * np.abs(scale).max()
    )


def test_what_it_refuses() -> None:
    family, task = Normalisation(), _task((1, 1, 3, 8))
    assert family.refusal(task, AVX2) is None
    across = Access("float32", (1, 1, 3, 8), (0, 0, 1, 3))
    other = Task(task.kind, (across,), task.output, task.expression, task.operands, task.attributes)
    assert "innermost" in (family.refusal(other, AVX2) or "")

"""Reductions over any axes, of an expression, with every mode, against numpy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from budgetc_targets.expression import Ref, apply
from budgetc_targets.kernels.reduction import MODES, Reduction
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, Job, Written, dense

NUMPY: dict[str, Callable[..., np.ndarray]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "prod": np.prod,
}
SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((4, 5), (1,)),
    ((4, 21), (0,)),
    ((2, 3, 5), (0, 2)),
    ((2, 3, 4, 17), (1, 2)),
    ((7,), (0,)),
    ((3, 1, 9), (1,)),
    ((1, 6), (0,)),
    ((2, 2, 3), (0, 1, 2)),
]


def _reduced(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(1 if d in axes else n for d, n in enumerate(shape))


def _job(
    shape: tuple[int, ...], axes: tuple[int, ...], mode: str, *, squares: bool, sse: bool
) -> Job:
    name = f"{mode} {shape} {axes} squares={squares} sse={sse}"
    expression = apply("mul", Ref(0), Ref(0)) if squares else Ref(0)
    attributes = (("mode", mode), ("axes", axes), ("full", shape))
    output = dense("float32", _reduced(shape, axes))
    task = Task("reduction", (), output, expression, (dense("float32", shape),), attributes)
    values = np.random.default_rng(len(name)).uniform(-2, 2, shape).astype(np.float32)
    return Job(name, task, SSE2 if sse else AVX2, (values.ravel(),))


JOBS = [
    *(_job(s, a, mode, squares=False, sse=False) for s, a in SHAPES for mode in MODES),
    *(_job(s, a, "mean", squares=True, sse=True) for s, a in SHAPES),
]


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(JOBS)


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_a_reduction_is_what_numpy_says(job: Job, written: dict[str, Written]) -> None:
    task = job.task
    values = job.arrays[0].reshape(task.attribute("full")).astype(np.float64)
    if task.expression != Ref(0):
        values = values * values
    want = NUMPY[task.attribute("mode")](values, axis=task.attribute("axes"), keepdims=True)
    assert written[job.name].intact
    got = written[job.name].view(task.output)
    if task.attribute("mode") in ("max", "min"):
        np.testing.assert_array_equal(got, want)
    else:
        terms = values.size // want.size
        size = NUMPY[task.attribute("mode")](np.abs(values), axis=task.attribute("axes")).max()
        assert np.abs(got - want).max() <= (terms + 1) * size * 2.0**-23


def test_operands_broadcast_and_stride_in_the_unreduced_space(run_kernels: RunKernels) -> None:
    shape = (4, 6, 5)
    x = Access("uint8", shape, (1, 4, 24))  # stored the other way round
    scale = Access("float32", shape, (0, 0, 1))
    expression = apply("mul", apply("to_float", Ref(0)), Ref(1))
    attributes = (("mode", "sum"), ("axes", (1,)), ("full", shape))
    task = Task("reduction", (), dense("float32", (4, 1, 5)), expression, (x, scale), attributes)
    values = np.arange(120, dtype=np.uint8)
    factors = np.array([1, 2, 4, 8, 16], np.float32)
    result = run_kernels([Job("strided", task, AVX2, (values, factors))])["strided"]
    full = values.reshape(5, 6, 4).transpose(2, 1, 0).astype(np.float64) * factors
    np.testing.assert_array_equal(result.view(task.output), full.sum(1, keepdims=True))


def test_the_family_writes_reals_only() -> None:
    task = JOBS[0].task
    assert Reduction().refusal(task, AVX2) is None
    whole = replace(task, output=dense("int32", task.output.shape))
    assert "int32" in (Reduction().refusal(whole, AVX2) or "")

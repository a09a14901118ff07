"""Softmax and its logarithm along any axis, at logits where the naive formula overflows."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_targets.expression import Const, Ref, apply
from budgetc_targets.kernels.softmax import Softmax
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, Job, Written, dense
from scipy import special

SHAPES = [
    ((1, 10), 1),
    ((1, 1), 1),
    ((3, 7), 0),
    ((2, 5, 3), 1),
    ((4, 17), 1),
    ((1, 1001), 1),
    ((2, 3, 1, 4), 3),
]


def _task(shape: tuple[int, ...], axis: int, *, log: bool, dtype: str = "float32") -> Task:
    logits = Ref(0)
    expression = (
        logits if dtype == "float32" else apply("mul", apply("to_float", logits), Const(0.25))
    )
    attributes = (("axis", axis), ("log", log))
    return Task(
        "softmax", (), dense("float32", shape), expression, (dense(dtype, shape),), attributes
    )


def _numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    if dtype == "uint8":
        return rng.integers(0, 256, shape).astype(np.uint8)
    return (rng.standard_normal(shape) * 60).astype(np.float32)


JOBS = {
    f"{shape} {axis} log={log} {dtype} {capability.cpu}": (
        Job(
            f"{shape} {axis} log={log} {dtype} {capability.cpu}",
            _task(shape, axis, log=log, dtype=dtype),
            capability,
            (_numbers(shape, dtype).ravel(),),
        ),
        axis,
    )
    for capability in (AVX2, SSE2)
    for shape, axis in SHAPES
    for log in (False, True)
    for dtype in ("float32", "uint8")
    if capability is AVX2 or axis == 1
}


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for job, _ in JOBS.values()])


@pytest.mark.parametrize("name", JOBS)
def test_a_softmax_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    job, axis = JOBS[name]
    access = job.task.operands[0]
    logits = job.arrays[0].reshape(access.shape).astype(np.float64)
    if access.dtype == "uint8":
        logits = logits * 0.25
    shifted = logits - logits.max(axis, keepdims=True)
    total = np.exp(shifted).sum(axis, keepdims=True)
    assert written[name].intact
    got = written[name].view(job.task.output)
    if job.task.attribute("log"):
        np.testing.assert_allclose(got, shifted - np.log(total), rtol=1e-6, atol=2e-6)
    else:
        np.testing.assert_allclose(got, np.exp(shifted) / total, rtol=2e-5, atol=1e-30)
        np.testing.assert_allclose(got.sum(axis), 1, rtol=1e-5)


def test_a_row_may_be_strided_and_written_over_its_own_logits(run_kernels: RunKernels) -> None:
    shape = (3, 5)
    transposed = Access("float32", shape, (1, 3))
    task = replace(
        _task(shape, 1, log=False), output=transposed, operands=(transposed,), may_alias=True
    )
    logits = np.arange(15, dtype=np.float32).reshape(5, 3).T
    job = Job("over", task, AVX2, (np.ascontiguousarray(logits.T).ravel(),), alias=0)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    got = run_kernels([job])["over"].view(transposed)
    np.testing.assert_allclose(got, powers / powers.sum(1, keepdims=True), rtol=1e-5)


def test_masked_logits_are_nothing_and_what_is_no_number_spoils_its_row(
    run_kernels: RunKernels,
) -> None:
    shape = (4, 21)
    logits = np.zeros(shape, np.float32)
    logits[0, ::2] = -np.inf
    logits[1, 5] = np.nan
    logits[2] = -np.inf
    logits[3] = np.linspace(-120, 0, 21)
    job = Job("special", _task(shape, 1, log=False), AVX2, (logits.ravel(),))
    got = run_kernels([job])[job.name].view(job.task.output)
    np.testing.assert_allclose(got[0, 1::2], 0.1, rtol=1e-6)
    assert not got[0, ::2].any()
    assert np.isnan(got[1:3]).all()
    truth = special.softmax(logits[3].astype(np.float64))
    normal = truth > 2 * np.finfo(np.float32).tiny
    np.testing.assert_allclose(got[3, normal], truth[normal], rtol=2e-6)
    assert not got[3, truth < np.finfo(np.float32).tiny / 2].any()


def test_the_family_writes_reals_only() -> None:
    task = _task((1, 4), 1, log=False)
    assert Softmax().refusal(task, AVX2) is None
    assert "uint8" in (Softmax().refusal(replace(task, output=dense("uint8", (1, 4))), AVX2) or "")

"""Products of activations: tails of rows and columns, transposed and broadcast operands, epilogues, against numpy."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from budgetc_targets.kernels.matmul import MatMul
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, Array, Job, Written, dense

MATMUL = MatMul()
HALVES = (((0.0, 0.4), (0.4, 1.0)), ((0.0, 1.0),))


@dataclass(frozen=True)
class Case:
    """Sizes of a product, and how its operands lie."""

    rows: int = 5
    depth: int = 7
    columns: int = 16
    batch: tuple[int, int] = (1, 1)
    transposed: bool = False  # the left-hand side is read column by column
    shared: bool = False  # all heads multiply by one right-hand side
    residual: bool = False
    parallel: bool = False

    @property
    def name(self) -> str:
        return " ".join(f"{k}={v}" for k, v in vars(self).items() if v != getattr(Case(), k))

    def accesses(self) -> tuple[Access, Access, Access]:
        b, h = self.batch
        left = dense("float32", (b, h, self.rows, self.depth))
        if self.transposed:
            other = dense("float32", (b, h, self.depth, self.rows)).strides
            left = Access("float32", left.shape, (*other[:2], other[3], other[2]))
        right = dense("float32", (b, h, self.depth, self.columns))
        if self.shared:
            right = Access("float32", right.shape, (0, 0, *right.strides[2:]))
        return left, right, dense("float32", (b, h, self.rows, self.columns))

    def task(self) -> Task:
        left, right, out = self.accesses()
        expression: Expr = apply("mul", ACCUMULATOR, Const(0.5))
        if self.residual:
            expression = apply("add", expression, Ref(0))
        operands = (out,) if self.residual else ()
        return Task("matmul", (left, right), out, expression, operands, parallel=self.parallel)


CASES = [
    *(Case(columns=n) for n in (1, 3, 8, 15, 16, 17, 31, 36, 64, 100)),
    *(Case(rows=m) for m in (1, 2, 9, 36)),
    *(Case(depth=k) for k in (1, 64)),
    Case(batch=(2, 3), columns=20),
    Case(transposed=True, rows=12, batch=(1, 2)),
    Case(shared=True, batch=(2, 2)),
    Case(residual=True, columns=21, batch=(1, 2)),
    Case(parallel=True, batch=(1, 3), columns=40),
]


def _numbers(case: Case) -> tuple[Array, ...]:
    rng = np.random.default_rng(len(case.name))
    task = case.task()
    return tuple(
        rng.standard_normal(a.extent).astype(np.float32) for a in (*task.inputs, *task.operands)
    )


def _jobs() -> dict[str, tuple[Case, Job]]:
    jobs = {}
    capabilities: list[Capability] = [AVX2, SSE2, *([WIDE] if WIDE.native else [])]
    for case in CASES:
        task, arrays = case.task(), _numbers(case)
        for capability in capabilities:
            for point in MATMUL.space(task, capability)[:4]:
                name = f"{case.name} | {capability.cpu} {dict(point)}"
                ranges = HALVES[0] if case.parallel else HALVES[1]
                job = Job(name, task, capability, arrays, point=point, ranges=ranges)
                jobs[name] = (case, job)
    return jobs


JOBS = _jobs()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in JOBS.values()])


def _seen(access: Access, flat: Array) -> Array:
    strides = [s * flat.itemsize for s in access.strides]
    return np.lib.stride_tricks.as_strided(flat, access.shape, strides).astype(np.float64)


@pytest.mark.parametrize("name", JOBS)
def test_a_product_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    case, job = JOBS[name]
    assert written[name].intact
    left, right = (_seen(a, x) for a, x in zip(job.task.inputs, job.arrays, strict=False))
    expected = 0.5 * (left @ right)
    if case.residual:
        expected = expected + _seen(job.task.operands[0], job.arrays[2])
    reach = (np.abs(left) @ np.abs(right)).max() + 4
    got = written[name].view(job.task.output)
    np.testing.assert_allclose(got, expected, rtol=0, atol=reach * case.depth * 2**-24)


def test_what_it_refuses() -> None:
    task = Case().task()
    left, right = task.inputs
    across = Access("float32", right.shape, (1, 1, 1, right.shape[2]))
    assert MATMUL.refusal(task, AVX2) is None
    assert "innermost" in (MATMUL.refusal(replace(task, inputs=(left, across)), AVX2) or "")
    integers = Access("uint8", left.shape, left.strides)
    assert "float32" in (MATMUL.refusal(replace(task, inputs=(integers, right)), AVX2) or "")
    assert "computed twice" in (MATMUL.refusal(replace(task, may_alias=True), AVX2) or "")

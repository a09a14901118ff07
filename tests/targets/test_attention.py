"""Attention as one kernel: every number is what a product, a softmax and another product by themselves compute."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from budgetc_targets.kernels.attention import Attention
from budgetc_targets.task import Access, Task
from conftest import InChild, RunKernels
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_runner import AVX2, SSE2, WIDE, WIDE_EMULATED, Array, Job, Written, dense
from probes import scratch_of

ATTENTION = Attention()
SCALE = Const(0.375)
CODE = Const(1 / 255)
"""Weights are rounded to multiples of it, where they are quantised."""


@dataclass(frozen=True)
class Case:
    """Sizes of attention, how its operands lie, and what its expressions have."""

    rows: int = 5
    scored: int = 16
    depth: int = 7
    columns: int = 16
    batch: tuple[int, int] = (1, 1)
    shared: bool = False  # all heads have one matrix of keys and one of values
    between: bool = (
        False  # heads lie beside each other in each row of the queries and of the result
    )
    mask: tuple[int, int, int, int] | None = None  # which of its four dimensions are not broadcast
    chosen: bool = False  # the mask says where scores are kept, instead of being added
    quantised: bool = False
    residual: bool = False
    parallel: bool = False

    @property
    def name(self) -> str:
        return " ".join(f"{k}={v}" for k, v in vars(self).items() if v != getattr(Case(), k))

    @property
    def scores(self) -> tuple[int, int, int, int]:
        return (*self.batch, self.rows, self.scored)

    def accesses(self) -> tuple[Access, Access, Access, Access]:
        queries = self._rows_of(self.depth)
        keys = dense("float32", (*self.batch, self.depth, self.scored))
        values = dense("float32", (*self.batch, self.scored, self.columns))
        if self.shared:
            keys, values = (
                Access("float32", a.shape, (0, 0, *a.strides[2:])) for a in (keys, values)
            )
        return queries, keys, values, self._rows_of(self.columns)

    def _rows_of(self, columns: int) -> Access:
        (b, h), rows = self.batch, self.rows
        if not self.between:
            return dense("float32", (b, h, rows, columns))
        return Access(
            "float32", (b, h, rows, columns), (rows * h * columns, columns, h * columns, 1)
        )

    def masks(self) -> tuple[Access, ...]:
        if self.mask is None:
            return ()
        kept = [n if keep else 1 for n, keep in zip(self.scores, self.mask, strict=True)]
        dtype = "bool" if self.chosen else "float32"
        strides = [
            s if keep else 0 for s, keep in zip(dense(dtype, kept).strides, self.mask, strict=True)
        ]
        return (Access(dtype, self.scores, tuple(strides)),)

    def expressions(self) -> tuple[Expr, Expr, Expr]:
        """Of the sums, of the weights and of the result."""
        logits: Expr = apply("mul", ACCUMULATOR, SCALE)
        if self.mask and self.chosen:
            logits = apply("select", Ref(0), logits, Const(-1e9))
        elif self.mask:
            logits = apply("add", logits, Ref(0))
        weights: Expr = ACCUMULATOR
        if self.quantised:
            weights = apply("to_float", apply("round_int", apply("div", weights, CODE)))
        end: Expr = apply("mul", ACCUMULATOR, CODE if self.quantised else Const(0.5))
        if self.residual:
            end = apply("add", end, Ref(len(self.masks())))
        return logits, weights, end

    def task(self) -> Task:
        *inputs, out = self.accesses()
        logits, weights, end = self.expressions()
        operands = (*self.masks(), *((out,) if self.residual else ()))
        attributes = (("logits", logits), ("weights", weights))
        return Task(
            "attention", tuple(inputs), out, end, operands, attributes, parallel=self.parallel
        )

    def arrays(self) -> tuple[Array, ...]:
        rng = np.random.default_rng(sum(self.scores) + self.depth)
        task = self.task()
        return tuple(
            rng.integers(0, 2, a.extent).astype(bool)
            if a.dtype == "bool"
            else rng.standard_normal(a.extent).astype(np.float32)
            for a in (*task.inputs, *task.operands)
        )


def jobs_of(
    cases: list[Case], capability: Capability, points: int = 1
) -> dict[str, tuple[Case, Job]]:
    jobs = {}
    for case in cases:
        task = case.task()
        for point in ATTENTION.space(task, capability)[:points]:
            name = f"{case.name} | {capability.cpu} {capability.vector_bytes} {dict(point)}"
            ranges = ((0.0, 0.4), (0.4, 1.0)) if case.parallel else ((0.0, 1.0),)
            job = Job(name, task, capability, case.arrays(), point=point, ranges=ranges)
            jobs[name] = (case, job)
    return jobs


CASES = [
    *(
        Case(scored=n, columns=d)
        for n, d in ((1, 1), (3, 8), (15, 17), (31, 36), (64, 5), (100, 31))
    ),
    *(Case(rows=m) for m in (1, 2, 9, 19, 36)),
    Case(depth=64, scored=130),
    Case(batch=(2, 3), between=True),
    Case(batch=(2, 2), shared=True, rows=12),
    Case(batch=(2, 2), mask=(1, 0, 0, 1)),
    Case(batch=(2, 2), mask=(0, 1, 1, 0), scored=19),
    Case(batch=(2, 2), mask=(0, 0, 1, 1), chosen=True),
    Case(quantised=True, scored=36, rows=11),
    Case(batch=(1, 2), residual=True, mask=(1, 1, 1, 1), columns=21),
    Case(parallel=True, batch=(1, 3), rows=40, columns=40),
]
JOBS = {
    **jobs_of(CASES, AVX2),
    **jobs_of(CASES[-3:-2], AVX2, 6),
    **jobs_of(CASES[::4], SSE2),
    **jobs_of(CASES[1::3], WIDE if WIDE.native else WIDE_EMULATED),
}


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in JOBS.values()])


def _seen(access: Access, flat: Array) -> Array:
    strides = [s * flat.itemsize for s in access.strides]
    return np.lib.stride_tricks.as_strided(flat, access.shape, strides)


def _expected(case: Case, job: Job) -> tuple[Array, float]:
    """The result in f64, and how far weights may be off."""
    queries, keys, values, *sides = (
        _seen(a, x).astype(np.float64)
        for a, x in zip((*job.task.inputs, *job.task.operands), job.arrays, strict=True)
    )
    logits = (queries @ keys) * SCALE.value
    if case.mask and case.chosen:
        logits = np.where(sides[0], logits, -1e9)
    elif case.mask:
        logits = logits + sides[0]
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    weights = powers / powers.sum(-1, keepdims=True)
    error = 2**-24 * (4 * case.depth * (np.abs(queries) @ np.abs(keys)).max() + 8 * case.scored)
    if case.quantised:
        error += CODE.value / 2
    end = (weights @ values) * (1 if case.quantised else 0.5)
    if case.residual:
        end = end + sides[-1]
    return end, error * np.abs(values).sum(-2).max()


@pytest.mark.parametrize("name", JOBS)
def test_attention_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    case, job = JOBS[name]
    assert written[name].intact
    expected, error = _expected(case, job)
    got = written[name].view(job.task.output)
    np.testing.assert_allclose(got, expected, rtol=0, atol=error + 1e-6)


def _apart(case: Case, capability: Capability, run: RunKernels) -> Array:
    """The same by four kernels: product, softmax, an elementwise one and another product."""
    queries, keys, values, out = case.accesses()
    masks, arrays = case.masks(), case.arrays()
    logits, _, end = case.expressions()
    scores = dense("float32", case.scores)

    def call(task: Task, *given: Array) -> Array:
        name = f"{task.kind} of {case.name}"
        flat = tuple(np.ascontiguousarray(a).reshape(-1) for a in given)
        return run([Job(name, task, capability, flat)])[name].memory

    made = call(
        Task("matmul", (queries, keys), scores, logits, masks),
        *arrays[:2],
        *arrays[3 : 3 + len(masks)],
    )
    attributes = (("axis", 3), ("log", False))
    made = call(Task("softmax", (), scores, Ref(0), (scores,), attributes), made)
    if case.quantised:
        moved = apply("to_float", apply("round_int", apply("div", Ref(0), CODE)))
        made = call(Task("elementwise", (), scores, moved, (scores,)), made)
    if case.residual:
        end = apply("add", end.args[0], Ref(0))
    residual = (out,) if case.residual else ()
    return call(
        Task("matmul", (scores, values), out, end, residual),
        made,
        arrays[2],
        *arrays[3 + len(masks) :],
    )


@settings(max_examples=4, deadline=None)
@given(
    case=st.builds(
        Case,
        rows=st.integers(1, 70),
        scored=st.integers(1, 130),
        depth=st.integers(1, 40),
        columns=st.integers(1, 40),
        batch=st.tuples(st.integers(1, 2), st.integers(1, 4)),
        shared=st.booleans(),
        mask=st.none() | st.tuples(*[st.integers(0, 1)] * 4),
        chosen=st.booleans(),
        quantised=st.booleans(),
        residual=st.booleans(),
    )
)
def test_every_number_is_that_of_the_kernels_apart(case: Case, run_kernels: RunKernels) -> None:
    sheet = WIDE if WIDE.native else AVX2
    job = Job("one", case.task(), sheet, case.arrays())
    one = run_kernels([job])["one"]
    assert one.intact
    assert one.memory.tobytes() == _apart(case, sheet, run_kernels).tobytes()


def test_what_is_masked_counts_for_nothing_and_a_row_without_anything_is_no_number(
    run_kernels: RunKernels,
) -> None:
    case = Case(rows=3, scored=21, mask=(0, 0, 1, 1))
    mask = np.zeros((3, 21), np.float32)
    mask[0, ::2] = mask[1] = -np.inf
    arrays = (*case.arrays()[:3], mask.ravel())
    job = Job("masked", case.task(), AVX2, arrays)
    got = run_kernels([job])["masked"].view(job.task.output)[0, 0]
    queries, keys, values = (
        _seen(a, x)[0, 0] for a, x in zip(job.task.inputs, arrays, strict=False)
    )
    powers = np.exp((queries[0] @ keys[:, 1::2]) * SCALE.value)
    np.testing.assert_allclose(got[0], 0.5 * (powers / powers.sum()) @ values[1::2], rtol=1e-5)
    assert np.isnan(got[1]).all()
    assert np.isfinite(got[2]).all()


def test_a_block_of_scores_is_all_that_it_takes_beside_and_threads_have_one_each(
    in_child: InChild,
) -> None:
    task = Case(rows=512, scored=512, depth=64, columns=64, batch=(1, 4)).task()
    point = dict(ATTENTION.space(task, AVX2)[0])
    assert 8 <= point["rows"] <= 16
    assert point["rows"] % point["pixels"] == point["rows"] % point["score_pixels"] == 0
    scratch = in_child(scratch_of, Job("one", task, AVX2, ()))
    assert 4 * point["rows"] * 512 <= scratch <= 4 * 16 * 544
    two = AVX2.model_copy(update={"threads": 2})
    shared = replace(task, parallel=True)
    assert in_child(scratch_of, Job("two", shared, two, ())) == 2 * scratch


def test_what_it_refuses() -> None:
    task = Case().task()
    queries, keys, values = task.inputs
    assert ATTENTION.refusal(task, AVX2) is None
    for position, good in ((1, keys), (2, values)):
        across = Access("float32", good.shape, (1, 1, 1, good.shape[2]))
        inputs = tuple(across if i == position else a for i, a in enumerate(task.inputs))
        assert "innermost" in (ATTENTION.refusal(replace(task, inputs=inputs), AVX2) or "")
    codes = Access("uint8", queries.shape, queries.strides)
    refused = ATTENTION.refusal(replace(task, inputs=(codes, keys, values)), AVX2)
    assert "float32" in (refused or "")
    assert "computed twice" in (ATTENTION.refusal(replace(task, may_alias=True), AVX2) or "")

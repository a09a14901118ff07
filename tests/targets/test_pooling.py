"""Poolings: maximum, sum and mean, padded on any side, against numpy."""

import zlib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from budgetc_targets.kernels.pooling import Pooling
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, Array, Job, Written, nhwc

POOLING = Pooling()


@dataclass(frozen=True)
class Pool:
    """A pooling of (1 or batch, channels, *size)."""

    mode: str
    dtype: str = "uint8"
    channels: int = 16
    size: tuple[int, int] = (7, 9)
    kernel: tuple[int, int] = (2, 2)
    stride: tuple[int, int] = (2, 2)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    batch: int = 1
    follow: str = ""
    full: bool = False  # every element at the end of its range that is farther from zero
    parallel: bool = False

    @property
    def name(self) -> str:
        base = Pool(self.mode)
        parts = [f"{k}={v}" for k, v in vars(self).items() if v != getattr(base, k)]
        return " ".join([self.mode, *parts])

    @property
    def out(self) -> tuple[int, int]:
        padded = [self.size[d] + self.pads[d] + self.pads[d + 2] for d in (0, 1)]
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilation, strict=True)]
        down, across = ((padded[d] - reach[d]) // self.stride[d] + 1 for d in (0, 1))
        return down, across

    def numbers(self) -> Array:
        """Elements as (n, h, w, c)."""
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        shape = (self.batch, *self.size, self.channels)
        if self.dtype == "float32":
            return rng.standard_normal(shape).astype(np.float32)
        limits = np.iinfo(self.dtype)
        if self.full:
            return np.full(shape, limits.min or limits.max, self.dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(self.dtype)

    def expected(self) -> Array:
        x = self.numbers().astype(np.float64)
        top, left, bottom, right = self.pads
        border = ((0, 0), (top, bottom), (left, right), (0, 0))
        padded = np.pad(x, border, constant_values=-np.inf if self.mode == "max" else 0)
        inside = np.pad(np.ones_like(x), border)
        down, across = self.out
        values, counts = [], []
        for a in range(self.kernel[0]):
            for b in range(self.kernel[1]):
                h, w = a * self.dilation[0], b * self.dilation[1]
                rows = slice(h, h + (down - 1) * self.stride[0] + 1, self.stride[0])
                columns = slice(w, w + (across - 1) * self.stride[1] + 1, self.stride[1])
                values.append(padded[:, rows, columns])
                counts.append(inside[:, rows, columns])
        if self.mode == "max":
            return np.max(values, axis=0)
        total = np.sum(values, axis=0)
        return total if self.mode == "sum" else total / np.sum(counts, axis=0)

    def task(self) -> Task:
        shape = (self.batch, self.channels, *self.out)
        kind, expression = self.dtype, ACCUMULATOR
        operands: tuple[Access, ...] = ()
        if self.mode == "sum" and self.dtype == "uint8":
            kind, expression = "int32", ACCUMULATOR
        if self.mode == "mean":
            kind = "float32"
        if self.follow == "average":  # a requantised average: the division is the expression's
            kind = "uint8"
            scaled = apply(
                "mul",
                apply("to_float", ACCUMULATOR),
                Const(1.0 / (self.kernel[0] * self.kernel[1])),
            )
            expression = apply("round_int", scaled)
        if self.follow == "channels":  # a side input for each channel
            operands = (Access("float32", shape, (0, 1, 0, 0)),)
            real: Expr = ACCUMULATOR if self.dtype == "float32" else apply("to_float", ACCUMULATOR)
            kind, expression = "float32", apply("add", real, Ref(0))
        attributes = (
            ("mode", self.mode),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("dilation", self.dilation),
            ("pads", self.pads),
        )
        x = nhwc(self.dtype, (self.batch, self.channels, *self.size))
        return Task(
            "pooling",
            (x,),
            nhwc(kind, shape),
            expression,
            operands,
            attributes,
            parallel=self.parallel,
        )

    def job(self, capability: Capability) -> Job:
        arrays: list[Array] = [self.numbers().ravel()]
        if self.follow == "channels":
            arrays.append(np.arange(self.channels, dtype=np.float32))
        halves = ((0.5, 1.0), (0.0, 0.5)) if self.parallel else ((0.0, 1.0),)
        name = f"{self.name} | {capability.cpu}"
        return Job(name, self.task(), capability, tuple(arrays), ranges=halves)


BASE = [
    *(Pool("max", channels=c) for c in (1, 3, 7, 8, 12, 28, 33, 64)),
    *(
        Pool("max", dtype, channels=12, kernel=(3, 2), stride=(1, 2))
        for dtype in ("int8", "float32")
    ),
    Pool("max", kernel=(3, 3), pads=(1, 1, 1, 1)),
    Pool("max", kernel=(3, 3), pads=(0, 1, 1, 0), channels=20),
    Pool(
        "max", kernel=(2, 3), pads=(0, 0, 1, 2), size=(6, 8), channels=5
    ),  # ceil mode: the last window hangs over
    Pool(
        "max",
        "float32",
        kernel=(3, 3),
        pads=(1, 2, 2, 1),
        dilation=(2, 1),
        stride=(1, 1),
        size=(9, 7),
    ),
    Pool(
        "max",
        "float32",
        kernel=(3, 3),
        pads=(2, 2, 2, 2),
        dilation=(3, 2),
        stride=(2, 1),
        channels=3,
    ),
    Pool("max", "float32", follow="channels", channels=11),
    Pool("max", follow="channels", channels=11, pads=(1, 0, 0, 1)),
    Pool("max", batch=3, channels=28, parallel=True),
    *(Pool("sum", dtype, channels=c) for dtype in ("uint8", "float32") for c in (1, 10, 24)),
    Pool("sum", kernel=(7, 9), channels=28),  # global
    *(
        Pool(mode, dtype, size=(1, most), kernel=(1, most), channels=12, full=True)
        for mode, dtype, exact in (("sum", "uint8", 257), ("mean", "int8", 255))
        for most in (exact, exact + 1)  # as many as 16 bits hold, and one more
    ),
    Pool("sum", "float32", kernel=(7, 9), channels=28, batch=2),
    Pool("sum", kernel=(2, 2), follow="average", channels=20),
    *(
        Pool("mean", dtype, kernel=(3, 3), pads=(1, 1, 1, 1), channels=13)
        for dtype in ("uint8", "float32")
    ),
    Pool(
        "mean",
        "float32",
        kernel=(3, 2),
        pads=(0, 1, 2, 0),
        stride=(1, 1),
        channels=5,
        parallel=True,
    ),
]
CASES = [(pool, pool.job(AVX2)) for pool in BASE] + [
    (pool, pool.job(SSE2)) for pool in BASE if pool.full or BASE.index(pool) % 2 == 0
]


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([job for _, job in CASES])


@pytest.mark.parametrize(("pool", "job"), CASES, ids=[job.name for _, job in CASES])
def test_a_pooling_is_what_numpy_says(pool: Pool, job: Job, written: dict[str, Written]) -> None:
    result = written[job.name]
    assert result.intact
    got, want = result.view(job.task.output).transpose(0, 2, 3, 1), pool.expected()
    if pool.follow == "average":
        np.testing.assert_array_equal(got, np.rint(want / np.prod(pool.kernel)))
        return
    if pool.follow == "channels":
        want = want + np.arange(pool.channels)
    if pool.mode == "max" or job.task.output.dtype == "int32":
        np.testing.assert_array_equal(got, want.astype(np.float32))
    else:
        terms = np.prod(pool.kernel)
        largest = np.abs(pool.numbers().astype(np.float64)).max()
        assert np.abs(got - want).max() <= terms * largest * 2.0**-23


def test_pooling_in_place_never_computes_a_channel_twice(run_kernels: RunKernels) -> None:
    pool = Pool("sum", "float32", kernel=(1, 1), stride=(1, 1), channels=11, size=(2, 3))
    shape = (1, 11, 2, 3)
    task = replace(
        pool.task(),
        operands=(nhwc("float32", shape),),
        expression=apply("add", ACCUMULATOR, Ref(0)),
        may_alias=True,
    )
    other = np.arange(66, dtype=np.float32)
    job = Job("in place", task, AVX2, (pool.numbers().ravel(), other), alias=0)
    result = run_kernels([job])["in place"]
    assert result.intact
    np.testing.assert_allclose(result.memory, pool.numbers().ravel() + other, rtol=1e-6, atol=1e-6)


def test_the_family_says_what_it_cannot_do() -> None:
    task = Pool("max").task()
    assert POOLING.refusal(task, AVX2) is None
    planar = Access("uint8", task.inputs[0].shape, (1008, 63, 9, 1))
    assert "innermost" in (POOLING.refusal(replace(task, inputs=(planar,)), AVX2) or "")
    half = Access("float16", task.inputs[0].shape, task.inputs[0].strides)
    assert "float16" in (POOLING.refusal(replace(task, inputs=(half,)), AVX2) or "")
    assert POOLING.space(task, AVX2) == [()]
    assert POOLING.pack(task, AVX2, (), {}) == []

"""Elementwise kernels: broadcasting, transposes, copies and conversions over any strides."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_targets.expression import Const, Expr, Ref, apply
from budgetc_targets.kernels.elementwise import Elementwise
from budgetc_targets.kernels.tiled_code import turned_dimension
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, NEON, SSE2, WIDE_EMULATED, Array, Job, Written, dense, spread

ADD = apply("add", Ref(0), Ref(1))
SUM3 = apply("add", apply("mul", Ref(0), Ref(1)), Ref(2))
TYPES = ("uint8", "int8", "uint16", "int16", "int32", "float32")
RNG = np.random.default_rng(3)


def _numbers(access: Access) -> Array:
    """As many elements as an access reaches."""
    if access.dtype == "float32":
        return RNG.standard_normal(access.extent).astype(np.float32)
    if access.dtype == "bool":
        return RNG.integers(0, 2, access.extent).astype(np.bool_)
    limits = np.iinfo(access.dtype)
    return RNG.integers(max(limits.min, -30000), min(limits.max, 30000) + 1, access.extent).astype(
        access.dtype
    )


def _view(access: Access, memory: Array) -> Array:
    strides = [s * memory.itemsize for s in access.strides]
    return np.lib.stride_tricks.as_strided(memory, access.shape, strides)


def _job(
    name: str,
    expression: Expr,
    output: Access,
    *operands: Access,
    sse: bool = False,
    parallel: bool = False,
) -> Job:
    task = Task("elementwise", (), output, expression, operands, parallel=parallel)
    ranges = ((0.6, 1.0), (0.0, 0.6)) if parallel else ((0.0, 1.0),)
    arrays = tuple(_numbers(a) for a in operands)
    return Job(name, task, SSE2 if sse else AVX2, arrays, ranges=ranges)


def _strided(dtype: str, shape: tuple[int, ...], *order: int) -> Access:
    """Stored with the dimensions in another order, outermost first."""
    strides, size = [0] * len(shape), 1
    for d in reversed(order):
        strides[d], size = size, size * shape[d]
    return Access(dtype, shape, tuple(strides))


def _copies() -> list[Job]:
    jobs = []
    for dtype in (*TYPES, "bool"):
        lines = [dense(dtype, (n,)) for n in (1, 3, 8, 33, 67)]
        jobs.extend(_job(f"copy {dtype} {x.extent}", Ref(0), x, x) for x in lines)
    for dtype in ("uint8", "float32"):
        for order in ((0, 2, 3, 1), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 2, 3)):
            shape = (2, 5, 3, 7)
            x, y = dense(dtype, shape), _strided(dtype, shape, *order)
            jobs.append(_job(f"transpose {dtype} {order}", Ref(0), y, x))
            jobs.append(_job(f"transpose back {dtype} {order}", Ref(0), x, y, sse=True))
    window = Access("float32", (3, 4), (9, 2))  # every second element of rows of nine
    jobs.append(_job("slice", Ref(0), dense("float32", (3, 4)), window))
    jobs.append(_job("into a slice", Ref(0), window, dense("float32", (3, 4))))
    jobs.append(
        _job(
            "row into a border",
            Ref(0),
            Access("uint8", (4, 6, 3), (40, 3, 1)),
            dense("uint8", (4, 6, 3)),
        )
    )
    jobs.append(
        _job(
            "spread one value", Ref(0), dense("float32", (4, 9)), Access("float32", (4, 9), (0, 0))
        )
    )
    jobs.append(_job("scalar", Ref(0), Access("float32", (), ()), Access("float32", (), ())))
    jobs.append(
        _job(
            "copy shared out",
            Ref(0),
            _strided("uint8", (5, 4, 3), 1, 0, 2),
            dense("uint8", (5, 4, 3)),
            parallel=True,
        )
    )
    return jobs


def _interleaved() -> list[Job]:
    """Planes to pixels and channel shuffles: short innermost dimensions that operands do not lie along."""
    jobs = []
    for turns in (2, 3, 4, 8, 9):
        for long in (1, 5, 32, 70):
            planes = dense("float32", (2, turns, long))
            pixels = _strided("float32", (2, turns, long), 0, 2, 1)
            name = f"{turns} planes of {long}"
            jobs.append(_job(f"{name} to pixels", Ref(0), pixels, planes))
            jobs.append(_job(f"{name}, sse", Ref(0), pixels, planes, sse=True))
            bytes_ = Access("uint8", planes.shape, planes.strides)
            shuffled = Access("uint8", pixels.shape, pixels.strides)
            jobs.append(_job(f"{name} of bytes", Ref(0), shuffled, bytes_))
            side = Access("float32", planes.shape, (0, 1, 0))
            jobs.append(_job(f"{name} and a side", ADD, pixels, planes, side))
            jobs.append(_job(f"{name}, shared", Ref(0), pixels, planes, parallel=True))
    return jobs


def _turned() -> list[Job]:
    """Layouts of two long sides: square tiles, with every kind of tail, and what is too short for them."""
    jobs = []
    for rows, columns in ((4, 4), (8, 8), (16, 16), (15, 33), (17, 16), (31, 47), (7, 40), (64, 9)):
        shape = (2, rows, 1, columns)
        for dtype in (*TYPES, "bool", "int64"):
            one, other = dense(dtype, shape), _strided(dtype, shape, 0, 3, 2, 1)
            name = f"turned {dtype} {rows}x{columns}"
            jobs.append(_job(name, Ref(0), other, one))
            jobs.append(_job(f"{name}, sse", Ref(0), other, one, sse=True))
        plain, turned = dense("float32", shape), _strided("float32", shape, 0, 3, 2, 1)
        side = Access("float32", shape, (0, 1, 0, 0))
        name = f"turned sum {rows}x{columns}"
        jobs.append(_job(name, SUM3, turned, plain, turned, side))
        jobs.append(_job(f"{name}, back", ADD, plain, turned, turned))
        jobs.append(_job(f"{name}, shared", ADD, plain, turned, plain, parallel=True))
        mixed = (Access(dtype, shape, turned.strides) for dtype in ("uint8", "int16"))
        jobs.append(_job(f"{name} of mixed types", ADD, dense("int32", shape), *mixed))
    for sheet in (NEON, WIDE_EMULATED):
        for dtype in ("uint8", "float32"):
            one, other = dense(dtype, (2, 37, 1, 53)), _strided(dtype, (2, 37, 1, 53), 0, 3, 2, 1)
            job = _job(f"turned {dtype} on {sheet.cpu}, {sheet.vector_bytes}", Ref(0), other, one)
            jobs.append(replace(job, capability=sheet))
    shape = (40, 3, 19)  # rows of the output end in a gap, columns of the operand too
    gaps = Access("float32", shape, (100, 20, 1)), Access("float32", shape, (1, 45, 150))
    jobs.append(_job("turned with gaps", Ref(0), *gaps))
    jobs.append(_job("turned with gaps, shared", Ref(0), *gaps, parallel=True))
    return jobs


def _sums() -> list[Job]:
    jobs = []
    shape = (2, 3, 5, 11)
    shapes = {
        "channel": (0, 1, 0, 0),
        "row": (0, 0, 0, 1),
        "one": (0, 0, 0, 0),
        "batch": (1, 0, 0, 0),
        "column": (0, 0, 1, 0),
    }
    for name, strides in shapes.items():
        side, plain = Access("float32", shape, strides), dense("float32", shape)
        jobs.append(_job(f"sum by {name}", ADD, plain, plain, side))
        jobs.append(_job(f"sum by {name}, sse", ADD, plain, plain, side, sse=True))
        nhwc = _strided("float32", shape, 0, 2, 3, 1)
        jobs.append(_job(f"nhwc sum by {name}", ADD, nhwc, nhwc, side))
        jobs.append(
            _job(f"shared sum by {name}", ADD, nhwc, dense("float32", shape), side, parallel=True)
        )
    jobs.append(
        _job(
            "three",
            SUM3,
            dense("float32", (4, 13)),
            *(Access("float32", (4, 13), s) for s in ((13, 1), (0, 1), (1, 0))),
        )
    )
    for long in (7, 32, 75):
        line = dense("float32", (long,))
        jobs.append(_job(f"shared line of {long}", ADD, line, line, line, parallel=True))
    for dtype in ("uint8", "int8", "int16", "int32"):
        both = dense(dtype, (3, 19))
        halved = apply("div", ADD, Const(2, "int32"))
        jobs.append(_job(f"mean of {dtype}", halved, both, both, both))
    return jobs


JOBS = [*_copies(), *_interleaved(), *_turned(), *_sums()]


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(JOBS)


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_an_elementwise_kernel_is_what_numpy_says(job: Job, written: dict[str, Written]) -> None:
    task = job.task
    values = [_view(a, m) for a, m in zip(task.operands, job.arrays, strict=True)]
    wide = [v if v.dtype in (np.float32, np.bool_) else v.astype(np.int64) for v in values]
    if task.expression == Ref(0):
        want = wide[0]
    elif task.expression == ADD:
        want = wide[0] + wide[1]
    elif task.expression == SUM3:
        want = (wide[0].astype(np.float64) * wide[1] + wide[2]).astype(np.float32)
    else:
        want = np.trunc((wide[0] + wide[1]) / 2)
    result = written[job.name]
    assert result.intact
    if task.expression == SUM3:
        np.testing.assert_allclose(result.view(task.output), want, rtol=1e-6, atol=1e-6)
    else:
        np.testing.assert_array_equal(result.view(task.output), want)
    untouched = spread(task.output, np.zeros(task.output.shape), fill=1).astype(bool)
    assert (result.memory.view(np.uint8).reshape(result.memory.size, -1)[untouched] == 0xA5).all()


def test_a_value_too_large_for_its_type_wraps(run_kernels: RunKernels) -> None:
    operand = dense("int32", (6,))
    values = np.array([-1, 0, 255, 256, 300, -129], np.int32)
    jobs = [
        Job(dtype, Task("elementwise", (), dense(dtype, (6,)), Ref(0), (operand,)), AVX2, (values,))
        for dtype in ("uint8", "int8")
    ]
    results = run_kernels(jobs)
    np.testing.assert_array_equal(results["uint8"].memory, values.astype(np.uint8))
    np.testing.assert_array_equal(results["int8"].memory, values.astype(np.int8))


def test_in_place_over_the_first_operand(run_kernels: RunKernels) -> None:
    access = dense("float32", (5, 7))
    task = Task("elementwise", (), access, ADD, (access, access), may_alias=True)
    a, b = np.arange(35, dtype=np.float32), np.ones(35, np.float32)
    result = run_kernels([Job("in place", task, AVX2, (a, b), alias=0)])["in place"]
    np.testing.assert_array_equal(result.memory, a + 1)


def test_the_family_takes_everything_at_one_point_without_constants() -> None:
    family, task = Elementwise(), JOBS[0].task
    assert family.refusal(task, AVX2) is None
    assert family.space(task, AVX2) == [()]
    assert family.pack(task, AVX2, (), {}) == []


@pytest.mark.parametrize(
    ("output", "operand", "may_alias", "dimension"),
    [
        ((16, 16), (1, 16), False, 0),
        ((16, 16), (1, 16), True, None),  # read again after it was written
        ((16, 15), (1, 16), False, None),
        ((7, 16), (1, 7), False, None),
        ((16, 16), (16, 1), False, None),  # nothing turned
        ((16, 16), (2, 32), False, None),  # lies along neither
    ],
)
def test_tiles_are_for_long_sides_that_an_operand_lies_along(
    output: tuple[int, int], operand: tuple[int, int], may_alias: bool, dimension: int | None
) -> None:
    task = Task(
        "elementwise",
        (),
        dense("float32", output),
        Ref(0),
        (Access("float32", output, operand),),
        may_alias=may_alias,
    )
    assert turned_dimension(task, 8 if output != (16, 15) else 16) == dimension

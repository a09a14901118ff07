"""Every elementwise function against numpy, over whole vectors and their tails."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from budgetc_targets.expression import FUNCTIONS, Const, Expr, Ref, apply
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, SSE4, Array, Job, Written, dense

COUNT = 37
RNG = np.random.default_rng(7)
SIGNED = np.concatenate(
    [RNG.uniform(-9, 9, 25), [0.5, 1.5, 2.5, -0.5, -1.5, 0, 1, -1, 3, 1e-4, -7.25, 88]]
)
POSITIVE = np.abs(SIGNED) + 1e-3
OTHER = RNG.permutation(SIGNED)
INTEGERS = RNG.integers(-1000, 1000, COUNT)
DIVISORS = np.where(INTEGERS[::-1] == 0, 3, INTEGERS[::-1] // 7 + 200)
TRUTHS = np.arange(COUNT) % 3 % 2
HALF = (np.arange(COUNT) % 2).astype(np.int64)

Reference = Callable[..., Array]
ERF: Reference = np.vectorize(math.erf)

REALS: dict[str, tuple[tuple[Array, ...], Reference]] = {
    "as_is": ((SIGNED,), lambda a: a),
    "add": ((SIGNED, OTHER), np.add),
    "sub": ((SIGNED, OTHER), np.subtract),
    "mul": ((SIGNED, OTHER), np.multiply),
    "div": ((SIGNED, POSITIVE), np.divide),
    "mod": ((SIGNED, POSITIVE), np.mod),
    "min": ((SIGNED, OTHER), np.minimum),
    "max": ((SIGNED, OTHER), np.maximum),
    "fma": ((SIGNED, OTHER, POSITIVE), lambda a, b, c: a * b + c),
    "pow": ((np.minimum(POSITIVE, 9), OTHER / 10), np.power),
    "exp": ((SIGNED,), np.exp),
    "log": ((POSITIVE,), np.log),
    "log1p": ((POSITIVE,), np.log1p),
    "sqrt": ((POSITIVE,), np.sqrt),
    "rsqrt": ((POSITIVE,), lambda a: 1 / np.sqrt(a)),
    "tanh": ((SIGNED,), np.tanh),
    "erf": ((SIGNED / 3,), ERF),
    "sin": ((SIGNED,), np.sin),
    "cos": ((SIGNED,), np.cos),
    "floor": ((SIGNED,), np.floor),
    "ceil": ((SIGNED,), np.ceil),
    "round": ((SIGNED,), np.rint),
    "abs": ((SIGNED,), np.abs),
    "select": ((SIGNED, OTHER), lambda a, b: np.where(HALF, a, b)),
}
EXACT = {
    "as_is",
    "add",
    "sub",
    "mul",
    "min",
    "max",
    "sqrt",
    "floor",
    "ceil",
    "round",
    "abs",
    "select",
}
WHOLE: dict[str, tuple[tuple[Array, ...], Reference]] = {
    "as_is": ((INTEGERS,), lambda a: a),
    "add": ((INTEGERS, DIVISORS), np.add),
    "sub": ((INTEGERS, DIVISORS), np.subtract),
    "mul": ((INTEGERS, DIVISORS), np.multiply),
    "div": ((INTEGERS, DIVISORS), lambda a, b: np.trunc(a / b)),
    "mod": ((INTEGERS, DIVISORS), np.mod),
    "min": ((INTEGERS, DIVISORS), np.minimum),
    "max": ((INTEGERS, DIVISORS), np.maximum),
    "abs": ((INTEGERS,), np.abs),
    "less": ((INTEGERS, DIVISORS), np.less),
    "less_equal": ((INTEGERS, INTEGERS), np.less_equal),
    "equal": ((INTEGERS, np.where(HALF, INTEGERS, 0)), np.equal),
    "not": ((TRUTHS,), lambda a: 1 - a),
    "and": ((TRUTHS, HALF), np.logical_and),
    "or": ((TRUTHS, HALF), np.logical_or),
    "select": ((INTEGERS, DIVISORS), lambda a, b: np.where(HALF, a, b)),
}
CONVERSIONS: dict[str, tuple[Array, str, Reference]] = {
    "to_float": (INTEGERS, "float32", lambda a: a),
    "to_int": (SIGNED, "int32", np.trunc),
    "round_int": (SIGNED, "int32", np.rint),
}
FIXED_POINT = {"shift_right", "rescale", "to_fixed", "from_fixed"}
"""Those are tried in test_fixed_point.py."""
COMPARED: dict[str, Reference] = {"less": np.less, "less_equal": np.less_equal, "equal": np.equal}


def _expression(fn: str, count: int) -> Expr:
    refs = tuple(Ref(i) for i in range(count))
    if fn == "select":  # the condition is the last operand here
        return apply("select", Ref(count), *refs)
    return apply(fn, *refs)


def _job(
    name: str, fn: str, arrays: tuple[Array, ...], dtype: str, output: str, capability: object
) -> Job:
    flat = tuple(a.astype(dtype) for a in arrays)
    if fn == "select":
        flat = (*flat, HALF.astype(np.int32))
    operands = tuple(Access(str(a.dtype), (COUNT,), (1,)) for a in flat)
    task = Task("elementwise", (), dense(output, (COUNT,)), _expression(fn, len(arrays)), operands)
    return Job(name, task, capability, flat)  # type: ignore[arg-type]


def _jobs() -> list[Job]:
    jobs = []
    for capability in (AVX2, SSE2, SSE4):
        end = f" {capability.cpu}"
        jobs += [
            _job(f"real {fn}{end}", fn, a, "float32", "float32", capability)
            for fn, (a, _) in REALS.items()
        ]
        jobs += [
            _job(f"whole {fn}{end}", fn, a, "int32", "int32", capability)
            for fn, (a, _) in WHOLE.items()
        ]
        jobs += [
            _job(
                f"real {fn}{end}",
                fn,
                (SIGNED, np.where(HALF, SIGNED, OTHER)),
                "float32",
                "int32",
                capability,
            )
            for fn in COMPARED
        ]
        jobs += [
            _job(
                f"convert {fn}{end}",
                fn,
                (a,),
                "int32" if fn == "to_float" else "float32",
                out,
                capability,
            )
            for fn, (a, out, _) in CONVERSIONS.items()
        ]
    return jobs


JOBS = _jobs()


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(JOBS)


def test_every_function_is_tried() -> None:
    tried = {job.name.split()[1] for job in JOBS}
    assert tried == set(FUNCTIONS) - FIXED_POINT - {
        "round_bf16"
    }  # of one kind of CPU: test_bfloat16


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_a_function_is_what_numpy_says(job: Job, written: dict[str, Written]) -> None:
    kind, fn, _ = job.name.split()
    result = written[job.name]
    assert result.intact
    values = [a.astype(np.float64) for a in job.arrays]
    if fn == "select":
        values.pop()
    if kind == "whole":
        np.testing.assert_array_equal(
            result.memory, WHOLE[fn][1](*(v.astype(np.int64) for v in values))
        )
    elif kind == "convert":
        np.testing.assert_array_equal(result.memory, CONVERSIONS[fn][2](values[0]))
    elif fn in COMPARED:
        np.testing.assert_array_equal(result.memory, COMPARED[fn](*values))
    elif fn in EXACT:
        np.testing.assert_array_equal(result.memory, REALS[fn][1](*values).astype(np.float32))
    else:
        size = np.maximum(np.abs(values).max(axis=0), 1) if fn in ("fma", "sin", "cos") else 1
        np.testing.assert_allclose(
            result.memory / size, REALS[fn][1](*values) / size, rtol=4e-6, atol=2e-6
        )


def test_extremes_of_the_exponential_and_its_kin_stay_finite_or_go_where_they_should(
    run_kernels: RunKernels,
) -> None:
    values = np.array([-1e30, -200, -104, -88, 0, 88, 200, 1e30], np.float32)
    access = dense("float32", (8,))
    jobs = [
        Job(fn, Task("elementwise", (), access, apply(fn, Ref(0)), (access,)), AVX2, (values,))
        for fn in ("exp", "tanh", "erf")
    ]
    results = run_kernels(jobs)
    powers = results["exp"].memory
    assert powers[0] < 1e-37
    assert powers[1] < 1e-37
    assert powers[4] == 1
    np.testing.assert_allclose(powers[5], math.exp(88), rtol=1e-4)
    assert powers[7] > 1e38
    assert list(results["tanh"].memory[[0, 4, 7]]) == [-1, 0, 1]
    assert list(results["erf"].memory[[0, 4, 7]]) == [-1, 0, 1]


def test_equal_subtrees_are_one_value(run_kernels: RunKernels) -> None:
    shared = apply("exp", apply("mul", Ref(0), Const(0.5)))
    expression = apply("div", apply("sub", shared, Const(1.0)), apply("add", shared, Const(1.0)))
    access = dense("float32", (11,))
    values = np.linspace(-3, 3, 11, dtype=np.float32)
    job = Job("twice", Task("elementwise", (), access, expression, (access,)), AVX2, (values,))
    got = run_kernels([job])["twice"].memory
    np.testing.assert_allclose(got, np.tanh(values.astype(np.float64) / 4), rtol=1e-5, atol=1e-6)

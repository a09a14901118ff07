"""Elementary functions over all their range: within a few ulp of the truth, and right at its ends."""

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, WIDE, Array, Job, Written, dense
from scipy import special

SWEEP = np.concatenate(
    [
        np.linspace(-110, 95, 120_001),
        np.linspace(-5, 5, 120_001),
        np.geomspace(1e-30, 1, 5_001),
        -np.geomspace(1e-30, 1, 5_001),
    ]
).astype(np.float32)
ENDS = np.array([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, 88.72, 88.73, -87.4, -103.9, 4, -4, 1])
ENDS = np.append(ENDS, [np.nan, 1e-40, 1.17549435e-38, 1e-45])
TRUTH = {"exp": np.exp, "erf": special.erf, "log": np.log, "log1p": np.log1p, "tanh": np.tanh}
MOST_ULP = {"exp": 2.0, "erf": 8.0, "log": 1.5, "log1p": 4.0, "tanh": 4.0}
"""Without a fused multiply-add, as on SSE2, intermediate roundings add to it."""
TARGETS = [AVX2, SSE2, *([WIDE] if WIDE.native else [])]


def _job(fn: str, values: Array, capability: Capability, what: str) -> Job:
    access = dense("float32", values.shape)
    task = Task("elementwise", (), access, apply(fn, Ref(0)), (access,))
    return Job(f"{what} {fn} {capability.cpu}", task, capability, (values.astype(np.float32),))


def _of_its_domain(fn: str, values: Array) -> Array:
    if fn == "log":
        return np.append(values, np.abs(values))
    return values[np.isfinite(values) & (values > -0.999)] if fn == "log1p" else values


JOBS = [
    _job(fn, _of_its_domain(fn, values), capability, what)
    for fn in TRUTH
    for capability in TARGETS
    for what, values in (("sweep", SWEEP), ("ends", ENDS))
]


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(JOBS)


@pytest.mark.parametrize("job", JOBS, ids=[job.name for job in JOBS])
def test_a_function_is_within_ulps_of_the_truth(job: Job, written: dict[str, Written]) -> None:
    what, fn, _ = job.name.split(maxsplit=2)
    x, got = job.arrays[0].astype(np.float64), written[job.name].memory.astype(np.float64)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        truth = TRUTH[fn](x)
        rounded = truth.astype(np.float32)
    finite, number = np.isfinite(rounded), ~np.isnan(rounded)
    if what == "ends" or fn == "log":
        np.testing.assert_array_equal(got[~finite], rounded[~finite])
        np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(rounded[number]))
        got, truth, rounded = got[finite], truth[finite], rounded[finite]
    elif fn == "exp":  # the largest numbers may round to infinity where the truth does not
        inside = (x < 88.7) & (rounded > 0)
        got, truth, rounded = got[inside], truth[inside], rounded[inside]
    ulp = np.spacing(np.maximum(np.abs(rounded), np.finfo(np.float32).smallest_subnormal))
    worst = np.abs(got - truth) / ulp
    assert worst.max(initial=0) <= MOST_ULP[fn], (worst.max(), x[np.argmax(worst)])

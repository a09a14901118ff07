"""Kernels of every target that this machine does not run itself, under emulation: the same numbers as everywhere."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import (
    ARMV7,
    DOTPROD,
    I8MM,
    NEON,
    SCALAR,
    TARGETS,
    VECTOR,
    WASM,
    Job,
    Written,
    dense,
)
from windows import Window, check, jobs_of

CORES = {
    "neon": NEON,
    "dotprod": DOTPROD,
    "i8mm": I8MM,
    "armv7": ARMV7,
    "rv64gc": SCALAR,
    "rv64gcv": VECTOR,
    "wasm": WASM,
}


def _depthwise(channels: int, kernel: int, stride: int = 1, **more: object) -> Window:
    size = {"channels": channels, "filters": channels, "groups": channels}
    taps = {"kernel": (kernel, kernel), "stride": (stride, stride)}
    return replace(Window("depthwise", **size, **taps, weight_range=128), **more)


WINDOWS = [
    Window(channels=3, filters=7),
    Window(channels=8, filters=12, stride=(2, 1)),
    Window(channels=16, filters=20, kernel=(1, 1), out=(2, 13)),
    Window(channels=5, filters=9, groups=1, dilation=(2, 2), batch=2),
    Window(channels=12, filters=16, groups=4),
    Window(channels=64, filters=8, out=(2, 2), weight_range=127, extreme=True),
    Window(channels=64, filters=8, out=(2, 2), weight_range=128, extreme=True),
    Window(channels=6, filters=6, residual=True),
    Window(channels=3, filters=8, parallel=True),
    *(_depthwise(c, k, s) for c, k, s in [(4, 3, 1), (8, 3, 1), (13, 5, 2), (12, 1, 1), (7, 7, 1)]),
    _depthwise(16, 3, out=(4, 11)),
    _depthwise(20, 3, 2, dilation=(1, 2)),
    _depthwise(9, 3, extreme=True),
]
REAL = [w for w in WINDOWS if not w.residual and not w.extreme]
EVERY_POINT = Window(channels=6, filters=16, out=(2, 7))


def _cases(capability: Capability) -> list[tuple[Window, Job]]:
    found = [(w, j) for w in WINDOWS for j in jobs_of(w, capability)]
    for window in (replace(w, integer=False) for w in REAL):
        found += [(window, j) for j in jobs_of(window, capability)]
    every = jobs_of(EVERY_POINT, capability, every_point=True)
    return found + [(EVERY_POINT, j) for j in every]


CASES = {core: _cases(capability) for core, capability in CORES.items()}
NUMBERS = np.linspace(-9, 9, 21, dtype="f4")


def _functions(capability: Capability) -> list[Job]:
    """The exponential function, and rounding to an integer, of which tails of vectors are scalars."""
    real, whole = dense("float32", (21,)), dense("int32", (21,))
    halves = np.arange(-10, 11, dtype="f4") / 2
    return [
        Job(
            "exp",
            Task("elementwise", (), real, apply("exp", Ref(0)), (real,)),
            capability,
            (NUMBERS,),
        ),
        Job(
            "round",
            Task("elementwise", (), whole, apply("round_int", Ref(0)), (real,)),
            capability,
            (halves,),
        ),
    ]


@pytest.fixture(scope="module", params=CORES)
def ran(request: pytest.FixtureRequest, run_kernels: RunKernels) -> tuple[str, dict[str, Written]]:
    """What all kernels of a core wrote, by the job."""
    capability = CORES[request.param]
    why_not = TARGETS[capability.target].runner(capability).why_not
    if why_not:
        pytest.skip(why_not)
    jobs = [job for _, job in CASES[request.param]] + _functions(capability)
    return request.param, run_kernels(jobs)


def test_every_kernel_is_what_numpy_says(ran: tuple[str, dict[str, Written]]) -> None:
    core, written = ran
    wrong = []
    for window, job in CASES[core]:
        try:
            check(window, job, written[job.name])
        except AssertionError as error:
            wrong.append(f"{job.name}: {error}")
    assert not wrong, "\n".join(wrong)


def test_functions_are_what_numpy_says(ran: tuple[str, dict[str, Written]]) -> None:
    _, written = ran
    np.testing.assert_allclose(written["exp"].memory, np.exp(NUMBERS.astype("f8")), rtol=4e-6)
    want = np.rint(np.arange(-10, 11) / 2).astype(np.int32)
    np.testing.assert_array_equal(written["round"].memory, want)

"""Fixed-point functions at the ends of their ranges, in vectors and on cores without floats, against numpy."""

import numpy as np
import pytest
from budgetc.verification import fixed_point as reference
from budgetc_specs.capability import Capability
from budgetc_targets.cortex_m import CortexM
from budgetc_targets.expression import Expr, Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import AVX2, SSE2, Array, Job, dense

RNG = np.random.default_rng(3)
COUNT = 203
ENDS = np.array([-(2**31), -(2**31) + 1, -65537, -65536, -1, 0, 1, 65535, 2**31 - 1])
WHOLE = np.concatenate([np.repeat(ENDS, 3), RNG.integers(-(2**31), 2**31, COUNT - 27)])
SMALL = WHOLE >> RNG.integers(0, 31, COUNT)
MANTISSAS = np.concatenate([np.tile([0, 2**15, 2**16 - 1], 9), RNG.integers(0, 2**16, COUNT - 27)])
POINTS = RNG.integers(0, 32, COUNT)
EDGES = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 2.0**31, -(2.0**31), 0.5])
REALS = np.concatenate([EDGES, RNG.standard_normal(COUNT - 10) * 2.0 ** RNG.integers(-30, 40, 193)])
UNITS = RNG.integers(-20, 30, COUNT)

CASES: dict[str, tuple[tuple[tuple[Array, str], ...], str, Array]] = {
    "rescale": (
        ((WHOLE, "int32"), (MANTISSAS | POINTS << 16, "int32")),
        "int32",
        reference.rescale(WHOLE, MANTISSAS | POINTS << 16),
    ),
    "to_fixed": (
        ((REALS, "float32"), (UNITS, "int32")),
        "int32",
        reference.to_fixed(REALS.astype(np.float32), UNITS),
    ),
    "from_fixed": (
        ((SMALL, "int32"), (UNITS, "int32")),
        "float32",
        reference.from_fixed(SMALL, UNITS),
    ),
    "shift_right": (((WHOLE, "int32"), (POINTS, "int32")), "int32", WHOLE >> POINTS),
}

RUNNER = CortexM().runner(CortexM().capability("cortex-m3", 1))
needs_emulator = pytest.mark.skipif(bool(RUNNER.why_not), reason=RUNNER.why_not or "runs here")
CORES = [
    AVX2,
    SSE2,
    *(
        pytest.param(CortexM().capability(name, 1), marks=needs_emulator)
        for name in ("cortex-m0plus", "cortex-m3")
    ),
]


def _job(fn: str, capability: Capability) -> Job:
    given, output, _ = CASES[fn]
    arrays = tuple(a.astype(dtype) for a, dtype in given)
    expression: Expr = apply(fn, *(Ref(i) for i in range(len(given))))
    operands = tuple(dense(dtype, (COUNT,)) for _, dtype in given)
    return Job(
        fn,
        Task("elementwise", (), dense(output, (COUNT,)), expression, operands),
        capability,
        arrays,
    )


@pytest.mark.parametrize("capability", CORES, ids=lambda c: c.cpu)
def test_every_core_computes_what_the_reference_says(
    capability: Capability, run_kernels: RunKernels
) -> None:
    written = run_kernels([_job(fn, capability) for fn in CASES])
    for fn, (_, output, wanted) in CASES.items():
        got = written[fn].memory
        np.testing.assert_array_equal(got, wanted.astype(output), fn, strict=True)

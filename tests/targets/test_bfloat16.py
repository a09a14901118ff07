"""Numbers in 16 bits: rounded to nearest even, widened, moved; on any machine, and by the CPU's own instructions."""

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import Expr, Ref, apply
from budgetc_targets.task import Access, Task
from conftest import InChild, RunKernels
from kernel_runner import WIDE_BF16, WIDE_EMULATED, Array, Job, dense
from probes import kernel_ir, text_of

HALF = ml_dtypes.bfloat16
SHEETS = [WIDE_EMULATED, *([WIDE_BF16] if WIDE_BF16.native else [])]
ROUND = apply("round_bf16", Ref(0))
EDGES = [0.0, -0.0, 1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8, 1 + 2**-8 + 2**-20, 3e38, np.inf]


def job(name: str, sheet: Capability, expression: Expr, x: Array, made: str, turned: bool) -> Job:
    given = dense(x.dtype.name, x.shape)
    output = dense(made, x.shape)
    if turned:
        given = Access(given.dtype, x.shape[::-1], given.strides[::-1])
        output = dense(made, x.shape[::-1])
    task = Task("elementwise", (), output, expression, (given,))
    return Job(f"{name} {sheet.cpu} {x.shape} {turned}", task, sheet, (x.reshape(-1),))


def numbers(*shape: int) -> Array:
    x = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    x.reshape(-1)[: len(EDGES)] = EDGES
    return x


SHAPES = [((5, 31), False), ((17, 18), True)]


def test_numbers_are_rounded_widened_and_moved_as_numpy_has_them(run_kernels: RunKernels) -> None:
    jobs, wanted = [], {}
    for sheet in SHEETS:
        for shape, turned in SHAPES:
            x = numbers(*shape)
            half = x.astype(HALF)
            for name, expression, given, made, right in (
                ("round and store", ROUND, x, "bfloat16", half),
                ("round", ROUND, x, "float32", half.astype(np.float32)),
                ("widen", Ref(0), half, "float32", half.astype(np.float32)),
                ("move", Ref(0), half, "bfloat16", half),
            ):
                jobs.append(job(name, sheet, expression, given, made, turned))
                wanted[jobs[-1].name] = right.T if turned else right
    written = run_kernels(jobs)
    for each in jobs:
        assert written[each.name].intact
        got = written[each.name].view(each.task.output)
        np.testing.assert_array_equal(
            got.view(f"u{got.itemsize}"),
            np.ascontiguousarray(wanted[each.name]).view(f"u{got.itemsize}"),
        )


def test_a_vector_is_rounded_and_stored_without_being_taken_apart(in_child: InChild) -> None:
    ir = in_child(kernel_ir, job("ir", WIDE_BF16, ROUND, numbers(4, 64), "bfloat16", False))
    assert "fptrunc <16 x float>" in ir
    assert "lshr <16" not in ir


def test_functions_that_a_kernel_does_not_call_leave_nothing(
    in_child: InChild, tmp_path: Path
) -> None:
    texts = []
    for sheet in (WIDE_BF16, WIDE_BF16.model_copy(update={"bfloat16_dot": None})):
        each = job("ir", sheet, apply("abs", Ref(0)), numbers(4, 64), "float32", False)
        texts.append(in_child(text_of, each, tmp_path))
    assert texts[0] == texts[1]


@pytest.mark.skipif(not WIDE_BF16.native, reason="this CPU has no dot product of bfloat16 numbers")
def test_numbers_below_the_normal_ones_are_zero(run_kernels: RunKernels) -> None:
    x = np.full((1, 20), 1e-40, np.float32)
    each = job("tiny", WIDE_BF16, ROUND, x, "float32", False)
    assert not run_kernels([each])[each.name].memory.any()

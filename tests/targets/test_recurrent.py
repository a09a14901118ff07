"""Recurrent layers: every point, tails, batches, directions, lengths, s8 and computed weights, against numpy."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.expression import ACCUMULATOR, apply
from budgetc_targets.kernels.recurrent import Recurrent
from budgetc_targets.kernels.recurrent_digits import digits_for
from budgetc_targets.recurrence import Cell, Stage
from budgetc_targets.task import Access, Task
from conftest import RunKernels
from kernel_runner import AVX2, DOTPROD, NEON, SSE2, WIDE, WIDE_EMULATED, Array, Job, Written, dense

STEPS = 4
AVX512 = WIDE if WIDE.native else WIDE_EMULATED


def _one_stage() -> Cell:
    """Two gates, a state beside the result, a column: what LSTM and GRU are made of."""
    cell = Cell(rows=2, states=2, gates=2, stages=())
    pre = [
        apply("add", cell.given(g), apply("mul", cell.summed(g), cell.column(0))) for g in (0, 1)
    ]
    memory = apply("fma", apply("tanh", pre[0]), cell.row(1), pre[1])
    result = apply("mul", apply("tanh", cell.row(1)), pre[0])
    return replace(cell, stages=(Stage(0, (0, 1), ((1, memory), (0, result))),))


def _two_stages() -> Cell:
    """The second product is of what the first one gave; the gates are not in the order of the weights."""
    cell = Cell(rows=2, states=1, gates=3, stages=())
    sums = [apply("mul", cell.summed(gate), cell.column(0)) for gate in range(3)]
    first = apply("tanh", apply("add", sums[2], cell.given(1)))
    second = apply("add", sums[1], apply("mul", sums[0], cell.given(0)))
    mixed = apply("sub", apply("tanh", second), apply("mul", cell.column(0), cell.row(0)))
    return replace(cell, stages=(Stage(0, (2,), ((1, first),)), Stage(1, (0, 1), ((0, mixed),))))


def _relu(cell: Cell) -> Cell:
    """The same cell but for its last expression."""
    stage = cell.stages[-1]
    row, expression = stage.updates[-1]
    other = (
        *stage.updates[:-1],
        (row, apply("max", expression, apply("sub", expression, expression))),
    )
    return replace(cell, stages=(*cell.stages[:-1], replace(stage, updates=other)))


CELLS = {"one": (_one_stage(),), "two": (_two_stages(),)}
BOTH = {
    "one": (_one_stage(), _one_stage()),
    "two": (_two_stages(), _two_stages()),
    "differing": (_one_stage(), _relu(_one_stage())),
}


def _job(
    name: str,
    capability: Capability,
    cells: tuple[Cell, ...],
    hidden: int,
    batch: int = 1,
    *,
    reverse: bool = False,
    initial: tuple[int, ...] = (),
    lengths: tuple[int, ...] = (),
    computed: bool = False,
    integer: bool = False,
    sequence: bool = True,
    finals: tuple[int, ...] = (0,),
    parallel: bool = False,
    point: int = 0,
    ranges: tuple[tuple[float, float], ...] = ((0.0, 1.0),),
) -> Job:
    directions, gates = len(cells), cells[0].gates
    random = np.random.default_rng(hidden)

    def numbers(*shape: int) -> Array:
        return (random.standard_normal(shape) / np.sqrt(max(hidden, 4))).astype(np.float32)

    shapes = [
        (STEPS, batch, directions, gates, hidden),
        *((directions, batch, hidden),) * len(initial),
        (directions, hidden),
    ]
    arrays = [numbers(*shape) for shape in shapes]
    accesses = [dense("float32", shape) for shape in shapes]
    weight = numbers(directions, gates, hidden, hidden)
    if integer:
        weight = np.clip(np.rint(weight * 100), -127, 127).astype(np.int8)
        arrays[-1] /= 100
    if lengths:
        arrays.append(np.array(lengths, np.int32))
        accesses.append(dense("int32", (batch,)))
    if computed:
        arrays.append(weight)
        accesses.append(dense("float32", weight.shape))
    attributes = {
        "cells": cells,
        "reverse": reverse,
        "initial": initial,
        "lengths": bool(lengths),
        "computed": computed,
        "weight_type": weight.dtype.name,
        "sequence": sequence,
        "finals": finals,
    }
    slots = STEPS * sequence + len(finals)
    task = Task(
        "recurrent",
        tuple(accesses),
        dense("float32", (slots, directions, batch, hidden)),
        ACCUMULATOR,
        attributes=tuple(attributes.items()),
        parallel=parallel,
    )
    points = Recurrent().space(task, capability)
    return Job(
        f"{name} {capability.cpu} {capability.vector_bytes} point {point}",
        task,
        capability,
        tuple(a.reshape(-1) for a in arrays),
        {"weight": weight},
        points[point % len(points)],
        ranges,
    )


def _jobs() -> list[Job]:
    jobs = []
    native = [WIDE] if WIDE.native else []
    for sheet in (AVX512, DOTPROD):
        jobs += [
            _job(f"s8 {hidden}", sheet, CELLS["two"], hidden, 2, integer=True) for hidden in (3, 21)
        ]
    jobs += [
        _job("s8 point", AVX512, BOTH["two"], 33, 6, point=point, initial=(0,), integer=True)
        for point in (1, 2)
    ]
    for sheet in (AVX2, SSE2, WIDE_EMULATED, NEON, *native):
        for hidden in (1, 3, 16, 21, 40):
            for kind, cells in CELLS.items():
                jobs.append(_job(f"{kind} {hidden}", sheet, cells, hidden))
        jobs += [
            _job(
                "reverse", sheet, CELLS["one"], 19, 3, reverse=True, initial=(0, 1), finals=(0, 1)
            ),
            _job("both", sheet, BOTH["two"], 20, 5, initial=(0,)),
            _job("differing", sheet, BOTH["differing"], 10, 2, initial=(1,)),
            _job("last only", sheet, BOTH["one"], 12, 2, sequence=False, finals=(0, 1)),
            _job("no last", sheet, CELLS["one"], 12, 2, finals=()),
            _job("lengths", sheet, CELLS["one"], 9, 5, lengths=(4, 1, 0, 9, -1), initial=(0, 1)),
            _job("lengths back", sheet, CELLS["two"], 9, 2, lengths=(2, 3), reverse=True),
            _job("lengths both", sheet, BOTH["one"], 9, 2, lengths=(3, 2), initial=(0,)),
            _job("computed", sheet, BOTH["two"], 21, 2, computed=True, parallel=True),
            _job("computed, lengths", sheet, CELLS["one"], 8, 2, computed=True, lengths=(4, 2)),
            _job("s8", sheet, BOTH["one"], 22, 3, integer=True),
            _job("s8 two", sheet, CELLS["two"], 40, integer=True, initial=(0,)),
            _job("threads", sheet, BOTH["one"], 20, 5, parallel=True, ranges=((0.5, 1), (0, 0.5))),
            _job("one job", sheet, CELLS["one"], 20, 1, parallel=True),
        ]
    for sheet in (AVX2, *native):
        for point in range(1, 4):
            jobs.append(_job("point", sheet, BOTH["two"], 33, 6, point=point, initial=(0,)))
    return jobs


JOBS = {job.name: job for job in _jobs()}


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels(list(JOBS.values()))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "tanh": np.tanh,
    "fma": lambda a, b, c: a * b + c,
}


def _evaluate(expression: object, values: list[Array | None]) -> Array:
    if hasattr(expression, "index"):
        found = values[expression.index]
        assert found is not None
        return found
    arguments = [_evaluate(a, values) for a in expression.args]  # type: ignore[attr-defined]
    return FUNCTIONS[expression.fn](*arguments)  # type: ignore[attr-defined]


def _expected(job: Job) -> Array:
    """The same in f64, one sequence after the other."""
    task, attribute = job.task, job.task.attribute
    shaped = [
        a.reshape(x.shape).astype(np.float64) for a, x in zip(job.arrays, task.inputs, strict=True)
    ]
    given, column = shaped[0], shaped[1 + len(attribute("initial"))]
    weight = job.constants["weight"].astype(np.float64)
    y = np.zeros(task.output.shape)
    steps, batch, directions, _, hidden = given.shape
    for d in range(directions):
        cell = attribute("cells")[d]
        for n in range(batch):
            length = steps
            if attribute("lengths"):
                at = -2 if attribute("computed") else -1
                length = int(np.clip(shaped[at][n], 0, steps))
            rows: list[Array | None] = [np.zeros(hidden)] * cell.rows
            for position, row in enumerate(attribute("initial")):
                rows[row] = shaped[1 + position][d, n]
            order = range(length)
            for t in reversed(order) if d or attribute("reverse") else order:
                for stage in cell.stages:
                    source = rows[stage.source]
                    assert source is not None
                    sums = [weight[d, g] @ source for g in range(cell.gates)]
                    for row, expression in stage.updates:
                        values = [*rows, *sums, *given[t, n, d], column[d]]
                        rows[row] = _evaluate(expression, values)
                if attribute("sequence"):
                    y[t, d, n] = rows[0]
            for position, row in enumerate(attribute("finals")):
                y[steps * attribute("sequence") + position, d, n] = rows[row] if length else 0
    return y


@pytest.mark.parametrize("name", JOBS)
def test_a_layer_is_what_numpy_says(name: str, written: dict[str, Written]) -> None:
    job = JOBS[name]
    assert written[name].intact
    hidden = job.task.output.shape[-1]
    expected = _expected(job)
    magnitude = max(1.0, float(np.abs(expected).max()))
    # An error of a step goes into the next one; sums of `hidden` products in each.
    tolerance = 8 * STEPS * np.sqrt(hidden) * 2**-24 * magnitude
    got = written[name].view(job.task.output)
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


SPOILING = {"nan": np.nan, "infinity": -np.inf}


def _spoilt(name: str) -> Job:
    """Sums by digits where one state is no number; the cell hands them out as they are."""
    cell = Cell(rows=1, states=1, gates=1, stages=())
    cell = replace(cell, stages=(Stage(0, (0,), ((0, cell.summed(0)),)),))
    job = _job(name, AVX512, (cell,), 20, initial=(0,), integer=True)
    states = job.arrays[1].copy()
    states[7] = SPOILING[name]
    return replace(job, arrays=(job.arrays[0], states, *job.arrays[2:]))


def _tiny() -> Job:
    """States from one to the smallest numbers there are; their largest decides how far they are told apart."""
    job = _job("tiny", AVX512, CELLS["one"], 40, initial=(0, 1), integer=True)
    states = np.geomspace(1e-45, 1e-30, 40).astype(np.float32)
    return replace(job, arrays=(job.arrays[0], states, states, *job.arrays[3:]))


def test_states_that_are_no_numbers_spoil_every_sum_by_digits(run_kernels: RunKernels) -> None:
    jobs = [_spoilt(name) for name in SPOILING]
    written = run_kernels(jobs)
    for job in jobs:
        assert np.isnan(written[job.name].view(job.task.output)).all(), job.name


def test_the_smallest_states_keep_sums_by_digits_finite(run_kernels: RunKernels) -> None:
    job = _tiny()
    got = run_kernels([job])[job.name].view(job.task.output)
    np.testing.assert_allclose(got, _expected(job), rtol=0, atol=1e-6)


def test_digits_are_for_dot_products_that_pay() -> None:
    task = _job("s8", AVX512, BOTH["one"], 22, integer=True).task
    assert {s.cpu: digits_for(task, s) is not None for s in (WIDE, DOTPROD, AVX2, SSE2, NEON)} == {
        WIDE.cpu: True,
        DOTPROD.cpu: True,
        AVX2.cpu: False,
        SSE2.cpu: False,
        NEON.cpu: False,
    }
    real = replace(task, attributes=(*task.attributes, ("weight_type", "float32")))
    assert digits_for(real, WIDE) is None


def test_so_many_sequences_go_side_by_side_as_registers_hold() -> None:
    few = WIDE.model_copy(
        update={"int8_dot": "vpdpbusd256", "vector_bytes": 32, "vector_registers": 16}
    )
    job = _job("few registers", few, BOTH["one"], 256, 8, integer=True)
    assert {dict(point)["rows"] for point in Recurrent().space(job.task, few)} == {1, 2}
    assert digits_for(job.task, few)


def test_vectors_of_a_block_fit_the_registers() -> None:
    for sheet in (AVX2, SSE2, NEON, WIDE):
        job = _job("fits", sheet, BOTH["one"], 256, 8)
        for point in Recurrent().space(job.task, sheet):
            knobs = dict(point)
            assert knobs["rows"] * knobs["vectors0"] < sheet.vector_registers


def test_what_it_refuses() -> None:
    family, job = Recurrent(), next(iter(JOBS.values()))
    assert family.refusal(job.task, AVX2) is None
    half = replace(
        job.task, inputs=(replace(job.task.inputs[0], dtype="float16"), *job.task.inputs[1:])
    )
    assert "float16" in (family.refusal(half, AVX2) or "")
    shape = (5, 1, 1, 4)
    across = replace(job.task, output=Access("float32", shape, (16, 16, 16, 2)))
    assert "innermost" in (family.refusal(across, AVX2) or "")

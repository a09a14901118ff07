"""Cortex-M: the sheets, and kernels as firmware on emulated boards with the same numbers as everywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError
from budgetc_targets.contract import BoardRunner, CountingRunner
from budgetc_targets.cortex_m import CortexM
from budgetc_targets.expression import ACCUMULATOR, Const, Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import M0PLUS, M3, M4, M7, M33, M55, Job, Written, dense, nhwc
from windows import Window, check, jobs_of, task_of

TARGET = CortexM()
RUNNER = TARGET.runner(M4)
needs_emulator = pytest.mark.skipif(bool(RUNNER.why_not), reason=RUNNER.why_not or "runs here")


def depthwise(channels: int, kernel: int, stride: int, **more: object) -> Window:
    base = Window("depthwise", channels=channels, filters=channels, groups=channels)
    taps, strides = (kernel, kernel), (stride, stride)
    return replace(base, kernel=taps, stride=strides, weight_range=128, **more)


WINDOWS = [
    Window(channels=3, filters=7),
    Window(channels=8, filters=12, stride=(2, 1)),
    Window(channels=1, filters=6, kernel=(5, 4), stride=(2, 2), out=(3, 5)),
    Window(channels=16, filters=20, kernel=(1, 1), out=(2, 13)),
    Window(channels=40, filters=9, kernel=(1, 1), out=(1, 1)),
    Window(channels=5, filters=9, dilation=(2, 2), batch=2),
    Window(channels=12, filters=16, groups=4),
    Window(channels=64, filters=8, out=(2, 2), weight_range=128, extreme=True),
    Window(channels=6, filters=6, residual=True, zero=3),
    *(depthwise(c, k, s) for c, k, s in [(4, 3, 1), (8, 3, 2), (13, 5, 2), (12, 1, 1), (7, 7, 1)]),
    depthwise(16, 3, 1, out=(3, 9), dilation=(1, 2), batch=2),
    depthwise(64, 3, 1, out=(25, 5)),
    depthwise(9, 3, 1, extreme=True),
    depthwise(8, 3, 1, residual=True, zero=5),
]
EVERY_POINT = [Window(channels=6, filters=16, out=(2, 7)), depthwise(8, 3, 1, out=(3, 9))]
OPEN = [
    Window(channels=64, filters=128, kernel=(1, 1), out=(6, 6)),
    Window(channels=64, filters=8, kernel=(1, 1), out=(2, 5)),
    depthwise(8, 3, 1, out=(3, 6)),
    depthwise(12, 3, 2, out=(3, 5)),
]


def _cases(capability: Capability) -> list[tuple[Window, Job]]:
    cases = [(w, job) for w in WINDOWS for job in jobs_of(w, capability)]
    for window in EVERY_POINT:
        cases += [(window, job) for job in jobs_of(window, capability, every_point=True)]
    if capability.int8_dot in ("smlad32", "mla32"):
        for window in OPEN if capability.int8_dot == "smlad32" else OPEN[:2]:
            cases += [(window, replace(j, open=True)) for j in jobs_of(window, capability)]
    if capability.float_unit != "none":
        few = [depthwise(3, 3, 1)] if capability.channel_block == 1 else []
        cases += [(w, job) for w in few for job in jobs_of(w, capability)]
        real = [replace(w, integer=False) for w in (WINDOWS[1], WINDOWS[9])]
        cases += [(w, job) for w in real for job in jobs_of(w, capability)]
    return [(w, replace(job, name=f"{i}: {job.name}")) for i, (w, job) in enumerate(cases)]


@pytest.mark.parametrize("capability", [M0PLUS, M3, M4, M7, M33, M55], ids=lambda c: c.cpu)
@needs_emulator
def test_kernels_on_a_board_agree_with_numpy(
    capability: Capability, run_kernels: RunKernels
) -> None:
    cases = _cases(capability)
    written = run_kernels([job for _, job in cases])
    for window, job in cases:
        check(window, job, written[job.name])
        assert written[job.name].instructions > 0


def _rounding(capability: Capability) -> Job:
    """Ties, both zeros' neighbours, and what is clamped, by the expression of a quantiser."""
    values = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 254.5, 255.5, 1e9, -1e9, 3.49999976], np.float32)
    expression = apply("round_int", apply("mul", Ref(0), Const(1.0)))
    clamped = apply("min", apply("max", expression, Const(0, "int32")), Const(255, "int32"))
    shape = dense("float32", (len(values),))
    task = Task("elementwise", (), dense("uint8", (len(values),)), clamped, (shape,))
    return Job(f"rounding on {capability.cpu}", task, capability, (values,))


def _bounded(capability: Capability) -> Job:
    """The same with the clamp before the rounding, which kernels do between integers."""
    job = _rounding(capability)
    inside = apply("min", apply("max", apply("mul", Ref(0), Const(1.0)), Const(0.0)), Const(255.0))
    task = replace(job.task, expression=apply("round_int", inside))
    return replace(job, name=f"bounded on {capability.cpu}", task=task)


def _whole(capability: Capability) -> Job:
    """Rounding to a float: ties, signs of zeros, and numbers that an integer does not hold."""
    values = np.array([0.5, -0.5, -0.25, 2.5, 8388609.0, 1e20, -1e20, 1.49999988], np.float32)
    shape = dense("float32", (len(values),))
    task = Task("elementwise", (), shape, apply("round", Ref(0)), (shape,))
    return Job(f"whole on {capability.cpu}", task, capability, (values,))


@needs_emulator
def test_rounding_is_to_even_on_every_core(run_kernels: RunKernels) -> None:
    for capability in (M4, M7, M33, M55):
        jobs = [make(capability) for make in (_rounding, _bounded, _whole)]
        written = run_kernels(jobs)
        rounded = np.clip(np.rint(jobs[0].arrays[0]), 0, 255).astype(np.uint8)
        for job in jobs[:2]:
            np.testing.assert_array_equal(written[job.name].memory, rounded, job.name)
        whole = np.rint(jobs[2].arrays[0])
        bits = written[jobs[2].name].memory.view(np.uint32)
        np.testing.assert_array_equal(bits, whole.view(np.uint32))


@needs_emulator
def test_a_product_in_a_sum_is_rounded_once_on_every_core(run_kernels: RunKernels) -> None:
    rng = np.random.default_rng(0)
    arrays = tuple(rng.standard_normal(64).astype(np.float32) for _ in range(3))
    exact = arrays[0].astype(np.float64) * arrays[1] + arrays[2]
    shape = dense("float32", (64,))
    task = Task("elementwise", (), shape, apply("fma", Ref(0), Ref(1), Ref(2)), (shape,) * 3)
    for capability in (M4, M7, M33, M55):
        job = Job(f"fma on {capability.cpu}", task, capability, arrays)
        np.testing.assert_array_equal(run_kernels([job])[job.name].memory, exact.astype(np.float32))


@needs_emulator
def test_the_count_of_instructions_is_the_same_every_time(run_kernels: RunKernels) -> None:
    window = Window(channels=16, filters=16, out=(8, 8), weight_range=127)
    (job,) = jobs_of(window, M4)
    counts = {run_kernels([job])[job.name].instructions for _ in range(2)}
    assert len(counts) == 1
    macs = 8 * 8 * 16 * 16 * 9
    assert 1.25 * macs < counts.pop() < 1.6 * macs


@needs_emulator
def test_a_maximum_of_bytes_over_windows(run_kernels: RunKernels) -> None:
    values = np.random.default_rng(1).integers(0, 256, (1, 6, 6, 5)).astype(np.uint8)
    attributes = {"mode": "max", "kernel": (2, 2), "stride": (2, 2), "dilation": (1, 1)}
    task = Task(
        "pooling",
        (nhwc("uint8", (1, 5, 6, 6)),),
        nhwc("uint8", (1, 5, 3, 3)),
        ACCUMULATOR,
        (),
        (*attributes.items(), ("pads", (0, 0, 0, 0))),
    )
    for capability in (M4, M55):
        job = Job(f"pooling on {capability.cpu}", task, capability, (values.ravel(),))
        got: Written = run_kernels([job])[job.name]
        want = values.reshape(1, 3, 2, 3, 2, 5).max(axis=(2, 4))
        np.testing.assert_array_equal(got.memory.reshape(want.shape), want)


def test_cores_without_vectors_take_few_registers() -> None:
    (point, *_) = jobs_of(Window(channels=16, filters=16, out=(8, 8)), M4)[0].chosen, None
    assert dict(point) == {"pixels": 2, "vectors": 2}


def test_words_refuse_what_has_no_halves() -> None:
    words = TARGET.families()[0]
    task = task_of(depthwise(8, 3, 1))
    assert words.refusal(task, M4) is None
    assert words.refusal(task, M55) == "the core has no products of halves of words"
    assert words.refusal(task_of(depthwise(3, 3, 1)), M4) == "fewer channels than a word holds"
    real = task_of(replace(depthwise(8, 3, 1), integer=False))
    assert words.refusal(real, M4) == "activations of type float32"


def test_every_core_has_a_sheet_for_firmware() -> None:
    for name, sheet in TARGET.cpus().items():
        assert sheet.system == "bare", name
        assert sheet.arch == "thumb", name
        assert not sheet.native, name
        assert sheet.alignment >= sheet.vector_bytes, name


def test_an_unknown_core_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match='knows no CPU "cortex-m45"'):
        TARGET.capability("cortex-m45", 1)


def test_boards_run_firmware_and_count() -> None:
    assert isinstance(RUNNER, BoardRunner)
    assert isinstance(RUNNER, CountingRunner)
    assert (RUNNER.command(Path("firmware.elf")) is None) == bool(RUNNER.why_not)


def test_a_core_without_a_board_is_not_run() -> None:
    runner = TARGET.runner(M4.model_copy(update={"cpu": "cortex-m85"}))
    assert runner.command(Path("firmware.elf")) is None
    assert runner.why_not == "qemu-system-arm emulates no board with a cortex-m85"


def test_a_missing_emulator_names_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert RUNNER.command(Path("firmware.elf")) is None
    assert "apt-get install qemu-system-arm" in RUNNER.why_not

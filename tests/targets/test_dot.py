"""Integer dot products: exact for every pair of numbers, and the instruction that each is named after."""

import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_targets.aarch64 import AArch64
from budgetc_targets.armv7 import ArmV7
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.riscv64 import RiscV64
from budgetc_targets.task import Access, Task
from budgetc_targets.wasm32 import Wasm32
from budgetc_targets.x86_64 import X86_64
from conftest import InChild, RunKernels
from kernel_runner import AVX2, DOTPROD, NEON, SSE2, WIDE, WIDE_EMULATED, Job
from probes import text_of
from windows import Window, check, job_of, task_of

PRODUCT = Window(channels=8, filters=16, kernel=(1, 1), out=(1, 3))
DEPTHWISE = Window("depthwise", channels=16, filters=16, groups=16)


def evex_vpdpbusd(text: bytes) -> int:
    """How often bytes look like vpdpbusd on zmm registers: EVEX, map 0F38, 66 prefix, W0, opcode 50."""
    return sum(
        text[i] == 0x62
        and text[i + 1] & 0x07 == 2
        and text[i + 2] & 0x87 == 0x05
        and text[i + 3] & 0x60 == 0x40
        and text[i + 4] == 0x50
        for i in range(len(text) - 4)
    )


def vex_vpdpbusd(text: bytes) -> int:
    """The same on ymm registers: VEX of three bytes, map 0F38, 66 prefix, W0, 256 bits, opcode 50."""
    return sum(
        text[i] == 0xC4
        and text[i + 1] & 0x1F == 2
        and text[i + 2] & 0x87 == 0x05
        and text[i + 3] == 0x50
        for i in range(len(text) - 3)
    )


def arm_words(text: bytes, mask: int, value: int) -> int:
    """How many instructions have these bits."""
    words = struct.unpack(f"<{len(text) // 4}I", text[: len(text) // 4 * 4])
    return sum(word & mask == value for word in words)


def sdot(text: bytes) -> int:
    """By vectors, or by one quad of the second."""
    return arm_words(text, 0xBFE0FC00, 0x0E809400) + arm_words(text, 0xBFC0F400, 0x0F80E000)


def smlal(text: bytes) -> int:
    """Widening multiply-add of s16, lower or upper half."""
    return arm_words(text, 0xBFE0FC00, 0x0E608000)


@pytest.mark.parametrize("window", [PRODUCT, DEPTHWISE], ids=["convolution", "depthwise"])
@pytest.mark.parametrize("cpu", ["znver4", "cascadelake", "x86-64-v4+avx512vnni"])
def test_avx512_vnni_is_the_real_instruction(
    in_child: InChild, tmp_path: Path, window: Window, cpu: str
) -> None:
    job = job_of("vnni", window, X86_64().capability(cpu, 1))
    assert evex_vpdpbusd(in_child(text_of, job, tmp_path)) >= 3


def test_avx_vnni_is_the_real_instruction(in_child: InChild, tmp_path: Path) -> None:
    job = job_of("vnni", PRODUCT, X86_64().capability("alderlake", 1))
    assert vex_vpdpbusd(in_child(text_of, job, tmp_path)) >= 2


@pytest.mark.parametrize("window", [PRODUCT, DEPTHWISE], ids=["convolution", "depthwise"])
def test_sdot_is_the_real_instruction(in_child: InChild, tmp_path: Path, window: Window) -> None:
    assert sdot(in_child(text_of, job_of("sdot", window, DOTPROD), tmp_path)) >= 3


def test_machines_without_the_instructions_do_not_get_them(
    in_child: InChild, tmp_path: Path
) -> None:
    for window in (PRODUCT, DEPTHWISE):
        assert sdot(in_child(text_of, job_of("neon", window, NEON), tmp_path)) == 0
        plain = in_child(text_of, job_of("avx2", window, AVX2), tmp_path)
        assert evex_vpdpbusd(plain) + vex_vpdpbusd(plain) == 0


def test_neon_multiplies_and_adds_depthwise_taps_in_one_instruction(
    in_child: InChild, tmp_path: Path
) -> None:
    text = in_child(text_of, job_of("neon", DEPTHWISE, NEON), tmp_path)
    taps = 9 * dict(job_of("neon", DEPTHWISE, NEON).chosen)["pixels"]
    assert smlal(text) >= taps


def _every_product(capability: Capability, weight_range: int) -> Job:
    """All pairs of an activation and a weight: one filter a weight, one pixel an activation, four channels alike."""
    weights = np.arange(-weight_range, weight_range + 1, 8 if weight_range > 64 else 4)
    weights = np.append(weights, [weight_range, -1, 1]).clip(-128, 127).astype(np.int8)
    window = Window(
        channels=4, filters=len(weights), kernel=(1, 1), out=(1, 256), weight_range=weight_range
    )
    task = task_of(window)
    activations = np.repeat(np.arange(256, dtype=np.uint8), 4)
    weight = np.repeat(weights, 4).reshape(len(weights), 4, 1, 1)
    bias = np.zeros(len(weights), np.int32)
    sums = Access("int32", task.output.shape, task.output.strides)
    wide = Task(task.kind, task.inputs, sums, ACCUMULATOR, (), task.attributes)
    name = f"{capability.cpu} {capability.int8_dot} {weight_range}"
    return Job(name, wide, capability, (activations,), {"weight": weight, "bias": bias})


def test_every_product_is_exact(run_kernels: RunKernels) -> None:
    jobs = [
        _every_product(capability, weight_range)
        for capability in (AVX2, SSE2, WIDE_EMULATED, *([WIDE] if WIDE.native else []))
        for weight_range in (64, 127, 128)
    ]
    for job, written in zip(jobs, run_kernels(jobs).values(), strict=True):
        weights = np.asarray(job.constants["weight"])[:, 0, 0, 0].astype(np.int64)
        got = written.view(job.task.output)[0, :, 0, :]
        np.testing.assert_array_equal(got, 4 * weights[:, None] * np.arange(256), err_msg=job.name)


def _tail_kernels() -> list[tuple[Window, Job]]:
    pairs = itertools.product((4, 7), (9, 17))
    windows = [Window(channels=c, filters=f, weight_range=128, extreme=True) for c, f in pairs]
    return [(w, job_of(f"{w.name} {c.int8_dot}", w, c)) for w in windows for c in (AVX2, SSE2)]


def test_sums_at_the_ends_of_the_range_do_not_saturate(run_kernels: RunKernels) -> None:
    cases = _tail_kernels()
    results = run_kernels([job for _, job in cases])
    for window, job in cases:
        check(window, job, results[job.name])


def test_a_table_entry_names_a_dot_product_that_exists() -> None:
    from typing import get_args

    from budgetc_specs.capability import Int8Dot

    kinds = (X86_64(), AArch64(), ArmV7(), RiscV64(), Wasm32())
    named = {s["int8_dot"] for t in kinds for s in t.sheets.values()}
    assert named <= set(get_args(Int8Dot))

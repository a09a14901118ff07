"""64-bit ARM: the sheets, and kernels that run under emulation with the same numbers as everywhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError
from budgetc_targets import aarch64
from budgetc_targets.aarch64 import AArch64, best_cpu
from budgetc_targets.expression import Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import DOTPROD, NEON, Job, Written, dense
from windows import Window, check, jobs_of

TARGET = AArch64()
EMULATOR = TARGET.runner(NEON).command(Path("program"))
needs_emulator = pytest.mark.skipif(
    EMULATOR is None, reason=TARGET.runner(NEON).why_not or "runs here"
)

WINDOWS = [
    Window(channels=3, filters=7),
    Window(channels=8, filters=12, stride=(2, 1)),
    Window(channels=16, filters=20, kernel=(1, 1), out=(2, 13)),
    Window(channels=5, filters=9, groups=1, dilation=(2, 2), batch=2),
    Window(channels=12, filters=16, groups=4),
    Window(channels=64, filters=8, out=(2, 2), weight_range=128, extreme=True),
    Window(channels=6, filters=6, residual=True),
    Window(channels=3, filters=8, parallel=True),
    *(
        Window(
            "depthwise",
            channels=c,
            filters=c,
            groups=c,
            kernel=(k, k),
            stride=(s, s),
            weight_range=128,
        )
        for c, k, s in [(4, 3, 1), (8, 3, 1), (13, 5, 2), (12, 1, 1), (7, 7, 1)]
    ),
    Window("depthwise", channels=9, filters=9, groups=9, weight_range=128, extreme=True),
]


def _cases() -> list[tuple[Window, Job]]:
    cases = []
    for window in WINDOWS:
        cases += [(window, job) for c in (NEON, DOTPROD) for job in jobs_of(window, c)]
        if not window.residual:
            real = replace(window, integer=False)
            cases += [(real, job) for job in jobs_of(real, NEON)]
    every = Window(channels=6, filters=16, out=(2, 7))
    cases += [(every, job) for c in (NEON, DOTPROD) for job in jobs_of(every, c, every_point=True)]
    return cases


CASES = _cases()
REAL = dense("float32", (21,))
EXPONENTIAL = Job(
    "exp",
    Task("elementwise", (), REAL, apply("exp", Ref(0)), (REAL,)),
    NEON,
    (np.linspace(-9, 9, 21, dtype="f4"),),
)


@pytest.fixture(scope="module")
def written(run_kernels: RunKernels) -> dict[str, Written]:
    return run_kernels([*(job for _, job in CASES), EXPONENTIAL])


@needs_emulator
@pytest.mark.parametrize(("window", "job"), CASES, ids=[job.name for _, job in CASES])
def test_a_kernel_under_emulation_is_what_numpy_says(
    window: Window, job: Job, written: dict[str, Written]
) -> None:
    check(window, job, written[job.name])


@needs_emulator
def test_an_elementwise_kernel_under_emulation(written: dict[str, Written]) -> None:
    want = np.exp(np.linspace(-9, 9, 21))
    np.testing.assert_allclose(written["exp"].memory, want, rtol=4e-6)


def test_cpus_with_the_dot_product_use_it() -> None:
    sheets = TARGET.sheets
    assert sheets["cortex-a76"]["int8_dot"] == "sdot128"
    assert sheets["cortex-a72"]["int8_dot"] == "widening128"
    for name in sheets:
        sheet = TARGET.capability(name, 2)
        assert isinstance(sheet, Capability)
        assert (sheet.arch, sheet.vector_bytes, sheet.weight_bits, sheet.threads) == (
            "aarch64",
            16,
            8,
            2,
        )


def test_the_default_runs_on_every_such_machine() -> None:
    sheet = TARGET.capability(None, 1)
    assert sheet.cpu == "generic"
    assert sheet.llvm_features == ()
    assert sheet.int8_dot == "widening128"


def test_an_unknown_cpu_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="cortex-a72"):
        TARGET.capability("cortex-a27", 1)


def test_the_best_sheet_of_a_machine_follows_its_features(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nFeatures : fp asimd evtstrm crc32 asimddp\n")
    assert best_cpu(info) == "generic+dotprod"
    other = tmp_path / "older"
    other.write_text("processor : 0\nFeatures : fp asimd evtstrm crc32\n")
    assert best_cpu(other) == "generic"
    assert best_cpu(tmp_path / "missing") == "generic"


def test_a_foreign_program_is_emulated_and_a_native_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert TARGET.runner(NEON.model_copy(update={"native": False})).name == "qemu-user"
    assert TARGET.runner(NEON.model_copy(update={"native": True})).name == "local"
    monkeypatch.setattr(aarch64.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(aarch64, "best_cpu", lambda: "generic")
    natives = {name for name, sheet in TARGET.sheets.items() if sheet["native"]}
    assert natives == {"generic", "cortex-a53", "cortex-a57", "cortex-a72"}

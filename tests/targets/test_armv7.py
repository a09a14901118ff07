"""32-bit ARM: the sheets, and what a machine says of itself."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_targets import armv7
from budgetc_targets.armv7 import ArmV7, best_cpu
from budgetc_targets.expression import Const, Ref, apply
from budgetc_targets.task import Task
from conftest import RunKernels
from kernel_runner import ARMV7, NEON, Job, dense


def test_every_core_has_neon_and_a_name_that_zig_knows() -> None:
    for name in ArmV7().sheets:
        sheet = ArmV7().capability(name, 1)
        assert (sheet.arch, sheet.vector_bytes, sheet.vector_registers) == ("arm", 16, 16)
        assert sheet.zig_cpu == sheet.cpu.replace("-", "_")
        assert sheet.alone_target == "arm-linux-musleabihf"


def test_a_machine_says_what_it_has(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("Features\t: half thumb neon vfpv3 tls vfpv4 idiva idivt\n")
    assert best_cpu(info) == "cortex-a7"
    older = tmp_path / "older"
    older.write_text("Features\t: half thumb neon vfpv3 tls\n")
    assert best_cpu(older) == "cortex-a9"


def test_native_cores_run_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(armv7.platform, "machine", lambda: "armv7l")
    monkeypatch.setattr(armv7, "best_cpu", lambda: "cortex-a9")
    natives = {name for name, sheet in ArmV7().sheets.items() if sheet["native"]}
    assert natives == {"cortex-a9"}
    assert ArmV7().runner(ArmV7().capability("cortex-a9", 1)).name == "local"


@pytest.mark.parametrize("capability", [ARMV7, NEON], ids=lambda c: c.cpu)
def test_sheets_say_which_vectors_take_denormals_for_zero(
    capability: Capability, run_kernels: RunKernels
) -> None:
    target = {"arm": "armv7"}.get(capability.arch, capability.arch)
    runner = find_target(target).runner(capability)
    if runner.why_not:
        pytest.skip(runner.why_not)
    tiny = np.full(8, 1e-39, np.float32)
    shape = dense("float32", (8,))
    task = Task("elementwise", (), shape, apply("mul", Ref(0), Const(0.5)), (shape,))
    written = run_kernels([Job("half", task, capability, (tiny,))])["half"].memory
    assert (not written.any()) == capability.flushes_denormals
    assert written.any() == (written == tiny / 2).all()

"""Runners start programs, and say what to install where they cannot."""

import subprocess
from pathlib import Path

import pytest
from budgetc_targets.contract import Runner
from budgetc_targets.runners.local import Local
from budgetc_targets.runners.qemu_user import QemuUser

ARM = QemuUser("aarch64", "cortex-a72")


@pytest.mark.parametrize("runner", [Local(), ARM])
def test_a_runner_is_a_runner(runner: Runner) -> None:
    assert isinstance(runner, Runner)
    assert runner.name
    assert (runner.command(Path("/x")) is None) == bool(runner.why_not)


def test_local_programs_run_as_they_are() -> None:
    command = Local().command(Path("/bin/true"))
    assert command is not None
    assert subprocess.run(command, check=False).returncode == 0


def test_a_missing_emulator_names_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ARM.command(Path("/x")) is None
    assert "qemu-aarch64 is not installed" in ARM.why_not
    assert "apt-get install qemu-user-static" in ARM.why_not


@pytest.mark.skipif(bool(ARM.why_not), reason=ARM.why_not or "qemu is there")
def test_the_emulated_cpu_is_the_targets() -> None:
    known, unknown = ARM.command(Path("/x")), QemuUser("aarch64", "cortex-z1").command(Path("/x"))
    assert known is not None
    assert unknown is not None
    assert known[1:] == ["-cpu", "cortex-a72", "/x"]
    assert unknown[1:] == ["-cpu", "max", "/x"]


def test_instructions_that_qemu_lacks_are_not_tried() -> None:
    wide = QemuUser("x86_64", lacks="AVX-512")
    assert wide.command(Path("/x")) is None
    assert wide.why_not == "qemu-x86_64 does not emulate AVX-512"

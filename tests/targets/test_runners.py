"""Runners start programs, and say what to install where they cannot."""

import subprocess
from pathlib import Path

import pytest
from budgetc_targets.contract import Runner, WatchedRunner
from budgetc_targets.runners.local import Local
from budgetc_targets.runners.node import Node
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
    assert "apt-get install qemu-user)" in ARM.why_not


@pytest.mark.skipif(bool(ARM.why_not), reason=ARM.why_not or "qemu is there")
def test_the_emulated_cpu_is_the_targets() -> None:
    known, unknown = ARM.command(Path("/x")), QemuUser("aarch64", "cortex-z1").command(Path("/x"))
    assert known is not None
    assert unknown is not None
    assert known[1:] == ["-cpu", "cortex-a72", "/x"]
    assert unknown[1:] == ["-cpu", "max", "/x"]


def test_counting_wants_an_emulator_that_takes_plugins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "qemu-aarch64-static").write_text("#!/bin/sh\n[ $2 = help ] && echo cortex-a72\n")
    (tmp_path / "qemu-aarch64-static").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "takes no plugins" in ARM.why_not_counted
    assert "apt-get install qemu-user)" in ARM.why_not_counted
    assert isinstance(
        ARM, WatchedRunner
    )  # whether it counts or not: Python 3.11 asks for every property
    assert ARM.watched(Path("/x"), Path("/p.so"), "counter") is None
    text = "#!/bin/sh\necho qemu-aarch64 version 9.2.0 cortex-a72 -plugin\n"
    (tmp_path / "qemu-aarch64").write_text(text)
    (tmp_path / "qemu-aarch64").chmod(0o755)
    assert ARM.why_not_counted == ""
    assert ARM.plugin_interface() == 2
    watched = ARM.watched(Path("/x"), Path("/p.so"), "counter")
    assert watched is not None
    assert watched[1:] == ["-cpu", "cortex-a72", "-plugin", "/p.so,into=counter", "/x"]


def test_options_of_a_cpu_are_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "qemu-riscv64").write_text("#!/bin/sh\necho rv64 any\n")
    (tmp_path / "qemu-riscv64").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    command = QemuUser("riscv64", "rv64,v=true,vlen=128").command(Path("/x"))
    assert command is not None
    assert command[1:] == ["-cpu", "rv64,v=true,vlen=128", "/x"]


def test_node_runs_programs_of_both_kinds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Node().command(Path("/x.mjs")) is None
    assert "node is not installed" in Node().why_not
    (tmp_path / "node").write_text("#!/bin/sh\n")
    (tmp_path / "node").chmod(0o755)
    assert Node().why_not == ""
    assert Node().command(Path("/x.mjs")) == [str(tmp_path / "node"), "/x.mjs"]
    under_wasi = Node().command(Path("/x.wasm"))
    assert under_wasi is not None
    assert under_wasi[-2].endswith("wasi.mjs")


def test_instructions_that_qemu_lacks_are_not_tried() -> None:
    wide = QemuUser("x86_64", lacks="AVX-512")
    assert wide.command(Path("/x")) is None
    assert wide.why_not == "qemu-x86_64 does not emulate AVX-512"

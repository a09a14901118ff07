"""`budgetc targets` says what can be compiled for, and what of it runs here."""

import platform

import pytest
from budgetc.cli.main import app
from budgetc.cli.targets import how_it_runs
from budgetc.registry import find_target
from budgetc_targets.runners.qemu_user import QemuUser
from typer.testing import CliRunner


def lines(*arguments):
    done = CliRunner().invoke(app, ["targets", *arguments])
    assert done.exit_code == 0
    return [line.split() for line in done.stdout.splitlines()]


def test_kinds_and_cpus_are_listed():
    words = lines()
    assert ["host", "native", "yes"] in words
    assert any(w[:3] == ["aarch64", "generic", "(default)"] for w in words)
    listed = [w[0] for w in words if w and w[0] in find_target("aarch64").cpus()]
    assert set(listed) >= set(find_target("aarch64").cpus()) - {"generic"}


def test_one_kind_with_its_sheets():
    (row,) = (w for w in lines("show", "aarch64") if "cortex-a76" in w)
    assert "sdot128," in row
    assert row[-1] == "aarch64-unknown-linux-gnu"


@pytest.mark.parametrize("kind", ["host", "x86-64", "aarch64"])
def test_sheets_are_those_of_the_names(kind):
    target = find_target(kind)
    for name, sheet in target.cpus().items():
        assert sheet == target.capability(name, 1)


def test_without_the_emulator(monkeypatch):
    if platform.machine() == "aarch64":
        pytest.skip("aarch64 needs no emulator here")
    monkeypatch.setenv("PATH", "")
    target = find_target("aarch64")
    assert QemuUser("aarch64").why_not
    said = how_it_runs(target, target.capability(None, 1))
    assert said.startswith("no: qemu-aarch64 is not installed (Debian and Ubuntu: apt-get install")


def test_an_unknown_one():
    done = CliRunner().invoke(app, ["targets", "show", "arch64"])
    assert done.exit_code == 2
    assert 'did you mean "aarch64"?' in done.stderr


def test_boards_are_listed():
    (row,) = (w for w in lines() if w and w[0] == "raspberry-pi-4")
    assert "GiB" in row


@pytest.mark.parametrize("name", ["raspberry-pi-4", "cortex-a72"])
def test_a_board_or_a_cpu_with_its_sheet(name):
    told = lines("show", name)
    assert ["vector_bytes", "16"] in [w[:2] for w in told]
    written = "{board: raspberry-pi-4}}" if name == "raspberry-pi-4" else "cpu: cortex-a72}}"
    assert any(" ".join(w).endswith(written) for w in told)


def test_a_boards_memories_are_said_to_be_budgets():
    assert any(
        "memory budget, where none is set" in " ".join(w) for w in lines("show", "jetson-nano")
    )


def test_this_machine_as_a_board(tmp_path):
    file = tmp_path / "here.toml"
    done = CliRunner().invoke(app, ["targets", "probe", "--out", str(file)])
    assert done.exit_code == 0, done.stderr
    assert "board: here.toml" in done.stdout
    assert CliRunner().invoke(app, ["targets", "probe"]).stdout == file.read_text()
    assert ["cores"] in [w[:1] for w in lines("show", str(file))]

"""Programs run on a board over ssh: here the board is this machine, behind a real server on loopback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from budgetc_specs.errors import SpecError
from budgetc_targets.contract import UNREACHABLE, Device
from budgetc_targets.runners.ssh import Ssh

from tests.targets.ssh_server import WHY_NOT, ssh_server

needs_server = pytest.mark.skipif(bool(WHY_NOT) or os.getuid() != 0, reason=WHY_NOT or "not root")

PROGRAM = """#!/bin/sh
echo "ok ready $1"
while read -r what from to; do
    case "$what" in
    run) tr a-z A-Z < "$from" > "$to"; echo "ok 1" ;;
    where) echo "ok $PWD" ;;
    die) exit 7 ;;
    crash) kill -SEGV $$ ;;
    esac
done
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    with ssh_server(tmp_path_factory.mktemp("sshd")) as address:
        yield Ssh(address)


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(PROGRAM)
    return path


def talk(runner, program, arguments, said, folder):
    command = runner.command(program)
    return subprocess.run(
        [*command, *arguments], input=said, capture_output=True, cwd=folder, text=True, check=False
    )


def test_it_is_a_device():
    runner = Ssh("ssh://pi@raspberrypi.local:2222")
    assert isinstance(runner, Device)
    assert runner.device == "raspberrypi.local"
    assert runner.client()[-5:] == ["-p", "2222", "-l", "pi", "raspberrypi.local"]


@pytest.mark.parametrize(
    "address",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://pi:secret@host",
        "ssh://-x@host",
        "ssh://host:0",
        "ssh://host:99999",
        "ssh://host/folder",
        "ssh://host?key=x",
        "scp://host",
    ],
)
def test_what_is_no_address(address):
    with pytest.raises(SpecError, match="is not an address that ssh can reach"):
        Ssh(address)


@needs_server
def test_files_go_there_and_come_back(board, program, tmp_path):
    (tmp_path / "in.bin").write_text("words")
    done = talk(board, program, ["now"], "run in.bin out.bin\nwhere\n", tmp_path)
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("ok ready now on board", "ok 1"), done.stderr
    assert (tmp_path / "out.bin").read_text() == "WORDS"
    assert not Path(third.removeprefix("ok ")).exists(), "its folder is gone"
    assert done.returncode == 0


@needs_server
def test_a_program_that_dies(board, program, tmp_path):
    assert talk(board, program, [], "die\n", tmp_path).returncode == 7


@needs_server
def test_a_board_that_is_not_there(board, program, tmp_path):
    config = Path(board.address.partition("config=")[2])
    away = config.with_name("away")
    away.write_text(config.read_text().replace("127.0.0.1", "127.0.0.1\n  ConnectTimeout 1"))
    away.write_text("".join(x for x in away.read_text().splitlines(True) if "Port" not in x))
    away.write_text(away.read_text() + "  Port 9\n")
    done = talk(Ssh(f"ssh://board?config={away}"), program, [], "where\n", tmp_path)
    assert done.returncode == UNREACHABLE
    assert "board: `mktemp` failed" in done.stderr


def test_without_ssh(monkeypatch):
    monkeypatch.setenv("PATH", "")
    runner = Ssh("ssh://host")
    assert runner.command(Path("x")) is None
    assert "openssh-client" in runner.why_not
    assert sys.executable

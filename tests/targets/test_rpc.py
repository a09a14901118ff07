"""Programs run by TVM's RPC: here the boards are this machine, behind real servers on loopback."""

import platform
import subprocess
from pathlib import Path

import pytest
from budgetc.measure.harness import build_agent
from budgetc.registry import find_device, find_target
from budgetc_specs.errors import SpecError, TargetUnreachableError
from budgetc_targets.contract import UNREACHABLE, ServedDevice, SharedDevice
from budgetc_targets.runners.rpc import Rpc, RpcTracker, is_here

from tests.targets.rpc_servers import rpc_farm, rpc_server, wait_until
from tests.targets.test_ssh import PROGRAM

needs_glibc = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="TVM's wheel runs with glibc alone"
)


@pytest.fixture(scope="module")
def agent(zig_cache):
    return build_agent(find_target("host").capability(None, 1), zig_cache)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with rpc_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def farm(tmp_path_factory):
    with rpc_farm(tmp_path_factory.mktemp("farm")) as running:
        yield running


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program"
    path.write_text(PROGRAM)
    return path


def talk(address, agent, program, said, folder):
    command = find_device(address).served(program, agent)
    return subprocess.run(
        [*command, "now"], input=said, capture_output=True, cwd=folder, text=True, check=False
    )


def test_they_are_devices():
    one, several = find_device("rpc://127.0.0.1:9090"), find_device("rpc+tracker://[::1]:9190/pi4")
    assert isinstance(one, ServedDevice)
    assert not isinstance(one, SharedDevice)
    assert isinstance(several, SharedDevice)
    assert (one.device, several.device) == ("127.0.0.1:9090", "pi4 of ::1:9190")
    assert one.warning == several.warning == ""


@pytest.mark.parametrize(
    "address",
    [
        "rpc://",
        "rpc://127.0.0.1",
        "rpc://127.0.0.1:0",
        "rpc://127.0.0.1:99999",
        "rpc://me@127.0.0.1:9090",
        "rpc://127.0.0.1:9090/pi4",
        "rpc://127.0.0.1:9090?network=open",
        "rpc+tracker://127.0.0.1:9190",
        "rpc+tracker://127.0.0.1:9190/",
        "rpc+tracker://127.0.0.1:9190/a/b",
        "ssh://127.0.0.1:9090",
    ],
)
def test_what_is_no_address(address):
    kind = RpcTracker if "tracker" in address else Rpc
    with pytest.raises(SpecError, match="is not an address of TVM's RPC"):
        kind(address)


@pytest.mark.parametrize("address", ["rpc://192.168.1.7:9090", "rpc+tracker://farm:9190/pi4"])
def test_what_is_elsewhere_is_refused_unless_the_network_is_trusted(address):
    with pytest.raises(SpecError, match="no password") as caught:
        find_device(address)
    assert f'write "{address}?network=trusted"' in str(caught.value)
    assert "can run programs on the board" in find_device(f"{address}?network=trusted").warning


def test_what_is_here():
    assert all(map(is_here, ("localhost", "127.0.0.1", "127.8.0.1", "::1")))
    assert not any(map(is_here, ("10.0.0.1", "localhost.example.org", "::2", "0.0.0.0")))


@needs_glibc
def test_files_go_there_and_come_back(server, agent, program, tmp_path):
    (tmp_path / "in.bin").write_text("words")
    said = "run in.bin out.bin\nwhere\n"
    done = talk(f"rpc://{server.address}", agent, program, said, tmp_path)
    first, second, third = done.stdout.splitlines()
    assert (first, second) == (f"ok ready now on {server.address}", "ok 1"), done.stderr
    assert (tmp_path / "out.bin").read_text() == "WORDS"
    wait_until(lambda: not Path(third.removeprefix("ok ")).exists(), "its folder is gone")
    assert done.returncode == 0


@needs_glibc
@pytest.mark.parametrize(("last", "code"), [("die", 7), ("crash", 128 + 11)])
def test_a_program_that_dies_leaves_the_server_alive(server, agent, program, tmp_path, last, code):
    for _ in range(2):
        done = talk(f"rpc://{server.address}", agent, program, f"{last}\n", tmp_path)
        assert done.returncode == code, done.stderr


def test_a_server_that_is_not_there(agent, program, tmp_path):
    done = talk("rpc://127.0.0.1:9", agent, program, "where\n", tmp_path)
    assert done.returncode == UNREACHABLE
    assert "127.0.0.1:9: " in done.stderr


@needs_glibc
def test_a_tracker_hands_out_one_server_after_the_other(farm, agent, program, tmp_path):
    assert find_device(farm.address).places() == 2
    seen = set()
    for _ in range(2):
        done = talk(farm.address, agent, program, "where\n", tmp_path)
        assert done.returncode == 0, done.stderr
        seen.add(done.stdout.split()[4])
    assert seen == {server.address for server in farm.servers}


@needs_glibc
def test_a_tracker_with_a_server_elsewhere_and_with_none(tmp_path, agent, program):
    with rpc_farm(tmp_path, 1, "--custom-addr", "192.0.2.7") as farm:
        done = talk(farm.address, agent, program, "where\n", tmp_path)
        assert done.returncode == UNREACHABLE
        assert "192.0.2.7:96" in done.stderr
        assert "which is not on this machine" in done.stderr
        farm.servers[0].kill()
        wait_until(lambda: not farm.known(), "the tracker has noticed")
        with pytest.raises(TargetUnreachableError, match="knows no server with the key"):
            find_device(farm.address).places()
        done = talk(farm.address, agent, program, "where\n", tmp_path)
        assert done.returncode == UNREACHABLE
        assert "there is none" in done.stderr
    # One that is just ending may still take a connection, and then hang up.
    with pytest.raises(TargetUnreachableError, match=r"the tracker at .*(refused|reset|hung up)"):
        find_device(farm.address).places()

"""The traps of TVM's RPC, each sprung in a child process, as those of `test_tvm_traps.py`."""

import functools
from pathlib import Path

import pytest

from tests.test_tvm_traps import Reproduce, refuses, says, spring


@pytest.fixture
def reproduce(tmp_path: Path) -> Reproduce:
    return functools.partial(spring, folder=tmp_path)


def test_rpc_listens_on_all_interfaces(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import inspect

        from tvm import rpc
        from tvm.rpc.tracker import Tracker

        ready()
        for kind in (rpc.Server, Tracker):
            print(inspect.signature(kind).parameters["host"].default)
    """)
    says(ended, ["0.0.0.0", "0.0.0.0"], "targets/budgetc_targets/runners/rpc.py")


def test_an_rpc_server_wants_more_than_one_port(reproduce: Reproduce) -> None:
    ended = reproduce("""
        from tvm.rpc.server import PopenRPCServerState

        ready()
        PopenRPCServerState("127.0.0.1", 9800, 9800)
    """)
    refuses(ended, "cannot bind to any port in [9800, 9800)", "docs/devices.md")


def test_a_session_that_dies_leaves_a_deaf_server(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import os
        import socket
        import struct
        import sys

        import psutil
        from tvm import rpc
        from tvm.rpc.base import RPC_MAGIC

        server = rpc.Server("127.0.0.1", 9800, 9900, silent=True)
        session = rpc.connect("127.0.0.1", server.port)
        session.upload(bytearray(1), "there")
        ready()
        (listener,) = [p for p in psutil.Process().children() if p.children()]
        listener.children()[0].kill()
        with socket.create_connection(("127.0.0.1", server.port), 5) as knocking:
            knocking.settimeout(5)
            knocking.sendall(struct.pack("<ii", RPC_MAGIC, len("client:")) + b"client:")
            try:
                print(knocking.recv(4))
            except TimeoutError:
                print("alive" if listener.is_running() else "dead", "and deaf")
        listener.kill()
        sys.stdout.flush()
        os._exit(0)
    """)
    says(ended, ["alive and deaf"], "compiler/budgetc/emit/agent.c")

"""TVM's tracker and its servers for tests: on loopback, with what they print in files, dead when the block ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from budgetc_targets.runners.rpc_tracker import Tracker

KEY = "here"
START_SECONDS = 60.0


@dataclass
class Process:
    """A server or a tracker, with all processes that it starts."""

    running: subprocess.Popen[bytes]
    log: Path
    port: int = 0

    @property
    def said(self) -> str:
        return self.log.read_text()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def kill(self) -> None:
        """End it as a board ends whose power fails; as far as one can see from here."""
        if self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()


@dataclass
class Farm:
    """A tracker and its servers."""

    tracker: Process
    servers: list[Process] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"rpc+tracker://{self.tracker.address}/{KEY}"

    def known(self) -> Sequence[str]:
        """The servers that the tracker knows."""
        with Tracker("127.0.0.1", self.tracker.port) as tracker:
            return tracker.servers(KEY)


@contextmanager
def rpc_server(folder: Path, *more: str) -> Iterator[Process]:
    """A server alone, with further arguments."""
    server = _started("rpc_server", folder / "server.log", 9600, *more)
    try:
        yield _listening(server)
    finally:
        server.kill()


@contextmanager
def rpc_farm(folder: Path, servers: int = 2, *more: str) -> Iterator[Farm]:
    """A tracker that knows so many servers, with further arguments for these."""
    farm = Farm(_started("rpc_tracker", folder / "tracker.log", 9700))
    try:
        _listening(farm.tracker)
        known = ("--tracker", farm.tracker.address, "--key", KEY)
        for number in range(servers):
            log = folder / f"server{number}.log"
            farm.servers.append(_started("rpc_server", log, 9600 + 20 * number, *known, *more))
        for server in farm.servers:
            _listening(server)
        wait_until(lambda: len(farm.known()) == servers, "the tracker knows its servers")
        yield farm
    finally:
        for process in (*farm.servers, farm.tracker):
            process.kill()


def _started(module: str, log: Path, port: int, *more: str) -> Process:
    """Start one of them on the first port that is free."""
    command = [sys.executable, "-m", f"tvm.exec.{module}", "--host", "127.0.0.1"]
    ports = ["--port", str(port), "--port-end", str(port + 20)]
    with log.open("wb") as said:
        running = subprocess.Popen(
            [*command, *ports, *more],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
    return Process(running, log)


def _listening(process: Process) -> Process:
    """Wait until it has a port, and note which."""
    wait_until(lambda: re.search(r"bind to .*\d\n", process.said), "it listens")
    found = re.search(r"bind to [^\n]*?(\d+)\n", process.said)
    assert found, process.said
    process.port = int(found.group(1))
    return process


def wait_until(holds, what: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.1)

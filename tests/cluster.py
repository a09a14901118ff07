"""A Dask scheduler and its workers on loopback, as processes that a test can kill."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

START_S = 120.0


@dataclass(frozen=True)
class Cluster:
    """A scheduler's address, its process, and those of its workers."""

    address: str
    scheduler: "subprocess.Popen[bytes]"
    workers: "tuple[subprocess.Popen[bytes], ...]"

    def kill(self, worker: int) -> None:
        """End a worker with all that it has started, at once."""
        end(self.workers[worker])


@contextlib.contextmanager
def cluster(folder: Path, environment: Mapping[str, str], workers: int = 2) -> Iterator[Cluster]:
    """Start a cluster in a folder of its own and end it with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    where = folder / "scheduler.json"
    with contextlib.ExitStack() as stack:

        def start(name: str, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen(
                [sys.executable, "-m", f"distributed.cli.{module}", *arguments],
                stdout=log,
                stderr=log,
                env={**environment, "DASK_DISTRIBUTED__WORKER__DAEMON": "False"},
                start_new_session=True,
            )
            stack.callback(end, process)
            return process

        place = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = start(
            "scheduler", "dask_scheduler", *place, "--port", "0", "--scheduler-file", str(where)
        )
        address = ""
        deadline = time.monotonic() + START_S
        while not address:
            assert time.monotonic() < deadline, (folder / "scheduler.log").read_text()
            with contextlib.suppress(OSError, ValueError):  # not there, or not whole yet
                address = json.loads(where.read_text())["address"]
            time.sleep(0.05)
        options = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory"]
        started = tuple(
            start(f"worker-{n}", "dask_worker", address, *options, str(folder / f"worker-{n}"))
            for n in range(workers)
        )
        for n in range(workers):
            log = folder / f"worker-{n}.log"
            while "Registered to" not in log.read_text():
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
        yield Cluster(address, scheduler, started)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process and its group; a worker's children die with it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()

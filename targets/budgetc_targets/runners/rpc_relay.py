"""A program on a board of TVM's RPC: `python -m ... ADDRESS AGENT -- PROGRAM ARGUMENTS...`.

The server calls functions of libraries. The agent is such a library: it starts the program as a process of its own on
the board, and speaks with it. Files go there and back by the server's own functions.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from budgetc_targets.contract import UNREACHABLE
from budgetc_targets.runners.relay import UnreachableError, relay
from budgetc_targets.runners.rpc import Rpc, RpcTracker, is_here
from budgetc_targets.runners.rpc_tracker import Tracker

WAIT_SECONDS = 300.0
"""How long to wait for a server that serves somebody else."""

CONNECT_SECONDS = 20.0
"""How long a server that is said to be free may take to answer; one whose listener has died never does."""

ANSWER_SECONDS = 600
"""How long a program may take for one command, as `budgetc.measure.conversation` has it."""

_SERVERS = 8
"""How many servers that a tracker hands out are tried."""


def main(arguments: Sequence[str]) -> int:
    """Send agent and program to a board, run it, and pass on what is said."""
    at = arguments.index("--")
    address, agent = arguments[:at]
    program, rest = Path(arguments[at + 1]), arguments[at + 2 :]
    tracked = address.startswith(f"{RpcTracker.scheme}://")
    where = RpcTracker(address) if tracked else Rpc(address)
    try:
        return relay(_connected(where, Path(agent)), program, rest)
    except UnreachableError as error:
        sys.stderr.write(f"{error}\n")
        return UNREACHABLE


def _connected(where: Rpc | RpcTracker, agent: Path) -> "_RpcBoard":
    """A board that is free; of several those are tried that the tracker hands out.

    Raises:
        UnreachableError: there is none.
    """
    if isinstance(where, Rpc):
        _client()
        return _RpcBoard(where.host, where.port, "", agent, WAIT_SECONDS)
    failed: list[str] = []
    with Tracker(where.host, where.port) as tracker:
        while len(failed) < _SERVERS:
            if not tracker.servers(where.key):
                break
            _client()  # beforehand: a server takes back what it is not asked for at once
            host, port, word = tracker.free_server(where.key, WAIT_SECONDS)
            if not (where.trusted or is_here(host)):
                raise UnreachableError(
                    f"{where.device} hands out {host}:{port}, which is not on this machine, and TVM's RPC has no "
                    "password: see docs/devices.md for tunnels, or for networks that are trusted"
                )
            try:
                return _RpcBoard(host, port, word, agent, CONNECT_SECONDS)
            except UnreachableError as error:
                failed.append(str(error))
    why = "; ".join(failed) or "there is none"
    raise UnreachableError(f"no server of {where.device} can be used: {why}")


class _RpcBoard:
    """What a server can do for us, in the folder that it makes for a connection."""

    def __init__(self, host: str, port: int, word: str, agent: Path, seconds: float) -> None:
        self.name = f"{host}:{port}"
        with self._reached():
            self._session: Any = _within(seconds, lambda: _client().connect(host, port, word))
            self._session.upload(bytearray(agent.read_bytes()), "agent.so")
            self._agent = self._session.load_module("agent.so")

    def put(self, file: Path, name: str) -> None:
        with self._reached():
            self._session.upload(bytearray(file.read_bytes()), name)

    def get(self, name: str, file: Path) -> None:
        with self._reached():
            file.write_bytes(bytes(self._session.download(name)))

    def start(self, arguments: Sequence[str]) -> bytes:
        with self._reached():
            words = b"".join(word.encode() + b"\0" for word in arguments)
            self._session.upload(bytearray(words), "arguments")
            code = int(self._agent["start"]())
            if code:
                raise UnreachableError(f"{self.name}: the program: {os.strerror(code)}")
        return self._answer()

    def ask(self, line: bytes) -> bytes:
        with self._reached():
            self._session.upload(bytearray(line), "command")
        return self._answer()

    def end(self) -> int:
        with self._reached():
            code = int(self._agent["end"]())
            said = bytes(self._session.download("errors"))
        sys.stderr.write(said.decode("utf-8", "replace"))
        return code

    def _answer(self) -> bytes:
        with self._reached():
            length = int(self._agent["ask"](ANSWER_SECONDS))
            return bytes(self._session.download("answer")) if length > 0 else b""

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """A server that hangs up, and what it says it cannot do, are a board that is lost."""
        try:
            yield
        except (RuntimeError, OSError, AttributeError) as error:  # tvm's errors are RuntimeErrors
            said = str(error).strip().splitlines()
            raise UnreachableError(f"{self.name}: {said[-1] if said else error!r}") from error


def _client() -> Any:
    """TVM's client. It takes seconds to import, for which nobody is to wait in vain."""
    # tvm would import it for nothing. Nobody else in this process wants it, so that none is there for anybody.
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    from tvm import rpc  # noqa: PLC0415

    return rpc


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """What a call returns that nothing interrupts; where it takes too long, it is left to itself.

    Raises:
        TimeoutError: it took too long.
    """
    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.result(seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:.0f} s") from None


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(code)  # a thread that waits in tvm would hold the process

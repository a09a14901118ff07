"""TVM's tracker, which knows servers by a key and hands out the one that is free: as much of its protocol as we need.

Messages are JSON behind their length. tvm itself is not imported, so that whoever asks how many boards there are need
not wait for it.
"""

import json
import socket
import struct
from types import TracebackType
from typing import Any, Self

from budgetc_targets.runners.relay import UnreachableError

CONNECT_SECONDS = 10.0
_MAGIC = 0x2F271
_SUCCESS, _REQUEST, _SUMMARY = 0, 4, 6
_MOST_BYTES = 1 << 20
_PRIORITY = 1


class Tracker:
    """A connection to a tracker, as a context manager.

    Args:
        host: where it listens.
        port: likewise.

    Raises:
        UnreachableError: by every method, where the tracker is not there or says what no tracker says.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    def __enter__(self) -> Self:
        try:
            self._socket = socket.create_connection((self._host, self._port), CONNECT_SECONDS)
        except OSError as error:
            raise self._lost(error) from error
        try:
            self._greet()
        except BaseException:
            self._socket.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def servers(self, key: str) -> list[str]:
        """The addresses of all servers with a key, sorted, whether they are free or not."""
        known = self._asked([_SUMMARY])["server_info"]
        found = [each["addr"] for each in known if each["key"] == f"server:{key}"]
        return sorted(f"{host}:{port}" for host, port in found)

    def free_server(self, key: str, seconds: float) -> tuple[str, int, str]:
        """Wait for a server to be free: its host, its port and what it is to be told. Nobody else is told the same."""
        host, port, word = self._asked([_REQUEST, key, "", _PRIORITY], seconds)
        return str(host), int(port), str(word)

    def _greet(self) -> None:
        try:
            self._socket.sendall(struct.pack("<i", _MAGIC))
            (magic,) = struct.unpack("<i", self._read(4))
        except (OSError, struct.error) as error:
            raise self._lost(error) from error
        if magic != _MAGIC:
            raise self._lost("what listens there is none")

    def _asked(self, question: list[Any], seconds: float = CONNECT_SECONDS) -> Any:
        said = json.dumps(question).encode()
        try:
            self._socket.settimeout(seconds)
            self._socket.sendall(struct.pack("<i", len(said)) + said)
            (length,) = struct.unpack("<i", self._read(4))
            if not 0 < length <= _MOST_BYTES:
                raise self._lost(f"an answer of {length} bytes")
            code, answer = json.loads(self._read(length))
        except TimeoutError as error:
            raise self._lost(f"no answer within {seconds:.0f} s") from error
        except (OSError, ValueError, TypeError) as error:
            raise self._lost(error) from error
        if code != _SUCCESS:
            raise self._lost(f"it refuses {question}")
        return answer

    def _read(self, length: int) -> bytes:
        read = b""
        while len(read) < length:
            piece = self._socket.recv(length - len(read))
            if not piece:
                raise ConnectionError("it has hung up")
            read += piece
        return read

    def _lost(self, why: object) -> UnreachableError:
        return UnreachableError(f"the tracker at {self._host}:{self._port}: {why}")

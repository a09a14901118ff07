"""Programs run where TVM's RPC server runs: on one board, or on those that a tracker knows by a key.

TVM's RPC asks nobody who they are, is not encrypted, and runs what it is sent. So addresses are those of this machine,
where a tunnel of ssh begins, unless the address itself says that the network is trusted.
"""

import ipaddress
import re
import sys
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import SplitResult, parse_qs, urlsplit

from budgetc_specs.errors import SpecError, TargetUnreachableError, quoted

from budgetc_targets.runners.address import split_address
from budgetc_targets.runners.relay import UnreachableError
from budgetc_targets.runners.rpc_tracker import Tracker

_KEY = re.compile(r"/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_TRUSTED = "network=trusted"


def is_here(host: str) -> bool:
    """Whether a host's name is one of this very machine."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True)
class _Rpc(ABC):
    """What both addresses have in common."""

    address: str
    name: ClassVar[str] = "rpc"
    why_not: ClassVar[str] = ""
    scheme: ClassVar[str]
    form: ClassVar[str]

    def __post_init__(self) -> None:
        parts = split_address(self.address, self.scheme)
        if (
            parts is None
            or parts.username is not None
            or not parts.port
            or not self._names(parts.path)
            or parts.query not in {"", _TRUSTED}
        ):
            raise self._refused()
        if not (self.trusted or is_here(self.host)):
            raise SpecError.of(
                f"{quoted(self.address)} is not on this machine, and TVM's RPC has no password, no encryption, "
                "and runs whatever it is sent",
                "go through a tunnel of ssh (docs/devices.md), or, where all who reach that network may run "
                f'programs on the board, write "{self.address}?{_TRUSTED}".',
            )

    @property
    def host(self) -> str:
        """Where the server or the tracker listens."""
        return self._parts.hostname or ""

    @property
    def port(self) -> int:
        """Likewise."""
        return self._parts.port or 0

    @property
    def trusted(self) -> bool:
        """Whether boards may be elsewhere than on this machine or behind its tunnels."""
        return "network" in parse_qs(self._parts.query)

    @property
    def warning(self) -> str:
        """What is to be said whenever boards are reached without a tunnel."""
        if is_here(self.host) and not self.trusted:
            return ""
        return (
            f"{self.host} is reached by TVM's RPC, which has no password and no encryption: whoever reaches "
            "that network can run programs on the board, and see and change what is measured"
        )

    @property
    @abstractmethod
    def device(self) -> str:
        """The boards, as reports call them."""

    @staticmethod
    @abstractmethod
    def _names(path: str) -> bool:
        """Whether the path of an address is one of this scheme."""

    def command(self, program: Path) -> list[str] | None:
        """That programs can be run there; `served` is how."""
        return self.served(program, program)

    def served(self, program: Path, agent: Path) -> list[str] | None:
        """The relay with the program and the library that starts it there."""
        relay = [sys.executable, "-m", "budgetc_targets.runners.rpc_relay"]
        return [*relay, self.address, str(agent), "--", str(program)]

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.address)

    def _refused(self) -> SpecError:
        return SpecError.of(
            f"{quoted(self.address)} is not an address of TVM's RPC", f'write "{self.form}".'
        )


@dataclass(frozen=True)
class Rpc(_Rpc):
    """One server.

    Attributes:
        address: `rpc://host:port`, with `?network=trusted` where the host is not this machine.
    """

    scheme: ClassVar[str] = "rpc"
    form: ClassVar[str] = "rpc://127.0.0.1:9090"

    @property
    def device(self) -> str:
        """The server's address, as reports call it."""
        return f"{self.host}:{self.port}"

    @staticmethod
    def _names(path: str) -> bool:
        return path in {"", "/"}


@dataclass(frozen=True)
class RpcTracker(_Rpc):
    """Equal boards that a tracker knows by one key: each program runs on the one that is free.

    Attributes:
        address: `rpc+tracker://host:port/key`, with `?network=trusted` where boards are not this machine.
    """

    scheme: ClassVar[str] = "rpc+tracker"
    form: ClassVar[str] = "rpc+tracker://127.0.0.1:9190/pi4"

    @property
    def key(self) -> str:
        """What kind of board it is, as their servers were told."""
        return self._parts.path.removeprefix("/")

    @property
    def device(self) -> str:
        """The key and the tracker's address, as reports call them."""
        return f"{self.key} of {self.host}:{self.port}"

    def places(self) -> int:
        """The boards that the tracker knows now.

        Raises:
            TargetUnreachableError: there is none, or no tracker.
        """
        try:
            with Tracker(self.host, self.port) as tracker:
                known = tracker.servers(self.key)
        except UnreachableError as error:
            raise TargetUnreachableError(str(error), "start it, and the servers.") from error
        if not known:
            raise TargetUnreachableError(
                f"the tracker at {self.host}:{self.port} knows no server with the key {quoted(self.key)}",
                "start one on a board, and wait until the tracker knows it.",
            )
        return len(known)

    @staticmethod
    def _names(path: str) -> bool:
        return bool(_KEY.fullmatch(path))

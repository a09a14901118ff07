"""Programs run on a board that ssh reaches: copied there, run there, removed; the board needs no Python."""

import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

from budgetc_specs.errors import SpecError, quoted

from budgetc_targets.runners.address import split_address

_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_HELP = 'write "ssh://user@host", "ssh://host:2222", or "ssh://name" for a Host of your ssh config.'


@dataclass(frozen=True)
class Ssh:
    """Runs static Linux programs on another machine, whose times are the target's own.

    A relay (`budgetc_targets.runners.ssh_relay`) stands in for the program: it copies it into a new folder of the
    board, and every file that the conversation with it names. Keys and host names are left to ssh and its
    config: nobody is there to type a password.

    Attributes:
        address: `ssh://[user@]host[:port][?config=FILE]`, where FILE is a config for ssh instead of the user's.
    """

    address: str
    name: ClassVar[str] = "ssh"

    def __post_init__(self) -> None:
        parts = split_address(self.address, self.name)
        if parts is None:
            raise self._refused()
        told = parse_qs(parts.query, keep_blank_values=True)
        user = "" if parts.username is None else parts.username
        if (
            (parts.username is not None and not _USER.fullmatch(user))
            or parts.password is not None
            or parts.path not in ("", "/")
            or set(told) - {"config"}
        ):
            raise self._refused()

    @property
    def device(self) -> str:
        """The board, as reports call it."""
        return urlsplit(self.address).hostname or ""

    @property
    def why_not(self) -> str:
        """Why programs cannot be run there, as far as this machine can tell; or nothing."""
        if shutil.which("ssh"):
            return ""
        return "ssh is not installed (Debian and Ubuntu: apt-get install openssh-client)"

    def command(self, program: Path) -> list[str] | None:
        """The relay with the program, or None without an ssh."""
        if self.why_not:
            return None
        relay = [sys.executable, "-m", "budgetc_targets.runners.ssh_relay"]
        return [*relay, *self.client(), "--", str(program)]

    def client(self) -> list[str]:
        """How the machine is reached: ssh with its options and the destination."""
        parts = urlsplit(self.address)
        options = ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "ServerAliveInterval=15"]
        if config := parse_qs(parts.query).get("config"):
            options += ["-F", config[-1]]
        if parts.port:
            options += ["-p", str(parts.port)]
        if parts.username:
            options += ["-l", parts.username]
        return ["ssh", *options, parts.hostname or ""]

    def _refused(self) -> SpecError:
        return SpecError.of(f"{quoted(self.address)} is not an address that ssh can reach", _HELP)

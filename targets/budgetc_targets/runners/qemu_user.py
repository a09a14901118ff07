"""Programs for another machine run under qemu's user-mode emulation, for their results and their instructions."""

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True)
class QemuUser:
    """Runs static Linux programs of another architecture.

    Attributes:
        arch: qemu's name of the architecture, such as `aarch64`.
        cpu: the CPU to emulate, so that an instruction which it lacks is a crash here too, with qemu's options behind
            commas. One that this qemu does not know is replaced by `max`, which has everything that qemu emulates.
        lacks: instructions of the target that qemu does not emulate, in words; nothing can be run
            then.
    """

    arch: str
    cpu: str = "max"
    lacks: str = ""
    name: ClassVar[str] = "qemu-user"

    @property
    def why_not(self) -> str:
        """Why programs cannot be run here, or nothing."""
        if self.lacks:
            return f"qemu-{self.arch} does not emulate {self.lacks}"
        if next(_emulators(self.arch), None):
            return ""
        return f"qemu-{self.arch} is not installed (Debian and Ubuntu: apt-get install qemu-user)"

    def command(self, program: Path) -> list[str] | None:
        """The emulator with the program, or None where it cannot run it."""
        emulator = next(_emulators(self.arch), None)
        if emulator is None or self.lacks:
            return None
        return [emulator, *self._cpu(emulator), str(program)]

    @property
    def why_not_counted(self) -> str:
        """Why instructions are not counted here, or nothing."""
        if self.why_not or self._counting:
            return self.why_not
        return (
            f"this qemu-{self.arch} takes no plugins, as a statically linked one does not "
            "(Debian and Ubuntu: apt-get install qemu-user)"
        )

    def plugin_interface(self) -> int:
        """1 up to qemu 8; from qemu 9 on 2, which the later ones take as well."""
        assert self._counting, "BUG: ask `why_not_counted` first"
        return 1 if _major_version(self._counting) < 9 else 2

    def watched(self, program: Path, plugin: Path, counter: str) -> list[str] | None:
        """The emulator with the program and a plugin that counts into a file of the working directory."""
        emulator = self._counting
        if emulator is None or self.lacks:
            return None
        loaded = ["-plugin", f"{plugin},into={counter}"]
        return [emulator, *self._cpu(emulator), *loaded, str(program)]

    @property
    def _counting(self) -> str | None:
        """The emulator that takes plugins."""
        return next((e for e in _emulators(self.arch) if _takes_plugins(e)), None)

    def _cpu(self, emulator: str) -> list[str]:
        known = self.cpu.partition(",")[0] in _known_cpus(emulator)
        return ["-cpu", self.cpu if known else "max"]


def _emulators(arch: str) -> Iterator[str]:
    for name in (f"qemu-{arch}", f"qemu-{arch}-static"):
        found = shutil.which(name)
        if found:
            yield found


def _printed(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout


@functools.cache
def _known_cpus(emulator: str) -> frozenset[str]:
    return frozenset(_printed(emulator, "-cpu", "help").split())


@functools.cache
def _takes_plugins(emulator: str) -> bool:
    return "-plugin" in _printed(emulator, "--help")


@functools.cache
def _major_version(emulator: str) -> int:
    found = re.search(r"version (\d+)", _printed(emulator, "--version"))
    return int(found.group(1)) if found else 0

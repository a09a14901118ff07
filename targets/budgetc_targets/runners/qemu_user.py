"""Programs for another machine run under qemu's user-mode emulation, for their results only."""

import functools
import shutil
import subprocess
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
        if _emulator(self.arch):
            return ""
        return (
            f"qemu-{self.arch} is not installed "
            "(Debian and Ubuntu: apt-get install qemu-user-static)"
        )

    def command(self, program: Path) -> list[str] | None:
        """The emulator with the program, or None where it cannot run it."""
        emulator = _emulator(self.arch)
        if emulator is None or self.lacks:
            return None
        name = self.cpu.partition(",")[0]
        cpu = self.cpu if name in _known_cpus(emulator) else "max"
        return [emulator, "-cpu", cpu, str(program)]


def _emulator(arch: str) -> str | None:
    return shutil.which(f"qemu-{arch}") or shutil.which(f"qemu-{arch}-static")


@functools.cache
def _known_cpus(emulator: str) -> frozenset[str]:
    listing = subprocess.run(
        [emulator, "-cpu", "help"], capture_output=True, text=True, timeout=30, check=False
    ).stdout
    return frozenset(word for line in listing.splitlines() for word in line.split())

"""Firmware runs on a whole board that qemu emulates: for its results and its instructions, not for its time."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from budgetc_targets.contract import MemoryMap

SHIFT = 5
"""An emulated instruction takes 2**SHIFT nanoseconds of the board's clock, whatever it is."""


@dataclass(frozen=True)
class QemuSystem:
    """Runs firmware that speaks by semihosting with the folder and the pipes it was started with.

    Attributes:
        arch: qemu's name of the architecture, such as `arm`.
        machine: qemu's name of a board with the core; empty where it has none.
        memory_map: where that board has its memory.
        core: what the board should have, for messages.
    """

    arch: str
    machine: str
    memory_map: MemoryMap
    core: str
    name: ClassVar[str] = "qemu-system"
    why_not_counted: ClassVar[str] = ""

    @property
    def why_not(self) -> str:
        """Why firmware cannot be run here, or nothing."""
        if not self.machine:
            return f"qemu-system-{self.arch} emulates no board with a {self.core}"
        if shutil.which(f"qemu-system-{self.arch}"):
            return ""
        return (
            f"qemu-system-{self.arch} is not installed "
            f"(Debian and Ubuntu: apt-get install qemu-system-{self.arch})"
        )

    def command(self, program: Path) -> list[str] | None:
        """The emulator with the firmware, or None where it cannot run it.

        Its clock counts instructions, so that a timer of the board does too, the same in every run.
        """
        emulator = shutil.which(f"qemu-system-{self.arch}")
        if emulator is None or not self.machine:
            return None
        return [
            *(emulator, "-machine", self.machine, "-kernel", str(program)),
            *("-display", "none", "-monitor", "none", "-serial", "none"),
            *("-icount", f"shift={SHIFT}"),
            *("-semihosting-config", "enable=on,target=native"),
        ]

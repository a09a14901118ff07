"""Which kind of machine this is: latencies of one kind say nothing of those of another."""

import hashlib
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_MODEL = (
    "vendor_id",
    "cpu family",
    "model",
    "model name",
    "stepping",
    "cache size",
    "CPU implementer",
    "CPU part",
    "CPU variant",
)
"""Lines of /proc/cpuinfo that tell one model of CPU from another, on x86-64 and on AArch64."""


def machine_fingerprint(cpuinfo: Path = CPUINFO) -> str:
    """Twelve hex digits that machines with the same model of CPU share."""
    words = [f"{key}={value}" for key, value in _first_processor(cpuinfo) if key in _MODEL]
    return hashlib.sha256("\n".join([platform.machine(), *words]).encode()).hexdigest()[:12]


def machine_words(cpuinfo: Path = CPUINFO) -> str:
    """The same for people: the processor's name where the system tells it, else the architecture."""
    said = dict(_first_processor(cpuinfo))
    return said.get("model name") or platform.machine()


def timed_on(device: str, fingerprint: str | None) -> tuple[str, str] | None:
    """What latencies are of; those are compared that are of the same.

    Args:
        device: that ran the library, as it calls itself; empty where the machine did that compiled.
        fingerprint: of the machine that compiled; None where that is not told.

    Returns:
        A device by its name, whoever compiled for it, or machines of one fingerprint; None where that is not told.
    """
    if device:
        return "device", device
    return None if fingerprint is None else ("machine", fingerprint)


def _first_processor(cpuinfo: Path) -> list[tuple[str, str]]:
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:
        return []
    pairs = [line.partition(":") for line in lines]
    return [(key.strip(), value.strip()) for key, _, value in pairs]

"""This machine described as a board, so that another one can compile for it."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from budgetc_specs.board import Board
from budgetc_specs.errors import EnvironmentError_
from budgetc_specs.units import parse_bytes

from budgetc.plugins import installed
from budgetc.registry import TARGETS, find_target

HOST = "host"
_MIB = 1024 * 1024
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_CPU_LINES = ("model name", "Model", "Hardware", "uarch")


def probe() -> Board:
    """The board that this machine is: its CPU as the best sheet that it can run, its cores, caches and RAM.

    Raises:
        EnvironmentError_: there is no target kind for this machine.
    """
    kind, cpu = _named_sheet()
    caches = _caches(_CACHES)
    return Board(
        summary=_summary(Path("/proc/cpuinfo")),
        kind=kind,
        cpu=cpu,
        cores=len(os.sched_getaffinity(0)),
        ram=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // _MIB * _MIB,
        l1=caches.get(1),
        l2=caches.get(2),
        source="budgetc targets probe",
    )


def _named_sheet() -> tuple[str, str]:
    """Kind and CPU under which other machines know this one's sheet."""
    here = find_target(HOST).capability(None, 1)
    for kind in installed(TARGETS):
        if kind == HOST:
            continue
        for cpu, sheet in find_target(kind).cpus().items():
            if sheet.model_copy(update={"target": HOST, "native": here.native}) == here:
                return kind, cpu
    raise EnvironmentError_(
        f"no target kind has the CPU of this machine, {platform.machine()}",
        "describe it by hand: `budgetc targets show NAME` shows how a board looks.",
    )


def _summary(cpuinfo: Path) -> str:
    """What the machine calls its processor."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    said: Mapping[str, str] = {
        key.strip(): value.strip()
        for key, _, value in (x.partition(":") for x in text.splitlines())
    }
    named = next((said[name] for name in _CPU_LINES if said.get(name)), platform.machine())
    return f"{named}, as probed"


def _caches(folder: Path) -> dict[int, int]:
    """Bytes of the data caches of a core by level, as Linux tells them."""
    found: dict[int, int] = {}
    for index in sorted(folder.glob("index*")):
        try:
            kind = (index / "type").read_text(encoding="ascii").strip()
            level = int((index / "level").read_text(encoding="ascii"))
            size = (index / "size").read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if kind in ("Data", "Unified") and size.endswith(("K", "M")):
            found[level] = parse_bytes(f"{size[:-1]} {size[-1]}iB")
    return found

"""The machine under test: its name, the processors to pin to, who else uses it, and C programs built for it."""

import hashlib
import os
import platform
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "benchmarks"


def name() -> str:
    """The CPU by its own name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def processors(threads: int) -> list[int]:
    """The processors that measurements with so many threads are pinned to.

    The last ones that this process may use: the first serve most interrupts.

    Raises:
        SystemExit: there are fewer.
    """
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise SystemExit(f"{threads} threads, but this process may use {len(allowed)} processors")
    return allowed[-threads:]


@contextmanager
def pinned(threads: int) -> Iterator[None]:
    """Processes that are started meanwhile run on `processors(threads)` only."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, processors(threads))
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def foreign_seconds() -> float:
    """CPU time spent since boot by anything but this process and its finished children, steal included."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields)
    ticks = user + nice + system + irq + softirq + steal
    own = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        own += usage.ru_utime + usage.ru_stime
    return ticks / os.sysconf("SC_CLK_TCK") - own


def build_program(source: Path, flags: Sequence[str] = ()) -> Path:
    """A C program of this folder, compiled by zig cc for this very CPU, and kept until its source changes."""
    from budgetc.cache import cache_folder  # noqa: PLC0415  peers' processes import this file too
    from budgetc.emit.zig import Zig  # noqa: PLC0415

    key = hashlib.sha256(source.read_bytes() + " ".join(flags).encode()).hexdigest()[:12]
    program = BUILD / "programs" / f"{source.stem}-{key}"
    if not program.exists():
        program.parent.mkdir(parents=True, exist_ok=True)
        target = f"{platform.machine()}-linux-gnu.2.17"
        Zig(cache_folder() / "zig").run(
            "cc",
            *("-target", target, "-mcpu=native", "-std=c23", "-O2", "-g0", "-fno-sanitize=all"),
            *flags,
            str(source),
            "-ldl",
            "-o",
            str(program),
        )
    return program

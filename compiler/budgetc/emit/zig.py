"""Running the zig toolchain: where it is, its private cache, and what its failures mean."""

import contextlib
import importlib.util
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from budgetc_specs.errors import EnvironmentError_, InternalError

_TAIL_LINES = 20
# What zig prints when the machine, not our input, is the reason.
_MACHINE_FAULTS = (
    "No space left on device",
    "NoSpaceLeft",
    "AccessDenied",
    "Permission denied",
    "ReadOnlyFileSystem",
    "OutOfMemory",
    "DiskQuota",
)


@dataclass(frozen=True)
class Zig:
    """The zig of the `ziglang` wheel with a cache folder of its own.

    Attributes:
        cache: folder for zig's caches; made on first use, safe to share between processes.
        seconds: time limit of one command; the first use of a target builds its libc.
        made: folder for what is compiled from our own sources; None is the cache, where it stays for the next time.
    """

    cache: Path
    seconds: float = 600.0
    made: Path | None = None

    def run(self, *arguments: str | Path, cwd: Path | None = None) -> str:
        """Run `zig <arguments>` and return what it printed.

        Raises:
            EnvironmentError_: zig is missing or cannot run, the disk is full or not writable, or
                time is up.
            InternalError: zig refused what budgetc generated.
        """
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EnvironmentError_(
                f"the cache folder {self.cache} cannot be made: {error.strerror}",
                "choose a folder that can be written",
            ) from error
        cache = str(self.cache.resolve())
        environment = {
            **os.environ,
            "ZIG_GLOBAL_CACHE_DIR": cache,
            "ZIG_LOCAL_CACHE_DIR": str(self.made.resolve()) if self.made else cache,
            "LC_ALL": "C",
        }
        command = [str(zig_executable()), *map(str, arguments)]
        try:
            code, printed = _run(command, cwd, environment, self.seconds)
        except OSError as error:
            raise EnvironmentError_(
                f"zig cannot be run: {error}",
                "reinstall it with: pip install --force-reinstall ziglang==0.17.1",
            ) from error
        except subprocess.TimeoutExpired as error:
            raise EnvironmentError_(
                f"zig {arguments[0]} took longer than {self.seconds:.0f} s",
                f"run it on a less busy machine, or put the cache {cache} on a faster disk",
            ) from error
        output = printed.decode("utf-8", "replace")
        if code == 0:
            return output
        tail = "\n".join(output.strip().splitlines()[-_TAIL_LINES:])
        if code < 0 or any(fault in output for fault in _MACHINE_FAULTS):
            how = f"was killed by signal {-code}" if code < 0 else "failed"
            raise EnvironmentError_(
                f"zig {arguments[0]} {how}:\n{tail}",
                f"free disk space and memory, and make {cache} writable",
            )
        raise InternalError(
            f"BUG: zig {arguments[0]} refused generated code:\n{tail}",
            "report this with the text above",
        )


def _run(
    command: list[str], cwd: Path | None, environment: dict[str, str], seconds: float
) -> tuple[int, bytes]:
    """Exit code and output of a command that starts processes of its own: none of them outlives the call."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, output


def zig_executable() -> Path:
    """The zig program inside the `ziglang` wheel.

    Raises:
        EnvironmentError_: the wheel is not installed.
    """
    spec = importlib.util.find_spec("ziglang")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "zig"
        if program.is_file():
            return program
    raise EnvironmentError_(
        "the ziglang package is not installed, and without it nothing can be linked",
        "install it with: pip install ziglang==0.17.1",
    )

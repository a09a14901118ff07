"""A program that is spoken to line by line, here, in an emulator or on a device; its end has a name."""

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from budgetc_specs.errors import InternalError, TargetUnreachableError, WrongNumbersError
from budgetc_targets.contract import UNREACHABLE

ANSWER_SECONDS = 600.0
_TAIL_BYTES = 2000


class BinaryError(WrongNumbersError):
    """The compiled model crashed, hung or refused a correct call.

    Attributes:
        cause: the signal's name such as `SIGSEGV`, `timeout`, or `refused`.
    """

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(message, "report the model and the spec; the artefact was not handed over")
        self.cause = cause
        self.args = (message, cause)  # what pickle hands back to __init__


class Conversation:
    """A program that answers each line with one line, which begins with `ok` or `error`, as a context manager.

    Its first line is `ok ready`, with `on NAME` behind it where that is another machine.

    Args:
        command: what starts it.
        subject: what errors call it.
        seconds: time limit of one reply; the first one, for which a device may have to be waited for, has longer.

    Attributes:
        folder: its working directory; files are named relative to it, since the protocol has no quoting.
        machine: the device on which it runs, as that calls itself; empty where nothing was said of one.
    """

    def __init__(
        self, command: Sequence[str], subject: str, seconds: float = ANSWER_SECONDS
    ) -> None:
        self._command, self._subject, self._seconds = [*command], subject, seconds
        self._temporary = tempfile.TemporaryDirectory(prefix="budgetc-harness-")
        self.folder = Path(self._temporary.name)
        self.machine = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._pending = b""

    def __enter__(self) -> Self:
        try:
            self.restart()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None and self._process is not None:
            self._process.kill()  # it may be in the middle of a long answer that nobody waits for
        self._close()

    @property
    def process_id(self) -> int:
        """The number of the process that was started here."""
        assert self._process is not None, "BUG: nothing is running"
        return self._process.pid

    def restart(self) -> None:
        """End the program if it runs, and start it."""
        self._stop()
        self._stderr = (self.folder / "stderr").open("w+b")
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            cwd=self.folder,
        )
        self._pending = b""
        match self._reply("start", max(self._seconds, ANSWER_SECONDS)):
            case ["ready"]:
                pass
            case ["ready", "on", machine]:
                self.machine = machine
            case _:
                raise InternalError(f"BUG: {self._subject} did not announce itself")

    def ask(self, line: str) -> list[str]:
        """Say a line, and return the words of the answer behind `ok`.

        Raises:
            BinaryError: the program crashed, hung or answered `error`.
            TargetUnreachableError: the device that it runs on was not reached, or is lost.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise InternalError("BUG: a program is spoken to outside its `with` block")
        try:
            process.stdin.write(f"{line}\n".encode())
            process.stdin.flush()
        except BrokenPipeError:
            pass  # it died before; the reply says how
        return self._reply(line.partition(" ")[0], self._seconds)

    def _close(self) -> None:
        self._stop()
        self._temporary.cleanup()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            if process.stdin:
                process.stdin.close()
            process.wait(timeout=5)
        except (BrokenPipeError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        finally:
            if process.stdout:
                process.stdout.close()
            self._stderr.close()

    def _reply(self, doing: str, seconds: float) -> list[str]:
        """The words after `ok` of the next line."""
        process = self._process
        if process is None or process.stdout is None:
            raise InternalError("BUG: a program is spoken to outside its `with` block")
        pipe = process.stdout.fileno()
        deadline = time.monotonic() + seconds
        while b"\n" not in self._pending:
            ready, _, _ = select.select([pipe], [], [], max(0.0, deadline - time.monotonic()))
            if not ready:
                process.kill()
                raise BinaryError(
                    f"{self._subject}: `{doing}` did not end within {seconds:.0f} s",
                    "timeout",
                )
            piece = os.read(pipe, 1 << 16)
            if not piece:
                raise self._death(process, doing)
            self._pending += piece
        line, _, self._pending = self._pending.partition(b"\n")
        words = line.decode("utf-8", "replace").split()
        if words[:1] == ["ok"]:
            return words[1:]
        raise BinaryError(f"{self._subject}: `{doing}` failed: {' '.join(words[1:])}", "refused")

    def _death(self, process: "subprocess.Popen[bytes]", doing: str) -> BinaryError:
        code = process.wait()
        self._stderr.seek(0)
        tail = self._stderr.read()[-_TAIL_BYTES:].decode("utf-8", "replace").strip()
        if code == UNREACHABLE:
            raise TargetUnreachableError(
                f"the device was not reached during `{doing}`: {tail}",
                "see that it is on and that its command works by hand; then run this again.",
            )
        if code < 0:
            cause = signal.Signals(-code).name
            how = f"was killed by {cause}"
        else:
            cause, how = "exit", f"ended with exit code {code}"
        text = f"{self._subject} {how} during `{doing}`"
        return BinaryError(f"{text}:\n{tail}" if tail else text, cause)

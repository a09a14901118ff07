"""Supervised children: a function runs in a process of its own, and its death has a name."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Literal

from budgetc_specs import errors
from budgetc_specs.errors import BudgetcError, Diagnostic, InternalError, SpecError, printable

Cause = Literal["signal", "exit", "timeout", "memory", "exception"]
Progress = Callable[[dict[str, Any]], None]

_POLL_S = 0.2
_EXIT_GRACE_S = 5.0
_TAIL_BYTES = 4096
_TAIL_LINES = 20
_OUT_OF_MEMORY = ("MemoryError", "std::bad_alloc", "out of memory", "Cannot allocate memory")


class ChildDied(BudgetcError):  # noqa: N818 - what happened, as `except ChildDied` reads
    """A child ended without a result: a refused candidate, and nothing else of the run is lost.

    Attributes:
        function: the `module:function` that ran.
        cause: how it ended.
        detail: the signal's name, the exit code, the limit or the exception's type and text.
        tail: the end of what it wrote to its standard error and output.
    """

    exit_code = InternalError.exit_code

    def __init__(self, function: str, cause: Cause, detail: str, tail: str = "") -> None:
        self.function, self.cause, self.detail, self.tail = function, cause, detail, tail
        words = tail and f"the end of its output:\n{textwrap.indent(tail, '  ')}"
        super().__init__(f"{function} {_SENTENCES[cause].format(detail)}", words)
        self.args = (function, cause, detail, tail)  # what pickle hands back to __init__


class Cancelled(Exception):  # noqa: N818 - what happened
    """Whoever wanted a child's result does not want it any more."""


_SENTENCES: dict[Cause, str] = {
    "signal": "was killed by {}",
    "exit": "ended without a result (exit code {})",
    "timeout": "was stopped after its time limit of {}",
    "memory": "ran out of memory ({})",
    "exception": "raised {}",
}


def run_child(
    function: str,
    arguments: Mapping[str, Any],
    *,
    timeout_s: float,
    memory_bytes: int | None = None,
    log: Path | None = None,
    progress: Progress | None = None,
    cancelled: threading.Event | None = None,
) -> Any:
    """Call `module:function(**arguments)` in a child process and return its JSON-able result.

    The child leads a process group of its own; the group is killed when the call ends, in whatever
    way, and the child is killed by the kernel when this process dies. What the child prints goes to
    `log` (or nowhere) and can not reach the result. The child hashes strings with a fixed seed, so
    that what it makes does not vary.

    Args:
        function: where the function lives, as `module:function`.
        arguments: JSON-able keyword arguments; large arrays travel as files.
        timeout_s: wall-clock limit in seconds, start-up included.
        memory_bytes: limit of the private writable memory of each process in the child, in bytes.
        log: file to which the child's output is appended.
        progress: called here with every message the child reports through
            `budgetc.child.report_progress`.
        cancelled: ends the child once it is set.

    Raises:
        Cancelled: `cancelled` was set before there was a result.
        ChildDied: it crashed, was killed, ran into a limit, exited, or raised something that is no
            BudgetcError.
        BudgetcError: raised in the child; the class is the nearest of `budgetc_specs.errors`.
    """
    deadline = time.monotonic() + timeout_s
    with contextlib.ExitStack() as stack:
        output: IO[bytes] = stack.enter_context(log.open("a+b") if log else _unnamed_file())
        begin = os.fstat(output.fileno()).st_size
        process, answers = stack.enter_context(
            _child(function, arguments, memory_bytes=memory_bytes, output=output)
        )
        answer: dict[str, Any] | None = None
        try:
            for message in _messages(process, answers, deadline, cancelled):
                if "progress" not in message:
                    answer = message
                    # The work is done; what is left is the process's end, which gets a grace of its
                    # own.
                    deadline = time.monotonic() + _EXIT_GRACE_S
                    break
                if progress is not None:
                    progress(message["progress"])
        except TimeoutError:
            raise ChildDied(function, "timeout", f"{timeout_s:g} s", _tail(output, begin)) from None
        status = _await_end(process, deadline)
        tail = _tail(output, begin)
    if answer is not None:
        return _result(function, answer, tail)
    raise _death(function, status, tail)


@contextlib.contextmanager
def _child(
    function: str, arguments: Mapping[str, Any], *, memory_bytes: int | None, output: IO[bytes]
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the child and yield it and the readable end of its answers; its group ends here too."""
    read_end, write_end = os.pipe()
    try:
        with tempfile.TemporaryFile() as request:
            call = {
                "function": function,
                "arguments": dict(arguments),
                "descriptor": write_end,
                "memory_bytes": memory_bytes,
                "parent": os.getpid(),
            }
            request.write(json.dumps(call).encode())
            request.seek(0)
            # -P keeps the working directory off the import path: a stray numpy.py there is not ours
            # to run.
            process = subprocess.Popen(
                [sys.executable, "-P", "-X", "faulthandler", "-m", "budgetc.worker"],
                stdin=request,
                stdout=output,
                stderr=output,
                pass_fds=[write_end],
                start_new_session=True,
                # Sums of numpy must not depend on the number of cores, and children run side by side.
                env={**os.environ, "PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"},
            )
        os.close(write_end)
        write_end = -1
        try:
            yield process, read_end
        finally:
            # The leader is not reaped yet, so its number still names this group and no other.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)


def _messages(
    process: subprocess.Popen[bytes],
    answers: int,
    deadline: float,
    cancelled: threading.Event | None,
) -> Iterator[dict[str, Any]]:
    """Yield the child's messages as they come, until it closes its descriptor or has ended.

    Raises:
        Cancelled: nobody waits for it any more.
        TimeoutError: the deadline passed first.
    """
    buffer = b""
    with selectors.DefaultSelector() as selector:
        selector.register(answers, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            # Whether it has ended is asked before reading, so that nothing it wrote last is missed.
            # A grandchild may hold the descriptor open for longer, so the end of the file alone
            # does not do.
            ended = _ended(process)
            if selector.select(0 if ended else min(left, _POLL_S)):
                chunk = os.read(answers, 1 << 16)
                if not chunk:
                    return
                *lines, buffer = (buffer + chunk).split(b"\n")
                for line in lines:
                    yield json.loads(line)
            elif ended:
                return


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended; it is left unreaped."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    return os.waitid(os.P_PID, process.pid, flags) is not None


def _await_end(process: subprocess.Popen[bytes], deadline: float) -> os.waitid_result | None:
    """Wait for the end of a process that has no more to say; None when it hangs on."""
    while time.monotonic() < deadline:
        status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if status is not None:
            return status
        time.sleep(0.005)
    return None


def _result(function: str, answer: dict[str, Any], tail: str) -> Any:
    if "result" in answer:
        return answer["result"]
    if "memory" in answer:
        raise ChildDied(function, "memory", answer["memory"], tail)
    if "exception" in answer:
        raised = answer["exception"]
        raise ChildDied(function, "exception", f"{raised['type']}: {raised['text']}", tail)
    raise _rebuilt(answer["error"])


def _rebuilt(described: dict[str, Any]) -> BudgetcError:
    """The child's error again, of the nearest of its classes that the specs define."""
    for name in described["classes"]:
        found = getattr(errors, name, None)
        if not (isinstance(found, type) and issubclass(found, BudgetcError)):
            continue
        if issubclass(found, SpecError) and "diagnostics" in described:
            return found(Diagnostic(**finding) for finding in described["diagnostics"])
        return found(described["message"], described["repair"])
    raise AssertionError(f"BUG: a child sent an error of no known class: {described}")


def _death(function: str, status: os.waitid_result | None, tail: str) -> ChildDied:
    if status is None:
        return ChildDied(function, "timeout", f"{_EXIT_GRACE_S:g} s to end", tail)
    if any(words in tail for words in _OUT_OF_MEMORY):
        return ChildDied(function, "memory", "its limit was reached", tail)
    if status.si_code == os.CLD_EXITED:
        return ChildDied(function, "exit", str(status.si_status), tail)
    name = f"signal {status.si_status}"
    with contextlib.suppress(ValueError):  # a real-time signal has no name
        name = signal.Signals(status.si_status).name
    if name == "SIGKILL":
        name += ", which the system sends when it is out of memory"
    return ChildDied(function, "signal", name, tail)


def _unnamed_file() -> IO[bytes]:
    return tempfile.TemporaryFile()


def _tail(output: IO[bytes], begin: int) -> str:
    """The last lines the child wrote, at most `_TAIL_LINES` of them."""
    # Read by position: the offset is shared with the child, which may still be writing.
    end = os.fstat(output.fileno()).st_size
    start = max(begin, end - _TAIL_BYTES)
    text = os.pread(output.fileno(), end - start, start).decode(errors="replace").strip()
    return "\n".join(printable(line) for line in text.splitlines()[-_TAIL_LINES:])


if __name__ == "__main__":
    from budgetc.child import serve

    serve()

"""The border of the command line: how each way for a command to end becomes a message and an exit code."""

import errno
import functools
import os
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import typer
from budgetc_specs.errors import BudgetcError, EnvironmentError_, InternalError

from budgetc.cache import cache_folder
from budgetc.cli.terminal import open_terminal, say

INTERRUPTED = 128 + signal.SIGINT
OUTPUT_CLOSED = 128 + signal.SIGPIPE

_MACHINE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE}


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal, which unwinds it as Ctrl-C does.

    Attributes:
        number: the signal's.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def exit_code(error: BaseException) -> int:
    """The exit code for whatever ended a command.

    0 and 1 come from a command's result; every other code is given here: those of `BudgetcError` (2 to 8 and 70),
    130 for Ctrl-C, 128 and its number for another signal, 141 where nobody reads the output any more, and 70 for
    everything that nobody foresaw.
    """
    if isinstance(error, BudgetcError):
        return error.exit_code
    if isinstance(error, Terminated):
        return 128 + error.number
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, BrokenPipeError) and _output_closed():
        return OUTPUT_CLOSED
    if isinstance(error, ImportError | MemoryError):  # nothing of ours imports what is optional
        return EnvironmentError_.exit_code
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return EnvironmentError_.exit_code
    return InternalError.exit_code


def guarded(verb: Callable[..., int]) -> Callable[..., None]:
    """A verb whose result is the exit code and whose errors are messages."""

    @functools.wraps(verb)
    def run(*arguments: object, **options: object) -> None:
        try:
            code = verb(*arguments, **options)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:
            code = exit_code(error)
            if code == OUTPUT_CLOSED:
                _give_up_output()
            else:
                _explain(error, code, verbose=bool(options.get("verbose")))
        raise typer.Exit(code)

    return run


def catch_signals() -> None:
    """Let SIGTERM and SIGHUP unwind the process, so that children end and temporary files go."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets it
            signal.signal(number, _terminate)


@contextmanager
def signals_later() -> Iterator[None]:
    """Hold back what asks the process to end until the block is done.

    For imports of C extensions: one that is interrupted while it sets itself up crashes, or says that it is broken.
    """
    came: list[int] = []
    held = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    held = {n: handler for n, handler in held.items() if callable(handler)}
    for number in held:
        signal.signal(number, lambda n, _: came.append(n))
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


def _terminate(number: int, _: FrameType | None) -> None:
    raise Terminated(number)


def _explain(error: BaseException, code: int, *, verbose: bool) -> None:
    """Say on standard error what happened."""
    err = open_terminal().err
    if isinstance(error, KeyboardInterrupt):
        what = f"ended by {error}" if isinstance(error, Terminated) else "interrupted"
        say(err, what, "bold")
    elif isinstance(error, BudgetcError):
        first, _, rest = str(error).partition("\n")
        say(err, first, "bold red")
        if rest:
            say(err, rest)
        if verbose and error.__cause__ is not None:
            say(err, "".join(traceback.format_exception(error.__cause__)), "dim")
    elif code == EnvironmentError_.exit_code:
        say(err, f"this machine lacks what is needed: {_words(error)}", "bold red")
        say(err, "  `budgetc doctor` says what, and how to repair it.")
    else:
        text = str(error)
        bug = text if text.startswith("BUG:") else f"BUG: {_words(error)}"
        say(err, bug, "bold red")
        trace = "".join(traceback.format_exception(error))
        log = _write_log(trace)
        if verbose or log is None:
            say(err, trace)
        if log is not None:
            say(err, f"  report it with {log}, the spec and, if you may share it, the model.")
    for note in getattr(error, "__notes__", ()):
        say(err, note)


def _words(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _write_log(trace: str) -> Path | None:
    """Keep the traceback in a file; None where that fails."""
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    for folder in (cache_folder, lambda: Path(tempfile.gettempdir())):
        try:
            place = folder() / "logs" if folder is cache_folder else folder()
            place.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(f"{sys.argv}\n{trace}", encoding="utf-8")
        except (OSError, RuntimeError):  # no home folder
            continue
        return place / name
    return None


def _output_closed() -> bool:
    """Whether the reader of standard output or error has gone: another broken pipe is our own fault."""
    poll = select.poll()
    try:
        for stream in (sys.stdout, sys.stderr):
            poll.register(stream.fileno(), 0)
    except (OSError, ValueError):  # not a file, as in a test
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _give_up_output() -> None:
    """Send what is still in the buffers nowhere, so that the interpreter's end does not stumble over it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    os.close(nowhere)

"""A program elsewhere as if it were here: what is said to it and what it answers, with the files that both name.

The program speaks line by line: a command comes in, and one line goes out. Files of the working directory that a
command names are copied to the board before it is passed on, unless they are there already; those that it writes come
back after the answer.
"""

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

PROGRAM = "program"
"""What the program is called in the board's folder."""

_NEW = frozenset({"run", "profile"})
"""Commands whose last word is a file that the program writes."""


class UnreachableError(Exception):
    """The board cannot be reached, or did not do what was asked of it."""


class Board(Protocol):
    """A machine elsewhere, with a folder of its own for one program; all of it may raise `UnreachableError`."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def put(self, file: Path, name: str) -> None:
        """Copy a file into its folder."""
        ...

    def get(self, name: str, file: Path) -> None:
        """Copy a file of its folder here."""
        ...

    def start(self, arguments: Sequence[str]) -> bytes:
        """Run the program, and return the first line that it says; nothing where it ended instead."""
        ...

    def ask(self, line: bytes) -> bytes:
        """Say a line to the program, and return the one that it answers; nothing where it ended instead."""
        ...

    def end(self) -> int:
        """Say that there are no more lines, and return the exit code: 128 and its number for a signal."""
        ...


def relay(board: Board, program: Path, arguments: Sequence[str]) -> int:
    """Run a program there, and pass on what is said here; returns its exit code.

    The first line says on which board it is: `ok ready on NAME`.

    Raises:
        UnreachableError: the board is lost.
    """
    board.put(program, PROGRAM)
    first = board.start(arguments)
    if first:
        _pass_on(first.rstrip(b"\n") + f" on {board.name}\n".encode())
    there: dict[str, bytes] = {}
    for line in sys.stdin.buffer:
        command = line.decode().split()
        for word in command[1:]:
            if Path(word).is_file() and not (command[0] in _NEW and word == command[-1]):
                digest = hashlib.sha256(Path(word).read_bytes()).digest()
                if there.get(word) != digest:
                    board.put(Path(word), word)
                    there[word] = digest
        answer = board.ask(line)
        if not answer:
            break
        if command[0] in _NEW and answer.startswith(b"ok"):
            board.get(command[-1], Path(command[-1]))
        _pass_on(answer)
    return board.end()


def _pass_on(answer: bytes) -> None:
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()

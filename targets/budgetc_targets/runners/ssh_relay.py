"""A program on another machine as if it were here: `python -m ... SSH... -- PROGRAM ARGUMENTS...`.

The program speaks line by line: a command comes in, and one line goes out. Words of a command that name a file of the
working directory are copied to the board before it is passed on; files whose names are new come back after its answer.
"""

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from budgetc_targets.contract import UNREACHABLE

_NEW = frozenset({"run", "profile"})
"""Commands whose last word is a file that the program writes."""


class UnreachableError(Exception):
    """The board did not do what ssh asked of it."""


def main(arguments: Sequence[str]) -> int:
    """Copy the program, run it, and pass on what is said."""
    at = arguments.index("--")
    client, program, rest = list(arguments[:at]), Path(arguments[at + 1]), arguments[at + 2 :]
    with tempfile.TemporaryDirectory(prefix="budgetc-ssh-") as sockets:
        # One connection serves all commands, and ends with this process.
        shared = [
            "-o",
            "ControlMaster=auto",
            "-o",
            f"ControlPath={sockets}/c",
            "-o",
            "ControlPersist=yes",
        ]
        board = _Board([client[0], *shared, *client[1:]])
        try:
            return _relay(board, program, rest)
        except UnreachableError as error:
            sys.stderr.write(f"{error}\n")
            return UNREACHABLE
        finally:
            board.close()


def _relay(board: "_Board", program: Path, arguments: Sequence[str]) -> int:
    folder = board.ask("mktemp -d").strip()
    try:
        board.put(program, f"{folder}/program")
        board.ask(f"chmod 700 {shlex.quote(folder)}/program")
        words = " ".join(map(shlex.quote, ("./program", *arguments)))
        running = board.start(f"cd {shlex.quote(folder)} && exec {words}")
        with running:
            assert running.stdin, "BUG: a pipe was asked for"
            assert running.stdout, "BUG: a pipe was asked for"
            _pass_on(running.stdout.readline())
            for line in sys.stdin.buffer:
                command = line.decode().split()
                for word in command[1:]:
                    if Path(word).is_file() and not (command[0] in _NEW and word == command[-1]):
                        board.put(Path(word), f"{folder}/{word}")
                with contextlib.suppress(BrokenPipeError):  # it died; the missing answer says so
                    running.stdin.write(line)
                    running.stdin.flush()
                answer = running.stdout.readline()
                if not answer:
                    break
                if command[0] in _NEW and answer.startswith(b"ok"):
                    board.get(f"{folder}/{command[-1]}", Path(command[-1]))
                _pass_on(answer)
            running.stdin.close()
            code = running.wait()
        return code if code >= 0 else 128 - code
    finally:
        board.ask(f"rm -rf {shlex.quote(folder)}")


def _pass_on(answer: bytes) -> None:
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


class _Board:
    """What ssh can do for us."""

    def __init__(self, client: Sequence[str]) -> None:
        self._client = list(client)

    def ask(self, command: str, fed: bytes = b"") -> str:
        """What a command there prints."""
        done = subprocess.run([*self._client, command], input=fed, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise UnreachableError(
                f"{self._client[-1]}: `{command.split(maxsplit=1)[0]}` failed: {said}"
            )
        return done.stdout.decode("utf-8", "replace")

    def put(self, file: Path, there: str) -> None:
        self.ask(f"cat > {shlex.quote(there)}", file.read_bytes())

    def get(self, there: str, file: Path) -> None:
        done = subprocess.run(
            [*self._client, f"cat {shlex.quote(there)}"], capture_output=True, check=False
        )
        if done.returncode:
            raise UnreachableError(f"{self._client[-1]}: {file} did not come back")
        file.write_bytes(done.stdout)

    def start(self, command: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self._client, command], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def close(self) -> None:
        """End the shared connection."""
        subprocess.run(
            [*self._client[:-1], "-O", "exit", self._client[-1]], capture_output=True, check=False
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

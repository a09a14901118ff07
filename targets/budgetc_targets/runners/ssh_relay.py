"""A program on a board that ssh reaches: `python -m ... SSH... -- PROGRAM ARGUMENTS...`."""

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from budgetc_targets.contract import UNREACHABLE
from budgetc_targets.runners.relay import PROGRAM, UnreachableError, relay


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
        board = _SshBoard([client[0], *shared, *client[1:]])
        try:
            with board:
                return relay(board, program, rest)
        except UnreachableError as error:
            sys.stderr.write(f"{error}\n")
            return UNREACHABLE
        finally:
            board.close()


class _SshBoard:
    """What ssh can do for us, in a new folder that ends with the block."""

    def __init__(self, client: Sequence[str]) -> None:
        self._client, self._folder = list(client), ""
        self._running: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        self._folder = self._asked("mktemp -d").strip()

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            with self._running:
                self._running.kill()
        self._asked(f"rm -rf {shlex.quote(self._folder)}")

    @property
    def name(self) -> str:
        return self._client[-1]

    def put(self, file: Path, name: str) -> None:
        self._asked(f"cat > {shlex.quote(f'{self._folder}/{name}')}", file.read_bytes())

    def get(self, name: str, file: Path) -> None:
        command = [*self._client, f"cat {shlex.quote(f'{self._folder}/{name}')}"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise UnreachableError(f"{self.name}: {file} did not come back")
        file.write_bytes(done.stdout)

    def start(self, arguments: Sequence[str]) -> bytes:
        self._asked(f"chmod 700 {shlex.quote(self._folder)}/{PROGRAM}")
        words = " ".join(map(shlex.quote, (f"./{PROGRAM}", *arguments)))
        self._running = subprocess.Popen(
            [*self._client, f"cd {shlex.quote(self._folder)} && exec {words}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        return self._answer()

    def ask(self, line: bytes) -> bytes:
        assert self._running, "BUG: nothing was started"
        assert self._running.stdin, "BUG: a pipe was asked for"
        with contextlib.suppress(BrokenPipeError):  # it died; the missing answer says so
            self._running.stdin.write(line)
            self._running.stdin.flush()
        return self._answer()

    def end(self) -> int:
        assert self._running, "BUG: nothing was started"
        with self._running as ended:
            assert ended.stdin, "BUG: a pipe was asked for"
            with contextlib.suppress(BrokenPipeError):
                ended.stdin.close()
            code = ended.wait()
        self._running = None
        return code if code >= 0 else 128 - code

    def close(self) -> None:
        """End the shared connection."""
        subprocess.run(
            [*self._client[:-1], "-O", "exit", self._client[-1]], capture_output=True, check=False
        )

    def _answer(self) -> bytes:
        assert self._running, "BUG: nothing was started"
        assert self._running.stdout, "BUG: a pipe was asked for"
        return self._running.stdout.readline()

    def _asked(self, command: str, fed: bytes = b"") -> str:
        """What a command there prints."""
        done = subprocess.run([*self._client, command], input=fed, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()
            raise UnreachableError(f"{self.name}: `{command.split(maxsplit=1)[0]}` failed: {said}")
        return done.stdout.decode("utf-8", "replace")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

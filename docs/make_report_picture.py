"""Compile the example on a terminal of its own and keep the report as a picture: `make picture`."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "images" / "report.svg"
SPEC = "specs/examples/mnist/spec.yaml"
COMMAND = f"budgetc compile {SPEC}"
COLUMNS, LINES = 118, 60

_WEB_FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def on_a_terminal(out: Path) -> str:
    """What the command prints, with its colours. Progress goes elsewhere: it leaves nothing behind.

    Raises:
        SystemExit: the command failed; its messages are shown.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    unwanted = ("NO_COLOR", "COLUMNS", "CI")
    environment = {k: v for k, v in os.environ.items() if k not in unwanted}
    environment |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    command = [
        sys.executable,
        "-m",
        "budgetc.cli.main",
        "compile",
        SPEC,
        "--force",
        "--out",
        str(out),
    ]
    with tempfile.TemporaryFile() as progress:
        child = subprocess.Popen(command, stdout=theirs, stderr=progress, cwd=ROOT, env=environment)
        os.close(theirs)
        text = _everything(ours)
        if child.wait():
            progress.seek(0)
            sys.exit(text + progress.read().decode())
    return text


def picture(report: str) -> str:
    """The report as SVG, with a prompt above it. No fonts are fetched from elsewhere."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text(f"$ {COMMAND}", "bold"))
    console.print(Text.from_ansi(report.rstrip().replace("\r\n", "\n")))
    return _WEB_FONTS.sub("", console.export_svg(title="budgetc", unique_id="report"))


def _everything(terminal: int) -> str:
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # how Linux says that nobody writes any more
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts).decode()
        parts.append(part)


def main() -> int:
    """Write the picture."""
    with tempfile.TemporaryDirectory() as folder:
        report = on_a_terminal(Path(folder) / "mnist")
        report = report.replace(str(Path(folder) / "mnist"), "build/mnist")
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(report), encoding="utf-8")
    print(f"wrote {PICTURE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

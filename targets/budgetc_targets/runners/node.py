"""WebAssembly runs under Node.js, for its results; a browser's times are its own."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

_WASI = Path(__file__).with_name("wasi.mjs")


@dataclass(frozen=True)
class Node:
    """Runs programs in JavaScript as they are, and programs in WebAssembly with WASI as their system."""

    name: ClassVar[str] = "node"

    @property
    def why_not(self) -> str:
        """Why programs cannot be run here, or nothing."""
        if shutil.which("node"):
            return ""
        return "node is not installed (Debian and Ubuntu: apt-get install nodejs; 18 or later)"

    def command(self, program: Path) -> list[str] | None:
        """Node with the program, or None where there is no Node."""
        node = shutil.which("node")
        if node is None:
            return None
        if program.suffix == ".mjs":
            return [node, str(program)]
        return [node, "--no-warnings", str(_WASI), str(program)]

"""Programs for this machine run as they are."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Local:
    """Runs programs directly. For targets whose capability sheet says `native`."""

    name: str = "local"
    why_not: str = ""

    def command(self, program: Path) -> list[str] | None:
        """The program itself."""
        return [str(program)]

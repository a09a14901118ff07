"""Size of an artefact: the bytes to deploy."""

from dataclasses import dataclass
from pathlib import Path

from budgetc.emit.symbols import section_sizes


@dataclass(frozen=True)
class Size:
    """What a library takes to deploy, in bytes.

    Attributes:
        deployed: what the size budget is about: the whole file, shared or static.
        text: of it, machine code.
        rodata: of it, weights and other constants.
        data: of it, initial values of static data.
    """

    deployed: int
    text: int
    rodata: int
    data: int

    @property
    def overhead(self) -> int:
        """Headers, symbol tables and padding."""
        return self.deployed - self.text - self.rodata - self.data


def size_of(library: Path) -> Size:
    """The size of a finished library, stripped as it ships.

    Raises:
        InternalError: the library is not an ELF file or an archive of them.
    """
    parts = section_sizes(library)
    return Size(library.stat().st_size, parts.text, parts.rodata, parts.data)

"""Size of an artefact: the bytes to deploy."""

from dataclasses import dataclass
from pathlib import Path

from budgetc_specs.capability import Capability

from budgetc.cache import cache_folder
from budgetc.emit.firmware.image import image_sizes
from budgetc.emit.symbols import exported_symbols, section_sizes
from budgetc.emit.zig import Zig


@dataclass(frozen=True)
class Size:
    """What a library takes to deploy, in bytes.

    Attributes:
        deployed: what the size budget is about: the whole file, shared or static; without an operating
            system, the flash that a firmware takes more.
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


def size_of(library: Path, capability: Capability) -> Size:
    """The size of a finished library: of the file as it ships, or of what it adds to a firmware's image.

    Raises:
        EnvironmentError_: a firmware is to be linked, and zig is missing.
        InternalError: the library is not an object file or an archive of them.
    """
    if capability.system == "bare":
        api = sorted(exported_symbols(library))
        image = image_sizes(library, api, capability, Zig(cache_folder() / "zig"))
        return Size(image.flash, image.text, image.rodata, image.data)
    parts = section_sizes(library)
    return Size(library.stat().st_size, parts.text, parts.rodata, parts.data)

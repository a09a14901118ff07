"""What an object, library or module says of itself, in whatever format it is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SectionSizes:
    """Bytes of a library by what they are at run time."""

    text: int = 0
    rodata: int = 0
    data: int = 0
    bss: int = 0

    @property
    def flash(self) -> int:
        """Bytes that have to be stored on a device without a file system."""
        return self.text + self.rodata + self.data

    @property
    def static_ram(self) -> int:
        """Bytes of memory that are written and exist once, however many inferences run."""
        return self.data + self.bss

    def __add__(self, other: "SectionSizes") -> "SectionSizes":
        return SectionSizes(
            self.text + other.text,
            self.rodata + other.rodata,
            self.data + other.data,
            self.bss + other.bss,
        )


@dataclass(frozen=True)
class ObjectFile:
    """One object file, shared library or module.

    Attributes:
        sizes: what is loaded of it. What only a dynamic linker needs (symbols, relocations, GOT) is not counted.
        needed: names that it expects others to define.
        offered: names that files linked with it find here.
        exported: those of them that stay visible in what is linked of it.
    """

    sizes: SectionSizes
    needed: frozenset[str]
    offered: frozenset[str]
    exported: frozenset[str]

"""What a library asks for, what it offers and how its bytes divide, read from the ELF file."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from budgetc_specs.errors import InternalError

from budgetc.emit import elf

# Everything a generated library may ask of the system, by the C library that has it. LLVM turns
# loops and intrinsics into calls of the first two groups; the thread pool needs the third.
_LIBC = "memcpy memmove memset memcmp abort"
_LIBM = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1
    fabs floor fma fmax fmin fmod frexp hypot ldexp lgamma llrint llround log log10 log1p log2 logb
    lrint lround modf nearbyint nextafter pow remainder rint round scalbn sin sincos sinh sqrt tan
    tanh tgamma trunc
"""
_THREADS = """
    pthread_create pthread_join pthread_sigmask pthread_attr_init pthread_attr_setstacksize
    pthread_attr_destroy sigfillset syscall sysconf getpid
"""
SYSTEM_SYMBOLS = frozenset(
    _LIBC.split() + _LIBM.split() + [f"{name}f" for name in _LIBM.split()] + _THREADS.split()
)


@dataclass(frozen=True)
class SectionSizes:
    """Bytes of a library by what they are at run time."""

    text: int
    rodata: int
    data: int
    bss: int

    @property
    def flash(self) -> int:
        """Bytes that have to be stored on a device without a file system."""
        return self.text + self.rodata + self.data

    @property
    def static_ram(self) -> int:
        """Bytes of memory that are written and exist once, however many inferences run."""
        return self.data + self.bss


def undefined_symbols(path: Path) -> set[str]:
    """Names that the library, object or archive expects others to define.

    A shared library is read by its dynamic symbols. In an archive, what one member defines for
    another does not count.
    """
    needed: set[str] = set()
    offered: set[str] = set()
    for data in objects_of(path):
        for symbol in _symbols(data):
            if symbol.name and symbol.section == elf.SHN_UNDEF:
                needed.add(symbol.name)
            elif symbol.name and symbol.bind != elf.STB_LOCAL:
                offered.add(symbol.name)
    return needed - offered


def exported_symbols(path: Path) -> set[str]:
    """Names that other objects can bind to."""
    return {s.name for data in objects_of(path) for s in _symbols(data) if s.exported and s.name}


def section_sizes(path: Path) -> SectionSizes:
    """The loaded bytes of a library, object or archive by kind.

    What only the dynamic linker needs (symbols, relocations, GOT) is not counted.
    """
    sizes = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for data in objects_of(path):
        for section in elf.sections(data):
            kind = _kind(section)
            if kind:
                sizes[kind] += section.size
    return SectionSizes(**sizes)


def check_symbols(path: Path, api: Iterable[str]) -> None:
    """Hold a finished library to what it may import and what it must export.

    Raises:
        InternalError: it needs a symbol that libc, libm and libpthread do not have, or exports
            anything but `api`.
    """
    foreign = undefined_symbols(path) - SYSTEM_SYMBOLS
    if foreign:
        raise InternalError(
            f"BUG: {path.name} needs {', '.join(sorted(foreign))}, "
            "which is not in libc, libm or libpthread"
        )
    exported, wanted = exported_symbols(path), set(api)
    if exported != wanted:
        raise InternalError(
            f"BUG: {path.name} exports {', '.join(sorted(exported)) or 'nothing'} "
            f"instead of {', '.join(sorted(wanted))}"
        )


def _kind(section: elf.Section) -> str | None:
    if not section.flags & elf.SHF_ALLOC or section.name == ".relro_padding":
        return None
    if section.flags & elf.SHF_EXECINSTR:
        return "text"
    if section.name.startswith(".rodata"):
        return "rodata"
    if section.type == elf.SHT_NOBITS:
        return "bss"
    if section.name.startswith((".data", ".fini_array", ".init_array")):
        return "data"
    return None


def _symbols(data: bytes) -> tuple[elf.Symbol, ...]:
    """The dynamic symbols where there are any, else the full table."""
    found = elf.sections(data)
    for kind in (elf.SHT_DYNSYM, elf.SHT_SYMTAB):
        for section in found:
            if section.type == kind:
                return elf.symbols(data, section, found)
    return ()


def objects_of(path: Path) -> list[bytes]:
    """The ELF files in `path`: itself, or the members of an archive."""
    data = path.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        return [data]
    members = []
    at = 8
    while at + 60 <= len(data):
        size = int(data[at + 48 : at + 58])
        body = data[at + 60 : at + 60 + size]
        if body.startswith(b"\x7fELF"):
            members.append(body)
        at += 60 + size + size % 2
    return members

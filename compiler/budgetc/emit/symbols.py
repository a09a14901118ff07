"""What a library asks for, what it offers and how its bytes divide, read from the file."""

from collections.abc import Iterable
from pathlib import Path

from budgetc_specs.errors import InternalError

from budgetc.emit import elf, wasm
from budgetc.emit.object_file import ObjectFile, SectionSizes

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
MATHEMATICAL = frozenset(_LIBM.split() + [f"{name}f" for name in _LIBM.split()])
"""Those of libm."""

SYSTEM_SYMBOLS = MATHEMATICAL.union(_LIBC.split(), _THREADS.split())


_READERS = {b"\x7fELF": elf.object_file, b"\0asm": wasm.object_file}
"""By the first four bytes of a file."""


def undefined_symbols(path: Path) -> set[str]:
    """Names that the library, object or archive expects others to define.

    A shared library is read by its dynamic symbols. In an archive, what one member defines for
    another does not count.
    """
    parts = _parts(path)
    return {n for part in parts for n in part.needed} - {n for part in parts for n in part.offered}


def exported_symbols(path: Path) -> set[str]:
    """Names that other objects can bind to."""
    return {name for part in _parts(path) for name in part.exported}


def section_sizes(path: Path) -> SectionSizes:
    """The loaded bytes of a library, object or archive by kind.

    What only the dynamic linker needs (symbols, relocations, GOT) is not counted.
    """
    return sum((part.sizes for part in _parts(path)), SectionSizes())


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


def _parts(path: Path) -> list[ObjectFile]:
    """What each file in `path` says of itself.

    Raises:
        InternalError: one is neither ELF nor WebAssembly, or is cut short.
    """
    return [read_object(data) for data in objects_of(path)]


def read_object(data: bytes) -> ObjectFile:
    """What an object, library or module says of itself.

    Raises:
        InternalError: it is neither ELF nor WebAssembly, or is cut short.
    """
    read = _READERS.get(data[:4])
    if read is None:
        raise InternalError("BUG: neither an ELF file nor a WebAssembly module")
    return read(data)


def objects_of(path: Path) -> list[bytes]:
    """The object files in `path`: itself, or the members of an archive."""
    data = path.read_bytes()
    if not data.startswith(b"!<arch>\n"):
        return [data]
    members = []
    at = 8
    while at + 60 <= len(data):
        size = int(data[at + 48 : at + 58])
        body = data[at + 60 : at + 60 + size]
        if body[:4] in _READERS:
            members.append(body)
        at += 60 + size + size % 2
    return members

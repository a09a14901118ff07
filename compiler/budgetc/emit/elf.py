"""Reading 64-bit little-endian ELF files: sections and symbols, and nothing else."""

import struct
from dataclasses import dataclass

from budgetc_specs.errors import InternalError

SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_DYNSYM, SHT_GROUP = 2, 3, 4, 8, 11, 17
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_UNDEF = 0
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STV_DEFAULT, STV_PROTECTED = 0, 3
STT_FUNC, STT_SECTION, STT_FILE = 2, 3, 4
EM_X86_64, EM_AARCH64 = 62, 183

SECTION_STRUCT = struct.Struct("<IIQQQQIIQQ")
SYMBOL_STRUCT = struct.Struct("<IBBHQQ")
RELA_STRUCT = struct.Struct("<QQq")


@dataclass(frozen=True)
class Section:
    """One section header, with its name resolved and the file offset of the header itself."""

    header: int
    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    address: int = 0


@dataclass(frozen=True)
class Symbol:
    """One entry of a symbol table; `value` counts from where the section's address does, which in an object is 0."""

    name: str
    bind: int
    kind: int
    visibility: int
    section: int
    value: int = 0
    size: int = 0

    @property
    def exported(self) -> bool:
        """Whether other objects may bind to this definition."""
        return (
            self.section != SHN_UNDEF
            and self.bind != STB_LOCAL
            and self.visibility in (STV_DEFAULT, STV_PROTECTED)
        )


def sections(data: bytes) -> tuple[Section, ...]:
    """The section headers of an ELF file.

    Raises:
        InternalError: not a 64-bit little-endian ELF file, or cut short.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise InternalError("BUG: not a 64-bit little-endian ELF file")
    try:
        start = struct.unpack_from("<Q", data, 0x28)[0]
        count, names = struct.unpack_from("<HH", data, 0x3C)
        raw = [
            SECTION_STRUCT.unpack_from(data, start + i * SECTION_STRUCT.size) for i in range(count)
        ]
    except struct.error as error:
        raise InternalError(f"BUG: ELF file of {len(data)} bytes is cut short") from error
    table = raw[names][4] if raw else 0
    return tuple(
        Section(
            header=start + number * SECTION_STRUCT.size,
            name=text(data, table + name),
            type=kind,
            flags=flags,
            offset=offset,
            size=size,
            link=link,
            info=info,
            address=address,
        )
        for number, (name, kind, flags, address, offset, size, link, info, _, _) in enumerate(raw)
    )


def symbols(data: bytes, table: Section, all_sections: tuple[Section, ...]) -> tuple[Symbol, ...]:
    """The entries of one symbol table, in file order, the null entry included."""
    strings = all_sections[table.link].offset
    entries = SYMBOL_STRUCT.iter_unpack(data[table.offset : table.offset + table.size])
    return tuple(
        Symbol(text(data, strings + name), info >> 4, info & 15, other & 3, section, value, size)
        for name, info, other, section, value, size in entries
    )


def text(data: bytes, offset: int) -> str:
    """The zero-terminated string at `offset`."""
    return data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")

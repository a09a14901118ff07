"""Reading little-endian ELF files of 32 and 64 bits: sections and symbols, and what they say of the file."""

import struct
from dataclasses import dataclass

from budgetc_specs.errors import InternalError

from budgetc.emit.object_file import ObjectFile, SectionSizes

SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_REL = 2, 3, 4, 8, 9
SHT_DYNSYM, SHT_GROUP = 11, 17
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR = 1, 2, 4
SHN_UNDEF = 0
STB_LOCAL, STB_GLOBAL, STB_WEAK = 0, 1, 2
STV_DEFAULT, STV_PROTECTED = 0, 3
STT_FUNC, STT_SECTION, STT_FILE = 2, 3, 4
EM_ARM, EM_X86_64, EM_AARCH64, EM_RISCV = 40, 62, 183, 243


@dataclass(frozen=True)
class Format:
    """What differs between ELF files of 32 and of 64 bits.

    Attributes:
        offsets: of the section table's place, and of the pair of its length and its names' section, in the header.
        word: struct code of an address.
        section: one entry of the section table.
        info_at: where `sh_info` lies in it.
        symbol: one entry of a symbol table.
        fields: the place of name, value, size, info, other and section in it.
        rel: one relocation, `info` second.
        rela: one relocation with an addend.
        symbol_shift: bits of `info` below the symbol's number.
    """

    offsets: tuple[int, int]
    word: struct.Struct
    section: struct.Struct
    info_at: int
    symbol: struct.Struct
    fields: tuple[int, int, int, int, int, int]
    rel: struct.Struct
    rela: struct.Struct
    symbol_shift: int

    def bytes_of(self, field: int) -> int:
        """Where a field of a symbol begins: 3 for `info`, 4 for `other`."""
        before = self.symbol.format[1 : 1 + self.fields[field]]
        return struct.calcsize(f"<{before}")


_FORMATS = {
    1: Format(
        offsets=(0x20, 0x30),
        word=struct.Struct("<I"),
        section=struct.Struct("<IIIIIIIIII"),
        info_at=28,
        symbol=struct.Struct("<IIIBBH"),
        fields=(0, 1, 2, 3, 4, 5),
        rel=struct.Struct("<II"),
        rela=struct.Struct("<IIi"),
        symbol_shift=8,
    ),
    2: Format(
        offsets=(0x28, 0x3C),
        word=struct.Struct("<Q"),
        section=struct.Struct("<IIQQQQIIQQ"),
        info_at=44,
        symbol=struct.Struct("<IBBHQQ"),
        fields=(0, 4, 5, 1, 2, 3),
        rel=struct.Struct("<QQ"),
        rela=struct.Struct("<QQq"),
        symbol_shift=32,
    ),
}
"""By the class byte of the header."""

_READ_ONLY, _WRITTEN = (".rodata", ".srodata"), (".data", ".sdata", ".fini_array", ".init_array")
"""Beginnings of section names; RISC-V keeps small data apart, with an `s` before its name."""


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


def format_of(data: bytes) -> Format:
    """The format of an ELF file, by its first bytes.

    Raises:
        InternalError: not a little-endian ELF file.
    """
    found = _FORMATS.get(data[4]) if data[:4] == b"\x7fELF" and data[5:6] == b"\x01" else None
    if found is None:
        raise InternalError("BUG: not a little-endian ELF file")
    return found


def machine_of(data: bytes) -> int:
    """The machine that an ELF file is for, one of `EM_...`."""
    return int.from_bytes(data[0x12:0x14], "little")


def sections(data: bytes) -> tuple[Section, ...]:
    """The section headers of an ELF file.

    Raises:
        InternalError: not a little-endian ELF file, or cut short.
    """
    form = format_of(data)
    table_at, count_at = form.offsets
    try:
        (start,) = form.word.unpack_from(data, table_at)
        count, names = struct.unpack_from("<HH", data, count_at)
        raw = [form.section.unpack_from(data, start + i * form.section.size) for i in range(count)]
    except struct.error as error:
        raise InternalError(f"BUG: ELF file of {len(data)} bytes is cut short") from error
    table = raw[names][4] if raw else 0
    return tuple(
        Section(
            header=start + number * form.section.size,
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
    form = format_of(data)
    strings = all_sections[table.link].offset
    found = []
    for entry in form.symbol.iter_unpack(data[table.offset : table.offset + table.size]):
        name, value, size, info, other, section = (entry[at] for at in form.fields)
        label = text(data, strings + name)
        found.append(Symbol(label, info >> 4, info & 15, other & 3, section, value, size))
    return tuple(found)


def object_file(data: bytes) -> ObjectFile:
    """What an ELF file says of itself; a shared library is read by its dynamic symbols.

    Raises:
        InternalError: not a little-endian ELF file, or cut short.
    """
    found = sections(data)
    sizes = dict.fromkeys(("text", "rodata", "data", "bss"), 0)
    for section in found:
        kind = _kind(section)
        if kind:
            sizes[kind] += section.size
    named = [s for s in _linked_symbols(data, found) if s.name]
    return ObjectFile(
        SectionSizes(**sizes),
        needed=frozenset(s.name for s in named if s.section == SHN_UNDEF),
        offered=frozenset(s.name for s in named if s.section != SHN_UNDEF and s.bind != STB_LOCAL),
        exported=frozenset(s.name for s in named if s.exported),
    )


def _kind(section: Section) -> str | None:
    if not section.flags & SHF_ALLOC or section.name == ".relro_padding":
        return None
    if section.flags & SHF_EXECINSTR:
        return "text"
    if section.name.startswith(_READ_ONLY):
        return "rodata"
    if section.type == SHT_NOBITS:
        return "bss"
    return "data" if section.name.startswith(_WRITTEN) else None


def _linked_symbols(data: bytes, found: tuple[Section, ...]) -> tuple[Symbol, ...]:
    """The dynamic symbols where there are any, else the full table."""
    for kind in (SHT_DYNSYM, SHT_SYMTAB):
        for section in found:
            if section.type == kind:
                return symbols(data, section, found)
    return ()


def text(data: bytes, offset: int) -> str:
    """The zero-terminated string at `offset`."""
    return data[offset : data.index(b"\0", offset)].decode("utf-8", "replace")

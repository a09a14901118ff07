"""Hiding the inner symbols of a relocatable object, so that two models link into one program."""

import struct
from collections.abc import Iterable

from budgetc_specs.errors import InternalError

from budgetc.emit import elf


def localise(data: bytes, keep: Iterable[str]) -> bytes:
    """Make every defined global symbol but `keep` local.

    ELF wants local symbols before global ones, so the symbol table is reordered and every
    relocation that counts entries of it is renumbered. Nothing else in the file moves.

    Args:
        data: a relocatable ELF64 object as the linker's partial link writes it.
        keep: names that stay visible.

    Raises:
        InternalError: the object has a construct that this rewriting does not cover.
    """
    kept = set(keep)
    sections = elf.sections(data)
    tables = [s for s in sections if s.type == elf.SHT_SYMTAB]
    if len(tables) != 1 or any(s.type == elf.SHT_GROUP for s in sections):
        raise InternalError("BUG: the object has section groups or not exactly one symbol table")
    table = tables[0]
    symbols = elf.symbols(data, table, sections)
    missing = kept - {s.name for s in symbols if s.exported}
    if missing:
        raise InternalError(f"BUG: the object does not define {', '.join(sorted(missing))}")

    def is_local(number: int) -> bool:
        symbol = symbols[number]
        hidden = symbol.section != elf.SHN_UNDEF and symbol.name not in kept
        return symbol.bind == elf.STB_LOCAL or hidden

    order = sorted(range(len(symbols)), key=lambda number: not is_local(number))
    renumbered = {old: new for new, old in enumerate(order)}
    result = bytearray(data)
    size = elf.SYMBOL_STRUCT.size
    for new, old in enumerate(order):
        entry = bytearray(data[table.offset + old * size : table.offset + (old + 1) * size])
        if is_local(old):
            entry[4] &= 15  # the binding is the upper half; 0 is local
            entry[5] = elf.STV_DEFAULT
        result[table.offset + new * size : table.offset + (new + 1) * size] = entry
    locals_ = sum(is_local(number) for number in range(len(symbols)))
    struct.pack_into("<I", result, table.header + 44, locals_)  # sh_info: index of the first global
    for section in sections:
        if section.type == elf.SHT_RELA:
            _renumber(result, section, renumbered)
    return bytes(result)


def _renumber(data: bytearray, section: elf.Section, renumbered: dict[int, int]) -> None:
    for at in range(section.offset, section.offset + section.size, elf.RELA_STRUCT.size):
        where, info, addend = elf.RELA_STRUCT.unpack_from(data, at)
        info = renumbered[info >> 32] << 32 | info & 0xFFFFFFFF
        elf.RELA_STRUCT.pack_into(data, at, where, info, addend)

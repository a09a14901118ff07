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
        data: a relocatable ELF object as the linker's partial link writes it.
        keep: names that stay as visible as they are.

    Raises:
        InternalError: the object has a construct that this rewriting does not cover.
    """
    kept = set(keep)
    form, sections = elf.format_of(data), elf.sections(data)
    tables = [s for s in sections if s.type == elf.SHT_SYMTAB]
    if len(tables) != 1 or any(s.type == elf.SHT_GROUP for s in sections):
        raise InternalError("BUG: the object has section groups or not exactly one symbol table")
    table = tables[0]
    symbols = elf.symbols(data, table, sections)
    missing = kept - elf.object_file(data).offered
    if missing:
        raise InternalError(f"BUG: the object does not define {', '.join(sorted(missing))}")

    def is_local(number: int) -> bool:
        symbol = symbols[number]
        hidden = symbol.section != elf.SHN_UNDEF and symbol.name not in kept
        return symbol.bind == elf.STB_LOCAL or hidden

    order = sorted(range(len(symbols)), key=lambda number: not is_local(number))
    renumbered = {old: new for new, old in enumerate(order)}
    result = bytearray(data)
    size, info, other = form.symbol.size, form.bytes_of(3), form.bytes_of(4)
    for new, old in enumerate(order):
        entry = bytearray(data[table.offset + old * size : table.offset + (old + 1) * size])
        if is_local(old):
            entry[info] &= 15  # the binding is the upper half; 0 is local
            entry[other] = elf.STV_DEFAULT
        result[table.offset + new * size : table.offset + (new + 1) * size] = entry
    locals_ = sum(is_local(number) for number in range(len(symbols)))
    # sh_info of a symbol table: the index of the first global symbol
    struct.pack_into("<I", result, table.header + form.info_at, locals_)
    entries = {elf.SHT_REL: form.rel, elf.SHT_RELA: form.rela}
    for section in sections:
        if section.type in entries:
            _renumber(result, section, entries[section.type], form.symbol_shift, renumbered)
    return bytes(result)


def _renumber(
    data: bytearray,
    section: elf.Section,
    entry: struct.Struct,
    shift: int,
    renumbered: dict[int, int],
) -> None:
    kinds = (1 << shift) - 1
    for at in range(section.offset, section.offset + section.size, entry.size):
        where, info, *addend = entry.unpack_from(data, at)
        info = renumbered[info >> shift] << shift | info & kinds
        entry.pack_into(data, at, where, info, *addend)

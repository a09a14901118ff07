"""How much stack a function takes, read from the instructions that move the stack pointer.

Compilers move it where a function begins and nowhere else, but for what they push. Calls of a kernel go no deeper than
into the C library, whose functions are not counted.
"""

import struct
from collections.abc import Collection, Iterator

from budgetc.emit import elf

_MOST = 1 << 24
"""Bytes that no frame of ours has: such a number is no instruction that was meant."""


def deepest_frame(data: bytes, names: Collection[str] = ()) -> int:
    """Bytes of the largest frame among the functions that an ELF file names, with the address to return to.

    In an object these are all functions; in a stripped library, those that it exports. 0 where there are none, and for
    a machine whose instructions are not known here.

    Args:
        data: the file.
        names: of the functions; all if empty.
    """
    machine = struct.unpack_from("<H", data, 0x12)[0]
    read = {elf.EM_X86_64: _x86_64, elf.EM_AARCH64: _aarch64}.get(machine)
    if read is None:
        return 0
    return max(map(read, _functions(data, names)), default=0)


def _functions(data: bytes, names: Collection[str]) -> Iterator[bytes]:
    """The code of each function that is asked for."""
    sections = elf.sections(data)
    for table in (s for s in sections if s.type in (elf.SHT_SYMTAB, elf.SHT_DYNSYM)):
        for symbol in elf.symbols(data, table, sections):
            wanted = symbol.kind == elf.STT_FUNC and (not names or symbol.name in names)
            if wanted and 0 < symbol.section < len(sections):
                section = sections[symbol.section]
                at = section.offset + symbol.value - section.address
                yield data[at : at + symbol.size]


def _x86_64(code: bytes) -> int:
    """Pushes of its first instructions, what is subtracted, and what may be lost in rounding down."""
    depth, at = 8, 0
    while at < len(code):
        if 0x50 <= code[at] <= 0x57:  # push
            depth, at = depth + 8, at + 1
        elif code[at] == 0x41 and 0x50 <= code[at + 1] <= 0x57:
            depth, at = depth + 8, at + 2
        elif code[at : at + 3] == b"\x48\x89\xe5":  # mov rbp, rsp
            at += 3
        else:
            break
    for start in _places(code, b"\x48\x81\xec"):  # sub rsp, imm32
        size = int.from_bytes(code[start + 3 : start + 7], "little")
        depth += size if size < _MOST else 0
    for start in _places(code[: at + 64], b"\x48\x83\xec"):  # sub rsp, imm8
        depth += code[start + 3] if start + 3 < len(code) else 0
    for start in _places(code[: at + 64], b"\x48\x83\xe4"):  # and rsp, -imm8
        depth += 256 - code[start + 3] - 8 if start + 3 < len(code) else 0
    return depth


def _aarch64(code: bytes) -> int:
    """What is subtracted and what stores move the pointer by."""
    depth = 0
    for (word,) in struct.iter_unpack("<I", code[: len(code) // 4 * 4]):
        if word & 0xFF8003FF == 0xD10003FF:  # sub sp, sp, imm
            depth += (word >> 10 & 0xFFF) << (12 if word >> 22 & 1 else 0)
        elif word & 0xFFC003E0 in (0xA98003E0, 0x6D8003E0, 0xAD8003E0):
            pair = word >> 15 & 0x7F  # stp a, b, [sp, -imm]!
            unit = 16 if word >> 30 == 2 and word >> 26 & 1 else 8
            depth += (128 - pair) * unit if pair & 0x40 else 0
        elif word & 0xFFE00FE0 == 0xF8000FE0:  # str a, [sp, -imm]!
            single = word >> 12 & 0x1FF
            depth += 512 - single if single & 0x100 else 0
    return depth


def _places(code: bytes, what: bytes) -> Iterator[int]:
    at = code.find(what)
    while at >= 0:
        yield at
        at = code.find(what, at + 1)

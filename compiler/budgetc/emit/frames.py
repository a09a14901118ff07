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
    a file or a machine whose instructions are not known here.

    Args:
        data: the file.
        names: of the functions; all if empty.
    """
    if not data.startswith(b"\x7fELF"):
        return 0
    read = _MACHINES.get(elf.machine_of(data))
    if read is None:
        return 0
    return max((read(*function) for function in _functions(data, names)), default=0)


def _functions(data: bytes, names: Collection[str]) -> Iterator[tuple[bytes, bool]]:
    """The code of each function that is asked for, and whether its address is odd, as that of Thumb code is."""
    sections = elf.sections(data)
    for table in (s for s in sections if s.type in (elf.SHT_SYMTAB, elf.SHT_DYNSYM)):
        for symbol in elf.symbols(data, table, sections):
            wanted = symbol.kind == elf.STT_FUNC and (not names or symbol.name in names)
            if wanted and 0 < symbol.section < len(sections):
                section, odd = sections[symbol.section], symbol.value & 1
                at = section.offset + symbol.value - odd - section.address
                yield data[at : at + symbol.size], bool(odd)


def _x86_64(code: bytes, _odd: bool) -> int:
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


def _aarch64(code: bytes, _odd: bool) -> int:
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


def _arm(code: bytes, odd: bool) -> int:
    """What is pushed and subtracted, in either instruction set."""
    depth, registers = 0, dict[int, int]()
    for at, word, size in _thumb_words(code) if odd else _words(code):
        if size == 2:
            depth += _half_subtracted(word, at, code, registers)
        elif word & 0xFFFF0000 == 0xE92D0000:  # push of a list, the same in both
            depth += 4 * (word & 0xFFFF).bit_count()
        elif word & 0xFFBF0E00 == 0xED2D0A00:  # vpush, in words
            depth += 4 * (word & 0xFF)
        elif word in (0xE52DE004, 0xF84DED04):  # str lr, [sp, -4]!
            depth += 4
        else:
            depth += (_thumb_subtracted if odd else _arm_subtracted)(word, registers)
    return depth


def _half_subtracted(half: int, at: int, code: bytes, registers: dict[int, int]) -> int:
    """Bytes that an instruction of 16 bits takes from sp; what it loads into a register is noted."""
    if half & 0xFE00 == 0xB400:  # push, and lr in bit 8
        return 4 * (half & 0x1FF).bit_count()
    if half & 0xFF80 == 0xB080:  # sub sp, imm
        return 4 * (half & 127)
    if half & 0xF800 == 0x4800:  # ldr from beside the code
        place = (at + 4) // 4 * 4 + 4 * (half & 255)
        registers[half >> 8 & 7] = int.from_bytes(code[place : place + 4], "little", signed=True)
    elif half & 0xFF87 == 0x4485:  # add sp, register
        return max(0, -registers.get(half >> 3 & 15, 0))
    return 0


def _arm_subtracted(word: int, registers: dict[int, int]) -> int:
    """Bytes that an instruction takes from sp; what it loads into a register is noted."""
    immediate, target = word >> 4 & 0xF000 | word & 0xFFF, word >> 12 & 15
    if word & 0xFFF00000 == 0xE3000000:  # movw
        registers[target] = immediate
    elif word & 0xFFF00000 == 0xE3400000:  # movt
        registers[target] = registers.get(target, 0) | immediate << 16
    elif word & 0xFFFFF000 == 0xE3A00000 | target << 12:  # mov of a rotated byte
        registers[target] = _rotated(word)
    elif word & 0xFFFFF000 == 0xE24DD000:  # sub sp, sp, imm
        return _rotated(word)
    elif word & 0xFFFFFFF0 == 0xE04DD000:  # sub sp, sp, register
        return registers.get(word & 15, 0)
    elif word & 0xFFE0007F == 0xE7C0001F:  # bfc: rounding down
        return (1 << (word >> 16 & 31) + 1) - 8
    return 0


def _rotated(word: int) -> int:
    """The byte of an A32 instruction, turned right by twice the four bits before it."""
    byte, turn = word & 255, 2 * (word >> 8 & 15)
    return (byte >> turn | byte << 32 - turn) & 0xFFFFFFFF


def _thumb_subtracted(word: int, registers: dict[int, int]) -> int:
    """The same for an instruction of Thumb-2, its first half-word in the upper half."""
    twelve, target = word >> 15 & 0x800 | word >> 4 & 0x700 | word & 255, word >> 8 & 15
    if word & 0xFBF08000 == 0xF2400000:  # movw
        registers[target] = word >> 4 & 0xF000 | twelve
    elif word & 0xFBF08000 == 0xF2C00000:  # movt
        registers[target] = registers.get(target, 0) | (word >> 4 & 0xF000 | twelve) << 16
    elif word & 0xFBEF8F00 == 0xF1AD0D00:  # sub sp, sp, a byte at some place
        return _placed(twelve)
    elif word & 0xFBFF8F00 == 0xF2AD0D00:  # sub sp, sp, twelve bits
        return twelve
    elif word & 0xFFFFFFF0 == 0xEBAD0D00:  # sub sp, sp, register
        return registers.get(word & 15, 0)
    elif word & 0xFFFF8020 == 0xF36F0000:  # bfc: rounding down
        return (1 << (word & 31) + 1) - 8
    return 0


def _placed(twelve: int) -> int:
    """The number that twelve bits of a Thumb-2 instruction stand for, where no byte of it is repeated."""
    turn = twelve >> 7
    return (twelve & 127 | 128) << 32 - turn if turn >= 8 else twelve & 255


def _thumb_words(code: bytes) -> Iterator[tuple[int, int, int]]:
    """Place, bits and size of each instruction."""
    at = 0
    while at + 2 <= len(code):
        half = int.from_bytes(code[at : at + 2], "little")
        if half >> 11 < 0b11101:
            yield at, half, 2
            at += 2
        else:
            yield at, half << 16 | int.from_bytes(code[at + 2 : at + 4], "little"), 4
            at += 4


def _words(code: bytes) -> Iterator[tuple[int, int, int]]:
    for at, (word,) in enumerate(struct.iter_unpack("<I", code[: len(code) // 4 * 4])):
        yield 4 * at, word, 4


def _riscv(code: bytes, _odd: bool) -> int:
    """What is added to sp and subtracted from it, as far as registers hold constants.

    Vectors are spilled by the length of a register, which is taken to be the least, 16 bytes.
    """
    depth, at, known = 0, 0, dict[int, int]()
    while at + 2 <= len(code):
        half = int.from_bytes(code[at : at + 2], "little")
        size = 4 if half & 3 == 3 else 2
        word = int.from_bytes(code[at : at + size], "little")
        depth += _riscv_compressed(word, known) if size == 2 else _riscv_whole(word, known)
        at += size
    return depth


def _riscv_whole(word: int, known: dict[int, int]) -> int:
    code, target, source = word & 0x707F, word >> 7 & 31, word >> 15 & 31
    immediate = _signed(word >> 20, 12)
    if code == 0x13 and target == source == 2:  # addi sp, sp, imm
        return max(0, -immediate)
    if word & 0xFE0FFFFF == 0x40010133:  # sub sp, sp, register
        return known.get(word >> 20 & 31, 0)
    if word & 127 == 0x37:  # lui
        known[target] = _signed(word >> 12, 20) << 12
    elif code in (0x13, 0x1B):  # addi, addiw
        known[target] = (known.get(source, 0) if source else 0) + immediate
    elif code == 0x1013:  # slli
        known[target] = known.get(source, 0) << (word >> 20 & 63)
    elif word & 0xFFFFF07F == 0xC2202073:  # csrr of vlenb
        known[target] = 16
    elif word & 0xFE00707F == 0x33:  # add
        known[target] = known.get(source, 0) + known.get(word >> 20 & 31, 0)
    return 0


def _riscv_compressed(half: int, known: dict[int, int]) -> int:
    code, target = half & 0xE003, half >> 7 & 31
    six = _signed(half >> 7 & 32 | half >> 2 & 31, 6)
    if code == 0x6001 and target == 2:  # c.addi16sp
        high = half >> 3 & 0x200 | half << 4 & 0x180 | half << 1 & 0x40
        return max(0, -_signed(high | half << 3 & 0x20 | half >> 2 & 0x10, 10))
    if code == 0x0001 and target == 2:  # c.addi
        return max(0, -six)
    if code == 0x4001:  # c.li
        known[target] = six
    elif code == 0x6001:  # c.lui
        known[target] = six << 12
    elif code in (0x0001, 0x2001):  # c.addi, c.addiw
        known[target] = known.get(target, 0) + six
    elif code == 0x0002:  # c.slli
        known[target] = known.get(target, 0) << (half >> 7 & 32 | half >> 2 & 31)
    elif half & 0xF003 == 0x9002 and half >> 2 & 31:  # c.add
        known[target] = known.get(target, 0) + known.get(half >> 2 & 31, 0)
    return 0


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 & 1 else value


def _places(code: bytes, what: bytes) -> Iterator[int]:
    at = code.find(what)
    while at >= 0:
        yield at
        at = code.find(what, at + 1)


_MACHINES = {
    elf.EM_X86_64: _x86_64,
    elf.EM_AARCH64: _aarch64,
    elf.EM_ARM: _arm,
    elf.EM_RISCV: _riscv,
}
"""How much stack a function's code takes, by the machine."""

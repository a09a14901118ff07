"""Linking a firmware for a board, and what a library adds to its image."""

import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from budgetc_specs.capability import Capability
from budgetc_targets.contract import MemoryMap, Region

from budgetc.emit.link import machine
from budgetc.emit.object_file import SectionSizes
from budgetc.emit.symbols import section_sizes
from budgetc.emit.zig import Zig

_SCRIPT = """ENTRY(reset)
MEMORY {{
  VECTORS (rx): ORIGIN = {vectors}, LENGTH = 1K
  ROM (rx): ORIGIN = {rom.origin}, LENGTH = {rom.length}
  RAM (rw): ORIGIN = {ram.origin}, LENGTH = {ram.length}
}}
SECTIONS {{
  .vectors : {{ KEEP(*(.vectors)) }} > VECTORS
  .text : {{ *(.text .text.*) }} > ROM
  .rodata : {{ *(.rodata .rodata.*) . = ALIGN(8); }} > ROM
  .data : {{ data_start = .; *(.data .data.*) . = ALIGN(4); data_end = .; }} > RAM AT> ROM
  data_load = LOADADDR(.data);
  .bss (NOLOAD) : {{ bss_start = .; *(.bss .bss.* COMMON) . = ALIGN(16); bss_end = .; }} > RAM
  heap_start = bss_end;
  heap_end = ORIGIN(RAM) + LENGTH(RAM) - {stack};
  stack_top = ORIGIN(RAM) + LENGTH(RAM);
  /DISCARD/ : {{ *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.* .comment .debug_* .llvm_addrsig) }}
}}
"""
STACK_BYTES = 64 * 1024


_SOURCES = ("board.c", "board.h", "harness.c")


def firmware_sources() -> bytes:
    """All that a firmware is made of besides the library: what a kept one depends on."""
    package = resources.files("budgetc.emit.firmware")
    texts = [package.joinpath(name).read_bytes() for name in _SOURCES]
    return b"\0".join([*texts, _SCRIPT.encode()])


def image_sizes(
    library: Path, api: Sequence[str], capability: Capability, zig: Zig
) -> SectionSizes:
    """What a library adds to the image of a firmware that calls it: a linked one less one without it.

    What the library needs of libc and libm is in it; nothing of the library that its functions do not reach is.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: the library does not link.
    """
    with tempfile.TemporaryDirectory(prefix="budgetc-image-") as temporary:
        folder = Path(temporary)
        (folder / "main.c").write_text("int main(void) { return 0; }\n")
        found = []
        for number, parts in enumerate(([library], [])):
            image = folder / f"image{number}.elf"
            roots = [f"-Wl,-u,{name}" for name in api] if parts else []
            link_firmware([folder / "main.c"], parts, capability, _ROOMY, image, zig, roots)
            found.append(section_sizes(image))
    with_it, without = found
    return SectionSizes(
        *(getattr(with_it, f) - getattr(without, f) for f in ("text", "rodata", "data", "bss"))
    )


_ROOMY = MemoryMap(rom=Region(0, 256 << 20), ram=Region(0x2000_0000, 256 << 20))


def link_firmware(
    sources: Sequence[Path],
    parts: Sequence[Path],
    capability: Capability,
    board: MemoryMap,
    out: Path,
    zig: Zig,
    flags: Sequence[str] = (),
) -> None:
    """Compile C sources with the code that starts them and link a program that a board's core starts from.

    Args:
        sources: C files with a `main`, which may include `board.h`.
        parts: objects and static libraries.
        capability: the target's sheet.
        board: where its memory lies.
        out: the ELF file to write.
        zig: the toolchain.
        flags: further ones for the C compiler.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: the sources do not compile, or what they need is not there or does not fit.
    """
    package = resources.files("budgetc.emit.firmware")
    with tempfile.TemporaryDirectory(prefix="budgetc-firmware-") as temporary:
        folder = Path(temporary)
        for name in ("board.c", "board.h"):
            (folder / name).write_bytes(package.joinpath(name).read_bytes())
        rom = board.rom
        if board.vectors == rom.origin:  # the table is the first that lies in it
            rom = type(rom)(rom.origin + 1024, rom.length - 1024)
        (folder / "board.ld").write_text(
            _SCRIPT.format(vectors=board.vectors, rom=rom, ram=board.ram, stack=STACK_BYTES)
        )
        for source in sources:
            (folder / source.name).write_bytes(source.read_bytes())
        zig.run(
            "cc",
            *machine(capability),
            *("-std=c23", "-O2", "-g0", "-fno-sanitize=all", "-ffunction-sections"),
            *("-fdata-sections", "-Wl,--gc-sections", "-Wl,-e,reset", "-T", "board.ld"),
            *flags,
            *(source.name for source in sources),
            "board.c",
            *(part.resolve() for part in parts),
            *("-o", "firmware.elf"),
            cwd=folder,
        )
        (folder / "firmware.elf").replace(out)

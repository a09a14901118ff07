"""Linking kernels and driver into the library that ships, with nothing in it that is not needed."""

import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from budgetc_specs.capability import Capability

from budgetc.emit.relocatable import localise
from budgetc.emit.symbols import check_symbols
from budgetc.emit.zig import Zig

Kind = Literal["shared", "static"]

# Sections that only describe code to debuggers and unwinders. No exception can pass through a
# kernel.
_DISCARD = "/DISCARD/ : { *(.debug_* .eh_frame .eh_frame_hdr .comment .llvm_addrsig .note.gnu.*) }"
# Each change of permission starts on a page of its own in memory but at the next byte in the file.
_NEXT_PAGE = ". = ALIGN(CONSTANT(MAXPAGESIZE)) + (. & (CONSTANT(MAXPAGESIZE) - 1));"
_SHARED_SCRIPT = f"""SECTIONS {{
  . = SIZEOF_HEADERS;
  .dynsym : {{ *(.dynsym) }}
  .gnu.version : {{ *(.gnu.version) }}
  .gnu.version_r : {{ *(.gnu.version_r) }}
  .gnu.hash : {{ *(.gnu.hash) }}
  .dynstr : {{ *(.dynstr) }}
  .rela.dyn : {{ *(.rela.dyn) }}
  .rela.plt : {{ *(.rela.plt) }}
  .rodata : {{ *(.rodata .rodata.*) }}
  {_NEXT_PAGE}
  .text : {{ *(.text .text.*) }}
  .plt : {{ *(.plt) }}
  {_NEXT_PAGE}
  .data.rel.ro : {{ *(.data.rel.ro .data.rel.ro.*) }}
@FINI@  .dynamic : {{ *(.dynamic) }}
  .got : {{ *(.got) }}
  .got.plt : {{ *(.got.plt) }}
  .data : {{ *(.data .data.*) }}
  .bss : {{ *(.bss .bss.* COMMON) }}
  {_DISCARD}
}}
"""
_FINI = "  .fini_array : { KEEP(*(.fini_array .fini_array.*)) }\n"
_STATIC_SCRIPT = f"""SECTIONS {{
  .rodata : {{ *(.rodata .rodata.*) }}
  .text : {{ *(.text .text.*) }}
  .fini_array : {{ KEEP(*(.fini_array .fini_array.*)) }}
  .data : {{ *(.data .data.*) }}
  .bss : {{ *(.bss .bss.* COMMON) }}
  {_DISCARD}
}}
"""
_COMPILE = (
    "-std=c23",
    "-Os",
    "-g0",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-builtin-memset",  # loops are not to become calls of a library
    "-ffunction-sections",
    "-fdata-sections",
    "-fomit-frame-pointer",
    "-fno-stack-protector",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-sanitize=all",
    "-D_FORTIFY_SOURCE=0",
)


def link_library(
    sources: Sequence[Path],
    objects: Sequence[Path],
    capability: Capability,
    kind: Kind,
    out: Path,
    *,
    api: Iterable[str],
    cache: Path,
) -> None:
    """Compile the C sources, link them with the kernels, check the result. Same inputs, same bytes.

    Args:
        sources: C files of `budgetc.emit.driver.write_sources`; what they include lies beside.
        objects: relocatable objects with the kernels.
        capability: the target.
        kind: `shared` makes a stripped shared library, `static` an archive of one object that shows
            only `api`.
        out: the library to write; it appears complete or not at all.
        api: functions to export.
        cache: folder for zig's caches.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: generated code does not compile or link, or needs or exports what it must
            not.
    """
    zig = Zig(cache)
    api = tuple(api)
    with tempfile.TemporaryDirectory(prefix="budgetc-link-") as temporary:
        folder = Path(temporary)
        compiled = []
        for source in sources:
            compiled.append(folder / f"{source.stem}.o")
            compile_source(source, compiled[-1], capability, zig)
        parts = [*compiled, *(path.resolve() for path in objects)]
        made = folder / out.name
        if kind == "shared":
            _link_shared(parts, capability, api, made, zig)
        else:
            _link_static(parts, api, made, zig)
        check_symbols(made, api)
        partial = out.with_name(f".{out.name}.partial")
        shutil.copyfile(made, partial)
        partial.replace(out)


def compile_source(source: Path, out: Path, capability: Capability, zig: Zig) -> None:
    """Compile one C file of the emitted library for a target.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: the source does not compile.
    """
    flags = [*_COMPILE, f"-DBUDGETC_THREADS={capability.threads}"]
    if capability.arch == "aarch64":
        flags.append(
            "-mno-outline-atomics"
        )  # they are calls into libgcc, which a user need not have
    # Compiled by its bare name, so that no path of this machine can get into the object.
    zig.run(
        "cc",
        "-target",
        capability.zig_target,
        *flags,
        "-c",
        source.name,
        "-o",
        out,
        cwd=source.parent,
    )


def _link_shared(
    parts: Sequence[Path], capability: Capability, api: Sequence[str], out: Path, zig: Zig
) -> None:
    folder = out.parent
    (folder / "layout.ld").write_text(
        _SHARED_SCRIPT.replace("@FINI@", _FINI if capability.threads > 1 else "")
    )
    (folder / "exports.map").write_text(f"{{ global: {'; '.join(api)}; local: *; }};\n")
    zig.run(
        "cc",
        "-target",
        capability.zig_target,
        "-shared",
        "-s",
        "-O2",
        "-Wl,--gc-sections",
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=none",
        "-Wl,-z,defs",
        "-Wl,-z,norelro",  # it protects whole pages, and these tables fill a fraction of one
        "-Wl,-T,layout.ld",
        "-Wl,--version-script=exports.map",
        *parts,
        "-lm",
        "-lpthread",
        "-o",
        out.name,
        cwd=folder,
    )


def _link_static(parts: Sequence[Path], api: Sequence[str], out: Path, zig: Zig) -> None:
    folder = out.parent
    (folder / "layout.ld").write_text(_STATIC_SCRIPT)
    roots = [flag for name in api for flag in ("-u", name)]
    member = out.stem.removeprefix("lib") + ".o"
    (folder / "static").mkdir()
    merged = folder / "static" / member
    zig.run(
        "ld.lld", "-r", "--gc-sections", *roots, "-T", "layout.ld", "-o", merged, *parts, cwd=folder
    )
    merged.write_bytes(localise(merged.read_bytes(), api))
    zig.run("ar", "rcsD", out, merged, cwd=folder)

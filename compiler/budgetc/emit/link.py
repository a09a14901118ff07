"""Linking kernels and driver into the library that ships, with nothing in it that is not needed."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, SpecError, quoted

from budgetc.emit.driver import WEIGHTS_SOURCE
from budgetc.emit.relocatable import localise
from budgetc.emit.symbols import MATHEMATICAL, SYSTEM_SYMBOLS, check_symbols, read_object
from budgetc.emit.zig import Zig

Kind = Literal["shared", "static"]

# Sections that only describe code to debuggers and unwinders. No exception can pass through a
# kernel.
_DISCARD = (
    "/DISCARD/ : { *(.debug_* .eh_frame .eh_frame_hdr .ARM.exidx .ARM.exidx.* .ARM.extab "
    ".ARM.extab.* .comment .llvm_addrsig .note.gnu.*) }"
)
# RISC-V keeps small data and constants apart.
_READ_ONLY = "*(.rodata .rodata.* .srodata .srodata.*)"
_WRITTEN = "*(.data .data.* .sdata .sdata.*)"
_ZERO = "*(.bss .bss.* .sbss .sbss.* COMMON)"
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
  .rel.dyn : {{ *(.rel.dyn) }}
  .rel.plt : {{ *(.rel.plt) }}
  .rodata : {{ {_READ_ONLY} }}
  {_NEXT_PAGE}
  .text : {{ *(.text .text.*) }}
  .plt : {{ *(.plt) }}
  {_NEXT_PAGE}
  .data.rel.ro : {{ *(.data.rel.ro .data.rel.ro.*) }}
@FINI@  .dynamic : {{ *(.dynamic) }}
  .got : {{ *(.got) }}
  .got.plt : {{ *(.got.plt) }}
  .data : {{ {_WRITTEN} }}
  .bss : {{ {_ZERO} }}
  {_DISCARD}
}}
"""
_FINI = "  .fini_array : { KEEP(*(.fini_array .fini_array.*)) }\n"
_STATIC_SCRIPT = f"""SECTIONS {{
  .rodata : {{ {_READ_ONLY} }}
  .text : {{ *(.text .text.*) }}
  .fini_array : {{ KEEP(*(.fini_array .fini_array.*)) }}
  .data : {{ {_WRITTEN} }}
  .bss : {{ {_ZERO} }}
  {_DISCARD}
}}
"""
_COMPILE = (
    "-std=c23",
    "-Os",
    "-g0",
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


MODULE_STACK = 64 * 1024
"""Bytes of a WebAssembly module's stack, which lies at the start of its memory: an overflow is a trap."""

_MODULE_EXPORTS = ("memory", "__heap_base", "_initialize")
"""What a module shows beside its API: where its host may put buffers, and an empty function that starts it."""


def library_file(name: str, kind: Kind, capability: Capability) -> str:
    """The file name of a library.

    Raises:
        SpecError: the target has no such libraries.
    """
    if capability.system == "module":
        if kind == "static":
            raise SpecError.of(
                f"output.kind: static: {quoted(capability.target)} makes modules, with which nothing is linked",
                "leave `output.kind` out: modules are what a host of WebAssembly loads.",
            )
        return f"{name}.wasm"
    return f"lib{name}{'.so' if kind == 'shared' else '.a'}"


def link_library(
    sources: Sequence[Path],
    objects: Sequence[Path],
    capability: Capability,
    kind: Kind,
    out: Path,
    *,
    api: Iterable[str],
    cache: Path,
    labels: Mapping[str, str] = MappingProxyType({}),
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
        labels: what each kernel is for, by its function's name.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        ModelError: a kernel calls a function that a core without an operating system lacks.
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
            # Weights are as good as never compiled again, and a cache of them grows by a model with each library.
            once = source.name == WEIGHTS_SOURCE
            compiler = replace(zig, made=folder / "once") if once else zig
            compile_source(source, compiled[-1], capability, compiler)
            shutil.rmtree(folder / "once", ignore_errors=True)
        parts = [*compiled, *(path.resolve() for path in objects)]
        made = folder / out.name
        if capability.system == "module":
            _link_module(parts, capability, api, made, zig)
            check_symbols(made, (*api, *_MODULE_EXPORTS))
        else:
            if capability.system == "bare":
                _refuse_missing_functions(parts, labels, capability, folder, zig)
            parts += _helpers(parts, capability, folder, zig)
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
    if capability.system == "linux":  # other programs lie where they were linked to
        flags.append("-fPIC")
    if capability.system == "bare":  # flash counts by the byte, and zig takes -Oz for -Os
        headers = Path(__file__).with_name("freestanding")
        flags += ["-Xclang", "-Oz", "-isystem", str(headers)]
    if capability.arch == "aarch64":
        flags.append(
            "-mno-outline-atomics"
        )  # they are calls into libgcc, which a user need not have
    # Compiled by its bare name, so that no path of this machine can get into the object.
    zig.run(
        "cc",
        *machine(capability),
        *flags,
        "-c",
        source.name,
        "-o",
        out,
        cwd=source.parent,
    )


def machine(capability: Capability) -> list[str]:
    """What tells zig the target."""
    cpu = [f"-mcpu={capability.zig_cpu}"] if capability.zig_cpu else []
    return ["-target", capability.zig_target, *cpu]


def _helpers(parts: Sequence[Path], capability: Capability, folder: Path, zig: Zig) -> list[Path]:
    """The functions behind what a compiler takes for instructions and the CPU lacks, as one object, or nothing.

    Such are divisions on most 32-bit ARM, and all real numbers on a CPU without them. A static library is to bring
    them, since what its user links with need not have them. They come from zig's compiler-rt, and of that only what is
    called: everything else that it defines, memcpy and libm among them, is the system's.
    """
    read = [read_object(part.read_bytes()) for part in parts]
    offered = {name for part in read for name in part.offered}
    missing = {name for part in read for name in part.needed} - offered - SYSTEM_SYMBOLS
    if not missing:
        return []
    runtime = _runtime(capability, folder, zig)
    called = sorted(missing & read_object(runtime.read_bytes()).offered)
    if not called:
        return []
    helpers = folder / "helpers.o"
    (folder / "helpers.ld").write_text(_STATIC_SCRIPT)
    roots = [flag for name in called for flag in ("-u", name)]
    partial = ("ld.lld", "-r", "--gc-sections", *roots, "-T", "helpers.ld")
    zig.run(*partial, "-o", helpers, runtime, cwd=folder)
    helpers.write_bytes(localise(helpers.read_bytes(), called))
    return [helpers]


def _runtime(capability: Capability, folder: Path, zig: Zig) -> Path:
    """All of zig's compiler-rt for a target, as one object."""
    (folder / "nothing.zig").write_text("")
    zig.run(
        "build-obj",
        *machine(capability),
        *("-fcompiler-rt", "-OReleaseSmall", "-fPIC", "-fstrip", "-fno-unwind-tables"),
        *("-ffunction-sections", "-fdata-sections", "--name", "compiler_rt", "nothing.zig"),
        cwd=folder,
    )
    return folder / "compiler_rt.o"


def _refuse_missing_functions(
    parts: Sequence[Path],
    labels: Mapping[str, str],
    capability: Capability,
    folder: Path,
    zig: Zig,
) -> None:
    """Refuse kernels that call a part of libm which no firmware has: compiler-rt is all that is linked with one."""
    read = [read_object(part.read_bytes()) for part in parts]
    calling = [part for part in read if part.needed & MATHEMATICAL]
    if not calling:
        return
    there = read_object(_runtime(capability, folder, zig).read_bytes()).offered
    for part in calling:
        absent = sorted((part.needed & MATHEMATICAL) - there)
        if absent:
            named = [labels[name] for name in sorted(part.offered & labels.keys())]
            raise ModelError(
                f"{' or '.join(named) or 'the model'} calls {', '.join(absent)}, which firmware for "
                f"{capability.cpu} does not have",
                "replace the operator in the model, or compute it outside; on a core without an operating system "
                "there is no libm beyond what compilers bring.",
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
        *machine(capability),
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


def _link_module(
    parts: Sequence[Path], capability: Capability, api: Sequence[str], out: Path, zig: Zig
) -> None:
    """A module that imports nothing: what it calls of libc and libm is in it."""
    exports = [f"-Wl,--export={name}" for name in (*api, "__heap_base")]
    zig.run(
        "cc",
        *machine(capability),
        *("-mexec-model=reactor", "-s", "-O2", "-Wl,--no-entry", "-Wl,--gc-sections"),
        f"-Wl,-z,stack-size={MODULE_STACK}",
        *exports,
        *parts,
        *("-lm", "-o", out.name),
        cwd=out.parent,
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

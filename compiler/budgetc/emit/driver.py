"""The C driver of an artefact: it checks its pointers and calls the kernels in order."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from budgetc_specs.errors import InternalError

from budgetc.emit.header import Member, comment, identifier, members, render_header, symbols
from budgetc.lower.lowered import Call, Fill, Lowered, Pointer

# Handing work to other threads and waiting for them costs about as much as this many
# multiplications.
PARALLEL_MACS = 50_000
WEIGHTS_FILE = "weights.embed"
WEIGHTS_SOURCE = "weights.c"
_HIDDEN = '__attribute__((visibility("hidden")))'


@dataclass(frozen=True)
class Sources:
    """What the linker gets: the header that ships, C files to compile, functions to export."""

    header: Path
    sources: tuple[Path, ...]
    api: tuple[str, ...]


def write_sources(
    entries: Sequence[Lowered],
    weights: bytes,
    name: str,
    folder: Path,
    threads: int = 1,
    *,
    probed: bool = False,
) -> Sources:
    """Write header, driver, weights and, where threads are used, the thread pool into `folder`.

    The weights are a file of their own: the driver is compiled without them, and once for all weights.

    Args:
        entries: the model as kernel calls, once for each shape.
        weights: the read-only data that `weights` pointers of all of them point into, `weight_bytes` long.
        name: the artefact's name.
        folder: an existing folder, best empty.
        threads: threads that one inference may use, the caller's included.
        probed: see `write_driver`.

    Raises:
        InternalError: an entry contradicts itself or the weights.
    """
    for lowered in entries:
        if len(weights) != lowered.weight_bytes:
            raise InternalError(
                f"BUG: lowering gave {len(weights)} bytes of weights, not {lowered.weight_bytes}"
            )
    written = write_driver(entries, name, folder, threads, probed=probed)
    return with_weights(written, weights, entries[0].alignment, folder)


def with_weights(written: Sources, weights: bytes, alignment: int, folder: Path) -> Sources:
    """What `write_driver` has written, with the C file that defines the weights behind it; no weights have no file."""
    if not weights:
        return written
    driver, *others = written.sources
    return replace(written, sources=(driver, write_weights(weights, alignment, folder), *others))


def write_driver(
    entries: Sequence[Lowered], name: str, folder: Path, threads: int = 1, *, probed: bool = False
) -> Sources:
    """Everything of `write_sources` but the weights, which the driver only declares.

    With `probed`, the library also exports a pointer to a function that it calls before, between and after what it
    does, so that each kernel call can be timed in its place; see `_entry`.
    """
    parallel = any(_is_parallel(lowered, threads) for lowered in entries)
    header = folder / f"{name}.h"
    header.write_text(render_header(entries, name, threads if parallel else 1))
    driver = folder / "driver.c"
    driver.write_text(render_driver(entries, name, threads, probed=probed))
    sources = [driver]
    if parallel:
        runtime = resources.files("budgetc.emit") / "runtime"
        for file in ("pool.c", "pool.h"):
            (folder / file).write_bytes((runtime / file).read_bytes())
        sources.append(folder / "pool.c")
    api = (*symbols(entries, name), *([probe_symbol(name)] if probed else []))
    return Sources(header, tuple(sources), api)


def probe_symbol(name: str) -> str:
    """The pointer that a probed library of that name exports: `void (*)(void)`, to be set before it runs."""
    return f"{identifier(name)}_probe"


def write_weights(weights: bytes, alignment: int, folder: Path) -> Path:
    """The C file that defines the weights of a driver, written into a folder; it is not for no weights."""
    # Not at the start: clang takes what looks like a mark of UTF-16 there for one, and refuses the file.
    (folder / WEIGHTS_FILE).write_bytes(b"\0" + weights)
    lines = [
        "#include <stdint.h>",
        # So that a compiler cache keyed by the text alone cannot serve old weights.
        f"/* sha256 {hashlib.sha256(weights).hexdigest()} */",
        f"_Alignas({alignment}) {_HIDDEN} const uint8_t weights[{len(weights)}] = {{",
        f'#embed "{WEIGHTS_FILE}" clang::offset(1)',
        "};",
        "",
    ]
    file = folder / WEIGHTS_SOURCE
    file.write_text("\n".join(lines))
    return file


def render_driver(
    entries: Sequence[Lowered], name: str, threads: int = 1, *, probed: bool = False
) -> str:
    """The text of the driver, which includes `<name>.h`; the weights are defined elsewhere.

    Args:
        entries: the model as kernel calls, once for each shape.
        name: the artefact's name.
        threads: threads that one inference may use; 1 leaves no trace of threads in the text.
        probed: see `write_driver`.

    Raises:
        InternalError: an entry contradicts itself, or one another.
    """
    _check(entries)
    word = identifier(name)
    parallel = any(_is_parallel(lowered, threads) for lowered in entries)
    lines = [f"/* {comment(name)}: driver generated by budgetc. */", f'#include "{name}.h"']
    if parallel:
        lines.append('#include "pool.h"')
    lines += ["", *_weights(entries[0])]
    if parallel:
        lines += [
            "typedef struct {",
            f"    const {word}_inputs *inputs;",
            f"    const {word}_outputs *outputs;",
            "    uint8_t *arena;",
            "} frame_t;",
            "",
        ]
    calls = [call for lowered in entries for call in lowered.calls]
    lines += [*_prototypes(calls), *_fill_functions(calls)]
    probe = f"    {probe_symbol(name)}();" if probed else ""
    if probed:
        lines += [f'__attribute__((visibility("default"))) void (*{probe_symbol(name)})(void);', ""]
    for number, (lowered, symbol) in enumerate(zip(entries, symbols(entries, name), strict=True)):
        part = f"part_{number}_" if number else "part_"
        lines += _entry(lowered, symbol, word, part, threads, probe)
    return "\n".join(lines)


def _entry(
    lowered: Lowered, symbol: str, word: str, part: str, threads: int, probe: str
) -> list[str]:
    """An exported function, with the functions of its parallel parts before it.

    The probe is called twice at first, then behind the fills of each call and behind its kernel.
    """
    parallel = _is_parallel(lowered, threads)
    inputs, outputs = members(lowered.inputs), members(lowered.outputs)
    lines: list[str] = []
    probes = [probe] if probe else []
    body = [*probes, *probes]
    for number, call in enumerate(lowered.calls):
        arguments = [_pointer(p, inputs, outputs) for p in call.arguments]
        body.append(f"    /* {comment(call.label)} */")
        body += [*(f"    {_fill_call(fill)}" for fill in call.fills), *probes]
        if call.tasks and parallel and _pays(call):
            lines += _part(f"{part}{number}", call, arguments, word)
            body.append(f"    pool_for(owned, {call.tasks}, {part}{number}, &frame);")
        else:
            extent = ["0", str(call.tasks)] if call.tasks else []
            body.append(f"    {call.kernel}({', '.join(arguments + extent)});")
        body += probes
    if parallel:
        frame = [
            "    const int owned = pool_enter();",
            "    const frame_t frame = {inputs, outputs, arena};",
        ]
        body = [*frame, *body, "    pool_leave(owned);"]
    return [
        *lines,
        '__attribute__((visibility("default")))',
        f"int {symbol}(const {word}_inputs *inputs, const {word}_outputs *outputs,",
        "    void *workspace) {",
        *_checks(inputs, outputs, lowered.alignment, word.upper()),
        "    uint8_t *const arena = workspace;",
        "    (void)arena;",
        *body,
        f"    return {word.upper()}_OK;",
        "}",
        "",
    ]


def _is_parallel(lowered: Lowered, threads: int) -> bool:
    return threads > 1 and any(call.tasks > 1 and _pays(call) for call in lowered.calls)


def _pays(call: Call) -> bool:
    """Whether splitting a call can gain anything; 0 MACs means that lowering did not count them."""
    return call.tasks > 1 and (call.macs == 0 or call.macs >= PARALLEL_MACS)


def _weights(lowered: Lowered) -> list[str]:
    if not lowered.weight_bytes:
        return []
    return [
        f"extern _Alignas({lowered.alignment}) {_HIDDEN} const uint8_t weights[{lowered.weight_bytes}];",
        "",
    ]


def _prototypes(calls: Sequence[Call]) -> list[str]:
    lines = ["/* kernels */"]
    for call in {call.kernel: call for call in calls}.values():
        extent = ["int32_t", "int32_t"] if call.tasks else []
        lines.append(
            f"void {call.kernel}({', '.join(['const void *'] * len(call.arguments) + extent)});"
        )
    return [*lines, ""]


FEW_STORES = 128
"""Bytes that compilers set without calling a library's memset. To import that takes half a kilobyte of tables."""

_WIDE = f"""typedef uint8_t block_t __attribute__((vector_size(16), aligned(1)));

/* Rows of more than {FEW_STORES} bytes, four blocks at a time; the last four end with the row. */
static __attribute__((noinline)) void fill(
    uint8_t *row, int32_t rows, int32_t stride, int32_t width, uint8_t value) {{
    const block_t block = (block_t){{0}} + value;
    for (; rows > 0; rows--, row += stride)
        for (int32_t left = width; left > 0; left -= 64) {{
            block_t *const four = (block_t *)(row + (left < 64 ? width - 64 : width - left));
            four[0] = block;
            four[1] = block;
            four[2] = block;
            four[3] = block;
        }}
}}
"""


def _fill_name(fill: Fill) -> str:
    return f"fill_{fill.width}_{fill.value & 255}"


def _fill_functions(calls: Sequence[Call]) -> list[str]:
    """One function for each narrow width and value: constants in the loop become stores."""
    fills = [fill for call in calls for fill in call.fills]
    functions = {}
    for fill in (fill for fill in fills if fill.rows > 1 and fill.width <= FEW_STORES):
        functions[_fill_name(fill)] = [
            f"static void {_fill_name(fill)}(uint8_t *row, int32_t rows, int32_t stride) {{",
            "#pragma clang loop unroll(disable)",
            "    for (; rows > 0; rows--, row += stride)",
            f"        __builtin_memset(row, {fill.value & 255}, {fill.width});",
            "}",
            "",
        ]
    lines = [line for text in functions.values() for line in text]
    return [*lines, _WIDE] if any(fill.width > FEW_STORES for fill in fills) else lines


def _fill_call(fill: Fill) -> str:
    at = f"arena + {fill.offset}"
    if fill.width > FEW_STORES:
        return f"fill({at}, {fill.rows}, {fill.stride}, {fill.width}, {fill.value & 255});"
    if fill.rows == 1:
        return f"__builtin_memset({at}, {fill.value & 255}, {fill.width});"
    return f"{_fill_name(fill)}({at}, {fill.rows}, {fill.stride});"


def _pointer(pointer: Pointer, inputs: tuple[Member, ...], outputs: tuple[Member, ...]) -> str:
    offset = f" + {pointer.offset}" if pointer.offset else ""
    if pointer.region == "arena":
        return f"arena{offset}"
    if pointer.region == "weights":
        return f"weights{offset}"
    port = (inputs if pointer.region == "input" else outputs)[pointer.index]
    base = f"{pointer.region}s->{port.identifier}"
    return f"(const uint8_t *){base}{offset}" if offset else base


def _part(name: str, call: Call, arguments: list[str], word: str) -> list[str]:
    """The function that runs one range of a parallel call."""
    used = " ".join(arguments)
    lines = [f"static void {name}(const void *context, int32_t begin, int32_t end) {{"]
    lines.append("    const frame_t *const frame = context;")
    if "inputs->" in used:
        lines.append(f"    const {word}_inputs *const inputs = frame->inputs;")
    if "outputs->" in used:
        lines.append(f"    const {word}_outputs *const outputs = frame->outputs;")
    if any(p.region == "arena" for p in call.arguments):
        lines.append("    uint8_t *const arena = frame->arena;")
    if all(p.region == "weights" for p in call.arguments):
        lines.append("    (void)frame;")
    return [*lines, f"    {call.kernel}({', '.join([*arguments, 'begin', 'end'])});", "}", ""]


def _checks(
    inputs: tuple[Member, ...], outputs: tuple[Member, ...], alignment: int, prefix: str
) -> list[str]:
    ports = [(f"inputs->{m.identifier}", m) for m in inputs]
    ports += [(f"outputs->{m.identifier}", m) for m in outputs]
    null = " || ".join(["!inputs", "!outputs", "!workspace", *(f"!{path}" for path, _ in ports)])
    terms = [f"((uintptr_t)workspace & {alignment - 1})"]
    terms += [f"((uintptr_t){path} & {m.item_bytes - 1})" for path, m in ports if m.item_bytes > 1]
    return [
        f"    if ({null})",
        f"        return {prefix}_NULL_POINTER;",
        f"    if ({' | '.join(terms)})",
        f"        return {prefix}_MISALIGNED;",
    ]


def _check(entries: Sequence[Lowered]) -> None:
    """Hold the entries to their own numbers: better an error here than a wild pointer in the binary."""
    signatures: dict[str, tuple[int, bool]] = {}
    for lowered in entries:
        _check_entry(lowered, signatures)


def _check_entry(lowered: Lowered, signatures: dict[str, tuple[int, bool]]) -> None:
    sizes = {"arena": lowered.arena_bytes, "weights": lowered.weight_bytes}
    ports = {"input": len(lowered.inputs), "output": len(lowered.outputs)}
    for call in lowered.calls:
        where = f"BUG: call {call.label!r} of {call.kernel}"
        if not re.fullmatch(r"[A-Za-z_][0-9A-Za-z_]*", call.kernel):
            raise InternalError(f"{where}: the kernel's name is not a C identifier")
        signature = (len(call.arguments), call.tasks > 0)
        if signatures.setdefault(call.kernel, signature) != signature:
            raise InternalError(
                f"{where}: the same kernel is called elsewhere with other parameters"
            )
        for pointer in call.arguments:
            if pointer.offset < 0:
                raise InternalError(f"{where}: {pointer} lies before its region")
            if pointer.region in sizes and pointer.offset > sizes[pointer.region]:
                raise InternalError(f"{where}: {pointer} lies beyond {sizes[pointer.region]} bytes")
            if pointer.region in ports and not 0 <= pointer.index < ports[pointer.region]:
                raise InternalError(f"{where}: {pointer} names a port that does not exist")
        for fill in call.fills:
            last = fill.offset + (fill.rows - 1) * fill.stride + fill.width
            if fill.offset < 0 or fill.rows < 1 or fill.width < 1 or last > lowered.arena_bytes:
                raise InternalError(
                    f"{where}: {fill} leaves the arena of {lowered.arena_bytes} bytes"
                )

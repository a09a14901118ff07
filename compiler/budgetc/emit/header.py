"""The typed C header of an artefact: the only thing a user of the library has to read."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from budgetc_specs.errors import InternalError

from budgetc.element_types import ARITHMETIC_TYPES, C_TYPES, numpy_type
from budgetc.entries import entry_names
from budgetc.load import Interface
from budgetc.load import Port as LoadedPort
from budgetc.lower.lowered import Lowered, Port

# A port may be called anything; these words would not compile as a struct member in C or C++.
_WORDS = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char class compl concept
    const consteval constexpr constinit const_cast continue co_await co_return co_yield decltype
    default delete do double dynamic_cast else enum explicit export extern false float for friend
    goto if inline int linux long mutable namespace new noexcept not not_eq nullptr operator or
    or_eq private protected public register reinterpret_cast requires restrict return short signed
    sizeof static static_assert static_cast struct switch template this thread_local throw true try
    typedef typeid typename typeof unix union unsigned using virtual void volatile wchar_t while
    xor xor_eq
"""
_KEYWORDS = frozenset(_WORDS.split())


@dataclass(frozen=True)
class Member:
    """A port as a member of the inputs or outputs struct."""

    port: Port
    identifier: str
    c_type: str
    elements: int

    @property
    def item_bytes(self) -> int:
        """Size of one element in bytes."""
        return numpy_type(self.port.dtype).itemsize


def identifier(name: str) -> str:
    """The C identifier for `name`: itself where it is one that no implementation reserves."""
    word = re.sub(r"[^0-9A-Za-z_]+", "_", name).lstrip("_") or "x"
    return word if word[0].isalpha() else f"n{word}"


def members(ports: Iterable[Port]) -> tuple[Member, ...]:
    """The struct members of `ports`, in order, with identifiers that differ even in upper case.

    Raises:
        InternalError: lowering let through an element type that has no C type.
    """
    taken: set[str] = set()
    result = []
    for port in ports:
        if port.dtype not in C_TYPES:
            raise InternalError(
                f"BUG: port {port.name!r} has element type {port.dtype!r}, which has no C type"
            )
        base = identifier(port.name)
        if base in _KEYWORDS:
            base += "_"
        word = base
        suffix = 2
        while word.upper() in taken:
            word = f"{base}_{suffix}"
            suffix += 1
        taken.add(word.upper())
        elements = 1
        for extent in port.shape:
            elements *= extent
        result.append(Member(port, word, C_TYPES[port.dtype], elements))
    return tuple(result)


def workspace_bytes(lowered: Lowered) -> int:
    """Bytes of workspace that a caller passes: the arena, rounded up for `aligned_alloc`."""
    unit = lowered.alignment
    return max(unit, (lowered.arena_bytes + unit - 1) // unit * unit)


def symbols(entries: Sequence[Lowered], name: str) -> tuple[str, ...]:
    """The function of each entry point: `<name>_run`, and `<name>_4x28x28_run`."""
    word = identifier(name)
    return tuple(f"{word}_{e}_run" if e else f"{word}_run" for e in entry_names(entries))


def comment(text: str) -> str:
    """`text` made safe for a C comment: printable ASCII that cannot end or continue it."""
    plain = re.sub(r"[^ -~]", "?", text).replace("\\", "?")
    return plain.replace("*/", "* /").replace("/*", "/ *")


def _port_lines(kind: str, prefix: str, member: Member) -> list[str]:
    shape = "".join(f"[{extent}]" for extent in member.port.shape) or "(one value)"
    macro = f"{prefix}_{kind.upper()}_{member.identifier.upper()}"
    bits = "" if member.port.dtype in ARITHMETIC_TYPES else f" (the bits of a {member.port.dtype})"
    lines = [
        f"/* {kind} {comment(member.port.name)}: {member.c_type}{bits} {shape}, dense, row-major */",
        f"#define {macro}_ELEMENTS {member.elements}",
        f"#define {macro}_RANK {len(member.port.shape)}",
    ]
    if member.port.shape:
        lines.append(f"#define {macro}_DIMS {{ {', '.join(map(str, member.port.shape))} }}")
    return lines


def render_header(entries: Sequence[Lowered], name: str, threads: int = 1) -> str:
    """The text of `<name>.h`: plain C99 that is also C++.

    Args:
        entries: the model's interface and arena size, once for each shape.
        name: the artefact's name; `identifier(name)` prefixes everything the header declares.
        threads: threads that one inference may use; it only changes what the comment promises.

    Raises:
        InternalError: a port's element type has no C type.
    """
    word = identifier(name)
    prefix = word.upper()
    first, *further = entries
    inputs, outputs = members(first.inputs), members(first.outputs)
    if not inputs or not outputs:
        raise InternalError("BUG: a lowered model has no input or no output")
    lines = [
        f"/* {comment(name)}: a neural network as a function. Generated by budgetc. */",
        f"#ifndef {prefix}_H",
        f"#define {prefix}_H",
        "",
        "#include <stdint.h>",
        "",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
        "",
        "/* The workspace holds everything that one inference writes besides its outputs. */",
        *_entry_lines(first, prefix),
    ]
    names = entry_names(entries)[1:]
    for entry, suffix in zip(further, names, strict=True):
        lines += [f"/* The same for {word}_{suffix}_run. */"]
        lines += _entry_lines(entry, f"{prefix}_{suffix.upper()}")
    if further:
        lines += [
            "/* A workspace of this size serves every function. */",
            f"#define {prefix}_LARGEST_WORKSPACE_BYTES {max(map(workspace_bytes, entries))}",
            "",
        ]
    lines.append("typedef struct {")
    lines += [f"    const {m.c_type} *{m.identifier};" for m in inputs]
    lines += [f"}} {word}_inputs;", "", "typedef struct {"]
    lines += [f"    {m.c_type} *{m.identifier};" for m in outputs]
    parallel = (
        f" * One call may use {threads} threads; one that finds the library's threads busy does\n"
        " * all of its work on the calling thread.\n"
        if threads > 1
        else ""
    )
    lines += [
        f"}} {word}_outputs;",
        "",
        f"/* What {word}_run returns. */",
        "enum {",
        f"    {prefix}_OK = 0,",
        f"    {prefix}_NULL_POINTER = 1, /* workspace, struct or buffer is missing */",
        f"    {prefix}_MISALIGNED = 2 /* workspace or buffer is not aligned */",
        "};",
        "",
        "/*",
        " * Run one inference. Buffers must not overlap each other or the workspace. What the",
        " * workspace held before does not matter, and nothing is kept in it between calls. Any",
        f" * number of threads may call {word}_run at once, each with a workspace of its own.",
        f"{parallel} */",
        *(
            f"int {symbol}(const {word}_inputs *inputs, const {word}_outputs *outputs,\n"
            "    void *workspace);"
            for symbol in symbols(entries, name)
        ),
        "",
        "#ifdef __cplusplus",
        "}",
        "#endif",
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _entry_lines(lowered: Lowered, prefix: str) -> list[str]:
    """What a caller of one entry point has to know."""
    lines = [
        f"#define {prefix}_WORKSPACE_BYTES {workspace_bytes(lowered)}",
        f"#define {prefix}_WORKSPACE_ALIGNMENT {lowered.alignment}",
        "",
    ]
    for kind, group in (("input", lowered.inputs), ("output", lowered.outputs)):
        for member in members(group):
            lines += [*_port_lines(kind, prefix, member), ""]
    return lines


def interface(entries: Sequence[Lowered], name: str, library: str) -> Interface:
    """What a caller has to know about the library, as the manifest records it: the first entry point and the others."""

    def ports(group: Iterable[Port]) -> tuple[LoadedPort, ...]:
        return tuple(LoadedPort(port.name, port.dtype, port.shape) for port in group)

    first, *further = (
        Interface(
            name=name,
            library=library,
            symbol=symbol,
            inputs=ports(lowered.inputs),
            outputs=ports(lowered.outputs),
            workspace_bytes=workspace_bytes(lowered),
            alignment=lowered.alignment,
        )
        for lowered, symbol in zip(entries, symbols(entries, name), strict=True)
    )
    return replace(first, further=tuple(further))

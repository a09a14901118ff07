"""Size of a library without its weights: everything else is compiled and linked, and the weights are added.

Headers, tables, merged constants, relocations and alignment are the linker's work, and it is asked to do that work.
Only the weights, which may be a hundred megabytes, are represented by a few bytes:

    size = size linked with n' bytes of weights + (n - n'),    n' = n modulo the largest alignment

since nothing but their length depends on them, and where they end within a line of the cache decides all padding.
"""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from budgetc_specs.capability import Capability

from budgetc.build import kernel_files, link_entries
from budgetc.emit.driver import with_weights, write_driver
from budgetc.emit.frames import deepest_frame
from budgetc.emit.link import Kind, library_file
from budgetc.emit.symbols import objects_of, section_sizes
from budgetc.lower.lower import Code, write_code
from budgetc.measure.size import size_of

_PERIOD = 4096
"""Bytes after which padding repeats: a page, to which no section is aligned but segments may be."""

HARNESS_STACK = 64
"""Bytes that measuring a stack adds: the frame of the function that calls the library."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a library: the whole file, its static data, and the stack that its code takes."""

    size: int
    static: int
    stack: int = 0


def footprint(code: Code, capability: Capability, name: str, kind: Kind, cache: Path) -> Footprint:
    """The size of the library that code will be.

    Args:
        code: of `budgetc.lower.lower.lower`; what is not compiled yet is compiled.
        capability: the target's sheet.
        name: of the artefact.
        kind: shared or static.
        cache: folder for zig's caches.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: what was generated does not compile or link.
    """
    size = len(code.weights)
    # A module writes lengths in as many bytes as they need.
    whole = size <= 2 * _PERIOD or capability.system == "module"
    kept = size if whole else size % _PERIOD + _PERIOD
    with tempfile.TemporaryDirectory(prefix="budgetc-predict-") as temporary:
        folder = Path(temporary)
        write_code(code, folder)
        written = write_driver(code.entries, name, folder, capability.threads)
        written = with_weights(written, bytes(kept), code.lowered.alignment, folder)
        library = folder / library_file(name, kind, capability)
        link_entries(code.entries, folder, written, library, capability, kind, cache)
        kernels = kernel_files(code.entries, folder)
        return Footprint(
            size=size_of(library, capability).deployed + size - kept,
            static=section_sizes(library).static_ram,
            stack=HARNESS_STACK + _stack(library, kernels, written.api),
        )


def _stack(library: Path, objects: Sequence[Path], api: Collection[str]) -> int:
    """Of the function that is called and of the deepest kernel."""
    kernels = max((deepest_frame(file.read_bytes()) for file in objects), default=0)
    return kernels + max(deepest_frame(data, api) for data in objects_of(library))

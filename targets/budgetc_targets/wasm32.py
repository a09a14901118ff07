"""WebAssembly with 128-bit vectors: a model as a module, for browsers and other hosts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError

from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.node import Node

_SIMD: dict[str, Any] = {
    "arch": "wasm32",
    "cpu": "generic",
    "llvm_triple": "wasm32-unknown-wasi",
    "llvm_features": ("+simd128", "+bulk-memory", "+nontrapping-fptoint", "+sign-ext"),
    "zig_target": "wasm32-wasi",
    "zig_cpu": "generic+simd128+bulk_memory+nontrapping_fptoint+sign_ext",
    "system": "module",
    "vector_bytes": 16,
    "vector_registers": 16,
    "int8_dot": "wasmdot128",
    "weight_bits": 8,
    "native": False,
}


class Wasm32(CpuTarget):
    """WebAssembly of 32-bit addresses, as a module that imports nothing, with a loader in JavaScript beside it."""

    kind: ClassVar[str] = "wasm32"
    default_cpu: ClassVar[str] = "simd128"

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """The fixed-width vectors that browsers have had since 2021, Safari since 2023."""
        return {"simd128": _SIMD}

    def capability(self, cpu: str | None, threads: int) -> Capability:
        """The sheet of a set of features; None is the default one.

        Raises:
            SpecError: no such set is known, or more than one thread is asked for.
        """
        if threads > 1:
            raise SpecError.of(
                f"target kind {self.kind!r} has no threads, and {threads} are asked for",
                "set `threads: 1`; a host may run several instances of a module side by side.",
            )
        return super().capability(cpu, threads)

    def runner(self, capability: Capability) -> Runner:
        """Under Node.js."""
        del capability
        return Node()

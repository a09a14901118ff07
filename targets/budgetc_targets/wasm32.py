"""WebAssembly with 128-bit vectors: a model as a module, for browsers and other hosts."""

from typing import ClassVar

from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError

from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.node import Node


class Wasm32(CpuTarget):
    """WebAssembly of 32-bit addresses, as a module that imports nothing, with a loader in JavaScript beside it."""

    kind: ClassVar[str] = "wasm32"
    default_cpu: ClassVar[str] = "simd128"

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

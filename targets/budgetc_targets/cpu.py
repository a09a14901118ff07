"""What all CPU targets share: a table of CPUs, the kernel families and TVM's LLVM code generator."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError

from budgetc_targets.contract import Family, Runner
from budgetc_targets.kernels.families import cpu_families


class CpuTarget(ABC):
    """A target whose sheets come from a table of CPU names."""

    kind: ClassVar[str]
    default_cpu: ClassVar[str]

    @property
    @abstractmethod
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """What each known CPU can do, as fields of `Capability`."""

    @abstractmethod
    def runner(self, capability: Capability) -> Runner:
        """How programs for this target are executed on this machine."""

    def capability(self, cpu: str | None, threads: int) -> Capability:
        """The sheet of a CPU; None is the default one.

        Raises:
            SpecError: no such CPU is known.
        """
        name = cpu or self.default_cpu
        if name not in self.sheets:
            near = difflib.get_close_matches(name, self.sheets, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            known = ", ".join(sorted(self.sheets))
            raise SpecError.of(
                f"target kind {self.kind!r} knows no CPU {name!r}", f"{hint}Known CPUs: {known}."
            )
        return Capability(target=self.kind, threads=threads, **self.sheets[name])

    def cpus(self) -> Mapping[str, Capability]:
        """The sheets of the table."""
        return {name: self.capability(name, 1) for name in self.sheets}

    def families(self) -> Sequence[Family]:
        """All kernel families."""
        return cpu_families()

    def emit_object(self, functions: Sequence[Any], capability: Capability, path: Path) -> None:
        """Compile TIR functions into one object file. Imports tvm."""
        from budgetc_targets.kernels.objects import emit_object  # noqa: PLC0415  children only

        emit_object(functions, capability, path)

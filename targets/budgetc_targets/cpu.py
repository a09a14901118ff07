"""What all CPU targets share: sheets as files, the kernel families and TVM's LLVM code generator."""

import difflib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError, quoted

from budgetc_targets.contract import Family, Runner
from budgetc_targets.kernels.families import cpu_families
from budgetc_targets.sheets import SheetFolder


class CpuTarget(ABC):
    """A target whose sheets are the files `cpus/KIND/CPU.toml` of the package that its class is in."""

    kind: ClassVar[str]
    default_cpu: ClassVar[str]

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """What each known CPU can do, as fields of `Capability`."""
        return self.files

    @cached_property
    def files(self) -> SheetFolder:
        """The sheets as they are written."""
        package = type(self).__module__.partition(".")[0]
        return SheetFolder(package, self.kind, self.runs_here)

    def runs_here(self, sheet: Mapping[str, Any]) -> bool:
        """Whether this machine runs the code of a sheet directly."""
        del sheet
        return False

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
            hint = f"did you mean {quoted(near[0])}? " if near else ""
            known = ", ".join(sorted(self.sheets))
            raise SpecError.of(
                f"target kind {quoted(self.kind)} knows no CPU {quoted(name)}",
                f"{hint}known are {known}.",
            )
        return Capability(target=self.kind, threads=threads, **self.sheets[name])

    def cpus(self) -> Mapping[str, Capability]:
        """All of the sheets, that of the default CPU first."""
        names = sorted(self.sheets, key=lambda name: name != self.default_cpu)
        return {name: self.capability(name, 1) for name in names}

    def families(self) -> Sequence[Family]:
        """All kernel families."""
        return cpu_families()

    def emit_object(self, functions: Sequence[Any], capability: Capability, path: Path) -> None:
        """Compile TIR functions into one object file. Imports tvm."""
        from budgetc_targets.kernels.objects import emit_object  # noqa: PLC0415  children only

        emit_object(functions, capability, path)

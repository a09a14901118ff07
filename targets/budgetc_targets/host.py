"""The machine that budgetc runs on: its own features decide the sheet."""

import platform
from collections.abc import Mapping
from typing import Any, ClassVar

from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_

from budgetc_targets.aarch64 import AArch64, best_cpu
from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.local import Local
from budgetc_targets.x86_64 import X86_64, best_level, machine_flags


class Host(CpuTarget):
    """This machine. A spec that names another CPU wants `kind: x86-64` or `kind: aarch64`."""

    kind: ClassVar[str] = "host"
    default_cpu: ClassVar[str] = "native"

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """One sheet, `native`.

        Raises:
            EnvironmentError_: there is no target kind for this machine's architecture.
        """
        machine = platform.machine()
        if machine == "x86_64":
            level = best_level(machine_flags())
            return {"native": {**X86_64().sheets[level], "native": True}}
        if machine == "aarch64":
            return {"native": {**AArch64().sheets[best_cpu()], "native": True}}
        raise EnvironmentError_(
            f"no target kind for this machine's architecture, {machine}",
            "compile for `kind: x86-64` or `kind: aarch64`.",
        )

    def runner(self, capability: Capability) -> Runner:
        """Directly."""
        del capability
        return Local()

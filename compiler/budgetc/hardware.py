"""What a target of a spec is: its kind, its capability sheet and the budgets that it has to keep."""

import os
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from budgetc_specs.board import Board
from budgetc_specs.budgets import Budgets, MemoryBudget, Relative, SizeBudget
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError, quoted
from budgetc_specs.sections import TargetSpec
from budgetc_specs.spec import Spec
from budgetc_targets.contract import Runner, ServedDevice

from budgetc.boards import find_board
from budgetc.registry import find_device, find_target

Memory = TypeVar("Memory", SizeBudget, MemoryBudget)


@dataclass(frozen=True)
class Hardware:
    """A target of a spec, resolved.

    Attributes:
        kind: the target plugin's name.
        capability: what it can do, for the threads that the spec allows.
        budgets: what its artefact has to keep: the spec's, those of the target, and a board's memories.
        runner: how its programs are executed.
        board: the board, where the spec names one.
        device: the address by which its programs reach a device, where the spec names one.
    """

    kind: str
    capability: Capability
    budgets: Budgets
    runner: Runner
    board: Board | None = None
    device: str | None = None

    @property
    def words(self) -> str:
        """The kind and the CPU, as progress shows them."""
        return f"{self.kind}, {self.capability.cpu}"


def remarks(hardware: Hardware) -> list[str]:
    """What somebody should know of how a target's programs are run and timed, before they are."""
    said = []
    if isinstance(hardware.runner, ServedDevice) and hardware.runner.warning:
        said.append(hardware.runner.warning)
    threads, here = hardware.capability.threads, len(os.sched_getaffinity(0))
    if hardware.capability.native and threads > here:
        said.append(
            f"{threads} threads are timed on {here} processor{'s' if here > 1 else ''}: they wait for each other, so "
            "latencies say little of a machine that has enough, and measuring takes longer"
        )
    return said


def hardware_of(spec: Spec, name: str) -> Hardware:
    """The hardware behind a target's name.

    Raises:
        SpecError: no such kind, CPU or board is known, or the board has not that many cores.
        KeyError: the spec has no target of that name.
    """
    section = spec.targets[name]
    if section.board is None:
        sheet = find_target(section.kind).capability(section.cpu, section.threads)
        return _reached(
            name, section, Hardware(section.kind, sheet, spec.budgets_for(name), _own(sheet))
        )
    board = find_board(section.board)
    if section.threads > board.cores:
        raise SpecError.of(
            f"targets.{name}.threads: {section.threads} threads, and {quoted(str(section.board))} has "
            f"{board.cores} core{'s' if board.cores > 1 else ''}",
            f"write at most {board.cores}.",
        )
    own = section.budgets
    memories = {
        "size": own.size or _within(board.flash, spec.budgets.size, SizeBudget),
        "memory": own.memory or _within(board.ram, spec.budgets.memory, MemoryBudget),
    }
    budgets = spec.budgets_for(name).model_copy(update=memories)
    sheet = board_sheet(board, section.threads)
    return _reached(name, section, Hardware(board.kind, sheet, budgets, _own(sheet), board))


def _own(sheet: Capability) -> Runner:
    """How programs of a sheet are run without a device."""
    return find_target(sheet.target).runner(sheet)


def _reached(name: str, section: TargetSpec, hardware: Hardware) -> Hardware:
    """The hardware, run on the device that the spec names for it."""
    if section.runner is None:
        return hardware
    if hardware.capability.system != "linux":
        raise SpecError.of(
            f"targets.{name}.runner: devices run programs for Linux, and {hardware.kind} is for none",
            "remove the runner; `budgetc targets` says how the kind is run here.",
        )
    latency = hardware.budgets.latency
    if latency and isinstance(latency.max, Relative):
        raise SpecError.of(
            f"targets.{name}: a latency relative to {latency.max.peer} cannot be measured on a device, where "
            "there is no peer",
            'write a time, such as "latency: 2 ms".',
        )
    away = hardware.capability.model_copy(update={"native": False})
    runner = find_device(section.runner)
    return replace(hardware, capability=away, runner=runner, device=section.runner)


def board_sheet(board: Board, threads: int = 1) -> Capability:
    """The sheet of a board: its CPU's, with its own caches and features.

    Raises:
        SpecError: the board's kind or CPU is not known.
    """
    sheet = find_target(board.kind).capability(board.cpu, threads)
    own: dict[str, Any] = {}
    if board.l1 is not None:
        own["l1_bytes"] = board.l1
    if board.l2 is not None:
        own["l2_bytes"] = board.l2
    if board.features:
        own["llvm_features"] = (*sheet.llvm_features, *board.features)
    return sheet.model_copy(update=own)


def _within(limit: int | None, declared: Memory | None, kind: type[Memory]) -> Memory | None:
    """The spec's budget for all targets, or the board's own where that is narrower."""
    if limit is None or (declared is not None and declared.max_bytes <= limit):
        return declared
    return kind(max_bytes=limit)

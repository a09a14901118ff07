"""What a target is to the compiler: a capability sheet, kernel families, and a way to run programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from budgetc_specs.capability import Capability

from budgetc_targets.task import Task

Array = npt.NDArray[np.generic]

Point = tuple[tuple[str, int], ...]
"""One choice of a family's knobs, as sorted name-value pairs."""


@dataclass(frozen=True)
class Kernel:
    """A kernel ready for code generation.

    Attributes:
        function: the TIR function.
        tasks: how many parallel tasks its trailing range spans; 0 where it takes no range, or sizes are left open.
        scratch: bytes of working memory that it takes a pointer to, behind the output's; 0 where it takes none. The
            memory begins at a cache line, its contents mean nothing before and after a call, and no other call that
            runs meanwhile has it. A kernel that takes a range has the whole of it for all ranges together: those that
            run side by side are equal ones, as many as the sheet has threads, so each can have a part to itself.
    """

    function: Any
    tasks: int = 0
    scratch: int = 0


@runtime_checkable
class Family(Protocol):
    """A kernel family: one kind of task, its schedule space, its packed constants and its code."""

    kind: ClassVar[str]

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Why this family cannot do the task, or None if it can."""
        ...

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """The points worth measuring, the default first. Never empty."""
        ...

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """The family's constants in the order and layout in which its code reads them."""
        ...

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The code. Imports tvm, so it runs in a child only."""
        ...


@runtime_checkable
class Growing(Protocol):
    """A family that says whether it is faster by larger constants and working memory.

    Where `grows` is true, a library that misses a budget for it is built once more without the family.
    """

    grows: ClassVar[bool]


@dataclass(frozen=True)
class Opened:
    """A task whose sizes are left open, and what they are.

    Attributes:
        task: what `Family.build` makes one kernel of for all tasks that are equal when opened.
        sizes: s32, in the order in which that kernel reads them from the end of its table of numbers.
        tasks: how many parallel tasks the trailing range spans at these sizes; 0 where the kernel takes none.
        cost: instructions that such code takes more for each multiplication, roughly; 0 where that is next to nothing.
        code: bytes of the code for the very sizes, roughly, where there is such a cost.
    """

    task: Task
    sizes: tuple[int, ...]
    tasks: int = 0
    cost: float = 0.0
    code: int = 0


@runtime_checkable
class Opening(Protocol):
    """A family that can also write code for any size, so that layers which differ in sizes only share it."""

    def opened(self, task: Task, capability: Capability, point: Point) -> Opened | None:
        """The task with its sizes left open; None where only code for the very sizes will do."""
        ...


@runtime_checkable
class Runner(Protocol):
    """A way to execute a program that was linked for a target."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def why_not(self) -> str:
        """Why programs cannot be run here and what to do about it; empty where they can."""
        ...

    def command(self, program: Path) -> list[str] | None:
        """The command line that runs `program`, or None where it cannot be run here; then `why_not` says why."""
        ...


UNREACHABLE = 8
"""The exit code of a device's command where the device cannot be reached, or is lost on the way."""


@runtime_checkable
class Device(Runner, Protocol):
    """A runner whose programs run on the very hardware that they are for, so that their times are its own.

    Registered under the entry point group `budgetc.runners`, by the scheme of the addresses that it takes as its
    one argument.
    """

    @property
    def device(self) -> str:
        """The machine, as reports call it."""
        ...


@runtime_checkable
class ServedDevice(Device, Protocol):
    """A device behind a server that only calls functions of libraries: one of ours starts and leads the program.

    The library is `emit/agent.c` of the compiler, compiled for the device.
    """

    @property
    def warning(self) -> str:
        """What is to be said each time that the device is used, such as who else can use it; or nothing."""
        ...

    def served(self, program: Path, agent: Path) -> list[str] | None:
        """The command line that runs `program` by way of the agent; None as for `command`."""
        ...


@runtime_checkable
class SharedDevice(Device, Protocol):
    """Several equal machines behind one address: each command runs on one that is free."""

    def places(self) -> int:
        """How many there are now, at least one.

        Raises:
            budgetc_specs.errors.TargetUnreachableError: none.
        """
        ...


@dataclass(frozen=True)
class Region:
    """A range of addresses, in bytes."""

    origin: int
    length: int


@dataclass(frozen=True)
class MemoryMap:
    """Where a board has the memory that a firmware is linked for.

    Attributes:
        rom: code and constants.
        ram: data, buffers and the stack.
        vectors: the address of the table that the core starts from.
    """

    rom: Region
    ram: Region
    vectors: int = 0


@runtime_checkable
class BoardRunner(Runner, Protocol):
    """A runner whose programs are firmware: they are linked for its board, and nothing else runs there."""

    @property
    def memory_map(self) -> MemoryMap:
        """Where the board has its memory."""
        ...


@runtime_checkable
class CountingRunner(Runner, Protocol):
    """A runner that may count the instructions of what it runs: the same number every time, and no measure of time."""

    @property
    def why_not_counted(self) -> str:
        """Why instructions are not counted here; empty where they are."""
        ...


@runtime_checkable
class WatchedRunner(CountingRunner, Protocol):
    """A counting runner whose programs do not see what they execute: a plugin of the emulator counts.

    The plugin is `emit/counter.c` of the compiler, compiled for this machine.
    """

    def plugin_interface(self) -> int:
        """The version of the emulator's plugin interface, where instructions are counted."""
        ...

    def watched(self, program: Path, plugin: Path, counter: str) -> list[str] | None:
        """The command line that runs `program` and counts into the file `counter` of its working directory."""
        ...


@runtime_checkable
class Target(Protocol):
    """A kind of hardware. One file a target, registered under the entry point group `budgetc.targets`."""

    kind: ClassVar[str]

    def capability(self, cpu: str | None, threads: int) -> Capability:
        """The sheet of a CPU of this kind; None is the kind's default CPU.

        Raises:
            budgetc_specs.errors.SpecError: no such CPU is known.
        """
        ...

    def cpus(self) -> Mapping[str, Capability]:
        """The sheets of all CPUs of this kind, by the names that `capability` takes, for one thread.

        Raises:
            budgetc_specs.errors.EnvironmentError_: this machine has none.
        """
        ...

    def families(self) -> Sequence[Family]:
        """Kernel families in the order in which they are offered a task."""
        ...

    def emit_object(self, functions: Sequence[Any], capability: Capability, path: Path) -> None:
        """Compile TIR functions into one relocatable object file. Imports tvm."""
        ...

    def runner(self, capability: Capability) -> Runner:
        """How programs for this target are executed on this machine."""
        ...

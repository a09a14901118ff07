"""A built library at work on this machine: linked to the harness, directly or by the target's runner."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_
from budgetc_specs.recipe import Recipe
from budgetc_targets.contract import BoardRunner, Runner

from budgetc.build import Built, Job, Optimised, build, link_produced
from budgetc.cache import cache_folder
from budgetc.load import Interface
from budgetc.measure.harness import (
    Harness,
    build_firmware,
    build_harness,
    command_line,
    module_harness,
)
from budgetc.model import Model
from budgetc.verification.verifier import Run


def start(
    built: Built, job: Job, runner: Runner, interface: Interface | None = None
) -> Harness | None:
    """The harness with a library, to be entered; None where such programs cannot be run here.

    It calls the first entry point, or the one whose interface is given.
    """
    interface = interface or built.interface
    if job.capability.system == "module":
        return start_module(built.library, interface, runner)
    if job.capability.native and job.library == "shared":
        return start_native(built.library, interface, job.capability, runner)
    archive = built.library
    if job.library == "shared":  # an emulator runs programs without dependencies only
        if runner.command(Path("program")) is None:
            return None
        cache = cache_folder() / "zig"
        archive = link_produced(built.folder, job.name, job.capability, "static", cache).library
    return start_archive(archive, interface, job.capability, runner)


def start_native(
    library: Path, interface: Interface, capability: Capability, runner: Runner
) -> Harness | None:
    """The harness that opens a shared library of this machine."""
    command = runner.command(build_harness(capability, cache_folder()))
    return Harness(command, interface, library) if command else None


def start_module(module: Path, interface: Interface, runner: Runner) -> Harness | None:
    """The harness in JavaScript, with the very module that ships."""
    command = runner.command(module_harness(cache_folder()))
    return Harness(command, interface, module) if command else None


def start_archive(
    archive: Path, interface: Interface, capability: Capability, runner: Runner
) -> Harness | None:
    """The harness with a static library linked in, as a program or as the firmware of a board."""
    if isinstance(runner, BoardRunner):
        program = build_firmware(capability, runner.memory_map, cache_folder(), archive, interface)
        command = runner.command(program)
        return Harness(command, interface, None, told=False) if command else None
    program = build_harness(capability, cache_folder(), archive, interface.symbol)
    command = command_line(program, capability, runner, cache_folder())
    return Harness(command, interface, None) if command else None


@contextmanager
def rebuilt(
    job: Job, model: Model, folder: Path, runner: Runner, *, compact: bool = False
) -> Iterator[Run]:
    """Another model, such as a part of the first, built and run as a job's own: its inferences.

    Raises:
        ChildDied: lowering crashed or hung.
        BudgetcError: it cannot be compiled, or not be run here.
    """
    built = build(job, Optimised(Recipe(()), model, ()), folder, lambda _: None, compact=compact)
    started = start(built, job, runner)
    if started is None:
        raise EnvironmentError_(f"the library cannot be run here: {runner.why_not}")
    with started as harness:
        yield harness.run

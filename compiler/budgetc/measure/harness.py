"""The shipped library at work: a small C program runs it, for every target and every figure."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt
from budgetc_specs.capability import Capability
from budgetc_specs.errors import InternalError
from budgetc_targets.contract import MemoryMap, Runner, ServedDevice, WatchedRunner

from budgetc.emit.firmware.image import firmware_sources, link_firmware
from budgetc.emit.zig import Zig
from budgetc.load import Array, Interface, Port
from budgetc.measure.conversation import ANSWER_SECONDS, Conversation

_MADE = "made"
COUNTER = "instructions"
"""File in a harness's working directory in which an emulator's plugin counts, where there is one."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one inference needs at run time, as a process that runs it sees them.

    Attributes:
        resident: growth of the resident set by the first inference, with the code and weights that
            it touched.
        anonymous: the part of the growth that is no file's: workspace, static data, stacks.
        stack: depth of the calling thread's stack below the call.
    """

    resident: int
    anonymous: int
    stack: int


def build_harness(
    capability: Capability, cache: Path, library: Path | None = None, symbol: str = ""
) -> Path:
    """The harness program for a target, built once and kept in `cache`.

    Args:
        capability: the target.
        cache: folder that holds the programs in `harness` and zig's caches in `zig`.
        library: None for a program that opens the library at run time; a static library to link it
            in. Where the target is not native, that makes a program without dependencies, which an
            emulator can run; the first one for an architecture takes a minute to build its libc.
        symbol: the function to call in a static library.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: the program does not compile or link.
    """
    source = resources.files("budgetc.emit").joinpath("harness.c").read_bytes()
    alone = library is not None and not capability.native
    target = capability.alone_target if alone else capability.zig_target
    key = hashlib.sha256(b"\0".join((source, target.encode(), symbol.encode())))
    if library is not None:
        key.update(library.read_bytes())
    linked = ["-ldl", "-lpthread"]
    if library is not None:
        linked = [f"-DSTATIC_RUN={symbol}", str(library.resolve()), "-lm", "-lpthread"]
    if alone:
        linked.append("-static")
    flags = ("-target", target, "-std=c23", "-O2", "-g0", "-s", "-fno-sanitize=all")

    def make(folder: Path) -> None:
        (folder / "harness.c").write_bytes(source)
        Zig(cache / "zig").run("cc", *flags, "harness.c", *linked, "-o", _MADE, cwd=folder)

    return _kept(cache, key.hexdigest()[:24], make)


def build_counter(interface: int, cache: Path) -> Path:
    """The plugin of qemu that counts instructions, for a version of its interface, built once and kept in `cache`.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
    """
    source = resources.files("budgetc.emit").joinpath("counter.c").read_bytes()
    key = hashlib.sha256(source).hexdigest()[:24]
    flags = ("-shared", "-fPIC", "-O2", "-std=c23", "-s", f"-DINTERFACE={interface}")

    def make(folder: Path) -> None:
        (folder / "counter.c").write_bytes(source)
        Zig(cache / "zig").run("cc", *flags, "counter.c", "-o", _MADE, cwd=folder)

    return _kept(cache, f"{key}-{interface}.so", make)


def build_agent(capability: Capability, cache: Path) -> Path:
    """The library that starts programs where only TVM's RPC server is, for a target, built once and kept in `cache`.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
    """
    source = resources.files("budgetc.emit").joinpath("agent.c").read_bytes()
    key = hashlib.sha256(b"\0".join((source, capability.zig_target.encode()))).hexdigest()[:24]
    flags = ("-target", capability.zig_target, "-std=c23", "-O2", "-g0", "-s", "-fno-sanitize=all")
    shared = ("-shared", "-fPIC", "-fvisibility=hidden", "-ldl")

    def make(folder: Path) -> None:
        (folder / "agent.c").write_bytes(source)
        Zig(cache / "zig").run("cc", *flags, *shared, "agent.c", "-o", _MADE, cwd=folder)

    return _kept(cache, f"{key}.so", make)


def command_line(
    program: Path, capability: Capability, runner: Runner, cache: Path
) -> list[str] | None:
    """What starts a program of a target that stands alone, with all that its runner wants beside it.

    That is the plugin that counts its instructions, where an emulator takes one, and the library that starts it, where
    a device is behind a server that calls functions of libraries. None where such programs cannot be run here.
    """
    if isinstance(runner, WatchedRunner) and not runner.why_not_counted:
        return runner.watched(program, build_counter(runner.plugin_interface(), cache), COUNTER)
    if isinstance(runner, ServedDevice):
        return runner.served(program, build_agent(capability, cache))
    return runner.command(program)


def module_harness(cache: Path) -> Path:
    """The harness for WebAssembly modules, a program in JavaScript, kept in `cache`; it answers to all but threads."""
    source = resources.files("budgetc.emit").joinpath("harness.mjs").read_bytes()

    def make(folder: Path) -> None:
        (folder / _MADE).write_bytes(source)

    return _kept(cache, f"{hashlib.sha256(source).hexdigest()[:24]}.mjs", make)


def _kept(cache: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A program of the cache; one that is not there yet is made by `make`, as `_MADE` in the folder that it is told."""
    programs = cache / "harness"
    program = programs / name
    if not program.exists():
        programs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=programs) as temporary:
            make(Path(temporary))
            (Path(temporary) / _MADE).replace(program)
    return program


def build_firmware(
    capability: Capability, board: MemoryMap, cache: Path, library: Path, interface: Interface
) -> Path:
    """The harness for a core without an operating system, with a static library, built once and kept in `cache`.

    It answers to `run`, `memory` and `count`.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: the program does not compile or link, or does not fit the board.
    """
    source = resources.files("budgetc.emit").joinpath("firmware", "harness.c")
    sizes = {
        "INPUTS": ",".join(str(port.nbytes) for port in interface.inputs),
        "OUTPUTS": ",".join(str(port.nbytes) for port in interface.outputs),
        "WORKSPACE_BYTES": str(interface.workspace_bytes),
        "RUN": interface.symbol,
    }
    flags = [f"-D{name}={value}" for name, value in sizes.items()]
    words = (*flags, repr(board), capability.zig_target, capability.zig_cpu)
    key = hashlib.sha256(b"\0".join([*map(str.encode, words), firmware_sources()]))
    key.update(library.read_bytes())
    programs = cache / "harness"
    program = programs / f"{key.hexdigest()[:24]}.elf"
    if not program.exists():
        programs.mkdir(parents=True, exist_ok=True)
        with resources.as_file(source) as file:
            zig = Zig(cache / "zig")
            link_firmware([file], [library], capability, board, program, zig, flags)
    return program


class Harness:
    """A running harness with one library, as a context manager.

    Args:
        command: what starts the program of `build_harness`, such as a runner's command.
        interface: how the library is called.
        library: the shared library to open; None where it is linked into the program.
        seconds: time limit of one reply.
        told: whether the program is told how the library is called; a firmware is compiled for it.
    """

    def __init__(
        self,
        command: Sequence[str],
        interface: Interface,
        library: Path | None,
        seconds: float = ANSWER_SECONDS,
        *,
        told: bool = True,
    ) -> None:
        self.interface = interface
        sizes = [str(interface.workspace_bytes)]
        for ports in (interface.inputs, interface.outputs):
            sizes += [str(len(ports)), *(str(port.nbytes) for port in ports)]
        opened = str(library.resolve()) if library else "-"
        words = [opened, interface.symbol, *sizes] if told else []
        subject = f"{interface.name}: the compiled model"
        self._talk = Conversation([*command, *words], subject, seconds)

    def __enter__(self) -> Self:
        self._talk.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._talk.__exit__(kind, error, trace)

    @property
    def machine(self) -> str:
        """The device on which the program runs, as that calls itself; empty where nothing was said of one."""
        return self._talk.machine

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run every sample once and return the outputs.

        Args:
            inputs: by name, arrays with samples on axis 0. They are fed in steps of the model's
                first dimension; a last step that is not full is left out.

        Returns:
            Arrays by output name, the steps joined on axis 0 (a scalar gives one value a step).

        Raises:
            InternalError: the arrays do not fit the interface.
            BinaryError: the library crashed, hung or returned an error code.
        """
        folder = self._talk.folder
        steps = self._write(inputs, "inputs.bin")
        done = self._talk.ask("run inputs.bin outputs.bin")
        if done != [str(steps)]:
            raise InternalError(f"BUG: the harness ran {done} of {steps} inferences")
        raw = np.fromfile(folder / "outputs.bin", np.uint8).reshape(steps, -1)
        results: dict[str, Array] = {}
        at = 0
        for port in self.interface.outputs:
            part = np.ascontiguousarray(raw[:, at : at + port.nbytes]).view(port.dtype)
            at += port.nbytes
            shape = (steps * port.shape[0], *port.shape[1:]) if port.shape else (steps,)
            results[port.name] = part.reshape(shape)
        return results

    def load(self, inputs: Mapping[str, Array]) -> None:
        """Take the first sample of `inputs` as the one that `time` runs; at first that is zeros."""
        self._write(inputs, "inputs.bin")
        self._talk.ask("load inputs.bin")

    def time(self, count: int) -> npt.NDArray[np.int64]:
        """Nanoseconds of each of `count` inferences on the loaded sample, the first ones cold."""
        return np.array(self._talk.ask(f"time {count}"), np.int64)

    def profile(self, count: int, probe: str) -> npt.NDArray[np.int64]:
        """Time the steps of a probed library (`budgetc.emit.driver.write_driver`) on the loaded sample.

        Args:
            count: inferences.
            probe: the pointer that the library exports.

        Returns:
            Nanoseconds between one call of the probe and the next, of shape (count, calls - 1).
        """
        moments = int(self._talk.ask(f"profile {count} {probe} moments.bin")[0])
        file = self._talk.folder / "moments.bin"
        return np.fromfile(file, np.int64).reshape(count, moments - 1)

    def memory(self) -> Memory:
        """Memory of the first inference of a process, measured in a process of its own."""
        self._talk.restart()
        resident, anonymous, stack = map(int, self._talk.ask("memory"))
        return Memory(resident, anonymous, stack)

    def count(self, inputs: Mapping[str, Array]) -> int:
        """Instructions of an inference of the first sample of `inputs`, as the emulator counts them.

        Where a plugin counts, what reading a command and answering it takes is in two counts alike, and falls out of
        their difference.
        """
        self.load(inputs)
        counter = self._talk.folder / COUNTER
        if not counter.exists():
            return int(self._talk.ask("count")[0])
        marks = []
        for inferences in (1, 2, 4):
            self._talk.ask(f"repeat {inferences}")
            self._until_it_waits()
            marks.append(int.from_bytes(counter.read_bytes(), "little"))
        few, many = marks[1] - marks[0], marks[2] - marks[1]
        return (many - few) // 2

    def _until_it_waits(self) -> None:
        """Until the program sleeps for its next command: behind its reply there is still something to do."""
        state = Path(f"/proc/{self._talk.process_id}/stat")
        deadline = time.monotonic() + ANSWER_SECONDS
        while state.read_text().rpartition(")")[2].split()[0] != "S":
            if time.monotonic() > deadline:
                raise InternalError("BUG: the harness does not wait for commands")
            time.sleep(0.001)

    def threads(self, threads: int, count: int, inputs: Mapping[str, Array]) -> int:
        """Run `count` inferences on each of several threads at once.

        Returns:
            The number of inferences whose outputs differ in any bit from those of one thread alone.
        """
        self._write(inputs, "inputs.bin")
        return int(self._talk.ask(f"threads {threads} {count} inputs.bin")[0])

    def _write(self, inputs: Mapping[str, Array], file: str) -> int:
        """Write samples as the harness reads them and return how many inferences they make."""
        columns = [_steps(port, inputs.get(port.name)) for port in self.interface.inputs]
        steps = {len(column) for column in columns}
        if len(steps) != 1 or steps == {0}:
            raise InternalError(
                f"BUG: the inputs hold {sorted(steps)} samples; all need the same number, not 0"
            )
        np.hstack(columns).tofile(self._talk.folder / file)
        return steps.pop()


def _steps(port: Port, array: Array | None) -> npt.NDArray[np.uint8]:
    """An input's samples as one row of bytes for each inference."""
    if array is None or array.dtype != np.dtype(port.dtype) or array.shape[1:] != port.shape[1:]:
        got = "nothing" if array is None else f"{array.dtype}{list(array.shape)}"
        raise InternalError(
            f"BUG: input {port.name!r} is {port.dtype}{list(port.shape)}; it was given {got}"
        )
    batch = port.shape[0] if port.shape else 1
    steps = len(array) // batch
    rows = np.ascontiguousarray(array[: steps * batch])
    return rows.reshape(steps, -1).view(np.uint8) if steps else np.empty((0, port.nbytes), np.uint8)

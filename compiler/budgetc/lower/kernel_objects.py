"""Kernels as machine code: each an object file of its own, kept by what it is generated from.

A kernel is compiled once for all models and recipes that need it, and predictions link the very objects that
libraries are linked from. Objects by themselves are also what makes sizes add up: where code is aligned to its place
in a larger object, as loops are on AArch64, a function's size depends on the functions before it.
"""

import contextlib
import hashlib
import json
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Kernel, Point, Target
from budgetc_targets.task import Task

from budgetc.provenance import installed_version, source_digest

GENERATOR = ("apache-tvm", "apache-tvm-ffi")
"""Distributions that decide every byte of a kernel, beside the packages of its target and its family."""

NOT_CODE = ("target", "native")
"""Fields of a sheet that say nothing about code."""


class KernelObjects:
    """The kernels of one library on their way to machine code.

    Args:
        target: whose code generator compiles them.
        capability: the target's sheet.
        folder: where objects are kept for later; None keeps none.
    """

    def __init__(self, target: Target, capability: Capability, folder: Path | None = None) -> None:
        self._target, self._capability = target, capability
        self._folder = folder / generator_key(target, capability) if folder else None
        self._objects: dict[str, bytes] = {}
        self._waiting: dict[str, tuple[Path | None, Kernel]] = {}

    def kernel(self, family: Family, task: Task, point: Point, name: str) -> Kernel:
        """A kernel by its task; its function is None where its object is there already."""
        path = self._path(family, task, point, name)
        kept = read_kernel(path) if path else None
        if kept:
            facts, self._objects[name] = kept
            return Kernel(None, facts["tasks"], facts["scratch"])
        kernel = family.build(task, self._capability, point, name)
        self._waiting[name] = path, kernel
        return kernel

    def function(self, name: str, function: Any) -> None:
        """Take a TIR function that is nobody else's."""
        self._waiting[name] = None, Kernel(function)

    @property
    def missing(self) -> int:
        """How many kernels are not compiled yet."""
        return len(self._waiting)

    def compiled(self) -> Mapping[str, bytes]:
        """The object of each kernel, by its name in the order in which they were asked for. Imports tvm if need be."""
        with tempfile.TemporaryDirectory(prefix="budgetc-kernels-") as temporary:
            for name, (path, kernel) in self._waiting.items():
                made = Path(temporary) / "kernel.o"
                self._target.emit_object([kernel.function], self._capability, made)
                self._objects[name] = made.read_bytes()
                if path:
                    _keep(path, kernel, self._objects[name])
        self._waiting.clear()
        return self._objects

    def write(self, folder: Path) -> list[Path]:
        """Write the objects into an existing folder; the files."""
        files = []
        for name, data in self.compiled().items():
            files.append(folder / object_file(name))
            files[-1].write_bytes(data)
        return files

    def _path(self, family: Family, task: Task, point: Point, name: str) -> Path | None:
        if self._folder is None:
            return None
        kinds = [f"{type(o).__module__}.{type(o).__qualname__}" for o in (self._target, family)]
        holds = sorted(vars(family).items())  # nothing, or what its code may depend on
        words = [*kinds, repr(holds), repr(task), repr(point), name]
        key = hashlib.sha256("\0".join(words).encode()).hexdigest()
        return self._folder / key[:2] / f"{key[2:32]}.kernel"


def object_file(kernel: str) -> str:
    """The name of a kernel's object in a folder."""
    return f"{kernel}.o"


def kernel_name(task: Task, point: Point) -> str:
    """The symbol of a kernel: the same in every library that has it."""
    digest = hashlib.sha256(f"{task.digest} {point!r}".encode()).hexdigest()[:12]
    return f"{task.kind.replace('-', '_')}_{digest}"


def generator_key(target: Target, capability: Capability) -> str:
    """Names what generates a sheet's kernels: hex digits of the sheet, the target, its families and TVM."""
    roots = sorted({type(o).__module__.partition(".")[0] for o in (target, *target.families())})
    sheet = json.dumps(capability.model_dump(mode="json", exclude=set(NOT_CODE)), sort_keys=True)
    words = [sheet, *map(source_digest, roots), *map(installed_version, GENERATOR)]
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:16]


def read_kernel(path: Path) -> tuple[dict[str, int], bytes] | None:
    """What is kept of a kernel; None where there is nothing, or nothing intact."""
    try:
        head, _, data = path.read_bytes().partition(b"\n")
        facts = json.loads(head)
        if facts["sha256"] == hashlib.sha256(data).hexdigest():
            return {name: int(facts[name]) for name in ("tasks", "scratch")}, data
    except (FileNotFoundError, KeyError, TypeError, ValueError):
        pass
    return None


def _keep(path: Path, kernel: Kernel, data: bytes) -> None:
    """Write a kernel whole. Nothing waits for the disk: what a crash spoils is not intact, and made again."""
    facts = {
        "tasks": kernel.tasks,
        "scratch": kernel.scratch,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with contextlib.suppress(
        OSError
    ):  # a full disk costs the next run its time, and this one nothing
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(json.dumps(facts).encode() + b"\n" + data)
        partial.replace(path)

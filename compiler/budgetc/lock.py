"""The lock of a spec: what a compilation came to, as sorted text by which it is built again byte for byte.

`NAME.lock` stands beside the spec. Beside it in turn, `NAME.lock.d` has a folder for each target with the two files
that are too long for it, whose digests it holds: the manifest, and the model as passes left it. The latter because a
CPU decides the last bits of what calibration measures: by the recipe alone, two machines may come to two libraries.
"""

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import LockError, SpecError, quoted
from budgetc_specs.spec import Spec
from budgetc_targets.contract import Point

from budgetc.fingerprint import LIBRARIES
from budgetc.load import MANIFEST
from budgetc.provenance import installed_version
from budgetc.store import write_atomic

VERSION = 1
TOOLS = ("budgetc", *LIBRARIES)

_UNDECISIVE = {"model", "data"}
"""Sections of a spec that name files: what is in these decides, not what they are called."""


@dataclass(frozen=True)
class LockedTarget:
    """What the compilation for one target came to.

    Attributes:
        kind: of the target.
        capability: sha256 of its sheet.
        recipe: the passes that were chosen.
        compact: whether the library was built to be small first.
        quantization: sha256 of all scales and zero points of the optimised model.
        machine: the kind of machine that measured, and its fingerprint.
        schedules: the point of each kernel, by its kind and its task's digest.
        figures: sizes in bytes, times in seconds, quality as the metric has it.
        verdicts: on each budget.
        files: sha256 of each file of the artefact, its manifest's among them.
    """

    kind: str
    capability: str
    recipe: str
    compact: bool
    quantization: str
    machine: Mapping[str, str]
    schedules: Mapping[str, str]
    figures: Mapping[str, float | str]
    verdicts: Mapping[str, str]
    files: Mapping[str, str]

    @property
    def points(self) -> tuple[dict[str, Any], ...]:
        """The schedules as `budgetc.produce.produce` takes them.

        Raises:
            ValueError: a schedule is no text of `schedule_text`.
        """
        found = []
        for name, text in self.schedules.items():
            kernel, _, task = name.rpartition(" ")
            knobs = [each.partition("=") for each in text.split(", ") if each]
            point = [[knob, int(value)] for knob, _, value in knobs]
            found.append({"kernel": kernel, "task": task, "point": point})
        return tuple(found)


@dataclass(frozen=True)
class Lock:
    """A lock as it is read or written.

    Attributes:
        path: its file.
        name: of the artefact.
        spec: every value of the spec that is not a default, by its dotted key: text as it is, all else as JSON.
        inputs: sha256 of the model as it is loaded, external data within, and of data and metric.
        tools: versions.
        targets: by name.
    """

    path: Path
    name: str
    spec: Mapping[str, str]
    inputs: Mapping[str, str]
    tools: Mapping[str, str]
    targets: Mapping[str, LockedTarget]

    def record(self, target: str) -> Path:
        """The folder with the longer files of a target."""
        return records_folder(self.path) / target

    def recorded(self, target: str, name: str) -> bytes:
        """A file of `record`, whole.

        Raises:
            LockError: it is missing, or not the one that the lock means.
        """
        path, wanted = self.record(target) / name, self.targets[target].files.get(name)
        try:
            data = path.read_bytes()
        except OSError as error:
            raise LockError(
                f"{path}, which belongs to the lock, cannot be read: {error.strerror}",
                f"keep {records_folder(self.path).name} beside {self.path.name}, in version control too; "
                f"{self.again}",
            ) from error
        found = hashlib.sha256(data).hexdigest()
        if found != wanted:
            raise LockError(
                f"{path} is not the file that the lock means: sha256 {wanted} in the lock, {found} now",
                f"bring back the file that was locked; or {self.again}",
            )
        return data

    @property
    def again(self) -> str:
        """How a lock is renewed."""
        return "`budgetc lock SPEC` makes the lock anew."

    def to_text(self) -> str:
        """As the file has it: TOML, sorted, the same text for the same values."""
        lines = [
            "# What `budgetc lock` found: `budgetc compile --locked` builds it again. Not to be edited by hand.",
            f"lock = {VERSION}",
            f"name = {_value(self.name)}",
        ]
        for title, values in (("spec", self.spec), ("inputs", self.inputs), ("tools", self.tools)):
            lines += ["", f"[{title}]", *_table(values)]
        for name, target in sorted(self.targets.items()):
            values = vars(target)
            plain = {k: v for k, v in values.items() if not isinstance(v, Mapping)}
            lines += ["", f"[targets.{_key(name)}]", *_table(plain)]
            for key in sorted(k for k, v in values.items() if isinstance(v, Mapping)):
                lines += ["", f"[targets.{_key(name)}.{key}]", *_table(values[key])]
        return "\n".join(lines) + "\n"


def lock_file(spec: Path) -> Path:
    """Where a spec's lock is by default."""
    return spec.with_suffix(".lock")


def records_folder(lock: Path) -> Path:
    """The folder beside a lock with what is too long for it."""
    return lock.with_name(f"{lock.name}.d")


def files_of(lock: Lock) -> list[Path]:
    """The lock's own files, as far as they are there."""
    records = records_folder(lock.path)
    return [lock.path, *sorted(p for p in records.rglob("*") if p.is_file())]


def read_lock(path: Path) -> Lock:
    """Read a lock.

    Raises:
        LockError: there is none, or it is damaged or of another version.
    """
    again = "`budgetc lock SPEC` makes it."
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
        if read["lock"] != VERSION:
            raise LockError(f"{path} is a lock of version {quoted(read['lock'])}", again)
        return Lock(
            path=path,
            name=str(read["name"]),
            spec=_texts(read["spec"]),
            inputs=_texts(read["inputs"]),
            tools=_texts(read["tools"]),
            targets={n: _target(n, read["targets"][n]) for n in sorted(read["targets"])},
        )
    except OSError as error:
        raise LockError(f"{path}: there is no lock to be read: {error.strerror}", again) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise LockError(
            f"{path} is damaged: {error}", "bring it back, or make it anew: `budgetc lock SPEC`."
        ) from error


def write_lock(lock: Lock, artefacts: Mapping[str, Path]) -> None:
    """Write a lock and what belongs to it; what a target had that the spec has no more goes.

    Args:
        lock: what to write.
        artefacts: the folder of each target's artefact.
    """
    records = records_folder(lock.path)
    for name, target in lock.targets.items():
        folder = lock.record(name)
        folder.mkdir(parents=True, exist_ok=True)
        kept = {n for n in target.files if n == MANIFEST or n.endswith(".onnx")}
        for file in sorted(kept):
            data = (artefacts[name] / file).read_bytes()
            if not _holds(folder / file, data):
                write_atomic(folder / file, data)
        _clear(folder, keep=kept)
    for folder in sorted(records.iterdir()):
        if folder.is_dir() and folder.name not in lock.targets:
            _clear(folder, keep=set())
    text = lock.to_text().encode()
    if not _holds(lock.path, text):
        write_atomic(lock.path, text)


def spec_values(spec: Spec) -> dict[str, str]:
    """What a spec means, by dotted keys: every value that is not a default, files by their names alone.

    The model and the data are not in it: what they hold counts, not where they lie. Nor is a baseline, which decides
    nothing of what is built; it often is the lock before, which a new one takes the place of.
    """
    spec = _without_baseline(spec)
    written = spec.model_dump(mode="json", exclude_defaults=True, exclude=_UNDECISIVE)
    values = spec.model_dump(mode="python", exclude_defaults=True, exclude=_UNDECISIVE)
    search = {k: v for k, v in written.pop("search", {}).items() if k != "executor"}
    if search:  # who works does not count, only what is made
        written["search"] = search
    return dict(sorted(_flat("", written, values)))


def _without_baseline(spec: Spec) -> Spec:
    def freed(budgets: Budgets) -> dict[str, Budgets]:
        return {"budgets": budgets.model_copy(update={"max_regression": None})}

    targets = {n: t.model_copy(update=freed(t.budgets)) for n, t in spec.targets.items()}
    return spec.model_copy(update={**freed(spec.budgets), "targets": targets})


def differences(kind: str, locked: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """A line for each value that differs, with the old one and the new one."""
    return [
        f"{kind} {key}: {locked.get(key, 'absent')} in the lock, {now.get(key, 'absent')} now"
        for key in sorted({*locked, *now})
        if locked.get(key) != now.get(key)
    ]


def check_fits(lock: Lock, found: Sequence[str]) -> None:
    """Refuse a lock for the differences that were found.

    Raises:
        LockError: there are some.
    """
    if found:
        changes = "\n".join(f"  {line}" for line in found)
        raise LockError(
            f"{lock.path} does not fit any more:\n{changes}",
            f"undo what changed; or {lock.again}",
        )


def tool_versions() -> dict[str, str]:
    """The versions of all that decides the bytes of an artefact."""
    return {name: installed_version(name) for name in TOOLS}


def schedule_text(point: Point) -> str:
    """A kernel's point as a lock has it."""
    return ", ".join(f"{knob}={value}" for knob, value in point)


def check_targets(lock: Lock, names: Sequence[str]) -> None:
    """Refuse targets that the lock does not have.

    Raises:
        SpecError: it has not got one of them.
    """
    for name in names:
        if name not in lock.targets:
            known = ", ".join(lock.targets)
            raise SpecError.of(f"{lock.path} has no target {quoted(name)}", f"it has {known}.")


def _flat(prefix: str, written: Any, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(written, dict) and written:
        for key, inner in written.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner, value[key])
    else:
        plain = value.name if isinstance(value, Path) else written
        yield prefix, plain if isinstance(plain, str) else json.dumps(plain)


def _target(name: str, read: Mapping[str, Any]) -> LockedTarget:
    figures = {str(k): v if isinstance(v, str) else float(v) for k, v in read["figures"].items()}
    target = LockedTarget(
        kind=str(read["kind"]),
        capability=str(read["capability"]),
        recipe=str(read["recipe"]),
        compact=bool(read["compact"]),
        quantization=str(read["quantization"]),
        machine=_texts(read["machine"]),
        schedules=_texts(read["schedules"]),
        figures=figures,
        verdicts=_texts(read["verdicts"]),
        files=_texts(read["files"]),
    )
    _ = target.points  # which says whether they can be read
    for file in (name, *target.files):
        if Path(file).name != file:
            raise ValueError(f"it may not name {quoted(file)}")
    return target


def _texts(read: Mapping[str, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in read.items()}


def _table(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in sorted(values.items())]


def _key(key: str) -> str:
    bare = key.replace("-", "").replace("_", "")
    return key if bare.isascii() and bare.isalnum() else _value(key)


def _value(value: Any) -> str:
    """A value as TOML: its basic strings are those of JSON, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _clear(folder: Path, keep: set[str]) -> None:
    """Remove records that nobody needs any more, and the folder where nothing else is in it."""
    for file in sorted(folder.iterdir()):
        if file.name not in keep and (file.name == MANIFEST or file.suffix == ".onnx"):
            file.unlink()
    if not keep and not any(folder.iterdir()):
        folder.rmdir()

"""From a spec to its lock, and from a lock to the very artefact again: no search, no measurement, no tuning."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from budgetc_specs.capability import Capability
from budgetc_specs.errors import LockError
from budgetc_specs.recipe import parse_recipe
from budgetc_specs.spec import Spec
from onnx import numpy_helper

from budgetc.artefact import read_artefact, recorded_trial, write_files
from budgetc.build import Job, Optimised, build, run_passes, write_models
from budgetc.cache import using_cache
from budgetc.compile import compile as compile_
from budgetc.compile import load_inputs, named_targets, source_digests, write_result
from budgetc.entries import entry_names, model_file
from budgetc.hardware import hardware_of
from budgetc.learning import learning_of
from budgetc.load import MANIFEST, Interface
from budgetc.lock import (
    Lock,
    LockedTarget,
    check_fits,
    check_targets,
    differences,
    read_lock,
    records_folder,
    schedule_text,
    spec_values,
    tool_versions,
    write_lock,
)
from budgetc.model import Model, parse_model
from budgetc.progress import Event, Observer, ignore
from budgetc.result import Result
from budgetc.splits import Splits
from budgetc.store import (
    check_replaceable,
    file_digest,
    json_digest,
    locked_folder,
    replace_folder_atomically,
    staging_folder,
)
from budgetc.tuning.records import point_from_json

_NOT_INPUTS = {"passes"}
"""Of an artefact's sources, what the spec says rather than a file holds."""


@dataclass(frozen=True)
class Sources:
    """What a spec names, as it is now, for a lock that is to fit it.

    Attributes:
        spec: the spec.
        model: its model.
        splits: its data.
    """

    spec: Spec
    model: Model
    splits: Splits

    @staticmethod
    def of(spec: Spec) -> "Sources":
        """Read all that a spec names.

        Raises:
            BudgetcError: something is wrong with it.
        """
        model, splits, _ = load_inputs(spec)
        return Sources(spec, model, splits)


def lock(spec: Spec, file: Path, *, out: Path | None = None, observer: Observer = ignore) -> Result:
    """Compile a spec for all its targets, and where every budget is met write its lock.

    Args:
        spec: what to compile.
        file: the lock to write; what is too long for it lies beside.
        out: as `budgetc.compile.compile` has it.
        observer: told what happens.

    Returns:
        What `budgetc.compile.compile` returns. The lock is left as it was where a budget is missed.

    Raises:
        BudgetcError: the spec, the model, the data or this machine does not allow it.
    """
    result = compile_(spec, out=out, observer=observer)
    if result.exit_code == 0:
        folders = {t.target: t.folder for t in result.targets if t.folder is not None}
        manifests = {name: read_artefact(folder) for name, folder in folders.items()}
        first = next(iter(manifests.values()))
        made = Lock(
            path=file,
            name=spec.output.name,
            spec=spec_values(spec),
            inputs=_inputs(first["sources"]),
            tools=tool_versions(),
            targets={name: locked_target(folders[name], m) for name, m in manifests.items()},
        )
        write_lock(made, folders)
    return result


def locked_target(folder: Path, manifest: Mapping[str, Any]) -> LockedTarget:
    """What a lock says of the artefact in a folder."""
    sheet = Capability.model_validate(manifest["target"])
    parts, files = manifest["parts"], dict(manifest["files"])
    models = [folder / name for name in sorted(files) if name.endswith(".onnx")]
    return LockedTarget(
        kind=sheet.target,
        capability=sheet_digest(sheet),
        recipe=manifest["recipe"],
        compact=parts["compact"],
        quantization=quantization_digest([path.read_bytes() for path in models]),
        machine=dict(manifest["machine"]),
        schedules={
            f"{each['kernel']} {each['task']}": schedule_text(point_from_json(each["point"]))
            for each in parts["points"]
        },
        figures=_figures(manifest["measurement"]),
        verdicts={v["budget"]: v["status"] for v in manifest["verdicts"]},
        files={**files, MANIFEST: file_digest(folder / MANIFEST)},
    )


def sheet_digest(sheet: Capability) -> str:
    """sha256 of a capability sheet, in hex."""
    return json_digest(sheet.model_dump(mode="json"))


def quantization_digest(models: Sequence[bytes]) -> str:
    """sha256 of every scale and zero point of models, by the names of their values, in hex."""
    digest = hashlib.sha256()
    for data in models:
        graph = onnx.load_model_from_string(data).graph
        quantizers = (n for n in graph.node if n.op_type in {"QuantizeLinear", "DequantizeLinear"})
        wanted = {name for node in quantizers for name in node.input[1:]}
        for tensor in sorted(graph.initializer, key=lambda each: each.name):
            if tensor.name in wanted:
                array = np.ascontiguousarray(numpy_helper.to_array(tensor))
                digest.update(f"{tensor.name} {array.dtype} {array.shape}\0".encode())
                digest.update(array.tobytes())
    return digest.hexdigest()


def compile_locked(
    file: Path,
    sources: Sources | None,
    *,
    targets: Sequence[str] | None = None,
    out: Path | None = None,
    observer: Observer = ignore,
) -> dict[str, Any]:
    """Build the artefacts of a lock again, byte for byte.

    Nothing is searched, measured or tuned: the model that passes left stands beside the lock, kernels are built at the
    points of the lock, and what is linked must have the digests of the lock. That is also why no number is compared:
    the bytes are those that were verified.

    Args:
        file: the lock.
        sources: what the lock must fit; None takes the lock for the truth, and needs neither spec, model nor data.
        targets: some of the lock's; None takes all.
        out: folder with one folder for each target; by default `build/<name>` in the working directory.
        observer: told what happens.

    Returns:
        The result as `result.json` holds it, with the figures that were measured for the lock.

    Raises:
        LockError: the lock does not fit the sources, the tools or its own files, or leads to other bytes here.
        BudgetcError: the spec, the model or this machine does not allow it.
    """
    found = read_lock(file)
    if sources is not None and targets is not None:
        named_targets(sources.spec, targets)
    chosen = list(dict.fromkeys(targets)) if targets else list(found.targets)
    check_fits(found, _changes(found, sources))
    check_targets(found, chosen)
    destination = (out or Path("build") / found.name).absolute()
    folders = {name: destination / name for name in chosen}
    with ExitStack() as stack:
        stack.enter_context(using_cache())
        for name, folder in folders.items():
            check_replaceable(folder)

            def waiting(name: str = name) -> None:
                observer(Event("note", name, text="another run writes to this folder: waiting"))

            stack.enter_context(locked_folder(folder, waiting))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budgetc-")))
        for name, folder in folders.items():
            if _is_there(folder, found.targets[name]):
                observer(Event("note", name, text="built already, with the digests of the lock"))
                continue
            (scratch / name).mkdir()
            _build(found, name, sources, scratch / name, folder, observer)
        result = _result(found, folders)
        write_result(result, destination)
    return result


def _result(found: Lock, folders: Mapping[str, Path]) -> dict[str, Any]:
    """The result that a build from a lock comes to, as JSON: all figures in it are those of when it was locked."""
    targets = []
    for name, folder in folders.items():
        manifest = json.loads(found.recorded(name, MANIFEST))
        chosen, machine = recorded_trial(manifest), manifest["machine"]
        targets.append(
            {
                "target": name,
                "capability": manifest["target"],
                "exit_code": 0,  # a lock is written only where every budget is met
                "folder": str(folder),
                "chosen": chosen,
                "certificate": "",
                "baseline": {},
                "proof": None,
                "search": None,
                "pays": [],
                "strategy": None,
                "sensitivity": [],
                "layers": list(chosen["parts"].get("layers", ())),
                "trials": [chosen],
                "locked": {
                    **machine,
                    "text": f"measured when it was locked, on {machine['cpu']}; not in this run",
                },
            }
        )
    return {"budgetc": 1, "name": found.name, "exit_code": 0, "targets": targets}


def _changes(found: Lock, sources: Sources | None) -> list[str]:
    """All in which the lock differs from what is now."""
    changes = differences("tool", found.tools, tool_versions())
    if sources is None:
        return changes
    spec = sources.spec
    changes += differences("spec", found.spec, spec_values(spec))
    now = source_digests(spec, sources.model, sources.splits)
    changes += differences("input", found.inputs, _inputs(now))
    for name in spec.targets:
        if name not in found.targets:
            changes.append(f"target {name}: absent in the lock")
        elif spec.targets[name].kind != "host" or spec.targets[name].board is not None:
            # A host is the machine that locked: its sheet is in the lock, and no other machine is asked.
            now = {"sheet": sheet_digest(hardware_of(spec, name).capability)}
            locked = {"sheet": found.targets[name].capability}
            changes += differences(f"target {name}", locked, now)
    return changes


def _build(
    found: Lock,
    name: str,
    sources: Sources | None,
    scratch: Path,
    destination: Path,
    observer: Observer,
) -> None:
    """Build one target, compare it with the lock, and put it in the destination's place."""

    def say(text: str) -> None:
        observer(Event("stage", name, target.recipe, text, 1, 1))

    target = found.targets[name]
    record = found.recorded(name, MANIFEST)
    manifest = json.loads(record)
    sheet = Capability.model_validate(manifest["target"])
    observer(Event("target", name, text=f"{target.kind}, {sheet.cpu}, as locked"))
    source = sources.model if sources else None
    job = Job(
        model=source or _model(found, name, manifest),
        model_file=scratch / "model.onnx",
        calibration=sources.splits.calibration.path
        if sources and sources.splits.calibration
        else None,
        kind=target.kind,
        capability=sheet,
        name=manifest["name"],
        library="static" if manifest["library"].endswith(".a") else "shared",
        points=target.points,
        learning=learning_of(sources.spec, sources.splits.training, sources.splits.calibration)
        if sources
        else None,
    )
    if source is not None and not all(
        (found.record(name) / file).exists() for file in _model_files(manifest)
    ):
        write_models(source, job.model_file)
        optimised = _replayed(found, name, job, scratch, observer)
    else:
        recipe = parse_recipe(target.recipe)
        optimised = Optimised(recipe, _model(found, name, manifest), tuple(manifest["ledger"]))
    built = build(job, optimised, scratch, say, compact=target.compact)
    staging = staging_folder(destination)
    try:
        write_files(built, sheet, staging)
        (staging / MANIFEST).write_bytes(record)
        _check_bytes(found, name, staging, built.points)
        replace_folder_atomically(staging, destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    observer(Event("note", name, text="built, with the digests of the lock"))


def _replayed(found: Lock, name: str, job: Job, scratch: Path, observer: Observer) -> Optimised:
    """The recipe run once more, where what it came to is not beside the lock; it must come to the same.

    Raises:
        LockError: it comes to another model, as calibration may on another CPU.
    """
    observer(Event("stage", name, text="running the recipe: its model is not beside the lock"))
    recipe = parse_recipe(found.targets[name].recipe)
    optimised = run_passes(job, recipe, scratch, lambda _: None)
    files = found.targets[name].files
    models = optimised.model.entries
    for file, model in zip(_names_of(models), models, strict=True):
        if model.digest != files.get(file):
            raise LockError(
                f"the recipe {recipe} comes to another model here: sha256 {files.get(file)} in the lock, "
                f"{model.digest} now. Calibration is float arithmetic, which differs between CPUs.",
                f"keep {records_folder(found.path).name} beside the lock, which has the model; or {found.again}",
            )
    return optimised


def _check_bytes(found: Lock, name: str, folder: Path, points: Sequence[Mapping[str, Any]]) -> None:
    """Compare what was built with the lock: its digests are the proof.

    Raises:
        LockError: it differs.
    """
    target = found.targets[name]
    made = {p.name: file_digest(p) for p in folder.iterdir()}
    changes = differences("file", target.files, made)
    if changes:
        now = {
            f"{p['kernel']} {p['task']}": schedule_text(point_from_json(p["point"])) for p in points
        }
        changes += differences("schedule", target.schedules, now)
        listed = "\n".join(f"  {line}" for line in changes)
        raise LockError(
            f"{found.path}: what is built for {name} is not what was locked:\n{listed}",
            f"the code of budgetc or of a plugin has changed though its version has not: {found.again}",
        )


def _model(found: Lock, name: str, manifest: Mapping[str, Any]) -> Model:
    """The optimised model beside the lock, for all of its shapes."""
    path = found.record(name) / model_file("")
    first, *further = (
        parse_model(found.recorded(name, file), path) for file in _model_files(manifest)
    )
    return replace(first, further=tuple(further))


def _model_files(manifest: Mapping[str, Any]) -> list[str]:
    """The optimised models of an artefact, in the order of its entry points."""
    return _names_of(Interface.from_json(manifest).entries)


def _names_of(entries: Sequence[Model] | Sequence[Interface]) -> list[str]:
    return [model_file(each) for each in entry_names(entries)]


def _is_there(folder: Path, target: LockedTarget) -> bool:
    """Whether a folder holds exactly what a lock says."""
    if not folder.is_dir():
        return False
    return {p.name: file_digest(p) for p in folder.iterdir() if p.is_file()} == target.files


def _inputs(sources: Mapping[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in sources.items() if name not in _NOT_INPUTS}


def _figures(measurement: Mapping[str, Any]) -> dict[str, float | str]:
    """The figures that budgets are about: bytes, seconds, and quality as its metric has it.

    Those of further entry points have the entry's name behind a space.
    """
    latency, quality = measurement["latency"], measurement["quality"]
    found: dict[str, float | str] = {
        "size_bytes": measurement["size"]["bytes"],
        **_entry_figures(measurement, ""),
    }
    for entry, each in measurement.get("entries", {}).items():
        found |= _entry_figures(each, f" {entry}")
    if latency:
        found["latency_statistic"] = latency["statistic"]
        if measurement["device"]:
            found["latency_device"] = measurement["device"]
    if quality:
        found["quality_metric"] = quality["metric"]
        found["quality"], found["quality_drop"] = quality["value"], quality["drop"]
        found["quality_samples"] = quality["samples"]
    return found


def _entry_figures(measurement: Mapping[str, Any], suffix: str) -> dict[str, float | str]:
    """Memory and latency of one entry point; `stack_bytes` where a run has measured it."""
    memory, latency = measurement["memory"], measurement["latency"]
    found: dict[str, float | str] = {f"memory_bytes{suffix}": memory["bytes"]}
    if memory["stack"] is not None:
        found[f"stack_bytes{suffix}"] = memory["stack"]
    if latency:
        found[f"latency_s{suffix}"] = latency["seconds"]["ours"]
        low, high = latency["interval_s"]
        found |= {f"latency_low_s{suffix}": low, f"latency_high_s{suffix}": high}
    return found

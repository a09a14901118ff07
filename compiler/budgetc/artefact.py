"""The folder that ships: library, header, optimised model and a manifest that says what they are and how they did."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, SpecError, quoted

from budgetc.build import Built
from budgetc.emit.loader import render_loader
from budgetc.entries import entry_names, model_file
from budgetc.load import MANIFEST
from budgetc.machine import machine_fingerprint, machine_words
from budgetc.provenance import installed_version
from budgetc.result import Trial, trial_json
from budgetc.store import (
    file_digest,
    keep_times,
    replace_folder_atomically,
    staging_folder,
)

TOOLS = ("budgetc", "apache-tvm", "apache-tvm-ffi", "onnx", "onnxruntime", "ziglang", "numpy")


def write_artefact(
    built: Built,
    trial: Trial,
    capability: Capability,
    digests: Mapping[str, str],
    destination: Path,
) -> None:
    """Put the artefact in the destination's place, all of it or nothing. The folder's lock must be held.

    Args:
        built: what was linked.
        trial: the candidate it is, with its verdicts.
        capability: the target's sheet.
        digests: sha256 of what it was made from, by role.
        destination: the folder to replace.

    Raises:
        SpecError: the destination holds something that is no artefact.
    """
    staging = staging_folder(destination)
    try:
        write_files(built, capability, staging)
        (staging / MANIFEST).write_text(
            json.dumps(_manifest(built, trial, capability, digests, staging), indent=2) + "\n"
        )
        keep_times(staging, destination)
        replace_folder_atomically(staging, destination)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_files(built: Built, capability: Capability, folder: Path) -> None:
    """Put all files of an artefact but its manifest into an existing folder."""
    shutil.copyfile(built.library, folder / built.library.name)
    (folder / built.library.name).chmod(0o755 if built.library.suffix == ".so" else 0o644)
    shutil.copyfile(built.header, folder / built.header.name)
    if capability.system == "module":
        loader = folder / f"{built.interface.name}.mjs"
        loader.write_text(render_loader(built.interface))
    models = built.optimised.model.entries
    for name, model in zip(entry_names(models), models, strict=True):
        (folder / model_file(name)).write_bytes(model.data)


def read_artefact(folder: Path) -> dict[str, Any]:
    """The manifest of a folder in which every file is still what was written.

    Raises:
        SpecError: the folder holds no artefact.
        ModelError: the manifest is damaged, or a file is missing or has changed.
    """
    path = folder / MANIFEST
    if not path.is_file():
        below = sorted(str(p.parent) for p in folder.glob(f"*/{MANIFEST}"))
        hint = f"did you mean {' or '.join(below)}?" if below else "give the folder of one target."
        raise SpecError.of(f"{folder} holds no {MANIFEST}", hint)
    again = "compile the model again."
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = dict(manifest["files"])
        wanted = {str(manifest["library"]), "optimised.onnx"}
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error!r}", again) from error
    for name in sorted({*files, *wanted}):
        if Path(name).name != name or name not in files:
            raise ModelError(f"{path} is damaged: it may not name {quoted(name)}", again)
        if not (folder / name).is_file():
            raise ModelError(f"{folder / name} is missing", again)
        if file_digest(folder / name) != files[name]:
            raise ModelError(f"{folder / name} is not the file that was written", again)
    return manifest


def recorded_trial(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate that a manifest is about, as `budgetc.result.trial_json` has it."""
    empty = trial_json(Trial("", "feasible"))
    return {key: manifest.get(key, value) for key, value in empty.items()}


def _manifest(
    built: Built,
    trial: Trial,
    capability: Capability,
    digests: Mapping[str, str],
    folder: Path,
) -> dict[str, Any]:
    made = sorted(p.name for p in folder.iterdir())
    return {
        "manifest": 1,
        **built.interface.to_json(),
        "target": capability.model_dump(mode="json"),
        **trial_json(trial),
        "sources": dict(digests),
        "files": {n: file_digest(folder / n) for n in made},
        "tools": {name: installed_version(name) for name in TOOLS},
        "machine": {"cpu": machine_words(), "fingerprint": machine_fingerprint()},
    }

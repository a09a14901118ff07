"""This project's side of a benchmark: a library built as `budgetc compile` builds it, and timed by the host program."""

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from budgetc.build import Built, Job, build, run_passes
from budgetc.load import Interface
from budgetc.model import Model, load_model
from budgetc.predict.profile import profile
from budgetc.registry import find_target
from budgetc_specs.recipe import parse_recipe

from benchmarks.machine import build_program, pinned

FLOAT = "clean | fuse | clean"
INT8 = f"{FLOAT} | quantize"
BF16 = f"{FLOAT} | bf16"
RECIPES = {"float": FLOAT, "bf16": BF16, "int8": INT8}
"""By the precision of what they make."""
_SOURCE = Path(__file__).with_name("host.c")
_SECONDS = 900.0


def multiplies_halves() -> bool:
    """Whether this machine has a dot product of bfloat16 numbers, without which `BF16` changes nothing."""
    return find_target("host").capability(None, 1).bfloat16_dot is not None


@dataclass(frozen=True)
class Tuning:
    """So many seconds of tuning, going on from the records in a folder."""

    seconds: float
    records: Path


def build_library(
    model: Path,
    recipe: str,
    threads: int,
    folder: Path,
    *,
    calibration: Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    tuning: Tuning | None = None,
) -> Built:
    """Compile a model into `folder`: the library, `optimised.onnx` and `interface.json`.

    Nothing is measured but what `tuning` asks for.
    """
    loaded = load_model(model, shapes)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
        job = _job(loaded, threads, Path(scratch), calibration)
        if tuning:
            job = replace(job, tuning=tuning.seconds, records=tuning.records)
        built = _build(job, recipe)
        shutil.copyfile(built.library, folder / built.library.name)
    (folder / "optimised.onnx").write_bytes(built.optimised.model.data)
    (folder / "interface.json").write_text(json.dumps(built.interface.to_json()))
    return built


def time_calls(
    model: Path, recipe: str, threads: int, inputs: Mapping[str, Any], rounds: int
) -> list[tuple[str, float]]:
    """Kind and seconds of each kernel call of a model, in their places; the median of so many processes.

    Args:
        model: the file.
        recipe: as which it is built.
        threads: of an inference, and processors it is pinned to.
        inputs: by name, arrays with samples on axis 0.
        rounds: processes.
    """
    with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
        job = _job(load_model(model), threads, Path(scratch), None)
        built = _build(job, recipe)
        runner = find_target(job.kind).runner(job.capability)
        with pinned(threads):
            found = [profile(built, built.folder, job, runner, inputs) for _ in range(rounds)]
    assert all(found), "BUG: code for this machine does not run on it"
    return [
        (same[0].layer.operator, statistics.median(call.seconds for call in same))
        for same in zip(*(calls for calls in found if calls), strict=True)
    ]


def _job(loaded: Model, threads: int, work: Path, calibration: Path | None) -> Job:
    (work / "model.onnx").write_bytes(loaded.data)
    return Job(
        model=loaded,
        model_file=work / "model.onnx",
        calibration=calibration,
        kind="host",
        capability=find_target("host").capability(None, threads),
        name="model",
        library="shared",
    )


def _build(job: Job, recipe: str) -> Built:
    work = job.model_file.parent
    return build(job, run_passes(job, parse_recipe(recipe), work, _silent), work, _silent)


def time_library(
    folder: Path, samples: Path, seconds: float, threads: int, answers: Path | None = None
) -> dict[str, Any]:
    """One measurement in a fresh, pinned process.

    Args:
        folder: what `build_library` wrote.
        samples: their bytes, one after the other.
        seconds: how long inferences are timed.
        threads: processors it is pinned to.
        answers: where to write the outputs of all samples, as `reference.npz` has them.

    Returns:
        `median`, `best` and `runs` of an inference, `cold` start, in seconds; `resident` growth and `deploy`, in bytes.
    """
    interface = read_interface(folder)
    sizes = [str(interface.workspace_bytes)]
    library = folder / interface.library
    ports = []
    for group in (interface.inputs, interface.outputs):
        ports += [str(len(group)), *(str(p.nbytes) for p in group)]
    program = build_program(_SOURCE)
    with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
        raw = Path(scratch) / "answers.bin"
        command = [
            *(str(program), str(library.resolve()), interface.symbol, *sizes),
            *(f"{seconds}", str(samples), str(raw) if answers else "-", *ports),
        ]
        with pinned(threads):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr.strip()[-200:]}")
        if answers:
            _write_answers(raw, interface, answers)
    said = json.loads(done.stdout)
    taken = said.pop("nanoseconds")
    return {
        **said,
        "median": statistics.median(taken) * 1e-9,
        "best": min(taken) * 1e-9,
        "runs": len(taken),
        "deploy": library.stat().st_size,
    }


def read_interface(folder: Path) -> Interface:
    """How the library in a folder is called."""
    return Interface.from_json(json.loads((folder / "interface.json").read_text()))


def _write_answers(raw: Path, interface: Interface, file: Path) -> None:
    bytes_of = np.fromfile(raw, np.uint8).reshape(-1, sum(p.nbytes for p in interface.outputs))
    answers: dict[str, Any] = {}
    at = 0
    for index, port in enumerate(interface.outputs):
        part = np.ascontiguousarray(bytes_of[:, at : at + port.nbytes])
        answers[str(index)] = part.view(port.dtype)
        at += port.nbytes
    np.savez(file, **answers)


def _silent(stage: str) -> None:
    del stage

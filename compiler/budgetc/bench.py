"""Measure an artefact folder again, on this machine: intact files, memory, and latency beside onnxruntime."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import LatencyBudget, Peer, Relative
from budgetc_specs.capability import Capability
from budgetc_specs.errors import BudgetcError, EnvironmentError_, SpecError, quoted

from budgetc.artefact import read_artefact
from budgetc.assess import synthetic
from budgetc.baseline import make_session, timer
from budgetc.cache import cache_folder
from budgetc.entries import entry_names, model_file
from budgetc.load import Interface
from budgetc.measure.harness import Harness, build_harness
from budgetc.measure.latency import Latency, Statistic, measure_latency
from budgetc.measure.memory import Memory, memory_of
from budgetc.measure.size import Size, size_of
from budgetc.model import Model, parse_model
from budgetc.plugins import installed
from budgetc.predict.profile import Call
from budgetc.predict.replay import replay
from budgetc.registry import TARGETS, find_target

PEER: Peer = "onnxruntime"
STATISTICS: tuple[Statistic, ...] = ("p50", "p90", "p99", "mean")


@dataclass(frozen=True)
class Benchmark:
    """What was measured of an artefact.

    Attributes:
        folder: where it is.
        recipe: what made it.
        capability: the sheet it was made for.
        size: of the library.
        memory: of one inference.
        parts: what the manifest says of the library: its arena with bounds and map, kernels, calls.
        latency: beside onnxruntime on the optimised model, one and the other with as many threads as the target
            has; None where it cannot be timed here.
        reason: why not.
        calls: what each call of the entry point took; None where that was not asked for or is not known.
        calls_reason: why it is not known.
    """

    folder: Path
    recipe: str
    capability: Capability
    size: Size
    memory: Memory
    parts: Mapping[str, Any]
    latency: Latency | None
    reason: str = ""
    calls: tuple[Call, ...] | None = None
    calls_reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, in bytes and seconds: what `--json` prints."""
        found: dict[str, Any] = {
            "budgetc": 1,
            "folder": str(self.folder),
            "recipe": self.recipe,
            "target": self.capability.model_dump(mode="json"),
            "size": {"bytes": self.size.deployed},
            "memory": {
                "bytes": self.memory.total,
                "arena": self.memory.arena,
                "static": self.memory.static,
                "stack": self.memory.stack,
                "observed": self.memory.observed,
            },
            "arena": {
                "bytes": self.parts.get("arena"),
                "lower_bound": self.parts.get("arena_lower_bound"),
                "order_bound": self.parts.get("arena_order_bound"),
                "map": self.parts.get("arena_map"),
            },
            "latency": None,
            "reason": self.reason,
            "layers": None if self.calls is None else [call.to_json() for call in self.calls],
            "layers_reason": self.calls_reason,
        }
        if (latency := self.latency) and latency.ratio_interval:
            timings = {"ours": latency.ours, **latency.peers}
            found["latency"] = {
                "runs": latency.ours.runs,
                "seconds": {n: {s: t.statistic(s) for s in STATISTICS} for n, t in timings.items()},
                "p50_interval_s": [latency.interval.low, latency.interval.high],
                "ratio": latency.ratio,
                "ratio_interval": [latency.ratio_interval.low, latency.ratio_interval.high],
            }
        return found


def bench(folder: Path, runs: int, entry: str = "", *, layers: bool = False) -> Benchmark:
    """Measure the artefact in a folder, on made-up inputs.

    Args:
        folder: as `budgetc compile` has written it.
        runs: timed inferences of each contestant.
        entry: which entry point, by the shapes in its name; by default the first.
        layers: whether each call is timed by itself as well, for which the library is built once more.

    Raises:
        SpecError: the folder holds no artefact, or the library has no such entry point.
        ModelError: a file is missing or is not the one that was written.
        BinaryError: the library crashed or hung.
    """
    manifest = read_artefact(folder)
    entries = Interface.from_json(manifest).entries
    by_name = dict(zip(entry_names(entries), entries, strict=True))
    if entry not in by_name:
        others = ", ".join(name for name in by_name if name)
        raise SpecError.of(
            f"{folder} has no entry point {quoted(entry)}",
            f"besides the first it has {others or 'none'}.",
        )
    interface = by_name[entry]
    sheet = Capability.model_validate(manifest["target"])
    library = folder / interface.library
    parts: Mapping[str, Any] = manifest.get("parts", {})
    size, reason = size_of(library, sheet), _why_not_timed(sheet)
    if reason:
        memory = memory_of(library, interface.workspace_bytes)
        return Benchmark(folder, manifest["recipe"], sheet, size, memory, parts, None, reason)
    cache = cache_folder()
    shared = library.suffix == ".so"
    program = build_harness(
        sheet, cache, None if shared else library, "" if shared else interface.symbol
    )
    path = folder / model_file(entry)
    model = parse_model(path.read_bytes(), path)
    inputs = synthetic(model.inputs, steps=1)
    feed = {p.name: inputs[p.name].reshape(p.shape) for p in model.inputs}
    peer = timer(make_session(model.data, threads=sheet.threads), feed)
    budget = LatencyBudget(max=Relative(1.0, PEER), runs=runs)
    with Harness([str(program)], interface, library if shared else None) as harness:
        harness.load(inputs)
        latency = measure_latency(harness.time, {PEER: peer}, budget, looks=1)
        used = harness.memory()
    memory = memory_of(
        library, interface.workspace_bytes, stack=used.stack, observed=used.anonymous
    )
    found = Benchmark(folder, manifest["recipe"], sheet, size, memory, parts, latency)
    if not layers:
        return found
    model = read_models(folder, [name for name in by_name if name])
    try:
        position = list(by_name).index(entry)
        calls = replay(library, manifest, model, sheet, inputs, position)
    except BudgetcError as error:
        return replace(found, calls_reason=error.message)
    return replace(found, calls=tuple(calls))


def read_models(folder: Path, further: Sequence[str]) -> Model:
    """The optimised model in an artefact's folder, with those for further shapes by the names of their entry points."""
    paths = [folder / model_file(name) for name in ("", *further)]
    first, *others = (parse_model(path.read_bytes(), path) for path in paths)
    return replace(first, further=tuple(others))


def _why_not_timed(sheet: Capability) -> str:
    """Why this machine cannot run the sheet's code, or nothing.

    Asked of the targets and not of the sheet: the artefact may come from another machine.
    """
    for kind in installed(TARGETS):
        try:
            known = find_target(kind).cpus().values()
        except EnvironmentError_:
            continue
        if any(each.native and _code(each) == _code(sheet) for each in known):
            return ""
    try:
        runner = find_target(sheet.target).runner(sheet.model_copy(update={"native": False}))
    except BudgetcError as error:
        return error.message
    words = f"code for {sheet.cpu} ({sheet.arch}) does not run on this machine"
    if runner.command(Path("program")) is not None:
        return f"{words}, and times on its emulator say nothing about it"
    return words


def _code(sheet: Capability) -> dict[str, Any]:
    """What of a sheet decides which instructions the code has."""
    return sheet.model_dump(exclude={"target", "native", "threads"})

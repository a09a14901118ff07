"""Two compilations side by side: what changed in size, memory, latency, quality, verdicts and layers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from budgetc_specs.errors import ModelError, SpecError, quoted

from budgetc.load import MANIFEST
from budgetc.machine import timed_on

Unit = Literal["bytes", "seconds", "metric"]


@dataclass(frozen=True)
class Change:
    """One figure before and after; None where a side has none.

    Attributes:
        what: the figure's name, or a layer's.
        unit: what is counted.
        before: in that unit.
        after: likewise.
    """

    what: str
    unit: Unit
    before: float | None
    after: float | None

    @property
    def ratio(self) -> float | None:
        """The change as a part of what was before; None where that cannot be said."""
        if self.before is None or self.after is None or not self.before:
            return None
        return self.after / self.before - 1


@dataclass(frozen=True)
class Comparison:
    """What became of one target.

    Attributes:
        target: its name; empty where two folders of one target each were given.
        figures: of the whole artefact.
        layers: those whose weights or times differ, by the unit.
        verdicts: budgets whose status differs, with both.
        texts: other facts that differ, with both: the recipe, the CPU, versions.
        note: why something is not compared, or nothing.
    """

    target: str
    figures: tuple[Change, ...]
    layers: tuple[Change, ...]
    verdicts: Mapping[str, tuple[str, str]]
    texts: Mapping[str, tuple[str, str]]
    note: str = ""


def compare(before: Path, after: Path) -> tuple[Comparison, ...]:
    """Compare two artefact folders, two output folders with several of them, or two locks; also crosswise.

    Latencies are compared only where both were measured on one device, or on one model of CPU.

    Raises:
        SpecError: a side holds no manifest, or the two have no target in common.
        ModelError: a manifest is damaged.
    """
    old, new = manifests(before), manifests(after)
    if len(old) == len(new) == 1:
        pairs = [("", next(iter(old.values())), next(iter(new.values())))]
    else:
        pairs = [(name, old[name], new[name]) for name in old if name in new]
    if not pairs:
        raise SpecError.of(
            f"{before} and {after} have no target in common",
            f"the first has {', '.join(old)}, the second {', '.join(new)}.",
        )
    return tuple(_compared(*pair) for pair in pairs)


def manifests(place: Path) -> dict[str, Mapping[str, Any]]:
    """The manifests of an artefact folder, of an output folder, or of a lock, by target.

    Raises:
        SpecError: there are none.
        ModelError: one is damaged.
    """
    if (place / MANIFEST).is_file():
        found = {place.absolute().name: place / MANIFEST}
    else:
        folder = place if place.is_dir() else place.with_name(f"{place.name}.d")
        found = {p.parent.name: p for p in sorted(folder.glob(f"*/{MANIFEST}"))}
    if not found:
        hint = "give the folder of an artefact, the folder above it, or a lock."
        raise SpecError.of(f"{place} holds no {MANIFEST}", hint)
    return {name: _read(path) for name, path in found.items()}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        _ = value["measurement"], value["target"], value["recipe"]
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error!r}", "compile the model again.") from error
    manifest: Mapping[str, Any] = value
    return manifest


def _compared(target: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Comparison:
    machines = [_machine(each) for each in (old, new)]
    timed = machines[0] is not None and machines[0] == machines[1]
    note = ""
    if not timed and (_latency(old) is not None or _latency(new) is not None):
        named = " and ".join(quoted(_machine_words(each)) for each in (old, new))
        note = (
            f"latencies were measured on {named}, so they are not compared; "
            "compile or lock both on one kind of machine"
        )
    statuses = [{v["budget"]: v["status"] for v in each.get("verdicts", ())} for each in (old, new)]
    texts = [_texts(each) for each in (old, new)]
    return Comparison(
        target,
        figures=_figures(old, new, timed=timed),
        layers=_layers(old, new, timed=timed),
        verdicts=_differing(*statuses),
        texts=_differing(*texts),
        note=note,
    )


def _machine(manifest: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a manifest's latencies are of, as `timed_on` tells it."""
    device = (manifest["measurement"] or {}).get("device") or ""
    return timed_on(device, (manifest.get("machine") or {}).get("fingerprint"))


def _machine_words(manifest: Mapping[str, Any]) -> str:
    device: str = (manifest["measurement"] or {}).get("device", "")
    return device or str((manifest.get("machine") or {}).get("cpu", "unknown"))


def _figures(old: Mapping[str, Any], new: Mapping[str, Any], *, timed: bool) -> tuple[Change, ...]:
    sides = [each["measurement"] or {} for each in (old, new)]
    changes = []
    for part, keys in (
        ("size", ("bytes", "text", "rodata", "data")),
        ("memory", ("bytes", "arena", "static", "stack")),
    ):
        for key in keys:
            before, after = ((side.get(part) or {}).get(key) for side in sides)
            if before is not None or after is not None:
                changes.append(
                    Change(part if key == "bytes" else f"  {key}", "bytes", before, after)
                )
    if timed:
        changes.append(Change("latency", "seconds", _latency(old), _latency(new)))
    qualities = [side.get("quality") or {} for side in sides]
    if names := sorted({q["metric"] for q in qualities if q}):
        values = [q.get("value") if len(names) == 1 else None for q in qualities]
        changes.append(Change(names[0] if len(names) == 1 else "quality", "metric", *values))
    return tuple(c for c in changes if c.before is not None or c.after is not None)


def _latency(manifest: Mapping[str, Any]) -> float | None:
    latency = (manifest["measurement"] or {}).get("latency") or {}
    seconds: float | None = latency.get("seconds", {}).get("ours")
    return seconds


def _layers(old: Mapping[str, Any], new: Mapping[str, Any], *, timed: bool) -> tuple[Change, ...]:
    """What differs layer by layer, the largest changes first."""
    changes: list[Change] = []
    units: list[tuple[str, Unit]] = [("weight_bytes", "bytes")]
    if timed:
        units.append(("seconds", "seconds"))
    for key, unit in units:
        sides = [
            {
                layer["layer"]: layer.get(key)
                for layer in (each.get("parts") or {}).get("layers", ())
            }
            for each in (old, new)
        ]
        names = dict.fromkeys([*sides[0], *sides[1]])
        found = [Change(name, unit, sides[0].get(name), sides[1].get(name)) for name in names]
        found = [c for c in found if (c.before or 0) != (c.after or 0)]
        changes += sorted(found, key=lambda c: -abs((c.after or 0) - (c.before or 0)))
    return tuple(changes)


def _texts(manifest: Mapping[str, Any]) -> dict[str, str]:
    target = manifest["target"]
    tools = {f"{name} version": version for name, version in manifest.get("tools", {}).items()}
    hardware = f"{target.get('target')}, {target.get('cpu')}, {target.get('threads')} threads"
    return {"recipe": manifest["recipe"], "target": hardware, **tools}


def _differing(old: Mapping[str, str], new: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys([*old, *new])
    pairs = {name: (old.get(name, "-"), new.get(name, "-")) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

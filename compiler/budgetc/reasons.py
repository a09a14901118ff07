"""Why an artefact takes what it takes: its bytes, its memory and its time as trees, the largest part first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from budgetc_specs.errors import SpecError, did_you_mean, quoted

_OTHER_CONSTANTS = "other constants and alignment"
_BETWEEN = "between the layers"


@dataclass(frozen=True)
class Part:
    """A part of a figure, and what it consists of.

    Attributes:
        name: a layer, a value or a section.
        amount: bytes, or seconds.
        inner: its own parts, the largest first.
        about: what else there is to say, or nothing.
    """

    name: str
    amount: float
    inner: tuple["Part", ...] = ()
    about: str = ""


def reasons(manifest: Mapping[str, Any], subject: str) -> Part:
    """The tree of a figure, from the manifest of an artefact.

    Args:
        manifest: as `budgetc.artefact.read_artefact` gives it.
        subject: `size`, `memory` or `latency`.

    Raises:
        SpecError: there is no such figure, or it was not measured.
    """
    if subject not in _TREES:
        hint = did_you_mean(subject, _TREES) or f"ask for {', '.join(_TREES)}."
        raise SpecError.of(f"{quoted(subject)} is no figure that can be explained", hint)
    found = (manifest.get("measurement") or {}).get(subject)
    if not found:
        raise SpecError.of(
            f"the {subject} of this artefact was not measured",
            "it was compiled for hardware that was not at hand."
            if subject == "latency"
            else "compile the model again.",
        )
    return _TREES[subject](found, manifest.get("parts") or {})


def _size(size: Mapping[str, int], parts: Mapping[str, Any]) -> Part:
    layers = _of_layers(parts, "weight_bytes")
    stored = size["rodata"] - sum(p.amount for p in layers)
    if stored > 0:
        layers = [*layers, Part(_OTHER_CONSTANTS, stored)]
    about = "layers share weights: they add up to more than is stored" if stored < 0 else ""
    sections = [
        Part("constants", size["rodata"], _sorted(layers), about),
        Part("machine code", size["text"], (), f"{parts.get('kernels', 0)} kernels and the driver"),
        Part("initial values", size["data"]),
        Part("headers and tables", size["bytes"] - size["rodata"] - size["text"] - size["data"]),
    ]
    return Part("size", size["bytes"], _sorted(sections))


def _memory(memory: Mapping[str, int | None], parts: Mapping[str, Any]) -> Part:
    arena = memory["arena"] or 0
    values, call = _fullest(parts.get("arena_map", ()))
    gaps = arena - sum(p.amount for p in values)
    if values and gaps > 0:
        values = [*values, Part("not used at that moment", gaps)]
    about = f"where it is fullest, at call {call}" if values else ""
    whole = [
        Part("arena", arena, _sorted(values), about),
        Part("static data", memory["static"] or 0),
        Part("stack", memory["stack"] or 0, (), "" if memory["stack"] is not None else "not known"),
    ]
    return Part("memory", memory["bytes"] or 0, _sorted(whole))


def _fullest(slots: Sequence[Mapping[str, Any]]) -> tuple[list[Part], int]:
    """The values that are alive together where they take most, and the call at which that is."""

    def alive(call: int) -> list[Mapping[str, Any]]:
        return [s for s in slots if s["first"] <= call <= s["last"]]

    calls = sorted({s["first"] for s in slots})
    if not calls:
        return [], 0
    call = max(calls, key=lambda c: sum(s["bytes"] for s in alive(c)))
    return [Part(s["name"], s["bytes"]) for s in alive(call)], call


def _latency(latency: Mapping[str, Any], parts: Mapping[str, Any]) -> Part:
    total = latency["seconds"]["ours"]
    layers = _of_layers(parts, "seconds")
    rest = total - sum(p.amount for p in layers)
    about = ""
    if not layers:
        about = "the layers were not timed one by one"
    elif rest > 0:
        layers = [*layers, Part(_BETWEEN, rest)]
    else:
        about = "timed one by one, the layers take a little longer than together"
    return Part(f"latency, {latency['statistic']}", total, _sorted(layers), about)


def _of_layers(parts: Mapping[str, Any], key: str) -> list[Part]:
    return [
        Part(layer["layer"], layer[key], (), f"{layer['operator']}, {layer['bits']} bits")
        for layer in parts.get("layers", ())
        if layer.get(key)
    ]


def _sorted(parts: Sequence[Part]) -> tuple[Part, ...]:
    return tuple(sorted((p for p in parts if p.amount), key=lambda p: -p.amount))


_TREES: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Part]] = {
    "size": _size,
    "memory": _memory,
    "latency": _latency,
}

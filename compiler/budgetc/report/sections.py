"""The tables of one target: certificate, layers, sensitivity, memory, peers, and how to get it again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from budgetc.report import figures
from budgetc.report.document import Document, Layer, Measurement, Target
from budgetc.report.outcome import budget_name


@dataclass(frozen=True)
class Value:
    """One cell: its text, what it is sorted by, and its part of the largest in the column, 0 to 1."""

    text: str
    sort: float | str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Table:
    """Columns of values; numeric columns are aligned to the right. `left_out` rows are not shown."""

    columns: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[Value, ...], ...]
    left_out: int = 0


@dataclass(frozen=True)
class Relaxed:
    """The nearest point where one budget is relaxed."""

    budget: str
    limit: str
    reached: str
    text: str
    recipe: str
    trial: int | None


@dataclass(frozen=True)
class Certificate:
    """Why nothing keeps every budget: what binds, in words, the nearest points, the bounds."""

    binding: str
    lines: tuple[str, ...]
    points: tuple[Relaxed, ...]
    bounds: tuple[tuple[str, str, str], ...]


Reader = Callable[[Layer], float | None]
_LAYER_FIGURES: Sequence[tuple[str, Reader, Callable[[float | None], str]]] = (
    ("sparsity", lambda layer: layer.sparsity, figures.percent),
    ("weights", lambda layer: layer.weight_bytes, figures.size),
    ("MACs", lambda layer: layer.macs, figures.count),
    ("time", lambda layer: layer.seconds, figures.time),
    ("sensitivity", lambda layer: layer.sensitivity, figures.points),
)


def certificate(target: Target) -> Certificate | None:
    """Why there is no artefact; None where there is one."""
    proof = target.proof
    if proof is None:
        lines = figures.lines(target.certificate)
        return Certificate("", tuple(lines), (), ()) if lines and target.chosen is None else None
    said = figures.lines(proof.text or target.certificate)
    if proof.stopped:
        said.append(f"The search ended: {proof.stopped}")
    return Certificate(
        binding=figures.listed([budget_name(b) for b in proof.binding]),
        lines=tuple(said),
        points=tuple(
            Relaxed(
                budget_name(p.budget),
                figures.limit_text(p.limit, p.unit),
                figures.limit_text(p.reached, p.unit),
                p.text,
                p.recipe,
                None if p.trial is None else p.trial + 1,
            )
            for p in proof.points
        ),
        bounds=tuple(
            (budget_name(b.budget), figures.limit_text(b.bound, b.unit), b.why)
            for b in proof.bounds
        ),
    )


def layers(target: Target, most: int) -> Table | None:
    """The layers in the order of their calls; None where the result has none."""
    if not target.layers:
        return None
    known = [each for each in _LAYER_FIGURES if any(each[1](x) is not None for x in target.layers)]
    tops = [max((abs(read(x) or 0) for x in target.layers), default=0) for _, read, _ in known]
    rows = []
    for layer in target.layers[:most]:
        row = [Value(layer.layer), Value(layer.operator), Value(layer.kernel), Value(layer.bits)]
        for (_, read, form), top in zip(known, tops, strict=True):
            value = read(layer)
            row.append(Value(form(value), value, figures.share(value, top)))
        rows.append(tuple(row))
    return Table(
        ("layer", "operator", "kernel", "bits", *(name for name, _, _ in known)),
        (False, False, False, True, *(True for _ in known)),
        tuple(rows),
        len(target.layers) - len(rows),
    )


def sensitivity(target: Target, most: int) -> Table | None:
    """What each level of each part costs, the dearest first; None where the result has none."""
    if not target.sensitivity:
        return None
    dearest = sorted(target.sensitivity, key=lambda e: (-(e.drop or 0), -(e.error or 0)))[:most]
    top = max((e.drop or 0 for e in dearest), default=0)
    widest = max((e.bytes_saved or 0 for e in dearest), default=0)
    rows = tuple(
        (
            Value(effect.family),
            Value(effect.part),
            Value(effect.level or figures.ABSENT),
            Value(figures.points(effect.drop), effect.drop, figures.share(effect.drop, top)),
            Value(figures.amount(effect.error, "metric"), effect.error),
            Value(
                figures.size(effect.bytes_saved),
                effect.bytes_saved,
                figures.share(effect.bytes_saved, widest),
            ),
        )
        for effect in dearest
    )
    names = ("family", "part", "level", "quality drop", "error", "bytes saved")
    numeric = (False, False, False, True, True, True)
    return Table(names, numeric, rows, len(target.sensitivity) - len(rows))


def slices(target: Target, most: int) -> Table | None:
    """Quality by group of samples, the one that loses most first; None where there are no groups."""
    measured = target.shown.measurement if target.shown else None
    quality = measured.quality if measured else None
    if quality is None or not quality.slices:
        return None
    top = max((s.drop or 0 for s in quality.slices), default=0)
    rows = tuple(
        (
            Value(each.slice),
            Value(figures.count(each.samples), each.samples),
            Value(figures.amount(each.value, "metric"), each.value),
            Value(figures.amount(each.reference, "metric"), each.reference),
            Value(figures.points(each.drop), each.drop, figures.share(each.drop, top)),
            Value(
                figures.interval(each.interval, "fraction") if each.judged else "too few samples"
            ),
        )
        for each in quality.slices[:most]
    )
    name = quality.metric or "quality"
    return Table(
        ("slice", "samples", name, "float model", "quality drop", "interval"),
        (False, True, True, True, True, True),
        rows,
        len(quality.slices) - len(rows),
    )


def arena(target: Target, most: int) -> tuple[dict[str, Any], Table] | None:
    """The memory map as a chart and as a table; None where the result has none.

    Where there are more values than may be shown, the smallest are left out.
    """
    shown, index = target.shown, target.shown_index
    if shown is None:
        return None
    parts = shown.parts
    if not parts.arena_map and index is not None:
        parts = target.trials[index].parts
    if not parts.arena_map:
        return None
    largest = sorted(parts.arena_map, key=lambda s: -s.bytes)[:most]
    slots = sorted(largest, key=lambda s: (s.first, s.offset))
    top = max(s.bytes for s in slots)
    drawn = [
        {
            "offset": s.offset,
            "bytes": s.bytes,
            "first": s.first,
            "last": s.last,
            "texts": [figures.visible(s.name, 200), _place(s.offset, s.bytes), _life(s)],
        }
        for s in slots
    ]
    rows = tuple(
        (
            Value(s.name),
            Value(figures.count(s.offset), s.offset),
            Value(figures.count(s.bytes), s.bytes, figures.share(s.bytes, top)),
            Value(figures.count(s.first), s.first),
            Value(figures.count(s.last), s.last),
        )
        for s in slots
    )
    table = Table(
        ("value", "offset", "bytes", "first call", "last call"),
        (False, True, True, True, True),
        rows,
        len(parts.arena_map) - len(slots),
    )
    used = max(s.offset + s.bytes for s in parts.arena_map)
    edges = {
        "arena": parts.arena if parts.arena is not None else used,
        "bound": parts.arena_lower_bound,
        "calls": max(s.last for s in parts.arena_map) + 1,
    }
    return {"slots": drawn, **edges}, table


def arena_text(target: Target) -> str:
    """How large the arena is beside what it must be at least."""
    parts = target.shown.parts if target.shown else None
    if parts is None or parts.arena is None:
        return ""
    text = f"The arena takes {figures.size(parts.arena)}"
    if bound := parts.arena_lower_bound:
        over = parts.arena / bound - 1
        text += f", {figures.percent(over)} over" if over > 0.0005 else ", exactly"
        text += f" the {figures.size(bound)} that this order of calls needs at least"
    if (least := parts.arena_order_bound) is not None:
        text += f"; no order of calls needs fewer than {figures.size(least)}"
    return f"{text}."


def peers(target: Target) -> Table | None:
    """The library beside onnxruntime, by size, latency and quality; None where nothing is known."""
    measured = target.shown.measurement if target.shown else None
    sizes = target.baseline.model_bytes
    latency = measured.latency if measured else None
    seconds = dict(latency.seconds) if latency and measured and not measured.emulated else {}
    names = list(dict.fromkeys([*sizes, *(n for n in seconds if n != "ours")]))
    if measured is None and not names:
        return None
    emulated = bool(measured and measured.emulated)
    rows = [
        (
            "budgetc, the library",
            measured.size.get("bytes") if measured else None,
            seconds.get("ours"),
            _own(measured),
        ),
        *(
            (figures.peer_name(n), sizes.get(n), seconds.get(n), _reference(target, n))
            for n in names
        ),
    ]
    widest = max((row[1] or 0 for row in rows), default=0)
    slowest = max((row[2] or 0 for row in rows), default=0)
    statistic = f" {latency.statistic}" if latency else ""
    note = ", emulated: not timed" if emulated else ""
    if emulated and measured and measured.instructions is not None:
        note += f", {measured.instructions / 1e6:.3g} million instructions an inference"
    return Table(
        ("runtime", "size", f"latency{statistic}{note}", _metric(target)),
        (False, True, True, True),
        tuple(
            (
                Value(name),
                Value(figures.size(size), size, figures.share(size, widest)),
                Value(figures.time(took), took, figures.share(took, slowest)),
                Value(figures.amount(quality, "metric"), quality),
            )
            for name, size, took, quality in rows
        ),
    )


def facts(document: Document, target: Target) -> tuple[tuple[str, str], ...]:
    """What somebody needs to get the result again, as pairs of name and text."""
    search = target.search
    found: list[tuple[str, str]] = [("command", document.command), ("spec", document.spec)]
    found.append(("hardware", _sheet(target)))
    if search is not None:
        found.append(("seed", "" if search.seed is None else str(search.seed)))
        found.append(("objective", search.objective))
        counts = [
            f"{figures.count(number)} {word}"
            for number, word in (
                (search.candidates, "candidates"),
                (search.simulated, "simulated"),
                (search.built, "built"),
            )
            if number is not None
        ]
        took = f"in {figures.time(search.seconds)}" if search.seconds is not None else ""
        found.append(("search", ", ".join([*counts, took]) if took else ", ".join(counts)))
        found.append(("search ended", search.stopped))
        found.append(("search judged on", search.validation))
    if target.baseline.samples:
        found.append(("samples", figures.count(target.baseline.samples)))
    found.append(("figures", target.locked.text if target.locked else ""))
    found.append(("schedules", _tuned(target)))
    found.append(("verified", _verified(target)))
    found.append(("written to", target.folder))
    return tuple((name, text) for name, text in found if text)


def _tuned(target: Target) -> str:
    """How schedules of kernels were chosen; nothing where tuning was not asked for."""
    tuned = target.shown.parts.tuned if target.shown else None
    return "; ".join([tuned.how, *tuned.notes]) if tuned else ""


def _verified(target: Target) -> str:
    """What the library's outputs were compared with before it was handed over."""
    agreement = target.chosen.agreement if target.chosen else None
    if agreement is None or not agreement.cases:
        return ""
    inferences = figures.count(sum(case.inferences for case in agreement.cases))
    return (
        f"its outputs are those of {agreement.reference}, but for rounding, in {inferences} inferences on "
        f"{len(agreement.cases)} kinds of inputs"
    )


def _sheet(target: Target) -> str:
    sheet = target.capability
    names = ("target", "arch", "cpu", "threads", "llvm_triple", "int8_dot", "vector_bytes")
    return ", ".join(f"{n} {sheet[n]}" for n in names if sheet.get(n) is not None)


def _place(offset: float, size: float) -> str:
    return f"{figures.size(size)} at offset {figures.count(offset)}"


def _life(slot: Any) -> str:
    return f"from call {figures.count(slot.first)} to call {figures.count(slot.last)}"


def _own(measured: Measurement | None) -> float | None:
    return measured.quality.value if measured and measured.quality else None


def _reference(target: Target, peer: str) -> float | None:
    """The quality of the float model; that of the int8 one is not measured."""
    return target.baseline.quality if peer == "onnxruntime" else None


def _metric(target: Target) -> str:
    measured = target.shown.measurement if target.shown else None
    quality = measured.quality if measured else None
    return (quality.metric if quality else target.baseline.metric) or "quality"

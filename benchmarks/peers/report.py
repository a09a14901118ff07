"""The report of a comparison: tables for a page, rows for a CSV file."""

from collections.abc import Mapping, Sequence
from typing import Any

from budgetc_specs.units import format_bytes, format_seconds

from benchmarks.models import CALL
from benchmarks.peers.contenders import CONTENDERS
from benchmarks.peers.summary import Class, Duel, Figure, duels, mean_ratio
from benchmarks.tables import markdown

_CLASS_OF: dict[str, Class] = {"float": "float", "bf16": "halves", "int8": "best"}
_FLOAT_ONLY = [c.name for c in CONTENDERS if c.precision == "float"]


def report(head: str, found: Sequence[Figure], refusals: Mapping[str, Mapping[str, str]]) -> str:
    """Everything that a page shows of a comparison."""
    calls = [f for f in found if f.model == CALL]
    found = [f for f in found if f.model != CALL]
    parts = [head]
    for threads in sorted({f.threads for f in found}):
        parts += [f"### Threads: {threads}", _float_table(found, threads)]
        if any(f.who.precision == "bf16" and f.who.ours for f in found):
            parts += [_best_table(found, threads, "halves", "float32 or bf16")]
        parts += [_best_table(found, threads, "best", "any precision")]
    if calls:
        parts += ["### What a call takes", _call_table(calls)]
    parts += ["### Quality", _quality_table(found), "### Beside latency", _footprint_table(found)]
    absent = [
        f"- {model}: {who}: {why}" for model, each in refusals.items() for who, why in each.items()
    ]
    if absent:
        parts += ["Not measured:", "\n".join(absent)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def rows(found: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures as columns, in bytes and seconds, with the ratio of each to our best of its class."""
    made = []
    for f in found:
        kind = _CLASS_OF[f.who.precision]
        duel = next((d for d in duels(found, kind, f.threads) if d.ours.model == f.model), None)
        made.append(
            {
                "model": f.model,
                "runtime": f.who.runtime,
                "precision": f.who.precision,
                "threads": f.threads,
                "rounds": f.rounds,
                "median_s": f"{f.median:.9f}",
                "best_round_s": f"{f.best:.9f}",
                "cold_start_s": f"{f.cold:.6f}",
                "resident_bytes": f.resident,
                "deploy_bytes": f.deploy,
                "metric": f.metric,
                "quality": f"{f.quality:.6f}",
                "reference_quality": f"{f.reference:.6f}",
                "counts": int(f.right),
                "class": kind,
                "over_ours": f"{f.median / duel.ours.median:.4f}" if duel else "",
                "over_ours_best_round": f"{f.best / duel.ours.best:.4f}" if duel else "",
            }
        )
    return made


def _present(found: Sequence[Figure], names: Sequence[str]) -> list[str]:
    there = {f.contender for f in found}
    return [n for n in names if n in there]


def _float_table(found: Sequence[Figure], threads: int) -> str:
    of_threads = [f for f in found if f.threads == threads]
    names = _present(of_threads, _FLOAT_ONLY)
    fought = {d.ours.model: d for d in duels(found, "float", threads)}
    lines = []
    for model in dict.fromkeys(f.model for f in of_threads):
        by_name = {f.contender: f for f in of_threads if f.model == model}
        cells = [_time(by_name.get(n)) for n in names]
        lines.append([model, *cells, *_verdict(fought.get(model))])
    head = [
        "float32",
        *(n.removesuffix(" float") for n in names),
        "best peer / budgetc",
        "of best rounds",
    ]
    return markdown(head, [*lines, _mean_line(list(fought.values()), len(head))])


def _best_table(found: Sequence[Figure], threads: int, kind: Class, title: str) -> str:
    fought = duels(found, kind, threads)
    head = [
        title,
        "budgetc",
        "",
        "best peer",
        "",
        "best peer / budgetc",
        "of best rounds",
    ]
    lines = [
        [
            d.ours.model,
            *(d.ours.who.precision, _time(d.ours), d.peer.contender, _time(d.peer)),
            *_verdict(d),
        ]
        for d in fought
    ]
    return markdown(head, [*lines, _mean_line(fought, len(head))])


def _mean_line(fought: list[Duel], cells: int) -> list[str]:
    mean = f"**{mean_ratio(fought):.2f}**" if fought else "-"
    return ["geometric mean", *[""] * (cells - 3), mean, ""]


def _verdict(duel: Duel | None) -> tuple[str, str]:
    """The ratio of medians, and that of the best rounds."""
    if duel is None:
        return "-", "-"
    return f"{duel.ratio:.2f}", f"{duel.ratio_of_best_rounds:.2f}"


def _time(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return format_seconds(figure.median) + ("" if figure.right else " (wrong)")


def _call_table(calls: Sequence[Figure]) -> str:
    names = _present(calls, [c.name for c in CONTENDERS])
    lines = []
    for threads in sorted({f.threads for f in calls}):
        by_name = {f.contender: f for f in calls if f.threads == threads}
        lines.append([f"threads: {threads}", *(_time(by_name.get(n)) for n in names)])
    return markdown(["one Relu on 64 numbers", *names], lines)


def _quality_table(found: Sequence[Figure]) -> str:
    least = min(f.threads for f in found)
    names = _present(found, [c.name for c in CONTENDERS])
    lines = []
    for model in dict.fromkeys(f.model for f in found):
        by_name = {f.contender: f for f in found if f.model == model and f.threads == least}
        if not by_name:
            continue
        one = next(iter(by_name.values()))
        what = f"{model}, {one.metric}"
        reference = f"{one.reference:.1%}" if one.metric == "top1" else "1"
        lines.append([what, reference, *(_quality(by_name.get(n)) for n in names)])
    return markdown(["model", "reference", *names], lines)


def _quality(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure.quality:.1%}" if figure.metric == "top1" else f"{figure.quality:.4f}"


def _footprint_table(found: Sequence[Figure]) -> str:
    least = min(f.threads for f in found)
    head = ["model", "ships", "least of the peers", "resident", "least of the peers", "cold start"]
    lines = []
    for duel in duels(found, "best", least):
        taking = [f for f in found if f.model == duel.ours.model and f.threads == least]
        peers = [f for f in taking if not f.who.ours]
        ship, stay, start = (
            min(peers, key=lambda f, n=name: getattr(f, n))  # type: ignore[misc]
            for name in ("deploy", "resident", "cold")
        )
        lines.append(
            [
                f"{duel.ours.model}, {duel.ours.who.precision}",
                format_bytes(duel.ours.deploy),
                f"{format_bytes(ship.deploy)} ({ship.contender})",
                format_bytes(duel.ours.resident),
                f"{format_bytes(stay.resident)} ({stay.contender})",
                format_seconds(duel.ours.cold),
                f"{format_seconds(start.cold)} ({start.contender})",
            ]
        )
    return markdown([*head, "least of the peers"], lines)

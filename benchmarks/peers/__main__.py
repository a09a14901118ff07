"""Compare budgetc with other runtimes on eleven models, in turns, each in a fresh process: `make benchmark`."""

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import chart, machine, models, tables
from benchmarks.peers import report
from benchmarks.peers.contenders import Field, installed, short
from benchmarks.peers.summary import Figure, duels, figures, judge
from benchmarks.turns import turned

Measurements = list[dict[str, Any]]

_OVERHEAD = 0.5  # seconds that a measurement takes beside what it times, for the first estimate
_COLOURS = {"float": "#0969da", "best": "#1a7f37"}


def main(given: Sequence[str] | None = None) -> int:
    """Prepare, measure, report."""
    arguments = parse(given)
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    raw = out / "peers.jsonl"
    if arguments.rounds:
        fields, versions = prepare(arguments)
        if not fields:
            return 1
        known = {**versions_of(out), **versions}
        (out / "peers.json").write_text(json.dumps({"versions": known}))
        measure(fields, arguments, raw)
    publish(read(raw), out, arguments.page)
    return 0


def parse(given: Sequence[str] | None) -> argparse.Namespace:
    """The options.

    Raises:
        SystemExit: one is wrong.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description=__doc__,
        epilog="The table is of everything in OUT/peers.jsonl: runs with different --only add up, "
        "and a model that is measured again replaces what was there.",
    )
    add = parser.add_argument
    add("--only", help=f"models, separated by commas, of {', '.join(models.NAMES)}")
    add("--models", type=Path, help="folder with mnist5k_vit.onnx and basic_pitch_nmp.onnx")
    add(
        "--peers-python",
        type=Path,
        default=Path(sys.executable),
        help="interpreter of an environment with the peers; by default this one, with onnxruntime",
    )
    add("--tflite", type=Path, help="folder with NAME.int8.tflite or NAME.float.tflite for LiteRT")
    add("--threads", type=tables.numbers, default=[1], help='such as "1,2"; by default 1')
    add("--rounds", type=int, default=3, help="turns of each contender; 0 only writes the tables")
    add("--seconds", type=float, default=0.3, help="timed seconds of a measurement")
    add("--resume", action="store_true", help="keep what OUT has of these models, add what lacks")
    add("--no-build", action="store_true", help="measure the libraries that are in OUT already")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of peers is replaced")
    arguments = parser.parse_args(given)
    arguments.only = arguments.only.split(",") if arguments.only else list(models.NAMES)
    unknown = sorted(set(arguments.only) - set(models.NAMES))
    if unknown:
        parser.error(f"no such model: {', '.join(unknown)}")
    if arguments.rounds < 0 or arguments.seconds <= 0:
        parser.error("--rounds must be at least 0 and --seconds above 0")
    arguments.out = arguments.out.absolute()
    return arguments


def prepare(arguments: argparse.Namespace) -> tuple[list[Field], Mapping[str, str]]:
    """Every model's files; what peers need is kept in the build folder, our libraries are built anew."""
    peers = installed(arguments.peers_python)
    say(f"peers: {', '.join(f'{n} {v}' for n, v in peers.items()) or 'none'}")
    fields = []
    known = models.cases(arguments.models)
    start = time.monotonic()
    for name in models.NAMES:
        if name not in arguments.only:
            continue
        if name not in known or not (known[name].made or known[name].file.exists()):
            say(f"{name}: left out, its file is not in a folder given by --models")
            continue
        model = models.prepare(name, known[name], arguments.out / "models" / name)
        field = Field(model, arguments.peers_python.absolute(), peers, arguments.tflite)
        for line in field.prepare(arguments.threads, build=not arguments.no_build):
            say(f"{name}: {line}")
        fields.append(field)
    say(f"prepared in {(time.monotonic() - start) / 60:.1f} min")
    return fields, {"budgetc": version("budgetc"), **peers}


def measure(fields: Sequence[Field], arguments: argparse.Namespace, raw: Path) -> None:
    """All rounds; each measurement is written down at once.

    Rounds are the outer loop, so that what disturbs the machine for a while hits one round of many models. Within one,
    contenders take turns on each model, and who begins changes from round to round.
    """
    chosen = {f.model.name for f in fields}
    old = read(raw)
    if arguments.resume:  # what failed is tried again
        old = [m for m in old if "error" not in m]
    else:
        old = [m for m in old if m["model"] not in chosen or m["threads"] not in arguments.threads]
    raw.write_text("".join(json.dumps(m) + "\n" for m in old))
    done = {key(m) for m in old}
    plan = [
        (number, field, threads, contender)
        for number in range(arguments.rounds)
        for field in fields
        for threads in arguments.threads
        for contender in turned(field.ready(threads), number)
    ]
    plan = [p for p in plan if (p[1].model.name, p[3].name, p[2], p[0]) not in done]
    expected = len(plan) * (1.25 * arguments.seconds + _OVERHEAD)
    say(f"{len(plan)} measurements, about {expected / 60:.1f} min")
    failed: set[tuple[str, str, int]] = set()
    start = time.monotonic()
    for index, (number, field, threads, contender) in enumerate(plan):
        name = field.model.name
        if (name, contender.name, threads) in failed:
            continue
        found: dict[str, Any] = {"model": name, "contender": contender.name, "threads": threads}
        found |= {"round": number, "when": time.strftime("%Y-%m-%d")}
        before, began = machine.foreign_seconds(), time.monotonic()
        try:
            found |= field.measure(contender, threads, arguments.seconds)
            found |= judged(field, contender, threads)
        except (RuntimeError, OSError, KeyError, ValueError) as error:
            found["error"] = short(error)
            failed.add((name, contender.name, threads))
        passed = time.monotonic() - began
        found["foreign"] = round(max(0.0, machine.foreign_seconds() - before) / passed, 3)
        with raw.open("a") as file:
            file.write(json.dumps(found) + "\n")
        left = (time.monotonic() - start) / (index + 1) * (len(plan) - index - 1) / 60
        what = found.get("error") or f"{found['median'] * 1e6:.1f} us"
        say(
            f"round {number + 1}, {index + 1} of {len(plan)}, {left:.1f} min left: "
            f"{name}, {contender.name}, threads {threads}: {what}"
        )


def judged(field: Field, contender: Any, threads: int) -> dict[str, Any]:
    """The quality of the answers that the measured file gave."""
    with (
        np.load(field.answers(contender, threads)) as answers,
        np.load(field.model.folder / "reference.npz") as reference,
    ):
        metric, quality, best = judge(answers, reference, field.model.labels())
    return {"metric": metric, "quality": quality, "reference": best}


def key(measurement: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """What is measured once."""
    m = measurement
    return m["model"], m["contender"], m["threads"], m["round"]


def read(raw: Path) -> Measurements:
    """The measurements of a file; none where there is no file."""
    return [json.loads(line) for line in raw.read_text().splitlines()] if raw.exists() else []


def publish(measurements: Measurements, out: Path, page: Path | None) -> None:
    """Write CSV, Markdown and SVG, print the tables, and put them into a page where asked for."""
    order = {name: i for i, name in enumerate(models.NAMES)}
    found = sorted(figures(measurements), key=lambda f: (order[f.model], f.threads))
    if not found:
        say("nothing was measured")
        return
    tables.write_csv(report.rows(found), out / "peers.csv")
    text = report.report(head(measurements, out), found, refused(measurements, out))
    picture = draw(found)
    (out / "peers.md").write_text(text, encoding="utf-8")
    (out / "peers.svg").write_text(picture, encoding="utf-8")
    print(text)
    if page:
        image = page.parent / "images" / "peers.svg"
        image.parent.mkdir(exist_ok=True)
        image.write_text(picture, encoding="utf-8")
        shown = f"![Best peer over budgetc, for each model](images/{image.name})\n\n{text}"
        tables.insert(page, "peers", shown)


def refused(measurements: Measurements, out: Path) -> dict[str, dict[str, str]]:
    """Why contenders are absent, by model and name: they were not prepared, or failed."""
    found: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(m["model"] for m in measurements):
        file = out / "models" / name / "prepared.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        found[name] = {who: entry["note"] for who, entry in known.items() if not entry["ok"]}
    ran = {(m["model"], m["contender"]) for m in measurements if "error" not in m}
    for m in measurements:
        if "error" in m and (m["model"], m["contender"]) not in ran:
            found[m["model"]][m["contender"]] = m["error"]
    return {name: why for name, why in found.items() if why}


def draw(found: Sequence[Figure]) -> str:
    """The chart: ratios of both classes at the least number of threads."""
    threads = min(f.threads for f in found)
    names = [n for n in dict.fromkeys(f.model for f in found) if n != models.CALL]
    series = []
    for kind, title in (("float", "float32"), ("best", "any precision")):
        ratios = {d.ours.model: d.ratio for d in duels(found, kind, threads)}  # type: ignore[arg-type]
        series.append(chart.Series(title, _COLOURS[kind], [ratios.get(n) for n in names]))
    title = f"budgetc beside the best of its peers, threads: {threads}"
    axis = "time of the best peer / time of budgetc: right of 1, budgetc is faster"
    return chart.bars(title, names, series, axis)


def versions_of(out: Path) -> dict[str, str]:
    """Of everything that was measured into a folder."""
    file = out / "peers.json"
    return dict(json.loads(file.read_text())["versions"]) if file.exists() else {}


def head(measurements: Measurements, out: Path) -> str:
    """What was measured on and with."""
    days = sorted({m["when"] for m in measurements})
    foreign = [m["foreign"] for m in measurements]
    return (
        f"{machine.name()}, {os.cpu_count()} processors, Linux {platform.release().split('-')[0]}; "
        f"{', '.join(f'{n} {v}' for n, v in versions_of(out).items())}; "
        f"rounds: {max(m['round'] for m in measurements) + 1}; {' to '.join({days[0]: 0, days[-1]: 0})}. "
        f"Other programs took {statistics.median(foreign):.0%} of a processor meanwhile "
        f"(median; at most {max(foreign):.0%})."
    )


def say(text: str) -> None:
    """A line of progress."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())

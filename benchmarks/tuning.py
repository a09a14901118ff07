"""Latency after so many seconds of tuning: how far the default schedules are from the tuned ones, and how soon."""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.units import format_seconds

from benchmarks import library, machine, models, tables
from benchmarks.library import Tuning
from benchmarks.turns import in_turns

_RECIPES = {"int8": library.INT8, "float": library.FLOAT}
_MODEL = "mlperf_tiny_resnet8_cifar10"


def trace(name: str, precision: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each time: tuning goes on from records of its own until it has nothing left to measure.

    Libraries are timed in turns when all of them are there; those that are equal byte for byte are timed as one.
    """
    case = models.cases(arguments.models)[name]
    prepared = models.prepare(name, case, arguments.out / "models" / name)
    rows: list[dict[str, Any]] = []
    libraries: dict[bytes, Path] = {}
    with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
        tuned, finished = 0.0, False
        for allowed in (0.0, *sorted(arguments.times)):
            folder = Path(scratch) / f"{allowed:g}"
            step = Tuning(max(0.0, allowed - tuned), Path(scratch) / "records") if allowed else None
            built = library.build_library(
                prepared.model,
                _RECIPES[precision],
                arguments.threads,
                folder,
                calibration=prepared.folder / "calibration.npz",
                tuning=step,
            )
            taken = built.seconds["tuning"]
            tuned, finished = tuned + taken, step is not None and taken < step.seconds
            contents = (folder / built.library.name).read_bytes()
            if contents in libraries:
                shutil.rmtree(folder)
            code = libraries.setdefault(contents, folder)
            rows.append({"tuned_s": tuned, "finished": finished, "library": code.name})
            print(f"{name} {precision}: {tuned:.1f} s tuned", file=sys.stderr, flush=True)
            if finished:
                break
        contenders = {
            code.name: lambda code=code: library.time_library(
                code, prepared.folder / "samples.bin", arguments.seconds, arguments.threads
            )
            for code in libraries.values()
        }
        medians = in_turns(contenders, arguments.rounds)
    final = medians[rows[-1]["library"]]
    fixed = {"model": name, "precision": precision, "threads": arguments.threads}
    return [
        {
            **fixed,
            "tuned_s": row["tuned_s"],
            "finished": row["finished"],
            "latency_s": medians[row["library"]],
            "over_final": medians[row["library"]] / final - 1,
        }
        for row in rows
    ]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a page shows them."""
    head = ["model", "precision", "threads", "tuned for", "latency", "over the last"]
    lines = []
    for row in rows:
        length = f"{row['tuned_s']:.0f} s" + (", all" if row["finished"] else "")
        cells = [row["model"], row["precision"], str(row["threads"]), length]
        lines.append([*cells, format_seconds(row["latency_s"]), f"{row['over_final']:+.1%}"])
    return f"{machine.name()}.\n\n{tables.markdown(head, lines)}"


def main(given: Sequence[str] | None = None) -> int:
    """Tune, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"models; {_MODEL} if none")
    add("--precisions", default="int8", help='such as "int8,float"; by default int8')
    add("--times", type=tables.numbers, default=[5, 10, 20, 40, 80, 160, 300], help="in seconds")
    add("--threads", type=int, default=1, help="threads of an inference")
    add("--models", type=Path, help="folder with models that this repository does not have")
    add("--rounds", type=int, default=9, help="turns of each library")
    add("--seconds", type=float, default=0.2, help="timed seconds of a measurement")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of tuning is replaced")
    arguments = parser.parse_args(given)
    precisions = arguments.precisions.split(",")
    if unknown := sorted(set(precisions) - set(_RECIPES)):
        parser.error(f"no such precision: {', '.join(unknown)}")
    names = arguments.names or [_MODEL]
    if unknown := sorted(set(names) - set(models.cases(arguments.models))):
        parser.error(f"no such model: {', '.join(unknown)}")
    rows = [row for name in names for p in precisions for row in trace(name, p, arguments)]
    tables.publish("tuning", table(rows), rows, arguments.out, arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

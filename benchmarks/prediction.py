"""Thirty candidates, each predicted before it is built: errors of size and arena, and whether latencies rank alike."""

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from budgetc.build import Job, Optimised, build, run_passes
from budgetc.model import load_model
from budgetc.predict.latency import group_of
from budgetc.predict.prediction import Prediction
from budgetc.predict.predictor import predict
from budgetc.predict.profile import profile, remember
from budgetc.predict.roofline import roofline
from budgetc.predict.timings import Timings
from budgetc.registry import find_target
from budgetc_specs.recipe import parse_recipe
from scipy.stats import spearmanr

from benchmarks import library, machine, models, tables
from benchmarks.machine import pinned
from benchmarks.models import Prepared
from benchmarks.turns import turned

ACROSS = (
    "mnist5k_cnn",
    "mlperf_tiny_resnet8_cifar10",
    "animalmnist_dscnn",
    "mlperf_tiny_dscnn_kws",
    "mtcnn_rnet",
)
"""Models of the candidates across models: those of the repository that channels can be pruned from quickly."""

ONE = ("mnist5k_cnn", "mlperf_tiny_resnet8_cifar10")
"""Models that get thirty candidates of their own."""

RATIOS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.375, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
FEW = (0.0, 0.25, 0.5)
STATES = {
    "cold": "nothing was measured on this machine",
    "learning": "the candidates before it were built and timed",
    "known": "it was built and timed itself",
}


@dataclass(frozen=True)
class Candidate:
    """A recipe for a model."""

    model: str
    recipe: str


def candidates(names: Sequence[str], ratios: Sequence[float]) -> list[Candidate]:
    """Float and int8 of each ratio of pruning, in an order that is drawn once and for all."""
    found = []
    for name in names:
        for ratio in ratios:
            pruned = (
                f"{library.FLOAT} | prune{{ratio={ratio:g}}} | clean" if ratio else library.FLOAT
            )
            found += [Candidate(name, pruned), Candidate(name, f"{pruned} | quantize")]
    Random(0).shuffle(found)
    return found


class Trial:
    """Predicts and builds candidates in a folder.

    Args:
        folder: for everything, the kernels and timings included.
        prepared: the models by name.
        threads: of an inference.
    """

    def __init__(self, folder: Path, prepared: Mapping[str, Prepared], threads: int) -> None:
        self._folder, self._prepared, self._threads = folder, prepared, threads
        self._sheet = find_target("host").capability(None, threads)

    def run(self, number: int, candidate: Candidate) -> dict[str, Any]:
        """Predict without and with what was learnt so far, build, time the calls and learn from them."""
        folder = self._folder / str(number)
        folder.mkdir()
        prepared = self._prepared[candidate.model]
        job = self._job(prepared)
        optimised = run_passes(job, parse_recipe(candidate.recipe), folder, _silent)
        cold = self._predict(optimised, self._folder / "nothing")
        learning = self._predict(optimised, job.timings)
        built = build(job, optimised, folder, _silent)
        inputs = {prepared.port: np.load(prepared.folder / "samples.npy")[:1]}
        with pinned(self._threads):
            runner = find_target("host").runner(self._sheet)
            calls = profile(built, folder, job, runner, inputs)
        if calls is None:
            raise SystemExit("this machine does not run its own code")
        remember(job, calls)
        known = self._predict(optimised, job.timings)
        (folder / "interface.json").write_text(json.dumps(built.interface.to_json()))
        return {
            "model": candidate.model,
            "recipe": candidate.recipe,
            "folder": str(folder),
            "size": built.library.stat().st_size,
            "size_predicted": cold.size,
            "arena": built.interface.workspace_bytes,
            "arena_predicted": cold.first.arena,
            "compiled": cold.compiled,
            "prediction_s": learning.seconds,
            **_latencies("cold", cold),
            **_latencies("learning", learning),
            **_latencies("known", known),
        }

    def measure(self, rows: Sequence[dict[str, Any]], rounds: int, seconds: float) -> None:
        """Time the libraries in turns; of the medians of its turns, the least counts as what it takes."""
        for number in range(rounds):
            for row in turned(rows, number):
                samples = self._prepared[row["model"]].folder / "samples.bin"
                taken = library.time_library(Path(row["folder"]), samples, seconds, self._threads)
                row["latency"] = min(taken["median"], row.get("latency", float("inf")))

    def usual(self) -> dict[str, float]:
        """Measured time over roofline by kind and width, as budgetc.predict.learnt has it."""
        found: dict[str, list[float]] = {}
        for timing in self._timings().read():
            operator, bits, parallel = group_of(timing)
            if not parallel:
                ratio = timing.seconds / roofline(timing, self._sheet)
                found.setdefault(f"{operator} {bits}", []).append(ratio)
        means = {name: tables.geometric_mean(ratios) for name, ratios in sorted(found.items())}
        return {**means, "any": tables.geometric_mean(means.values())}

    def _timings(self) -> Timings:
        return Timings(self._folder / "timings", find_target("host"), self._sheet)

    def _job(self, prepared: Prepared) -> Job:
        return Job(
            model=load_model(prepared.model),
            model_file=prepared.model,
            calibration=prepared.folder / "calibration.npz",
            kind="host",
            capability=self._sheet,
            name="model",
            library="shared",
            kernels=self._folder / "kernels",
            timings=self._folder / "timings",
        )

    def _predict(self, optimised: Optimised, timings: Path) -> Prediction:
        data = [model.data for model in optimised.model.entries]
        kernels = self._folder / "kernels"
        return predict(data, "host", self._sheet, kernels=kernels, timings=timings)


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Errors and rank correlations of some candidates."""
    real = [row["latency"] for row in rows]
    found: dict[str, Any] = {
        "candidates": len(rows),
        "size_error": max(abs(r["size_predicted"] / r["size"] - 1) for r in rows),
        "arena_error": max(abs(r["arena_predicted"] - r["arena"]) for r in rows),
        "prediction_s": statistics.median(r["prediction_s"] for r in rows),
    }
    for state in STATES:
        expected = [row[state] for row in rows]
        found[f"{state}_rank"] = float(spearmanr(expected, real).statistic)
        errors = (abs(np.log(e / r)) for e, r in zip(expected, real, strict=True))
        found[f"{state}_error"] = float(np.exp(statistics.median(errors)) - 1)
        inside = sum(r[f"{state}_low"] <= r["latency"] <= r[f"{state}_high"] for r in rows)
        found[f"{state}_inside"] = inside / len(rows)
    return found


def table(summaries: Mapping[str, dict[str, Any]], threads: int) -> str:
    """The summaries as a page shows them."""
    head = ["candidates of", "of them", "size off by", "arena off by", "a prediction takes"]
    sizes = [
        [
            name,
            str(s["candidates"]),
            f"{s['size_error']:.2%}",
            f"{s['arena_error']} bytes",
            f"{s['prediction_s']:.2f} s",
        ]
        for name, s in summaries.items()
    ]
    ranks = [
        [
            name,
            words,
            f"{s[f'{state}_rank']:.3f}",
            f"{s[f'{state}_error']:.0%}",
            f"{s[f'{state}_inside']:.0%}",
        ]
        for name, s in summaries.items()
        for state, words in STATES.items()
    ]
    second = ["candidates of", "when", "rank correlation", "median error", "within the interval"]
    start = f"{machine.name()}, threads: {threads}. Each prediction was made before the library was built"
    return (
        f"{start}, but for the last of the three.\n\n"
        f"{tables.markdown(head, sizes)}\n{tables.markdown(second, ranks)}"
    )


def main(given: Sequence[str] | None = None) -> int:
    """Predict, build, measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help="models that get candidates of their own; two if none")
    add("--no-across", action="store_true", help="leave out the candidates across models")
    add("--threads", type=int, default=1, help="threads of an inference")
    add("--rounds", type=int, default=5, help="turns of each library")
    add("--seconds", type=float, default=0.1, help="timed seconds of a measurement")
    add("--count", type=int, default=30, help="candidates of each set")
    add("--usual", action="store_true", help="print the table for budgetc.predict.learnt as well")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of prediction is replaced")
    arguments = parser.parse_args(given)
    known = models.cases(None)
    names = arguments.names or list(ONE)
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"no such model: {', '.join(unknown)}")
    sets = {name: candidates([name], RATIOS) for name in names}
    if not arguments.no_across:
        sets["all models"] = candidates(ACROSS, FEW)
    rows: list[dict[str, Any]] = []
    summaries = {}
    for name, chosen in sets.items():
        wanted = dict.fromkeys(c.model for c in chosen)
        prepared = {n: models.prepare(n, known[n], arguments.out / "models" / n) for n in wanted}
        with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
            trial = Trial(Path(scratch), prepared, arguments.threads)
            found = []
            for number, candidate in enumerate(chosen[: arguments.count]):
                print(f"{name}: {candidate.model} {candidate.recipe}", file=sys.stderr, flush=True)
                found.append(trial.run(number, candidate))
            trial.measure(found, arguments.rounds, arguments.seconds)
            if arguments.usual:
                print(json.dumps(trial.usual(), indent=4))
        summaries[name] = summary(found)
        rows += [{"set": name, **{k: v for k, v in r.items() if k != "folder"}} for r in found]
    text = table(summaries, arguments.threads)
    tables.publish("prediction", text, rows, arguments.out, arguments.page)
    return 0


def _latencies(state: str, prediction: Prediction) -> dict[str, float]:
    low, high = prediction.interval
    return {state: prediction.latency, f"{state}_low": low, f"{state}_high": high}


def _silent(stage: str) -> None:
    del stage


if __name__ == "__main__":
    sys.exit(main())

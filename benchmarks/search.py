"""The search against an exhaustive grid: five size budgets for each model, from roomy to impossible."""

import argparse
import json
import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from budgetc.build import write_models
from budgetc.cache import cache_folder
from budgetc.compile import compile as compile_spec
from budgetc.compile import job_for, load_inputs, subject_for
from budgetc.figures import Limits
from budgetc.hardware import hardware_of
from budgetc.predict.latency import Clockwork
from budgetc.predict.timings import timings_of
from budgetc.progress import Event
from budgetc.result import TargetResult, Trial
from budgetc.search.pool import open_pool
from budgetc.search.settings import Settings
from budgetc.search.simulations import Simulated, Simulations
from budgetc.search.space import Family, Space, find_space
from budgetc_specs.document import load_spec
from budgetc_specs.recipe import Recipe, Value
from budgetc_specs.spec import Spec
from budgetc_specs.units import format_bytes, format_points, format_seconds, parse_bytes

from benchmarks import machine, models, tables

BUDGETS: Mapping[str, tuple[str, ...]] = {
    "mnist5k_cnn": ("160 KiB", "40 KiB", "12.2 KiB", "12.1 KiB", "6 KiB"),
    "mlperf_tiny_resnet8_cifar10": ("400 KiB", "80 KiB", "18.1 KiB", "17.9 KiB", "10 KiB"),
}
"""Five for each model: roomy, tight, just above the smallest library and just below, and below its weights alone."""

MADE_UP = 128
"""Samples of each part of the data where a model has none."""

CONFIRMED = 2
"""Points of the grid that are built at most, to see that the best of them is what it seems."""


@dataclass(frozen=True)
class Answer:
    """What keeps a budget with the least loss: of the grid, or what the search has chosen."""

    recipe: str
    size: int
    loss: float


def grid(space: Space) -> dict[str, Recipe]:
    """All points at which each family has one level for all its parts, with all values of all options.

    So the float model and int8, each of all calibrations, with each ratio of pruning.
    """
    each = [list(_uniform(space, family)) for family in space.families]
    found: dict[str, Recipe] = {}
    for parts in product(*each):
        levels = {name: dict(own) for s in parts for name, own in s.levels}
        options = {name: dict(own) for s in parts for name, own in s.options}
        recipe = space.recipe(space.settings(levels, options))
        found.setdefault(str(recipe), recipe)
    return found


def _uniform(space: Space, family: Family) -> Iterator[Settings]:
    yield Settings()
    levels: dict[Value, None] = {x: None for c in family.choices for x in c.levels[1:]}
    names = [name for name, _ in family.options]
    for level in levels:
        for values in product(*(values for _, values in family.options)):
            yield space.uniform(family.name, level, **dict(zip(names, values, strict=True)))


def best_of(simulated: Sequence[Simulated], limits: Limits) -> list[Answer]:
    """The points of a grid that keep a size budget, the least loss first; of equal ones the smallest."""
    found = []
    for each in simulated:
        figures = each.figures(limits)
        if figures is not None and figures.size <= _limit(limits):
            found.append(Answer(str(each.recipe), figures.size, figures.loss))
    return sorted(found, key=lambda answer: (answer.loss, answer.size))


def answer_of(chosen: Trial) -> Answer:
    """What the search has chosen: its size is measured, its loss is that on the validation data."""
    assert chosen.predicted is not None
    assert chosen.measurement is not None
    return Answer(chosen.recipe, chosen.measurement.size.deployed, chosen.predicted.loss)


def verdict(search: Answer | None, grid_best: Answer | None, code: int, limit: int) -> str:
    """Whether the search has kept its promise, in a few words; `MISSED` where not."""
    if search is None:
        proven = {1: "not found, and the nearest is named", 3: "proven out of reach"}
        if grid_best is None and code in proven:
            return proven[code]
        return "MISSED: the grid keeps it" if grid_best else f"MISSED: exit {code}"
    if search.size > limit:
        return "MISSED: too large"
    if grid_best is None or search.loss < grid_best.loss:
        return "better than the grid"
    return "as good as the grid" if search.loss == grid_best.loss else "MISSED: worse"


class Contest:
    """One model: the grid is simulated once, the search runs for each budget.

    Args:
        name: of the model.
        folder: for its files and results.
        candidates: that a search may look at.
        minutes: that it may take.
    """

    def __init__(self, name: str, folder: Path, candidates: int, minutes: float) -> None:
        self._name, self._folder = name, folder
        case = models.cases(None)[name]
        prepared = models.prepare(name, case, folder / "model")
        data = folder / "data"
        data.mkdir(exist_ok=True)
        if case.data:
            for part in ("calibration", "evaluation"):
                shutil.copyfile(case.data / f"{part}.npz", data / f"{part}.npz")
        else:
            for seed, part in enumerate(("calibration", "evaluation", "validation")):
                samples = models.made_up(case, MADE_UP, seed=seed)
                arrays: dict[str, Any] = {case.port: samples}
                np.savez(data / f"{part}.npz", **arrays)
        self._document: dict[str, Any] = {
            "budgetc": 1,
            "model": str(prepared.model),
            "data": {file.stem: str(file) for file in sorted(data.glob("*.npz"))},
            "quality": {"metric": "top1" if case.data else "cosine"},
            "objective": "quality",
            "targets": {"host": {}},
            "search": {"candidates": candidates, "time": f"{minutes:g} min"},
            "output": {"name": "model"},
        }

    def run(self, budget: str) -> dict[str, Any]:
        """One budget: what the search finds, and what the grid has."""
        spec = self._spec(budget)
        found, seconds = self._search(spec)
        search = answer_of(found.chosen) if found.chosen else None
        limit = parse_bytes(budget)
        simulated, grid_seconds = self.grid
        limits = Limits(spec.budgets_for("host"))
        kept = best_of(simulated, limits)
        kept = self._confirmed(kept, budget, search)
        best = kept[0] if kept else None
        info = found.search
        assert info is not None
        return {
            "model": self._name,
            "budget": limit,
            "exit": found.exit_code,
            "search_recipe": search.recipe if search else "",
            "search_size": search.size if search else None,
            "search_loss": search.loss if search else None,
            "search_s": seconds,
            "looked_at": info.simulated,
            "built": info.built,
            "nearest": min((t.reached for t in _size_points(found)), default=None),
            "grid_recipe": best.recipe if best else "",
            "grid_size": best.size if best else None,
            "grid_loss": best.loss if best else None,
            "grid_points": len(simulated),
            "grid_kept": len(kept),
            "grid_s": grid_seconds,
            "verdict": verdict(search, best, found.exit_code, limit),
            "certificate": found.certificate,
        }

    @property
    def grid(self) -> tuple[list[Simulated], float]:
        """All points of the grid simulated, and the seconds that it took."""
        if not hasattr(self, "_grid"):
            spec = self._spec(BUDGETS[self._name][0])
            begin = time.monotonic()
            self._grid = (self._simulate(spec), time.monotonic() - begin)
        return self._grid

    def _simulate(self, spec: Spec) -> list[Simulated]:
        model, splits, metric = load_inputs(spec)
        with tempfile.TemporaryDirectory(prefix="budgetc-benchmark-") as scratch:
            file = Path(scratch) / "model.onnx"
            write_models(model, file)
            job = job_for(spec, hardware_of(spec, "host"), model, file, splits)
            subject = subject_for(spec, job, splits, metric)
            space = find_space(file, model.path, job.capability, calibrated=True)
            recipes = list(grid(space).values())
            with open_pool() as pool:
                folder, sheet = cache_folder() / "simulations", job.capability
                clock = Clockwork(timings_of(job.timings, job.kind, sheet), sheet)
                simulations = Simulations(job, subject, pool, folder, clock)
                return simulations.simulate(recipes, _dots(self._name, len(recipes)))

    def _search(self, spec: Spec) -> tuple[TargetResult, float]:
        """A search that knows nothing of those before it but what was measured."""
        shutil.rmtree(cache_folder() / "searches", ignore_errors=True)
        begin = time.monotonic()
        (found,) = compile_spec(spec, out=self._folder / "artefact", observer=_tell).targets
        return found, time.monotonic() - begin

    def _confirmed(self, kept: list[Answer], budget: str, search: Answer | None) -> list[Answer]:
        """The grid without its best points that turn out to be something else once they are built."""
        for _ in range(CONFIRMED):
            if not kept or (search and kept[0].loss >= search.loss):
                break
            spec = self._spec(budget, passes=kept[0].recipe)
            (found,) = compile_spec(spec, out=self._folder / "confirmed", observer=_tell).targets
            if found.chosen is not None:
                break
            kept = kept[1:]
        return kept

    def _spec(self, budget: str, **more: str) -> Spec:
        file = self._folder / "spec.json"
        document = {**self._document, "budgets": {"size": budget}, **more}
        file.write_text(json.dumps(document, indent=2), encoding="utf-8")
        return load_spec(file)


def table(rows: Sequence[Mapping[str, Any]], candidates: int) -> str:
    """The rows as a page shows them."""
    head = [
        *("model", "budget", "search: size", "loss", "time", "candidates", "built"),
        *("grid: size", "loss", "points kept", "verdict"),
    ]
    cells = [
        [
            row["model"],
            format_bytes(row["budget"]),
            _bytes(row["search_size"]),
            _loss(row["search_loss"]),
            format_seconds(row["search_s"]),
            str(row["looked_at"]),
            str(row["built"]),
            _bytes(row["grid_size"]),
            _loss(row["grid_loss"]),
            f"{row['grid_kept']} of {row['grid_points']}",
            f"{row['verdict']} (exit {row['exit']})" if row["exit"] else row["verdict"],
        ]
        for row in rows
    ]
    start = f"{machine.name()}, {os.cpu_count()} processors. Searches of {candidates} candidates"
    return f"{start}; the first of each model began with an empty cache.\n\n{tables.markdown(head, cells)}"


def main(given: Sequence[str] | None = None) -> int:
    """Search, simulate the grid, compare, print and write; 1 where the search was worse."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"models, of {', '.join(BUDGETS)}; all of them if none")
    add("--candidates", type=int, default=40, help="candidates of a search")
    add("--minutes", type=float, default=10.0, help="longest that a search may take")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of search is replaced")
    arguments = parser.parse_args(given)
    names = arguments.names or list(BUDGETS)
    if unknown := sorted(set(names) - set(BUDGETS)):
        parser.error(f"no budgets for: {', '.join(unknown)}")
    home = arguments.out.absolute() / "search"
    rows = []
    for name in names:
        folder = home / name
        (folder / "model").mkdir(parents=True, exist_ok=True)
        cache = folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        os.environ["BUDGETC_CACHE"] = str(cache)
        contest = Contest(name, folder, arguments.candidates, arguments.minutes)
        for budget in BUDGETS[name]:
            print(f"{name}: {budget}", file=sys.stderr, flush=True)
            rows.append(contest.run(budget))
            print(f"{name}: {budget}: {rows[-1]['verdict']}", file=sys.stderr, flush=True)
            tables.write_csv(rows, arguments.out / "search.csv")  # in case it is interrupted
    text = table(rows, arguments.candidates)
    tables.publish("search", text, rows, arguments.out, arguments.page)
    return int(any(row["verdict"].startswith("MISSED") for row in rows))


def _limit(limits: Limits) -> float:
    return limits.budgets.size.max_bytes if limits.budgets.size else math.inf


def _size_points(found: TargetResult) -> list[Any]:
    return [p for p in found.proof.points if p.budget == "size"] if found.proof else []


def _bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def _loss(loss: float | None) -> str:
    return "" if loss is None else format_points(loss)


def _tell(event: Event) -> None:
    if event.kind in {"candidate", "built"}:
        print(f"  {event.step} {event.candidate}: {event.text}", file=sys.stderr, flush=True)


def _dots(name: str, count: int) -> Callable[[int, Simulated], None]:
    ended = 0

    def done(_position: int, simulated: Simulated) -> None:
        nonlocal ended
        ended += 1
        print(f"  {name}: grid {ended}/{count}: {simulated.recipe}", file=sys.stderr, flush=True)

    return done


if __name__ == "__main__":
    sys.exit(main())

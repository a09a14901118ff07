"""What a compilation comes to: every candidate, the verdicts on it, what was handed over or why nothing was."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from budgetc_specs.capability import Capability

from budgetc.figures import Figures, Goal
from budgetc.regression import figure_of
from budgetc.strategy_record import StrategyInfo
from budgetc.verdict import BudgetName, Measurement, Verdict
from budgetc.verification.report import Report

Outcome = Literal["feasible", "infeasible", "refused", "out of reach", "wrong numbers", "not built"]

BUDGET_MISSED = 1


@dataclass(frozen=True)
class Trial:
    """One candidate.

    Attributes:
        recipe: its text, which replays it.
        outcome: what became of it.
        reason: why it was refused or not built; empty where verdicts say all.
        weight_bytes: weights of the optimised model, 0 where it was not made.
        ledger: what each pass did.
        measurement: None where it was not built.
        verdicts: on every budget, in order.
        agreement: how its outputs compare with onnxruntime's.
        parts: arena, its lower bounds for the order of calls and for any order, its map, kernels, calls, seconds,
            whether it is compact, the point of every kernel.
        schedules: the tuner's choices.
        origin: why it was looked at.
        predicted: what was expected of it; None where nothing was, as for a recipe that the spec names.
    """

    recipe: str
    outcome: Outcome
    reason: str = ""
    weight_bytes: int = 0
    ledger: tuple[Mapping[str, Any], ...] = ()
    measurement: Measurement | None = None
    verdicts: tuple[Verdict, ...] = ()
    agreement: Report | None = None
    parts: Mapping[str, Any] = field(default_factory=dict)
    schedules: tuple[Mapping[str, Any], ...] = ()
    origin: str = ""
    predicted: Figures | None = None

    @property
    def excess(self) -> float:
        """How far it is from keeping all budgets: the largest part by which one is passed."""
        return max((v.excess for v in self.verdicts if not v.holds), default=0.0)

    @property
    def quality(self) -> float:
        """Quality for comparing candidates, more being better; minus infinity where unknown."""
        quality = self.measurement.quality if self.measurement else None
        return -quality.drop if quality else float("-inf")

    def without_arrays(self) -> "Trial":
        """The same without the inputs that were found to fail, which are saved for a bug report elsewhere."""
        report = self.agreement
        if report is None:
            return self
        cases = tuple(replace(case, failing=None) for case in report.cases)
        return replace(self, agreement=replace(report, cases=cases))


@dataclass(frozen=True)
class Point:
    """The candidate that comes nearest to one budget and keeps all others.

    Attributes:
        budget: which.
        limit: what it allows, in its unit.
        reached: the least that was measured of a candidate that keeps the others.
        unit: as in `Verdict`.
        recipe: what makes it.
        trial: its place among the trials.
        allow: a value to write into the spec with which this point keeps the budget.
    """

    budget: BudgetName
    limit: float
    reached: float
    unit: str
    recipe: str
    trial: int
    allow: str

    @property
    def text(self) -> str:
        """One line for people."""
        figure = figure_of(self.budget)
        field = f"max_regression.{figure}" if figure else self.budget
        return f"with {field}: {self.allow} this one keeps all budgets: {self.recipe}"


@dataclass(frozen=True)
class Bound:
    """What no candidate can go below.

    Attributes:
        budget: of which the bound is.
        bound: in the unit.
        limit: what the budget allows.
        unit: as in `Verdict`.
        why: where the bound comes from.
    """

    budget: BudgetName
    bound: float
    limit: float
    unit: str
    why: str

    @property
    def beyond(self) -> bool:
        """Whether the budget is out of reach."""
        return self.bound > self.limit


@dataclass(frozen=True)
class Proof:
    """Why nothing keeps all budgets, as far as the search went.

    Attributes:
        binding: the smallest set of budgets that no candidate keeps together.
        points: the nearest candidate for each budget that alone could give way.
        bounds: what is proven out of reach.
        tried: candidates that were looked at.
        built: of these, built and measured.
        stopped: why the search ended early, or nothing.
    """

    binding: tuple[BudgetName, ...]
    points: tuple[Point, ...]
    bounds: tuple[Bound, ...]
    tried: int
    built: int
    stopped: str = ""

    @property
    def text(self) -> str:
        """The certificate in words."""
        lines = [self.stopped] if self.stopped else []
        lines += [f"{bound.budget} is out of reach: {bound.why}" for bound in self.bounds]
        if self.binding:
            together = " and ".join(self.binding)
            binds = "bind together: each can be kept" if len(self.binding) > 1 else "binds"
            lines.append(
                f"{together} {binds}{', but no candidate keeps all of them' if len(self.binding) > 1 else ''}"
            )
        lines += [point.text for point in self.points]
        lines.append(f"looked at {self.tried} candidates, built and measured {self.built}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Payment:
    """What one pass of the chosen recipe is good for: the figures with it, and without.

    Attributes:
        step: the pass as the recipe has it.
        kept: whether it stayed.
        text: the reason in words.
        with_: figures of the recipe.
        without: figures of the recipe without it; None where it cannot go.
    """

    step: str
    kept: bool
    text: str
    with_: Figures
    without: Figures | None


@dataclass(frozen=True)
class SearchInfo:
    """How a search went.

    Attributes:
        seed: of all that was drawn.
        objective: what was optimised.
        candidates: how many it was allowed to look at.
        simulated: how many were looked at.
        built: how many were built and measured.
        seconds: how long it took.
        validation: which data it judged quality on.
        stopped: why it ended early, or nothing.
        notes: what else its user should know.
    """

    seed: int
    objective: tuple[Goal, ...]
    candidates: int
    simulated: int
    built: int
    seconds: float
    validation: str
    stopped: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TargetResult:
    """The outcome for one target.

    Attributes:
        target: its name in the spec.
        capability: its sheet.
        trials: every candidate that was tried, in order.
        chosen: the one that was handed over.
        folder: where it was written; None where nothing was.
        certificate: why nothing was handed over, in words.
        exit_code: 0, or why not.
        baseline: what onnxruntime makes of the model: `metric`, `quality` of the float model on so many
            `samples`, and `model_bytes` of each peer.
        strategy: how a strategy that trains went; None without one.
    """

    target: str
    capability: Capability
    trials: tuple[Trial, ...]
    chosen: Trial | None
    folder: Path | None
    certificate: str = ""
    exit_code: int = 0
    baseline: Mapping[str, Any] = field(default_factory=dict)
    proof: Proof | None = None
    search: SearchInfo | None = None
    pays: tuple[Payment, ...] = ()
    sensitivity: tuple[Mapping[str, Any], ...] = ()
    layers: tuple[Mapping[str, Any], ...] = ()
    strategy: StrategyInfo | None = None

    def without_arrays(self) -> "TargetResult":
        """The same without arrays, as it can be written down."""
        return replace(
            self,
            trials=tuple(trial.without_arrays() for trial in self.trials),
            chosen=self.chosen and self.chosen.without_arrays(),
        )

    @property
    def nearest(self) -> Trial | None:
        """The measured candidate that misses its budgets by least."""
        measured = [t for t in self.trials if t.measurement and t.outcome == "infeasible"]
        return min(measured, key=lambda t: t.excess, default=None)


@dataclass(frozen=True)
class Result:
    """The outcome of a compilation over all its targets."""

    name: str
    targets: tuple[TargetResult, ...]

    @property
    def exit_code(self) -> int:
        """0 if every budget of every target is met, else the worst target's code."""
        return max((t.exit_code for t in self.targets), default=0)

    def without_arrays(self) -> "Result":
        """The same without arrays, as it can be written down."""
        return replace(self, targets=tuple(target.without_arrays() for target in self.targets))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values: what `--json` prints."""
        return {
            "budgetc": 1,
            "name": self.name,
            "exit_code": self.exit_code,
            "targets": [_target_json(t) for t in self.targets],
        }


def _target_json(result: TargetResult) -> dict[str, Any]:
    return {
        "target": result.target,
        "capability": result.capability.model_dump(mode="json"),
        "exit_code": result.exit_code,
        "folder": str(result.folder) if result.folder else None,
        "chosen": trial_json(result.chosen) if result.chosen else None,
        "certificate": result.certificate,
        "baseline": dict(result.baseline),
        "proof": _proof_json(result.proof) if result.proof else None,
        "search": _search_json(result.search) if result.search else None,
        "pays": [_payment_json(each) for each in result.pays],
        "strategy": result.strategy.to_json() if result.strategy else None,
        "sensitivity": [dict(each) for each in result.sensitivity],
        "layers": [dict(each) for each in result.layers],
        "trials": [trial_json(t) for t in result.trials],
        "locked": None,  # this run measured
    }


def _proof_json(proof: Proof) -> dict[str, Any]:
    return {
        **asdict(proof),
        "points": [{**asdict(point), "text": point.text} for point in proof.points],
        "text": proof.text,
    }


def _search_json(search: SearchInfo) -> dict[str, Any]:
    return {**asdict(search), "objective": ", then ".join(search.objective)}


def _payment_json(payment: Payment) -> dict[str, Any]:
    def figures(found: Figures | None) -> dict[str, float | None]:
        if found is None:
            return {}
        names = {"quality_drop": found.drop, "size": found.size, "memory": found.memory}
        return {**names, "latency": found.latency, "error": found.error}

    return {
        "pass": payment.step,
        "kept": payment.kept,
        "text": payment.text,
        "with": figures(payment.with_),
        "without": figures(payment.without),
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    interval = None
    if figures.fastest is not None and figures.slowest is not None:
        interval = [figures.fastest, figures.slowest]
    return {
        "size": figures.size,
        "memory": figures.memory,
        "latency": figures.latency,
        "latency_interval": interval,
        "quality_drop": figures.drop,
        "error": figures.error,
        "compact": figures.compact,
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """A candidate as plain JSON values."""
    return {
        "recipe": trial.recipe,
        "outcome": trial.outcome,
        "reason": trial.reason,
        "origin": trial.origin,
        "stage": "built" if trial.measurement else "simulated",
        "predicted": _figures_json(trial.predicted) if trial.predicted else None,
        "weight_bytes": trial.weight_bytes,
        "verdicts": [v.to_json() for v in trial.verdicts],
        "measurement": measurement_json(trial.measurement) if trial.measurement else None,
        "agreement": trial.agreement.to_json() if trial.agreement else None,
        "parts": dict(trial.parts),
        "ledger": [dict(entry) for entry in trial.ledger],
        "schedules": [dict(s) for s in trial.schedules],
    }


def measurement_json(measurement: Measurement) -> dict[str, Any]:
    """The figures in bytes, seconds and fractions."""
    latency, quality, memory = measurement.latency, measurement.quality, measurement.memory
    found: dict[str, Any] = {
        "executed": measurement.executed,
        "emulated": measurement.emulated,
        "device": measurement.device,
        "reason": measurement.reason,
        "instructions": measurement.instructions,
        "uncounted": measurement.uncounted,
        "size": {
            "bytes": measurement.size.deployed,
            "text": measurement.size.text,
            "rodata": measurement.size.rodata,
            "data": measurement.size.data,
        },
        "memory": {
            "bytes": memory.total,
            "arena": memory.arena,
            "static": memory.static,
            "stack": memory.stack,
            "observed": memory.observed,
        },
        "latency": None,
        "quality": None,
    }
    if measurement.further:
        found["entries"] = {
            m.entry: {key: measurement_json(m)[key] for key in ("memory", "latency")}
            for m in measurement.further
        }
    if latency:
        timings = {"ours": latency.ours, **latency.peers}
        found["latency"] = {
            "statistic": latency.statistic,
            "interval_s": [latency.interval.low, latency.interval.high],
            "runs": latency.ours.runs,
            "seconds": {name: t.statistic(latency.statistic) for name, t in timings.items()},
        }
    if quality:
        found["quality"] = {
            "metric": quality.metric,
            "value": quality.value,
            "reference": quality.reference,
            "drop": quality.drop,
            "interval": [quality.low, quality.high],
            "value_interval": [quality.value_low, quality.value_high],
            "samples": quality.samples,
            "slices": [
                {
                    "slice": each.name,
                    "value": each.value,
                    "reference": each.reference,
                    "drop": each.drop,
                    "interval": [each.low, each.high],
                    "samples": each.samples,
                    "judged": each.judged,
                }
                for each in quality.slices
            ],
        }
    return found

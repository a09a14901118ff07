"""What a compilation comes to: every candidate, the verdicts on it, what was handed over or why nothing was."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from budgetc_specs.capability import Capability

from budgetc.verdict import Measurement, Verdict
from budgetc.verification.report import Report

Outcome = Literal["feasible", "infeasible", "refused", "out of reach", "wrong numbers"]

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
        parts: arena, its lower bounds for the order of calls and for any order, its map, kernels, calls, seconds.
        schedules: the tuner's choices.
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

    @property
    def excess(self) -> float:
        """How far it is from keeping all budgets: the largest part by which one is passed."""
        return max((v.excess for v in self.verdicts if not v.holds), default=0.0)

    @property
    def quality(self) -> float:
        """Quality for comparing candidates, more being better; minus infinity where unknown."""
        quality = self.measurement.quality if self.measurement else None
        return -quality.drop if quality else float("-inf")


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
    """

    target: str
    capability: Capability
    trials: tuple[Trial, ...]
    chosen: Trial | None
    folder: Path | None
    certificate: str = ""
    exit_code: int = 0
    baseline: Mapping[str, Any] = field(default_factory=dict)

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
        "trials": [trial_json(t) for t in result.trials],
    }


def trial_json(trial: Trial) -> dict[str, Any]:
    """A candidate as plain JSON values."""
    return {
        "recipe": trial.recipe,
        "outcome": trial.outcome,
        "reason": trial.reason,
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
        "reason": measurement.reason,
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

"""What the result's JSON says of each target and budget, as texts: the part that all formats share."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc_specs.errors import BudgetcError, ModelError, SpecError
from budgetc_specs.units import format_amount

NONE = "-"


@dataclass(frozen=True)
class Verdict:
    """A verdict in words.

    Attributes:
        budget: its name.
        limit: what was allowed.
        measured: what was measured, `-` where nothing was.
        interval: of the measurement, `-` where it has none.
        status: PASS, WARN, UNDECIDED or FAIL.
        text: one line that says why.
        doubt: why the data are too few to decide it, or nothing.
    """

    budget: str
    limit: str
    measured: str
    interval: str
    status: str
    text: str
    doubt: str

    @property
    def holds(self) -> bool:
        """Whether the artefact may be handed over, as far as this budget goes."""
        return self.status in {"PASS", "WARN"}


@dataclass(frozen=True)
class Target:
    """What came of one target.

    Attributes:
        name: its name in the spec.
        hardware: kind and CPU.
        exit_code: 0, or why not.
        recipe: of the artefact, or of the nearest candidate; nothing where none was measured.
        written: whether an artefact was handed over.
        seconds: how long the search took.
        certificate: why nothing was handed over.
        locked: that the figures are those of a lock, and which machine's; nothing where this run measured.
        verdicts: of the artefact, or of the nearest candidate.
    """

    name: str
    hardware: str
    exit_code: int
    recipe: str
    written: bool
    seconds: float
    certificate: str
    locked: str
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, where: line and column count from 1, None where there is no text to point at.

    Attributes:
        rule: what kind of thing it is: one of `sarif.RULES`.
        level: `error` or `warning`.
        message: what is wrong and how to repair it.
        path: the file that it is about.
        line: in it.
        column: in it.
        width: characters of the line that it is about.
    """

    rule: str
    level: str
    message: str
    path: str | None = None
    line: int | None = None
    column: int | None = None
    width: int = 1


def read_result(path: Path) -> Mapping[str, Any]:
    """The result of a file that `budgetc compile` has written."""
    value: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return value


def targets_of(result: Mapping[str, Any]) -> Iterator[Target]:
    """Every target of a result with the verdicts on what was handed over, or on what comes nearest."""
    for each in result["targets"]:
        shown = each["chosen"] or _nearest(each["trials"])
        capability, search = each["capability"], each["search"] or {}
        yield Target(
            name=each["target"],
            hardware=f"{capability['target']}, {capability['cpu']}",
            exit_code=each["exit_code"],
            recipe=shown["recipe"] if shown else "",
            written=each["chosen"] is not None,
            seconds=float(search.get("seconds", 0.0)),
            certificate=each["certificate"] or _reasons(each["trials"]),
            locked=each["locked"]["text"] if each["locked"] else "",
            verdicts=tuple(_verdict(v) for v in shown["verdicts"]) if shown else (),
        )


def findings_of_result(result: Mapping[str, Any], spec: str | None) -> list[Finding]:
    """What a result has to say against a spec: budgets that are missed, doubts, and targets without an artefact."""
    found = []
    for target in targets_of(result):
        for verdict in target.verdicts:
            if verdict.status != "PASS":
                level = "warning" if verdict.holds else "error"
                measured = f" ({target.locked})" if target.locked else ""
                text = f"target {target.name}: {verdict.text}{measured}"
                found.append(
                    Finding(f"budget-{verdict.budget.replace('_', '-')}", level, text, spec)
                )
        if target.exit_code and not any(not v.holds for v in target.verdicts):
            text = f"target {target.name}: no artefact: {target.certificate}"
            found.append(Finding("no-artefact", "error", text, spec))
    return found


def findings_of_error(error: BudgetcError, spec: str | None) -> list[Finding]:
    """What an error has to say, with positions where it has some."""
    if isinstance(error, SpecError):
        return [
            Finding(
                "spec",
                "error",
                "\n".join(filter(None, [each.message, each.repair])),
                spec if each.path is None or each.path.startswith("-") else each.path,
                each.line,
                each.column,
                each.width,
            )
            for each in error.diagnostics
        ]
    rule = "model" if isinstance(error, ModelError) else "build"
    return [Finding(rule, "error", str(error), spec)]


def _nearest(trials: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The measured candidate that misses its budgets by least."""
    measured = [t for t in trials if t["measurement"] and t["outcome"] == "infeasible"]
    return min(measured, key=_excess, default=None)


def _excess(trial: Mapping[str, Any]) -> float:
    missed = [v["excess"] for v in trial["verdicts"] if v["status"] not in {"PASS", "WARN"}]
    return max(missed, default=0.0)


def _reasons(trials: list[Mapping[str, Any]]) -> str:
    return "\n".join(f"{t['recipe']}: {t['outcome']}: {t['reason']}" for t in trials if t["reason"])


def _verdict(value: Mapping[str, Any]) -> Verdict:
    unit, ends = value["unit"], value["interval"]
    peer = unit.removeprefix("x ") if unit.startswith("x ") else ""
    measured = value["measured"]
    return Verdict(
        budget=value["budget"],
        limit=f"{format_amount(value['limit'], unit)} {peer}".strip(),
        measured=NONE if measured is None else format_amount(measured, unit),
        interval=NONE if ends is None else " to ".join(format_amount(end, unit) for end in ends),
        status=value["status"],
        text=value["text"],
        doubt=value["doubt"],
    )

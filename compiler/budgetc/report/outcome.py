"""What came out, for people in a hurry: one sentence for each target, and a table of target by budget."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from budgetc.report import figures
from budgetc.report.document import Document, Target, Verdict

BUDGETS = (
    *("size", "memory", "latency", "quality", "worst_slice"),
    *("size_regression", "memory_regression", "latency_regression", "quality_regression"),
)

_TONES = {"PASS": "pass", "WARN": "warn", "UNDECIDED": "warn", "FAIL": "fail"}
_WORDS = {"PASS": "kept", "WARN": "warning", "UNDECIDED": "undecided", "FAIL": "missed"}


@dataclass(frozen=True)
class Cell:
    """The verdict on one budget of one target.

    Attributes:
        budget: which.
        tone: `pass`, `warn` or `fail`.
        word: the same for people.
        value: what was measured.
        allowed: what was allowed, in words.
        note: the times behind a ratio; may be empty.
        interval: where the true value lies with 95 % confidence; may be empty.
        share: how much of the limit is used; None where that means nothing.
        text: the verdict's own words.
        doubt: why the samples are too few to decide it; empty where they are enough.
    """

    budget: str
    tone: str
    word: str
    value: str
    allowed: str
    note: str
    interval: str
    share: float | None
    text: str
    doubt: str


@dataclass(frozen=True)
class Row:
    """One target of the table.

    Attributes:
        target: its name.
        anchor: of its section.
        hardware: its kind, CPU and threads.
        tone: how it went.
        lead: what came out.
        facts: its figures; without an artefact, what the nearest point misses.
        cells: those of each column; of quality there may be two, of its loss and of its value.
    """

    target: str
    anchor: str
    hardware: str
    tone: str
    lead: str
    facts: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Outcome:
    """The head of the page: `title` says it all, `columns` are the budgets that are set anywhere."""

    title: str
    tone: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def outcome(document: Document) -> Outcome:
    """The head of the page for a result."""
    verdicts = [_verdicts(target) for target in document.targets]
    named = {v.budget for each in verdicts for v in each}
    columns = (*(b for b in BUDGETS if b in named), *sorted(named.difference(BUDGETS)))
    rows = []
    for number, (target, each) in enumerate(zip(document.targets, verdicts, strict=True)):
        rows.append(
            Row(
                target=target.target,
                anchor=anchor(number),
                hardware=hardware(target),
                tone=_tone(target),
                lead=_lead(target),
                facts=_facts(target),
                cells=tuple(
                    tuple(_cell(v, target) for v in each if v.budget == c) for c in columns
                ),
            )
        )
    names = tuple(budget_name(c) for c in columns)
    return Outcome(_title(document), _worst([r.tone for r in rows]), names, tuple(rows))


def budget_name(budget: str) -> str:
    """A budget as people call it."""
    return budget.replace("_", " ")


def anchor(number: int) -> str:
    """The anchor of a target's section, made of its place and not of its name."""
    return f"target-{number + 1}"


def hardware(target: Target) -> str:
    """The kind, CPU and threads of a target."""
    sheet = target.capability
    threads = sheet.get("threads")
    words = [sheet.get("target"), sheet.get("cpu")]
    if isinstance(threads, int):
        words.append(f"{threads} thread{'s' if threads != 1 else ''}")
    return ", ".join(str(word) for word in words if word)


def _facts(target: Target) -> tuple[str, ...]:
    """The figures behind a lead: all of what was handed over, or what the nearest point misses."""
    verdicts = [v for v in _verdicts(target) if v.measured is not None]
    return tuple(_fact(v) for v in verdicts if target.chosen is not None or not v.holds)


def _title(document: Document) -> str:
    targets = document.targets
    if len(targets) == 1:
        return _lead(targets[0]).removesuffix(".")
    made = sum(t.chosen is not None for t in targets)
    if not targets:
        return "Nothing was compiled"
    warned = [t.target for t in targets if t.chosen is not None and _tone(t) == "warn"]
    if made == len(targets) and warned:
        count = "Both targets" if made == 2 else f"All {made} targets"
        return f"{count} have a library, with a warning on {figures.listed(warned)}"
    if made == len(targets):
        return f"Every budget is met on {'both' if made == 2 else f'all {made}'} targets"
    if made == 0:
        return "No target keeps every budget"
    return f"{made} of {len(targets)} targets keep{'s' if made == 1 else ''} every budget"


def _lead(target: Target) -> str:
    """The outcome without its figures."""
    name, verdicts = target.target, _verdicts(target)
    if target.chosen is not None:
        warned = _names(v for v in verdicts if v.status != "PASS")
        if not verdicts:
            return f"The model is compiled for {name}; no budget is set."
        if warned:
            kept = sum(v.status == "PASS" for v in verdicts)
            what = f"a warning for {figures.listed(warned)}"
            return f"{kept} of {len(verdicts)} budgets are met on {name}, with {what}."
        every = {1: "The budget is", 2: "Both budgets are"}
        return f"{every.get(len(verdicts), f'All {len(verdicts)} budgets are')} met on {name}."
    binding = [budget_name(b) for b in target.proof.binding] if target.proof else []
    binds = f"{figures.listed(binding)} bind{'s' if len(binding) == 1 else ''}" if binding else ""
    if target.exit_code == 3:
        return f"Out of reach on {name}, proven before anything was built{_after(binds)}."
    if any(t.outcome == "wrong numbers" for t in target.trials) and target.exit_code == 6:
        return f"A library for {name} computed wrong numbers: a fault of budgetc, caught here."
    if not binds:
        missed = _names(v for v in verdicts if not v.holds)
        binds = f"the nearest misses {figures.listed(missed)}" if missed else ""
    return f"No point keeps all budgets on {name}{_after(binds)}."


def _names(verdicts: Iterable[Verdict]) -> list[str]:
    """The budgets of some verdicts, each once."""
    return list(dict.fromkeys(budget_name(v.budget) for v in verdicts))


def _after(words: str) -> str:
    return f": {words}" if words else ""


def _fact(verdict: Verdict) -> str:
    name = budget_name(verdict.budget)
    value = figures.amount(verdict.measured, verdict.unit)
    limit = figures.amount(verdict.limit, verdict.unit)
    if peer := _peer(verdict):
        return f"{name} {value} {peer} ({limit} allowed)"
    if verdict.unit == "metric":
        return f"{name} {value} of at least {limit}"
    return f"{name}{' drop' if verdict.unit == 'fraction' else ''} {value} of {limit}"


def _allowed(verdict: Verdict) -> str:
    """What was allowed, as it stands below what was measured."""
    limit = figures.amount(verdict.limit, verdict.unit)
    if peer := _peer(verdict):
        return f"{peer}, of {limit} allowed"
    if verdict.unit == "metric":
        return f"at least {limit}"
    return f"lost, of {limit} allowed" if verdict.unit == "fraction" else f"of {limit}"


def _peer(verdict: Verdict) -> str:
    """The peer that a budget is relative to; nothing where it is absolute."""
    unit = verdict.unit
    return figures.peer_name(unit.removeprefix("x ")) if unit.startswith("x ") else ""


def _seconds(verdict: Verdict, target: Target) -> str:
    """The times behind a ratio to a peer; nothing for other budgets."""
    measured = target.shown.measurement if target.shown else None
    latency = measured.latency if measured else None
    if latency is None or not _peer(verdict):
        return ""
    ours, theirs = (latency.seconds.get(n) for n in ("ours", verdict.unit.removeprefix("x ")))
    known = ours is not None and theirs is not None
    return f"{figures.time(ours)} against {figures.time(theirs)}" if known else ""


def _verdicts(target: Target) -> tuple[Verdict, ...]:
    return target.shown.verdicts if target.shown else ()


def _cell(verdict: Verdict, target: Target) -> Cell:
    return Cell(
        budget=budget_name(verdict.budget),
        tone=_TONES.get(verdict.status, "warn"),
        word=_WORDS.get(verdict.status, verdict.status),
        value=figures.amount(verdict.measured, verdict.unit),
        allowed=_allowed(verdict),
        note=_seconds(verdict, target),
        interval=figures.interval(verdict.interval, verdict.unit),
        share=None if verdict.unit == "metric" else figures.share(verdict.measured, verdict.limit),
        text=verdict.text,
        doubt=verdict.doubt,
    )


def _tone(target: Target) -> str:
    if target.chosen is None:
        return "fail"
    return _worst(["pass", *(_TONES.get(v.status, "warn") for v in target.chosen.verdicts)])


def _worst(tones: Sequence[str]) -> str:
    return max(tones, key=("pass", "warn", "fail").index, default="warn")

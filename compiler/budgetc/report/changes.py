"""What each pass did, gained and cost; which passes pay and which went."""

from collections.abc import Sequence
from dataclasses import dataclass

from budgetc.report import figures
from budgetc.report.document import Entry, Note, Payment, Target, Trial

_UNITS = {"size": "bytes", "memory": "bytes", "latency": "seconds", "quality_drop": "fraction"}
_NAMES = {"quality_drop": "quality drop"}


@dataclass(frozen=True)
class Gain:
    """One figure with a pass and without it."""

    name: str
    with_: str
    without: str
    change: str


@dataclass(frozen=True)
class Payoff:
    """Whether a pass pays: its step, the verdict in words, its figures."""

    step: str
    kept: bool
    text: str
    gains: tuple[Gain, ...]


@dataclass(frozen=True)
class Change:
    """What one pass did.

    Attributes:
        step: the pass and its options.
        modified: whether it changed the model.
        before: weights before it.
        after: weights after it.
        change: from before to after.
        share: the weights after it as a part of the most that there ever were.
        done: notes of what it did.
        refused: notes of what it refused, with the reasons.
        left_out: how many notes are not shown.
        payoff: whether it pays, where that was tried.
    """

    step: str
    modified: bool
    before: str
    after: str
    change: str
    share: float | None
    done: tuple[Note, ...]
    refused: tuple[Note, ...]
    left_out: int
    payoff: Payoff | None


@dataclass(frozen=True)
class Changes:
    """The ledger of one recipe, and the passes that were tried and went."""

    steps: tuple[Change, ...]
    dropped: tuple[Payoff, ...]


def changes(target: Target, most: int) -> Changes:
    """The ledger of the candidate that the report is about; each pass with at most so many notes."""
    shown = target.shown
    entries = _ledger(target, shown) if shown else ()
    payoffs = [_payoff(p) for p in target.pays]
    heaviest = max((e.weight_bytes or 0 for e in entries), default=0)
    steps: list[Change] = []
    before: float | None = None
    used: set[int] = set()
    for entry in entries:
        before = before if steps or entry.modified else entry.weight_bytes
        own = (
            i for i, p in enumerate(payoffs) if p.kept and p.step == entry.step and i not in used
        )
        index = next(own, None)
        if index is not None:
            used.add(index)
        payoff = None if index is None else payoffs[index]
        steps.append(_change(entry, before, heaviest, payoff, most))
        before = entry.weight_bytes
    return Changes(tuple(steps), tuple(p for i, p in enumerate(payoffs) if i not in used))


def _ledger(target: Target, shown: Trial) -> Sequence[Entry]:
    """The shown candidate's ledger, from its twin among the trials where it has none of its own."""
    index = target.shown_index
    return shown.ledger or (target.trials[index].ledger if index is not None else ())


def _change(
    entry: Entry, before: float | None, heaviest: float, payoff: Payoff | None, most: int
) -> Change:
    notes = entry.notes[:most]
    return Change(
        step=entry.step,
        modified=entry.modified,
        before=figures.size(before),
        after=figures.size(entry.weight_bytes),
        change=figures.change(before, entry.weight_bytes) if entry.modified else "",
        share=figures.share(entry.weight_bytes, heaviest),
        done=tuple(n for n in notes if n.kind != "refused"),
        refused=tuple(n for n in notes if n.kind == "refused"),
        left_out=len(entry.notes) - len(notes),
        payoff=payoff,
    )


def _payoff(payment: Payment) -> Payoff:
    names = [n for n in _UNITS if n in payment.with_ or n in payment.without]
    gains = tuple(_gain(n, payment.with_.get(n), payment.without.get(n)) for n in names)
    return Payoff(payment.step, payment.kept, payment.text, gains)


def _gain(name: str, with_: float | None, without: float | None) -> Gain:
    unit = _UNITS[name]
    changed = figures.change(without, with_)
    if unit == "fraction" and with_ is not None and without is not None:
        sign = "+" if with_ >= without else "−"
        changed = f"{sign}{figures.points(abs(with_ - without))}"
    return Gain(
        _NAMES.get(name, name), figures.amount(with_, unit), figures.amount(without, unit), changed
    )

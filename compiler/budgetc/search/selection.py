"""Which candidates are built, and which of them is the answer."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from budgetc.figures import Figures, Limits, rank
from budgetc.result import Trial
from budgetc.search.explorer import Candidate, Effort, Explorer, best_first
from budgetc.search.workshop import Workshop, figures_of, seconds_of
from budgetc.verdict import BudgetName

EARLIER = "an earlier search"
"""Why a candidate is looked at that an earlier search has ended with."""

CONTENDERS = 3
"""Candidates built beside one that keeps all budgets, if they may be better by what only a measurement tells."""

ATTEMPTS = 3
"""Candidates built for each budget that could give way, until one is found to keep the others."""


class Selection:
    """Decides over the candidates of one target.

    Args:
        explorer: knows the candidates.
        workshop: makes them.
        limits: the budgets.
        effort: how far to go.
        among: whether a candidate may be the answer; all may unless somebody says otherwise.
        patience: candidates that may turn out not to keep the budgets before it gives up; None for what suits a search.
    """

    def __init__(
        self,
        explorer: Explorer,
        workshop: Workshop,
        limits: Limits,
        effort: Effort,
        *,
        among: Callable[[Candidate], bool] = lambda _candidate: True,
        patience: int | None = None,
    ) -> None:
        self._explorer, self._workshop = explorer, workshop
        self._limits, self._effort = limits, effort
        self._among, self._most_misses = among, patience

    def best(self) -> Candidate | None:
        """Build the most promising candidates until none of the rest can be better than the best that keeps budgets.

        Those go first that are expected to keep the budgets, then those that may, by how little they are expected to
        miss. What is chosen among was measured: size, memory and latency of the library, and its verdicts.
        """
        champion: Candidate | None = None
        misses = beside = 0
        wary: dict[BudgetName, None] = {}
        while not self._late:
            if misses >= self._patience or beside >= CONTENDERS:
                break
            following = self._next(champion, wary if 2 * misses >= self._patience else {})
            if following is None:
                break
            beside += champion is not None
            trial = self._workshop.make(following, _why(champion))
            if trial.outcome != "feasible":
                misses += 1
                wary |= dict.fromkeys(missed(trial))
            elif champion is None or self._rank(following) < self._rank(champion):
                champion = following
        return champion

    def made(self) -> Candidate | None:
        """The best of those that were built and keep all budgets."""
        kept = [c for c in self._open if c.trial and c.trial.outcome == "feasible"]
        return min(kept, key=self._rank, default=None)

    def nearest(self, budget: BudgetName) -> Candidate | None:
        """The candidate that comes nearest to a budget and was measured to keep all others."""
        made = 0
        while made <= ATTEMPTS:
            order = [c for c in self._by_excess(budget) if not _was_found_wanting(c)]
            if not order:
                return None
            first = order[0]
            if first.trial is not None:
                return first
            if made == ATTEMPTS:
                return next((c for c in order if c.trial is not None), None)
            self._workshop.make(first, f"nearest to {budget}")
            made += 1
        return None

    def known(self, candidate: Candidate) -> Figures | None:
        """What is known of a candidate: what was measured, else what is expected."""
        if candidate.figures is None:
            return None
        if candidate.trial is not None:
            return figures_of(candidate.trial, candidate.figures)
        return candidate.figures.scaled(self._workshop.bias)

    def keeps(self, candidate: Candidate, budget: BudgetName) -> bool:
        """Whether a candidate keeps a budget, as far as is known."""
        trial = candidate.trial
        if trial is not None and trial.measurement is not None:
            return all(v.holds for v in trial.verdicts if v.budget == budget)
        figures = self.known(candidate)
        return figures is not None and self._limits.excess(figures).get(budget, 0.0) <= 0

    @property
    def _open(self) -> list[Candidate]:
        """The candidates that may be the answer, in order."""
        return [c for c in self._explorer.candidates if self._among(c)]

    @property
    def _late(self) -> bool:
        return time.monotonic() > self._effort.deadline and self._workshop.made > 0

    @property
    def _patience(self) -> int:
        """Candidates that may turn out not to keep the budgets before the search gives up.

        One, where there is a budget that nothing can be held against here: its verdicts are all that there is to know.
        """
        if self._limits.unjudged:
            return 1
        if self._most_misses is not None:
            return self._most_misses
        return max(4, self._effort.candidates // 5)

    def _next(
        self, champion: Candidate | None, wary: Mapping[BudgetName, None]
    ) -> Candidate | None:
        """What to build; what is farthest within budgets of which expectations have failed often comes first."""
        bias = self._workshop.bias
        open_ = [c for c in self._open if c.trial is None and c.figures]
        hopeful = [c for c in open_ if self._explorer.keeps(c, bias)]
        if champion is not None:
            best = self._rank(champion)
            # Where no time can be measured, no build tells more of it than is expected already.
            timed = champion.trial is not None and seconds_of(champion.trial) is not None
            hopeful = [c for c in hopeful if self._promised(c, timed=timed) < best]
        sure = [c for c in hopeful if self._worst(c) <= 0]
        if sure and wary:
            return min(sure, key=lambda c: self._worst(c, wary))
        if sure:
            return best_first(sure, self._effort.objective, bias)[0]
        if hopeful:
            return min(hopeful, key=self._worst)
        return None if champion is not None else self._measured_before(open_)

    def _measured_before(self, open_: Sequence[Candidate]) -> Candidate | None:
        """What an earlier search has named, such as the nearest points of a certificate.

        It knew them by measurements of the final data, which outweigh what the validation data say here.
        """
        named = [c for c in open_ if c.proposal.origin == EARLIER]
        exact = [c for c in named if not {"size", "memory"} & self._broken(c)]
        return min(exact, key=self._worst, default=None)

    def _broken(self, candidate: Candidate) -> set[BudgetName]:
        assert candidate.figures is not None
        excess = self._limits.excess(candidate.figures)
        return {name for name, part in excess.items() if part > 0}

    def _worst(self, candidate: Candidate, names: Iterable[BudgetName] = ()) -> float:
        """The largest part by which a candidate is expected to pass a budget: any, or one of these."""
        assert candidate.figures is not None
        excess = self._limits.excess(candidate.figures.scaled(self._workshop.bias))
        return max((excess[name] for name in names or excess), default=0.0)

    def _promised(self, candidate: Candidate, *, timed: bool) -> tuple[float, ...]:
        """The goals as they are expected; of a latency that is yet to be measured, the better end."""
        assert candidate.figures is not None
        figures = candidate.figures.scaled(self._workshop.bias)
        return self._goals(replace(figures, latency=figures.fastest) if timed else figures)

    def _rank(self, candidate: Candidate) -> tuple[float, ...]:
        figures = self.known(candidate)
        assert figures is not None
        return self._goals(figures)

    def _goals(self, figures: Figures) -> tuple[float, ...]:
        """The objective alone: what equals another by it is not worth a build."""
        return tuple(figures.goal(goal) for goal in self._effort.objective)

    def _by_excess(self, budget: BudgetName) -> Sequence[Candidate]:
        """Candidates that keep all other budgets, as far as is known, the nearest to this one first."""
        others = [name for name in self._limits.names if name != budget]
        found = []
        for place, candidate in enumerate(self._open):
            figures = self.known(candidate)
            if figures is None or not all(self.keeps(candidate, name) for name in others):
                continue
            excess = self._excess(candidate, figures, budget)
            order = (excess, rank(figures, self._effort.objective), place)
            found.append((order, candidate))
        return [candidate for _, candidate in sorted(found, key=lambda pair: pair[0])]

    def _excess(self, candidate: Candidate, figures: Figures, budget: BudgetName) -> float:
        if candidate.trial is not None:
            return max(v.excess for v in candidate.trial.verdicts if v.budget == budget)
        return self._limits.excess(figures)[budget]


def _was_found_wanting(candidate: Candidate) -> bool:
    """Whether a candidate turned out to be none: it could not be built, or its numbers are wrong."""
    trial = candidate.trial
    return trial is not None and (trial.measurement is None or trial.outcome == "wrong numbers")


def _why(champion: Candidate | None) -> str:
    return (
        "the best that is expected to keep all budgets" if champion is None else "it may be better"
    )


def missed(trial: Trial) -> list[BudgetName]:
    """The budgets that a candidate does not keep."""
    return [v.budget for v in trial.verdicts if not v.holds]

"""The tuner: measure what promises most until nothing does or time is up, and remember it.

The default point of every kernel is measured once, which says where the model's time goes. Then kernels get turns by
their share of it: the next few points of a space race the fastest so far, and the best of them replaces it where it
wins a second race of the two as well. Runs in the child that generates code, because it imports tvm; the kernels
themselves run in children of their own. A kernel that crashes costs its point; a compiler that crashes costs this
process, and the points it was at, which are noted beforehand and left out when the process is started again.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point, Target

from budgetc.child import report_progress
from budgetc.lower.points import Work
from budgetc.tuning.contenders import Contenders, compile_contenders
from budgetc.tuning.course import TURN, Contest, most_promising, share
from budgetc.tuning.race import advantage
from budgetc.tuning.records import Records, point_from_json, point_to_json
from budgetc.worker import ChildDied

_UNDER_WAY = "tuning.json"


@dataclass(frozen=True)
class Effort:
    """How much tuning may cost.

    Attributes:
        trials: points to measure of each kernel at most; 0 sets no limit.
        seconds: for all kernels together; None sets no limit.
    """

    trials: int = 0
    seconds: float | None = None


class Tuner:
    """Chooses points by measurement.

    Args:
        target: whose kernels are tuned; where its code does not run on this machine, defaults are taken.
        capability: the target's sheet.
        effort: when to stop.
        records: folder with the records of all sheets.
        scratch: folder that outlives this process if it crashes, and no longer than the attempts to build one model.
    """

    def __init__(
        self, target: Target, capability: Capability, effort: Effort, records: Path, scratch: Path
    ) -> None:
        self._target, self._capability, self._effort = target, capability, effort
        self._records, self._under_way = Records(records, capability), scratch / _UNDER_WAY
        self._contests: list[Contest] = []
        self._begin = time.monotonic()
        self.seconds = 0.0
        """What tuning has taken."""

    def __call__(self, works: Sequence[Work]) -> Sequence[Point]:
        """The fastest known points of all kernels of a model, measured now where they are not known yet."""
        limit = self._effort.trials or None
        spaces = [list(w.family.space(w.task, self._capability))[:limit] for w in works]
        if not self._capability.native:
            return [space[0] for space in spaces]
        self._begin = time.monotonic()
        self._blame()
        self._contests = [
            Contest(work, space, self._records.recall(work.task.kind, work.task.digest))
            for work, space in zip(works, spaces, strict=True)
        ]
        if any(c.waiting or not c.record.times for c in self._contests):
            self._measure_defaults([c for c in self._contests if c.space[0] not in c.record.times])
            while self._left() > 0 and (contest := most_promising(self._contests)):
                self._turn(contest)
        self.seconds = time.monotonic() - self._begin
        return [contest.point for contest in self._contests]

    def report(self) -> list[dict[str, Any]]:
        """What was chosen for each kernel, with the nanoseconds of every point and its share of the model's time."""
        return [
            {
                **c.record.to_json(),
                "point": point_to_json(c.point),
                "share": share(c, self._contests),
            }
            for c in self._contests
        ]

    def _left(self) -> float:
        allowed = self._effort.seconds
        return float("inf") if allowed is None else self._begin + allowed - time.monotonic()

    def _say(self, what: str) -> None:
        left = self._left()
        more = "" if left == float("inf") else f", {_clock(left)} left"
        report_progress({"stage": f"tuning: {what}{more}"})

    def _measure_defaults(self, contests: Sequence[Contest]) -> None:
        """Time the first point of each space; where together they fail, each by itself."""
        if not contests or self._left() <= 0:
            return
        self._say(f"the defaults of {len(contests)} kernels")
        with self._compiled([(c, c.space[0]) for c in contests]) as contenders:
            samples = _raced(contenders)
        if samples is None and len(contests) > 1:
            for contest in contests:
                self._measure_defaults([contest])
            return
        for i, contest in enumerate(contests):
            first = contest.space[0]
            times = {first: median(samples[i]) if samples else None}
            self._keep(contest, times, first if samples else None)

    def _turn(self, contest: Contest) -> None:
        """Race the next points against the fastest so far."""
        points = contest.waiting[:TURN]
        kind, part = contest.work.task.kind, share(contest, self._contests)
        known = len(contest.record.times)
        self._say(
            f"{kind}, {part:.0%} of the time, schedules {known + 1} to {known + len(points)} "
            f"of {len(contest.space)}"
        )
        with self._compiled([(contest, p) for p in (contest.point, *points)]) as contenders:
            samples = _raced(contenders)
            if samples is None:
                self._each_alone(contest, points)
                return
            raced = (contest.point, *points)  # the fastest anew, so that times of one race compare
            times = {p: median(s) for p, s in zip(raced, samples, strict=True)}
            gains = [advantage(s, samples[0]) for s in samples[1:]]
            best = max(range(len(points)), key=gains.__getitem__)
            winner = points[best] if gains[best] else None
            if winner is not None and not _wins_again(contenders, best + 1):
                winner = None
        self._keep(contest, times, winner)

    def _each_alone(self, contest: Contest, points: Sequence[Point]) -> None:
        """Points of which one crashed: each in a race of its own, so that the others are not lost."""
        for point in points:
            with self._compiled([(contest, contest.point), (contest, point)]) as contenders:
                samples = _raced(contenders)
            won = samples is not None and advantage(samples[1], samples[0]) > 0
            times = {point: median(samples[1]) if samples else None}
            self._keep(contest, times, point if won else None)

    @contextmanager
    def _compiled(self, chosen: Sequence[tuple[Contest, Point]]) -> Iterator[Contenders]:
        noted = [
            [c.work.task.kind, c.work.task.digest, point_to_json(p)]
            for c, p in chosen
            if p not in c.record.times
        ]
        self._under_way.write_text(json.dumps(noted))
        with tempfile.TemporaryDirectory(prefix="budgetc-tune-") as folder:
            contenders = compile_contenders(
                [(c.work, p) for c, p in chosen], self._target, self._capability, Path(folder)
            )
            self._under_way.unlink()
            yield contenders

    def _blame(self) -> None:
        """Record as failed what the process before this one was compiling when it died."""
        if not self._under_way.exists():
            return
        for kind, task, knobs in json.loads(self._under_way.read_text()):
            record = self._records.recall(kind, task)
            self._records.keep(record.measured({point_from_json(knobs): None}, None))
        self._under_way.unlink()

    def _keep(
        self, contest: Contest, times: Mapping[Point, float | None], fastest: Point | None
    ) -> None:
        contest.record = contest.record.measured(times, fastest)
        self._records.keep(contest.record)


def _raced(contenders: Contenders) -> list[list[float]] | None:
    """The samples of a race; None where a kernel crashed."""
    try:
        return contenders.race()
    except ChildDied:
        return None


def _wins_again(contenders: Contenders, number: int) -> bool:
    """Whether a kernel beats the first one also where only the two race: the best of several is lucky too."""
    samples = _raced(contenders.only(0, number))
    return samples is not None and advantage(samples[1], samples[0]) > 0


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02}"

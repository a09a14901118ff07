"""The tuner: measure what promises most until nothing does or time is up, and remember it.

The default point of every kernel is measured once, which says where the model's time goes. Then kernels get turns by
their share of it: the next few points of a space race the fastest so far, and the best of them replaces it where it
wins a second race of the two as well. Runs in the child that generates code, because it imports tvm; the kernels
themselves run in processes of their own, here or on a device, on several equal devices at once. A kernel that crashes
costs its point, a device that is lost the race that it was at, which another one repeats; a compiler that crashes
costs this process, and the points it was at, which are noted beforehand and left out when the process is started again.
"""

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point, Runner, Target

from budgetc.child import report_progress
from budgetc.lower.points import Work
from budgetc.tuning.course import TURN, Contest, most_promising, share
from budgetc.tuning.heats import Heat, Heats, Outcome, Running
from budgetc.tuning.records import Records, point_from_json, point_to_json

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
        target: whose kernels are tuned.
        capability: the target's sheet.
        runner: runs programs at the target's own speed; None where nothing does, and defaults are taken: each space
            begins with what a model of the sheet's core ranks first.
        effort: when to stop.
        records: folder with the records of all sheets.
        scratch: folder that outlives this process if it crashes, and no longer than the attempts to build one model.
    """

    def __init__(
        self,
        target: Target,
        capability: Capability,
        runner: Runner | None,
        effort: Effort,
        records: Path,
        scratch: Path,
    ) -> None:
        self._target, self._capability, self._effort = target, capability, effort
        self._heats = Heats(target, capability, runner) if runner is not None else None
        self._records, self._under_way = Records(records, capability), scratch / _UNDER_WAY
        self._contests: list[Contest] = []
        self._begin = time.monotonic()
        self.seconds = 0.0
        """What tuning has taken."""

    def __call__(self, works: Sequence[Work]) -> Sequence[Point]:
        """The fastest known points of all kernels of a model, measured now where they are not known yet.

        Raises:
            TargetUnreachableError: no device is left; what was measured before is kept.
        """
        limit = self._effort.trials or None
        spaces = [list(w.family.space(w.task, self._capability))[:limit] for w in works]
        if self._heats is None:
            return [space[0] for space in spaces]
        self._begin = time.monotonic()
        self._blame()
        self._contests = [
            Contest(work, space, self._records.recall(work.task.kind, work.task.digest))
            for work, space in zip(works, spaces, strict=True)
        ]
        waiting = any(c.waiting or not c.record.times for c in self._contests)
        if waiting and self._left() > 0:
            places = self._heats.places()
            with ThreadPoolExecutor(places) as pool:
                unknown = [c for c in self._contests if c.space[0] not in c.record.times]
                self._measure_defaults(unknown, pool, places)
                self._take_turns(pool, places)
        self.seconds = time.monotonic() - self._begin
        return [contest.point for contest in self._contests]

    @property
    def how(self) -> str:
        """How points were chosen, in words for reports."""
        if self._heats is None:
            return "chosen by a model of the core, not measured"
        by = dict.fromkeys(m for c in self._contests for m in c.record.machines)
        return f"measured on {', '.join(by)}" if by else "not measured yet: defaults"

    @property
    def notes(self) -> Sequence[str]:
        """What went otherwise than planned: devices that were lost."""
        return self._heats.lost if self._heats else ()

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

    def _say_turn(self, contest: Contest, points: Sequence[Point]) -> None:
        kind, part = contest.work.task.kind, share(contest, self._contests)
        known = len(contest.record.times)
        self._say(
            f"{kind}, {part:.0%} of the time, schedules {known + 1} to {known + len(points)} "
            f"of {len(contest.space)}"
        )

    def _measure_defaults(
        self, contests: Sequence[Contest], pool: ThreadPoolExecutor, places: int
    ) -> None:
        """Time the first point of each space; where together they fail, each by itself."""
        if not contests or self._left() <= 0:
            return
        self._say(f"the defaults of {len(contests)} kernels")
        shares = [contests[first::places] for first in range(min(places, len(contests)))]
        running = Running(pool)
        for some in shares:
            heat = self._compiled([(c, c.space[0]) for c in some])
            running.begin(heat, heat.measure, partial(self._defaults_measured, some))
        running.finish()
        if len(contests) > 1:
            for contest in contests:
                if contest.space[0] not in contest.record.times:
                    self._measure_defaults([contest], pool, 1)

    def _defaults_measured(self, contests: Sequence[Contest], heat: Heat, found: Outcome) -> None:
        if found.samples is None and len(contests) > 1:
            return
        for i, contest in enumerate(contests):
            first = contest.space[0]
            times = {first: median(found.samples[i]) if found.samples else None}
            self._keep(contest, times, first if found.samples else None, heat)

    def _take_turns(self, pool: ThreadPoolExecutor, places: int) -> None:
        """Let the kernels that promise most race, as many at once as there are places."""
        running = Running(pool)
        busy: list[Contest] = []

        def taken(contest: Contest, points: Sequence[Point], heat: Heat, found: Outcome) -> None:
            busy.remove(contest)
            self._turn_taken(contest, points, heat, found)

        while not running.failed:
            while len(busy) < places and self._left() > 0:
                contest = most_promising(self._contests, busy)
                if contest is None:
                    break
                points = contest.waiting[:TURN]
                self._say_turn(contest, points)
                heat = self._compiled([(contest, p) for p in (contest.point, *points)])
                busy.append(contest)
                running.begin(heat, heat.decide, partial(taken, contest, points))
            if not busy:
                break
            running.one()
        running.finish()

    def _turn_taken(
        self, contest: Contest, points: Sequence[Point], heat: Heat, found: Outcome
    ) -> None:
        """Note what came of a race of the next points against the fastest so far."""
        if found.samples is None:
            self._each_alone(contest, points)
            return
        raced = (contest.point, *points)  # the fastest anew, so that times of one race compare
        times = {p: median(s) for p, s in zip(raced, found.samples, strict=True)}
        self._keep(contest, times, raced[found.winner] if found.winner else None, heat)

    def _each_alone(self, contest: Contest, points: Sequence[Point]) -> None:
        """Points of which one crashed: each in a race of its own, so that the others are not lost."""
        for point in points:
            with self._compiled([(contest, contest.point), (contest, point)]) as heat:
                found = heat.decide()
                times = {point: median(found.samples[1]) if found.samples else None}
                self._keep(contest, times, point if found.winner else None, heat)

    def _compiled(self, chosen: Sequence[tuple[Contest, Point]]) -> Heat:
        assert self._heats is not None, "BUG: nothing runs the kernels"
        noted = [
            [c.work.task.kind, c.work.task.digest, point_to_json(p)]
            for c, p in chosen
            if p not in c.record.times
        ]
        self._under_way.write_text(json.dumps(noted))
        heat = self._heats.compiled([(c.work, p) for c, p in chosen])
        self._under_way.unlink()
        return heat

    def _blame(self) -> None:
        """Record as failed what the process before this one was compiling when it died."""
        if not self._under_way.exists():
            return
        for kind, task, knobs in json.loads(self._under_way.read_text()):
            record = self._records.recall(kind, task)
            self._records.keep(record.measured({point_from_json(knobs): None}, None))
        self._under_way.unlink()

    def _keep(
        self,
        contest: Contest,
        times: Mapping[Point, float | None],
        fastest: Point | None,
        heat: Heat,
    ) -> None:
        contest.record = contest.record.measured(times, fastest, heat.machines)
        self._records.keep(contest.record)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, int(seconds)), 60)
    return f"{minutes}:{rest:02}"

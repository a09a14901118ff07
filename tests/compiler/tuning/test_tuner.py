"""The tuner: it finds the faster point, remembers it, stops in time, and outlives points that crash."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from budgetc.lower.points import Work
from budgetc.registry import find_target
from budgetc.tuning.tuner import Effort, Tuner
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.convolution import Convolution
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Task

STARVED, CRASHING = point(pixels=1, vectors=1), point(pixels=2, vectors=1)
HUGE = 1 << 20

pytestmark = pytest.mark.usefixtures("zig_cache")


@dataclass(frozen=True)
class Ranked(Convolution):
    """Convolutions with a space of the test's choice; the point `CRASHING` reaches far beyond its memory."""

    points: tuple[Point, ...] = ()
    kind: ClassVar[str] = "convolution"

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        del task, capability
        return self.points

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        return super().pack(task, capability, point, constants)

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        if point == CRASHING:
            far = replace(task.output, strides=tuple(HUGE * s for s in task.output.strides))
            task = replace(task, output=far)
        return super().build(task, capability, point, name)


@pytest.fixture
def tuner(sheet: Capability, tmp_path: Path):
    """A tuner with records and scratch of this test: `tuner(trials=0, seconds=None)`."""

    def make(trials: int = 0, seconds: float | None = None, **changes: object) -> Tuner:
        target, capability = find_target("host"), sheet.model_copy(update=changes)
        runner = target.runner(capability) if capability.native else None
        effort = Effort(trials, seconds)
        return Tuner(target, capability, runner, effort, tmp_path / "records", tmp_path)

    return make


@pytest.fixture
def ranked(works: list[Work], sheet: Capability):
    """The first convolution with other points: `ranked(...)`, where None stands for the good default."""
    good = works[0].family.space(works[0].task, sheet)[0]

    def make(*points: Point | None) -> Work:
        family = Ranked(points=tuple(p if p is not None else good for p in points))
        return replace(works[0], family=family)

    return make, good


def files(tmp_path: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in tmp_path.rglob("records/**/*.json")}


def test_the_faster_point_replaces_the_default_and_is_remembered(tuner, ranked, tmp_path) -> None:
    make, good = ranked
    first = tuner()
    assert first([make(STARVED, None)]) == [good]
    (said,) = first.report()
    assert said["point"] == [list(knob) for knob in good]
    assert said["share"] == 1.0
    assert [time > 0 for _, time in said["times"]] == [True, True]
    assert said["machines"] == ["this machine"]
    assert first.how == "measured on this machine"
    kept = files(tmp_path)
    again = tuner()
    assert again([make(STARVED, None)]) == [good]
    assert files(tmp_path) == kept
    assert again.seconds < first.seconds


def test_a_default_that_is_fast_stays(tuner, ranked) -> None:
    make, good = ranked
    measured = tuner()
    assert measured([make(None, STARVED)]) == [good]
    assert measured.report()[0]["fruitless"] == 1


def test_a_point_that_crashes_costs_nothing_else(tuner, ranked) -> None:
    make, good = ranked
    measured = tuner()
    assert measured([make(STARVED, CRASHING, None)]) == [good]
    times = {tuple(map(tuple, p)): t for p, t in measured.report()[0]["times"]}
    assert times[CRASHING] is None
    assert times[good] < times[STARVED]


def test_a_default_that_crashes_keeps_the_others_times(tuner, ranked, works) -> None:
    make, _ = ranked
    measured = tuner(trials=1)
    assert measured([make(CRASHING), works[2]])[0] == CRASHING
    broken, sound = measured.report()
    assert (broken["point"], broken["share"], broken["times"][0][1]) == (
        [list(knob) for knob in CRASHING],
        0.0,
        None,
    )
    assert sound["share"] == 1.0


def test_trials_limit_what_is_measured(tuner, works, sheet) -> None:
    measured = tuner(trials=2)
    measured(works)
    assert {len(r["times"]) for r in measured.report()} <= {1, 2}
    assert max(len(r["times"]) for r in measured.report()) == 2


def test_no_time_is_the_defaults_without_a_measurement(tuner, works, sheet, tmp_path) -> None:
    measured = tuner(seconds=0.0)
    assert measured(works) == [w.family.space(w.task, sheet)[0] for w in works]
    assert files(tmp_path) == {}
    assert [r["share"] for r in measured.report()] == [0.0] * 3


def test_no_time_takes_what_is_known(tuner, ranked) -> None:
    make, good = ranked
    tuner()([make(STARVED, None)])
    assert tuner(seconds=0.0)([make(STARVED, None)]) == [good]


def test_a_little_time_is_kept(tuner, works, monkeypatch, tmp_path) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        "budgetc.tuning.tuner.report_progress", lambda message: said.append(message["stage"])
    )
    measured = tuner(seconds=0.2)
    measured(works)
    assert said == ["tuning: the defaults of 3 kernels, 0:00 left"]
    assert len(files(tmp_path)) == 3


def test_where_the_code_does_not_run_nothing_is_measured(tuner, works, sheet, tmp_path) -> None:
    measured = tuner(native=False)
    assert measured(works) == [w.family.space(w.task, sheet)[0] for w in works]
    assert (files(tmp_path), measured.report()) == ({}, [])
    assert measured.how == "chosen by a model of the core, not measured"


def test_what_a_dead_process_was_compiling_is_left_out(tuner, ranked, tmp_path) -> None:
    make, good = ranked
    work = make(STARVED, None)
    tuner(trials=1)([work])
    noted = [[work.task.kind, work.task.digest, [list(knob) for knob in good]]]
    (tmp_path / "tuning.json").write_text(json.dumps(noted))
    assert tuner()([work]) == [STARVED]
    assert not (tmp_path / "tuning.json").exists()


def test_an_interruption_keeps_the_records(tuner, works, monkeypatch, tmp_path) -> None:
    said: list[str] = []

    def interrupted(message: Mapping[str, str]) -> None:
        said.append(message["stage"])
        if len(said) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr("budgetc.tuning.tuner.report_progress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tuner()(works)
    monkeypatch.undo()
    kept = {name: json.loads(data)["times"] for name, data in files(tmp_path).items()}
    assert max(len(times) for times in kept.values()) > 1
    going_on = tuner()
    going_on(works)
    for record in going_on.report():
        before = [p for p, _ in kept[f"{record['task']}.json"]]
        assert [p for p, _ in record["times"]][: len(before)] == before

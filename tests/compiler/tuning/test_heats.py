"""Heats: several at once, repeated where a device is lost, and in vain where none is left."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from budgetc.lower.points import Work
from budgetc.registry import find_target
from budgetc.tuning.heats import LOSSES, Heat, Heats, Outcome, Running
from budgetc_specs.capability import Capability
from budgetc_specs.errors import TargetUnreachableError
from budgetc_targets.contract import UNREACHABLE, SharedDevice
from budgetc_targets.kernels.tiles import point

pytestmark = pytest.mark.usefixtures("zig_cache")

STARVED = point(pixels=1, vectors=1)

BOARD = f"""
echo >> "$0"
if test $(wc -l < "$0") -le "$1"; then
    echo ok ready on lost
    read -r command
    echo the cable is out >&2
    exit {UNREACHABLE}
fi
exec "$2"
"""


@dataclass
class Boards:
    """This machine as boards, of which the first few are lost as soon as they are asked for something."""

    folder: Path
    lost: int
    known: int = 2
    name: str = "boards"
    why_not: str = ""
    device: str = "board"

    def places(self) -> int:
        if not self.known:
            raise TargetUnreachableError("there are no boards", "buy some.")
        return self.known

    def command(self, program: Path) -> list[str]:
        return ["sh", "-c", BOARD, str(self.folder / "started"), str(self.lost), str(program)]


@pytest.fixture
def heats(works: list[Work], sheet: Capability, tmp_path: Path):
    """Boards and a race on them between a bad and a good point: `heats(lost, known=2)`."""
    good = works[0].family.space(works[0].task, sheet)[0]

    def make(lost: int, known: int = 2) -> tuple[Heats, Heat]:
        made = Heats(find_target("host"), sheet, Boards(tmp_path, lost, known))
        return made, made.compiled([(works[0], STARVED), (works[0], good)])

    return make


def test_the_better_point_wins_twice(heats) -> None:
    _, heat = heats(0)
    with heat:
        found = heat.decide()
        assert heat.measure().winner == 0
    assert found.winner == 1
    assert found.samples
    assert heat.machines == ["board"]


def test_a_device_that_is_lost_costs_a_repetition(heats) -> None:
    made, heat = heats(LOSSES - 1)
    assert isinstance(made.runner, SharedDevice)
    with heat:
        assert heat.decide().winner == 1
    assert heat.machines == ["board"]
    assert len(made.lost) == LOSSES - 1
    assert "the cable is out" in made.lost[0]


def test_a_race_that_devices_die_of_goes_to_no_more(heats) -> None:
    made, heat = heats(LOSSES)
    with heat, pytest.raises(TargetUnreachableError, match="the cable is out"):
        heat.decide()
    assert len(made.lost) == LOSSES


def test_no_device_is_left(heats) -> None:
    _, heat = heats(1, known=0)
    with heat, pytest.raises(TargetUnreachableError, match="there are no boards"):
        heat.decide()


def test_what_runs_is_finished_where_another_one_fails(heats, works, sheet) -> None:
    _, heat = heats(LOSSES)
    sound = Heats(find_target("host"), sheet, find_target("host").runner(sheet))
    finished: list[Outcome] = []
    with ThreadPoolExecutor(2) as pool:
        running = Running(pool)
        running.begin(heat, heat.decide, lambda _, found: finished.append(found))
        other = sound.compiled([(works[2], works[2].family.space(works[2].task, sheet)[0])])
        running.begin(other, other.measure, lambda _, found: finished.append(found))
        with pytest.raises(TargetUnreachableError):
            running.finish()
    (only,) = finished
    assert only.samples
    assert other.machines == ["this machine"]

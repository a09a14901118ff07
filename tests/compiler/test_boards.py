"""Boards come from packages of files; each of ours names a CPU that there is."""

import sys
from importlib.metadata import EntryPoint

import pytest
from budgetc.boards import BOARDS, board_names, find_board
from budgetc.hardware import board_sheet
from budgetc_specs.errors import EnvironmentError_, SpecError


@pytest.mark.parametrize("name", board_names())
def test_a_board_of_ours(name):
    board = find_board(name)
    sheet = board_sheet(board)
    assert sheet.target == board.kind
    assert board.source, "figures come from somewhere"
    assert board.cores >= 1


def test_a_name_that_nobody_has():
    with pytest.raises(SpecError) as caught:
        find_board("rasberry-pi-4")
    assert 'did you mean "raspberry-pi-4"?' in str(caught.value)


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    """A package of boards of somebody else, beside ours."""

    def add(*names: str) -> None:
        package = tmp_path / "foreign_boards"
        package.mkdir()
        (package / "__init__.py").write_text("")
        for name in names:
            text = f'summary = "{name}"\nkind = "x86-64"\ncpu = "haswell"\nram = "1 GiB"\n'
            (package / f"{name}.toml").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "foreign_boards", raising=False)
        points = [
            EntryPoint("budgetc", "budgetc_targets.boards", BOARDS),
            EntryPoint("foreign", "foreign_boards", BOARDS),
        ]
        monkeypatch.setattr("budgetc.plugins.entry_points", lambda group: points)

    return add


def test_somebody_elses_boards(foreign):
    foreign("mine")
    assert {"mine", "raspberry-pi-4"} <= set(board_names())
    assert find_board("mine").cpu == "haswell"


def test_two_boards_of_one_name(foreign):
    foreign("raspberry-pi-4")
    with pytest.raises(EnvironmentError_, match='two boards are called "raspberry-pi-4"'):
        board_names()

"""This machine, described as a board, is a target of a spec with the same sheet."""

import platform

import pytest
from budgetc.hardware import board_sheet
from budgetc.probe import probe
from budgetc.registry import find_target
from budgetc_specs.document import load_board
from budgetc_specs.toml_text import toml_text

pytestmark = pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="no target kind for this machine"
)


def test_the_board_of_this_machine_has_its_sheet(tmp_path):
    board = probe()
    here = find_target("host").capability(None, 1)
    same = {"target", "native", "l1_bytes", "l2_bytes"}
    assert board_sheet(board).model_dump(exclude=same) == here.model_dump(exclude=same)
    assert board.cores >= 1
    assert board.ram


def test_what_is_written_can_be_read(tmp_path):
    board = probe().model_copy(update={"summary": 'A "quoted" \\ name', "features": ("+a", "+b")})
    path = tmp_path / "here.toml"
    path.write_text(toml_text(board), encoding="utf-8")
    assert load_board(path) == board

"""A board is a file of a few lines; what is wrong with it is told with the line."""

from pathlib import Path

import pytest
from budgetc_specs.board import Board
from budgetc_specs.document import load_board
from budgetc_specs.errors import SpecError
from budgetc_specs.spec import Spec
from pydantic import ValidationError

TEXT = """
summary = "A board"
kind = "aarch64"
cpu = "cortex-a72"
cores = 4
flash = "1 MB"
ram = "256 KiB"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file(tmp_path):
    board = load_board(written(tmp_path, TEXT))
    assert board == Board(
        summary="A board", kind="aarch64", cpu="cortex-a72", cores=4, flash=10**6, ram=256 * 1024
    )


def test_all_that_is_wrong_at_once(tmp_path):
    text = TEXT.replace('"1 MB"', "1").replace("cores", "coores")
    with pytest.raises(SpecError) as caught:
        load_board(written(tmp_path, text))
    told = str(caught.value)
    assert ':5:1: "coores" is not a field here' in told
    assert 'did you mean "cores"?' in told
    assert ':6:9: flash: "1" has no unit' in told


def test_what_is_missing(tmp_path):
    with pytest.raises(SpecError, match='"kind" is missing'):
        load_board(written(tmp_path, 'summary = "x"\ncpu = "y"\n'))


def test_no_board_of_that_suffix(tmp_path):
    with pytest.raises(SpecError, match=r'"\.txt" is not a board\'s suffix'):
        load_board(tmp_path / "board.txt")


def test_in_a_spec():
    spec = Spec.model_validate({"model": "m.onnx", "targets": {"pi": {"board": "raspberry-pi-4"}}})
    assert spec.targets["pi"].board == "raspberry-pi-4"


@pytest.mark.parametrize("also", ["kind", "cpu"])
def test_a_board_says_it_all(also):
    target = {"board": "raspberry-pi-4", also: "aarch64"}
    with pytest.raises(ValidationError, match=f"both of board and {also} given"):
        Spec.model_validate({"model": "m.onnx", "targets": {"pi": target}})


@pytest.mark.parametrize("board", ["", "../pi", "Pi 4", 4])
def test_what_is_no_board(board):
    with pytest.raises(ValidationError, match="is not a board"):
        Spec.model_validate({"model": "m.onnx", "targets": {"pi": {"board": board}}})

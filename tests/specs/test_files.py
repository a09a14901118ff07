"""Files of a spec: found beside it, checked only where a document is read."""

from pathlib import Path
from typing import Any

import pytest
from budgetc_specs.files import Archive, File, neighbour
from pydantic import TypeAdapter, ValidationError

HELP = "a path is absolute or relative to the spec's folder."


def read(kind: Any, value: object, folder: Path | None) -> Path:
    context = {"folder": folder} if folder else None
    path: Path = TypeAdapter(kind).validate_python(value, context=context)
    return path


def refusal(kind: Any, value: object, folder: Path | None) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        read(kind, value, folder)
    held = caught.value.errors()[0]["ctx"]["error"]
    return held.message, held.repair


def test_a_path_is_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert read(File, "m.onnx", tmp_path) == tmp_path / "m.onnx"
    assert read(File, str(tmp_path / "m.onnx"), tmp_path) == tmp_path / "m.onnx"


def test_in_python_a_path_is_taken_as_it_is() -> None:
    assert read(File, "nowhere/m.onnx", None) == Path("nowhere/m.onnx")
    assert read(File, Path("m.onnx"), None) == Path("m.onnx")


@pytest.mark.parametrize("value", ["", "  ", 4, None, ["m.onnx"], "a\0b"])
def test_what_is_no_path(value: object) -> None:
    message, repair = refusal(File, value, None)
    assert message.endswith(" is not a path")
    assert repair == HELP


def test_a_missing_file_is_told_with_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "mnist.onnx").touch()
    assert refusal(File, "sub/mnst.onnx", tmp_path) == (
        '"sub/mnst.onnx" does not exist',
        f'did you mean "sub/mnist.onnx"?\n{HELP}',
    )
    assert refusal(File, "gone/x", tmp_path) == ('"gone/x" does not exist', HELP)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert refusal(File, ".", tmp_path)[0] == '"." is a folder, not a file'


def test_a_name_that_the_system_refuses_is_an_error_of_the_spec(tmp_path: Path) -> None:
    assert "cannot be read: File name too long" in refusal(File, "x" * 5000, tmp_path)[0]


def test_data_comes_from_archives(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()
    assert refusal(Archive, "a.csv", tmp_path) == (
        '"a.csv" is not supported yet: data comes from .npz archives',
        "write the arrays with numpy.savez, one per model input, and the labels as `label`.",
    )
    assert read(Archive, "a.NPZ", None) == Path("a.NPZ")


def test_there_is_no_neighbour_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert neighbour(tmp_path / "gone" / "x", Path("x")) == ""

"""The folder of a kind's sheets: every file of ours is whole; what is like what, and what is wrong with it."""

import sys
from pathlib import Path

import pytest
from budgetc_specs.errors import SpecError
from budgetc_targets.sheets import SheetFolder

WHOLE = """cpu = "one"
arch = "thumb"
llvm_triple = "thumbv7m-unknown-none-eabi"
zig_target = "thumb-freestanding-eabi"
vector_bytes = 4
vector_registers = 13
int8_dot = "mla32"
weight_bits = 8
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):  # type: ignore[no-untyped-def]
    """A package with sheets: `folder(one=TEXT, ...)`."""

    def make(**files: str) -> SheetFolder:
        place = tmp_path / "somebody" / "cpus" / "odd"
        place.mkdir(parents=True)
        (tmp_path / "somebody" / "__init__.py").touch()
        for name, text in files.items():
            (place / f"{name}.toml").write_text(text)
        monkeypatch.syspath_prepend(str(tmp_path))
        request.addfinalizer(lambda: sys.modules.pop("somebody", None))
        return SheetFolder("somebody", "odd", lambda fields: fields["cpu"] == "one")

    return make


def test_a_sheet_has_what_the_one_it_is_like_says(folder) -> None:  # type: ignore[no-untyped-def]
    found = folder(
        one=WHOLE, two='like = "one"\ncpu = "two"\nl2 = "1 MiB"\n', three='like = "two"\n'
    )
    assert list(found) == ["one", "three", "two"]
    assert len(found) == 3
    assert found["one"]["native"]
    assert not found["two"]["native"]
    assert found["three"] == found["two"]
    assert (found["three"]["l2_bytes"], found["three"]["int8_dot"]) == (1 << 20, "mla32")
    assert "four" not in found


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ({"one": 'like = "one"\n'}, "one is like one"),
        ({"one": 'like = "two"\n', "two": 'like = "one"\n'}, "one is like two is like one"),
        ({"one": 'like = "tow"\n', "two": WHOLE}, "no CPU 'tow'"),
        ({"one": WHOLE.replace('arch = "thumb"\n', "")}, "odd/one.toml: 'arch' is missing"),
    ],
)
def test_what_is_wrong_names_the_file(folder, texts: dict[str, str], said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SpecError) as caught:
        folder(**texts)["one"]
    assert said in str(caught.value).replace('"', "'")

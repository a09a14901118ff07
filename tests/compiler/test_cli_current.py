"""The command lines that an up-to-date folder can answer, and those that are left to the verb."""

from pathlib import Path

import pytest
from budgetc.cli.current import understood, up_to_date
from budgetc.stamp import Stamp, write_stamp


def test_every_option_is_read():
    words = "--set=a=1 -t pi spec.yaml --set b=2 --json -q -o out --depfile=x.d --junit j.xml"
    asked = understood(words.split())
    assert asked.request.spec == str(Path("spec.yaml").absolute())
    assert asked.request.overrides == ("a=1", "b=2")
    assert asked.request.targets == ("pi",)
    assert asked.request.mode == ""
    assert (asked.out, asked.as_json, asked.quiet) == (Path("out"), True, True)
    assert asked.files == {"depfile": Path("x.d"), "junit": Path("j.xml")}


@pytest.mark.parametrize(
    "words",
    [
        "",
        "spec.yaml --force -o out",
        "spec.yaml other.yaml -o out",
        "spec.yaml --nonsense -o out",
        "spec.yaml -o",
        "spec.yaml -o=out",
        "spec.yaml --locked --frozen -o out",
        "--help",
    ],
)
def test_what_it_does_not_know_is_left_to_the_verb(words):
    assert understood(words.split()) is None


def test_without_out_the_folder_is_found_by_its_stamp(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert understood(["spec.yaml"]) is None
    folder = tmp_path / "build" / "net"
    folder.mkdir(parents=True)
    request = understood(["spec.yaml", "-o", "x"]).request
    write_stamp(folder, Stamp(request, {}, {}, 0))
    asked = understood(["spec.yaml"])
    assert asked.out == Path("build/net")
    assert up_to_date(asked) == 0
    assert capsys.readouterr().err == "build/net: up to date\n"


def test_a_build_from_a_lock_is_another_and_without_its_result_shows_none(tmp_path):
    locked = understood(["spec.yaml", "--locked", "-q", "-o", str(tmp_path)])
    assert locked.request.mode == "locked"
    write_stamp(tmp_path, Stamp(locked.request, {}, {}, 0))
    assert up_to_date(locked) == 0
    assert up_to_date(understood(["spec.yaml", "-o", str(tmp_path)])) is None
    assert up_to_date(locked._replace(as_json=True)) is None

"""A stamp: a folder is up to date exactly where nothing that it was made from, and nothing in it, has changed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc import fingerprint
from budgetc.inputs import input_files
from budgetc.stamp import (
    MISSED,
    STAMP,
    Request,
    Stamp,
    current,
    find_folder,
    outputs_of,
    take_inputs,
    write_stamp,
)
from budgetc_specs.document import load_spec

REQUEST = Request("/spec.yaml", ("a=1",), ("host",))


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """A folder with a stamp, and an input beside it."""
    folder = tmp_path / "out"
    (folder / "host").mkdir(parents=True)
    (folder / "host" / "lib.so").write_bytes(b"library")
    (folder / "result.json").write_text("{}")
    (tmp_path / "input").write_bytes(b"input")
    inputs = take_inputs([tmp_path / "input"])
    write_stamp(folder, Stamp(REQUEST, inputs, outputs_of(folder, ["host"]), 0))
    return folder


def later(path: Path) -> None:
    """Another time, the same bytes."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 10**9))


def test_it_holds_until_something_changes(built):
    assert current(built, REQUEST).exit_code == 0
    later(built.parent / "input")
    later(built / "host" / "lib.so")
    assert current(built, REQUEST) is not None, "the bytes are the same"


def test_its_time_is_when_it_was_last_right(built):
    os.utime(built / STAMP, ns=(1, 1))
    current(built, REQUEST)
    assert (built / STAMP).stat().st_mtime_ns > 10**18
    os.utime(built / STAMP, ns=(1, 1))
    (built.parent / "input").write_bytes(b"inpuT")
    current(built, REQUEST)
    assert (built / STAMP).stat().st_mtime_ns == 1


@pytest.mark.parametrize("name", ["../input", "host/lib.so", "result.json"])
@pytest.mark.parametrize("change", ["content", "gone", "content of the same time and size"])
def test_any_change_counts(name, change, built):
    path = built / name
    before = path.stat()
    if change == "gone":
        path.unlink()
    elif change == "content":
        path.write_bytes(b"other content")
    else:
        path.write_bytes(path.read_bytes()[::-1])
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert current(built, REQUEST) is None


@pytest.mark.parametrize(
    "request_",
    [
        Request("/other.yaml", ("a=1",), ("host",)),
        Request("/spec.yaml", (), ("host",)),
        Request("/spec.yaml", ("a=1",), None),
        Request("/spec.yaml", ("a=1",), ("host",), "locked"),
    ],
)
def test_another_request_is_another_build(request_, built):
    assert current(built, request_) is None


@pytest.mark.parametrize("part", ["version", "releases", "processor"])
def test_another_budgetc_or_machine_counts(part, built):
    value = json.loads((built / STAMP).read_text())
    value["tool"][part] = "other"
    (built / STAMP).write_text(json.dumps(value))
    assert current(built, REQUEST) is None


def test_changed_sources_count_and_touched_ones_do_not(built):
    value = json.loads((built / STAMP).read_text())
    value["tool"]["signature"] = "that of a fresh checkout"
    (built / STAMP).write_text(json.dumps(value))
    assert current(built, REQUEST) is not None
    value["tool"]["sources"] = "0" * 64
    (built / STAMP).write_text(json.dumps(value))
    assert current(built, REQUEST) is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stamp": 1}', "nothing", '{"stamp": 99}'])
def test_a_damaged_stamp_is_none(text, built):
    (built / STAMP).write_text(text)
    assert current(built, REQUEST) is None


def test_a_build_that_missed_has_no_stamp_for_make(built):
    inputs = take_inputs([built.parent / "input"])
    write_stamp(built, Stamp(REQUEST, inputs, outputs_of(built, []), 1))
    assert not (built / STAMP).exists()
    assert current(built, REQUEST).exit_code == 1
    write_stamp(built, Stamp(REQUEST, inputs, outputs_of(built, []), 0))
    assert not (built / MISSED).exists()


def test_a_folder_is_found_by_its_request(built):
    assert find_folder(built.parent, REQUEST) == built
    assert find_folder(built.parent, Request("/other.yaml")) is None


def test_every_file_that_a_spec_names_is_an_input(tiny):
    folder = tiny.parent
    onnx.save(
        onnx.load(folder / "tiny.onnx"),
        folder / "tiny.onnx",
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    for name in ("calibration", "validation"):
        (folder / f"{name}.npz").write_bytes((folder / "evaluation.npz").read_bytes())
    np.savez(folder / "slices.npz", slice=np.zeros(32, np.int64))
    (folder / "scores.py").write_text("import scores_helper\nfrom scores_helper import score\n")
    (folder / "scores_helper.py").write_text("def score(outputs, labels, reference): ...\n")
    (folder / "desk.toml").write_text(
        'board = "desk"\nabout = "x"\nkind = "aarch64"\ncpu = "cortex-a72"\ncores = 4\n'
    )
    tiny.write_text(
        "model: tiny.onnx\n"
        "data: {calibration: calibration.npz, validation: validation.npz, "
        "evaluation: evaluation.npz}\n"
        'quality: {metric: "scores:score", slices: slices.npz}\n'
        "targets: {pi: {board: desk.toml}}\n"
    )
    found = input_files(load_spec(tiny), tiny, None)
    assert found[0] == tiny
    assert {p.name for p in found} == {p.name for p in folder.iterdir() if p.is_file()}


def test_a_library_that_stays_keeps_its_time(tiny, budgetc_cli):
    arguments = ("compile", tiny, "--out", tiny.parent / "out")
    assert budgetc_cli(*arguments).returncode == 0
    library = tiny.parent / "out" / "host" / "libtiny.so"
    before = library.stat()
    again = budgetc_cli(*arguments)
    assert (again.returncode, again.stdout) == (0, "")
    assert again.stderr == f"{tiny.parent / 'out'}: up to date\n"
    forced = budgetc_cli(*arguments, "--force")
    assert forced.returncode == 0
    assert "up to date" not in forced.stderr
    now = library.stat()
    assert (now.st_mtime_ns, now.st_ino != before.st_ino) == (before.st_mtime_ns, True)


CHECK = """
import sys
from budgetc.cli.current import answer
assert answer(sys.argv[1:]) == 0
light = {"tvm", "onnx", "onnxruntime", "numpy", "pydantic", "rich", "typer", "ruamel", "jinja2"}
assert not light & set(sys.modules), sorted(light & set(sys.modules))
"""


def test_the_check_imports_next_to_nothing(compiled):
    folder = compiled[0]
    rest = ["--junit", str(folder.parent / "j.xml"), "--depfile", str(folder.parent / "x.d")]
    spec = str(folder.parent / "spec.yaml")
    command = [sys.executable, "-c", CHECK, spec, "--out", str(folder), "--json", *rest]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "tiny"
    assert (folder.parent / "j.xml").is_file()
    assert "spec.yaml" in (folder.parent / "x.d").read_text()


def test_releases_are_those_of_importlib():
    from importlib.metadata import version

    found = dict(line.split(" ", 1) for line in fingerprint.releases())
    for name in fingerprint.LIBRARIES:
        assert found[name] == version(name)
    assert "budgetc" in found

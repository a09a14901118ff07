"""Two compilations side by side: figures, layers and verdicts; latencies only of one kind of machine."""

import copy
import json

import pytest
from budgetc.comparison import Change, compare
from budgetc_specs.errors import ModelError, SpecError

MANIFEST = {
    "recipe": "clean",
    "target": {"target": "host", "cpu": "x86-64-v3", "threads": 1},
    "tools": {"budgetc": "0.1.0"},
    "machine": {"cpu": "One", "fingerprint": "aaa"},
    "verdicts": [{"budget": "size", "status": "PASS"}],
    "measurement": {
        "size": {"bytes": 1000, "text": 400, "rodata": 600, "data": 0},
        "memory": {"bytes": 300, "arena": 256, "static": 0, "stack": 44},
        "latency": {"seconds": {"ours": 1e-3, "onnxruntime": 5e-3}},
        "quality": {"metric": "top1", "value": 0.9},
    },
    "parts": {
        "layers": [
            {"layer": "a", "weight_bytes": 400, "seconds": 6e-4},
            {"layer": "b", "weight_bytes": 200, "seconds": 4e-4},
        ]
    },
}


@pytest.fixture
def write(tmp_path):
    """Folders with a manifest: the one above, changed by a function."""

    def write(name, change=lambda manifest: None):
        manifest = copy.deepcopy(MANIFEST)
        change(manifest)
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return write


def smaller(manifest):
    manifest["recipe"] = "clean | quantize"
    manifest["measurement"]["size"].update(bytes=750, rodata=350)
    manifest["measurement"]["latency"]["seconds"]["ours"] = 5e-4
    manifest["measurement"]["quality"]["value"] = 0.88
    manifest["verdicts"][0]["status"] = "FAIL"
    manifest["parts"]["layers"][0].update(weight_bytes=150, seconds=1e-4)


def named(changes, what, unit):
    (found,) = (c for c in changes if c.what == what and c.unit == unit)
    return found


def test_nothing_changed(write):
    (found,) = compare(write("a"), write("b"))
    assert all(c.before == c.after for c in found.figures)
    assert (found.layers, found.verdicts, found.texts, found.note) == ((), {}, {}, "")


def test_what_changed(write):
    (found,) = compare(write("a"), write("b", smaller))
    size = named(found.figures, "size", "bytes")
    assert (size.before, size.after, size.ratio) == (1000, 750, -0.25)
    assert named(found.figures, "latency", "seconds").after == 5e-4
    assert named(found.figures, "top1", "metric").after == 0.88
    assert found.verdicts == {"size": ("PASS", "FAIL")}
    assert found.texts == {"recipe": ("clean", "clean | quantize")}
    assert found.layers == (Change("a", "bytes", 400, 150), Change("a", "seconds", 6e-4, 1e-4))


def test_latencies_of_two_machines_are_not_compared(write):
    def elsewhere(manifest):
        smaller(manifest)
        manifest["machine"] = {"cpu": "Two", "fingerprint": "bbb"}

    (found,) = compare(write("a"), write("b", elsewhere))
    assert found.note.startswith(
        'latencies were measured on "One" and "Two", so they are not compared; compile'
    )
    assert all(c.unit != "seconds" for c in (*found.figures, *found.layers))


def test_latencies_of_a_device_are_compared_whoever_compiled(write):
    def on(device, fingerprint):
        def change(manifest):
            manifest["measurement"]["device"] = device
            manifest["machine"]["fingerprint"] = fingerprint

        return change

    one, same, other = (
        write("a", on("board", "aaa")),
        write("b", on("board", "bbb")),
        write("c", on("pi", "aaa")),
    )
    (found,) = compare(one, same)
    assert (found.note, named(found.figures, "latency", "seconds").after) == ("", 1e-3)
    (found,) = compare(one, other)
    assert found.note.startswith('latencies were measured on "board" and "pi"')
    (found,) = compare(one, write("d"))
    assert found.note.startswith('latencies were measured on "board" and "One"')


def test_layers_come_and_go(write):
    def other(manifest):
        manifest["parts"]["layers"][0]["layer"] = "c"

    (found,) = compare(write("a"), write("b", other))
    assert named(found.layers, "a", "bytes").after is None
    assert named(found.layers, "c", "bytes").before is None
    assert named(found.layers, "c", "bytes").ratio is None


def test_targets_are_paired_by_name(write, tmp_path):
    for side in ("old", "new"):
        for target in ("host", "pi") if side == "old" else ("pi", "m4"):
            write(f"{side}/{target}")
    (found,) = compare(tmp_path / "old", tmp_path / "new")
    assert found.target == "pi"
    write("else/x")
    write("else/y")
    with pytest.raises(SpecError, match="have no target in common"):
        compare(tmp_path / "old", tmp_path / "else")


def test_a_lock_is_known_by_what_lies_beside_it(write, tmp_path):
    write("spec.lock.d/host", smaller)
    (tmp_path / "spec.lock").write_text("")
    (found,) = compare(write("a"), tmp_path / "spec.lock")
    assert named(found.figures, "size", "bytes").after == 750


def test_what_cannot_be_compared(write, tmp_path):
    with pytest.raises(SpecError, match=r"holds no manifest.json"):
        compare(tmp_path / "nothing", write("a"))
    (tmp_path / "a" / "manifest.json").write_text("{}")
    with pytest.raises(ModelError, match="is damaged"):
        compare(tmp_path / "a", tmp_path / "a")

"""Locks as text: written and read back as they were, damage named, differences with both values."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.lock import (
    Lock,
    LockedTarget,
    check_fits,
    check_targets,
    differences,
    lock_file,
    read_lock,
    records_folder,
    schedule_text,
    spec_values,
    write_lock,
)
from budgetc_specs.document import load_spec
from budgetc_specs.errors import LockError, SpecError
from hypothesis import given
from hypothesis import strategies as st

TARGET = LockedTarget(
    kind="host",
    capability="c" * 64,
    recipe='clean | prune{groups="/0/Conv=0.5"}',
    compact=False,
    quantization="d" * 64,
    machine={"cpu": "a CPU", "fingerprint": "0123456789ab"},
    schedules={"convolution 14db70691431": "pixels=7, vectors=2", "pooling 169a0d8603f5": ""},
    figures={"size_bytes": 1024.0, "latency_s": 2.5e-05, "quality_metric": "top1"},
    verdicts={"size": "PASS"},
    files={"libx.so": "e" * 64},
)
TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


def a_lock(path: Path, **changes) -> Lock:
    lock = Lock(path, "x", {"output.name": "x"}, {"model": "f" * 64}, {"numpy": "2"}, {"a": TARGET})
    return replace(lock, **changes)


def test_it_lies_beside_the_spec():
    assert lock_file(Path("models/spec.yaml")) == Path("models/spec.lock")
    assert records_folder(Path("models/spec.lock")) == Path("models/spec.lock.d")


def test_what_is_written_is_read(tmp_path):
    lock = a_lock(tmp_path / "spec.lock", targets={"a": replace(TARGET, files={})})
    write_lock(lock, {"a": tmp_path})
    assert read_lock(lock.path) == lock
    assert lock.targets["a"].points == (
        {"kernel": "convolution", "task": "14db70691431", "point": [["pixels", 7], ["vectors", 2]]},
        {"kernel": "pooling", "task": "169a0d8603f5", "point": []},
    )
    assert schedule_text((("pixels", 7), ("vectors", 2))) == "pixels=7, vectors=2"


@given(st.dictionaries(TEXT, TEXT), TEXT)
def test_any_text_survives(values, name):
    import tomllib

    read = tomllib.loads(a_lock(Path("spec.lock"), spec=values, name=name).to_text())
    assert read["spec"] == values
    assert read["name"] == name


def test_the_text_does_not_depend_on_the_order_of_what_was_found():
    forwards = a_lock(
        Path("spec.lock"), spec={"a": "1", "b": "2"}, targets={"a": TARGET, "b": TARGET}
    )
    backwards = a_lock(
        Path("spec.lock"), spec={"b": "2", "a": "1"}, targets={"b": TARGET, "a": TARGET}
    )
    assert forwards.to_text() == backwards.to_text()


def test_records_come_and_go_with_their_target(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "optimised.onnx").write_bytes(b"model")
    files = {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
        for name in ("manifest.json", "optimised.onnx")
    }
    target = replace(TARGET, files={**files, "libx.so": "e" * 64})
    lock = a_lock(tmp_path / "spec.lock", targets={"a": target, "b": target})
    write_lock(lock, {"a": tmp_path, "b": tmp_path})
    assert {p.name for p in lock.record("a").iterdir()} == set(files)
    assert lock.recorded("b", "optimised.onnx") == b"model"
    write_lock(replace(lock, targets={"a": target}), {"a": tmp_path})
    assert {p.name for p in records_folder(lock.path).iterdir()} == {"a"}


def test_a_record_that_changed_is_not_taken(tmp_path):
    lock = a_lock(
        tmp_path / "spec.lock", targets={"a": replace(TARGET, files={"manifest.json": "e" * 64})}
    )
    with pytest.raises(LockError, match=r"manifest\.json.*cannot be read"):
        lock.recorded("a", "manifest.json")
    lock.record("a").mkdir(parents=True)
    (lock.record("a") / "manifest.json").write_text("{}")
    with pytest.raises(LockError, match=f"sha256 {'e' * 64} in the lock, 44136fa"):
        lock.recorded("a", "manifest.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("lock = 1", "lock = 2", 'version "2"'),
        ("[spec]", "[spec", "damaged"),
        ("pixels=7", "pixels=many", "damaged"),
        ('"libx.so"', '"../libx.so"', "may not name"),
        ("compact = false\n", "", "damaged"),
        ("[targets.a]", '[targets."../a"]', "damaged"),
    ],
)
def test_damage_is_named(tmp_path, old, new, said):
    lock = a_lock(tmp_path / "spec.lock")
    text = lock.to_text()
    assert old in text
    lock.path.write_text(text.replace(old, new))
    with pytest.raises(LockError, match=said):
        read_lock(lock.path)


def test_a_lock_that_is_not_there(tmp_path):
    with pytest.raises(LockError, match=r"there is no lock to be read.*\n.*budgetc lock SPEC"):
        read_lock(tmp_path / "spec.lock")


def test_differences_have_both_values():
    found = differences("tool", {"a": "1", "b": "2"}, {"b": "3", "c": "4"})
    assert found == [
        "tool a: 1 in the lock, absent now",
        "tool b: 2 in the lock, 3 now",
        "tool c: absent in the lock, 4 now",
    ]
    lock = a_lock(Path("spec.lock"))
    check_fits(lock, [])
    with pytest.raises(LockError) as caught:
        check_fits(lock, found)
    assert all(line in str(caught.value) for line in found)
    assert caught.value.exit_code == 5


def test_a_target_that_the_lock_has_not_got():
    check_targets(a_lock(Path("spec.lock")), ["a"])
    with pytest.raises(SpecError, match='has no target "b"'):
        check_targets(a_lock(Path("spec.lock")), ["b"])


def test_a_spec_means_the_same_wherever_it_lies_and_however_it_is_written(tiny):
    here = spec_values(load_spec(tiny, ()))
    assert here["budgets.size.max_bytes"] == "64 KiB"
    assert here["passes"] == "clean"
    elsewhere = tiny.parent / "elsewhere"
    elsewhere.mkdir()
    for name in ("tiny.onnx", "evaluation.npz"):
        (elsewhere / name).write_bytes((tiny.parent / name).read_bytes())
    (elsewhere / "other.yaml").write_text(
        "passes: [clean]\nbudgets: {quality: {drop: 0.0 pp}, size: 65536 B}\n"
        "data: {evaluation: evaluation.npz}\nmodel: tiny.onnx\nsearch: {executor: 'local:2'}\n"
    )
    assert spec_values(load_spec(elsewhere / "other.yaml", ())) == here
    assert spec_values(load_spec(tiny, ["budgets.size=32 KiB"])) != here


def test_a_baseline_is_nothing_that_a_lock_must_fit(tmp_path):
    """Or none could be made anew: it often is the lock before."""
    (tmp_path / "m.onnx").touch()
    (tmp_path / "spec.lock").touch()
    file = tmp_path / "spec.yaml"
    plain = "model: m.onnx\nbudgets: {size: 4 KiB%s}\ntargets: {host: {budgets: {memory: 1 KiB%s}}}"
    file.write_text(plain % ("", ""))
    without = spec_values(load_spec(file))
    assert without["budgets.size.max_bytes"] == "4 KiB"
    asked = ", max_regression: {baseline: spec.lock, size: 2 %}"
    file.write_text(plain % (asked, asked))
    assert spec_values(load_spec(file)) == without
    file.write_text(f"model: m.onnx\nbudgets: {{{asked[2:]}}}")
    assert spec_values(load_spec(file)) == {"output.name": "m"}

"""A small model locked and built again: the same bytes, and a refusal for each thing that changed."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from budgetc.load import MANIFEST
from budgetc.lock import read_lock
from budgetc.locked import Sources, compile_locked, lock, locked_target, quantization_digest
from budgetc_specs.document import load_spec
from budgetc_specs.errors import LockError, SpecError
from onnx import TensorProto, helper, numpy_helper

OVERRIDES = [
    "data.calibration=calibration.npz",
    "budgets.quality.drop=20 pp",
    "passes=clean | quantize",
]


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def locked_once(make_tiny, tmp_path_factory, zig_cache):
    """A folder with a spec, its data, its lock and the artefact that it was locked with."""
    spec = make_tiny(tmp_path_factory.mktemp("locked"))
    with np.load(spec.parent / "evaluation.npz") as data:
        np.savez(spec.parent / "calibration.npz", x=data["x"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUDGETC_CACHE", str(zig_cache))
        result = lock(
            load_spec(spec, OVERRIDES), spec.with_suffix(".lock"), out=spec.parent / "out"
        )
    assert result.exit_code == 0
    return spec.parent


@pytest.fixture
def locked(locked_once, tmp_path, monkeypatch, zig_cache):
    """A copy of it: the spec, its overrides, its lock and the artefact."""
    monkeypatch.setenv("BUDGETC_CACHE", str(zig_cache))
    folder = tmp_path / "locked"
    shutil.copytree(locked_once, folder)
    return folder / "spec.yaml", OVERRIDES, folder / "spec.lock", folder / "out" / "host"


def folder_of(result):
    (target,) = result["targets"]
    return Path(target["folder"])


def sources(spec, overrides):
    return Sources.of(load_spec(spec, overrides))


def test_a_lock_names_the_device_that_measured(locked):
    *_, artefact = locked
    manifest = json.loads((artefact / MANIFEST).read_text())
    assert manifest["measurement"]["latency"]
    assert "latency_device" not in locked_target(artefact, manifest).figures
    manifest["measurement"]["device"] = "pi-2"
    assert locked_target(artefact, manifest).figures["latency_device"] == "pi-2"


def test_the_same_bytes_again(locked, tmp_path):
    spec, overrides, file, artefact = locked
    folder = folder_of(compile_locked(file, sources(spec, overrides), out=tmp_path / "again"))
    assert folder == tmp_path / "again" / "host"
    assert digests(folder) == digests(artefact) == dict(read_lock(file).targets["host"].files)
    heard = []
    before = (folder / "manifest.json").stat()
    compile_locked(file, None, out=tmp_path / "again", observer=heard.append)
    assert "built already" in heard[-1].text
    assert (folder / "manifest.json").stat().st_mtime_ns == before.st_mtime_ns


def test_frozen_needs_the_lock_alone(locked, tmp_path):
    _, _, file, artefact = locked
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(file, alone)
    shutil.copytree(f"{file}.d", alone / f"{file.name}.d")
    found = compile_locked(alone / file.name, None, out=tmp_path / "again")
    assert digests(folder_of(found)) == digests(artefact)


def test_the_recipe_comes_to_the_same_where_its_model_is_not_kept(locked, tmp_path):
    spec, overrides, file, artefact = locked
    (file.with_name(f"{file.name}.d") / "host" / "optimised.onnx").unlink()
    found = compile_locked(file, sources(spec, overrides), out=tmp_path / "again")
    assert digests(folder_of(found)) == digests(artefact)
    with pytest.raises(LockError, match=r"optimised\.onnx, which belongs to the lock"):
        compile_locked(file, None, out=tmp_path / "frozen")


def test_a_spec_that_changed(locked, tmp_path):
    spec, overrides, file, _ = locked
    changed = sources(spec, [*overrides, "budgets.size=32 KiB"])
    with pytest.raises(LockError) as caught:
        compile_locked(file, changed, out=tmp_path / "again")
    assert "spec budgets.size.max_bytes: 64 KiB in the lock, 32 KiB now" in str(caught.value)
    assert "`budgetc lock SPEC`" in str(caught.value)
    assert not (tmp_path / "again").exists()


def test_data_that_changed(locked, tmp_path):
    spec, overrides, file, _ = locked
    before = read_lock(file).inputs["calibration"]
    with np.load(spec.parent / "evaluation.npz") as data:
        np.savez(spec.parent / "calibration.npz", x=data["x"] * 2)
    with pytest.raises(LockError, match=f"input calibration: {before} in the lock, "):
        compile_locked(file, sources(spec, overrides), out=tmp_path / "again")


def test_a_tool_that_changed(locked, tmp_path, monkeypatch):
    _, _, file, _ = locked
    file.write_text(file.read_text().replace('ziglang = "0', 'ziglang = "9'))
    with pytest.raises(LockError, match=r"tool ziglang: 9\.\S+ in the lock, 0\."):
        compile_locked(file, None, out=tmp_path / "again")


def test_other_bytes_are_not_handed_over(locked, tmp_path):
    _, _, file, _ = locked
    target = read_lock(file).targets["host"]
    library = target.files["libtiny.so"]
    file.write_text(file.read_text().replace(library, "0" * 64))
    with pytest.raises(LockError) as caught:
        compile_locked(file, None, out=tmp_path / "again")
    assert f"file libtiny.so: {'0' * 64} in the lock, {library} now" in str(caught.value)
    assert not (tmp_path / "again" / "host").exists()


def test_a_target_that_is_not_locked(locked, tmp_path):
    _, _, file, _ = locked
    with pytest.raises(SpecError, match='has no target "hots"'):
        compile_locked(file, None, targets=["hots"], out=tmp_path / "again")


def test_a_missed_budget_leaves_the_lock(locked):
    spec, overrides, file, _ = locked
    before = file.read_bytes()
    missed = load_spec(spec, [*overrides, "budgets.size=1 KiB"])
    assert lock(missed, file, out=spec.parent / "other").exit_code != 0
    assert file.read_bytes() == before


def test_scales_and_zero_points_are_what_quantization_is(locked):
    def model(scale, other):
        tensors = [
            numpy_helper.from_array(np.array(value, np.float32), name)
            for name, value in (("scale", scale), ("other", other))
        ]
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "scale"], ["q"]),
            helper.make_node("DequantizeLinear", ["q", "scale"], ["d"]),
            helper.make_node("Mul", ["d", "other"], ["y"]),
        ]
        ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
        graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
        return helper.make_model(graph).SerializeToString()

    first = quantization_digest([model(0.5, 1.0)])
    assert quantization_digest([model(0.5, 2.0)]) == first
    assert quantization_digest([model(0.25, 1.0)]) != first

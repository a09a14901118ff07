"""`budgetc bench` measures an artefact again, and tells one that is not what was written."""

import hashlib
import json
import shutil

import pytest


@pytest.fixture
def folder(compiled, tmp_path):
    """A copy of an artefact that may be harmed."""
    return shutil.copytree(compiled[0] / "host", tmp_path / "artefact")


def test_figures(budgetc_cli, folder):
    done = budgetc_cli("bench", folder, "--json", "--runs", "200")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert found["size"]["bytes"] == (folder / "libtiny.so").stat().st_size
    assert found["memory"]["arena"] == manifest["workspace_bytes"]
    assert found["memory"]["stack"] > 0
    latency = found["latency"]
    assert latency["runs"] >= 200
    ours, peer = latency["seconds"]["ours"], latency["seconds"]["onnxruntime"]
    assert 0 < ours["p50"] <= ours["p90"] <= ours["p99"]
    assert latency["ratio"] == pytest.approx(ours["p50"] / peer["p50"])
    low, high = latency["ratio_interval"]
    assert low <= latency["ratio"] <= high
    assert latency["ratio"] < 1  # a call of four dot products beats a session


def test_in_words(budgetc_cli, folder):
    done = budgetc_cli("bench", folder, "--runs", "50")
    assert done.returncode == 0
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["latency", "budgetc", "onnxruntime", "ratio"] in words
    assert [w[0] for w in words if w and w[0] in {"p50", "p90", "p99", "mean"}] == [
        "p50",
        "p90",
        "p99",
        "mean",
    ]


def test_the_memory_map(budgetc_cli, folder):
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    done = budgetc_cli("bench", folder, "--json", "--runs", "50")
    assert json.loads(done.stdout)["arena"] == {
        "bytes": parts["arena"],
        "lower_bound": parts["arena_lower_bound"],
        "order_bound": parts["arena_order_bound"],
        "map": parts["arena_map"],
    }
    done = budgetc_cli("bench", folder, "-v", "--runs", "50")
    assert done.returncode == 0
    assert f"arena {parts['arena']} bytes" in done.stdout
    for slot in parts["arena_map"]:
        assert slot["name"] in done.stdout


def test_each_call_is_timed(budgetc_cli, folder):
    done = budgetc_cli("bench", folder, "--json", "--runs", "50")
    found = json.loads(done.stdout)
    assert found["layers_reason"] == ""
    parts = json.loads((folder / "manifest.json").read_text())["parts"]
    assert len(found["layers"]) == parts["calls"]
    assert sum(layer["macs"] for layer in found["layers"]) == parts["macs"]
    assert all(layer["seconds"] >= 0 for layer in found["layers"])
    done = budgetc_cli("bench", folder, "-v", "--runs", "50")
    words = [line.split() for line in done.stdout.splitlines()]
    assert ["time", "share", "GMAC/s", "bits", "kernel", "layer"] in words
    assert any(line[-1:] == ["gemm"] for line in words)


def test_another_library_is_not_taken_apart(budgetc_cli, folder):
    """What is timed must be what ships."""
    library, manifest = folder / "libtiny.so", json.loads((folder / "manifest.json").read_text())
    library.write_bytes(library.read_bytes() + b"\0")
    manifest["files"]["libtiny.so"] = hashlib.sha256(library.read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    found = json.loads(budgetc_cli("bench", folder, "--json", "--runs", "50").stdout)
    assert found["layers"] is None
    assert "built once more, it is another library" in found["layers_reason"]


@pytest.mark.parametrize("name", ["libtiny.so", "tiny.h", "optimised.onnx"])
def test_a_changed_file_is_named(budgetc_cli, folder, name):
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    done = budgetc_cli("bench", folder)
    assert (done.returncode, done.stdout) == (7, "")
    assert f"{folder / name} is not the file that was written" in done.stderr


def test_a_missing_file_is_named(budgetc_cli, folder):
    (folder / "tiny.h").unlink()
    done = budgetc_cli("bench", folder)
    assert done.returncode == 7
    assert f"{folder / 'tiny.h'} is missing" in done.stderr


@pytest.mark.parametrize(
    "harm",
    [
        lambda m: m["files"].update({"../../outside": "0" * 64}),
        lambda m: m.update(library="/lib/libc.so.6"),
        lambda m: m.pop("files"),
        lambda m: m["files"].pop("optimised.onnx"),
    ],
)
def test_a_manifest_that_lies(budgetc_cli, folder, harm):
    manifest = json.loads((folder / "manifest.json").read_text())
    harm(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = budgetc_cli("bench", folder)
    assert done.returncode == 7
    assert "manifest.json is damaged" in done.stderr


def test_the_folder_above(budgetc_cli, compiled):
    done = budgetc_cli("bench", compiled[0])
    assert done.returncode == 2
    assert f"did you mean {compiled[0] / 'host'}?" in done.stderr


def test_what_does_not_run_here_is_not_timed(budgetc_cli, folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["target"].update(cpu="x86-64-v9", native=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    done = budgetc_cli("bench", folder, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["latency"] is None
    assert "code for x86-64-v9" in found["reason"]

"""The Python loader: the library's own numbers, messages that say what holds, and no heavy import."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.load import LoadedModel, load


@pytest.fixture(scope="module")
def folder(build_toy: Callable[..., Any]) -> Path:
    toy = build_toy("loaded")
    manifest = {**toy.interface.to_json(), "something": "else"}
    (toy.folder / "manifest.json").write_text(json.dumps(manifest))
    return Path(toy.folder)


@pytest.fixture(scope="module")
def model(folder: Path) -> LoadedModel:
    return load(folder)


def expected(x: Any) -> Any:
    y = 4 * (x + np.arange(60, dtype=np.float32) / 4) + 3
    y[..., 0] += 64 * 7 + 64 * 9
    return y


def test_it_computes(model: LoadedModel) -> None:
    x = np.arange(60, dtype=np.float32)[None] / 8
    outputs = model({"image": x})
    assert list(outputs) == ["logits"]
    assert outputs["logits"].dtype == np.float32
    assert np.array_equal(outputs["logits"], expected(x))


def test_it_describes_itself(model: LoadedModel) -> None:
    assert [(p.name, p.dtype, p.shape) for p in model.inputs] == [("image", "float32", (1, 60))]
    assert [(p.name, p.dtype, p.shape) for p in model.outputs] == [("logits", "float32", (1, 60))]
    assert model.workspace_bytes == 704
    assert repr(model) == "<loaded(image: float32[1, 60]) -> logits: float32[1, 60]>"


def test_outputs_of_one_call_survive_the_next(model: LoadedModel) -> None:
    zeros = np.zeros((1, 60), np.float32)
    first = model({"image": zeros})["logits"]
    model({"image": zeros + 1})
    assert np.array_equal(first, expected(zeros))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: np.asfortranarray(np.repeat(x, 2, axis=1))[:, ::2],
        lambda x: x[:, ::-1][:, ::-1],
        lambda x: np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(1, 60),
    ],
    ids=["strided", "reversed twice", "misaligned"],
)
def test_any_memory_layout_will_do(make: Callable[[Any], Any], model: LoadedModel) -> None:
    x = np.arange(60, dtype=np.float32)[None]
    assert np.array_equal(model({"image": make(x)})["logits"], expected(x))


def test_the_callers_array_is_not_written(model: LoadedModel) -> None:
    x = np.ones((1, 60), np.float32)
    x.flags.writeable = False
    model({"image": x})


@pytest.mark.parametrize(
    ("inputs", "error", "message"),
    [
        ({}, ValueError, "takes the inputs 'image'; it was given none"),
        ({"img": np.zeros(1)}, ValueError, "takes the inputs 'image'; it was given 'img'"),
        ({"image": np.zeros((1, 60))}, TypeError, r"is float64, loaded takes float32; convert"),
        ({"image": np.zeros((1, 60), ">f4")}, TypeError, "takes float32"),
        ({"image": np.zeros(60, "f4")}, ValueError, r"has shape \[60\], loaded takes \[1, 60\]"),
    ],
)
def test_a_wrong_input_says_what_holds(
    inputs: dict[str, Any], error: type[Exception], message: str, model: LoadedModel
) -> None:
    with pytest.raises(error, match=message):
        model(inputs)


def test_many_threads_share_a_model(model: LoadedModel) -> None:
    def work(seed: int) -> bool:
        x = np.full((1, 60), seed, np.float32)
        want = expected(x)
        return all(np.array_equal(model({"image": x})["logits"], want) for _ in range(500))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))
    assert sum(len(entry._idle) for entry in model._by_shapes.values()) <= 8


def test_two_models_at_once(build_toy: Callable[..., Any], model: LoadedModel) -> None:
    toy = build_toy("other", weights=np.full(60, 2, np.float32).tobytes(), threads=2)
    other = LoadedModel(toy.folder, toy.interface)
    x = np.arange(60, dtype=np.float32)[None]
    alone = model({"image": x})["logits"], other({"image": x})["logits"]
    assert not np.array_equal(*alone)

    def work(which: int) -> int:
        used = (model, other)[which]
        return sum(
            not np.array_equal(used({"image": x})["logits"], alone[which]) for _ in range(10_000)
        )

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, (0, 1))) == [0, 0]


def test_nothing_heavy_is_imported(folder: Path) -> None:
    code = f"""
import sys
from budgetc.load import load
load({str(folder)!r})
heavy = {{"tvm", "onnx", "onnxruntime", "pydantic", "onnx_ir", "networkx"}} & set(sys.modules)
sys.exit(repr(heavy) if heavy else 0)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_folder_without_an_artefact_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no manifest\.json; give the output folder"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x", "inputs": [{}]}'])
def test_a_damaged_manifest_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match="damaged or not an artefact's manifest"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("library", "error", "message"),
    [
        ("libloaded.a", ValueError, "static library"),
        ("libgone.so", FileNotFoundError, "is missing; compile the model again"),
    ],
)
def test_a_library_that_cannot_be_loaded_is_named(
    library: str, error: type[Exception], message: str, folder: Path, tmp_path: Path
) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest, "library": library}))
    with pytest.raises(error, match=message):
        load(tmp_path)

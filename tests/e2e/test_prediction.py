"""Size and memory are predicted to the byte: seven networks, float, int8 and pruned, on several sheets."""

import functools
import tempfile
from pathlib import Path

import numpy as np
import pytest
from budgetc.build import link_produced
from budgetc.cache import cache_folder
from budgetc.measure.memory import memory_of
from budgetc.measure.size import size_of
from budgetc.model import load_model
from budgetc.optimise import optimise
from budgetc.predict.predictor import predict
from budgetc.produce import produce
from budgetc.registry import find_target

MODELS = Path(__file__).parents[1] / "models"
EXAMPLES = Path(__file__).parents[2] / "specs" / "examples"

CASES = {
    "mnist5k_cnn": (EXAMPLES / "mnist", "input", (1, 28, 28)),
    "animalmnist_dscnn": (EXAMPLES / "animals", "input", (1, 28, 28)),
    "mlperf_tiny_resnet8_cifar10": (MODELS, "input", (32, 32, 3)),
    "mlperf_tiny_dscnn_kws": (MODELS, "input", (50, 10, 1)),
    "mlperf_tiny_mobilenet_vww": (MODELS, "input", (96, 96, 3)),
    "mtcnn_rnet": (MODELS, "input_2", (24, 24, 3)),
    "japanesevowels_gru": (MODELS, "input", (12, 25)),
}

FLOAT = "clean | fuse | clean"
RECIPES = {
    "float": FLOAT,
    "int8": f"{FLOAT} | quantize",
    "pruned": f"{FLOAT} | prune{{ratio=0.25}} | clean",
    "pruned int8": f"{FLOAT} | prune{{ratio=0.5}} | clean | quantize",
}
SHEETS = {
    "one thread": ("host", None, 1, tuple(RECIPES)),
    "two threads": ("host", None, 2, ("float", "int8")),
    "aarch64": ("aarch64", "cortex-a76", 1, ("float", "pruned int8")),
}


@functools.cache
def optimised(name: str, recipe: str) -> bytes:
    home, port, shape = CASES[name]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        loaded = load_model(home / f"{name}.onnx", {port: (1, *shape)})
        (folder / "model.onnx").write_bytes(loaded.data)
        samples = np.random.default_rng(0).uniform(-1, 1, (8, *shape)).astype(np.float32)
        np.savez(folder / "data.npz", **{port: samples})
        sheet = find_target("host").capability(None, 1).model_dump(mode="json")
        made = folder / "optimised.onnx"
        given = (str(folder / "model.onnx"), name, RECIPES[recipe], sheet)
        optimise(*given, str(folder / "data.npz"), str(made))
        return made.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sheet", "library"),
    [
        *((name, sheet, "shared") for name in CASES for sheet in SHEETS),
        *(("mlperf_tiny_resnet8_cifar10", sheet, "static") for sheet in SHEETS),
    ],
)
def test_what_is_built_is_what_was_predicted(
    name: str, sheet: str, library: str, tmp_path: Path
) -> None:
    """Within one percent would do; it is every byte."""
    kind, cpu, threads, recipes = SHEETS[sheet]
    capability = find_target(kind).capability(cpu, threads)
    for number, recipe in enumerate(recipes):
        data, folder = optimised(name, recipe), tmp_path / str(number)
        folder.mkdir()
        (folder / "optimised.onnx").write_bytes(data)
        expected = predict(
            [data],
            kind,
            capability,
            library="shared" if library == "shared" else "static",
            kernels=tmp_path / "kernels",
            timings=tmp_path / "timings",
        )
        sheet_json = capability.model_dump(mode="json")
        given = (str(folder / "optimised.onnx"), kind, sheet_json, 0, str(folder), str(folder))
        produce(*given)  # without the kernels that the prediction has compiled
        linked = link_produced(
            folder,
            "model",
            capability,
            "shared" if library == "shared" else "static",
            cache_folder() / "zig",
        )
        assert expected.size == size_of(linked.library, capability).deployed, recipe
        assert expected.first.arena == linked.interface.workspace_bytes, recipe
        assert expected.static == memory_of(linked.library, 0).static, recipe
        assert expected.seconds < 60
        low, high = expected.interval
        assert 0 < low < expected.latency < high

"""The example models on this machine, on aarch64 and on other hardware: every number against onnxruntime."""

from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc.result import Result
from budgetc_specs.spec import Spec

MODELS = Path(__file__).parents[1] / "models"
EXAMPLES = Path(__file__).parents[2] / "specs" / "examples"

FLOAT = "clean | fuse | clean"
INT8 = "clean | fuse | clean | quantize"
SAMPLES = 64


def _pictures(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Smooth random pictures: nearer to what the models were trained on than white noise is."""
    random = np.random.default_rng(0)
    coarse = random.uniform(low, high, (SAMPLES, *(-(-n // 4) for n in shape[:2]), *shape[2:]))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, : shape[0], : shape[1]]
    return fine.astype(np.float32)


CASES = {
    "mnist5k_cnn": (EXAMPLES / "mnist", "input", (1, 28, 28), None),
    "animalmnist_dscnn": (EXAMPLES / "animals", "input", (1, 28, 28), None),
    "mlperf_tiny_resnet8_cifar10": (MODELS, "input", (32, 32, 3), (-1.0, 1.0)),
    "mlperf_tiny_dscnn_kws": (MODELS, "input", (50, 10, 1), (0.0, 225.0)),
    "mlperf_tiny_mobilenet_vww": (MODELS, "input", (96, 96, 3), (0.0, 255.0)),
    "mtcnn_rnet": (MODELS, "input_2", (24, 24, 3), (-1.0, 1.0)),
    "japanesevowels_gru": (MODELS, "input", (12, 25), (-2.0, 2.0)),
}


NEAR = {"host": {}, "pi": {"kind": "aarch64", "cpu": "cortex-a72"}}
FAR = {
    "arm": {"kind": "armv7"},
    "scalar": {"kind": "riscv64"},
    "vector": {"kind": "riscv64", "cpu": "rv64gcv"},
    "web": {"kind": "wasm32"},
}


def _compile(
    name: str, recipe: str, folder: Path, targets: dict[str, dict[str, str]] = NEAR
) -> Result:
    home, port, shape, scale = CASES[name]
    folder.mkdir(exist_ok=True)
    archive = folder / "data.npz"
    if scale is None:
        with np.load(home / "evaluation.npz") as labelled:
            np.savez(archive, **{key: labelled[key][:SAMPLES] for key in labelled.files})
    else:
        np.savez(archive, **{port: _pictures(shape, *scale)})
    spec = Spec.model_validate(
        {
            "model": home / f"{name}.onnx",
            "inputs": {port: {"shape": [1, *shape]}},
            "data": {
                "calibration": archive if scale else home / "calibration.npz",
                "evaluation": archive,
            },
            "quality": {"metric": "judge:same_class" if scale else "top1"},
            "targets": targets,
            "passes": recipe,
            "output": {"name": "model"},
        }
    )
    return budgetc.compile(spec, out=folder / "out")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [FLOAT, INT8], ids=["float", "int8"])
@pytest.mark.parametrize("name", CASES)
def test_a_real_model_compiles_and_agrees(name: str, recipe: str, tmp_path: Path) -> None:
    result = _compile(name, recipe, tmp_path)
    assert result.exit_code == 0
    for target in result.targets:
        assert target.chosen, target.certificate
        assert (tmp_path / "out" / target.target / "libmodel.so").exists()
        if target.chosen.measurement and target.chosen.measurement.executed:
            assert target.chosen.agreement
            assert target.chosen.agreement.agrees


ELSEWHERE = [
    "mlperf_tiny_resnet8_cifar10",
    pytest.param("mlperf_tiny_mobilenet_vww", marks=pytest.mark.large),
]


@pytest.mark.slow
@pytest.mark.large  # test_matrix.py has a smaller model on such hardware
@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_real_model_runs_on_other_hardware(name: str, tmp_path: Path) -> None:
    """Integers exactly as onnxruntime computes them, under the emulator of each."""
    result = _compile(name, INT8, tmp_path, FAR)
    assert result.exit_code == 0
    for target in result.targets:
        assert target.chosen, target.certificate
        library = "model.wasm" if target.target == "web" else "libmodel.so"
        assert (tmp_path / "out" / target.target / library).exists()
        measurement = target.chosen.measurement
        if measurement and measurement.executed:
            assert target.chosen.agreement
            assert target.chosen.agreement.agrees
            assert measurement.latency is None
            assert (measurement.instructions is None) == bool(measurement.uncounted)


@pytest.mark.slow
@pytest.mark.parametrize("name", ELSEWHERE)
def test_int8_takes_half_the_instructions_where_there_is_a_dot_product(
    name: str, tmp_path: Path
) -> None:
    counts = {}
    for recipe in (FLOAT, INT8):
        targets = {"pi": {"kind": "aarch64", "cpu": "cortex-a76"}}
        (target,) = _compile(name, recipe, tmp_path / str(len(counts)), targets).targets
        assert target.chosen
        assert target.chosen.measurement
        if target.chosen.measurement.instructions is None:
            pytest.skip(target.chosen.measurement.uncounted or target.chosen.measurement.reason)
        counts[recipe] = target.chosen.measurement.instructions
    assert counts[INT8] <= 0.5 * counts[FLOAT]

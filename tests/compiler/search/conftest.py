"""What the tests of the search share: the real models with their data, loaded once."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.model import Model, load_model
from budgetc.search.space import Space, find_space
from budgetc_specs.capability import Capability

from .world import World

_PATH = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
ROOT = Path(__file__).parents[3]
MODELS = {
    path.stem: path
    for path in sorted(
        [*(ROOT / "tests/models").glob("*.onnx"), *(ROOT / "specs/examples").glob("*/*.onnx")]
    )
}
RANGES = {"mlperf_tiny_dscnn_kws": (0.0, 225.0), "mlperf_tiny_mobilenet_vww": (0.0, 255.0)}


@dataclass(frozen=True)
class Subject:
    """A model, the file it lies in as children read it, samples for it, and its search space."""

    model: Model
    file: Path
    calibration: Path
    space: Space


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory, avx2: Capability) -> Callable[[str], Subject]:
    """Loads a real model by its name, with its own calibration data or with smooth pictures."""
    made: dict[str, Subject] = {}

    def load(name: str) -> Subject:
        if name not in made:
            path = MODELS[name]
            (port,) = onnx.load(path).graph.input
            shape = [dim.dim_value for dim in port.type.tensor_type.shape.dim]
            model = load_model(path, {port.name: [1, *shape[1:]]})
            folder = tmp_path_factory.mktemp(name)
            file = folder / "model.onnx"
            file.write_bytes(model.data)
            calibration = path.parent / "calibration.npz"
            if not calibration.exists():
                calibration = folder / "calibration.npz"
                low, high = RANGES.get(name, (-1.0, 1.0))
                np.savez(calibration, **{port.name: pictures((64, *shape[1:]), low, high)})
            space = find_space(file, path, avx2, calibrated=True)
            made[name] = Subject(model, file, calibration, space)
        return made[name]

    return load


def pictures(shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Random pictures, smooth along their first two axes."""
    random = np.random.default_rng(0)
    samples, rows, columns, *rest = shape
    coarse = random.uniform(low, high, (samples, -(-rows // 4), -(-columns // 4), *rest))
    fine = coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :rows, :columns]
    return fine.astype(np.float32)


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    """Makes worlds: `world(size=1900, drop=0.0, objective=("quality",), candidates=40, grown=0, ...)`."""
    return partial(World, tmp_path)


@pytest.fixture(autouse=True)
def _probes_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children find `search_probes`."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *_PATH]))

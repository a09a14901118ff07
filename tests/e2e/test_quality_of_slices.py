"""A segmentation model from its spec to verdicts on mean IoU, as a whole and in its worst slice."""

import json
from pathlib import Path

import budgetc
import numpy as np
import onnx
import pytest
from budgetc_specs.document import load_spec
from onnx import numpy_helper, parser

TEXT = """<ir_version: 9, opset_import: ["": 17]>
    g (float[1,3,12,12] image) => (float[1,4,12,12] classes) <float[4,3,3,3] w>
    { classes = Conv<pads = [1, 1, 1, 1]>(image, w) }"""

SPEC = """
model: segment.onnx
data: {calibration: calibration.npz, evaluation: evaluation.npz}
quality: {metric: mean-iou, slices: slice}
budgets:
  quality: {drop: 2 pp, worst_slice: 10 pp}
passes: clean | fuse | clean | quantize{calibration=minmax}
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    """Random filters; the labels are the float model's own classes, the dim images lie close to ties."""
    rng = np.random.default_rng(0)
    model = parser.parse_model(TEXT)
    weights = rng.standard_normal((4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "segment.onnx")
    bright = np.arange(64) < 40
    light = np.where(bright, 1.0, 0.02)[:, None, None, None]
    images = (rng.standard_normal((64, 3, 12, 12)) * light).astype(np.float32)
    around = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(2, 3))
    labels = np.einsum("nchwij,ocij->nohw", windows, weights).argmax(axis=1)
    labels[:, 0] = 255  # what nobody judges
    np.savez(
        tmp_path / "evaluation.npz",
        image=images,
        label=labels.astype(np.uint8),
        slice=np.where(bright, "bright", "dim"),
    )
    np.savez(tmp_path / "calibration.npz", image=images[:40])
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path / "spec.yaml"


@pytest.mark.slow
def test_mean_iou_and_the_worst_slice(spec: Path) -> None:
    result = budgetc.compile(load_spec(spec), out=spec.parent / "out")
    (trial,) = result.targets[0].trials
    whole, worst = trial.verdicts
    assert trial.measurement
    quality = trial.measurement.quality
    assert quality
    assert (quality.metric, quality.samples) == ("mean-iou", 64)
    assert quality.reference > 0.99
    assert [s.name for s in quality.slices] == ["dim", "bright"]
    # Quantised to steps that suit bright images, dim ones are nearly black.
    assert quality.slices[0].drop > 0.1 > quality.slices[1].drop
    assert (worst.budget, worst.status) == ("worst_slice", "FAIL")
    assert '"dim"' in worst.text
    assert whole.interval
    assert whole.interval.low < quality.drop < whole.interval.high
    assert result.exit_code == 1
    plain = json.loads(json.dumps(result.to_json()))
    measured = plain["targets"][0]["trials"][0]["measurement"]["quality"]
    assert [s["samples"] for s in measured["slices"]] == [24, 40]
    assert result.targets[0].nearest is trial

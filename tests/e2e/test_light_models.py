"""The nine light models of the onnx package, with weights made up, through the whole product beside onnxruntime.

Five run with the other slow tests; those with more than 100 MB of weights run by `make large`.
"""

from pathlib import Path

import budgetc
import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.load import load
from budgetc_specs.spec import Spec

from benchmarks.models import Case, made_up, randomised, with_a_winner

SMALL = {
    "squeezenet": "data_0",
    "shufflenet": "gpu_0/data_0",
    "inception_v1": "data_0",
    "inception_v2": "data_0",
    "densenet121": "data_0",
}
LARGE = {
    "resnet50": "gpu_0/data_0",
    "bvlc_alexnet": "data_0",
    "zfnet512": "gpu_0/data_0",
    "vgg19": "data_0",
}
OPSET = 9  # their own: the old forms of Dropout, Softmax and Unsqueeze are read
CALLS = 3
TOLERANCE = 1e-3  # of the largest number of an output


@pytest.mark.slow
@pytest.mark.parametrize(("name", "port"), SMALL.items())
def test_a_light_model_agrees_with_onnxruntime(name: str, port: str, tmp_path: Path) -> None:
    assert _worst(name, port, tmp_path) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("name", "port"), LARGE.items())
def test_a_large_light_model_agrees_with_onnxruntime(name: str, port: str, tmp_path: Path) -> None:
    assert _worst(name, port, tmp_path) <= TOLERANCE


def _worst(name: str, port: str, folder: Path) -> float:
    """The largest difference of any output, over the largest number of that output."""
    case = Case(Path(f"light_{name}.onnx"), port, (3, 224, 224), -2, 2)
    source, archive = folder / "model.onnx", folder / "data.npz"
    onnx.save(with_a_winner(randomised(case.file.name, opset=OPSET, centred=True), case), source)
    samples = made_up(case, CALLS, seed=1)
    np.savez(archive, **{port: samples})
    spec = Spec.model_validate(
        {
            "model": source,
            "data": {"evaluation": archive},
            "quality": {"metric": "agreement"},
            "budgets": {"latency": {"max": "1 min", "runs": 20}},  # few: time is not the question
            "passes": "clean | fuse | clean",
            "output": {"name": "light"},
        }
    )
    result = budgetc.compile(spec, out=folder / "out")
    assert result.exit_code == 0, result.targets[0].certificate
    model, session = load(folder / "out" / "host"), make_session(source.read_bytes())
    answers = [session.run({port: sample[None]}) for sample in samples]
    worst = 0.0
    for sample, wanted in zip(samples, answers, strict=True):
        ours = model({port: sample[None]})
        assert list(ours) == list(wanted)
        for key, expected in wanted.items():
            far = np.abs(ours[key] - expected).max() / np.abs(expected).max()
            worst = max(worst, float(far))
    for key, first in answers[0].items():  # answers that do not depend on the input prove little
        moved = np.abs(answers[1][key] - first).max() / np.abs(first).max()
        assert moved > 100 * TOLERANCE
    return worst

"""A model for several shapes: one library, one header, the weights once, an entry point for each shape."""

import ctypes
import json
from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc.bench import bench
from budgetc.load import load
from budgetc.result import Result
from budgetc_specs.errors import SpecError
from budgetc_specs.spec import Spec

DIGITS = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
ONE, FOUR = (1, 1, 28, 28), (4, 1, 28, 28)
INT8 = "clean | fuse | clean | quantize"


def compiled(out: Path, recipe: str, *shapes: tuple[int, ...], **budgets: str) -> Result:
    spec = Spec.model_validate(
        {
            "model": DIGITS / "mnist5k_cnn.onnx",
            "inputs": {"input": {"shapes": shapes}},
            "data": {
                "calibration": DIGITS / "calibration.npz",
                "evaluation": DIGITS / "evaluation.npz",
            },
            "budgets": {"latency": {"max": "1 s", "runs": 20}, **budgets},
            "passes": recipe,
            "output": {"name": "digits"},
        }
    )
    return budgetc.compile(spec, out=out)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["clean | fuse | clean", INT8], ids=["float", "int8"])
def test_both_shapes_are_one_library(recipe: str, tmp_path: Path) -> None:
    (target,) = compiled(tmp_path / "two", recipe, ONE, FOUR).targets
    assert target.chosen
    assert target.chosen.agreement
    assert target.chosen.agreement.agrees
    names = [case.name for case in target.chosen.agreement.cases]
    assert {"real inputs", "4x1x28x28: real inputs"} <= set(names)
    folder = tmp_path / "two" / "host"
    model = load(folder)
    with np.load(DIGITS / "evaluation.npz") as archive:
        samples = archive["input"][:4]
    together = model({"input": samples})["logits"]
    each = [model({"input": sample[None]})["logits"] for sample in samples]
    np.testing.assert_allclose(together, np.concatenate(each), rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"shape \[2, 1, 28, 28\].*takes \[1, .*\] or \[4, "):
        model({"input": samples[:2]})
    library = ctypes.CDLL(str(folder / "libdigits.so"))
    assert library.digits_run
    assert library.digits_4x1x28x28_run
    header = (folder / "digits.h").read_text()
    assert "int digits_4x1x28x28_run(const digits_inputs *inputs" in header
    (single,) = compiled(tmp_path / "one", recipe, ONE).targets
    assert single.chosen
    assert single.chosen.measurement
    assert target.chosen.measurement
    both, alone = (t.chosen.measurement.size.rodata for t in (target, single) if t.chosen)
    assert both < 1.2 * alone  # the weights are there once
    assert budgetc.verify(folder).agrees
    assert bench(folder, 20, "4x1x28x28").memory.arena == model.entries[1].workspace_bytes
    with pytest.raises(SpecError, match="no entry point"):
        bench(folder, 20, "5x1x28x28")


@pytest.mark.slow
def test_the_worst_shape_counts(tmp_path: Path) -> None:
    (target,) = compiled(tmp_path, INT8, ONE, FOUR, memory="64 KiB").targets
    assert target.chosen is None
    assert target.exit_code == 1
    assert "4x1x28x28: memory" in target.certificate
    found = json.dumps(budgetc.result.trial_json(target.trials[0]))
    assert '"entries": {"4x1x28x28": {"memory"' in found

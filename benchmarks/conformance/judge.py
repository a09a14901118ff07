"""One backend case at a time: compiled as `budgetc compile` compiles, run, and compared; for a child."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from budgetc.build import link_produced
from budgetc.child import report_progress
from budgetc.load import LoadedModel
from budgetc.model import parse_model
from budgetc.optimise import optimise
from budgetc.produce import produce
from budgetc.registry import find_target
from budgetc_specs.errors import BudgetcError, InternalError
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator

_HALVES = ("float16", "bfloat16")
RECIPE = "clean | fuse | clean"

Array = npt.NDArray[np.generic]


def run_cases(kind: str, names: Sequence[str], cache: str) -> None:
    """Judge cases in order; each is announced before it starts, so that whoever dies has a name.

    Args:
        kind: the suite, as onnx's loader calls it, such as `node`.
        names: of its cases.
        cache: folder for zig's caches.
    """
    np.seterr(all="ignore")  # the suites compute expected overflows
    cases = {case.name: case for case in load_model_tests(kind=kind)}
    for name in names:
        report_progress({"case": name})
        verdict, detail = judge(cases[name], Path(cache))
        report_progress({"case": name, "verdict": verdict, "detail": detail})


def judge(case: Any, cache: Path) -> tuple[str, str]:
    """The verdict of a case, `correct`, `refused`, `wrong` or `crashed`, and its reason.

    Expected outputs of 16-bit floats were rounded after every operator; where only that differs, the outputs are
    right if they are what onnx's reference evaluator makes of the model in f32.
    """
    model = case.model or onnx.load(Path(case.model_dir) / "model.onnx")
    with tempfile.TemporaryDirectory(prefix="budgetc-conformance-") as scratch:
        try:
            library = compile_model(model, Path(scratch), cache)
            difference = _first_difference(library, model, case)
        except InternalError as error:
            return "crashed", error.message
        except BudgetcError as error:
            return "refused", error.message
        except Exception as error:  # whatever comes out here would have been a traceback
            return "crashed", f"{type(error).__name__}: {error}"
    return ("wrong", difference) if difference else ("correct", "")


def _first_difference(library: LoadedModel, model: onnx.ModelProto, case: Any) -> str:
    for inputs, expected in _data_sets(case):
        feeds = {p.name: value for p, value in zip(library.inputs, inputs, strict=True)}
        made = library(feeds)
        difference = _difference(made, expected, case.rtol, case.atol)
        if difference and any(a.dtype.name in _HALVES for a in expected):
            wide = _evaluated_in_f32(model, feeds)
            difference = _difference(made, wide, case.rtol, case.atol) and difference
        if difference:
            return difference
    return ""


def _evaluated_in_f32(model: onnx.ModelProto, feeds: Mapping[str, Array]) -> list[Array]:
    widened = parse_model(model.SerializeToString(), "case.onnx").data
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(widened))
    return [np.asarray(value) for value in evaluator.run(None, dict(feeds))]


def compile_model(model: onnx.ModelProto, folder: Path, cache: Path) -> LoadedModel:
    """A model as a loaded library for this machine on one thread.

    Raises:
        BudgetcError: it cannot be compiled.
    """
    sheet = find_target("host").capability(None, 1)
    source, optimised = folder / "model.onnx", folder / "optimised.onnx"
    source.write_bytes(parse_model(model.SerializeToString(), "case.onnx").data)
    optimise(str(source), "case.onnx", RECIPE, sheet.model_dump(mode="json"), None, str(optimised))
    produce(str(optimised), "host", sheet.model_dump(mode="json"), 0, str(folder), str(folder))
    return LoadedModel(folder, link_produced(folder, "case", sheet, "shared", cache).interface)


def _data_sets(case: Any) -> list[tuple[list[Array], list[Array]]]:
    if case.data_sets is not None:
        return [([_array(v) for v in i], [_array(v) for v in o]) for i, o in case.data_sets]
    folders = sorted(Path(case.model_dir).glob("test_data_set_*"))
    return [(_tensors(folder, "input"), _tensors(folder, "output")) for folder in folders]


def _array(value: Any) -> Array:
    return (
        numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)
    )


def _tensors(folder: Path, which: str) -> list[Array]:
    count = len(list(folder.glob(f"{which}_*.pb")))
    files = [folder / f"{which}_{number}.pb" for number in range(count)]
    return [numpy_helper.to_array(onnx.TensorProto.FromString(file.read_bytes())) for file in files]


def _rounding(expected: Array) -> float:
    if expected.dtype.name not in {"float32", "float64"}:
        return 0.0
    unit = 2.0 ** (-23 if expected.dtype.itemsize == 4 else -52)
    return float(unit * np.abs(expected[np.isfinite(expected)]).max(initial=0.0))


def _difference(
    made: Mapping[str, Array], expected: Sequence[Array], rtol: float, atol: float
) -> str:
    """What differs, by the rule and the tolerance of onnx's own runner; empty where nothing does.

    The least absolute tolerance is one rounding of the largest expected value: what is left of terms of that size
    when they cancel is noise in the expected outputs as well.
    """
    for (name, ours), theirs in zip(made.items(), expected, strict=True):
        if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
            return (
                f"{name} is {ours.dtype}{list(ours.shape)}, not {theirs.dtype}{list(theirs.shape)}"
            )
        found, wanted = (a if a.dtype.kind in "biu" else a.astype(float) for a in (ours, theirs))
        if not np.allclose(found, wanted, rtol, max(atol, _rounding(theirs)), equal_nan=True):
            away = np.abs(found.astype(float) - wanted.astype(float))
            at = np.unravel_index(int(np.nan_to_num(away, nan=np.inf).argmax()), away.shape)
            return f"{name}{[int(i) for i in at]} is {ours[at]}, not {theirs[at]}"
    return ""

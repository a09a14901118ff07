"""Make a peer's file of a float model; runs in whatever environment holds the peer."""

import argparse
import importlib
import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.runtimes import DISTRIBUTIONS

_SECONDS = 200
_PRODUCTS = ["Conv", "MatMul", "Gemm"]


def samples(folder: Path) -> tuple[str, np.ndarray]:
    """The input's name and the calibration samples."""
    with np.load(folder / "calibration.npz") as archive:
        (name,) = archive.files
        return name, archive[name]


def simplified(folder: Path) -> Path:
    """The float model after onnxruntime's basic rewriting: constants folded, which some importers need."""
    file = folder / "simplified.onnx"
    if not file.exists():
        ort = importlib.import_module("onnxruntime")
        onnx = importlib.import_module("onnx")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folder / "simplified.part")
        options.log_severity_level = 3
        model = str(folder / "model.onnx")
        ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        made = onnx.load(folder / "simplified.part")
        used = {node.domain for node in made.graph.node} | {""}
        kept = [o for o in made.opset_import if o.domain in used]
        del made.opset_import[:]
        made.opset_import.extend(kept)
        (folder / "simplified.part").unlink()
        if made.opset_import[0].version < 13:
            made = importlib.import_module("onnx.version_converter").convert_version(made, 13)
        onnx.save(made, file)
    return file


def onnxruntime_int8(folder: Path, file: Path) -> None:
    """QDQ, u8 activations, s8 weights a channel: every operator that can be quantised, or else the products only."""
    quantization = importlib.import_module("onnxruntime.quantization")
    name, values = samples(folder)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        """One sample after the other."""

        def __init__(self) -> None:
            self._rest: Iterator[np.ndarray] = iter(values)

        def get_next(self) -> dict[str, np.ndarray] | None:
            sample = next(self._rest, None)
            return None if sample is None else {name: sample[None]}

    ort = importlib.import_module("onnxruntime")
    sources = (simplified(folder), folder / "model.onnx")
    for source, operators in itertools.product(sources, (None, _PRODUCTS)):
        try:
            quantization.quantize_static(
                str(source),
                str(file),
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=operators,
            )
            ort.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # the next form may be quantised, or the last error is told
            failed = error
        else:
            return
    raise failed


def openvino_float(folder: Path, file: Path) -> None:
    """OpenVINO's own format, weights as they are."""
    ov = importlib.import_module("openvino")
    ov.save_model(
        ov.Core().read_model(str(folder / "model.onnx")), str(file), compress_to_fp16=False
    )


def openvino_int8(folder: Path, file: Path) -> None:
    """Quantised by NNCF."""
    ov, nncf = (importlib.import_module(n) for n in ("openvino", "nncf"))
    model = ov.Core().read_model(str(folder / "model.onnx"))
    values = [[v[None]] for v in samples(folder)[1]]
    kinds = [op.get_type_name() for op in model.get_ops()]
    options: dict[str, Any] = {}
    if kinds.count("Softmax") > 1:
        options["model_type"] = nncf.ModelType.TRANSFORMER
    quantized = nncf.quantize(model, nncf.Dataset(values), subset_size=len(values), **options)
    ov.save_model(quantized, str(file), compress_to_fp16=False)


def iree_float(folder: Path, file: Path) -> None:
    """Compiled for this CPU at -O3."""
    mlir = folder / "iree.mlir"
    programs = Path(sys.executable).parent
    _run(
        sys.executable,
        "-m",
        "iree.compiler.tools.import_onnx",
        str(simplified(folder)),
        "-o",
        str(mlir),
        "--opset-version",
        "17",
    )
    _run(
        str(programs / "iree-compile"),
        str(mlir),
        "-o",
        str(file),
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-target-cpu=host",
        "--iree-opt-level=O3",
    )
    mlir.unlink()


def ncnn_float(folder: Path, file: Path) -> None:
    """Converted by pnnx, without half floats."""
    work = folder / "pnnx"
    work.mkdir(exist_ok=True)
    shutil.copy(simplified(folder), work / "m.onnx")
    shape = ",".join(map(str, (1, *samples(folder)[1].shape[1:])))
    program = Path(sys.executable).parent / "pnnx"
    _run(str(program), "m.onnx", f"inputshape=[{shape}]f32", "fp16=0", folder=work)
    layers = [line.split()[0] for line in (work / "m.ncnn.param").read_text().splitlines()]
    foreign = {x for x in layers if x.startswith(("pnnx.", "aten::", "onnx", "F.", "torch."))}
    if foreign:
        raise RuntimeError(f"ncnn has no {', '.join(sorted(foreign))}")
    shutil.move(work / "m.ncnn.bin", file.with_suffix(".bin"))
    shutil.move(work / "m.ncnn.param", file)
    shutil.rmtree(work)


MAKERS: Mapping[tuple[str, str], Callable[[Path, Path], None]] = {
    ("onnxruntime", "int8"): onnxruntime_int8,
    ("openvino", "float"): openvino_float,
    ("openvino", "int8"): openvino_int8,
    ("ncnn", "float"): ncnn_float,
    ("iree", "float"): iree_float,
}


def installed() -> dict[str, str]:
    """Versions of the peers of this environment."""
    found = {}
    for name, distribution in DISTRIBUTIONS.items():
        try:
            found[name] = version(distribution)
        except PackageNotFoundError:
            continue
    return found


def _run(*command: str, folder: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        lines = [x for x in done.stderr.splitlines() if "error" in x.lower()] or [
            done.stderr[-200:]
        ]
        raise RuntimeError(f"{Path(command[0]).name}: {lines[0].strip()[:200]}")


def main() -> int:
    """Make one file, or with --installed say which peers there are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--installed", action="store_true")
    parser.add_argument("runtime", nargs="?")
    parser.add_argument("precision", nargs="?")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("file", nargs="?", type=Path)
    arguments = parser.parse_args()
    if arguments.installed:
        print(json.dumps(installed()))
    else:
        maker = MAKERS[arguments.runtime, arguments.precision]
        maker(arguments.folder.absolute(), arguments.file.absolute())
    return 0


if __name__ == "__main__":
    sys.exit(main())

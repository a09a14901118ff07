"""The models: where each comes from, and the samples it is timed, calibrated and judged on."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from budgetc.baseline import make_session
from budgetc.model import load_model
from onnx import helper, numpy_helper, version_converter

from benchmarks.machine import ROOT

Floats = npt.NDArray[np.float32]

CALL = "call_overhead"
"""A model of one Relu on 64 numbers: what it takes is what a call takes."""

MADE_UP_ANSWERS = 8
_OPSET = 13
_DRAWN_AT_ONCE = 2**22
_CENTRED_GAIN = 2 / (1 - 1 / math.pi)  # over the variance, not the square, of what a Relu leaves
_LOGITS = 3.0  # standard deviation of what goes into a softmax


@dataclass(frozen=True)
class Case:
    """A model and its samples.

    Attributes:
        file: the model; for a topology of the onnx package, the name of its file there.
        port: name of its only input.
        shape: of a sample, without the batch.
        low: least value of a made-up sample.
        high: greatest value.
        data: folder with labelled samples; None where they are made up.
        calibration: calibration samples that are made up.
    """

    file: Path
    port: str
    shape: tuple[int, ...]
    low: float = -1.0
    high: float = 1.0
    data: Path | None = None
    calibration: int = 64

    @property
    def made(self) -> bool:
        """Whether there is no file with weights: it is made."""
        return not self.file.is_absolute()


@dataclass(frozen=True)
class Prepared:
    """A model in a folder of its own: `model.onnx` with fixed shapes, samples and the float answers.

    `samples.npy` holds what quality is judged on, the first sample is the one that is timed; `samples.bin` is the same
    for C. `calibration.npz`, `labels.npy` where there are labels, and `reference.npz`: each output by its number, one
    row a sample.
    """

    name: str
    folder: Path
    port: str
    shape: tuple[int, ...]

    @property
    def model(self) -> Path:
        """The float model."""
        return self.folder / "model.onnx"

    @property
    def digest(self) -> str:
        """Of the float model and its calibration samples."""
        files = (self.model, self.folder / "calibration.npz")
        return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()[:16]

    def labels(self) -> npt.NDArray[np.int64] | None:
        """Classes of the samples."""
        file = self.folder / "labels.npy"
        return np.load(file) if file.exists() else None


def cases(folder: Path | None) -> Mapping[str, Case]:
    """The models by name; `folder` holds those that this repository does not."""
    models, examples = ROOT / "tests" / "models", ROOT / "specs" / "examples"
    digits, animals = examples / "mnist", examples / "animals"
    found = {
        "japanesevowels_gru": Case(models / "japanesevowels_gru.onnx", "input", (12, 25), -2, 2),
        "animalmnist_dscnn": Case(
            animals / "animalmnist_dscnn.onnx", "input", (1, 28, 28), data=animals
        ),
        "mtcnn_rnet": Case(models / "mtcnn_rnet.onnx", "input_2", (24, 24, 3)),
        "mlperf_tiny_dscnn_kws": Case(
            models / "mlperf_tiny_dscnn_kws.onnx", "input", (50, 10, 1), 0, 225
        ),
        "mnist5k_cnn": Case(digits / "mnist5k_cnn.onnx", "input", (1, 28, 28), data=digits),
        "mlperf_tiny_mobilenet_vww": Case(
            models / "mlperf_tiny_mobilenet_vww.onnx", "input", (96, 96, 3), 0, 255
        ),
        "mlperf_tiny_resnet8_cifar10": Case(
            models / "mlperf_tiny_resnet8_cifar10.onnx", "input", (32, 32, 3)
        ),
    }
    if folder:
        folder = folder.absolute()
        found["mnist5k_vit"] = Case(folder / "mnist5k_vit.onnx", "input", (1, 28, 28), data=digits)
        found["basic_pitch_nmp"] = Case(
            folder / "basic_pitch_nmp.onnx",
            "serving_default_input_2:0",
            (43844, 1),
            calibration=16,
        )
    found[CALL] = Case(Path("nothing.onnx"), "input", (1, 8, 8))
    for name in ("shufflenet", "resnet50"):
        light = Path(f"light_{name}.onnx")
        found[name] = Case(light, "gpu_0/data_0", (3, 224, 224), -2, 2, calibration=16)
    return found


NAMES = tuple(cases(Path()))
"""All of them, in the order of the tables: from little work to much; and the one that does nothing."""


def prepare(name: str, case: Case, folder: Path) -> Prepared:
    """Write what a benchmark of the model needs; what is there already is kept."""
    made = Prepared(name, folder, case.port, case.shape)
    if (folder / "reference.npz").exists():
        return made
    folder.mkdir(parents=True, exist_ok=True)
    source = case.file
    if case.made:
        source = folder / "made.onnx"
        onnx.save(
            nothing() if name == CALL else with_a_winner(randomised(case.file.name), case), source
        )
    loaded = load_model(source, {case.port: (1, *case.shape)})
    made.model.write_bytes(loaded.data)
    if case.data:
        with np.load(case.data / "calibration.npz") as archive:
            calibration = archive[case.port]
        with np.load(case.data / "evaluation.npz") as archive:
            samples, labels = archive[case.port], archive["label"]
        np.save(folder / "labels.npy", labels)
    else:
        calibration = made_up(case, case.calibration, seed=0)
        samples = made_up(case, MADE_UP_ANSWERS, seed=1)
    np.savez(folder / "calibration.npz", **{case.port: calibration})
    samples = np.ascontiguousarray(samples, np.float32)
    np.save(folder / "samples.npy", samples)
    samples.tofile(folder / "samples.bin")
    session = make_session(loaded.data, threads=1)
    rows = [list(session.run({case.port: s[None]}).values()) for s in samples]
    answers: dict[str, Any] = {
        str(i): np.stack([r[i].ravel() for r in rows]) for i in range(len(rows[0]))
    }
    np.savez(folder / "reference.npz", **answers)
    return made


def top1(data: bytes, port: str, samples: Floats, labels: npt.NDArray[np.int64]) -> float:
    """The share of samples that a model with one output puts into their class, in onnxruntime."""
    session = make_session(data, exact_integers=True)
    answers = [next(iter(session.run({port: each[None]}).values())) for each in samples]
    return float((np.array([int(each.argmax()) for each in answers]) == labels).mean())


def made_up(case: Case, count: int, seed: int) -> Floats:
    """Smooth random samples: nearer to pictures than white noise is."""
    random = np.random.default_rng(seed)
    axis = case.shape.index(
        max(case.shape)
    )  # where the picture begins, before or behind its channels
    shape = list(case.shape)
    wide = [i for i in range(axis, min(axis + 2, len(shape))) if shape[i] > 4]
    for i in wide:
        shape[i] = -(-shape[i] // 4)
    values = random.uniform(case.low, case.high, (count, *shape))
    for i in wide:
        values = values.repeat(4, axis=i + 1)
    return values[(slice(None), *map(slice, case.shape))].astype(np.float32)


def nothing() -> onnx.ModelProto:
    """One Relu."""
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, 8, 8])
        for name in ("input", "output")
    ]
    node = helper.make_node("Relu", ["input"], ["output"])
    graph = helper.make_graph([node], "nothing", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def with_a_winner(model: onnx.ModelProto, case: Case) -> onnx.ModelProto:
    """Scale the weights of the last product so that its answers differ as those of trained models do.

    Probabilities that are all but equal would round to nothing in int8, and one that is 1 would hide what is wrong.
    """
    product = [n for n in model.graph.node if n.op_type in {"Conv", "Gemm"}][-1]
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.append(helper.make_empty_tensor_value_info(product.output[0]))
    session = make_session(seen.SerializeToString())
    logits = session.run({case.port: made_up(case, 1, seed=2)})[product.output[0]]
    for tensor in model.graph.initializer:
        if tensor.name == product.input[1]:
            scaled = numpy_helper.to_array(tensor) * np.float32(_LOGITS / logits.std())
            tensor.CopyFrom(numpy_helper.from_array(scaled, tensor.name))
    return model


def randomised(
    file: str, seed: int = 0, opset: int = _OPSET, *, centred: bool = False
) -> onnx.ModelProto:
    """A topology of the onnx package, whose weights are placeholders, with seeded random weights.

    Products keep the variance of their inputs, and the last normalisation before a sum is small, so that activations of
    deep networks stay in range. Good for time, size and agreement; what it answers means nothing.

    Args:
        file: its name there.
        seed: of the weights.
        opset: what the model is converted to; where it is its own, the model stays as it was exported.
        centred: take the mean off each filter. What all positive activations share would grow from layer to layer and
            drown the input where no normalisation takes it away; then every input gets the same answer.
    """
    home = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
    model = onnx.load(home / file)
    if opset != model.opset_import[0].version:
        model = version_converter.convert_version(model, opset)
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    weights: dict[str, npt.NDArray[np.generic]] = {}
    for node in list(graph.node):
        if node.op_type == "ConstantOfShape":
            weights[node.output[0]] = np.zeros(constants[node.input[0]].astype(int), np.float32)
            graph.node.remove(node)
    used = {i for node in graph.node for i in node.input}
    weights |= {n: v for n, v in constants.items() if n in used}
    summed = {i for node in graph.node if node.op_type in {"Sum", "Add"} for i in node.input}
    factors = {i for node in graph.node if node.op_type == "Mul" for i in node.input}
    reshaped = {n.output[0]: n for n in graph.node if n.op_type == "Reshape"}
    random = np.random.default_rng(seed)
    for node in graph.node:
        if node.op_type in {"Conv", "Gemm"}:
            stored = node.input[1]
            shape = tuple(weights[stored].shape) if stored in weights else ()
            if stored in reshaped:
                stored, wanted = reshaped[stored].input
                shape = tuple(constants[wanted])
            gain = _CENTRED_GAIN if centred else 2.0 if node.op_type == "Conv" else 1.0
            drawn = _normal(random, np.sqrt(gain / np.prod(shape[1:])), shape)
            if centred:
                drawn -= drawn.mean(tuple(range(1, len(shape))), keepdims=True)
            weights[stored] = drawn.reshape(weights[stored].shape)
            for bias in node.input[2:]:
                weights[bias] = random.normal(0, 0.02, weights[bias].shape)
        elif node.op_type == "BatchNormalization":
            scale, shift, mean, variance = node.input[1:]
            level = 0.3 if node.output[0] in summed else 1.0
            shape = weights[scale].shape
            weights[scale] = level * random.uniform(0.9, 1.1, shape)
            weights[shift] = random.normal(0, 0.05, shape)
            weights[mean] = random.normal(0, 0.05, shape)
            weights[variance] = random.uniform(0.9, 1.1, shape)
        elif node.op_type == "Unsqueeze":  # of factors and shifts, one for each channel
            shape = weights[node.input[0]].shape
            factor = node.output[0] in factors
            weights[node.input[0]] = (
                random.uniform(0.9, 1.1, shape) if factor else random.normal(0, 0.05, shape)
            )
    inputs = [i for i in graph.input if i.name in used - weights.keys()]
    del graph.initializer[:], graph.input[:]
    graph.input.extend(inputs)
    for name, value in weights.items():
        kept = value if value.dtype.kind == "i" else value.astype(np.float32, copy=False)
        graph.initializer.append(numpy_helper.from_array(kept, name))
    model.ir_version = 8  # since 4, an initializer need not be an input
    return model


def _normal(random: np.random.Generator, spread: float, shape: tuple[int, ...]) -> Floats:
    """Numbers as `random.normal` draws them, without as many of twice the width beside them."""
    drawn = np.empty(math.prod(shape), np.float32)
    for start in range(0, drawn.size, _DRAWN_AT_ONCE):
        part = drawn[start : start + _DRAWN_AT_ONCE]
        part[:] = random.normal(0, spread, part.size)
    return drawn.reshape(shape)

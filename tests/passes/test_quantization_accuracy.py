"""Real models: onnxruntime takes its integer kernels, and little accuracy is lost."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from budgetc_passes.contract import Evidence, PassResult
from budgetc_passes.quantization.static import Quantize
from budgetc_specs.capability import Capability

ROOT = Path(__file__).parents[2]
MNIST = ROOT / "specs/examples/mnist/mnist5k_cnn.onnx"
ANIMALS = ROOT / "specs/examples/animals/animalmnist_dscnn.onnx"
RESNET = ROOT / "tests/models/mlperf_tiny_resnet8_cifar10.onnx"
RNET = ROOT / "tests/models/mtcnn_rnet.onnx"

SHEET = Capability(
    target="host",
    arch="x86_64",
    cpu="x86-64-v3",
    llvm_triple="x86_64-linux-gnu",
    zig_target="x86_64-linux-gnu",
    vector_bytes=32,
    vector_registers=16,
    int8_dot="maddubs256",
    weight_bits=7,
    native=True,
)


def session(
    model: onnx.ModelProto, save: Path | None = None, level: str = "ALL"
) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    if save is not None:
        options.optimized_model_filepath = str(save)
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def folded(path: Path, scratch: Path) -> onnx.ModelProto:
    """The model with batch 1 and its BatchNormalization folded by onnxruntime."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    session(model, scratch / "folded.onnx", "BASIC")
    return onnx.shape_inference.infer_shapes(onnx.load(scratch / "folded.onnx"))


def samples(path: Path, model: onnx.ModelProto) -> list[dict[str, npt.NDArray[np.float32]]]:
    """The calibration data beside a model, or noise of the right shape."""
    value = model.graph.input[0]
    data = path.parent / "calibration.npz"
    if data.exists():
        arrays = np.load(data)["input"][:, None]
    else:
        dims = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        arrays = np.random.default_rng(0).normal(size=(8, *dims)).astype(np.float32)
    return [{value.name: array} for array in arrays]


def quantized(path: Path, scratch: Path, quantize: Quantize) -> tuple[onnx.ModelProto, PassResult]:
    model = folded(path, scratch)
    evidence = Evidence(SHEET, lambda: iter(samples(path, model)))
    result = quantize.run(ir.from_proto(model), evidence)
    proto = ir.to_proto(result.model)
    onnx.checker.check_model(proto, full_check=True)
    return proto, result


def top1(model: onnx.ModelProto, path: Path) -> float:
    data = np.load(path.parent / "evaluation.npz")
    run = session(model).run
    found = [int(run(None, {"input": image[None]})[0].argmax()) for image in data["input"]]
    return float((np.array(found) == data["label"]).mean())


@pytest.mark.parametrize(
    ("path", "integer"),
    [
        (MNIST, {"QLinearConv": 5, "NhwcMaxPool": 2, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
        (RESNET, {"QLinearConv": 9, "QLinearAdd": 3, "QLinearAveragePool": 1, "QGemm": 1}),
        (ANIMALS, {"QLinearConv": 7, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
    ],
    ids=["mnist", "resnet8", "animals"],
)
def test_onnxruntime_forms_its_integer_kernels(
    path: Path, integer: dict[str, int], tmp_path: Path
) -> None:
    model, _ = quantized(path, tmp_path, Quantize())
    session(model, tmp_path / "optimised.onnx")
    operators = [node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node]
    for op_type, count in integer.items():
        assert operators.count(op_type) == count, operators
    # One door in and one out: everything between computes on integers.
    assert operators.count("QuantizeLinear") == operators.count("DequantizeLinear") == 1
    assert not {"Conv", "FusedConv", "Gemm", "Add", "Relu", "Clip", "MaxPool"} & set(operators)


def test_prelu_stays_between_its_convolution_and_the_code(tmp_path: Path) -> None:
    model, result = quantized(RNET, tmp_path, Quantize())
    makers = {name: node for node in model.graph.node for name in node.output}
    prelus = [node for node in model.graph.node if node.op_type == "PRelu"]
    assert len(prelus) == 4
    assert {makers[node.input[0]].op_type for node in prelus} == {"Conv", "Gemm"}
    assert [(note.kind, note.node) for note in result.notes if note.kind == "refused"] == [
        ("refused", "softmax_1")
    ]


@pytest.mark.parametrize("calibration", ["minmax", "percentile", "mse"])
@pytest.mark.parametrize(
    ("path", "most"), [(MNIST, 0.005), (ANIMALS, 0.005)], ids=["mnist", "animals"]
)
def test_the_drop_of_accuracy(path: Path, most: float, calibration: str, tmp_path: Path) -> None:
    before = top1(folded(path, tmp_path), path)
    model, _ = quantized(path, tmp_path, Quantize(calibration=calibration))  # type: ignore[arg-type]
    after = top1(model, path)
    assert before - after <= most, f"top1 {before:.4f} -> {after:.4f}"


def test_the_integer_kernels_compute_what_the_graph_says(tmp_path: Path) -> None:
    # Seven bits of weight keep every 16-bit pair sum exact, also in onnxruntime on AVX2.
    model, _ = quantized(ANIMALS, tmp_path, Quantize())
    (scale,) = (i for i in model.graph.initializer if i.name == "logits_scale")
    level = float(onnx.numpy_helper.to_array(scale))
    integer, by_the_book = session(model), session(model, level="BASIC")
    for image in np.load(ANIMALS.parent / "evaluation.npz")["input"][:50]:
        feed = {"input": image[None]}
        off = np.abs(integer.run(None, feed)[0] - by_the_book.run(None, feed)[0])
        # A sum that lies on a tie may be rounded either way, which moves the result by a level.
        assert off.max() <= 1.01 * level

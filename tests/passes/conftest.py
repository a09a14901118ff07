"""What the tests of passes share: models from text, a pass applied, and a strict comparison."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from budgetc_passes.contract import Evidence, Lessons, Note, Pass
from budgetc_specs.capability import Capability

ROOT = Path(__file__).parents[2]
MODELS = {
    path.stem: path
    for path in sorted(
        [*(ROOT / "tests/models").glob("*.onnx"), *(ROOT / "specs/examples").glob("*/*.onnx")]
    )
}

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Applied:
    """A model before and after a pass."""

    before: onnx.ModelProto
    after: onnx.ModelProto
    modified: bool
    notes: tuple[Note, ...]

    @property
    def ops(self) -> list[str]:
        """Operators of the model afterwards, in order."""
        return [node.op_type for node in self.after.graph.node]

    def node(self, op_type: str) -> onnx.NodeProto:
        """The only node of this operator."""
        (found,) = [node for node in self.after.graph.node if node.op_type == op_type]
        return found

    def constant(self, name: str) -> npt.NDArray[np.generic]:
        """An initializer of the model afterwards."""
        (found,) = [item for item in self.after.graph.initializer if item.name == name]
        return onnx.numpy_helper.to_array(found)

    def refusals(self) -> list[str]:
        """What the pass refused."""
        return [note.text for note in self.notes if note.kind == "refused"]


def parse_model(text: str, opset: int = 17, **constants: npt.ArrayLike) -> onnx.ModelProto:
    """A checked model from ONNX text; inputs named in `constants` become initializers."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> {text}')
    kept = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name, array in constants.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.checker.check_model(model, full_check=True)
    return model


def load_real(name: str) -> onnx.ModelProto:
    """A real model with batch 1 and inferred shapes."""
    model = onnx.load(MODELS[name])
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)


def execute(model: onnx.ModelProto, feeds: Arrays) -> dict[str, npt.NDArray[np.generic]]:
    """Outputs of onnxruntime, every operator as it is written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(feeds)), strict=True))


def random_feeds(model: onnx.ModelProto, seed: int = 0) -> dict[str, npt.NDArray[np.generic]]:
    """Normal numbers for every input."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for value in model.graph.input:
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        dtype = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
        feeds[value.name] = np.asarray(3 * rng.standard_normal(shape)).astype(dtype)
    return feeds


def compare(
    actual: npt.NDArray[np.generic],
    wanted: npt.NDArray[np.generic],
    *,
    terms: int = 1,
    relative: float | None = None,
) -> None:
    """Integers exactly; floats within rounding of a sum of `terms`, relative to the magnitude.

    Args:
        actual: what was computed.
        wanted: what is right.
        terms: length of the longest sum behind an element.
        relative: another tolerance than that of rounding, relative to the largest magnitude.
    """
    assert actual.dtype == wanted.dtype
    assert actual.shape == wanted.shape
    if not np.issubdtype(wanted.dtype, np.floating):
        np.testing.assert_array_equal(actual, wanted)
        return
    tolerance = relative or float(np.finfo(wanted.dtype).eps) * (8 + 2 * terms**0.5)
    scale = float(np.abs(wanted).max(initial=0))
    worst = float(np.abs(actual - wanted).max(initial=0))
    assert worst <= tolerance * scale, f"off by {worst:g}, allowed {tolerance * scale:g}"


def same_function(
    applied: Applied, *, terms: int = 1, relative: float | None = None, seed: int = 0
) -> None:
    """Assert that the model computes afterwards what it computed before."""
    feeds = random_feeds(applied.before, seed)
    wanted, actual = execute(applied.before, feeds), execute(applied.after, feeds)
    assert list(actual) == list(wanted)
    for name, array in wanted.items():
        compare(actual[name], array, terms=terms, relative=relative)


@pytest.fixture(scope="session")
def evidence() -> Evidence:
    """What a pass is told: an AVX2 machine, no samples."""
    sheet = Capability(
        target="test",
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
    return Evidence(sheet)


@pytest.fixture(scope="session")
def apply(evidence: Evidence) -> Callable[..., Applied]:
    """Applies passes in turn to a model and checks the result."""

    def run(model: onnx.ModelProto, *passes: Pass) -> Applied:
        current, modified, notes = ir.from_proto(model), False, ()
        for each in passes:
            result = each.run(current, evidence)
            current = result.model
            modified, notes = modified or result.modified, (*notes, *result.notes)
        after = ir.to_proto(current)
        onnx.checker.check_model(after, full_check=True)
        return Applied(model, after, modified, notes)

    return run


@pytest.fixture(scope="session")
def parse() -> Callable[..., onnx.ModelProto]:
    """`parse_model`."""
    return parse_model


@pytest.fixture(scope="session")
def real() -> Callable[[str], onnx.ModelProto]:
    """`load_real`."""
    return load_real


@pytest.fixture(scope="session")
def same() -> Callable[..., None]:
    """`same_function`."""
    return same_function


@pytest.fixture(scope="session")
def ort() -> Callable[..., dict[str, npt.NDArray[np.generic]]]:
    """`execute`."""
    return execute


def same_in_torch(
    model: onnx.ModelProto, *, inferences: int = 3, relative: float = 1e-5, seed: int = 0
) -> None:
    """Assert that the differentiable form gives onnxruntime's outputs, for several inferences at once.

    Without torch, which an extra installs, the test is skipped.
    """
    torch = pytest.importorskip("torch")
    from budgetc_passes.learning.differentiable import Net

    net = Net(ir.from_proto(model)).eval()
    feeds = [random_feeds(model, seed + at) for at in range(inferences)]
    wanted = [execute(model, feed) for feed in feeds]
    stacked = {name: torch.from_numpy(np.stack([f[name] for f in feeds])) for name in feeds[0]}
    with torch.no_grad():
        made = net(stacked, list(wanted[0]))
    for name in wanted[0]:
        right = np.stack([each[name] for each in wanted])
        compare(made[name].numpy().astype(right.dtype), right, relative=relative)


@pytest.fixture(scope="session")
def in_torch() -> Callable[..., None]:
    """`same_in_torch`."""
    return same_in_torch


@pytest.fixture(params=list(MODELS))
def real_name(request: pytest.FixtureRequest) -> str:
    """Every real model in turn."""
    return str(request.param)


class NoCheckpoint:
    """Keeps nothing, so that every training begins anew."""

    def load(self) -> bytes | None:
        """Nothing."""
        return None

    def save(self, data: bytes) -> None:
        """Forgets it."""


@pytest.fixture
def teach() -> Callable[..., Lessons]:
    """What a model has to learn from: itself as the teacher, samples of its input `x`, and labels if there are any."""

    def make(
        model: onnx.ModelProto,
        x: npt.NDArray[np.float32],
        labels: npt.NDArray[np.generic] | None = None,
    ) -> Lessons:
        return Lessons(
            teacher=ir.from_proto(model),
            samples=lambda: ({"x": each} for each in x),
            labels=labels,
            augmentations=(),
            seed=0,
            seconds=60.0,
            checkpoint=NoCheckpoint(),
            say=lambda _: None,
        )

    return make

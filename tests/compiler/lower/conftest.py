"""ONNX text in, a graph or a real library out: what the tests of lowering share."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from budgetc.baseline import make_session
from budgetc.build import link_produced
from budgetc.load import LoadedModel
from budgetc.lower.generated import GENERATED_FILE
from budgetc.lower.graph import Graph
from budgetc.lower.importer import import_model
from budgetc.lower.lower import prepare_for
from budgetc.lower.lowered import Lowered
from budgetc.lower.steps import Steps
from budgetc.lower.walk import walk
from budgetc.model import Model, parse_model
from budgetc.produce import produce
from budgetc.registry import find_target
from budgetc.verification.agreement import Agreement, compare
from budgetc.verification.rounding import bound, longest_sum
from budgetc_passes.contract import Evidence
from budgetc_passes.quantization.static import Quantize
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family
from onnx import numpy_helper, parser
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[np.generic]


def parse(text: str, opset: int = 17, **weights: Array) -> onnx.ModelProto:
    """A model of the text of a graph, `name (inputs) => (outputs) {nodes}`; weights are initializers."""
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in weights.items())
    return model


def random_weights(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def random_inputs(model: Model, seed: int = 1) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for port in model.inputs:
        dtype = np.dtype(port.dtype)
        drawn = random.standard_normal(port.shape) if dtype.kind == "f" else None
        if drawn is None:
            low, high = (0, 2) if dtype.kind == "b" else (0, 5)
            if dtype.kind in "iu" and dtype.itemsize == 1:  # codes, where others may be indices
                low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
            drawn = random.integers(low, high, port.shape)
        made[port.name] = np.asarray(drawn).astype(dtype).reshape(port.shape)
    return made


@dataclass(frozen=True)
class Library:
    """A model as a loaded native library, and the call list behind it."""

    model: Model
    lowered: Lowered
    run: LoadedModel
    folder: Path

    @property
    def generated(self) -> str:
        """The text of the C file for nodes without kernels; empty where there is none."""
        file = self.folder / GENERATED_FILE
        return file.read_text() if file.exists() else ""

    @property
    def kernels(self) -> list[str]:
        """The kind of each call, such as `convolution` or `foreign`."""
        return [re.sub(r"_[0-9a-f]{12}$|[_0-9]+$", "", c.kernel) for c in self.lowered.calls]


@pytest.fixture(scope="session")
def host() -> Capability:
    return find_target("host").capability(None, 1)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., onnx.ModelProto]:
    """Makes an ONNX model: `make_model(text, opset=17, **weights)`."""
    return parse


@pytest.fixture(scope="session")
def weights() -> Callable[..., Array]:
    """Makes f32 weights: `weights(*shape, seed=0)`."""
    return random_weights


@pytest.fixture(scope="session")
def inputs_of() -> Callable[..., dict[str, Array]]:
    """Random inputs of a model: `inputs_of(model, seed)`."""
    return random_inputs


@pytest.fixture(scope="session")
def make_graph() -> Callable[..., Graph]:
    """Makes a lowering graph of ONNX text, normalised as the loader does it."""

    def make(text: str, opset: int = 17, **weights: Array) -> Graph:
        proto = parse(text, opset, **weights)
        return import_model(parse_model(proto.SerializeToString(), "test.onnx").data)

    return make


@pytest.fixture(scope="session")
def build_library(
    tmp_path_factory: pytest.TempPathFactory, zig_cache: Path, host: Capability
) -> Callable[..., Library]:
    """Lowers and links a model: `build_library(proto, threads=1)`, or for other fields of the sheet."""

    def build(proto: onnx.ModelProto, threads: int = 1, **fields: object) -> Library:
        folder = tmp_path_factory.mktemp("lower")
        sheet = host.model_copy(update={"threads": threads, **fields})
        model = parse_model(proto.SerializeToString(), "test.onnx")
        (folder / "optimised.onnx").write_bytes(model.data)
        produce(
            model=str(folder / "optimised.onnx"),
            kind="host",
            capability=sheet.model_dump(mode="json"),
            trials=0,
            records=str(folder / "records"),
            folder=str(folder),
        )
        linked = link_produced(folder, "net", sheet, "shared", zig_cache / "zig")
        return Library(model, linked.lowered, LoadedModel(folder, linked.interface), folder)

    return build


def agreement(ours: Mapping[str, Array], theirs: Mapping[str, Array], terms: int) -> Agreement:
    """Strict: whole numbers exactly, reals to some roundings for each of the terms summed."""

    def samples(outputs: Mapping[str, Array]) -> dict[str, Array]:
        return {name: np.asarray(value)[None] for name, value in outputs.items()}

    return compare(samples(ours), samples(theirs), tolerance=bound(terms))


@pytest.fixture(scope="session")
def check_float(build_library: Callable[..., Library]) -> Callable[..., Library]:
    """Builds a model and compares it with onnxruntime, and with onnx's own evaluator on request.

    `check_float(text, opset=17, terms=0, reference=False, threads=1, **weights)`; `terms` are summed
    on the way to an output besides those of convolutions and products.
    """

    def check(
        text: str,
        opset: int = 17,
        *,
        terms: int = 0,
        reference: bool = False,
        threads: int = 1,
        **weights: Array,
    ) -> Library:
        proto = parse(text, opset, **weights)
        library = build_library(proto, threads)
        inputs = random_inputs(library.model)
        ours = library.run(inputs)
        total = terms + longest_sum(onnx.load_model_from_string(library.model.data))
        theirs = make_session(proto.SerializeToString()).run(inputs)
        for name, value in theirs.items():
            assert ours[name].dtype == np.asarray(value).dtype, name
            assert ours[name].shape == np.asarray(value).shape, name
        found = agreement(ours, theirs, total)
        assert found.agrees, str(found)
        again = library.run(inputs)
        assert all(np.array_equal(ours[n], again[n], equal_nan=True) for n in ours), (
            "a call left something behind"
        )
        if reference:
            values = ReferenceEvaluator(proto).run(None, inputs)
            names = [o.name for o in proto.graph.output]
            found = agreement(ours, dict(zip(names, values, strict=True)), total)
            assert found.agrees, str(found)
        return library

    return check


@pytest.fixture(scope="session")
def quantised(host: Capability) -> Callable[..., onnx.ModelProto]:
    """Quantises a model by the pass: `quantised(text, opset=17, options={}, **weights)`."""

    def quantise(
        text: str,
        opset: int = 17,
        options: Mapping[str, object] | None = None,
        **weights: Array,
    ) -> onnx.ModelProto:
        model = parse_model(parse(text, opset, **weights).SerializeToString(), "test.onnx")
        samples = [random_inputs(model, seed) for seed in range(8)]
        evidence = Evidence(host, lambda: samples)
        made = Quantize(**(options or {})).run(
            ir.from_proto(onnx.load_model_from_string(model.data)), evidence
        )
        assert made.modified
        return ir.to_proto(made.model)

    return quantise


@pytest.fixture(scope="session")
def check_exact(build_library: Callable[..., Library]) -> Callable[..., Library]:
    """Builds a quantised model and compares every element with onnxruntime's: `check_exact(proto)`."""

    def check(proto: onnx.ModelProto, inputs: int = 4) -> Library:
        library = build_library(proto)
        oracle = make_session(proto.SerializeToString(), exact_integers=True)
        for seed in range(100, 100 + inputs):
            feed = random_inputs(library.model, seed)
            ours, theirs = library.run(feed), oracle.run(feed)
            for name, value in theirs.items():
                np.testing.assert_array_equal(ours[name], value, err_msg=name, strict=True)
        return library

    return check


@pytest.fixture
def walked(make_model: Callable[..., onnx.ModelProto], host: Capability) -> Callable[..., Steps]:
    """The steps of a graph: `walked(text, threads=1, families=None, **weights)`."""

    def make(
        text: str,
        threads: int = 1,
        families: Sequence[Family] | None = None,
        **weights: Array,
    ) -> Steps:
        model = parse_model(make_model(text, **weights).SerializeToString(), "test.onnx")
        sheet = host.model_copy(update={"threads": threads})
        chosen = find_target("host").families() if families is None else families
        return walk(prepare_for(model.data, sheet, chosen), sheet, chosen)

    return make

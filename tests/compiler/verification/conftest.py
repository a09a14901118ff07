"""Libraries of parts of a model, built in this process: what the tests of verification share."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from budgetc.baseline import make_session
from budgetc.build import link_produced
from budgetc.measure.harness import Harness, build_harness
from budgetc.model import Model, parse_model
from budgetc.produce import produce
from budgetc.registry import find_target
from budgetc.verification.oracle import Array, Arrays, outputs_of
from budgetc.verification.verifier import Run, Verifier
from onnx import numpy_helper, parser

FAULTY = Path(__file__).parents[2] / "faulty_plugin"

MakeModel = Callable[..., Model]
Change = Callable[[Array], Array]
Build = Callable[..., AbstractContextManager[Run]]


@pytest.fixture(scope="session")
def make_model() -> MakeModel:
    """A checked model of ONNX text: `make_model(text, opset=17, **weights)`."""

    def make(text: str, opset: int = 17, **weights: object) -> Model:
        proto = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}')
        proto.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in weights.items())
        return parse_model(proto.SerializeToString(), "test.onnx")

    return make


@pytest.fixture(scope="session")
def differing() -> Callable[[Model, Change], Verifier]:
    """A verifier of a library that is onnxruntime with something changed: `differing(model, change)`."""

    def differing(model: Model, change: Change) -> Verifier:
        session = make_session(model.data)

        def run(inputs: Arrays) -> Arrays:
            found = outputs_of(session.run, inputs, model.inputs)
            return {n: change(v).reshape(-1, *v.shape[2:]) for n, v in found.items()}

        return Verifier(model, run)

    return differing


@pytest.fixture
def build(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Build:
    """A library at work: `with build(model, kind="host") as run: run(stacked)`."""

    @contextmanager
    def build(model: Model, kind: str = "host") -> Iterator[Run]:
        folder = tmp_path_factory.mktemp("part")
        sheet = find_target("host").capability(None, 1).model_copy(update={"target": kind})
        (folder / "optimised.onnx").write_bytes(model.data)
        produce(
            model=str(folder / "optimised.onnx"),
            kind=kind,
            capability=sheet.model_dump(mode="json"),
            trials=0,
            records=str(folder / "records"),
            folder=str(folder),
        )
        linked = link_produced(folder, "net", sheet, "shared", zig_cache / "zig")
        program = str(build_harness(sheet, zig_cache))
        with Harness([program], linked.interface, linked.library) as harness:
            yield harness.run

    return build


@pytest.fixture
def faulty(build: Build, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Build]:
    """Builds with a fault in one family: `faulty("convolution first")`, then as `build`."""
    monkeypatch.syspath_prepend(FAULTY)

    def choose(fault: str) -> Build:
        monkeypatch.setenv("BUDGETC_FAULT", fault)
        return lambda model: build(model, "faulty")

    return choose

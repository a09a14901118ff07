"""A small network as a job: predicted, built and timed by the tests of prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from budgetc.build import Built, Job, Optimised, build
from budgetc.emit.link import Kind
from budgetc.model import Model, parse_model
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import parse_recipe
from onnx import numpy_helper, parser

NETWORK = """<ir_version: 9, opset_import: ["": 17]>
g (float[1,3,16,16] x) => (float[1,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, v)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w)
    d = Exp(c)
    e = Flatten(d)
    y = Gemm(e, u)
}"""


def network(channels: int) -> Model:
    model, random = parser.parse_model(NETWORK), np.random.default_rng(0)
    shapes = {"v": (channels, 3, 3, 3), "w": (8, channels, 3, 3), "u": (8 * 64, 10)}
    for name, shape in shapes.items():
        weight = random.standard_normal(shape).astype(np.float32) / 9
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    return parse_model(model.SerializeToString(), "small.onnx")


@dataclass(frozen=True)
class Small:
    """A job and a way to build it."""

    job: Job
    optimised: Optimised
    folder: Path

    def build(self) -> Built:
        """The library, in the folder."""
        return build(self.job, self.optimised, self.folder, lambda _: None)


@pytest.fixture(scope="session")
def host() -> Capability:
    return find_target("host").capability(None, 1)


@pytest.fixture
def small(tmp_path: Path, host: Capability) -> Callable[..., Small]:
    """Makes the job: `small(channels=16, library="shared", kind="host", capability=None)`."""

    def make(
        channels: int = 16,
        library: Kind = "shared",
        kind: str = "host",
        capability: Capability | None = None,
    ) -> Small:
        model = network(channels)
        folder = tmp_path / f"{channels}-{library}-{kind}"
        folder.mkdir()
        job = Job(
            model=model,
            model_file=folder / "model.onnx",
            calibration=None,
            kind=kind,
            capability=capability or host,
            name="small",
            library=library,
            records=tmp_path / "records",
            kernels=tmp_path / "kernels",
            timings=tmp_path / "timings",
        )
        return Small(job, Optimised(parse_recipe("clean"), model, ()), folder)

    return make


@pytest.fixture
def threaded(host: Capability) -> Capability:
    """The host's sheet for two threads."""
    return host.model_copy(update={"threads": 2})

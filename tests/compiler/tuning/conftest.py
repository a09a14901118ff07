"""Kernels to tune: those of a small network, on this machine's sheet."""

import numpy as np
import pytest
from budgetc.lower.lower import lower
from budgetc.lower.points import Work, default_point, one_by_one
from budgetc.model import parse_model
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from onnx import numpy_helper, parser

NETWORK = """<ir_version: 9, opset_import: ["": 17]>
g (float[1,16,24,24] x) => (float[1,32,24,24] y) {
    a = Conv<pads=[2,2,2,2]>(x, v)
    b = Conv<pads=[2,2,2,2]>(a, w)
    c = Relu(b)
    y = Conv(c, u)
}"""


@pytest.fixture(scope="session")
def sheet() -> Capability:
    return find_target("host").capability(None, 1)


@pytest.fixture(scope="session")
def works(sheet: Capability) -> list[Work]:
    """A 5x5 convolution, another one with a Relu behind it, and one of 1x1."""
    model, random = parser.parse_model(NETWORK), np.random.default_rng(0)
    for name, shape in (("v", (16, 16, 5, 5)), ("w", (16, 16, 5, 5)), ("u", (32, 16, 1, 1))):
        weight = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(weight, name))
    found: list[Work] = []

    def choose(asked):
        found.extend(asked)
        return one_by_one(default_point(sheet))(asked)

    data = parse_model(model.SerializeToString(), "test.onnx").data
    lower([data], find_target("host"), sheet, choose)
    convolutions = [work for work in found if work.task.kind == "convolution"]
    assert len(convolutions) == 3
    return convolutions

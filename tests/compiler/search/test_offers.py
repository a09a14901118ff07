"""Asking pass classes what they offer: what parts weigh, and what becomes of classes that fail."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import pytest
from budgetc.search import offers
from budgetc.search.offers import list_offers
from budgetc_passes.contract import PassError
from budgetc_passes.offer import Offer, Part
from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_

TEXT = """
<ir_version: 8, opset_import: ["": 17]>
g (float[2,4,6,6] x, float[2,3] z) => (float[2,5] y, float[2,7] m)
{
  [conv] a = Conv <group = 2, pads = [1,1,1,1], strides = [2,2]> (x, w, b)
  [relu] r = Relu (a)
  [pool] p = GlobalAveragePool (r)
  [flat] f = Flatten (p)
  [gemm] y = Gemm <transB = 1> (f, d)
  [matmul] m = MatMul (z, v)
}
"""
SHAPES = {"w": (8, 2, 3, 3), "b": (8,), "d": (5, 8), "v": (3, 7)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    proto = onnx.parser.parse_model(TEXT)
    random = np.random.default_rng(0)
    for name, shape in SHAPES.items():
        array = random.standard_normal(shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    file = tmp_path / "model.onnx"
    file.write_bytes(proto.SerializeToString())
    return file


def ask(model: Path, sheet: Capability) -> dict[str, dict]:
    found = list_offers(
        str(model), "test", sheet.model_dump(mode="json"), "clean | fuse | clean", calibrated=True
    )
    return {
        family["name"]: {choice["name"]: choice for choice in family["choices"]}
        for family in found["families"]
    } | {"notes": found["notes"]}


def test_what_parts_weigh(model: Path, avx2: Capability) -> None:
    quantize = ask(model, avx2)["quantize"]
    weights = {name: (c["parameters"], c["float_bytes"], c["macs"]) for name, c in quantize.items()}
    assert weights == {
        "conv": (8 * 18 + 8, 4 * (8 * 18 + 8), 2 * 8 * 3 * 3 * 18),
        "gemm": (40, 160, 2 * 5 * 8),
        "matmul": (21, 84, 2 * 7 * 3),
    }


class Fake:
    """The least that the search asks a class for."""

    name: ClassVar[str] = "fake"
    stage: ClassVar[str] = "codes"

    @classmethod
    def offer(cls, model: object, capability: object) -> object:
        raise NotImplementedError

    @classmethod
    def step(cls, levels: object, options: object) -> None:
        return None


def standing_in(monkeypatch: pytest.MonkeyPatch, offer: object) -> None:
    def made(*_: object) -> object:
        if isinstance(offer, Exception):
            raise offer
        return offer

    kind = type("Kind", (Fake,), {"offer": made})
    monkeypatch.setattr(offers, "find_searchable", lambda: ({"quantize": kind}, ("gone",)))


def test_a_refusal_is_a_note(model: Path, avx2: Capability, monkeypatch) -> None:
    standing_in(monkeypatch, PassError("no such luck"))
    assert ask(model, avx2) == {"notes": ["gone", "quantize offers nothing: no such luck"]}


def test_without_parts_a_family_is_left_out(model: Path, avx2: Capability, monkeypatch) -> None:
    standing_in(monkeypatch, Offer())
    assert ask(model, avx2) == {"notes": ["gone"]}


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (None, "it returned NoneType, not an Offer"),
        (
            Offer((Part("a", (0, 1), ("conv", "nowhere"), 3),)),
            "its part 'a' has no node 'nowhere' in the model",
        ),
    ],
)
def test_a_class_that_fails_is_named_with_its_owner(
    offer: object, message: str, model: Path, avx2: Capability, monkeypatch
) -> None:
    standing_in(monkeypatch, offer)
    with pytest.raises(EnvironmentError_, match=message) as caught:
        ask(model, avx2)
    assert "static:Quantize of budgetc fails" in caught.value.message

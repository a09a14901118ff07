"""Which tensors end up with the same code."""

import onnx_ir as ir
import pytest
from budgetc_passes.calibration import MinMax
from budgetc_passes.quantization.opset import prepared
from budgetc_passes.quantization.placement import place
from budgetc_passes.quantization.ranges import Affine, Range, affine_u8
from budgetc_passes.quantization.sharing import codes, statistics

CONSTANTS = """
float[4,4] w = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16}, float[4] b = {1,2,3,4},
float[1,4] k = {-9,0,0,20}, float lo = {0}, float hi = {6},
int64[4] pads = {0,1,0,1}, float fill = {-2}
"""


def shared(body: str, observed: dict[str, Range]) -> dict[str, Affine]:
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    agraph (float[1,4] x) => (float[1,N] out)
    <{CONSTANTS}>
    {{ {body} }}
    """
    placement = place(prepared(ir.from_onnx_text(text)).graph)
    wanted = statistics(placement, MinMax())
    assert set(wanted) == set(observed)
    return {value.name or "": code for value, code in codes(placement, observed).items()}


def test_a_carrier_has_the_code_of_its_input() -> None:
    found = shared(
        "h = Gemm(x, w) f = Flatten(h) out = Transpose(f)", {"x": Range(0, 1), "h": Range(-1, 2)}
    )
    assert found["out"] == found["f"] == found["h"] == affine_u8(Range(-1, 2))


@pytest.mark.parametrize(
    ("pad", "expected"),
    [
        ("Pad(x, pads)", Range(0, 3)),
        ("Pad(x, pads, fill)", Range(-2, 3)),
        ('Pad <mode = "edge"> (x, pads, fill)', Range(1, 3)),
    ],
)
def test_padding_widens_the_code_by_its_fill_value(pad: str, expected: Range) -> None:
    found = shared(f"p = {pad} out = MatMul(p, p)", {"x": Range(1, 3), "out": Range(0, 1)})
    assert found["x"] == found["p"] == affine_u8(expected)


def test_the_inputs_of_a_concat_share_the_union() -> None:
    found = shared(
        "h = Gemm(x, w) g = Gemm(x, w) out = Concat <axis=1> (h, g, k)",
        {"x": Range(0, 1), "h": Range(-1, 2), "g": Range(0, 5)},
    )
    assert found["h"] == found["g"] == found["k"] == found["out"] == affine_u8(Range(-9, 20))


def test_concats_of_concats_share_too() -> None:
    found = shared(
        "h = Gemm(x, w) g = Gemm(x, w) c = Concat <axis=1> (h, g) f = Flatten(c)"
        " i = Gemm(x, w) out = Concat <axis=1> (f, i)",
        {"x": Range(0, 1), "h": Range(-1, 2), "g": Range(0, 5), "i": Range(0, 9)},
    )
    assert len({found[name] for name in ("h", "g", "c", "f", "i", "out")}) == 1


def test_an_input_keeps_its_own_code_if_its_relu_would_come_back() -> None:
    found = shared(
        "h = Gemm(x, w) r = Relu(h) g = Gemm(x, w) out = Concat <axis=1> (r, g)",
        {"x": Range(0, 1), "r": Range(0, 2), "g": Range(-1, 5)},
    )
    assert found["r"] == affine_u8(Range(0, 2))
    assert found["g"] == found["out"] == affine_u8(Range(-1, 5))


def test_relus_share_among_themselves() -> None:
    found = shared(
        "h = Gemm(x, w) r = Relu(h) g = Gemm(x, w) s = Clip(g, lo, hi)"
        " out = Concat <axis=1> (r, s)",
        {"x": Range(0, 1), "r": Range(0, 2), "s": Range(0, 6)},
    )
    assert found["r"] == found["s"] == found["out"] == affine_u8(Range(0, 6))

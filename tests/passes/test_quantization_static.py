"""The quantize pass as a whole: its options, what it refuses, what it hands back."""

from collections.abc import Iterable
from importlib.metadata import entry_points

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.contract import Evidence, Needs, Pass, PassError, Sample
from budgetc_passes.offer import Offer, Part
from budgetc_passes.quantization.static import Quantize
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Value

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
agraph (float[1,3] x) => (float[1,2] out)
<float[3,2] w = {1,-2,3,-4,5,6}, float[2] b = {0.5,-0.5}>
{
  [dense] h = Gemm(x, w, b)
  [act] r = Relu(h)
  [head] g = Gemm(r, square)
  [softmax] out = Softmax(g)
}
""".replace("float[2] b", "float[2,2] square = {1,0.5,-0.5,1}, float[2] b")


def capability(weight_bits: int) -> Capability:
    return Capability.model_validate(
        {
            "target": "host",
            "arch": "x86_64",
            "cpu": "x86-64-v3",
            "llvm_triple": "x86_64-linux-gnu",
            "zig_target": "x86_64-linux-gnu",
            "vector_bytes": 32,
            "vector_registers": 16,
            "int8_dot": "maddubs256",
            "weight_bits": weight_bits,
            "native": True,
        }
    )


def evidence(weight_bits: int = 8, samples: Iterable[Sample] | None = None) -> Evidence:
    rng = np.random.default_rng(0)
    made = [{"x": rng.normal(size=(1, 3)).astype(np.float32)} for _ in range(16)]
    kept = made if samples is None else list(samples)
    return Evidence(capability(weight_bits), lambda: iter(kept))


def model() -> ir.Model:
    return ir.from_onnx_text(MODEL)


def widest_weight(found: ir.Model) -> int:
    values = (value.const_value for value in found.graph.initializers.values())
    arrays = [v.numpy() for v in values if v is not None and v.dtype == ir.DataType.INT8]
    return max(int(np.abs(array.astype(int)).max()) for array in arrays)


def scales(found: ir.Model) -> dict[str, float]:
    return {
        name: float(value.const_value.numpy())
        for name, value in found.graph.initializers.items()
        if name.endswith("_scale") and value.const_value is not None and value.const_value.size == 1
    }


def test_it_is_a_pass_that_asks_for_calibration() -> None:
    assert isinstance(Quantize(), Pass)
    assert Quantize().needs() == Needs(calibration=True)
    (entry,) = entry_points(group="budgetc.passes", name="quantize")
    assert entry.load() is Quantize


def test_the_head_is_quantised_and_its_softmax_is_not() -> None:
    result = Quantize().run(model(), evidence())
    assert result.modified
    operators = [node.op_type for node in result.model.graph]
    assert operators.count("QuantizeLinear") == 3
    assert operators[-1] == "Softmax"
    assert "Relu" not in operators
    refused = [note for note in result.notes if note.kind == "refused"]
    assert [note.node for note in refused] == ["softmax"]


def test_a_float_head_has_no_code_behind_it() -> None:
    result = Quantize(output="float").run(model(), evidence())
    operators = [node.op_type for node in result.model.graph]
    assert operators.count("QuantizeLinear") == 2
    assert operators[-2:] == ["Gemm", "Softmax"]
    assert any("result stays float32" in note.text for note in result.notes)


@pytest.mark.parametrize(
    ("option", "sheet", "widest"), [(0, 7, 64), (0, 8, 127), (7, 8, 64), (8, 7, 127)]
)
def test_the_width_of_weights_is_the_sheet_s_unless_given(
    option: int, sheet: int, widest: int
) -> None:
    result = Quantize(weight_bits=option).run(model(), evidence(sheet))
    assert widest_weight(result.model) == widest


def test_one_scale_a_tensor() -> None:
    result = Quantize(per="tensor").run(model(), evidence())
    assert "w_scale" in scales(result.model)
    assert "w_scale" not in scales(Quantize().run(model(), evidence()).model)


def test_the_statistics_give_different_ranges() -> None:
    rng = np.random.default_rng(0)
    samples = [{"x": rng.laplace(size=(1, 3)).astype(np.float32)} for _ in range(2000)]
    found = {
        quantize: scales(quantize.run(model(), evidence(samples=samples)).model)["x_scale"]
        for quantize in (
            Quantize(),
            Quantize(calibration="percentile", percentile=99.0),
            Quantize(calibration="percentile", percentile=95.0),
            Quantize(calibration="mse"),
        )
    }
    minmax, central, narrower, least_error = found.values()
    assert narrower < central < minmax
    assert least_error < minmax


def test_skipped_nodes_stay_float() -> None:
    result = Quantize(skip=" head ; act").run(model(), evidence())
    assert {note.node for note in result.notes if note.kind == "refused"} == {
        "act",
        "head",
        "softmax",
    }
    head = next(node for node in result.model.graph if node.name == "head")
    assert head.inputs[0] is not None
    producer = head.inputs[0].producer()
    assert producer is not None
    assert producer.op_type == "Relu"


def test_a_misspelt_skip_is_an_error_with_a_hint() -> None:
    with pytest.raises(PassError, match=r"names 'heda'.*did you mean 'head'"):
        Quantize(skip="heda").run(model(), evidence())


def test_what_is_offered() -> None:
    offer = Quantize.offer(model(), capability(8))
    calibrations = ("minmax", "mse", "percentile")
    assert offer.options == {"calibration": calibrations}
    narrow = Quantize.offer(model(), capability(7))
    assert narrow.options == {"calibration": calibrations, "weight_bits": (0, 8)}
    assert narrow.parts == offer.parts
    assert offer.parts == (
        Part("dense", ("float", "int8"), ("dense", "act"), 8),
        Part("head", ("float", "int8"), ("head",), 4),
    )


def test_a_model_that_is_quantised_offers_nothing() -> None:
    once = Quantize().run(model(), evidence()).model
    assert Quantize.offer(once, capability(8)) == Offer()


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({"dense": "float", "head": "float"}, None),
        ({"dense": "int8", "head": "int8"}, "quantize{calibration=mse,output=float}"),
        ({"dense": "int8", "head": "float"}, "quantize{calibration=mse,output=float,skip=head}"),
        (
            {"a": "float", "b;c": "float", "d": "int8"},
            'quantize{calibration=mse,output=float,skip="a;b\\\\;c"}',
        ),
    ],
)
def test_levels_become_a_step(levels: dict[str, Value], text: str | None) -> None:
    step = Quantize.step(levels, {"calibration": "mse", "weight_bits": 0})
    assert (str(step) if step else None) == text


def test_weights_wider_than_the_dot_product_likes_are_said() -> None:
    step = Quantize.step({"dense": "int8"}, {"calibration": "minmax", "weight_bits": 8})
    assert str(step) == "quantize{calibration=minmax,output=float,weight_bits=8}"


def test_a_name_that_holds_a_semicolon_can_be_skipped() -> None:
    found = model()
    next(node for node in found.graph if node.name == "head").name = "head;1"
    result = Quantize(skip="head\\;1").run(found, evidence())
    assert [n.text for n in result.notes if n.node == "head;1"] == [
        "Gemm stays float: named in `skip`"
    ]


def test_a_node_without_a_name_is_skipped_by_its_label() -> None:
    found = model()
    next(node for node in found.graph if node.name == "head").name = None
    result = Quantize(skip="Gemm(g)").run(found, evidence())
    assert "Gemm stays float: named in `skip`" in [note.text for note in result.notes]


def test_ranges_are_measured_once_for_each_tensor_and_statistic() -> None:
    given = evidence()
    streams = 0

    def counted() -> Iterable[Sample]:
        nonlocal streams
        streams += 1
        return given.calibration()

    shared = Evidence(given.capability, counted)
    whole = scales(Quantize().run(model(), shared).model)
    assert streams == 1
    partial = scales(Quantize(skip="head").run(model(), shared).model)
    assert streams == 1
    assert partial["x_scale"] == whole["x_scale"]
    Quantize(calibration="mse").run(model(), shared)
    assert streams == 2


def test_a_model_without_products_is_left_as_it_was() -> None:
    text = '<ir_version: 8, opset_import: ["": 17]> g (float[1] x) => (float[1] y) { y = Relu(x) }'
    plain = ir.from_onnx_text(text)
    result = Quantize().run(plain, evidence())
    assert result.model is plain
    assert not result.modified
    assert result.notes[-1].text == "no product or recurrent layer can be quantised: left as it was"


def test_no_samples_is_an_error() -> None:
    with pytest.raises(PassError, match="no calibration samples"):
        Quantize().run(model(), evidence(samples=[]))


def test_a_model_that_is_quantised_stays_as_it_is() -> None:
    once = Quantize().run(model(), evidence()).model
    again = Quantize().run(once, evidence(samples=[]))
    assert again.model is once
    assert not again.modified
    (note,) = again.notes
    assert note.kind == "refused"
    assert note.text.startswith("the model is quantised already, as this")


def test_the_same_input_gives_the_same_bytes() -> None:
    first, second = (
        ir.to_proto(Quantize().run(model(), evidence()).model).SerializeToString(deterministic=True)
        for _ in range(2)
    )
    assert first == second


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 4}, "bits=4 is not supported yet; 8 is"),
        ({"weight_bits": 6}, "weight_bits=6; it is 7 or 8"),
        ({"per": "row"}, r'per is "row"; it is "channel" or "tensor"'),
        ({"calibration": "kl"}, 'calibration is "kl"; it is "minmax", "percentile" or "mse"'),
        ({"output": "int8"}, 'output is "int8"; it is "quantized" or "float"'),
        ({"percentile": 100.5}, "percentile is 100.5"),
    ],
)
def test_options_out_of_bounds(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Quantize(**options)  # type: ignore[arg-type]

"""What calls say of themselves: bits, zeros, bytes, and the same form for what takes the same time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from budgetc.lower.layers import form_digest
from budgetc.lower.lower import lower
from budgetc.lower.lowered import Layer, Lowered
from budgetc.model import parse_model
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_targets.expression import SLOTS, Const, Number, Ref, apply
from budgetc_targets.task import Access, Task

LINE = Access("float32", (64,), (1,))


def layers_of(model: onnx.ModelProto, host: Capability) -> Lowered:
    data = parse_model(model.SerializeToString(), "test.onnx").data
    return lower([data], find_target("host"), host).lowered


def test_a_layer_for_each_call(
    make_model: Callable[..., Any], weights: Callable[..., Any], host: Capability
) -> None:
    w = weights(8, 4, 3, 3)
    w[:2] = 0
    text = "g (float[1,4,6,6] x) => (float[1,8,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    lowered = layers_of(make_model(text, w=w), host)
    assert [layer.kernel for layer in lowered.layers] == [call.kernel for call in lowered.calls]
    assert [layer.macs for layer in lowered.layers] == [call.macs for call in lowered.calls]
    (layer,) = (each for each in lowered.layers if each.macs)
    assert (layer.bits, layer.sparsity) == (32, 0.25)
    assert layer.macs == 8 * 4 * 9 * 36
    assert layer.work >= layer.macs
    assert layer.weight_bytes >= w.nbytes
    assert layer.moved > layer.weight_bytes
    assert Lowered.from_json(lowered.to_json()).layers == lowered.layers


def test_a_foreign_node_goes_by_its_operator(
    make_model: Callable[..., Any], host: Capability
) -> None:
    text = "g (float[4,6] x) => (float[4,6] y) { y = CumSum(x, axis) }"
    model = make_model(text, axis=np.array(1))
    (layer,) = (each for each in layers_of(model, host).layers if each.operator == "CumSum")
    assert layer.moved >= 2 * 4 * 6 * 4
    assert layer.form
    assert Layer.from_json(vars(layer)) == layer


def test_what_is_computed_besides_products_counts_by_its_instructions(
    make_model: Callable[..., Any], weights: Callable[..., Any], host: Capability
) -> None:
    """For each output of a product, with what is fused into it; for each element that a softmax reads."""
    text = "g (float[8,32] x) => (float[8,48] y) { m = MatMul(x, w) %s y = Softmax(e) }"
    found = {}
    for function in ("Relu", "Erf"):
        model = make_model(text % f"e = {function}(m)", w=weights(32, 48))
        layers = layers_of(model, host).layers
        found[function] = sum(layer.slots for layer in layers)
        assert any(layer.operator == "softmax" and layer.slots >= 8 * 48 * 40 for layer in layers)
    assert found["Erf"] - found["Relu"] == 8 * 48 * (SLOTS["erf"] - SLOTS.get("max", 1))


def test_numbers_do_not_change_the_form() -> None:
    def digest(number: Any) -> str:
        return form_digest(
            Task("elementwise", (), LINE, apply("add", Ref(0), number), (LINE,)), False
        )

    assert digest(Const(1.0)) == digest(Const(2.5)) == digest(Number(3))
    assert digest(Const(1.0)) != digest(Ref(0))


def test_code_for_any_size_is_told_apart() -> None:
    task = Task("elementwise", (), LINE, Ref(0), (LINE,))
    assert form_digest(task, True) != form_digest(task, False)

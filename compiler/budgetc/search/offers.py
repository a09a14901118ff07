"""What installed passes offer for one model, with what each part weighs; a function for a child."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from budgetc_passes.contract import PassError
from budgetc_passes.offer import Offer, Part, Searchable
from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_
from budgetc_specs.recipe import parse_recipe

from budgetc.kitchen import Kitchen
from budgetc.learning import Learning
from budgetc.model import Model, parse_model
from budgetc.registry import PASSES, find_searchable, made_by


def list_offers(
    model: str,
    source: str,
    capability: dict[str, Any],
    preamble: str,
    *,
    calibrated: bool,
    calibration: str | None = None,
    learning: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Ask every pass that is `Searchable`, each with a copy of the model as the preamble leaves it.

    Args:
        model: file with a normalised model.
        source: where it came from, for messages.
        capability: the target's sheet as JSON.
        preamble: the recipe to run before.
        calibrated: whether there are calibration data.
        calibration: .npz archive for passes of the preamble, or None.
        learning: what they learn from that train, as JSON, or None.

    Returns:
        A `Space` as JSON.
    """
    sheet = Capability.model_validate(capability)
    given = parse_model(Path(model).read_bytes(), source)
    lessons = None if learning is None else Learning.from_json(learning)
    kitchen = Kitchen([given], sheet, calibration, source, lessons, kept=0)
    (current,), _ = kitchen.cook(parse_recipe(preamble))
    scales = _Scales(current)
    families = []
    kinds, left_out = find_searchable()
    notes = list(left_out)
    for name, kind in kinds.items():
        try:
            offer = _offer(name, kind, current, sheet)
        except PassError as error:
            notes.append(f"{name} offers nothing: {error}")
            continue
        if offer.parts:
            options = {**offer.options, **({} if calibrated else offer.uncalibrated)}
            families.append(
                {
                    "name": name,
                    "stage": kind.stage,
                    "choices": [scales.choice(name, part) for part in offer.parts],
                    "options": [[option, list(values)] for option, values in options.items()],
                }
            )
    return {"preamble": preamble, "families": families, "notes": notes}


def _offer(name: str, kind: type[Searchable], model: Model, sheet: Capability) -> Offer:
    proto = onnx.load_model_from_string(model.data)
    try:
        offer = kind.offer(ir.from_proto(proto), sheet)
    except PassError:
        raise
    except Exception as error:
        raise _failed(name, f"{type(error).__name__}: {error}") from error
    if not isinstance(offer, Offer):
        raise _failed(name, f"it returned {type(offer).__name__}, not an Offer")
    return offer


def _failed(name: str, why: str) -> EnvironmentError_:
    return EnvironmentError_(
        f"the plugin {made_by(PASSES, name)} fails when it is asked what it offers: {why}",
        "report it to those who maintain it, or uninstall it.",
    )


class _Scales:
    """Weighs parts: the nodes of a model by name."""

    def __init__(self, model: Model) -> None:
        graph = ir.from_proto(onnx.load_model_from_string(model.data)).graph
        self._nodes = {node.name: node for node in graph}

    def choice(self, family: str, part: Part) -> dict[str, Any]:
        """A part as JSON, with its bytes and multiply-accumulates."""
        unknown = [name for name in part.nodes if name not in self._nodes]
        if unknown:
            raise _failed(family, f"its part {part.name!r} has no node {unknown[0]!r} in the model")
        nodes = [self._nodes[name] for name in part.nodes]
        return {
            "name": part.name,
            "levels": list(part.levels),
            "nodes": list(part.nodes),
            "parameters": part.parameters,
            "float_bytes": part.parameters * max(map(_element_bytes, nodes), default=0),
            "macs": sum(map(_macs, nodes)),
        }


def _element_bytes(node: ir.Node) -> int:
    """Size of an element of the node's widest float constant."""
    tensors = [value.const_value for value in node.inputs if value is not None]
    floats = [t.dtype for t in tensors if t is not None and t.dtype.is_floating_point()]
    return max((round(dtype.itemsize) for dtype in floats), default=0)


def _macs(node: ir.Node) -> int:
    """Multiply-accumulates of a product or convolution; 0 for any other node."""
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return 0
    left, right, out = (_shape(value) for value in (*node.inputs[:2], node.outputs[0]))
    if node.op_type == "Conv":
        return math.prod(out) * math.prod(right[1:])
    if node.op_type == "MatMul":
        return math.prod(out) * left[-1]
    transposed = node.attributes.get("transA")
    return math.prod(out) * left[0 if transposed is not None and transposed.as_int() else 1]


def _shape(value: ir.Value | None) -> Sequence[int]:
    assert value is not None, "BUG: a product lacks an operand"
    assert value.shape is not None, "BUG: a loaded model has a value without a shape"
    return value.shape.numpy()

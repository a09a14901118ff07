"""Leaving out and repeating positions along axes of a model's tensors: what making layers narrower and wider share."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnx_ir as ir

from budgetc_passes.contract import PassError
from budgetc_passes.graph import constant, dims, int_attribute, is_op, set_constant
from budgetc_passes.relations import Axis, Positions


def select(model: ir.Model, chosen: Mapping[Axis, Positions], name: str) -> None:
    """Let each axis have the chosen positions and no others, in constants, shapes and attributes.

    Args:
        model: is changed.
        chosen: for each axis, which of its present positions it consists of afterwards. Axes that
            operators tie (relations.py) are chosen of alike.
        name: the pass, for the error and for the names of new constants.

    Raises:
        PassError: the ONNX checker refuses the result; then axes that are tied were not chosen of
            alike.
    """
    for (holder, axis), positions in chosen.items():
        value = holder if isinstance(holder, ir.Value) else holder.node.inputs[holder.at]
        array = constant(value)
        taken = None if array is None else np.take(array, positions, axis)
        if not isinstance(holder, ir.Value):
            if taken is None:
                message = f"BUG: {name}: a coupled vector is not constant"
                raise PassError(message)
            set_constant(holder.node, holder.at, taken, name)
            continue
        if taken is not None:
            holder.const_value = ir.tensor(taken, name=holder.name)
        shape = list(dims(holder) or ())
        shape[axis] = len(positions)
        holder.shape = ir.Shape(shape)
    for node in model.graph:
        shape_in = dims(node.inputs[0]) if node.inputs else None
        if is_op(node, "Conv") and int_attribute(node, "group", 1) > 1 and shape_in is not None:
            weight = dims(node.inputs[1])
            if weight is not None and weight[1] == 1:
                node.attributes["group"] = ir.AttrInt64("group", shape_in[1])
        elif is_op(node, "Reshape"):
            _retarget(node)
    check(model, name)


def check(model: ir.Model, name: str) -> None:
    """Hold a pass that changed shapes to the full ONNX checker.

    Raises:
        PassError: it refuses the model.
    """
    try:
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        message = f"BUG: {name} left a model that the ONNX checker refuses: {error}"
        raise PassError(message) from error


def _retarget(node: ir.Node) -> None:
    target, shape = constant(node.inputs[1]), dims(node.outputs[0])
    before = dims(node.inputs[0])
    if target is None or shape is None or before is None:
        return
    # A target may say -1 and 0; only one that names a number that changed is written anew.
    said = [before[at] if item == 0 else int(item) for at, item in enumerate(target)]
    if any(item not in (-1, length) for item, length in zip(said, shape, strict=True)):
        set_constant(node, 1, np.array(shape, np.int64), f"{node.outputs[0].name}.shape")

"""What every pass checks before and after its work: the model's interface stays as it was."""

from collections.abc import Sequence

import onnx_ir as ir

from budgetc_passes.contract import Note, PassError, PassResult
from budgetc_passes.graph import dims, label, opset, remove_dead

OLDEST_OPSET = 9
"""Passes are written and tested for this standard operator set and newer ones."""

Port = tuple[str | None, ir.DataType | None, tuple[int, ...] | None]
Interface = tuple[tuple[Port, ...], tuple[Port, ...]]
"""Name, type and shape of every input and of every output."""


def interface(model: ir.Model) -> Interface:
    """The model's inputs and outputs as its caller sees them."""
    inputs = tuple((value.name, value.dtype, dims(value)) for value in model.graph.inputs)
    outputs = tuple((value.name, value.dtype, dims(value)) for value in model.graph.outputs)
    return inputs, outputs


def require(model: ir.Model, name: str) -> Interface:
    """Check what every pass requires, and return the interface that `finish` holds the pass to.

    Args:
        model: the model before the pass.
        name: the pass, for the error.

    Raises:
        PassError: the operator set is too old, or functions are not inlined.
    """
    if opset(model) < OLDEST_OPSET:
        message = (
            f"{name}: the model imports opset {opset(model)} of the standard domain; "
            f"{OLDEST_OPSET} or newer is required. Convert it with onnx.version_converter."
        )
        raise PassError(message)
    if model.functions:
        names = ", ".join(sorted(function.name for function in model.functions.values()))
        message = f"{name}: the model holds functions ({names}). Inline them with onnx.inliner."
        raise PassError(message)
    return interface(model)


def finish(model: ir.Model, name: str, before: Interface, notes: Sequence[Note]) -> PassResult:
    """Drop what the pass left dead, check what every pass ensures, and make up the result.

    A pass has modified the model exactly if one of its notes says that it did something.

    Raises:
        PassError: the pass changed the interface or left a value without a producer.
    """
    notes = tuple(dict.fromkeys(notes))
    modified = any(note.kind == "did" for note in notes)
    if modified:
        remove_dead(model)
    after = interface(model)
    if after != before:
        message = f"BUG: {name} changed the interface of the model from {before} to {after}"
        raise PassError(message)
    known = {*model.graph.inputs, *model.graph.initializers.values()}
    for node in model.graph:
        for value in node.inputs:
            if value is not None and value not in known:
                message = f"BUG: {name} left {label(node)} reading {value.name!r} before it exists"
                raise PassError(message)
        known.update(node.outputs)
    return PassResult(model, modified, notes)

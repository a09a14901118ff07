"""The inputs' dimensions: what the model leaves free, the spec fixes."""

import json
import re
from collections.abc import Mapping, Sequence

import onnx
from budgetc_specs.errors import Diagnostic, ModelError, SpecError, did_you_mean, printable, quoted

Shapes = Mapping[str, Sequence[int]]


def fix_dimensions(model: onnx.ModelProto, shapes: Shapes) -> None:
    """Write the spec's shapes into the model's inputs, in place: every dimension is a number then.

    A named dimension that one input fixes is fixed wherever the name stands.

    Raises:
        SpecError: a shape of the spec is for no input of the model, or contradicts what the model
            says.
        ModelError: a dimension stays free; names all of them and shows the lines to add to the
            spec.
    """
    inputs = {i.name: i for i in model.graph.input}
    _check_spec(inputs, shapes)
    bound = _bind_names(inputs, shapes)
    for name, value in inputs.items():
        given = shapes.get(name)
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if given is not None:
                dim.dim_value = int(given[axis])
            elif dim.dim_param in bound:
                dim.dim_value = bound[dim.dim_param]
    _refuse_free(inputs)
    # What was written down for free dimensions is stale now, and inference finds it anew.
    del model.graph.value_info[:]
    for output in model.graph.output:
        for dim in output.type.tensor_type.shape.dim:
            if dim.dim_param in bound:
                dim.dim_value = bound[dim.dim_param]
            elif not dim.HasField("dim_value"):
                dim.Clear()


def _check_spec(inputs: dict[str, onnx.ValueInfoProto], shapes: Shapes) -> None:
    findings = []
    for name, given in shapes.items():
        field = f"inputs.{printable(name)}"
        if name not in inputs:
            known = ", ".join(quoted(n) for n in inputs)
            guess = did_you_mean(name, inputs)
            findings.append(
                _finding(
                    f"{field}: the model has no input of this name",
                    f"{guess + ' ' if guess else ''}the inputs are: {known}.",
                )
            )
            continue
        dims = inputs[name].type.tensor_type.shape.dim
        shown = _shown(inputs[name])
        if len(given) != len(dims):
            findings.append(
                _finding(
                    f"{field}.shape: {list(given)} has {len(given)} dimensions, the model's input "
                    f"has {len(dims)}",
                    f"the model's input is {shown}.",
                )
            )
            continue
        for axis, (number, dim) in enumerate(zip(given, dims, strict=True)):
            if number < 1:
                findings.append(
                    _finding(
                        f"{field}.shape: {number} (axis {axis}) is not a size",
                        "a size is 1 or more.",
                    )
                )
            elif dim.HasField("dim_value") and dim.dim_value != number:
                findings.append(
                    _finding(
                        f"{field}.shape: {number} (axis {axis}) contradicts the model, which fixes "
                        f"{dim.dim_value}",
                        f"the model's input is {shown}; only what is not a number there is free.",
                    )
                )
    if findings:
        raise SpecError(findings)


def _finding(message: str, repair: str) -> Diagnostic:
    return Diagnostic(None, None, None, message, repair)


def _bind_names(inputs: dict[str, onnx.ValueInfoProto], shapes: Shapes) -> dict[str, int]:
    """The numbers that the spec gives to named dimensions."""
    bound: dict[str, tuple[int, str]] = {}
    for name, given in shapes.items():
        for number, dim in zip(given, inputs[name].type.tensor_type.shape.dim, strict=True):
            if not dim.dim_param:
                continue
            number_before, by = bound.setdefault(dim.dim_param, (int(number), name))
            if number_before != number:
                raise SpecError(
                    [
                        _finding(
                            f"inputs: the dimension {quoted(dim.dim_param)} is {number_before} in "
                            f"{quoted(by)} "
                            f"and {number} in {quoted(name)}",
                            "a named dimension of the model has one size wherever its name stands.",
                        )
                    ]
                )
    return {name: number for name, (number, _) in bound.items()}


def _refuse_free(inputs: dict[str, onnx.ValueInfoProto]) -> None:
    problems, lines = [], []
    for name, value in inputs.items():
        dims = value.type.tensor_type.shape.dim
        free = [axis for axis, dim in enumerate(dims) if not dim.HasField("dim_value")]
        negative = [
            axis for axis, dim in enumerate(dims) if dim.HasField("dim_value") and dim.dim_value < 0
        ]
        if negative:
            raise ModelError(
                f"the input {quoted(name)} is {_shown(value)}, and no dimension is negative"
            )
        if not free:
            continue
        called = ", ".join(
            f"{quoted(dims[a].dim_param)} (axis {a})" if dims[a].dim_param else f"axis {a}"
            for a in free
        )
        plural = "s" if len(free) > 1 else ""
        problems.append(
            f"the input {quoted(name)} is {_shown(value)}: the dimension{plural} {called} must be "
            "fixed"
        )
        lines.append(f"  {_yaml_key(name)}: {{shape: {_suggested(value)}}}")
    if problems:
        numbers = any("<" in line for line in lines)
        raise ModelError(
            "\n".join(problems),
            "add to the spec"
            + (", with numbers for what stands in <>" if numbers else "")
            + ":\n"
            + "\n".join(["inputs:", *lines]),
        )


def _shown(value: onnx.ValueInfoProto) -> str:
    return f"[{', '.join(_dim(d) for d in value.type.tensor_type.shape.dim)}]"


def _dim(dim: onnx.TensorShapeProto.Dimension) -> str:
    return str(dim.dim_value) if dim.HasField("dim_value") else printable(dim.dim_param) or "?"


def _suggested(value: onnx.ValueInfoProto) -> str:
    """The shape as the spec would give it: one sample at a time, the rest to be filled in."""
    dims = value.type.tensor_type.shape.dim
    shown = [
        _dim(d) if d.HasField("dim_value") else "1" if axis == 0 else f"<{_dim(d)}>"
        for axis, d in enumerate(dims)
    ]
    return f"[{', '.join(shown)}]"


def _yaml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.]*", name) else json.dumps(name)

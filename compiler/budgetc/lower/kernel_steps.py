"""Convolutions, matrix products and poolings as tasks of the kernel families."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from budgetc_targets.expression import Ref
from budgetc_targets.task import Access, Attribute, Task

from budgetc.lower.accesses import access, broadcast, merge_rows, rows_as_pixels, two_dimensional
from budgetc.lower.graph import Array, Operation
from budgetc.lower.placement import Placement, Want, channels_last
from budgetc.lower.steps import Argument, Steps
from budgetc.lower.windows import Window, window_of

Attributes = dict[str, Attribute]


def convolution(op: Operation, steps: Steps) -> None:
    """Activations with the channel innermost, whose border is part of their storage, times W."""
    weight: Array = op.attributes["weight"]
    value = steps.graph.values[op.output]
    given = steps.graph.values[op.inputs[0]].shape
    window = window_of(op, given, value.shape, weight.shape[2:])
    x = _with_border(op.inputs[0], window, op.attributes["border"], steps)
    groups = op.attributes.get("group", 1)
    shape, offset = list(x.shape), x.offset
    for d, (low, high) in enumerate(window.pads, 2):
        shape[d] += low + high
        offset -= low * x.strides[d]
    source = two_dimensional(_channels_inside(replace(x, shape=tuple(shape))))
    macs = math.prod(value.shape) * math.prod(weight.shape[1:])
    if weight.ndim == 3:
        weight = weight[:, :, None, :]
    attributes = _attributes(weight, window, groups)
    kinds = ["winograd", "convolution"]
    if groups > 1 and groups == x.shape[1] == weight.shape[0]:
        kinds.insert(0, "depthwise")
    if weight.shape[0] == 1:
        kinds.insert(0, "single-filter")
    constants = {"weight": weight, "bias": op.attributes["bias"]}
    argument = Argument.at(x, offset)
    _kernel(op, steps, kinds, source, argument, attributes, constants=constants, macs=macs)


def product(op: Operation, steps: Steps) -> None:
    """x[..., m, k] @ W[k, o]: a 1x1 convolution whose pixels are the rows."""
    x = steps.placed[op.inputs[0]]
    weight: Array = op.attributes["weight"]
    overreads = (
        x.dtype == "uint8" and weight.shape[0] % steps.capability.reduction_step and _ends(x, steps)
    )
    if (x.shape[-1] > 1 and x.strides[-1] != 1) or overreads:
        x = steps.copied(op.inputs[0], Want(tuple(range(len(x.shape))), ()))
    source = rows_as_pixels(access(x))
    constants = {"weight": weight.T[:, :, None, None], "bias": op.attributes["bias"]}
    one = Window((1, 1), (1, 1), ((0, 0), (0, 0)))
    attributes = _attributes(constants["weight"], one, 1)
    macs = math.prod(steps.graph.values[op.output].shape) * weight.shape[0]
    _kernel(
        op,
        steps,
        ["convolution"],
        source,
        Argument.at(x),
        attributes,
        constants=constants,
        macs=macs,
        rows=True,
    )


def pooling(op: Operation, steps: Steps) -> None:
    """A window's maximum or sum, over activations without a border."""
    given, made = (steps.graph.values[n].shape for n in (op.inputs[0], op.output))
    kernel = tuple(op.attributes["kernel_shape"])
    window = window_of(op, given, made, kernel)
    x = steps.placed[op.inputs[0]]
    if x.shape[1] > 1 and x.strides[1] != 1:
        x = steps.copied(op.inputs[0], Want(channels_last(len(x.shape)), ()))
    pads = [(0, 0)] * (2 - len(window.pads)) + list(window.pads)
    attributes: Attributes = {
        "mode": op.attributes["mode"],
        "kernel": _pair(kernel),
        "stride": _pair(window.stride),
        "dilation": _pair(window.dilation),
        "pads": (pads[0][0], pads[1][0], pads[0][1], pads[1][1]),
    }
    source = two_dimensional(_channels_inside(x))
    _kernel(op, steps, ["pooling"], source, Argument.at(x), attributes)


def _with_border(name: str, window: Window, fill: int, steps: Steps) -> Placement:
    """A value with its channel innermost and the border that a convolution reads."""
    placed = steps.placed[name]
    border = ((0, 0), (0, 0), *window.pads)
    fits = placed.shape[1] == 1 or placed.strides[1] == 1
    for d, (low, high) in enumerate(border):
        have = placed.margin(d)
        fits = fits and have[0] >= low and have[1] >= high
    fits = fits and (placed.fill == fill or not any(map(sum, border)))
    if fits and not (placed.dtype == "uint8" and _ends(placed, steps)):
        return placed
    return steps.copied(name, Want(channels_last(len(placed.shape)), border, fill))


def _ends(placed: Placement, steps: Steps) -> bool:
    """Whether the caller's memory ends with the value: integer kernels may read past it."""
    return steps.region(placed) in ("input", "output")


def _kernel(
    op: Operation,
    steps: Steps,
    kinds: Sequence[str],
    source: Access,
    argument: Argument,
    attributes: Attributes,
    *,
    constants: Mapping[str, Array] | None = None,
    macs: int = 0,
    rows: bool = False,
) -> None:
    """One call, of the first kind whose family takes it.

    Kernels store vectors of channels; where the output's channel is not innermost, a copy follows.
    """
    shape = steps.graph.values[op.output].shape
    rank, channel = len(shape), -1 if rows else 1
    sides = [steps.placed[name] for name in op.inputs[op.anchors :]]
    order = tuple(range(rank)) if rows else channels_last(rank)
    final = steps.allocate(op.output, order)
    output = final
    if final.shape[channel] > 1 and final.strides[channel] != 1:
        output = steps.scratch(f"{op.output}.inner", op.output, Want(order, ()))
    reshape = rows_as_pixels if rows else two_dimensional
    task = Task(
        kinds[-1],
        (source,),
        reshape(access(output)),
        op.epilogue,
        tuple(reshape(broadcast(p, shape)) for p in sides),
        tuple(attributes.items()),
    )
    task = merge_rows(task)
    kind = next((k for k in kinds if steps.takes(k, task)), kinds[-1])
    task = replace(task, kind=kind)
    steps.emit(op.name, task, [argument], sides, output, constants=constants, macs=macs)
    if output is not final:
        steps.emit_map(f"copy {op.output}", Ref(0), [output], final)


def _channels_inside(placed: Placement) -> Access:
    """The value with the stride of a single channel set to 1, as kernels that walk channels ask."""
    strides = list(placed.strides)
    if placed.shape[1] == 1:
        strides[1] = 1
    return Access(placed.dtype, placed.shape, tuple(strides))


def _attributes(weight: Array, window: Window, groups: int) -> Attributes:
    return {
        "kernel": (int(weight.shape[2]), int(weight.shape[3])),
        "stride": _pair(window.stride),
        "dilation": _pair(window.dilation),
        "groups": groups,
        "weight_range": _range(weight),
    }


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _range(weight: Array) -> int:
    """The range class of integer weights: 64 where 2 * 255 * |w| fits 16 bits, else 128."""
    if weight.dtype != np.int8:
        return 0
    return 64 if np.abs(weight.astype(np.int16)).max(initial=0) <= 64 else 128

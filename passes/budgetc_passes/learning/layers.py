"""Convolutions, products, poolings and normalisations as functions of torch."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from budgetc_passes.learning.elementwise import Build
from budgetc_passes.learning.site import Function, Site

_CONVOLUTIONS = (functional.conv1d, functional.conv2d, functional.conv3d)
_TRANSPOSED = (
    functional.conv_transpose1d,
    functional.conv_transpose2d,
    functional.conv_transpose3d,
)
_MAX_POOLS = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
_AVERAGE_POOLS = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)


_PICTURE_AXES = 2


class _Window:
    """Kernel, strides, dilations and padding of a convolution or pooling over 1 to 3 axes.

    Args:
        site: the node.
        kernel: what it spans on each axis.

    Raises:
        PassError: there are more axes, or the padding is computed.
    """

    def __init__(self, site: Site, kernel: Sequence[int]) -> None:
        self.rank = len(kernel)
        if not 1 <= self.rank <= 3:
            raise site.refusal(f"spans {self.rank} axes; 1 to 3 have a differentiable form")
        self.kernel = tuple(kernel)
        self.strides = site.integers("strides", (1,) * self.rank)
        self.dilations = site.integers("dilations", (1,) * self.rank)
        pads = site.integers("pads", (0,) * (2 * self.rank))
        self.before, self.after = pads[: self.rank], pads[self.rank :]
        how = site.text("auto_pad", "NOTSET")
        spatial = site.shape(0)[2:]
        if how in {"SAME_UPPER", "SAME_LOWER"}:
            needed = [
                max(0, (math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n)
                for n, s, k, d in zip(
                    spatial, self.strides, self.kernel, self.dilations, strict=True
                )
            ]
            less, more = tuple(n // 2 for n in needed), tuple(n - n // 2 for n in needed)
            self.before, self.after = (less, more) if how == "SAME_UPPER" else (more, less)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """The input with its border."""
        if not any((*self.before, *self.after)):
            return x
        ends = [
            each
            for pair in zip(reversed(self.before), reversed(self.after), strict=True)
            for each in pair
        ]
        return functional.pad(x, ends, value=value)

    def laid_out(self, x: Tensor) -> Tensor:
        """Pictures with channels last in memory, where torch's convolutions and poolings are up to twice as fast."""
        if self.rank != _PICTURE_AXES:
            return x
        return x.contiguous(memory_format=torch.channels_last)

    def check_floor(self, site: Site) -> None:
        """Refuse a pooling whose last window goes beyond the border.

        Raises:
            PassError: it does.
        """
        spatial, made = site.shape(0)[2:], site.made()[2:]
        for at, length in enumerate(spatial):
            reach = (self.kernel[at] - 1) * self.dilations[at] + 1
            whole = (length + self.before[at] + self.after[at] - reach) // self.strides[at] + 1
            if whole != made[at]:
                raise site.refusal("has windows beyond its border (ceil_mode)")


def _convolution(site: Site) -> Function:
    window, group = _Window(site, site.shape(1)[2:]), site.integer("group", 1)
    convolve = _CONVOLUTIONS[window.rank - 1]
    # A border that is the same on both sides is left to torch: a copy of the input with it takes time.
    even = window.before == window.after
    border = window.before if even else (0,) * window.rank

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        given = window.laid_out(x if even else window.pad(x))
        made: Tensor = convolve(
            given, weight, bias, window.strides, border, window.dilations, group
        )
        return made

    return run


def _transposed(site: Site) -> Function:
    window, group = _Window(site, site.shape(1)[2:]), site.integer("group", 1)
    convolve = _TRANSPOSED[window.rank - 1]
    extra = site.integers("output_padding", (0,) * window.rank)
    whole = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(
            site.shape(0)[2:], window.strides, window.kernel, window.dilations, extra, strict=True
        )
    ]
    made = site.made()[2:]
    if site.text("auto_pad", "NOTSET") != "NOTSET" or "output_shape" in site.node.attributes:
        raise site.refusal("pads by the shape of its output, which has no differentiable form")
    places = [
        torch.arange(start, start + length)
        for start, length in zip(window.before, made, strict=True)
    ]
    reach = [max(0, int(each[-1]) + 1 - n) for each, n in zip(places, whole, strict=True)]

    def run(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        full: Tensor = convolve(x, weight, bias, window.strides, 0, 0, group, window.dilations)
        ends = [each for at in reversed(range(window.rank)) for each in (0, extra[at])]
        if any(ends):
            full = functional.pad(full, ends)
            if bias is not None:
                raise site.refusal("has an output padding, which has no differentiable form")
        for axis, positions in enumerate(places):
            full = full.index_select(axis + 2, positions)
        return full

    if any(reach):
        raise site.refusal("pads its output by more than it computes")
    return run


def _max_pool(site: Site) -> Function:
    if len(site.node.outputs) > 1 and site.node.outputs[1].uses():
        raise site.refusal("hands out positions, which have no differentiable form")
    window = _Window(site, site.integers("kernel_shape", ()))
    window.check_floor(site)
    pool = _MAX_POOLS[window.rank - 1]

    def run(x: Tensor) -> Tensor:
        padded = window.laid_out(window.pad(x, -math.inf))
        made: Tensor = pool(padded, window.kernel, window.strides, 0, window.dilations)
        return made

    return run


def _average_pool(site: Site) -> Function:
    window = _Window(site, site.integers("kernel_shape", ()))
    window.check_floor(site)
    if any(each != 1 for each in window.dilations):
        raise site.refusal("has dilations, which have no differentiable form")
    pool = _AVERAGE_POOLS[window.rank - 1]
    bordered = any((*window.before, *window.after))
    shares: Tensor | None = None
    if bordered and not site.integer("count_include_pad", 0):
        ones = window.pad(torch.ones(1, 1, *site.shape(0)[2:]))
        shares = pool(ones, window.kernel, window.strides)[0]

    def run(x: Tensor) -> Tensor:
        made: Tensor = pool(window.pad(x), window.kernel, window.strides)
        return made if shares is None else made / shares

    return run


def _global_pool(site: Site) -> Function:
    axes = tuple(range(2, len(site.shape(0))))
    if site.node.op_type == "GlobalMaxPool":
        return lambda x: x.amax(axes, keepdim=True)
    return lambda x: x.mean(axes, keepdim=True)


def _gemm(site: Site) -> Function:
    alpha, beta = site.real("alpha", 1.0), site.real("beta", 1.0)
    turned = site.integer("transA", 0), site.integer("transB", 0)

    def run(a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        a, b = a.T if turned[0] else a, b.T if turned[1] else b
        made = a @ b if alpha == 1 else alpha * (a @ b)
        if c is None:
            return made
        return made + (c if beta == 1 else beta * c)

    return run


def _batch_normalisation(site: Site) -> Function:
    epsilon = site.real("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        return functional.batch_norm(x, mean, variance, scale, bias, eps=epsilon)

    return run


def _layer_normalisation(site: Site) -> Function:
    if any(output.uses() for output in site.node.outputs[1:]):
        raise site.refusal("hands out its statistics, which have no differentiable form")
    shape = site.shape(0)
    axes = tuple(range(site.axis(-1, len(shape)), len(shape)))
    epsilon = site.real("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor | None = None) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        spread = torch.sqrt(centred.square().mean(axes, keepdim=True) + epsilon)
        made = centred / spread * scale
        return made if bias is None else made + bias

    return run


def _instance_normalisation(site: Site) -> Function:
    rank = len(site.shape(0))
    axes, column = tuple(range(2, rank)), (-1,) + (1,) * (rank - 2)
    epsilon = site.real("epsilon", 1e-5)

    def run(x: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        centred = x - x.mean(axes, keepdim=True)
        spread = torch.sqrt(centred.square().mean(axes, keepdim=True) + epsilon)
        return centred / spread * scale.reshape(column) + bias.reshape(column)

    return run


LAYERS: dict[str, Build] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _batch_normalisation,
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_pool,
    "GlobalMaxPool": _global_pool,
    "InstanceNormalization": _instance_normalisation,
    "LayerNormalization": _layer_normalisation,
    "MatMul": lambda _: torch.matmul,
    "MaxPool": _max_pool,
}
"""What has weights or a window."""

"""Quantisation that gradients pass through, with the arithmetic of the integers that it stands for.

    codes = clamp(rint(x / s) + z, least, most)        forwards: half to even, as QuantizeLinear has it
    d codes / d x = 1 / s within the clamp, else 0     backwards: rint counts as the identity

Source: Bengio et al. 2013, arXiv 1308.3432 (the straight-through estimator); Jacob et al. 2018, section 3 (training
with simulated quantisation). That steps are learned by the same gradient is Esser et al. 2020, arXiv 1902.08153
(LSQ), equation 3: rint(x / s) - x / s within the clamp, and the clamp's end beyond.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor

from budgetc_passes.graph import Array, constant, input_at, is_op
from budgetc_passes.learning.elementwise import Build
from budgetc_passes.learning.site import Function, Site
from budgetc_passes.quantization.ranges import LARGEST_BIAS

_SMALL = frozenset({np.dtype(np.int8), np.dtype(np.uint8)})


def round_through(x: Tensor) -> Tensor:
    """Rounded half to even; to gradients, the identity."""
    return x + (torch.round(x) - x).detach()


def _column(site: Site, scale_rank: int) -> tuple[int, ...]:
    """The shape in which scales by channel meet the tensor; for one scale, nothing."""
    if not scale_rank:
        return ()
    rank = len(site.shape(0))
    return (-1,) + (1,) * (rank - 1 - site.axis(1, rank))


def _rank(site: Site) -> int:
    scale = site.constant(1)
    if scale is None:
        raise site.refusal("has a computed scale, which has no differentiable form")
    return 0 if scale.size == 1 else scale.ndim


def _quantize(site: Site) -> Function:
    zero = site.constant(2)
    stored = np.dtype(np.uint8) if zero is None else zero.dtype
    if stored not in _SMALL:
        raise site.refusal(f"makes codes of {stored}; 8 bits have a differentiable form")
    column = _column(site, _rank(site))
    least, most = (0.0, 255.0) if stored == np.uint8 else (-128.0, 127.0)

    def run(x: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        scale = scale.reshape(column)
        offset = torch.zeros(()) if zero is None else zero.to(torch.float32).reshape(column)
        # Clamped before it is rounded: the ends are whole numbers, so that this is the same.
        steps = torch.clamp(x / scale, least - offset, most - offset)
        return round_through(steps) + offset

    return run


def _dequantize(site: Site) -> Function:
    column = _column(site, _rank(site))

    def run(codes: Tensor, scale: Tensor, zero: Tensor | None = None) -> Tensor:
        steps = codes.to(torch.float32)
        if zero is not None:
            steps = steps - zero.to(torch.float32).reshape(column)
        return steps * scale.reshape(column)

    return run


CODES: dict[str, Build] = {"DequantizeLinear": _dequantize, "QuantizeLinear": _quantize}
"""Between real values and codes; these are whole numbers in float32."""


@dataclass(frozen=True)
class CodedWeight:
    """Constant codes that are trained as the real numbers that they stand for.

    Attributes:
        node: the DequantizeLinear.
        codes: the initializer.
        scale: its steps.
        factors: steps whose product these are: of a bias, those of the layer's input and weights.
        column: the shape in which the steps meet the codes.
        least: the smallest code that is used.
        most: the largest.
        offset: the zero point, as real numbers in that shape.
    """

    node: ir.Node
    codes: ir.Value
    scale: ir.Value
    factors: tuple[ir.Value, ...]
    column: tuple[int, ...]
    least: float
    most: float
    offset: Tensor

    def real(self, scale: Tensor) -> Tensor:
        """What the codes stand for now."""
        stored = torch.from_numpy(_stored(self.codes).astype(np.float32))
        return (stored - self.offset) * scale.reshape(self.column)

    def steps(self, real: Tensor, scale: Tensor) -> Tensor:
        """Real numbers as codes, without the zero point."""
        ends = self.least - self.offset, self.most - self.offset
        return round_through(torch.clamp(real / scale.reshape(self.column), *ends))

    def fake(self, real: Tensor, scale: Tensor) -> Tensor:
        """Real numbers as their codes stand for them."""
        return self.steps(real, scale) * scale.reshape(self.column)

    def array(self, real: Tensor, scale: Tensor) -> Array:
        """The codes of real numbers, as they are stored."""
        codes = self.steps(real, scale) + self.offset
        return codes.detach().numpy().astype(_stored(self.codes).dtype)


def coded_weight(node: ir.Node, opset: int) -> CodedWeight | None:
    """What a DequantizeLinear of constant codes is trained as; None for others.

    Codes that two nodes read by different steps stand for two tensors, and stay as they are.
    """
    if not is_op(node, "DequantizeLinear"):
        return None
    codes, scale, zero = node.inputs[0], node.inputs[1], input_at(node, 2)
    stored = constant(codes)
    if stored is None or codes is None or scale is None or codes.producer() is not None:
        return None
    if any(use.node.inputs[1] is not scale for use in codes.uses()):
        return None
    site = Site(node, opset)
    column = _column(site, _rank(site))
    offset = np.zeros((), np.float32) if zero is None else constant(zero)
    if offset is None:
        return None
    if stored.dtype == np.int32:
        ends, factors = (-LARGEST_BIAS, LARGEST_BIAS), _factors(node)
    elif stored.dtype == np.int8:
        # What hardware bears may be less than 8 bits; the pass that wrote the codes used all of it.
        most = float(np.abs(stored.astype(np.int32)).max(initial=1))
        ends, factors = (-most, most), ()
    elif stored.dtype == np.uint8:
        ends, factors = (0.0, 255.0), ()
    else:
        return None
    shift = torch.from_numpy(offset.astype(np.float32)).reshape(column)
    return CodedWeight(node, codes, scale, factors, column, *ends, shift)


def _factors(node: ir.Node) -> tuple[ir.Value, ...]:
    """The steps of input and weights of the layer that alone reads a bias."""
    uses = tuple(node.outputs[0].uses())
    if len(uses) != 1 or uses[0].idx != 2:
        return ()
    found = []
    for value in uses[0].node.inputs[:2]:
        producer = None if value is None else value.producer()
        if producer is None or not is_op(producer, "DequantizeLinear"):
            return ()
        scale = producer.inputs[1]
        if scale is None:
            return ()
        found.append(scale)
    return tuple(found)


def _stored(value: ir.Value) -> Array:
    found = constant(value)
    if found is None:
        message = f"BUG: {value.name} is no constant"
        raise TypeError(message)
    return found

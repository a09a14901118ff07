"""The least that a call can take: its arithmetic at the sheet's peak, or its bytes at the speed of their cache.

    seconds = max(work / peak + other arithmetic / lanes, moved / bandwidth) / threads + cost of the call

Source of the model: Williams, Waterman and Patterson 2009. A sheet says widths and no clock, so a usual clock stands
for it: absolute times come from measurements, the roofline has to rank.
"""

from budgetc_specs.capability import Capability

from budgetc.lower.lowered import Layer
from budgetc.predict.timings import Timing

CLOCK = 2.5e9
"""Cycles a second."""

PIPES = 2
"""Vector instructions a cycle."""

BYTE_PRODUCTS = {
    "vpdpbusd512": 64.0,
    "vpdpbusd256": 32.0,
    "maddubs256": 32 / 3,
    "maddwd128": 8 / 3,
    "sdot128": 16.0,
    "widening128": 16 / 4,
    "usdot128": 16.0,
    "vmull128": 16 / 7,
    "wasmdot128": 16 / 6,
    "vwmacc256": 8 / 2,
    "smlad32": 4 / 5,
    "vmladava32": 16 / 2,
    "mla32": 1 / 3,
}
"""Multiply-accumulates of bytes an instruction, where one dot product takes several: what is left of them."""

BYTES_A_CYCLE = (64.0, 32.0, 8.0)
"""From the first cache, the second, and what is behind them."""

CALL = 10e-9
"""Seconds of a call that does nothing."""

HANDOVER = 1.5e-6
"""Seconds to hand work to other threads and to wait for them."""


def roofline(layer: Layer | Timing, capability: Capability) -> float:
    """Seconds of one call."""
    lanes = capability.vector_bytes / 4
    products = BYTE_PRODUCTS[capability.int8_dot] if layer.bits == 8 else lanes
    if layer.bits == 16 and capability.bfloat16_dot:
        products = 2 * lanes
    computing = (layer.work / products + layer.slots / lanes) / PIPES
    near, middle, far = BYTES_A_CYCLE
    if layer.moved <= capability.l1_bytes:
        moving = layer.moved / near
    else:
        moving = layer.moved / (middle if layer.moved <= capability.l2_bytes else far)
    seconds = max(computing, moving) / CLOCK
    if layer.parallel:
        return seconds / capability.threads + HANDOVER + CALL
    return seconds + CALL

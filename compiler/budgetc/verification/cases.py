"""What a library is run on besides real data: inputs that no data set has, made to find what data do not show."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import onnx
from budgetc_specs.errors import ModelError
from onnx import helper

from budgetc.baseline import Session, make_session
from budgetc.lower.lowered import Port
from budgetc.verification.limits import Range, integer_ranges, makes_integers
from budgetc.verification.oracle import Array, Arrays, feeds

SEED = 20240607
BEYOND = 8.0
_EXPONENTS = (96, 64, 32, 16)
Reals = Callable[[Port, tuple[int, ...]], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Case:
    """Inputs of one kind, by input name, stacked on axis 0 as the harness takes them."""

    name: str
    inputs: Arrays = field(repr=False)


@dataclass(frozen=True)
class NoCase:
    """A kind of inputs that this model is not run on, and why."""

    name: str
    why: str


def adversarial(
    model: onnx.ModelProto, ports: tuple[Port, ...], seen: Arrays, *, denormals: bool = True
) -> Iterator[Case | NoCase]:
    """Zeros, ones, the smallest and the largest numbers, random ones within what was seen and beyond.

    Whole numbers stay within what `limits` finds for them. They are the likeliest to show something first, since time
    may end before all of them are tried.

    Args:
        model: the graph that was lowered.
        ports: its inputs.
        seen: real inputs, stacked; their ranges are what "seen" means.
        denormals: whether the hardware knows numbers below the normal ones.
    """
    maker = _Maker(model, ports, seen)
    yield maker.case("random within what was seen", 4, maker.within)
    yield maker.case("zeros", 1, lambda _, shape: np.zeros(shape), 0)
    yield maker.case("ones", 1, lambda _, shape: np.ones(shape), 1)
    yield maker.case("one value that is not zero", 2, maker.single, 1)
    yield maker.case("the ends of what was seen", 2, maker.ends)
    if makes_integers(model):
        why = "it makes whole numbers of reals, which means nothing for those that are too large"
        yield NoCase("beyond what was seen", why)
        yield NoCase("the largest numbers", why)
    else:
        yield maker.case("random beyond what was seen", 2, maker.beyond)
        yield maker.largest()
    if denormals:
        yield maker.case("denormal numbers", 2, maker.denormals, 0)
    else:
        why = "the vectors of this CPU take them for zero"
        yield NoCase("denormal numbers", why)


class _Maker:
    def __init__(self, model: onnx.ModelProto, ports: tuple[Port, ...], seen: Arrays) -> None:
        self.model, self.ports = model, ports
        self.random = np.random.default_rng(SEED)
        self.integers = integer_ranges(model, seen)
        self.reals = {p.name: _range(seen[p.name]) for p in ports if np.dtype(p.dtype).kind == "f"}

    def case(self, name: str, steps: int, reals: Reals, whole: int | None = None) -> Case:
        """A case of so many inferences; whole numbers are random in their range, or `whole` as far as allowed."""
        inputs: dict[str, Array] = {}
        for port in self.ports:
            dtype = np.dtype(port.dtype)
            shape = (steps * port.shape[0], *port.shape[1:]) if port.shape else (steps,)
            if dtype.kind == "f":
                made = reals(port, shape).astype(dtype)
            elif dtype.kind == "b":
                drawn = self.random.integers(0, 2, shape)
                made = np.full(shape, whole, dtype) if whole is not None else drawn.astype(dtype)
            else:
                low, high = self.integers[port.name]
                value = np.clip(whole, low, high) if whole is not None else None
                made = _integers(self.random, (low, high), shape, dtype, value)
            inputs[port.name] = made
        return Case(name, inputs)

    def within(self, port: Port, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        low, high = self.reals[port.name]
        return self.random.uniform(low, high, shape)

    def beyond(self, port: Port, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        low, high = self.reals[port.name]
        reach = BEYOND * max(abs(low), abs(high), 1e-6)
        return self.random.uniform(-reach, reach, shape)

    def ends(self, port: Port, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """All of one inference at the lowest, then all at the highest."""
        made = np.empty(shape)
        half = shape[0] // 2
        made[:half], made[half:] = self.reals[port.name]
        return made

    def single(self, port: Port, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """The first element of one inference, and the last of another: ends of loops are where they go wrong."""
        made = np.zeros((2, math.prod(port.shape)))
        made[0, 0] = made[1, -1] = max(abs(end) for end in self.reals[port.name]) or 1.0
        return made.reshape(shape)

    def denormals(self, port: Port, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        tiny = float(np.finfo(port.dtype).tiny)
        return self.random.uniform(-tiny, tiny, shape)

    def largest(self) -> Case | NoCase:
        """The type's extremes, or the largest powers of two under which nothing overflows inside the model.

        What follows an overflow is not compared: ONNX does not say whether Relu, Max or Clip keep a NaN, and the order
        of a sum decides whether it overflows on the way.
        """
        name = "the largest numbers"
        for exponent in (None, *_EXPONENTS):

            def signs(
                port: Port, shape: tuple[int, ...], of: int | None = exponent
            ) -> npt.NDArray[np.float64]:
                top = float(np.finfo(port.dtype).max)
                size = top if of is None else min(top, 2.0**of)
                return size * np.sign(self.random.uniform(-1, 1, shape))

            made = self.case(name, 2, signs)
            if self._stays_finite(made):
                return made
        return NoCase(name, f"the reference overflows inside from 2^{_EXPONENTS[-1]} on")

    def _stays_finite(self, case: Case) -> bool:
        if self._inside is None:
            return False
        try:
            outputs = [self._inside.run(feed) for feed in feeds(case.inputs, self.ports)]
        except ModelError:
            return False
        values = [v for each in outputs for v in each.values() if np.asarray(v).dtype.kind == "f"]
        return all(bool(np.isfinite(v).all()) for v in values)

    @cached_property
    def _inside(self) -> Session | None:
        """The model with every real value inside it as an output; None where onnxruntime cannot have it so."""
        watched = onnx.ModelProto()
        watched.CopyFrom(self.model)
        have = {o.name for o in watched.graph.output}
        inside = [
            i
            for i in watched.graph.value_info
            if i.name not in have and _is_real(i) and _is_made(i.name, watched)
        ]
        watched.graph.output.extend(inside)
        try:
            return make_session(watched.SerializeToString(), optimisation="none")
        except (ModelError, ValueError):  # not loaded, or larger than a message may be
            return None


def _range(samples: Array) -> tuple[float, float]:
    finite = samples[np.isfinite(samples)].astype(np.float64)
    return (float(finite.min()), float(finite.max())) if finite.size else (-1.0, 1.0)


def _integers(
    random: np.random.Generator,
    limits: Range,
    shape: tuple[int, ...],
    dtype: np.dtype[np.generic],
    value: int | None,
) -> Array:
    if value is not None:
        return np.full(shape, value, dtype)
    made: Array = random.integers(limits[0], limits[1], shape, dtype, endpoint=True)
    return made


def _is_real(info: onnx.ValueInfoProto) -> bool:
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
    return dtype.kind == "f"


def _is_made(name: str, model: onnx.ModelProto) -> bool:
    return any(name in node.output for node in model.graph.node)

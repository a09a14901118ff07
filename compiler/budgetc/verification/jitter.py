"""A model that rounds at random: how far its outputs move says how far any rounding may move them.

What a bound in advance cannot know is how a network amplifies rounding: a subtraction of near values, a value beside
a step of a quantiser, a tie of two maxima. So where a difference exceeds that bound, the reference runs again and
again with noise of the size of its roundings in every layer, and what a difference may be is what the outputs move by
(D. Parker, Monte Carlo Arithmetic, UCLA CSD-970002, 1997).

    v -> v (1 + d)                            elementwise arithmetic;  |d| <= 16 u
    v -> v + d sum |x|,  x -> x (1 + d)       sums of n terms of one input, and what they read;  |d| <= 16 u sqrt(n)
    v -> v + d max |v|,  x -> x (1 + d)       products summed over n terms, and the rest

Each value has a noise of its own, or all values of a tensor have the same: what is equal a library rounds equally, as
the frames of a constant signal, and then their errors do not cancel where they are summed.

No rounding makes the sum of positive terms negative; noise that did would make a root or a logarithm behind it NaN, in
every run, and say nothing.
"""

import math

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from budgetc.verification.rounding import SAFETY, UNIT_ROUNDOFF, shapes_of, terms

_NUMPY = {TensorProto.FLOAT: np.float32, TensorProto.DOUBLE: np.float64}
_SUMS = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum"})
_POSITIVE = frozenset({"ReduceL1", "ReduceL2", "ReduceSumSquare", "Softmax"})
"""Sums of positive terms, whose roundings are relative to the result."""

_SMALLEST = 2.0**-126
"""Below the smallest normal number, what is lost is absolute."""


def jittered(model: onnx.ModelProto, *, alike: bool = False) -> onnx.ModelProto:
    """The model with noise behind every node that rounds; inputs, outputs and their names stay.

    Every run of it draws new noise, and a session made anew draws the same.

    Args:
        model: with inferred shapes.
        alike: draw one number for all values of a tensor.
    """
    return _Jitter(model, alike=alike).made()


class _Jitter:
    def __init__(self, model: onnx.ModelProto, *, alike: bool) -> None:
        self.model, self.alike = model, alike
        graph = model.graph
        infos = (*graph.input, *graph.value_info, *graph.output)
        self.types = {i.name: i.type.tensor_type.elem_type for i in infos}
        self.shapes = shapes_of(model)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}
        self.count = 0

    def made(self) -> onnx.ModelProto:
        for node in self.model.graph.node:
            self._node(node)
        made = onnx.ModelProto()
        made.CopyFrom(self.model)
        del made.graph.node[:]
        made.graph.node.extend(self.nodes)
        made.graph.initializer.extend(self.constants.values())
        return made

    def _node(self, node: onnx.NodeProto) -> None:
        n = terms(node, self.shapes)
        own = onnx.NodeProto()
        own.CopyFrom(node)
        if n > 1:
            for index, name in enumerate(node.input[:2]):
                if self._rounds(name):
                    own.input[index] = self._scaled(name, self._fresh(), n)
        renamed = {}
        if n:
            for index, name in enumerate(node.output):
                if self._rounds(name):
                    renamed[name] = own.output[index] = self._fresh()
        self.nodes.append(own)
        for name, exact in renamed.items():
            self.types[exact] = self.types[name]
            if n == 1 or node.op_type in _POSITIVE:
                self._scaled(exact, name, n)
            elif node.op_type in _SUMS:
                self._shifted(exact, name, n, self._summed(own))
            else:
                self._shifted(exact, name, n, self._largest(exact))

    def _rounds(self, name: str) -> bool:
        """Whether it is an activation of a type that noise can be drawn for; constants have no entry."""
        return bool(name) and self.types.get(name) in _NUMPY

    def _scaled(self, name: str, result: str, n: int) -> str:
        """Noise relative to each element."""
        size = self._constant(name, self._amplitude(name, n))
        factor = self._apply(
            "Add", self._apply("Mul", self._noise(name), size), self._constant(name, 1.0)
        )
        self.nodes.append(helper.make_node("Mul", [name, factor], [result]))
        return result

    def _shifted(self, name: str, result: str, n: int, of: str) -> None:
        """Noise relative to another value, which broadcasts."""
        size = self._apply("Mul", of, self._constant(name, self._amplitude(name, n)))
        size = self._apply("Add", size, self._constant(name, _SMALLEST))
        shift = self._apply("Mul", self._noise(name), size)
        self.nodes.append(helper.make_node("Add", [name, shift], [result]))

    def _largest(self, name: str) -> str:
        largest = self._fresh()
        magnitudes = self._apply("Abs", name)
        self.nodes.append(helper.make_node("ReduceMax", [magnitudes], [largest], keepdims=0))
        return largest

    def _summed(self, node: onnx.NodeProto) -> str:
        """What a node that sums makes of the magnitudes of its terms."""
        result = self._fresh()
        own = onnx.NodeProto()
        own.CopyFrom(node)
        own.name = own.output[0] = result
        own.input[0] = self._apply("Abs", node.input[0])
        self.nodes.append(own)
        return result

    def _amplitude(self, name: str, n: int) -> float:
        return SAFETY * UNIT_ROUNDOFF[self.types[name]] * math.sqrt(n)

    def _noise(self, name: str) -> str:
        result = self._fresh()
        seed = float(self.count)
        like = self._constant(name, 1.0) if self.alike else name
        self.nodes.append(
            helper.make_node("RandomUniformLike", [like], [result], low=-1.0, high=1.0, seed=seed)
        )
        return result

    def _apply(self, operator: str, *inputs: str) -> str:
        result = self._fresh()
        self.nodes.append(helper.make_node(operator, list(inputs), [result]))
        return result

    def _constant(self, like: str, value: float) -> str:
        dtype = _NUMPY[self.types[like]]
        name = f"jitter {np.dtype(dtype).name} {value!r}"
        self.constants[name] = numpy_helper.from_array(np.array(value, dtype), name)
        return name

    def _fresh(self) -> str:
        self.count += 1
        return f"jitter {self.count}"

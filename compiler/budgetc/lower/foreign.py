"""Operators without a kernel of ours: C is generated for them, or TVM imports and legalises them."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
import onnx.version_converter
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError

from budgetc.lower import integer_code
from budgetc.lower.bounds import with_indices_in_bounds
from budgetc.lower.generated import generate
from budgetc.lower.graph import Array, Graph, Operation, Value
from budgetc.lower.placement import Storage
from budgetc.lower.refusal import no_code, reason_of
from budgetc.lower.scheduled import copying_function, lower_scheduled

_MODERN_OPSET = 17


@dataclass(frozen=True)
class ForeignArgument:
    """A pointer of a foreign kernel: a port of the operation, a constant, or scratch memory."""

    role: Literal["input", "output", "constant", "scratch"]
    index: int = 0
    constant: Array | None = None
    scratch: Storage | None = None


@dataclass(frozen=True)
class ForeignCall:
    """One kernel call, of a TIR function or of a function in C: `source` is the text of its file."""

    name: str
    arguments: Sequence[ForeignArgument]
    function: Any = None
    source: str = ""


class ForeignCompiler:
    """Compiles one ONNX node at a time. Imports tvm."""

    def __init__(self, graph: Graph, capability: Capability, numbers: Iterator[int]) -> None:
        """`numbers` tell the kernels of one library apart."""
        self._graph, self._capability, self._numbers = graph, capability, numbers

    def compile(self, op: Operation) -> Sequence[ForeignCall]:
        """The calls that compute a node, in order.

        Raises:
            ModelError: neither takes it.
        """
        name = f"foreign_{next(self._numbers)}"
        if op.kind in integer_code.KINDS:
            ports = [ForeignArgument("input"), ForeignArgument("output")]
            return [
                ForeignCall(name, ports, source=integer_code.integer_code(op, self._graph, name))
            ]
        first, second = self._by_generated_code, self._by_tvm
        if op.attributes["proto"].op_type in _FASTER_BY_TVM:
            first, second = second, first
        try:
            return first(op, name)
        except ModelError as error:
            with contextlib.suppress(ModelError):  # the first reason is the one to tell
                return second(op, name)
            raise error from None

    def _by_tvm(self, op: Operation, name: str) -> Sequence[ForeignCall]:
        _refuse_misread(op)
        module = self._legalised(op)
        given = [n for n in op.inputs if n]
        ports = [given.index(n) for n in dict.fromkeys(given) if n not in self._graph.constants]
        made = [self._graph.values[name] for name in op.outputs]
        return _Unroller(module, op, ports, made, name).calls()

    def _by_generated_code(self, op: Operation, name: str) -> Sequence[ForeignCall]:
        generated = generate(op, self._graph, name)
        given = [n for n in op.inputs if n]
        arguments = [ForeignArgument("input", given.index(n)) for n in generated.inputs]
        arguments += [ForeignArgument("output", index) for index in range(len(op.outputs))]
        return [ForeignCall(name, arguments, source=generated.text)]

    def _legalised(self, op: Operation) -> Any:
        model = with_indices_in_bounds(self._graph.node_model(op), op, self._graph)
        try:
            return self._imported(model)
        except Exception as error:  # tvm raises its own, Python's and C++'s kinds for one cause
            newer = _converted(model)
            if newer is not None:
                with contextlib.suppress(Exception):  # the first reason is the one to tell
                    return self._imported(newer)
            raise no_code(op, reason_of(error)) from error

    def _imported(self, model: onnx.ModelProto) -> Any:
        import tvm
        from tvm import relax
        from tvm.relax.frontend.onnx import from_onnx

        passes = relax.transform
        target = tvm.target.Target(
            {
                "kind": "llvm",
                "mtriple": self._capability.llvm_triple,
                "mcpu": self._capability.cpu,
            }
        )
        sequence = [
            passes.DecomposeOpsForInference(),
            passes.CanonicalizeBindings(),
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            passes.FuseOps(),
            passes.FuseTIR(),
            passes.DeadCodeElimination(),
        ]
        with target:
            return tvm.ir.transform.Sequential(sequence)(from_onnx(model))


_FASTER_BY_TVM = frozenset({"DepthToSpace", "Gather", "GatherElements", "GridSample", "Resize"})
"""Operators that TVM's code computes 1.3 to 5 times faster than generated C, which takes more of them."""

_IGNORED = {"Resize": ("antialias",)}
"""Attributes that TVM's importer does not read, by operator; without them the numbers would be others."""


def _refuse_misread(op: Operation) -> None:
    for attribute in _IGNORED.get(op.attributes["proto"].op_type, ()):
        if op.attributes.get(attribute):
            raise ModelError(
                f"{op.label} cannot be compiled: its attribute {attribute!r} is not supported",
                f"export the model without {attribute}, or compute it outside of the model.",
            )


def _converted(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model at a newer opset, where it is old and onnx can convert it."""
    if model.opset_import[0].version >= _MODERN_OPSET:
        return None
    with contextlib.suppress(Exception):  # a C++ exception of onnx's own
        return onnx.version_converter.convert_version(model, _MODERN_OPSET)
    return None


class _Unroller:
    """Walks the legalised main function: every binding is a call of a TIR function over tensors."""

    def __init__(
        self, module: Any, op: Operation, ports: Sequence[int], made: Sequence[Value], prefix: str
    ) -> None:
        self.module, self.op, self.ports, self.made = module, op, ports, made
        self.prefix = prefix
        self.known: dict[Any, ForeignArgument | list[ForeignArgument]] = {}
        # The output that a variable is, or that an element of a variable's tuple is.
        self.places: dict[tuple[Any, int | None], int] = {}
        self.result: list[ForeignCall] = []
        self.scratch = 0

    def calls(self) -> Sequence[ForeignCall]:
        main = self.module["main"]
        for parameter, index in zip(main.params, self.ports, strict=True):
            self.known[parameter] = ForeignArgument("input", index)
        bindings = [b for block in main.body.blocks for b in block.bindings]
        results = self._results(main.body.body, bindings)
        for binding in bindings:
            self._bind(binding)
        written = {a.index for c in self.result for a in c.arguments if a.role == "output"}
        for index, result in enumerate(results):
            if index not in written:
                self._copy(result, index)
        return self.result

    def _results(self, final: Any, bindings: Sequence[Any]) -> list[Any]:
        """The node's results in order; where calls can write them at once is noted in `places`."""
        from tvm import relax

        bound = {b.var: b.value for b in bindings}

        def behind(value: Any) -> Any:
            while isinstance(bound.get(value), relax.Var):
                value = bound[value]
            return value

        final = behind(final)
        if isinstance(bound.get(final), relax.Tuple):
            results = [behind(field) for field in bound[final].fields]
        elif isinstance(final, relax.Tuple):
            results = [behind(field) for field in final.fields]
        elif len(self.op.outputs) > 1:
            self.places = {(final, i): i for i in range(len(self.op.outputs))}
            return [final] * len(self.op.outputs)
        else:
            results = [final]
        for index, result in enumerate(results):
            item = bound.get(result)
            if isinstance(item, relax.TupleGetItem):
                self.places.setdefault((item.tuple_value, item.index), index)
            else:
                self.places.setdefault((result, None), index)
        return results

    def _bind(self, binding: Any) -> None:
        from tvm import relax
        from tvm.ir import Constant

        value = binding.value
        if isinstance(value, relax.Var):
            self.known[binding.var] = self.known[value]
        elif isinstance(value, Constant):
            self.known[binding.var] = self._argument(value)
        elif isinstance(value, relax.Tuple):
            self.known[binding.var] = [self._argument(field) for field in value.fields]
        elif isinstance(value, relax.TupleGetItem):
            found = self.known[value.tuple_value]
            assert isinstance(found, list), "BUG: a tensor where a tuple is taken apart"
            self.known[binding.var] = found[value.index]
        elif isinstance(value, relax.Call) and value.op.name == "relax.call_tir":
            self._call_tir(binding.var, value)
        else:
            what = getattr(getattr(value, "op", None), "name", type(value).__name__)
            raise ModelError(
                f"{self.op.label} cannot be compiled: {what!r} needs TVM's runtime, which no "
                "library of budgetc's carries",
                "replace the operator by simpler ones, or compute it outside of the model.",
            )

    def _call_tir(self, variable: Any, call: Any) -> None:
        from tvm import relax

        function = self.module[call.args[0]]
        arguments = [self._argument(a) for a in call.args[1].fields]
        types = call.ty_args[0] if hasattr(call, "ty_args") else call.sinfo_args[0]
        several = isinstance(types, relax.TupleType)
        made = []
        for position, kind in enumerate(types.fields if several else [types]):
            index = self.places.get((variable, position if several else None))
            shape, dtype = [int(n) for n in kind.shape], str(kind.dtype)
            if index is None:
                made.append(self._temporary(shape, dtype))
            else:
                made.append(self._output(index, shape, dtype))
        self.known[variable] = made if several else made[0]
        self._add(function, [*arguments, *made])

    def _copy(self, result: Any, index: int) -> None:
        """A result that no call has written: an input as it is, a constant, another result."""
        kind = result.ty if hasattr(result, "ty") else result.struct_info
        shape = [int(n) for n in kind.shape]
        output = self._output(index, shape, str(kind.dtype))
        function = copying_function(shape, str(kind.dtype))
        self._add(function, [self._argument(result), output])

    def _output(self, index: int, shape: Sequence[int], dtype: str) -> ForeignArgument:
        """A port of the operation, of the type that ONNX says: TVM's importer changes some (docs/tvm.md)."""
        expected = self.made[index]
        if (tuple(shape), dtype) != (expected.shape, expected.dtype):
            raise ModelError(
                f"{self.op.label} cannot be compiled: TVM makes {dtype}{list(shape)} of it where "
                f"ONNX says {expected.dtype}{list(expected.shape)}",
                "replace the operator by simpler ones, or cast its inputs to float32.",
            )
        return ForeignArgument("output", index)

    def _add(self, function: Any, arguments: list[ForeignArgument]) -> None:
        name = f"{self.prefix}_{len(self.result)}"
        raw, extra = lower_scheduled(function, name)
        temporaries = [self._temporary(shape, dtype) for shape, dtype in extra]
        self.result.append(ForeignCall(name, [*arguments, *temporaries], raw))

    def _argument(self, value: Any) -> ForeignArgument:
        from tvm.ir import Constant

        if isinstance(value, Constant):
            return ForeignArgument("constant", constant=np.asarray(value.value.numpy()))
        found = self.known[value]
        assert isinstance(found, ForeignArgument), "BUG: a tuple where a tensor is read"
        return found

    def _temporary(self, shape: Sequence[int], dtype: str) -> ForeignArgument:
        self.scratch += 1
        size = math.prod(shape) * np.dtype(dtype).itemsize
        storage = Storage(f"{self.prefix}.scratch{self.scratch}", "arena", size)
        return ForeignArgument("scratch", scratch=storage)

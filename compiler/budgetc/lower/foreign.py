"""Operators without a kernel of ours: TVM's ONNX importer and legalisation, called like any other kernel."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import onnx
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError
from onnx import helper, numpy_helper

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.placement import Storage


@dataclass(frozen=True)
class ForeignArgument:
    """A pointer of a foreign kernel: a port of the operation, a constant, or scratch memory."""

    role: Literal["input", "output", "constant", "scratch"]
    index: int = 0
    constant: Array | None = None
    scratch: Storage | None = None


@dataclass(frozen=True)
class ForeignCall:
    """One kernel call."""

    name: str
    function: Any
    arguments: Sequence[ForeignArgument]


class ForeignCompiler:
    """Compiles one ONNX node at a time through Relax. Imports tvm."""

    def __init__(self, graph: Graph, capability: Capability) -> None:
        self._graph, self._capability, self._count = graph, capability, 0

    def compile(self, op: Operation) -> Sequence[ForeignCall]:
        """The calls that compute a node, in order.

        Raises:
            ModelError: TVM cannot import or legalise it.
        """
        module = self._legalised(op)
        self._count += 1
        given = [n for n in op.inputs if n]
        ports = [given.index(n) for n in self._ports(op)]
        return _Unroller(module, op, ports, f"foreign_{self._count}").calls()

    def _ports(self, op: Operation) -> list[str]:
        """The inputs that are computed, each once."""
        return list(dict.fromkeys(n for n in op.inputs if n and n not in self._graph.constants))

    def _legalised(self, op: Operation) -> Any:
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
        try:
            with target:
                return tvm.ir.transform.Sequential(sequence)(from_onnx(self._model(op)))
        except Exception as error:  # tvm raises its own, Python's and C++'s kinds for one cause
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise ModelError(
                f"node {op.name!r}: the operator {op.attributes['proto'].op_type} cannot be "
                f"compiled: {reason[0]}",
                "export the model with another opset, or replace the operator by simpler ones.",
            ) from error

    def _model(self, op: Operation) -> onnx.ModelProto:
        """The node alone, its constant inputs as initializers."""
        graph = self._graph
        node = onnx.NodeProto()
        node.CopyFrom(op.attributes["proto"])
        ports = self._ports(op)
        constants = dict.fromkeys(n for n in op.inputs if n in graph.constants)

        def info(name: str) -> onnx.ValueInfoProto:
            value = graph.values[name]
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
            return helper.make_tensor_value_info(name, kind, value.shape)

        del node.input[:]
        node.input.extend(op.inputs)
        body = helper.make_graph(
            [node],
            "node",
            [info(n) for n in ports],
            [info(n) for n in op.outputs],
            [numpy_helper.from_array(graph.constants[n], n) for n in constants],
        )
        opset = helper.make_opsetid(node.domain, graph.opset)
        return helper.make_model(body, opset_imports=[opset], ir_version=9)


class _Unroller:
    """Walks the legalised main function: every binding is a call of a TIR function over tensors."""

    def __init__(self, module: Any, op: Operation, ports: Sequence[int], prefix: str) -> None:
        self.module, self.op, self.ports, self.prefix = module, op, ports, prefix
        self.known: dict[Any, ForeignArgument | list[ForeignArgument]] = {}
        self.result: list[ForeignCall] = []
        self.scratch = 0

    def calls(self) -> Sequence[ForeignCall]:
        from tvm import relax

        main = self.module["main"]
        for parameter, index in zip(main.params, self.ports, strict=True):
            self.known[parameter] = ForeignArgument("input", index)
        bindings = [b for block in main.body.blocks for b in block.bindings]
        final = main.body.body
        aliases = {b.var: b.value for b in bindings if isinstance(b.value, relax.Var)}
        while final in aliases:
            final = aliases[final]
        outputs = self._outputs(final, bindings)
        for binding in bindings:
            self._bind(binding, outputs)
        written = {a.index for c in self.result for a in c.arguments if a.role == "output"}
        if written != set(range(len(self.op.outputs))):
            raise ModelError(
                f"node {self.op.name!r} ({self.op.attributes['proto'].op_type}) only renames or "
                "repeats values, which no kernel computes",
                "run the pass `clean` first.",
            )
        return self.result

    def _outputs(self, final: Any, bindings: Sequence[Any]) -> dict[Any, int]:
        """Which variables are results of the node, and in which order."""
        from tvm import relax

        for binding in bindings:
            if binding.var == final and isinstance(binding.value, relax.Tuple):
                return {field: i for i, field in enumerate(binding.value.fields)}
        return {final: 0}

    def _bind(self, binding: Any, outputs: dict[Any, int]) -> None:
        from tvm import relax

        value = binding.value
        if isinstance(value, relax.Var):
            self.known[binding.var] = self.known[value]
        elif isinstance(value, relax.Tuple):
            return
        elif isinstance(value, relax.TupleGetItem):
            self.known[binding.var] = self._tuple(value.tuple_value)[value.index]
        elif isinstance(value, relax.Call) and value.op.name == "relax.call_tir":
            self._call_tir(binding.var, value, outputs)
        else:
            what = getattr(getattr(value, "op", None), "name", type(value).__name__)
            raise ModelError(
                f"node {self.op.name!r} ({self.op.attributes['proto'].op_type}): "
                f"tvm leaves {what!r}, which needs its runtime",
                "replace the operator by simpler ones.",
            )

    def _tuple(self, variable: Any) -> list[ForeignArgument]:
        found = self.known[variable]
        assert isinstance(found, list), "BUG: a tensor where a tuple is taken apart"
        return found

    def _call_tir(self, variable: Any, call: Any, outputs: dict[Any, int]) -> None:
        from tvm import relax

        function = self.module[call.args[0]]
        arguments = [self._argument(a) for a in call.args[1].fields]
        types = call.ty_args[0] if hasattr(call, "ty_args") else call.sinfo_args[0]
        fields = list(types.fields) if isinstance(types, relax.TupleType) else [types]
        made = []
        for position, kind in enumerate(fields):
            index = outputs.get(variable)
            if index is not None and len(fields) > 1:
                index = position
            made.append(
                ForeignArgument("output", index)
                if index is not None
                else self._temporary([int(n) for n in kind.shape], str(kind.dtype))
            )
        self.known[variable] = made if len(fields) > 1 else made[0]
        name = f"{self.prefix}_{len(self.result)}"
        raw, extra = lower_scheduled(function, name)
        temporaries = [self._temporary(shape, dtype) for shape, dtype in extra]
        self.result.append(ForeignCall(name, raw, [*arguments, *made, *temporaries]))

    def _argument(self, value: Any) -> ForeignArgument:
        from tvm import relax

        if isinstance(value, relax.Var):
            found = self.known[value]
            assert isinstance(found, ForeignArgument), "BUG: a tuple where a tensor is read"
            return found
        return ForeignArgument("constant", constant=np.asarray(value.value.numpy()))

    def _temporary(self, shape: Sequence[int], dtype: str) -> ForeignArgument:
        self.scratch += 1
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        storage = Storage(f"{self.prefix}.scratch{self.scratch}", "arena", size)
        return ForeignArgument("scratch", scratch=storage)


def lower_scheduled(function: Any, name: str) -> tuple[Any, list[tuple[list[int], str]]]:
    """A scheduled TIR function as a plain one over raw pointers, its temporaries turned into parameters.

    Returns:
        The function, and shape and dtype of every temporary, in the order of the extra parameters.
    """
    import tvm
    from tvm import s_tir, tirx
    from tvm.tirx.buffer import buffer_data_pointer_type, is_buffer_var

    scheduled, passes = s_tir.transform, tirx.transform
    root = function.body.block
    temporaries = list(root.alloc_buffers)
    block = s_tir.SBlock(
        root.iter_vars,
        root.reads,
        root.writes,
        root.name_hint,
        root.body,
        root.init,
        [],
        root.match_buffers,
        root.annotations,
    )
    realize = s_tir.SBlockRealize(function.body.iter_values, function.body.predicate, block)
    widened = tirx.PrimFunc(
        [*function.params, *temporaries], realize, function.ret_type, function.attrs
    ).with_attrs({"global_symbol": name, "tirx.noalias": True})
    pipeline = tvm.ir.transform.Sequential(
        [
            scheduled.CanonicalizeLoop(),
            scheduled.LowerInitBlock(),
            scheduled.PlanAndUpdateBufferAllocationLocation(),
            scheduled.ConvertBlocksToOpaque(),
            scheduled.CompactBufferAllocation(),
            scheduled.LowerMatchBuffer(),
            scheduled.StmtSimplify(),
            scheduled.LowerOpaqueBlock(),
            passes.FlattenBuffer(),
            passes.NarrowDataType(32),
            scheduled.LoopPartition(),
            passes.VectorizeLoop(True),
            passes.StorageRewrite(),
            passes.UnrollLoop(),
            passes.StmtSimplify(),
            passes.RemoveNoOp(),
            scheduled.RewriteUnsafeSelect(),
        ]
    )
    lowered = pipeline(tvm.IRModule({name: widened}))[name]
    parameters, declared = [], []
    for parameter in lowered.params:
        assert is_buffer_var(parameter), "BUG: a foreign kernel takes buffers only"
        pointer = tirx.Var(f"{parameter.name}_ptr", buffer_data_pointer_type(parameter))
        parameters.append(pointer)
        declared.append(tirx.DeclBuffer(parameter, data=pointer))
    body = list(lowered.body.seq) if isinstance(lowered.body, tirx.SeqStmt) else [lowered.body]
    raw = tirx.PrimFunc(
        parameters, tirx.SeqStmt(declared + body), lowered.ret_type, lowered.attrs
    ).with_attrs({"calling_conv": 0})
    extra = [([int(n) for n in b.shape], str(b.dtype)) for b in temporaries]
    return raw, extra

"""TVM's scheduled functions as plain ones over raw pointers, like the kernels that are ours."""

from collections.abc import Sequence
from typing import Any


def copying_function(shape: Sequence[int], dtype: str) -> Any:
    """A TIR function that copies its first parameter into its second. Imports tvm."""
    from tvm import te

    given = te.placeholder(list(shape), dtype, "given")
    made = te.compute(list(shape), given.__getitem__, "made")
    return te.create_prim_func([given, made])


def lower_scheduled(function: Any, name: str) -> tuple[Any, list[tuple[list[int], str]]]:
    """A scheduled TIR function over raw pointers, its temporaries parameters too. Imports tvm.

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

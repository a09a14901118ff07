"""From TIR functions to a relocatable object: TVM's lowering without the packed call, then its LLVM code generator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tvm
from budgetc_specs.capability import Capability
from tvm import tirx

from budgetc_targets.kernels.adaptation import adapt
from budgetc_targets.kernels.bfloat16 import define

OPT_LEVEL = 2  # measured: a sixth to a quarter less text than 3 at the same speed
UNROLL_THRESHOLD = 60
"""Instructions up to which LLVM writes a loop out whole; measured, its 150 only make more code. What pays is unrolled
by the kernels themselves."""


def llvm_target(capability: Capability) -> Any:
    """TVM's name for the sheet's code generation target."""
    options: dict[str, Any] = {
        "kind": "llvm",
        "mtriple": capability.llvm_triple,
        "mcpu": capability.cpu,
        "opt-level": OPT_LEVEL,
        "cl-opt": [f"-unroll-threshold-default:uint={UNROLL_THRESHOLD}"],
    }
    if capability.system == "bare":
        options["mfloat-abi"] = "soft" if capability.float_unit == "none" else "hard"
    if capability.system != "linux":  # else it is TVM that knows how wide a vector is
        options["vector-width"] = 8 * capability.vector_bytes
    if capability.llvm_abi:
        options["mabi"] = capability.llvm_abi
    if capability.llvm_features:
        options["mattr"] = list(capability.llvm_features)
    return tvm.target.Target(options)


def generate(functions: Sequence[Any], capability: Capability) -> Any:
    """Machine code for TIR functions, as the runtime module that TVM wraps LLVM's in.

    Leaving out MakePackedAPI and LowerTVMBuiltin keeps parameters raw pointers and local buffers on
    the stack.
    """
    target = llvm_target(capability)
    passes = tirx.transform
    adapted = [adapt(f, capability) for f in functions]
    if capability.bfloat16_dot:
        adapted = [define(f) for f in adapted]
    module = tvm.IRModule({f.attrs["global_symbol"]: f for f in adapted})
    module = passes.BindTarget(target.with_host(target))(module)
    pipeline = tvm.ir.transform.Sequential(
        [
            passes.StmtSimplify(),
            passes.UnrollLoop(),
            passes.StmtSimplify(),
            passes.RemoveNoOp(),
            passes.CommonSubexprElim(),
            passes.LowerIntrin(),
        ]
    )
    return tvm.get_global_func("target.build.llvm")(pipeline(module), target)


def emit_object(functions: Sequence[Any], capability: Capability, path: Path) -> None:
    """Write one object file with a plain C function per TIR function."""
    generate(functions, capability).write_to_file(str(path))

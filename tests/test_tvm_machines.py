"""Traps of TVM and LLVM on machines other than x86-64; as in test_tvm_traps.py, each failure frees a workaround."""

import subprocess
import sys
from textwrap import dedent

PRELUDE = """
import tvm
from budgetc_targets.armv7 import ArmV7
from budgetc_targets.kernels import adaptation, objects
from budgetc_targets.kernels.writer import Writer, cast, intrinsic, splat
from budgetc_targets.riscv64 import RiscV64

def assembly(function, sheet):
    return str(objects.generate([function], sheet).inspect_source("s"))
"""


def said(code: str) -> str:
    """What a child prints."""
    command = [sys.executable, "-c", PRELUDE + dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rounding_is_a_call_for_each_lane() -> None:
    printed = said("""
    def rounding():
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 4), w.pointer("y", "int32", 4)
        w.store(y, 0, intrinsic("llvm.lrint", "int32", 4, w.load(x, 0, 4)), 4)
        return w.finish()
    sheet = ArmV7().capability("cortex-a7", 1)
    print(assembly(rounding(), sheet).count("lrintf"))
    objects.adapt = lambda function, capability: function
    print(assembly(rounding(), sheet).count("lrintf"))
    """)
    ours, plain = map(int, printed.split())
    assert ours == 0
    assert plain >= 4


def test_a_widened_number_becomes_a_vector_of_bytes() -> None:
    printed = said("""
    def product(less):
        w = Writer("kernel")
        x, v, y = w.pointer("x", "uint8", 1), w.pointer("v", "int8", 8), w.pointer("y", "int32", 8)
        number = cast(w.load(x, 0), "int16", 1) - tvm.tirx.IntImm("int16", less)
        wide = cast(splat(number, 8), "int32", 8) * cast(w.load(v, 0, 8), "int32", 8)
        w.store(y, 0, w.load(y, 0, 8) + wide, 8)
        return w.finish()
    sheet = RiscV64().capability("rv64gcv", 1)
    for less in (128, 0):
        print(assembly(product(less), sheet).count("vwmacc.vx"))
    """)
    ours, plain = map(int, printed.split())
    assert ours == 1
    assert plain == 0

"""Traps of TVM, LLVM and zig on other machines than this; as in test_tvm_traps.py, each failure frees a workaround."""

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

from budgetc.emit.symbols import read_object
from budgetc.emit.zig import Zig

PRELUDE = """
import re

from budgetc.child import keep_torch_from_tvm

keep_torch_from_tvm()

import tvm
from budgetc.registry import find_target
from budgetc_targets.armv7 import ArmV7
from budgetc_targets.cortex_m import CortexM
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


def test_an_unknown_cpu_becomes_the_generic_one() -> None:
    printed = said("""
    def cpus(sheet):
        w = Writer("kernel")
        y = w.pointer("y", "int32", 1)
        w.store(y, 0, w.load(y, 0) + 1)
        module = objects.generate([w.finish()], sheet)
        return set(re.findall('"target-cpu"="(.+?)"', module.inspect_source("ll")))
    kinds = ("x86-64", "aarch64", "armv7", "riscv64", "wasm32", "cortex-m")
    sheets = [s for kind in kinds for s in find_target(kind).cpus().values()]
    assert len(sheets) > 40
    print([s.cpu for s in sheets if cpus(s) != {s.cpu}])
    print(cpus(sheets[0].model_copy(update={"cpu": "x86-64-v33"})))
    """)
    assert printed == "[]\n{'generic'}\n", (
        "tests/test_tvm_machines.py: the check of the sheets here"
    )


def test_a_triple_of_three_parts_has_no_environment() -> None:
    printed = said("""
    def sum():
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 1), w.pointer("y", "float32", 1)
        w.store(y, 0, w.load(x, 0) + w.load(y, 0))
        return w.finish()
    sheet = CortexM().capability("cortex-m3", 1)
    for triple in (sheet.llvm_triple, "thumbv7m-none-eabi"):
        named = sheet.model_copy(update={"llvm_triple": triple})
        print(*re.findall(r"bl\\s+(__\\w*add\\w*)", assembly(sum(), named)))
    """)
    assert printed.split() == ["__aeabi_fadd", "__addsf3"], "cpus/cortex-m: triples of four parts"


def test_a_core_decides_whether_a_product_and_a_sum_are_one() -> None:
    printed = said("""
    def fused():
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 2), w.pointer("y", "float32", 1)
        values = w.load(x, 0), w.load(x, 1), w.load(y, 0)
        w.store(y, 0, intrinsic("llvm.fmuladd", "float32", 1, *values))
        return w.finish()
    adapt = objects.adapt
    for objects.adapt in (adapt, lambda function, capability: function):
        for core in ("cortex-m4", "cortex-m7"):
            text = assembly(fused(), CortexM().capability(core, 1))
            print(len(re.findall(r"vfma|vmla", text)), end=" ")
    """)
    assert printed.split() == ["1", "1", "0", "1"], "adaptation.py: one rounding on every core"


def test_zigs_plain_name_of_a_core_has_no_floating_point_unit(tmp_path: Path) -> None:
    (tmp_path / "sum.c").write_text("float sum(float a, float b) { return a + b; }")
    zig = Zig(tmp_path / "cache")
    calls = []
    for cpu in ("cortex_m4", "cortex_m4+vfp4d16sp"):
        target = ("-target", "thumb-freestanding-eabihf", f"-mcpu={cpu}")
        zig.run("cc", *target, "-O2", "-c", "sum.c", "-o", "sum.o", cwd=tmp_path)
        calls.append("__aeabi_fadd" in read_object((tmp_path / "sum.o").read_bytes()).needed)
    assert calls == [True, False], "cpus/cortex-m: zig_cpu may be the plain name"


def test_zig_does_not_see_what_incbin_reads(tmp_path: Path) -> None:
    (tmp_path / "data.c").write_text(
        '__asm__(".section .rodata\\n.global data\\ndata: .incbin \\"data.bin\\"\\n");'
    )
    (tmp_path / "embed.c").write_text('const unsigned char data[] = {\n#embed "data.bin"\n};')
    zig = Zig(tmp_path / "cache")
    stale = []
    for source in ("data.c", "embed.c"):
        for text in (b"old weights", b"new weights"):
            (tmp_path / "data.bin").write_bytes(text)
            command = ("cc", "-target", "x86_64-linux-musl", "-std=c23", "-c", source)
            zig.run(*command, "-o", "data.o", cwd=tmp_path)
            found = re.findall(rb"(?:old|new) weights", (tmp_path / "data.o").read_bytes())
        stale.append(found == [b"old weights"])
    assert stale == [True, False], "driver.py: weights may be included as .incbin again"

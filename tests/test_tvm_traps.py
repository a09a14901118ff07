"""The traps of TVM, each sprung in a child process: a test that fails here says that a workaround can go."""

import functools
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[1]
SECONDS = 120  # a child takes two or so; a machine may have other work to do

# What every reproduction begins with. `kernel` stores what a function makes of a vector it is given.
PRELUDE = """
import resource

from budgetc.child import keep_torch_from_tvm

keep_torch_from_tvm()

import tvm
from budgetc.lower.foreign import ForeignCompiler
from budgetc.lower.scheduled import lower_scheduled
from budgetc_targets.aarch64 import AArch64
from budgetc_targets.expression import Ref, apply
from budgetc_targets.kernels import objects
from budgetc_targets.kernels.dot import DOTS
from budgetc_targets.kernels.evaluate import evaluate
from budgetc_targets.kernels.objects import emit_object, generate, llvm_target
from budgetc_targets.kernels.writer import Writer, intrinsic
from budgetc_targets.x86_64 import X86_64
from tvm import relax, te, tirx

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected
AVX2 = X86_64().capability("x86-64-v3", 1)


def kernel(function, lanes=8, dtype="float32", made=None):
    w = Writer("kernel")
    x, y = w.pointer("x", dtype, lanes), w.pointer("y", made or dtype, lanes)
    w.store(y, 0, function(w.load(x, 0, lanes)), lanes)
    return w.finish()


def code(function, sheet=AVX2, kind="ll"):
    return str(generate([function], sheet).inspect_source(kind))


def imported(text, opset=17):
    from onnx import parser

    header = f'<ir_version: 8, opset_import: ["" : {opset}]> g '
    return ForeignCompiler(None, AVX2, iter(()))._imported(parser.parse_model(header + text))


def ready():
    print("ready", flush=True)


"""


@dataclass(frozen=True)
class Ended:
    """How a reproduction ended: its exit code, the lines it said once it was ready, its errors."""

    code: int
    said: Sequence[str]
    errors: str


Reproduce = Callable[[str], Ended]


def spring(script: str, folder: Path) -> Ended:
    """Run a script in a child; it calls `ready` when what must work has worked."""
    path = folder / "trap.py"  # a file, because TVMScript reads its own source
    path.write_text(PRELUDE + dedent(script), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    lines = done.stdout.splitlines()
    assert "ready" in lines, f"BUG: the reproduction itself fails:\n{done.stderr[-3000:]}"
    return Ended(done.returncode, lines[lines.index("ready") + 1 :], done.stderr)


@pytest.fixture
def reproduce(tmp_path: Path) -> Reproduce:
    return functools.partial(spring, folder=tmp_path)


def fixed(where: str) -> str:
    """What to say when a trap does not bite any more; `where` is empty where nothing is done yet."""
    assert (ROOT / where.partition(":")[0]).exists(), f"BUG: no file {where}"
    workaround = f"the workaround in {where}, and " if where else ""
    return f"fixed upstream: remove {workaround}the row in docs/tvm.md"


def refuses(ended: Ended, words: str, where: str) -> None:
    """The child ended with an error of these words."""
    assert ended.code, fixed(where)
    assert words in ended.errors, f"it fails otherwise:\n{ended.errors[-3000:]}"


def kills(ended: Ended, death: signal.Signals, where: str) -> None:
    """The child was killed."""
    assert ended.code, fixed(where)
    assert ended.code == -death, f"it fails otherwise:\n{ended.errors[-3000:]}"


def says(ended: Ended, lines: Sequence[str], where: str) -> None:
    """The child said this and ended well."""
    assert ended.code == 0, f"it fails otherwise:\n{ended.errors[-3000:]}"
    assert list(ended.said) == list(lines), fixed(where)


# The way to an object.


def test_a_packed_function_needs_tvms_runtime_and_alignment(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import re

        def facts(ir):
            print(*sorted(set(re.findall(r"@((?:__)?TVM\\w+)", ir)) - {"TVMMod"}))
            print(*set(re.findall(r'"align"\\(ptr %\\w+, i64 (\\d+)\\)', ir)))

        x = te.placeholder((256,), "float32", name="x")
        turned = te.compute((256,), lambda i: x[255 - i] * x[i], name="turned")
        y = te.compute((256,), lambda i: turned[255 - i] + turned[i], name="y")
        function = te.create_prim_func([x, y])
        ready()
        facts(code(lower_scheduled(function, "kernel")[0]))
        facts(tvm.compile(function, target=llvm_target(AVX2)).mod.inspect_source("ll"))
    """)
    wanted = (
        "TVMFFIErrorSetRaisedFromCStrParts __TVMBackendAllocWorkspace __TVMBackendFreeWorkspace"
    )
    where = "targets/budgetc_targets/kernels/objects.py: the pipeline"
    says(ended, ["", "", wanted, "64"], where)


def test_lower_tvm_builtin_wants_a_packed_function(reproduce: Reproduce) -> None:
    ended = reproduce("""
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 8), w.pointer("y", "float32", 8)
        local = w.local("local", "float32", 8)
        w.store(local, 0, w.load(x, 0, 8), 8)
        w.store(y, 0, w.load(local, 0, 8), 8)
        function = w.finish()
        assert "define" in code(function)
        target = llvm_target(AVX2)
        module = tvm.IRModule({"kernel": function})
        module = tirx.transform.BindTarget(target.with_host(target))(module)
        ready()
        tirx.transform.LowerTVMBuiltin()(module)
    """)
    where = "targets/budgetc_targets/kernels/objects.py: the pass that is left out"
    refuses(ended, "Unknown device id", where)


def test_an_object_carries_more_than_its_kernels(reproduce: Reproduce) -> None:
    ended = reproduce("""
        from pathlib import Path
        from budgetc.emit import elf
        from budgetc.emit.symbols import exported_symbols

        path = Path(__file__).with_name("kernel.o")
        emit_object([kernel(lambda v: v + v)], AVX2, path)
        sections = [s.name for s in elf.sections(path.read_bytes())]
        assert ".text" in sections and "kernel" in exported_symbols(path)
        ready()
        print(*sorted(exported_symbols(path)))
        print(*sections)
    """)
    symbols, sections = (line.split() for line in ended.said)
    where = fixed("compiler/budgetc/emit/link.py: sections that are discarded")
    assert set(symbols) == {"kernel", "__truncsfhf2", "__extendhfsf2"}, where
    assert ".debug_info" in sections, where


# From expressions to instructions.


def test_bfloat16_crashes_the_code_generator(reproduce: Reproduce) -> None:
    ended = reproduce("""
        from budgetc_targets.kernels import writer

        assert "define" in code(kernel(lambda v: v + v, dtype="float16"))
        writer._STORED.clear()  # as if the generator knew all types
        ready()
        code(kernel(lambda v: v + v, dtype="bfloat16"))
    """)
    kills(ended, signal.SIGSEGV, "targets/budgetc_targets/kernels/bfloat16.py")


def test_an_instruction_that_the_cpu_lacks_aborts_the_process(reproduce: Reproduce) -> None:
    ended = reproduce("""
        w = Writer("kernel")
        x, v = w.pointer("x", "uint8", 64), w.pointer("v", "int8", 64)
        y = w.pointer("y", "int32", 16)
        dot = DOTS["vpdpbusd512"]
        w.store(y, 0, dot(w.load(y, 0, 16), w.load(x, 0, 64), w.load(v, 0, 64)), 16)
        function = w.finish()
        assert "vpdpbusd" in code(function, X86_64().capability("cascadelake", 1), "asm")
        ready()
        code(function, AVX2, "asm")
    """)
    kills(ended, signal.SIGABRT, "")
    assert "LLVM ERROR" in ended.errors


def test_a_shared_value_is_computed_once_for_each_use(reproduce: Reproduce) -> None:
    ended = reproduce("""
        objects.OPT_LEVEL = 0  # LLVM finds what is equal, but only after all of it was written

        def calls(step):
            w = Writer("kernel")
            x, y = w.pointer("x", "float32", 8), w.pointer("y", "float32", 8)
            value = w.load(x, 0, 8)
            for i in range(6):
                value = step(w, i, value)
            w.store(y, 0, value, 8)
            return code(w.finish()).count("call <8 x float> @llvm.exp")

        assert calls(lambda w, i, v: tirx.exp(v)) == 6
        ready()
        print(calls(lambda w, i, v: tirx.exp(v) + v))
        print(calls(lambda w, i, v: w.let(f"v{i}", tirx.exp(v) + v)))
    """)
    shared, bound = map(int, ended.said)
    where = fixed("compiler/budgetc/lower/fusion.py: the limit of an expression's size")
    assert shared == 2**6 - 1, where
    assert bound > 6, where  # StmtSimplify puts a bound value back where it is read


def test_a_product_and_a_sum_become_one_rounding(reproduce: Reproduce) -> None:
    ended = reproduce("""
        assert "fadd" in code(kernel(lambda v: v + v)) and "fmul" in code(kernel(lambda v: v * v))
        ready()
        ir = code(kernel(lambda v: v * v + v))
        print("call <8 x float> @llvm.fmuladd" in ir, "fmul <" in ir)
    """)
    says(ended, ["True False"], "compiler/budgetc/lower/integer.py: a sum that names its fma")


def test_sse_rounds_straight_from_unaligned_memory(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import re

        def folded(function, cpu):
            return bool(re.search(r"cvtps2dq\\s+\\(%rdi\\)", code(function, cpu, "asm")))

        sse = X86_64().capability("x86-64", 1)
        ours = kernel(
            lambda v: evaluate(apply("round_int", Ref(0)), lambda _: v, None, 4, lambda h: h), 4, made="int32"
        )
        assert "cvtps2dq" in code(ours, sse, "asm") and not folded(ours, sse)
        plain = kernel(lambda v: intrinsic("llvm.lrint", "int32", 4, v), 4, made="int32")
        assert re.search(r"load <4 x float>, ptr \\S+, align 4\\b", code(plain, sse))
        ready()
        print(folded(plain, sse))
    """)
    says(ended, ["True"], "targets/budgetc_targets/kernels/evaluate.py: _apart_from_load")


def test_the_vnni_intrinsic_of_tvm_is_refused_by_llvm(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import sys
        from pathlib import Path
        from types import ModuleType

        # The package itself parses the intrinsics of every architecture, which takes long.
        package = ModuleType("tvm.s_tir.tensor_intrin")
        package.__path__ = [str(Path(tvm.__file__).with_name("s_tir") / "tensor_intrin")]
        sys.modules[package.__name__] = package
        from tvm.s_tir.tensor_intrin.x86 import (
            dot_product_16x4_u8i8i32_avx512,
            dot_product_16x4_u8i8i32_vnni,
        )

        target = llvm_target(X86_64().capability("cascadelake", 1))
        tvm.compile(dot_product_16x4_u8i8i32_avx512, target=target)
        ready()
        tvm.compile(dot_product_16x4_u8i8i32_vnni, target=target)
    """)
    where = "targets/budgetc_targets/kernels/dot.py: intrinsics by name"
    refuses(ended, "LLVM module verification failed", where)
    assert "llvm.x86.avx512.vpdpbusd.512" in ended.errors


def test_a_choice_takes_the_limit_off_an_index(reproduce: Reproduce) -> None:
    ended = reproduce("""
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 5), w.pointer("y", "float32", 8)
        with w.loop("i", 8) as i:
            limited = w.load(x, tirx.min(i, 4))
            w.store(y, i, tirx.Select(i < 5, limited, tirx.FloatImm("float32", 0.0)))
        ready()
        print("min" in str(tirx.transform.StmtSimplify()(tvm.IRModule({"f": w.finish()}))))
    """)
    says(ended, ["False"], "nothing: limits of indices may stand in a choice again")


def test_a_number_less_itself_is_zero(reproduce: Reproduce) -> None:
    ended = reproduce("""
        w = Writer("kernel")
        x, y = w.pointer("x", "float32", 1), w.pointer("y", "float32", 1)
        w.store(y, 0, w.load(x, 0) - w.load(x, 0))
        ready()
        body = str(tirx.transform.StmtSimplify()(tvm.IRModule({"f": w.finish()})))
        print("- x_buffer" in body)
    """)
    says(ended, ["False"], "nothing: an infinity less itself may make NaN in recurrent_digits_code")


def test_there_is_no_erf_of_a_vector(reproduce: Reproduce) -> None:
    ended = reproduce("""
        assert "erff" in code(kernel(tirx.erf, 1))
        ready()
        code(kernel(tirx.erf, 8))
    """)
    refuses(ended, "unknown intrinsic", "targets/budgetc_targets/kernels/evaluate.py: _erf")


def test_there_is_no_remainder_of_floats(reproduce: Reproduce) -> None:
    ended = reproduce("""
        code(kernel(lambda v: tirx.floormod(v, v), 1, "int32"))
        ready()
        code(kernel(lambda v: tirx.floormod(v, v), 1))
    """)
    refuses(ended, "Code::kDLInt", "targets/budgetc_targets/kernels/evaluate.py: _modulo")


def test_a_loop_with_a_remainder_cannot_be_tensorised(reproduce: Reproduce) -> None:
    ended = reproduce("""
        from tvm.s_tir import Schedule, TensorIntrin
        from tvm.script import tirx as T

        @T.prim_func(s_tir=True)
        def four(
            x: T.Buffer((4,), "float32", offset_factor=1),
            y: T.Buffer((4,), "float32", offset_factor=1),
        ) -> None:
            with T.sblock("root"):
                T.reads(x[0:4])
                T.writes(y[0:4])
                for i in T.serial(0, 4):
                    with T.sblock("update"):
                        at = T.axis.remap("S", [i])
                        y[at] = x[at] * T.float32(2)

        TensorIntrin.register("four", four, four)

        def tensorised(extent):
            x = te.placeholder((extent,), "float32", name="x")
            y = te.compute((extent,), lambda i: x[i] * 2.0, name="y")
            schedule = Schedule(te.create_prim_func([x, y]))
            outer, inner = schedule.split(schedule.get_loops("y")[0], [None, 4])
            schedule.tensorize(inner, "four")

        tensorised(16)
        ready()
        tensorised(13)
    """)
    where = "targets/budgetc_targets/kernels/writer.py: code without schedules"
    refuses(ended, "can not be blockized", where)


# The importer.


def test_the_importer_lacks_operators(reproduce: Reproduce) -> None:
    ended = reproduce("""
        ports = "(uint8[1,1,3,3] x, float s, uint8 z, int8[1,1,1,1] w, int8 v)"
        sequence = "(float[3,1,4] x, float[1,8,4] w, float[1,8,2] r) => (float[3,1,1,2] y)"
        models = {
            "QLinearConv": ports + " => (uint8[1,1,3,3] y) { y = QLinearConv(x,s,z,w,s,v,s,z) }",
            "QLinearMatMul": "(uint8[2,2] x, float s, uint8 z) => (uint8[2,2] y)"
            "{ y = QLinearMatMul(x,s,z,x,s,z,s,z) }",
            "ConvInteger": ports + " => (int32[1,1,3,3] y) { y = ConvInteger(x, w) }",
            "LSTM": sequence + " { y = LSTM<hidden_size=2>(x, w, r) }",
            "Celu": "(float[4] x) => (float[4] y) { y = Celu(x) }",
        }
        imported("(float[4] x) => (float[4] y) { y = Elu(x) }")
        ready()
        for name, text in models.items():
            try:
                imported(text)
            except tvm.error.OpNotImplemented as error:
                print(name, name in str(error))
    """)
    names = ("QLinearConv", "QLinearMatMul", "ConvInteger", "LSTM", "Celu")
    says(ended, [f"{name} True" for name in names], "")


def test_the_importer_multiplies_integers_as_floats(reproduce: Reproduce) -> None:
    ended = reproduce("""
        module = imported('''(uint8[1,4] q) => (uint8[1,4] y)
            <float s = {0.5}, uint8 z = {3}, int8[4,2] w = {1,2,3,4,5,6,7,8}, int8 v = {0}>
            { x = DequantizeLinear(q, s, z)  m = DequantizeLinear(w, s, v)
              a = MatMul(x, m)  y = QuantizeLinear(a, s, z) }''')
        types = {
            variable.name_hint: [str(b.dtype) for b in function.params]
            for variable, function in module.functions_items()
            if isinstance(function, tirx.PrimFunc)
        }
        assert types["dequantize"] == ["uint8", "float32"]
        ready()
        (product,) = (t for name, t in types.items() if "matmul" in name)
        print(*product)
    """)
    says(ended, ["float32 float32 uint8"], "compiler/budgetc/lower/integer.py: the whole of it")


def test_the_importer_fails_on_an_old_upsample(reproduce: Reproduce) -> None:
    ended = reproduce("""
        imported("(float[1,1,2,2] x) => (float[1,1,4,4] y)"
            "<float[4] s = {1,1,2,2}> { y = Resize(x, , s) }")
        ready()
        imported("(float[1,1,2,2] x) => (float[1,1,4,4] y)"
            "<float[4] s = {1,1,2,2}> { y = Upsample(x, s) }", 9)
    """)
    refuses(ended, "\nTypeError", "compiler/budgetc/lower/foreign.py: _converted")
    assert ended.said[0].startswith("Error converting operator Upsample")


def test_the_importer_changes_types(reproduce: Reproduce) -> None:
    ended = reproduce("""
        def written(text):
            functions = [f for _, f in imported(text).functions_items()]
            (only,) = (f for f in functions if isinstance(f, tirx.PrimFunc))
            return str(only.params[-1].dtype)

        assert written("(int32[3,4] x) => (int32[3,1] y) { y = ReduceMax<axes=[1]>(x) }") == "int32"
        ready()
        print(written("(int32[3,4] x) => (int32[3,1] y) { y = ReduceMean<axes=[1]>(x) }"))
        print(written("(int64[3] i) => (float[3,4] y)"
            "<int64 d = {4}, float[2] v = {0,1}> { y = OneHot(i, d, v) }"))
    """)
    says(ended, ["int64", "float64"], "")


def test_the_importer_ignores_antialias(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import numpy as np

        def resized(options):
            module = imported("(float[1,1,8,8] x) => (float[1,1,4,4] y) <float[4] s = {1,1,0.5,0.5}>"
                "{ y = Resize<" + options + ">(x, , s) }", 18)
            machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
            x = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
            return machine["main"](tvm.runtime.tensor(x)).numpy()

        assert (resized('mode="cubic"') != resized('mode="linear"')).any()
        ready()
        print((resized('mode="linear", antialias=1') == resized('mode="linear"')).all())
    """)
    says(ended, ["True"], "")


def test_gather_reads_wherever_an_index_points(reproduce: Reproduce) -> None:
    ended = reproduce("""
        import numpy as np

        module = imported("(float[5,6] w, int64[1] i) => (float[1,6] y) { y = Gather(w, i) }")
        machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
        table = np.arange(30, dtype=np.float32).reshape(5, 6)

        def gathered(index):
            arguments = (table, np.array([index]))
            return machine["main"](*map(tvm.runtime.tensor, arguments)).numpy()

        assert (gathered(4) == table[4]).all() and (gathered(-1) == table[4]).all()
        ready()
        gathered(2**44)
    """)
    kills(ended, signal.SIGSEGV, "compiler/budgetc/lower/bounds.py: with_indices_in_bounds")


def test_sorts_and_scans_are_not_legalised(reproduce: Reproduce) -> None:
    ended = reproduce("""
        def operators(text):
            (block,) = imported(text)["main"].body.blocks
            calls = (b.value for b in block.bindings if isinstance(b.value, relax.Call))
            return [call.op.name for call in calls]

        assert operators("(float[4] x) => (float[4] y) { y = Softmax(x) }") == ["relax.call_tir"]
        ready()
        print(operators("(float[8] x) => (float[3] v, int64[3] i)"
            "<int64[1] k = {3}> { v, i = TopK(x, k) }")[0])
        print(*operators("(float[8] x) => (float[8] y) <int64 a = {0}> { y = CumSum(x, a) }"))
    """)
    where = "compiler/budgetc/lower/foreign.py: the refusal of what needs TVM's runtime"
    says(ended, ["relax.topk", "relax.cumsum"], where)

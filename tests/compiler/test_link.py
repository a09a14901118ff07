"""The library that ships holds what it needs, shows what it must, and is the same bytes every time."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.emit.driver import write_sources
from budgetc.emit.link import compile_source, link_library
from budgetc.emit.symbols import exported_symbols, section_sizes, undefined_symbols
from budgetc.emit.zig import Zig
from budgetc.lower.lowered import Call, Fill, Lowered, Pointer, Port
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_specs.errors import InternalError, ModelError

# What a library of no weights and one empty kernel takes: ELF headers, tables and the checks of the driver.
EMPTY_LIBRARY_BYTES = 1600
WEIGHTS_BYTES = 60 * 4
RUNTIME_BYTES = {1: 4 * 1024, 2: 8 * 1024}


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "arm"])
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_only_the_api_is_visible(kind: str, arch: str, build_toy: Callable[..., Any]) -> None:
    toy = build_toy(f"only_{kind}_{arch}", kind=kind, arch=arch)
    assert exported_symbols(toy.library) == {f"only_{kind}_{arch}_run"}
    assert undefined_symbols(toy.library) <= {"memset", "memcpy"}


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_one_thread_needs_no_threads(kind: str, build_toy: Callable[..., Any]) -> None:
    alone = build_toy(f"alone_{kind}", kind=kind)
    crowd = build_toy(f"crowd_{kind}", kind=kind, threads=2)
    assert not any("pthread" in name for name in undefined_symbols(alone.library))
    assert "pthread_create" in undefined_symbols(crowd.library)
    assert section_sizes(alone.library).static_ram == 0


def test_an_empty_library_is_small(build_toy: Callable[..., Any]) -> None:
    model = Lowered(
        inputs=(Port("x", "float32", (1,)),),
        outputs=(Port("y", "float32", (1,)),),
        calls=(Call("nothing", (Pointer("input"), Pointer("output")), "nothing"),),
        arena_bytes=0,
        arena_lower_bound=0,
        weight_bytes=0,
    )
    kernel = "void nothing(const float *x, float *y) { }"
    toy = build_toy("empty", lowered=model, weights=b"", kernels=kernel)
    assert toy.library.stat().st_size <= EMPTY_LIBRARY_BYTES


def test_weights_stay_out_of_the_cache(build_toy: Callable[..., Any], zig_cache: Path) -> None:
    weights = np.random.default_rng().bytes(WEIGHTS_BYTES)
    began = time.time()
    assert weights in build_toy("heavy", weights=weights).library.read_bytes()
    kept = (zig_cache / "zig" / "o").glob("*/*.o")
    assert not any(weights in p.read_bytes() for p in kept if p.stat().st_mtime >= began - 1)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_runtime_is_small(threads: int, build_toy: Callable[..., Any]) -> None:
    """All of a library that is neither weights nor a kernel: with borders to fill and, with threads, the pool."""
    ports = (Pointer("input"), Pointer("arena"), Pointer("output"))
    fills = (Fill(0, 3, 16, 300, 7), Fill(0, 1, 900, 900, 7), Fill(1000, 5, 260, 300, 0))
    calls = tuple(Call("work", ports, "work", fills, tasks=64, macs=10**6) for _ in range(4))
    model = Lowered(
        inputs=(Port("x", "float32", (1,)),),
        outputs=(Port("y", "float32", (1,)),),
        calls=calls,
        arena_bytes=4096,
        arena_lower_bound=4096,
        weight_bytes=0,
    )
    kernel = "void work(const float *x, char *a, float *y, int begin, int end) { }"
    name = f"runtime{threads}"
    toy = build_toy(name, lowered=model, weights=b"", kernels=kernel, threads=threads)
    size = toy.library.stat().st_size
    assert size <= RUNTIME_BYTES[threads]
    assert ("pthread_create" in undefined_symbols(toy.library)) == (threads > 1)


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_what_nothing_calls_is_not_shipped(kind: str, build_toy: Callable[..., Any]) -> None:
    toy = build_toy("lean", kind=kind)
    dead = "const char dead[50000] = {1}; int never(int i) { return dead[i]; }\n"
    more = build_toy("lean", kind=kind, kernels=dead + (toy.folder / "kernels.c").read_text())
    assert section_sizes(more.library) == section_sizes(toy.library)
    assert abs(more.library.stat().st_size - toy.library.stat().st_size) < 16


@pytest.mark.parametrize("kind", ["shared", "static"])
def test_same_inputs_same_bytes(
    kind: Any, build_toy: Callable[..., Any], tmp_path: Path, zig_cache: Path
) -> None:
    """Another folder, another cache, another day: the same library."""
    toy = build_toy("twice", kind=kind, threads=2)
    other = tmp_path / "some where else"
    shutil.copytree(toy.folder, other)
    toy.library.rename(other / "first")
    link_library(
        [other / "driver.c", other / "weights.c", other / "pool.c"],
        [other / "kernels.o"],
        toy.capability,
        kind,
        other / toy.library.name,
        api=["twice_run"],
        cache=tmp_path / "fresh cache" if kind == "static" else zig_cache / "zig",
    )
    assert (other / toy.library.name).read_bytes() == (other / "first").read_bytes()
    assert b"/tmp" not in (other / "first").read_bytes()


def test_new_weights_make_a_new_library(
    toy_model: Lowered, build_toy: Callable[..., Any], tmp_path: Path, zig_cache: Path
) -> None:
    """A compiler cache that overlooks the embedded file would link the old weights."""
    toy = build_toy("weighed")
    for value in (1, 2):
        weights = bytes([value]) * toy_model.weight_bytes
        sources = write_sources([toy_model], weights, "weighed", tmp_path)
        out = tmp_path / "libweighed.so"
        link_library(
            sources.sources,
            [toy.folder / "kernels.o"],
            toy.capability,
            "shared",
            out,
            api=sources.api,
            cache=zig_cache / "zig",
        )
        assert weights in out.read_bytes()


def link_with(
    kernel: str,
    tmp_path: Path,
    sheet: Callable[..., Capability],
    zig_cache: Path,
    toy_model: Lowered,
) -> Path:
    (tmp_path / "k.c").write_text(kernel)
    compile_source(tmp_path / "k.c", tmp_path / "k.o", sheet(), Zig(zig_cache / "zig"))
    call = Call("kernel", (Pointer("input"), Pointer("output")), "kernel")
    model = replace(toy_model, calls=(call,))
    sources = write_sources([model], bytes(toy_model.weight_bytes), "net", tmp_path)
    out = tmp_path / "libnet.so"
    link_library(
        sources.sources,
        [tmp_path / "k.o"],
        sheet(),
        "shared",
        out,
        api=sources.api,
        cache=zig_cache / "zig",
    )
    return out


def test_a_missing_kernel_is_named(
    tmp_path: Path, sheet: Callable[..., Capability], zig_cache: Path, toy_model: Lowered
) -> None:
    with pytest.raises(InternalError, match="undefined symbol: kernel"):
        link_with("int other;", tmp_path, sheet, zig_cache, toy_model)


def test_a_kernel_may_ask_the_system_for_arithmetic_only(
    tmp_path: Path, sheet: Callable[..., Capability], zig_cache: Path, toy_model: Lowered
) -> None:
    exp = "float expf(float); void kernel(const float *x, float *y) { *y = expf(*x); }"
    assert undefined_symbols(link_with(exp, tmp_path, sheet, zig_cache, toy_model)) == {"expf"}
    put = 'int puts(const char *); void kernel(const float *x, float *y) { puts("hello"); }'
    with pytest.raises(InternalError, match=r"libnet.so needs puts, which is not in"):
        link_with(put, tmp_path, sheet, zig_cache, toy_model)


@pytest.mark.parametrize("kind", ["shared", "static"])
@pytest.mark.parametrize("arch", ["arm", "riscv64"])
def test_what_the_cpu_lacks_is_linked_in_and_nothing_more(
    kind: str, arch: str, build_toy: Callable[..., Any]
) -> None:
    """64-bit division is a function of a compiler's runtime on 32-bit ARM, which no system need have."""
    kernel = """
    float expf(float);
    void kernel(const long long *x, long long *y, const float *z) {
        for (int i = 0; i < 15; i++) y[i] = x[i] / x[i + 1] + (int)expf((float)x[i]);
    }
    """
    model = Lowered(
        inputs=(Port("x", "int64", (16,)),),
        outputs=(Port("y", "int64", (15,)),),
        calls=(Call("kernel", (Pointer("input"), Pointer("output"), Pointer("input")), "k"),),
        arena_bytes=0,
        arena_lower_bound=0,
        weight_bytes=0,
    )
    toy = build_toy(
        f"divided_{kind}_{arch}", kind=kind, arch=arch, lowered=model, weights=b"", kernels=kernel
    )
    assert undefined_symbols(toy.library) <= {"memset", "memcpy", "expf"}
    assert "expf" in undefined_symbols(toy.library)
    assert section_sizes(toy.library).text < 4000


def test_a_failed_link_leaves_the_old_library(
    tmp_path: Path, sheet: Callable[..., Capability], zig_cache: Path, toy_model: Lowered
) -> None:
    (tmp_path / "libnet.so").write_bytes(b"old")
    with pytest.raises(InternalError):
        link_with("int other;", tmp_path, sheet, zig_cache, toy_model)
    assert (tmp_path / "libnet.so").read_bytes() == b"old"


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_two_static_models_link_into_one_program(
    compiler: str, build_toy: Callable[..., Any], tmp_path: Path, zig_cache: Path
) -> None:
    """Both have kernels, weights and a thread pool of the same names."""
    if compiler == "gcc" and not shutil.which("gcc"):
        pytest.skip("no gcc on this machine")
    first = build_toy("first", kind="static", threads=2)
    second = build_toy("second", kind="static", threads=2, weights=bytes(240))
    (tmp_path / "both.c").write_text(
        '#include "first.h"\n#include "second.h"\n'
        "_Alignas(64) static char workspace[FIRST_WORKSPACE_BYTES];\n"
        "static float x[60], a[60], b[60];\n"
        "int main(void) {\n"
        "  first_inputs fi = {x}; first_outputs fo = {a}; second_inputs si = {x}; second_outputs so = {b};\n"
        "  if (first_run(&fi, &fo, workspace) || second_run(&si, &so, workspace)) return 1;\n"
        "  return !(a[59] == 62 && b[59] == 3);\n}\n"
    )
    command = [f"-I{first.folder}", f"-I{second.folder}", "both.c", first.library, second.library]
    command += ["-lm", "-lpthread", "-o", "both"]
    if compiler == "zig":
        Zig(zig_cache / "zig").run(
            "cc", "-target", first.capability.zig_target, *command, cwd=tmp_path
        )
    else:
        subprocess.run(["gcc", *map(str, command)], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "both"], check=False).returncode == 0


@pytest.mark.parametrize(("function", "there"), [("sqrtf", True), ("atanf", False)])
def test_firmware_without_a_function_of_libm_names_the_layer(
    function: str, there: bool, tmp_path: Path, zig_cache: Path
) -> None:
    source = tmp_path / "kernel.c"
    shown = '__attribute__((visibility("default"))) float'
    source.write_text(f"#include <math.h>\n{shown} kernel(float x) {{ return {function}(x); }}\n")
    out = tmp_path / "libnet.a"
    labels = {"kernel": "the Atan layer 'y'"}
    sheet = find_target("cortex-m").capability("cortex-m3", 1)
    with nullcontext() if there else pytest.raises(ModelError) as caught:
        link_library(
            [source],
            [],
            sheet,
            "static",
            out,
            api=("kernel",),
            cache=zig_cache / "zig",
            labels=labels,
        )
    assert out.exists() == there
    if caught:
        assert str(caught.value).startswith("the Atan layer 'y' calls atanf, which firmware")

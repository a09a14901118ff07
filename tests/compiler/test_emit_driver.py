"""The driver checks its caller, fills borders, passes the right pointers and refuses a lowering that lies."""

import ctypes
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.emit.driver import FEW_STORES, PARALLEL_MACS, render_driver, write_sources
from budgetc.emit.zig import Zig
from budgetc.lower.lowered import Call, Fill, Lowered, Pointer, Port
from budgetc_specs.errors import InternalError

OK, NULL_POINTER, MISALIGNED = 0, 1, 2


@pytest.fixture(scope="module")
def run(build_toy: Callable[..., Any]) -> Callable[..., int]:
    """The toy library's function, called with raw addresses: (input, output, workspace) or None for a struct."""
    toy = build_toy("raw")
    function = ctypes.CDLL(str(toy.library)).raw_run
    function.argtypes = [ctypes.c_void_p] * 3
    function.restype = ctypes.c_int

    def call(x: int | None, y: int | None, workspace: int | None, structs: bool = True) -> int:
        inputs, outputs = (ctypes.c_void_p * 1)(x), (ctypes.c_void_p * 1)(y)
        return int(function(inputs if structs else None, outputs, workspace))

    return call


@pytest.fixture
def memory() -> tuple[int, int, int]:
    """Addresses of an input, an output and an aligned workspace."""
    whole = np.zeros(4096, np.uint8)
    memory.keep = whole  # type: ignore[attr-defined]
    start = -whole.ctypes.data % 64 + whole.ctypes.data
    return start, start + 512, start + 1024


def test_a_correct_call_is_ok(run: Callable[..., int], memory: tuple[int, int, int]) -> None:
    assert run(*memory) == OK


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_null_pointer_is_refused(
    which: int, run: Callable[..., int], memory: tuple[int, int, int]
) -> None:
    arguments: list[int | None] = list(memory)
    arguments[which] = None
    assert run(*arguments) == NULL_POINTER


def test_a_null_struct_is_refused(run: Callable[..., int], memory: tuple[int, int, int]) -> None:
    assert run(*memory, structs=False) == NULL_POINTER


@pytest.mark.parametrize(("which", "by"), [(0, 2), (1, 1), (2, 32)])
def test_a_misaligned_pointer_is_refused(
    which: int, by: int, run: Callable[..., int], memory: tuple[int, int, int]
) -> None:
    arguments = list(memory)
    arguments[which] += by
    assert run(*arguments) == MISALIGNED


def test_element_alignment_is_enough_for_buffers(
    run: Callable[..., int], memory: tuple[int, int, int]
) -> None:
    x, y, workspace = memory
    assert run(x + 4, y + 4, workspace) == OK


@pytest.mark.parametrize("threads", [1, 3])
def test_it_compiles_without_a_warning(
    threads: int, toy_model: Lowered, tmp_path: Path, zig_cache: Path
) -> None:
    sources = write_sources([toy_model], bytes(toy_model.weight_bytes), "net", tmp_path, threads)
    for source in sources.sources:
        flags = ["-Wall", "-Wextra", "-Werror", "-std=c23", f"-DBUDGETC_THREADS={threads}"]
        Zig(zig_cache / "zig").run("cc", *flags, "-c", source.name, "-o", "x.o", cwd=tmp_path)


def test_one_thread_leaves_no_trace_of_threads(toy_model: Lowered, tmp_path: Path) -> None:
    sources = write_sources([toy_model], bytes(toy_model.weight_bytes), "net", tmp_path, threads=1)
    assert [source.name for source in sources.sources] == ["driver.c", "weights.c"]
    assert "pool" not in sources.sources[0].read_text()
    assert not (tmp_path / "pool.c").exists()


def test_calls_too_small_to_share_stay_on_the_caller(toy_model: Lowered) -> None:
    small = tuple(replace(call, macs=PARALLEL_MACS - 1) for call in toy_model.calls)
    large = tuple(replace(call, macs=PARALLEL_MACS) for call in toy_model.calls)
    assert "pool" not in render_driver([replace(toy_model, calls=small)], "net", threads=4)
    shared = render_driver([replace(toy_model, calls=large)], "net", threads=4)
    assert shared.count("pool_for(") == sum(call.tasks > 1 for call in toy_model.calls)


def test_fills_of_one_width_and_value_share_a_function(toy_model: Lowered) -> None:
    fills = (Fill(0, 4, 16, 32, 7), Fill(256, 3, 16, 64, 7), Fill(512, 2, 8, 16, 7))
    call = replace(toy_model.calls[0], fills=fills)
    text = render_driver([replace(toy_model, calls=(call,))], "net")
    assert text.count("static void fill_") == 2


def test_rows_of_many_bytes_are_filled_without_a_library(toy_model: Lowered) -> None:
    fills = (Fill(0, 2, FEW_STORES + 1, 200, 7), Fill(0, 1, 400, 400, 9), Fill(0, 1, 16, 16, 7))
    call = replace(toy_model.calls[0], fills=fills)
    text = render_driver([replace(toy_model, calls=(call,), arena_bytes=1024)], "net")
    assert "fill(arena + 0, 2, 200, 129, 7);" in text
    assert "fill(arena + 0, 1, 400, 400, 9);" in text
    assert text.count("memset") == 1, "what is narrow is stored in place"


def test_labels_cannot_break_out_of_their_comment(toy_model: Lowered) -> None:
    call = replace(toy_model.calls[0], label="evil */ } int x; /*")
    text = render_driver([replace(toy_model, calls=(call,))], "net")
    assert "*/ }" not in text


def test_a_model_without_weights_has_none(
    build_toy: Callable[..., Any],
) -> None:
    model = Lowered(
        inputs=(Port("x", "float32", (4,)),),
        outputs=(Port("y", "float32", (4,)),),
        calls=(Call("copy", (Pointer("input"), Pointer("output")), "copy"),),
        arena_bytes=0,
        arena_lower_bound=0,
        weight_bytes=0,
    )
    kernel = "void copy(const float *x, float *y) { for (int i = 0; i < 4; i++) y[i] = x[i]; }"
    toy = build_toy("bare", lowered=model, weights=b"", kernels=kernel)
    assert "#embed" not in (toy.folder / "driver.c").read_text()


def test_pointers_reach_the_port_and_offset_they_name(build_toy: Callable[..., Any]) -> None:
    from budgetc.load import LoadedModel

    model = Lowered(
        inputs=(Port("a", "float32", (2,)), Port("b", "float32", (4,))),
        outputs=(Port("p", "float32", (2,)), Port("q", "float32", (2,))),
        calls=(
            Call("two", (Pointer("input", 8, 1), Pointer("output", 0, 1)), "b[2:] -> q"),
            Call("two", (Pointer("input", 0, 0), Pointer("arena", 64)), "a -> arena"),
            Call("two", (Pointer("arena", 64), Pointer("output", 0, 0)), "arena -> p"),
        ),
        arena_bytes=72,
        arena_lower_bound=72,
        weight_bytes=0,
    )
    kernel = "void two(const float *x, float *y) { y[0] = x[0]; y[1] = x[1]; }"
    toy = build_toy("ports", lowered=model, weights=b"", kernels=kernel)
    a, b = np.array([1, 2], np.float32), np.array([3, 4, 5, 6], np.float32)
    result = LoadedModel(toy.folder, toy.interface)({"b": b, "a": a})
    assert np.array_equal(result["p"], a)
    assert np.array_equal(result["q"], b[2:])


BAD = {
    "before its region": Call("new", (Pointer("arena", -1),), "x"),
    "beyond": Call("new", (Pointer("weights", 10_000),), "x"),
    "does not exist": Call("new", (Pointer("input", 0, 1),), "x"),
    "other parameters": Call("add", (Pointer("input"),), "x"),
    "leaves the arena": Call("new", (), "x", fills=(Fill(0, 100, 16, 64, 0),)),
    "not a C identifier": Call("a-b", (), "x"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_lowering_that_contradicts_itself_is_our_fault(what: str, toy_model: Lowered) -> None:
    model = replace(toy_model, calls=(*toy_model.calls, BAD[what]))
    with pytest.raises(InternalError, match=f"BUG: call 'x'.*{what}"):
        render_driver([model], "net")


def test_weights_of_another_size_are_our_fault(toy_model: Lowered, tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="3 bytes of weights"):
        write_sources([toy_model], b"abc", "net", tmp_path)


def test_a_probe_is_called_between_all_steps(toy_model: Lowered) -> None:
    plain = render_driver([toy_model], "net")
    probed = render_driver([toy_model], "net", probed=True)
    assert "probe" not in plain
    assert probed.count("    net_probe();") == 2 + 2 * len(toy_model.calls)
    assert [line for line in probed.splitlines() if "probe" not in line and line] == [
        line for line in plain.splitlines() if line
    ]


def test_the_driver_is_the_same_for_all_weights(toy_model: Lowered, tmp_path: Path) -> None:
    texts = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        weights = bytes([number]) * toy_model.weight_bytes
        driver, defined = write_sources([toy_model], weights, "net", folder).sources
        texts.append((driver.read_text(), defined.read_text()))
    assert texts[0][0] == texts[1][0]
    assert texts[0][1] != texts[1][1]

"""The harness runs the real library: exact outputs, honest figures, and a name for every way to die."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.emit.driver import probe_symbol, write_driver, write_weights
from budgetc.emit.link import link_library
from budgetc.lower.lowered import Call, Lowered, Pointer, Port
from budgetc.measure.conversation import BinaryError
from budgetc.measure.harness import COUNTER, Harness, build_counter, build_harness, command_line
from budgetc_specs.capability import Capability
from budgetc_specs.errors import InternalError
from budgetc_targets.runners.local import Local
from budgetc_targets.runners.qemu_user import QemuUser

EMULATORS = {
    "aarch64": QemuUser("aarch64", "cortex-a72"),
    "arm": QemuUser("arm", "cortex-a7"),
    "riscv64": QemuUser("riscv64", "rv64"),
}


@pytest.fixture
def start(zig_cache: Path) -> Callable[..., Harness]:
    """A harness for a built library; one for another architecture or a static library links it in."""

    def make(toy: Any, seconds: float = 60.0) -> Harness:
        shared = toy.capability.native and toy.library.suffix == ".so"
        linked = None if shared else toy.library
        program = build_harness(toy.capability, zig_cache, linked, toy.interface.symbol)
        command = (Local() if toy.capability.native else EMULATORS[toy.capability.arch]).command(
            program
        )
        assert command is not None
        return Harness(command, toy.interface, toy.library if shared else None, seconds)

    return make


def samples(count: int, seed: int = 0) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    # Eighths: every sum and product of the toy is exact in float32.
    return {"image": generator.integers(-800, 800, (count, 60)).astype(np.float32) / 8}


@pytest.mark.parametrize("kind", ["shared", "static"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_sample_is_run(
    kind: str, threads: int, build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    toy = build_toy(f"all_{kind}_{threads}", kind=kind, threads=threads)
    inputs = samples(100)
    with start(toy) as harness:
        outputs = harness.run(inputs)
        assert list(outputs) == ["logits"]
        assert np.array_equal(outputs["logits"], toy.expected(inputs["image"]))
        again = harness.run({"image": inputs["image"][:7]})
        assert np.array_equal(again["logits"], outputs["logits"][:7])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("arch", EMULATORS)
def test_another_architecture_runs_emulated(
    arch: str, threads: int, build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    if EMULATORS[arch].why_not:
        pytest.skip(EMULATORS[arch].why_not)
    toy = build_toy(f"{arch}_{threads}", kind="static", arch=arch, threads=threads)
    inputs = samples(20)
    with start(toy, 300.0) as harness:
        assert np.array_equal(harness.run(inputs)["logits"], toy.expected(inputs["image"]))
        assert len(harness.time(5)) == 5
        assert harness.threads(2, 100, inputs) == 0
        assert harness.memory().stack > 0


@pytest.mark.parametrize("arch", EMULATORS)
def test_the_instructions_of_an_inference_are_the_same_every_time(
    arch: str, build_toy: Callable[..., Any], zig_cache: Path
) -> None:
    """Four loops over sixty elements: more instructions than elements, and not a hundred for each."""
    runner = EMULATORS[arch]
    if runner.why_not_counted:
        pytest.skip(runner.why_not_counted)
    toy = build_toy(f"{arch}_1", kind="static", arch=arch)
    program = build_harness(toy.capability, zig_cache, toy.library, toy.interface.symbol)
    plugin = build_counter(runner.plugin_interface(), zig_cache)
    command = runner.watched(program, plugin, COUNTER)
    assert command is not None
    counts = []
    for seed in (0, 1):
        with Harness(command, toy.interface, None, 300.0) as harness:
            harness.run(samples(3))
            counts += [harness.count(samples(1, seed)), harness.count(samples(1, seed))]
    assert len(set(counts)) == 1
    assert 60 < counts[0] < 60 * 100


def test_an_emulator_that_takes_no_plugins_runs_programs_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sheet: Callable[..., Capability]
) -> None:
    (tmp_path / "qemu-aarch64-static").write_text("#!/bin/sh\necho max\n")
    (tmp_path / "qemu-aarch64-static").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    runner = EMULATORS["aarch64"]
    found = command_line(Path("/program"), sheet("aarch64"), runner, tmp_path)
    assert found == runner.command(Path("/program"))
    assert found is not None


def test_samples_are_fed_in_steps_of_the_batch(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    model = Lowered(
        inputs=(Port("a", "uint8", (2, 3)), Port("b", "float32", (2,))),
        outputs=(Port("sum", "float32", (2, 3)), Port("last", "float32", ())),
        calls=(
            Call(
                "sum",
                (
                    Pointer("input"),
                    Pointer("input", 0, 1),
                    Pointer("output"),
                    Pointer("output", 0, 1),
                ),
                "sum",
            ),
        ),
        arena_bytes=0,
        arena_lower_bound=0,
        weight_bytes=0,
    )
    kernel = """
    void sum(const unsigned char *a, const float *b, float *y, float *last) {
        for (int i = 0; i < 6; i++) y[i] = a[i] + b[i / 3];
        *last = b[1];
    }"""
    toy = build_toy("batched", lowered=model, weights=b"", kernels=kernel)
    a = np.arange(21, dtype=np.uint8).reshape(7, 3)
    b = np.arange(7, dtype=np.float32) * 100
    with start(toy) as harness:
        outputs = harness.run({"a": a, "b": b})
    assert np.array_equal(outputs["sum"], (a + b[:, None])[:6].astype(np.float32))
    assert np.array_equal(outputs["last"], b[[1, 3, 5]])


def test_time_gives_one_figure_for_each_inference(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    quick, slow = build_toy("quick"), build_toy("slow", kernels=SPIN)
    with start(quick) as first, start(slow) as second:
        first.load(samples(1))
        times = first.time(500), second.time(500)
    assert [len(t) for t in times] == [500, 500]
    assert all((t > 0).all() for t in times)
    assert np.median(times[1]) > 3 * np.median(times[0])


SPIN = """
#include <stdint.h>
void double_plus_one(const float *x, float *y, int32_t begin, int32_t end) {
    for (int i = begin; i < end; i++) y[i] = 2 * x[i] + 1;
}
void add(const float *x, const float *w, float *y) {
    for (volatile int i = 0; i < 20000; i++);
}
void add_border(const uint8_t *b, float *y) {}
"""


def test_memory_is_what_the_first_inference_takes(
    toy_model: Lowered, build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    greedy = """
    #include <stdint.h>
    static char once[300000];
    void greedy(char *arena) {
        volatile char deep[50000];
        for (int i = 0; i < 50000; i += 64) deep[i] = 1;
        for (int i = 0; i < 1000000; i += 64) arena[i] = 1;
        for (int i = 0; i < 300000; i += 64) once[i] = arena[i];
        __asm__ volatile("" :: "r"(once) : "memory");
    }"""
    call = Call("greedy", (Pointer("arena"),), "greedy")
    toy = build_toy(
        "greedy", lowered=replace(toy_model, calls=(call,), arena_bytes=1_000_000), kernels=greedy
    )
    with start(toy) as harness:
        memory = harness.memory()
        assert 50_000 <= memory.stack < 52_000
        assert 1_300_000 <= memory.anonymous < 1_400_000
        assert memory.resident >= memory.anonymous
        again = harness.memory()
    assert again.stack == memory.stack
    assert abs(again.anonymous - memory.anonymous) <= 4 * 4096  # where pages begin is chance


def test_threads_agree(build_toy: Callable[..., Any], start: Callable[..., Harness]) -> None:
    with start(build_toy("agree")) as harness:
        assert harness.threads(2, 10_000, samples(16)) == 0


def test_a_library_with_hidden_state_is_caught(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    counting = SPIN.replace("void add_border", "static int n; void other") + (
        "void add_border(const uint8_t *b, float *y) { y[0] = n++; }"
    )
    with start(build_toy("stateful", kernels=counting)) as harness:
        assert harness.threads(2, 50, samples(4)) > 0


def broken(statement: str) -> str:
    return SPIN.replace("for (volatile int i = 0; i < 20000; i++);", statement)


@pytest.mark.parametrize(
    ("statement", "signal"),
    [
        ("y[704 / 4] = 1;", "SIGSEGV"),  # one element beyond the arena's 704 bytes
        ("*(volatile const float *)(x + 60);", "SIGSEGV"),  # one beyond the input
        ("__builtin_trap();", "SIGILL"),
        ("extern void abort(void); abort();", "SIGABRT"),
    ],
)
def test_a_crash_names_its_signal(
    statement: str, signal: str, build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    toy = build_toy("crash", kernels=broken(statement))
    with (
        start(toy) as harness,
        pytest.raises(BinaryError, match=f"killed by {signal} during `run`") as e,
    ):
        harness.run(samples(1))
    assert e.value.cause == signal
    assert e.value.exit_code == 6


def test_a_hang_is_stopped(build_toy: Callable[..., Any], start: Callable[..., Harness]) -> None:
    toy = build_toy("hang", kernels=broken("for (volatile int i = 0;; i++);"))
    with (
        start(toy, 1.0) as harness,
        pytest.raises(BinaryError, match="did not end within 1 s") as e,
    ):
        harness.run(samples(1))
    assert e.value.cause == "timeout"


def test_a_refused_call_is_reported(
    build_toy: Callable[..., Any], start: Callable[..., Harness], zig_cache: Path
) -> None:
    toy = build_toy("refused")
    wrong = replace(toy, interface=replace(toy.interface, workspace_bytes=700))
    with start(wrong) as harness, pytest.raises(BinaryError, match="the library returned 2"):
        harness.run(samples(1))


def test_a_library_that_cannot_be_opened_is_reported(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    toy = build_toy("unopened")
    toy.library.write_bytes(b"not a library")
    with pytest.raises(BinaryError, match="`start` failed"), start(toy):
        pass


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"image": np.zeros((0, 60), np.float32)},
        {"image": np.zeros((2, 60), np.float64)},
        {"image": np.zeros((2, 61), np.float32)},
    ],
)
def test_samples_that_do_not_fit_are_our_fault(
    inputs: dict[str, Any], build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    with start(build_toy("fit")) as harness, pytest.raises(InternalError, match="BUG"):
        harness.run(inputs)


def test_it_is_built_once(sheet: Callable[..., Any], zig_cache: Path) -> None:
    first = build_harness(sheet(), zig_cache)
    before = first.stat().st_mtime_ns
    assert build_harness(sheet(), zig_cache) == first
    assert first.stat().st_mtime_ns == before


def test_nothing_is_left_behind(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    harness = start(build_toy("tidy"))
    with harness:
        harness.run(samples(3))
        folder = harness._talk.folder
        process = harness._talk._process
        assert folder.exists()
        assert process is not None
    assert not folder.exists()
    assert process.returncode == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_the_time_between_calls(
    threads: int,
    build_toy: Callable[..., Any],
    start: Callable[..., Harness],
    toy_model: Lowered,
    zig_cache: Path,
    tmp_path: Path,
) -> None:
    """First the clock alone, then what fills memory and the kernel of each call."""
    toy = build_toy(f"probed_{threads}", threads=threads)
    written = write_driver([toy_model], toy.interface.name, tmp_path, threads, probed=True)
    weights = np.arange(60, dtype=np.float32).tobytes()
    sources = [*written.sources, write_weights(weights, toy_model.alignment, tmp_path)]
    library = tmp_path / toy.library.name
    objects = [toy.folder / "kernels.o"]
    cache = zig_cache / "zig"
    link_library(sources, objects, toy.capability, "shared", library, api=written.api, cache=cache)
    with start(replace(toy, library=library)) as harness:
        harness.load(samples(1))
        moments = harness.profile(50, probe_symbol(toy.interface.name))
        assert moments.shape == (50, 1 + 2 * len(toy_model.calls))
        assert (moments >= 0).all()
        assert moments[:, 1:].sum() > 0


def test_a_library_without_probes_has_no_moments(
    build_toy: Callable[..., Any], start: Callable[..., Harness]
) -> None:
    with (
        start(build_toy("unprobed")) as harness,
        pytest.raises(BinaryError, match="unprobed_probe") as caught,
    ):
        harness.profile(5, "unprobed_probe")
    assert caught.value.cause == "refused"

"""The thread pool splits exactly, shares itself among callers, survives fork and leaves with its library."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.load import LoadedModel
from budgetc.lower.lowered import Call, Lowered, Pointer, Port
from budgetc.measure.harness import Harness, build_harness

# Every task counts itself once: a range that is run twice or not at all shows.
COUNT = """
#include <stdint.h>
void clear(float *y) { for (int i = 0; i < 1000; i++) y[i] = 0; }
void count(const float *x, float *y, int32_t begin, int32_t end) {
    for (int i = begin; i < end; i++) y[i] += x[0];
}
"""


def counting(tasks: tuple[int, ...]) -> Lowered:
    calls = [Call("clear", (Pointer("arena"),), "clear")]
    calls += [Call("count", (Pointer("input"), Pointer("arena")), f"{n}", tasks=n) for n in tasks]
    calls += [Call("copy", (Pointer("arena"), Pointer("output")), "copy")]
    return Lowered(
        inputs=(Port("x", "float32", (1,)),),
        outputs=(Port("y", "float32", (1000,)),),
        calls=tuple(calls),
        arena_bytes=4000,
        arena_lower_bound=4000,
        weight_bytes=0,
    )


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_every_task_is_done_once(threads: int, build_toy: Callable[..., Any]) -> None:
    tasks = (1, 2, 3, 7, 8, 9, 64, 999, 1000)
    copy = "void copy(const float *x, float *y) { for (int i = 0; i < 1000; i++) y[i] = x[i]; }"
    toy = build_toy(
        f"count{threads}",
        lowered=counting(tasks),
        weights=b"",
        kernels=COUNT + copy,
        threads=threads,
    )
    model = LoadedModel(toy.folder, toy.interface)
    want = np.array([sum(i < n for n in tasks) for i in range(1000)], np.float32)
    for _ in range(300):
        assert np.array_equal(model({"x": np.ones(1, np.float32)})["y"], want)


@pytest.mark.parametrize("threads", [2, 4])
def test_callers_that_meet_get_the_same_numbers(
    threads: int, build_toy: Callable[..., Any], zig_cache: Path
) -> None:
    toy = build_toy(f"meet{threads}", threads=threads)
    program = build_harness(toy.capability, zig_cache)
    images = np.random.default_rng(1).standard_normal((16, 60)).astype(np.float32)
    with Harness([str(program)], toy.interface, toy.library, 120) as harness:
        assert harness.threads(4, 5_000, {"image": images}) == 0


SCRIPT = """
import _ctypes, os, sys, time
import numpy as np
from budgetc.load import load

def threads():
    return len(os.listdir("/proc/self/task"))

before = threads()
model = load(sys.argv[1])
assert threads() == before, "loading starts nothing"
x = {"image": np.arange(60, dtype=np.float32)[None]}
want = model(x)["logits"]
assert threads() == before + 3, threads()
"""

FORK = """
child = os.fork()
same = all(np.array_equal(model(x)["logits"], want) for _ in range(1000))
if child == 0:
    os._exit(0 if same and threads() == 4 else 1)  # one that forked, three started anew
assert same
assert os.waitpid(child, 0)[1] == 0
"""

CLOSE = """
for _ in range(20):
    _ctypes.dlclose(model._library._handle)
    for _ in range(100):
        if threads() == before:
            break
        time.sleep(0.01)
    assert threads() == before, "closing ends the workers"
    model = load(sys.argv[1])
    assert np.array_equal(model(x)["logits"], want)
"""


@pytest.mark.parametrize("what", ["fork", "close", "exit"])
def test_a_pool_comes_and_goes_with_its_process(what: str, build_toy: Callable[..., Any]) -> None:
    toy = build_toy(f"life_{what}", threads=4)
    (toy.folder / "manifest.json").write_text(json.dumps(toy.interface.to_json()))
    code = SCRIPT + {"fork": FORK, "close": CLOSE, "exit": ""}[what]
    subprocess.run([sys.executable, "-c", code, toy.folder], check=True, timeout=60)


MANY_CALLERS = """
#include <pthread.h>
#include <stdio.h>
#include "race.h"
static const float image[RACE_INPUT_IMAGE_ELEMENTS] = {1, 2, 3};
static void *call(void *unused) {
    _Alignas(64) char workspace[RACE_WORKSPACE_BYTES];
    float logits[RACE_OUTPUT_LOGITS_ELEMENTS];
    race_inputs inputs = {image};
    race_outputs outputs = {logits};
    for (int i = 0; i < 2000; i++)
        if (race_run(&inputs, &outputs, workspace) || logits[59] != 62)
            puts("wrong");
    return unused;
}
int main(void) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], 0, call, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], 0);
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc for its thread sanitizer")
def test_the_thread_sanitizer_sees_no_race(
    build_toy: Callable[..., Any], toy_model: Lowered, tmp_path: Path
) -> None:
    toy = build_toy("race", threads=3)
    text = (toy.folder / "weights.c").read_text()
    weights = ",".join(str(byte) for byte in (toy.folder / "weights.embed").read_bytes()[1:])
    (tmp_path / "weights.c").write_text(
        text.replace('#embed "weights.embed" clang::offset(1)', weights)
    )
    (tmp_path / "main.c").write_text(MANY_CALLERS)
    sources = [
        "main.c",
        "weights.c",
        toy.folder / "driver.c",
        toy.folder / "pool.c",
        toy.folder / "kernels.c",
    ]
    flags = [
        "-fsanitize=thread",
        "-O1",
        "-g",
        "-std=gnu2x",
        "-DBUDGETC_THREADS=3",
        f"-I{toy.folder}",
    ]
    made = subprocess.run(
        ["gcc", *flags, *map(str, sources), "-lm", "-lpthread", "-o", "race"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    if "cannot find" in made.stderr:
        pytest.skip("this gcc has no thread sanitizer")
    assert made.returncode == 0, made.stderr
    ran = subprocess.run(
        [tmp_path / "race"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_the_runtime_is_in_the_package() -> None:
    runtime = resources.files("budgetc.emit") / "runtime"
    assert {"pool.c", "pool.h"} <= {file.name for file in runtime.iterdir()}


def test_without_threads_to_share_nothing_is_linked(
    build_toy: Callable[..., Any], toy_model: Lowered
) -> None:
    serial = replace(toy_model, calls=tuple(replace(c, macs=1) for c in toy_model.calls))
    toy = build_toy("serial", lowered=serial, threads=4)
    assert not (toy.folder / "pool.c").exists()

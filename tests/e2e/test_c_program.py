"""A C program of twenty lines runs a library: shared and static, as C and as C++, and under sanitizers."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.lower.lowered import Call, Lowered, Pointer, Port

HERE = Path(__file__).parent

# Class c is the sum of every tenth pixel from c on.
SUMS = """
void sums(const float *x, float *arena, float *y) {
    for (int i = 0; i < 784; i++) arena[i] = x[i];
    for (int c = 0; c < 10; c++) {
        float sum = 0;
        for (int i = c; i < 784; i += 10) sum += arena[i];
        y[c] = sum;
    }
}
"""


@pytest.fixture(scope="module", params=[1, 2], ids=["1 thread", "2 threads"])
def digits(request: pytest.FixtureRequest, build_toy: Callable[..., Any]) -> Callable[[str], Any]:
    """Builds a stand-in for the digits model, of the same interface."""

    def build(kind: str) -> Any:
        idle = Call("idle", (Pointer("arena", 3136),), "idle", tasks=10)
        sums = Call("sums", (Pointer("input"), Pointer("arena"), Pointer("output")), "sums")
        model = Lowered(
            inputs=(Port("input", "float32", (1, 1, 28, 28)),),
            outputs=(Port("logits", "float32", (1, 10)),),
            calls=(idle, sums),
            arena_bytes=3136 + 64,
            arena_lower_bound=3136,
            weight_bytes=0,
        )
        kernels = SUMS + "void idle(char *a, int b, int e) { for (; b < e; b++) a[b] = 1; }"
        return build_toy(
            "mnist", kind=kind, lowered=model, weights=b"", kernels=kernels, threads=request.param
        )

    return build


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image of class 7."""
    pixels = np.zeros(784, np.float32)
    pixels[7::10] = 1
    pixels.tofile(tmp_path / "image.raw")
    return tmp_path / "image.raw"


def classify(program: Path, image: Path) -> tuple[int, str, str]:
    done = subprocess.run([program, image], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("compiler", ["zig cc", "zig c++", "gcc", "g++"])
@pytest.mark.parametrize("kind", ["shared", "static"])
def test_one_inference(
    compiler: str,
    kind: str,
    digits: Callable[[str], Any],
    compile_c: Callable[..., Path],
    image: Path,
) -> None:
    toy = digits(kind)
    program = compile_c(
        HERE / "one_inference.c",
        f"-I{toy.folder}",
        toy.library,
        *("-lm", "-lpthread", f"-Wl,-rpath,{toy.folder}"),
        compiler=compiler,
    )
    assert classify(program, image) == (0, "7\n", "")


@pytest.mark.parametrize(
    ("compiler", "sanitizer"),
    [("gcc", "address"), ("gcc", "undefined"), ("zig cc", "undefined")],
)
def test_one_inference_under_a_sanitizer(
    compiler: str,
    sanitizer: str,
    digits: Callable[[str], Any],
    compile_c: Callable[..., Path],
    image: Path,
) -> None:
    toy = digits("static")
    flags = (f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all", "-g", f"-I{toy.folder}")
    source = HERE / "one_inference.c"
    program = compile_c(source, *flags, toy.library, "-lm", "-lpthread", compiler=compiler)
    assert classify(program, image) == (0, "7\n", "")


def test_two_threads_two_models(
    build_toy: Callable[..., Any], compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    first = build_toy("first", kind="static")
    second = build_toy("second", kind="static", threads=2, weights=bytes(240))
    np.arange(60, dtype=np.float32).tofile(tmp_path / "x.raw")
    program = compile_c(
        HERE / "two_models.c",
        "-DFIRST=first_run",
        "-DSECOND=second_run",
        first.library,
        second.library,
        *("-lm", "-lpthread"),
    )
    arguments = [
        str(value)
        for toy in (first, second)
        for value in (240, 240, toy.interface.workspace_bytes, tmp_path / "x.raw")
    ]
    done = subprocess.run([program, "10000", *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"0 0\n")

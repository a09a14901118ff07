"""Small real libraries for the tests of emission: kernels in C, a lowered model written by hand."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from budgetc.cache import cache_folder
from budgetc.emit.driver import write_sources
from budgetc.emit.header import interface
from budgetc.emit.link import Kind, compile_source, library_file, link_library
from budgetc.emit.zig import Zig
from budgetc.load import Interface
from budgetc.lower.lowered import Call, Fill, Lowered, Pointer, Port
from budgetc_specs.capability import Capability
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))  # importlib mode leaves it off

from cluster import Cluster, cluster

# Whoever starts a run in the background may have it ignore Ctrl-C, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The first text that is drawn has tables of characters made for it: seconds on a busy machine, and no fault of a test.
# No test fails for being slow: time is a matter of benchmarks.
settings.register_profile("budgetc", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The gate says the same of the same commit; who runs pytest by hand draws anew each time, and finds more.
settings.register_profile("gate", settings.get_profile("budgetc"), derandomize=True)
settings.load_profile("budgetc")

ELEMENTS = 60

KERNELS = """
#include <stdint.h>
void double_plus_one(const float *x, float *y, int32_t begin, int32_t end) {
    for (int i = begin; i < end; i++)
        y[i] = 2 * x[i] + 1;
}
void add(const float *x, const float *w, float *y) {
    for (int i = 0; i < 60; i++)
        y[i] = x[i] + w[i];
}
/* Sums what the driver filled, 4 rows of 16 bytes of 7 and 64 bytes of 9, into the first output. */
void add_border(const uint8_t *border, float *y) {
    int sum = 0;
    for (int i = 0; i < 4 * 32; i++)
        sum += i % 32 < 16 ? border[i] : 0;
    for (int i = 0; i < 64; i++)
        sum += border[128 + i];
    y[0] += (float)sum;
}
int unused(int a) { return a * 7; }
"""
BORDER_SUM = 64 * 7 + 64 * 9

WEIGHTS = np.arange(ELEMENTS, dtype=np.float32) / 4


@dataclass(frozen=True)
class Toy:
    """A built library that computes 4 (x + w) + 3 and adds its border bytes to the first element."""

    folder: Path
    library: Path
    interface: Interface
    capability: Capability

    @staticmethod
    def expected(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        y = 4 * (x + WEIGHTS) + 3
        y[..., 0] += BORDER_SUM
        return y


TRIPLES = {
    "x86_64": {"zig_target": "x86_64-linux-gnu.2.17"},
    "aarch64": {"zig_target": "aarch64-linux-gnu.2.17"},
    "riscv64": {"zig_target": "riscv64-linux-gnu.2.27"},
    "wasm32": {
        "zig_target": "wasm32-wasi",
        "zig_cpu": "generic+simd128+bulk_memory+nontrapping_fptoint+sign_ext",
        "system": "module",
    },
    "arm": {"zig_target": "arm-linux-gnueabihf.2.17", "zig_cpu": "cortex_a7"},
}
"""What zig links for, by architecture."""


def capability(arch: str = "x86_64", threads: int = 1) -> Capability:
    return Capability.model_validate(
        {
            "target": arch,
            "arch": arch,
            "cpu": "x86-64-v3" if arch == "x86_64" else "cortex-a72",
            "llvm_triple": f"{arch}-linux-gnu",
            **TRIPLES[arch],
            "vector_bytes": 32 if arch == "x86_64" else 16,
            "vector_registers": 16,
            "int8_dot": "maddubs256" if arch == "x86_64" else "widening128",
            "weight_bits": 7 if arch == "x86_64" else 8,
            "threads": threads,
            "native": arch == os.uname().machine,
        }
    )


def toy_lowered() -> Lowered:
    border = 512
    return Lowered(
        inputs=(Port("image", "float32", (1, ELEMENTS)),),
        outputs=(Port("logits", "float32", (1, ELEMENTS)),),
        calls=(
            Call("add", (Pointer("input"), Pointer("weights"), Pointer("arena")), "add"),
            Call(
                "double_plus_one",
                (Pointer("arena"), Pointer("arena", 256)),
                "first",
                tasks=ELEMENTS,
            ),
            Call(
                "double_plus_one",
                (Pointer("arena", 256), Pointer("output")),
                "second",
                tasks=ELEMENTS,
            ),
            Call(
                "add_border",
                (Pointer("arena", border), Pointer("output")),
                "border",
                fills=(Fill(border, 4, 16, 32, 7), Fill(border + 128, 1, 64, 64, 9)),
            ),
        ),
        arena_bytes=border + 192,
        arena_lower_bound=512,
        weight_bytes=WEIGHTS.nbytes,
    )


@pytest.fixture(scope="session")
def sheet() -> Callable[..., Capability]:
    """Makes capability sheets: `sheet(arch, threads)`."""
    return capability


@pytest.fixture(scope="session")
def toy_model() -> Lowered:
    """What the toy is built from."""
    return toy_lowered()


@pytest.fixture(scope="session")
def zig_cache(request: pytest.FixtureRequest) -> Path:
    """One cache for all workers and runs, with zig's that everybody has: the first use of a target builds its libc."""
    made = Path(request.config.cache.mkdir("emit"))
    shared = cache_folder() / "zig"
    shared.mkdir(parents=True, exist_ok=True)
    link = made / "zig"
    if not link.exists() or link.resolve() != shared.resolve():
        fresh = made / f"zig.{os.getpid()}"
        fresh.symlink_to(shared)
        with suppress(IsADirectoryError):  # of an older checkout: it serves as well
            fresh.replace(link)
        fresh.unlink(missing_ok=True)
    return made


@pytest.fixture(scope="session")
def build_toy(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Callable[..., Toy]:
    """Builds a library: by default the toy model, or any lowered model with kernels in C."""

    def make(
        name: str = "toy",
        *,
        kind: str = "shared",
        arch: str = "x86_64",
        threads: int = 1,
        lowered: Lowered | None = None,
        weights: bytes = WEIGHTS.tobytes(),
        kernels: str = KERNELS,
    ) -> Toy:
        folder = tmp_path_factory.mktemp(name)
        sheet = capability(arch, threads)
        model = lowered or toy_lowered()
        sources = write_sources([model], weights, name, folder, threads)
        (folder / "kernels.c").write_text(kernels)
        compile_source(folder / "kernels.c", folder / "kernels.o", sheet, Zig(zig_cache / "zig"))
        chosen: Kind = "shared" if kind == "shared" else "static"
        library = folder / library_file(name, chosen, sheet)
        link_library(
            sources.sources,
            [folder / "kernels.o"],
            sheet,
            chosen,
            library,
            api=sources.api,
            cache=zig_cache / "zig",
        )
        return Toy(folder, library, interface([model], name, library.name), sheet)

    return make


@pytest.fixture
def dask_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts Dask clusters on loopback: `dask_cluster(environment, workers)`; they end with the test."""
    with ExitStack() as stack:

        def start(environment: dict[str, str], workers: int = 2) -> Cluster:
            return stack.enter_context(cluster(tmp_path / "dask", environment, workers))

        yield start

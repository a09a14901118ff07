"""A model as a WebAssembly module: under Node.js and in a browser, by the loader that ships beside it."""

import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from budgetc.emit.link import library_file
from budgetc.emit.loader import render_loader
from budgetc.emit.symbols import exported_symbols, section_sizes, undefined_symbols
from budgetc.measure.conversation import BinaryError
from budgetc.measure.harness import Harness, module_harness
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")
PAGE = Path(__file__).parents[2] / "specs" / "examples" / "browser" / "index.html"


@pytest.fixture(scope="module")
def toy(build_toy: Callable[..., Any]) -> Any:
    """The toy model as a module, with its loader and the example's page beside it."""
    made = build_toy("toy", arch="wasm32")
    (made.folder / "toy.mjs").write_text(render_loader(made.interface))
    (made.folder / "index.html").write_text(PAGE.read_text().replace("model.mjs", "toy.mjs"))
    return made


def samples(count: int) -> dict[str, Any]:
    numbers = np.random.default_rng(0).integers(-800, 800, (count, 60))
    return {"image": numbers.astype(np.float32) / 8}


def test_a_module_imports_nothing_and_shows_its_api(toy: Any) -> None:
    assert undefined_symbols(toy.library) == set()
    shown = {"memory", "__heap_base", "_initialize", "toy_run"}
    assert exported_symbols(toy.library) == shown
    assert section_sizes(toy.library).static_ram >= 240  # its weights are copied into its memory


@needs_node
def test_the_harness_runs_the_module_that_ships(toy: Any, zig_cache: Path) -> None:
    command = [str(NODE), str(module_harness(zig_cache))]
    inputs = samples(9)
    with Harness(command, toy.interface, toy.library, 60.0) as harness:
        assert np.array_equal(harness.run(inputs)["logits"], toy.expected(inputs["image"]))
        harness.load(inputs)
        assert (harness.time(3) > 0).all()
        assert 0 <= harness.memory().stack < 4096
        with pytest.raises(BinaryError, match="unknown command"):
            harness.threads(2, 1, inputs)


@needs_node
def test_what_is_written_beside_a_buffer_is_found(
    build_toy: Callable[..., Any], toy_model: Any, zig_cache: Path
) -> None:
    kernels = """
    void add(const float *x, const float *w, float *y) { }
    void double_plus_one(const float *x, float *y, int begin, int end) { y[60] = 1; }
    void add_border(const char *b, float *y) { }
    """
    wrong = build_toy("wrong", arch="wasm32", lowered=toy_model, kernels=kernels)
    command = [str(NODE), str(module_harness(zig_cache))]
    with (
        Harness(command, wrong.interface, wrong.library, 60.0) as harness,
        pytest.raises(BinaryError, match="wrote beside a buffer"),
    ):
        harness.run(samples(1))


SCRIPT = """
import { load, entries } from "./toy.mjs";
const model = await load();
const [port] = entries.toy_run.inputs;
const image = new Float32Array(port.length).fill(0.5);
const { logits } = model.run({ image });
const again = model.run({ image }).logits;
const errors = [];
for (const wrong of [{}, { image: new Uint8Array(60) }, { image: new Float32Array(3) }])
  try { model.run(wrong); } catch (error) { errors.push(`${error.name}: ${error.message}`); }
console.log(JSON.stringify({ logits: [...logits], same: logits.every((v, i) => v === again[i]), errors }));
"""


@needs_node
def test_the_loader_calls_the_module_under_node(toy: Any) -> None:
    (toy.folder / "use.mjs").write_text(SCRIPT)
    done = subprocess.run(
        [str(NODE), "use.mjs"], cwd=toy.folder, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["same"]
    expected = toy.expected(np.full((1, 60), 0.5, np.float32))
    np.testing.assert_array_equal(found["logits"], expected[0])
    missing, type_, length = found["errors"]
    assert (
        missing
        == 'TypeError: input "image" is a Float32Array of 60 elements; it was given undefined'
    )
    assert type_.endswith("it was given Uint8Array")
    assert length.startswith("RangeError")
    assert length.endswith("it was given 3")


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_page_runs_the_model_in_a_browser(toy: Any, tmp_path: Path) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _quiet(toy.folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            *(str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=20000", "--dump-dom"),
            f"http://127.0.0.1:{server.server_port}/index.html",
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        server.shutdown()
    expected = toy.expected(np.zeros((1, 60), np.float32))[0]
    assert "toy_run: 1 inference" in done.stdout, done.stdout
    assert f"logits: {expected[0]:g}, {expected[1]:g}" in done.stdout


def _quiet(folder: Path) -> Callable[..., http.server.SimpleHTTPRequestHandler]:
    """A server of a folder that says nothing."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    return partial(Handler, directory=str(folder))


def test_modules_are_not_linked_with_anything(sheet: Callable[..., Capability]) -> None:
    assert library_file("net", "shared", sheet("wasm32")) == "net.wasm"
    assert library_file("net", "shared", sheet("arm")) == "libnet.so"
    assert library_file("net", "static", sheet("riscv64")) == "libnet.a"
    with pytest.raises(SpecError, match="makes modules, with which nothing is linked"):
        library_file("net", "static", sheet("wasm32"))

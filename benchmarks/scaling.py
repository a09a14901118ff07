"""Latency against width, depth, resolution and threads of a generated CNN, beside onnxruntime."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from budgetc_specs.units import format_seconds
from onnx import TensorProto, helper, numpy_helper

from benchmarks import library, machine, tables
from benchmarks.peers.contenders import BY_NAME, time_peer
from benchmarks.turns import in_turns

_OPSET = 17
_CLASSES = 10
_CALIBRATION = 16
_PEER = BY_NAME["onnxruntime float"]


@dataclass(frozen=True)
class Network:
    """A 3x3 convolution from three channels at half the resolution, so many blocks, mean, and a product.

    A block is a 3x3 convolution, a BatchNormalization and a Relu, all as wide; every other pair of blocks is bridged by
    a sum.
    """

    width: int = 32
    depth: int = 4
    resolution: int = 32

    @property
    def multiplications(self) -> int:
        """Multiply-adds of an inference."""
        pixels = (self.resolution // 2) ** 2
        return pixels * 9 * self.width * (3 + self.depth * self.width) + self.width * _CLASSES


BASE = Network()
SWEEPS = {
    "width": (8, 16, 32, 64, 128),
    "depth": (2, 4, 8, 16),
    "resolution": (16, 32, 64, 128),
}


def networks() -> Iterator[tuple[str, Network]]:
    """Each sweep's networks, which differ from the base in one number."""
    for name, values in SWEEPS.items():
        for value in values:
            yield name, replace(BASE, **{name: value})


def model(network: Network) -> onnx.ModelProto:
    """The network with seeded random weights."""
    random = np.random.default_rng(0)
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, np.ndarray] = {}

    def add(operator: str, *operands: str, **attributes: Any) -> str:
        output = f"v{len(nodes)}"
        nodes.append(helper.make_node(operator, list(operands), [output], **attributes))
        return output

    def constant(values: np.ndarray) -> str:
        name = f"c{len(constants)}"
        constants[name] = values.astype(np.float32)
        return name

    def block(value: str, channels: int, stride: int) -> str:
        shape = (network.width, channels, 3, 3)
        weight = constant(random.normal(0, np.sqrt(2 / (9 * channels)), shape))
        value = add("Conv", value, weight, pads=[1] * 4, strides=[stride] * 2)
        ones = np.ones(network.width)
        shift = random.normal(0, 0.1, network.width)
        normal = [constant(v) for v in (0.7 * ones, shift, 0 * ones, ones)]
        return add("BatchNormalization", value, *normal)

    value = before = add("Relu", block("input", 3, 2))
    for index in range(network.depth):
        if index % 2 == 0:
            before = value
        value = block(value, network.width, 1)
        if index % 4 == 1:
            value = add("Add", value, before)
        value = add("Relu", value)
    value = add("Flatten", add("GlobalAveragePool", value))
    weight = random.normal(0, network.width**-0.5, (network.width, _CLASSES))
    nodes.append(helper.make_node("Gemm", [value, constant(weight)], ["output"]))
    shape = [1, 3, network.resolution, network.resolution]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, _CLASSES])],
        [numpy_helper.from_array(v, n) for n, v in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)


def measure(network: Network, threads: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of both, in float and in int8, in turns; both int8 contenders run the same quantized model."""
    folder: Path = arguments.out / "scaling"
    folder.mkdir(parents=True, exist_ok=True)
    file, calibration = folder / "model.onnx", folder / "calibration.npz"
    onnx.save(model(network), file)
    shape = (3, network.resolution, network.resolution)
    samples = np.random.default_rng(1).normal(0, 1, (_CALIBRATION, *shape)).astype(np.float32)
    archive: dict[str, Any] = {"input": samples}
    np.savez(calibration, **archive)
    samples[:1].tofile(folder / "samples.bin")
    np.save(folder / "samples.npy", samples[:1])
    ours = {"float": folder / "float", "int8": folder / "int8"}
    library.build_library(file, library.FLOAT, threads, ours["float"])
    library.build_library(file, library.INT8, threads, ours["int8"], calibration=calibration)
    theirs = {"float": file, "int8": ours["int8"] / "optimised.onnx"}
    contenders = {}
    for precision in ours:
        contenders[f"budgetc_{precision}_s"] = lambda p=precision: library.time_library(
            ours[p], folder / "samples.bin", arguments.seconds, threads
        )
        contenders[f"onnxruntime_{precision}_s"] = lambda p=precision: time_peer(
            *(Path(sys.executable), _PEER, theirs[p], folder / "samples.npy"),
            *(arguments.seconds, threads),
        )
    return in_turns(contenders, arguments.rounds)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a page shows them."""
    head = ["network", "threads", "MMAC"]
    for precision in ("float", "int8"):
        head += [
            f"budgetc {precision}",
            "GMAC/s",
            f"onnxruntime {precision}",
            "onnxruntime / budgetc",
        ]
    lines = []
    for r in rows:
        named = f"{r['sweep']} {r[r['sweep']]}"
        cells = [named, str(r["threads"]), f"{r['multiplications'] / 1e6:.1f}"]
        for precision in ("float", "int8"):
            mine, peer = r[f"budgetc_{precision}_s"], r[f"onnxruntime_{precision}_s"]
            cells += [format_seconds(mine), f"{r['multiplications'] / mine / 1e9:.0f}"]
            cells += [format_seconds(peer), f"{peer / mine:.2f}"]
        lines.append(cells)
    base = f"width {BASE.width}, depth {BASE.depth}, resolution {BASE.resolution}"
    return f"{machine.name()}; each differs in one number from {base}.\n\n{tables.markdown(head, lines)}"


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    add = parser.add_argument
    add("sweeps", nargs="*", help=f"of {', '.join(SWEEPS)}; all if none")
    add("--threads", type=tables.numbers, default=[1], help='such as "1,2"; by default 1')
    add("--rounds", type=int, default=3, help="turns of each")
    add("--seconds", type=float, default=0.2, help="timed seconds of a measurement")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of scaling is replaced")
    arguments = parser.parse_args(given)
    unknown = sorted(set(arguments.sweeps) - set(SWEEPS))
    if unknown:
        parser.error(f"no such sweep: {', '.join(unknown)}")
    points = [
        (sweep, network, threads)
        for sweep, network in networks()
        for threads in arguments.threads
        if sweep in (arguments.sweeps or SWEEPS)
    ]
    rows: list[dict[str, Any]] = []
    known: dict[tuple[Network, int], dict[str, Any]] = {}
    start = time.monotonic()
    for index, (sweep, network, threads) in enumerate(points):
        if (network, threads) not in known:  # the base belongs to every sweep
            known[network, threads] = measure(network, threads, arguments)
        found = known[network, threads]
        size = {**asdict(network), "multiplications": network.multiplications}
        rows.append({"sweep": sweep, "threads": threads, **size, **found})
        left = (time.monotonic() - start) / (index + 1) * (len(points) - index - 1) / 60
        figures = ", ".join(
            f"{name[:-2]} {seconds * 1e6:.1f} us" for name, seconds in found.items()
        )
        print(
            f"{index + 1} of {len(points)}, {left:.1f} min left: {network}, {threads}: {figures}",
            file=sys.stderr,
            flush=True,
        )
    tables.publish("scaling", table(rows), rows, arguments.out, arguments.page)
    return 0


if __name__ == "__main__":
    sys.exit(main())

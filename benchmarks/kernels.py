"""Time each kernel family as a model of one operator: beside onnxruntime's, and beside what the core can do."""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
from budgetc.registry import find_target
from budgetc_passes.contract import Evidence
from budgetc_passes.quantization.bfloat16 import Bfloat16
from budgetc_specs.units import format_bytes, format_seconds
from onnx import TensorProto, helper, numpy_helper

from benchmarks import library, machine, tables
from benchmarks.limits import Limits, highest, measure_limits
from benchmarks.peers.contenders import BY_NAME, time_peer
from benchmarks.roofline import Point, roofline
from benchmarks.turns import in_turns

_OPSET = 17
_CALIBRATION = 8
_BETWEEN_LIMITS = 8
_PEER = BY_NAME["onnxruntime float"]
PRECISIONS = ("float", "bf16", "int8")


@dataclass(frozen=True)
class Kernel:
    """One operator on one shape.

    Attributes:
        operator: of ONNX.
        shape: of the input, batch included.
        weight: shape of the constant operand; none where it is empty.
        attributes: of the node.
        operations: arithmetic of one inference, a multiply-add being two; 0 where the bytes are all that counts.
        twice: whether the second operand is another input like the first.
    """

    family: str
    operator: str
    shape: tuple[int, ...]
    weight: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    operations: int = 0
    twice: bool = False

    def takes(self, precision: str) -> bool:
        """Whether there is such a form of it: only products have others than that in float."""
        product = self.operator in {"Conv", "MatMul"}
        if precision == "bf16":
            return product and self.family != "depthwise" and library.multiplies_halves()
        return product or precision == "float"

    @property
    def label(self) -> str:
        """Short, for a table."""
        sizes = "x".join(map(str, self.shape))
        if self.weight:
            sizes += " by " + "x".join(map(str, self.weight))
        stride = self.attributes.get("strides", [1])[0]
        return f"{self.operator} {sizes}" + (f" stride {stride}" if stride > 1 else "")


def kernels() -> Iterator[Kernel]:
    """The families, in shapes of ResNet-50 and MobileNet and of a small transformer."""
    for rows, deep, wide in (
        (3136, 64, 256),
        (784, 512, 128),
        (196, 1024, 256),
        (49, 512, 2048),
        (1, 2048, 1000),
    ):
        yield Kernel(
            "gemm", "MatMul", (rows, deep), (deep, wide), operations=2 * rows * deep * wide
        )
    for size, channels in ((56, 64), (28, 128), (14, 256), (7, 512)):
        yield _convolution("conv3x3", size, channels, channels, 3)
    for size, channels, wide in ((56, 64, 256), (14, 1024, 256)):
        yield _convolution("conv1x1", size, channels, wide, 1)
    for size, channels, stride in ((112, 32, 1), (56, 128, 1), (56, 128, 2), (14, 512, 1)):
        yield _convolution("depthwise", size, channels, channels, 3, stride, depthwise=True)
    yield Kernel("softmax", "Softmax", (4, 128, 128), attributes={"axis": -1})
    yield Kernel("softmax", "Softmax", (1, 1000), attributes={"axis": -1})
    halving = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    yield Kernel("pooling", "MaxPool", (1, 64, 112, 112), attributes=halving)
    pairs = {"kernel_shape": [2, 2], "strides": [2, 2]}
    yield Kernel("pooling", "AveragePool", (1, 128, 56, 56), attributes=pairs)
    yield Kernel("pooling", "GlobalAveragePool", (1, 2048, 7, 7))
    yield Kernel("elementwise", "Add", (1, 64, 56, 56), twice=True)
    yield Kernel("elementwise", "Mul", (1, 64, 56, 56), (64, 1, 1))
    for operator in ("Relu", "Sigmoid", "HardSwish"):
        yield Kernel("elementwise", operator, (1, 64, 56, 56))
    yield Kernel("call", "Relu", (1, 64))


def _convolution(
    family: str,
    size: int,
    channels: int,
    wide: int,
    kernel: int,
    stride: int = 1,
    *,
    depthwise: bool = False,
) -> Kernel:
    deep = 1 if depthwise else channels
    attributes: dict[str, Any] = {"kernel_shape": [kernel] * 2, "pads": [kernel // 2] * 4}
    attributes |= {"strides": [stride] * 2, "group": channels // deep}
    out = (size + stride - 1) // stride
    weight = (wide, deep, kernel, kernel)
    operations = 2 * out * out * wide * deep * kernel * kernel
    return Kernel(family, "Conv", (1, channels, size, size), weight, attributes, operations)


def float_model(kernel: Kernel) -> onnx.ModelProto:
    """The operator as a model with random weights."""
    random = np.random.default_rng(0)
    ports = [helper.make_tensor_value_info("x", TensorProto.FLOAT, kernel.shape)]
    operands, constants = ["x"], []
    if kernel.weight:
        spread = 1 / np.sqrt(max(1, kernel.operations / 2 / kernel.weight[0]) ** 0.5)
        values = random.normal(0, spread, kernel.weight).astype(np.float32)
        constants.append(numpy_helper.from_array(values, "w"))
        operands.append("w")
    if kernel.twice:
        ports.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, kernel.shape))
        operands.append("z")
    node = helper.make_node(kernel.operator, operands, ["y"], **kernel.attributes)
    out = helper.make_empty_tensor_value_info("y")
    graph = helper.make_graph([node], "kernel", ports, [out], constants)
    opset = helper.make_opsetid("", _OPSET)
    made = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    return onnx.shape_inference.infer_shapes(made, strict_mode=True)


def integers_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """A quantized model without its float ends: codes come in and go out.

    Raises:
        ValueError: its ends are not in QDQ form.
    """
    graph = model.graph
    (entry,), (end,) = graph.input, graph.output
    first = [n for n in graph.node if n.op_type == "QuantizeLinear" and n.input[0] == entry.name]
    last = [n for n in graph.node if n.op_type == "DequantizeLinear" and n.output[0] == end.name]
    if len(first) != 1 or len(last) != 1:
        raise ValueError("its ends are not in QDQ form")
    codes = {t.name: t.data_type for t in graph.initializer}
    for port, node, name in (
        (entry, first[0], first[0].output[0]),
        (end, last[0], last[0].input[0]),
    ):
        port.name = name
        port.type.tensor_type.elem_type = codes[node.input[2]]
        graph.node.remove(node)
    kept = [v for v in graph.value_info if v.name not in {entry.name, end.name}]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return model


def halves_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """A float model as one that computes with bfloat16 numbers and takes such."""
    made = Bfloat16().run(ir.from_proto(model), Evidence(find_target("host").capability(None, 1)))
    graph = (model := ir.to_proto(made.model)).graph
    (port,) = graph.input
    name, port.name = port.name, f"{port.name}_short"
    port.type.tensor_type.elem_type = TensorProto.BFLOAT16
    graph.node.insert(0, helper.make_node("Cast", [port.name], [name], to=TensorProto.FLOAT))
    return model


@dataclass(frozen=True)
class Timed:
    """What was measured of one kernel at one precision; seconds, and bytes moved at least.

    Attributes:
        inner: of our kernel's call alone, on pictures with their channels last and a border.
        ours: with the model that the peer has, changes of layout included.
    """

    kernel: Kernel
    precision: str
    inner: float
    ours: float
    peer: float
    moved: int

    def row(self, limits: Limits) -> dict[str, Any]:
        """As columns of a CSV file."""
        level, peak = limits.level(self.moved), limits.peak(self.precision)
        rate = self.kernel.operations / self.inner
        return {
            "family": self.kernel.family,
            "kernel": self.kernel.label,
            "precision": self.precision,
            "kernel_s": self.inner,
            "budgetc_s": self.ours,
            "onnxruntime_s": self.peer,
            "operations": self.kernel.operations,
            "bytes": self.moved,
            "operations_per_s": rate,
            "of_peak": rate / peak if peak else 0.0,
            "level": level.name,
            "of_bandwidth": self.moved / self.inner / level.read,
            "of_bound": limits.bound(self.kernel.operations, self.moved, self.precision)
            / self.inner,
            "ratio": self.peer / self.ours,
        }


def measure(kernel: Kernel, precision: str, arguments: argparse.Namespace) -> Timed:
    """Build the model, and time the library and onnxruntime in turns."""
    folder: Path = arguments.out / "kernels"
    folder.mkdir(parents=True, exist_ok=True)
    model, samples = float_model(kernel), folder / "calibration.npz"
    random = np.random.default_rng(1)
    shapes = [[d.dim_value for d in p.type.tensor_type.shape.dim] for p in model.graph.input]
    feeds: list[Any] = [random.normal(0, 1, shape).astype(np.float32) for shape in shapes]
    file = folder / "kernel.onnx"
    onnx.save(model, file)
    recipe = library.FLOAT
    if precision == "int8":
        values = random.normal(0, 1, (_CALIBRATION * shapes[0][0], *shapes[0][1:]))
        archive: dict[str, Any] = {"x": values.astype(np.float32)}
        np.savez(samples, **archive)
        library.build_library(file, library.INT8, 1, folder / "float-ends", calibration=samples)
        integer = integers_only(onnx.load(folder / "float-ends" / "optimised.onnx"))
        onnx.save(integer, file)
        feeds = [np.clip(feeds[0] * 32 + 128, 0, 255).astype(np.uint8)]
        recipe = "clean"
    peers = file
    if precision == "bf16":  # onnxruntime computes what the float model says
        peers = folder / "float.onnx"
        onnx.save(model, peers)
        onnx.save(halves_only(model), file)
        recipe = "clean"
    given = [f.astype(ml_dtypes.bfloat16) for f in feeds] if precision == "bf16" else feeds
    seconds, threads = arguments.seconds, arguments.threads
    library.build_library(file, recipe, threads, folder / "library")
    named = {p.name: f for p, f in zip(onnx.load(file).graph.input, given, strict=True)}
    calls = library.time_calls(file, recipe, threads, named, arguments.rounds)
    # Beside the kernel there are copies into its layout and out of it, which are elementwise to us.
    inner = sum(t for kind, t in calls if kind != "elementwise") or sum(t for _, t in calls)
    (folder / "samples.bin").write_bytes(b"".join(f.tobytes() for f in given))
    # onnxruntime takes one array for each port, ours one after the other.
    np.savez(folder / "samples.npz", **{str(i): f for i, f in enumerate(feeds)})
    taken = in_turns(
        {
            "ours": lambda: library.time_library(
                folder / "library", folder / "samples.bin", seconds, threads
            ),
            "peer": lambda: time_peer(
                Path(sys.executable), _PEER, peers, folder / "samples.npz", seconds, threads
            ),
        },
        arguments.rounds,
    )
    interface = library.read_interface(folder / "library")
    width = {"int8": 1, "bf16": 2, "float": 4}[precision]
    moved = sum(p.nbytes for p in (*interface.inputs, *interface.outputs))
    moved += int(np.prod(kernel.weight)) * width if kernel.weight else 0
    return Timed(kernel, precision, inner, taken["ours"], taken["peer"], moved)


def table(rows: Sequence[Mapping[str, Any]], limits: Limits) -> str:
    """The rows as a page shows them, below what the core can do."""
    caches = ", ".join(f"{level.name} {level.read / 1e9:.0f} GB/s" for level in limits.levels)
    integers = (
        f"{limits.int8_ops / 1e9:.0f} GOPS in int8" if limits.int8_ops else "no int8 dot product"
    )
    if limits.bf16_ops:
        integers = f"{limits.bf16_ops / 1e9:.0f} in bfloat16, {integers}"
    head = (
        f"{machine.name()}; one core: {limits.float_ops / 1e9:.0f} GFLOPS in float32, {integers}; "
        f"reads: {caches}."
    )
    lines = [
        [
            f"{r['kernel']}, {r['precision']}",
            format_seconds(r["kernel_s"]),
            f"{r['operations_per_s'] / 1e9:.0f}" if r["operations"] else "-",
            f"{r['of_peak']:.0%}" if r["operations"] and r["of_peak"] else "-",
            format_bytes(r["bytes"]),
            f"{r['of_bandwidth']:.0%} of {r['level']}",
            f"{r['of_bound']:.0%}, {'computing' if r['of_peak'] >= r['of_bandwidth'] else r['level']}",
            format_seconds(r["budgetc_s"]),
            format_seconds(r["onnxruntime_s"]),
            f"{r['ratio']:.2f}",
        ]
        for r in rows
    ]
    titles = ["kernel", "alone", "GOPS", "of peak", "moves", "of bandwidth", "of the lower roof"]
    titles += ["budgetc", "onnxruntime", "onnxruntime / budgetc"]
    mean = tables.geometric_mean(
        r["ratio"] for r in rows if r["family"] != "call" or len(rows) == 1
    )
    lines.append(["geometric mean", *[""] * 8, f"**{mean:.2f}**"])
    return f"{head}\n\n{tables.markdown(titles, lines)}"


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print and write."""
    families = list(dict.fromkeys(k.family for k in kernels()))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    add = parser.add_argument
    add("families", nargs="*", help=f"of {', '.join(families)}; all if none")
    add("--precision", choices=PRECISIONS, help="one only; all if left out")
    add("--rounds", type=int, default=3, help="turns of each")
    add("--seconds", type=float, default=0.2, help="timed seconds of a measurement")
    add("--threads", type=int, default=1, help="of one inference; peaks are those of one core")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part of kernels is replaced, and its roofline")
    arguments = parser.parse_args(given)
    unknown = sorted(set(arguments.families) - set(families))
    if unknown:
        parser.error(f"no such family: {', '.join(unknown)}")
    chosen = [
        (kernel, precision)
        for kernel in kernels()
        for precision in PRECISIONS
        if kernel.family in (arguments.families or families)
        and precision == (arguments.precision or precision)
        and kernel.takes(precision)
    ]
    found, peaks = [], [measure_limits()]
    start = time.monotonic()
    for index, (kernel, precision) in enumerate(chosen):
        try:
            found.append(measure(kernel, precision, arguments))
            ratio = found[-1].peer / found[-1].ours
            what = f"{found[-1].inner * 1e6:.1f} us alone, ratio {ratio:.2f}"
        except Exception as error:  # the others are measured
            what = f"{type(error).__name__}: {error}"
        if index % _BETWEEN_LIMITS == _BETWEEN_LIMITS - 1:
            peaks.append(measure_limits())
        left = (time.monotonic() - start) / (index + 1) * (len(chosen) - index - 1) / 60
        print(
            f"{index + 1} of {len(chosen)}, {left:.1f} min left: {kernel.label}, {precision}: {what}",
            file=sys.stderr,
            flush=True,
        )
    if not found:
        return 1
    limits = highest(peaks)
    rows = [timed.row(limits) for timed in found]
    tables.publish("kernels", table(rows, limits), rows, arguments.out, arguments.page)
    if arguments.page:
        chart = arguments.page.parent / "images" / "roofline.svg"
        chart.write_text(roofline("Kernels on one core", limits, points(rows)), encoding="utf-8")
    return 0


def points(rows: Sequence[Mapping[str, Any]]) -> list[Point]:
    """The kernels whose operations are counted, for the roofline."""
    return [
        Point(r["kernel"], r["precision"], r["operations"] / r["bytes"], r["operations_per_s"])
        for r in rows
        if r["operations"]
    ]


if __name__ == "__main__":
    sys.exit(main())

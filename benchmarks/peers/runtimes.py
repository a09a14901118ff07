"""The peers, each behind one function: load a prepared file, return a function that runs it."""

import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Sample = Sequence[npt.NDArray[Any]]
"""One array for each input."""


class Running(NamedTuple):
    """A loaded model.

    Attributes:
        feed: takes another sample.
        infer: one inference on the sample that was fed last; this is what is timed.
        answers: the outputs of the last inference, in order.
    """

    feed: Callable[[Sample], object]
    infer: Callable[[], object]
    answers: Callable[[], list[npt.NDArray[Any]]]


def onnxruntime(file: Path, precision: str, sample: Sample, threads: int) -> Running:
    """Inputs and outputs bound once, threads that spin, every optimisation of the graph: the defaults of its users."""
    del precision
    ort = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    ports = session.get_inputs()
    binding = session.io_binding()
    for output in session.get_outputs():
        binding.bind_output(output.name)

    def feed(values: Sample) -> None:
        for port, value in zip(ports, values, strict=True):
            binding.bind_ortvalue_input(port.name, ort.OrtValue.ortvalue_from_numpy(value))

    feed(sample)
    return Running(feed, lambda: session.run_with_iobinding(binding), binding.copy_outputs_to_cpu)


def openvino(file: Path, precision: str, sample: Sample, threads: int) -> Running:
    """The latency hint, one stream, tensors shared with numpy."""
    ov = importlib.import_module("openvino")
    wanted = "bf16" if precision == "bf16" else "f32"
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": wanted,
    }
    compiled = ov.Core().compile_model(str(file), "CPU", settings)
    if precision == "bf16" and "bf" not in str(
        compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    ):
        raise RuntimeError("this CPU has no bfloat16")
    request = compiled.create_infer_request()
    held: dict[str, Any] = {}

    def feed(values: Sample) -> None:
        held["input"] = values
        request.set_input_tensor(0, ov.Tensor(values[0], shared_memory=True))

    feed(sample)
    outputs = list(compiled.outputs)
    return Running(
        feed,
        lambda: request.infer(share_outputs=True),
        lambda: [request.get_tensor(o).data for o in outputs],
    )


def iree(file: Path, precision: str, sample: Sample, threads: int) -> Running:
    """Compiled ahead of time for this CPU; the input lies on the device, outputs stay there."""
    del precision
    rt = importlib.import_module("iree.runtime")
    if threads > 1:
        rt.flags.parse_flags(f"--task_topology_group_count={threads}")
    config = rt.Config("local-task" if threads > 1 else "local-sync")
    context = rt.SystemContext(config=config)
    context.add_vm_module(rt.VmModule.mmap(context.instance, str(file)))
    module = next(m for name, m in context.modules.items() if name != "hal")
    public = [
        f
        for f in module.vm_module.function_names
        if not f.startswith("__") and not f.endswith("$async")
    ]
    function = module[public[0]]
    held: dict[str, Any] = {}

    def feed(values: Sample) -> None:
        held["input"] = rt.asdevicearray(config.device, values[0])

    def infer() -> None:
        held["output"] = function(held["input"])

    def answers() -> list[npt.NDArray[Any]]:
        output = held["output"]
        return [o.to_host() for o in (output if isinstance(output, tuple | list) else [output])]

    feed(sample)
    return Running(feed, infer, answers)


def ncnn(file: Path, precision: str, sample: Sample, threads: int) -> Running:
    """Converted by pnnx without half floats."""
    del precision
    nn = importlib.import_module("ncnn")
    net = nn.Net()
    net.opt.num_threads = threads
    for half in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"):
        setattr(net.opt, half, False)
    if net.load_param(str(file)) or net.load_model(str(file.with_suffix(".bin"))):
        raise RuntimeError("ncnn does not load the model")
    (port,), outputs = net.input_names(), net.output_names()
    held: dict[str, Any] = {}

    def feed(values: Sample) -> None:
        held["array"] = np.ascontiguousarray(values[0][0])
        held["input"] = nn.Mat(held["array"]).clone()

    def infer() -> None:
        extractor = net.create_extractor()
        extractor.input(port, held["input"])
        found = []
        for name in outputs:
            failed, value = extractor.extract(name)
            if failed:
                raise RuntimeError(f"ncnn does not compute {name}")
            found.append(value)
        held["outputs"] = found

    feed(sample)
    return Running(feed, infer, lambda: [np.array(m) for m in held["outputs"]])


def litert(file: Path, precision: str, sample: Sample, threads: int) -> Running:
    """The file as it was given; integers are made of the sample beforehand, floats of the answers afterwards."""
    del precision
    module = importlib.import_module("ai_edge_litert.interpreter")
    interpreter = module.Interpreter(model_path=str(file), num_threads=threads)
    interpreter.allocate_tensors()
    (port,), outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def feed(values: Sample) -> None:
        scale, zero = port["quantization"]
        if scale:
            kind = np.iinfo(port["dtype"])
            codes = np.clip(np.round(values[0] / scale + zero), kind.min, kind.max)
            interpreter.set_tensor(port["index"], codes.astype(port["dtype"]))
        else:
            interpreter.set_tensor(port["index"], values[0])

    def answers() -> list[npt.NDArray[Any]]:
        found = []
        for output in outputs:
            value = interpreter.get_tensor(output["index"])
            scale, zero = output["quantization"]
            found.append((value.astype(np.float32) - zero) * scale if scale else value)
        return found

    feed(sample)
    return Running(feed, interpreter.invoke, answers)


LOADERS: Mapping[str, Callable[[Path, str, Sample, int], Running]] = {
    "onnxruntime": onnxruntime,
    "openvino": openvino,
    "ncnn": ncnn,
    "iree": iree,
    "litert": litert,
}
DISTRIBUTIONS = {
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "ncnn": "ncnn",
    "iree": "iree-base-runtime",
    "litert": "ai-edge-litert",
}
# What a process maps because it is Python or because the package has more than the runtime.
_NOT_DEPLOYED = (
    "/numpy",
    "/ml_dtypes",
    "_pyopenvino",
    "py_tensorflow_frontend",
    "libopenvino_tensorflow_frontend",
    "lib-dynload",
)


def mapped_bytes() -> int:
    """Bytes of the shared objects of the peer's package that this process has mapped: the least that must ship."""
    found = set()
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.split(None, 5)[-1]
        is_object = "/site-packages/" in path and ".so" in Path(path).name
        if is_object and not any(part in path for part in _NOT_DEPLOYED):
            found.add(os.path.realpath(path))
    return sum(Path(p).stat().st_size for p in found)


def model_bytes(file: Path) -> int:
    """Bytes of a model with its weights, which some keep beside it."""
    weights = file.with_suffix(".bin")
    beside = file.suffix in {".xml", ".param"} and weights.exists()
    return file.stat().st_size + (weights.stat().st_size if beside else 0)

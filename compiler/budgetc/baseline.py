"""What onnxruntime makes of a model: the float reference, the integer oracle, and the peers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic, perf_counter_ns
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from budgetc_specs.errors import ModelError, printable

from budgetc.data import Data
from budgetc.lower.lowered import Port

Array = npt.NDArray[np.generic]
Optimisation = Literal["none", "basic", "all"]

_LEVELS = {
    "none": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ERRORS_ONLY = 3

_ROUGHLY_S = 0.3


@dataclass(frozen=True)
class Session:
    """A model loaded by onnxruntime on the CPU."""

    session: Any = field(repr=False)
    outputs: tuple[str, ...]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """One inference: outputs by name.

        Raises:
            ModelError: onnxruntime fails at it.
        """
        try:
            results = self.session.run(list(self.outputs), dict(inputs))
        except Exception as error:
            raise _refused("run", error) from error
        return dict(zip(self.outputs, results, strict=True))


_SHARED = "Attempt to replace the existing tensor"
"""What onnxruntime says where it recodes weights for exact integers, and two layers share a constant of theirs.

Without that rewriting it computes the model as it is written, which is exact as well.
"""


def make_session(
    data: bytes,
    *,
    threads: int = 1,
    optimisation: Optimisation = "all",
    exact_integers: bool = False,
) -> Session:
    """Load a model; the only place where onnxruntime sessions are made.

    Threads of the session rest between inferences instead of spinning, so that whoever is measured
    next has the cores for himself.

    Args:
        data: a self-contained serialised model.
        threads: threads that one inference may use.
        optimisation: how far onnxruntime rewrites the graph; "all" is what its users get.
        exact_integers: whether u8 x s8 products may not saturate in 16 bits on CPUs that lack VNNI.
            An oracle needs it; a peer is measured without, as its users run it.

    Raises:
        ModelError: onnxruntime does not accept the model.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.graph_optimization_level = _LEVELS[optimisation]
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if exact_integers:
        options.add_session_config_entry("session.x64quantprecision", "1")
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        if exact_integers and optimisation == "all" and _SHARED in str(error):
            return make_session(data, threads=threads, optimisation="basic", exact_integers=True)
        raise _refused("load", error) from error
    return Session(session, tuple(o.name for o in session.get_outputs()))


def run_over(
    infer: Callable[[Mapping[str, Array]], Mapping[str, Array]],
    data: Data,
    *,
    limit: int | None = None,
) -> dict[str, Array]:
    """Run a model over the data, one inference at a time.

    Args:
        infer: one inference, such as `Session.run` or a loaded artefact.
        data: what to feed.
        limit: inferences at most.

    Returns:
        Each output by name, samples on axis 0, as `by_sample` gives them.
    """
    columns: dict[str, list[Array]] = {}
    steps = 0
    for sample in data.samples(limit):
        steps += 1
        for name, value in infer(sample).items():
            columns.setdefault(name, []).append(np.atleast_1d(value))
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return by_sample(joined, steps * (data.count // data.steps))


def by_sample(outputs: Mapping[str, Array], samples: int) -> dict[str, Array]:
    """Bring outputs that were joined on axis 0 into a form with one entry for each sample there.

    An output whose first dimension is the batch has it already. Of one that knows no batch, the
    rows of each inference are put together: joined (samples x rows, ...) becomes (samples, rows,
    ...).
    """
    return {
        name: value if len(value) == samples else value.reshape(samples, -1, *value.shape[1:])
        for name, value in outputs.items()
    }


def timer(session: Session, inputs: Mapping[str, Array]) -> Callable[[int], npt.NDArray[np.int64]]:
    """A function that runs n inferences on the same inputs and returns each one's nanoseconds.

    Inputs and outputs are bound once, so that what is timed is the inference and not the copying in
    of arrays.
    """
    binding = session.session.io_binding()
    for name, value in inputs.items():
        binding.bind_cpu_input(name, np.ascontiguousarray(value))
    for name in session.outputs:
        binding.bind_output(name)
    run = session.session.run_with_iobinding

    def time(runs: int) -> npt.NDArray[np.int64]:
        taken = np.empty(runs, np.int64)
        for i in range(runs):
            begin = perf_counter_ns()
            run(binding)
            taken[i] = perf_counter_ns() - begin
        return taken

    return time


def seconds_of_inference(
    session: Session, ports: Sequence[Port], inputs: Mapping[str, Array]
) -> float:
    """Median seconds of one inference, roughly: of as many as fit into some tenths of one.

    Args:
        session: of the model.
        ports: the model's inputs.
        inputs: samples for each of them on axis 0; the first are taken.
    """
    feed = {p.name: inputs[p.name][: p.shape[0] if p.shape else 1].reshape(p.shape) for p in ports}
    time = timer(session, feed)
    taken: list[int] = []
    for _ in range(2):  # the first half warms up
        taken.clear()
        end = monotonic() + _ROUGHLY_S / 2
        while not taken or monotonic() < end:
            taken += time(1).tolist()
    return sorted(taken)[len(taken) // 2] * 1e-9


def _refused(verb: str, error: Exception) -> ModelError:
    words = printable(" ".join(str(error).split()))
    return ModelError(
        f"onnxruntime does not {verb} the model: {words}",
        "budgetc compares its binary with onnxruntime; export the model so that onnxruntime runs "
        "it.",
    )

"""Measure a built library and hold its numbers against onnxruntime: the facts that verdicts are made of."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import SpecError
from budgetc_targets.contract import CountingRunner, Device, Runner

from budgetc.baseline import Session, by_sample, make_session, run_over, timer
from budgetc.build import Built, Job, Say
from budgetc.data import Data, load_data
from budgetc.entries import entry_names
from budgetc.load import Interface
from budgetc.lower.lowered import Port
from budgetc.measure.harness import Harness
from budgetc.measure.latency import Latency, measure_latency
from budgetc.measure.memory import memory_of
from budgetc.measure.metrics import Metric, Scores
from budgetc.measure.quality import Quality, compare
from budgetc.measure.size import size_of
from budgetc.model import Model
from budgetc.regression import Regression, binding_regressions
from budgetc.run import start
from budgetc.verdict import Measurement
from budgetc.verification.oracle import feeds
from budgetc.verification.report import Report
from budgetc.verification.verifier import Verifier, knows_denormals

SYNTHETIC_STEPS = 16
EMULATED_SECONDS = (
    40.0  # an emulator is a hundred times slower; it gets through as many samples as fit
)
EMULATED_STEPS = 16  # inferences between two looks at the clock

Array = npt.NDArray[np.generic]
Outputs = Mapping[str, Array]


@dataclass(frozen=True)
class Reference:
    """The float model in onnxruntime: what quality and latency are compared with.

    Attributes:
        inputs: what every binary is run on: the evaluation data, else the calibration data, else made-up numbers.
        samples: how many samples these are.
        outputs: the float model's answers to them, samples on axis 0.
        scores: its score for each sample, where there is evaluation data.
        float_session: the float model.
        int8_session: the same model quantized without pruning, where there is calibration data.
        model_bytes: size of each peer's model file.
        further: the same for the other shapes of the model's inputs. Quality is judged on the first alone.
        slices: which slice each sample belongs to, where there is evaluation data in slices.
    """

    inputs: Mapping[str, Array] = field(repr=False)
    samples: int
    outputs: Outputs = field(repr=False)
    scores: Scores | None = field(repr=False)
    labels: Array | None = field(repr=False)
    metric: Metric
    float_session: Session
    int8_session: Session | None = None
    model_bytes: Mapping[str, int] = field(default_factory=dict)
    further: tuple["Reference", ...] = ()
    slices: Array | None = field(default=None, repr=False)

    @property
    def entries(self) -> tuple["Reference", ...]:
        """The reference for each of the model's shapes."""
        return (replace(self, further=()), *self.further)

    def first(self, samples: int) -> "Reference":
        """The same for the first samples only; a whole number of inferences."""
        part = samples / self.samples
        return replace(
            self,
            inputs={n: a[: round(len(a) * part)] for n, a in self.inputs.items()},
            samples=samples,
            outputs={n: a[:samples] for n, a in self.outputs.items()},
            scores=self.scores[:samples] if self.scores is not None else None,
            labels=self.labels[:samples] if self.labels is not None else None,
            slices=self.slices[:samples] if self.slices is not None else None,
        )

    @property
    def peers(self) -> Mapping[str, Session]:
        """Sessions by the names that a relative latency budget uses."""
        peers = {"onnxruntime": self.float_session}
        if self.int8_session:
            peers["onnxruntime-int8"] = self.int8_session
        return peers


@dataclass(frozen=True)
class Assessment:
    """What is known of a library after it was run, or why it was not.

    Attributes:
        measurement: of all its entry points.
        agreement: the numbers of the first.
        further: the others, each for itself.
    """

    measurement: Measurement
    agreement: Report | None
    further: tuple["Assessment", ...] = ()

    @property
    def report(self) -> Report | None:
        """The numbers of all entry points."""
        if self.agreement is None:
            return None
        named = [(f.measurement.entry, f.agreement) for f in self.further if f.agreement]
        return self.agreement.joined(named)


def make_reference(
    model: Model,
    data: Data | None,
    metric: Metric,
    int8_model: Model | None,
    threads: int,
    calibration: Data | None = None,
) -> Reference:
    """Run the float model once over everything that binaries will be run on, for each of its shapes."""
    int8 = [m.data for m in int8_model.entries] if int8_model else [None] * len(model.entries)
    first, *further = (
        _make_reference(
            each.data,
            each.inputs,
            None if number else data,
            metric,
            int8[number],
            threads,
            fitting(data or calibration, each) if number else calibration,
        )
        for number, each in enumerate(model.entries)
    )
    return replace(first, further=tuple(further))


def fitting(data: Data | None, model: Model) -> Data | None:
    """The samples in inferences of another shape of the model; None where only the batch may differ and more does."""
    if data is None:
        return None
    try:
        return load_data(data.path, model)
    except SpecError:
        return None


def _make_reference(
    model: bytes,
    ports: Sequence[Port],
    data: Data | None,
    metric: Metric,
    int8_model: bytes | None,
    threads: int,
    calibration: Data | None,
) -> Reference:
    session = make_session(model, threads=threads)
    int8 = make_session(int8_model, threads=threads) if int8_model else None
    real = data or calibration
    inputs = stacked(real) if real else synthetic(ports)
    batch = max((p.shape[0] for p in ports if p.shape), default=1)
    samples = real.count if real else SYNTHETIC_STEPS * batch
    if data:
        outputs = run_over(session.run, data)
        scores = metric(outputs, data.labels, outputs)
        labels = data.labels
    else:
        outputs = run_steps(session, inputs, ports, samples)
        scores, labels = None, None
    sizes = {"onnxruntime": len(model)}
    if int8_model:
        sizes["onnxruntime-int8"] = len(int8_model)
    slices = data.slices if data else None
    return Reference(
        inputs, samples, outputs, scores, labels, metric, session, int8, sizes, slices=slices
    )


def stacked(data: Data) -> dict[str, Array]:
    """All samples of an archive, by input name."""
    columns: dict[str, list[Array]] = {}
    for sample in data.samples():
        for name, value in sample.items():
            columns.setdefault(name, []).append(np.atleast_1d(value))
    return {name: np.concatenate(values) for name, values in columns.items()}


def synthetic(ports: Sequence[Port], steps: int = SYNTHETIC_STEPS) -> dict[str, Array]:
    """Made-up inputs for a model without evaluation data: normal numbers, small integers, both truth values."""
    random = np.random.default_rng(0)
    made: dict[str, Array] = {}
    for port in ports:
        shape = (steps * port.shape[0], *port.shape[1:]) if port.shape else (steps,)
        dtype = np.dtype(port.dtype)
        if dtype.kind == "f":
            made[port.name] = random.standard_normal(shape).astype(dtype)
        else:
            made[port.name] = random.integers(0, 2, shape).astype(dtype)
    return made


def run_steps(
    session: Session, inputs: Mapping[str, Array], ports: Sequence[Port], samples: int
) -> dict[str, Array]:
    """A session over stacked inputs, one inference after another."""
    columns: dict[str, list[Array]] = {}
    for feed in feeds(inputs, ports):
        for name, value in session.run(feed).items():
            columns.setdefault(name, []).append(np.atleast_1d(value))
    joined = {name: np.concatenate(values) for name, values in columns.items()}
    return by_sample(joined, samples)


def assess(
    built: Built,
    job: Job,
    reference: Reference,
    budgets: Budgets,
    runner: Runner,
    say: Say,
    *,
    regressions: Sequence[Regression] = (),
) -> Assessment:
    """Run the library on this machine, directly or emulated, and measure everything a budget may ask for.

    Raises:
        BinaryError: the library crashed or hung.
    """
    names = entry_names(built.interface.entries)
    timed = [r for r in binding_regressions(regressions) if r.figure == "latency"]
    first, *further = (
        _assess(
            built,
            entry,
            model,
            job,
            each,
            budgets,
            runner,
            _of(name, say),
            [r.limit_of(name) for r in timed if name in r.baseline],
        )
        for entry, model, each, name in zip(
            built.interface.entries,
            built.optimised.model.entries,
            reference.entries,
            names,
            strict=True,
        )
    )
    named = [
        replace(f, measurement=replace(f.measurement, entry=name))
        for f, name in zip(further, names[1:], strict=True)
    ]
    measurement = replace(first.measurement, further=tuple(f.measurement for f in named))
    return Assessment(measurement, first.agreement, tuple(named))


def _of(entry: str, say: Say) -> Say:
    return (lambda text: say(f"{entry}: {text}")) if entry else say


def _assess(
    built: Built,
    interface: Interface,
    model: Model,
    job: Job,
    reference: Reference,
    budgets: Budgets,
    runner: Runner,
    say: Say,
    limits: Sequence[float],
) -> Assessment:
    """One entry point, by its interface and the model that it was made of; limits are of its seconds."""
    size = size_of(built.library, job.capability)
    arena = interface.workspace_bytes
    say("preparing to run it")  # builds the target's libc the first time
    started = start(built, job, runner, interface)
    if started is None:
        unmeasured = memory_of(built.library, arena)
        return Assessment(
            Measurement(size, unmeasured, executed=False, reason=runner.why_not), None
        )
    with started as harness:
        say("checking outputs")
        device = (harness.machine or runner.device) if isinstance(runner, Device) else ""
        emulated = not job.capability.native and not device
        if emulated:
            reference = _as_far_as_time_allows(harness, reference)
        raw = harness.run(reference.inputs)
        outputs = by_sample(raw, reference.samples)
        verifier = Verifier(
            model,
            harness.run,
            fixed_point=job.capability.fixed_point,
            denormals=knows_denormals(job.capability, model),
        )
        agreement = verifier.verify(reference.inputs, raw, say=say)
        quality = _quality(outputs, reference)
        latency: Latency | None = None
        if not emulated:
            say("measuring latency")
            peers = {} if device else reference.peers
            latency = _latency(harness, reference, peers, budgets, limits)
        uncounted = _uncounted(runner, job) if emulated else ""
        counted = emulated and not uncounted
        instructions = harness.count(reference.inputs) if counted else None
        used = harness.memory()
    memory = memory_of(
        built.library,
        arena,
        stack=used.stack,
        observed=None if emulated else used.anonymous,
    )
    measurement = Measurement(
        size,
        memory,
        latency,
        quality,
        executed=True,
        emulated=emulated,
        device=device,
        instructions=instructions,
        uncounted=uncounted,
    )
    return Assessment(measurement, agreement)


def _uncounted(runner: Runner, job: Job) -> str:
    """Why the instructions of an inference are not counted, or nothing."""
    if not isinstance(runner, CountingRunner):
        return f"{runner.name} counts no instructions"
    if job.capability.threads > 1:
        return "threads wait for one another by executing instructions"
    return runner.why_not_counted


def _as_far_as_time_allows(harness: Harness, reference: Reference) -> Reference:
    """The first samples, as many as an emulator is expected to get through in its time."""
    batch = max((p.shape[0] for p in harness.interface.inputs if p.shape), default=1)
    few = reference.first(min(reference.samples, EMULATED_STEPS * batch))
    start = time.monotonic()
    harness.run(few.inputs)
    pace = (time.monotonic() - start) / few.samples
    many = int(EMULATED_SECONDS / pace) // batch * batch
    return reference.first(max(few.samples, min(many, reference.samples)))


def _quality(outputs: Outputs, reference: Reference) -> Quality | None:
    if reference.scores is None:
        return None
    metric = reference.metric
    ours = metric(outputs, reference.labels, reference.outputs)
    return compare(metric, ours, reference.scores, slices=reference.slices)


def _latency(
    harness: Harness,
    reference: Reference,
    sessions: Mapping[str, Session],
    budgets: Budgets,
    limits: Sequence[float],
) -> Latency:
    ports = harness.interface.inputs
    first = {
        p.name: reference.inputs[p.name][: p.shape[0] if p.shape else 1].reshape(p.shape)
        for p in ports
    }
    harness.load(reference.inputs)
    peers: dict[str, Callable[[int], npt.NDArray[np.int64]]] = {
        name: timer(session, first) for name, session in sessions.items()
    }
    return measure_latency(harness.time, peers, budgets.latency, limits)

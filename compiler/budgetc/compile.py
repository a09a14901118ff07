"""The whole way from a spec to artefacts: load, baseline, candidates, build, measure, judge, hand over."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import Budgets, Relative
from budgetc_specs.errors import ModelError, SpecError, did_you_mean, quoted
from budgetc_specs.spec import Spec

from budgetc.artefact import write_artefact
from budgetc.assess import Reference, make_reference
from budgetc.build import Job, run_passes, write_models
from budgetc.data import Data
from budgetc.entries import entry_names
from budgetc.measure.metrics import Metric, resolve_metric
from budgetc.model import Model, load_model
from budgetc.progress import Event, Observer, ignore
from budgetc.registry import find_target, make_passes
from budgetc.result import Result, TargetResult
from budgetc.search.candidates import Seeker
from budgetc.search.plan import int8_recipe
from budgetc.splits import Splits, load_splits
from budgetc.store import check_replaceable, locked_folder
from budgetc.verdict import check_quality_budget
from budgetc.worker import ChildDied

_CALIBRATION_HINT = 'name it in the spec, "data: {calibration: calib.npz}"'


def compile(  # noqa: A001  the public name of what the tool does
    spec: Spec,
    *,
    targets: Sequence[str] | None = None,
    out: Path | None = None,
    observer: Observer = ignore,
) -> Result:
    """Compile a spec: the best artefact that keeps all budgets for each target, or the reason why there is none.

    Args:
        spec: what to make.
        targets: names of the spec's targets; None takes all.
        out: folder with one folder for each target; by default `build/<name>` in the working directory.
        observer: told what happens while it happens.

    Returns:
        Every candidate with its figures; `exit_code` is what the command line ends with.

    Raises:
        BudgetcError: the spec, the model, the data or this machine does not allow it.
    """
    chosen = _named_targets(spec, targets)
    model, splits, metric = load_inputs(spec)
    calibration, evaluation = splits.calibration, splits.evaluation
    destination = (out or Path("build") / spec.output.name).absolute()
    digests = _digests(spec, model, calibration, evaluation)
    results: list[TargetResult] = []
    with ExitStack() as stack:
        for name in chosen:
            check_replaceable(destination / name)
            stack.enter_context(locked_folder(destination / name))
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budgetc-")))
        model_file = scratch / "model.onnx"
        write_models(model, model_file)
        for name in chosen:
            section = spec.targets[name]
            target = find_target(section.kind)
            capability = target.capability(section.cpu, section.threads)
            budgets = spec.budgets_for(name)
            observer(Event("target", name, text=f"{section.kind}, {capability.cpu}"))
            job = Job(
                model=model,
                model_file=model_file,
                calibration=calibration.path if calibration else None,
                kind=section.kind,
                capability=capability,
                name=spec.output.name,
                library=spec.output.kind,
                trials=spec.search.trials,
                tuning=spec.search.tuning,
                seconds=max(60.0, spec.search.time),
            )
            reference = _reference(
                job, evaluation, calibration, metric, budgets, scratch, observer, name
            )
            seeker = Seeker(job, reference, budgets, target.runner(capability), scratch, observer)
            found = seeker.seek(name, spec.passes, time.monotonic() + spec.search.time)
            folder = None
            if found.built and found.chosen:
                folder = destination / name
                write_artefact(found.built, found.chosen, capability, digests, folder)
            results.append(
                TargetResult(
                    target=name,
                    capability=capability,
                    trials=found.trials,
                    chosen=found.chosen,
                    folder=folder,
                    certificate=found.certificate,
                    exit_code=found.exit_code,
                    baseline=_baseline_json(reference),
                )
            )
    return Result(spec.output.name, tuple(results))


def load_inputs(spec: Spec) -> tuple[Model, Splits, Metric]:
    """Read and check everything that a spec names, without compiling: what `budgetc check` does.

    Raises:
        BudgetcError: with what is wrong, where.
    """
    metric = resolve_metric(spec.quality.metric, spec.model.parent)
    for name, section in spec.targets.items():
        target = find_target(section.kind)
        target.capability(section.cpu, section.threads)
        budgets = spec.budgets_for(name)
        if budgets.quality:
            check_quality_budget(budgets.quality, metric)
        if _int8_peer(budgets) and not spec.data.calibration:
            raise SpecError.of(
                "budgets.latency: a budget relative to onnxruntime-int8 needs calibration data",
                f"{_CALIBRATION_HINT}, or compare with onnxruntime.",
            )
    if spec.passes != "auto":
        for step in make_passes(spec.passes):
            if step.needs().calibration and not spec.data.calibration:
                raise SpecError.of(
                    f"passes: {step.name} needs calibration data", f"{_CALIBRATION_HINT}."
                )
    model, *further = (load_model(spec.model, shapes) for shapes in spec.entries())
    model = replace(model, further=tuple(further))
    if model.quantized and any(_int8_peer(spec.budgets_for(name)) for name in spec.targets):
        raise SpecError.of(
            "budgets.latency: a budget relative to onnxruntime-int8 needs a float model, and this one "
            "is quantized already",
            "compare with onnxruntime, which runs the model as it is.",
        )
    return model, load_splits(spec, model, metric), metric


def _named_targets(spec: Spec, names: Sequence[str] | None) -> list[str]:
    if names is None:
        return list(spec.targets)
    for name in names:
        if name not in spec.targets:
            known = ", ".join(spec.targets)
            raise SpecError.of(
                f"the spec has no target {quoted(name)}",
                f"{did_you_mean(name, spec.targets)} it has {known}.".strip(),
            )
    return list(dict.fromkeys(names))


def _reference(
    job: Job,
    evaluation: Data | None,
    calibration: Data | None,
    metric: Metric,
    budgets: Budgets,
    scratch: Path,
    observer: Observer,
    target: str,
) -> Reference:
    """What onnxruntime makes of the float model, and of the quantized one where it can be made."""

    def say(text: str) -> None:
        observer(Event("stage", target, text=text))

    int8_model: Model | None = None
    if job.model.quantized:
        say("the model is quantized already: its own codes are kept")
    elif job.calibration:
        say("quantizing the baseline")
        folder = scratch / f"baseline-{target}"
        folder.mkdir()
        try:
            int8_model = run_passes(job, int8_recipe(), folder, lambda _: None).model
        except (ChildDied, ModelError) as error:
            if _int8_peer(budgets):
                raise
            observer(Event("note", target, text=f"no int8 baseline: {error.message}"))
    say("measuring the float model in onnxruntime")
    return make_reference(
        job.model, evaluation, metric, int8_model, job.capability.threads, calibration
    )


def _int8_peer(budgets: Budgets) -> bool:
    """Whether a budget is relative to the quantized model in onnxruntime."""
    limit = budgets.latency.max if budgets.latency else None
    return isinstance(limit, Relative) and limit.peer == "onnxruntime-int8"


def _baseline_json(reference: Reference) -> dict[str, Any]:
    scores = reference.scores
    return {
        "model_bytes": dict(reference.model_bytes),
        "samples": reference.samples,
        "metric": reference.metric.name if scores is not None else None,
        "quality": reference.metric.value(scores) if scores is not None else None,
    }


def _digests(
    spec: Spec, model: Model, calibration: Data | None, evaluation: Data | None
) -> Mapping[str, str]:
    digests = {"model": model.digest}
    names = entry_names(model.entries)[1:]
    digests |= {f"model {n}": m.digest for n, m in zip(names, model.further, strict=True)}
    if calibration:
        digests["calibration"] = calibration.digest
    if evaluation:
        digests["evaluation"] = evaluation.digest
    digests["passes"] = str(spec.passes)
    return digests

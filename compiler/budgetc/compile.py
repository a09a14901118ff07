"""The whole way from a spec to artefacts: load, baseline, candidates, build, measure, judge, hand over."""

import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import Budgets, Relative
from budgetc_specs.errors import ModelError, SpecError, did_you_mean, quoted
from budgetc_specs.recipe import Recipe
from budgetc_specs.spec import Spec

from budgetc.answers import Answers, question
from budgetc.artefact import write_artefact
from budgetc.assess import Reference, make_reference
from budgetc.build import Built, Job, library_kind, run_passes, write_models
from budgetc.cache import cache_folder, using_cache
from budgetc.data import Data
from budgetc.emit.link import library_file
from budgetc.entries import entry_names
from budgetc.hardware import Hardware, hardware_of, remarks
from budgetc.held import hold_back
from budgetc.learning import check_learning, check_strategy, learners, learning_of, load_teacher
from budgetc.measure.metrics import Metric, resolve_metric
from budgetc.model import Model, load_model
from budgetc.progress import Event, Observer, ignore
from budgetc.registry import make_passes
from budgetc.regression import Now, Regression, baseline_files, load_regressions
from budgetc.report.page import write_report
from budgetc.result import Result, TargetResult
from budgetc.search.explorer import Effort
from budgetc.search.journal import Journal
from budgetc.search.judge import metric_code
from budgetc.search.pool import open_pool
from budgetc.search.recipes import int8_recipe
from budgetc.search.simulation import Subject
from budgetc.splits import Splits, load_splits
from budgetc.stamp import PAGE, RESULT
from budgetc.store import (
    check_replaceable,
    file_digest,
    json_digest,
    locked_folder,
    sweep,
    write_atomic,
)
from budgetc.strategy.strategist import Lesson
from budgetc.target import (
    VALIDATION_SAMPLES,
    Inquiry,
    open_journal,
    search_target,
    try_recipe,
)
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
    chosen = named_targets(spec, targets)
    model, splits, metric = load_inputs(spec)
    destination = (out or Path("build") / spec.output.name).absolute()
    digests = source_digests(spec, model, splits)
    results: list[TargetResult] = []
    journals: list[Journal] = []
    asked, answers = (
        question(spec, {**digests, **_baselines(spec)}, chosen, destination),
        Answers(cache_folder() / "answers"),
    )
    with ExitStack() as stack:
        stack.enter_context(using_cache())
        begin, waited = time.time(), []
        for name in sorted(chosen):  # in the same order by all, or two would wait for each other

            def waiting(name: str = name) -> None:
                waited.append(name)
                observer(Event("note", name, text="another run writes to this folder: waiting"))

            check_replaceable(destination / name)
            stack.enter_context(locked_folder(destination / name, waiting))
        if waited and (known := answers.recall(asked, begin)) is not None:
            observer(
                Event("note", waited[0], text="that run was one of the same: its result is taken")
            )
            return known
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budgetc-")))
        judged = judged_splits(spec, model, splits)
        model_file = scratch / "model.onnx"
        write_models(model, model_file)
        pool = (
            None if spec.passes != "auto" else stack.enter_context(open_pool(spec.search.executor))
        )
        for name in chosen:
            place = scratch / name
            place.mkdir()
            inquiry = _inquiry(spec, name, model, model_file, judged, metric, place, observer)
            if pool is None:
                assert not isinstance(spec.passes, str)
                with _taken_up(spec.passes):
                    found, built = try_recipe(inquiry, spec.passes, place, observer)
                results.append(_handed_over(found, built, digests, destination))
                continue
            inquiry, journal = open_journal(inquiry, observer)
            with _kept(journal, learns=spec.learns):
                found, built = search_target(inquiry, pool, journal, place, observer)
                results.append(_handed_over(found, built, digests, destination))
            journals.append(journal)
        if pool is not None:
            for note in pool.notes:
                observer(Event("note", "", text=note))
        result = Result(spec.output.name, tuple(results))
        write_result(result.to_json(), destination)
        answers.keep(asked, result)
        for journal in journals:  # now that all is written, there is nothing to take up again
            journal.finish()
    return result


def _handed_over(
    found: TargetResult, built: Built | None, digests: Mapping[str, str], destination: Path
) -> TargetResult:
    """What was found, with the folder of its artefact where there is one to write."""
    if built is None or found.chosen is None:
        return found
    folder = destination / found.target
    write_artefact(built, found.chosen, found.capability, digests, folder)
    return replace(found, folder=folder)


@contextmanager
def _taken_up(recipe: Recipe) -> Iterator[None]:
    """Whoever interrupts a recipe that trains hears what is kept of it."""
    try:
        yield
    except KeyboardInterrupt as error:
        if learners(recipe):
            error.add_note("kept: what was trained so far, up to an epoch.")
            error.add_note("the next run of the same spec goes on from there.")
        raise


@contextmanager
def _kept(journal: Journal, *, learns: bool = False) -> Iterator[None]:
    """Let a journal go at the end of the block; whoever interrupts that hears what is kept."""
    try:
        yield
    except KeyboardInterrupt as error:
        built = f"{journal.measured} built candidate{'' if journal.measured == 1 else 's'}"
        trained = ", and trained up to an epoch" if learns else ""
        error.add_note(f"kept: {built} and all that was simulated{trained}.")
        error.add_note("the next run of the same spec goes on from there.")
        raise
    finally:
        journal.close()


def write_result(result: Mapping[str, Any], folder: Path) -> None:
    """Write a result's JSON beside the artefacts, for programs, and drawn as a page, for people."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (RESULT, PAGE):
        sweep(folder / name)
    write_atomic(folder / RESULT, (json.dumps(result, indent=2) + "\n").encode())
    write_report(result, folder)


def _inquiry(
    spec: Spec,
    name: str,
    model: Model,
    model_file: Path,
    splits: Splits,
    metric: Metric,
    scratch: Path,
    observer: Observer,
) -> Inquiry:
    """All that is known of a target before anything is tried, with what onnxruntime makes of the model."""
    hardware = hardware_of(spec, name)
    budgets = hardware.budgets
    job = job_for(spec, hardware, model, model_file, splits)
    observer(Event("target", name, text=hardware.words))
    for remark in remarks(hardware):
        observer(Event("note", name, text=remark))
    reference = _reference(
        job, splits.evaluation, splits.calibration, metric, budgets, scratch, observer, name
    )
    effort = Effort(
        spec.search.candidates,
        time.monotonic() + spec.search.time,
        spec.search.seed,
        spec.objective,
    )
    return Inquiry(
        name=name,
        job=job,
        reference=reference,
        budgets=budgets,
        runner=hardware.runner,
        splits=splits,
        subject=subject_for(spec, job, splits, metric),
        effort=effort,
        regressions=regressions_for(name, hardware, splits, metric),
        lesson=lesson_of(spec, splits) if spec.learns else None,
    )


def judged_splits(spec: Spec, model: Model, splits: Splits) -> Splits:
    """The data of a spec; a strategy judges what it trains on samples that are held back, where no others are named.

    Raises:
        SpecError: the samples to learn from cannot be read.
    """
    source = splits.training or splits.calibration
    if not spec.learns or spec.data.validation or source is None:
        return splits
    held = hold_back(source, model, spec.search.seed)
    text = f"the search judges quality on {_held(held, source)}"
    return replace(splits, validation=held, sentence=text, saw_evaluation=False)


def _held(held: Data, source: Data) -> str:
    return f"{held.count:,} samples that are held back of {source.path.name}"


def lesson_of(spec: Spec, splits: Splits) -> Lesson:
    """What a strategy that trains is told; `splits` are those of `judged_splits`."""
    judges, source = splits.validation, splits.training or splits.calibration
    judged_on = "nothing: there are no samples"
    if judges is not None and spec.data.validation:
        judged_on = f"{judges.count:,} samples of {judges.path.name}"
    elif judges is not None and source is not None:
        judged_on = _held(judges, source)
    return Lesson(
        name=spec.strategy,
        seconds=spec.learning.time,
        searching=spec.search.time,
        taught=spec.learning.teacher is not None,
        judged_on=judged_on,
        foreseen=spec.data.validation is not None,
    )


def subject_for(spec: Spec, job: Job, splits: Splits, metric: Metric) -> Subject:
    """What recipes of a target are simulated on."""
    return Subject.of(
        job.model,
        job.model_file,
        job.capability,
        metric,
        calibration=splits.calibration,
        validation=splits.validation,
        samples=VALIDATION_SAMPLES,
        seed=spec.search.seed,
    )


def job_for(spec: Spec, hardware: Hardware, model: Model, model_file: Path, splits: Splits) -> Job:
    """What all candidates of a target share.

    Raises:
        SpecError: the target has no libraries of the kind that is asked for.
    """
    library_file(spec.output.name, spec.output.kind, hardware.capability)
    return Job(
        model=model,
        model_file=model_file,
        calibration=splits.calibration.path if splits.calibration else None,
        kind=hardware.kind,
        capability=hardware.capability,
        name=spec.output.name,
        library=library_kind(spec.output.kind, hardware.capability),
        trials=spec.search.trials,
        tuning=spec.search.tuning,
        device=hardware.device,
        seconds=max(60.0, spec.search.time),
        learning=learning_of(spec, splits.training, splits.calibration),
    )


def regressions_for(
    name: str, hardware: Hardware, splits: Splits, metric: Metric
) -> tuple[Regression, ...]:
    """What the budgets of a target allow against their baseline.

    Raises:
        LockError: the baseline is no lock.
        SpecError: it has not got what is held against it.
    """
    latency, evaluation = hardware.budgets.latency, splits.evaluation
    now = Now(
        runner=hardware.runner,
        statistic=latency.statistic if latency else "p50",
        metric=metric.name,
        evaluation=evaluation.digest if evaluation else None,
    )
    return load_regressions(hardware.budgets, name, now)


def load_inputs(spec: Spec) -> tuple[Model, Splits, Metric]:
    """Read and check everything that a spec names, without compiling: what `budgetc check` does.

    Raises:
        BudgetcError: with what is wrong, where.
    """
    metric = resolve_metric(spec.quality.metric, spec.model.parent)
    hardware = {name: hardware_of(spec, name) for name in spec.targets}
    budgets_of_targets = [each.budgets for each in hardware.values()]
    for budgets in budgets_of_targets:
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
    check_learning(spec)
    model, *further = (load_model(spec.model, shapes) for shapes in spec.entries())
    load_teacher(spec.learning.teacher, model)
    model = replace(model, further=tuple(further))
    if model.quantized and any(map(_int8_peer, budgets_of_targets)):
        raise SpecError.of(
            "budgets.latency: a budget relative to onnxruntime-int8 needs a float model, and this one "
            "is quantized already",
            "compare with onnxruntime, which runs the model as it is.",
        )
    splits = load_splits(spec, model, metric)
    check_strategy(spec, splits.training or splits.calibration)
    for name, each in hardware.items():
        regressions_for(name, each, splits, metric)  # for what it refuses
    return model, splits, metric


def named_targets(spec: Spec, names: Sequence[str] | None) -> list[str]:
    """Those of the spec's targets that are asked for, all by default.

    Raises:
        SpecError: the spec has no target of that name.
    """
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


def _baselines(spec: Spec) -> dict[str, str]:
    """sha256 of the locks that a spec is held against. No artefact is made from them: they decide verdicts alone."""
    files = baseline_files([spec.budgets_for(name) for name in spec.targets])
    return {f"baseline {path}": file_digest(path) for path in files}


def source_digests(spec: Spec, model: Model, splits: Splits) -> dict[str, str]:
    """sha256 of all that an artefact is made from, by role; and the passes that the spec asks for."""
    digests = {"model": model.digest}
    names = entry_names(model.entries)[1:]
    digests |= {f"model {n}": m.digest for n, m in zip(names, model.further, strict=True)}
    parts = {
        "calibration": splits.calibration,
        "validation": splits.validation,
        "evaluation": splits.evaluation,
    }
    seen = set()
    for name, data in parts.items():
        if data is not None and (name != "validation" or data.digest not in seen):
            digests[name] = data.digest
            seen.add(data.digest)
    slices = spec.quality.slices
    if isinstance(slices, Path):
        digests["slices"] = file_digest(slices)
    if ":" in spec.quality.metric:
        digests["metric"] = metric_code(spec.quality.metric, spec.model.parent)
    digests["passes"] = str(spec.passes)
    return digests | _sources_of_learning(spec, splits)


def _sources_of_learning(spec: Spec, splits: Splits) -> dict[str, str]:
    """What a recipe or a strategy learns from, if it trains."""
    trains = spec.learns if isinstance(spec.passes, str) else bool(learners(spec.passes))
    if not trains:
        return {}
    learning = learning_of(spec, splits.training, splits.calibration)
    if learning is None:
        return {}
    found = learning.digests()
    digests = {"training": found["samples"]}
    if found["teacher"]:
        digests["teacher"] = found["teacher"]
    if found["augmentations"]:
        digests["augmentations"] = json_digest([found["augmentations"], found["functions"]])
    return digests

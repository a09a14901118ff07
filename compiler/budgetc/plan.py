"""`budgetc plan` as a function: what a spec's budgets imply for each of its targets, without a build."""

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from budgetc_specs.budgets import Relative
from budgetc_specs.spec import Spec

from budgetc.assess import synthetic
from budgetc.baseline import make_session, seconds_of_inference
from budgetc.build import Job, run_passes, write_models
from budgetc.cache import cache_folder, using_cache
from budgetc.compile import (
    job_for,
    load_inputs,
    named_targets,
    regressions_for,
    subject_for,
)
from budgetc.figures import Limits
from budgetc.hardware import hardware_of
from budgetc.predict.latency import Clockwork
from budgetc.predict.timings import timings_of
from budgetc.progress import Event, Observer, ignore
from budgetc.search.plan import Plan, make_plan
from budgetc.search.pool import open_pool
from budgetc.search.recipes import int8_recipe
from budgetc.search.simulations import Simulations
from budgetc.search.space import Space, find_space


def plan(
    spec: Spec, *, targets: Sequence[str] | None = None, observer: Observer = ignore
) -> tuple[Plan, ...]:
    """What the budgets imply, what is out of reach, what can be chosen, and what to expect of it.

    Args:
        spec: what to plan.
        targets: names of the spec's targets; None takes all.
        observer: told what happens while it happens.

    Raises:
        BudgetcError: the spec, the model, the data or this machine does not allow it.
    """
    chosen = named_targets(spec, targets)
    model, splits, metric = load_inputs(spec)
    plans = []
    with ExitStack() as stack:
        stack.enter_context(using_cache())
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="budgetc-")))
        model_file = scratch / "model.onnx"
        write_models(model, model_file)
        pool = stack.enter_context(open_pool(spec.search.executor))
        for name in chosen:
            hardware = hardware_of(spec, name)
            budgets = hardware.budgets
            job = job_for(spec, hardware, model, model_file, splits)
            observer(Event("target", name, text=hardware.words))
            observer(Event("stage", name, text="asking passes what they can do"))
            space = find_space(
                model_file, model.path, job.capability, calibrated=job.calibration is not None
            )
            subject = subject_for(spec, job, splits, metric)
            peer = _peer(job, budgets.latency and budgets.latency.max, scratch)
            limits = Limits(budgets, peer, regressions_for(name, hardware, splits, metric))
            observer(Event("stage", name, text="predicting candidates"))
            clock = Clockwork(timings_of(job.timings, job.kind, job.capability), job.capability)
            simulations = Simulations(job, subject, pool, cache_folder() / "simulations", clock)
            recipe = None
            if spec.passes != "auto":
                recipe, space = spec.passes, Space((), space.preamble)
            made = make_plan(name, job, space, limits, simulations, splits.sentence, recipe)
            plans.append(made)
    return tuple(plans)


def _peer(job: Job, limit: object, scratch: Path) -> dict[str, float]:
    """Seconds of one inference of the peer that a latency budget names, on made-up inputs."""
    if not isinstance(limit, Relative):
        return {}
    data = job.model.data
    if limit.peer == "onnxruntime-int8":
        folder = scratch / "peer"
        folder.mkdir(exist_ok=True)
        data = run_passes(job, int8_recipe(), folder, lambda _: None).model.data
    session, ports = make_session(data, threads=job.capability.threads), job.model.inputs
    return {limit.peer: seconds_of_inference(session, ports, synthetic(ports, steps=1))}

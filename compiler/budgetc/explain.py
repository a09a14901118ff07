"""Why a library's numbers are wrong, in words: what differs, the layer at fault, a model that shows it."""

from contextlib import AbstractContextManager
from pathlib import Path

from budgetc_targets.contract import Runner

from budgetc.build import Built, Job, Say
from budgetc.cache import cache_folder
from budgetc.model import Model
from budgetc.run import rebuilt
from budgetc.verification.bug import write_bug
from budgetc.verification.locate import locate
from budgetc.verification.report import Report
from budgetc.verification.verifier import Run


def explain(
    model: Model,
    built: Built,
    job: Job,
    report: Report,
    runner: Runner,
    say: Say,
    *,
    compact: bool = False,
) -> str:
    """What is wrong with a library that does not agree; writes a folder for a report of a bug to the cache.

    Args:
        model: what the entry point that does not agree was made of.
        built: the library.
        job: what it was built for; its parts are built the same way.
        report: what `Verifier.verify` found.
        runner: how it is run.
        say: told what is being done.
        compact: whether it was built without kernels that are faster by being larger.
    """
    case = report.wrong
    assert case is not None, "BUG: a library that agrees needs no explanation"
    differs = "\n".join(str(o) for o in case.agreement.outputs if not o.agrees)
    text = f"its outputs are not those of {report.reference}, on {case.name}: {differs}"
    if report.no_precise:
        text += f"\n{report.no_precise}"
    if case.failing is None:
        return text
    folders = iter(range(10**6))

    def rebuild(part: Model) -> AbstractContextManager[Run]:
        folder = built.folder / f"part-{next(folders)}"
        folder.mkdir()
        return rebuilt(job, part, folder, runner, compact=compact)

    fault = locate(model, case.failing, rebuild, fixed_point=job.capability.fixed_point, say=say)
    if fault is None:
        return f"{text}\nthe layer is not known: built once more from the same graph, it agrees"
    context = f"target {job.kind}, {job.capability.cpu}; passes: {built.optimised.recipe}\n{text}"
    folder = write_bug(fault, context, bug_folder(job.name, model))
    return f"{text}\n{fault}\na model that shows it, for a report: {folder}"


def bug_folder(name: str, model: Model) -> Path:
    """Where what was found of a model is kept: the same place for the same graph."""
    return cache_folder() / "bugs" / f"{name}-{model.digest[:12]}"

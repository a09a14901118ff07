"""Whether the operators of a model can be compiled: lowering without code, in seconds and in a supervised child."""

import tempfile
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from typing import Any

import onnx
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, quoted
from budgetc_specs.recipe import Recipe

from budgetc.lower.foreign import ForeignCompiler
from budgetc.lower.lower import prepare_for
from budgetc.lower.walk import walk
from budgetc.model import Model
from budgetc.optimise import optimise
from budgetc.registry import find_target
from budgetc.worker import run_child

SURVEY_SECONDS = 300.0
SURVEY_BYTES = 8 * 2**30


def check_operators(
    model: Model, recipe: Recipe, targets: Sequence[tuple[str, Capability]]
) -> dict[str, int]:
    """Lower a model for each target as far as it takes to know that every operator has code.

    Args:
        model: what to compile.
        recipe: passes before it, none of which needs data.
        targets: kinds and sheets.

    Returns:
        How many kernels are ours (`own`), and nodes of each operator that has other code.

    Raises:
        ModelError: operators that cannot be compiled, all that are known, each with its node, its place in the model
            and what helps.
        ChildDied: lowering crashed, hung or ran out of memory.
    """
    with tempfile.TemporaryDirectory(prefix="budgetc-") as folder:
        file = Path(folder) / "model.onnx"
        file.write_bytes(model.data)
        answer = run_child(
            "budgetc.survey:survey",
            {
                "model": str(file),
                "source": str(model.path),
                "recipe": str(recipe),
                "targets": [(kind, sheet.model_dump(mode="json")) for kind, sheet in targets],
                "folder": folder,
            },
            timeout_s=SURVEY_SECONDS,
            memory_bytes=SURVEY_BYTES,
        )
    findings = answer["findings"]
    if findings:
        lines = list(dict.fromkeys(f["message"] for f in findings))
        repairs = list(dict.fromkeys(f["repair"] for f in findings if f["repair"]))
        count = "an operator" if len(lines) == 1 else f"{len(lines)} operators"
        raise ModelError(
            f"{model.path}: {count} cannot be compiled:\n" + "\n".join(lines), "\n".join(repairs)
        )
    return dict(answer["kernels"])


def survey(
    model: str, source: str, recipe: str, targets: Sequence[Sequence[Any]], folder: str
) -> dict[str, Any]:
    """Run the passes, lower, and make the code of the nodes that have no kernel.

    Args:
        model: file with the normalised model.
        source: where it came from, for messages.
        recipe: the recipe's text.
        targets: pairs of a target's kind and its sheet as JSON.
        folder: for files on the way.

    Returns:
        `findings`: messages and repairs; `kernels`: how many kernels are ours, and nodes by operator that are not.
    """
    names = [node.name for node in onnx.load(model).graph.node]
    findings: list[dict[str, str]] = []
    kernels: Counter[str] = Counter()
    for position, (kind, capability) in enumerate(targets):
        sheet = Capability.model_validate(capability)
        out = str(Path(folder) / f"optimised-{position}.onnx")
        optimise(model, source, recipe, capability, None, out)
        try:
            families = find_target(kind).families()
            graph = prepare_for(Path(out).read_bytes(), sheet, families)
            walk(graph, sheet, families)
        except ModelError as error:
            findings.append(_finding(error, None, names))
            continue
        compiler = ForeignCompiler(graph, sheet, count(1))
        kernels = Counter()
        for op in graph.operations:
            if op.kind != "foreign":
                kernels["own"] += op.kind != "view"
                continue
            kernels[op.attributes["proto"].op_type] += 1
            try:
                compiler.compile(op)
            except ModelError as error:
                findings.append(_finding(error, op.name, names))
    return {"findings": findings, "kernels": dict(kernels)}


def _finding(error: ModelError, name: str | None, names: Sequence[str]) -> dict[str, str]:
    """The message with the node's place in the model, where it has the node's name."""
    if name not in names:
        name = next((n for n in names if quoted(n) in error.message), None)
    place = "" if name is None else f" (node {names.index(name) + 1} of {len(names)})"
    return {"message": error.message + place, "repair": error.repair}

"""The table of operators in the documentation: what compiles and is right, and what is refused."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx.backend.test.loader import load_model_tests

from benchmarks.conformance.verdicts import VERDICTS, Verdict

_HEAD = """# Conformance

The backend cases of the onnx package {version}, each through the whole product: loaded, `{recipe}`, lowered, linked and
run on this machine, and compared with the expected outputs by onnx's own rule: equal types and shapes, the case's rtol
and atol, where atol is at least one rounding of the largest expected value. Expected outputs of 16-bit floats were
rounded after every operator; those of the reference evaluator in f32 are as good. Made by `python -m
benchmarks.conformance --page docs/conformance.md`.

*correct*: compiled, and every output right. *refused*: exit code 7 with the node's name and the reason. *wrong* and
*crashed* (a crash, a hang, or an error without a name) are bugs.

"""


def write_page(path: Path, verdicts: Sequence[Verdict], recipe: str) -> None:
    """Write the whole page."""
    lines = [_HEAD.format(version=onnx.__version__, recipe=recipe).rstrip(), ""]
    lines += [
        "| suite | cases | correct | refused | wrong | crashed |",
        "|---|---|---|---|---|---|",
    ]
    for suite in dict.fromkeys(v.suite for v in verdicts):
        own = [v for v in verdicts if v.suite == suite]
        lines.append(_row(suite, own, len(own)))
    lines += [
        "",
        "## By operator",
        "",
        "The node suite; a case counts for the operator it is named after.",
        "",
    ]
    lines += [
        "| operator | cases | correct | refused | wrong | crashed | why refused |",
        "|---|---|---|---|---|---|---|",
    ]
    operators = _operators()
    groups: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.suite == "node":
            groups[operators[verdict.case]].append(verdict)
    for operator in sorted(groups):
        lines.append(
            f"{_row(operator, groups[operator], len(groups[operator]))} {_why(groups[operator])} |"
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _row(name: str, verdicts: Sequence[Verdict], total: int) -> str:
    counts = Counter(v.verdict for v in verdicts)
    return f"| {name} | {total} | " + " | ".join(str(counts[v] or "") for v in VERDICTS) + " |"


def _why(verdicts: Sequence[Verdict]) -> str:
    """The reason that most of the refused cases have in common."""
    reasons = Counter(_plain(v.detail) for v in verdicts if v.verdict == "refused")
    return reasons.most_common(1)[0][0] if reasons else ""


def _plain(reason: str) -> str:
    line = reason.splitlines()[0].removeprefix("case.onnx: ")
    return line.replace("|", "/")[:120]


def _operators() -> dict[str, str]:
    """The operator that each case of the node suite is about: that of its unexpanded form."""
    models = {c.name: c.model for c in load_model_tests(kind="node") if c.model is not None}
    return {
        name: models.get(name.removesuffix("_expanded"), model).graph.node[-1].op_type
        for name, model in models.items()
    }

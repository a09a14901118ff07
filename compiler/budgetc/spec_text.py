"""A first spec as text: what was measured becomes budgets with some room, and comments say what is what."""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path

from budgetc_specs.sections import TargetSpec
from budgetc_specs.units import format_bytes, format_points, format_seconds

from budgetc.boards import find_board
from budgetc.first_spec import Baseline, Draft
from budgetc.search.proof import written
from budgetc.verdict import Measurement

SCHEMA = "budgetc.schema.json"
"""The file beside a spec that editors complete and check it by."""

ROOM = {"size": 1.1, "memory": 1.15, "latency": 1.5}
"""What a budget allows of what was measured: bytes are what they are, but times are not."""

LEAST_DROP = 0.005
"""What quality may lose in any case, and beyond what int8 was seen to lose."""

LEAST_BYTES = 64
"""Room for memory in any case: a stack of a few bytes may come to hold a register or two more."""

LEAST_RATIO = 0.1
"""What a latency may be of onnxruntime's in any case: of a very small model a clock's tick is a large part."""

_PEER = "onnxruntime"
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./-]*")
_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def spec_text(draft: Draft, baselines: Sequence[Baseline], out: Path) -> str:
    """The spec of a draft with budgets that its baselines keep.

    Args:
        draft: all but the budgets.
        baselines: what was measured, a target each.
        out: where it is to be written; paths are relative to that.
    """
    folder = out.parent
    one = len(baselines) == 1
    same = draft.calibration == draft.evaluation
    lines = [
        f"# yaml-language-server: $schema={SCHEMA}",
        f"# Written by `budgetc init` for {draft.model.name}. Its budgets are what was measured, with some room:",
        "# narrow them to what you need, and `budgetc compile` looks for a version that keeps them.",
        "# `budgetc explain WORD` says what a word of it means.",
        "budgetc: 1",
        f"model: {_path(draft.model, folder)}",
    ]
    if draft.shapes:
        lines.append("inputs: # the model leaves dimensions of these free")
        lines += [f"  {_scalar(n)}: {{shape: {list(s)}}}" for n, s in draft.shapes.items()]
    lines.append("data:")
    if draft.made_up is not None:
        lines += [
            "  # Made-up numbers, which say little of ranges and of quality: put samples of yours in their place,",
            "  # as numpy.savez writes them, an array for each input and `label` where there are labels.",
        ]
    elif same:
        lines += [
            "  # Both are the same samples. What quality is judged on should be used for nothing else: give",
            "  # calibration samples of its own.",
        ]
    lines += [
        f"  calibration: {_path(draft.calibration, folder)}",
        f"  evaluation: {_path(draft.evaluation, folder)}",
        f"quality: {{metric: {_metric(draft.metric)}}} # {draft.why_metric}",
    ]
    if one:
        lines += ["budgets: # all must hold", *(f"  {line}" for line in _budgets(baselines[0]))]
    lines += [
        "# Once there is a lock (`budgetc lock`), later builds can be held against it by another budget:",
        f"#   max_regression: {{baseline: {out.stem}.lock, size: 2 %, latency: 10 %}}",
        "targets:",
    ]
    for baseline in baselines:
        lines += _target(baseline, draft.targets[baseline.target], alone=one)
    return "\n".join(lines) + "\n"


def _target(baseline: Baseline, target: TargetSpec, *, alone: bool) -> list[str]:
    """A target, with budgets of its own where there are several."""
    fields = {}
    if target.board is not None:
        fields["board"] = str(target.board)
    elif baseline.target != "host":
        fields["kind"] = target.kind
        if target.cpu:
            fields["cpu"] = target.cpu
    about = f" # {find_board(target.board).summary}" if target.board is not None else ""
    if alone:
        said = ", ".join(f"{key}: {value}" for key, value in fields.items())
        return [f"  {baseline.target}: {{{said}}}{about}"]
    lines = [f"  {baseline.target}:{about}"]
    lines += [f"    {key}: {value}" for key, value in fields.items()]
    return [*lines, "    budgets:", *(f"      {line}" for line in _budgets(baseline))]


def _budgets(baseline: Baseline) -> list[str]:
    """The budgets of one target, each with what was measured."""
    base = baseline.base
    size, memory = base.size.deployed, base.memory
    lines = [
        f"size: {written(size * ROOM['size'], 'bytes')} # {_both(baseline, 'size')}",
    ]
    if memory.stack is None:
        lines.append(f"# memory: not measured, since nothing ran: {base.reason}")
    else:
        allowed = max(memory.total * ROOM["memory"], memory.total + LEAST_BYTES)
        lines.append(f"memory: {written(allowed, 'bytes')} # {_both(baseline, 'memory')}")
    latency = base.latency
    if latency is None or base.emulated:
        why = "an emulator's times say nothing" if base.emulated else base.reason
        lines.append(f"# latency: not measured: {why}. On the board, such as `latency: 10 ms`")
    elif _PEER in latency.peers:
        theirs = latency.peers[_PEER].statistic(latency.statistic)
        allowed = max(LEAST_RATIO, latency.interval.high / theirs * ROOM["latency"])
        lines.append(
            f"latency: {written(allowed, f'x {_PEER}')} # {_both(baseline, 'latency')}; "
            f"{_PEER}, measured beside it, {format_seconds(theirs)}"
        )
    else:
        allowed = latency.interval.high * ROOM["latency"]
        lines.append(f"latency: {written(allowed, 'seconds')} # {_both(baseline, 'latency')}")
    if base.quality is None:
        lines.append("# quality: not measured, since nothing ran")
    else:
        drop = written(max(base.quality.drop, 0.0) + LEAST_DROP, "fraction")
        lines.append(
            f"quality: {{drop: {drop}}} # {base.quality.metric} {base.quality.value:.4g}, "
            f"float model {base.quality.reference:.4g}: a drop of {format_points(base.quality.drop)}"
        )
    return lines


def _both(baseline: Baseline, figure: str) -> str:
    """A figure of the model as int8 and in float, the one that budgets are made of first."""
    known = {"int8": baseline.int8, "float": baseline.plain}
    if baseline.base is baseline.plain:
        known = dict(reversed(known.items()))
    said = [
        f"{_figure(measured, figure)} {'as' if name == 'int8' else 'in'} {name}"
        for name, measured in known.items()
        if measured is not None
    ]
    return ", ".join(said) + ("" if baseline.int8 else f" (no int8: {baseline.why_not})")


def _figure(measured: Measurement, figure: str) -> str:
    if figure == "size":
        return format_bytes(measured.size.deployed)
    if figure == "memory":
        return format_bytes(measured.memory.total)
    latency = measured.latency
    return "-" if latency is None else format_seconds(latency.ours.statistic(latency.statistic))


def _path(path: Path, folder: Path) -> str:
    """A path as the spec has it: relative to its folder where it lies there or near."""
    relative = os.path.relpath(path.absolute(), folder.absolute())
    return _scalar(relative if relative.count("..") <= 2 else str(path.absolute()))


def _metric(metric: str) -> str:
    return metric if re.fullmatch(r"[a-z][a-z0-9_-]*", metric) else json.dumps(metric)


def _scalar(text: str) -> str:
    """Text as YAML has it, in quotes where it would be something else without."""
    plain = _PLAIN.fullmatch(text) and text.casefold() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)

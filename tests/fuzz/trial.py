"""Many graphs in one library, each held against the references; what is wrong is made small."""

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
from budgetc.build import link_produced
from budgetc.cache import cache_folder
from budgetc.measure.conversation import BinaryError
from budgetc.measure.harness import Harness, build_harness
from budgetc.model import Model, parse_model
from budgetc.registry import find_target
from budgetc.verification.cases import Case
from budgetc.verification.cuts import Cutter
from budgetc.verification.limits import integer_ranges
from budgetc.verification.oracle import Arrays
from budgetc.verification.verifier import Run, Verifier
from budgetc.worker import ChildDied, run_child
from budgetc_specs.errors import BudgetcError, InternalError, ModelError
from onnx import helper

SECONDS = 300.0
INFERENCES = 3
KIND = "host"
"""The kind of target, whose sheet is the host's."""

Verdict = Literal["right", "refused", "wrong", "crashed", "no reference"]


@dataclass(frozen=True)
class Outcome:
    """What became of one graph."""

    model: Model
    verdict: Verdict
    text: str = ""
    excepted: int = 0

    @property
    def fails(self) -> bool:
        return self.verdict in {"wrong", "crashed"}


def examine(models: Sequence[Model]) -> list[Outcome]:
    """Compile graphs with different names into one library, run it and compare; one outcome for each, in order."""
    if not models:
        return []
    try:
        with built(united(models)) as run:
            inputs = {k: v for m in models for k, v in inputs_of(m).items()}
            outputs = run(inputs)
    except ModelError as error:
        if len(models) == 1:
            return [Outcome(models[0], "refused", error.message)]
        named = re.search(r"g(\d+)_", error.message)
        at = next((i for i, m in enumerate(models) if named and _holds(m, named[0])), None)
        if at is None:
            return _halves(models)
        rest = examine([*models[:at], *models[at + 1 :]])
        return [*rest[:at], Outcome(models[at], "refused", error.message), *rest[at:]]
    except (ChildDied, BinaryError, InternalError, AssertionError) as error:
        if len(models) == 1:
            return [Outcome(models[0], "crashed", str(error))]
        return _halves(models)
    return [_compared(model, outputs) for model in models]


def small(outcome: Outcome) -> Outcome:
    """The same fault with as few nodes as show it: single nodes and short runs of them are tried first."""
    cutter = Cutter(onnx.load_model_from_string(outcome.model.data))
    for length in range(1, len(cutter.nodes)):
        for begin in range(len(cutter.nodes) - length + 1):
            nodes = cutter.nodes[begin : begin + length]
            made = [o for n in nodes for o in n.output if o in cutter.infos]
            inside = {i for n in nodes for i in n.input}
            outputs = [o for o in made if o not in inside or o in cutter.outputs]
            inputs = [i for n in nodes for i in n.input if i in cutter.varies and i not in made]
            try:
                part = cutter.part(list(dict.fromkeys(inputs)), outputs)
                (found,) = examine([parse_model(part.SerializeToString(), "part.onnx")])
            except BudgetcError:
                continue
            if found.verdict == outcome.verdict:
                return found
    return outcome


def united(models: Sequence[Model]) -> onnx.ModelProto:
    """One graph of several that share no name."""
    protos = [onnx.load_model_from_string(m.data) for m in models]
    graph = onnx.GraphProto(name="united")
    for proto in protos:
        graph.node.extend(proto.graph.node)
        graph.input.extend(proto.graph.input)
        graph.output.extend(proto.graph.output)
        graph.initializer.extend(proto.graph.initializer)
        graph.value_info.extend(proto.graph.value_info)
    return helper.make_model(graph, opset_imports=list(protos[0].opset_import), ir_version=8)


@contextmanager
def built(proto: onnx.ModelProto) -> Iterator[Run]:
    """A model as a library at work in a process of its own; lowering is in a child as well."""
    sheet = find_target("host").capability(None, 1)
    with tempfile.TemporaryDirectory(prefix="budgetc-fuzz-") as temporary:
        folder = Path(temporary)
        (folder / "optimised.onnx").write_bytes(proto.SerializeToString())
        arguments = {
            "model": str(folder / "optimised.onnx"),
            "kind": KIND,
            "capability": sheet.model_dump(mode="json"),
            "trials": 0,
            "records": temporary,
            "folder": temporary,
        }
        run_child("budgetc.produce:produce", arguments, timeout_s=SECONDS, memory_bytes=8 * 2**30)
        linked = link_produced(folder, "net", sheet, "shared", cache_folder() / "zig")
        program = build_harness(sheet, cache_folder())
        with Harness([str(program)], linked.interface, linked.library) as harness:
            yield harness.run


def inputs_of(model: Model) -> dict[str, np.ndarray]:
    """Three inferences: normal numbers, wide ones, and whole ones, among which ties and zeros are frequent."""
    random = np.random.default_rng(len(model.data))
    seen = {p.name: np.array([0, 6]) for p in model.inputs}
    ranges = integer_ranges(onnx.load_model_from_string(model.data), seen)
    made = {}
    for port in model.inputs:
        dtype = np.dtype(port.dtype)
        shape = (INFERENCES, *port.shape)
        if dtype.kind == "f":
            drawn = random.standard_normal(shape)
            drawn[1] *= 10
            drawn[2] = np.round(drawn[2])
        else:
            low, high = ranges.get(port.name, (0, 1))
            drawn = random.integers(max(low, -1000), min(high, 1000) + 1, shape)
        made[port.name] = drawn.astype(dtype).reshape(-1, *port.shape[1:])
    return made


def _compared(model: Model, outputs: Arrays) -> Outcome:
    own = {p.name: outputs[p.name] for p in model.outputs}
    try:
        verifier = Verifier(model, lambda _: own)
        found = verifier.compare(Case("grown", inputs_of(model)), own)
    except ModelError as error:
        return Outcome(model, "no reference", error.message)
    excepted = sum(o.excepted for o in found.agreement.outputs)
    verdict: Verdict = "right" if found.agreement.agrees else "wrong"
    return Outcome(model, verdict, str(found.agreement), excepted)


def _halves(models: Sequence[Model]) -> list[Outcome]:
    middle = len(models) // 2
    return [*examine(models[:middle]), *examine(models[middle:])]


def _holds(model: Model, prefix: str) -> bool:
    return any(p.name.startswith(prefix) for p in model.outputs)

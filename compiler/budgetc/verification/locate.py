"""The layer at fault: bisect the graph by building its beginnings, then build what lies between alone.

A beginning of the graph, with what crosses the cut as outputs, is built and compared like any model. Where the first
half of the cuts is right, the fault lies behind, and so on: log2(cuts) builds. What lies between the last cut that is
right and the first that is wrong is then a model of its own; fed with the reference's values, it shows the fault
alone, or takes in more of what comes before it until it does.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import numpy as np
import onnx
from budgetc_specs.errors import BudgetcError, ModelError

from budgetc.model import Model, parse_model
from budgetc.verification.agreement import Agreement, differences
from budgetc.verification.cases import Case
from budgetc.verification.cuts import Cut, Cutter
from budgetc.verification.oracle import Arrays, Oracle, by_inference, feeds, outputs_of, stack
from budgetc.verification.rounding import shapes_of
from budgetc.verification.verifier import Run, Say, Verifier

SECONDS = 180.0
"""Time for finding a layer; then what is known is told."""

Rebuild = Callable[[Model], AbstractContextManager[Run]]

_SMALL = frozenset({"QuantizeLinear", "DequantizeLinear", "Reshape", "Transpose", "Identity"})


@dataclass(frozen=True)
class Fault:
    """The first layer whose values are wrong.

    Attributes:
        node: its name.
        operator: its ONNX operator.
        nodes: all that were built together, the layer among them.
        inputs: shape and type of each value that goes in.
        output: the value that is wrong.
        shape: its shape and type.
        index: where it differs most.
        wanted: the reference's value there.
        got: the library's.
        largest: the absolute difference there.
        wrong: elements that differ.
        elements: elements that there are.
        alone: whether the model below shows the fault by itself.
        model: the smallest model found that shows it.
        feed: what it is fed, stacked.
        expected: the reference's outputs of it, by inference.
        ours: the library's.
        builds: libraries that were built on the way.
    """

    node: str
    operator: str
    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    shape: str
    index: tuple[int, ...]
    wanted: float
    got: float
    largest: float
    wrong: int
    elements: int
    alone: bool
    model: Model = field(repr=False)
    feed: Arrays = field(repr=False)
    expected: Arrays = field(repr=False)
    ours: Arrays = field(repr=False)
    builds: int = 0

    def __str__(self) -> str:
        others = [n for n in self.nodes if n != self.node]
        lines = [
            f"the first layer that differs: {self.operator} {self.node!r}",
            f"  it reads {', '.join(self.inputs)}; {self.output!r} is {self.shape}",
            f"  {self.wrong} of {self.elements} values differ, most at {list(self.index)}: "
            f"expected {self.wanted:.9g}, got {self.got:.9g}, a difference of {self.largest:.3g}",
        ]
        if others:
            lines.append(f"  built together with {', '.join(map(repr, others))}")
        if not self.alone:
            lines.append("  it shows only together with the layers before it")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Seen:
    """One model built and run on one inference."""

    model: Model
    feed: Arrays
    agreement: Agreement
    wanted: Arrays
    ours: Arrays

    @property
    def wrong(self) -> tuple[str, ...]:
        return tuple(o.name for o in self.agreement.outputs if not o.agrees)


def locate(
    model: Model,
    failing: Arrays,
    rebuild: Rebuild,
    *,
    fixed_point: bool = False,
    seconds: float = SECONDS,
    say: Say = lambda _: None,
) -> Fault | None:
    """Find the first layer that differs.

    Args:
        model: the graph whose library is wrong.
        failing: inputs of one inference of it, stacked, that show it.
        rebuild: builds a part of the graph as the library was built.
        fixed_point: whether quantised arithmetic is that of cores without floats.
        seconds: time for it.
        say: told what is being built.

    Returns:
        The layer; None where a library that is built once more from the same graph is right, or where the parts cannot
        be built.
    """
    deadline = time.monotonic() + seconds
    return _Search(model, failing, rebuild, deadline, say, fixed_point=fixed_point).fault()


class _Search:
    def __init__(
        self,
        model: Model,
        failing: Arrays,
        rebuild: Rebuild,
        deadline: float,
        say: Say,
        *,
        fixed_point: bool,
    ) -> None:
        self.fixed_point = fixed_point
        self.model, self.failing, self.rebuild = model, failing, rebuild
        self.deadline, self.say = deadline, say
        self.builds = 0
        self.cutter = Cutter(onnx.load_model_from_string(model.data))

    def fault(self) -> Fault | None:
        whole = self._see(onnx.load_model_from_string(self.model.data), self.failing)
        if whole is None or not whole.wrong:
            return None
        cuts = self.cutter.cuts()
        low, high, seen = -1, len(cuts) - 1, whole
        while high - low > 1 and time.monotonic() < self.deadline:
            middle = (low + high) // 2
            self.say(f"looking for the layer at fault, {high - low} left")
            found = self._see(self._beginning(cuts[middle]), self.failing)
            if found is None:  # such a part cannot be built; the cut beside it may be
                del cuts[middle]
                high -= 1
            elif found.wrong:
                high, seen = middle, found
            else:
                low = middle
        return self._narrowed(cuts, low, seen)

    def _beginning(self, cut: Cut) -> onnx.ModelProto:
        return self.cutter.part([], cut.values)

    def _narrowed(self, cuts: Sequence[Cut], low: int, seen: _Seen) -> Fault:
        """The layer alone; with more and more of what comes before, where it does not show alone."""
        wrong = seen.wrong
        back = 0
        while low - back >= 0 and time.monotonic() < self.deadline:
            before = cuts[low - back]
            self.say("looking for the smallest model that shows it")
            alone = self._between(before, wrong)
            if alone is not None and alone.wrong:
                return self._told(alone, alone.wrong, cuts[low].values, alone=back == 0)
            back = back * 2 + 1
        before_it = cuts[low].values if low >= 0 else ()
        return self._told(seen, wrong, before_it, alone=low < 0)

    def _between(self, before: Cut, outputs: Sequence[str]) -> _Seen | None:
        part = self.cutter.part(before.values, outputs)
        try:
            beginning = parse_model(self._beginning(before).SerializeToString(), self.model.path)
            (feed,) = feeds(self._fed(beginning), beginning.inputs)
            known = {**self._feed(self.failing, self.model), **self._oracle(beginning).infer(feed)}
        except ModelError:
            return None
        return self._see(part, {i.name: np.atleast_1d(known[i.name]) for i in part.graph.input})

    def _oracle(self, model: Model) -> Oracle:
        return Oracle(model, fixed_point=self.fixed_point)

    def _feed(self, stacked: Arrays, model: Model) -> Arrays:
        return next(feeds(stacked, model.inputs))

    def _fed(self, model: Model) -> Arrays:
        return {port.name: self.failing[port.name] for port in model.inputs}

    def _see(self, proto: onnx.ModelProto, stacked: Arrays) -> _Seen | None:
        """Build, run and compare; None where it cannot be built or no reference runs it."""
        try:
            model = parse_model(proto.SerializeToString(), self.model.path)
            feed = {port.name: stacked[port.name] for port in model.inputs}
            self.builds += 1
            with self.rebuild(model) as run:
                raw = run(feed)
                verifier = Verifier(model, run, fixed_point=self.fixed_point)
                found = verifier.compare(Case("the failing input", feed), raw)
            wanted = outputs_of(self._oracle(model).infer, feed, model.inputs)
        except BudgetcError:
            return None
        return _Seen(model, feed, found.agreement, wanted, by_inference(raw, model.outputs))

    def _told(
        self, seen: _Seen, wrong: Sequence[str], before: Sequence[str], *, alone: bool
    ) -> Fault:
        name = wrong[0]
        # Fed with the reference's values, a value before the cut may be the one that differs.
        nodes = self.cutter.nodes_between(before, [name]) or self.cutter.nodes_between((), [name])
        culprit = next((n for n in reversed(nodes) if n.op_type not in _SMALL), nodes[-1])
        wanted, ours = np.asarray(seen.wanted[name])[0], np.asarray(seen.ours[name])[0]
        found = differences(ours, wanted)
        place = np.unravel_index(int(np.argmax(found)), found.shape) if found.ndim else ()
        shapes = shapes_of(self.cutter.model)
        read = [n for n in culprit.input if n]
        return Fault(
            node=culprit.name,
            operator=culprit.op_type,
            nodes=tuple(n.name for n in nodes),
            inputs=tuple(f"{n!r} {list(shapes.get(n, ()))}" for n in read),
            output=name,
            shape=f"{wanted.dtype} {list(wanted.shape)}",
            index=tuple(int(i) for i in place),
            wanted=float(wanted[place]),
            got=float(ours[place]),
            largest=float(found[place]),
            wrong=int((found > 0).sum()),
            elements=wanted.size,
            alone=alone,
            model=seen.model,
            feed=stack(seen.feed),
            expected=seen.wanted,
            ours=seen.ours,
            builds=self.builds,
        )

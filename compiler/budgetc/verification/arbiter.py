"""What decides where the library and onnxruntime differ by more than a bound in advance allows.

Five explanations are tried for each value, and every value that needs one is counted as excepted, never passed in
silence: the noise of rounding moves the reference as far (`jitter`); the noise makes a finite value of it not finite,
or the other way round; behind quantisers or roundings to 16 bits, a run with noise, held against the other runs, has
as many values that these do not explain, and as far off; onnxruntime is wrong, because onnx's reference evaluator, or
for integers onnxruntime with the graph as it is written, says what the library says; or onnxruntime is further from
what double precision makes of the graph than the library is (`precise`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import ModelError

from budgetc.baseline import Session, make_session
from budgetc.verification.agreement import Agreement, compare, differences, magnitudes
from budgetc.verification.jitter import jittered
from budgetc.verification.oracle import Array, Arrays, Oracle
from budgetc.verification.precise import Precise, as_near
from budgetc.verification.rounding import rounded_on_the_way

RUNS = 16
"""Runs with noise. What is as likely either way shows both ways in all but one of 32768 cases."""

ALIKE = 8
"""Runs beside them in which all values of a tensor have the same noise."""

MARGIN = 2.0
"""A difference may be this often what the noise moved a value by: ours has its own roundings as well."""

EXAMINED = 16
"""Inferences that are examined, those with the largest differences. The others differ by less."""

Masks = Mapping[str, npt.NDArray[np.bool_]]


class Arbiter:
    """Explains differences of one model, or finds that nothing does.

    Attributes:
        against_reference: inferences in which onnx's evaluator, or onnxruntime without its optimiser, was right and
            onnxruntime was not.
        nearer: inferences in which the library was at least as near to double precision as onnxruntime was.
        no_precise: why double precision had no say where it was asked; empty where it had.
        seconds: time that explaining took.
    """

    def __init__(self, oracle: Oracle, tolerance: float, steps: Mapping[str, float]) -> None:
        self._oracle, self._tolerance, self._steps = oracle, tolerance, steps
        self._noisy: tuple[Session, ...] = ()
        kinds = {node.op_type for node in oracle.proto.graph.node}
        self._quantised = (
            "DequantizeLinear" in kinds
        )  # of whose integers onnx's evaluator is no judge
        # Whether values inside are rounded to few, so that noise moves them seldom, and then far.
        self._stepped = self._quantised or bool(rounded_on_the_way(oracle.proto))
        self._precise = None if self._quantised else Precise(oracle.proto)
        self.against_reference = 0
        self.nearer = 0
        self.no_precise = ""
        self.seconds = 0.0

    def judge(
        self, agreement: Agreement, ours: Arrays, wanted: Arrays, feed_of: Mapping[int, Arrays]
    ) -> Agreement:
        """The agreement with every output that is explained put right.

        Args:
            agreement: what `compare` found.
            ours: the library's outputs, inferences on axis 0.
            wanted: the reference's.
            feed_of: what was fed, for the inferences of `agreement.beyond` that are to be examined.
        """
        begin = time.monotonic()
        unexplained: dict[str, list[int]] = {}
        excepted: dict[str, int] = {}
        for step, feed in feed_of.items():
            masks = self._beyond(ours, wanted, step)
            left = self._after_noise(masks, ours, wanted, step, feed)
            if any(mask.any() for mask in left.values()):
                left = self._after_definition(left, ours, step, feed)
            if any(mask.any() for mask in left.values()):
                left = self._after_precision(left, ours, wanted, step, feed)
            for name, mask in masks.items():
                excepted[name] = excepted.get(name, 0) + int((mask & ~left[name]).sum())
                if left[name].any():
                    unexplained.setdefault(name, []).append(step)
        outputs = []
        for output in agreement.outputs:
            wrong = tuple(s for s in output.beyond if s in unexplained.get(output.name, ()))
            outputs.append(
                replace(
                    output,
                    agrees=not wrong,
                    beyond=wrong,
                    worst_sample=wrong[0] if wrong else output.worst_sample,
                    excepted=excepted.get(output.name, 0),
                )
            )
        self.seconds += time.monotonic() - begin
        return Agreement(tuple(outputs))

    def _beyond(self, ours: Arrays, wanted: Arrays, step: int) -> dict[str, npt.NDArray[np.bool_]]:
        """The elements of one inference that differ by more than was allowed."""
        masks = {}
        for name, reference in wanted.items():
            found = differences(ours[name][step], reference[step])
            if self._is_exact(name, reference):
                masks[name] = found > 0
            else:
                masks[name] = found > self._allowed(reference, step)
        return masks

    def _is_exact(self, name: str, reference: Array) -> bool:
        return reference.dtype.kind != "f" or name in self._steps

    def _allowed(self, reference: Array, step: int) -> float:
        """The absolute difference that the bound in advance allows in one inference of an output of reals."""
        return float(self._tolerance * magnitudes(reference.reshape(len(reference), -1))[step])

    def _after_noise(
        self, masks: Masks, ours: Arrays, wanted: Arrays, step: int, feed: Arrays
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """What is left of the elements after those that move as far by the noise of rounding."""
        try:
            if not self._noisy:
                protos = (jittered(self._oracle.proto, alike=alike) for alike in (False, True))
                self._noisy = tuple(
                    make_session(proto.SerializeToString(), optimisation="none") for proto in protos
                )
            apart, alike = self._noisy
            runs = [apart.run(feed) for _ in range(RUNS)] + [alike.run(feed) for _ in range(ALIKE)]
        except ModelError:  # onnxruntime has no such kernel for noise; then there is no excuse
            return dict(masks)
        left = {}
        for name, mask in masks.items():
            reference = wanted[name][step]
            values = [np.asarray(run[name]) for run in runs]
            own = differences(ours[name][step], reference)
            if self._is_exact(name, reference):
                # A step of a quantiser on the way moves few of the elements, and others each time.
                most = _moved(values).max(initial=0.0)
                left[name] = mask & ~(np.isinf(most) | (own <= MARGIN * most))
                continue
            left[name] = mask & ~_explained(own, values)
            if left[name].any() and self._stepped:
                allowed = self._allowed(wanted[name], step)
                if _as_stray(own[left[name]], values, reference, allowed):
                    left[name] = np.zeros_like(mask)
        return left

    def _after_definition(
        self, left: Masks, ours: Arrays, step: int, feed: Arrays
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """What is left after what the graph's definition has as the library has it."""
        try:
            define = self._oracle.as_written if self._quantised else self._oracle.definition
            defined = define(feed)
            own: dict[str, Array] = {name: ours[name][step][None] for name in left}
            found = compare(
                own,
                {n: v[None] for n, v in defined.items()},
                tolerance=self._tolerance,
                steps=self._steps,
            )
        except Exception:  # it lacks operators, and raises whatever its numpy code raises
            return dict(left)
        if not found.agrees:
            return dict(left)
        self.against_reference += 1
        return {name: np.zeros_like(mask) for name, mask in left.items()}

    def _after_precision(
        self, left: Masks, ours: Arrays, wanted: Arrays, step: int, feed: Arrays
    ) -> dict[str, npt.NDArray[np.bool_]]:
        """What is left after what double precision has at least as near to the library as to the reference.

        It is no judge of integers. It is slow, and a library that it has once found wrong is: it is not asked again.
        """
        reals = [n for n, mask in left.items() if mask.any() and not self._is_exact(n, wanted[n])]
        if self._precise is None or not reals:
            return dict(left)
        try:
            truth = self._precise.infer(feed)
        except ModelError as error:
            self._precise, self.no_precise = None, error.message
            return dict(left)
        further = dict(left)
        for name in reals:
            reference = wanted[name]
            allowed = self._allowed(reference, step)
            near = as_near(ours[name][step], reference[step], truth[name], allowed)
            further[name] = left[name] & ~near
        if any(mask.any() for mask in further.values()):
            self._precise = None
        else:
            self.nearer += 1
        return further


def _moved(runs: Sequence[Array]) -> npt.NDArray[np.float64]:
    """How far noise moves each element: the runs furthest apart."""
    # Where some are NaN, highest and lowest both are, and the first run differs.
    apart = differences(np.max(runs, axis=0), np.min(runs, axis=0))
    found: npt.NDArray[np.float64] = np.max([apart, *(differences(v, runs[0]) for v in runs)], 0)
    return found


def _explained(own: npt.NDArray[np.float64], runs: Sequence[Array]) -> npt.NDArray[np.bool_]:
    """The elements that noise moves as far as they differ."""
    moved = _moved(runs)
    return np.isinf(moved) | (own <= MARGIN * moved)


def _as_stray(
    left: npt.NDArray[np.float64], runs: Sequence[Array], reference: Array, allowed: float
) -> bool:
    """Whether what the noise leaves over is no more than it leaves over of one of its own runs.

    A step on the way, of a quantiser or of 16 bits, moves few of the elements behind it, and others each time. So a
    run held against all others strays in some elements too, if each value in it had a noise of its own.

    Args:
        left: differences from the reference that the runs do not explain; one that is infinite has no excuse here.
        runs: outputs of the reference with noise, first those in which each value had its own.
        reference: its output without.
        allowed: an absolute difference that rounding explains.

    Returns:
        True if one run has, at every distance from the reference, as many elements that the others do not explain.
    """
    ranked = -np.sort(-left, axis=None)
    for n, run in enumerate(runs[:RUNS]):
        distance = differences(run, reference)
        others = [*runs[:n], *runs[n + 1 :]]
        stray = distance[(distance > allowed) & ~_explained(distance, others)]
        furthest = -np.sort(-stray, axis=None)[: len(ranked)]
        if len(furthest) == len(ranked) and bool((ranked <= furthest).all()):
            return bool(np.isfinite(ranked).all())
    return False

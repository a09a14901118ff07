"""What decides where the library and onnxruntime differ by more than a bound in advance allows.

Four explanations are tried for each value, and every value that needs one is counted as excepted, never passed in
silence: the noise of rounding moves the reference as far (`jitter`); the noise makes a finite value of it not finite,
or the other way round; onnxruntime is wrong, because onnx's reference evaluator, or for integers onnxruntime with the
graph as it is written, says what the library says; or onnxruntime is further from what double precision makes of the
graph than the library is (`precise`).
"""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import ModelError

from budgetc.baseline import Session, make_session
from budgetc.verification.agreement import Agreement, compare, differences, magnitudes
from budgetc.verification.jitter import jittered
from budgetc.verification.oracle import Array, Arrays, Oracle
from budgetc.verification.precise import Precise, as_near

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
            # The runs furthest apart; where some are NaN, highest and lowest both are, and the first run differs.
            furthest = differences(np.max(values, axis=0), np.min(values, axis=0))
            moved = np.max([furthest, *(differences(v, values[0]) for v in values)], axis=0)
            if self._is_exact(name, reference):
                # A step of a quantiser on the way moves few of the elements, and others each time.
                moved = np.full_like(moved, moved.max(initial=0.0))
            own = differences(ours[name][step], reference)
            left[name] = mask & ~(np.isinf(moved) | (own <= MARGIN * moved))
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

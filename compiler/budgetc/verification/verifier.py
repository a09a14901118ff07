"""The differential check of one library: case after case against the reference, while time lasts."""

import time
from collections.abc import Callable, Mapping

import onnx
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError

from budgetc.model import Model
from budgetc.verification.agreement import compare, output_steps
from budgetc.verification.arbiter import EXAMINED, Arbiter
from budgetc.verification.cases import Case, NoCase, adversarial
from budgetc.verification.oracle import (
    Arrays,
    Oracle,
    by_inference,
    feeds,
    inferences,
    outputs_of,
    stack,
)
from budgetc.verification.report import CaseReport, Report
from budgetc.verification.rounding import rounded_on_the_way, tolerance

SECONDS = 20.0
"""Time for adversarial inputs; a case that has begun is ended."""

EXPLAINING = 120.0
"""Time that the arbiter may take beside it, so that one kind of inputs that it examines does not keep others out."""

Run = Callable[[Arrays], Arrays]
"""A library over stacked inputs: outputs by name, inferences joined on axis 0."""

Say = Callable[[str], None]


def knows_denormals(capability: Capability, model: Model) -> bool:
    """Whether a library tells numbers below the normal ones from zero.

    Vectors of some CPUs do not, nor does any CPU's dot product of bfloat16 numbers, where the model rounds to such.
    """
    if capability.flushes_denormals:
        return False
    proto = onnx.load_model_from_string(model.data)
    return capability.bfloat16_dot is None or not rounded_on_the_way(proto)


class Verifier:
    """Compares a library with the references of the graph that it was made of.

    Args:
        model: that graph.
        run: the library.
        fixed_point: whether quantised arithmetic is that of cores without floats.
        denormals: whether the hardware knows numbers below the normal ones; else such inputs are not compared.

    Raises:
        ModelError: no reference runs it.
    """

    def __init__(
        self, model: Model, run: Run, *, fixed_point: bool = False, denormals: bool = True
    ) -> None:
        self._denormals = denormals
        self._model, self._run = model, run
        self._oracle = Oracle(model, fixed_point=fixed_point)
        self._tolerance = 0.0 if self._oracle.exact else tolerance(self._oracle.proto)
        self._steps = output_steps(self._oracle.proto)
        self._arbiter = Arbiter(self._oracle, self._tolerance, self._steps)

    def verify(
        self,
        real: Arrays,
        ours: Arrays | None = None,
        *,
        seconds: float = SECONDS,
        say: Say = lambda _: None,
    ) -> Report:
        """Compare on real inputs, then on adversarial ones as far as time allows.

        Args:
            real: real inputs, stacked on axis 0.
            ours: the library's outputs of them, where they are known already.
            seconds: time for the adversarial inputs.
            say: told what is being compared.

        Raises:
            BinaryError: the library crashed or hung.
            ModelError: no reference runs the model on real inputs.
        """
        say("comparing real inputs")
        cases = [self.compare(Case("real inputs", real), ours)]
        skipped: list[NoCase] = []
        begin, explained = time.monotonic(), self._arbiter.seconds
        for case in adversarial(
            self._oracle.proto, self._model.inputs, real, denormals=self._denormals
        ):
            extra = min(EXPLAINING, self._arbiter.seconds - explained)
            if isinstance(case, NoCase):
                skipped.append(case)
            elif time.monotonic() > begin + seconds + extra:
                skipped.append(NoCase(case.name, f"the {seconds:g} s for such inputs were up"))
            else:
                say(f"comparing {case.name}")
                try:
                    cases.append(self.compare(case))
                except ModelError as error:
                    skipped.append(NoCase(case.name, error.message))
        return Report(
            self._oracle.name,
            self._tolerance,
            tuple(cases),
            tuple(skipped),
            self._arbiter.against_reference,
            self._arbiter.nearer,
            self._arbiter.no_precise,
        )

    def compare(self, case: Case, ours: Arrays | None = None) -> CaseReport:
        """One case; the reference goes first, so that inputs that it refuses never reach the library."""
        ports = self._model.inputs
        wanted = outputs_of(self._oracle.infer, case.inputs, ports)
        own = by_inference(ours or self._run(case.inputs), self._model.outputs)
        found = compare(own, wanted, tolerance=self._tolerance, steps=self._steps)
        feed_of: Mapping[int, Arrays] = {}
        if not found.agrees and not self._oracle.exact:
            feed_of = _fed(case, found.beyond, self._model)
            found = self._arbiter.judge(found, own, wanted, feed_of)
        wrong = found.beyond
        failing = None
        if wrong:
            failing = stack((feed_of or _fed(case, wrong, self._model))[wrong[0]])
        return CaseReport(case.name, inferences(case.inputs, ports), found, failing)


def _fed(case: Case, beyond: tuple[int, ...], model: Model) -> Mapping[int, Arrays]:
    """What was fed in the inferences that are examined, the worst first."""
    examined = beyond[:EXAMINED]
    feed_of = {s: f for s, f in enumerate(feeds(case.inputs, model.inputs)) if s in examined}
    return {step: feed_of[step] for step in examined}

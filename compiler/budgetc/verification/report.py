"""What verification came to: every kind of inputs, the references, and what was not compared and why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import ConfigDict

from budgetc.verification.agreement import Agreement
from budgetc.verification.cases import NoCase
from budgetc.verification.oracle import Arrays


@dataclass(frozen=True)
class CaseReport:
    """One kind of inputs.

    Attributes:
        name: which.
        inferences: how many were compared.
        agreement: how they compare.
        failing: the inputs of the first inference that is wrong, by name; None where none is.
    """

    # For whoever reads and writes results by their types; arrays are left out of what is written.
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(arbitrary_types_allowed=True)

    name: str
    inferences: int
    agreement: Agreement
    failing: Arrays | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Report:
    """How a library's outputs compare with the reference's.

    Attributes:
        reference: "onnxruntime", or "onnx's reference evaluator" where onnxruntime does not run the model.
        tolerance: the part of its magnitude by which a real output might differ.
        cases: real inputs first.
        skipped: kinds of inputs that were not compared.
        against_reference: inferences in which the graph as it is written confirmed the library against onnxruntime.
        nearer: inferences in which double precision found the library at least as near as onnxruntime.
        no_precise: why it had no say where it was asked; empty where it had.
    """

    reference: str
    tolerance: float
    cases: tuple[CaseReport, ...]
    skipped: tuple[NoCase, ...] = ()
    against_reference: int = 0
    nearer: int = 0
    no_precise: str = ""

    @property
    def agrees(self) -> bool:
        """Whether every case does."""
        return all(c.agreement.agrees for c in self.cases)

    @property
    def wrong(self) -> CaseReport | None:
        """The first case that does not agree."""
        return next((c for c in self.cases if not c.agreement.agrees), None)

    @property
    def excepted(self) -> int:
        """Values beyond the bound that one of the arbiter's explanations fits."""
        return sum(o.excepted for c in self.cases for o in c.agreement.outputs)

    def joined(self, others: Sequence[tuple[str, "Report"]]) -> "Report":
        """One report of several entry points: the kinds of inputs of the others begin with a name."""
        cases, skipped = list(self.cases), list(self.skipped)
        for name, other in others:
            cases += [replace(case, name=f"{name}: {case.name}") for case in other.cases]
            skipped += [replace(each, name=f"{name}: {each.name}") for each in other.skipped]
        every = (self, *(other for _, other in others))
        return replace(
            self,
            cases=tuple(cases),
            skipped=tuple(skipped),
            against_reference=sum(each.against_reference for each in every),
            nearer=sum(each.nearer for each in every),
            no_precise=next((each.no_precise for each in every if each.no_precise), ""),
        )

    def __str__(self) -> str:
        lines = [
            f"{case.name}: {output}" if index == 0 else f"  {output}"
            for case in self.cases
            for index, output in enumerate(case.agreement.outputs)
        ]
        lines += [f"{skipped.name}: not compared, {skipped.why}" for skipped in self.skipped]
        if self.against_reference:
            lines.append(
                f"onnxruntime was wrong in {self.against_reference} inferences, by the graph as it is "
                "written"
            )
        if self.nearer:
            lines.append(
                f"onnxruntime was no nearer than the library in {self.nearer} inferences, by the graph "
                "in double precision"
            )
        if self.no_precise:
            lines.append(self.no_precise)
        return "\n".join(lines)

    def to_json(self) -> Mapping[str, Any]:
        """As plain JSON values, for the manifest."""
        return {
            "reference": self.reference,
            "tolerance": self.tolerance,
            "against_reference": self.against_reference,
            "nearer": self.nearer,
            "no_precise": self.no_precise or None,
            "cases": [
                {
                    "name": case.name,
                    "inferences": case.inferences,
                    "outputs": [
                        {
                            "name": o.name,
                            "agrees": o.agrees,
                            "largest": o.largest if o.largest < float("inf") else None,
                            "unit": o.unit,
                            "identical": o.identical,
                            "excepted": o.excepted,
                        }
                        for o in case.agreement.outputs
                    ],
                }
                for case in self.cases
            ],
            "skipped": [{"name": s.name, "why": s.why} for s in self.skipped],
        }

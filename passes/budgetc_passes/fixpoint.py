"""How a composite pass runs its parts: in turn, until none of them changes the model."""

from collections.abc import Sequence

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Note, Pass, PassError, PassResult

ROUNDS = 50
"""Each round removes or simplifies something, and real models need two or three."""


def run_to_fixed_point(
    parts: Sequence[Pass], model: ir.Model, evidence: Evidence, name: str
) -> PassResult:
    """Run the parts in order, again and again, until a whole round leaves the model alone.

    Refusals are kept from the last round only: an earlier one may have been overtaken.

    Raises:
        PassError: a part raised it, or the parts keep undoing each other's work.
    """
    did: list[Note] = []
    for _ in range(ROUNDS):
        refused: list[Note] = []
        modified = False
        for part in parts:
            result = part.run(model, evidence)
            model = result.model
            modified = modified or result.modified
            did += [note for note in result.notes if note.kind == "did"]
            refused += [note for note in result.notes if note.kind == "refused"]
        if not modified:
            return PassResult(model, bool(did), tuple(dict.fromkeys([*did, *refused])))
    message = f"BUG: {name} did not settle in {ROUNDS} rounds; last note: {did[-1]}"
    raise PassError(message)

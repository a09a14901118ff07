"""What is said of a node that nothing makes code of."""

from budgetc_specs.errors import ModelError, printable

from budgetc.lower.graph import Operation

_LONGEST_REASON = 200


def no_code(op: Operation, reason: str) -> ModelError:
    """The refusal of a node, to be raised."""
    return ModelError(
        f"{op.label} cannot be compiled: {reason}",
        "export the model with another opset, or replace the operator by simpler ones.",
    )


def reason_of(error: Exception) -> str:
    """The line of a message that says what is wrong, for some bring a traceback of their own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    line = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return printable(line)[:_LONGEST_REASON]

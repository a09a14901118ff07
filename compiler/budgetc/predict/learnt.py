"""What kernels usually take over their roofline: a start for machines on which nothing was measured yet."""

USUAL: dict[str, float] = {"any": 3.0}
"""Seconds over `budgetc.predict.roofline.roofline`, by kind and width of the operands; `any` for all others."""

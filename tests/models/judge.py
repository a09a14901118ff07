"""A metric for models without labels: whether the last output names the float model's class."""

from collections.abc import Mapping

import numpy as np


def same_class(
    outputs: Mapping[str, np.ndarray],
    labels: np.ndarray | None,
    reference: Mapping[str, np.ndarray],
) -> np.ndarray:
    """1.0 for each sample (axis 0) whose largest value is where the float model's is."""
    name = list(reference)[-1]
    ours, theirs = (a[name].reshape(len(a[name]), -1).argmax(axis=1) for a in (outputs, reference))
    return (ours == theirs).astype(np.float64)

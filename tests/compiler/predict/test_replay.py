"""An artefact is built once more and timed only if it is the very same library."""

from collections.abc import Callable
from typing import Any

import pytest
from budgetc.assess import synthetic
from budgetc.predict.replay import replay
from budgetc_specs.errors import EnvironmentError_


@pytest.mark.parametrize("library", ["shared", "static"])
def test_the_same_library_is_timed(small: Callable[..., Any], library: str) -> None:
    made = small(64, library)
    built = made.build()
    inputs = synthetic(made.job.model.inputs, 1)
    manifest = {"name": made.job.name}
    calls = replay(built.library, manifest, made.job.model, made.job.capability, inputs)
    assert [call.layer for call in calls] == list(built.lowered.layers)
    built.library.write_bytes(built.library.read_bytes()[:-1])
    with pytest.raises(EnvironmentError_, match="it is another library"):
        replay(built.library, manifest, made.job.model, made.job.capability, inputs)

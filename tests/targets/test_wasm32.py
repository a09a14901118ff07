"""WebAssembly: the sheet, and that a module has no threads."""

import pytest
from budgetc_specs.errors import SpecError
from budgetc_targets.wasm32 import Wasm32


def test_a_module_is_its_own_system() -> None:
    sheet = Wasm32().capability(None, 1)
    assert (sheet.system, sheet.vector_bytes, sheet.native) == ("module", 16, False)
    assert Wasm32().runner(sheet).name == "node"


def test_threads_are_refused_by_their_number() -> None:
    with pytest.raises(SpecError, match="has no threads, and 2 are asked for"):
        Wasm32().capability("simd128", 2)

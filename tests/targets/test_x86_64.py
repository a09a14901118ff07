"""Which sheet a machine takes by its flags, and which sheets' code it runs."""

import pytest
from budgetc_targets.x86_64 import X86_64, best_level, runs_here

V2 = {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"}
V3 = V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"}
V4 = V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
VNNI = V4 | {"avx512_vnni"}
BF16 = VNNI | {"avx512_bf16"}

MACHINES = {
    "x86-64-v3": V3,
    "x86-64-v4": V4 | {"avx512_bf16"},  # the sheet with it has VNNI as well
    "x86-64-v4+avx512vnni": VNNI,
    "x86-64-v4+avx512vnni+avx512bf16": BF16,
}


@pytest.mark.parametrize("level", MACHINES)
def test_a_machine_takes_the_sheet_of_all_that_it_has(level: str) -> None:
    flags = frozenset(MACHINES[level])
    assert best_level(flags) == level
    assert runs_here(X86_64().sheets[level], flags)


@pytest.mark.parametrize(
    ("cpu", "flags", "runs"),
    [
        ("znver4", BF16, True),
        ("znver4", VNNI, False),
        ("cascadelake", VNNI, True),
        ("cascadelake", BF16, True),
        ("skylake-avx512", VNNI, True),
        ("x86-64-v4+avx512vnni+avx512bf16", VNNI, False),
    ],
)
def test_code_runs_where_all_of_its_instructions_are(cpu: str, flags: set[str], runs: bool) -> None:
    assert runs_here(X86_64().sheets[cpu], frozenset(flags)) is runs


def test_sheets_say_who_multiplies_bfloat16_numbers() -> None:
    found = [name for name, sheet in X86_64().cpus().items() if sheet.bfloat16_dot]
    assert found == ["sapphirerapids", "x86-64-v4+avx512vnni+avx512bf16", "znver4", "znver5"]

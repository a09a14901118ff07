"""Kernels are compiled once, kept whole, and told apart by all that decides their code."""

from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.lower.kernel_objects import KernelObjects, generator_key, kernel_name
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family
from budgetc_targets.expression import Ref, apply
from budgetc_targets.task import Access, Task

LINE = Access("float32", (64,), (1,))
TASK = Task("elementwise", (), LINE, apply("exp", Ref(0)), (LINE,))


@pytest.fixture
def family(host: Capability) -> Family:
    families = find_target("host").families()
    return next(f for f in families if f.kind == TASK.kind and f.refusal(TASK, host) is None)


def make(folder: Path | None, host: Capability) -> KernelObjects:
    return KernelObjects(find_target("host"), host, folder)


def test_a_kept_kernel_is_not_compiled_again(
    family: Family, host: Capability, tmp_path: Path
) -> None:
    point = family.space(TASK, host)[0]
    first, second, alone = make(tmp_path, host), make(tmp_path, host), make(None, host)
    built = first.kernel(family, TASK, point, "exp")
    assert first.missing == 1
    made = dict(first.compiled())
    assert first.missing == 0
    found = second.kernel(family, TASK, point, "exp")
    assert second.missing == 0
    assert (found.function, found.tasks, found.scratch) == (None, built.tasks, built.scratch)
    assert second.compiled() == made
    alone.kernel(family, TASK, point, "exp")
    assert alone.compiled() == made


def test_a_damaged_kernel_is_compiled_again(
    family: Family, host: Capability, tmp_path: Path
) -> None:
    point = family.space(TASK, host)[0]
    first = make(tmp_path, host)
    first.kernel(family, TASK, point, "exp")
    made = dict(first.compiled())
    (file,) = tmp_path.rglob("*.kernel")
    for damaged in (b"", b"{}\n", file.read_bytes()[:-1], b"no json"):
        file.write_bytes(damaged)
        again = make(tmp_path, host)
        again.kernel(family, TASK, point, "exp")
        assert again.missing == 1
        assert again.compiled() == made


def test_other_code_is_another_kernel(family: Family, host: Capability, tmp_path: Path) -> None:
    point = family.space(TASK, host)[0]
    first = make(tmp_path, host)
    first.kernel(family, TASK, point, "exp")
    first.compiled()
    for task, sheet in (
        (replace(TASK, expression=apply("tanh", Ref(0))), host),
        (TASK, host.model_copy(update={"threads": 2})),
    ):
        other = make(tmp_path, sheet)
        other.kernel(family, task, point, "exp")
        assert other.missing == 1


def test_names_tell_tasks_and_points_apart() -> None:
    other = replace(TASK, parallel=True)
    names = {kernel_name(t, p) for t in (TASK, other) for p in ((), (("rows", 2),))}
    assert len(names) == 4
    assert all(name.startswith("elementwise_") for name in names)
    assert kernel_name(replace(TASK, kind="single-filter"), ()).startswith("single_filter_")


def test_the_key_knows_the_sheet_but_not_where_it_runs(host: Capability) -> None:
    target = find_target("host")
    key = generator_key(target, host)
    assert generator_key(target, host.model_copy(update={"native": False})) == key
    assert generator_key(target, host.model_copy(update={"vector_bytes": 16})) != key


def test_objects_are_written_by_their_names(
    family: Family, host: Capability, tmp_path: Path
) -> None:
    objects = make(None, host)
    objects.kernel(family, TASK, family.space(TASK, host)[0], "exp")
    (file,) = objects.write(tmp_path)
    assert file.name == "exp.o"
    assert file.read_bytes()[:4] == b"\x7fELF"

"""What an expression costs: what appears twice once, and functions as many instructions as their code has."""

import pytest
from budgetc_targets.expression import ACCUMULATOR, SLOTS, Ref, apply, slots
from budgetc_targets.task import Task
from conftest import InChild
from kernel_runner import WIDE, Job, dense
from probes import arithmetic


def test_what_appears_twice_is_computed_once() -> None:
    once = apply("mul", ACCUMULATOR, Ref(0))
    assert slots(once) == 1
    assert slots(apply("add", once, once)) == 2


def test_a_quotient_is_more_than_a_product() -> None:
    assert slots(apply("div", ACCUMULATOR, Ref(0))) > slots(apply("mul", ACCUMULATOR, Ref(0)))


@pytest.mark.parametrize("function", sorted(SLOTS))
def test_a_function_costs_what_its_code_has(in_child: InChild, function: str) -> None:
    """A division or a root counts as `SLOTS` has it, since they keep a pipe busy for longer; so does a call of libm."""
    line = dense("float32", (16,))
    operands = (line,) * (2 if function in {"div", "mod", "pow"} else 1)
    expression = apply(function, *map(Ref, range(len(operands))))
    task = Task("elementwise", (), line, expression, operands)
    found = in_child(arithmetic, Job(f"cost {function}", task, WIDE, ()))
    price = {"vdivps": SLOTS["div"], "vsqrtps": SLOTS["sqrt"], "call": 20}
    if "call" in found:
        found = [name for name in found if name in price]  # the others take vectors apart
    assert sum(price.get(name, 1) for name in found) == pytest.approx(SLOTS[function], abs=1)

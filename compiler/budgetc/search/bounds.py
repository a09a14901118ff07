"""What no candidate can go below: bounds that are proven before anything is built."""

from collections.abc import Sequence

from budgetc_specs.units import format_bytes

from budgetc.figures import Limits
from budgetc.result import Bound
from budgetc.search.simulations import Simulated


def find_bounds(simulated: Sequence[Simulated], limits: Limits) -> tuple[Bound, ...]:
    """Bounds of the budgets that have any.

    Args:
        simulated: candidates, the one with every part at its last level among them. Levels follow by growing effect, so
            that no other has fewer weights; should one have, it counts.
        limits: the budgets.
    """
    weights = min((each.weight_bytes for each in simulated if each.choices), default=0)
    return weight_bounds(weights, limits, "with every pass at its most")


def weight_bounds(weight_bytes: int, limits: Limits, under: str) -> tuple[Bound, ...]:
    """The bound that weights are to the size of a library; nothing without weights or a budget.

    Args:
        weight_bytes: fewest that there can be.
        limits: the budgets.
        under: under which condition, for people.
    """
    size = limits.budgets.size
    if not size or not weight_bytes:
        return ()
    why = (
        f"{under}, the weights alone take {format_bytes(weight_bytes)}, and the budget for the "
        f"whole library is {format_bytes(size.max_bytes)}"
    )
    return (Bound("size", weight_bytes, size.max_bytes, "bytes", why),)

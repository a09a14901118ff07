"""What plugins there are, by their entry points; none is loaded for it, and nothing large is imported."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points

from budgetc_specs.errors import EnvironmentError_, quoted


def installed(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group by name.

    Raises:
        EnvironmentError_: two distributions claim one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise EnvironmentError_(
                f"two plugins are called {quoted(point.name)} in {group}: {other.value} of "
                f"{distribution_of(other)} and {point.value} of {distribution_of(point)}",
                "uninstall one of the two.",
            )
    return dict(sorted(found.items()))


def distribution_of(point: EntryPoint) -> str:
    """What a plugin comes with, as messages name it."""
    return point.dist.name if point.dist else "an unknown distribution"

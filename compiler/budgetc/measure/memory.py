"""Memory of one inference: arena, static data and stack, held against a real run."""

from dataclasses import dataclass
from pathlib import Path

from budgetc.emit.symbols import section_sizes

_PAGE = 4096
_SLACK_PAGES = 8


@dataclass(frozen=True)
class Memory:
    """The RAM that one inference needs, in bytes.

    Attributes:
        arena: the workspace that the caller passes.
        static: data and bss of the library, which exist once.
        stack: high-water mark of the stacks; None where it was not measured.
        observed: growth of memory that no file backs, of a process that ran one inference; None
            where not measured.
    """

    arena: int
    static: int
    stack: int | None
    observed: int | None = None

    @property
    def total(self) -> int:
        """All that is known of it."""
        return self.arena + self.static + (self.stack or 0)

    @property
    def warning(self) -> str:
        """What contradicts the total, or nothing: a process that took more than the parts explain.

        The system hands out whole pages, of the stack, of data and of the workspace, and the
        program around the library touches some of its own; that much is not counted as a
        contradiction.
        """
        if self.observed is None:
            return ""
        explained = self.total + _SLACK_PAGES * _PAGE
        if self.observed <= explained:
            return ""
        return (
            f"one inference was seen to take {self.observed} bytes, "
            f"{self.observed - self.total} more than its parts add up to"
        )


def memory_of(
    library: Path, arena: int, *, stack: int | None = None, observed: int | None = None
) -> Memory:
    """The memory of a built library; see `Memory` for the parts.

    Raises:
        InternalError: the library is not an ELF file or an archive of them.
    """
    return Memory(arena, section_sizes(library).static_ram, stack, observed)

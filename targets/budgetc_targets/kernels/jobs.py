"""The outer loops of a kernel: nested as they are, or one flat range that threads share out."""

from collections.abc import Callable, Sequence

from budgetc_targets.contract import Kernel
from budgetc_targets.kernels.writer import Value, Writer


def spread(
    writer: Writer, extents: Sequence[int], body: Callable[..., None], *, parallel: bool
) -> Kernel:
    """Run `body` for every index of the extents, the last one fastest, and finish the function.

    With `parallel` the function takes a trailing range [begin, end) of flattened indices, and the
    kernel's `tasks` says how many there are; ranges that cover them once do the whole work.
    """
    if not parallel:
        nested(writer, extents, body)
        return Kernel(writer.finish())
    begin, end = writer.scalar("begin"), writer.scalar("end")
    tasks = 1
    for extent in extents:
        tasks *= extent
    with writer.loop("job", end - begin, begin) as job:
        index: list[Value] = []
        rest = job
        for extent in reversed(extents[1:]):
            index.insert(0, rest % extent)
            rest = rest // extent
        body(rest, *index)
    return Kernel(writer.finish(), tasks)


def nested(writer: Writer, extents: Sequence[int], body: Callable[..., None]) -> None:
    """Loops over the extents, outermost first, with the body inside."""
    if not extents:
        body()
        return
    with writer.loop(f"i{len(extents)}", extents[0]) as i:
        nested(writer, extents[1:], lambda *inner: body(i, *inner))


def share_of(job: Value, jobs: int, shares: int) -> Value:
    """Which of so many equal ranges of the jobs one lies in: range i is [jobs * i // shares, jobs * (i + 1) // shares).

    A thread that runs one range has to itself what belongs to the share.
    """
    return ((job + 1) * shares - 1) // jobs

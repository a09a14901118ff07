"""The outer loops of a kernel: nested as they are, or one flat range that threads share out."""

from collections.abc import Callable, Sequence
from math import prod

from budgetc_targets.contract import Kernel
from budgetc_targets.kernels.writer import Value, Writer


def spread(
    writer: Writer,
    extents: Sequence[int],
    body: Callable[..., None],
    *,
    parallel: bool,
    over: Sequence[int] = (),
) -> Kernel:
    """Run `body` for every index of the extents, the last one fastest, and finish the function.

    With `parallel` the function takes a trailing range [begin, end) of flattened indices, and the
    kernel's `tasks` says how many there are, where all extents are known; ranges that cover them once
    do the whole work.

    Args:
        writer: of the kernel.
        extents: of the loops, outermost first.
        body: called with an index.
        parallel: whether threads share the work.
        over: positions of the extents that threads share out, by default all; every range goes through
            the others whole, outside of its own loop.
    """
    if not parallel:
        nested(writer, extents, body)
        return Kernel(writer.finish())
    shared = list(over) or list(range(len(extents)))
    whole = [d for d in range(len(extents)) if d not in shared]
    begin, end = writer.scalar("begin"), writer.scalar("end")

    def ranges(*outer: Value) -> None:
        with writer.loop("job", end - begin, begin) as job:
            index = dict(zip(whole, outer, strict=True))
            rest = job
            for d in reversed(shared[1:]):
                index[d] = rest % extents[d]
                rest = rest // extents[d]
            index[shared[0]] = rest
            body(*(index[d] for d in range(len(extents))))

    nested(writer, [extents[d] for d in whole], ranges)
    counts = [extents[d] for d in shared]
    known = all(isinstance(n, int) for n in counts)
    return Kernel(writer.finish(), prod(counts) if known else 0)


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

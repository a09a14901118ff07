"""Order the calls so that the most bytes alive at any one of them are as few as can be.

A call may run when the calls that it needs have run. A storage lives from the first call that touches it to the last.
What has run is a downset of the calls, and how much is alive then follows from the downset alone: so the best order is
a path through downsets whose highest point is lowest, and the search below finds it by going through them in the order
of that highest point. Source: Liberis and Lane 2019, "Neural networks on microcontrollers: saving memory at inference
via operator reordering", who go through all downsets.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

MOST_STATES = 20_000
"""Downsets of a part that are met before the search gives up on proving its result: a second or so."""
BEAM = 32
BEAM_STATES = 2_000
"""The same for the beam, over all its steps; a beam of long parts is narrow."""


@dataclass(frozen=True)
class Work:
    """A call: the storages that it touches, and the positions of the calls that must have run before it."""

    touches: tuple[str, ...]
    needs: tuple[int, ...]


@dataclass(frozen=True)
class Order:
    """Positions of the calls as they are to run, and their peak of live bytes.

    Attributes:
        calls: every position once.
        peak: the most bytes alive at a call.
        bound: a peak below which no order gets; where it equals `peak`, the order is proven best.
    """

    calls: tuple[int, ...]
    peak: int
    bound: int


@dataclass(frozen=True)
class _State:
    """A downset, and one way to it: the state before, and the call that led here."""

    done: int  # a bit for each call
    ready: tuple[int, ...]
    live: int  # bytes alive behind it
    peak: int
    count: int
    before: "_State | None" = None
    call: int = -1


def best_order(works: Sequence[Work], sizes: Mapping[str, int], limit: int = MOST_STATES) -> Order:
    """The order of least peak; the given one where no other is better.

    Args:
        works: the calls in an order in which they can run.
        sizes: bytes of each storage that counts; others take none.
        limit: downsets of a part to meet before the best order so far is taken.
    """
    search = _Search(works, sizes)
    state, peak, bound = search.start(), 0, 0
    for part in search.parts():
        state, least = search.through(state, part, limit)
        peak, bound = max(peak, state.peak), max(bound, least)
    return Order(_calls(state), peak, bound)


class _Search:
    def __init__(self, works: Sequence[Work], sizes: Mapping[str, int]) -> None:
        self.count = len(works)
        names = {n: i for i, n in enumerate(n for n in sizes if sizes[n])}
        self.sizes = [sizes[n] for n in names]
        self.touches = [[names[n] for n in w.touches if n in names] for w in works]
        self.touchers = [0] * len(names)
        for call, storages in enumerate(self.touches):
            for storage in storages:
                self.touchers[storage] |= 1 << call
        self.needs = [sum(1 << n for n in sorted(set(w.needs))) for w in works]
        self.frees: list[list[int]] = [[] for _ in works]
        for call, work in enumerate(works):
            for needed in sorted(set(work.needs)):
                self.frees[needed].append(call)
        self.floor = 0  # of the part that is looked at: bytes that one of its calls touches, and that lie there anyway

    def parts(self) -> list[list[int]]:
        """The calls cut behind each one that all others are before or behind: what is done there is known.

        So the parts can be put in order one by one.
        """
        before: list[int] = []  # all that must have run, a bit for each call
        behind = [0] * self.count
        for needs in self.needs:
            known = needs
            for call in range(len(before)):
                if needs >> call & 1:
                    known |= before[call]
            before.append(known)
        for call in reversed(range(self.count)):
            for later in self.frees[call]:
                behind[call] |= 1 << later | behind[later]
        result: list[list[int]] = [[]]
        for call in range(self.count):
            result[-1].append(call)
            if before[call].bit_count() + behind[call].bit_count() == self.count - 1:
                result.append([])
        return result

    def through(self, start: _State, part: Sequence[int], limit: int) -> tuple[_State, int]:
        """The best way through a part, whose peak counts from its start; and a peak below which no way gets."""
        start = replace(start, peak=0)
        target = start.done | sum(1 << call for call in part)
        inside = target & ~start.done
        idle = sum(
            size
            for size, touchers in zip(self.sizes, self.touchers, strict=True)
            if touchers & start.done and touchers & ~target and not touchers & inside
        )
        self.floor = idle + max(
            (sum(self.sizes[s] for s in self.touches[call]) for call in part), default=0
        )
        given = start
        for call in part:
            given = self.run(given, call)
        if given.peak == self.floor or len(part) < 2:
            return given, given.peak
        found = self.beam(start, target)
        return self.exact(start, target, found if found.peak < given.peak else given, limit)

    def start(self) -> _State:
        ready = tuple(c for c in range(self.count) if not self.needs[c])
        return _State(0, ready, 0, 0, 0)

    def cost(self, state: _State, call: int) -> tuple[int, int]:
        """Bytes that a call makes live, and bytes that die with it."""
        done = state.done | 1 << call
        born = dying = 0
        for storage in self.touches[call]:
            if not self.touchers[storage] & state.done:
                born += self.sizes[storage]
            if not self.touchers[storage] & ~done:
                dying += self.sizes[storage]
        return born, dying

    def run(self, state: _State, call: int) -> _State:
        born, dying = self.cost(state, call)
        done = state.done | 1 << call
        new = (c for c in self.frees[call] if not self.needs[c] & ~done)
        ready = tuple(sorted((*(c for c in state.ready if c != call), *new)))
        return _State(
            done,
            ready,
            state.live + born - dying,
            max(state.peak, state.live + born),
            state.count + 1,
            state,
            call,
        )

    def settled(self, state: _State, level: int, target: int) -> _State:
        """Behind every call that leaves no more alive than before, within a peak that is allowed anyway.

        Such a call never spoils an order: wherever it would come later, it can come now. The bytes that it makes live
        are no fewer, and those that die with it no more, than later; so all that come between find no more alive.
        """
        going = True
        while going:
            going = False
            for call in state.ready:
                born, dying = self.cost(state, call)
                if state.live + born <= level and born <= dying and target >> call & 1:
                    state, going = self.run(state, call), True
                    break
        return state

    def after(self, state: _State, limit: int, target: int) -> Iterator[_State]:
        """The states behind one more call of the target, whose peak stays below a limit."""
        for call in state.ready:
            if target >> call & 1 and state.live + self.cost(state, call)[0] < limit:
                following = self.run(state, call)
                yield self.settled(following, max(following.peak, self.floor), target)

    def beam(self, start: _State, target: int) -> _State:
        """A good way to the target: at each number of calls the states of least peak, of these of least live bytes."""
        waiting = {start.count: {start.done: start}}
        steps = target.bit_count() - start.count
        width = max(1, min(BEAM, BEAM_STATES // steps))
        limit = sum(self.sizes) + 1
        while True:
            count = min(waiting)
            states = sorted(waiting.pop(count).values(), key=lambda s: (s.peak, s.live))[:width]
            if states[0].done == target:
                return states[0]
            for state in states:
                for following in self.after(state, limit, target):
                    others = waiting.setdefault(following.count, {})
                    other = others.get(following.done)
                    if other is None or following.peak < other.peak:
                        others[following.done] = following

    def exact(self, start: _State, target: int, known: _State, limit: int) -> tuple[_State, int]:
        """The best way to the target, or the known one where it takes too many states; and a bound of all ways."""
        heap = [(self.floor, 0, 0, self.settled(start, self.floor, target))]
        seen: set[int] = set()  # asked for members only
        pushed = 1
        while heap and pushed < limit:
            level, _, _, state = heapq.heappop(heap)
            if state.done == target:
                known, heap = state, []
                break
            if state.done in seen:
                continue
            seen.add(state.done)
            for following in self.after(state, known.peak, target):
                if following.done not in seen:
                    level = max(following.peak, self.floor)
                    heapq.heappush(heap, (level, -following.count, pushed, following))
                    pushed += 1
        return known, heap[0][0] if heap else known.peak


def _calls(state: _State) -> tuple[int, ...]:
    """All calls up to a state."""
    calls: list[int] = []
    at: _State | None = state
    while at is not None and at.before is not None:
        calls.append(at.call)
        at = at.before
    return tuple(reversed(calls))

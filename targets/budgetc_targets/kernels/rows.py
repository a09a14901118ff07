"""Rows of elements in whole vectors and a tail: sweeping over one, and reducing one to a number."""

from collections.abc import Callable, Iterator

from budgetc_targets.kernels.epilogue import powers
from budgetc_targets.kernels.writer import Value, Writer, integer, literal


class Row:
    """A row of `length` elements of 32 bits, in vectors of `lanes`."""

    def __init__(self, writer: Writer, length: int, lanes: int) -> None:
        self._writer, self._length, self._lanes = writer, length, lanes
        self._states = {"float32": writer.local("state", "float32", lanes + 1)}

    def pieces(self, name: str) -> Iterator[tuple[Value, int]]:
        """Whole vectors in a loop, then what is left in smaller ones: (first element, lanes)."""
        whole, rest = divmod(self._length, self._lanes)
        if whole:
            with self._writer.loop(name, whole) as i:
                yield i * self._lanes, self._lanes
        for first, lanes in powers(rest):
            yield integer(whole * self._lanes + first), lanes

    def reduce(
        self,
        first: float,
        element: Callable[[Value, int], Value],
        combine: Callable[[Value, Value], Value],
        dtype: str = "float32",
    ) -> Value:
        """All elements combined, from `first` on; lanes are kept apart until the end."""
        w, lanes = self._writer, self._lanes
        if dtype not in self._states:
            self._states[dtype] = w.local(f"state_{dtype}", dtype, lanes + 1)
        state = self._states[dtype]
        w.store(state, 0, literal(first, dtype, lanes), lanes)
        w.store(state, lanes, literal(first, dtype))
        for i, count in self.pieces("i"):
            value = element(i, count)
            if count == lanes:
                w.store(state, 0, combine(w.load(state, 0, lanes), value), lanes)
            else:
                part = w.across(value, count, combine)
                w.store(state, lanes, combine(w.load(state, lanes), part))
        return combine(w.across(w.load(state, 0, lanes), lanes, combine), w.load(state, lanes))

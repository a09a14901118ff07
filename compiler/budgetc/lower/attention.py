"""Form attention: a product, the softmax of its rows and a product by what comes of it become one operation.

    matmul(softmax(matmul(q, c)), v)  ->  attention(q, c, v)

Scores may be scaled, masked and quantised before the softmax, weights behind it, and the result at the end: these are
expressions.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetc_targets.expression import ACCUMULATOR, Expr, Ref, size, substitute

from budgetc.lower.fusion import MOST_FUNCTIONS, MOST_OPERANDS
from budgetc.lower.graph import Graph, Operation


@dataclass(frozen=True)
class _Parts:
    """The operations that attention was, in order; a map between softmax and the last product is not always there."""

    scores: Operation
    softmax: Operation
    weights: Operation | None
    result: Operation

    @property
    def operations(self) -> tuple[Operation, ...]:
        """All of them."""
        between = (self.weights,) if self.weights else ()
        return (self.scores, self.softmax, *between, self.result)


def form_attention(graph: Graph) -> None:
    """Rewrite the graph, whose operations are chosen and fused, in place.

    Everything that attention reads is there before the last product, so it takes that one's place.
    """
    producers, uses = graph.producers(), graph.uses()
    formed: dict[str, Operation] = {}
    gone: set[str] = set()
    for op in graph.operations:
        parts = _parts(op, graph, producers, uses) if op.kind == "matmul" else None
        attention = _joined(parts, graph) if parts else None
        if parts and attention:
            formed[op.output] = attention
            gone.update(part.output for part in parts.operations[:-1])
    graph.operations = [
        formed.get(op.outputs[0], op) for op in graph.operations if op.outputs[0] not in gone
    ]


def _parts(
    op: Operation, graph: Graph, producers: Mapping[str, Operation], uses: Counter[str]
) -> _Parts | None:
    """What a product is the end of, or None. Nobody else may read what lies between, and no step may broadcast it."""

    def made(name: str, kinds: Sequence[str]) -> Operation | None:
        maker = producers.get(name)
        alone = maker is not None and maker.kind in kinds and uses[name] == 1
        return maker if alone else None

    def inner(outer: Operation, kind: str) -> Operation | None:
        shape = graph.values[outer.output].shape
        found = (made(name, (kind,)) for name in outer.inputs if graph.values[name].shape == shape)
        return next((maker for maker in found if maker), None)

    weights = made(op.inputs[0], ("map",))
    softmax = inner(weights, "softmax") if weights else made(op.inputs[0], ("softmax",))
    if softmax is None:
        return None
    shape = graph.values[softmax.output].shape
    along_rows = softmax.attributes["axis"] == len(shape) - 1 and not softmax.attributes["log"]
    scores = inner(softmax, "matmul") if along_rows else None
    batches = math.prod(graph.values[op.output].shape[:-1]) == math.prod(shape[:-1])
    return _Parts(scores, softmax, weights, op) if scores and batches else None


def _joined(parts: _Parts, graph: Graph) -> Operation | None:
    """The parts as one operation, or None where that would have too many operands or too long an expression.

    Its inputs are q, c and v, then `inner` operands in the index space of the scores, then those of the end.
    """
    scores, softmax, weights, result = parts.scores, parts.softmax, parts.weights, parts.result
    before = [*scores.inputs[scores.anchors :], *softmax.inputs]
    before += weights.inputs if weights else ()
    made = {scores.output, softmax.output}
    sides = [name for name in dict.fromkeys(before) if name not in made]
    ends = list(dict.fromkeys(result.inputs[result.anchors :]))
    anchors = (*scores.inputs[:2], result.inputs[1])
    if len(sides) + len(ends) > MOST_OPERANDS:
        return None

    def over(op: Operation, names: Sequence[str], first: int, known: Mapping[str, Expr]) -> Expr:
        """The expression of a part, whose operands are inputs from `first` on; some values are expressions."""

        def place(reference: Ref) -> Expr:
            if reference == ACCUMULATOR:
                return reference
            name = op.inputs[reference.index]
            return known[name] if name in known else Ref(first + names.index(name))

        assert op.expression is not None
        return substitute(op.expression, place)

    inside, behind = len(anchors), len(anchors) + len(sides)
    sums = over(scores, sides, inside, {})
    logits = over(softmax, sides, inside, {scores.output: sums})
    made_of: Expr = ACCUMULATOR
    if weights:
        made_of = over(weights, sides, inside, {softmax.output: ACCUMULATOR})
    end = over(result, ends, behind, {})
    if max(map(size, (logits, made_of, end))) > MOST_FUNCTIONS:
        return None
    return Operation(
        "attention",
        result.name,
        (*anchors, *sides, *ends),
        result.outputs,
        {
            "scored": graph.values[scores.output].shape,
            "inner": len(sides),
            "logits": logits,
            "weights": made_of,
        },
        end,
        len(anchors),
    )

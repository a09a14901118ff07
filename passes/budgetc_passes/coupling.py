"""Which channels of which tensors must be removed together: the coupling groups of a model.

Every operator relates positions along the axes of its inputs, weights and outputs: a convolution
ties output channel c to filter c and to its bias, a residual Add ties channel c of both sides,
Concat ties with an offset, a depthwise convolution ties a channel to its filters, Flatten ties a
channel to a stretch of columns. Positions are the nodes of a graph and relations its edges; a
connected component is a bundle: it lives or dies as one. Bundles that touch the same axes form a
group.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import networkx as nx
import onnx_ir as ir

from budgetc_passes.graph import constant, dims, input_at, int_attribute, is_op, label
from budgetc_passes.relations import Axis, Relation, positive, relations_of


@dataclass(frozen=True)
class Filters:
    """A layer's weights and the axis along which one slice makes one output channel."""

    layer: ir.Node
    weight: ir.Value
    axis: int


@dataclass(frozen=True)
class Group:
    """Bundles of positions that touch the same axes, and so may be chosen among.

    Attributes:
        filters: the layers that compute the channels.
        bundles: for each bundle, the positions on each axis that go with it.
        reason: why no bundle may be removed; None if any may.
        name: the first of the layers; numbered where it computes several groups.
    """

    filters: tuple[Filters, ...]
    bundles: tuple[Mapping[Axis, tuple[int, ...]], ...]
    reason: str | None
    name: str = ""

    @property
    def others(self) -> tuple[str, ...]:
        """The layers but the first."""
        return tuple(label(filters.layer) for filters in self.filters[1:])

    @property
    def touched(self) -> tuple[ir.Node, ...]:
        """The nodes with constants that hold channels of the group, in graph order."""
        nodes: set[ir.Node] = set()
        for holder, _ in self.bundles[0] if self.bundles else ():
            if not isinstance(holder, ir.Value):
                nodes.add(holder.node)
            elif constant(holder) is not None:
                nodes.update(holder.consumers())
        graph = self.filters[0].layer.graph
        return tuple(node for node in graph or () if node in nodes)


def coupling_groups(model: ir.Model) -> tuple[Group, ...]:
    """The groups of all channels that layers with constant weights compute, in graph order."""
    return tuple(_named(_groups(model)))


def _named(groups: Iterable[Group]) -> Iterator[Group]:
    taken: set[str] = set()
    for group in groups:
        stem = name = label(group.filters[0].layer)
        count = 1
        while name in taken:
            count += 1
            name = f"{stem}#{count}"
        taken.add(name)
        yield replace(group, name=name)


def _groups(model: ir.Model) -> list[Group]:
    starts = [found for node in model.graph for found in _filters(node)]
    groups: list[Group] = []
    seen: set[Axis] = set()
    for start in starts:
        at = 1 if is_op(start.layer, "Conv", "ConvTranspose") else -1
        out = start.layer.outputs[0]
        axis = positive((out, at))
        if axis in seen:
            continue
        relations, frozen = _explore(axis)
        seen.update(member for relation in relations for member, _ in relation.members)
        seen.add(axis)
        if all((start.weight, start.axis) not in dict(r.members) for r in relations):
            # Its own layer does not let the channels be told apart, so no relation holds them.
            channels = shape[axis[1]] if (shape := dims(out)) else 0
            bundles = tuple({axis: (channel,)} for channel in range(channels))
            groups.append(Group((start,), bundles, frozen[axis]))
        groups += _bundles(relations, frozen, starts)
    return groups


def _filters(node: ir.Node) -> Iterator[Filters]:
    weight = input_at(node, 1)
    if weight is None or constant(weight) is None or not weight.is_initializer():
        return
    if is_op(node, "Conv"):
        yield Filters(node, weight, 0)
    elif is_op(node, "ConvTranspose"):
        yield Filters(node, weight, 1)
    elif is_op(node, "Gemm"):
        yield Filters(node, weight, 0 if int_attribute(node, "transB", 0) else 1)
    elif is_op(node, "MatMul") and len(dims(weight) or ()) == 2:
        yield Filters(node, weight, 1)


def _explore(start: Axis) -> tuple[list[Relation], dict[Axis, str]]:
    """All relations the axis takes part in, and theirs; and the axes that must stay, and why."""
    reached: set[Axis] = {start}
    frozen: dict[Axis, str] = {}
    found: dict[object, Relation] = {}
    queue = deque([start])
    while queue:
        axis = queue.popleft()
        holder = axis[0]
        if not isinstance(holder, ir.Value):
            continue
        if holder.is_graph_output():
            frozen.setdefault(axis, f"{holder.name} is an output of the model")
        if holder.is_graph_input():
            frozen.setdefault(axis, f"{holder.name} is an input of the model")
        producer = holder.producer()
        touching = dict.fromkeys([*holder.consumers(), *([producer] if producer else [])])
        for node in touching:
            relations = [
                relation
                for relation in relations_of(node, reached)
                if axis in [member for member, _ in relation.members]
            ]
            if not relations:
                text = f"{label(node)} ({node.op_type}) mixes the channels of {holder.name}"
                frozen.setdefault(axis, text)
            for relation in relations:
                found.setdefault((node, frozenset(m for m, _ in relation.members)), relation)
                for member, _ in relation.members:
                    if member not in reached:
                        reached.add(member)
                        queue.append(member)
    return list(found.values()), frozen


def _bundles(
    relations: Sequence[Relation], frozen: Mapping[Axis, str], starts: Sequence[Filters]
) -> Iterator[Group]:
    graph = nx.Graph()
    for relation in relations:
        (first, base), *others = relation.members
        for channel in range(len(base)):
            anchor = (first, int(base[channel, 0]))
            graph.add_node(anchor)
            graph.add_edges_from((anchor, (first, int(at))) for at in base[channel, 1:])
            for axis, positions in others:
                graph.add_edges_from((anchor, (axis, int(at))) for at in positions[channel])
    groups: dict[frozenset[Axis], list[dict[Axis, tuple[int, ...]]]] = {}
    order = list(dict.fromkeys(axis for r in relations for axis, _ in r.members))
    for component in nx.connected_components(graph):
        bundle: dict[Axis, list[int]] = {}
        for axis, at in component:
            bundle.setdefault(axis, []).append(at)
        # A component is a set: its order varies from run to run, and that of the axes would with it.
        ordered = {axis: tuple(sorted(bundle[axis])) for axis in order if axis in bundle}
        groups.setdefault(frozenset(ordered), []).append(ordered)
    for axes, bundles in groups.items():
        filters = tuple(item for item in starts if (item.weight, item.axis) in axes)
        if not filters:
            continue
        reasons = [reason for axis, reason in frozen.items() if axis in axes]
        key: Axis = (filters[0].weight, filters[0].axis)
        bundles.sort(key=lambda bundle, key=key: bundle[key])  # type: ignore[misc]
        yield Group(filters, tuple(bundles), reasons[0] if reasons else None)

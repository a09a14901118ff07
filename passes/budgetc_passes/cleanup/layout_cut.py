"""Choose the layout of every tensor so that Transposes move as few elements as possible.

An operator that can follow a permutation (layouts.py) may work in one of two layouts, all others
keep theirs, and a tensor is transposed where its producer and a reader differ. The cheapest
assignment is a minimum cut between the two layouts. For a tensor of w elements from producer p to
readers r1, r2, ... two auxiliary nodes charge w once, however many readers differ:

    p -w-> X,  X -inf-> ri        p works in the first layout, some ri in the second
    ri -inf-> Y,  Y -w-> p        the other way round
"""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import networkx as nx
import numpy as np
import onnx_ir as ir

from budgetc_passes.cleanup.layouts import Follower, Perm, follower
from budgetc_passes.contract import Note
from budgetc_passes.graph import (
    add_node,
    dims,
    drop_dead,
    graph_of,
    hand_over_output,
    input_at,
    ints_attribute,
    is_op,
    label,
    opset,
)


@dataclass
class _Region:
    """Tensors that are tied by operators which follow permutations, seen through their Transposes.

    Every tensor is a power of the family applied to a root. `frame` places the roots against each
    other so that all tensors of an operator are in one layout, which is a number.
    """

    family: tuple[Perm, ...]
    followers: dict[ir.Node, Follower]
    roots: dict[ir.Value, tuple[ir.Value, int]]
    frame: dict[ir.Value, int] = field(default_factory=dict)
    nodes: list[ir.Node] = field(default_factory=list)
    members: list[ir.Value] = field(default_factory=list)

    def layout(self, value: ir.Value) -> int:
        root, power = self.roots[value]
        return (self.frame[root] + power) % len(self.family)

    def tensors(self, node: ir.Node) -> Iterable[ir.Value]:
        """The tensors of a following operator that share its layout."""
        found = self.followers[node]
        for at in found.data:
            value = input_at(node, at)
            if value is not None and value in self.roots:
                yield value
        if found.moves_output:
            yield from node.outputs

    def node_layout(self, node: ir.Node) -> int:
        return self.layout(next(iter(self.tensors(node))))

    def can(self, node: ir.Node, layout: int) -> bool:
        q = self.family[(layout - self.node_layout(node)) % len(self.family)]
        return q == self.family[0] or self.followers[node].accepts(q)

    def is_alias(self, node: ir.Node) -> bool:
        """Whether the node is one of the Transposes that are seen through."""
        root = self.roots.get(node.outputs[0]) if node.outputs else None
        return root is not None and root[0] is not node.outputs[0]

    def follows(self, node: ir.Node, index: int) -> bool:
        found = self.followers.get(node)
        return found is not None and index in found.data

    def producer_end(self, root: ir.Value) -> ir.Node | int:
        """Who decides in which layout a root is made: a following node, or the layout it has."""
        node = root.producer()
        found = None if node is None else self.followers.get(node)
        return self.frame[root] if node is None or not found or not found.moves_output else node

    def layouts(self, ends: Mapping[ir.Value, list[ir.Node | int]]) -> list[int]:
        """The layouts that something outside asks for; any one where nothing does."""
        return sorted({e for found in ends.values() for e in found if isinstance(e, int)}) or [0]

    def stuck(self) -> list[ir.Node]:
        """Following nodes that can work in none of the layouts in question, so stay as they are."""
        if len(self.members) == len(self.frame):
            return []  # no Transposes
        layouts = self.layouts(self.ends())
        return [n for n in self.nodes if not any(self.can(n, layout) for layout in layouts)]

    def ends(self) -> dict[ir.Value, list[ir.Node | int]]:
        """For each root its producer and then its readers: following nodes, or fixed layouts."""
        found: dict[ir.Value, list[ir.Node | int]] = {}
        for root in self.frame:
            found[root] = [self.producer_end(root)]
        for value in self.members:
            ends = found[self.roots[value][0]]
            for use in value.uses():
                if not self.is_alias(use.node):
                    follows = self.follows(use.node, use.idx)
                    ends.append(use.node if follows else self.layout(value))
            if value.is_graph_output():
                ends.append(self.layout(value))
        return found


def permutation(node: ir.Node) -> Perm | None:
    """The permutation of a Transpose of known shape; None for other nodes."""
    shape = dims(node.inputs[0]) if is_op(node, "Transpose") else None
    return None if shape is None else ints_attribute(node, "perm", range(len(shape))[::-1])


def powers(perm: Perm) -> tuple[Perm, ...]:
    """The identity, perm, perm after perm, ... until the identity would come again."""
    found = [tuple(range(len(perm)))]
    power = perm
    while power != found[0]:
        found.append(power)
        power = tuple(power[axis] for axis in perm)
    return tuple(found)


def assign_layouts(model: ir.Model, family: tuple[Perm, ...]) -> list[Note]:
    """Choose the cheapest layouts among the powers of one permutation, region by region.

    Args:
        model: changed in place; its nodes may need to be sorted afterwards.
        family: all powers of the permutation, the identity first.
    """
    rank, version = len(family[0]), opset(model)
    roots: dict[ir.Value, tuple[ir.Value, int]] = {}
    for value in model.graph.inputs:
        if len(dims(value) or ()) == rank:
            roots[value] = (value, 0)
    followers: dict[ir.Node, Follower] = {}
    for node in model.graph:
        perm = permutation(node)
        if perm in family and node.inputs[0] in roots:
            root, power = roots[node.inputs[0]]
            roots[node.outputs[0]] = (root, (power + family.index(perm)) % len(family))
            continue
        roots.update({v: (v, 0) for v in node.outputs if len(dims(v) or ()) == rank})
        found = follower(node, rank, version)
        if found is not None:
            followers[node] = found
    regions = _regions(family, followers, roots)
    while stuck := [node for region in regions for node in region.stuck()]:
        for node in stuck:
            del followers[node]
        regions = _regions(family, followers, roots)
    return [note for region in regions for note in _solve(region)]


def _regions(
    family: tuple[Perm, ...],
    followers: dict[ir.Node, Follower],
    roots: dict[ir.Value, tuple[ir.Value, int]],
) -> list[_Region]:
    """Connected regions; an operator that sees one tensor in two layouts is no follower."""
    aliases: dict[ir.Value, list[ir.Value]] = {}
    for value, (root, _) in roots.items():
        aliases.setdefault(root, []).append(value)
    regions: list[_Region] = []
    placed: set[ir.Value] = set()
    for start in aliases:
        if start in placed:
            continue
        region = _Region(family, followers, roots, {start: 0})
        seen: set[ir.Node] = set()
        queue = deque([start])
        while queue:
            root = queue.popleft()
            touching = [use.node for value in aliases[root] for use in value.uses()]
            touching += [node for node in (root.producer(),) if node is not None]
            for node in touching:
                if node in seen or node not in followers:
                    continue
                tensors = list(region.tensors(node))
                known = [value for value in tensors if roots[value][0] in region.frame]
                if not known:
                    continue  # a sink that reads this root at an input which stays
                layout = region.layout(known[0])
                places = {
                    roots[value][0]: (layout - roots[value][1]) % len(family) for value in tensors
                }
                if any(
                    (layout - roots[value][1]) % len(family) != places[roots[value][0]]
                    or region.frame.get(roots[value][0], places[roots[value][0]])
                    != places[roots[value][0]]
                    for value in tensors
                ):
                    del followers[node]
                    return _regions(family, followers, roots)
                seen.add(node)
                for other, place in places.items():
                    if other not in region.frame:
                        region.frame[other] = place
                        queue.append(other)
        placed.update(region.frame)
        region.nodes = [node for node in followers if node in seen]
        region.members = [value for root in region.frame for value in aliases[root]]
        regions.append(region)
    return regions


def _weight(value: ir.Value) -> int:
    # Elements first; among equals, fewer Transposes.
    return (int(np.prod(dims(value) or (0,))) << 16) + 1


def _solve(region: _Region) -> list[Note]:
    """Choose layouts for one region by a minimum cut, and rewrite it if that moves less."""
    producers = [
        value.producer() for value in region.members if region.roots[value][0] is not value
    ]
    old = [node for node in producers if node is not None]
    if not old:
        return []
    name = label(old[0])
    ends = region.ends()
    if any(use.node.graph is not old[0].graph for value in region.members for use in value.uses()):
        return [Note("refused", name, "not moved: a branch or loop reads a tensor of the region")]
    layouts = region.layouts(ends)
    if len(layouts) > 2:
        text = f"not moved: {len(layouts)} layouts meet in one region, and two at most are solved"
        return [Note("refused", name, text)]
    cost, sides = _cut(region, ends, layouts)
    paid = sum(_weight(node.outputs[0]) for node in old)
    if cost >= paid:
        return []
    added = _rewrite(region, old, sides)
    text = f"{len(old)} Transposes became {added}; {(paid - cost) >> 16} elements less are moved"
    return [Note("did", name, text)]


def _cut(
    region: _Region, ends: Mapping[ir.Value, list[ir.Node | int]], layouts: list[int]
) -> tuple[int, Mapping[ir.Node, int]]:
    """Cost and layout of each following node in the cheapest assignment."""
    a, b = layouts[0], layouts[-1]
    if a == b:
        return 0, dict.fromkeys(region.nodes, a)
    graph = nx.DiGraph()
    graph.add_nodes_from([a, b])
    for node in region.nodes:
        graph.add_node(node)
        if not region.can(node, b):
            graph.add_edge(a, node)  # an edge without a capacity is never cut
        if not region.can(node, a):
            graph.add_edge(node, b)
    for root, (producer, *readers) in ends.items():
        graph.add_edge(producer, ("to", root), capacity=_weight(root))
        graph.add_edge(("from", root), producer, capacity=_weight(root))
        for reader in readers:
            graph.add_edge(("to", root), reader)
            graph.add_edge(reader, ("from", root))
    cost, (side_a, _) = nx.minimum_cut(graph, a, b)
    return int(cost), {node: a if node in side_a else b for node in region.nodes}


def _rewrite(region: _Region, old: list[ir.Node], sides: Mapping[ir.Node, int]) -> int:
    """Carry out an assignment; returns how many Transposes it needs."""
    order, graph, anchor = len(region.family), graph_of(old[0]), old[0]
    wanted: list[tuple[ir.Node, int, ir.Value, int]] = []
    outputs: list[tuple[ir.Value, ir.Value, int, ir.Shape | None]] = []
    have: dict[ir.Value, dict[int, ir.Value]] = {}
    for value in region.members:
        root, layout = region.roots[value][0], region.layout(value)
        if root is value:
            end = region.producer_end(root)
            have[root] = {end if isinstance(end, int) else sides[end]: root}
        for use in value.uses():
            if not region.is_alias(use.node):
                target = sides[use.node] if region.follows(use.node, use.idx) else layout
                wanted.append((use.node, use.idx, root, target))
        if value.is_graph_output():
            outputs.append((value, root, layout, value.shape))
    changes = {node: (sides[node] - region.node_layout(node)) % order for node in region.nodes}
    for node, power in changes.items():
        if power:
            found, q = region.followers[node], region.family[power]
            found.adapt(node, q)
            for value in node.outputs if found.moves_output else ():
                value.shape = ir.Shape([(dims(value) or ())[axis] for axis in q])
    added = 0

    def at(root: ir.Value, layout: int) -> ir.Value:
        nonlocal added
        if layout not in have[root]:
            made, value = next(iter(have[root].items()))
            q = region.family[(layout - made) % order]
            have[root][layout] = add_node(
                anchor,
                "Transpose",
                [value],
                shape=[(dims(value) or ())[axis] for axis in q],
                dtype=value.dtype,
                stem=f"{value.name}.transposed",
                attributes={"perm": q},
            )
            added += 1
        return have[root][layout]

    for node, index, root, layout in wanted:
        node.replace_input_with(index, at(root, layout))
    for value, root, layout, shape in outputs:
        new = at(root, layout)
        if new is value:
            continue
        if new.is_graph_output() or new.producer() is None:
            new = add_node(anchor, "Identity", [new], shape=shape, dtype=new.dtype, stem="copy")
        made, value.shape = value.shape, shape
        hand_over_output(value, new)
        value.shape = made
    for node in old:
        drop_dead(node)
    graph.sort()
    return added

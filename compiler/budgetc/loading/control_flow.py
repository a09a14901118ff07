"""If, Loop, Scan and sequences are resolved: what is left is one graph of tensors.

If, condition known            the branch that is taken
If, condition computed         both branches, and Where(condition, then, else) for each result
Loop, Scan, rounds known       the rounds, one after another
sequences, structure known     their elements
"""

from dataclasses import dataclass, field

import numpy as np
import onnx
from budgetc_specs.errors import ModelError
from onnx import TensorProto, numpy_helper

from budgetc.loading.draft import Draft, attributes_of
from budgetc.loading.inlining import Body
from budgetc.loading.loops import unroll_loop, unroll_scan
from budgetc.loading.normalise import RANDOM_OPERATORS
from budgetc.loading.sequences import MAKERS, READERS, Sequences
from budgetc.loading.static_values import Array, Shapes, StaticValues
from budgetc.loading.tensors import node_label

_CONTROL = frozenset({"If", "Loop", "Scan"})
_STRUCTURE = _CONTROL | MAKERS | READERS | {"SequenceMap"}
_REPAIR = "export the model without control flow, or with inputs of fixed shapes."


@dataclass
class ControlFlow:
    """Resolves a model's control flow in sweeps, between which shapes are inferred anew.

    Attributes:
        reasons: why a node is still there, by its name.
        selections: the results that a Where chooses between: they must have one shape.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    selections: list[tuple[str, str, str]] = field(default_factory=list)
    _guarded: list[tuple[str, str]] = field(default_factory=list)

    def sweep(self, model: onnx.ModelProto, shapes: Shapes) -> bool:
        """Resolve what can be resolved with these shapes, in place; whether there was anything.

        Raises:
            ModelError: a loop has too many rounds, or none where one is needed.
        """
        graph = model.graph
        if not any(node.op_type in _STRUCTURE for node in graph.node):
            return False
        constants = {t.name: t for t in graph.initializer}

        def lookup(name: str) -> Array | None:
            tensor = constants.get(name)
            return None if tensor is None else np.asarray(numpy_helper.to_array(tensor))

        values = StaticValues(list(graph.node), model, lookup, shapes)
        draft = Draft(model)
        sequences = Sequences(draft, values, shapes)
        self.reasons.clear()
        changed = False
        for node in graph.node:
            if sequences.take(node):
                if node.op_type in READERS:
                    changed = True
                else:
                    draft.keep_if_needed(node)
                continue
            reason = self._resolved(node, draft, model, values, shapes)
            if reason is None:
                changed = True
            else:
                draft.keep(node)
                if reason:
                    self.reasons[node.name] = reason
        if changed:
            draft.commit()
        return changed

    def check(self, model: onnx.ModelProto, shapes: Shapes) -> None:
        """Refuse what could not be resolved, or not in this way.

        Raises:
            ModelError: names the node and the reason.
        """
        for node in model.graph.node:
            if node.op_type in _STRUCTURE:
                reason = self.reasons.get(node.name)
                if reason is None:
                    reason = "the structure of its sequence depends on the data"
                raise ModelError(f"the {node_label(node)} cannot be resolved: {reason}", _REPAIR)
        self.check_selections(shapes)
        self._check_divisions(model)

    def check_selections(self, shapes: Shapes) -> None:
        """Refuse branches of different shapes.

        Raises:
            ModelError: names the If node and the shapes.
        """
        for label, first, second in self.selections:
            if shapes.get(first) != shapes.get(second):
                raise ModelError(
                    f"the {label} cannot be resolved: its condition depends on the data, and its "
                    f"branches give {_shown(shapes.get(first))} and {_shown(shapes.get(second))}",
                    "export the model so that both branches give one shape.",
                )

    def _resolved(
        self,
        node: onnx.NodeProto,
        draft: Draft,
        model: onnx.ModelProto,
        values: StaticValues,
        shapes: Shapes,
    ) -> str | None:
        """None where the node was written in other words, "" where it is none of ours, else the reason."""
        if node.op_type == "If":
            return self._if(node, draft, values, shapes)
        if node.op_type == "Loop":
            return unroll_loop(draft, node, model, values, shapes)
        if node.op_type == "Scan":
            return unroll_scan(draft, node, shapes)
        return ""

    def _if(
        self, node: onnx.NodeProto, draft: Draft, values: StaticValues, shapes: Shapes
    ) -> str | None:
        given = attributes_of(node)
        condition = values.value(node.input[0])
        if condition is not None:
            branch = given["then_branch" if condition.reshape(-1)[0] else "else_branch"]
            results = {i: name for i, name in enumerate(node.output) if name}
            Body(draft, branch, node.name).write([], results)
            return None
        shape = shapes.get(node.input[0])
        if shape is None:
            return "its condition is not known yet"
        branches = (given["then_branch"], given["else_branch"])
        for branch in branches:
            reason = _impure(branch)
            if reason:
                return f"its condition depends on the data, and {reason}"
        for branch in branches:
            for value in branch.output:
                if not value.type.HasField("tensor_type") and value.type.WhichOneof("value"):
                    return "its condition depends on the data, and it gives a sequence"
        chosen = node.input[0]
        if shape:
            nothing = draft.constant(np.array([], np.int64), f"{node.name}.scalar")
            chosen = draft.add("Reshape", [chosen, nothing], f"{node.name}.condition")
        before = len(draft.nodes)
        pair = [Body(draft, branch, node.name).write([]) for branch in branches]
        self._guarded += [(n.name, node_label(node)) for n in draft.nodes[before:]]
        for output, first, second in zip(node.output, *pair, strict=True):
            if output:
                draft.add("Where", [chosen, first, second], node.name, output=output)
                self.selections.append((node_label(node), first, second))
        return None

    def _check_divisions(self, model: onnx.ModelProto) -> None:
        """A branch that is not taken must do no harm: integers are not divided by what may be zero."""
        guarded = dict(self._guarded)
        integers = {
            v.name
            for v in (*model.graph.input, *model.graph.value_info, *model.graph.output)
            if v.type.tensor_type.elem_type
            not in {
                TensorProto.FLOAT,
                TensorProto.DOUBLE,
                TensorProto.FLOAT16,
                TensorProto.BFLOAT16,
            }
        }
        constants = {t.name: t for t in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type not in {"Div", "Mod"} or node.name not in guarded:
                continue
            divisor = constants.get(node.input[1])
            safe = divisor is not None and bool(np.all(numpy_helper.to_array(divisor)))
            if node.output[0] in integers and not safe:
                raise ModelError(
                    f"the {guarded[node.name]} cannot be resolved: its condition depends on the "
                    f"data, and the {node_label(node)} in a branch may divide an integer by zero "
                    "where the branch is not taken",
                    _REPAIR,
                )


def _impure(graph: onnx.GraphProto) -> str:
    """What forbids to compute a branch that is not taken, or ""."""
    for node in graph.node:
        if node.op_type in RANDOM_OPERATORS:
            return f"the {node_label(node)} in a branch draws random numbers"
        if node.op_type in _CONTROL:
            return f"the {node_label(node)} in a branch is control flow again"
    return ""


def _shown(shape: tuple[int, ...] | None) -> str:
    return "an unknown shape" if shape is None else str(list(shape))

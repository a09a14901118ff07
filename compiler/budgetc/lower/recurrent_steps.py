"""Recurrent layers as tasks: strides of what they read, and columns of a number for each hidden unit."""

from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.task import Access, Attribute, Task

from budgetc.lower.accesses import access
from budgetc.lower.graph import Array, Operation
from budgetc.lower.placement import Placement
from budgetc.lower.recurrent import Column
from budgetc.lower.steps import Argument, Steps


def recurrent(op: Operation, steps: Steps) -> None:
    """All steps of a layer in one call."""
    made = op.attributes
    given, *others = op.inputs
    _, directions, batch, hidden = steps.graph.values[op.output].shape
    gates = made["cells"][0].gates
    states = len(made["initial"])
    inputs = [
        _given(steps.dense(given), (directions, gates, hidden)),
        *(_plain(steps.dense(name)) for name in others[:states]),
        *(_column(steps.dense(c.value), c, directions, hidden) for c in made["columns"]),
    ]
    if made["lengths"]:
        inputs.append(_plain(steps.dense(made["lengths"])))
    weight = steps.graph.constants.get(made["weight"])
    shape = (directions, gates, hidden, hidden)
    constants: dict[str, Array] = {}
    if weight is None:
        placed = steps.dense(made["weight"])
        strides = (gates * hidden**2, hidden**2, hidden, 1)
        inputs.append((Access(placed.dtype, shape, strides), Argument.at(placed)))
    else:
        constants["weight"] = weight.reshape(shape)
    output = steps.allocate(op.output, dense=True)
    attributes: dict[str, Attribute] = {
        "cells": made["cells"],
        "reverse": made["reverse"],
        "initial": made["initial"],
        "lengths": bool(made["lengths"]),
        "computed": weight is None,
        "weight_type": "float32" if weight is None else weight.dtype.name,
        "sequence": made["sequence"],
        "finals": made["finals"],
    }
    accesses = tuple(a for a, _ in inputs)
    task = Task(
        "recurrent", accesses, access(output), ACCUMULATOR, attributes=tuple(attributes.items())
    )
    length = accesses[0].shape[0]
    macs = length * batch * directions * gates * hidden * hidden
    work = length * batch * directions * gates * hidden
    arguments = [argument for _, argument in inputs]
    steps.emit(op.name, task, arguments, [], output, constants=constants, macs=macs, work=work)


Reached = tuple[Access, Argument]


def _given(placed: Placement, shape: tuple[int, int, int]) -> Reached:
    """(steps, batch, columns) as (steps, batch, directions, gates, hidden)."""
    _, gates, hidden = shape
    strides = (*placed.strides[:2], gates * hidden, hidden, 1)
    return Access(placed.dtype, (*placed.shape[:2], *shape), strides), Argument.at(placed)


def _column(placed: Placement, column: Column, directions: int, hidden: int) -> Reached:
    """Some of the last dimension, in each direction or the same in all."""
    rows, _ = placed.shape
    stride = placed.strides[0] if rows > 1 else 0
    reached = Access(placed.dtype, (directions, hidden), (stride, 1))
    return reached, Argument.at(placed, placed.offset + column.start)


def _plain(placed: Placement) -> Reached:
    return access(placed), Argument.at(placed)
